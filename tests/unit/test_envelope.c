/* An envelope comes back as it was, whatever octets are in it; a damaged one is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/checksum.h"
#include "common/mem.h"
#include "queue/envelope.h"

static struct envelope_recipient two[] = {
    {.address = {"bob@example.com", 15}, .notify = 5, .orcpt = {"rfc822;Bob\r\nRCPT TO:<x@y>", 26}},
    {.address = {"j\xc3\xb6rg\0\n@example.org", 19}},
};

static struct envelope sample(void)
{
    return (struct envelope){
        .id = {"0abcdefghjkmn"},
        .account = SLICE("anna@example.net"),
        .reverse_path = SLICE("anna@example.net"),
        .envid = SLICE("\0\r\nX\xff"),
        .ret = ENVELOPE_RET_HDRS,
        .smtputf8 = true,
        .requiretls = true,
        .created = 1795492000,
        .size = (uint64_t)1 << 40,
        .recipients = two,
        .nrecipients = 2,
    };
}

static void assert_same(const struct envelope *a, const struct envelope *b)
{
    assert_string_equal(a->id.text, b->id.text);
    assert_true(slice_eq(a->account, b->account));
    assert_true(slice_eq(a->reverse_path, b->reverse_path));
    assert_true(slice_eq(a->envid, b->envid));
    assert_int_equal(a->ret, b->ret);
    assert_int_equal(a->smtputf8, b->smtputf8);
    assert_int_equal(a->is_8bit, b->is_8bit);
    assert_int_equal(a->requiretls, b->requiretls);
    assert_int_equal(a->hold, b->hold);
    assert_int_equal(a->created, b->created);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->nrecipients, b->nrecipients);
    for (uint32_t i = 0; i < a->nrecipients; i++) {
        assert_true(slice_eq(a->recipients[i].address, b->recipients[i].address));
        assert_true(slice_eq(a->recipients[i].orcpt, b->recipients[i].orcpt));
        assert_int_equal(a->recipients[i].notify, b->recipients[i].notify);
    }
}

static void comes_back(void **state)
{
    struct envelope env = sample(), back;
    struct buf out = BUF_INIT(ENVELOPE_MAX);
    struct arena arena;

    (void)state;
    arena_init(&arena, ENVELOPE_ARENA);
    for (int flags = 0; flags < 16; flags++) {
        env.smtputf8 = flags & 1;
        env.is_8bit = flags & 2;
        env.requiretls = flags & 4;
        env.hold = flags & 8;
        env.ret = (enum envelope_ret)(flags % 3);
        env.reverse_path = flags & 1 ? SLICE("") : SLICE("a@b");
        buf_clear(&out);
        assert_true(envelope_encode(&env, &out));
        assert_int_equal(envelope_length(slice_sub(buf_slice(&out), 0, ENVELOPE_HEAD)), out.n);
        assert_true(envelope_decode(buf_slice(&out), &arena, &back));
        assert_same(&env, &back);
        arena_reset(&arena);
    }
    arena_free(&arena);
    buf_free(&out);
}

/* Every bit, every shorter length, more octets behind it. */
static void damage_is_refused(void **state)
{
    struct envelope env = sample(), back;
    struct buf out = BUF_INIT(ENVELOPE_MAX);
    struct arena arena;
    size_t n;

    (void)state;
    arena_init(&arena, ENVELOPE_ARENA);
    assert_true(envelope_encode(&env, &out));
    n = out.n;
    for (size_t i = 0; i < n * 8; i++) {
        out.p[i / 8] ^= (char)(1 << i % 8);
        assert_false(envelope_decode(buf_slice(&out), &arena, &back));
        out.p[i / 8] ^= (char)(1 << i % 8);
        arena_reset(&arena);
    }
    for (size_t i = 0; i < n; i++) {
        char *copy = malloc(i + 1); /* so that reading behind its end is noticed */

        assert_non_null(copy);
        memcpy(copy, out.p, i);
        assert_false(envelope_decode(slice_of(copy, i), &arena, &back));
        free(copy);
        arena_reset(&arena);
    }
    buf_add_char(&out, 'x');
    assert_false(envelope_decode(buf_slice(&out), &arena, &back));
    arena_free(&arena);
    buf_free(&out);
}

