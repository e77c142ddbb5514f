/* Tables, transactions, the lock between owners, deadlocks, kill -9, and damage that is noticed and set
 * aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/kv.h"
#include "common/mem.h"

static char dir[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_kv.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct kv *open_kv(void)
{
    struct err e = {0};
    bool damaged;
    struct kv *kv = kv_open(dir, true, &damaged, &e);

    if (!kv)
        fail_msg("%s", e.detail);
    return kv;
}

static struct kv_table *table_of(struct kv *kv, const char *name)
{
    struct kv_table *t = kv_table(kv, name, NULL);

    assert_non_null(t);
    return t;
}

static void put(struct kv *kv, struct kv_table *table, const char *key, const char *value)
{
    struct kv_txn *t = kv_begin(kv);

    assert_int_equal(kv_put(t, table, slice_str(key), slice_str(value)), KV_OK);
    assert_int_equal(kv_commit(t), KV_OK);
}

static void assert_value(struct kv_table *table, const char *key, const char *value)
{
    struct buf out = BUF_INIT(BUF_OWN);
    enum kv_result r = kv_get(NULL, table, slice_str(key), &out);

    if (value) {
        assert_int_equal(r, KV_OK);
        assert_true(slice_eq(buf_slice(&out), slice_str(value)));
    } else {
        assert_int_equal(r, KV_NONE);
    }
    buf_free(&out);
}

static void values_come_back(void **state)
{
    struct kv *kv = open_kv();
    struct kv_table *one = table_of(kv, "one"), *two = table_of(kv, "two");
    struct buf out = BUF_INIT(BUF_OWN);
    struct buf small = BUF_INIT(1);
    char *large = mem_alloc(100000);
    struct kv_txn *t;

    (void)state;
    put(kv, one, "a", "1");
    put(kv, two, "a", "2");
    put(kv, one, "a", "3");
    assert_value(one, "a", "3");
    assert_value(two, "a", "2");
    assert_value(two, "b", NULL);

    memset(large, 'x', 100000);
    t = kv_begin(kv);
    assert_int_equal(kv_put(t, one, SLICE("k\0ey"), slice_of(large, 100000)), KV_OK);
    assert_int_equal(kv_put(t, one, SLICE("empty"), SLICE("")), KV_OK);
    assert_int_equal(kv_commit(t), KV_OK);
    buf_add_str(&out, "front ");
    assert_int_equal(kv_get(NULL, one, SLICE("k\0ey"), &out), KV_OK);
    assert_int_equal(out.n, 100006);
    assert_memory_equal(out.p, "front xxxx", 10);
    assert_value(one, "empty", "");
    assert_int_equal(kv_get(NULL, one, SLICE("a"), &small), KV_OK); /* exactly what its cap allows */
    assert_int_equal(kv_get(NULL, one, SLICE("k\0ey"), &small), KV_ERROR);
    assert_ptr_equal(kv_table(kv, "one", NULL), one);
    kv_close(kv);

    kv = open_kv();
    assert_value(table_of(kv, "one"), "a", "3");
    assert_value(table_of(kv, "two"), "a", "2");
    kv_close(kv);
    buf_free(&out);
    buf_free(&small);
    free(large);
}

static void transactions_are_whole(void **state)
{
    struct kv *kv = open_kv();
    struct kv_table *table = table_of(kv, "t");
    struct kv_txn *t;
    struct buf out = BUF_INIT(BUF_OWN);

    (void)state;
    put(kv, table, "kept", "1");
    t = kv_begin(kv);
    assert_int_equal(kv_put(t, table, SLICE("a"), SLICE("1")), KV_OK);
    assert_int_equal(kv_delete(t, table, SLICE("kept")), KV_OK);
    assert_int_equal(kv_get(t, table, SLICE("a"), &out), KV_OK);
    assert_int_equal(kv_get(t, table, SLICE("kept"), &out), KV_NONE);
    assert_int_equal(kv_delete(t, table, SLICE("never")), KV_NONE);
    kv_abort(t);
    assert_value(table, "a", NULL);
    assert_value(table, "kept", "1");
    kv_close(kv);
    buf_free(&out);
}

