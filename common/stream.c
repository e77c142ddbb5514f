/* Life, the loop's callbacks and closing; the rules are in stream_internal.h. */
#include "common/stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/mem.h"

#define LINGER_MAX ((size_t)4 << 20)

struct stream_tuning stream_tuning = {
    .stall_ms = STREAM_STALL_SECONDS * 1000,
    .rate_window_ms = 30 * 1000,
    .handshake_ms = 10 * 1000,
    .close_ms = 10 * 1000,
};

/*
 * One for each event base: the streams that were kicked, and the timer that calls them. A timer of 0 ms runs
 * after the next look at the sockets; event_active would run at once, and a session that kicks itself would
 * starve others.
 */
struct stream_hub {
    struct event timer;
    struct event_base *base;
    TAILQ_HEAD(, stream) kicked;
    size_t nkicked;
    size_t users;
    bool running;
    SLIST_ENTRY(stream_hub) next;
};
static SLIST_HEAD(, stream_hub) hubs = SLIST_HEAD_INITIALIZER(hubs);

static void stream_kicked(struct stream *s);
static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

/* --- hub --- */

static void hub_drop(struct stream_hub *h)
{
    if (h->users || h->running)
        return;
    event_del(&h->timer);
    SLIST_REMOVE(&hubs, h, stream_hub, next);
    free(h);
}

static void on_hub(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval now = {0};
    struct stream_hub *h = arg;
    struct stream *s;
    size_t n = h->nkicked; /* who is kicked meanwhile waits for the next turn */

    (void)fd;
    (void)what;
    h->running = true;
    while (n-- && (s = TAILQ_FIRST(&h->kicked))) {
        TAILQ_REMOVE(&h->kicked, s, in_hub);
        h->nkicked--;
        s->kicked = false;
        stream_kicked(s);
    }
    h->running = false;
    if (h->nkicked)
        INVARIANT(event_add(&h->timer, &now) == 0);
    hub_drop(h);
}

static struct stream_hub *hub_get(struct event_base *base)
{
    struct stream_hub *h;

    SLIST_FOREACH(h, &hubs, next)
    {
        if (h->base == base)
            break;
    }
    if (!h) {
        h = mem_zalloc(1, sizeof *h);
        h->base = base;
        TAILQ_INIT(&h->kicked);
        INVARIANT(event_assign(&h->timer, base, -1, 0, on_hub, h) == 0);
        SLIST_INSERT_HEAD(&hubs, h, next);
    }
    h->users++;
    return h;
}

void stream_kick(struct stream *s)
{
    static const struct timeval now = {0};
    struct stream_hub *h = s->hub;

    if (s->kicked || s->dead)
        return;
    s->kicked = true;
    TAILQ_INSERT_TAIL(&h->kicked, s, in_hub);
    if (h->nkicked++ == 0 && !h->running)
        INVARIANT(event_add(&h->timer, &now) == 0);
}

/* --- life --- */

struct stream *stream_new(struct event_base *base, int fd, const struct stream_ops *ops, void *ctx)
{
    struct stream *s = mem_zalloc(1, sizeof *s);
    int flags = fcntl(fd, F_GETFL), one = 1;

    INVARIANT(flags >= 0);
    if (!(flags & O_NONBLOCK))
        INVARIANT(fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    /* a TLS 1.3 session start costs 41 ms without; fails on a socket that is not TCP, which needs none */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        errno = 0;
    s->fd = fd;
    s->ops = ops;
    s->ctx = ctx;
    s->input_max = STREAM_INPUT_MAX;
    buf_init(&s->out, STREAM_OUT_CAP);
    s->hub = hub_get(base);
    INVARIANT(event_assign(&s->read_ev, base, fd, EV_READ | EV_PERSIST, on_readable, s) == 0);
    INVARIANT(event_assign(&s->write_ev, base, fd, EV_WRITE | EV_PERSIST, on_writable, s) == 0);
    stream_enter(s);
    stream_leave(s);
    return s;
}

void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *ctx)
{
    s->ops = ops;
    s->ctx = ctx;
    s->progressed = true; /* the new owner sees what waits */
    if (s->in_n)
        stream_kick(s);
}

static void disarm(struct stream *s)
{
    if (s->reading)
        event_del(&s->read_ev);
    if (s->writing)
        event_del(&s->write_ev);
    s->reading = s->writing = false;
    stream_clock_free(s);
}

void stream_free(struct stream *s)
{
    struct stream_hub *h = s->hub;

    INVARIANT(!s->dead);
    s->dead = true;
    disarm(s);
    if (s->kicked) {
        TAILQ_REMOVE(&h->kicked, s, in_hub);
        h->nkicked--;
    }
    stream_tls_free(s);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    stream_in_drop(s);
    buf_free(&s->out);
    s->out_at = 0;
    s->hub = NULL;
    h->users--;
    hub_drop(h);
    if (s->depth == 0)
        free(s);
}

