#include "common/role.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/sandbox.h"
#include "common/tls.h"

#define CONTROL_FD 3
#define LOG_FD 4
#define BLOB_MAX ((size_t)1 << 20)

static const char *role_name(const struct role *r)
{
    return role_rows[r->ops->id].name;
}

struct ipc *role_peer(struct role *r, enum role_id id, unsigned instance)
{
    for (size_t i = 0; i < r->npeers; i++)
        if (r->peers[i].id == id && r->peers[i].instance == instance)
            return r->peers[i].ch;
    return NULL;
}

int role_peer_fd(struct role *r, enum role_id id, unsigned instance)
{
    for (size_t i = 0; i < r->npeers; i++)
        if (r->peers[i].id == id && r->peers[i].instance == instance)
            return r->peers[i].fd;
    return -1;
}

/* --- what postamtd sends --- */

static bool take_config(struct role *r, struct ipc_in *in)
{
    struct buf text = BUF_INIT(BUF_OWN), complaints = BUF_INIT(BUF_OWN);
    char *file = slice_dup(ipc_get(in));
    int fd = ipc_get_fd(in);
    struct settings *s = NULL;
    enum log_level level;

    if (ipc_end(in) && file && lseek(fd, 0, SEEK_SET) == 0 && fs_read_all(fd, &text, BLOB_MAX) == 0)
        s = settings_parse(buf_slice(&text), file, &complaints);
    if (fd >= 0)
        close(fd);
    buf_free(&text);
    buf_free(&complaints);
    free(file);
    if (!s) /* postamtd checked it before: it keeps the old one */
        return false;
    /* Running sessions keep the settings they began with: an old object stays for the life of the process. A
     * reload is an act of the admin, an object a few KiB. */
    r->settings = s;
    if (log_level_parse(slice_str(s->log_level), &level))
        log_set_level(level);
    return true;
}

static bool take_tls(struct role *r, struct ipc_in *in)
{
    struct buf blob = BUF_INIT(BLOB_MAX + 1);
    int fd = ipc_get_fd(in);
    struct err e = {0};
    struct tls_context *with = NULL, *without = NULL;

    if (ipc_end(in) && lseek(fd, 0, SEEK_SET) == 0 && fs_read_all(fd, &blob, BLOB_MAX) == 0) {
        with = tls_context_new(buf_slice(&blob), true, &e);
        without = with ? tls_context_new(buf_slice(&blob), false, &e) : NULL;
    }
    if (fd >= 0)
        close(fd);
    if (blob.p)
        mem_wipe(blob.p, blob.size);
    buf_free(&blob);
    if (!without) {
        LOG(CERTIFICATE, NULL, F_STR("error", e.detail));
        tls_context_free(with);
        return r->tls != NULL;
    }
    tls_context_free(r->tls);
    tls_context_free(r->tls_no_tickets);
    r->tls = with;
    r->tls_no_tickets = without;
    return true;
}

static bool take_secrets(struct role *r, struct ipc_in *in)
{
    struct buf blob = BUF_INIT(BLOB_MAX + 1);
    int fd = ipc_get_fd(in);
    bool ok = ipc_end(in) && lseek(fd, 0, SEEK_SET) == 0 && fs_read_all(fd, &blob, BLOB_MAX) == 0;

    if (fd >= 0)
        close(fd);
    if (r->secrets.p)
        mem_wipe(r->secrets.p, r->secrets.size);
    buf_free(&r->secrets);
    r->secrets = blob;
    return ok;
}

static bool peer_message(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct role *r = ctx;

    for (size_t i = 0; i < r->npeers; i++)
        if (r->peers[i].ch == ch)
            return r->ops->message(r, r->peers[i].id, r->peers[i].instance, ch, in);
    return false;
}

static void peer_closed(void *ctx, struct ipc *ch)
{
    struct role *r = ctx;

    for (size_t i = 0; i < r->npeers; i++) {
        if (r->peers[i].ch != ch)
            continue;
        r->peers[i].ch = NULL;
        if (r->ops->peer)
            r->ops->peer(r, r->peers[i].id, r->peers[i].instance, NULL);
        return;
    }
}

