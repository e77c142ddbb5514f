/* The queue's state: comes back, agrees with the files, is built anew when it is damaged or missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "queue/state.h"

static char dir[64], queue[80], db[80];

static int remove_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(p);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_queue_state.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(queue, sizeof queue, "%s/queue", dir);
    snprintf(db, sizeof db, "%s/db", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct spool *open_spool(void)
{
    struct err e = {0};
    struct spool *s = spool_open(queue, &e);

    if (!s)
        fail_msg("%s", e.detail);
    return s;
}

static struct state *open_state(struct spool *s, size_t expected)
{
    struct err e = {0};
    size_t rebuilt;
    struct state *st = state_open(db, s, &rebuilt, &e);

    if (!st)
        fail_msg("%s", e.detail);
    assert_int_equal(rebuilt, expected);
    return st;
}

static struct envelope_recipient three[] = {
    {.address = {"a@example.com", 13}},
    {.address = {"b@example.com", 13}},
    {.address = {"c\n@example.org", 14}},
};

static struct envelope envelope_of(struct id id)
{
    return (struct envelope){
        .id = id,
        .account = SLICE("anna@example.net"),
        .reverse_path = SLICE("anna@example.net"),
        .created = 1795492000,
        .hold = true,
        .size = 4,
        .recipients = three,
        .nrecipients = 3,
    };
}

static struct id put_file(struct spool *s)
{
    struct envelope env = envelope_of(id_new());
    struct err e = {0};
    struct spool_writer w;

    assert_int_equal(spool_begin(s, &env, &w, &e), 0);
    assert_int_equal(spool_write(&w, SLICE("text"), &e), 0);
    assert_int_equal(spool_commit(&w, &e), 0);
    return env.id;
}

static void commit(struct state *st)
{
    struct err e = {0};

    if (state_commit(st, &e) < 0)
        fail_msg("%s", e.detail);
    assert_int_equal(state_waiting(st), 0);
}

struct seen {
    size_t messages, recipients, of[STATE_STATES];
    size_t stop_after;
};

static bool see_message(void *ctx, const struct state_message *m)
{
    struct seen *seen = ctx;

    assert_int_equal(m->nrecipients, 3);
    assert_true(slice_eq(m->reverse_path, SLICE("anna@example.net")));
    assert_int_equal(m->size, 4);
    return ++seen->messages != seen->stop_after;
}

static bool see_recipient(
    void *ctx, const struct state_message *m, uint32_t index, const struct state_recipient *r)
{
    struct seen *seen = ctx;

    (void)m;
    assert_true(slice_eq(r->address, three[index].address));
    seen->recipients++;
    seen->of[r->state]++;
    return true;
}

static struct seen walk(struct state *st)
{
    struct seen seen = {0};
    struct state_visitor v = {see_message, see_recipient, &seen};
    struct err e = {0};

    assert_int_equal(state_walk(st, NULL, &v, &e), 0);
    return seen;
}

static void mark(struct state *st, const struct id *id, uint32_t index, enum state_of_recipient what)
{
    struct state_recipient r = {
        .address = three[index].address,
        .state = what,
        .reason = SCHEDULE_GREYLIST,
        .attempts = 3,
        .last_try = 1795492100,
        .next_try = 1795492700,
        .dsn_sent = true,
        .host = SLICE("mx.example.com"),
        .reply = SLICE("450-4.2.0 a\r\n450 4.2.0 \0b"),
    };

    state_put_recipient(st, id, index, &r);
}

static void marks_come_back(void **state)
{
    struct spool *s = open_spool();
    struct state *st = open_state(s, 0);
    struct id id = put_file(s);
    struct envelope env = envelope_of(id);
    struct buf hold = BUF_INIT(BUF_OWN);
    struct state_recipient r;
    struct err e = {0};
    struct seen seen;

    (void)state;
    state_add(st, &env);
    assert_int_equal(state_waiting(st), 4);
    assert_int_equal(walk(st).messages, 0); /* not yet committed */
    commit(st);
    mark(st, &id, 1, STATE_DONE);
    mark(st, &id, 2, STATE_BOUNCING);
    commit(st);
    state_close(st);
    st = open_state(s, 0);
    seen = walk(st);
    assert_int_equal(seen.recipients, 3);
    assert_int_equal(seen.of[STATE_PENDING], 1);
    assert_int_equal(seen.of[STATE_DONE], 1);
    assert_int_equal(seen.of[STATE_BOUNCING], 1);
    assert_int_equal(state_get(st, &id, 1, &hold, &r, &e), 1);
    assert_int_equal(r.state, STATE_DONE);
    assert_int_equal(r.reason, SCHEDULE_GREYLIST);
    assert_int_equal(r.attempts, 3);
    assert_int_equal(r.last_try, 1795492100);
    assert_int_equal(r.next_try, 1795492700);
    assert_true(r.dsn_sent);
    assert_true(slice_eq(r.host, SLICE("mx.example.com")));
    assert_true(slice_eq(r.reply, SLICE("450-4.2.0 a\r\n450 4.2.0 \0b")));
    assert_int_equal(state_get(st, &id, 7, &hold, &r, &e), 0);
    state_remove(st, &id, 3);
    commit(st);
    assert_int_equal(walk(st).messages, 0);
    state_close(st);
    st = open_state(s, 1); /* the file was still there: it is pending again */
    assert_int_equal(walk(st).of[STATE_PENDING], 3);
    state_close(st);
    spool_close(s);
    buf_free(&hold);
}

