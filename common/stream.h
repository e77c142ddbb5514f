/*
 * stream: one connected socket as lines, octets and literals; TLS, time and back-pressure are inside.
 *
 * On libevent's loop, one thread, non-blocking. Reads go into one scratch buffer of 64 KiB shared by all
 * streams of the process; what a callback does not consume is kept in the stream's own buffer, so an idle
 * stream holds none. Output appended to stream_out() leaves with stream_flush() or at the latest when the
 * callback returns.
 *
 * Callbacks may call anything, stream_free of the same stream too. `input` is called again while there is
 * input and it made progress (consumed something); it must consume or raise its limit or end the stream:
 * input beyond `input_max` unconsumed octets stops reading until the owner consumes (stream_consume) or calls
 * stream_resume. While more than STREAM_OUT_HIGH waits to be written, `input` is not called and nothing is
 * read (security.md I11). No callback is called from inside a function of this header: what it finds is told
 * from the loop's next turn.
 *
 *     static void on_input(void *ctx, struct stream *s) {
 *         struct slice line;
 *         while (stream_line(s, 2048, &line) == STREAM_LINE) { handle(line); }
 *     }
 */
#ifndef COMMON_STREAM_H
#define COMMON_STREAM_H

#include <event2/event.h>

#include "common/buf.h"

struct stream;
struct tls_context;

enum stream_end {
    STREAM_EOF,     /* the peer closed properly (with TLS: close_notify, or plain EOF as most clients do) */
    STREAM_ERROR,   /* reset, TLS error */
    STREAM_TIMEOUT, /* deadline, or minimum rate missed */
    STREAM_STALLED, /* output not taken for STREAM_STALL_SECONDS */
};

#define STREAM_STALL_SECONDS 60
#define STREAM_OUT_HIGH                                                                                      \
    ((size_t)256 * 1024) /* above it the owner should stop producing: stream_is_backed_up */

struct stream_ops {
    void (*input)(void *ctx, struct stream *s);
    /* Output fell to nothing after stream_is_backed_up was true, or stream_when_drained was asked for. */
    void (*drained)(void *ctx, struct stream *s);
    /* TLS handshake done; may be NULL */
    void (*secured)(void *ctx, struct stream *s);
    /* The stream is at its end: nothing more comes or goes. The owner calls stream_free (here or later). */
    void (*ended)(void *ctx, struct stream *s, enum stream_end why, const char *detail);
};

/* fd is taken over and made non-blocking, TCP_NODELAY set if it is TCP. */
struct stream *stream_new(struct event_base *base, int fd, const struct stream_ops *ops, void *ctx);
void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *ctx);
/* Closes at once; with TLS a close_notify is tried. Safe inside callbacks. */
void stream_free(struct stream *s);
/* Writes what waits, then close_notify and close, then frees itself; no callback comes any more. At most 10
 * s. */
void stream_close_after_flush(struct stream *s);

/* --- input --- */
/* All unconsumed input; valid until the next call on this stream. */
struct slice stream_input(struct stream *s);
void stream_consume(struct stream *s, size_t n);
/* Unconsumed octets allowed (default 64 KiB). */
void stream_set_input_max(struct stream *s, size_t n);
/* Stop and start reading (a command runs; back-pressure). Resuming delivers input that waits, from the loop.
 */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
/* Puts octets in front of what comes (input the front had read already). */
void stream_unread(struct stream *s, struct slice octets);

enum stream_line { STREAM_MORE, STREAM_LINE, STREAM_LINE_LONG };
/*
 * The next line without its CRLF or LF (and without the CR of CRLF), consumed; valid until the next call.
 * `max` octets with line end: a longer one is discarded up to its LF, in pieces, and then reported once as
 * STREAM_LINE_LONG. A line that holds a bare CR in the middle is returned as it is.
 */
enum stream_line stream_line(struct stream *s, size_t max, struct slice *line);

/* --- output --- */
/* Append here; cap is generous (64 MiB): producers heed stream_is_backed_up. */
struct buf *stream_out(struct stream *s);
void stream_flush(struct stream *s);
/*
 * While held, output does not leave when a callback returns: for a reply whose continuation is moments away,
 * so that both go in one packet. stream_flush, an end of the stream and STREAM_OUT_HIGH let it go all the
 * same.
 */
void stream_hold(struct stream *s, bool hold);
/* Writes what waits and then this, straight from the slice where the socket takes it (no copy); the rest is
 * copied. */
void stream_write(struct stream *s, struct slice octets);
size_t stream_pending(const struct stream *s);
bool stream_is_backed_up(const struct stream *s);
void stream_when_drained(struct stream *s);

/* --- TLS --- */
/*
 * Server side. Input that waits at this moment is an error (STREAM_ERROR, "input before TLS"; nothing is
 * answered): S04. With starttls the output that waits goes out in clear first; all other output waits for the
 * handshake. Handshake deadline 10 s. alpn: "imap", "pop3", "smtp"; static text. A role with TLS ignores
 * SIGPIPE.
 */
void stream_start_tls(struct stream *s, struct tls_context *tls, const char *alpn, bool starttls);
struct tls_peer;
/*
 * Client side: begins the handshake; `secured` follows, or the end (STREAM_ERROR) with OpenSSL's reason,
 * which for a certificate that is not what *peer (common/tls.h, copied) asks for is "certificate verify
 * failed". Input that waits is an error as above: what a server says behind its answer to STARTTLS is an
 * attacker's. All output must have left. The owner sets a deadline.
 */
void stream_start_tls_client(struct stream *s, struct tls_context *tls, const struct tls_peer *peer);
/* How the server's certificate was verified: "dane", "pkix", "no" (then *why is static text: the reason). */
const char *stream_tls_verified(const struct stream *s, const char **why);
bool stream_is_tls(const struct stream *s);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384"; "" without TLS */
void stream_tls_text(const struct stream *s, struct buf *out);
/* RFC 9266 tls-exporter channel binding, 32 octets; false without TLS 1.3. */
bool stream_tls_exporter(const struct stream *s, unsigned char out[32]);

/* --- time --- */
/* Absolute deadline from now on; 0: none. Passing it ends the stream with STREAM_TIMEOUT. */
void stream_deadline(struct stream *s, unsigned milliseconds);
/* While set, at least so many octets a second must come in, judged over 30 s; 0: off. */
void stream_min_rate(struct stream *s, unsigned octets_per_second);

/*
 * Gives the socket away (plain streams only): the fd, unread input in *left, pending output must be 0. The
 * stream is freed. -1 when it has TLS or output waits.
 */
int stream_detach(struct stream *s, struct buf *left);

/*
 * Connects two streams for good: what comes from one goes to the other, 64 KiB at a time, at most 256 KiB
 * waiting. EOF of b (the worker): the rest is written to a, then both end. EOF of a ends reading only: b's
 * write side is shut. `ended` of ops is called once when both are closed and freed.
 */
void stream_relay(struct stream *a, struct stream *b, void (*ended)(void *ctx), void *ctx);

int stream_fd(const struct stream *s);
uint64_t stream_octets_in(const struct stream *s);
uint64_t stream_octets_out(const struct stream *s);

#endif
