#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fs.h"
#include "common/log.h"
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

static struct mailbox *open_box(struct account *a, const char *name)
{
    struct err e = {0};
    struct mailbox *m = mailbox_open(a, slice_str(name), &e);

    if (!m)
        fail_msg("open %s: %s", name, e.detail);
    return m;
}

static uint32_t append(
    struct account *a, const char *mailbox, const char *text, uint32_t flags, const char *keyword)
{
    struct slice word = slice_str(keyword);
    struct err e = {0};
    struct append *ap = append_begin(a, slice_str(mailbox), &e);
    uint32_t uidvalidity, uid;

    assert_non_null(ap);
    assert_int_equal(append_write(ap, slice_str(text), &e), 0);
    if (append_commit(ap, flags, &word, keyword ? 1 : 0, 1000000000, &uidvalidity, &uid, &e) < 0)
        fail_msg("append: %s", e.detail);
    append_free(ap);
    return uid;
}

static void refresh(struct mailbox *m)
{
    struct err e = {0};

    if (mailbox_refresh(m, &e) < 0)
        fail_msg("refresh: %s", e.detail);
}

/* Long enough that stamps are old and a scan that makes sure is due. */
static void wait_a_bit(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL);
}

static void flag(struct mailbox *m, uint32_t uid, enum flag_change how, uint32_t flags)
{
    struct err e = {0};
    bool changed;

    assert_int_equal(mailbox_flag(m, uid, how, flags, &changed, &e), 0);
    assert_true(changed);
}

static void furnishes(void **state)
{
    struct world *w = *state;
    struct account_mailbox *list;
    struct arena arena;
    struct err e = {0};
    uint32_t seen[6];

    arena_init(&arena, 1 << 20);
    assert_int_equal(account_furnish(w->a, &e), 0);
    assert_int_equal(account_furnish(w->a, &e), 0);
    assert_int_equal(account_list(w->a, false, &arena, &list, &e), 6);
    assert_true(slice_eq(list[0].name, INBOX));
    assert_true(slice_eq(list[1].name, SLICE("Archive")));
    assert_int_equal(list[1].use, USE_ARCHIVE);
    for (int i = 0; i < 6; i++) {
        struct mailbox *m = mailbox_open(w->a, list[i].name, &e);

        assert_true(list[i].subscribed && list[i].exists && !list[i].has_children);
        assert_non_null(m);
        seen[i] = mailbox_uidvalidity(m);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(seen[i], seen[j]);
        mailbox_close(m);
    }
    /* what the user deleted stays deleted at the next login */
    assert_int_equal(account_mailbox_delete(w->a, SLICE("Archive"), &e), 0);
    assert_int_equal(account_furnish(w->a, &e), 0);
    assert_int_equal(account_list(w->a, false, &arena, &list, &e), 5);
    arena_free(&arena);
}

static void lists(void **state)
{
    struct world *w = *state;
    struct account_mailbox *list;
    struct arena arena;
    struct err e = {0};

    arena_init(&arena, 1 << 20);
    assert_int_equal(account_mailbox_create(w->a, SLICE("A/B/C"), USE_NONE, &e), 0);
    assert_int_equal(account_mailbox_create(w->a, SLICE("A-"), USE_SENT, &e), 0);
    assert_int_equal(account_mailbox_create(w->a, SLICE("B"), USE_SENT, &e), -1);
    assert_int_equal(e.code, ERR_CANNOT);
    assert_int_equal(account_mailbox_create(w->a, SLICE("A"), USE_NONE, &e), -1);
    assert_int_equal(e.code, ERR_MAILBOX_EXISTS);
    assert_int_equal(account_mailbox_delete(w->a, SLICE("A"), &e), 0);
    assert_int_equal(account_mailbox_delete(w->a, SLICE("A"), &e), -1);
    assert_int_equal(e.code, ERR_NO_MAILBOX);
    assert_int_equal(account_mailbox_delete(w->a, INBOX, &e), -1);
    assert_int_equal(account_subscribe(w->a, SLICE("Gone/x"), true, &e), 0);
    assert_int_equal(account_subscribe(w->a, SLICE("A/B"), true, &e), 0);
    box_write(&w->b, MAILDIR "/.plainfile", "x");
    assert_int_equal(account_list(w->a, true, &arena, &list, &e), 6);
    assert_true(slice_eq(list[1].name, SLICE("A")));
    assert_true(!list[1].exists && list[1].has_children);
    assert_true(slice_eq(list[2].name, SLICE("A/B")));
    assert_true(list[2].exists && list[2].has_children && list[2].subscribed);
    assert_true(slice_eq(list[3].name, SLICE("A/B/C")));
    assert_true(slice_eq(list[4].name, SLICE("A-")));
    assert_int_equal(list[4].use, USE_SENT);
    assert_true(slice_eq(list[5].name, SLICE("Gone/x")));
    assert_true(!list[5].exists && list[5].subscribed);
    assert_int_equal(account_list(w->a, false, &arena, &list, &e), 5);
    assert_int_equal(account_subscribe(w->a, SLICE("Gone/x"), false, &e), 0);
    assert_int_equal(account_list(w->a, true, &arena, &list, &e), 5);
    assert_true(account_has(w->a, SLICE("A/B")));
    assert_false(account_has(w->a, SLICE("A")));
    assert_int_equal(account_mailbox_create(w->a, SLICE(".."), USE_NONE, &e), 0);
    assert_true(box_has(&w->b, MAILDIR "/.&AC4ALg-/cur"));
    arena_free(&arena);
}

