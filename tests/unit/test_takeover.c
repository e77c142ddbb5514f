/* Folders as other servers leave them, opened here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fs.h"
#include "common/log.h"
#include "store/foreign.h"
#include "store/foreign_export.h"
#include "store/mailbox.h"
#include "store/meta.h"
#include "tests/unit/store_box.h"

#define MAILDIR "mail/" BOX_PATH "/Maildir"
#define INBOX SLICE("INBOX")

struct world {
    struct box b;
    struct account *a;
};

static int set_up(void **state)
{
    static struct world w;
    struct err e = {0};

    assert_int_equal(store_init(&e), 0);
    log_open(-1, LOG_LEVEL_ERROR + 1);
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

static void replace(struct world *w, const char *path, const char *text)
{
    if (box_has(&w->b, path))
        box_unlink(&w->b, path);
    box_write(&w->b, path, text);
}

/* As the next process would: nothing is known from before. */
static void again(struct world *w)
{
    account_close(w->a);
    w->a = box_open(&w->b);
}

static struct mailbox *open_inbox(struct world *w)
{
    struct err e = {0};
    struct mailbox *m = mailbox_open(w->a, INBOX, &e);

    if (!m)
        fail_msg("open: %s", e.detail);
    return m;
}

static bool text_is(struct mailbox *m, uint32_t uid, const char *expect)
{
    struct slice text;
    struct err e = {0};

    return mailbox_text(m, uid, &text, &e) == 0 && slice_eq(text, slice_str(expect));
}

static void name_all(struct mailbox *m)
{
    while (mailbox_adopt_step(m, 10))
        ;
}

