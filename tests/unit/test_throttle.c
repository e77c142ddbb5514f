/* throttle: limits by address, network and user, with a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "auth/throttle.h"

#define IP(z) SLICE(z)
#define USER SLICE("anna@example.org")

/* n failures with a password each; how many of them were allowed before they failed. */
static unsigned guess(
    struct throttle *t, const char *ip, const char *user, const char *prefix, unsigned n, int64_t now)
{
    unsigned allowed = 0;

    for (unsigned i = 0; i < n; i++) {
        char password[40];
        snprintf(password, sizeof(password), "%s%u", prefix, i);
        if (!throttle_allows(t, slice_str(ip), slice_str(user), now))
            continue;
        allowed++;
        throttle_failed(t, slice_str(ip), slice_str(user), slice_str(password), now);
    }
    return allowed;
}

static void test_address(void **state)
{
    struct throttle *t = throttle_new(false);

    (void)state;
    assert_int_equal(guess(t, "192.0.2.1", "a@x", "p", 30, 1000), 10);
    assert_false(throttle_allows(t, IP("192.0.2.1"), SLICE("b@x"), 1059));
    assert_false(throttle_allows(t, IP("::ffff:192.0.2.1"), SLICE("b@x"), 1059));
    assert_true(throttle_allows(t, IP("192.0.2.2"), SLICE("a@x"), 1059));
    assert_true(throttle_allows(t, IP("192.0.2.1"), SLICE("b@x"), 1060));
    throttle_free(t);
}

static void test_address_day(void **state)
{
    struct throttle *t = throttle_new(false);
    unsigned allowed = 0;

    (void)state;
    for (int64_t m = 0; m < 60; m++) {
        char user[20];
        snprintf(user, sizeof(user), "u%d@x", (int)m);
        allowed += guess(t, "2001:db8::1", user, "p", 5, 1000 + m * 60);
    }
    assert_int_equal(allowed, 50);
    assert_false(throttle_allows(t, IP("2001:db8::ffff"), USER, 1000 + 86399)); /* the same /64 */
    assert_true(throttle_allows(t, IP("2001:db8:0:1::1"), USER, 1000 + 86399));
    assert_true(throttle_allows(t, IP("2001:db8::1"), USER, 1000 + 86400));
    throttle_free(t);
}

static void test_network(void **state)
{
    struct throttle *t = throttle_new(false);
    unsigned allowed = 0;

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        char ip[20], user[20];
        snprintf(ip, sizeof(ip), "192.0.2.%u", i);
        snprintf(user, sizeof(user), "u%u@x", i);
        allowed += guess(t, ip, user, "p", 3, 1000);
    }
    assert_int_equal(allowed, 30);
    assert_false(throttle_allows(t, IP("192.0.2.200"), USER, 1001));
    assert_true(throttle_allows(t, IP("192.0.3.1"), USER, 1001));
    throttle_free(t);
}

static void test_user_over_addresses(void **state)
{
    struct throttle *t = throttle_new(false);
    unsigned allowed = 0;

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        char ip[20], prefix[20];
        snprintf(ip, sizeof(ip), "10.%u.0.1", i);
        snprintf(prefix, sizeof(prefix), "%u-", i);
        allowed += guess(t, ip, "anna@example.org", prefix, 1, 1000 + i);
    }
    assert_int_equal(allowed, 20);
    assert_false(throttle_allows(t, IP("203.0.113.1"), SLICE("Anna@Example.ORG"), 4599));
    assert_true(throttle_allows(t, IP("203.0.113.1"), SLICE("bert@example.org"), 4599));
    assert_true(throttle_allows(t, IP("203.0.113.1"), USER, 4600));
    throttle_free(t);
}

/* clients.md 17: a telephone after a password change */
static void test_same_password(void **state)
{
    struct throttle *t = throttle_new(false);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_true(throttle_allows(t, IP("192.0.2.1"), USER, 1000 + i));
        throttle_failed(t, IP("192.0.2.1"), USER, SLICE("the old one"), 1000 + i);
    }
    /* the same password for other users is a guess each time */
    for (int i = 0; i < 9; i++) {
        char user[20];
        snprintf(user, sizeof(user), "u%d@x", i);
        throttle_failed(t, IP("198.51.100.1"), slice_str(user), SLICE("the old one"), 1000);
    }
    assert_true(throttle_allows(t, IP("198.51.100.1"), USER, 1000));
    throttle_failed(t, IP("198.51.100.1"), SLICE("u9@x"), SLICE("the old one"), 1000);
    assert_false(throttle_allows(t, IP("198.51.100.1"), USER, 1000));
    throttle_free(t);
}

/* SCRAM shows no password: every failure counts. */
static void test_no_password(void **state)
{
    struct throttle *t = throttle_new(false);

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_true(throttle_allows(t, IP("192.0.2.1"), USER, 1000));
        throttle_failed(t, IP("192.0.2.1"), USER, SLICE(""), 1000);
    }
    assert_false(throttle_allows(t, IP("192.0.2.1"), USER, 1000));
    throttle_free(t);
}

