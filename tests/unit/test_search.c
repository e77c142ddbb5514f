/* SEARCH: programs from commands, tried on messages in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "imapd/search.h"
#include "mail/decode.h"
#include "store/name.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define DAY INT64_C(86400)

struct box {
    uint32_t flags;
    bool recent;
    int64_t received;
    const char *text; /* LF will do: the matching does not look at line ends */
};

/* 1..7; UIDs are 10, 20 .. 70. Day 20484 is 31-Jan-2026. */
static const struct box box[] = {
    {FLAG_SEEN, false, 20484 * DAY + DAY - 1,
        "Date: Sat, 31 Jan 2026 23:30:00 -0800\nFrom: Ann <ann@example.org>\nTo: bob@example.org\n"
        "Subject: Lunch\n\nShall we meet?\n"},
    {FLAG_SEEN | FLAG_ANSWERED | FLAG_KEYWORD(0), false, 20485 * DAY,
        "Date: Sun, 1 Feb 2026 00:10:00 +0900\nFrom: =?iso-8859-1?q?J=F6rg?= <j@example.org>\n"
        "Subject: =?utf-8?b?R3LDvMOfZSBhdXM=?=\n =?utf-8?q?_K=C3=B6ln?=\nX-Spam:\n\nnothing\n"},
    {FLAG_FLAGGED | FLAG_FORWARDED, true, 20486 * DAY + 1,
        "From: c@example.org\nSubject: folded\n\there\nContent-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: quoted-printable\n\nM=C3=BCll=\n abfuhr\n"},
    {FLAG_SEEN | FLAG_DELETED, true, 20487 * DAY,
        "Subject: parts\nContent-Type: multipart/mixed; boundary=b\n\npreamble secret\n--b\n\nfirst "
        "part\n--b\n"
        "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: "
        "base64\n\nPGI+SGVsbG8gd8O2cmxkPC9iPgo=\n"
        "--b\nContent-Type: application/octet-stream\n"
        "Content-Disposition: attachment; filename=\"Rechnung.pdf\"\n\nopaque words\n--b--\n"},
    {FLAG_DRAFT, false, 20488 * DAY,
        "Subject: wrapped\nContent-Type: message/rfc822\n\nSubject: Inside Letter\nFrom: "
        "deep@example.org\n\nkernel text\n"},
    {0, false, 20489 * DAY,
        "Subject: latin\nContent-Type: text/plain; charset=iso-8859-1\n\ngr\xfc\xdf\x65 dich\n"},
    {0, false, 20490 * DAY, ""},
};

static const struct box *current;

static bool box_size(void *ctx, uint64_t *octets)
{
    (void)ctx;
    *octets = strlen(current->text);
    return true;
}

static bool box_text(void *ctx, struct slice *text)
{
    (*(unsigned *)ctx)++;
    *text = slice_str(current->text);
    return true;
}

static bool no_text(void *ctx, struct slice *text)
{
    (void)ctx;
    (void)text;
    return false;
}

static uint32_t keyword(void *ctx, struct slice name)
{
    (void)ctx;
    return slice_eq_nocase(name, SLICE("$Work")) ? FLAG_KEYWORD(0) : 0;
}

static struct search_message message(size_t i, unsigned *reads)
{
    current = &box[i];
    return (struct search_message){
        .seq = (uint32_t)i + 1,
        .uid = ((uint32_t)i + 1) * 10,
        .flags = current->flags,
        .recent = current->recent,
        .received = current->received,
        .size = box_size,
        .head = box_text,
        .text = box_text,
        .ctx = reads,
    };
}

static bool parse(const char *z, struct arena *arena, struct search_program *program)
{
    struct imap_parse p;

    imap_parse_init(&p, slice_str(z), arena);
    if (search_parse(&p, program)) {
        search_bind(program, COUNT(box), COUNT(box) * 10, keyword, NULL);
        return true;
    }
    assert_non_null(p.error);
    return false;
}

/* "1 3" for the messages that match */
static void search(const struct search_program *program, struct buf *out, unsigned *reads)
{
    struct search_work work;

    search_work_init(&work);
    for (size_t i = 0; i < COUNT(box); i++) {
        struct search_message m = message(i, reads);

        if (search_match(program, &m, &work) != SEARCH_MATCH)
            continue;
        if (out->n)
            buf_add_char(out, ' ');
        buf_add_u64(out, i + 1);
    }
    search_work_free(&work);
}

