/* authd: accounts, domains, aliases, credentials, quota counters; the one owner of the directory.
 * man/postamt-authd.8 */
#include "auth/authd.h"

#include <grp.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"

#define WAITING_MAX 64

static gid_t admin_group = (gid_t)-1; /* looked up outside the sandbox */

int64_t authd_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static int prepare(struct role *r, struct err *e)
{
    struct group *gr = getgrnam("postamt");

    if (gr)
        admin_group = gr->gr_gid;
    return sasl_load(r->settings->hostname, e);
}

static int run(struct role *r, struct err *e)
{
    struct authd *a = mem_zalloc(1, sizeof *a);
    struct buf repaired = BUF_INIT(4096);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    a->role = r;
    a->admin_group = admin_group;
    a->directory = directory_open(r->settings->auth_dir, &repaired, e);
    if (!a->directory)
        return -1;
    if (repaired.n)
        LOG(DIRECTORY, NULL, F_SLICE("repaired", buf_slice(&repaired)));
    buf_free(&repaired);
    if (mail_open(a, e) < 0)
        return -1;
    a->sasl = sasl_open(a->directory, r->settings->auth_cache_s);
    sasl_set_hash(a->sasl, r->settings->auth_hash);
    a->throttle = throttle_new(r->settings->limit_loopback);
    a->pool = pool_new(r->base, (unsigned)(cores > 0 ? 2 * cores : 2), WAITING_MAX);
    r->state = a;
    return 0;
}

static bool message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct authd *a = r->state;

    switch (in->type) {
    case IPC_AUTH_START:
    case IPC_AUTH_STEP:
    case IPC_AUTH_CANCEL:
    case IPC_AUTH_LOGIN:
        return (peer == ROLE_SMTPD_FRONT || peer == ROLE_IMAPD_FRONT || peer == ROLE_POP3D_FRONT) &&
               login_message(a, peer, instance, ch, in);
    case IPC_RCPT_ASK:
        return peer == ROLE_SMTPD_FRONT && mail_message(a, ch, in);
    case IPC_EXPAND:
    case IPC_USAGE_SET:
        return peer == ROLE_SMTPD_PARENT && mail_message(a, ch, in);
    case IPC_USAGE:
        return (peer == ROLE_SMTPD_PARENT || peer == ROLE_IMAPD_PARENT || peer == ROLE_POP3D_PARENT) &&
               mail_message(a, ch, in);
    default:
        return false;
    }
}

static void peer(struct role *r, enum role_id id, unsigned instance, struct ipc *ch)
{
    struct authd *a = r->state;

    if (ch && id == ROLE_QUEUED)
        keys_send_all(a, ch);
    else if (ch)
        login_announce(a, ch);
    else
        login_front_gone(a, id, instance);
}

static void listener(struct role *r, unsigned index, int fd)
{
    (void)index;
    admin_listen(r->state, fd);
}

static void stop(struct role *r)
{
    struct authd *a = r->state;

    /* threads may still hash: the directory is closed when none of them can touch it, that is, not by us; its
     * own close is called on the way out, and a commit under way is finished under its lock */
    directory_close(a->directory);
    _exit(0);
}

static void reloaded(struct role *r)
{
    struct authd *a = r->state;

    sasl_set_hash(a->sasl, r->settings->auth_hash);
    login_announce(a, NULL);
}

static void status(struct role *r, struct buf *json)
{
    struct authd *a = r->state;

    buf_printf(json, "{\"logins_waiting\":%zu,\"mechanisms\":\"%s\"}", a->logins.count, a->mechanisms);
}

static const struct role_ops authd_ops = {
    .id = ROLE_AUTHD,
    .prepare = prepare,
    .run = run,
    .message = message,
    .peer = peer,
    .listener = listener,
    .reloaded = reloaded,
    .stop = stop,
    .status = status,
};

int main(int argc, char **argv)
{
    static const struct role_ops *const list[] = {&authd_ops, NULL};

    return role_main(argc, argv, list);
}