static void agrees_with_the_files(void **state)
{
    struct spool *s = open_spool();
    struct state *st;
    struct id ids[30];
    struct err e = {0};

    (void)state;
    for (int i = 0; i < 20; i++)
        ids[i] = put_file(s);
    st = open_state(s, 20);
    for (int i = 0; i < 20; i++)
        mark(st, &ids[i], 0, STATE_DONE);
    commit(st);
    state_close(st);
    for (int i = 0; i < 20; i += 3) /* 7 go */
        assert_int_equal(spool_remove(s, slice_of(ids[i].text, ID_LEN), &e), 0);
    for (int i = 20; i < 30; i++)
        ids[i] = put_file(s);
    st = open_state(s, 10);
    assert_int_equal(walk(st).messages, 23);
    assert_int_equal(walk(st).of[STATE_DONE], 13);
    state_close(st);
    state_close(open_state(s, 0));
    spool_close(s);
}

static void walks_can_stop_and_begin_anywhere(void **state)
{
    struct spool *s = open_spool();
    struct state *st;
    struct id ids[5];
    struct seen seen = {.stop_after = 2};
    struct state_visitor v = {see_message, see_recipient, &seen};
    struct err e = {0};

    (void)state;
    for (int i = 0; i < 5; i++)
        ids[i] = put_file(s);
    for (int i = 0; i < 4; i++) /* ids of one millisecond are in no order */
        for (int k = i + 1; k < 5; k++)
            if (strcmp(ids[k].text, ids[i].text) < 0) {
                struct id other = ids[i];

                ids[i] = ids[k];
                ids[k] = other;
            }
    st = open_state(s, 5);
    assert_int_equal(state_walk(st, NULL, &v, &e), 0);
    assert_int_equal(seen.messages, 2);
    assert_int_equal(seen.recipients, 3);
    seen = (struct seen){0};
    assert_int_equal(state_walk(st, &ids[3], &v, &e), 0);
    assert_int_equal(seen.messages, 2);
    assert_int_equal(seen.recipients, 6);
    state_close(st);
    spool_close(s);
}

static int junk_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
    char junk[8192];
    int fd;

    (void)ftw;
    if (type != FTW_F || strstr(p, "/damaged-"))
        return 0;
    memset(junk, 0xa5, sizeof junk);
    fd = open(p, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, junk, sizeof junk, st->st_size > 20000 ? 12288 : 0) < 0)
        return -1;
    return close(fd);
}