static void expect_uids(struct mailbox *m, const uint32_t *uids, size_t n)
{
    assert_int_equal(mailbox_count(m), n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(mailbox_at(m, i)->uid, uids[i]);
}

static void dovecot(struct world *w)
{
    box_write(&w->b, MAILDIR "/cur/100.a.host,S=3,W=3:2,S", "a\r\n");
    box_write(&w->b, MAILDIR "/cur/200.b.host,S=3:2,Fa", "b\r\n");
    box_write(&w->b, MAILDIR "/new/300.c.host,S=3", "c\r\n");
    box_write(&w->b, MAILDIR "/cur/400.d.host,S=3:2,", "d\r\n");
    box_write(&w->b, MAILDIR "/dovecot-keywords", "0 $Label1\n");
    box_write(&w->b, MAILDIR "/dovecot-uidlist",
        "3 V1130000000 N900 Gabc\n"
        "17 :200.b.host,S=3:2,F\n"
        "33 PUID33-5 :100.a.host,S=3,W=3\n"
        "40 :gone.host\n"
        "899 :300.c.host,S=3\n");
}

static void takes_uids(void **state)
{
    static const uint32_t uids[] = {17, 33, 899, 900};
    struct world *w = *state;
    struct mailbox_status s;
    struct mailbox *m;
    struct err e = {0};

    dovecot(w);
    assert_int_equal(mailbox_status(w->a, INBOX, &s, &e), 0);
    assert_int_equal(s.uidvalidity, 1130000000);
    assert_int_equal(s.messages, 4);
    m = open_inbox(w);
    assert_int_equal(mailbox_uidvalidity(m), 1130000000);
    expect_uids(m, uids, 4);
    assert_int_equal(mailbox_uidnext(m), 901);
    assert_true(text_is(m, 33, "a\r\n") && text_is(m, 17, "b\r\n") && text_is(m, 899, "c\r\n") &&
                text_is(m, 900, "d\r\n"));
    assert_int_equal(mailbox_by_uid(m, 33)->flags, FLAG_SEEN);
    assert_int_equal(mailbox_by_uid(m, 17)->flags, FLAG_FLAGGED | FLAG_KEYWORD(0));
    assert_true(slice_eq(mailbox_keyword(m, 0), SLICE("$Label1")));
    assert_true(slice_eq(mailbox_uidl(m, 33), SLICE("UID33-5")));
    assert_true(mailbox_uidl(m, 17).n == 0);
    mailbox_close(m);
    /* again, from the list and without state/; then from the names alone */
    account_close(w->a);
    box_lose_state(&w->b);
    w->a = box_open(&w->b);
    m = open_inbox(w);
    expect_uids(m, uids, 4);
    name_all(m);
    mailbox_close(m);
    box_unlink(&w->b, MAILDIR "/dovecot-uidlist");
    again(w);
    m = open_inbox(w);
    expect_uids(m, uids, 4);
    assert_int_equal(mailbox_uidvalidity(m), 1130000000);
    assert_true(slice_eq(mailbox_uidl(m, 33), SLICE("UID33-5")));
    mailbox_close(m);
}

/* A list that has served is not asked again: who comes back from a backup is new. */
static void serves_once(void **state)
{
    static const uint32_t uids[] = {17, 33, 899, 900}, after[] = {17, 33, 899, 900, 901};
    struct world *w = *state;
    struct mailbox *m;

    dovecot(w);
    m = open_inbox(w);
    name_all(m);
    expect_uids(m, uids, 4);
    mailbox_close(m);
    again(w);
    box_write(&w->b, MAILDIR "/cur/gone.host:2,S", "g\r\n");
    m = open_inbox(w);
    expect_uids(m, after, 5);
    assert_true(text_is(m, 901, "g\r\n"));
    mailbox_close(m);
}

/* The other server was here once more: its new UIDs count, and ours go on above them. */
static void reads_a_newer_list(void **state)
{
    static const uint32_t uids[] = {17, 33, 899, 900, 950};
    struct world *w = *state;
    struct append *ap;
    uint32_t uidvalidity, uid;
    struct mailbox *m;
    struct err e = {0};

    dovecot(w);
    m = open_inbox(w);
    name_all(m);
    mailbox_close(m);
    box_write(&w->b, MAILDIR "/cur/500.e.host,S=3:2,", "e\r\n");
    replace(w, MAILDIR "/dovecot-uidlist", "3 V1130000000 N960 Gabc\n950 :500.e.host,S=3\n33 :100.a.host\n");
    again(w);
    ap = append_begin(w->a, INBOX, &e);
    assert_non_null(ap);
    assert_int_equal(append_write(ap, SLICE("f\r\n"), &e), 0);
    assert_int_equal(append_commit(ap, 0, NULL, 0, 0, &uidvalidity, &uid, &e), 0);
    append_free(ap);
    assert_int_equal(uid, 960);
    m = open_inbox(w);
    assert_int_equal(mailbox_count(m), 6);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(mailbox_at(m, i)->uid, uids[i]);
    assert_true(text_is(m, 950, "e\r\n") && text_is(m, 33, "a\r\n"));
    mailbox_close(m);
}

/* One of another UIDVALIDITY says nothing about ours; nor does a damaged one. */
static void ignores_what_is_not_ours(void **state)
{
    static const char *const lists[] = {"3 V77 N960\n950 :500.e.host\n", "3 V0 N960\n950 :500.e.host\n", "",
        "\0\0\0", "rubbish\n950 :500.e.host\n"};
    struct world *w = *state;
    struct mailbox *m;

    m = open_inbox(w);
    box_write(&w->b, MAILDIR "/cur/1.a:2,", "x\r\n");
    mailbox_close(m);
    m = open_inbox(w);
    assert_int_equal(mailbox_at(m, 0)->uid, 1);
    mailbox_close(m);
    box_write(&w->b, MAILDIR "/cur/500.e.host:2,", "e\r\n");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        replace(w, MAILDIR "/dovecot-uidlist", lists[i]);
        again(w);
        m = open_inbox(w);
        assert_int_equal(mailbox_count(m), 2);
        assert_int_equal(mailbox_at(m, 1)->uid, 2);
        mailbox_close(m);
    }
}

/* The mailbox was made before the mail was copied into it. */
static void takes_into_an_empty_one(void **state)
{
    static const uint32_t uids[] = {17, 33, 899, 900};
    struct world *w = *state;
    struct mailbox *m = open_inbox(w);
    char id[33];

    snprintf(id, sizeof id, "%s", mailbox_id(m));
    mailbox_close(m);
    again(w);
    dovecot(w);
    m = open_inbox(w);
    assert_int_equal(mailbox_uidvalidity(m), 1130000000);
    assert_string_equal(mailbox_id(m), id);
    expect_uids(m, uids, 4);
    mailbox_close(m);
}

