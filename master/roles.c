#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"

#define BACKOFF_MAX_MS 1000 /* a service that is away longer than that is noticed */
#define STEADY_SECONDS 60   /* a role that ran so long starts anew without delay */
#define STOP_SECONDS 5      /* for sessions to end in order */

extern char **environ;

struct child {
    struct master *m;
    enum role_id id;
    unsigned instance;
    pid_t pid; /* 0: not running */
    struct ipc *ch;
    struct event *timer; /* start again */
    unsigned failures;   /* in a row */
    int64_t since;       /* monotonic seconds */
    bool ready;
    struct buf status; /* its last JSON line */
};

static void start_child(struct child *c);

static int64_t now_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static void child_name(const struct child *c, struct buf *out)
{
    buf_add_str(out, role_rows[c->id].name);
    if (role_rows[c->id].many != ROLE_ONE)
        buf_printf(out, ".%u", c->instance);
}

/* A copy for each receiver: a shared one would share its offset. */
static int memory_file(struct slice content)
{
    int fd = memfd_create("postamt", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -1;
    if (fs_write_all(fd, content) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void send_fd(
    struct child *c, enum ipc_type type, const char *text, uint64_t number, bool has_number, int fd)
{
    struct ipc_out out;

    if (fd < 0) {
        LOG(INTERNAL, NULL, F_STR("what", "a file descriptor for a role"), F_STR("error", strerror(errno)));
        return;
    }
    ipc_begin(&out, type);
    if (text)
        ipc_put_str(&out, text);
    if (has_number)
        ipc_put_u64(&out, number);
    ipc_put_fd(&out, fd);
    ipc_send(c->ch, &out);
}

static void send_settings(struct child *c)
{
    send_fd(c, IPC_ROLE_CONFIG, c->m->config_file, 0, false, memory_file(slice_str(c->m->settings->text)));
    if (role_rows[c->id].certificates)
        send_fd(c, IPC_ROLE_TLS, NULL, 0, false, memory_file(buf_slice(&c->m->tls_blob)));
    if (c->id == ROLE_QUEUED)
        send_fd(c, IPC_ROLE_SECRETS, NULL, 0, false, memory_file(buf_slice(&c->m->secrets)));
}

static void send_listeners(struct child *c)
{
    struct master *m = c->m;

    if (c->id == ROLE_AUTHD)
        send_fd(c, IPC_ROLE_LISTEN, NULL, 0, true, fcntl(m->auth_socket, F_DUPFD_CLOEXEC, 10));
    if (c->id == ROLE_QUEUED)
        send_fd(c, IPC_ROLE_LISTEN, NULL, 0, true, fcntl(m->queue_socket, F_DUPFD_CLOEXEC, 10));
    for (size_t i = 0; i < m->settings->nlisteners; i++)
        if (role_front_of((int)m->settings->listeners[i].service) == c->id)
            send_fd(c, IPC_ROLE_LISTEN, NULL, i, true, fcntl(m->listeners[i], F_DUPFD_CLOEXEC, 10));
}

/* A channel between two running roles; each hears of the other. */
static void wire(struct child *a, struct child *b)
{
    int fds[2];

    if (ipc_pair(fds) < 0) {
        LOG(INTERNAL, NULL, F_STR("what", "channel between roles"), F_STR("error", strerror(errno)));
        return;
    }
    send_fd(a, IPC_ROLE_PEER, role_rows[b->id].name, b->instance, true, fds[0]);
    send_fd(b, IPC_ROLE_PEER, role_rows[a->id].name, a->instance, true, fds[1]);
}

static void on_start_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    start_child(arg);
}

static void start_later(struct child *c)
{
    unsigned ms = c->failures == 0 ? 0 : 50u << (c->failures < 9 ? c->failures - 1 : 8);
    struct timeval tv;

    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    tv = (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    c->failures++;
    evtimer_add(c->timer, &tv);
}

static bool all_ready(const struct master *m)
{
    for (size_t i = 0; i < m->nchildren; i++)
        if (!m->children[i].ready)
            return false;
    return true;
}

static bool on_message(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct child *c = ctx;
    struct slice text = ipc_get(in);

    (void)ch;
    if (!ipc_end(in))
        return false;
    if (in->type == IPC_ROLE_READY) {
        c->ready = true;
        if (all_ready(c->m))
            master_ready(c->m);
        return true;
    }
    if (in->type == IPC_ROLE_STATUS) {
        buf_clear(&c->status);
        buf_add(&c->status, text);
        return true;
    }
    return false;
}

static void on_closed(void *ctx, struct ipc *ch)
{
    struct child *c = ctx;

    (void)ch;
    c->ch = NULL; /* its death is told by SIGCHLD; a role that lives without us is ended */
    if (c->pid > 0)
        kill(c->pid, SIGKILL);
}

static int spawn(struct child *c, int control, int log)
{
    const struct role_row *row = &role_rows[c->id];
    char *path = mem_printf("%s/%s", c->m->libexec_dir, row->program);
    char *instance = mem_printf("%u", c->instance);
    const char *argv[] = {path, "--role", row->name, "--instance", instance, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, standard;
    int rc;

    sigemptyset(&none);
    sigfillset(&standard);
    if (posix_spawn_file_actions_init(&files) || posix_spawnattr_init(&attr))
        mem_panic("posix_spawn", __FILE__, __LINE__);
    /* both ends lie above 9 (F_DUPFD), so neither dup2 hits the other */
    posix_spawn_file_actions_adddup2(&files, control, 3);
    posix_spawn_file_actions_adddup2(&files, log, 4);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &standard);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    rc = posix_spawn(&c->pid, path, &files, &attr, (char **)(uintptr_t)argv, environ);
    if (rc != 0) {
        LOG(ROLE_FAILED, NULL, F_STR("role", row->name), F_STR("program", path),
            F_STR("error", strerror(rc)));
        c->pid = 0;
    }
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    free(path);
    free(instance);
    return rc == 0 ? 0 : -1;
}

static int above_9(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);

    if (fd >= 0)
        close(fd);
    return high;
}

static void start_child(struct child *c)
{
    struct master *m = c->m;
    struct buf name = BUF_INIT(64), worker = BUF_INIT(64);
    struct ipc_out go;
    int fds[2] = {-1, -1}, log;

    child_name(c, &name);
    if (strstr(role_rows[c->id].name, ".spawner"))
        buf_printf(&worker, "%s.worker", role_rows[c->id].program);
    log = above_9(logger_channel(buf_str(&name), worker.n ? buf_str(&worker) : NULL));
    if (log < 0 || ipc_pair(fds) < 0 || (fds[1] = above_9(fds[1])) < 0 || spawn(c, fds[1], log) < 0) {
        if (fds[0] >= 0)
            close(fds[0]);
        start_later(c);
        goto out;
    }
    c->since = now_seconds();
    c->ready = false;
    c->ch = ipc_new(m->base, fds[0], buf_str(&name), on_message, on_closed, c);
    send_settings(c);
    send_listeners(c);
    for (size_t i = 0; i < m->nchildren; i++)
        if (m->children[i].pid > 0 && m->children[i].ch && role_is_wired(c->id, m->children[i].id))
            wire(c, &m->children[i]);
    ipc_begin(&go, IPC_ROLE_GO);
    ipc_send(c->ch, &go);
out:
    if (log >= 0)
        close(log);
    if (fds[1] >= 0)
        close(fds[1]);
    buf_free(&name);
    buf_free(&worker);
}

static struct child *child_of(struct master *m, pid_t pid)
{
    for (size_t i = 0; i < m->nchildren; i++)
        if (m->children[i].pid == pid)
            return &m->children[i];
    return NULL;
}

static void child_ended(struct child *c, int status)
{
    struct buf name = BUF_INIT(64);

    child_name(c, &name);
    c->pid = 0;
    c->ready = false;
    ipc_free(c->ch);
    c->ch = NULL;
    buf_clear(&c->status);
    if (!c->m->stopping) {
        if (WIFSIGNALED(status))
            LOG(ROLE_DIED, NULL, F_SLICE("role", buf_slice(&name)), F_U64("signal", WTERMSIG(status)));
        else
            LOG(ROLE_DIED, NULL, F_SLICE("role", buf_slice(&name)), F_U64("exit", WEXITSTATUS(status)));
        if (now_seconds() - c->since >= STEADY_SECONDS)
            c->failures = 0;
        start_later(c);
    }
    buf_free(&name);
}

static void reap(struct master *m)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *c = child_of(m, pid);

        if (c)
            child_ended(c, status);
    }
}

