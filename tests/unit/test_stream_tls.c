/* Streams with TLS; the client is OpenSSL's own, blocking, in a thread. */
#include "tests/unit/test_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/stream_internal.h"
#include "common/tls.h"

#define BULK 3000000

static struct tls_context *tls;

struct client {
    struct watch w;
    int fd;
    pthread_t thread;
    void (*run)(struct client *c);
    SSL *ssl;
    char got[200]; /* what it read */
    unsigned char binding[32];
    bool ok, clean; /* clean: the end was a close_notify */
    size_t octets;
    unsigned done;
};

/* --- the client's side --- */

static bool handshake(struct client *c)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    c->ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_fd(c->ssl, c->fd);
    c->ok = SSL_connect(c->ssl) == 1;
    return c->ok;
}

static void client_say(struct client *c, const char *text)
{
    c->ok = c->ok && SSL_write(c->ssl, text, (int)strlen(text)) == (int)strlen(text);
}

/* Reads until the text ends so, or to the end. */
static void client_hear(struct client *c, const char *end)
{
    size_t n = strlen(c->got);
    int r;

    while (n < sizeof c->got - 1 && !(end && n && strstr(c->got, end))) {
        r = SSL_read(c->ssl, c->got + n, (int)(sizeof c->got - 1 - n));
        if (r <= 0) {
            c->clean = SSL_get_error(c->ssl, r) == SSL_ERROR_ZERO_RETURN;
            return;
        }
        n += (size_t)r;
        c->got[n] = '\0';
    }
}

