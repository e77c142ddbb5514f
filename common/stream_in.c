/* Reading, unconsumed input, lines. */
#include "common/stream_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/mem.h"

/*
 * Every read lands here and is delivered from here; only what a callback leaves is copied. No callback of one
 * stream can make another one read (stream_internal.h, rule 1), so the input under delivery stays what it is.
 */
static char scratch[STREAM_SCRATCH];

/* Input larger than this stays in the stream's own memory and is added to there. */
#define MOVE_MAX (STREAM_SCRATCH / 4)

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Room behind what waits in own memory: at most `room`, which may be reduced. */
static char *own_room(struct stream *s, size_t *room)
{
    size_t size = s->own_size, want = s->in_n + smaller(*room, STREAM_SCRATCH);
    char *own;

    if (s->in_scratch || size < want) {
        size = smaller(want > s->in_n * 2 ? want : s->in_n * 2, s->in_n + *room);
        own = mem_alloc(size);
        memcpy(own, s->in, s->in_n);
        free(s->own);
        s->own = own;
        s->own_size = size;
        s->in = own;
        s->in_scratch = false;
    } else if (s->own_size - (size_t)(s->in - s->own) < want) {
        memmove(s->own, s->in, s->in_n);
        s->in = s->own;
    }
    *room = smaller(*room, s->own_size - (size_t)(s->in - s->own) - s->in_n);
    return s->own + (s->in - s->own) + s->in_n;
}

static char *in_room(struct stream *s, size_t *room)
{
    if (s->in_n > MOVE_MAX)
        return own_room(s, room);
    if (s->in_n)
        memmove(scratch, s->in, s->in_n);
    s->in = scratch;
    s->in_scratch = true;
    *room = smaller(*room, STREAM_SCRATCH - s->in_n);
    return scratch + s->in_n;
}

void stream_in_drop(struct stream *s)
{
    free(s->own);
    s->own = NULL;
    s->own_size = 0;
    s->in = NULL;
    s->in_n = s->scanned = 0;
    s->in_scratch = false;
}

void stream_in_keep(struct stream *s)
{
    if (s->in_n == 0) {
        if (s->in)
            stream_in_drop(s);
        return;
    }
    if (!s->in_scratch)
        return;
    if (s->own_size < s->in_n) {
        free(s->own);
        s->own = mem_alloc(s->in_n);
        s->own_size = s->in_n;
    }
    memcpy(s->own, s->in, s->in_n);
    s->in = s->own;
    s->in_scratch = false;
}

static enum stream_io plain_read(struct stream *s, char *to, size_t room, size_t *got)
{
    ssize_t n;

    *got = 0;
    do {
        n = recv(s->fd, to, room, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return IO_EOF;
    if (n < 0) {
        if (errno == EAGAIN)
            return IO_AGAIN;
        s->in_detail = strerrordesc_np(errno);
        return IO_FAIL;
    }
    *got = (size_t)n;
    s->in_more = *got == room;
    return IO_OK;
}

static enum stream_io fill(struct stream *s)
{
    size_t room = s->input_max - s->in_n, got;
    char *to = in_room(s, &room);
    enum stream_io io;

    s->in_more = false;
    io = s->tls_state == TLS_NONE ? plain_read(s, to, room, &got) : stream_tls_read(s, to, room, &got);
    s->in_n += got;
    s->octets_in += got;
    if (io == IO_EOF) {
        s->in_end = STREAM_EOF + 1;
        s->in_detail = "closed by the peer";
    } else if (io == IO_FAIL) {
        s->in_end = STREAM_ERROR + 1;
    }
    return got ? IO_OK : io;
}

bool stream_may_deliver(const struct stream *s)
{
    return !s->dead && !s->ended && !s->closing && !s->paused && !stream_in_handshake(s) &&
           !stream_is_backed_up(s);
}

void stream_deliver(struct stream *s)
{
    while (s->in_n && stream_may_deliver(s)) {
        s->progressed = false;
        s->ops->input(s->ctx, s);
        if (s->dead || !s->progressed)
            break;
        if (stream_is_backed_up(s))
            stream_flush(s);
    }
    if (s->dead)
        return;
    s->held = s->in_n && !stream_may_deliver(s);
    if (s->in_end && stream_may_deliver(s) && !s->eof_told)
        stream_fail(s, (enum stream_end)(s->in_end - 1), s->in_detail);
}

void stream_read_rounds(struct stream *s)
{
    int round;

    for (round = 0; round < STREAM_ROUNDS && stream_may_read(s); round++) {
        if (fill(s) == IO_AGAIN)
            return;
        stream_deliver(s);
        if (s->dead || !s->in_more)
            return;
    }
}

struct slice stream_input(struct stream *s)
{
    return slice_of(s->in, s->in_n);
}

static void consume(struct stream *s, size_t n)
{
    INVARIANT(n <= s->in_n);
    if (n == 0)
        return;
    s->in += n;
    s->in_n -= n;
    s->scanned = s->scanned > n ? s->scanned - n : 0;
    s->progressed = true;
    if (s->depth == 0)
        stream_kick(s); /* reads on, gives memory back */
}

void stream_consume(struct stream *s, size_t n)
{
    consume(s, n);
}

void stream_set_input_max(struct stream *s, size_t n)
{
    bool more = n > s->input_max;

    s->input_max = n;
    if (!more)
        return;
    if (s->depth == 0)
        stream_kick(s);
}

void stream_unread(struct stream *s, struct slice octets)
{
    size_t size;
    char *own;

    if (octets.n == 0)
        return;
    INVARIANT(!__builtin_add_overflow(octets.n, s->in_n, &size));
    own = mem_alloc(size);
    memcpy(own, octets.p, octets.n);
    if (s->in_n)
        memcpy(own + octets.n, s->in, s->in_n);
    free(s->own);
    s->own = own;
    s->own_size = size;
    s->in = own;
    s->in_n = size;
    s->in_scratch = false;
    s->scanned = 0;
    stream_kick(s);
}

enum stream_line stream_line(struct stream *s, size_t max, struct slice *line)
{
    size_t look = s->skip_line ? s->in_n : smaller(s->in_n, max);
    const char *lf = NULL;
    size_t n;

    *line = slice_of(NULL, 0);
    if (s->input_max < max) /* else an allowed line would never be complete */
        stream_set_input_max(s, max);
    if (look > s->scanned)
        lf = memchr(s->in + s->scanned, '\n', look - s->scanned);
    if (!lf) {
        if (!s->skip_line && s->in_n < max) {
            s->scanned = s->in_n;
            return STREAM_MORE;
        }
        /* too long: let it go by, up to its LF */
        if (!s->skip_line) {
            s->skip_line = true;
            lf = memchr(s->in + look, '\n', s->in_n - look);
        }
        if (!lf) {
            consume(s, s->in_n);
            return STREAM_MORE;
        }
    }
    n = (size_t)(lf - s->in);
    if (s->skip_line) {
        s->skip_line = false;
        consume(s, n + 1);
        s->scanned = 0;
        return STREAM_LINE_LONG;
    }
    *line = slice_of(s->in, n > 0 && s->in[n - 1] == '\r' ? n - 1 : n);
    consume(s, n + 1);
    s->scanned = 0;
    return STREAM_LINE;
}
