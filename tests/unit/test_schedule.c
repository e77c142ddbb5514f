/* When is what tried again, who is next: on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/mem.h"
#include "queue/schedule.h"

#define DAY ((int64_t)86400)
#define ID SLICE("0abcdefghjkmn")

static void delays_grow(void **state)
{
    /* without jitter; the real one is up to a quarter more */
    static const struct {
        enum schedule_class c;
        int64_t seconds[7];
    } rows[] = {
        {SCHEDULE_CONNECT, {300, 600, 1200, 2400, 4000, 4000, 4000}},
        {SCHEDULE_GREYLIST, {60, 300, 600, 2400, 4000, 4000, 4000}},
        {SCHEDULE_RATE, {300, 900, 1800, 2400, 4000, 4000, 4000}},
        {SCHEDULE_TLS, {300, 600, 1200, 2400, 4000, 4000, 4000}},
        {SCHEDULE_DNS, {120, 300, 1200, 2400, 4000, 4000, 4000}},
        {SCHEDULE_OTHER, {300, 600, 1200, 2400, 4000, 4000, 4000}},
    };
    struct schedule_rules r = schedule_default_rules();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (unsigned n = 0; n < 7; n++) {
            int64_t base = rows[i].seconds[n], got = schedule_delay(&r, rows[i].c, n + 1, ID);

            if (got < base || got > base + base / 4)
                fail_msg("class %zu attempt %u: %lld", i, n + 1, (long long)got);
            assert_int_equal(schedule_next(&r, rows[i].c, n + 1, ID, 1000), 1000 + got);
        }
    assert_in_range(schedule_delay(&r, SCHEDULE_OTHER, UINT32_MAX, ID), 4000, 5000);
    assert_in_range(schedule_delay(&r, (enum schedule_class)99, 0, ID), 300, 375);
}

static void jitter_spreads(void **state)
{
    struct schedule_rules r = schedule_default_rules();
    unsigned buckets[5] = {0};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        char id[14];
        int64_t d;

        snprintf(id, sizeof id, "%013d", i);
        d = schedule_delay(&r, SCHEDULE_CONNECT, 5, slice_of(id, 13));
        assert_in_range(d, 4000, 5000);
        buckets[(d - 4000) / 201]++;
        assert_int_equal(d, schedule_delay(&r, SCHEDULE_CONNECT, 5, slice_of(id, 13)));
    }
    for (int i = 0; i < 5; i++)
        assert_in_range(buckets[i], 140, 260);
}

static void life_and_warning(void **state)
{
    static const struct {
        int64_t age;
        unsigned attempts;
        bool warned, expired, warning;
    } rows[] = {
        {0, 0, false, false, false}, {4 * 3600 - 1, 9, false, false, false},
        {4 * 3600, 9, false, false, true}, {4 * 3600, 1, false, false, false}, /* the clock jumped */
        {4 * 3600, 9, true, false, false}, {5 * DAY - 1, 99, true, false, false},
        {5 * DAY, 99, true, true, false}, {5 * DAY, 5, false, true, true}, {5 * DAY, 4, false, false, true},
        {50 * 365 * DAY, 4, true, false, false}, {-DAY, 99, false, false, false}, /* it jumped back */
    };
    struct schedule_rules r = schedule_default_rules();
    int64_t now = 1795492000;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (schedule_is_expired(&r, now - rows[i].age, rows[i].attempts, now) != rows[i].expired)
            fail_msg("row %zu", i);
        if (schedule_is_warning_due(&r, now - rows[i].age, rows[i].attempts, rows[i].warned, now) !=
            rows[i].warning)
            fail_msg("row %zu: warning", i);
    }
    r.warn = 0;
    assert_false(schedule_is_warning_due(&r, now - DAY, 9, false, now));
    assert_int_equal(schedule_expiry(&r, now), now + 5 * DAY);
    assert_int_equal(schedule_sane(&r, now + 10, now), now + 10);
    assert_int_equal(schedule_sane(&r, now - 10, now), now - 10);
    assert_int_equal(schedule_sane(&r, now + 365 * DAY, now), now + 5000);
}