static void recreated_has_larger_uidvalidity(void **state)
{
    struct world *w = *state;
    struct err e = {0};
    uint32_t last = 0;

    for (int i = 0; i < 3; i++) {
        struct mailbox *m;

        assert_int_equal(account_mailbox_create(w->a, SLICE("X"), USE_NONE, &e), 0);
        append(w->a, "X", "a\r\n", 0, NULL);
        m = open_box(w->a, "X");
        assert_true(mailbox_uidvalidity(m) > last);
        last = mailbox_uidvalidity(m);
        assert_int_equal(account_mailbox_delete(w->a, SLICE("X"), &e), 0);
        /* the session that has it open is told, and a new one does not get the old object */
        assert_int_equal(mailbox_refresh(m, &e), -1);
        assert_int_equal(e.code, ERR_NO_MAILBOX);
        mailbox_close(m);
        assert_null(mailbox_open(w->a, SLICE("X"), &e));
    }
}

static void renames(void **state)
{
    struct world *w = *state;
    struct err e = {0};
    struct mailbox *m, *again;
    char id[33];

    assert_int_equal(account_mailbox_create(w->a, SLICE("A"), USE_JUNK, &e), 0);
    assert_int_equal(account_mailbox_create(w->a, SLICE("A/B"), USE_NONE, &e), 0);
    append(w->a, "A", "a\r\n", 0, NULL);
    m = open_box(w->a, "A");
    snprintf(id, sizeof id, "%s", mailbox_id(m));
    assert_int_equal(account_mailbox_rename(w->a, SLICE("A"), SLICE("A/C"), &e), -1);
    assert_int_equal(account_mailbox_rename(w->a, SLICE("A"), SLICE("N/M"), &e), 0);
    assert_true(slice_eq(mailbox_name(m), SLICE("N/M")));
    assert_true(slice_eq(mailbox_disk_name(m), SLICE(".N.M")));
    again = open_box(w->a, "N/M");
    assert_ptr_equal(m, again);
    assert_string_equal(mailbox_id(again), id);
    assert_int_equal(mailbox_count(again), 1);
    mailbox_close(again);
    mailbox_close(m);
    assert_true(account_has(w->a, SLICE("N")));
    assert_true(account_has(w->a, SLICE("N/M/B")));
    assert_false(account_has(w->a, SLICE("A")));
    assert_int_equal(account_mailbox_rename(w->a, SLICE("A"), SLICE("Z"), &e), -1);
    assert_int_equal(e.code, ERR_NO_MAILBOX);
    assert_int_equal(account_mailbox_rename(w->a, SLICE("N/M"), SLICE("N"), &e), -1);
    assert_int_equal(e.code, ERR_MAILBOX_EXISTS);
    /* INBOX gives away its messages */
    box_deliver(&w->b, "A: b\r\n\r\n");
    assert_int_equal(account_mailbox_rename(w->a, INBOX, SLICE("Old"), &e), 0);
    m = open_box(w->a, "Old");
    assert_int_equal(mailbox_count(m), 1);
    mailbox_close(m);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 0);
    mailbox_close(m);
}