/* Before the loop runs channels are only kept as fds; role_main makes them channels. */
static void peer_connect(struct role *r, size_t i)
{
    char name[64];
    struct buf text = BUF_INIT(sizeof name);

    if (r->ops->blocking || r->peers[i].fd < 0)
        return;
    buf_printf(&text, "%s.%u", role_rows[r->peers[i].id].name, r->peers[i].instance);
    r->peers[i].ch = ipc_new(r->base, r->peers[i].fd, buf_str(&text), peer_message, peer_closed, r);
    r->peers[i].fd = -1;
    buf_free(&text);
    if (r->ops->peer)
        r->ops->peer(r, r->peers[i].id, r->peers[i].instance, r->peers[i].ch);
}

static bool take_peer(struct role *r, struct ipc_in *in, bool running)
{
    enum role_id id = role_by_name(ipc_get(in));
    uint64_t instance = ipc_get_u64(in);
    int fd = ipc_get_fd(in);
    size_t i;

    if (!ipc_end(in) || id == ROLE_COUNT || !role_is_wired(r->ops->id, id)) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    for (i = 0; i < r->npeers; i++)
        if (r->peers[i].id == id && r->peers[i].instance == instance)
            break;
    if (i == ROLE_PEERS_MAX) {
        close(fd);
        return false;
    }
    if (i == r->npeers) {
        r->npeers++;
        r->peers[i].fd = -1;
    } else if (r->peers[i].ch) {
        ipc_free(r->peers[i].ch);
        r->peers[i].ch = NULL;
        if (r->ops->peer)
            r->ops->peer(r, id, (unsigned)instance, NULL);
    } else if (r->peers[i].fd >= 0) {
        close(r->peers[i].fd);
    }
    r->peers[i].id = id;
    r->peers[i].instance = (unsigned)instance;
    r->peers[i].fd = fd;
    if (running)
        peer_connect(r, i);
    return true;
}

/* Listening sockets come before ROLE_GO and are handed to the role once it runs. */
struct waiting_listener {
    unsigned index;
    int fd;
};
static struct waiting_listener waiting[64];
static size_t nwaiting;

static bool take_listener(struct role *r, struct ipc_in *in, bool running)
{
    uint64_t index = ipc_get_u64(in);
    int fd = ipc_get_fd(in);

    if (!ipc_end(in) || !r->ops->listener) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (running)
        r->ops->listener(r, (unsigned)index, fd);
    else if (nwaiting < sizeof waiting / sizeof *waiting)
        waiting[nwaiting++] = (struct waiting_listener){(unsigned)index, fd};
    else
        close(fd);
    return true;
}

static void send_status(struct role *r)
{
    struct buf json = BUF_INIT(IPC_MAX - 1024);
    struct ipc_out out;

    if (r->ops->status)
        r->ops->status(r, &json);
    ipc_begin(&out, IPC_ROLE_STATUS);
    ipc_put(&out, json.n && !json.full ? buf_slice(&json) : SLICE("{}"));
    ipc_send(r->control, &out);
    buf_free(&json);
}

static void stop(struct role *r)
{
    if (r->ops->stop)
        r->ops->stop(r);
    else if (r->base)
        event_base_loopexit(r->base, NULL);
}

/* One message of postamtd. *go is set by ROLE_GO, *end by ROLE_STOP. */
static bool control_message(struct role *r, struct ipc_in *in, bool running, bool *go, bool *end)
{
    switch (in->type) {
    case IPC_ROLE_CONFIG:
        if (!take_config(r, in))
            return false;
        if (running && r->ops->reloaded)
            r->ops->reloaded(r);
        return true;
    case IPC_ROLE_TLS:
        if (!take_tls(r, in))
            return false;
        if (running && r->ops->reloaded)
            r->ops->reloaded(r);
        return true;
    case IPC_ROLE_SECRETS:
        if (!take_secrets(r, in))
            return false;
        if (running && r->ops->reloaded)
            r->ops->reloaded(r);
        return true;
    case IPC_ROLE_PEER:
        return take_peer(r, in, running);
    case IPC_ROLE_LISTEN:
        return take_listener(r, in, running);
    case IPC_ROLE_GO:
        *go = true;
        return ipc_end(in);
    case IPC_ROLE_STOP:
        *end = true;
        return ipc_end(in);
    case IPC_ROLE_STATUS_ASK:
        if (running && r->control)
            send_status(r);
        return ipc_end(in);
    default:
        return false;
    }
}