static void on_sigchld(evutil_socket_t sig, short what, void *arg)
{
    struct master *m = arg;

    (void)sig, (void)what;
    reap(m);
    if (!m->stopping)
        return;
    for (size_t i = 0; i < m->nchildren; i++)
        if (m->children[i].pid > 0)
            return;
    event_base_loopexit(m->base, NULL);
}

static unsigned instances(const struct master *m, enum role_id id)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    switch (role_rows[id].many) {
    case ROLE_FRONTS:
        return m->settings->fronts ? m->settings->fronts : cores > 0 && cores < 32 ? (unsigned)cores : 1;
    case ROLE_DELIVERS:
        return m->settings->delivers;
    case ROLE_ONE:
    default:
        return 1;
    }
}

int roles_start(struct master *m, struct err *e)
{
    struct event *sigchld = evsignal_new(m->base, SIGCHLD, on_sigchld, m);

    if (!sigchld || event_add(sigchld, NULL) < 0)
        return err_set(e, ERR_INTERNAL, "no signal event");
    for (unsigned id = 0; id < ROLE_COUNT; id++)
        m->nchildren += instances(m, id);
    m->children = mem_zalloc(m->nchildren, sizeof *m->children);
    for (unsigned id = 0, at = 0; id < ROLE_COUNT; id++)
        for (unsigned i = 0; i < instances(m, id); i++, at++) {
            struct child *c = &m->children[at];

            *c = (struct child){.m = m, .id = id, .instance = i, .status = BUF_INIT(IPC_MAX)};
            c->timer = evtimer_new(m->base, on_start_again, c);
            INVARIANT(c->timer);
        }
    for (size_t i = 0; i < m->nchildren; i++)
        start_child(&m->children[i]);
    return 0;
}