/* Five days of a destination that never answers, told by the rules alone. */
static void a_whole_life(void **state)
{
    struct schedule_rules r = schedule_default_rules();
    int64_t created = 1795492000, now = created, warned_at = 0;
    unsigned attempts = 0;

    (void)state;
    while (!schedule_is_expired(&r, created, attempts, now)) {
        if (schedule_is_warning_due(&r, created, attempts, warned_at != 0, now))
            warned_at = now;
        now = schedule_next(&r, SCHEDULE_CONNECT, ++attempts, ID, now);
    }
    assert_in_range(now - created, 5 * DAY, 5 * DAY + 5000);
    assert_in_range(warned_at - created, 4 * 3600, 4 * 3600 + 5000);
    assert_in_range(attempts, 85, 112);
}

/* ---- the heap ---- */

struct item {
    struct due due;
    bool in;
    int64_t when;
};

static void heap_against_a_scan(void **state)
{
    struct item items[200] = {0};
    struct due_heap h = {0};
    uint32_t seed = 1;

    (void)state;
    for (int step = 0; step < 50000; step++) {
        struct item *it;

        seed = seed * 1664525u + 1013904223u;
        it = &items[(seed >> 8) % 200];
        if ((seed >> 28) < 10) {
            it->in = true;
            it->when = (seed >> 12) % 1000;
            due_put(&h, &it->due, it->when);
        } else if ((seed >> 28) < 13) {
            it->in = false;
            due_remove(&h, &it->due);
            assert_int_equal(it->due.at, 0);
        } else {
            struct due *d = due_pop(&h, 500);
            int64_t least = INT64_MAX;

            for (int i = 0; i < 200; i++)
                if (items[i].in && items[i].when < least)
                    least = items[i].when;
            if (least > 500) {
                assert_null(d);
            } else {
                assert_non_null(d);
                it = (struct item *)(void *)d;
                assert_true(it->in);
                assert_int_equal(it->when, least);
                it->in = false;
            }
        }
    }
    due_heap_free(&h);
}

static void heap_keeps_order(void **state)
{
    struct due items[100] = {0};
    struct due_heap h = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        due_put(&h, &items[i], 7);
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(due_pop(&h, 7), &items[i]);
    assert_null(due_pop(&h, 7));
    due_heap_free(&h);
}

/* ---- who may go ---- */

static struct schedule_view look(struct schedule *s, const char *name)
{
    struct schedule_view v = {0};

    assert_true(schedule_look(s, slice_str(name), &v));
    return v;
}

static void slots_grow_and_shrink(void **state)
{
    struct schedule_rules r = schedule_default_rules();
    struct schedule *s = schedule_new(&r);
    struct schedule_entry *e = mem_zalloc(400, sizeof *e), *running[40];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 400; i++)
        schedule_add(s, SLICE("a"), &e[i], 0);
    running[n++] = schedule_take(s, 0);
    running[n++] = schedule_take(s, 0);
    assert_null(schedule_take(s, 0)); /* two to begin with */
    assert_int_equal(look(s, "a").running, 2);
    for (int i = 0; i < 60; i++) {
        schedule_done(s, running[--n], SCHEDULE_GOOD, 0, 0);
        while ((running[n] = schedule_take(s, 0)))
            n++;
    }
    assert_int_equal(n, 20);
    assert_int_equal(look(s, "a").slots, 20);

    /* all 20 fail at once: that is one failure */
    for (size_t i = 0; i < n; i++)
        schedule_done(s, running[i], SCHEDULE_FAILED, SCHEDULE_CONNECT, 1000);
    assert_int_equal(look(s, "a").failures, 1);
    assert_int_equal(look(s, "a").reason, SCHEDULE_CONNECT);
    assert_in_range(look(s, "a").next, 301000, 376000);
    assert_null(schedule_take(s, 300000));
    assert_int_equal(schedule_wake(s, 300000), look(s, "a").next);

    /* one goes as a probe; when it gets through, half of the slots are back */
    n = 0;
    running[n++] = schedule_take(s, 400000);
    assert_non_null(running[0]);
    assert_null(schedule_take(s, 400000));
    assert_int_equal(schedule_wake(s, 400000), INT64_MAX);
    schedule_done(s, running[0], SCHEDULE_GOOD, 0, 400000);
    assert_int_equal(look(s, "a").failures, 0);
    assert_int_equal(look(s, "a").slots, 10);
    schedule_free(s);
    free(e);
}

