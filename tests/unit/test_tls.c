#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

#include "common/tls.h"

static const unsigned char keys[80] = {7};

struct made {
    struct buf chain, key;
};

static void make(struct made *m, const char *a, const char *b)
{
    const char *names[] = {a, b};
    struct err e = {0};

    m->chain = BUF_INIT(BUF_OWN);
    m->key = BUF_INIT(BUF_OWN);
    assert_int_equal(tls_self_signed(names, b ? 2 : 1, &m->chain, &m->key, &e), 0);
}

static void made_free(struct made *m)
{
    buf_free(&m->chain);
    buf_free(&m->key);
}

static struct tls_pair pair_of(const struct made *m)
{
    return (struct tls_pair){buf_slice(&m->chain), buf_slice(&m->key)};
}

static void take(BIO *bio, struct buf *to)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);

    buf_add(to, slice_of(p, (size_t)n));
    BIO_free(bio);
}

/* An RSA certificate for one name, made here: the product makes ECDSA ones only. */
static void make_rsa(struct made *m, const char *name)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x);
    BIO *bio = BIO_new(BIO_s_mem());

    m->chain = BUF_INIT(BUF_OWN);
    m->key = BUF_INIT(BUF_OWN);
    X509_set_version(x, X509_VERSION_3);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, subject);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 1000);
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    PEM_write_bio_X509(bio, x);
    take(bio, &m->chain);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    take(bio, &m->key);
    X509_free(x);
    EVP_PKEY_free(key);
}

static struct tls_context *context(const struct tls_pair *pairs, size_t n, bool tickets)
{
    struct buf blob = BUF_INIT(BUF_OWN);
    struct err e = {0};
    struct tls_context *t;

    assert_true(tls_pack(pairs, n, keys, &blob));
    t = tls_context_new(buf_slice(&blob), tickets, &e);
    if (!t)
        fail_msg("%s", e.detail);
    buf_free(&blob);
    return t;
}

/* --- a handshake in memory --- */

struct shake {
    const char *sni, *alpn_ours;
    const unsigned char *alpn;
    unsigned alpn_n;
    int max_version;
    const char *sigalgs, *ciphers, *groups;
    SSL_SESSION *session;
    /* results */
    bool ok, resumed;
    char name[256]; /* of the certificate that the client was shown */
    int key_type, version;
    char selected[16];
    unsigned tickets;
};

static unsigned tickets_seen;
static SSL_SESSION *last_session;

static int on_ticket(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    tickets_seen++;
    SSL_SESSION_free(last_session);
    last_session = s;
    return 1;
}

static void look(struct shake *s, SSL *client)
{
    X509 *x = SSL_get1_peer_certificate(client);
    const unsigned char *proto;
    unsigned n;

    s->version = SSL_version(client);
    s->resumed = SSL_session_reused(client) == 1;
    if (x) {
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, s->name, sizeof s->name);
        s->key_type = EVP_PKEY_get_base_id(X509_get0_pubkey(x));
        X509_free(x);
    }
    SSL_get0_alpn_selected(client, &proto, &n);
    if (n < sizeof s->selected && n)
        memcpy(s->selected, proto, n);
}

static void shake(struct tls_context *t, struct shake *s)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *client, *server = SSL_new(tls_context_ssl(t));
    BIO *a, *b;
    int i;

    tickets_seen = 0;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    if (s->max_version) {
        SSL_CTX_set_security_level(ctx, 0);
        SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(ctx, s->max_version);
    }
    if (s->ciphers)
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, s->ciphers), 1);
    if (s->groups)
        assert_int_equal(SSL_CTX_set1_groups_list(ctx, s->groups), 1);
    client = SSL_new(ctx);
    if (s->sni)
        SSL_set_tlsext_host_name(client, s->sni);
    if (s->alpn)
        SSL_set_alpn_protos(client, s->alpn, s->alpn_n);
    if (s->sigalgs)
        assert_int_equal(SSL_set1_sigalgs_list(client, s->sigalgs), 1);
    if (s->session)
        SSL_set_session(client, s->session);
    SSL_set_app_data(server, (char *)(uintptr_t)s->alpn_ours);
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (i = 0; i < 20 && !s->ok; i++) {
        int c = SSL_do_handshake(client), d = SSL_do_handshake(server);

        s->ok = c == 1 && d == 1;
    }
    if (s->ok) {
        char waste[1];

        look(s, client);
        SSL_read(client, waste, 1); /* tickets come behind the handshake */
    }
    s->tickets = tickets_seen;
    ERR_clear_error();
    SSL_set_shutdown(
        client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session is not used again */
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(ctx);
}