static void delivers_and_appends(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    struct mailbox_status st;
    struct slice text;
    struct err e = {0};
    int64_t received;
    uint64_t size;
    uint32_t uid;

    box_deliver(&w->b, "Subject: 1\r\n\r\none\r\n");
    box_deliver(&w->b, "Subject: 2\r\n\r\ntwo\r\n");
    assert_int_equal(mailbox_status(w->a, INBOX, &st, &e), 0);
    assert_int_equal(st.messages, 2);
    assert_int_equal(st.recent, 2);
    assert_int_equal(st.uidnext, 3);
    assert_int_equal(st.size, 38);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 2);
    assert_int_equal(mailbox_at(m, 0)->uid, 1);
    assert_true(mailbox_at(m, 0)->recent);
    assert_true(mailbox_at(m, 0)->saved > 0);
    assert_int_equal(mailbox_uidnext(m), 3);
    assert_int_equal(box_count(&w->b, MAILDIR "/new", NULL), 0);
    box_deliver(&w->b, "Subject: 3\r\n\r\nthree\r\n");
    refresh(m);
    assert_int_equal(mailbox_count(m), 3);
    uid = append(w->a, "INBOX", "Subject: 4\n\nfour\r\nbare\n", FLAG_SEEN, "$Label1");
    assert_int_equal(uid, 4);
    assert_int_equal(mailbox_count(m), 4);
    assert_int_equal(mailbox_at(m, 3)->flags, FLAG_SEEN | FLAG_KEYWORD(0));
    assert_true(slice_eq(mailbox_keyword(m, 0), SLICE("$Label1")));
    assert_int_equal(mailbox_received(m, 4, &received, &e), 0);
    assert_int_equal(received, 1000000000);
    assert_int_equal(mailbox_size(m, 4, &size, &e), 0);
    assert_int_equal(size, 26);
    assert_int_equal(mailbox_text(m, 4, &text, &e), 0);
    assert_true(slice_eq(text, SLICE("Subject: 4\r\n\r\nfour\r\nbare\r\n")));
    assert_int_equal(mailbox_text_head(m, 1, 12, &text, &e), 0);
    assert_true(slice_eq(text, SLICE("Subject: 1\r\n")));
    assert_int_equal(mailbox_text(m, 1, &text, &e), 0);
    assert_int_equal(text.n, 19);
    assert_int_equal(mailbox_text(m, 99, &text, &e), -1);
    assert_int_equal(e.code, ERR_EXPUNGED);
    /* an own change is no reason to look, and nothing is lost when one looks */
    refresh(m);
    wait_a_bit();
    refresh(m);
    assert_int_equal(mailbox_count(m), 4);
    mailbox_close(m);
    assert_null(append_begin(w->a, SLICE("Nowhere"), &e));
    assert_int_equal(e.code, ERR_TRY_CREATE);
}

static void flags_and_expunge(void **state)
{
    struct world *w = *state;
    const struct mailbox_expunged *list;
    struct mailbox *m;
    struct err e = {0};
    uint32_t uids[] = {2, 4, 77};
    uint64_t before;
    size_t gone;
    bool changed, complete;
    char name[256];

    for (int i = 0; i < 5; i++)
        append(w->a, "INBOX", "x\r\n", 0, NULL);
    m = open_box(w->a, "INBOX");
    before = mailbox_highestmodseq(m);
    flag(m, 3, FLAGS_ADD, FLAG_SEEN | FLAG_FLAGGED);
    assert_true(mailbox_by_uid(m, 3)->modseq > before);
    assert_true(mailbox_highestmodseq(m) > before);
    assert_true(mailbox_needs_sync(m));
    assert_int_equal(mailbox_sync(m, &e), 0);
    assert_false(mailbox_needs_sync(m));
    assert_int_equal(mailbox_flag(m, 3, FLAGS_ADD, FLAG_SEEN, &changed, &e), 0);
    assert_false(changed);
    flag(m, 3, FLAGS_REMOVE, FLAG_SEEN);
    flag(m, 3, FLAGS_SET, FLAG_DELETED);
    assert_int_equal(mailbox_by_uid(m, 3)->flags, FLAG_DELETED);
    before = mailbox_highestmodseq(m);
    assert_int_equal(mailbox_expunge(m, uids, 3, &gone, &e), 0);
    assert_int_equal(gone, 2);
    assert_int_equal(mailbox_count(m), 3);
    assert_null(mailbox_by_uid(m, 2));
    assert_int_equal(mailbox_expunged_since(m, before, &list, &complete), 2);
    assert_true(complete);
    assert_int_equal(list[0].uid, 2);
    assert_int_equal(list[1].uid, 4);
    assert_true(list[0].modseq > before && list[1].modseq > list[0].modseq);
    assert_int_equal(mailbox_expunged_since(m, list[1].modseq, &list, &complete), 0);
    mailbox_expunged_since(m, 0, &list, &complete);
    assert_false(complete);
    assert_int_equal(mailbox_flag(m, 2, FLAGS_ADD, FLAG_SEEN, &changed, &e), -1);
    assert_int_equal(e.code, ERR_EXPUNGED);
    assert_int_equal(box_count(&w->b, MAILDIR "/cur", name), 3);
    mailbox_close(m);
    /* the last UID is not given again, and no MODSEQ either */
    before = 0;
    m = open_box(w->a, "INBOX");
    before = mailbox_highestmodseq(m);
    assert_int_equal(mailbox_expunge(m, (uint32_t[]){5}, 1, &gone, &e), 0);
    mailbox_close(m);
    assert_int_equal(append(w->a, "INBOX", "y\r\n", 0, NULL), 6);
    m = open_box(w->a, "INBOX");
    assert_true(mailbox_highestmodseq(m) > before);
    mailbox_close(m);
}

