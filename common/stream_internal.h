/*
 * stream_internal: what the files of stream share; nobody else includes it (but their test).
 *
 * stream.c       life, the loop's callbacks, closing
 * stream_in.c    reading, unconsumed input, lines
 * stream_out.c   waiting output, writing
 * stream_time.c  deadlines, minimum rate
 * stream_tls.c   TLS on a stream
 * stream_relay.c two streams as one pipe
 *
 * Three rules hold it together. (1) The owner's callbacks are called from the loop only, never from inside a
 * function the owner called: what such a function finds out (an error, input that waits) is noted and the
 * stream is kicked, which calls stream_kicked() in the next turn of the loop, after other sockets had theirs.
 * (2) Every way in from the loop is framed by stream_enter and stream_leave; leave writes what was appended,
 * arms what is needed, and frees a stream that was given up meanwhile. (3) Events are taken out lazily: a
 * paused stream is disarmed only when it turns out to be readable, so that pause and resume around a command
 * cost no system call.
 */
#ifndef COMMON_STREAM_INTERNAL_H
#define COMMON_STREAM_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "common/stream.h"

struct ssl_st;
struct iovec;
struct stream_hub;

#define STREAM_SCRATCH ((size_t)64 * 1024)
#define STREAM_OUT_CAP ((size_t)64 * 1024 * 1024)
#define STREAM_INPUT_MAX ((size_t)64 * 1024)
/* Reads for one readiness; then others have their turn. */
#define STREAM_ROUNDS 4

/* Times that a test shortens. */
struct stream_tuning {
    unsigned stall_ms;
    unsigned rate_window_ms;
    unsigned handshake_ms;
    unsigned close_ms;
};
extern struct stream_tuning stream_tuning;

enum stream_io { IO_OK, IO_AGAIN, IO_EOF, IO_FAIL };
enum stream_due { DUE_DEADLINE, DUE_RATE, DUE_HANDSHAKE, DUE_CLOSE, DUE_COUNT };
enum stream_tls_state {
    TLS_NONE,
    TLS_CLEAR_FIRST, /* the answer to STARTTLS is still being written */
    TLS_HANDSHAKE,
    TLS_ON,
};

/* Exists only while something of it is set. */
struct stream_clock {
    struct event timer;
    int64_t due[DUE_COUNT]; /* monotonic milliseconds, 0: none */
    int64_t armed;          /* when the timer fires; earlier than needed is allowed */
    unsigned rate;          /* octets a second */
    uint64_t rate_mark;     /* octets_in when the window began */
    int64_t rate_from;
    int64_t paused_at; /* 0: not paused */
    int64_t paused_ms; /* of this window: our own slowness does not count against the peer */
};

struct stream {
    struct event read_ev, write_ev;
    struct stream_hub *hub;
    TAILQ_ENTRY(stream) in_hub;
    const struct stream_ops *ops;
    void *ctx;
    int fd;
    unsigned depth; /* callbacks from the loop that are under way */

    const char *in; /* unconsumed input: in the scratch buffer or in own */
    size_t in_n;
    char *own;
    size_t own_size;
    size_t input_max;
    size_t scanned; /* octets of it known to hold no LF */

    struct buf out; /* the first out_at octets have left */
    size_t out_at;
    size_t low_water; /* `drained` is told at or below */
    uint64_t octets_in, octets_out;

    struct ssl_st *ssl;
    struct tls_context *tls;
    size_t clear_left; /* octets of out that leave before TLS */
    struct stream_clock *clock;
    uint64_t acked; /* octets the peer's TCP had acknowledged when the stall timer last fired */

    size_t discarded;      /* octets that came when we had closed */
    const char *detail;    /* static text */
    const char *in_detail; /* the same for in_end */
    uint8_t tls_state;
    uint8_t ending; /* enum stream_end + 1: `ended` is to be told */
    uint8_t in_end; /* enum stream_end + 1: nothing more comes in; told when the input is consumed */

    bool reading : 1; /* read_ev is added */
    bool writing : 1; /* write_ev is added: the socket is full */
    bool kicked : 1;
    bool paused : 1;
    bool held : 1;       /* input waits that could not be delivered */
    bool progressed : 1; /* the callback consumed something */
    bool in_scratch : 1; /* in points into the scratch buffer */
    bool in_more : 1;    /* the last read left something behind (in the socket or in the SSL object) */
    bool skip_line : 1;  /* inside a line that is too long */
    bool tell_drained : 1;
    bool out_held : 1; /* output leaves on stream_flush only */
    bool write_failed : 1;
    bool tls_broken : 1;      /* no close_notify may be sent any more */
    bool tls_wants_write : 1; /* SSL_read must write first */
    bool half_close : 1;      /* relay: end of file ends reading only, `ended` may come once more */
    bool eof_told : 1;
    bool shut_asked : 1; /* shut the write side when the output is out */
    bool shut_done : 1;
    bool closing : 1;
    bool lingering : 1;
    bool ended : 1; /* told */
    bool dead : 1;  /* stream_free was called; the memory goes when the callbacks are done */
};

/* stream.c */
void stream_enter(struct stream *s);
void stream_leave(struct stream *s);
/* Calls stream_kicked from the loop's next turn. */
void stream_kick(struct stream *s);
/* Notes the end (the first one counts); it is told from the loop. detail is static text. */
void stream_fail(struct stream *s, enum stream_end why, const char *detail);
/* stream_close_after_flush, but ops->ended (may be NULL) is called when the stream is closed. */
void stream_close_begin(struct stream *s, const struct stream_ops *ops, void *ctx);
void stream_close_now(struct stream *s);
/* Shuts the write side when what waits is out. */
void stream_shut_write(struct stream *s);
bool stream_may_read(const struct stream *s);
bool stream_in_handshake(const struct stream *s);
void stream_want_write(struct stream *s);

/* stream_in.c */
void stream_read_rounds(struct stream *s);
void stream_deliver(struct stream *s);
bool stream_may_deliver(const struct stream *s);
/* Input that the callbacks left goes from the scratch buffer to the stream's own; none left: no memory. */
void stream_in_keep(struct stream *s);
void stream_in_drop(struct stream *s);

/* stream_out.c */
/* Writes what the socket takes, whether it was full or not. */
void stream_push(struct stream *s);
/* The peer's TCP took octets since this was asked last. */
bool stream_still_moves(struct stream *s);

/* stream_time.c */
int64_t stream_now(void);
/* Sets (from now on) or clears (ms == 0) one of the times. */
void stream_due(struct stream *s, enum stream_due which, unsigned ms);
void stream_clock_free(struct stream *s);
/* Minimum rate: time in which we do not read is not the peer's. */
void stream_clock_paused(struct stream *s, bool paused);

/* stream_tls.c */
void stream_tls_step(struct stream *s);
enum stream_io stream_tls_read(struct stream *s, char *to, size_t room, size_t *got);
enum stream_io stream_tls_write(struct stream *s, const char *p, size_t n, size_t *put);
void stream_tls_goodbye(struct stream *s);
void stream_tls_free(struct stream *s);

#endif