void roles_reload(struct master *m)
{
    for (size_t i = 0; i < m->nchildren; i++)
        if (m->children[i].ch)
            send_settings(&m->children[i]);
}

static void tell_stop(struct master *m, bool authd)
{
    for (size_t i = 0; i < m->nchildren; i++) {
        struct child *c = &m->children[i];
        struct ipc_out out;

        evtimer_del(c->timer);
        if (!c->ch || (c->id == ROLE_AUTHD) != authd)
            continue;
        ipc_begin(&out, IPC_ROLE_STOP);
        ipc_send(c->ch, &out);
    }
}

static void on_stop_late(evutil_socket_t fd, short what, void *arg)
{
    struct master *m = arg;

    (void)fd, (void)what;
    for (size_t i = 0; i < m->nchildren; i++)
        if (m->children[i].pid > 0) {
            LOG(STOP, NULL, F_STR("role", role_rows[m->children[i].id].name),
                F_STR("how", "killed, it did not end in time"));
            kill(m->children[i].pid, SIGKILL);
        }
}

/* authd goes last: what the others report at their end must reach it. */
static void on_stop_authd(evutil_socket_t fd, short what, void *arg)
{
    struct master *m = arg;
    struct timeval soon = {.tv_usec = 20000};
    bool others = false;

    (void)fd, (void)what;
    for (size_t i = 0; i < m->nchildren; i++)
        others |= m->children[i].pid > 0 && m->children[i].id != ROLE_AUTHD;
    if (others)
        event_base_once(m->base, -1, EV_TIMEOUT, on_stop_authd, m, &soon);
    else
        tell_stop(m, true);
}

void roles_stop(struct master *m)
{
    struct timeval late = {.tv_sec = STOP_SECONDS}, at_once = {0};

    if (m->stopping)
        return;
    m->stopping = true;
    tell_stop(m, false);
    event_base_once(m->base, -1, EV_TIMEOUT, on_stop_authd, m, &at_once);
    event_base_once(m->base, -1, EV_TIMEOUT, on_stop_late, m, &late);
}

void roles_status(struct master *m, struct buf *out)
{
    bool first = true;

    for (size_t i = 0; i < m->nchildren; i++) {
        struct child *c = &m->children[i];
        struct buf name = BUF_INIT(64);
        struct ipc_out ask;

        child_name(c, &name);
        if (!first)
            buf_add_char(out, ',');
        first = false;
        buf_printf(out,
            "{\"role\":\"%s\",\"pid\":%d,\"ready\":%s,\"restarts\":%u,\"seconds\":%lld,\"detail\":",
            buf_str(&name), (int)c->pid, c->ready ? "true" : "false", c->failures,
            (long long)(c->pid ? now_seconds() - c->since : 0));
        buf_add(out, c->status.n ? buf_slice(&c->status) : SLICE("{}"));
        buf_add_char(out, '}');
        buf_free(&name);
        if (!c->ch)
            continue;
        ipc_begin(&ask, IPC_ROLE_STATUS_ASK); /* the next status is fresh */
        ipc_send(c->ch, &ask);
    }
}