/* --- tests --- */

static void self_signed(void **state)
{
    const char *bad[] = {"mail example.org"};
    struct buf out = BUF_INIT(BUF_OWN);
    struct tls_info info;
    struct made m;
    struct err e = {0};

    (void)state;
    make(&m, "mail.example.org", "Autoconfig.example.org");
    assert_int_equal(tls_inspect(buf_slice(&m.chain), buf_slice(&m.key), &info, &e), 0);
    assert_string_equal(info.names, "autoconfig.example.org,mail.example.org");
    assert_string_equal(info.issuer, "/CN=mail.example.org");
    assert_true(info.self_signed);
    assert_true(info.not_before <= time(NULL));
    assert_in_range(info.not_after - time(NULL), INT64_C(3651) * 86400, INT64_C(3653) * 86400);
    made_free(&m);
    assert_int_equal(tls_self_signed(bad, 1, &out, &out, &e), -1);
    assert_int_equal(tls_self_signed(NULL, 0, &out, &out, &e), -1);
    assert_int_equal(out.n, 0);
}

static void packing(void **state)
{
    static char big[1024 * 1024];
    struct buf blob = BUF_INIT(BUF_OWN);
    struct err e = {0};
    struct made m;
    struct tls_pair pair;
    struct tls_context *t;
    size_t i;

    (void)state;
    make(&m, "mail.example.org", NULL);
    pair = pair_of(&m);
    assert_true(tls_pack(&pair, 1, keys, &blob));
    for (i = 0; i < blob.n; i++) { /* cut off anywhere: an error, never a crash */
        assert_null(tls_context_new(slice_of(blob.p, i), true, &e));
        assert_int_equal(e.code, ERR_CONFIG);
    }
    t = tls_context_new(buf_slice(&blob), true, &e);
    assert_non_null(t);
    assert_ptr_equal(tls_context_ref(t), t);
    tls_context_free(t);
    assert_non_null(tls_context_ssl(t));
    tls_context_free(t);
    buf_add_char(&blob, 'x');
    assert_null(tls_context_new(buf_slice(&blob), true, &e));
    buf_clear(&blob);
    assert_false(tls_pack(NULL, 0, keys, &blob));
    pair.chain = slice_of(big, sizeof big);
    assert_false(tls_pack(&pair, 1, keys, &blob));
    assert_int_equal(blob.n, 0);
    buf_free(&blob);
    made_free(&m);
}

static void refused(struct tls_pair pair, const char *why)
{
    struct buf blob = BUF_INIT(BUF_OWN);
    struct err e = {0};
    struct tls_info info;

    assert_true(tls_pack(&pair, 1, keys, &blob));
    assert_null(tls_context_new(buf_slice(&blob), true, &e));
    assert_int_equal(e.code, ERR_CONFIG);
    if (!strstr(e.detail, why))
        fail_msg("\"%s\" does not say \"%s\"", e.detail, why);
    assert_int_equal(tls_inspect(pair.chain, pair.key, &info, &e), -1);
    if (!strstr(e.detail, why))
        fail_msg("\"%s\" does not say \"%s\"", e.detail, why);
    buf_free(&blob);
}

