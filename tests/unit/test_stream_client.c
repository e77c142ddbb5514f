/* Streams as TLS clients against streams as servers: who is believed, and what comes before TLS. */
#include "tests/unit/test_stream.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/stream_internal.h"
#include "common/tls.h"

static struct tls_context *server_tls, *client_tls, *stranger_tls;
static unsigned char spki[32]; /* SHA-256 of the server's public key */
static char ca_file[] = "/tmp/postamt-ca-XXXXXX";

/* What the client makes of a server that shows a certificate for mx.example.org and *.wild.example. */
struct met {
    bool secured;
    char verified[8], why[80], detail[128];
};

static void server_side(int fd, struct event_base *base, struct watch *w)
{
    *w = (struct watch){.base = base, .peer = -1, .on_input = take_lines};
    buf_init(&w->got, BUF_OWN);
    w->s = stream_new(base, fd, &watch_ops, w);
    stream_start_tls(w->s, server_tls, "smtp", false);
}

static struct met meet(struct tls_context *tls, const struct tls_peer *peer)
{
    struct watch c = {.peer = -1}, s;
    struct met m = {0};
    const char *why;
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    c.base = event_base_new();
    c.on_input = take_lines;
    buf_init(&c.got, BUF_OWN);
    server_side(fd[1], c.base, &s);
    c.s = stream_new(c.base, fd[0], &watch_ops, &c);
    stream_start_tls_client(c.s, tls, peer);
    while (!c.ended && !c.secured)
        assert_true(event_base_loop(c.base, EVLOOP_ONCE) >= 0);
    m.secured = c.secured;
    if (c.secured) {
        snprintf(m.verified, sizeof m.verified, "%s", stream_tls_verified(c.s, &why));
        snprintf(m.why, sizeof m.why, "%s", why);
        buf_add_str(stream_out(s.s), "hello\n");
        stream_flush(s.s);
        while (c.got.n == 0)
            event_base_loop(c.base, EVLOOP_ONCE);
        assert_got(&c, "[hello]");
    }
    snprintf(m.detail, sizeof m.detail, "%s", c.detail);
    if (s.s)
        stream_free(s.s);
    buf_free(&s.got);
    watch_close(&c);
    return m;
}

static struct tls_peer peer_named(const char *host, enum tls_verify verify)
{
    return (struct tls_peer){.host = slice_str(host), .verify = verify};
}

static void assert_met(const struct tls_peer *peer, const char *verified)
{
    struct met m = meet(client_tls, peer);

    assert_string_equal(m.detail, "");
    assert_true(m.secured);
    assert_string_equal(m.verified, verified);
}

static void assert_refused(struct tls_context *tls, const struct tls_peer *peer, const char *detail)
{
    struct met m = meet(tls, peer);

    assert_false(m.secured);
    assert_string_equal(m.detail, detail);
}

static void pkix(void **state)
{
    struct tls_peer p = peer_named("mx.example.org", TLS_VERIFY_PKIX);

    (void)state;
    assert_met(&p, "pkix");
    p.host = SLICE("a.wild.example");
    assert_met(&p, "pkix");
    p.names[p.nnames++] = SLICE("no.example.org");
    p.names[p.nnames++] = SLICE("mx.example.org");
    p.host = SLICE("other.example.org");
    assert_met(&p, "pkix");
    p.nnames = 1;
    p.names[0] = SLICE("*.example.org");
    assert_met(&p, "pkix");
}

static void pkix_refuses(void **state)
{
    static const char *const names[] = {"other.example.org", "x.mx.example.org", "a.b.wild.example", "*.org",
        "*.mx.example.org", "192.0.2.1"};
    struct tls_peer p = peer_named("mx.example.org", TLS_VERIFY_PKIX);

    (void)state;
    assert_refused(stranger_tls, &p, "certificate verify failed");
    p.nnames = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        p.names[0] = slice_str(names[i]);
        assert_refused(client_tls, &p, "certificate verify failed");
    }
    p.names[0] = SLICE("a\0b");
    assert_refused(client_tls, &p, "a name that no certificate can have");
    p = peer_named("", TLS_VERIFY_NOTED);
    assert_refused(client_tls, &p, "the server has no name");
}

/* Opportunistic: the mail goes, and the log says what it was worth. */
static void noted(void **state)
{
    struct tls_peer p = peer_named("mx.example.org", TLS_VERIFY_NOTED);
    struct met m;

    (void)state;
    assert_met(&p, "pkix");
    p.host = SLICE("192.0.2.1");
    assert_met(&p, "no");
    p.host = SLICE("other.example.org");
    assert_met(&p, "no");
    m = meet(client_tls, &p);
    assert_string_equal(m.why, "hostname mismatch");
    p = peer_named("mx.example.org", TLS_VERIFY_NOTED);
    m = meet(stranger_tls, &p);
    assert_true(m.secured);
    assert_string_equal(m.verified, "no");
}

static void add_tlsa(struct tls_peer *p, uint8_t usage, uint8_t matching, struct slice data)
{
    p->tlsa[p->ntlsa++] = (struct tls_tlsa){usage, 1, matching, data};
}