/* Puts a record in front of END and makes length and checksum right. */
static void insert(struct buf *out, const char *record, size_t n)
{
    char end[14];
    uint64_t sum;

    memcpy(end, out->p + out->n - 14, 14);
    buf_cut(out, out->n - 14);
    buf_add(out, slice_of(record, n));
    buf_add(out, slice_of(end, 14));
    for (int i = 0; i < 4; i++)
        out->p[8 + i] = (char)(out->n >> (8 * i));
    sum = checksum64(0, slice_sub(buf_slice(out), 0, out->n - 8));
    for (int i = 0; i < 8; i++)
        out->p[out->n - 8 + (size_t)i] = (char)(sum >> (8 * i));
}

static void records_of_other_versions(void **state)
{
    static const struct {
        const char *record;
        size_t n;
        bool good;
    } rows[] = {
        {"\x05\x80\x03\0\0\0new", 9, true},        /* may be skipped */
        {"\x12\x00\x03\0\0\0new", 9, false},       /* must be known */
        {"\x01\x00\x00\0\0\0", 6, false},          /* out of order */
        {"\x10\x00\x02\0\0\0\0x", 8, false},       /* a recipient more than announced */
        {"\x11\x00\x00\0\0\0", 6, false},          /* an empty ORCPT */
        {"\x05\x80\xff\0\0\0new", 9, false},       /* longer than what is there */
        {"\xff\x7f\x08\0\0\0xxxxxxxx", 14, false}, /* a second END */
    };
    struct envelope env = sample(), back;
    struct arena arena;

    (void)state;
    arena_init(&arena, ENVELOPE_ARENA);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF_INIT(ENVELOPE_MAX);

        assert_true(envelope_encode(&env, &out));
        insert(&out, rows[i].record, rows[i].n);
        if (envelope_decode(buf_slice(&out), &arena, &back) != rows[i].good)
            fail_msg("row %zu", i);
        if (rows[i].good)
            assert_same(&env, &back);
        buf_free(&out);
    }
    arena_free(&arena);
}

static void limits(void **state)
{
    struct envelope_recipient *many = mem_zalloc(ENVELOPE_RECIPIENTS_MAX + 1, sizeof *many);
    struct envelope env = sample(), back;
    struct buf out = BUF_INIT(ENVELOPE_MAX);
    char *address = mem_zalloc(70000, 1);
    struct arena arena;

    (void)state;
    arena_init(&arena, ENVELOPE_ARENA);
    memset(address, 'a', 70000);
    env.recipients = many;
    for (size_t i = 0; i <= ENVELOPE_RECIPIENTS_MAX; i++)
        many[i] =
            (struct envelope_recipient){.address = slice_of(address, 320), .orcpt = slice_of(address, 500)};
    env.nrecipients = 0;
    assert_false(envelope_encode(&env, &out));
    env.nrecipients = ENVELOPE_RECIPIENTS_MAX + 1;
    assert_false(envelope_encode(&env, &out));
    env.nrecipients = ENVELOPE_RECIPIENTS_MAX;
    assert_true(envelope_encode(&env, &out));
    assert_true(envelope_decode(buf_slice(&out), &arena, &back));
    assert_same(&env, &back);
    buf_clear(&out);
    for (size_t i = 0; i < ENVELOPE_RECIPIENTS_MAX; i++)
        many[i].orcpt = slice_of(address, 1000);
    assert_false(envelope_encode(&env, &out));
    env.nrecipients = 1;
    many[0].address = slice_of(address, 70000);
    assert_false(envelope_encode(&env, &out));
    assert_int_equal(out.n, 0);
    arena_free(&arena);
    buf_free(&out);
    free(many);
    free(address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(records_of_other_versions),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
