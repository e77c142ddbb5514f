/* Reverse-paths of forwarded mail: there and back, and nobody else's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/ascii.h"
#include "mail/srs.h"

#define DAY 86400
#define NOW ((int64_t)1796000000)

static const unsigned char ours[SRS_SECRET_LEN] = "0123456789abcdef0123456789abcdef";
static const unsigned char theirs[SRS_SECRET_LEN] = "another secret, of another host.";

static void forward(const unsigned char *secret, int64_t now, const char *from, const char *domain, char *to)
{
    struct buf out = BUF_INIT(400);
    struct arena arena;
    struct address a;

    arena_init(&arena, 4096);
    assert_int_equal(address_parse(slice_str(from), &arena, &a), ADDRESS_OK);
    srs_forward(secret, now, &a, slice_str(domain), &out);
    snprintf(to, 400, "%s", buf_str(&out));
    buf_free(&out);
    arena_free(&arena);
}

static enum srs reverse(const unsigned char *secret, int64_t now, const char *to, char *from)
{
    struct buf out = BUF_INIT(400);
    struct arena arena;
    struct address a;
    enum srs result;

    arena_init(&arena, 4096);
    assert_int_equal(address_parse(slice_str(to), &arena, &a), ADDRESS_OK);
    result = srs_reverse(secret, now, &a, &out);
    snprintf(from, 400, "%s", result == SRS_OK ? buf_str(&out) : "");
    buf_free(&out);
    arena_free(&arena);
    return result;
}

static void there_and_back(void **state)
{
    static const char *const rows[] = {"anna@example.com", "Anna.Amsel+x=y@mail.example.com",
        "\"a b\"@example.com", "\"a@b\"@[192.0.2.1]", "j\xc3\xb6rg@m\xc3\xbcller.example", "x@y"};
    char path[400], back[400];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forward(ours, NOW, rows[i], "example.org", path);
        assert_non_null(strstr(path, "SRS0="));
        assert_string_equal(path + strlen(path) - 12, "@example.org");
        assert_int_equal(reverse(ours, NOW + 5 * DAY, path, back), SRS_OK);
        assert_string_equal(back, rows[i]);
        assert_int_equal(reverse(theirs, NOW, path, back), SRS_REFUSED);
    }
}

static void case_does_not_matter(void **state)
{
    char path[400], back[400];

    (void)state;
    forward(ours, NOW, "anna@example.com", "example.org", path);
    for (char *p = path; *p; p++)
        *p = ascii_upper(*p);
    assert_int_equal(reverse(ours, NOW, path, back), SRS_OK);
    assert_string_equal(back, "ANNA@EXAMPLE.COM");
}

static void it_grows_old(void **state)
{
    char path[400], back[400];

    (void)state;
    /* across the turn of the counter of days too */
    for (int64_t from = 0; from < 3000 * (int64_t)DAY; from += 100 * DAY) {
        forward(ours, from, "anna@example.com", "example.org", path);
        assert_int_equal(reverse(ours, from + SRS_DAYS * (int64_t)DAY, path, back), SRS_OK);
        assert_int_equal(reverse(ours, from + (SRS_DAYS + 1) * (int64_t)DAY, path, back), SRS_REFUSED);
        assert_int_equal(reverse(ours, from + 900 * (int64_t)DAY, path, back), SRS_REFUSED);
    }
    /* made tomorrow */
    forward(ours, NOW + DAY, "anna@example.com", "example.org", path);
    assert_int_equal(reverse(ours, NOW, path, back), SRS_REFUSED);
}

/* Our own and others' forwarders, one after the other: bounces find the first, who finds the sender. */
static void further(void **state)
{
    char first[400], second[400], third[400], back[400];

    (void)state;
    forward(theirs, NOW, "anna@example.com", "first.example", first);
    forward(ours, NOW, first, "example.org", second);
    assert_true(strncmp(second, "SRS1=", 5) == 0 && strstr(second, "=first.example==") != NULL);
    forward(theirs, NOW, second, "third.example", third);
    assert_true(strncmp(third, "SRS1=", 5) == 0 && strstr(third, "=first.example==") != NULL);
    assert_int_equal(reverse(theirs, NOW, third, back), SRS_OK);
    assert_string_equal(back, first);
    assert_int_equal(reverse(ours, NOW, second, back), SRS_OK);
    assert_string_equal(back, first);
    assert_int_equal(reverse(ours, NOW, third, back), SRS_REFUSED);
    assert_int_equal(reverse(theirs, NOW, first, back), SRS_OK);
    assert_string_equal(back, "anna@example.com");
    /* another separator of the first one stays */
    forward(ours, NOW, "SRS0+abcd=xx=example.com=anna@first.example", "example.org", second);
    assert_int_equal(reverse(ours, NOW, second, back), SRS_OK);
    assert_string_equal(back, "SRS0+abcd=xx=example.com=anna@first.example");
    /* what only begins like one */
    forward(ours, NOW, "SRS0anna@example.com", "example.org", second);
    assert_int_equal(reverse(ours, NOW, second, back), SRS_OK);
    assert_string_equal(back, "SRS0anna@example.com");
    forward(ours, NOW, "SRS1=x@example.com", "example.org", second);
    assert_int_equal(reverse(ours, NOW, second, back), SRS_OK);
    assert_string_equal(back, "SRS1=x@example.com");
}

static void too_long(void **state)
{
    char path[400];

    (void)state;
    forward(
        ours, NOW, "a.person.with.a.very.long.name.indeed@mail.department.example.com", "example.org", path);
    assert_string_equal(path, "postmaster@example.org");
    forward(ours, NOW, "0123456789012345678901234567890@example.museum", "example.org", path);
    assert_int_equal(strcspn(path, "@"), 64 - 1);
    forward(ours, NOW, "a@[X:b=c]", "example.org", path);
    assert_string_equal(path, "postmaster@example.org");
    forward(ours, NOW, "012345678901234567890123456789012@example.museum", "example.org", path);
    assert_string_equal(path, "postmaster@example.org");
}

static void forged(void **state)
{
    static const char *const rows[] = {"SRS0=a@example.org", "SRS0==@example.org",
        "SRS0=00000000=aa=example.com=anna@example.org", "SRS0=0000000=aa=example.com=anna@example.org",
        "SRS0=00000000@example.org", "SRS1=00000000=first.example==a=b=c=d@example.org",
        "SRS1=00000000=first.example@example.org", "srs0-x=y=z@example.org", "SRS1===@example.org"};
    char path[400], back[400];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (reverse(ours, NOW, rows[i], back) != SRS_REFUSED)
            fail_msg("%s", rows[i]);
    assert_int_equal(reverse(ours, NOW, "anna@example.org", back), SRS_NONE);
    assert_int_equal(reverse(ours, NOW, "SRS0@example.org", back), SRS_NONE);
    assert_int_equal(reverse(ours, NOW, "SRS1=@example.org", back), SRS_NONE);
    assert_int_equal(reverse(ours, NOW, "SRS2=a=b=c=d@example.org", back), SRS_NONE);
    /* one octet of a good one changed, each in turn */
    forward(ours, NOW, "anna@example.com", "example.org", path);
    for (size_t i = 5; path[i] != '@'; i++) {
        char was = path[i];

        path[i] = was == 'x' ? 'y' : 'x';
        assert_int_equal(reverse(ours, NOW, path, back), SRS_REFUSED);
        path[i] = was;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(case_does_not_matter),
        cmocka_unit_test(it_grows_old),
        cmocka_unit_test(further),
        cmocka_unit_test(too_long),
        cmocka_unit_test(forged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