/* The UID in a name counts more than the list; a UID is one message's. */
static void doubles(void **state)
{
    struct world *w = *state;
    struct mailbox *m;

    box_write(&w->b, MAILDIR "/cur/z,U=5.12:2,", "z\r\n"); /* 12: 34 in base 32 */
    box_write(&w->b, MAILDIR "/cur/a:2,", "a\r\n");
    box_write(&w->b, MAILDIR "/cur/b:2,", "b\r\n");
    box_write(&w->b, MAILDIR "/dovecot-uidlist", "3 V34 N9\n5 :a\n6 :b\n6 :c\n");
    m = open_inbox(w);
    assert_int_equal(mailbox_count(m), 3);
    assert_true(text_is(m, 5, "z\r\n") && text_is(m, 6, "b\r\n") && text_is(m, 9, "a\r\n"));
    mailbox_close(m);
}

static void courier(void **state)
{
    struct world *w = *state;
    struct account_mailbox *list;
    struct arena arena;
    struct err e = {0};
    struct mailbox *m;
    int junk, label;
    size_t subscribed = 0;

    box_write(&w->b, MAILDIR "/cur/1.M1.host,S=3:2,S", "a\r\n");
    box_write(&w->b, MAILDIR "/cur/2.M2.host,S=3:2,", "b\r\n");
    box_write(&w->b, MAILDIR "/cur/3.M3.host,S=3:2,", "c\r\n");
    box_write(&w->b, MAILDIR "/courierimapuiddb", "1 500 10\n3 1.M1.host,S=3\n9 2.M2.host,S=3\n");
    box_write(&w->b, MAILDIR "/courierpop3dsizelist",
        "/2 10 500\n1.M1.host,S=3:2,S 3 3:500\n2.M2.host,S=3:2, 3 0:0\n3.M3.host,S=3 3 2:499\n");
    box_write(&w->b, MAILDIR "/courierimapsubscribed", "INBOX\nINBOX.Lists.a\nINBOX.F&APw-r\n");
    assert_int_equal(fs_make_dirs(w->b.root, MAILDIR "/courierimapkeywords"), 0);
    box_write(&w->b, MAILDIR "/courierimapkeywords/:list",
        "$Label1\nNonJunk\n\n1.M1.host,S=3:0 1\n2.M2.host,S=3:1\n9.none:0\n");
    assert_int_equal(account_furnish(w->a, &e), 0);
    m = open_inbox(w);
    assert_int_equal(mailbox_uidvalidity(m), 500);
    assert_int_equal(mailbox_count(m), 3);
    assert_true(text_is(m, 3, "a\r\n") && text_is(m, 9, "b\r\n") && text_is(m, 10, "c\r\n"));
    assert_true(slice_eq(mailbox_uidl(m, 3), SLICE("UID3-500")));
    assert_true(slice_eq(mailbox_uidl(m, 9), SLICE("2.M2.host,S=3")));
    assert_true(slice_eq(mailbox_uidl(m, 10), SLICE("UID2-499")));
    label = mailbox_keyword_letter(m, SLICE("$Label1"), false, &e);
    junk = mailbox_keyword_letter(m, SLICE("NonJunk"), false, &e);
    assert_true(label >= 0 && junk >= 0);
    assert_int_equal(mailbox_by_uid(m, 3)->flags, FLAG_SEEN | FLAG_KEYWORD(label) | FLAG_KEYWORD(junk));
    assert_int_equal(mailbox_by_uid(m, 9)->flags, FLAG_KEYWORD(junk));
    assert_int_equal(mailbox_by_uid(m, 10)->flags, 0);
    mailbox_close(m);
    arena_init(&arena, 1 << 20);
    for (ssize_t i = account_list(w->a, true, &arena, &list, &e) - 1; i >= 0; i--)
        subscribed += slice_eq(list[i].name, SLICE("Lists/a")) || slice_eq(list[i].name, SLICE("F\xc3\xbcr"));
    assert_int_equal(subscribed, 2);
    arena_free(&arena);
}