int stream_detach(struct stream *s, struct buf *left)
{
    size_t had = left->n;
    int fd = s->fd;

    if (s->tls_state != TLS_NONE || stream_pending(s) || s->out.full || s->ending || s->ended || s->closing)
        return -1;
    buf_add(left, stream_input(s));
    if (left->full) {
        buf_cut(left, had);
        return -1;
    }
    disarm(s); /* while the fd is still ours */
    s->fd = -1;
    stream_free(s);
    return fd;
}

void stream_fail(struct stream *s, enum stream_end why, const char *detail)
{
    if (s->ending || s->ended || s->dead)
        return;
    s->ending = (uint8_t)(why + 1);
    s->detail = detail;
    if (s->depth == 0)
        stream_kick(s);
}

/* --- what to wait for --- */

bool stream_in_handshake(const struct stream *s)
{
    return s->tls_state == TLS_CLEAR_FIRST || s->tls_state == TLS_HANDSHAKE;
}

bool stream_may_read(const struct stream *s)
{
    return !s->dead && !s->ended && !s->closing && !s->in_end && !s->paused && !s->tls_wants_write &&
           !stream_in_handshake(s) && s->in_n < s->input_max && !stream_is_backed_up(s);
}

void stream_want_write(struct stream *s)
{
    struct timeval stall = {
        stream_tuning.stall_ms / 1000, (suseconds_t)(stream_tuning.stall_ms % 1000) * 1000};

    if (s->writing || s->dead)
        return;
    /* persistent with a timeout: each readiness starts the time anew */
    if (event_add(&s->write_ev, &stall) < 0) {
        stream_fail(s, STREAM_ERROR, "cannot wait for the socket");
        return;
    }
    s->writing = true;
    stream_still_moves(s); /* from here on */
}

static void want_read(struct stream *s)
{
    if (s->reading)
        return;
    if (event_add(&s->read_ev, NULL) == 0)
        s->reading = true;
    else
        stream_fail(s, STREAM_ERROR, "cannot wait for the socket");
}

/* Arms what is needed and sees that nothing that waits is forgotten. */
static void settle(struct stream *s)
{
    if (s->ended && !s->closing) {
        disarm(s);
        return;
    }
    if (s->tls_state == TLS_HANDSHAKE || s->lingering)
        want_read(s);
    if (stream_may_read(s)) {
        want_read(s);
        if (s->in_more && s->ssl)
            stream_kick(s); /* the kernel does not know of what the SSL object holds */
    }
    if ((s->held || (s->in_end && !s->eof_told)) && stream_may_deliver(s))
        stream_kick(s);
    if (s->tell_drained && stream_pending(s) <= s->low_water && !stream_in_handshake(s))
        stream_kick(s);
    if (s->ending && !s->ended)
        stream_kick(s);
}

/* --- the end --- */

/* Tells the owner. A server that refuses early answers and closes: what it said is read before its reset is
 * told. */
static void finish(struct stream *s)
{
    uint8_t why = s->ending;
    int round;

    if (s->write_failed) {
        for (round = 0; round < STREAM_ROUNDS && !s->dead && stream_may_read(s); round++)
            stream_read_rounds(s);
        if (s->dead || s->closing)
            return;
    }
    if (s->half_close && why == STREAM_EOF + 1) {
        s->ending = 0;
        s->eof_told = true;
    } else {
        s->ended = true;
        disarm(s);
    }
    s->ops->ended(s->ctx, s, (enum stream_end)(why - 1), s->detail);
}

void stream_close_now(struct stream *s)
{
    const struct stream_ops *ops = s->ops;
    void *ctx = s->ctx;

    stream_enter(s);
    stream_free(s);
    if (ops->ended)
        ops->ended(ctx, s, STREAM_EOF, "closed");
    stream_leave(s);
}

/*
 * Throws away what comes. A close with unread input is a reset, and a reset may overtake the last answer. But
 * who goes on talking at length is not listening: 4 MiB are what a client's kernel may have had under way.
 * IO_AGAIN: nothing there.
 */
static enum stream_io discard(struct stream *s)
{
    char waste[4096]; /* the scratch buffer may hold another stream's input */
    ssize_t n;
    int i;