static void unchanged_keeps_modseq(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    uint64_t modseq;

    append(w->a, "INBOX", "x\r\n", 0, NULL);
    m = open_box(w->a, "INBOX");
    flag(m, 1, FLAGS_ADD, FLAG_SEEN);
    wait_a_bit();
    refresh(m);
    modseq = mailbox_highestmodseq(m);
    mailbox_close(m);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_highestmodseq(m), modseq);
    mailbox_close(m);
    box_deliver(&w->b, "A: b\r\n\r\n");
    m = open_box(w->a, "INBOX");
    assert_true(mailbox_highestmodseq(m) > modseq);
    mailbox_close(m);
}

static void copies_and_moves(void **state)
{
    struct world *w = *state;
    struct mailbox *m, *to;
    struct err e = {0};
    uint32_t uids[] = {1, 9, 2}, fresh[3], uidvalidity;
    struct slice text;
    int64_t received;

    assert_int_equal(account_mailbox_create(w->a, SLICE("To"), USE_NONE, &e), 0);
    append(w->a, "To", "there\r\n", 0, "first");
    append(w->a, "INBOX", "1\r\n", FLAG_SEEN, "second");
    append(w->a, "INBOX", "2\r\n", 0, NULL);
    append(w->a, "INBOX", "3\r\n", 0, NULL);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_copy(m, uids, 3, SLICE("Nowhere"), false, fresh, &uidvalidity, &e), -1);
    assert_int_equal(e.code, ERR_TRY_CREATE);
    assert_int_equal(mailbox_copy(m, uids, 3, SLICE("To"), false, fresh, &uidvalidity, &e), 0);
    assert_int_equal(fresh[0], 2);
    assert_int_equal(fresh[1], 0);
    assert_int_equal(fresh[2], 3);
    assert_int_equal(mailbox_count(m), 3);
    to = open_box(w->a, "To");
    assert_int_equal(mailbox_uidvalidity(to), uidvalidity);
    assert_int_equal(mailbox_count(to), 3);
    assert_int_equal(mailbox_at(to, 1)->flags, FLAG_SEEN | FLAG_KEYWORD(1));
    assert_true(slice_eq(mailbox_keyword(to, 1), SLICE("second")));
    assert_int_equal(mailbox_received(to, 2, &received, &e), 0);
    assert_int_equal(received, 1000000000);
    assert_int_equal(mailbox_text(to, 3, &text, &e), 0);
    assert_true(slice_eq(text, SLICE("2\r\n")));
    /* into itself */
    assert_int_equal(mailbox_copy(m, uids, 1, INBOX, false, fresh, &uidvalidity, &e), 0);
    assert_int_equal(fresh[0], 4);
    assert_int_equal(mailbox_count(m), 4);
    /* move, while the target is open */
    uids[1] = 3;
    assert_int_equal(mailbox_copy(m, uids, 2, SLICE("To"), true, fresh, &uidvalidity, &e), 0);
    assert_int_equal(fresh[0], 5);
    assert_int_equal(fresh[1], 6);
    assert_int_equal(mailbox_count(m), 2);
    assert_int_equal(mailbox_count(to), 5);
    assert_int_equal(mailbox_copy(m, (uint32_t[]){2}, 1, INBOX, true, fresh, &uidvalidity, &e), 0);
    assert_int_equal(fresh[0], 5);
    assert_int_equal(mailbox_count(m), 2);
    wait_a_bit();
    refresh(m);
    refresh(to);
    assert_int_equal(mailbox_count(m), 2);
    assert_int_equal(mailbox_count(to), 5);
    mailbox_close(to);
    mailbox_close(m);
}