static bool on_control(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct role *r = ctx;
    bool go = false, end = false;

    (void)ch;
    if (!control_message(r, in, true, &go, &end))
        return false;
    if (end)
        stop(r);
    return true;
}

static void on_control_closed(void *ctx, struct ipc *ch)
{
    (void)ctx, (void)ch;
    _exit(0); /* postamtd is gone: so are we */
}

/* --- start --- */

static int drop_to(enum role_user user, struct err *e)
{
    const char *name = role_user_name(user);
    struct passwd *pw;

    if (geteuid() != 0)
        return 0;
    pw = getpwnam(name);
    if (!pw)
        return err_set(e, ERR_CONFIG,
            "user %s does not exist: run `postamt setup`, or adduser --system --group %s", name, name);
    /* the supplementary groups in /etc/group say what queue and mail share */
    if (initgroups(name, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
        return err_errno(e, name);
    if (geteuid() == 0 || setuid(0) == 0)
        return err_set(e, ERR_INTERNAL, "root could not be given up");
    return 0;
}

static int receive_start(struct role *r, struct err *e)
{
    struct buf store = BUF_INIT(0);
    bool go = false, end = false;

    while (!go && !end) {
        struct ipc_in in;
        int rc = ipc_recv(CONTROL_FD, &store, &in);

        if (rc <= 0) {
            buf_free(&store);
            return err_set(e, ERR_INTERNAL, "postamtd went away before the start");
        }
        if (!control_message(r, &in, false, &go, &end)) {
            err_set(e, ERR_INTERNAL, "bad start message %s", ipc_type_name(in.type));
            ipc_in_free(&in);
            buf_free(&store);
            return -1;
        }
        ipc_in_free(&in);
    }
    buf_free(&store);
    if (end || !r->settings)
        return err_set(e, ERR_INTERNAL, "no configuration was sent");
    return 0;
}

static void tell_ready(struct role *r, const struct buf *lacks)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_ROLE_READY);
    ipc_put(&out, buf_slice(lacks));
    if (r->control)
        ipc_send(r->control, &out);
    else
        ipc_send_now(r->control_fd, &out);
}

static int start(struct role *r, struct err *e)
{
    struct buf lacks = BUF_INIT(4096);
    struct event_config *cfg;

    if (receive_start(r, e) < 0 || (r->ops->prepare && r->ops->prepare(r, e) < 0) ||
        drop_to(role_rows[r->ops->id].user, e) < 0)
        return -1;
    /* a change of uid cleared it */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return err_errno(e, "parent death signal");
    if (!r->ops->blocking) {
        cfg = event_config_new();
        INVARIANT(cfg);
        event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
        r->base = event_base_new_with_config(cfg);
        event_config_free(cfg);
        INVARIANT(r->base);
    }
    if (sandbox_enter(r->ops->id, r->settings, &lacks, e) < 0)
        return -1;
    LOG(START, NULL, F_STR("role", role_name(r)), F_SLICE("lacks", buf_slice(&lacks)));
    if (r->ops->blocking) {
        r->control_fd = CONTROL_FD;
        tell_ready(r, &lacks);
        buf_free(&lacks);
        return r->ops->run(r, e);
    }
    r->control = ipc_new(r->base, CONTROL_FD, "postamtd", on_control, on_control_closed, r);
    if (r->ops->run(r, e) < 0)
        return -1;
    for (size_t i = 0; i < r->npeers; i++)
        peer_connect(r, i);
    for (size_t i = 0; i < nwaiting; i++)
        r->ops->listener(r, waiting[i].index, waiting[i].fd);
    tell_ready(r, &lacks);
    buf_free(&lacks);
    return event_base_dispatch(r->base) < 0 ? err_set(e, ERR_INTERNAL, "the event loop failed") : 0;
}

