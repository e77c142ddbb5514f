#include "common/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"

#define IPC_HEADER                                                                                           \
    4 /* version (2 octets), type (2 octets), in the machine's order: it never leaves the machine */
#define IPC_BACKLOG_MAX ((size_t)4 << 20)
#define IPC_BURST 64 /* messages of one channel handled before others have their turn */
#define LOOK_AGAIN 8

static const struct {
    const char *name;
    size_t fds;
} types[] = {
#define X(name, fds, fields) {#name, fds},
    IPC_TABLE(X)
#undef X
};

const char *ipc_type_name(enum ipc_type type)
{
    return (unsigned)type < IPC_TYPE_COUNT ? types[type].name : "?";
}

/* --- writing --- */

void ipc_begin(struct ipc_out *out, enum ipc_type type)
{
    uint16_t head[2] = {IPC_VERSION, (uint16_t)type};

    *out = (struct ipc_out){.buf = BUF_INIT(IPC_MAX)};
    buf_add(&out->buf, slice_of(head, sizeof head));
}

void ipc_put_u64(struct ipc_out *out, uint64_t v)
{
    buf_add(&out->buf, slice_of(&v, sizeof v));
}

void ipc_put(struct ipc_out *out, struct slice s)
{
    uint32_t n = (uint32_t)(s.n > IPC_MAX ? IPC_MAX : s.n);

    buf_add(&out->buf, slice_of(&n, sizeof n));
    buf_add(&out->buf, s);
}

void ipc_put_str(struct ipc_out *out, const char *z)
{
    ipc_put(out, slice_str(z));
}

void ipc_put_fd(struct ipc_out *out, int fd)
{
    INVARIANT(out->nfds < IPC_FDS_MAX);
    out->fds[out->nfds++] = fd;
}

static void out_free(struct ipc_out *out)
{
    for (size_t i = 0; i < out->nfds; i++)
        close(out->fds[i]);
    out->nfds = 0;
    buf_free(&out->buf);
}

/* --- reading --- */

static struct slice take(struct ipc_in *in, size_t n)
{
    struct slice s = slice_of(in->rest.p, n);

    if (in->bad || in->rest.n < n) {
        in->bad = true;
        return slice_of("", 0);
    }
    in->rest = slice_from(in->rest, n);
    return s;
}

uint64_t ipc_get_u64(struct ipc_in *in)
{
    uint64_t v = 0;
    struct slice s = take(in, sizeof v);

    if (s.n == sizeof v)
        memcpy(&v, s.p, sizeof v);
    return v;
}

bool ipc_get_bool(struct ipc_in *in)
{
    uint64_t v = ipc_get_u64(in);

    if (v > 1)
        in->bad = true;
    return v == 1;
}

enum err_code ipc_get_err(struct ipc_in *in)
{
    uint64_t v = ipc_get_u64(in);

    if (v >= ERR_COUNT)
        in->bad = true;
    return err_code_checked(v < ERR_COUNT ? (unsigned)v : ERR_COUNT);
}

struct slice ipc_get(struct ipc_in *in)
{
    uint32_t n = 0;
    struct slice s = take(in, sizeof n);

    if (s.n == sizeof n)
        memcpy(&n, s.p, sizeof n);
    return take(in, n);
}

int ipc_get_fd(struct ipc_in *in)
{
    if (in->taken >= in->nfds) {
        in->bad = true;
        return -1;
    }
    return in->fds[in->taken++];
}

bool ipc_end(struct ipc_in *in)
{
    return !in->bad && in->rest.n == 0;
}

void ipc_in_free(struct ipc_in *in)
{
    while (in->taken < in->nfds)
        close(in->fds[in->taken++]);
}

/* --- the socket --- */