static void state_is_derived(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    struct err e = {0};
    uint32_t uidvalidity, uidnext;
    uint64_t modseq;
    char id[33];
    size_t gone;

    box_deliver(&w->b, "A: 1\r\n\r\n");
    append(w->a, "INBOX", "x\r\n", FLAG_ANSWERED, "work");
    m = open_box(w->a, "INBOX");
    for (int i = 0; i < 3; i++)
        append(w->a, "INBOX", "x\r\n", FLAG_SEEN, NULL);
    assert_int_equal(mailbox_expunge(m, (uint32_t[]){5}, 1, &gone, &e), 0);
    uidvalidity = mailbox_uidvalidity(m);
    uidnext = mailbox_uidnext(m);
    modseq = mailbox_highestmodseq(m);
    snprintf(id, sizeof id, "%s", mailbox_id(m));
    mailbox_close(m);
    account_close(w->a);
    box_lose_state(&w->b);
    w->a = box_open(&w->b);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_uidvalidity(m), uidvalidity);
    assert_string_equal(mailbox_id(m), id);
    assert_int_equal(mailbox_count(m), 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(mailbox_at(m, i)->uid, i + 1);
    assert_int_equal(mailbox_by_uid(m, 2)->flags, FLAG_ANSWERED | FLAG_KEYWORD(0));
    assert_true(slice_eq(mailbox_keyword(m, 0), SLICE("work")));
    assert_int_equal(mailbox_by_uid(m, 3)->flags, FLAG_SEEN);
    assert_true(mailbox_uidnext(m) >= uidnext);
    assert_true(mailbox_highestmodseq(m) > modseq);
    mailbox_close(m);
    assert_true(append(w->a, "INBOX", "y\r\n", 0, NULL) >= uidnext);
}

static void foreign_changes(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    struct err e = {0};
    char name[256], from[400], to[400];
    uint64_t before;
    uint32_t uid;
    size_t gone;
    bool changed;

    append(w->a, "INBOX", "x\r\n", 0, NULL);
    m = open_box(w->a, "INBOX");
    before = mailbox_highestmodseq(m);
    /* another program sets a flag */
    box_count(&w->b, MAILDIR "/cur", name);
    snprintf(from, sizeof from, MAILDIR "/cur/%s", name);
    snprintf(to, sizeof to, MAILDIR "/cur/%sF", name);
    wait_a_bit();
    box_rename(&w->b, from, to);
    refresh(m);
    assert_int_equal(mailbox_at(m, 0)->flags, FLAG_FLAGGED);
    assert_true(mailbox_at(m, 0)->modseq > before);
    /* .. and again, just before we set one: both stay */
    wait_a_bit();
    box_rename(&w->b, to, from);
    assert_int_equal(mailbox_flag(m, 1, FLAGS_ADD, FLAG_SEEN, &changed, &e), 0);
    assert_int_equal(mailbox_at(m, 0)->flags, FLAG_SEEN);
    /* puts a message there, one in new/, and things that are none */
    wait_a_bit();
    box_write(&w->b, MAILDIR "/cur/100.foreign:2,T", "a\nb\n");
    box_write(&w->b, MAILDIR "/new/101.foreign", "a\n");
    assert_int_equal(mkfifoat(w->b.root, MAILDIR "/cur/fifo:2,", 0600), 0);
    assert_int_equal(symlinkat("/etc/passwd", w->b.root, MAILDIR "/cur/link:2,"), 0);
    assert_int_equal(fs_mkdir(w->b.root, MAILDIR "/cur/folder"), 0);
    refresh(m);
    assert_int_equal(mailbox_count(m), 3);
    assert_int_equal(mailbox_at(m, 1)->uid, 2);
    assert_int_equal(mailbox_at(m, 1)->flags, FLAG_DELETED);
    assert_int_equal(mailbox_at(m, 2)->uid, 3);
    assert_int_equal(mailbox_size(m, 2, &before, &e), 0);
    assert_int_equal(before, 6);
    assert_non_null(strstr(mailbox_by_uid(m, 2)->file, ",S=4,W=6,"));
    /* a second file with one UID gets its own; so does one that comes back from the dead */
    snprintf(from, sizeof from, MAILDIR "/cur/%s", mailbox_by_uid(m, 2)->file);
    snprintf(to, sizeof to, MAILDIR "/cur/000.%s", mailbox_by_uid(m, 2)->file);
    wait_a_bit();
    assert_int_equal(linkat(w->b.root, from, w->b.root, to, 0), 0);
    refresh(m);
    assert_int_equal(mailbox_count(m), 4);
    assert_int_equal(mailbox_at(m, 3)->uid, 4);
    snprintf(from, sizeof from, MAILDIR "/cur/%s", mailbox_by_uid(m, 3)->file);
    assert_int_equal(linkat(w->b.root, from, w->b.root, "saved", 0), 0);
    assert_int_equal(mailbox_expunge(m, (uint32_t[]){3}, 1, &gone, &e), 0);
    wait_a_bit();
    assert_int_equal(linkat(w->b.root, "saved", w->b.root, from, 0), 0);
    refresh(m);
    assert_int_equal(mailbox_count(m), 4);
    assert_null(mailbox_by_uid(m, 3));
    assert_non_null(mailbox_by_uid(m, 5));
    /* removes one */
    wait_a_bit();
    snprintf(from, sizeof from, MAILDIR "/cur/%s", mailbox_by_uid(m, 5)->file);
    box_unlink(&w->b, from);
    refresh(m);
    assert_null(mailbox_by_uid(m, 5));
    /* moves one here from a folder where it had a UID */
    assert_int_equal(account_mailbox_create(w->a, SLICE("Other"), USE_NONE, &e), 0);
    uid = append(w->a, "Other", "o\r\n", 0, NULL);
    assert_int_equal(uid, 1);
    box_count(&w->b, MAILDIR "/.Other/cur", name);
    snprintf(from, sizeof from, MAILDIR "/.Other/cur/%s", name);
    snprintf(to, sizeof to, MAILDIR "/cur/%s", name);
    wait_a_bit();
    box_rename(&w->b, from, to);
    refresh(m);
    assert_non_null(mailbox_by_uid(m, 6));
    assert_int_equal(mailbox_count(m), 4);
    mailbox_close(m);
}

