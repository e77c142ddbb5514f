#include "auth/authd.h"

#include "auth/admin.h"
#include "common/control.h"

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

static void domain_changed(void *ctx, struct slice domain)
{
    keys_send_changed(ctx, domain);
}

static void usage_changed(void *ctx, struct slice address)
{
    mail_send_quota(ctx, address);
}

/* A request hashes a password at most once: 15-30 ms in which no login is answered, a price only the admin
 * asks for. */
static enum err_code on_request(
    void *ctx, struct slice request, void (*item)(void *to, struct slice json), void *to, struct buf *why)
{
    struct authd *a = ctx;
    struct admin_hooks hooks = {.account_changed = account_changed,
        .usage_changed = usage_changed,
        .domain_changed = domain_changed,
        .ctx = a,
        .hash_scheme = a->role->settings->auth_hash};
    struct err e = {0};
    enum err_code code = admin_handle(a->directory, request, &hooks, item, to, &e);

    buf_add_str(why, e.detail);
    if (directory_generation(a->directory) != a->generation)
        login_announce(a, NULL);
    return code;
}

void admin_listen(struct authd *a, int fd)
{
    a->control = control_new(a->role->base, fd, a->admin_group, on_request, a);
}
