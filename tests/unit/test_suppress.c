/* Suppressed addresses: added, found, over, written, read again; a damaged file loses its damaged lines only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "queue/suppress.h"

#define NOW 1795492000

static char dir[64], file[80];

static int remove_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(p);
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(dir, sizeof dir, "/tmp/test_suppress.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/suppressed", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct suppress *open_it(void)
{
    struct err e = {0};
    struct suppress *s = suppress_open(dir, &e);

    if (!s)
        fail_msg("%s", e.detail);
    return s;
}

static void save(struct suppress *s, int64_t now)
{
    struct err e = {0};

    if (suppress_save(s, now, &e) < 0)
        fail_msg("%s", e.detail);
}

static struct suppress_entry entry_of(const char *address, int64_t until)
{
    return (struct suppress_entry){
        .address = slice_str(address),
        .since = NOW,
        .until = until,
        .host = SLICE("mx.example.com"),
        .reply = SLICE("550-5.1.1 no\r\n550 5.1.1 such \\ user\t\xff"),
    };
}

static bool count_one(void *ctx, const struct suppress_entry *e)
{
    (void)e;
    ++*(size_t *)ctx;
    return true;
}

static size_t count(const struct suppress *s, int64_t now)
{
    size_t n = 0;

    suppress_walk(s, now, count_one, &n);
    return n;
}

static void they_come_back(void **state)
{
    struct suppress *s = open_it();
    struct suppress_entry a = entry_of("bob@example.com", NOW + SUPPRESS_LIFE), got;
    struct suppress_entry b = {.address = SLICE("eve@example.net"), .since = NOW};

    (void)state;
    assert_false(suppress_find(s, a.address, NOW, NULL));
    assert_true(suppress_add(s, &a));
    assert_true(suppress_add(s, &b));
    save(s, NOW);
    suppress_close(s);
    s = open_it();
    assert_true(suppress_find(s, a.address, NOW, &got));
    assert_true(slice_eq(got.reply, a.reply));
    assert_true(slice_eq(got.host, a.host));
    assert_int_equal(got.until, a.until);
    assert_true(suppress_find(s, b.address, NOW + 365 * SUPPRESS_LIFE, &got));
    assert_int_equal(got.until, 0);
    assert_int_equal(got.host.n, 0);
    assert_true(suppress_remove(s, b.address));
    assert_false(suppress_remove(s, b.address));
    save(s, NOW);
    suppress_close(s);
    s = open_it();
    assert_int_equal(count(s, NOW), 1);
    suppress_close(s);
}

static void they_end(void **state)
{
    struct suppress *s = open_it();
    struct suppress_entry a = entry_of("bob@example.com", NOW + 10), got;
    struct stat st;

    (void)state;
    suppress_add(s, &a);
    assert_true(suppress_find(s, a.address, NOW + 9, NULL));
    assert_false(suppress_find(s, a.address, NOW + 10, NULL));
    assert_int_equal(count(s, NOW + 10), 0);
    save(s, NOW);
    assert_true(suppress_find(s, a.address, NOW, &got));
    got.until = NOW + 20; /* renewed by what was found itself */
    assert_true(suppress_add(s, &got));
    assert_true(suppress_find(s, a.address, NOW + 19, &got));
    assert_true(slice_eq(got.reply, a.reply));
    save(s, NOW + 20);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 0);
    suppress_close(s);
}

static void what_is_too_long_is_cut_or_refused(void **state)
{
    static char long_text[SUPPRESS_REPLY_MAX + 10];
    struct suppress *s = open_it();
    struct suppress_entry a = {.address = SLICE("bob@example.com"), .since = NOW}, got;

    (void)state;
    memset(long_text, 'x', sizeof long_text);
    a.host = a.reply = slice_of(long_text, sizeof long_text);
    assert_true(suppress_add(s, &a));
    assert_true(suppress_find(s, a.address, NOW, &got));
    assert_int_equal(got.host.n, SUPPRESS_HOST_MAX);
    assert_int_equal(got.reply.n, SUPPRESS_REPLY_MAX);
    a.address = slice_of(long_text, SUPPRESS_ADDRESS_MAX + 1);
    assert_false(suppress_add(s, &a));
    a.address = SLICE("");
    assert_false(suppress_add(s, &a));
    suppress_close(s);
}

static void the_oldest_go_first(void **state)
{
    struct suppress *s = open_it();
    char address[40];

    (void)state;
    for (int i = 0; i < SUPPRESS_MAX + 3; i++) {
        struct suppress_entry e = {.address = slice_str(address), .since = NOW, .until = i ? NOW + 100 : 0};

        snprintf(address, sizeof address, "u%d@example.com", i);
        e.address = slice_str(address);
        assert_true(suppress_add(s, &e));
    }
    assert_int_equal(count(s, NOW), SUPPRESS_MAX);
    assert_true(suppress_find(s, SLICE("u0@example.com"), NOW, NULL)); /* an administrator's */
    assert_false(suppress_find(s, SLICE("u3@example.com"), NOW, NULL));
    assert_true(suppress_find(s, SLICE("u4@example.com"), NOW, NULL));
    suppress_close(s);
}

static void damaged_lines_are_left_out(void **state)
{
    static const char text[] = "good@example.com\t1\t0\t\t\n"
                               "\n"
                               "few@example.com\t1\t0\n"
                               "\t1\t0\t\t\n"
                               "time@example.com\t1x\t0\t\t\n"
                               "escape@example.com\t1\t0\t\t\\x4\n"
                               "escape2@example.com\t1\t0\t\t\\x41\n"
                               "control@example.com\t1\t0\t\t\x01\n"
                               "six@example.com\t1\t0\t\t\t\n"
                               "last@example.com\t1\t0\t\tcut off by nobody";
    FILE *f = fopen(file, "we");
    struct suppress *s;

    (void)state;
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, sizeof text - 1, f), sizeof text - 1);
    fclose(f);
    s = open_it();
    assert_int_equal(count(s, NOW), 2);
    save(s, NOW);
    suppress_close(s);
    s = open_it();
    assert_int_equal(count(s, NOW), 2);
    assert_true(suppress_find(s, SLICE("last@example.com"), NOW, NULL));
    suppress_close(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(they_come_back), T(they_end), T(what_is_too_long_is_cut_or_refused),
        T(the_oldest_go_first), T(damaged_lines_are_left_out)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
