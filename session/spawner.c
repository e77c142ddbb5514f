#include "session/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "mail/decode.h"

#define CHANNEL_FD 3 /* of a worker: to its parent; 4 is the log, as in every role */
#define MAIL_FD 5
#define STATE_FD 6

struct spawner {
    int mail_root, state_root;
    struct sandbox_filter *filter;
    enum sandbox_id sandbox;
    const struct worker_ops *ops;
    struct {
        pid_t pid;
        uint64_t worker;
    } * children;
    size_t n, room;
    pid_t self;
};

/* Made by spawner_prepare: compiling it needs calls that the spawner itself does not have. */
static struct sandbox_filter *worker_filter;

static enum sandbox_id worker_row(const struct role *r)
{
    return r->ops->id == ROLE_IMAPD_SPAWNER ? SANDBOX_IMAPD_WORKER : SANDBOX_POP3D_WORKER;
}

static void on_sigchld(int sig)
{
    (void)sig; /* interrupts ppoll; spawner_interrupted does the work */
}

int spawner_prepare(struct role *r, struct err *e)
{
    struct sigaction act = {.sa_handler = on_sigchld};
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    /* taken only inside role_next's ppoll */
    if (sigaction(SIGCHLD, &act, NULL) < 0 || sigprocmask(SIG_BLOCK, &chld, NULL) < 0)
        return err_errno(e, "SIGCHLD");
    worker_filter = sandbox_filter_new(worker_row(r), e);
    if (!worker_filter && e->code != ERR_OK)
        return -1;
    decode_preload();
    return store_init(e);
}

/* The user's folders, made if missing. 0, or -1 with the error and nothing open. */
static int open_folders(struct spawner *sp, struct slice path, int *mail_dir, int *state_dir, struct err *e)
{
    char *z = slice_dup(path);
    int rc = -1;

    *mail_dir = *state_dir = -1;
    if (!z)
        return err_set(e, ERR_INTERNAL, "account path with NUL");
    if (account_make_dirs(sp->mail_root, sp->state_root, path, e) == 0) {
        *mail_dir = fs_open_dir(sp->mail_root, z);
        *state_dir = fs_open_dir(sp->state_root, z);
        rc = *mail_dir >= 0 && *state_dir >= 0 ? 0 : err_errno(e, z);
        if (rc < 0) {
            if (*mail_dir >= 0)
                close(*mail_dir);
            if (*state_dir >= 0)
                close(*state_dir);
        }
    }
    free(z);
    return rc;
}

/* In the child: only stdio, the channel, the log and the folders stay open. */
_Noreturn static void be_worker(struct spawner *sp, const struct settings *settings, int channel,
    int mail_dir, int state_dir, struct slice user)
{
    sigset_t chld;
    int moved[3];

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != sp->self)
        _exit(1);
    moved[0] = fcntl(channel, F_DUPFD_CLOEXEC, 16);
    moved[1] = fcntl(mail_dir, F_DUPFD_CLOEXEC, 16);
    moved[2] = fcntl(state_dir, F_DUPFD_CLOEXEC, 16);
    if (moved[0] < 0 || moved[1] < 0 || moved[2] < 0 || dup2(moved[0], CHANNEL_FD) < 0 ||
        dup2(moved[1], MAIL_FD) < 0 || dup2(moved[2], STATE_FD) < 0 || close_range(STATE_FD + 1, ~0u, 0) < 0)
        _exit(1);
    signal(SIGCHLD, SIG_IGN);
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &chld, NULL);
    _exit(worker_main(sp->ops, settings, sp->sandbox, sp->filter, CHANNEL_FD, MAIL_FD, STATE_FD, user));
}

static void remember(struct spawner *sp, pid_t pid, uint64_t worker)
{
    if (sp->n == sp->room) {
        sp->room = sp->room ? sp->room * 2 : 64;
        sp->children = mem_realloc(sp->children, sp->room, sizeof *sp->children);
    }
    sp->children[sp->n].pid = pid;
    sp->children[sp->n++].worker = worker;
}

static bool spawn(struct role *r, struct ipc_in *in)
{
    struct spawner *sp = r->state;
    uint64_t worker = ipc_get_u64(in);
    struct slice user = ipc_get(in), path = ipc_get(in);
    int channel = ipc_get_fd(in), mail_dir, state_dir;
    struct err e = {0};
    pid_t pid;

    if (!ipc_end(in)) {
        if (channel >= 0)
            close(channel);
        return false;
    }
    if (open_folders(sp, path, &mail_dir, &state_dir, &e) < 0) {
        LOG(STORE_ERROR, NULL, F_SLICE("user", user), F_STR("why", e.detail));
        close(channel); /* the parent sees the end of the channel */
        return true;
    }
    pid = fork();
    if (pid == 0)
        be_worker(sp, r->settings, channel, mail_dir, state_dir, user);
    if (pid > 0)
        remember(sp, pid, worker);
    else
        LOG(ROLE_FAILED, NULL, F_STR("role", sandbox_name(sp->sandbox)), F_STR("why", strerror(errno)));
    close(channel);
    close(mail_dir);
    close(state_dir);
    return true;
}

void spawner_interrupted(struct role *r)
{
    struct spawner *sp = r->state;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < sp->n; i++) {
            struct ipc_out out;
            int parent =
                role_peer_fd(r, r->ops->id == ROLE_IMAPD_SPAWNER ? ROLE_IMAPD_PARENT : ROLE_POP3D_PARENT, 0);

            if (sp->children[i].pid != pid)
                continue;
            ipc_begin(&out, IPC_WORKER_GONE);
            ipc_put_u64(&out, sp->children[i].worker);
            ipc_put_u64(&out, (uint64_t)(unsigned)status);
            ipc_send_now(parent, &out);
            sp->children[i] = sp->children[--sp->n];
            break;
        }
    }
}

int spawner_run(struct role *r, const struct worker_ops *ops, struct err *e)
{
    struct spawner *sp = mem_zalloc(1, sizeof *sp);
    struct buf store = BUF_INIT(0);
    enum role_id peer;
    unsigned instance;
    struct ipc_in in;

    sp->ops = ops;
    sp->sandbox = worker_row(r);
    sp->self = getpid();
    sp->mail_root = fs_open_root(r->settings->mail_dir);
    sp->state_root = fs_open_root(r->settings->state_dir);
    if (sp->mail_root < 0 || sp->state_root < 0)
        return err_errno(e, "mail and state folders");
    r->state = sp;
    sp->filter = worker_filter;
    while (role_next(r, &store, &in, &peer, &instance) == 1) {
        if (in.type != IPC_SPAWN || !spawn(r, &in))
            role_peer_bad(r, peer, instance, &in);
        ipc_in_free(&in);
    }
    buf_free(&store);
    return 0;
}
