/* Waiting output, writing. */
#include "common/stream_internal.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/mem.h"

/* A TLS record; also what is copied rather than sent by a call of its own. */
#define RECORD ((size_t)16 * 1024)
/* Less than this acknowledged in STREAM_STALL_SECONDS is no progress. */
#define MOVES_MIN 1024

struct buf *stream_out(struct stream *s)
{
    return &s->out;
}

size_t stream_pending(const struct stream *s)
{
    return s->out.n - s->out_at;
}

bool stream_is_backed_up(const struct stream *s)
{
    return stream_pending(s) > STREAM_OUT_HIGH;
}

/* One write of up to two pieces; with TLS only the first. */
static enum stream_io write_some(struct stream *s, const struct slice piece[2], size_t *put)
{
    struct iovec iov[2] = {
        {(void *)(uintptr_t)piece[0].p, piece[0].n}, {(void *)(uintptr_t)piece[1].p, piece[1].n}};
    bool one = piece[1].n == 0;
    struct msghdr msg = {.msg_iov = piece[0].n ? iov : iov + 1, .msg_iovlen = piece[0].n && !one ? 2 : 1};
    ssize_t n;

    *put = 0;
    if (s->tls_state == TLS_ON) {
        const struct slice *first = piece[0].n ? &piece[0] : &piece[1];

        return stream_tls_write(s, first->p, first->n, put);
    }
    do {
        n = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
        return IO_AGAIN;
    if (n < 0) {
        stream_fail(s, STREAM_ERROR, strerrordesc_np(errno));
        return IO_FAIL;
    }
    *put = (size_t)n;
    return *put < piece[0].n + piece[1].n ? IO_AGAIN : IO_OK; /* a short write: the socket is full */
}

/* What was written leaves the buffer; an empty one holds no memory. */
static void out_gone(struct stream *s, size_t n)
{
    s->out_at += n;
    s->octets_out += n;
    if (s->out_at == s->out.n) {
        s->out_at = 0;
        buf_free(&s->out);
    } else if (s->out_at > s->out.n / 2) {
        buf_drop(&s->out, s->out_at);
        s->out_at = 0;
    }
}

static void out_lost(struct stream *s)
{
    s->write_failed = true;
    s->out_at = 0;
    buf_free(&s->out);
}

/* May anything be written at this moment, and how much of what waits? */
static size_t writable(struct stream *s)
{
    if (s->out.full) {
        stream_fail(s, STREAM_ERROR, "more output than a stream holds");
        out_lost(s);
    }
    if (s->write_failed)
        out_lost(s);
    if (s->dead || s->ended || s->shut_done || s->tls_state == TLS_HANDSHAKE)
        return 0;
    return s->tls_state == TLS_CLEAR_FIRST ? s->clear_left : stream_pending(s);
}

/* extra: follows what waits; what of it was not written is left in it. */
static void push(struct stream *s, struct slice *extra)
{
    struct slice piece[2];
    size_t put, n;
    enum stream_io io = IO_OK;

    if (stream_is_backed_up(s))
        s->tell_drained = true;
    while (io == IO_OK) {
        n = writable(s);
        if (s->write_failed || n + extra->n == 0)
            break;
        piece[0] = slice_of(s->out.p ? s->out.p + s->out_at : NULL, n);
        piece[1] = *extra;
        io = write_some(s, piece, &put);
        if (s->tls_state == TLS_CLEAR_FIRST)
            s->clear_left -= put;
        if (put > n) {
            *extra = slice_from(*extra, put - n);
            s->octets_out += put - n;
            put = n;
        }
        if (put)
            out_gone(s, put);
    }
    if (io == IO_FAIL) {
        out_lost(s);
        *extra = slice_of(NULL, 0);
    }
    if (s->tls_state == TLS_CLEAR_FIRST && s->clear_left == 0 && !s->write_failed) {
        s->tls_state = TLS_HANDSHAKE;
        io = IO_OK;
    }
    if (io == IO_AGAIN || s->tls_wants_write) {
        stream_want_write(s);
    } else if (s->writing && s->tls_state != TLS_HANDSHAKE) {
        event_del(&s->write_ev);
        s->writing = false;
    }
    if (s->tell_drained && s->depth == 0 && stream_pending(s) <= s->low_water)
        stream_kick(s);
}

void stream_push(struct stream *s)
{
    struct slice none = {0};

    push(s, &none);
}

void stream_flush(struct stream *s)
{
    /* while the socket is known to be full there is nothing to try */
    if (!s->writing && writable(s))
        stream_push(s);
}

void stream_hold(struct stream *s, bool hold)
{
    s->out_held = hold;
}

void stream_write(struct stream *s, struct slice octets)
{
    size_t waits = stream_pending(s);

    if (s->dead || s->ended || s->write_failed || s->shut_done || octets.n == 0)
        return;
    if (s->writing || stream_in_handshake(s)) {
        buf_add(&s->out, octets);
        return;
    }
    if (s->tls_state == TLS_ON && waits && waits < RECORD) {
        /* fill the record that has begun: a short one would cost a packet of its own */
        struct slice head = slice_sub(octets, 0, RECORD - waits);

        buf_add(&s->out, head);
        octets = slice_from(octets, head.n);
        stream_push(s);
        if (s->writing) {
            buf_add(&s->out, octets);
            return;
        }
    }
    push(s, &octets);
    if (octets.n && !s->write_failed)
        buf_add(&s->out, octets);
}

bool stream_still_moves(struct stream *s)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    uint64_t before = s->acked;

    /*
     * "Writable" comes when a third of the socket's buffer is free; over a slow line that may take more than
     * a minute. So ask what the other end acknowledged. Other sockets than TCP do not say, and are never
     * slow.
     */
    if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
        return false;
    s->acked = info.tcpi_bytes_acked;
    return s->acked - before >= MOVES_MIN;
}