static void test_known_good(void **state)
{
    struct throttle *t = throttle_new(false);

    (void)state;
    throttle_succeeded(t, IP("192.0.2.1"), USER, 900);
    assert_int_equal(guess(t, "192.0.2.1", "bert@example.org", "p", 30, 1000), 10);
    assert_int_equal(guess(t, "198.51.100.1", "anna@example.org", "q", 10, 1000), 10);
    assert_int_equal(guess(t, "203.0.113.1", "anna@example.org", "r", 30, 1000), 10);
    assert_false(throttle_allows(t, IP("10.0.0.1"), USER, 1001)); /* the user is full */
    assert_false(
        throttle_allows(t, IP("192.0.2.1"), SLICE("bert@example.org"), 1001)); /* the address is full */
    assert_true(throttle_allows(t, IP("192.0.2.1"), USER, 1001)); /* but these two know each other */
    assert_int_equal(guess(t, "192.0.2.1", "carl@example.org", "p", 1, 1070), 1);
    assert_int_equal(guess(t, "192.0.2.1", "carl@example.org", "s", 12, 900 + 86400), 10);
    assert_false(throttle_allows(t, IP("192.0.2.1"), USER, 900 + 86400)); /* a day later no more */
    throttle_free(t);
}

static void test_loopback(void **state)
{
    struct throttle *exempt = throttle_new(false), *counted = throttle_new(true);

    (void)state;
    assert_int_equal(guess(exempt, "127.0.0.1", "a@x", "p", 100, 1000), 100);
    assert_int_equal(guess(exempt, "::1", "a@x", "q", 100, 1000), 100);
    assert_int_equal(guess(exempt, "192.0.2.1", "a@x", "r", 1, 1000), 1);
    assert_int_equal(guess(counted, "127.0.0.1", "a@x", "p", 100, 1000), 10);
    throttle_free(exempt);
    throttle_free(counted);
}

/* ---- A01: ten thousand tries, one a second ---- */

#define TRIES 10000

struct tries {
    const char *user, *password; /* '#' stands for the number of the try */
    unsigned networks;           /* how many /24 the tries come from; 0: as many as tries */
    unsigned hosts;              /* in each of them */
    unsigned got_through;
};

static void fill(char *out, size_t size, const char *pattern, unsigned n)
{
    const char *mark = strchr(pattern, '#');

    if (mark)
        snprintf(out, size, "%.*s%u%s", (int)(mark - pattern), pattern, n, mark + 1);
    else
        snprintf(out, size, "%s", pattern);
}

static unsigned run_tries(const struct tries *x)
{
    struct throttle *t = throttle_new(false);
    unsigned through = 0;

    throttle_succeeded(t, IP("192.0.2.77"), USER, 500);
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned network = x->networks ? i % x->networks : i;
        unsigned host = x->hosts ? i / (x->networks ? x->networks : 1) % x->hosts : 1;
        char ip[24], user[40], password[40];

        snprintf(ip, sizeof(ip), "10.%u.%u.%u", network >> 8, network & 255, host);
        fill(user, sizeof(user), x->user, i);
        fill(password, sizeof(password), x->password, i);
        if (throttle_allows(t, slice_str(ip), slice_str(user), 1000 + i)) {
            through++;
            throttle_failed(t, slice_str(ip), slice_str(user), slice_str(password), 1000 + i);
        }
        /* whoever owns the account comes in from where he always does, at every moment of it */
        assert_true(throttle_allows(t, IP("192.0.2.77"), USER, 1000 + i));
    }
    throttle_free(t);
    return through;
}

static void test_ten_thousand(void **state)
{
    static const struct tries table[] = {
        /* guesses at one account, from one address, one network, the whole world: 20 an hour over 2.8 hours
         */
        {.user = "anna@example.org", .password = "p#", .networks = 1, .hosts = 1, .got_through = 50},
        {.user = "anna@example.org", .password = "p#", .networks = 1, .hosts = 250, .got_through = 60},
        {.user = "anna@example.org", .password = "p#", .networks = 0, .hosts = 1, .got_through = 60},
        /* one password at ten thousand accounts: 50 a day of an address, 150 of its network */
        {.user = "u#@example.org", .password = "Summer2026", .networks = 1, .hosts = 1, .got_through = 50},
        {.user = "u#@example.org", .password = "Summer2026", .networks = 1, .hosts = 250, .got_through = 150},
        {.user = "u#@example.org", .password = "Summer2026", .networks = 4, .hosts = 250, .got_through = 600},
        /* and a guess at another account each time */
        {.user = "u#@example.org", .password = "p#", .networks = 1, .hosts = 1, .got_through = 50},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        unsigned through = run_tries(&table[i]);

        if (through != table[i].got_through)
            fail_msg(
                "row %zu: %u of %d tries were let through, not %u", i, through, TRIES, table[i].got_through);
    }
}

/* Odd addresses are their own; nothing crashes, nothing is forgotten under a flood. */
static void test_odd_and_flood(void **state)
{
    struct throttle *t = throttle_new(false);

    (void)state;
    assert_int_equal(guess(t, "", "a@x", "p", 30, 1000), 10);
    assert_int_equal(guess(t, "not an address, and far too long to be one at all", "b@x", "p", 30, 1000), 10);
    assert_int_equal(guess(t, "fe80::1%eth0", "c@x", "p", 30, 1000), 10);
    assert_false(throttle_allows(t, IP("fe80::1%eth1"), SLICE("d@x"), 1000));
    assert_int_equal(guess(t, "192.0.2.1", "e@x", "p", 30, 1000), 10);
    for (unsigned i = 0; i < 60000; i++) {
        char ip[40];
        snprintf(ip, sizeof(ip), "2001:%x:%x::1", i >> 8, i & 255);
        throttle_failed(t, slice_str(ip), SLICE("victim@x"), SLICE("pw"), 1001);
    }
    assert_false(throttle_allows(t, IP("192.0.2.1"), SLICE("f@x"), 1002));
    throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_address_day),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_user_over_addresses),
        cmocka_unit_test(test_same_password),
        cmocka_unit_test(test_no_password),
        cmocka_unit_test(test_known_good),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_odd_and_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
