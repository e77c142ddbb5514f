/* DKIM: canonicalisation and signatures against the examples of RFC 6376 and RFC 8463, and our own field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "mail/decode.h"
#include "mail/dkim.h"
#include "mail/dkim_canon.h"
#include "mail/header.h"

/* --- canonicalisation --- */

static void keep(void *ctx, struct slice run)
{
    assert_true(run.n > 0);
    buf_add(ctx, run);
}

/* In pieces of `size` octets; 0: whole. */
static void canon(struct slice body, size_t size, struct buf *out)
{
    struct dkim_canon *c = malloc(sizeof *c);

    assert_non_null(c);
    *out = BUF_INIT(BUF_OWN);
    dkim_canon_init(c, keep, out);
    for (size_t at = 0; at < body.n; at += size ? size : body.n)
        dkim_canon_body(c, slice_sub(body, at, size ? size : body.n));
    dkim_canon_end(c);
    free(c);
}

static const struct {
    const char *in, *out;
} bodies[] = {
    /* RFC 6376 3.4.5, example 1 */
    {" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"},
    /* RFC 6376 3.4.4: nothing, and what comes to nothing */
    {"", ""},
    {"\r\n", ""},
    {"\r\n\r\n\r\n", ""},
    {" \t \r\n\t\r\n", ""},
    {" ", ""},
    {"\n\n", ""},
    /* a last line without its end */
    {"a", "a\r\n"},
    {"a\r\n", "a\r\n"},
    {"a \t", "a\r\n"},
    {"a\r\n\r\n \t", "a\r\n"},
    {"a\r", "a\r\r\n"},
    /* empty lines inside stay */
    {"\r\n\r\na\r\n \r\n\r\nb\r\n\r\n", "\r\n\r\na\r\n\r\n\r\nb\r\n"},
    /* blanks */
    {"\ta\t\tb  c d \t\r\n", " a b c d\r\n"},
    {"  a\r\n\t b", " a\r\n b\r\n"},
    /* bare LF ends a line, bare CR is text */
    {"a \nb\n\n", "a\r\nb\r\n"},
    {"a\rb\r\r\nc", "a\rb\r\r\nc\r\n"},
    {"a \r b\r\n", "a \r b\r\n"},
    {"\r\r\n", "\r\r\n"},
    {"gr\xc3\xbc\xc3\x9f \xff\r\n", "gr\xc3\xbc\xc3\x9f \xff\r\n"},
};

static void test_body(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (size_t size = 0; size < 6; size++) {
            struct buf out;

            canon(slice_str(bodies[i].in), size, &out);
            assert_string_equal(buf_str(&out), bodies[i].out);
            buf_free(&out);
        }
}

/* Runs longer than what is held back, lines without an end in sight, a million of empty lines. */
static void test_body_long(void **state)
{
    static const char *const parts[] = {"x", "word ", "  ", "a \r\n", "\r\n", "\tb\t"};

    (void)state;
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        struct buf body = BUF_INIT(BUF_OWN), whole, cut;

        for (size_t i = 0; i < 20000; i++)
            buf_add_str(&body, parts[p]);
        buf_add_str(&body, "end");
        canon(buf_slice(&body), 0, &whole);
        assert_true(slice_ends(buf_slice(&whole), SLICE("end\r\n")));
        for (size_t size = 1; size < 9000; size = size * 3 + 1) {
            canon(buf_slice(&body), size, &cut);
            assert_true(slice_eq(buf_slice(&whole), buf_slice(&cut)));
            buf_free(&cut);
        }
        buf_free(&whole);
        buf_free(&body);
    }
}

static const struct {
    const char *name, *value, *out;
} headers[] = {
    /* RFC 6376 3.4.5, example 1 */
    {"A", " X", "a:X"},
    {"B", " Y\t\r\n\tZ  ", "b:Y Z"},
    {"SUBJect", "AbC", "subject:AbC"},
    {"Subject ", "", "subject:"},
    {"Subject", "\r\n \r\n\t", "subject:"},
    {"Subject", "\r\n a \r\n \r\n  b\t\t c\r\n", "subject:a b c"},
    {"Subject", " a\n b", "subject:a b"},
    {"Subject", " a\rb", "subject:a\rb"},
    {"To", " gr\xc3\xbc\xc3\x9f@b\xc3\xbc.de", "to:gr\xc3\xbc\xc3\x9f@b\xc3\xbc.de"},
};