static void *client_main(void *arg)
{
    struct client *c = arg;

    c->run(c);
    SSL_free(c->ssl);
    __atomic_store_n(&c->done, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void client_start(struct client *c, void (*run)(struct client *c))
{
    int fd[2];

    *c = (struct client){.run = run};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    c->w.on_input = take_lines;
    c->w.base = event_base_new();
    c->w.peer = -1;
    c->w.extra = c;
    buf_init(&c->w.got, BUF_OWN);
    c->fd = fd[1];
    c->w.s = stream_new(c->w.base, fd[0], &watch_ops, &c->w);
    assert_int_equal(pthread_create(&c->thread, NULL, client_main, c), 0);
}

static void client_end(struct client *c)
{
    run_until(&c->w, &c->done, 1);
    assert_int_equal(pthread_join(c->thread, NULL), 0);
    run_ready(&c->w);
    close(c->fd);
    watch_close(&c->w);
}

/* --- tests --- */

static void echo(struct watch *w, struct stream *s)
{
    struct slice line;

    while (stream_line(s, 2048, &line) == STREAM_LINE) {
        buf_printf(&w->got, "[%.*s]", SLICE_FMT(line));
        buf_printf(stream_out(s), "%.*s;", SLICE_FMT(line));
    }
}

static void client_echo(struct client *c)
{
    if (!handshake(c))
        return;
    client_hear(c, "* OK\n");
    client_say(c, "a\r\nb");
    client_say(c, "c\r\n");
    client_hear(c, "bc;");
    SSL_export_keying_material(c->ssl, c->binding, 32, "EXPORTER-Channel-Binding", 24, NULL, 0, 0);
    SSL_shutdown(c->ssl);
}

static void secure_session(void **state)
{
    unsigned char binding[32] = {1};
    struct buf text = BUF_INIT(BUF_OWN);
    struct client c;

    (void)state;
    client_start(&c, client_echo);
    c.w.on_input = echo;
    stream_start_tls(c.w.s, tls, "imap", false);
    assert_false(stream_is_tls(c.w.s));
    assert_false(stream_tls_exporter(c.w.s, binding));
    buf_add_str(stream_out(c.w.s), "* OK\n"); /* waits for the handshake */
    stream_flush(c.w.s);
    run_until(&c.w, &c.w.secured, 1);
    assert_true(stream_is_tls(c.w.s));
    assert_null(c.w.s->clock);
    assert_true(stream_tls_exporter(c.w.s, binding));
    stream_tls_text(c.w.s, &text);
    assert_true(slice_starts(buf_slice(&text), SLICE("TLSv1.3 TLS_AES_")));
    assert_int_equal(stream_detach(c.w.s, &text), -1);
    run_until(&c.w, &c.w.ended, 1);
    assert_int_equal(c.w.why, STREAM_EOF);
    assert_got(&c.w, "[a][bc]");
    client_end(&c);
    assert_true(c.ok);
    assert_string_equal(c.got, "* OK\na;bc;");
    assert_memory_equal(binding, c.binding, 32);
    buf_free(&text);
}

static void client_starttls(struct client *c)
{
    char go[7] = {0};

    c->ok = write(c->fd, "STARTTLS\r\n", 10) == 10 && recv(c->fd, go, 6, MSG_WAITALL) == 6 &&
            strcmp(go, "220 a\n") == 0;
    if (!c->ok || !handshake(c))
        return;
    client_say(c, "EHLO x\r\n");
    client_hear(c, ";");
}

static void starttls_at_line(struct watch *w, struct stream *s)
{
    struct slice line;

    if (stream_line(s, 100, &line) != STREAM_LINE)
        return;
    buf_printf(&w->got, "[%.*s]", SLICE_FMT(line));
    if (stream_is_tls(s)) {
        buf_add_str(stream_out(s), "250;");
        return;
    }
    buf_add_str(stream_out(s), "220 a\n");
    stream_start_tls(s, tls, "smtp", true);
}

static void starttls(void **state)
{
    struct client c;

    (void)state;
    client_start(&c, client_starttls);
    c.w.on_input = starttls_at_line;
    run_until(&c.w, &c.w.secured, 1);
    client_end(&c);
    assert_true(c.ok);
    assert_string_equal(c.got, "250;");
}

/* security.md S04: with the plain text behind STARTTLS nothing is done and nothing is answered. */
static void starttls_injection(void **state)
{
    struct watch w;
    char c;

    (void)state;
    watch_open(&w);
    w.on_input = starttls_at_line;
    say(&w, "STARTTLS\r\nEHLO evil\r\n");
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_ERROR);
    assert_string_equal(w.detail, "input before TLS");
    assert_got(&w, "[STARTTLS]");
    assert_int_equal(w.secured, 0);
    stream_free(w.s);
    w.s = NULL;
    assert_int_equal(read(w.peer, &c, 1), 0);
    watch_close(&w);

    watch_open(&w); /* half a line too */
    w.on_input = starttls_at_line;
    say(&w, "STARTTLS\r\nE");
    run_until(&w, &w.ended, 1);
    assert_string_equal(w.detail, "input before TLS");
    watch_close(&w);

    watch_open(&w); /* in a segment of its own: no handshake */
    w.on_input = starttls_at_line;
    say(&w, "STARTTLS\r\n");
    run_ready(&w);
    say(&w, "EHLO evil\r\n");
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_ERROR);
    assert_got(&w, "[STARTTLS]");
    watch_close(&w);
}

