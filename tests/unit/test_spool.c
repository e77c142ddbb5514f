/* Files of the queue: kept, read, listed, removed; leftovers and damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "queue/spool.h"

static char dir[64], path[80];

static int remove_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(p);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_spool.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/queue", dir);
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
    struct spool *s = spool_open(path, &e);

    if (!s)
        fail_msg("%s", e.detail);
    return s;
}

static struct envelope_recipient one[] = {{.address = {"bob@example.com", 15}}};

static struct envelope envelope_of(struct id id)
{
    return (struct envelope){
        .id = id,
        .account = SLICE("anna@example.net"),
        .reverse_path = SLICE("anna@example.net"),
        .created = 1795492000,
        .recipients = one,
        .nrecipients = 1,
    };
}

static struct id put(struct spool *s, const char *text)
{
    struct id id = id_new();
    struct envelope env = envelope_of(id);
    struct err e = {0};
    struct spool_writer w;

    assert_int_equal(spool_begin(s, &env, &w, &e), 0);
    assert_int_equal(spool_write(&w, slice_str(text), &e), 0);
    assert_int_equal(spool_commit(&w, &e), 0);
    return id;
}

static struct slice name(const struct id *id)
{
    return slice_of(id->text, ID_LEN);
}

static size_t count(const char *folder, const char *prefix)
{
    char where[300];
    struct dirent *d;
    size_t n = 0;
    DIR *list;

    snprintf(where, sizeof where, "%s/%s", path, folder);
    list = opendir(where);
    assert_non_null(list);
    while ((d = readdir(list)))
        n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
             strncmp(d->d_name, prefix, strlen(prefix)) == 0;
    closedir(list);
    return n;
}

static void kept_and_read(void **state)
{
    struct spool *s = open_spool();
    struct id id = put(s, "Subject: a\r\n\r\nb\r\n");
    struct spool_message m;
    struct err e = {0};
    char text[64] = "";
    struct stat st;

    (void)state;
    spool_close(s);
    s = open_spool();
    assert_int_equal(spool_read(s, name(&id), &m, &e), SPOOL_OK);
    assert_int_equal(m.env.size, 17);
    assert_true(slice_eq(m.env.recipients[0].address, SLICE("bob@example.com")));
    assert_int_equal(fs_pread_all(m.fd, text, (size_t)m.env.size, (off_t)m.text), 0);
    assert_string_equal(text, "Subject: a\r\n\r\nb\r\n");
    assert_int_equal(fstat(m.fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0400);
    spool_message_close(&m);
    assert_int_equal(spool_remove(s, name(&id), &e), 0);
    assert_int_equal(spool_remove(s, name(&id), &e), 0);
    assert_int_equal(spool_sync(s, &e), 0);
    assert_int_equal(spool_read(s, name(&id), &m, &e), SPOOL_NONE);
    assert_int_equal(spool_read(s, SLICE("../../etc/pass"), &m, &e), SPOOL_NONE);
    assert_int_equal(spool_read(s, SLICE("../etc/passwd"), &m, &e), SPOOL_NONE);
    spool_close(s);
}

static void copied_from_a_file(void **state)
{
    struct spool *s = open_spool();
    struct envelope env = envelope_of(id_new());
    size_t n = 200000;
    char *text = mem_alloc(n), *back = mem_alloc(n);
    int fd = memfd_create("text", MFD_CLOEXEC);
    struct spool_message m;
    struct spool_writer w;
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(i * 7 + i / 256);
    assert_int_equal(fs_pwrite_all(fd, text, n, 0), 0);
    assert_int_equal(spool_begin(s, &env, &w, &e), 0);
    assert_int_equal(spool_write(&w, SLICE("DKIM-Signature: x\r\n"), &e), 0);
    assert_int_equal(spool_copy(&w, fd, 10, n - 10, &e), 0);
    assert_int_equal(spool_commit(&w, &e), 0);
    assert_int_equal(spool_read(s, name(&env.id), &m, &e), SPOOL_OK);
    assert_int_equal(m.env.size, n - 10 + 19);
    assert_int_equal(fs_pread_all(m.fd, back, n - 10, (off_t)m.text + 19), 0);
    assert_memory_equal(back, text + 10, n - 10);
    spool_message_close(&m);

    /* a source that ends too early gives nothing */
    env.id = id_new();
    assert_int_equal(spool_begin(s, &env, &w, &e), 0);
    assert_int_equal(spool_copy(&w, fd, 10, n, &e), -1);
    assert_int_equal(count(".", ".new-"), 1);
    spool_drop(&w);
    spool_drop(&w);
    assert_int_equal(count(".", ".new-"), 0);
    assert_int_equal(spool_read(s, name(&env.id), &m, &e), SPOOL_NONE);
    spool_close(s);
    close(fd);
    free(text);
    free(back);
}