static void test_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct buf out = BUF_INIT(BUF_OWN);

        dkim_canon_field(&out, slice_str(headers[i].name), slice_str(headers[i].value));
        assert_string_equal(buf_str(&out), headers[i].out);
        buf_free(&out);
    }
}

/* --- the examples of RFC 8463, appendix A --- */

static const char ed25519_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                                  "-----END PRIVATE KEY-----\n";
static const char rsa_pem[] = "-----BEGIN RSA PRIVATE KEY-----\n"
                              "MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\n"
                              "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM\n"
                              "KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n"
                              "AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm\n"
                              "6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe\n"
                              "zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy\n"
                              "6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc\n"
                              "uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy\n"
                              "WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd\n"
                              "WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a\n"
                              "licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst\n"
                              "o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe\n"
                              "uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL\n"
                              "-----END RSA PRIVATE KEY-----\n";

static const char joe_header[] = "From: Joe SixPack <joe@football.example.com>\r\n"
                                 "To: Suzie Q <suzie@shopping.example.net>\r\n"
                                 "Subject: Is dinner ready?\r\n"
                                 "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
                                 "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
static const char joe_body[] = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
#define JOE_HASH "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="

#define SIGNED_NAMES "h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n"
#define SIGNED_BY(algorithm, selector)                                                                       \
    " v=1; a=" algorithm "; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n"     \
    " q=dns/txt; s=" selector "; t=1528637909; " SIGNED_NAMES " bh=" JOE_HASH ";\r\n b="

static void signed_text(const char *signature, struct buf *out)
{
    struct slice rest = slice_str(joe_header);
    struct header_field f;

    *out = BUF_INIT(BUF_OWN);
    while (header_next(&rest, &f)) {
        dkim_canon_field(out, f.name, f.value);
        buf_add(out, SLICE("\r\n"));
    }
    dkim_canon_field(out, SLICE("DKIM-Signature"), slice_str(signature));
}

static void test_example_body(void **state)
{
    unsigned char digest[32];
    struct buf body, text = BUF_INIT(64);

    (void)state;
    canon(slice_str(joe_body), 0, &body);
    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, body.p, body.n, digest, NULL), 1);
    base64_encode(slice_of(digest, sizeof digest), &text);
    assert_string_equal(buf_str(&text), JOE_HASH);
    buf_free(&text);
    buf_free(&body);
}