/* The answer to STARTTLS does not fit into the socket: it is out before the handshake begins. */
static void clear_text_first(void **state)
{
    static char block[1000000], got[1000000];
    struct watch w;
    size_t n = 0;
    ssize_t r;

    (void)state;
    memset(block, 'x', sizeof block);
    watch_open(&w);
    buf_add(stream_out(w.s), slice_of(block, sizeof block));
    stream_start_tls(w.s, tls, "smtp", true);
    assert_int_equal(w.s->tls_state, TLS_CLEAR_FIRST);
    buf_add_str(stream_out(w.s), "secret");
    while (w.s->tls_state == TLS_CLEAR_FIRST) {
        if ((r = read(w.peer, got, sizeof got)) > 0)
            n += (size_t)r;
        event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    run_ready(&w);
    while ((r = read(w.peer, got, sizeof got)) > 0)
        n += (size_t)r;
    assert_int_equal(n, sizeof block);
    assert_int_equal(stream_pending(w.s), 6);
    watch_close(&w);
}

static void client_plain_after_shutdown(struct client *c)
{
    if (!handshake(c))
        return;
    client_say(c, "BDAT 10\n123");
    SSL_shutdown(c->ssl);
    c->ok = c->ok && send(c->fd, "4567\nevil\n", 10, MSG_NOSIGNAL) == 10;
}

/* security.md S03: what follows a close_notify is never read. */
static void plain_after_close_notify(void **state)
{
    struct client c;

    (void)state;
    client_start(&c, client_plain_after_shutdown);
    stream_start_tls(c.w.s, tls, "smtp", false);
    run_until(&c.w, &c.done, 1);
    run_until(&c.w, &c.w.ended, 1);
    assert_int_equal(c.w.why, STREAM_EOF);
    run_ready(&c.w);
    assert_got(&c.w, "[BDAT 10]");
    assert_int_equal(stream_octets_in(c.w.s), 11);
    stream_resume(c.w.s);
    run_ready(&c.w);
    assert_int_equal(stream_octets_in(c.w.s), 11);
    client_end(&c);
    assert_true(c.ok);
}

static void client_drops(struct client *c)
{
    if (!handshake(c))
        return;
    client_say(c, "x\n");
    shutdown(c->fd, SHUT_RDWR);
}

/* No close_notify, as most mail programs do: an ordinary end. */
static void end_without_close_notify(void **state)
{
    struct client c;

    (void)state;
    client_start(&c, client_drops);
    stream_start_tls(c.w.s, tls, "imap", false);
    run_until(&c.w, &c.w.ended, 1);
    assert_int_equal(c.w.why, STREAM_EOF);
    assert_got(&c.w, "[x]");
    client_end(&c);
}

static void handshake_deadline(void **state)
{
    struct stream_tuning keep = stream_tuning;
    struct watch w;

    (void)state;
    stream_tuning.handshake_ms = 50;
    watch_open(&w);
    stream_start_tls(w.s, tls, "imap", false);
    assert_int_equal(write(w.peer, "\x16\x03\x01\x02", 4), 4); /* half a hello */
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_TIMEOUT);
    stream_tuning = keep;
    watch_close(&w);

    watch_open(&w);
    stream_start_tls(w.s, tls, "imap", false);
    say(&w, "a LOGIN user password\r\n");
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_ERROR);
    assert_int_equal(w.inputs, 0);
    watch_close(&w);
}

static void client_reads_all(struct client *c)
{
    char part[10000];
    int r;

    if (!handshake(c))
        return;
    while ((r = SSL_read(c->ssl, part, sizeof part)) > 0)
        c->octets += (size_t)r;
    c->clean = SSL_get_error(c->ssl, r) == SSL_ERROR_ZERO_RETURN;
}

/* All that waits, then close_notify. */
static void secure_close_after_flush(void **state)
{
    char *block = mem_zalloc(BULK, 1);
    struct client c;

    (void)state;
    client_start(&c, client_reads_all);
    stream_start_tls(c.w.s, tls, "pop3", false);
    run_until(&c.w, &c.w.secured, 1);
    buf_add_str(stream_out(c.w.s), "+OK\n");
    stream_write(c.w.s, slice_of(block, BULK));
    stream_close_after_flush(c.w.s);
    c.w.s = NULL;
    client_end(&c);
    assert_int_equal(c.octets, BULK + 4);
    assert_true(c.clean);
    free(block);
}

static void client_bulk(struct client *c)
{
    unsigned char *all = mem_alloc(BULK);
    size_t n = 0;
    int r, i;

    if (handshake(c)) {
        for (i = 0; i < BULK; i++)
            all[i] = (unsigned char)(i % 253);
        c->ok = SSL_write(c->ssl, all, BULK) == BULK;
        SSL_shutdown(c->ssl);
        memset(all, 0, BULK);
        while (n < BULK && (r = SSL_read(c->ssl, all + n, (int)(BULK - n))) > 0)
            n += (size_t)r;
        c->ok = c->ok && n == BULK;
        for (i = 0; i < BULK && c->ok; i++)
            c->ok = all[i] == i % 253;
        client_hear(c, NULL);
    }
    free(all);
}

