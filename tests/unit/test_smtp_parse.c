/* smtpd/parse: command lines, parameters, xtext, chunks; tables of inputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mail/dsn.h"
#include "smtpd/parse.h"

static void assert_slice(struct slice s, const char *want)
{
    struct slice w = slice_str(want);

    assert_int_equal(s.n, w.n);
    assert_true(slice_eq(s, w));
}

static void test_line(void **state)
{
    static const struct {
        struct slice in;
        const char *verb, *args; /* verb NULL: refused */
    } rows[] = {
        {{"NOOP", 4}, "NOOP", ""},
        {{"NOOP  ", 6}, "NOOP", ""},
        {{"ehlo\t x y ", 10}, "ehlo", "x y"},
        {{"MAIL FROM:<>", 12}, "MAIL", "FROM:<>"},
        {{"", 0}, NULL, NULL},
        {{"   ", 3}, NULL, NULL},
        {{" NOOP", 5}, NULL, NULL},
        {{"NO\0OP", 5}, NULL, NULL},
        {{"NOOP\r", 5}, NULL, NULL},
        {{"NOOP a\rb", 8}, NULL, NULL},
        {{"NOOP \x7f", 6}, NULL, NULL},
        {{"NOOP \xff", 6}, "NOOP", "\xff"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_line l;
        bool ok = smtp_parse_line(rows[i].in, &l);

        assert_int_equal(ok, rows[i].verb != NULL);
        if (!ok)
            continue;
        assert_slice(l.verb, rows[i].verb);
        assert_slice(l.args, rows[i].args);
    }
}

static void test_keyword(void **state)
{
    struct slice args = SLICE("from:<a@b>");

    (void)state;
    assert_false(smtp_parse_keyword(&args, SLICE("TO:")));
    assert_slice(args, "from:<a@b>");
    assert_true(smtp_parse_keyword(&args, SLICE("FROM:")));
    assert_slice(args, "<a@b>");
}

/* What stands behind '>'; want: "NAME=value|NAME|.." and '!' at the end when the rest is refused. */
static void test_params(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"", ""},
        {"   ", ""},
        {" SIZE=10", "SIZE=10|"},
        {" SIZE=10 BODY=8BITMIME ", "SIZE=10|BODY=8BITMIME|"},
        {"\tSIZE=10", "SIZE=10|"},
        {" SMTPUTF8", "SMTPUTF8|"},
        {" a-b=c", "a-b=c|"},
        {"SIZE=10", "!"},
        {"=", "!"},
        {" =", "!"},
        {" =x", "!"},
        {" \"", "!"},
        {" -a", "!"},
        {" SIZE=", "!"},
        {" SIZE==", "!"},
        {" SIZE=1=2", "!"},
        {" ORCPT=utf-8;\xc3\xa4", "ORCPT=utf-8;\xc3\xa4|"},
        {" X\xc3\xa4=1", "!"},
        {" X Y\"", "X|!"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice rest = slice_str(rows[i].in);
        struct buf got = BUF_INIT(1000);
        enum smtp_params r;
        struct smtp_param p;

        while ((r = smtp_parse_param(&rest, &p)) == SMTP_PARAM) {
            buf_add(&got, p.name);
            if (p.has_value)
                buf_add_char(&got, '=');
            buf_add(&got, p.value);
            buf_add_char(&got, '|');
        }
        if (r == SMTP_PARAMS_BAD)
            buf_add_char(&got, '!');
        assert_slice(buf_slice(&got), rows[i].want);
        buf_free(&got);
    }
}

static void test_many_params(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct slice rest;
    struct smtp_param p;
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 500; i++)
        buf_add_str(&text, " X=1");
    rest = buf_slice(&text);
    while (smtp_parse_param(&rest, &p) == SMTP_PARAM)
        n++;
    assert_int_equal(n, 500);
    assert_int_equal(rest.n, 0);
    buf_free(&text);
}

