/* Notifications: what they say and what can never get into them. With a folder as its argument it writes each
 * sample there, for tests/unit/dsn_parse.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "mail/dsn.h"
#include "mail/header.h"

#define ORIGINAL                                                                                             \
    "Message-ID: <orig@example.net>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and more\r\n"                    \
    "From: anna@example.net\r\nX-Eight: \xc3\xa4\r\n\r\nThe secret body.\r\n"

static const struct dsn_recipient bob = {
    .address = {"bob@example.com", 15},
    .orcpt = {"rfc822;b.o.b@example.com", 24},
    .host = {"mx.example.com", 14},
    .reply = {"550-5.1.1 The account does not exist.\r\n550 5.1.1 Ask \0 somebody\xff.", 65},
    .last_attempt = 1795492000,
    .retry_until = 1795924000,
};
static const struct dsn_recipient joerg = {
    .address = {"j\xc3\xb6rg@example.org", 17}, .cause = "It was tried for days."};

static struct dsn sample(enum dsn_kind kind, enum reply_language language, const struct dsn_recipient *r)
{
    return (struct dsn){
        .kind = kind,
        .language = language,
        .id = SLICE("0abcdefghjkmn"),
        .host = SLICE("mail.example.net"),
        .to = SLICE("anna@example.net"),
        .envid = SLICE("QQ314159"),
        .original_id = SLICE("0abcdefghjkmp"),
        .now = 1795492100,
        .arrival = 1795490000,
        .original = SLICE(ORIGINAL),
        .is_whole = true,
        .recipients = r,
        .nrecipients = 1,
    };
}

static bool has(const struct buf *out, const char *what)
{
    return slice_find(buf_slice(out), slice_str(what)) >= 0;
}

static struct dsn_needs compose(const struct dsn *d, struct buf *out)
{
    struct dsn_needs needs;

    buf_clear(out);
    assert_int_equal(dsn_compose(d, out, &needs), DSN_OK);
    return needs;
}

static void wanted(void **state)
{
    static const struct {
        enum dsn_kind kind;
        unsigned notify;
        bool wanted;
    } rows[] = {
        {DSN_FAILED, 0, true},
        {DSN_FAILED, DSN_NEVER, false},
        {DSN_FAILED, DSN_FAILURE, true},
        {DSN_FAILED, DSN_SUCCESS | DSN_DELAY, false},
        {DSN_DELAYED, 0, true},
        {DSN_DELAYED, DSN_FAILURE, false},
        {DSN_DELAYED, DSN_DELAY, true},
        {DSN_DELIVERED, 0, false},
        {DSN_DELIVERED, DSN_SUCCESS, true},
        {DSN_RELAYED, DSN_FAILURE, false},
        {DSN_RELAYED, DSN_SUCCESS | DSN_FAILURE, true},
        {DSN_EXPANDED, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (dsn_is_wanted(rows[i].kind, rows[i].notify, SLICE("a@b")) != rows[i].wanted)
            fail_msg("row %zu", i);
        assert_false(dsn_is_wanted(rows[i].kind, rows[i].notify, SLICE("")));
    }
}

static void machine_part_is_exact(void **state)
{
    struct dsn d = sample(DSN_FAILED, REPLY_ENGLISH, &bob);
    struct buf out = BUF_INIT(DSN_MAX);
    struct dsn_needs needs = compose(&d, &out);

    (void)state;
    assert_false(needs.smtputf8);
    assert_true(needs.is_8bit); /* the original's header is */
    assert_true(has(&out, "\r\n\r\nOriginal-Envelope-Id: QQ314159\r\n"
                          "Reporting-MTA: dns; mail.example.net\r\n"
                          "Arrival-Date: Tue, 24 Nov 2026 03:13:20 +0000\r\n\r\n"
                          "Original-Recipient: rfc822;b.o.b@example.com\r\n"
                          "Final-Recipient: rfc822; bob@example.com\r\n"
                          "Action: failed\r\n"
                          "Status: 5.1.1\r\n"
                          "Remote-MTA: dns; mx.example.com\r\n"
                          "Diagnostic-Code: smtp; 550-5.1.1 The account does not exist. 550 5.1.1 Ask\r\n"
                          " somebody?.\r\n"
                          "Last-Attempt-Date: Tue, 24 Nov 2026 03:46:40 +0000\r\n\r\n--"));
    assert_true(has(&out, "Auto-Submitted: auto-replied\r\n"));
    assert_true(has(&out, "From: Mail delivery <postmaster@mail.example.net>\r\n"));
    assert_true(has(&out, "To: <anna@example.net>\r\n"));
    assert_true(has(&out, "In-Reply-To: <orig@example.net>\r\n"));
    assert_true(has(&out, "Content-Type: text/rfc822-headers\r\n"));
    assert_false(has(&out, "secret"));
    d.ret_full = true;
    compose(&d, &out);
    assert_true(has(&out, "Content-Type: message/rfc822\r\n"));
    assert_true(has(&out, "The secret body."));
    d.kind = DSN_DELAYED;
    compose(&d, &out);
    assert_true(has(&out, "Action: delayed\r\nStatus: 4.0.0\r\n"));
    assert_true(has(&out, "Will-Retry-Until: "));
    assert_false(has(&out, "secret"));
    buf_free(&out);
}