/* RFC 7672 3.1.1: the key is all that counts, whatever the names and authorities. */
static void dane(void **state)
{
    struct tls_peer p = peer_named("other.example.org", TLS_VERIFY_DANE);
    unsigned char wrong[32];
    struct met m;

    (void)state;
    memcpy(wrong, spki, sizeof wrong);
    wrong[31] ^= 1;
    add_tlsa(&p, 3, 1, slice_of(spki, 32));
    assert_met(&p, "dane");
    m = meet(stranger_tls, &p);
    assert_string_equal(m.verified, "dane");
    p.ntlsa = 0;
    add_tlsa(&p, 3, 1, slice_of(wrong, 32));
    assert_refused(client_tls, &p, "certificate verify failed");
    p.host = SLICE("mx.example.org"); /* a good PKIX certificate does not help */
    assert_refused(client_tls, &p, "certificate verify failed");
    add_tlsa(&p, 1, 1, slice_of(spki, 32)); /* no usage for SMTP */
    assert_refused(client_tls, &p, "certificate verify failed");
    add_tlsa(&p, 3, 1, slice_of(spki, 32));
    assert_met(&p, "dane");
    p.ntlsa = 0;
    assert_refused(client_tls, &p, "no usable TLSA record");
    add_tlsa(&p, 1, 1, slice_of(spki, 32));
    add_tlsa(&p, 3, 1, slice_of(spki, 31));
    assert_refused(client_tls, &p, "no usable TLSA record");
}

static void start_at_220(struct watch *w, struct stream *s)
{
    struct tls_peer p = peer_named("mx.example.org", TLS_VERIFY_NOTED);
    struct slice line;

    if (stream_line(s, 100, &line) != STREAM_LINE)
        return;
    buf_printf(&w->got, "[%.*s]", SLICE_FMT(line));
    stream_start_tls_client(s, client_tls, &p);
}

/* security.md S04, as client: what comes behind 220 in clear is an attacker's. */
static void injection(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_input = start_at_220;
    say(&w, "220 go\r\n250 evil\r\n");
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_ERROR);
    assert_string_equal(w.detail, "input before TLS");
    assert_got(&w, "[220 go]");
    watch_close(&w);
    watch_open(&w);
    w.on_input = start_at_220;
    say(&w, "220 go\r\n");
    run_until(&w, &w.inputs, 1);
    say(&w, "250 evil\r\n");
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_ERROR);
    assert_got(&w, "[220 go]");
    watch_close(&w);
}

static void deadline(void **state)
{
    struct watch w;

    (void)state;
    watch_open(&w);
    w.on_input = start_at_220;
    say(&w, "220 go\r\n");
    run_until(&w, &w.inputs, 1);
    stream_deadline(w.s, 50);
    run_until(&w, &w.ended, 1);
    assert_int_equal(w.why, STREAM_TIMEOUT);
    watch_close(&w);
}

static void write_file(int fd, struct slice text)
{
    assert_int_equal(write(fd, text.p, text.n), text.n);
    close(fd);
}

static void digest(struct slice chain)
{
    BIO *bio = BIO_new_mem_buf(chain.p, (int)chain.n);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(X509_get0_pubkey(x), &der);

    assert_true(n > 0);
    assert_int_equal(EVP_Digest(der, (size_t)n, spki, NULL, EVP_sha256(), NULL), 1);
    OPENSSL_free(der);
    X509_free(x);
    BIO_free(bio);
}

static int make(void **state)
{
    static const char *const names[] = {"mx.example.org", "*.wild.example"};
    static const unsigned char keys[80] = {7};
    struct buf chain = BUF_INIT(BUF_OWN), key = BUF_INIT(BUF_OWN), blob = BUF_INIT(BUF_OWN);
    struct tls_pair pair;
    struct err e = {0};

    (void)state;
    assert_int_equal(tls_self_signed(names, 2, &chain, &key, &e), 0);
    pair = (struct tls_pair){buf_slice(&chain), buf_slice(&key)};
    assert_true(tls_pack(&pair, 1, keys, &blob));
    server_tls = tls_context_new(buf_slice(&blob), false, &e);
    write_file(mkstemp(ca_file), buf_slice(&chain));
    client_tls = tls_context_new_client(ca_file, &e);
    assert_int_equal(e.code, ERR_OK);
    unlink(ca_file);
    stranger_tls = tls_context_new_client(ca_file, &e);
    assert_int_equal(e.code, ERR_CONFIG);
    digest(buf_slice(&chain));
    buf_free(&chain);
    buf_free(&key);
    buf_free(&blob);
    return server_tls && client_tls && stranger_tls ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    tls_context_free(server_tls);
    tls_context_free(client_tls);
    tls_context_free(stranger_tls);
    return 0;
}

int tls_client_tests_run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pkix),
        cmocka_unit_test(pkix_refuses),
        cmocka_unit_test(noted),
        cmocka_unit_test(dane),
        cmocka_unit_test(injection),
        cmocka_unit_test(deadline),
    };

    return cmocka_run_group_tests_name("stream as TLS client", tests, make, unmake);
}