/* A neighbour renames one file to and fro; the message must never vanish. */
static void never_a_false_expunge(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    const struct mailbox_expunged *list;
    char a[400], b[420];
    uint64_t since;
    bool complete;
    pid_t pid;

    for (int i = 0; i < 300; i++) {
        char path[100];

        snprintf(path, sizeof path, MAILDIR "/cur/%d.x:2,", i);
        box_write(&w->b, path, "x\n");
    }
    m = open_box(w->a, "INBOX");
    while (mailbox_adopt_step(m, 64))
        ;
    assert_int_equal(mailbox_count(m), 300);
    since = mailbox_highestmodseq(m);
    snprintf(a, sizeof a, MAILDIR "/cur/%s", mailbox_at(m, 150)->file);
    snprintf(b, sizeof b, "%sS", a);
    pid = fork();
    if (pid == 0) {
        for (;;) {
            renameat(w->b.root, a, w->b.root, b);
            renameat(w->b.root, b, w->b.root, a);
        }
    }
    for (int i = 0; i < 200; i++) {
        refresh(m);
        assert_int_equal(mailbox_count(m), 300);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(mailbox_expunged_since(m, since, &list, &complete), 0);
    mailbox_close(m);
}

static void adopts(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    char path[100], file[400];
    bool changed;
    struct err e = {0};

    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, MAILDIR "/cur/%d.foreign:2,%s", 1000 + i, i & 1 ? "S" : "");
        box_write(&w->b, path, "x\n");
    }
    box_write(&w->b, MAILDIR "/cur/1500.foreign:2,F", "twin\n"); /* one unique part, twice */
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 1001);
    assert_true(box_has(&w->b, MAILDIR "/postamt-adopt"));
    assert_string_equal(mailbox_by_uid(m, 1)->file, "1000.foreign:2,");
    assert_string_equal(mailbox_by_uid(m, 1001)->file, "1999.foreign:2,S");
    assert_int_equal(mailbox_flag(m, 7, FLAGS_ADD, FLAG_FLAGGED, &changed, &e), 0);
    assert_non_null(strstr(mailbox_by_uid(m, 7)->file, ",U=7."));
    mailbox_close(m);
    account_close(w->a);
    box_lose_state(&w->b);
    w->a = box_open(&w->b);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 1001);
    for (uint32_t i = 0; i < 1001; i++)
        assert_int_equal(mailbox_at(m, i)->uid, i + 1);
    assert_string_equal(mailbox_by_uid(m, 1001)->file, "1999.foreign:2,S");
    assert_true(mailbox_adopt_step(m, 100));
    /* the rest in idle time, though nobody has it open */
    mailbox_close(m);
    for (int i = 0; account_idle_step(w->a); i++)
        assert_in_range(i, 0, 1000);
    m = open_box(w->a, "INBOX");
    assert_false(box_has(&w->b, MAILDIR "/postamt-adopt"));
    snprintf(file, sizeof file, "%s", mailbox_by_uid(m, 1001)->file);
    assert_non_null(strstr(file, ",U=1001."));
    mailbox_close(m);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 1001);
    assert_string_equal(mailbox_by_uid(m, 1001)->file, file);
    mailbox_close(m);
}