static void statuses(void **state)
{
    static const struct {
        enum dsn_kind kind;
        const char *reply, *given, *status;
    } rows[] = {
        {DSN_FAILED, "550 5.7.1 x", NULL, "5.7.1"},
        {DSN_FAILED, "550 x", NULL, "5.0.0"},
        {DSN_FAILED, "451 4.7.1 x", NULL, "4.7.1"},
        {DSN_FAILED, "", "4.4.7", "4.4.7"},
        {DSN_DELAYED, "451 4.7.1 x", NULL, "4.7.1"},
        {DSN_DELAYED, "550 5.7.1 x", NULL, "4.0.0"},
        {DSN_RELAYED, "250 2.1.5 x", NULL, "2.1.5"},
        {DSN_EXPANDED, "", NULL, "2.0.0"},
    };
    struct buf out = BUF_INIT(DSN_MAX);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsn_recipient r = {
            .address = SLICE("b@c"), .reply = slice_str(rows[i].reply), .status = rows[i].given};
        struct dsn d = sample(rows[i].kind, REPLY_ENGLISH, &r);
        char line[64];

        compose(&d, &out);
        snprintf(line, sizeof line, "\r\nStatus: %s\r\n", rows[i].status);
        if (!has(&out, line))
            fail_msg("row %zu", i);
    }
    buf_free(&out);
}

static void refused(void **state)
{
    struct buf out = BUF_INIT(DSN_MAX), small = BUF_INIT((size_t)500);
    struct dsn d = sample(DSN_FAILED, REPLY_ENGLISH, &bob);
    struct dsn_recipient bad = bob;
    struct dsn_needs needs;

    (void)state;
    buf_add(&out, SLICE("before"));
    d.to = SLICE("");
    assert_int_equal(dsn_compose(&d, &out, &needs), DSN_NULL_SENDER);
    d.to = SLICE("a@b>\r\nBcc: <x@y");
    assert_int_equal(dsn_compose(&d, &out, &needs), DSN_BAD_FIELD);
    d.to = SLICE("a@b\0");
    assert_int_equal(dsn_compose(&d, &out, &needs), DSN_BAD_FIELD);
    d = sample(DSN_FAILED, REPLY_ENGLISH, &bad);
    bad.address = SLICE("a@b\nX: y");
    assert_int_equal(dsn_compose(&d, &out, &needs), DSN_BAD_FIELD);
    bad.address = SLICE("\xc3\xb6@b\r\nX: y");
    assert_int_equal(dsn_compose(&d, &out, &needs), DSN_BAD_FIELD);
    bad = bob;
    d.host = SLICE("a\r\nb");
    assert_int_equal(dsn_compose(&d, &out, &needs), DSN_BAD_FIELD);
    d = sample(DSN_FAILED, REPLY_ENGLISH, &bob);
    assert_int_equal(dsn_compose(&d, &small, &needs), DSN_TOO_LARGE);
    assert_int_equal(small.n, 0);
    assert_true(slice_eq(buf_slice(&out), SLICE("before")));
    /* what others said is cleaned, not refused: no line of theirs becomes a field */
    bad.orcpt = SLICE("rfc822;x\r\nAction: delivered");
    bad.host = SLICE("mx\r\nAction: delivered");
    bad.reply = SLICE("550 x\r\nAction: delivered\r\n\r\n--boundary");
    d.envid = SLICE("x\nAction: delivered");
    d.original = SLICE("Subject: a\r\n \r\nMessage-ID: <x\ny>\r\n\r\n");
    d.recipients = &bad;
    compose(&d, &out);
    assert_false(has(&out, "\nAction: delivered"));
    buf_free(&out);
    buf_free(&small);
}

static void long_originals_are_cut(void **state)
{
    struct dsn d = sample(DSN_FAILED, REPLY_ENGLISH, &bob);
    struct buf original = BUF_INIT(BUF_OWN), out = BUF_INIT(DSN_MAX);

    (void)state;
    for (int i = 0; i < 3000; i++)
        buf_printf(&original, "X-%d: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", i);
    buf_add_str(&original, "\nbody\n");
    d.original = buf_slice(&original);
    d.ret_full = true;
    compose(&d, &out);
    assert_true(out.n < DSN_HEADERS_MAX + 8192);
    assert_true(has(&out, "X-0: aaa"));
    assert_false(has(&out, "X-2999: aaa"));
    for (size_t i = 0; i < out.n; i++)
        assert_true(out.p[i] != '\n' || (i && out.p[i - 1] == '\r'));
    buf_free(&original);
    buf_free(&out);
}

static int write_samples(const char *dir)
{
    static const char *const kinds[] = {"failed", "delayed", "delivered", "relayed", "expanded"};
    static struct dsn_recipient many[60];
    struct buf out = BUF_INIT(DSN_MAX);
    struct dsn_needs needs;

    for (int k = 0; k < DSN_KINDS * 8; k++) {
        struct dsn d = sample((enum dsn_kind)(k % DSN_KINDS), (enum reply_language)(k / DSN_KINDS % 2),
            k / DSN_KINDS & 2 ? &joerg : &bob);
        char path[300];
        FILE *f;

        d.ret_full = k / DSN_KINDS & 4;
        if (k == DSN_KINDS * 4) {
            for (size_t i = 0; i < 60; i++)
                many[i] = bob;
            d.recipients = many;
            d.nrecipients = 60;
        }
        buf_clear(&out);
        snprintf(path, sizeof path, "%s/%s-%s-%s-%zu-%d", dir, kinds[d.kind], d.language ? "de" : "en",
            k / DSN_KINDS & 2 ? "global" : "ascii", d.nrecipients, k);
        f = fopen(path, "wbe");
        if (!f || dsn_compose(&d, &out, &needs) != DSN_OK || fwrite(out.p, 1, out.n, f) != out.n || fclose(f))
            return 1;
    }
    buf_free(&out);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wanted),
        cmocka_unit_test(machine_part_is_exact),
        cmocka_unit_test(statuses),
        cmocka_unit_test(refused),
        cmocka_unit_test(long_originals_are_cut),
    };

    return argc > 1 ? write_samples(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
