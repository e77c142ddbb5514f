#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "store/view.h"
#include "tests/unit/store_box.h"

struct world {
    struct box b;
    struct account *a;
    struct mailbox *m;
};

static void append(struct account *a)
{
    struct err e = {0};
    struct append *ap = append_begin(a, SLICE("INBOX"), &e);
    uint32_t uidvalidity, uid;

    assert_non_null(ap);
    assert_int_equal(append_write(ap, SLICE("x\r\n"), &e), 0);
    assert_int_equal(append_commit(ap, 0, NULL, 0, 0, &uidvalidity, &uid, &e), 0);
    append_free(ap);
}

static int set_up(void **state)
{
    static struct world w;
    struct err e = {0};

    assert_int_equal(store_init(&e), 0);
    log_open(-1, LOG_LEVEL_ERROR);
    box_make(&w.b);
    w.a = box_open(&w.b);
    for (int i = 0; i < 5; i++)
        append(w.a);
    w.m = mailbox_open(w.a, SLICE("INBOX"), &e);
    assert_non_null(w.m);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    mailbox_close(w->m);
    account_close(w->a);
    box_remove(&w->b);
    return 0;
}

/* The events as a client would read them. */
static void on_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
    buf_printf(ctx, "-%u(%u) ", seq, uid);
}
static void on_exists(void *ctx, uint32_t count, uint32_t recent)
{
    buf_printf(ctx, "=%u/%u ", count, recent);
}
static void on_flags(void *ctx, uint32_t seq, const struct message *msg, bool recent)
{
    buf_printf(ctx, "f%u(%u:%x%s) ", seq, msg->uid, msg->flags, recent ? "R" : "");
}
static void on_keywords(void *ctx)
{
    buf_add_str(ctx, "k ");
}

static const struct view_events events = {
    .expunged = on_expunged, .exists = on_exists, .flags = on_flags, .keywords = on_keywords};

static void expect(struct view *v, bool with_expunges, const char *want)
{
    struct buf got = BUF_INIT(10000);

    if (with_expunges)
        assert_int_equal(view_has_news(v), want[0] != '\0');
    view_sync(v, with_expunges, &events, &got);
    assert_string_equal(buf_str(&got), want);
    if (with_expunges)
        assert_false(view_has_news(v));
    buf_free(&got);
}

static void change(struct mailbox *m, uint32_t uid, uint32_t flags)
{
    struct err e = {0};
    bool changed;

    assert_int_equal(mailbox_flag(m, uid, FLAGS_ADD, flags, &changed, &e), 0);
}

static void expunge(struct mailbox *m, const uint32_t *uids, size_t n)
{
    struct err e = {0};
    size_t gone;

    assert_int_equal(mailbox_expunge(m, uids, n, &gone, &e), 0);
    assert_int_equal(gone, n);
}

static void numbers(void **state)
{
    struct world *w = *state;
    struct view *v;

    expunge(w->m, (uint32_t[]){2, 4}, 2);
    v = view_new(w->m, false);
    assert_int_equal(view_count(v), 3);
    assert_int_equal(view_uid(v, 0), 0);
    assert_int_equal(view_uid(v, 1), 1);
    assert_int_equal(view_uid(v, 2), 3);
    assert_int_equal(view_uid(v, 3), 5);
    assert_int_equal(view_uid(v, 4), 0);
    assert_int_equal(view_uid(v, UINT32_MAX), 0);
    assert_int_equal(view_seq(v, 3), 2);
    assert_int_equal(view_seq(v, 4), 0);
    assert_int_equal(view_seq(v, 0), 0);
    assert_int_equal(view_seq(v, UINT32_MAX), 0);
    assert_int_equal(view_lower_bound(v, 4), 3);
    assert_int_equal(view_lower_bound(v, 6), 4);
    assert_ptr_equal(view_mailbox(v), w->m);
    expect(v, true, "");
    view_free(v);
}

static void news(void **state)
{
    struct world *w = *state;
    struct view *v = view_new(w->m, false), *silent = view_new(w->m, false);

    append(w->a);
    change(w->m, 1, FLAG_SEEN);
    change(w->m, 3, FLAG_SEEN);
    change(w->m, 3, FLAG_FLAGGED);
    change(w->m, 6, FLAG_DRAFT);
    view_seen_change(silent, 3, mailbox_by_uid(w->m, 3)->modseq);
    expect(v, false, "=6/0 f1(1:1) f3(3:5) ");
    expect(silent, false, "=6/0 f1(1:1) ");
    /* held back, and later told from the highest down; flags of the dead are not told */
    change(w->m, 2, FLAG_SEEN);
    change(w->m, 5, FLAG_SEEN);
    expunge(w->m, (uint32_t[]){2, 4}, 2);
    append(w->a);
    expect(v, false, "=7/0 f5(5:1) ");
    assert_int_equal(view_uid(v, 2), 2);
    assert_true(view_has_news(v));
    expect(v, true, "-4(4) -2(2) ");
    assert_int_equal(view_count(v), 5);
    assert_int_equal(view_uid(v, 2), 3);
    expect(silent, true, "-4(4) -2(2) =5/0 f3(5:1) ");
    view_free(v);
    view_free(silent);
}