static void damage_is_repaired(void **state)
{
    struct spool *s = open_spool();
    struct state *st;
    struct id id;

    (void)state;
    for (int i = 0; i < 300; i++)
        id = put_file(s);
    st = open_state(s, 300);
    mark(st, &id, 0, STATE_DONE);
    commit(st);
    state_close(st);
    assert_int_equal(nftw(db, junk_one, 16, FTW_PHYS), 0);
    st = open_state(s, 300);
    assert_int_equal(walk(st).messages, 300);
    assert_int_equal(walk(st).of[STATE_PENDING], 900); /* the mark is lost: a repeat, no loss */
    state_close(st);
    assert_int_equal(nftw(db, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    state_close(open_state(s, 300));
    spool_close(s);
}

/* More than Berkeley DB holds in memory: what it reads again is damaged by then. */
static void damage_at_work_is_known(void **state)
{
    struct spool *s = open_spool();
    struct state *st = open_state(s, 0);
    struct envelope env = envelope_of(id_new());
    char reply[STATE_REPLY_MAX];
    struct err e = {0};

    (void)state;
    memset(reply, 'x', sizeof reply);
    for (int i = 0; i < 3000; i++) {
        snprintf(env.id.text, sizeof env.id.text, "%013d", i);
        state_add(st, &env);
        for (uint32_t k = 0; k < 3; k++)
            state_put_recipient(st, &env.id, k,
                &(struct state_recipient){
                    .address = three[k].address, .reply = slice_of(reply, sizeof reply)});
        if (i % 100 == 99)
            commit(st);
    }
    state_checkpoint(st);
    assert_true(state_is_alive(st));
    assert_int_equal(nftw(db, junk_one, 16, FTW_PHYS), 0);
    for (int i = 0; i < 3000; i++) {
        snprintf(env.id.text, sizeof env.id.text, "%013d", i);
        mark(st, &env.id, 0, STATE_DONE);
    }
    assert_int_equal(state_commit(st, &e), -1);
    assert_false(state_is_alive(st));
    state_close(st);
    state_close(open_state(s, 0));
    spool_close(s);
}

/* A child marks and says so; killed at any moment, what it said is there. */
static void killed_owners_lose_no_mark(void **state)
{
    struct spool *s = open_spool();
    struct id ids[40];
    int pipes[2], status;
    uint8_t said = 0, last = 0;
    pid_t child;
    struct state *st;

    (void)state;
    for (int i = 0; i < 40; i++)
        ids[i] = put_file(s);
    state_close(open_state(s, 40));
    assert_int_equal(pipe(pipes), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        size_t rebuilt;
        struct err e = {0};
        struct state *mine = state_open(db, s, &rebuilt, &e);

        for (uint8_t i = 1; mine && i <= 40; i++) {
            mark(mine, &ids[i - 1], 1, STATE_DONE);
            if (state_commit(mine, &e) < 0 || write(pipes[1], &i, 1) != 1)
                break;
            if (i % 8 == 0)
                state_checkpoint(mine);
        }
        pause();
        _exit(1);
    }
    close(pipes[1]);
    while (read(pipes[0], &said, 1) == 1) {
        last = said;
        if (last == 29)
            kill(child, SIGKILL);
    }
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(last >= 29);
    st = open_state(s, 0);
    assert_true(walk(st).of[STATE_DONE] >= last);
    state_close(st);
    spool_close(s);
}

static double ms_since(const struct timespec *a)
{
    struct timespec b;

    clock_gettime(CLOCK_MONOTONIC, &b);
    return (double)(b.tv_sec - a->tv_sec) * 1e3 + (double)(b.tv_nsec - a->tv_nsec) / 1e6;
}

/* POSTAMT_FIGURES=1: 100,000 messages; else 2,000. */
static void many(void **state)
{
    bool figures = getenv("POSTAMT_FIGURES") != NULL;
    size_t n = figures ? 100000 : 2000;
    struct spool *s = open_spool();
    struct envelope env = envelope_of(id_new());
    struct buf octets = BUF_INIT(ENVELOPE_MAX);
    struct timespec t;
    struct state *st;
    double built, loaded;
    int at = open(queue, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    for (size_t i = 0; i < n; i++) { /* without the syncs of spool_commit */
        int fd;

        snprintf(env.id.text, sizeof env.id.text, "%013zu", i);
        buf_clear(&octets);
        assert_true(envelope_encode(&env, &octets));
        buf_add(&octets, SLICE("text"));
        fd = openat(at, env.id.text, O_CREAT | O_WRONLY | O_CLOEXEC, 0400);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, octets.p, octets.n), octets.n);
        close(fd);
    }
    clock_gettime(CLOCK_MONOTONIC, &t);
    st = open_state(s, n);
    built = ms_since(&t);
    state_close(st);
    clock_gettime(CLOCK_MONOTONIC, &t);
    st = open_state(s, 0);
    assert_int_equal(walk(st).messages, n);
    loaded = ms_since(&t);
    if (figures)
        printf("%zu messages, %zu recipients: built from files in %.0f ms, opened and walked in %.0f ms\n", n,
            3 * n, built, loaded);
    state_close(st);
    spool_close(s);
    buf_free(&octets);
    close(at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(marks_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(agrees_with_the_files, setup, teardown),
        cmocka_unit_test_setup_teardown(walks_can_stop_and_begin_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_repaired, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_at_work_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_owners_lose_no_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(many, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