/* 1 a message, 0 end of file, -1 errno; a message that is none of ours is EBADMSG. */
static int receive(int fd, struct buf *store, struct ipc_in *in, int flags)
{
    union {
        char octets[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec iov;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    uint16_t head[2];
    ssize_t n;

    *in = (struct ipc_in){0};
    buf_clear(store);
    iov.iov_base = buf_room(store, IPC_MAX + 1);
    iov.iov_len = IPC_MAX + 1;
    INVARIANT(iov.iov_base);
    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | flags);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        in->nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(in->fds, CMSG_DATA(c), in->nfds * sizeof(int));
    }
    if (n == 0 && in->nfds == 0)
        return 0;
    buf_grew(store, (size_t)n);
    if (n < IPC_HEADER || n > IPC_MAX || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        goto bad;
    memcpy(head, store->p, sizeof head);
    if (head[0] != IPC_VERSION || head[1] >= IPC_TYPE_COUNT || in->nfds > types[head[1]].fds)
        goto bad;
    in->type = (enum ipc_type)head[1];
    in->rest = slice_from(buf_slice(store), IPC_HEADER);
    return 1;
bad:
    ipc_in_free(in);
    errno = EBADMSG;
    return -1;
}

static int transmit(int fd, struct slice octets, const int *fds, size_t nfds, int flags)
{
    union {
        char octets[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)octets.p, .iov_len = octets.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (nfds) {
        struct cmsghdr *c;

        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        c = CMSG_FIRSTHDR(&msg);
        INVARIANT(c);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

int ipc_recv(int fd, struct buf *store, struct ipc_in *in)
{
    store->cap = IPC_MAX + 64;
    return receive(fd, store, in, 0);
}

int ipc_send_now(int fd, struct ipc_out *out)
{
    int rc, saved;

    if (out->buf.full) {
        out_free(out);
        errno = EMSGSIZE;
        return -1;
    }
    rc = transmit(fd, buf_slice(&out->buf), out->fds, out->nfds, 0);
    saved = errno;
    out_free(out);
    errno = saved;
    return rc;
}

int ipc_pair(int fds[2])
{
    int size = 4 * IPC_MAX;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    for (int i = 0; i < 2; i++) /* a refusal only means less room */
        (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return 0;
}

/* --- the event-driven channel --- */

struct queued {
    struct queued *next;
    struct ipc_out out;
};

struct ipc {
    struct event_base *base;
    struct event *readable, *writable;
    int fd;
    char *name;
    ipc_handler *handler;
    ipc_closed *closed;
    void *ctx;
    struct queued *first, **last;
    size_t backlog;
    unsigned depth; /* of handlers that run: freeing waits for them */
    unsigned visits;
    bool crowded; /* when last looked, more than one message waited */
    bool dead;
};

/* One for the process: handlers run one at a time, a nested ipc_drain uses its own. */
static struct buf scratch = {.cap = IPC_MAX + 64};

static void destroy(struct ipc *ch)
{
    for (struct queued *q = ch->first, *next; q; q = next) {
        next = q->next;
        out_free(&q->out);
        free(q);
    }
    free(ch->name);
    free(ch);
}

static void silence(struct ipc *ch)
{
    if (ch->dead)
        return;
    ch->dead = true;
    event_free(ch->readable);
    event_free(ch->writable);
    close(ch->fd);
    ch->fd = -1;
}

void ipc_free(struct ipc *ch)
{
    if (!ch)
        return;
    silence(ch);
    ch->closed = NULL;
    if (ch->depth == 0)
        destroy(ch);
}

static void end_of_channel(struct ipc *ch)
{
    ipc_closed *closed = ch->closed;

    silence(ch);
    ch->closed = NULL;
    ch->depth++;
    if (closed)
        closed(ch->ctx, ch);
    if (--ch->depth == 0)
        destroy(ch);
}

/* Handles one message; false when the socket is empty or the channel at its end. */
static bool handle_one(struct ipc *ch, struct buf *store)
{
    struct ipc_in in;
    int rc = receive(ch->fd, store, &in, MSG_DONTWAIT);
    bool ok;

    if (rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (rc == 1) {
        ok = ch->handler(ch->ctx, ch, &in);
        ipc_in_free(&in);
        if (ch->dead)
            return false;
        if (ok)
            return true;
        LOG(IPC_BAD, NULL, F_STR("peer", ch->name), F_STR("type", ipc_type_name(in.type)));
    } else if (rc < 0 && errno == EBADMSG) {
        LOG(IPC_BAD, NULL, F_STR("peer", ch->name), F_STR("type", "none"));
    }
    end_of_channel(ch);
    return false;
}

static void handle_waiting(struct ipc *ch, struct buf *store, int most)
{
    int n = 0;

    ch->depth++;
    while (n < most && handle_one(ch, store))
        n++;
    if (most > 1)
        ch->crowded = n > 1;
    if (--ch->depth == 0 && ch->dead && !ch->closed)
        destroy(ch);
}

/* Mostly one message waits, and looking for a second would be a system call for nothing: the loop comes again
 * while there is more. Every LOOK_AGAIN times it is looked for. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc *ch = arg;

    (void)fd, (void)what;
    handle_waiting(ch, &scratch, ch->crowded || ch->visits++ % LOOK_AGAIN == 0 ? IPC_BURST : 1);
}

void ipc_drain(struct ipc *ch)
{
    struct buf store = BUF_INIT(IPC_MAX + 64);

    if (ch && !ch->dead)
        handle_waiting(ch, &store, IPC_BURST);
    buf_free(&store);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc *ch = arg;

    (void)fd, (void)what;
    while (ch->first) {
        struct queued *q = ch->first;

        if (transmit(ch->fd, buf_slice(&q->out.buf), q->out.fds, q->out.nfds, MSG_DONTWAIT) < 0) {
            if (errno != EAGAIN && errno != ENOBUFS)
                end_of_channel(ch);
            return;
        }
        ch->first = q->next;
        ch->backlog -= q->out.buf.n;
        out_free(&q->out);
        free(q);
    }
    ch->last = &ch->first;
    event_del(ch->writable);
}

struct ipc *ipc_new(
    struct event_base *base, int fd, const char *name, ipc_handler *handler, ipc_closed *closed, void *ctx)
{
    struct ipc *ch = mem_zalloc(1, sizeof *ch);

    *ch = (struct ipc){
        .base = base, .fd = fd, .name = mem_strdup(name), .handler = handler, .closed = closed, .ctx = ctx};
    ch->last = &ch->first;
    evutil_make_socket_nonblocking(fd);
    ch->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, ch);
    ch->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, ch);
    INVARIANT(ch->readable && ch->writable && event_add(ch->readable, NULL) == 0);
    return ch;
}

const char *ipc_name(const struct ipc *ch)
{
    return ch->name;
}

void ipc_send(struct ipc *ch, struct ipc_out *out)
{
    struct queued *q;

    if (!ch || ch->dead || out->buf.full) {
        if (ch && out->buf.full)
            LOG(INTERNAL, NULL, F_STR("what", "ipc message too large"), F_STR("peer", ch->name));
        out_free(out);
        return;
    }
    if (!ch->first) {
        if (transmit(ch->fd, buf_slice(&out->buf), out->fds, out->nfds, MSG_DONTWAIT) == 0) {
            out_free(out);
            return;
        }
        if (errno != EAGAIN && errno != ENOBUFS) {
            /* the peer is gone; its end of file comes through the loop and tells the owner */
            out_free(out);
            return;
        }
        event_add(ch->writable, NULL);
    }
    if (ch->backlog + out->buf.n > IPC_BACKLOG_MAX) {
        LOG(IPC_BAD, NULL, F_STR("peer", ch->name), F_STR("type", "backlog"));
        out_free(out);
        shutdown(ch->fd, SHUT_RDWR);
        return;
    }
    q = mem_alloc(sizeof *q);
    q->next = NULL;
    q->out = *out;
    *out = (struct ipc_out){0};
    ch->backlog += q->out.buf.n;
    *ch->last = q;
    ch->last = &q->next;
}

bool ipc_peer_is_admin(int fd, gid_t admin_group)
{
    struct ucred cred;
    socklen_t n = sizeof cred;
    gid_t groups[256];

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
        return false;
    if (cred.uid == 0 || cred.uid == geteuid())
        return true;
    if (admin_group == (gid_t)-1)
        return false;
    if (cred.gid == admin_group)
        return true;
    n = sizeof groups; /* somebody in more groups than that asks as root */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
        return false;
    for (size_t i = 0; i < n / sizeof *groups; i++)
        if (groups[i] == admin_group)
            return true;
    return false;
}
