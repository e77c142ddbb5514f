/*
 * A01: does the time of a refused login tell whether there is such an account?
 *
 *     test_login_time [N [yescrypt]]      N tries of each kind (standard 150), hashes of sha512crypt
 *
 * Whole checks over a real directory with hashes as they are in use, the two kinds by turns, judged by the
 * rank-sum test (Mann, Whitney; normal approximation). Under no difference one run in a hundred has p < 0.01,
 * so a pair fails only when three runs in a row do. That the judge sees a difference is tried first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/password.h"
#include "auth/verifier.h"

#define KNOWN "anna@example.org"
#define OLD "old@example.org" /* a hash that costs more, as other servers make them */

static char dir[64];
static struct directory *directory;
static struct verifier *verifier;
static size_t tries = 150;
static const char *scheme = "sha512crypt";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void add_account(const char *address, const char *hash_scheme, bool suspended)
{
    struct directory_account a = {.suspended = suspended};
    struct err e = {0};

    snprintf(a.address, sizeof a.address, "%s", address);
    if (password_hash(SLICE("correct horse"), hash_scheme, a.hash, sizeof a.hash, &e) < 0 ||
        password_scram(SLICE("correct horse"), 4096, a.scram, sizeof a.scram, &e) < 0 ||
        directory_account_add(directory, &a, &e) < 0)
        fail_msg("%s", e.detail);
}

static int setup(void **state)
{
    struct buf repaired = BUF_INIT(4096);
    struct err e = {0};

    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_login_time.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    directory = directory_open(dir, &repaired, &e);
    buf_free(&repaired);
    if (!directory || directory_domain_add(directory, SLICE("example.org"), &e) < 0)
        return -1;
    add_account(KNOWN, scheme, false);
    add_account("off@example.org", scheme, true);
    add_account(OLD, strcmp(scheme, "yescrypt") == 0 ? "sha512crypt" : "yescrypt", false);
    verifier = verifier_new(directory, 300);
    verifier_set_hash(verifier, scheme);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    verifier_free(verifier);
    directory_close(directory);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static double seconds_of(const char *user, size_t number)
{
    struct buf account = BUF_INIT(1024);
    struct timespec a, b;
    struct err e = {0};
    char password[32];
    bool good;

    snprintf(password, sizeof password, "wrong %zu", number);
    clock_gettime(CLOCK_MONOTONIC, &a);
    good = verifier_check(verifier, "imap", "PLAIN", slice_str(user), slice_str(password), &account, &e);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_false(good);
    assert_int_equal(e.code, ERR_AUTH_FAILED);
    buf_free(&account);
    return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

struct timed {
    double seconds;
    bool is_first; /* of the two kinds */
};

static int by_time(const void *x, const void *y)
{
    const struct timed *a = x, *b = y;

    return (a->seconds > b->seconds) - (a->seconds < b->seconds);
}

/* The probability of ranks at least that uneven if both kinds take the same time; two-sided. */
static double rank_sum_p(struct timed *all, size_t n)
{
    double sum = 0, half = (double)n, mean, deviation;

    qsort(all, 2 * n, sizeof *all, by_time);
    for (size_t i = 0; i < 2 * n; i++)
        sum += all[i].is_first ? (double)i + 1 : 0;
    mean = half * (2 * half + 1) / 2;
    deviation = sqrt(half * half * (2 * half + 1) / 12);
    return erfc(fabs(sum - mean) / deviation / sqrt(2));
}

static double p_of(const char *first, const char *second, size_t n)
{
    struct timed *all = calloc(2 * n, sizeof *all);
    double p, medians[2] = {0, 0};

    assert_non_null(all);
    for (size_t i = 0; i < n; i++) { /* now one first, now the other */
        bool order = i % 2 == 0;

        all[2 * i] = (struct timed){seconds_of(order ? first : second, i), order};
        all[2 * i + 1] = (struct timed){seconds_of(order ? second : first, i), !order};
    }
    p = rank_sum_p(all, n);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0, seen = 0; i < 2 * n; i++)
            if (all[i].is_first == (k == 0) && seen++ == n / 2)
                medians[k] = all[i].seconds;
    print_message("%-18s %-22s n = %zu each: medians %.3f and %.3f ms, p = %.3f\n", first, second, n,
        medians[0] * 1e3, medians[1] * 1e3, p);
    free(all);
    return p;
}

/* A hash of another kind, where nothing hides its time: the judge must see it. */
static void test_judge(void **state)
{
    (void)state;
    assert_true(p_of(KNOWN, OLD, 20) < 0.001);
}

static void test_kinds(void **state)
{
    static const char *const others[] = {
        "nobody@example.org", "off@example.org", "nobody@elsewhere.example", "no address"};

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        size_t n = i == 0 ? tries : tries / 3 + 1;
        bool same = false;

        for (unsigned run = 0; run < 3 && !same; run++)
            same = p_of(KNOWN, others[i], n) > 0.01;
        if (!same)
            fail_msg("the time tells %s from %s", KNOWN, others[i]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_judge), cmocka_unit_test(test_kinds)};

    if (argc > 1)
        tries = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        scheme = argv[2];
    return cmocka_run_group_tests(tests, setup, teardown);
}