static void bad_files(void **state)
{
    struct buf damaged = BUF_INIT(BUF_OWN), locked = BUF_INIT(BUF_OWN);
    struct made m, other, rsa;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    struct tls_pair p;

    (void)state;
    make(&m, "mail.example.org", NULL);
    make(&other, "mail.example.org", NULL);
    make_rsa(&rsa, "mail.example.org");
    p = pair_of(&m);
    refused((struct tls_pair){p.chain, buf_slice(&other.key)}, "does not belong");
    refused((struct tls_pair){p.chain, buf_slice(&rsa.key)}, "does not belong");
    refused((struct tls_pair){p.chain, SLICE("")}, "no private key");
    refused((struct tls_pair){p.key, p.key}, "no certificate");
    refused((struct tls_pair){SLICE(""), p.key}, "no certificate");
    /* a key with a password: refused, and nobody is asked at the terminal */
    PEM_write_bio_PrivateKey(bio, key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
    take(bio, &locked);
    refused((struct tls_pair){p.chain, buf_slice(&locked)}, "without password");
    buf_add(&damaged, p.chain);
    buf_add(&damaged, slice_sub(p.chain, 0, p.chain.n / 2));
    refused((struct tls_pair){buf_slice(&damaged), p.key}, "certificate 2 of the chain is damaged");
    EVP_PKEY_free(key);
    buf_free(&damaged);
    buf_free(&locked);
    made_free(&m);
    made_free(&other);
    made_free(&rsa);
}

static const struct {
    const char *sni, *name;
} sni_rows[] = {
    {NULL, "first.example.org"},
    {"first.example.org", "first.example.org"},
    {"second.example.net", "second.example.net"},
    {"SECOND.Example.NET", "second.example.net"},
    {"alias.example.net", "second.example.net"},
    {"second.example.net.", "first.example.org"}, /* dotted: clients.md 19 */
    {"unknown.example.com", "first.example.org"},
    {"a.example.com", "first.example.org"},
    {"x.wild.example", "*.wild.example"},
    {"x.y.wild.example", "first.example.org"}, /* one label only */
    {"wild.example", "first.example.org"},
    {".wild.example", "first.example.org"},
    {"*.wild.example", "first.example.org"},
    {"exact.wild.example", "exact.wild.example"},
    {"localhost", "first.example.org"},
    {".", "first.example.org"},
};

static void server_names(void **state)
{
    struct made m[4];
    struct tls_pair pairs[4];
    struct tls_context *t;
    size_t i;

    (void)state;
    make(&m[0], "first.example.org", NULL);
    make(&m[1], "second.example.net", "alias.example.net");
    make(&m[2], "*.wild.example", NULL);
    make(&m[3], "exact.wild.example", "first.example.org");
    for (i = 0; i < 4; i++)
        pairs[i] = pair_of(&m[i]);
    t = context(pairs, 4, true);
    for (i = 0; i < sizeof sni_rows / sizeof *sni_rows; i++) {
        struct shake s = {.sni = sni_rows[i].sni};

        shake(t, &s);
        if (!s.ok || strcmp(s.name, sni_rows[i].name) != 0)
            fail_msg("%s: got %s", s.sni ? s.sni : "(none)", s.ok ? s.name : "no connection");
    }
    tls_context_free(t);
    for (i = 0; i < 4; i++)
        made_free(&m[i]);
}

static void rsa_beside_ecdsa(void **state)
{
    struct made m[2];
    struct tls_pair pairs[2];
    struct tls_context *t;
    struct shake rsa = {.sigalgs = "RSA-PSS+SHA256:RSA+SHA256", .sni = "mail.example.org"},
                 ec = {.sigalgs = "ECDSA+SHA256", .sni = "mail.example.org"};

    (void)state;
    make(&m[0], "mail.example.org", NULL);
    make_rsa(&m[1], "mail.example.org");
    pairs[0] = pair_of(&m[0]);
    pairs[1] = pair_of(&m[1]);
    t = context(pairs, 2, true);
    shake(t, &rsa);
    assert_true(rsa.ok);
    assert_int_equal(rsa.key_type, EVP_PKEY_RSA);
    shake(t, &ec);
    assert_true(ec.ok);
    assert_int_equal(ec.key_type, EVP_PKEY_EC);
    tls_context_free(t);
    made_free(&m[0]);
    made_free(&m[1]);
}

static const struct {
    struct shake s;
    bool ok;
    const char *selected;
} shake_rows[] = {
    {{.max_version = TLS1_3_VERSION}, true, ""},
    {{.max_version = TLS1_2_VERSION}, true, ""},
    {{.max_version = TLS1_1_VERSION}, false, ""},
    {{.max_version = TLS1_VERSION}, false, ""},
    /* AEAD with ECDHE only */
    {{.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"}, true, ""},
    {{.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"}, true, ""},
    {{.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA256"}, false, ""},
    {{.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-CCM"}, false, ""},
    {{.groups = "P-256"}, true, ""},
    {{.groups = "X25519"}, true, ""},
    {{.groups = "P-521"}, false, ""},
    {{.alpn_ours = "imap", .alpn = (const unsigned char *)"\4imap", .alpn_n = 5}, true, "imap"},
    {{.alpn_ours = "imap", .alpn = (const unsigned char *)"\2h2\4imap", .alpn_n = 8}, true, "imap"},
    {{.alpn_ours = "imap", .alpn = (const unsigned char *)"\10http/1.1", .alpn_n = 9}, false, ""},
    {{.alpn_ours = "pop3", .alpn = (const unsigned char *)"\4imap", .alpn_n = 5}, false, ""},
    {{.alpn_ours = "pop3", .alpn = (const unsigned char *)"\3pop\5pop3x", .alpn_n = 10}, false, ""},
    {{.alpn_ours = "imap"}, true, ""},
};

static void versions_ciphers_alpn(void **state)
{
    struct made m;
    struct tls_pair p;
    struct tls_context *t;
    size_t i;

    (void)state;
    make(&m, "mail.example.org", NULL);
    p = pair_of(&m);
    t = context(&p, 1, true);
    for (i = 0; i < sizeof shake_rows / sizeof *shake_rows; i++) {
        struct shake s = shake_rows[i].s;

        shake(t, &s);
        if (s.ok != shake_rows[i].ok || strcmp(s.selected, shake_rows[i].selected) != 0)
            fail_msg("row %zu: %d, \"%s\"", i, s.ok, s.selected);
        if (s.ok && s.max_version)
            assert_int_equal(s.version, s.max_version);
    }
    tls_context_free(t);
    made_free(&m);
}

/* Tickets: good at another front that has the same keys; none on port 25. */
static void tickets(void **state)
{
    struct made m;
    struct tls_pair p;
    struct tls_context *one, *two, *none;
    struct shake s = {0}, again = {0}, no = {0}, no12 = {.max_version = TLS1_2_VERSION};

    (void)state;
    make(&m, "mail.example.org", NULL);
    p = pair_of(&m);
    one = context(&p, 1, true);
    two = context(&p, 1, true);
    none = context(&p, 1, false);
    shake(one, &s);
    assert_int_equal(s.tickets, 1);
    assert_false(s.resumed);
    again.session = last_session;
    last_session = NULL;
    shake(two, &again);
    assert_true(again.resumed);
    shake(none, &no);
    assert_true(no.ok);
    assert_int_equal(no.tickets, 0);
    shake(none, &no12);
    assert_true(no12.ok);
    SSL_SESSION_free(again.session);
    SSL_SESSION_free(last_session);
    last_session = NULL;
    tls_context_free(one);
    tls_context_free(two);
    tls_context_free(none);
    made_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(self_signed),
        cmocka_unit_test(packing),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(server_names),
        cmocka_unit_test(rsa_beside_ecdsa),
        cmocka_unit_test(versions_ciphers_alpn),
        cmocka_unit_test(tickets),
    };

    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