static const struct {
    const char *text, *hits; /* NULL: BAD */
} rows[] = {
    {"ALL", "1 2 3 4 5 6 7"},
    {"all", "1 2 3 4 5 6 7"},
    {"SEEN", "1 2 4"},
    {"UNSEEN", "3 5 6 7"},
    {"ANSWERED", "2"},
    {"UNANSWERED", "1 3 4 5 6 7"},
    {"DELETED", "4"},
    {"UNDELETED SEEN", "1 2"},
    {"DRAFT", "5"},
    {"UNDRAFT DRAFT", ""},
    {"FLAGGED", "3"},
    {"UNFLAGGED 2:4", "2 4"},
    {"RECENT", "3 4"},
    {"NEW", "3"},
    {"OLD", "1 2 5 6 7"},
    {"KEYWORD $work", "2"},
    {"KEYWORD unknown", ""},
    {"UNKEYWORD $Work", "1 3 4 5 6 7"},
    {"UNKEYWORD unknown", "1 2 3 4 5 6 7"},
    {"3,5:*", "3 5 6 7"},
    {"*", "7"},
    {"100:200", ""},
    {"UID 10,30:45", "1 3 4"},
    {"UID 65:*", "7"},
    {"NOT 1:6", "7"},
    /* dates: INTERNALDATE in UTC, SENT as the sender wrote it */
    {"BEFORE 1-Feb-2026", "1"},
    {"ON 1-Feb-2026", "2"},
    {"SINCE \"2-Feb-2026\"", "3 4 5 6 7"},
    {"SENTON 31-Jan-2026", "1"},
    {"SENTON 1-Feb-2026", "2"},
    {"SENTBEFORE 1-Feb-2026", "1"},
    {"SENTSINCE 31-Jan-2026", "1 2"},
    {"NOT SENTSINCE 31-Jan-2026", "3 4 5 6 7"},
    {"SMALLER 1", "7"},
    {"LARGER 0 SMALLER 80", "6"},
    /* logic */
    {"OR SEEN FLAGGED", "1 2 3 4"},
    {"OR OR 1 2 OR 3 4", "1 2 3 4"},
    {"NOT OR SEEN FLAGGED", "5 6 7"},
    {"NOT NOT SEEN", "1 2 4"},
    {"NOT (SEEN ANSWERED)", "1 3 4 5 6 7"},
    {"OR (SEEN NOT DELETED) (FLAGGED RECENT)", "1 2 3"},
    {"(OR (1) (NOT (2:7)))", "1"},
    {"SEEN (OR NOT ANSWERED 4) NOT 1", "4"},
    {"OR SUBJECT lunch BODY kernel", "1 5"},
    {"OR BODY kernel SEEN", "1 2 4 5"},
    {"NOT (OR BODY kernel SUBJECT lunch) NOT SEEN", "3 6 7"},
    /* header fields */
    {"SUBJECT lunch", "1"},
    {"SUBJECT \"LUNCH\"", "1"},
    {"FROM ann@EXAMPLE", "1"},
    {"TO bob", "1"},
    {"CC bob", ""},
    {"BCC bob", ""},
    {"FROM {5}\r\nj\xc3\xb6rg", "2"},
    {"FROM {5}\r\nJ\xc3\x96RG", "2"},
    {"CHARSET iso-8859-1 FROM {4}\r\nj\xf6rg", "2"},
    {"CHARSET UTF-8 SUBJECT {15}\r\ngr\xc3\xbcsse aus k\xc3\xb6", "2"},
    {"SUBJECT \"folded here\"", "3"},
    {"HEADER X-Spam \"\"", "2"},
    {"HEADER x-spam yes", ""},
    {"HEADER Subject \"\"", "1 2 3 4 5 6"},
    {"HEADER Date 2026", "1 2"},
    /* bodies */
    {"BODY meet", "1"},
    {"BODY \"SHALL WE\"", "1"},
    {"BODY {12}\r\nm\xc3\xbcll abfuhr", "3"},
    {"BODY {12}\r\nM\xc3\x9cLL ABFUHR", "3"},
    {"BODY {6}\r\nw\xc3\xb6rld", "4"},
    {"BODY \"first part\"", "4"},
    {"BODY preamble", ""},
    {"BODY \"opaque words\"", ""},
    {"BODY rechnung", "4"},
    {"BODY lunch", ""},
    {"BODY \"inside letter\"", "5"},
    {"BODY kernel", "5"},
    {"BODY {6}\r\ngr\xc3\xbc\xc3\x9f", "6"},
    {"BODY gr\xc3\xbcsse", NULL}, /* an atom has no eight bits */
    {"TEXT lunch", "1"},
    {"TEXT \"subject: lunch\"", "1"},
    {"TEXT meet", "1"},
    {"TEXT deep@example.org", "5"},
    {"TEXT {5}\r\nk\xc3\xb6ln", "2"},
    {"BODY \"\"", "1 2 3 4 5 6 7"},
    {"NOT TEXT example", "4 6 7"},
    {"CHARSET x-none SUBJECT lunch", "1"},
    /* refused */
    {"", NULL},
    {"NOT", NULL},
    {"OR SEEN", NULL},
    {"OR SEEN ", NULL},
    {"(SEEN", NULL},
    {"SEEN)", NULL},
    {"()", NULL},
    {"SEENFLAGGED", NULL},
    {"SEEN(FLAGGED)", NULL},
    {"HEADER Subject", NULL},
    {"SUBJECT", NULL},
    {"LARGER x", NULL},
    {"LARGER 4294967296", NULL},
    {"SINCE yesterday", NULL},
    {"UID x", NULL},
    {"0", NULL},
    {"$", NULL},
    {"CHARSET", NULL},
    {"CHARSET utf-8", NULL},
    {"RETURN (SAVE) ALL", NULL},
    {"RETURN (MIN ALL", NULL},
};