static void relay_done(void *ctx)
{
    unsigned *done = ctx;

    ++*done;
}

/* A TLS client and a worker, both ways; close_notify of the client ends reading only. */
static void secure_relay(void **state)
{
    static char all[BULK];
    size_t got = 0, sent = 0;
    unsigned done = 0;
    struct client c;
    struct stream *b;
    int fd[2];
    ssize_t n;

    (void)state;
    client_start(&c, client_bulk);
    stream_start_tls(c.w.s, tls, "imap", false);
    run_until(&c.w, &c.w.secured, 1);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    assert_int_equal(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
    b = stream_new(c.w.base, fd[0], &watch_ops, &c.w);
    stream_relay(c.w.s, b, relay_done, &done);
    while ((n = read(fd[1], all + got, sizeof all - got)) != 0 && got < BULK) {
        if (n > 0)
            got += (size_t)n;
        event_base_loop(c.w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    assert_int_equal(got, BULK);
    while (read(fd[1], all, 1) != 0) /* the client's end comes through */
        event_base_loop(c.w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    all[0] = 0;
    while (sent < BULK) {
        n = write(fd[1], all + sent, BULK - sent);
        if (n > 0)
            sent += (size_t)n;
        event_base_loop(c.w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        assert_true(stream_pending(c.w.s) <= STREAM_OUT_HIGH);
    }
    c.w.s = NULL; /* the relay's */
    close(fd[1]);
    run_until(&c.w, &done, 1);
    client_end(&c);
    assert_true(c.ok);
    assert_true(c.clean);
}

static void free_at_secured(struct watch *w, struct stream *s)
{
    stream_free(s);
    w->s = NULL;
}

static void client_hears_end(struct client *c)
{
    if (handshake(c))
        client_hear(c, NULL);
}

static void free_inside_secured(void **state)
{
    struct client c;

    (void)state;
    client_start(&c, client_hears_end);
    c.w.on_secured = free_at_secured;
    stream_start_tls(c.w.s, tls, "imap", false);
    run_until(&c.w, &c.w.secured, 1);
    client_end(&c);
    assert_true(c.clean);
}

static int make_context(void **state)
{
    const char *names[] = {"mail.example.org"};
    struct buf chain = BUF_INIT(BUF_OWN), key = BUF_INIT(BUF_OWN), blob = BUF_INIT(BUF_OWN);
    struct tls_pair pair;
    struct err e;

    (void)state;
    if (tls_self_signed(names, 1, &chain, &key, &e) < 0)
        return -1;
    pair = (struct tls_pair){buf_slice(&chain), buf_slice(&key)};
    tls_pack(&pair, 1, (const unsigned char[80]){0}, &blob);
    tls = tls_context_new(buf_slice(&blob), true, &e);
    buf_free(&chain);
    buf_free(&key);
    buf_free(&blob);
    return tls ? 0 : -1;
}

static int free_context(void **state)
{
    (void)state;
    tls_context_free(tls);
    return 0;
}

int tls_tests_run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secure_session),
        cmocka_unit_test(starttls),
        cmocka_unit_test(starttls_injection),
        cmocka_unit_test(clear_text_first),
        cmocka_unit_test(plain_after_close_notify),
        cmocka_unit_test(end_without_close_notify),
        cmocka_unit_test(handshake_deadline),
        cmocka_unit_test(secure_close_after_flush),
        cmocka_unit_test(secure_relay),
        cmocka_unit_test(free_inside_secured),
    };

    return cmocka_run_group_tests_name("stream with TLS", tests, make_context, free_context);
}
