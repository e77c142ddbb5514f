/* Keys of domains on disk: names, modes, what is put aside, what is damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/dkim_keys.h"
#include "common/fs.h"

#define NOVEMBER 1795478400 /* 2026-11-24 */
#define DOMAIN SLICE("example.org")

static char path[64];
static int dir = -1;
static struct buf rsa = {.cap = DKIM_PEM_MAX}, ed25519 = {.cap = DKIM_PEM_MAX};

static int remove_one(const char *file, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(file);
}

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_dkim_keys.XXXXXX");
    return mkdtemp(path) && (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    close(dir);
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int make_pems(void **state)
{
    struct dkim_key *a = dkim_key_new(DKIM_RSA, NULL), *b = dkim_key_new(DKIM_ED25519, NULL);
    bool good = a && b && dkim_key_pem(a, &rsa) && dkim_key_pem(b, &ed25519);

    (void)state;
    dkim_key_free(a);
    dkim_key_free(b);
    return good ? 0 : -1;
}

static int free_pems(void **state)
{
    (void)state;
    buf_free(&rsa);
    buf_free(&ed25519);
    return 0;
}

/* Selectors of the domain, a blank behind each. */
static void assert_keys(const char *want)
{
    struct buf got = BUF_INIT(1024);
    struct dkim_stored_list list;

    assert_int_equal(dkim_keys_load(dir, DOMAIN, &list, NULL), 0);
    for (size_t i = 0; i < list.n; i++)
        buf_printf(&got, "%s ", list.item[i].selector);
    assert_string_equal(buf_str(&got), want);
    dkim_keys_free(&list);
    buf_free(&got);
}

static const char *add(const struct buf *pem, int64_t now)
{
    static char selector[DKIM_SELECTOR_MAX + 1];

    assert_int_equal(dkim_keys_add(dir, DOMAIN, buf_slice(pem), now, selector, NULL), 0);
    return selector;
}

static void selectors(void **state)
{
    (void)state;
    assert_keys("");
    assert_string_equal(add(&ed25519, NOVEMBER), "e202611");
    assert_string_equal(add(&rsa, NOVEMBER), "p202611");
    assert_string_equal(add(&rsa, NOVEMBER), "p202611b");
    assert_string_equal(add(&rsa, NOVEMBER + 40 * 86400), "p202701");
    assert_keys("p202611 p202611b p202701 e202611 ");
}

static void modes(void **state)
{
    struct stat st;

    (void)state;
    add(&rsa, NOVEMBER);
    assert_int_equal(fs_stat(dir, "dkim", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(fs_stat(dir, "dkim/example.org", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(fs_stat(dir, "dkim/example.org/p202611.pem", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, rsa.n);
}

/* What was put aside is there, and its name is not given again: resolvers remember its record. */
static void aside(void **state)
{
    struct stat st;

    (void)state;
    add(&rsa, NOVEMBER);
    add(&rsa, NOVEMBER);
    assert_int_equal(dkim_keys_remove(dir, DOMAIN, SLICE("p202611"), NULL), 0);
    assert_int_equal(dkim_keys_remove(dir, DOMAIN, SLICE("p202611"), NULL), 0);
    assert_keys("p202611b ");
    assert_int_equal(fs_stat(dir, "dkim/_removed/example.org/p202611.pem", &st), 0);
    assert_string_equal(add(&rsa, NOVEMBER), "p202611c");
    assert_int_equal(dkim_keys_remove(dir, DOMAIN, SLICE(""), NULL), 0);
    assert_keys("");
    assert_int_equal(fs_stat(dir, "dkim/example.org", &st), -1);
    assert_int_equal(fs_stat(dir, "dkim/_removed/example.org/p202611c.pem", &st), 0);
    assert_int_equal(dkim_keys_remove(dir, DOMAIN, SLICE(""), NULL), 0);
    assert_string_equal(add(&rsa, NOVEMBER), "p202611d");
}

static void damaged(void **state)
{
    struct dkim_stored_list list;
    struct err e = {0};
    int fd;

    (void)state;
    add(&rsa, NOVEMBER);
    /* no keys: a staging file, a strange name */
    assert_int_equal(fs_replace(dir, "x", dir, "dkim/example.org/new", SLICE("x"), 0600, false), 0);
    assert_int_equal(fs_replace(dir, "x", dir, "dkim/example.org/a.b.pem", SLICE("x"), 0600, false), 0);
    assert_keys("p202611 ");
    fd = fs_open_write(dir, "dkim/example.org/p202612.pem", O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fs_write_all(fd, slice_sub(buf_slice(&rsa), 0, 900)), 0);
    close(fd);
    assert_int_equal(dkim_keys_load(dir, DOMAIN, &list, &e), -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    assert_non_null(strstr(e.detail, "p202612"));
    assert_int_equal(list.n, 1);
    dkim_keys_free(&list);
}

static void refused(void **state)
{
    char selector[DKIM_SELECTOR_MAX + 1];
    struct err e = {0};

    (void)state;
    assert_int_equal(dkim_keys_add(dir, DOMAIN, SLICE("no key"), NOVEMBER, selector, &e), -1);
    assert_int_equal(e.code, ERR_SYNTAX);
    for (int i = 0; i < DKIM_KEYS_MAX; i++)
        add(&ed25519, NOVEMBER);
    assert_int_equal(dkim_keys_add(dir, DOMAIN, buf_slice(&rsa), NOVEMBER, selector, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    /* a link that leads elsewhere is no folder of ours */
    assert_int_equal(symlinkat("/tmp", dir, "dkim/linked.org"), 0);
    assert_int_equal(dkim_keys_add(dir, SLICE("linked.org"), buf_slice(&rsa), NOVEMBER, selector, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(selectors, setup, teardown),
        cmocka_unit_test_setup_teardown(modes, setup, teardown),
        cmocka_unit_test_setup_teardown(aside, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, make_pems, free_pems);
}