static bool collect(void *ctx, struct slice key, struct slice value)
{
    struct buf *out = ctx;

    buf_printf(out, "%.*s=%.*s ", SLICE_FMT(key), SLICE_FMT(value));
    return !slice_eq(key, SLICE("stop"));
}

static void walks_are_in_order(void **state)
{
    struct kv *kv = open_kv();
    struct kv_table *table = table_of(kv, "t"), *empty = table_of(kv, "empty");
    struct buf out = BUF_INIT(BUF_OWN);

    (void)state;
    put(kv, table, "b", "2");
    put(kv, table, "a", "1");
    put(kv, table, "stop", "3");
    put(kv, table, "z", "4");
    assert_int_equal(kv_walk(NULL, table, SLICE(""), collect, &out), KV_OK);
    assert_string_equal(buf_str(&out), "a=1 b=2 stop=3 ");
    buf_clear(&out);
    assert_int_equal(kv_walk(NULL, table, SLICE("aa"), collect, &out), KV_OK);
    assert_string_equal(buf_str(&out), "b=2 stop=3 ");
    buf_clear(&out);
    assert_int_equal(kv_walk(NULL, table, SLICE("zz"), collect, &out), KV_OK);
    assert_int_equal(kv_walk(NULL, empty, SLICE(""), collect, &out), KV_OK);
    assert_int_equal(out.n, 0);
    kv_close(kv);
    buf_free(&out);
}

static void one_owner_at_a_time(void **state)
{
    struct kv *kv = open_kv();
    struct err e = {0};
    struct stat st;
    bool damaged = true;

    (void)state;
    assert_null(kv_open(dir, true, &damaged, &e));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_false(damaged);
    assert_int_equal(kv_set_aside(dir, &e), -1);
    kv_close(kv);
    kv_close(open_kv());
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_null(kv_open("/proc/none", true, &damaged, &e));
    assert_int_equal(e.code, ERR_IO);
    assert_false(damaged);
}

struct crossing {
    struct kv *kv;
    struct kv_table *first, *second;
    pthread_barrier_t *barrier;
    int retries, done;
};

/* Two that take the same two records in opposite order: one is told to try again, and both get done. */
static void *cross(void *arg)
{
    struct crossing *c = arg;

    for (bool first_time = true;; first_time = false) {
        struct kv_txn *t = kv_begin(c->kv);
        enum kv_result r = kv_put(t, c->first, SLICE("a"), SLICE("1"));

        if (first_time)
            pthread_barrier_wait(c->barrier);
        if (r == KV_OK)
            r = kv_put(t, c->second, SLICE("a"), SLICE("1"));
        r = kv_commit(t);
        if (r == KV_OK)
            break;
        c->retries += r == KV_RETRY;
        if (r != KV_RETRY)
            return NULL;
    }
    c->done = 1;
    return NULL;
}

static void deadlocks_are_told(void **state)
{
    struct kv *kv = open_kv();
    /* each table has pages of its own, so the two do not meet before they cross */
    struct kv_table *one = table_of(kv, "one"), *two = table_of(kv, "two");
    struct crossing a, b;
    pthread_barrier_t barrier;
    pthread_t ta, tb;

    (void)state;
    pthread_barrier_init(&barrier, NULL, 2);
    a = (struct crossing){.kv = kv, .first = one, .second = two, .barrier = &barrier};
    b = (struct crossing){.kv = kv, .first = two, .second = one, .barrier = &barrier};
    assert_int_equal(pthread_create(&ta, NULL, cross, &a), 0);
    assert_int_equal(pthread_create(&tb, NULL, cross, &b), 0);
    pthread_join(ta, NULL);
    pthread_join(tb, NULL);
    assert_true(a.done && b.done);
    assert_true(a.retries + b.retries >= 1);
    pthread_barrier_destroy(&barrier);
    kv_close(kv);
}