static void test_xtext(void **state)
{
    static const struct {
        const char *in, *want; /* NULL: refused */
    } rows[] = {
        {"", ""},
        {"<>", "<>"},
        {"a@b.example", "a@b.example"},
        {"a+2Bb", "a+b"},
        {"a+3Db", "a=b"},
        {"a+3db", "a=b"},
        {"a+", NULL},
        {"a+2", NULL},
        {"a+2G", NULL},
        {"a+0A", NULL}, /* S07 */
        {"a+0A+0AX", NULL},
        {"a+00", NULL},
        {"a+7F", NULL},
        {"a=b", NULL},
        {"a b", NULL},
        {"a\xc3\xa4", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf got = BUF_INIT(1000);

        assert_int_equal(smtp_parse_xtext(slice_str(rows[i].in), &got), rows[i].want != NULL);
        assert_int_equal(smtp_parse_xtext(slice_str(rows[i].in), NULL), rows[i].want != NULL);
        if (rows[i].want)
            assert_slice(buf_slice(&got), rows[i].want);
        buf_free(&got);
    }
}

static void test_notify(void **state)
{
    static const struct {
        const char *in;
        int want; /* -1: refused */
    } rows[] = {{"NEVER", DSN_NEVER}, {"never", DSN_NEVER}, {"SUCCESS", DSN_SUCCESS},
        {"SUCCESS,FAILURE,DELAY", DSN_SUCCESS | DSN_FAILURE | DSN_DELAY}, {"DELAY,DELAY", DSN_DELAY},
        {"", -1}, {",", -1}, {"SUCCESS,", -1}, {",SUCCESS", -1}, {"SUCCESS,,DELAY", -1},
        {"NEVER,SUCCESS", -1}, {"ALWAYS", -1}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned bits;
        bool ok = smtp_parse_notify(slice_str(rows[i].in), &bits);

        if (ok ? (int)bits != rows[i].want : rows[i].want != -1)
            fail_msg("%s", rows[i].in);
    }
}

static void test_orcpt(void **state)
{
    static const struct {
        const char *in, *plain, *utf8; /* NULL: refused; without and with SMTPUTF8 */
    } rows[] = {
        {"rfc822;a@b", "rfc822;a@b", "rfc822;a@b"},
        {"RFC822;a+2Bb@c", "RFC822;a+b@c", "RFC822;a+b@c"},
        {"x-my-type;+20", "x-my-type; ", "x-my-type; "},
        {"utf-8;a\\x{2B}b", "utf-8;a+b", "utf-8;a+b"},
        {"utf-8;\\x{f6}", "utf-8;\xc3\xb6", "utf-8;\xc3\xb6"},
        {"utf-8;\xc3\xb6", NULL, "utf-8;\xc3\xb6"},
        {"UTF-8;\\x{1F600}x", "UTF-8;\xf0\x9f\x98\x80x", "UTF-8;\xf0\x9f\x98\x80x"},
        {"", NULL, NULL},
        {";", NULL, NULL},
        {"rfc822;", NULL, NULL},
        {";a@b", NULL, NULL},
        {"a@b", NULL, NULL},
        {"rf c;a", NULL, NULL},
        {"rfc822;a+0Ab", NULL, NULL}, /* S07 */
        {"rfc822;a+FFb", NULL, NULL},
        {"rfc822;\xc3\xb6", NULL, NULL},
        {"utf-8;\xf6", NULL, NULL},
        {"utf-8;a+2Bb", NULL, NULL},
        {"utf-8;\\x{A}", NULL, NULL},
        {"utf-8;\\x{0}", NULL, NULL},
        {"utf-8;\\x{85}", NULL, NULL},
        {"utf-8;\\x{}", NULL, NULL},
        {"utf-8;\\x{D800}", NULL, NULL},
        {"utf-8;\\x{110000}", NULL, NULL},
        {"utf-8;\\x{00000041}", NULL, NULL},
        {"utf-8;\\x{41", NULL, NULL},
        {"utf-8;\\", NULL, NULL},
        {"utf-8;\\\\", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int utf8 = 0; utf8 < 2; utf8++) {
            struct buf got = BUF_INIT(1000);
            const char *want = utf8 ? rows[i].utf8 : rows[i].plain;
            bool ok = smtp_parse_orcpt(slice_str(rows[i].in), utf8, &got);

            if (ok != (want != NULL) || (ok && !slice_eq(buf_slice(&got), slice_str(want))))
                fail_msg("%s gives %s%s", rows[i].in, ok ? "" : "no ", buf_str(&got));
            buf_free(&got);
        }
}

static void test_chunk(void **state)
{
    static const struct {
        const char *in;
        enum smtp_chunk result;
        uint64_t size;
        bool last;
    } rows[] = {
        {"0", SMTP_CHUNK, 0, false},
        {"0 LAST", SMTP_CHUNK, 0, true},
        {"86 last", SMTP_CHUNK, 86, true},
        {"86\tLAST", SMTP_CHUNK, 86, true},
        {"18446744073709551615", SMTP_CHUNK, UINT64_MAX, false},
        {"18446744073709551616", SMTP_CHUNK_HUGE, 0, false},
        {"99999999999999999999 LAST", SMTP_CHUNK_HUGE, 0, true},
        {"", SMTP_CHUNK_BAD, 0, false},
        {"LAST", SMTP_CHUNK_BAD, 0, false},
        {"-1", SMTP_CHUNK_BAD, 0, false},
        {"+1", SMTP_CHUNK_BAD, 0, false},
        {"0x10", SMTP_CHUNK_BAD, 0, false},
        {"1LAST", SMTP_CHUNK_BAD, 0, false},
        {"1 LASTX", SMTP_CHUNK_BAD, 0, false},
        {"1 2", SMTP_CHUNK_BAD, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t size = 1;
        bool last = true;
        enum smtp_chunk r = smtp_parse_chunk(slice_str(rows[i].in), &size, &last);

        assert_int_equal(r, rows[i].result);
        if (r != SMTP_CHUNK)
            continue;
        assert_int_equal(size, rows[i].size);
        assert_int_equal(last, rows[i].last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_keyword),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_many_params),
        cmocka_unit_test(test_xtext),
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_orcpt),
        cmocka_unit_test(test_chunk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
