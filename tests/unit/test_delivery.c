#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fs.h"
#include "store/delivery.h"
#include "tests/unit/store_box.h"

#define NEW "mail/" BOX_PATH "/Maildir/new"
#define CUR "mail/" BOX_PATH "/Maildir/cur"
#define HOST SLICE("mx.example.org")

static int set_up(void **state)
{
    static struct box b;

    box_make(&b);
    *state = &b;
    return 0;
}

static int tear_down(void **state)
{
    box_remove(*state);
    return 0;
}

static int text_fd(const char *text)
{
    int fd = memfd_create("text", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void spools(void **state)
{
    struct box *b = *state;
    struct delivery_cut cuts[] = {{0, 3}, {5, 2}};
    struct delivery_cut wrong[] = {{5, 2}, {6, 1}};
    struct delivery_cut beyond[] = {{9, 2}};
    struct id id = id_new();
    struct buf got = BUF_INIT(1000);
    struct stat st;
    struct err e = {0};
    uint64_t size;
    int fd = text_fd("junk0123456789");

    assert_int_equal(delivery_spool(b->spool, &id, SLICE("Head: x\r\n"), fd, 4, 10, cuts, 2, &size, &e), 0);
    assert_int_equal(fs_load(b->spool, id.text, &got, 900), 0);
    assert_string_equal(buf_str(&got), "Head: x\r\n34789");
    assert_int_equal(size, got.n);
    assert_int_equal(fs_stat(b->spool, id.text, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    /* ranges out of order or beyond the text, and a text that ends early, leave no file */
    id = id_new();
    assert_int_equal(delivery_spool(b->spool, &id, SLICE(""), fd, 4, 10, wrong, 2, &size, &e), -1);
    assert_int_equal(delivery_spool(b->spool, &id, SLICE(""), fd, 4, 10, beyond, 1, &size, &e), -1);
    assert_int_equal(delivery_spool(b->spool, &id, SLICE(""), fd, 4, 11, NULL, 0, &size, &e), -1);
    assert_int_equal(delivery_spool(b->spool, &id, SLICE(""), fd, 4, UINT64_MAX, NULL, 0, &size, &e), -1);
    assert_int_equal(fs_stat(b->spool, id.text, &st), -1);
    close(fd);
    buf_free(&got);
}

static void spools_large(void **state)
{
    struct box *b = *state;
    struct id id = id_new();
    struct buf got = BUF_INIT(BUF_OWN), want = BUF_INIT(BUF_OWN);
    struct err e = {0};
    uint64_t size;
    int fd;

    for (int i = 0; i < 20000; i++)
        buf_printf(&want, "line %d\r\n", i);
    fd = text_fd(buf_str(&want));
    assert_int_equal(delivery_spool(b->spool, &id, SLICE("H: 1\r\n"), fd, 0, want.n, NULL, 0, &size, &e), 0);
    assert_int_equal(fs_load(b->spool, id.text, &got, 10000000), 0);
    assert_int_equal(got.n, want.n + 6);
    assert_memory_equal(got.p + 6, want.p, want.n);
    close(fd);
    buf_free(&got);
    buf_free(&want);
}

static void links(void **state)
{
    struct box *b = *state;
    struct delivery_recipient r[] = {
        {.path = SLICE(BOX_PATH), .number = 0},
        {.path = SLICE("example.org/bert"), .number = 1},
        {.path = SLICE("example.org/nobody"), .number = 2},
        {.path = SLICE(BOX_PATH), .number = 3},
    };
    struct id id = id_new();
    struct err e = {0};
    uint64_t size, octets, messages;
    char want[300];
    struct stat st;

    assert_int_equal(account_make_dirs(b->mail, b->state, SLICE("example.org/bert"), &e), 0);
    assert_int_equal(
        delivery_spool(b->spool, &id, SLICE("A: b\r\n\r\nx\r\n"), -1, 0, 0, NULL, 0, &size, &e), 0);
    delivery_link(b->mail, b->spool, &id, 1760000000, HOST, size, r, 4, false);
    assert_int_equal(r[0].result, 0);
    assert_int_equal(r[1].result, 0);
    assert_int_equal(r[2].result, -1);
    assert_int_equal(r[2].err.code, ERR_NO_USER);
    assert_int_equal(r[3].result, 0);
    snprintf(want, sizeof want, NEW "/1760000000.%sr0.mx.example.org,S=11", id.text);
    assert_true(box_has(b, want));
    snprintf(want, sizeof want, NEW "/1760000000.%sr3.mx.example.org,S=11", id.text);
    assert_true(box_has(b, want));
    assert_int_equal(fs_stat(b->root, want, &st), 0);
    assert_int_equal(st.st_nlink, 4); /* the spool file and three links to it */
    assert_int_equal(delivery_unspool(b->spool, &id, &e), 0);
    assert_int_equal(delivery_unspool(b->spool, &id, &e), 0);
    assert_int_equal(delivery_usage(b->mail, SLICE(BOX_PATH), &octets, &messages, &e), 0);
    assert_int_equal(messages, 2);
    assert_int_equal(octets, 22);
    box_write(b, CUR "/foreign:2,S", "12345");
    assert_int_equal(fs_make_dirs(b->mail, BOX_PATH "/Maildir/.Sent/cur"), 0);
    box_write(b, "mail/" BOX_PATH "/Maildir/.Sent/cur/x,S=100:2,S", "12345");
    assert_int_equal(delivery_usage(b->mail, SLICE(BOX_PATH), &octets, &messages, &e), 0);
    assert_int_equal(messages, 4);
    assert_int_equal(octets, 127);
}

static void replays(void **state)
{
    struct box *b = *state;
    struct delivery_recipient r = {.path = SLICE(BOX_PATH), .number = 1};
    struct id id = id_new();
    struct err e = {0};
    uint64_t size;
    char name[256], from[400];

    assert_int_equal(delivery_spool(b->spool, &id, SLICE("A: b\r\n\r\n"), -1, 0, 0, NULL, 0, &size, &e), 0);
    delivery_link(b->mail, b->spool, &id, 1760000000, HOST, size, &r, 1, true);
    assert_int_equal(r.result, 0);
    assert_false(r.was_there);
    delivery_link(b->mail, b->spool, &id, 1760000000, HOST, size, &r, 1, true);
    assert_int_equal(r.result, 0);
    assert_true(r.was_there);
    assert_int_equal(box_count(b, NEW, name), 1);
    /* an IMAP server took it meanwhile */
    snprintf(from, sizeof from, NEW "/%s", name);
    box_rename(b, from, CUR "/taken");
    delivery_link(b->mail, b->spool, &id, 1760000000, HOST, size, &r, 1, true);
    assert_false(r.was_there); /* another name: not ours */
    snprintf(from, sizeof from, CUR "/%.*s,S=8,U=1.22:2,S", (int)(strchr(name, ',') - name), name);
    snprintf(name, sizeof name, NEW "/1760000000.%sr1.mx.example.org,S=8", id.text);
    box_rename(b, name, from);
    delivery_link(b->mail, b->spool, &id, 1760000000, HOST, size, &r, 1, true);
    assert_int_equal(r.result, 0);
    assert_true(r.was_there);
    assert_int_equal(box_count(b, NEW, NULL), 0);
    /* recipient 11 is not recipient 1 */
    r.number = 11;
    delivery_link(b->mail, b->spool, &id, 1760000000, HOST, size, &r, 1, true);
    assert_false(r.was_there);
    assert_int_equal(box_count(b, NEW, NULL), 1);
    /* no replay, and yet it is there: nobody knows whether it is durable */
    delivery_link(b->mail, b->spool, &id, 1760000000, HOST, size, &r, 1, false);
    assert_int_equal(r.result, -1);
    assert_int_equal(r.err.code, ERR_IO);
    assert_int_equal(box_count(b, NEW, NULL), 1);
}

static void a_link_instead_of_a_folder(void **state)
{
    struct box *b = *state;
    struct delivery_recipient r = {.path = SLICE(BOX_PATH)}, out = {.path = SLICE("../mail/" BOX_PATH)};
    struct id id = id_new();
    struct err e = {0};
    uint64_t size;

    assert_int_equal(delivery_spool(b->spool, &id, SLICE("A: b\r\n\r\n"), -1, 0, 0, NULL, 0, &size, &e), 0);
    assert_int_equal(fs_rmdir(b->root, NEW), 0);
    assert_int_equal(symlinkat("/tmp", b->root, NEW), 0);
    delivery_link(b->mail, b->spool, &id, 1, HOST, size, &r, 1, false);
    assert_int_equal(r.result, -1);
    delivery_link(b->mail, b->spool, &id, 1, HOST, size, &out, 1, false);
    assert_int_equal(out.result, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(spools, set_up, tear_down),
        cmocka_unit_test_setup_teardown(spools_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_link_instead_of_a_folder, set_up, tear_down)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