static void a_probe_that_fails_waits_longer(void **state)
{
    struct schedule_rules r = schedule_default_rules();
    struct schedule *s = schedule_new(&r);
    struct schedule_entry e[2] = {0};
    int64_t now = 0, waited = 0;

    (void)state;
    for (int i = 0; i < 8; i++) {
        struct schedule_entry *got;

        if (!e[0].to)
            schedule_add(s, SLICE("dead"), &e[0], now);
        got = schedule_take(s, now);
        assert_ptr_equal(got, &e[0]);
        schedule_done(s, got, SCHEDULE_FAILED, SCHEDULE_CONNECT, now);
        assert_true(look(s, "dead").next - now >= (waited < 4000000 ? waited : 4000000));
        waited = look(s, "dead").next - now;
        now = look(s, "dead").next;
    }
    assert_in_range(waited, 4000000, 5000000);
    /* what comes new waits as well; a kick ends it */
    schedule_done(s, (schedule_add(s, SLICE("dead"), &e[0], now), schedule_take(s, now)), SCHEDULE_FAILED,
        SCHEDULE_CONNECT, now);
    schedule_add(s, SLICE("dead"), &e[1], now);
    assert_null(schedule_take(s, now + 1));
    assert_true(schedule_kick(s, SLICE("dead"), now + 1));
    assert_false(schedule_kick(s, SLICE("never"), now + 1));
    assert_ptr_equal(schedule_take(s, now + 1), &e[1]);
    schedule_free(s);
}

static void destinations_take_turns(void **state)
{
    struct schedule_rules r = schedule_default_rules();
    struct schedule *s;
    struct schedule_entry *e = mem_zalloc(1001, sizeof *e);
    struct schedule_entry *got[4];

    (void)state;
    r.total = 3;
    s = schedule_new(&r);
    for (int i = 0; i < 1000; i++)
        schedule_add(s, SLICE("long"), &e[i], 0);
    got[0] = schedule_take(s, 10);
    got[1] = schedule_take(s, 10);
    schedule_add(s, SLICE("short"), &e[1000], 10);
    got[2] = schedule_take(s, 10);
    assert_ptr_equal(got[2], &e[1000]);
    assert_null(schedule_take(s, 10)); /* three in all */
    assert_int_equal(schedule_wake(s, 10), INT64_MAX);
    schedule_done(s, got[0], SCHEDULE_GOOD, 0, 11);
    assert_ptr_equal(schedule_take(s, 11)->to, e[3].to);
    schedule_free(s);
    free(e);
}

static void waiting_entries_can_be_moved(void **state)
{
    struct schedule_rules r = schedule_default_rules();
    struct schedule *s = schedule_new(&r);
    struct schedule_entry e[3] = {0};

    (void)state;
    assert_int_equal(schedule_wake(s, 0), INT64_MAX);
    schedule_add(s, SLICE("a"), &e[0], 100);
    schedule_add(s, SLICE("a"), &e[1], 200);
    schedule_add(s, SLICE("b"), &e[2], 300);
    assert_int_equal(schedule_wake(s, 0), 100);
    schedule_move(s, &e[0], 400);
    assert_int_equal(schedule_wake(s, 0), 200);
    schedule_remove(s, &e[1]);
    schedule_remove(s, &e[1]);
    assert_int_equal(schedule_wake(s, 0), 300);
    schedule_move(s, &e[0], 5);
    assert_int_equal(schedule_wake(s, 0), 5);
    assert_null(schedule_take(s, 4));
    assert_ptr_equal(schedule_take(s, 5), &e[0]);
    schedule_done(s, &e[0], SCHEDULE_REFUSED, 0, 6);
    assert_int_equal(look(s, "a").slots, 2); /* a refused message says nothing of the destination */
    schedule_add(s, SLICE("a"), &e[0], 50);
    schedule_add(s, SLICE("a"), &e[1], 50);
    assert_ptr_equal(schedule_take(s, 50), &e[0]);
    assert_ptr_equal(schedule_take_same(s, &e[0], true, 50), &e[1]);
    assert_null(e[0].to);
    assert_null(schedule_take_same(s, &e[1], true, 50));
    assert_int_equal(look(s, "a").running, 1);
    schedule_done(s, &e[1], SCHEDULE_GOOD, 0, 60);
    assert_int_equal(schedule_sweep(s, 60), 0);
    assert_int_equal(schedule_sweep(s, 60 + 3600 * 1000), 1); /* "b" has an entry */
    assert_false(schedule_look(s, SLICE("a"), &(struct schedule_view){0}));
    schedule_free(s);
    assert_null(e[2].to);
}

