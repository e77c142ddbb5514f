/* Header fields and what is in them: RFC 5322, 2231, 5256; security.md M01, M03, M04, S19. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "mail/header.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, (size_t)64 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void expect_slice(struct slice got, const char *want, const char *about)
{
    if (!slice_eq(got, slice_str(want)))
        fail_msg("%s: got <%.*s>, want <%s>", about, SLICE_FMT(got), want);
}

static void walks_fields(void **state)
{
    static const char *const want[][2] = {
        {"", "From x@y Mon Jan  1 00:00:00 2024"},
        {"From", " a"},
        {"To", " b\r\n\tc\n d"},
        {"", "no colon"},
        {"Empty", ""},
        {"Blank", "  "},
        {"", " value"},
        {"", "8"},
        {"Last", " end\r"},
    };
    struct slice text =
        SLICE("From x@y Mon Jan  1 00:00:00 2024\r\nFrom: a\r\nTo \t: b\r\n\tc\n d\r\nno colon\r\nEmpty:\n"
              "Blank:  \r\n: value\na b\xff:8\nLast: end\r");
    struct slice rest = text;
    struct header_field f;
    size_t i = 0, size = 0;

    (void)state;
    for (; header_next(&rest, &f); i++, size += f.raw.n) {
        assert_true(i < sizeof want / sizeof want[0]);
        expect_slice(f.name, want[i][0], "name");
        if (i > 0)
            expect_slice(f.value, want[i][1], "value");
        assert_true(f.raw.p == text.p + size);
    }
    assert_int_equal(i, sizeof want / sizeof want[0]);
    assert_int_equal(size, text.n);
    assert_int_equal(rest.n, 0);
}

static void header_ends_at_the_empty_line(void **state)
{
    static const struct {
        const char *text;
        size_t size, fields;
    } rows[] = {
        {"", 0, 0},
        {"\r\n", 2, 0},
        {"\n", 1, 0},
        {"\r\nA: b\r\n", 2, 0},
        {"A: b", 4, 1},
        {"A: b\r\n", 6, 1},
        {"A: b\r\n\r\nB: c\r\n", 8, 1},
        {"A: b\n\nB: c\r\n", 6, 1},
        {"A: b\r\n \r\n\r\nB: c", 11, 1},
        {"A: b\r\r\n\r\n", 9, 1},
        {"\r", 1, 1},
        {" a: b\r\nC: d\r\n\r\n", 15, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice rest = slice_str(rows[i].text);
        struct header_field f;
        size_t n = 0;

        assert_int_equal(header_size(rest), rows[i].size);
        while (header_next(&rest, &f))
            n++;
        assert_int_equal(n, rows[i].fields);
    }
}

static void finds_the_first(void **state)
{
    struct slice text = SLICE("A: 1\r\nb: 2\r\nB: 3\r\n\r\nC: body\r\n");
    struct header_field f;

    (void)state;
    assert_true(header_find(text, SLICE("B"), &f));
    expect_slice(f.value, " 2", "B");
    assert_false(header_find(text, SLICE("C"), &f));
    assert_false(header_find(SLICE(""), SLICE("C"), &f));
}

static void unfolds(void **state)
{
    static const struct {
        struct slice in, want;
    } rows[] = {
        {{"", 0}, {"", 0}},
        {{" a ", 3}, {"a", 1}},
        {{" a\r\n b", 6}, {"a b", 3}},
        {{"a\n\tb\r\n", 6}, {"a\tb", 3}},
        {{"a\r\n \r\n b", 8}, {"a  b", 4}},
        {{"a\0b", 3}, {"a\x80"
                       "b",
                          3}},
        {{"a\rb\nc", 5}, {"a b c", 5}},
        {{"a\r\n\r\nb", 6}, {"a    b", 6}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice got = header_unfold(rows[i].in, &arena);

        assert_non_null(got.p);
        if (!slice_eq(got, rows[i].want))
            fail_msg("row %zu: <%.*s>", i, SLICE_FMT(got));
    }
}

static void tokens(void **state)
{
    static const char *const rows[][2] = {
        {"1.0", "1.0"},
        {" 1.0 (made (by) \\) hand) ", "1.0"},
        {"1(a).(b)0", "1 . 0"},
        {"\"a \\\"b\" \t c", "a \"b c"},
        {"(unclosed", ""},
        {"a (unclosed (b)", "a"},
        {"\"unclosed", "unclosed"},
        {"\"a\\", "a\\"},
        {"", ""},
        {"a\r\n b", "a b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_slice(header_tokens(slice_str(rows[i][0]), &arena), rows[i][1], rows[i][0]);
}

static void message_ids(void **state)
{
    static const char *const rows[][2] = {
        {"<a@b>", "<a@b>"},
        {" <a@b>\r\n\t<c@d><e@f> x", "<a@b>|<c@d>|<e@f>"},
        {"Your message of \"Monday\" <a@b>", "<a@b>"},
        {"", ""},
        {"<>", ""},
        {"<a@b", ""},
        {"<a <c@d>", "<c@d>"},
        {"<a b> <c@d>", "<c@d>"},
        {"<\"a b>\"@c> <d@e>", "<\"a b>\"@c>|<d@e>"},
        {"<\"a <d@e>", "<d@e>"},
        {"<a\r\n b@c> <d>", "<d>"},
        {"<[x]@y>", "<[x]@y>"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice rest = slice_str(rows[i][0]), id;
        struct buf got = BUF_INIT(1000);

        while (header_msgid_next(&rest, &id)) {
            if (got.n)
                buf_add_char(&got, '|');
            buf_add(&got, id);
        }
        expect_slice(buf_slice(&got), rows[i][1], rows[i][0]);
        buf_free(&got);
    }
}

static void show_part(struct buf *out, struct slice s)
{
    buf_add(out, s.p ? s : SLICE("NIL"));
}

/* name|route|local|domain, one address after the other */
static void show(struct buf *out, const struct header_address *a)
{
    for (; a; a = a->next) {
        if (out->n)
            buf_add_char(out, ' ');
        buf_add_char(out, '(');
        show_part(out, a->name);
        buf_add_char(out, '|');
        show_part(out, a->route);
        buf_add_char(out, '|');
        show_part(out, a->local);
        buf_add_char(out, '|');
        show_part(out, a->domain);
        buf_add_char(out, ')');
    }
}