/* The name of another message is never taken over, and what it said stays. */
static void names_are_used_once(void **state)
{
    struct spool *s = open_spool();
    struct id id = put(s, "first");
    struct envelope env = envelope_of(id);
    struct spool_message m;
    struct spool_writer w;
    struct err e = {0};

    (void)state;
    assert_int_equal(spool_begin(s, &env, &w, &e), 0);
    assert_int_equal(spool_write(&w, SLICE("second"), &e), 0);
    assert_int_equal(spool_commit(&w, &e), -1);
    assert_int_equal(count(".", ".new-"), 0);
    assert_int_equal(spool_read(s, name(&id), &m, &e), SPOOL_OK);
    assert_int_equal(m.env.size, 5);
    spool_message_close(&m);
    spool_close(s);
}

static void damage_is_moved(void **state)
{
    static const struct {
        off_t size; /* < 0: so many octets less */
        off_t at;   /* this octet is changed; < 0: none */
    } rows[] = {{0, -1}, {5, -1}, {40, -1}, {-1, -1}, {-100, 0}, {-100, 9}, {-100, 40}};
    struct spool *s = open_spool();
    struct spool_message m;
    struct err e = {0};
    struct id id, *ids;
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char file[300];
        struct stat st;
        int fd;

        id = put(s, "text of a message");
        snprintf(file, sizeof file, "%s/%s", path, id.text);
        assert_int_equal(chmod(file, 0600), 0);
        fd = open(file, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        if (rows[i].at < 0)
            assert_int_equal(ftruncate(fd, rows[i].size < 0 ? st.st_size + rows[i].size : rows[i].size), 0);
        else
            assert_int_equal(pwrite(fd, "\xee", 1, rows[i].at), 1);
        close(fd);
        if (spool_read(s, name(&id), &m, &e) != SPOOL_DAMAGED)
            fail_msg("row %zu", i);
        assert_int_equal(spool_read(s, name(&id), &m, &e), SPOOL_NONE);
        assert_int_equal(count("damaged", ""), i + 1);
    }
    /* a name that does not fit its envelope, twice: both are kept */
    for (int i = 0; i < 2; i++) {
        char from[300], to[300];

        id = put(s, "text");
        snprintf(from, sizeof from, "%s/%s", path, id.text);
        snprintf(to, sizeof to, "%s/0000000000000", path);
        assert_int_equal(rename(from, to), 0);
        assert_int_equal(spool_read(s, SLICE("0000000000000"), &m, &e), SPOOL_DAMAGED);
    }
    assert_int_equal(count("damaged", "0000000000000"), 2);
    assert_int_equal(spool_list(s, &ids, &n, &e), 0);
    assert_int_equal(n, 0);
    free(ids);
    spool_close(s);
}

static void list_is_by_age(void **state)
{
    struct spool *s = open_spool();
    struct err e = {0};
    char odd[300];
    struct id *ids;
    size_t n;
    int fd;

    (void)state;
    for (int i = 0; i < 50; i++)
        put(s, "x");
    snprintf(odd, sizeof odd, "%s/README", path);
    fd = open(odd, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    snprintf(odd, sizeof odd, "%s/.new-0000000000000", path);
    fd = open(odd, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(spool_list(s, &ids, &n, &e), 0);
    assert_int_equal(n, 50);
    for (size_t i = 1; i < n; i++)
        assert_true(strcmp(ids[i - 1].text, ids[i].text) < 0);
    free(ids);
    spool_close(s);
    spool_close(open_spool());
    assert_int_equal(count(".", ".new-"), 1); /* it is young */
}

/* 100,000 names; POSTAMT_FIGURES prints what it took. */
static void many_are_listed(void **state)
{
    struct spool *s = open_spool();
    struct timespec a, b;
    struct err e = {0};
    struct id *ids;
    size_t n;
    int fd, at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        char id[16];

        snprintf(id, sizeof id, "%013u", i);
        fd = openat(at, id, O_CREAT | O_WRONLY | O_CLOEXEC, 0400);
        assert_true(fd >= 0);
        close(fd);
    }
    close(at);
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(spool_list(s, &ids, &n, &e), 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_int_equal(n, 100000);
    if (getenv("POSTAMT_FIGURES"))
        printf("list of 100,000: %.0f ms\n",
            (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
    free(ids);
    spool_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kept_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(copied_from_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_used_once, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(list_is_by_age, setup, teardown),
        cmocka_unit_test_setup_teardown(many_are_listed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
