#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/name.h"

#define VALIDITY 0x12300042u /* low 20 bits 0x00042 = "22" in base 32 */

static void parses(void **state)
{
    static const struct {
        const char *text;
        const char *unique;
        uint64_t size, crlf;
        int64_t saved;
        uint32_t uid, flags;
        bool foreign;
    } rows[] = {
        {"1.a.host", "1.a.host", 0, 0, 0, 0, 0, false},
        {"1.a.host:2,", "1.a.host", 0, 0, 0, 0, 0, false},
        {"1.a.host,S=12:2,S", "1.a.host", 12, 12, 0, 0, FLAG_SEEN, false},
        {"1.a.host,S=12,W=14,U=7.22:2,DFPRSTaz", "1.a.host", 12, 14, 0, 7,
            FLAG_DRAFT | FLAG_FLAGGED | FLAG_FORWARDED | FLAG_ANSWERED | FLAG_SEEN | FLAG_DELETED |
                FLAG_KEYWORD(0) | FLAG_KEYWORD(25),
            false},
        {"x,D=10,U=4294967295.22:2,", "x", 0, 0, 32, UINT32_MAX, 0, false},
        {"x,U=4294967296.22:2,", "x", 0, 0, 0, 0, 0, false},
        {"x,U=0.22:2,", "x", 0, 0, 0, 0, 0, false},
        {"x,U=7.23:2,", "x", 0, 0, 0, 0, 0, true},
        {"x,U=7:2,S", "x", 0, 0, 0, 0, FLAG_SEEN, false},
        {"x,U=8.23,U=7.22:2,", "x", 0, 0, 0, 7, 0, true},
        {"x,W=0,S=9", "x", 9, 9, 0, 0, 0, false},
        {"x,S=1,S=2", "x", 1, 1, 0, 0, 0, false},
        {"x,S=-1,S=99999999999999999999,S=3", "x", 3, 3, 0, 0, 0, false},
        {"x:1,exp:2,F", "x:1", 0, 0, 0, 0, FLAG_FLAGGED, false},
        {"x:2,S:2,F", "x:2", 0, 0, 0, 0, FLAG_FLAGGED, false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct name n;

        assert_true(name_parse(slice_str(rows[i].text), VALIDITY, &n));
        assert_true(slice_eq(n.unique, slice_str(rows[i].unique)));
        assert_int_equal(n.size, rows[i].size);
        assert_int_equal(n.size_crlf, rows[i].crlf);
        assert_int_equal(n.saved, rows[i].saved);
        assert_int_equal(n.uid, rows[i].uid);
        assert_int_equal(n.flags, rows[i].flags);
        assert_int_equal(n.has_foreign_uid, rows[i].foreign);
    }
    (void)state;
}

static void refuses(void **state)
{
    char longest[257];
    struct name n;

    memset(longest, 'a', sizeof longest);
    assert_true(name_parse(slice_of(longest, 255), 1, &n));
    assert_false(name_parse(slice_of(longest, 256), 1, &n));
    assert_false(name_parse(SLICE(""), 1, &n));
    assert_false(name_parse(SLICE("."), 1, &n));
    assert_false(name_parse(SLICE(".nfs0001"), 1, &n));
    assert_false(name_parse(SLICE("a\0b"), 1, &n));
    assert_false(name_parse(SLICE("a/b"), 1, &n));
    assert_false(name_parse(SLICE(",S=5:2,"), 1, &n));
    assert_false(name_parse(SLICE(":2,S"), 1, &n));
    (void)state;
}

static void writes(void **state)
{
    static const struct {
        const char *base;
        uint64_t size, crlf;
        int64_t saved;
        uint32_t uid, flags;
        const char *want;
    } rows[] = {
        {"x", 0, 0, 0, 7, 0, "x,U=7.22:2,"},
        {"x", 5, 5, 32, 7, FLAG_SEEN, "x,S=5,D=10,U=7.22:2,S"},
        {"x,S=5", 5, 6, 0, 7, FLAG_SEEN | FLAG_DRAFT | FLAG_KEYWORD(1), "x,S=5,W=6,U=7.22:2,DSb"},
        {"x,foo=1,S=9,bar", 5, 0, 0, 7, 0, "x,foo=1,S=5,bar,U=7.22:2,"},
        {"x,U=3.23,W=7,S=5,S=5", 5, 7, 0, 7, 0, "x,W=7,S=5,U=7.22:2,"},
        {"x,S=5,U=3.22", 0, 0, 0, 0, FLAG_DELETED, "x:2,T"},
        {"x,U=bad", 0, 0, 0, 9, 0, "x,U=bad,U=9.22:2,"},
    };
    struct buf out = BUF_INIT(1000);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        assert_true(name_write(&out, slice_str(rows[i].base), rows[i].size, rows[i].crlf, rows[i].saved,
            rows[i].uid, VALIDITY, rows[i].flags));
        assert_string_equal(buf_str(&out), rows[i].want);
    }
    buf_clear(&out);
    assert_true(name_write_flags(&out, SLICE("x,S=1"), FLAG_SEEN | FLAG_FLAGGED));
    assert_string_equal(buf_str(&out), "x,S=1:2,FS");
    buf_free(&out);
    (void)state;
}

static void too_long(void **state)
{
    char base[256];
    struct buf out = BUF_INIT(1000);

    memset(base, 'a', sizeof base);
    assert_true(
        name_write(&out, slice_of(base, 244), 0, 0, 0, 7, VALIDITY, FLAG_SEEN)); /* + ",U=7.22:2,S" = 255 */
    buf_clear(&out);
    assert_false(name_write(&out, slice_of(base, 245), 0, 0, 0, 7, VALIDITY, FLAG_SEEN));
    buf_free(&out);
    (void)state;
}

static void origin(void **state)
{
    assert_true(slice_eq(name_origin(SLICE("1.a.host.c17")), SLICE("1.a.host")));
    assert_true(slice_eq(name_origin(SLICE("1.a.host.ch")), SLICE("1.a.host.ch")));
    assert_true(slice_eq(name_origin(SLICE("1.a.host17")), SLICE("1.a.host17")));
    assert_true(slice_eq(name_origin(SLICE(".c1")), SLICE(".c1")));
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parses), cmocka_unit_test(refuses),
        cmocka_unit_test(writes), cmocka_unit_test(too_long), cmocka_unit_test(origin)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