static void keywords(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    struct err e = {0};
    char word[32];

    box_write(&w->b, MAILDIR "/dovecot-keywords", "0 $Forwarded\n2 has space\n30 later\nrubbish\n");
    append(w->a, "INBOX", "x\r\n", 0, NULL);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_keyword_letter(m, SLICE("$FORWARDED"), false, &e), 0);
    assert_int_equal(mailbox_keyword(m, 2).n, 0); /* no atom: never shown */
    assert_int_equal(mailbox_keyword_letter(m, SLICE("a b"), true, &e), -1);
    for (int i = 0; i < 24; i++) {
        int letter;

        snprintf(word, sizeof word, "k%d", i);
        letter = mailbox_keyword_letter(m, slice_str(word), true, &e);
        assert_true(letter > 0 && letter != 2);
        flag(m, 1, FLAGS_ADD, FLAG_KEYWORD(letter));
    }
    flag(m, 1, FLAGS_ADD, FLAG_KEYWORD(0) | FLAG_KEYWORD(2));
    assert_int_equal(mailbox_keyword_letter(m, SLICE("more"), true, &e), -1);
    assert_int_equal(e.code, ERR_KEYWORDS_FULL);
    flag(m, 1, FLAGS_REMOVE, FLAG_KEYWORD(5));
    assert_int_equal(mailbox_keyword_letter(m, SLICE("more"), true, &e), 5);
    mailbox_close(m);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_keyword_letter(m, SLICE("more"), false, &e), 5);
    mailbox_close(m);
    {
        struct buf text = BUF_INIT(10000);

        assert_int_equal(fs_load(w->b.root, MAILDIR "/dovecot-keywords", &text, 9000), 0);
        assert_true(slice_find(buf_slice(&text), SLICE("\n5 more\n")) > 0);
        assert_true(slice_find(buf_slice(&text), SLICE("30 later\nrubbish\n")) > 0);
        buf_free(&text);
    }
}

static void two_processes(void **state)
{
    struct world *w = *state;
    struct account *other = box_open(&w->b);
    struct mailbox *m, *n;
    struct err e = {0};
    size_t gone;
    bool changed;

    m = open_box(w->a, "INBOX");
    n = open_box(other, "INBOX");
    assert_int_equal(append(w->a, "INBOX", "1\r\n", 0, NULL), 1);
    assert_int_equal(append(other, "INBOX", "2\r\n", 0, NULL), 2);
    assert_int_equal(mailbox_count(n), 2); /* the other's came in before its own */
    assert_int_equal(append(w->a, "INBOX", "3\r\n", 0, NULL), 3);
    assert_int_equal(mailbox_count(m), 3);
    /* a UID that one expunged is not given again by the other */
    assert_int_equal(mailbox_expunge(m, (uint32_t[]){3}, 1, &gone, &e), 0);
    assert_int_equal(append(other, "INBOX", "4\r\n", 0, NULL), 4);
    refresh(m);
    refresh(n);
    assert_int_equal(mailbox_count(m), 3);
    assert_int_equal(mailbox_count(n), 3);
    /* both change one message without having looked */
    flag(m, 1, FLAGS_ADD, FLAG_SEEN);
    assert_int_equal(mailbox_flag(n, 1, FLAGS_ADD, FLAG_FLAGGED, &changed, &e), 0);
    assert_int_equal(mailbox_by_uid(n, 1)->flags, FLAG_SEEN | FLAG_FLAGGED);
    refresh(m);
    assert_int_equal(mailbox_by_uid(m, 1)->flags, FLAG_SEEN | FLAG_FLAGGED);
    mailbox_close(m);
    mailbox_close(n);
    account_close(other);
}

