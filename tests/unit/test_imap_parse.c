/* The words of IMAP commands: imapd/parse.h, both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "imapd/parse.h"
#include "imapd/words.h"

static struct arena arena;

static struct imap_parse cursor(struct slice text)
{
    struct imap_parse p;

    arena_reset(&arena);
    imap_parse_init(&p, text, &arena);
    return p;
}

static void same(struct slice got, const char *want, const char *input)
{
    if (!slice_eq(got, slice_str(want)))
        fail_msg("%s: got %.*s, want %s", input, SLICE_FMT(got), want);
}

/* what: a atom, s astring, q string, n nstring, l list-mailbox, f flag. want NULL: refused. rest: what is
 * left. */
struct word {
    char what;
    const char *in, *want, *rest;
};

static const struct word words[] = {
    {'a', "FETCH 1", "FETCH", " 1"},
    {'a', "BODY[1]", "BODY[1", "]"},
    {'a', "", NULL, ""},
    {'a', "(x", NULL, ""},
    {'a', "\x80", NULL, ""},
    {'a', "a\x7f", "a", "\x7f"},
    {'s', "INBOX", "INBOX", ""},
    {'s', "a]b c", "a]b", " c"},
    {'s', "\"a b\"x", "a b", "x"},
    {'s', "\"\"", "", ""},
    {'s', "\"a\\\"b\\\\c\"", "a\"b\\c", ""},
    {'s', "\"a\\b\"", NULL, ""},
    {'s', "\"a", NULL, ""},
    {'s', "\"a\\\"", NULL, ""},
    {'s', "\"a\rb\"", NULL, ""},
    {'s', "{3}\r\na b x", "a b", " x"},
    {'s', "{3+}\r\na b x", "a b", " x"},
    {'s', "{0}\r\n", "", ""},
    {'s', "{4}\r\nabc", NULL, ""},
    {'s', "{3}abc", NULL, ""},
    {'s', "{3", NULL, ""},
    {'s', "{}\r\n", NULL, ""},
    {'s', "{18446744073709551617}\r\nabc", NULL, ""},
    {'s', "{-1}\r\nabc", NULL, ""},
    {'s', "a*", "a", "*"},
    {'s', "*", NULL, ""},
    {'q', "abc", NULL, ""},
    {'q', "\"abc\"", "abc", ""},
    {'n', "nil", "", ""},
    {'n', "NILx", NULL, ""},
    {'n', "\"NIL\"", "NIL", ""},
    {'l', "a*b%/]", "a*b%/]", ""},
    {'l', "\"%\"", "%", ""},
    {'l', "(", NULL, ""},
    {'f', "\\Seen)", "\\Seen", ")"},
    {'f', "$Forwarded", "$Forwarded", ""},
    {'f', "\\*", NULL, ""},
    {'f', "\\", NULL, ""},
    {'f', "\\\\x", NULL, ""},
};

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const struct word *w = &words[i];
        struct imap_parse p = cursor(slice_str(w->in));
        struct slice out = SLICE("?");
        bool ok = w->what == 'a'   ? imap_parse_atom(&p, &out)
                  : w->what == 's' ? imap_parse_astring(&p, &out)
                  : w->what == 'q' ? imap_parse_string(&p, &out)
                  : w->what == 'n' ? imap_parse_nstring(&p, &out)
                  : w->what == 'l' ? imap_parse_list_mailbox(&p, &out)
                                   : imap_parse_flag(&p, &out);

        if (ok != (w->want != NULL))
            fail_msg("%c %s: %s", w->what, w->in, ok ? "accepted" : p.error);
        assert_true(ok || p.error);
        if (!ok)
            continue;
        same(out, w->want, w->in);
        same(p.rest, w->rest, w->in);
    }
}