static void test_example_ed25519(void **state)
{
    struct dkim_key *key = dkim_key_load(slice_str(ed25519_pem), NULL);
    struct buf text, binary = BUF_INIT(64), out = BUF_INIT(256);

    (void)state;
    assert_non_null(key);
    assert_int_equal(dkim_key_algorithm(key), DKIM_ED25519);
    signed_text(SIGNED_BY("ed25519-sha256", "brisbane"), &text);
    assert_true(dkim_key_sign(key, buf_slice(&text), &binary));
    base64_encode(buf_slice(&binary), &out);
    assert_string_equal(buf_str(&out),
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
    buf_clear(&out);
    assert_true(dkim_public_record(key, &out));
    assert_string_equal(buf_str(&out), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    buf_free(&out);
    buf_free(&binary);
    buf_free(&text);
    dkim_key_free(key);
}

/* Its RSA key has 1024 bits: not one of ours, but what is signed is the same. */
static void test_example_rsa(void **state)
{
    BIO *in = BIO_new_mem_buf(rsa_pem, -1);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct buf text, out = BUF_INIT(256);
    unsigned char binary[128];
    size_t n = sizeof binary;
    struct err e = {0};

    (void)state;
    assert_non_null(pkey);
    signed_text(SIGNED_BY("rsa-sha256", "test"), &text);
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    assert_int_equal(EVP_DigestSign(ctx, binary, &n, (unsigned char *)text.p, text.n), 1);
    base64_encode(slice_of(binary, n), &out);
    assert_string_equal(buf_str(&out),
        "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGd"
        "aSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=");
    assert_null(dkim_key_load(slice_str(rsa_pem), &e));
    assert_int_equal(e.code, ERR_SYNTAX);
    assert_non_null(strstr(e.detail, "1024 bits"));
    buf_free(&out);
    buf_free(&text);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    BIO_free(in);
}

/* --- keys --- */

static void test_keys(void **state)
{
    static const char *const bad[] = {"", "x",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n",
        /* P-256 */
        "-----BEGIN PRIVATE "
        "KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n"
        "AQEBAQEBAQEBAQGhRANCAARv8Dy98eejxeWt8nosAiHPyZKlRJfDkd2L9sZPYcl9VGHCt6IuVGHBJmKqgVHYpgMVHXzqg83kd4wj"
        "\n"
        "LtE=\n-----END PRIVATE KEY-----\n"};
    struct dkim_key *key = dkim_key_new(DKIM_RSA, NULL), *again;
    struct buf pem = BUF_INIT(DKIM_PEM_MAX), a = BUF_INIT(1024), b = BUF_INIT(1024), split = BUF_INIT(1024);
    struct slice part, rest;

    (void)state;
    assert_non_null(key);
    assert_true(dkim_key_pem(key, &pem));
    again = dkim_key_load(buf_slice(&pem), NULL);
    assert_non_null(again);
    assert_true(dkim_public_record(key, &a) && dkim_public_record(again, &b));
    assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
    assert_true(slice_starts(buf_slice(&a), SLICE("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A")));
    /* the strings of a zone file put together are the record */
    dkim_record_split(buf_slice(&a), &split);
    rest = buf_slice(&split);
    buf_clear(&b);
    while (slice_cut(&rest, '"', &part))
        if (!slice_eq(part, SLICE(" "))) {
            assert_true(part.n <= 255);
            buf_add(&b, part);
        }
    assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};

        assert_null(dkim_key_load(slice_str(bad[i]), &e));
        assert_int_equal(e.code, ERR_SYNTAX);
    }
    buf_free(&pem);
    buf_free(&a);
    buf_free(&b);
    buf_free(&split);
    dkim_key_free(key);
    dkim_key_free(again);
}

static void test_split(void **state)
{
    struct buf in = BUF_INIT(1024), out = BUF_INIT(2048);

    (void)state;
    dkim_record_split(SLICE("a\"b\\"), &out);
    assert_string_equal(buf_str(&out), "\"a\\\"b\\\\\"");
    buf_clear(&out);
    dkim_record_split(SLICE(""), &out);
    assert_string_equal(buf_str(&out), "\"\"");
    for (size_t i = 0; i < 255; i++)
        buf_add_char(&in, 'x');
    buf_clear(&out);
    dkim_record_split(buf_slice(&in), &out);
    assert_int_equal(out.n, 257);
    buf_add_char(&in, 'y');
    buf_clear(&out);
    dkim_record_split(buf_slice(&in), &out);
    assert_true(slice_ends(buf_slice(&out), SLICE("x\" \"y\"")));
    buf_free(&in);
    buf_free(&out);
}

static void test_selectors(void **state)
{
    (void)state;
    assert_true(dkim_is_selector(SLICE("p202611")) && dkim_is_selector(SLICE("a-b")));
    assert_false(dkim_is_selector(SLICE("")) || dkim_is_selector(SLICE("-a")) ||
                 dkim_is_selector(SLICE("a-")) || dkim_is_selector(SLICE("a.b")) ||
                 dkim_is_selector(SLICE("a/b")) || dkim_is_selector(SLICE("..")) ||
                 dkim_is_selector(SLICE("a b")) || dkim_is_selector(SLICE("\xc3\xbc")));
}

/* --- the field --- */