/* imapd's and pop3d's worker meet a new account at the same moment */
static void furnished_by_two(void **state)
{
    struct world *w = *state;
    pid_t pids[4];

    for (int p = 0; p < 4; p++) {
        pids[p] = fork();
        if (pids[p] == 0) {
            struct account *a = box_open(&w->b);
            struct err e = {0};

            _exit(account_furnish(a, &e) < 0);
        }
    }
    for (int p = 0; p < 4; p++) {
        int status;

        waitpid(pids[p], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_true(box_has(&w->b, "mail/" BOX_PATH "/Maildir/.Sent"));
}

static void forked(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    pid_t pids[3];

    for (int p = 0; p < 3; p++) {
        pids[p] = fork();
        if (pids[p] == 0) {
            struct account *a = box_open(&w->b);
            struct mailbox *mine = open_box(a, "INBOX");
            struct err e = {0};
            size_t gone;

            for (int i = 0; i < 40; i++) {
                uint32_t uid = append(a, "INBOX", "x\r\n", 0, NULL);

                if (i % 4 == 3)
                    mailbox_expunge(mine, &uid, 1, &gone, &e);
            }
            mailbox_close(mine);
            account_close(a);
            _exit(0);
        }
    }
    for (int p = 0; p < 3; p++) {
        int status;

        waitpid(pids[p], &status, 0);
        assert_int_equal(status, 0);
    }
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 90);
    assert_int_equal(mailbox_uidnext(m), 121); /* 120 appends, 120 UIDs */
    mailbox_close(m);
}

static void uids_used_up(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    struct err e = {0};
    uint32_t uidvalidity;
    struct stat st;

    append(w->a, "INBOX", "1\r\n", FLAG_SEEN, NULL);
    {
        struct meta meta;
        int dir = fs_open_dir(w->b.root, MAILDIR), from = fs_open_dir(w->b.state, BOX_PATH);

        assert_int_equal(meta_load(dir, &meta, &e), 1);
        meta.uidnext = 4294967290u;
        assert_int_equal(meta_store(from, dir, &meta, &e), 0);
        uidvalidity = meta.uidvalidity;
        close(dir);
        close(from);
    }
    account_close(w->a);
    box_lose_state(&w->b);
    w->a = box_open(&w->b);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_uidvalidity(m), uidvalidity);
    assert_int_equal(mailbox_uidnext(m), 4294967290u);
    for (int i = 0; i < 20; i++)
        box_deliver(&w->b, "A: b\r\n\r\n");
    refresh(m);
    assert_true(mailbox_uidvalidity(m) > uidvalidity);
    assert_int_equal(mailbox_count(m), 21);
    for (uint32_t i = 0; i < 21; i++)
        assert_int_equal(mailbox_at(m, i)->uid, i + 1);
    assert_int_equal(mailbox_uidnext(m), 22);
    for (uint32_t i = 0; i < 21; i++)
        assert_true(mailbox_at(m, i)->modseq > 0);
    assert_int_equal(fs_stat(w->b.root, MAILDIR "/postamt-mailbox", &st), 0);
    mailbox_close(m);
    assert_int_equal(append(w->a, "INBOX", "x\r\n", 0, NULL), 22);
}

/* Another process renamed what is open here and made a new one of the old name: deleting that is not ours. */
static void a_name_of_two(void **state)
{
    struct world *w = *state;
    struct account *other = box_open(&w->b);
    struct mailbox *m;
    struct err e = {0};

    assert_int_equal(account_mailbox_create(w->a, SLICE("A"), USE_NONE, &e), 0);
    append(w->a, "A", "x\r\n", 0, NULL);
    m = open_box(w->a, "A");
    assert_int_equal(account_mailbox_rename(other, SLICE("A"), SLICE("B"), &e), 0);
    assert_int_equal(account_mailbox_create(other, SLICE("A"), USE_NONE, &e), 0);
    assert_int_equal(account_mailbox_delete(w->a, SLICE("A"), &e), 0);
    refresh(m);
    assert_int_equal(mailbox_count(m), 1);
    mailbox_close(m);
    m = open_box(w->a, "B");
    assert_int_equal(mailbox_count(m), 1);
    mailbox_close(m);
    account_close(other);
}

/* DELETE marks a folder before it moves it away: one that died between the two has deleted nothing. */
static void marked_but_there(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    struct err e = {0};

    assert_int_equal(account_mailbox_create(w->a, SLICE("A"), USE_NONE, &e), 0);
    append(w->a, "A", "x\r\n", 0, NULL);
    m = open_box(w->a, "A");
    box_write(&w->b, MAILDIR "/.A/postamt-deleted", ".A\n");
    refresh(m);
    assert_int_equal(mailbox_count(m), 1);
    mailbox_close(m);
    m = open_box(w->a, "A");
    box_rename(&w->b, MAILDIR "/.A", "mail/" BOX_PATH "/kept");
    assert_int_equal(mailbox_refresh(m, &e), -1);
    assert_int_equal(e.code, ERR_NO_MAILBOX);
    mailbox_close(m);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {T(furnishes), T(lists), T(recreated_has_larger_uidvalidity),
        T(renames), T(delivers_and_appends), T(flags_and_expunge), T(unchanged_keeps_modseq),
        T(copies_and_moves), T(state_is_derived), T(foreign_changes), T(never_a_false_expunge), T(adopts),
        T(keywords), T(two_processes), T(furnished_by_two), T(forked), T(uids_used_up), T(marked_but_there),
        T(a_name_of_two)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
