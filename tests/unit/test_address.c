/* Mailboxes and paths of SMTP: RFC 5321 4.1.2, security.md S06, S08, S13, S14. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mail/address.h"

#define A10 "aaaaaaaaaa"
#define A60 A10 A10 A10 A10 A10 A10
#define D250 A60 "." A60 "." A60 "." A60 ".aaaaaa"

static struct arena arena;

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

/* local NULL: the null path */
struct path_row {
    const char *in;
    enum address_error error;
    const char *local, *domain, *rest;
};

static const struct path_row path_rows[] = {
    {"<a@b>", ADDRESS_OK, "a", "b", ""},
    {"<a@b> SIZE=1", ADDRESS_OK, "a", "b", " SIZE=1"},
    {"<a@b>=", ADDRESS_OK, "a", "b", "="},
    {" \t <a.b@example.org>", ADDRESS_OK, "a.b", "example.org", ""},
    {"<>", ADDRESS_OK, NULL, "", ""},
    {"<> X", ADDRESS_OK, NULL, "", " X"},
    {"<postmaster>", ADDRESS_OK, "postmaster", "", ""},
    {"<PostMaster>", ADDRESS_OK, "PostMaster", "", ""},
    {"<postmaster@b>", ADDRESS_OK, "postmaster", "b", ""},
    {"<@a,@b.c:u@d.e>", ADDRESS_OK, "u", "d.e", ""},
    {"<@a:u@b>", ADDRESS_OK, "u", "b", ""},
    {"<u%remote@local>", ADDRESS_OK, "u%remote", "local", ""},
    {"<\"u@remote\"@local>", ADDRESS_OK, "u@remote", "local", ""},
    {"<remote!u@local>", ADDRESS_OK, "remote!u", "local", ""},
    {"<u@[127.0.0.1]>", ADDRESS_OK, "u", "[127.0.0.1]", ""},
    {"<u@[IPv6:::1]>", ADDRESS_OK, "u", "[IPv6:::1]", ""},
    {"<u@[x400:c=de]>", ADDRESS_OK, "u", "[x400:c=de]", ""},
    {"<u@local.>", ADDRESS_OK, "u", "local", ""},
    {"<U@LoCal>", ADDRESS_OK, "U", "LoCal", ""},
    {"<\"a b\"@d>", ADDRESS_OK, "a b", "d", ""},
    {"<\"a\\\"b\\\\\"@d>", ADDRESS_OK, "a\"b\\", "d", ""},
    {"<\"a>b\"@d> X", ADDRESS_OK, "a>b", "d", " X"},
    {"<!#$%&'*+-/=?^_`{|}~@d>", ADDRESS_OK, "!#$%&'*+-/=?^_`{|}~", "d", ""},
    {"<`id`@d>", ADDRESS_OK, "`id`", "d", ""},
    {"<|/bin/sh@d>", ADDRESS_OK, "|/bin/sh", "d", ""},
    {"<-f@d>", ADDRESS_OK, "-f", "d", ""},
    {"<${run{id}}@l>", ADDRESS_OK, "${run{id}}", "l", ""},
    {"<j\xc3\xb6rg@m\xc3\xbcller.de>", ADDRESS_OK, "j\xc3\xb6rg", "m\xc3\xbcller.de", ""},
    {"<" A60 "aaaa@d>", ADDRESS_OK, A60 "aaaa", "d", ""},
    {"<\"" A60 "aaaa\"@d>", ADDRESS_OK, A60 "aaaa", "d", ""},
    {"<a@" A60 "aaa>", ADDRESS_OK, "a", A60 "aaa", ""},
    {"<a@" D250 "aaaaa>", ADDRESS_OK, "a", D250 "aaaaa", ""},
    {"<a@1.2.3.4>", ADDRESS_OK, "a", "1.2.3.4", ""},
    {"", ADDRESS_SYNTAX, "", "", ""},
    {"<", ADDRESS_SYNTAX, "", "", ""},
    {"a@b", ADDRESS_SYNTAX, "", "", ""},
    {"<a@b", ADDRESS_SYNTAX, "", "", ""},
    {"<a@b >", ADDRESS_SYNTAX, "", "", ""},
    {"< a@b>", ADDRESS_SYNTAX, "", "", ""},
    {"<a @b>", ADDRESS_SYNTAX, "", "", ""},
    {"<a@>", ADDRESS_SYNTAX, "", "", ""},
    {"<a@.>", ADDRESS_SYNTAX, "", "", ""},
    {"<a@b..>", ADDRESS_SYNTAX, "", "", ""},
    {"<a@b..c>", ADDRESS_SYNTAX, "", "", ""},
    {"<a@.b>", ADDRESS_SYNTAX, "", "", ""},
    {"<a@-b>", ADDRESS_SYNTAX, "", "", ""},
    {"<a@b->", ADDRESS_SYNTAX, "", "", ""},
    {"<a@b_c>", ADDRESS_SYNTAX, "", "", ""},
    {"<a@b c>", ADDRESS_SYNTAX, "", "", ""},
    {"<@b>", ADDRESS_SYNTAX, "", "", ""},
    {"<u>", ADDRESS_SYNTAX, "", "", ""},
    {"<.a@b>", ADDRESS_SYNTAX, "", "", ""},
    {"<a.@b>", ADDRESS_SYNTAX, "", "", ""},
    {"<a..b@b>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@remote@local>", ADDRESS_SYNTAX, "", "", ""},
    {"<@a,b:u@c>", ADDRESS_SYNTAX, "", "", ""},
    {"<@a,@b:>", ADDRESS_SYNTAX, "", "", ""},
    {"<@a u@c>", ADDRESS_SYNTAX, "", "", ""},
    {"<@a:postmaster>", ADDRESS_OK, "postmaster", "", ""},
    {"<\"\"@d>", ADDRESS_SYNTAX, "", "", ""},
    {"<\"\\\"@d>", ADDRESS_SYNTAX, "", "", ""},
    {"<\"a\"b@d>", ADDRESS_SYNTAX, "", "", ""},
    {"<\"", ADDRESS_SYNTAX, "", "", ""},
    {"<\"a\\", ADDRESS_SYNTAX, "", "", ""},
    {"\"", ADDRESS_SYNTAX, "", "", ""},
    {"=", ADDRESS_SYNTAX, "", "", ""},
    {"<g:;>", ADDRESS_SYNTAX, "", "", ""},
    {"<;sleep 60;>", ADDRESS_SYNTAX, "", "", ""},
    {"<$(id)@d>", ADDRESS_SYNTAX, "", "", ""},
    {"<a\r\nb@d>", ADDRESS_SYNTAX, "", "", ""},
    {"<\"a\tb\"@d>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[127.0.0.1>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[]>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[256.0.0.1]>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[1.2.3]>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[1.2.3.4.]>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[IPv6:g::1]>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[IPv6:fe80::1%eth0]>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[:x]>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[x-:y]>", ADDRESS_SYNTAX, "", "", ""},
    {"<u@[x:\xc3\xb6]>", ADDRESS_SYNTAX, "", "", ""},
    {"<" A60 "aaaaa@d>", ADDRESS_LOCAL_LONG, "", "", ""},
    {"<\"" A60 "aaaaa\"@d>", ADDRESS_LOCAL_LONG, "", "", ""},
    {"<a@" A60 "aaaa>", ADDRESS_DOMAIN_LONG, "", "", ""},
    {"<a@" D250 "aaaaaa>", ADDRESS_DOMAIN_LONG, "", "", ""},
    {"<\xff@d>", ADDRESS_BAD_UTF8, "", "", ""},
    {"<a@\xc3.d>", ADDRESS_BAD_UTF8, "", "", ""},
    {"<\"\xc0\xaf\"@d>", ADDRESS_BAD_UTF8, "", "", ""},
};