static struct dkim_signer joe(const struct dkim_key *key)
{
    return (struct dkim_signer){
        .domain = SLICE("football.example.com"), .selector = SLICE("brisbane"), .key = key};
}

static int sign(
    const char *header, const char *body, const struct dkim_signer *s, struct buf *out, struct err *e)
{
    struct dkim *d = dkim_new();
    int rc = dkim_begin(d, slice_str(header), e);

    if (rc == 0) {
        dkim_body(d, slice_str(body));
        dkim_end(d);
        rc = dkim_sign(d, s, 1528637909, out, e);
    }
    dkim_free(d);
    return rc;
}

/* The b= of it is right by the machine that the RFC's example has tried. */
static void test_signature(void **state)
{
    static const char want[] =
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
        "\td=football.example.com; s=brisbane; t=1528637909; h=From:From:To:To:Subject:\r\n"
        "\tSubject:Date:Date:Message-ID;\r\n"
        "\tbh=" JOE_HASH "; b=";
    struct dkim_key *key = dkim_key_load(slice_str(ed25519_pem), NULL);
    struct dkim_signer s = joe(key);
    struct buf out = BUF_INIT(4096), text, binary = BUF_INIT(64), b = BUF_INIT(128), got = BUF_INIT(128);
    struct slice value;

    (void)state;
    assert_int_equal(sign(joe_header, joe_body, &s, &out, NULL), 0);
    assert_memory_equal(out.p, want, sizeof want - 1);
    signed_text(want + sizeof "DKIM-Signature:" - 1, &text);
    assert_true(dkim_key_sign(key, buf_slice(&text), &binary));
    base64_encode(buf_slice(&binary), &b);
    value = slice_from(buf_slice(&out), sizeof want - 1);
    for (size_t i = 0; i < value.n; i++)
        if (!strchr("\r\n\t", value.p[i]))
            buf_add_char(&got, value.p[i]);
    assert_string_equal(buf_str(&got), buf_str(&b));
    buf_free(&out);
    buf_free(&text);
    buf_free(&binary);
    buf_free(&b);
    buf_free(&got);
    dkim_key_free(key);
}

static const struct {
    const char *header, *names; /* h= without folds */
} names[] = {
    {"", "From:To:Subject:Date"},
    {"X-Other: 1\r\nReceived: x\r\n", "From:To:Subject:Date"},
    {"from: a\r\nFROM : b\r\n\r\n", "From:From:From:To:Subject:Date"},
    {"List-Unsubscribe-Post: x\r\nList-Unsubscribe: y\r\nCC: z\r\nContent-type: text/plain\r\n",
        "From:To:Cc:Subject:Date:Content-Type:List-Unsubscribe:List-Unsubscribe-Post"},
    {"Reply-To: a\nSender: b\nReferences: c\nIn-Reply-To: d\nMIME-Version: 1.0\nContent-Transfer-Encoding: "
     "8bit\n",
        "From:To:Subject:Date:In-Reply-To:References:Reply-To:Sender:MIME-Version:Content-Transfer-Encoding"},
    {"no field at all\r\n folded\r\nTo: x\r\n", "From:To:To:Subject:Date"},
};

static void test_names(void **state)
{
    struct dkim_key *key = dkim_key_load(slice_str(ed25519_pem), NULL);
    struct dkim_signer s = joe(key);

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf out = BUF_INIT(4096), flat = BUF_INIT(4096);
        struct slice rest, line;
        ssize_t from, to;

        assert_int_equal(sign(names[i].header, "x\r\n", &s, &out, NULL), 0);
        assert_true(slice_ends(buf_slice(&out), SLICE("\r\n")));
        rest = buf_slice(&out);
        while (slice_cut(&rest, '\n', &line)) {
            assert_true(line.n <= 79 && (line.n == 0 || line.p[line.n - 1] == '\r'));
            for (size_t k = 0; k < line.n; k++)
                if (!strchr("\r\t ", line.p[k]))
                    buf_add_char(&flat, line.p[k]);
        }
        from = slice_find(buf_slice(&flat), SLICE(";h="));
        to = slice_find(buf_slice(&flat), SLICE(";bh="));
        assert_true(from > 0 && to > from);
        flat.p[to] = '\0';
        assert_string_equal(flat.p + from + 3, names[i].names);
        buf_free(&out);
        buf_free(&flat);
    }
    dkim_key_free(key);
}