/* Both versions of Dovecot's file, written as they were read. */
static void subscriptions(void **state)
{
    static const struct {
        const char *before, *after;
    } rows[] = {
        {"V\t2\n\nA\tB\nINBOX\n", "V\t2\n\nA\tB\nINBOX\nC\tD\n"},
        {"A.B\nINBOX\n", "A.B\nINBOX\nC.D\n"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < 2; i++) {
        struct account_mailbox *list;
        struct arena arena;
        struct err e = {0};
        struct buf text = BUF_INIT(4096);

        arena_init(&arena, 1 << 20);
        replace(w, MAILDIR "/subscriptions", rows[i].before);
        assert_int_equal(account_list(w->a, true, &arena, &list, &e), 2);
        assert_true(slice_eq(list[1].name, SLICE("A/B")) && list[1].subscribed);
        assert_true(list[0].subscribed);
        assert_int_equal(account_subscribe(w->a, SLICE("C/D"), true, &e), 0);
        assert_int_equal(fs_load(w->b.root, MAILDIR "/subscriptions", &text, 4000), 0);
        assert_string_equal(buf_str(&text), rows[i].after);
        buf_free(&text);
        arena_free(&arena);
    }
}

/* $Forwarded is a keyword there and P here: one flag, whoever wrote it. */
static void forwarded(void **state)
{
    struct world *w = *state;
    struct foreign_export x;
    struct err e = {0};
    struct mailbox *m;
    bool changed;
    char first[256];

    box_write(&w->b, MAILDIR "/cur/1.a:2,Sb", "a\r\n");
    box_write(&w->b, MAILDIR "/dovecot-keywords", "0 $Label1\n1 $Forwarded\n");
    m = open_inbox(w);
    assert_int_equal(mailbox_at(m, 0)->flags, FLAG_SEEN | FLAG_FORWARDED);
    assert_int_equal(mailbox_keyword(m, 1).n, 0);
    assert_int_equal(mailbox_keyword_letter(m, SLICE("Other"), true, &e), 2);
    assert_int_equal(mailbox_flag(m, 1, FLAGS_REMOVE, FLAG_FORWARDED, &changed, &e), 0);
    box_count(&w->b, MAILDIR "/cur", first);
    assert_non_null(strstr(first, ":2,S"));
    assert_null(strchr(strstr(first, ":2,"), 'b'));
    assert_int_equal(mailbox_flag(m, 1, FLAGS_ADD, FLAG_FORWARDED, &changed, &e), 0);
    mailbox_close(m);
    assert_int_equal(foreign_export(w->a, INBOX, false, &x, &e), 0);
    assert_int_equal(x.renamed, 1);
    box_count(&w->b, MAILDIR "/cur", first);
    assert_string_equal(strstr(first, ":2,"), ":2,Sb");
    m = open_inbox(w);
    assert_int_equal(mailbox_at(m, 0)->flags, FLAG_SEEN | FLAG_FORWARDED);
    mailbox_close(m);
}

static void exports(void **state)
{
    struct world *w = *state;
    struct buf text = BUF_INIT(4096), expect = BUF_INIT(4096);
    struct foreign_export x;
    struct foreign f = FOREIGN_INIT;
    struct err e = {0};
    struct mailbox *m;
    int dir;

    dovecot(w);
    assert_int_equal(foreign_export(w->a, INBOX, true, &x, &e), 0);
    assert_int_equal(x.messages, 4);
    assert_int_equal(x.uidnext, 901);
    assert_int_equal(foreign_export(w->a, INBOX, false, &x, &e), 0);
    assert_int_equal(x.uidvalidity, 1130000000);
    assert_int_equal(x.messages, 4);
    dir = fs_open_dir(w->b.root, MAILDIR);
    assert_int_equal(foreign_load(dir, &f, &e), 0);
    close(dir);
    assert_int_equal(f.uidnext, 901);
    assert_int_equal(f.n, 4);
    assert_int_equal(foreign_find(&f, SLICE("100.a.host"))->uid, 33);
    assert_true(slice_eq(foreign_find(&f, SLICE("100.a.host"))->uidl, SLICE("UID33-5")));
    assert_int_equal(foreign_find(&f, SLICE("400.d.host"))->uid, 900);
    foreign_free(&f);
    /* each line is "<uid> [P..] :<base name of a file that is there>" */
    assert_int_equal(fs_load(w->b.root, MAILDIR "/dovecot-uidlist", &text, 4000), 0);
    m = open_inbox(w);
    buf_add_str(&expect, "3 V1130000000 N901 Gabc\n");
    for (size_t i = 0; i < mailbox_count(m); i++) {
        const struct message *msg = mailbox_at(m, i);

        buf_printf(&expect, "%u %s:%.*s\n", msg->uid, msg->uid == 33 ? "PUID33-5 " : "",
            (int)(strstr(msg->file, ":2,") - msg->file), msg->file);
    }
    /* "Gabc" is no GUID of Dovecot's: ours stands there */
    assert_int_equal(text.n, expect.n - 3 + 32);
    assert_non_null(strstr(buf_str(&text), strchr(buf_str(&expect), '\n')));
    assert_non_null(strstr(buf_str(&text), mailbox_id(m)));
    mailbox_close(m);
    assert_int_equal(foreign_export_uidvalidity(w->a, 0x4357e600, &e), 0);
    assert_true(box_has(&w->b, MAILDIR "/dovecot-uidvalidity.4357e600"));
    assert_int_equal(foreign_export_uidvalidity(w->a, 0x4357e601, &e), 0);
    assert_true(box_has(&w->b, MAILDIR "/dovecot-uidvalidity.4357e601"));
    assert_false(box_has(&w->b, MAILDIR "/dovecot-uidvalidity.4357e600"));
    buf_clear(&text);
    assert_int_equal(fs_load(w->b.root, MAILDIR "/dovecot-uidvalidity", &text, 40), 0);
    assert_string_equal(buf_str(&text), "4357e601");
    buf_free(&text);
    buf_free(&expect);
}

/* More than the store renames at once: the list of the other server and postamt-adopt stand side by side. */
static void many(void **state)
{
    enum { OLD = 600, YOUNG = 400 };
    struct world *w = *state;
    struct buf list = BUF_INIT(BUF_OWN);
    struct mailbox *m;

    buf_add_str(&list, "3 V1130000000 N5000\n");
    for (int i = 0; i < OLD + YOUNG; i++) {
        char path[200], text[32];

        snprintf(path, sizeof path, MAILDIR "/cur/%d.m%d.host:2,", 1000 + i, i);
        snprintf(text, sizeof text, "%d\r\n", i);
        box_write(&w->b, path, text);
        if (i < OLD)
            buf_printf(&list, "%d :%d.m%d.host\n", 1 + 2 * i, 1000 + i, i);
    }
    box_write(&w->b, MAILDIR "/dovecot-uidlist", buf_str(&list));
    for (int round = 0; round < 3; round++) {
        m = open_inbox(w);
        assert_int_equal(mailbox_count(m), OLD + YOUNG);
        for (int i = 0; i < OLD; i++)
            assert_int_equal(mailbox_at(m, (size_t)i)->uid, 1 + 2 * i);
        for (int i = 0; i < YOUNG; i++)
            assert_int_equal(mailbox_at(m, (size_t)(OLD + i))->uid, 5000 + i);
        assert_true(text_is(m, 1 + 2 * 77, "77\r\n"));
        assert_true(text_is(m, 5000 + 77, "677\r\n"));
        if (round == 0)
            mailbox_adopt_step(m, 500);
        else
            name_all(m);
        mailbox_close(m);
        again(w);
    }
    assert_false(box_has(&w->b, MAILDIR "/postamt-adopt"));
    buf_free(&list);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(takes_uids),
        TEST(serves_once),
        TEST(reads_a_newer_list),
        TEST(ignores_what_is_not_ours),
        TEST(takes_into_an_empty_one),
        TEST(doubles),
        TEST(courier),
        TEST(subscriptions),
        TEST(forwarded),
        TEST(exports),
        TEST(many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