static const struct role_ops *find_ops(const struct role_ops *const *list, const char *name)
{
    for (; name && *list; list++)
        if (strcmp(role_rows[(*list)->id].name, name) == 0)
            return *list;
    return NULL;
}

int role_main(int argc, char **argv, const struct role_ops *const *list)
{
    struct role *r = mem_zalloc(1, sizeof *r);
    struct err e = {0};
    uint64_t instance = 0;
    const char *name = NULL;
    int rc;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--role") == 0)
            name = argv[i + 1];
        else if (strcmp(argv[i], "--instance") == 0 && !slice_u64(slice_str(argv[i + 1]), 1000, &instance))
            name = NULL;
    }
    r->ops = find_ops(list, name);
    if (!r->ops) {
        fputs("This program is started by postamtd; see postamtd(8).\n", stderr);
        return 64;
    }
    r->instance = (unsigned)instance;
    r->control_fd = -1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group; postamtd ends us in order */
    signal(SIGTERM, SIG_IGN);
    tzset();
    log_open(LOG_FD, LOG_LEVEL_INFO);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || sandbox_basics(&e) < 0)
        rc = -1;
    else
        rc = start(r, &e);
    if (rc < 0)
        LOG(ROLE_FAILED, NULL, F_STR("role", role_name(r)), F_STR("why", e.detail));
    return rc < 0 ? 1 : 0;
}

/* --- blocking roles --- */

void role_peer_bad(struct role *r, enum role_id peer, unsigned instance, const struct ipc_in *in)
{
    for (size_t i = 0; i < r->npeers; i++) {
        if (r->peers[i].id != peer || r->peers[i].instance != instance || r->peers[i].fd < 0)
            continue;
        LOG(IPC_BAD, NULL, F_STR("peer", role_rows[peer].name), F_STR("type", ipc_type_name(in->type)));
        close(r->peers[i].fd);
        r->peers[i].fd = -1;
    }
}

/* A message of postamtd for a blocking role; false: end. */
static bool next_control(struct role *r, struct buf *store)
{
    struct ipc_in in;
    bool go = false, end = false;
    int rc = ipc_recv(r->control_fd, store, &in);

    if (rc <= 0)
        return false;
    if (in.type == IPC_ROLE_STATUS_ASK) {
        struct ipc_out out;

        ipc_begin(&out, IPC_ROLE_STATUS);
        ipc_put(&out, SLICE("{}"));
        ipc_send_now(r->control_fd, &out);
    } else if (!control_message(r, &in, true, &go, &end)) {
        LOG(IPC_BAD, NULL, F_STR("peer", "postamtd"), F_STR("type", ipc_type_name(in.type)));
    }
    ipc_in_free(&in);
    return !end;
}

int role_next(struct role *r, struct buf *store, struct ipc_in *in, enum role_id *peer, unsigned *instance)
{
    struct pollfd fds[ROLE_PEERS_MAX + 1];
    sigset_t during;

    sigemptyset(&during);
    for (;;) {
        fds[0] = (struct pollfd){.fd = r->control_fd, .events = POLLIN};
        for (size_t i = 0; i < r->npeers; i++)
            fds[i + 1] = (struct pollfd){.fd = r->peers[i].fd, .events = POLLIN}; /* -1 is passed over */
        if (ppoll(fds, r->npeers + 1, NULL, &during) < 0) {
            if (errno != EINTR)
                return 0;
            if (r->ops->interrupted)
                r->ops->interrupted(r);
            continue;
        }
        if (fds[0].revents) {
            if (!next_control(r, store))
                return 0;
            continue;
        }
        for (size_t i = 0; i < r->npeers; i++) {
            int rc;

            if (!fds[i + 1].revents)
                continue;
            *peer = r->peers[i].id;
            *instance = r->peers[i].instance;
            rc = ipc_recv(r->peers[i].fd, store, in);
            if (rc == 1)
                return 1;
            if (rc < 0 && errno == EBADMSG)
                LOG(IPC_BAD, NULL, F_STR("peer", role_rows[*peer].name), F_STR("type", "none"));
            close(r->peers[i].fd);
            r->peers[i].fd = -1;
        }
    }
}