/* 60 a minute to one: ten at once after a pause, then one a second; another is not held up. */
static void rates_hold(void **state)
{
    struct schedule_rules r = schedule_default_rules();
    struct schedule *s;
    struct schedule_entry *e = mem_zalloc(200, sizeof *e), *got;
    int64_t now = 1000000;
    int sent = 0;

    (void)state;
    r.rate = 60;
    s = schedule_new(&r);
    for (int i = 0; i < 200; i++)
        schedule_add(s, SLICE("a"), &e[i], 0);
    for (; now < 1000000 + 60000; now += 100)
        while ((got = schedule_take(s, now))) {
            schedule_done(s, got, SCHEDULE_GOOD, 0, now);
            sent++;
        }
    assert_in_range(sent, 68, 71);
    assert_true(schedule_wake(s, now) <= now + 1000);
    schedule_free(s);

    for (int i = 0; i < 200; i++)
        e[i] = (struct schedule_entry){0};
    r.rate = 0;
    r.total_rate = 120;
    s = schedule_new(&r);
    for (int i = 0; i < 200; i++)
        schedule_add(s, i % 2 ? SLICE("a") : SLICE("b"), &e[i], 0);
    for (sent = 0, now = 1000000; now < 1000000 + 60000; now += 100)
        while ((got = schedule_take(s, now))) {
            schedule_done(s, got, SCHEDULE_GOOD, 0, now);
            sent++;
        }
    assert_in_range(sent, 127, 131);
    schedule_free(s);
    free(e);
}

static double ms_since(const struct timespec *a)
{
    struct timespec b;

    clock_gettime(CLOCK_MONOTONIC, &b);
    return (double)(b.tv_sec - a->tv_sec) * 1e3 + (double)(b.tv_nsec - a->tv_nsec) / 1e6;
}

/* 10,000 for one that is dead, 90,000 for 900 others: within a simulated hour all others are through, and the
 * dead one was looked at as often as its back-off says. POSTAMT_FIGURES prints what it took. */
static void the_dead_hold_nobody_up(void **state)
{
    struct schedule_rules r = schedule_default_rules();
    struct schedule *s = schedule_new(&r);
    struct schedule_entry *e = mem_zalloc(100000, sizeof *e), *got;
    int through = 0, dead = 0;
    struct timespec t;
    double added;
    int64_t now = 0;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &t);
    for (int i = 0; i < 100000; i++) {
        char name[16];

        snprintf(name, sizeof name, "d%d", i < 10000 ? 0 : 1 + i % 900);
        schedule_add(s, slice_str(name), &e[i], i % 1000);
    }
    added = ms_since(&t);
    clock_gettime(CLOCK_MONOTONIC, &t);
    for (; now<3600 * 1000; now = schedule_wake(s, now)> now ? schedule_wake(s, now) : now + 1)
        while ((got = schedule_take(s, now))) {
            bool is_dead = got < e + 10000;

            schedule_done(s, got, is_dead ? SCHEDULE_FAILED : SCHEDULE_GOOD, SCHEDULE_CONNECT, now);
            through += !is_dead;
            dead += is_dead;
            if (is_dead)
                schedule_add(s, SLICE("d0"), got, now + 300000);
        }
    if (getenv("POSTAMT_FIGURES"))
        printf("100,000 added in %.0f ms, 90,000 taken and done in %.0f ms\n", added, ms_since(&t));
    assert_int_equal(through, 90000);
    assert_in_range(dead, 3, 5); /* 0 s, 5 min, 15 min, 35 min */
    schedule_free(s);
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_grow),
        cmocka_unit_test(jitter_spreads),
        cmocka_unit_test(life_and_warning),
        cmocka_unit_test(a_whole_life),
        cmocka_unit_test(heap_against_a_scan),
        cmocka_unit_test(heap_keeps_order),
        cmocka_unit_test(slots_grow_and_shrink),
        cmocka_unit_test(a_probe_that_fails_waits_longer),
        cmocka_unit_test(destinations_take_turns),
        cmocka_unit_test(waiting_entries_can_be_moved),
        cmocka_unit_test(rates_hold),
        cmocka_unit_test(the_dead_hold_nobody_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
