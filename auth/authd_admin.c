#include "auth/authd.h"

#include <jansson.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/admin.h"
#include "common/log.h"
#include "common/mem.h"

static void reply(void *ctx, struct slice json)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_ADMIN_ITEM);
    ipc_put(&out, json);
    ipc_send(ctx, &out);
}

/* Its sessions end, what is remembered of its password is forgotten. */
static void account_changed(void *ctx, struct slice address)
{
    static const enum role_id parents[] = {ROLE_IMAPD_PARENT, ROLE_POP3D_PARENT, ROLE_SMTPD_PARENT};
    struct authd *a = ctx;

    sasl_forget(a->sasl, address);
    for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
        struct ipc_out out;

        ipc_begin(&out, IPC_ACCOUNT_CHANGED);
        ipc_put(&out, address);
        ipc_send(role_peer(a->role, parents[i], 0), &out);
    }
}

static void usage_changed(void *ctx, struct slice address)
{
    mail_send_quota(ctx, address);
}

/* A request hashes a password at most once: 15-30 ms in which no login is answered, a price only the admin
 * asks for. */
static bool on_request(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct authd *a = ctx;
    struct admin_hooks hooks = {.account_changed = account_changed,
        .usage_changed = usage_changed,
        .ctx = a,
        .hash_scheme = a->role->settings->auth_hash};
    struct slice request = ipc_get(in);
    struct err e = {0};
    enum err_code code;
    struct ipc_out out;
    json_t *end;
    char *json;

    if (in->type != IPC_ADMIN_REQUEST || !ipc_end(in))
        return false;
    code = admin_handle(a->directory, request, &hooks, reply, ch, &e);
    end = code == ERR_OK ? json_object()
                         : json_pack("{s:{s:s,s:s,s:s}}", "error", "code", err_row(code)->name, "text",
                               *e.detail ? e.detail : err_row(code)->text, "fix", err_row(code)->text);
    json = end ? json_dumps(end, JSON_COMPACT) : NULL;
    ipc_begin(&out, IPC_ADMIN_END);
    ipc_put_str(&out, json ? json : "{\"error\":{\"code\":\"INTERNAL\"}}");
    ipc_send(ch, &out);
    free(json);
    json_decref(end);
    if (directory_generation(a->directory) != a->generation)
        login_announce(a, NULL);
    return true;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct authd *a = arg;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (client < 0)
        return;
    if (!ipc_peer_is_admin(client, a->admin_group)) {
        LOG(ATTACK, NULL, F_STR("what", "control socket used by a user who is not in group postamt"));
        close(client);
        return;
    }
    ipc_new(a->role->base, client, "postamt command", on_request, NULL, a);
}

void admin_listen(struct authd *a, int fd)
{
    evutil_make_socket_nonblocking(fd);
    a->accepting = event_new(a->role->base, fd, EV_READ | EV_PERSIST, on_accept, a);
    INVARIANT(a->accepting && event_add(a->accepting, NULL) == 0);
}