/* A child puts 0, 1, 2, .. and says each once it is committed; killed, all it said is there. */
static void killed_writers_lose_nothing(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        uint32_t said, last = 0;
        bool any = false;
        int pipes[2];
        pid_t child;
        struct kv *kv;
        int status;

        assert_int_equal(pipe(pipes), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            bool damaged;
            struct kv *mine = kv_open(dir, true, &damaged, NULL);
            struct kv_table *table = mine ? kv_table(mine, "t", NULL) : NULL;

            for (uint32_t i = 0; table; i++) {
                struct kv_txn *t = kv_begin(mine);

                if (kv_put(t, table, slice_of(&i, sizeof i), SLICE("there")) != KV_OK ||
                    kv_commit(t) != KV_OK || write(pipes[1], &i, sizeof i) != sizeof i)
                    break;
                if (i % 16 == 15)
                    kv_checkpoint(mine);
            }
            _exit(1);
        }
        close(pipes[1]);
        while (read(pipes[0], &said, sizeof said) == sizeof said) {
            any = true;
            last = said;
            if (last == 100 + (unsigned)round * 37)
                kill(child, SIGKILL);
        }
        close(pipes[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && any);
        kv = open_kv();
        for (uint32_t i = 0; i <= last; i++) {
            struct buf out = BUF_INIT(BUF_OWN);

            assert_int_equal(kv_get(NULL, table_of(kv, "t"), slice_of(&i, sizeof i), &out), KV_OK);
            buf_free(&out);
        }
        kv_close(kv);
    }
}

static void damage_all(const char *prefix, off_t from)
{
    DIR *d = opendir(dir);
    struct dirent *entry;

    assert_non_null(d);
    while ((entry = readdir(d))) {
        char junk[8192];
        int fd;

        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        memset(junk, 0xa5, sizeof junk);
        fd = openat(dirfd(d), entry->d_name, O_WRONLY);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, junk, sizeof junk, from), sizeof junk);
        close(fd);
    }
    closedir(d);
}

/* Damage is an error of open, of a table or of a read, and never a wrong value; set aside, a new start works.
 */
static void damage_is_noticed(void **state)
{
    static const struct {
        const char *file;
        off_t at;
    } rows[] = {{"tables.db", 0}, {"tables.db", 4096}, {"tables.db", 12288}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kv *kv = open_kv();
        struct kv_table *table = table_of(kv, "t");
        struct buf out = BUF_INIT(BUF_OWN);
        struct err e = {0};
        bool damaged, noticed;

        for (int k = 0; k < 200; k++) {
            char key[300];

            snprintf(key, sizeof key, "%0299d", k);
            put(kv, table, key, key);
        }
        kv_close(kv);
        damage_all(rows[i].file, rows[i].at);
        kv = kv_open(dir, true, &damaged, &e);
        noticed = !kv && damaged;
        if (kv) {
            table = kv_table(kv, "t", &e);
            noticed = !table || kv_walk(NULL, table, SLICE(""), collect, &out) == KV_ERROR;
            kv_close(kv);
        }
        if (!noticed)
            fail_msg("row %zu", i);
        assert_int_equal(kv_set_aside(dir, &e), 0);
        kv = open_kv();
        table = table_of(kv, "t");
        buf_clear(&out);
        assert_int_equal(kv_walk(NULL, table, SLICE(""), collect, &out), KV_OK);
        assert_int_equal(out.n, 0);
        put(kv, table, "new", "1");
        kv_close(kv);
        assert_int_equal(kv_set_aside(dir, &e), 0);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(transactions_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(walks_are_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(one_owner_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(deadlocks_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_writers_lose_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_noticed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
