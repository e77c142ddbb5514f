/* checksum64: what it must see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/checksum.h"

#define SIZE 333

static void fill(char *p, size_t n)
{
    uint64_t v = 1;

    for (size_t i = 0; i < n; i++) {
        v = v * UINT64_C(6364136223846793005) + 1442695040888963407;
        p[i] = (char)(v >> 56);
    }
}

static void every_bit(void **state)
{
    char text[SIZE];

    (void)state;
    fill(text, sizeof text);
    for (size_t n = 0; n <= sizeof text; n += n < 80 ? 1 : 61) {
        uint64_t was = checksum64(7, slice_of(text, n));

        for (size_t bit = 0; bit < n * 8; bit++) {
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            assert_int_not_equal(checksum64(7, slice_of(text, n)), was);
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        }
        assert_int_equal(checksum64(7, slice_of(text, n)), was);
    }
}

/* Zeros, which files get where they tear, count; so does where they are. */
static void lengths_seeds_order(void **state)
{
    static const char zeros[SIZE];
    uint64_t sums[SIZE];
    char text[64];

    (void)state;
    for (size_t n = 0; n < SIZE; n++) {
        sums[n] = checksum64(0, slice_of(zeros, n));
        for (size_t i = 0; i < n; i++)
            assert_int_not_equal(sums[i], sums[n]);
        assert_int_not_equal(sums[n], checksum64(1, slice_of(zeros, n)));
    }
    fill(text, sizeof text);
    for (size_t at = 8; at < sizeof text; at += 8) {
        char other[64];

        memcpy(other, text + at, sizeof text - at);
        memcpy(other + sizeof text - at, text, at);
        assert_int_not_equal(
            checksum64(0, slice_of(text, sizeof text)), checksum64(0, slice_of(other, sizeof other)));
    }
    assert_int_equal(checksum64(3, slice_of(NULL, 0)), checksum64(3, slice_of(text, 0)));
}

/* The same octets give the same sum wherever they lie in memory. */
static void any_alignment(void **state)
{
    char room[SIZE + 16];
    uint64_t was = 0;

    (void)state;
    for (size_t at = 0; at < 16; at++) {
        uint64_t sum;

        fill(room + at, SIZE);
        sum = checksum64(9, slice_of(room + at, SIZE));
        if (at)
            assert_int_equal(sum, was);
        was = sum;
    }
}

/* Half of the bits change with any bit of the text: a short sum of it would do as well. */
static void spreads(void **state)
{
    char text[100];
    unsigned changed = 0, tries = 0;

    (void)state;
    fill(text, sizeof text);
    for (size_t bit = 0; bit < sizeof text * 8; bit++, tries++) {
        uint64_t was = checksum64(0, slice_of(text, sizeof text));

        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        changed += (unsigned)__builtin_popcountll(was ^ checksum64(0, slice_of(text, sizeof text)));
    }
    assert_in_range(changed / tries, 29, 35);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit),
        cmocka_unit_test(lengths_seeds_order),
        cmocka_unit_test(any_alignment),
        cmocka_unit_test(spreads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
