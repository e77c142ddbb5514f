/* slice, buf, arena and ids: what every other part stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/id.h"
#include "common/slice.h"

static void cut_walks_all_pieces(void **state)
{
    struct slice rest = SLICE("a,,b,"), head;

    (void)state;
    assert_true(slice_cut(&rest, ',', &head) && slice_eq(head, SLICE("a")));
    assert_true(slice_cut(&rest, ',', &head) && head.n == 0);
    assert_true(slice_cut(&rest, ',', &head) && slice_eq(head, SLICE("b")));
    assert_false(slice_cut(&rest, ',', &head));
    assert_int_equal(head.n, 0);
}

static void sub_is_clamped(void **state)
{
    struct slice s = SLICE("abc");

    (void)state;
    assert_true(slice_eq(slice_sub(s, 1, 1), SLICE("b")));
    assert_true(slice_eq(slice_sub(s, 1, SIZE_MAX), SLICE("bc")));
    assert_int_equal(slice_sub(s, 4, 1).n, 0);
    assert_int_equal(slice_from(s, SIZE_MAX).n, 0);
}

static void finds_and_compares(void **state)
{
    (void)state;
    assert_int_equal(slice_find(SLICE("abcabd"), SLICE("abd")), 3);
    assert_int_equal(slice_find(SLICE("ab"), SLICE("abd")), -1);
    assert_int_equal(slice_find(SLICE("ab"), SLICE("")), 0);
    assert_int_equal(slice_find_nocase(SLICE("xxAbD"), SLICE("aBd")), 2);
    assert_int_equal(slice_chr(SLICE("a\0b"), 'b'), 2);
    assert_int_equal(slice_rchr(SLICE("abab"), 'a'), 2);
    assert_true(slice_cmp(SLICE("a"), SLICE("ab")) < 0);
    assert_true(slice_cmp(SLICE("b"), SLICE("ab")) > 0);
    assert_int_equal(slice_cmp(SLICE("ab"), SLICE("ab")), 0);
    assert_true(slice_eq_nocase(SLICE("ReCeived"), SLICE("rEcEIVED")));
    assert_false(slice_eq_nocase(SLICE("[\\]"), SLICE("{|}")));
    assert_true(slice_ends(SLICE("abc"), SLICE("bc")));
    assert_false(slice_starts(SLICE("a"), SLICE("ab")));
    assert_true(slice_eq(slice_trim(SLICE(" \t a b\r\n")), SLICE("a b")));
}

static void numbers_stop_at_their_limit(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        bool good;
        uint64_t v;
    } rows[] = {
        {"0", 0, true, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999", UINT64_MAX, false, 0},
        {"10", 9, false, 0},
        {"", 9, false, 0},
        {"+1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1a", 99, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t v = 0;

        assert_int_equal(slice_u64(slice_str(rows[i].text), rows[i].max, &v), rows[i].good);
        assert_true(v == rows[i].v);
    }
}

static void dup_refuses_nul(void **state)
{
    char *z = slice_dup(SLICE("abc"));

    (void)state;
    assert_string_equal(z, "abc");
    free(z);
    assert_null(slice_dup(SLICE("a\0c")));
}

static void buf_keeps_to_its_cap(void **state)
{
    struct buf b = BUF_INIT(5);

    (void)state;
    buf_add(&b, SLICE("abc"));
    buf_add(&b, SLICE("def"));
    assert_true(b.full);
    assert_true(slice_eq(buf_slice(&b), SLICE("abc")));
    /* what would fit is refused too: the text has a hole already */
    buf_add_char(&b, 'x');
    assert_int_equal(b.n, 3);
    buf_clear(&b);
    assert_false(b.full);
    buf_add_u64(&b, 12345);
    assert_true(slice_eq(buf_slice(&b), SLICE("12345")));
    assert_string_equal(buf_str(&b), "12345");
    buf_drop(&b, 3);
    assert_true(slice_eq(buf_slice(&b), SLICE("45")));
    buf_free(&b);
}

static void buf_prints(void **state)
{
    struct buf b = BUF_INIT(100);

    (void)state;
    buf_add_u64(&b, UINT64_MAX);
    buf_printf(&b, " %s-%d", "x", 7);
    assert_string_equal(buf_str(&b), "18446744073709551615 x-7");
    buf_shrink(&b);
    assert_string_equal(buf_str(&b), "18446744073709551615 x-7");
    buf_free(&b);
}

static void arena_keeps_to_its_quota(void **state)
{
    struct arena a;
    struct slice empty;

    (void)state;
    arena_init(&a, 10000);
    assert_non_null(arena_alloc(&a, 5000));
    assert_null(arena_alloc(&a, 6000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_zalloc(&a, SIZE_MAX / 2, 3));
    empty = arena_copy(&a, SLICE(""));
    assert_non_null(empty.p);
    assert_string_equal(arena_strdup(&a, SLICE("abc")), "abc");
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 9000));
    arena_free(&a);
}

static void arena_memory_is_apart_and_aligned(void **state)
{
    struct arena a;
    char *p[200];

    (void)state;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < 200; i++) {
        p[i] = arena_alloc(&a, i);
        assert_int_equal((uintptr_t)p[i] % _Alignof(max_align_t), 0);
        memset(p[i], (int)i, i);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i; k++)
            assert_int_equal((unsigned char)p[i][k], i);
    arena_free(&a);
}

#define IDS 200000 /* in a fraction of a second: by chance alone hundreds would be there twice */

static int by_text(const void *a, const void *b)
{
    return memcmp(a, b, ID_LEN);
}

static void ids_are_never_given_twice(void **state)
{
    struct id *ids = malloc(IDS * sizeof *ids);

    (void)state;
    assert_non_null(ids);
    for (size_t i = 0; i < IDS; i++) {
        ids[i] = id_new();
        assert_true(id_is_valid(slice_str(ids[i].text)));
    }
    qsort(ids, IDS, sizeof *ids, by_text);
    for (size_t i = 1; i < IDS; i++)
        assert_memory_not_equal(ids[i - 1].text, ids[i].text, ID_LEN);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_walks_all_pieces),
        cmocka_unit_test(sub_is_clamped),
        cmocka_unit_test(finds_and_compares),
        cmocka_unit_test(numbers_stop_at_their_limit),
        cmocka_unit_test(dup_refuses_nul),
        cmocka_unit_test(buf_keeps_to_its_cap),
        cmocka_unit_test(buf_prints),
        cmocka_unit_test(arena_keeps_to_its_quota),
        cmocka_unit_test(arena_memory_is_apart_and_aligned),
        cmocka_unit_test(ids_are_never_given_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
