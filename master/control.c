#include "config.h"

#include "common/control.h"

#include <grp.h>
#include <string.h>
#include <unistd.h>

#include "master/master.h"

#define CONTROL_NAME "postamtd.sock"

static struct control *control;

static enum err_code status(
    struct master *m, void (*item)(void *to, struct slice json), void *to, struct buf *why)
{
    struct buf json = BUF_INIT(IPC_MAX - 1024);
    bool full;

    buf_printf(&json, "{\"running\":true,\"version\":\"%s\",\"pid\":%d,\"started\":%lld,\"listeners\":[",
        PACKAGE_VERSION, (int)getpid(), (long long)m->started);
    for (size_t i = 0; i < m->settings->nlisteners; i++) {
        const struct listener *l = &m->settings->listeners[i];

        /* the address was checked to be an IP address or "*": no quoting needed */
        buf_printf(&json, "%s{\"service\":\"%s\",\"address\":\"%s\",\"port\":%u,\"tls\":\"%s\"}",
            i ? "," : "", service_name(l->service), l->address, m->ports[i],
            l->tls == LISTENER_TLS        ? "tls"
            : l->tls == LISTENER_STARTTLS ? "starttls"
                                          : "none");
    }
    buf_add_str(&json, "],\"roles\":[");
    roles_status(m, &json);
    buf_add_str(&json, "]}");
    full = json.full;
    if (full)
        buf_add_str(why, "the status is too long for one message");
    else
        item(to, buf_slice(&json));
    buf_free(&json);
    return full ? ERR_LIMIT : ERR_OK;
}

static enum err_code on_request(
    void *ctx, struct slice text, void (*item)(void *to, struct slice json), void *to, struct buf *why)
{
    json_t *request = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    const char *verb = json_string_value(json_object_get(request, "verb"));
    enum err_code code = ERR_OK;
    struct master *m = ctx;

    if (verb && strcmp(verb, "status") == 0)
        code = status(m, item, to, why);
    else if (verb && strcmp(verb, "config reload") == 0)
        code = master_reload(m, why) < 0 ? ERR_CONFIG : ERR_OK;
    else if (verb && strcmp(verb, "stop") == 0)
        roles_stop(m);
    else {
        buf_add_str(why, "postamtd does not know that verb");
        code = ERR_USAGE;
    }
    json_decref(request);
    return code;
}

int control_start(struct master *m, struct err *e)
{
    struct group *gr = getgrnam("postamt");
    int fd = listen_control(m->settings, CONTROL_NAME, e);

    if (fd < 0)
        return -1;
    control = control_new(m->base, fd, gr ? gr->gr_gid : (gid_t)-1, on_request, m);
    return 0;
}

void control_stop(void)
{
    control_free(control);
    control = NULL;
}