static void test_nul(void **state)
{
    struct imap_parse p = cursor(SLICE("\"a\0b\""));
    struct slice out;

    (void)state;
    assert_false(imap_parse_astring(&p, &out));
    p = cursor(SLICE("{3}\r\na\0b"));
    assert_false(imap_parse_astring(&p, &out));
    p = cursor(SLICE("a\0b"));
    assert_true(imap_parse_astring(&p, &out));
    same(out, "a", "atom with NUL");
    assert_false(imap_parse_end(&p));
}

static void test_nil_is_null(void **state)
{
    struct imap_parse p = cursor(SLICE("NIL \"\""));
    struct slice out;

    (void)state;
    assert_true(imap_parse_nstring(&p, &out) && out.p == NULL);
    assert_true(imap_parse_space(&p) && imap_parse_nstring(&p, &out) && out.p != NULL && out.n == 0);
}

static void test_space_and_end(void **state)
{
    struct imap_parse p = cursor(SLICE("  x "));

    (void)state;
    assert_true(imap_parse_space(&p) && imap_parse_char(&p, 'x') && imap_parse_end(&p));
    p = cursor(SLICE("x"));
    assert_false(imap_parse_space(&p));
    p = cursor(SLICE(" x"));
    assert_false(imap_parse_end(&p));
    /* the first complaint stays */
    p = cursor(SLICE("x"));
    imap_parse_fail(&p, "one");
    imap_parse_fail(&p, "two");
    assert_string_equal(p.error, "one");
}

static void test_numbers(void **state)
{
    static const struct {
        const char *in;
        bool nz, ok;
        uint64_t max, want;
    } rows[] = {
        {"0", false, true, UINT32_MAX, 0},
        {"0", true, false, UINT32_MAX, 0},
        {"01", true, false, UINT32_MAX, 0},
        {"4294967295", true, true, UINT32_MAX, 4294967295},
        {"4294967296", true, false, UINT32_MAX, 0},
        {"18446744073709551615", false, true, UINT64_MAX, UINT64_MAX},
        {"18446744073709551616", false, false, UINT64_MAX, 0},
        {"", false, false, UINT32_MAX, 0},
        {"-1", false, false, UINT32_MAX, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_parse p = cursor(slice_str(rows[i].in));
        uint64_t n = 7;
        bool ok =
            rows[i].nz ? imap_parse_nz_number(&p, rows[i].max, &n) : imap_parse_number(&p, rows[i].max, &n);

        if (ok != rows[i].ok || (ok && n != rows[i].want))
            fail_msg("%s: %d %llu", rows[i].in, ok, (unsigned long long)n);
    }
}

static void test_flags(void **state)
{
    static const struct {
        const char *in;
        bool bare, ok;
        size_t n;
    } rows[] = {
        {"()", false, true, 0},
        {"(\\Seen)", false, true, 1},
        {"(\\Seen $A b)", false, true, 3},
        {"\\Seen $A", true, true, 2},
        {"\\Seen", false, false, 0},
        {"(\\Seen", false, false, 0},
        {"(\\Seen ", false, false, 0},
        {"((\\Seen))", false, false, 0},
        {"", true, false, 0},
    };
    struct buf many = BUF_INIT(BUF_OWN);
    const struct slice *flags;
    struct imap_parse p;
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        p = cursor(slice_str(rows[i].in));
        if (imap_parse_flags(&p, rows[i].bare, &flags, &n) != rows[i].ok || (rows[i].ok && n != rows[i].n))
            fail_msg("%s: %zu", rows[i].in, n);
    }
    for (int i = 0; i < 65; i++)
        buf_add_str(&many, i ? " k" : "(k");
    buf_add_char(&many, ')');
    p = cursor(buf_slice(&many));
    assert_false(imap_parse_flags(&p, false, &flags, &n));
    buf_free(&many);
}

