/* lookup/rdata: what name servers may send, and what is made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lookup/rdata.h"

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

static void is_slice(struct slice s, const char *wanted, size_t n)
{
    assert_int_equal(s.n, n);
    assert_memory_equal(s.p, wanted, n);
}

#define IS(s, literal) is_slice(s, literal, sizeof(literal) - 1)

static void good(void **state)
{
    struct dns_record r;

    (void)state;
    assert_true(rdata_parse(DNS_A, SLICE("\xc0\x00\x02\x01"), &arena, &r));
    assert_int_equal(r.ip_len, 4);
    assert_memory_equal(r.ip, "\xc0\x00\x02\x01", 4);
    assert_true(rdata_parse(DNS_AAAA, SLICE("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), &arena, &r));
    assert_int_equal(r.ip_len, 16);
    assert_true(rdata_parse(DNS_MX,
        SLICE("\x01\x02\x02MX\x07"
              "Example\x04test\0"),
        &arena, &r));
    assert_int_equal(r.preference, 258);
    IS(r.name, "mx.example.test");
    assert_true(rdata_parse(DNS_MX, SLICE("\0\0\0"), &arena, &r)); /* RFC 7505 */
    IS(r.name, "");
    assert_true(rdata_parse(DNS_CNAME,
        SLICE("\x07_dmarc-\x03"
              "1/2\0"),
        &arena, &r));
    IS(r.name, "_dmarc-.1/2");
    assert_true(rdata_parse(DNS_TXT,
        SLICE("\x03"
              "a\0b\x00\x01\xff"),
        &arena, &r));
    IS(r.text, "a\0b\xff");
    assert_true(rdata_parse(DNS_TXT, SLICE("\0"), &arena, &r));
    IS(r.text, "");
    assert_true(rdata_parse(DNS_TLSA, SLICE("\x03\x01\x02xy"), &arena, &r));
    assert_int_equal(r.usage, 3);
    assert_int_equal(r.selector, 1);
    assert_int_equal(r.matching, 2);
    IS(r.data, "xy");
}

static void bad(void **state)
{
    static const struct {
        enum dns_type type;
        struct slice wire;
    } rows[] = {
        {DNS_A, {"abc", 3}},
        {DNS_A, {"abcde", 5}},
        {DNS_AAAA, {"abcd", 4}},
        {DNS_MX, {"", 0}},
        {DNS_MX, {"\0\1", 2}},
        {DNS_MX, {"\0\1\2mx", 5}},       /* no end */
        {DNS_MX, {"\0\1\2mx\0x", 7}},    /* something behind it */
        {DNS_MX, {"\0\1\xc0\x0c", 4}},   /* compressed */
        {DNS_MX, {"\0\1\5mx\0", 6}},     /* longer than the record */
        {DNS_MX, {"\0\1\3a.b\0", 7}},    /* a dot inside a label */
        {DNS_MX, {"\0\1\3a\0b\0", 7}},   /* NUL */
        {DNS_MX, {"\0\1\3a\nb\0", 7}},   /* would forge a line */
        {DNS_MX, {"\0\1\3a\\b\0", 7}},   /* an escape */
        {DNS_MX, {"\0\1\2\xc3\xbc", 5}}, /* not an A-label */
        {DNS_MX, {"\0\1\1*\0", 5}},
        {DNS_PTR, {"", 0}},
        {DNS_TXT, {"", 0}},
        {DNS_TXT, {"\4abc", 4}},
        {DNS_TXT, {"\1a\2", 3}},
        {DNS_TLSA, {"\3\1\1", 3}},
        {(enum dns_type)99, {"abcd", 4}},
    };
    struct dns_record r;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rdata_parse(rows[i].type, rows[i].wire, &arena, &r))
            fail_msg("row %zu was taken", i);
}

/* Labels of 63 octets, names of 253: as many as that and not one more. */
static void lengths(void **state)
{
    char wire[300];
    size_t n = 0;
    struct dns_record r;

    (void)state;
    for (size_t label = 0; label < 4; label++) {
        size_t length = label < 3 ? 63 : 61;

        wire[n++] = (char)length;
        memset(wire + n, 'a', length);
        n += length;
    }
    wire[n++] = '\0';
    assert_true(rdata_parse(DNS_CNAME, slice_of(wire, n), &arena, &r));
    assert_int_equal(r.name.n, 253);
    wire[3 * 64] = 62;
    wire[n - 1] = 'a';
    wire[n] = '\0';
    assert_false(rdata_parse(DNS_CNAME, slice_of(wire, n + 1), &arena, &r));
}

static void names(void **state)
{
    static const char *const wrong[] = {
        "", ".", "..", "a..b", ".a", "a..", "a b", "a\\.b", "a\tb", "\xc3\xbc.test"};
    struct slice name;

    (void)state;
    assert_true(rdata_name(SLICE("Mail.Example.TEST."), &arena, &name));
    IS(name, "mail.example.test");
    assert_true(rdata_name(SLICE("_25._tcp.a-b"), &arena, &name));
    IS(name, "_25._tcp.a-b");
    assert_false(rdata_name(SLICE("a\0b"), &arena, &name));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (rdata_name(slice_str(wrong[i]), &arena, &name))
            fail_msg("\"%s\" was taken", wrong[i]);
}

static void best(void **state)
{
    struct dns_record records[4];
    static const uint16_t come[] = {30, 10, 40, 10, 20, 50, 5}, stay[] = {5, 10, 10, 20};
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof come / sizeof *come; i++)
        n = rdata_add(records, n, 4, &(struct dns_record){.preference = come[i], .usage = (uint8_t)i});
    assert_int_equal(n, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(records[i].preference, stay[i]);
    assert_int_equal(records[1].usage, 1); /* of equals the earlier comes first */
    assert_int_equal(records[2].usage, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(bad),
        cmocka_unit_test(lengths), cmocka_unit_test(names), cmocka_unit_test(best)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