static const struct {
    const char *domain, *selector, *identity, *tags; /* NULL: refused */
} signers[] = {
    {"Example.ORG", "p1", "", "d=example.org; s=p1; t="},
    {"b\xc3\xbc"
     "cher.example",
        "p1", "", "d=xn--bcher-kva.example; s=p1; t="},
    {"b\xc3\xbc"
     "cher.example",
        "p1",
        "@b\xc3\xbc"
        "cher.example",
        "i=@xn--bcher-kva.example;"},
    {"example.org", "p1", "@example.org", "i=@example.org;"},
    {"example.org", "p1", "@sub.example.org", "i=@sub.example.org;"},
    {"example.org", "p1", "a+b=\xc3\xbc@example.org", "i=a+b=3D=C3=BC@example.org;"},
    {"example.org", "p1", "@example.com", NULL},
    {"example.org", "p1", "@badexample.org", NULL},
    {"example.org", "p1", "example.org", NULL},
    {"example.org", "p1;x", "", NULL},
    {"example.org", "", "", NULL},
    {"example.org; l=0", "p1", "", NULL},
    {"", "p1", "", NULL},
};

/* Wherever the lines are folded. */
static bool has_tags(struct slice field, struct slice tags)
{
    struct buf flat = BUF_INIT(4096);
    bool has;

    for (size_t i = 0; i < field.n; i++)
        if (!strchr("\r\n", field.p[i]))
            buf_add_char(&flat, field.p[i] == '\t' ? ' ' : field.p[i]);
    has = slice_find(buf_slice(&flat), tags) > 0;
    buf_free(&flat);
    return has;
}

static void test_signers(void **state)
{
    struct dkim_key *key = dkim_key_load(slice_str(ed25519_pem), NULL);

    (void)state;
    for (size_t i = 0; i < sizeof signers / sizeof *signers; i++) {
        struct dkim_signer s = {slice_str(signers[i].domain), slice_str(signers[i].selector),
            slice_str(signers[i].identity), key};
        struct buf out = BUF_INIT(4096);
        struct err e = {0};
        int rc;

        buf_add_str(&out, "kept");
        rc = sign(joe_header, joe_body, &s, &out, &e);
        assert_int_equal(rc, signers[i].tags ? 0 : -1);
        if (signers[i].tags)
            assert_true(has_tags(buf_slice(&out), slice_str(signers[i].tags)));
        else
            assert_int_equal(e.code, ERR_SYNTAX);
        assert_true(rc == 0 || out.n == 4);
        buf_free(&out);
    }
    dkim_key_free(key);
}

static void test_limits(void **state)
{
    struct dkim_key *key = dkim_key_load(slice_str(ed25519_pem), NULL);
    struct dkim_signer s = joe(key);
    struct buf header = BUF_INIT(BUF_OWN), out = BUF_INIT(8192);
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < 16; i++)
        buf_add_str(&header, "To: x\r\n");
    assert_int_equal(sign(buf_str(&header), "", &s, &out, &e), 0);
    buf_add_str(&header, "tO: x\r\n");
    assert_int_equal(sign(buf_str(&header), "", &s, &out, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    buf_clear(&header);
    while (header.n <= HEADER_LOOK_MAX)
        buf_add_str(&header, "X-Long: 0123456789012345678901234567890123456789\r\n");
    assert_int_equal(sign(buf_str(&header), "", &s, &out, &e), -1);
    assert_int_equal(e.code, ERR_TOO_BIG);
    buf_free(&header);
    buf_free(&out);
    dkim_key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_body_long),
        cmocka_unit_test(test_field),
        cmocka_unit_test(test_example_body),
        cmocka_unit_test(test_example_ed25519),
        cmocka_unit_test(test_example_rsa),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_selectors),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_signers),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
