#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/mem.h"

#define LINE_MAX_OCTETS 4096
/* Under load lines are collected so long and written together; the first after a silence is written at once.
 */
#define COLLECT_NS 2000000
#define LINES_AT_ONCE 64 /* of one role, before the others have their turn */
#define OUT_MAX ((size_t)1 << 20)

/* A role's channel. The slot of a role that ended is used again by the next. */
struct source {
    int fd; /* -1: free */
    pid_t pid;
    char name[32], child_name[32];
};

static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    struct source *sources;
    size_t n;
    int wake[2];
    int out;
    bool is_journal, stop;
} lg = {.lock = PTHREAD_MUTEX_INITIALIZER, .out = STDERR_FILENO};

static int level_priority(struct slice line)
{
    static const struct {
        const char *name;
        int priority;
    } levels[] = {{"error ", 3}, {"warn ", 4}, {"info ", 6}};

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (slice_starts(line, slice_str(levels[i].name)))
            return levels[i].priority;
    return 7;
}

static void add_time(struct buf *out)
{
    struct timespec now;
    struct tm tm;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm))
        buf_printf(out, "%s.%03uZ ", text, (unsigned)(now.tv_nsec / 1000000));
}

static void write_lines(struct buf *out)
{
    /* a full disk or closed terminal must not stop anything: the lines are lost, the next are tried */
    if (out->n && fs_write_all(lg.out, buf_slice(out)) < 0)
        errno = 0;
    buf_free(out);
}

static void add_line(struct buf *out, const char *name, pid_t pid, struct slice line)
{
    if (lg.is_journal)
        buf_printf(out, "<%d>", level_priority(line)); /* sd-daemon(3): the journal stamps time itself */
    else
        add_time(out);
    buf_printf(out, "%s[%d] ", name, (int)pid);
    buf_add(out, line);
    buf_add_char(out, '\n');
}

enum taken { TAKEN_LINE, TAKEN_NOTHING, TAKEN_END };

/* One line of a role; the kernel says which process sent it. Lines are made by log_write, but a captured role
 * may send anything: controls are shown as '?'. */
static enum taken take_line(struct source *src, struct buf *out)
{
    char text[LINE_MAX_OCTETS];
    union {
        char octets[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = text, .iov_len = sizeof text};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(src->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    pid_t pid = src->pid;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? TAKEN_NOTHING : TAKEN_END;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        struct ucred cred;

        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&cred, CMSG_DATA(c), sizeof cred);
            pid = cred.pid;
        }
    }
    if (n == 0)
        return TAKEN_END;
    if (!src->pid)
        src->pid = pid; /* a role says START before it forks anything */
    for (ssize_t i = 0; i < n; i++)
        if (ascii_is_control(text[i]))
            text[i] = '?';
    add_line(out, pid == src->pid || !src->child_name[0] ? src->name : src->child_name, pid,
        slice_of(text, (size_t)n));
    return TAKEN_LINE;
}

/* What waits of a role; false at its end of file. */
static bool take_lines(struct source *src, struct buf *out)
{
    enum taken taken = TAKEN_LINE;

    for (int i = 0; i < LINES_AT_ONCE && taken == TAKEN_LINE; i++)
        taken = take_line(src, out);
    return taken != TAKEN_END;
}

/* Lines come one upon the other: waking up for each costs more than writing it. */
static void collect(int64_t *last)
{
    struct timespec now, pause = {.tv_nsec = COLLECT_NS};
    int64_t ns;

    clock_gettime(CLOCK_MONOTONIC, &now);
    ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (ns - *last < 4 * COLLECT_NS) {
        nanosleep(&pause, NULL);
        ns += COLLECT_NS;
    }
    *last = ns;
}