static void paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof path_rows / sizeof path_rows[0]; i++) {
        const struct path_row *row = &path_rows[i];
        struct slice in = slice_str(row->in), before = in;
        struct address a;
        enum address_error e = address_parse_path(&in, true, true, &arena, &a);

        if (e != row->error)
            fail_msg("%s: %d", row->in, e);
        if (e != ADDRESS_OK) {
            assert_true(in.p == before.p && in.n == before.n);
            assert_true(strlen(address_error_text(e)) > 20);
            continue;
        }
        assert_int_equal(a.is_null, row->local == NULL);
        if (!slice_eq(a.local, slice_str(row->local)) || !slice_eq(a.domain, slice_str(row->domain)) ||
            !slice_eq(in, slice_str(row->rest)))
            fail_msg(
                "%s: <%.*s> <%.*s> <%.*s>", row->in, SLICE_FMT(a.local), SLICE_FMT(a.domain), SLICE_FMT(in));
        assert_int_equal(a.is_literal, row->domain[0] == '[');
        assert_int_equal(a.is_utf8, strchr(row->in, '\xc3') != NULL);
    }
}

static void null_and_postmaster_only_where_allowed(void **state)
{
    struct slice in = SLICE("<>");
    struct address a;

    (void)state;
    assert_int_equal(address_parse_path(&in, false, true, &arena, &a), ADDRESS_SYNTAX);
    in = SLICE("<postmaster>");
    assert_int_equal(address_parse_path(&in, true, false, &arena, &a), ADDRESS_SYNTAX);
}