static void test_search(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 4 << 20);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf hits = BUF_INIT(BUF_OWN);
        struct search_program program;
        unsigned reads = 0;
        bool good = parse(rows[i].text, &arena, &program);

        if (good != (rows[i].hits != NULL))
            print_error("%s\n", rows[i].text);
        assert_int_equal(good, rows[i].hits != NULL);
        if (good) {
            search(&program, &hits, &reads);
            if (strcmp(buf_str(&hits), rows[i].hits) != 0)
                print_error("%s\n", rows[i].text);
            assert_string_equal(buf_str(&hits), rows[i].hits);
        }
        buf_free(&hits);
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void test_options(void **state)
{
    static const struct {
        const char *text;
        bool extended, unknown;
        unsigned returns;
    } options[] = {
        {"ALL", false, false, SEARCH_RETURN_ALL},
        {"RETURN () ALL", true, false, SEARCH_RETURN_ALL},
        {"RETURN (MIN MAX) ALL", true, false, SEARCH_RETURN_MIN | SEARCH_RETURN_MAX},
        {"return (count) charset us-ascii ALL", true, false, SEARCH_RETURN_COUNT},
        {"RETURN (ALL COUNT) CHARSET \"x-none\" ALL", true, true, SEARCH_RETURN_ALL | SEARCH_RETURN_COUNT},
    };
    struct search_program program;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < COUNT(options); i++) {
        assert_true(parse(options[i].text, &arena, &program));
        assert_int_equal(program.extended, options[i].extended);
        assert_int_equal(program.charset_unknown, options[i].unknown);
        assert_int_equal(program.returns, options[i].returns);
    }
    arena_free(&arena);
}

/* What costs little decides first, wherever it stands: the text is read for the messages that are left. */
static void test_order(void **state)
{
    static const struct {
        const char *text;
        unsigned reads;
    } orders[] = {
        {"BODY x SEEN", 3},
        {"BODY x SUBJECT lunch SEEN", 4}, /* three headers, one text */
        {"OR BODY x 1:6", 1},
        {"NOT (BODY x FLAGGED)", 1},
        {"TEXT x BODY y 7", 1},
        {"SUBJECT x SENTON 1-Feb-2026 HEADER a b 1", 1},
        {"UID 10 (BODY x) NOT ALL", 0},
    };
    struct search_program program;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < COUNT(orders); i++) {
        struct buf hits = BUF_INIT(BUF_OWN);
        unsigned reads = 0;

        assert_true(parse(orders[i].text, &arena, &program));
        search(&program, &hits, &reads);
        assert_int_equal(reads, orders[i].reads);
        buf_free(&hits);
    }
    arena_free(&arena);
}