static void own_changes_only(void **state)
{
    struct world *w = *state;
    struct view *v = view_new(w->m, false);

    for (uint32_t uid = 5; uid >= 1; uid--) {
        change(w->m, uid, FLAG_SEEN);
        view_seen_change(v, uid, mailbox_by_uid(w->m, uid)->modseq);
    }
    expect(v, true, "");
    change(w->m, 2, FLAG_DRAFT);
    view_seen_change(v, 2, mailbox_by_uid(w->m, 2)->modseq);
    change(w->m, 2, FLAG_DELETED); /* after ours: not known */
    expect(v, true, "f2(2:19) ");
    /* looking without telling forgets what is known already, and nothing else */
    change(w->m, 4, FLAG_FLAGGED);
    view_seen_change(v, 4, mailbox_by_uid(w->m, 4)->modseq);
    assert_false(view_has_news(v));
    assert_false(view_has_news(v));
    change(w->m, 4, FLAG_DELETED);
    assert_true(view_has_news(v));
    view_free(v);
}

static void recent(void **state)
{
    struct world *w = *state;
    struct view *looks, *first, *second;
    struct err e = {0};

    box_deliver(&w->b, "A: b\r\n\r\n");
    assert_int_equal(mailbox_refresh(w->m, &e), 0);
    looks = view_new(w->m, true);
    first = view_new(w->m, false);
    second = view_new(w->m, false);
    assert_int_equal(view_recent(looks), 1);
    assert_int_equal(view_recent(first), 1);
    assert_int_equal(view_recent(second), 0);
    assert_true(view_is_recent(first, 6));
    assert_false(view_is_recent(first, 5));
    assert_false(view_is_recent(second, 6));
    box_deliver(&w->b, "A: c\r\n\r\n");
    assert_int_equal(mailbox_refresh(w->m, &e), 0);
    expect(second, true, "=7/1 ");
    expect(first, true, "=7/1 "); /* its old one; the new one is the other's */
    change(w->m, 6, FLAG_SEEN);
    expect(first, true, "f6(6:1R) ");
    expunge(w->m, (uint32_t[]){6}, 1);
    expect(first, true, "-6(6) ");
    assert_int_equal(view_recent(first), 0);
    expect(second, true, "-6(6) ");
    assert_int_equal(view_recent(second), 1);
    view_free(looks);
    view_free(first);
    view_free(second);
}

static void new_keywords(void **state)
{
    struct world *w = *state;
    struct view *v = view_new(w->m, false);
    struct err e = {0};
    int letter = mailbox_keyword_letter(w->m, SLICE("work"), true, &e);

    assert_int_equal(letter, 0);
    change(w->m, 1, FLAG_KEYWORD(0));
    expect(v, true, "k f1(1:40) ");
    view_free(v);
}

/* More changes than the log of changes holds. */
static void very_many(void **state)
{
    struct world *w = *state;
    struct view *v = view_new(w->m, false);
    struct err e = {0};
    bool changed;

    for (int i = 0; i < 5000; i++)
        assert_int_equal(mailbox_flag(w->m, 2, i & 1 ? FLAGS_REMOVE : FLAGS_ADD, FLAG_SEEN, &changed, &e), 0);
    change(w->m, 4, FLAG_SEEN);
    expunge(w->m, (uint32_t[]){1, 5}, 2);
    expect(v, true, "-5(5) -1(1) f1(2:0) f3(4:1) ");
    view_free(v);
}

static void all_gone(void **state)
{
    struct world *w = *state;
    struct view *v = view_new(w->m, false);

    expunge(w->m, (uint32_t[]){1, 2, 3, 4, 5}, 5);
    append(w->a);
    expect(v, true, "-5(5) -4(4) -3(3) -2(2) -1(1) =1/0 ");
    assert_int_equal(view_uid(v, 1), 6);
    view_free(v);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(numbers), T(news), T(own_changes_only), T(recent), T(new_keywords), T(very_many), T(all_gone)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