static void nul_is_refused_everywhere(void **state)
{
    static const char whole[] = "<\"a bcc\"@d.e>";
    char text[sizeof whole];

    (void)state;
    for (size_t i = 0; i < sizeof whole - 1; i++) {
        struct slice in;
        struct address a;

        memcpy(text, whole, sizeof whole);
        text[i] = '\0';
        in = slice_of(text, sizeof whole - 1);
        assert_int_not_equal(address_parse_path(&in, true, true, &arena, &a), ADDRESS_OK);
    }
}

/* Every beginning of a path is refused: nothing is read behind the end (S08). */
static void cut_paths(void **state)
{
    static const char whole[] = "<@a.b,@c:\"q\\\"@\"@[IPv6:2001:db8::1]>";

    (void)state;
    for (size_t n = 0; n < sizeof whole; n++) {
        char *copy = test_malloc(n ? n : 1);
        struct slice in = slice_of(copy, n);
        struct address a;

        memcpy(copy, whole, n);
        if (n < sizeof whole - 1)
            assert_int_equal(address_parse_path(&in, true, true, &arena, &a), ADDRESS_SYNTAX);
        test_free(copy);
    }
}

static void bare_addresses(void **state)
{
    static const struct {
        const char *in;
        enum address_error error;
    } rows[] = {
        {"a@b", ADDRESS_OK},
        {"\"a b\"@b", ADDRESS_OK},
        {"a@b.", ADDRESS_OK},
        {"a@[1.2.3.4]", ADDRESS_OK},
        {"", ADDRESS_SYNTAX},
        {"a", ADDRESS_SYNTAX},
        {"postmaster", ADDRESS_SYNTAX},
        {"@a:b@c", ADDRESS_SYNTAX},
        {"<a@b>", ADDRESS_SYNTAX},
        {"a@b ", ADDRESS_SYNTAX},
        {"a@b,c@d", ADDRESS_SYNTAX},
        {"a@b@c", ADDRESS_SYNTAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address a;

        if (address_parse(slice_str(rows[i].in), &arena, &a) != rows[i].error)
            fail_msg("%s", rows[i].in);
    }
}

static void formats_what_it_parsed(void **state)
{
    static const char *const rows[][2] = {
        {"a.b@c", "a.b@c"},
        {"\"a.b\"@c", "a.b@c"},
        {"\"a b\"@c", "\"a b\"@c"},
        {"\"a\\b\"@c", "ab@c"},
        {"\"a..b\"@c", "\"a..b\"@c"},
        {"\"x\\\"\\\\y\"@c", "\"x\\\"\\\\y\"@c"},
        {"\"@a:b\"@C.", "\"@a:b\"@C"},
    };
    struct buf out = BUF_INIT(1000);
    struct address a;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&out);
        assert_int_equal(address_parse(slice_str(rows[i][0]), &arena, &a), ADDRESS_OK);
        address_format(&out, &a);
        assert_string_equal(buf_str(&out), rows[i][1]);
    }
    buf_clear(&out);
    a = (struct address){.is_null = true};
    address_format(&out, &a);
    assert_int_equal(out.n, 0);
    assert_true(address_normalise(&a, &out));
    assert_int_equal(out.n, 0);
    buf_free(&out);
}