static void address_lists(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {" , ,, ;", ""},
        {"a@b", "(NIL|NIL|a|b)"},
        {"<a@b>", "(NIL|NIL|a|b)"},
        {"Joe <a@b>", "(Joe|NIL|a|b)"},
        {"\"Joe, Q. \\\"X\\\"\" <a@b>, c@d", "(Joe, Q. \"X\"|NIL|a|b) (NIL|NIL|c|d)"},
        {"Joe Q. Public <a.b@c.d>", "(Joe Q. Public|NIL|a.b|c.d)"},
        {"Joe  \r\n\t \"X  Y\"  Z<a@b>", "(Joe X  Y Z|NIL|a|b)"},
        {"=?utf-8?Q?J=C3=B6?= =?utf-8?Q?rg?= <a@b>", "(=?utf-8?Q?J=C3=B6?= =?utf-8?Q?rg?=|NIL|a|b)"},
        {"=?utf-8?Q?Doe,_\"Joe\"_@?= <a@b>, c@d", "(=?utf-8?Q?Doe,_\"Joe\"_@?=|NIL|a|b) (NIL|NIL|c|d)"},
        {"a@b (Joe Doe)", "(Joe Doe|NIL|a|b)"},
        {"(x) a@b (Joe (D\\)) oe)", "(Joe (D)) oe|NIL|a|b)"},
        {"Joe (c) <a@b> (d)", "(Joe|NIL|a|b)"},
        {"a (x) . (y) b @ (z) c . d", "(z|NIL|a.b|c.d)"},
        {"<@r1,@r2:a@b>", "(NIL|@r1,@r2|a|b)"},
        {"Joe < @r1 , @r2 : a @ b >", "(Joe|@r1,@r2|a|b)"},
        {"\"a b\"@c", "(NIL|NIL|a b|c)"},
        {"<\"a@b\"@c>", "(NIL|NIL|a@b|c)"},
        {"<\"a>b\"@c>", "(NIL|NIL|a>b|c)"},
        {"a@[1.2.3.4]", "(NIL|NIL|a|[1.2.3.4])"},
        {"a@[IPv6:::1], b@c", "(NIL|NIL|a|[IPv6:::1]) (NIL|NIL|b|c)"},
        {"Group: a@b, Joe <c@d>;", "(NIL|NIL|Group|NIL) (NIL|NIL|a|b) (Joe|NIL|c|d) (NIL|NIL|NIL|NIL)"},
        {"undisclosed-recipients:;", "(NIL|NIL|undisclosed-recipients|NIL) (NIL|NIL|NIL|NIL)"},
        {"\"My Group\": ;, a@b", "(NIL|NIL|My Group|NIL) (NIL|NIL|NIL|NIL) (NIL|NIL|a|b)"},
        {"G: a@b", "(NIL|NIL|G|NIL) (NIL|NIL|a|b) (NIL|NIL|NIL|NIL)"},
        {"G: H: a@b; c@d", "(NIL|NIL|G|NIL) (NIL|NIL|NIL|NIL) (NIL|NIL|c|d)"},
        {"a@b; c@d", "(NIL|NIL|a|b) (NIL|NIL|c|d)"},
        {"root", "(NIL|NIL|root|)"},
        {"root (Cron)", "(Cron|NIL|root|)"},
        {"Some Company", "(Some Company|NIL||)"},
        {"joe@x.com <a@b>", "(joe@x.com|NIL|a|b)"},
        {"Joe [SPAM] <a@b>", "(Joe [SPAM]|NIL|a|b)"},
        {"Joe <>", "(Joe|NIL||)"},
        {"<>", ""},
        {"Joe Doe a@b", "(NIL|NIL|a|b)"},
        {"a@b c@d, e@f", "(a@b c@d|NIL||) (NIL|NIL|e|f)"},
        {"a@b@c, d@e", "(a@b@c|NIL||) (NIL|NIL|d|e)"},
        {"<a@b@c>, d@e", "(NIL|NIL|d|e)"},
        {"<a@b, c@d", "(NIL|NIL|a|b) (NIL|NIL|c|d)"},
        {"<a@b", "(NIL|NIL|a|b)"},
        {"@b, c@d", "(NIL|NIL|c|d)"},
        {"<@b>, c@d", "(NIL|NIL|c|d)"},
        {"<@b", ""},
        {"a@", "(NIL|NIL|a|)"},
        {"Joe <a@b> junk \"x,y\" (,), c@d", "(Joe|NIL|a|b) (NIL|NIL|c|d)"},
        {"a@b >, c@d", "(NIL|NIL|a|b) (NIL|NIL|c|d)"},
        {"\"unclosed <a@b>", "(NIL|NIL|unclosed <a@b>|)"},
        {"Joe (unclosed <a@b>", "(NIL|NIL|Joe|)"},
        {"a:b:c@d, e@f", "(NIL|NIL|a|NIL) (NIL|NIL|e|f) (NIL|NIL|NIL|NIL)"},
        {"\xff\xfe <a@b>", "(\xff\xfe|NIL|a|b)"},
        {"\"a\r\n b\" <a@b>", "(a b|NIL|a|b)"},
        {"a\\b@c", "(NIL|NIL|ab|c)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf got = BUF_INIT(10000);

        show(&got, header_addresses(slice_str(rows[i][0]), &arena));
        expect_slice(buf_slice(&got), rows[i][1], rows[i][0]);
        buf_free(&got);
    }
    struct buf got = BUF_INIT(100);
    show(&got, header_addresses(SLICE("\0 <a\0@b>"), &arena));
    expect_slice(buf_slice(&got), "(\x80|NIL|a\x80|b)", "NUL");
    buf_free(&got);
}