static bool repeated(const char *head, const char *middle, const char *tail, size_t n)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct search_program program;
    struct arena arena;
    bool good;

    arena_init(&arena, 4 << 20);
    for (size_t i = 0; i < n; i++)
        buf_add_str(&text, head);
    buf_add_str(&text, middle);
    for (size_t i = 0; i < n; i++)
        buf_add_str(&text, tail);
    good = parse(buf_str(&text), &arena, &program);
    arena_free(&arena);
    buf_free(&text);
    return good;
}

static void test_limits(void **state)
{
    (void)state;
    assert_true(repeated("(", "ALL", ")", SEARCH_DEPTH_MAX));
    assert_false(repeated("(", "ALL", ")", SEARCH_DEPTH_MAX + 1));
    assert_true(repeated("NOT ", "ALL", "", SEARCH_DEPTH_MAX));
    assert_false(repeated("NOT ", "ALL", "", SEARCH_DEPTH_MAX + 1));
    assert_true(repeated("OR ", "ALL", " SEEN", SEARCH_DEPTH_MAX));
    assert_false(repeated("OR ", "ALL", " SEEN", SEARCH_DEPTH_MAX + 1));
    assert_false(repeated("OR ", "ALL", " SEEN", 10000));
    /* beside each other they may be as many as keys */
    assert_true(repeated("", "ALL", " OR 1 NOT (2)", (SEARCH_KEYS_MAX - 1) / 2));
    assert_true(repeated("", "ALL", " SEEN", SEARCH_KEYS_MAX - 1));
    assert_false(repeated("", "ALL", " SEEN", SEARCH_KEYS_MAX));
}

static void test_unreadable(void **state)
{
    struct search_program program;
    struct search_work work;
    struct search_message m;
    struct arena arena;
    unsigned reads = 0;

    (void)state;
    arena_init(&arena, 1 << 20);
    search_work_init(&work);
    m = message(0, &reads);
    m.text = no_text;
    assert_true(parse("NOT BODY x", &arena, &program));
    assert_int_equal(search_match(&program, &m, &work), SEARCH_UNREADABLE);
    assert_true(parse("NOT BODY x UNSEEN", &arena, &program));
    assert_int_equal(search_match(&program, &m, &work), SEARCH_NO_MATCH);
    search_work_free(&work);
    arena_free(&arena);
}

/* A needle is found wherever it lies across the pieces a large text is cut into, encoded or not. */
static void test_large(void **state)
{
    static const char *const headers[] = {"Subject: x\n\n",
        "Content-Type: text/plain; charset=utf-8\n\n\xc3\xbc",
        "Content-Transfer-Encoding: quoted-printable\n\n=20", "Content-Transfer-Encoding: base64\n\n"};
    struct search_program hit, miss;
    struct search_work work;
    struct arena arena;
    unsigned reads = 0;

    (void)state;
    arena_init(&arena, 1 << 20);
    search_work_init(&work);
    assert_true(parse("BODY \"Needle In\"", &arena, &hit));
    assert_true(parse("BODY \"needle on\"", &arena, &miss));
    for (size_t i = 0; i < COUNT(headers); i++) {
        for (size_t before = (128u << 10) - 12; before < (128u << 10) + 2; before++) {
            struct buf text = BUF_INIT(BUF_OWN), body = BUF_INIT(BUF_OWN);
            struct search_message m = message(0, &reads);
            struct box b = {0};

            for (size_t n = 0; n < before; n++)
                buf_add_char(&body, 'x');
            buf_add_str(&body, "nEEdle in");
            for (size_t n = 0; n < (200u << 10); n++)
                buf_add_char(&body, 'x');
            buf_add_str(&text, headers[i]);
            if (i == 3)
                base64_encode(buf_slice(&body), &text);
            else
                buf_add(&text, buf_slice(&body));
            b.text = buf_str(&text);
            current = &b;
            assert_int_equal(search_match(&hit, &m, &work), SEARCH_MATCH);
            assert_int_equal(search_match(&miss, &m, &work), SEARCH_NO_MATCH);
            buf_free(&text);
            buf_free(&body);
        }
    }
    search_work_free(&work);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