static void *run(void *arg)
{
    struct pollfd *fds = NULL;
    struct source *copy = NULL;
    struct buf out = BUF_INIT(OUT_MAX);
    bool stop = false;
    int64_t last = 0;

    (void)arg;
    while (!stop) {
        size_t n;
        bool busy = false;

        pthread_mutex_lock(&lg.lock);
        n = lg.n;
        stop = lg.stop;
        fds = mem_realloc(fds, n + 1, sizeof *fds);
        copy = mem_realloc(copy, n + 1, sizeof *copy);
        if (n)
            memcpy(copy, lg.sources, n * sizeof *copy);
        pthread_mutex_unlock(&lg.lock);
        for (size_t i = 0; i < n; i++)
            fds[i] = (struct pollfd){.fd = copy[i].fd, .events = POLLIN};
        fds[n] = (struct pollfd){.fd = lg.wake[0], .events = POLLIN};
        if (poll(fds, n + 1, stop ? 0 : -1) < 0)
            continue;
        if (fds[n].revents) {
            char drain[64];

            busy = read(lg.wake[0], drain, sizeof drain) > 0;
        }
        for (size_t i = 0; i < n; i++) {
            bool more;

            if (!fds[i].revents)
                continue;
            busy = true;
            more = take_lines(&copy[i], &out);
            if (out.n > OUT_MAX / 2) /* the lines of one role fit into the rest */
                write_lines(&out);
            pthread_mutex_lock(&lg.lock);
            lg.sources[i].pid = copy[i].pid;
            if (!more) {
                close(lg.sources[i].fd);
                lg.sources[i].fd = -1;
            }
            pthread_mutex_unlock(&lg.lock);
        }
        write_lines(&out);
        if (stop && busy)
            stop = false; /* once more, until nothing waits */
        else if (busy)
            collect(&last);
    }
    free(fds);
    free(copy);
    return NULL;
}

static void wake(void)
{
    if (write(lg.wake[1], "", 1) < 0)
        errno = 0; /* full: it is awake */
}

static void open_target(const char *to)
{
    int fd;

    lg.is_journal = strcmp(to, "journal") == 0;
    if (to[0] != '/')
        return;
    fd = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return; /* the former target stays */
    if (lg.out == STDERR_FILENO)
        lg.out = fd;
    else if (dup3(fd, lg.out, O_CLOEXEC) >= 0)
        close(fd);
}

int logger_start(const char *to, struct err *e)
{
    sigset_t all, old;
    int rc, own;

    if (to[0] == '/' && access(to, W_OK) < 0 && errno != ENOENT)
        return err_set(e, ERR_CONFIG, "log file %s: %s", to, strerror(errno));
    open_target(to);
    if (pipe2(lg.wake, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_errno(e, "pipe");
    /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&lg.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return err_set(e, ERR_INTERNAL, "thread: %s", strerror(rc));
    own = logger_channel("postamtd", NULL);
    if (own < 0)
        return err_errno(e, "log channel");
    log_open(own, LOG_LEVEL_INFO);
    return 0;
}

static void copy_name(char *to, size_t size, const char *from)
{
    size_t n = from ? strlen(from) : 0;

    if (n >= size)
        n = size - 1;
    if (n)
        memcpy(to, from, n);
    to[n] = '\0';
}

int logger_channel(const char *name, const char *child_name)
{
    int fds[2], on = 1, room = 256 * 1024;
    struct source *src = NULL;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return -1;
    setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    pthread_mutex_lock(&lg.lock);
    for (size_t i = 0; i < lg.n && !src; i++)
        if (lg.sources[i].fd < 0)
            src = &lg.sources[i];
    if (!src) {
        lg.sources = mem_realloc(lg.sources, lg.n + 1, sizeof *lg.sources);
        src = &lg.sources[lg.n++];
    }
    *src = (struct source){.fd = fds[0]};
    copy_name(src->name, sizeof src->name, name);
    copy_name(src->child_name, sizeof src->child_name, child_name);
    pthread_mutex_unlock(&lg.lock);
    wake();
    return fds[1];
}

void logger_reopen(const char *to)
{
    open_target(to);
}

void logger_stop(void)
{
    pthread_mutex_lock(&lg.lock);
    lg.stop = true;
    pthread_mutex_unlock(&lg.lock);
    wake();
    pthread_join(lg.thread, NULL);
    log_open(-1, LOG_LEVEL_INFO);
}
