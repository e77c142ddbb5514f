#include "config.h"

#include "master/master.h"

#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"

#define CONTROL_NAME "postamtd.sock"

static struct event *accepting;
static int listening = -1;

static void reply(struct ipc *ch, enum ipc_type type, struct slice json)
{
    struct ipc_out out;

    ipc_begin(&out, type);
    ipc_put(&out, json);
    ipc_send(ch, &out);
}

static void reply_end(struct ipc *ch, enum err_code code, const char *text)
{
    json_t *end = code == ERR_OK
                      ? json_object()
                      : json_pack("{s:{s:s,s:s,s:s}}", "error", "code", err_row(code)->name, "text",
                            text && *text ? text : err_row(code)->text, "fix", err_row(code)->text);
    char *json = end ? json_dumps(end, JSON_COMPACT) : NULL;

    reply(ch, IPC_ADMIN_END, slice_str(json ? json : "{\"error\":{\"code\":\"INTERNAL\"}}"));
    free(json);
    json_decref(end);
}

static void status(struct master *m, struct ipc *ch)
{
    struct buf json = BUF_INIT(IPC_MAX - 1024);

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
    if (json.full)
        reply_end(ch, ERR_LIMIT, "the status is too long for one message");
    else
        reply(ch, IPC_ADMIN_ITEM, buf_slice(&json));
    if (!json.full)
        reply_end(ch, ERR_OK, NULL);
    buf_free(&json);
}

static void reload(struct master *m, struct ipc *ch)
{
    struct buf complaint = BUF_INIT(32768);

    if (master_reload(m, &complaint) < 0)
        reply_end(ch, ERR_CONFIG, buf_str(&complaint));
    else
        reply_end(ch, ERR_OK, NULL);
    buf_free(&complaint);
}

static bool on_request(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct master *m = ctx;
    struct slice text = ipc_get(in);
    json_t *request;
    const char *verb;

    if (in->type != IPC_ADMIN_REQUEST || !ipc_end(in))
        return false;
    request = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    verb = json_string_value(json_object_get(request, "verb"));
    if (verb && strcmp(verb, "status") == 0)
        status(m, ch);
    else if (verb && strcmp(verb, "config reload") == 0)
        reload(m, ch);
    else if (verb && strcmp(verb, "stop") == 0) {
        reply_end(ch, ERR_OK, NULL);
        roles_stop(m);
    } else {
        reply_end(ch, ERR_USAGE, "postamtd does not know that verb");
    }
    json_decref(request);
    return true;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct master *m = arg;
    struct group *gr = getgrnam("postamt");
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (client < 0)
        return;
    if (!ipc_peer_is_admin(client, gr ? gr->gr_gid : (gid_t)-1)) {
        LOG(ATTACK, NULL, F_STR("what", "control socket used by a user who is not in group postamt"));
        close(client);
        return;
    }
    ipc_new(m->base, client, "postamt command", on_request, NULL, m);
}

int control_start(struct master *m, struct err *e)
{
    listening = listen_control(m->settings, CONTROL_NAME, e);
    if (listening < 0)
        return -1;
    accepting = event_new(m->base, listening, EV_READ | EV_PERSIST, on_accept, m);
    INVARIANT(accepting && event_add(accepting, NULL) == 0);
    return 0;
}

void control_stop(void)
{
    if (accepting)
        event_free(accepting);
    accepting = NULL;
    if (listening >= 0)
        close(listening);
    listening = -1;
}