    for (i = 0; i < 16; i++) {
        n = recv(s->fd, waste, sizeof waste, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return IO_EOF;
        if (n < 0)
            return i ? IO_OK : IO_AGAIN;
        s->discarded += (size_t)n;
        if (s->discarded > LINGER_MAX)
            return IO_EOF;
    }
    return IO_OK;
}

static void close_step(struct stream *s)
{
    if (!s->lingering) {
        stream_flush(s);
        if (!s->ending && stream_pending(s) && !stream_in_handshake(s))
            return;
        if (s->ending || stream_in_handshake(s)) {
            stream_close_now(s);
            return;
        }
        stream_tls_goodbye(s);
        if (shutdown(s->fd, SHUT_WR) < 0 || s->in_end || discard(s) != IO_OK) {
            stream_close_now(s);
            return;
        }
        s->lingering = true;
    }
}

void stream_close_begin(struct stream *s, const struct stream_ops *ops, void *ctx)
{
    INVARIANT(!s->closing && !s->dead);
    s->ops = ops;
    s->ctx = ctx;
    s->closing = true;
    if (s->ending == STREAM_EOF + 1) /* the peer may still listen */
        s->ending = 0;
    s->ended = false;
    s->tell_drained = s->shut_asked = false;
    s->in_n = 0; /* the memory goes with stream_in_keep: the caller may hold a line of it */
    stream_enter(s);
    stream_due(s, DUE_DEADLINE, 0);
    stream_due(s, DUE_RATE, 0);
    stream_due(s, DUE_CLOSE, stream_tuning.close_ms);
    stream_leave(s);
}

void stream_close_after_flush(struct stream *s)
{
    static const struct stream_ops silent = {0};

    stream_close_begin(s, &silent, NULL);
}

void stream_shut_write(struct stream *s)
{
    s->shut_asked = true;
    stream_kick(s);
}

/* --- from the loop --- */

void stream_enter(struct stream *s)
{
    s->depth++;
}

static void wind_up(struct stream *s)
{
    if (!s->closing) {
        if (!s->out_held || s->shut_asked || s->ending || stream_is_backed_up(s))
            stream_flush(s);
        if (s->shut_asked && !s->shut_done && !stream_pending(s) && !s->ending) {
            s->shut_done = true;
            stream_tls_goodbye(s);
            if (shutdown(s->fd, SHUT_WR) < 0)
                stream_fail(s, STREAM_ERROR, strerrordesc_np(errno));
        }
        if (s->ending && !s->ended)
            finish(s);
    }
    if (s->closing && !s->dead)
        close_step(s);
}

void stream_leave(struct stream *s)
{
    if (s->depth == 1 && !s->dead) {
        wind_up(s);
        if (!s->dead) {
            settle(s);
            stream_in_keep(s);
        }
    }
    if (--s->depth == 0 && s->dead)
        free(s);
}

static void tell_drained(struct stream *s)
{
    if (s->dead || s->ended || s->closing || s->ending || !s->tell_drained || stream_in_handshake(s) ||
        stream_pending(s) > s->low_water)
        return;
    s->tell_drained = false;
    if (s->ops->drained)
        s->ops->drained(s->ctx, s);
}

static void stream_kicked(struct stream *s)
{
    stream_enter(s);
    if (!s->closing && !s->ended) {
        stream_deliver(s);
        if (!s->dead && s->in_more && s->ssl && stream_may_read(s))
            stream_read_rounds(s);
        tell_drained(s);
    }
    stream_leave(s);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    stream_enter(s);
    if (s->lingering) {
        if (discard(s) == IO_EOF)
            stream_close_now(s);
    } else if (s->tls_state == TLS_HANDSHAKE && !s->closing) {
        stream_tls_step(s);
    } else if (stream_may_read(s)) {
        stream_read_rounds(s);
    } else {
        /* paused, full, or the clear text before TLS is not out yet */
        event_del(&s->read_ev);
        s->reading = false;
    }
    stream_leave(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    stream_enter(s);
    if (!(what & EV_WRITE)) {
        if (!stream_still_moves(s)) {
            struct linger none = {.l_onoff = 1};

            /* megabytes of it lie in the kernel, which would keep them for minutes: reset, do not close */
            (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
            stream_fail(s, STREAM_STALLED, "the peer takes no output");
        }
    } else if (s->tls_state == TLS_HANDSHAKE) {
        stream_tls_step(s);
    } else {
        bool read_too = s->tls_wants_write;

        s->tls_wants_write = false;
        stream_push(s);
        if (read_too && stream_may_read(s))
            stream_read_rounds(s);
        if (!s->dead && (s->held || s->in_end))
            stream_deliver(s);
        tell_drained(s);
    }
    stream_leave(s);
}

/* --- small things --- */

void stream_pause(struct stream *s)
{
    if (!s->paused)
        stream_clock_paused(s, true);
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    if (s->paused)
        stream_clock_paused(s, false);
    s->paused = false;
    if (s->dead || s->ended || s->closing)
        return;
    s->progressed = true; /* inside the callback: it is called again */
    if (s->in_n || s->in_end)
        stream_kick(s);
    if (s->depth == 0)
        settle(s);
}

void stream_when_drained(struct stream *s)
{
    s->tell_drained = true;
    if (stream_pending(s) <= s->low_water)
        stream_kick(s);
}

int stream_fd(const struct stream *s)
{
    return s->fd;
}

uint64_t stream_octets_in(const struct stream *s)
{
    return s->octets_in;
}

uint64_t stream_octets_out(const struct stream *s)
{
    return s->octets_out;
}