static void addresses_have_an_end(void **state)
{
    size_t n = 0;
    struct buf text = BUF_INIT(BUF_OWN);
    struct arena small;

    (void)state;
    for (int i = 0; i < 200000; i++)
        buf_add_str(&text, "a@b,");
    for (struct header_address *a = header_addresses(buf_slice(&text), &arena); a; a = a->next)
        n++;
    assert_int_equal(n, 10000);
    arena_init(&small, 1000);
    assert_null(header_addresses(buf_slice(&text), &small));
    arena_free(&small);
    buf_free(&text);
}

static void dates(void **state)
{
    static const struct {
        const char *in;
        bool good;
        int64_t utc;
        int zone;
    } rows[] = {
        {"Mon, 23 Nov 2026 23:15:42 +0000", true, 1795475742, 0},
        {"23 Nov 2026 23:15:42 +0000", true, 1795475742, 0},
        {" Mon, 23 Nov 2026\r\n 23:15 -0130 (half)", true, 1795475700 + 5400, -90},
        {"Thu, 1 Jan 1970 00:00:00 +0000", true, 0, 0},
        {"31 Dec 69 23:59:59 GMT", true, -1, 0},
        {"1 Jan 49 00:00 UT", true, 2493072000, 0},
        {"1 Jan 103 00:00 Z", true, 1041379200, 0},
        {"29 Feb 2000 12:00:00 EST", true, 951843600, -300},
        {"29 Feb 2000 12:00:00 PDT", true, 951850800, -420},
        {"29 Feb 2000 12:00:00 A", true, 951825600, 0},
        {"29 Feb 2000 12:00:00 +0530", true, 951825600 - 330 * 60, 330},
        {"29 Feb 1900 12:00:00 +0000", false, 0, 0},
        {"30 Feb 2000 12:00:00 +0000", false, 0, 0},
        {"Sun (a(b)) , (c) 1 (d) January (e) 2024 (f) 1 : 2 : 3 (g) +0000", true, 1704070923, 0},
        {"1-Jan-2024 00:00:00 +0000", true, 1704067200, 0},
        {"31 Dec 2016 23:59:60 +0000", true, 1483228800, 0},
        {"1 Jan 2024", true, 1704067200, 0},
        {"1 Jan 2024 25:00:00 +0000", true, 1704067200, 0},
        {"1 Jan 2024 00:00:00", true, 1704067200, 0},
        {"1 Jan 2024 00:00:00 +99999", true, 1704067200, 0},
        {"1 Jan 2024 00:00:00 +0060", true, 1704067200, 0},
        {"1 Jan 9999 00:00:00 +0000", true, INT64_C(253370764800), 0},
        {"1 Jan 0001 00:00:00 +0000", true, INT64_C(-62135596800), 0},
        {"1 Jan 0000 00:00:00 +0000", false, 0, 0},
        {"1 Jan 10000 00:00:00 +0000", false, 0, 0},
        {"0 Jan 2024 00:00:00 +0000", false, 0, 0},
        {"32 Jan 2024 00:00:00 +0000", false, 0, 0},
        {"1 Foo 2024 00:00:00 +0000", false, 0, 0},
        {"1 Ja 2024 00:00:00 +0000", false, 0, 0},
        {"2026-11-23T23:15:42Z", false, 0, 0},
        {"", false, 0, 0},
        {"Mon,", false, 0, 0},
        {"((((((", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t utc = 0;
        int zone = 0;
        bool good = header_date(slice_str(rows[i].in), &utc, &zone);

        if (good != rows[i].good || (good && (utc != rows[i].utc || zone != rows[i].zone)))
            fail_msg("%s: %d %lld %d", rows[i].in, good, (long long)utc, zone);
    }
}

static void dates_come_back(void **state)
{
    struct buf out = BUF_INIT(100);

    (void)state;
    header_date_format(&out, 1795475742, 0);
    assert_string_equal(buf_str(&out), "Mon, 23 Nov 2026 23:15:42 +0000");
    buf_clear(&out);
    header_date_format(&out, 951825600, -330);
    assert_string_equal(buf_str(&out), "Tue, 29 Feb 2000 06:30:00 -0530");
    buf_clear(&out);
    header_date_format(&out, INT64_MIN, 0);
    assert_string_equal(buf_str(&out), "Mon, 1 Jan 0001 00:00:00 +0000");
    buf_clear(&out);
    header_date_format(&out, INT64_MAX, 1000000);
    assert_string_equal(buf_str(&out), "Fri, 31 Dec 9999 23:59:59 +9959");
    /* each day of 800 years and more, at changing times */
    for (int64_t t = -30000000000; t < 30000000000; t += 86400 * 5 + 3601) {
        int64_t utc;
        int zone;

        buf_clear(&out);
        header_date_format(&out, t, (int)(t % 1000));
        assert_true(header_date(buf_slice(&out), &utc, &zone));
        assert_int_equal(utc, t);
        assert_int_equal(zone, t % 1000);
    }
    buf_free(&out);
}

static void content_types(void **state)
{
    static const char *const rows[][2] = {
        {"text/plain", "text/plain"},
        {" Text / PLAIN ; Charset = \"UTF-8\" (x) ; format=flowed", "text/plain charset=UTF-8 format=flowed"},
        {"text/plain; charset=us-ascii (Plain text)", "text/plain charset=us-ascii"},
        {"text/plain; name=a\"b;c\"; x=\"\"; y=\"d", "text/plain name=a x= y=d"},
        {"attachment; filename=\"a;\\\"b\\\".txt\"", "attachment/ filename=a;\"b\".txt"},
        {"multipart/mixed; boundary=----=_Part_1", "multipart/mixed boundary=----=_Part_1"},
        {"text", "text/"},
        {"text/; a=b", "text/ a=b"},
        {"text/plain; ; ; a=1;; b = 2 ;", "text/plain a=1 b=2"},
        {"text/plain; a; =b; c=; d=4", "text/plain c= d=4"},
        {"text/plain; a=1; A=2", "text/plain a=1"},
        {"text/plain; a=\"unclosed; b=2", "text/plain a=unclosed; b=2"},
        {"text/plain (; x=1", "text/plain"},
        {"text/plain; (;) a(;)=(;)1", "text/plain a=1"},
        {"text/plain charset=x; a=1", "text/plain a=1"},
        {"text/plain;\r\n\ta=\"x\r\n y\"", "text/plain a=x y"},
        /* RFC 2231 */
        {"a/b; URL*0=\"ftp://\"; URL*1=\"x.y\"", "a/b url=ftp://x.y"},
        {"a/b; u*1=y; u*0=x; v=z; u*2=z", "a/b u=xyz v=z"},
        {"a/b; u*0=x; u*2=z", "a/b u=x"},
        {"a/b; u*1=x; u*2=z; v=1", "a/b v=1"},
        {"a/b; u*=us-ascii'en-us'This%20is%20%2A%2a", "a/b u=This is **"},
        {"a/b; t*0*=us-ascii'en'a%20; t*1*=b%20; t*2=\"c%20!\"", "a/b t=a b c%20!"},
        {"a/b; u=plain; u*=us-ascii''better", "a/b u=better"},
        {"a/b; u*=us-ascii''better; u=plain", "a/b u=better"},
        {"a/b; u=plain; u*0=long; u*1=er", "a/b u=longer"},
        {"a/b; u*=no%20quotes", "a/b u=no quotes"},
        {"a/b; u*=us-ascii''a%0d%0aX:%00b%7", "a/b u=a  X: b%7"},
        {"a/b; u*=''a%2", "a/b u=a%2"},
        {"a/b; u*0*=us-ascii''a; u*99999999999999999999=b; u**=c; *=d; *0=e",
            "a/b u=a u*99999999999999999999=b u*=c *=d *0=e"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf got = BUF_INIT(10000);
        struct header_content c;

        if (!header_content(slice_str(rows[i][0]), &arena, &c))
            fail_msg("%s", rows[i][0]);
        buf_add(&got, c.type);
        buf_add_char(&got, '/');
        buf_add(&got, c.subtype);
        for (struct header_param *p = c.params; p; p = p->next) {
            buf_add_char(&got, ' ');
            buf_add(&got, p->name);
            buf_add_char(&got, '=');
            buf_add(&got, p->value);
            assert_true(slice_eq(header_param_get(&c, p->name), p->value));
        }
        expect_slice(buf_slice(&got), rows[i][1], rows[i][0]);
        assert_null(header_param_get(&c, SLICE("absent")).p);
        buf_free(&got);
    }
}

static void no_content_type(void **state)
{
    static const char *const rows[] = {"", "  ", "/plain", ";a=b", "\"text\"/plain", "(text/plain"};
    struct header_content c;
    struct arena small;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_false(header_content(slice_str(rows[i]), &arena, &c));
    arena_init(&small, 64);
    assert_false(header_content(SLICE("text/plain; charset=x"), &small, &c));
    assert_null(c.params);
    arena_free(&small);
}

/* UTF-8 that is not ASCII comes as an encoded word, whatever the pieces. */
static void extended_value_becomes_a_word(void **state)
{
    struct header_content c;
    struct slice v;

    (void)state;
    assert_true(header_content(SLICE("a/b; n*0*=utf-8''J%C3; n*1*=%B6rg"), &arena, &c));
    v = header_param_get(&c, SLICE("n"));
    assert_true(slice_starts_nocase(v, SLICE("=?utf-8?")));
    assert_true(slice_ends(v, SLICE("?=")));
}

static void parameters_have_an_end(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct header_content c;
    size_t n = 0;

    (void)state;
    buf_add_str(&text, "a/b");
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, ";n%d*0*=a", i);
    assert_true(header_content(buf_slice(&text), &arena, &c));
    for (struct header_param *p = c.params; p; p = p->next)
        n++;
    assert_int_equal(n, HEADER_PARAMS_MAX);
    buf_free(&text);
}

static void base_subjects(void **state)
{
    static const struct {
        const char *in, *want;
        bool is_reply;
    } rows[] = {
        {"Hello", "Hello", false},
        {"", "", false},
        {"  Hello \t\r\n world  ", "Hello world", false},
        {"Re: Hello", "Hello", true},
        {"RE:re: FWD: Fw : Hello (fwd)  (FWD)", "Hello", true},
        {"Re[2]: Hello", "Hello", true},
        {"re [x] : Hello", "Hello", true},
        {"[list] Hello", "Hello", false},
        {"[list] Re: [a] [b] Fwd: Hello", "Hello", true},
        {"[a][b] Hello", "Hello", false},
        {"[a] [b]", "[b]", false},
        {"[a]", "[a]", false},
        {"Re: [a]", "[a]", true},
        {"Re:", "", true},
        {"[a] Re:", "", true},
        {"(fwd)", "", true},
        {"[Fwd: Hello]", "Hello", true},
        {"[fwd: re: [x] Hello (fwd)]", "Hello", true},
        {"[fwd:[fwd:[a] Hello]]", "Hello", true},
        {"[fwd: a] b", "b", false},
        {"[fwd:]", "", true},
        {"[fwd: open", "[fwd: open", false},
        {"Reply: x", "Reply: x", false},
        {"Re Hello", "Re Hello", false},
        {"[open Re: x", "[open Re: x", false},
        {"re [open: x", "re [open: x", false},
        {"Re: \xc3\xa4", "\xc3\xa4", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_reply;

        expect_slice(header_base_subject(slice_str(rows[i].in), &arena, &is_reply), rows[i].want, rows[i].in);
        assert_int_equal(is_reply, rows[i].is_reply);
    }
}

static void writes_fields(void **state)
{
    static const struct {
        struct slice name, value;
        const char *want; /* NULL: refused */
    } rows[] = {
        {{"Subject", 7}, {"Hello", 5}, "Subject: Hello\r\n"},
        {{"X", 1}, {"", 0}, "X: \r\n"},
        {{"X", 1}, {"  a  b ", 7}, "X: a  b\r\n"},
        {{"X", 1},
            {"0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789", 87},
            "X: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\r\n 0123456789 "
            "0123456789\r\n"},
        {{"X", 1}, {"a\r\nB: c", 7}, NULL},
        {{"X", 1}, {"a\r", 2}, NULL},
        {{"X", 1}, {"a\n b", 4}, NULL},
        {{"X", 1}, {"a\0b", 3}, NULL},
        {{"X\r\nY", 4}, {"a", 1}, NULL},
        {{"X\n", 2}, {"a", 1}, NULL},
        {{"X ", 2}, {"a", 1}, NULL},
        {{"X:", 2}, {"a", 1}, NULL},
        {{"X\0", 2}, {"a", 1}, NULL},
        {{"", 0}, {"a", 1}, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT(1000);
        bool good = header_write(&out, rows[i].name, rows[i].value);

        assert_int_equal(good, rows[i].want != NULL);
        assert_string_equal(buf_str(&out), good ? rows[i].want : "");
        buf_free(&out);
    }
}

static void writes_non_ascii_as_words(void **state)
{
    struct buf out = BUF_INIT(10000);

    (void)state;
    assert_true(header_write(&out, SLICE("Subject"),
        SLICE("Gr\xc3\xbc\xc3\x9f"
              "e")));
    assert_true(slice_starts_nocase(buf_slice(&out), SLICE("Subject: =?utf-8?")));
    for (size_t i = 0; i < out.n; i++)
        assert_true((unsigned char)out.p[i] < 0x80);
    buf_free(&out);
}

/* What floods other servers is read in one pass: each case has a megabyte or more; M01, M03, M04. */
static void floods(void **state)
{
    static const char *const units[] = {"(", "\"", "\\", "<", "@", ",", "a ", "a@b,", "a:", ";", "[", "[]",
        "re:", "[fwd:", "(fwd)", "=?", "=?a?b?c,", "<\"", "<a ", "\"\\", "(\\", "a.", "re[", "a*0*=b;",
        "x;a=\"", "('", "1 "};
    size_t n = HEADER_LOOK_MAX;
    char *text = malloc(n);

    (void)state;
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        struct slice s = slice_of(text, n), rest = s, id;
        struct header_content c;
        struct header_field f;
        int64_t utc;
        int zone;
        bool is_reply;

        for (size_t i = 0; i < n; i++)
            text[i] = units[u][i % strlen(units[u])];
        arena_reset(&arena);
        header_addresses(s, &arena);
        assert_non_null(header_tokens(s, &arena).p);
        assert_non_null(header_unfold(s, &arena).p);
        assert_non_null(header_base_subject(s, &arena, &is_reply).p);
        while (header_msgid_next(&rest, &id))
            assert_true(id.n > 2);
        header_content(s, &arena, &c);
        header_date(s, &utc, &zone);
        assert_int_equal(header_size(s), n);
        assert_false(header_find(s, SLICE("X-None"), &f));
    }
    free(text);
}

static void many_fields(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct slice rest;
    struct header_field f;
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 500000; i++)
        buf_add_str(&text, "To: a@b.example\r\n");
    buf_add_str(&text, "Late: 1\r\n\r\nbody");
    rest = buf_slice(&text);
    while (header_next(&rest, &f))
        n++;
    assert_int_equal(n, 500001);
    assert_int_equal(header_size(buf_slice(&text)), text.n - 4);
    /* beyond the limits nothing is looked at */
    assert_false(header_find(buf_slice(&text), SLICE("Late"), &f));
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(walks_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(header_ends_at_the_empty_line, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(unfolds, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(message_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(address_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_have_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(dates, setup, teardown),
        cmocka_unit_test_setup_teardown(dates_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(content_types, setup, teardown),
        cmocka_unit_test_setup_teardown(no_content_type, setup, teardown),
        cmocka_unit_test_setup_teardown(extended_value_becomes_a_word, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters_have_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(base_subjects, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_non_ascii_as_words, setup, teardown),
        cmocka_unit_test_setup_teardown(floods, setup, teardown),
        cmocka_unit_test_setup_teardown(many_fields, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