static void normalises(void **state)
{
    /* NULL: refused */
    static const char *const rows[][2] = {
        {"Joe.Doe@Example.ORG", "joe.doe@example.org"},
        {"\"JOE\"@Example.ORG.", "joe@example.org"},
        {"\"A B\"@x", "\"a b\"@x"},
        {"a@[IPV6:2001:DB8::1]", "a@[ipv6:2001:db8::1]"},
        {"a@M\xc3\xbcller.DE", "a@xn--mller-kva.de"},
        {"a@m\xc3\x9cLLER.de", "a@xn--mller-kva.de"},
        {"a@mu\xcc\x88ller.de", "a@xn--mller-kva.de"},
        {"a@XN--MLLER-kva.de", "a@xn--mller-kva.de"},
        {"a@stra\xc3\x9f"
         "e.de",
            "a@xn--strae-oqa.de"},
        {"a@xn--0", NULL},
        {"a@xn--a", NULL},
        {"a@\xef\xbc\x8f.de", NULL}, /* fullwidth solidus would become '/' */
        {"a@x\xe3\x80\x82y", "a@x.y"},
        {"a@\xe3\x80\x82\xe3\x80\x82", NULL},
        {"J\xc3\x96rg@x", "j\xc3\x96rg@x"},
    };
    struct buf out = BUF_INIT(1000);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address a;
        bool good;

        buf_clear(&out);
        buf_add_char(&out, '>');
        if (address_parse(slice_str(rows[i][0]), &arena, &a) != ADDRESS_OK)
            fail_msg("%s: not parsed", rows[i][0]);
        good = address_normalise(&a, &out);
        if (good != (rows[i][1] != NULL))
            fail_msg("%s: %s", rows[i][0], buf_str(&out));
        assert_string_equal(buf_str(&out) + 1, good ? rows[i][1] : "");
    }
    buf_free(&out);
    out = BUF_INIT(4);
    struct address a = {.local = SLICE("abc"), .domain = SLICE("d")};
    assert_false(address_normalise(&a, &out));
    buf_free(&out);
}

static void domains_and_literals(void **state)
{
    (void)state;
    assert_true(address_is_domain(SLICE("a")));
    assert_true(address_is_domain(SLICE("a-b.1c")));
    assert_false(address_is_domain(SLICE("")));
    assert_false(address_is_domain(SLICE("a.")));
    assert_false(address_is_domain(SLICE("[1.2.3.4]")));
    assert_false(address_is_domain(SLICE("a/b")));
    assert_true(address_is_literal(SLICE("[1.2.3.4]")));
    assert_true(address_is_literal(SLICE("[IPv6:2001:db8::ffff:1.2.3.4]")));
    assert_false(address_is_literal(SLICE("[2001:db8::1]")));
    assert_false(address_is_literal(SLICE("[x:y]")));
    assert_false(address_is_literal(SLICE("1.2.3.4")));
    assert_false(address_is_literal(SLICE("[")));
    assert_false(address_is_literal(SLICE("[]")));
    assert_false(address_is_literal(SLICE("[1.2.3.0004]")));
}

static void arena_used_up(void **state)
{
    struct arena none;
    struct address a;

    (void)state;
    arena_init(&none, 0);
    assert_int_equal(address_parse(SLICE("\"a b\"@c"), &none, &a), ADDRESS_OK);
    assert_int_not_equal(address_parse(SLICE("\"a\\ b\"@c"), &none, &a), ADDRESS_OK);
    arena_free(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paths, setup, teardown),
        cmocka_unit_test_setup_teardown(null_and_postmaster_only_where_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(nul_is_refused_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(bare_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(formats_what_it_parsed, setup, teardown),
        cmocka_unit_test_setup_teardown(normalises, setup, teardown),
        cmocka_unit_test_setup_teardown(domains_and_literals, setup, teardown),
        cmocka_unit_test_setup_teardown(arena_used_up, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
