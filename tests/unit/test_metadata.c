#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "store/mailbox.h"
#include "store/metadata.h"
#include "tests/unit/store_box.h"

struct world {
    struct box b;
    struct account *a;
};

static int set_up(void **state)
{
    static struct world w;
    struct err e = {0};

    assert_int_equal(store_init(&e), 0);
    log_open(-1, LOG_LEVEL_ERROR);
    box_make(&w.b);
    w.a = box_open(&w.b);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    account_close(w->a);
    box_remove(&w->b);
    return 0;
}

static void set(struct world *w, const char *mailbox, const char *entry, struct slice value)
{
    struct err e = {0};

    if (metadata_set(w->a, slice_str(mailbox), slice_str(entry), value, &e) < 0)
        fail_msg("%s: %s", entry, e.detail);
}

/* NULL: there is none. */
static void is(struct world *w, const char *mailbox, const char *entry, const char *value)
{
    struct buf got = BUF_INIT(BUF_OWN);
    struct err e = {0};

    assert_int_equal(metadata_get(w->a, slice_str(mailbox), slice_str(entry), &got, &e), value ? 1 : 0);
    if (value)
        assert_true(slice_eq(buf_slice(&got), slice_str(value)));
    buf_free(&got);
}

static bool collect(void *ctx, struct slice entry, struct slice value)
{
    buf_add(ctx, entry);
    buf_add_char(ctx, '=');
    buf_add(ctx, value);
    buf_add_char(ctx, ' ');
    return true;
}

static void keeps(void **state)
{
    struct world *w = *state;
    struct buf all = BUF_INIT(BUF_OWN);
    struct err e = {0};

    is(w, "INBOX", "/private/comment", NULL);
    set(w, "INBOX", "/private/comment", SLICE("one\ntwo 3\n"));
    set(w, "INBOX", "/Shared/Comment", SLICE("x"));
    set(w, "", "/private/comment", SLICE("of the account"));
    set(w, "INBOX", "/private/a", SLICE(""));
    is(w, "INBOX", "/PRIVATE/comment", "one\ntwo 3\n");
    is(w, "", "/private/comment", "of the account");
    is(w, "INBOX", "/private/a", "");
    assert_int_equal(metadata_each(w->a, SLICE("INBOX"), collect, &all, &e), 0);
    assert_true(
        slice_eq(buf_slice(&all), SLICE("/private/a= /private/comment=one\ntwo 3\n /shared/comment=x ")));
    /* of another process, and without what is derived */
    account_close(w->a);
    box_lose_state(&w->b);
    w->a = box_open(&w->b);
    set(w, "INBOX", "/private/comment", SLICE("new"));
    set(w, "INBOX", "/private/a", (struct slice){0});
    is(w, "INBOX", "/private/comment", "new");
    is(w, "INBOX", "/private/a", NULL);
    is(w, "INBOX", "/shared/comment", "x");
    buf_free(&all);
}

static void goes_along(void **state)
{
    struct world *w = *state;
    struct err e = {0};

    assert_int_equal(account_mailbox_create(w->a, SLICE("A"), USE_NONE, &e), 0);
    set(w, "A", "/private/comment", SLICE("mine"));
    assert_int_equal(account_mailbox_rename(w->a, SLICE("A"), SLICE("B"), &e), 0);
    is(w, "B", "/private/comment", "mine");
    assert_int_equal(metadata_set(w->a, SLICE("A"), SLICE("/private/x"), SLICE("y"), &e), -1);
    assert_int_equal(e.code, ERR_NO_MAILBOX);
    assert_int_equal(account_mailbox_create(w->a, SLICE("A"), USE_NONE, &e), 0);
    is(w, "A", "/private/comment", NULL);
}

static void refuses(void **state)
{
    static const char *const names[] = {"", "/", "comment", "/private/", "/private//x", "/private/*", "/a%",
        "/private/a b", "/private/\x7f", "/private/\xc3\xa4"};
    struct world *w = *state;
    struct buf big = BUF_INIT(BUF_OWN);
    struct err e = {0};
    char name[64];
    size_t set_now = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        e = (struct err){0};
        assert_int_equal(metadata_set(w->a, SLICE("INBOX"), slice_str(names[i]), SLICE("x"), &e), -1);
        assert_int_equal(e.code, ERR_SYNTAX);
    }
    for (size_t i = 0; i <= METADATA_VALUE_MAX; i++)
        buf_add_char(&big, 'x');
    assert_int_equal(metadata_set(w->a, SLICE("INBOX"), SLICE("/private/big"), buf_slice(&big), &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    /* all of them together: octets, then entries */
    buf_cut(&big, METADATA_VALUE_MAX);
    for (; set_now < 100; set_now++) {
        snprintf(name, sizeof name, "/private/big%zu", set_now);
        if (metadata_set(w->a, SLICE("INBOX"), slice_str(name), buf_slice(&big), &e) < 0)
            break;
    }
    assert_int_equal(set_now, METADATA_SIZE_MAX / METADATA_VALUE_MAX);
    for (set_now = 0; set_now < 200; set_now++) {
        snprintf(name, sizeof name, "/private/%zu", set_now);
        if (metadata_set(w->a, SLICE(""), slice_str(name), SLICE("x"), &e) < 0)
            break;
    }
    assert_int_equal(set_now, METADATA_ENTRIES_MAX);
    buf_free(&big);
}

static void damaged(void **state)
{
    static const char *const files[] = {"", "postamt-metadata 2\n", "postamt-metadata 1\n/a 5\nxx\n",
        "postamt-metadata 1\n/a 1\nx", "postamt-metadata 1\n/a 99999999999999999999\nx\n",
        "postamt-metadata 1\nno name 1\nx\n"};
    struct world *w = *state;
    struct buf value = BUF_INIT(BUF_OWN);
    struct err e = {0};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        box_write(&w->b, "mail/" BOX_PATH "/Maildir/postamt-metadata", files[i]);
        assert_int_equal(metadata_get(w->a, SLICE("INBOX"), SLICE("/a"), &value, &e), -1);
        assert_int_equal(e.code, ERR_CORRUPT);
        /* what cannot be understood is not overwritten either */
        assert_int_equal(metadata_set(w->a, SLICE("INBOX"), SLICE("/a"), SLICE("y"), &e), -1);
        box_unlink(&w->b, "mail/" BOX_PATH "/Maildir/postamt-metadata");
    }
    buf_free(&value);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {T(keeps), T(goes_along), T(refuses), T(damaged)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
