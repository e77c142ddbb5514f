#include "tests/unit/test_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/stream_internal.h"

/* --- helpers --- */

static void watch_input(void *ctx, struct stream *s)
{
    struct watch *w = ctx;

    w->inputs++;
    if (w->on_input)
        w->on_input(w, s);
}

static void watch_drained(void *ctx, struct stream *s)
{
    struct watch *w = ctx;

    w->drained++;
    if (w->on_drained)
        w->on_drained(w, s);
}

static void watch_secured(void *ctx, struct stream *s)
{
    struct watch *w = ctx;

    w->secured++;
    if (w->on_secured)
        w->on_secured(w, s);
}

static void watch_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail)
{
    struct watch *w = ctx;

    assert_int_equal(w->ended, 0);
    w->ended++;
    w->why = why;
    snprintf(w->detail, sizeof w->detail, "%s", detail);
    if (w->on_ended)
        w->on_ended(w, s);
}

const struct stream_ops watch_ops = {
    .input = watch_input, .drained = watch_drained, .secured = watch_secured, .ended = watch_ended};

static void pair(int fd[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
}

static void no_block(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

void watch_open(struct watch *w)
{
    int fd[2];

    *w = (struct watch){.on_input = take_lines};
    buf_init(&w->got, BUF_OWN);
    w->base = event_base_new();
    pair(fd);
    no_block(fd[1]);
    w->peer = fd[1];
    w->s = stream_new(w->base, fd[0], &watch_ops, w);
}

void watch_close(struct watch *w)
{
    if (w->s)
        stream_free(w->s);
    if (w->peer >= 0)
        close(w->peer);
    run_ready(w);
    event_base_free(w->base);
    buf_free(&w->got);
}

static void give_up(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

void run_for(struct watch *w, unsigned ms)
{
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};

    assert_int_equal(event_base_once(w->base, -1, EV_TIMEOUT, give_up, w->base, &tv), 0);
    event_base_dispatch(w->base);
}

void run_until(struct watch *w, const unsigned *flag, unsigned n)
{
    int64_t end = stream_now() + 5000;

    while (*flag < n) {
        if (stream_now() > end)
            fail_msg("waited in vain for %u (is %u)", n, *flag);
        if (event_base_loop(w->base, EVLOOP_ONCE | EVLOOP_NONBLOCK) == 0) {
            struct timespec ms = {0, 500000};

            nanosleep(&ms, NULL);
        }
    }
}

void run_ready(struct watch *w)
{
    int i;

    for (i = 0; i < 20; i++)
        event_base_loop(w->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

void say(struct watch *w, const char *text)
{
    assert_int_equal(send(w->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

void take_lines(struct watch *w, struct stream *s)
{
    struct slice line;
    enum stream_line what;

    while ((what = stream_line(s, 16, &line)) != STREAM_MORE) {
        if (what == STREAM_LINE_LONG)
            buf_add_str(&w->got, "<long>");
        else
            buf_printf(&w->got, "[%.*s]", SLICE_FMT(line));
    }
}

void assert_got(struct watch *w, const char *text)
{
    assert_string_equal(buf_str(&w->got), text);
}

/* Everything the peer's end holds at this moment. */
static size_t peer_reads(struct watch *w, struct buf *to)
{
    char part[65536];
    size_t all = 0;
    ssize_t n;

    while ((n = read(w->peer, part, sizeof part)) > 0) {
        all += (size_t)n;
        if (to)
            buf_add(to, slice_of(part, (size_t)n));
    }
    return all;
}

static void assert_peer_reads(struct watch *w, const char *text)
{
    struct buf b = BUF_INIT(BUF_OWN);

    peer_reads(w, &b);
    assert_string_equal(buf_str(&b), text);
    buf_free(&b);
}

/* --- input --- */

static const struct {
    const char *in, *out;
} line_rows[] = {
    {"a\r\n", "[a]"},
    {"a\nb\r\n", "[a][b]"},
    {"\r\n\n", "[][]"},
    {"a\rb\r\n", "[a\rb]"},
    {"a\r\r\n", "[a\r]"},
    {"no end", ""},
    {"12345678901234\r\nx\r\n", "[12345678901234][x]"},
    {"123456789012345\r\nx\r\n", "<long>[x]"},
    {"1234567890123456789012345678901234567890\r\nx\n", "<long>[x]"},
    {"12345678901234567\n\nx\n12345678901234567890\n", "<long>[][x]<long>"},
    {"1234567890123456\ny\n", "<long>[y]"},
    {"123456789012345\ny\n", "[123456789012345][y]"},
};

/* Each row arrives in every way of being cut in two, and octet by octet. */
static void lines_cut_anywhere(void **state)
{
    size_t i, cut, n;

    (void)state;
    for (i = 0; i < sizeof line_rows / sizeof *line_rows; i++) {
        n = strlen(line_rows[i].in);
        for (cut = 0; cut <= n; cut++) {
            struct watch w;
            size_t at;

            watch_open(&w);
            for (at = 0; at < n;) {
                size_t part = cut == 0 ? 1 : at == 0 ? cut : n - at;

                assert_int_equal(write(w.peer, line_rows[i].in + at, part), (ssize_t)part);
                event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
                at += part;
            }
            run_ready(&w);
            assert_got(&w, line_rows[i].out);
            assert_int_equal(stream_octets_in(w.s), n);
            watch_close(&w);
        }
    }
}

static void take_nothing(struct watch *w, struct stream *s)
{
    (void)w;
    (void)s;
}

/* No more than input_max waits; the owner's consuming makes it read on. */
static void input_is_bounded(void **state)
{
    char *block = mem_zalloc(200000, 1);
    struct watch w;
    ssize_t sent;
    size_t taken = 0;

    (void)state;
    watch_open(&w);
    w.on_input = take_nothing;
    stream_set_input_max(w.s, 30000);
    sent = write(w.peer, block, 200000);
    assert_true(sent > 100000);
    run_ready(&w);
    assert_int_equal(stream_input(w.s).n, 30000);
    stream_set_input_max(w.s, 40000);
    run_ready(&w);
    assert_int_equal(stream_input(w.s).n, 40000);
    while (stream_input(w.s).n) {
        size_t n = stream_input(w.s).n > 17000 ? 17000 : stream_input(w.s).n;

        stream_consume(w.s, n);
        taken += n;
        run_ready(&w);
        assert_true(stream_input(w.s).n <= 40000);
    }
    assert_int_equal(taken, sent);
    free(block);
    watch_close(&w);
}

static void pause_after_line(struct watch *w, struct stream *s)
{
    struct slice line;

    if (stream_line(s, 16, &line) == STREAM_LINE) {
        buf_printf(&w->got, "[%.*s]", SLICE_FMT(line));
        stream_pause(s);
    }
}

static void pause_and_resume(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_input = pause_after_line;
    say(&w, "a\nb\nc\n");
    run_ready(&w);
    assert_got(&w, "[a]");
    say(&w, "d\n");
    run_ready(&w);
    stream_resume(w.s);
    assert_got(&w, "[a]"); /* not from inside our call */
    run_ready(&w);
    assert_got(&w, "[a][b]");
    stream_resume(w.s);
    run_ready(&w);
    assert_got(&w, "[a][b][c]");
    stream_resume(w.s);
    run_ready(&w);
    assert_got(&w, "[a][b][c][d]");
    watch_close(&w);
}

static void unread_once(struct watch *w, struct stream *s)
{
    if (!w->extra) {
        struct slice line;

        assert_int_equal(stream_line(s, 16, &line), STREAM_LINE);
        stream_unread(s, line);
        stream_unread(s, SLICE("x "));
        w->extra = w;
    }
    take_lines(w, s);
}

static void unread(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    stream_unread(w.s, SLICE("b\nc"));
    stream_unread(w.s, SLICE("a\n"));
    assert_int_equal(w.inputs, 0);
    run_ready(&w);
    assert_got(&w, "[a][b]");
    say(&w, "\n");
    run_ready(&w);
    assert_got(&w, "[a][b][c]");
    w.on_input = unread_once;
    say(&w, "d\ne\n"); /* the line that is put back lost its end */
    run_ready(&w);
    assert_got(&w, "[a][b][c][x de]");
    watch_close(&w);
}

static void eof_after_input(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_input = pause_after_line;
    say(&w, "a\nb\nrest");
    close(w.peer);
    w.peer = -1;
    run_ready(&w);
    assert_got(&w, "[a]");
    stream_resume(w.s);
    run_ready(&w);
    assert_int_equal(w.ended, 0);
    stream_resume(w.s);
    run_until(&w, &w.ended, 1);
    assert_got(&w, "[a][b]");
    assert_int_equal(w.why, STREAM_EOF);
    assert_true(slice_eq(stream_input(w.s), SLICE("rest")));
    watch_close(&w);
}

/* --- output --- */

static void echo_lines(struct watch *w, struct stream *s)
{
    struct slice line;

    (void)w;
    while (stream_line(s, 2048, &line) == STREAM_LINE) {
        buf_add(stream_out(s), line);
        buf_add_char(stream_out(s), ';');
    }
}

static void output_leaves_at_return(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_input = echo_lines;
    say(&w, "a\nb\nc\n");
    run_ready(&w);
    assert_peer_reads(&w, "a;b;c;");
    buf_add_str(stream_out(w.s), "outside");
    run_ready(&w);
    assert_peer_reads(&w, "");
    stream_flush(w.s);
    assert_peer_reads(&w, "outside");
    buf_add_str(stream_out(w.s), "1 ");
    stream_write(w.s, SLICE("2 "));
    assert_peer_reads(&w, "1 2 ");
    assert_int_equal(stream_octets_out(w.s), 6 + 7 + 4);
    watch_close(&w);
}

static void output_is_held(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_input = echo_lines;
    stream_hold(w.s, true);
    say(&w, "a\n");
    run_ready(&w);
    assert_peer_reads(&w, "");
    stream_flush(w.s);
    assert_peer_reads(&w, "a;");
    say(&w, "b\n");
    run_ready(&w);
    assert_peer_reads(&w, "");
    stream_hold(w.s, false);
    say(&w, "c\n");
    run_ready(&w);
    assert_peer_reads(&w, "b;c;");
    stream_hold(w.s, true);
    say(&w, "d\n");
    run_ready(&w);
    assert_peer_reads(&w, "");
    stream_shut_write(w.s); /* the last words are not kept back */
    run_ready(&w);
    assert_peer_reads(&w, "d;");
    watch_close(&w);
}

/* The socket is full: the rest waits, in order, and `drained` comes when it is out. */
static void back_pressure(void **state)
{
    struct buf all = BUF_INIT(BUF_OWN);
    struct watch w;
    char block[1000];
    unsigned i;

    (void)state;
    watch_open(&w);
    for (i = 0; i < 1000; i++) {
        memset(block, 'a' + (int)(i % 26), sizeof block);
        if (i % 3)
            stream_write(w.s, slice_of(block, sizeof block));
        else
            buf_add(stream_out(w.s), slice_of(block, sizeof block));
    }
    stream_flush(w.s);
    assert_true(stream_is_backed_up(w.s));
    assert_int_equal(w.drained, 0);
    while (!w.drained) {
        peer_reads(&w, &all);
        event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    peer_reads(&w, &all);
    assert_int_equal(all.n, 1000000);
    for (i = 0; i < all.n; i++)
        assert_int_equal(all.p[i], 'a' + (int)(i / 1000 % 26));
    assert_int_equal(stream_pending(w.s), 0);
    assert_null(w.s->out.p);
    stream_when_drained(w.s);
    assert_int_equal(w.drained, 1);
    run_until(&w, &w.drained, 2);
    buf_free(&all);
    watch_close(&w);
}

static void answer_much(struct watch *w, struct stream *s)
{
    static char answer[4096];
    struct slice line;

    if (stream_line(s, 16, &line) == STREAM_LINE) {
        w->secured++; /* a command was carried out */
        memset(answer, 'x', sizeof answer);
        buf_add(stream_out(s), slice_of(answer, sizeof answer));
    }
}

/* security.md I11: a client that asks and does not read is not read any more, and goes when it takes nothing.
 */
static void client_that_does_not_read(void **state)
{
    struct stream_tuning keep = stream_tuning;
    struct watch w;
    int i;

    (void)state;
    stream_tuning.stall_ms = 100;
    watch_open(&w);
    w.on_input = answer_much;
    for (i = 0; i < 10000; i++) {
        if (write(w.peer, "NOOP\n", 5) != 5)
            break;
        if (i % 100 == 0)
            event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    run_ready(&w);
    assert_true(stream_pending(w.s) <= STREAM_OUT_HIGH + 2 * 4096);
    assert_true(w.secured < 2000);
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_STALLED);
    stream_tuning = keep;
    watch_close(&w);
}

/* The peer reads now and then: nothing is lost, and all commands are carried out. */
static void slow_reader(void **state)
{
    char commands[5000];
    struct watch w;
    size_t all = 0;

    (void)state;
    watch_open(&w);
    w.on_input = answer_much;
    for (int i = 0; i < 1000; i++)
        memcpy(commands + i * 5, "NOOP\n", 5);
    assert_int_equal(write(w.peer, commands, sizeof commands), (ssize_t)sizeof commands);
    while (all < (size_t)1000 * 4096) {
        char part[50000];
        ssize_t n = read(w.peer, part, sizeof part);

        if (n > 0)
            all += (size_t)n;
        event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        assert_true(stream_pending(w.s) <= STREAM_OUT_HIGH + 2 * 4096);
    }
    assert_int_equal(w.secured, 1000);
    watch_close(&w);
}

static void too_much_output(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    stream_out(w.s)->cap = 100000;
    while (!stream_out(w.s)->full)
        buf_add_str(stream_out(w.s), "0123456789");
    stream_flush(w.s);
    assert_int_equal(w.ended, 0);
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_ERROR);
    watch_close(&w);
}

/* A server that refuses early: its words are heard before the broken pipe is told. */
static void last_words(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    say(&w, "552 too big\n");
    close(w.peer);
    w.peer = -1;
    stream_write(w.s, SLICE("more"));
    assert_int_equal(w.ended, 0);
    run_until(&w, &w.ended, 1);
    assert_got(&w, "[552 too big]");
    assert_int_equal(w.why, STREAM_ERROR);
    assert_string_equal(w.detail, "Broken pipe");
    watch_close(&w);
}

/* --- ends --- */

static void free_it(struct watch *w, struct stream *s)
{
    struct slice line;

    while (stream_line(s, 16, &line) == STREAM_LINE) {
        buf_printf(&w->got, "[%.*s]", SLICE_FMT(line));
        buf_add_str(stream_out(s), "never sent");
        stream_free(s);
        w->s = NULL;
        break;
    }
}

static void free_at_end(struct watch *w, struct stream *s)
{
    stream_free(s);
    w->s = NULL;
}

static void free_inside_callbacks(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_input = free_it;
    say(&w, "a\nb\n");
    run_ready(&w);
    assert_got(&w, "[a]");
    assert_null(w.s);
    assert_int_equal(w.ended, 0);
    assert_peer_reads(&w, "");
    watch_close(&w);

    watch_open(&w);
    w.on_ended = free_at_end;
    close(w.peer);
    w.peer = -1;
    run_until(&w, &w.ended, 1);
    assert_null(w.s);
    watch_close(&w);

    watch_open(&w);
    w.on_drained = free_at_end;
    stream_when_drained(w.s);
    run_until(&w, &w.drained, 1);
    assert_null(w.s);
    watch_close(&w);

    watch_open(&w); /* while it waits for its kick */
    stream_unread(w.s, SLICE("x\n"));
    stream_free(w.s);
    w.s = NULL;
    run_ready(&w);
    assert_int_equal(w.inputs, 0);
    watch_close(&w);
}

static bool peer_at_eof(struct watch *w)
{
    char c;

    return read(w->peer, &c, 1) == 0;
}

static void say_bye(struct watch *w, struct stream *s)
{
    stream_consume(s, 1);
    buf_add_str(stream_out(s), "bye");
    stream_close_after_flush(s);
    w->s = NULL;
}

static void close_after_flush(void **state)
{
    struct stream_tuning keep = stream_tuning;
    static char big[1000000];
    struct watch w;
    size_t all = 0;
    int i;

    (void)state;
    watch_open(&w); /* from outside, nothing waits */
    stream_close_after_flush(w.s);
    w.s = NULL;
    assert_true(peer_at_eof(&w));
    watch_close(&w);

    watch_open(&w); /* from a callback; input behind it must not turn the close into a reset */
    w.on_input = say_bye;
    say(&w, "quit and more");
    run_ready(&w);
    assert_int_equal(w.inputs, 1);
    assert_peer_reads(&w, "bye");
    assert_true(peer_at_eof(&w));
    watch_close(&w);

    watch_open(&w); /* much waits */
    stream_write(w.s, slice_of(big, sizeof big));
    stream_close_after_flush(w.s);
    w.s = NULL;
    for (i = 0; i < 1000; i++) {
        all += peer_reads(&w, NULL);
        event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    assert_int_equal(all, sizeof big);
    assert_true(peer_at_eof(&w));
    watch_close(&w);

    stream_tuning.close_ms = 50;
    watch_open(&w); /* the peer takes nothing: closed all the same */
    stream_write(w.s, slice_of(big, sizeof big));
    stream_close_after_flush(w.s);
    w.s = NULL;
    run_for(&w, 150);
    assert_true(peer_reads(&w, NULL) < sizeof big);
    assert_true(peer_at_eof(&w));
    assert_int_equal(w.ended, 0);
    stream_tuning = keep;
    watch_close(&w);
}

/* A client that goes on talking after our last word gets that word, not a reset. */
static void lingering(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    stream_pause(w.s);
    say(&w, "DATA that nobody wants");
    buf_add_str(stream_out(w.s), "421");
    stream_close_after_flush(w.s);
    w.s = NULL;
    assert_peer_reads(&w, "421");
    assert_true(peer_at_eof(&w));
    say(&w, "still talking"); /* taken: no EPIPE */
    run_ready(&w);
    say(&w, "and on");
    assert_int_equal(shutdown(w.peer, SHUT_WR), 0);
    run_ready(&w);
    assert_int_equal(send(w.peer, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    watch_close(&w);
}

static void close_at_end(struct watch *w, struct stream *s)
{
    buf_add_str(stream_out(s), "bye");
    stream_close_after_flush(s);
    w->s = NULL;
}

/* A peer that shuts its writing side still hears what we say. */
/* Who never stops talking after our last word is cut off (S16). */
static void lingering_is_bounded(void **state)
{
    static char much[64 * 1024];
    struct watch w;
    size_t sent = 0;
    ssize_t n = 1;

    (void)state;
    watch_open(&w);
    stream_pause(w.s);
    say(&w, "what nobody wants");
    stream_close_after_flush(w.s);
    w.s = NULL;
    for (int i = 0; i < 1000 && n > 0; i++) {
        run_ready(&w);
        n = send(w.peer, much, sizeof much, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(n, -1);
    assert_int_equal(errno, EPIPE);
    assert_in_range(sent, 4 << 20, 5 << 20);
    watch_close(&w);
}

static void half_closed_peer(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_ended = close_at_end;
    say(&w, "a\n");
    assert_int_equal(shutdown(w.peer, SHUT_WR), 0);
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_EOF);
    assert_got(&w, "[a]");
    run_ready(&w);
    assert_peer_reads(&w, "bye");
    assert_true(peer_at_eof(&w));
    watch_close(&w);
}

static void detach_at_line(struct watch *w, struct stream *s)
{
    struct slice line;
    int *fd = w->extra;

    assert_int_equal(stream_line(s, 16, &line), STREAM_LINE);
    *fd = stream_detach(s, &w->got);
    w->s = NULL;
}

static void detach(void **state)
{
    static char big[1000000];
    int fd = -1;
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_input = detach_at_line;
    w.extra = &fd;
    say(&w, "LOGIN\nSELECT");
    run_ready(&w);
    assert_true(fd >= 0);
    assert_got(&w, "SELECT");
    assert_int_equal(write(fd, "hello", 5), 5);
    assert_peer_reads(&w, "hello");
    close(fd);
    watch_close(&w);

    watch_open(&w);
    stream_write(w.s, slice_of(big, sizeof big));
    assert_int_equal(stream_detach(w.s, &w.got), -1);
    assert_int_equal(stream_fd(w.s), w.s->fd);
    watch_close(&w);
}

/* --- time --- */

static void deadline(void **state)
{
    struct watch w;
    int64_t from;

    (void)state;
    watch_open(&w);
    stream_deadline(w.s, 60);
    from = stream_now();
    for (int i = 0; i < 4; i++) { /* octets that come do not put it off */
        say(&w, "x");
        run_for(&w, 5);
    }
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_TIMEOUT);
    assert_in_range(stream_now() - from, 55, 1000);
    watch_close(&w);

    watch_open(&w);
    stream_deadline(w.s, 30);
    stream_deadline(w.s, 100); /* later */
    run_for(&w, 60);
    assert_int_equal(w.ended, 0);
    stream_deadline(w.s, 20); /* sooner */
    run_for(&w, 40);
    assert_int_equal(w.ended, 1);
    watch_close(&w);

    watch_open(&w);
    stream_deadline(w.s, 20);
    stream_deadline(w.s, 0);
    assert_null(w.s->clock);
    run_for(&w, 40);
    assert_int_equal(w.ended, 0);
    watch_close(&w);
}

static void take_all(struct watch *w, struct stream *s)
{
    (void)w;
    stream_consume(s, stream_input(s).n);
}

static void minimum_rate(void **state)
{
    struct stream_tuning keep = stream_tuning;
    char block[100] = {0};
    struct watch w;
    int i;

    (void)state;
    stream_tuning.rate_window_ms = 100;
    watch_open(&w); /* 100 octets in 20 ms: 5,000 a second */
    w.on_input = take_all;
    stream_min_rate(w.s, 500);
    for (i = 0; i < 15; i++) {
        assert_int_equal(write(w.peer, block, sizeof block), (ssize_t)sizeof block);
        run_for(&w, 20);
    }
    assert_int_equal(w.ended, 0);
    for (i = 0; i < 15 && !w.ended; i++) { /* one octet in 20 ms: 50 a second */
        say(&w, "x");
        run_for(&w, 20);
    }
    assert_int_equal(w.ended, 1);
    assert_int_equal(w.why, STREAM_TIMEOUT);
    watch_close(&w);

    watch_open(&w); /* while we do not read it is not the peer's fault */
    stream_min_rate(w.s, 500);
    stream_pause(w.s);
    run_for(&w, 250);
    assert_int_equal(w.ended, 0);
    stream_resume(w.s);
    run_for(&w, 50);
    assert_int_equal(w.ended, 0);
    run_for(&w, 100);
    assert_int_equal(w.ended, 1);
    watch_close(&w);

    watch_open(&w);
    stream_min_rate(w.s, 500);
    stream_min_rate(w.s, 0);
    run_for(&w, 150);
    assert_int_equal(w.ended, 0);
    assert_null(w.s->clock);
    stream_tuning = keep;
    watch_close(&w);
}

/* --- memory and turns --- */

/* design.md 1: idle costs nothing */
static void idle_memory(void **state)
{
    struct watch w;

    (void)state;
    assert_true(sizeof(struct stream) - 2 * sizeof(struct event) <= 500);
    watch_open(&w);
    w.on_input = echo_lines;
    stream_deadline(w.s, 1000);
    say(&w, "hello\nhal");
    run_ready(&w);
    assert_non_null(w.s->own);
    say(&w, "lo\n");
    run_ready(&w);
    stream_deadline(w.s, 0);
    assert_null(w.s->own);
    assert_null(w.s->out.p);
    assert_null(w.s->clock);
    assert_false(w.s->kicked);
    watch_close(&w);
}

static void drain_again(struct watch *w, struct stream *s)
{
    (void)w;
    stream_when_drained(s); /* an iterator that always has more */
}

/* A session that always goes on lets others have their turn. */
static void turns(void **state)
{
    struct watch w, other;
    int fd[2];

    (void)state;
    watch_open(&w);
    w.on_drained = drain_again;
    other = (struct watch){.on_input = take_lines, .base = w.base};
    buf_init(&other.got, BUF_OWN);
    pair(fd);
    other.s = stream_new(w.base, fd[0], &watch_ops, &other);
    stream_when_drained(w.s);
    run_until(&w, &w.drained, 100);
    assert_int_equal(write(fd[1], "NOOP\n", 5), 5);
    event_base_loop(w.base, EVLOOP_ONCE);
    event_base_loop(w.base, EVLOOP_ONCE);
    assert_got(&other, "[NOOP]");
    stream_free(other.s);
    close(fd[1]);
    buf_free(&other.got);
    stream_free(w.s);
    w.s = NULL;
    watch_close(&w);
}

/* --- relay --- */

struct joint {
    struct watch w; /* base only */
    int client, worker;
    struct stream *a, *b;
    unsigned ended;
};

static void joint_ended(void *ctx)
{
    struct joint *j = ctx;

    j->ended++;
}

static void joint_open(struct joint *j)
{
    int fd[2];

    *j = (struct joint){.w.base = event_base_new()};
    pair(fd);
    j->client = fd[1];
    j->a = stream_new(j->w.base, fd[0], &watch_ops, &j->w);
    pair(fd);
    j->worker = fd[1];
    j->b = stream_new(j->w.base, fd[0], &watch_ops, &j->w);
    no_block(j->client);
    no_block(j->worker);
    stream_relay(j->a, j->b, joint_ended, j);
}

static void joint_close(struct joint *j)
{
    if (j->client >= 0)
        close(j->client);
    if (j->worker >= 0)
        close(j->worker);
    run_until(&j->w, &j->ended, 1);
    run_ready(&j->w);
    assert_int_equal(j->ended, 1);
    event_base_free(j->w.base);
}

/* Sends numbered octets on one fd and checks them on the other. */
static void carry(struct joint *j, int from, int to, size_t total)
{
    static unsigned char part[100000];
    size_t sent = 0, got = 0, i;
    ssize_t n;

    while (got < total) {
        n = 0;
        if (sent < total) {
            size_t want = total - sent < sizeof part ? total - sent : sizeof part;

            for (i = 0; i < want; i++)
                part[i] = (unsigned char)((sent + i) % 251);
            n = write(from, part, want);
            if (n > 0)
                sent += (size_t)n;
        }
        event_base_loop(j->w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        assert_true(stream_pending(j->a) <= STREAM_OUT_HIGH);
        assert_true(stream_pending(j->b) <= STREAM_OUT_HIGH);
        if (n > 0 && sent < total)
            continue; /* the reader is lazy: all fills up, again and again */
        n = read(to, part, sizeof part);
        for (i = 0; n > 0 && i < (size_t)n; i++) {
            if (part[i] != (got + i) % 251)
                fail_msg("octet %zu is wrong", got + i);
        }
        if (n > 0)
            got += (size_t)n;
    }
}

static void relay_carries(void **state)
{
    struct joint j;

    (void)state;
    joint_open(&j);
    carry(&j, j.client, j.worker, 10000000);
    carry(&j, j.worker, j.client, 10000000);
    assert_int_equal(stream_octets_in(j.a), 10000000);
    assert_int_equal(stream_octets_out(j.a), 10000000);
    run_ready(&j.w);
    assert_null(j.a->own);
    assert_null(j.a->out.p);
    joint_close(&j);
}

/* Nobody reads: what waits is bounded, and the sender is stopped. */
static void relay_back_pressure(void **state)
{
    static char part[100000];
    struct joint j;
    size_t sent = 0;
    ssize_t n;
    int i;

    (void)state;
    joint_open(&j);
    for (i = 0; i < 200; i++) {
        n = write(j.worker, part, sizeof part);
        if (n > 0)
            sent += (size_t)n;
        event_base_loop(j.w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    assert_in_range(stream_pending(j.a), STREAM_OUT_HIGH / 2, STREAM_OUT_HIGH);
    assert_true(sent < 2000000);
    joint_close(&j);
}

static size_t read_all(struct joint *j, int fd, char *to, size_t room)
{
    size_t got = 0;
    int64_t end = stream_now() + 5000;

    while (stream_now() < end) {
        ssize_t n = read(fd, to + got % room, room - got % room);

        if (n == 0)
            return got;
        if (n > 0)
            got += (size_t)n;
        event_base_loop(j->w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    fail_msg("no end of file");
    return 0;
}

/* The client shuts its side; the worker sees that, answers much, and closes; the client gets all. */
static void relay_half_close(void **state)
{
    static char part[100000], got[65536];
    struct joint j;
    size_t sent = 0;
    ssize_t n;

    (void)state;
    joint_open(&j);
    assert_int_equal(write(j.client, "LOGOUT", 6), 6);
    assert_int_equal(shutdown(j.client, SHUT_WR), 0);
    assert_int_equal(read_all(&j, j.worker, got, sizeof got), 6);
    assert_memory_equal(got, "LOGOUT", 6);
    assert_int_equal(j.ended, 0);
    for (n = 1; n > 0;) { /* all that fits between here and a client that does not read yet */
        n = write(j.worker, part, sizeof part);
        if (n > 0)
            sent += (size_t)n;
        run_ready(&j.w);
    }
    assert_true(sent > STREAM_OUT_HIGH);
    close(j.worker);
    j.worker = -1;
    assert_int_equal(read_all(&j, j.client, got, sizeof got), sent);
    joint_close(&j);
}

static void relay_ends(void **state)
{
    char got[100];
    struct joint j;

    (void)state;
    joint_open(&j); /* the worker goes: its last words, then the end, for a client that is silent */
    assert_int_equal(write(j.worker, "BYE", 3), 3);
    close(j.worker);
    j.worker = -1;
    assert_int_equal(read_all(&j, j.client, got, sizeof got), 3);
    joint_close(&j);

    joint_open(&j); /* the client is gone for good while the worker speaks */
    close(j.client);
    j.client = -1;
    run_ready(&j.w);
    assert_int_equal(j.ended, 0);
    assert_int_equal(write(j.worker, "EXISTS", 6), 6);
    run_until(&j.w, &j.ended, 1);
    assert_int_equal(read(j.worker, got, sizeof got), 0);
    joint_close(&j);

    joint_open(&j); /* the worker died while the client speaks */
    close(j.worker);
    j.worker = -1;
    assert_int_equal(write(j.client, "NOOP", 4), 4);
    assert_int_equal(read_all(&j, j.client, got, sizeof got), 0);
    joint_close(&j);
}

static void relay_at_line(struct watch *w, struct stream *s)
{
    struct slice line;
    struct joint *j = w->extra;

    assert_int_equal(stream_line(s, 16, &line), STREAM_LINE);
    stream_relay(s, j->b, joint_ended, j);
}

/* What the client sent behind its LOGIN reaches the worker, with what the front read too far. */
static void relay_with_input(void **state)
{
    struct joint j = {0};
    char got[100];
    int fd[2];

    (void)state;
    watch_open(&j.w);
    j.w.on_input = relay_at_line;
    j.w.extra = &j;
    stream_deadline(j.w.s, 60000);
    pair(fd);
    no_block(fd[1]);
    j.b = stream_new(j.w.base, fd[0], &watch_ops, &j.w);
    say(&j.w, "LOGIN\nSELECT\nFET");
    run_ready(&j.w);
    say(&j.w, "CH\n");
    run_ready(&j.w);
    assert_int_equal(read(fd[1], got, sizeof got), 13);
    assert_memory_equal(got, "SELECT\nFETCH\n", 13);
    assert_null(j.w.s->clock);
    j.w.s = NULL; /* the relay's */
    close(fd[1]);
    run_until(&j.w, &j.ended, 1);
    watch_close(&j.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_cut_anywhere),
        cmocka_unit_test(input_is_bounded),
        cmocka_unit_test(pause_and_resume),
        cmocka_unit_test(unread),
        cmocka_unit_test(eof_after_input),
        cmocka_unit_test(output_leaves_at_return),
        cmocka_unit_test(output_is_held),
        cmocka_unit_test(back_pressure),
        cmocka_unit_test(client_that_does_not_read),
        cmocka_unit_test(slow_reader),
        cmocka_unit_test(too_much_output),
        cmocka_unit_test(last_words),
        cmocka_unit_test(free_inside_callbacks),
        cmocka_unit_test(close_after_flush),
        cmocka_unit_test(lingering),
        cmocka_unit_test(lingering_is_bounded),
        cmocka_unit_test(half_closed_peer),
        cmocka_unit_test(detach),
        cmocka_unit_test(deadline),
        cmocka_unit_test(minimum_rate),
        cmocka_unit_test(idle_memory),
        cmocka_unit_test(turns),
        cmocka_unit_test(relay_carries),
        cmocka_unit_test(relay_back_pressure),
        cmocka_unit_test(relay_half_close),
        cmocka_unit_test(relay_ends),
        cmocka_unit_test(relay_with_input),
    };
    int failed;

    /* plain sockets do not raise SIGPIPE; for TLS the role ignores it */
    failed = cmocka_run_group_tests_name("stream", tests, NULL, NULL);
    signal(SIGPIPE, SIG_IGN);
    return failed + tls_tests_run() + tls_client_tests_run();
}