static void test_mailbox(void **state)
{
    static const struct {
        const char *in;
        bool utf8;
        const char *want; /* NULL: BAD; "-": NO [CANNOT] */
    } rows[] = {
        {"inbox", false, "INBOX"},
        {"InBoX", true, "INBOX"},
        {"foo/", false, "foo"},
        {"\"Entw&APw-rfe\"", false, "Entw\xc3\xbcrfe"},
        {"\"a&b\"", false, NULL},
        {"\"a&-b\"", false, "a&b"},
        {"\"a&b\"", true, "a&b"},
        {"{8}\r\nEntw\xc3\xbcrf", true, "Entw\xc3\xbcrf"},
        {"{3}\r\na\xff\x62", true, NULL},
        {"a//b", false, "-"},
        {"/a", false, "-"},
        {"\"\"", false, "-"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_parse p = cursor(slice_str(rows[i].in));
        struct slice name;
        bool ok = imap_parse_mailbox(&p, rows[i].utf8, &name);

        if (ok && (!rows[i].want || !slice_eq(name, slice_str(rows[i].want))))
            fail_msg("%s: got %.*s", rows[i].in, SLICE_FMT(name));
        if (!ok && rows[i].want && (strcmp(rows[i].want, "-") != 0 || p.error != imap_bad_mailbox_name))
            fail_msg("%s: %s", rows[i].in, p.error);
    }
}

static void test_date_time(void **state)
{
    static const struct {
        const char *in;
        bool ok;
        int64_t want;
    } rows[] = {
        {"\" 1-Jan-1970 00:00:00 +0000\"", true, 0},
        {"\"1-Jan-1970 00:00:01 +0000\"", true, 1},
        {"\"31-Dec-1969 23:59:59 +0000\"", true, -1},
        {"\"23-Nov-2026 23:15:42 +0000\"", true, 1795475742},
        {"\"24-nov-2026 00:15:42 +0100\"", true, 1795475742},
        {"\"23-Nov-2026 18:15:42 -0500\"", true, 1795475742},
        {"\"29-Feb-2024 12:00:00 +0000\"", true, 1709208000},
        {"\"29-Feb-2023 12:00:00 +0000\"", false, 0},
        {"\"29-Feb-2100 12:00:00 +0000\"", false, 0},
        {"\"00-Jan-2023 12:00:00 +0000\"", false, 0},
        {"\"01-Foo-2023 12:00:00 +0000\"", false, 0},
        {"\"01-Jan-2023 24:00:00 +0000\"", false, 0},
        {"\"01-Jan-2023 12:60:00 +0000\"", false, 0},
        {"\"01-Jan-2023 12:00:00 +0060\"", false, 0},
        {"\"01-Jan-2023 12:00:00 GMT\"", false, 0},
        {"\"01-Jan-2023 12:00:00 +0000", false, 0},
        {"01-Jan-2023 12:00:00 +0000", false, 0},
        {"\"01-Jan-23 12:00:00 +0000\"", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_parse p = cursor(slice_str(rows[i].in));
        int64_t t = 0;

        if (imap_parse_date_time(&p, &t) != rows[i].ok || (rows[i].ok && t != rows[i].want))
            fail_msg("%s: %lld", rows[i].in, (long long)t);
    }
}

/* Every day of 500 years, written and read again. */
static void test_dates_round_trip(void **state)
{
    struct buf text = BUF_INIT(100);

    (void)state;
    for (int64_t t = -86400LL * 365 * 200 + 3; t < 86400LL * 365 * 300; t += 86400 + 61) {
        struct imap_parse p;
        int64_t back = 0;

        buf_clear(&text);
        imap_write_date_time(&text, t);
        p = cursor(buf_slice(&text));
        if (!imap_parse_date_time(&p, &back) || back != t)
            fail_msg("%lld: %.*s %lld", (long long)t, SLICE_FMT(buf_slice(&text)), (long long)back);
    }
    buf_free(&text);
}

static void test_date(void **state)
{
    static const struct {
        const char *in;
        bool ok;
        int32_t want;
    } rows[] = {
        {"1-Feb-1970", true, 31},
        {"\"01-Feb-1970\"", true, 31},
        {"\"1-Feb-1970", false, 0},
        {"32-Jan-1970", false, 0},
        {"1-1-1970", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_parse p = cursor(slice_str(rows[i].in));
        int32_t days = 0;

        assert_int_equal(imap_parse_date(&p, &days), rows[i].ok);
        if (rows[i].ok)
            assert_int_equal(days, rows[i].want);
    }
}

static void show_set(const struct imap_set *set, struct buf *out)
{
    for (size_t i = 0; i < set->n; i++)
        buf_printf(out, "%s%u:%u", i ? "," : "", set->ranges[i].first, set->ranges[i].last);
}

static void test_sets(void **state)
{
    static const struct {
        const char *in;
        uint32_t last;
        const char *want; /* resolved; NULL: refused */
    } rows[] = {
        {"1", 9, "1:1"},
        {"3:1", 9, "1:3"},
        {"1:3,2:5", 9, "1:5"},
        {"1,2,3", 9, "1:3"},
        {"7,1:2,4", 9, "1:2,4:4,7:7"},
        {"*", 9, "9:9"},
        {"5:*", 9, "5:9"},
        {"*:5", 9, "5:9"},
        {"5:*", 3, "3:5"},
        {"1,*", 9, "1:1,9:9"},
        {"8,*", 9, "8:9"},
        {"*:*", 9, "9:9"},
        {"4294967295", 9, "4294967295:4294967295"},
        {"4294967294:4294967295", 9, "4294967294:4294967295"},
        {"0", 9, NULL},
        {"4294967296", 9, NULL},
        {"1:", 9, NULL},
        {"1,", 9, NULL},
        {",1", 9, NULL},
        {"1:2:3", 9, "1:2"}, /* ":3" is left over */
        {"-1", 9, NULL},
        {"", 9, NULL},
        {"1:0", 9, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct imap_parse p = cursor(slice_str(rows[i].in));
        struct buf text = BUF_INIT(1000);
        struct imap_set set;
        bool ok = imap_parse_set(&p, &set);

        if (ok != (rows[i].want != NULL))
            fail_msg("%s: %d", rows[i].in, ok);
        if (ok) {
            imap_set_resolve(&set, rows[i].last);
            show_set(&set, &text);
            same(buf_slice(&text), rows[i].want, rows[i].in);
        }
        buf_free(&text);
    }
}

static void test_set_limits(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct imap_parse p;
    struct imap_set set;

    (void)state;
    for (unsigned i = 0; i < 10000; i++)
        buf_printf(&text, "%s%u", i ? "," : "", 2 * i + 1);
    p = cursor(buf_slice(&text));
    assert_true(imap_parse_set(&p, &set));
    assert_int_equal(set.n, 10000);
    assert_true(imap_set_has(&set, 1) && imap_set_has(&set, 19999) && !imap_set_has(&set, 2) &&
                !imap_set_has(&set, 0));
    buf_add_str(&text, ",7");
    p = cursor(buf_slice(&text));
    assert_false(imap_parse_set(&p, &set));
    buf_free(&text);
    p = cursor(SLICE("$"));
    assert_true(imap_parse_set(&p, &set) && set.is_saved);
}

static void test_set_write(void **state)
{
    static const uint32_t numbers[] = {1, 2, 3, 5, 7, 8, 4294967295};
    struct buf text = BUF_INIT(100);

    (void)state;
    imap_set_write(&text, numbers, 7);
    same(buf_slice(&text), "1:3,5,7:8,4294967295", "set");
    buf_clear(&text);
    imap_set_write(&text, numbers, 1);
    same(buf_slice(&text), "1", "one");
    buf_clear(&text);
    imap_set_write(&text, numbers, 0);
    same(buf_slice(&text), "", "none");
    buf_free(&text);
}

static void test_write_strings(void **state)
{
    static const struct {
        const char *in;
        size_t n;
        bool utf8;
        const char *want;
    } rows[] = {
        {"", 0, false, "\"\""},
        {"a b", 3, false, "\"a b\""},
        {"a\"b\\", 4, false, "\"a\\\"b\\\\\""},
        {"a\nb", 3, false, "{3}\r\na\nb"},
        {"\xc3\xbc", 2, false, "{2}\r\n\xc3\xbc"},
        {"\xc3\xbc", 2, true, "\"\xc3\xbc\""},
        {"\xff", 1, true, "{1}\r\n\xff"},
        {"a\0b", 3, true,
            "{3}\r\na\x80"
            "b"},
        {NULL, 0, false, "NIL"},
    };
    struct buf out = BUF_INIT(10000);
    char big[1001];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        imap_write_nstring(&out, slice_of(rows[i].in, rows[i].n), rows[i].utf8);
        same(buf_slice(&out), rows[i].want, rows[i].want);
    }
    memset(big, 'x', sizeof big);
    buf_clear(&out);
    imap_write_string(&out, slice_of(big, sizeof big), false);
    assert_true(slice_starts(buf_slice(&out), SLICE("{1001}\r\nxxx")));
    buf_free(&out);
}

static void test_write_mailboxes(void **state)
{
    static const struct {
        const char *in;
        bool utf8;
        const char *want;
    } rows[] = {
        {"INBOX", false, "INBOX"},
        {"a/b", false, "a/b"},
        {"Sent Items", false, "\"Sent Items\""},
        {"nil", false, "\"nil\""},
        {"a%b", false, "\"a%b\""},
        {"Entw\xc3\xbcrfe", false, "Entw&APw-rfe"},
        {"Entw\xc3\xbcrfe", true, "\"Entw\xc3\xbcrfe\""},
        {"a&b", false, "a&-b"},
        {"a&b", true, "a&b"},
    };
    struct buf out = BUF_INIT(10000);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        imap_write_mailbox(&out, slice_str(rows[i].in), rows[i].utf8);
        same(buf_slice(&out), rows[i].want, rows[i].in);
    }
    buf_free(&out);
}

static void test_id_and_tags(void **state)
{
    static const struct {
        const char *in;
        bool ok;
        const char *name;
    } rows[] = {
        {"NIL", true, ""},
        {"()", true, ""},
        {"(\"name\" \"mutt\" \"version\" NIL)", true, "mutt"},
        {"(\"name\")", false, ""},
        {"(name \"mutt\")", false, ""},
        {"((\"name\" \"mutt\"))", false, ""},
        {"x", false, ""},
    };
    struct slice name, version, tag;
    struct imap_parse p;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        p = cursor(slice_str(rows[i].in));
        assert_int_equal(imap_parse_id(&p, &name, &version), rows[i].ok);
        if (rows[i].ok)
            same(name, rows[i].name, rows[i].in);
    }
    p = cursor(SLICE("A.1] NOOP"));
    assert_true(imap_parse_tag(&p, &tag));
    same(tag, "A.1]", "tag");
    p = cursor(SLICE("+ NOOP"));
    assert_false(imap_parse_tag(&p, &tag));
    p = cursor(SLICE(" NOOP"));
    assert_false(imap_parse_tag(&p, &tag));
    p = cursor(SLICE(""));
    assert_false(imap_parse_tag(&p, &tag));
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_nil_is_null),
        cmocka_unit_test(test_space_and_end),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_mailbox),
        cmocka_unit_test(test_date_time),
        cmocka_unit_test(test_dates_round_trip),
        cmocka_unit_test(test_date),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_set_limits),
        cmocka_unit_test(test_set_write),
        cmocka_unit_test(test_write_strings),
        cmocka_unit_test(test_write_mailboxes),
        cmocka_unit_test(test_id_and_tags),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
