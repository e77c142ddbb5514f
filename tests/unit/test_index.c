#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fs.h"
#include "common/log.h"
#include "store/mailbox_priv.h"
#include "store/view.h"
#include "tests/unit/store_box.h"

#define STATE "state/" BOX_PATH "/INBOX/"
#define INDEX STATE INDEX_FILE
#define CUR "mail/" BOX_PATH "/Maildir/cur"
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

static struct mailbox *open_box(struct account *a)
{
    struct err e = {0};
    struct mailbox *m = mailbox_open(a, INBOX, &e);

    if (!m)
        fail_msg("open: %s", e.detail);
    return m;
}

static uint32_t append(struct account *a, const char *text, uint32_t flags)
{
    struct err e = {0};
    struct append *ap = append_begin(a, INBOX, &e);
    uint32_t uidvalidity, uid;

    assert_non_null(ap);
    assert_int_equal(append_write(ap, slice_str(text), &e), 0);
    if (append_commit(ap, flags, NULL, 0, 1000000000, &uidvalidity, &uid, &e) < 0)
        fail_msg("append: %s", e.detail);
    append_free(ap);
    return uid;
}

static void flag(struct mailbox *m, uint32_t uid, enum flag_change how, uint32_t flags)
{
    struct err e = {0};
    bool changed;

    assert_int_equal(mailbox_flag(m, uid, how, flags, &changed, &e), 0);
    assert_true(changed);
}

static void expunge(struct mailbox *m, uint32_t uid)
{
    struct err e = {0};
    size_t gone;

    assert_int_equal(mailbox_expunge(m, &uid, 1, &gone, &e), 0);
    assert_int_equal(gone, 1);
}

static void wait_a_bit(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL);
}

/* As another process would meet it: nothing of this one is in memory. */
static void again(struct world *w)
{
    account_close(w->a);
    w->a = box_open(&w->b);
}

/* --- the format --- */

static const struct message three[] = {
    {.uid = 1, .flags = FLAG_SEEN, .modseq = 5, .size = 10, .size_crlf = 11, .file = (char *)"a,U=1:2,S"},
    {.uid = 7, .modseq = 6, .received = -5, .saved = 9, .cache = 77, .file = (char *)"b", .unnamed = true},
    {.uid = UINT32_MAX, .flags = ~0u, .modseq = UINT64_MAX, .file = (char *)"c:2,", .recent = true},
};
static const struct mailbox_expunged two[] = {{3, 1}, {2, 4}};

static void same_message(const struct message *a, const struct message *b)
{
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->modseq, b->modseq);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->size_crlf, b->size_crlf);
    assert_int_equal(a->received, b->received);
    assert_int_equal(a->saved, b->saved);
    assert_int_equal(a->cache, b->cache);
    assert_int_equal(a->unnamed, b->unnamed);
    assert_int_equal(a->recent, b->recent);
    assert_string_equal(a->file, b->file);
}

static void base_free(struct index_base *base)
{
    free(base->messages);
    free(base->expunged);
    buf_free(&base->names);
}

static int state_dir(struct world *w)
{
    struct err e = {0};
    int mail, state;

    assert_int_equal(account_open_mailbox_dirs(w->a, INBOX, &mail, &state, &e), 0);
    close(mail);
    return state;
}

static void base_and_log(void **state)
{
    struct world *w = *state;
    struct index_header h = {.uidvalidity = 1, .uidnext = 9, .modseq = 8, .cur_stamp = 55}, back;
    struct buf log = BUF_INIT(BUF_OWN), read = BUF_INIT(BUF_OWN);
    struct index_entry entry;
    struct index_base base;
    struct slice rest;
    int dir = state_dir(w), fd = index_replace(dir, &h, three, 3, two, 2);

    assert_true(fd >= 0);
    for (int what = INDEX_ADD; what <= INDEX_CLAIMED; what++)
        index_put(&log, (enum index_what)what, &three[1]);
    assert_int_equal(index_append(fd, &h, buf_slice(&log), false), 0);
    close(fd);
    fd = index_open(dir);
    assert_true(index_read(fd, &back));
    assert_int_equal(back.cur_stamp, 55);
    assert_int_equal(back.log_end, index_log_start(&back) + log.n);
    assert_true(index_read_base(fd, &back, &base));
    assert_int_equal(base.nmessages, 3);
    for (size_t i = 0; i < 3; i++)
        same_message(&base.messages[i], &three[i]);
    assert_int_equal(base.nexpunged, 2);
    assert_memory_equal(&base.expunged[1].uid, &two[1].uid, sizeof two[1].uid);
    assert_int_equal(base.expunged[1].modseq, 4);
    base_free(&base);
    assert_true(index_read_log(fd, &back, index_log_start(&back), &read));
    rest = buf_slice(&read);
    for (int what = INDEX_ADD; what <= INDEX_CLAIMED; what++) {
        assert_true(index_next(&rest, &entry));
        assert_int_equal(entry.what, what);
        assert_int_equal(entry.msg.uid, 7);
        if (what == INDEX_ADD)
            same_message(&entry.msg, &three[1]);
    }
    assert_int_equal(rest.n, 0);
    assert_false(index_next(&rest, &entry));
    /* offsets that are none */
    assert_false(index_read_log(fd, &back, 0, &read));
    assert_false(index_read_log(fd, &back, back.log_end + 1, &read));
    buf_free(&log);
    buf_free(&read);
    close(fd);
    close(dir);
}

static void other_boots(void **state)
{
    struct world *w = *state;
    struct index_header h = {.uidvalidity = 1, .uidnext = 9, .modseq = 8}, back;
    int dir = state_dir(w), fd = index_replace(dir, &h, NULL, 0, NULL, 0);
    unsigned char *boot = (unsigned char *)(uintptr_t)store_boot_id(); /* it is no constant */

    boot[3] ^= 1;
    assert_false(index_read(fd, &back));
    boot[3] ^= 1;
    h.clean = true;
    assert_int_equal(index_write(fd, &h, true), 0);
    boot[3] ^= 1;
    assert_true(index_read(fd, &back));
    assert_true(back.clean);
    boot[3] ^= 1;
    close(fd);
    close(dir);
}

/* --- what a mailbox makes of it --- */

/* Flags, MODSEQs, dates and the history of expunges are as they were, and the names need not be read. */
static void survives_the_close(void **state)
{
    struct world *w = *state;
    const struct mailbox_expunged *gone;
    uint64_t modseq[4], highest, since;
    struct mailbox *m;
    struct err e = {0};
    int64_t date;
    bool complete;

    for (int i = 0; i < 4; i++)
        append(w->a, "x\r\n", 0);
    m = open_box(w->a);
    since = mailbox_highestmodseq(m);
    flag(m, 2, FLAGS_ADD, FLAG_SEEN);
    expunge(m, 3);
    flag(m, 1, FLAGS_ADD, FLAG_FLAGGED);
    assert_int_equal(mailbox_received(m, 1, &date, &e), 0);
    for (size_t i = 0; i < 3; i++)
        modseq[i] = mailbox_at(m, i)->modseq;
    highest = mailbox_highestmodseq(m);
    mailbox_close(m);
    wait_a_bit();
    again(w);
    m = open_box(w->a);
    assert_int_equal(mailbox_count(m), 3);
    assert_int_equal(mailbox_highestmodseq(m), highest);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(mailbox_at(m, i)->modseq, modseq[i]);
    assert_int_equal(mailbox_at(m, 1)->flags, FLAG_SEEN);
    assert_int_equal(mailbox_at(m, 0)->received, 1000000000);
    assert_int_equal(mailbox_expunged_since(m, since, &gone, &complete), 1);
    assert_true(complete);
    assert_int_equal(gone->uid, 3);
    /* UIDs of the expunged are not given again */
    assert_int_equal(append(w->a, "y\r\n", 0), 5);
    mailbox_close(m);
}

/* Two processes: what one noted the other knows without looking at the names. */
static void others_notes(void **state)
{
    struct world *w = *state;
    struct account *other = box_open(&w->b);
    struct mailbox *m = open_box(w->a), *n = open_box(other);
    const struct mailbox_expunged *gone;
    struct err e = {0};
    uint64_t since;
    bool complete;

    for (int i = 0; i < 5; i++)
        append(w->a, "x\r\n", 0);
    assert_int_equal(mailbox_refresh(n, &e), 0);
    assert_int_equal(mailbox_count(n), 5);
    since = mailbox_highestmodseq(n);
    assert_int_equal(since, mailbox_highestmodseq(m));
    flag(m, 1, FLAGS_ADD, FLAG_SEEN);
    expunge(m, 2);
    flag(n, 3, FLAGS_ADD, FLAG_SEEN);
    assert_int_equal(mailbox_refresh(m, &e), 0);
    /* the same numbers on both sides, in the order it happened */
    for (int side = 0; side < 2; side++) {
        struct mailbox *at = side ? n : m;

        assert_int_equal(mailbox_by_uid(at, 1)->modseq, since + 1);
        assert_int_equal(mailbox_expunged_since(at, since, &gone, &complete), 1);
        assert_true(complete);
        assert_int_equal(gone->modseq, since + 2);
        assert_int_equal(mailbox_by_uid(at, 3)->modseq, since + 3);
    }
    /* through a new base as well: thousands of changes */
    for (int i = 0; i < 6000; i++)
        flag(i % 2 ? m : n, 4, i / 2 % 2 ? FLAGS_REMOVE : FLAGS_ADD, i % 2 ? FLAG_DRAFT : FLAG_ANSWERED);
    assert_int_equal(mailbox_refresh(m, &e), 0);
    assert_int_equal(mailbox_refresh(n, &e), 0);
    assert_int_equal(mailbox_highestmodseq(m), mailbox_highestmodseq(n));
    assert_int_equal(mailbox_by_uid(m, 4)->flags, mailbox_by_uid(n, 4)->flags);
    assert_int_equal(mailbox_by_uid(m, 4)->modseq, mailbox_by_uid(n, 4)->modseq);
    mailbox_close(m);
    mailbox_close(n);
    account_close(other);
    {
        struct stat st;

        assert_int_equal(fs_stat(w->b.root, INDEX, &st), 0);
        assert_true(st.st_size < 700000); /* not all of the 6000 */
    }
}

/* The file goes, or is another's, while two have it open. */
static void lost_in_use(void **state)
{
    struct world *w = *state;
    struct account *other = box_open(&w->b);
    struct mailbox *m = open_box(w->a), *n = open_box(other);
    struct err e = {0};
    uint32_t last = 0;

    for (int round = 0; round < 8; round++) {
        uint32_t a = append(w->a, "x\r\n", 0), b;

        assert_true(a > last);
        box_unlink(&w->b, INDEX);
        if (round % 2)
            box_write(&w->b, INDEX, "something else");
        b = append(other, "x\r\n", FLAG_SEEN);
        assert_true(b > a);
        last = b;
        assert_int_equal(mailbox_refresh(m, &e), 0);
        assert_int_equal(mailbox_refresh(n, &e), 0);
        assert_int_equal(mailbox_count(m), 2 * (size_t)round + 2);
        assert_int_equal(mailbox_count(n), 2 * (size_t)round + 2);
        for (size_t i = 0; i < mailbox_count(m); i++)
            assert_int_equal(mailbox_at(m, i)->uid, mailbox_at(n, i)->uid);
    }
    mailbox_close(m);
    mailbox_close(n);
    account_close(other);
}

static void on_exists(void *ctx, uint32_t count, uint32_t recent)
{
    (void)count;
    *(uint32_t *)ctx = recent;
}

static void keeps_recent(void **state)
{
    struct world *w = *state;
    struct mailbox *m;
    struct view *v;
    struct view_events events = {.exists = on_exists};
    struct err e = {0};
    uint32_t recent = 0;

    box_deliver(&w->b, "A: 1\r\n\r\n");
    m = open_box(w->a);
    v = view_new(m, true); /* EXAMINE takes nothing away */
    assert_int_equal(view_recent(v), 1);
    view_free(v);
    mailbox_close(m);
    again(w);
    m = open_box(w->a);
    v = view_new(m, false);
    assert_int_equal(view_recent(v), 1);
    box_deliver(&w->b, "A: 2\r\n\r\n");
    assert_int_equal(mailbox_refresh(m, &e), 0);
    view_sync(v, true, &events, &recent);
    assert_int_equal(recent, 2);
    view_free(v);
    mailbox_close(m);
    again(w);
    m = open_box(w->a);
    v = view_new(m, false);
    assert_int_equal(view_recent(v), 0);
    view_free(v);
    mailbox_close(m);
}

static void tells_status(void **state)
{
    struct world *w = *state;
    struct mailbox_status st;
    struct mailbox *m;
    struct err e = {0};

    append(w->a, "1234\r\n", FLAG_SEEN);
    append(w->a, "12345\r\n", FLAG_DELETED);
    m = open_box(w->a);
    wait_a_bit();
    assert_int_equal(mailbox_refresh(m, &e), 0);
    mailbox_close(m);
    for (int i = 0; i < 3; i++) {
        again(w);
        assert_int_equal(mailbox_status(w->a, INBOX, &st, &e), 0);
        assert_int_equal(st.messages, 2 + i);
        assert_int_equal(st.unseen, 1 + i);
        assert_int_equal(st.deleted, 1);
        assert_int_equal(st.size, 13 + 8 * i);
        assert_int_equal(st.uidnext, 3 + i);
        box_deliver(&w->b, "A: b\r\n\r\n");
        if (i == 1) { /* new/ is counted whether or not somebody has opened it since */
            mailbox_close(open_box(w->a));
            wait_a_bit();
        }
    }
}

/* Each octet of the file in turn, then each length: the same messages, and no UID is given twice. */
static void damaged(void **state)
{
    struct world *w = *state;
    struct buf whole = BUF_INIT(10000);
    struct mailbox *m;
    uint32_t last;

    append(w->a, "1\r\n", FLAG_SEEN);
    append(w->a, "2\r\n", 0);
    m = open_box(w->a);
    expunge(m, 2);
    append(w->a, "3\r\n", FLAG_FLAGGED);
    flag(m, 3, FLAGS_ADD, FLAG_SEEN);
    mailbox_close(m);
    again(w);
    assert_int_equal(fs_load(w->b.root, INDEX, &whole, 9000), 0);
    assert_true(whole.n > 500);
    for (size_t i = 0; i < 2 * whole.n; i++) {
        int fd;

        account_close(w->a);
        fd = fs_open_write(w->b.root, INDEX, 02 | 0100, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 0), 0);
        if (i < whole.n) {
            char flipped = (char)(whole.p[i] ^ (i % 2 ? 0x41 : 0xff));

            assert_int_equal(fs_pwrite_all(fd, whole.p, whole.n, 0), 0);
            assert_int_equal(fs_pwrite_all(fd, &flipped, 1, (off_t)i), 0);
        } else {
            assert_int_equal(fs_pwrite_all(fd, whole.p, i - whole.n, 0), 0);
        }
        close(fd);
        w->a = box_open(&w->b);
        m = open_box(w->a);
        assert_int_equal(mailbox_count(m), 2);
        assert_int_equal(mailbox_at(m, 0)->uid, 1);
        assert_int_equal(mailbox_at(m, 0)->flags, FLAG_SEEN);
        assert_int_equal(mailbox_at(m, 1)->uid, 3);
        assert_int_equal(mailbox_at(m, 1)->flags, FLAG_FLAGGED | FLAG_SEEN);
        assert_true(mailbox_uidnext(m) > 3);
        assert_true(mailbox_uidnext(m) < 5000);
        mailbox_close(m);
    }
    buf_free(&whole);
    last = append(w->a, "4\r\n", 0);
    assert_true(last > 3);
    assert_int_equal(append(w->a, "5\r\n", 0), last + 1);
}

static struct slice slice_before_flags(const char *file)
{
    struct name name;

    assert_true(name_parse(slice_str(file), 0, &name));
    return name.base;
}

/* A process that died after its rename and before its note. */
static void died_before_the_note(void **state)
{
    struct world *w = *state;
    char name[256], to[300], from[300];
    struct buf fresh = BUF_INIT(512);
    struct mailbox *m;
    uint64_t highest;

    append(w->a, "1\r\n", 0);
    m = open_box(w->a);
    highest = mailbox_highestmodseq(m);
    mailbox_close(m);
    again(w);
    wait_a_bit();
    assert_int_equal(box_count(&w->b, CUR, name), 1);
    assert_true(name_write_flags(&fresh, slice_before_flags(name), FLAG_SEEN));
    snprintf(from, sizeof from, CUR "/%s", name);
    snprintf(to, sizeof to, CUR "/%s", buf_str(&fresh));
    box_rename(&w->b, from, to);
    m = open_box(w->a);
    assert_int_equal(mailbox_at(m, 0)->flags, FLAG_SEEN);
    assert_true(mailbox_at(m, 0)->modseq > highest);
    mailbox_close(m);
    buf_free(&fresh);
}

/* A watch tells names: the folder is not read for a flag, and is for what a name does not explain. */
static void told_by_name(void **state)
{
    struct world *w = *state;
    char name[256], from[300], to[300];
    struct buf fresh = BUF_INIT(512), names = BUF_INIT(2048);
    struct mailbox *m;
    struct err e = {0};
    int64_t scanned;

    append(w->a, "1\r\n", 0);
    m = open_box(w->a);
    wait_a_bit();
    assert_int_equal(mailbox_told(m, SLICE(""), true, &e), 0); /* makes sure once */
    scanned = m->scanned_at;
    for (int round = 0; round < 3; round++) {
        uint64_t highest = mailbox_highestmodseq(m);

        assert_int_equal(box_count(&w->b, CUR, name), 1);
        buf_clear(&fresh);
        buf_clear(&names);
        name_write_flags(&fresh, slice_before_flags(name), round % 2 ? 0 : FLAG_SEEN);
        snprintf(from, sizeof from, CUR "/%s", name);
        snprintf(to, sizeof to, CUR "/%s", buf_str(&fresh));
        box_rename(&w->b, from, to);
        /* the order of the two does not matter */
        buf_printf(&names, "%s/%s/", round ? name : buf_str(&fresh), round ? buf_str(&fresh) : name);
        wait_a_bit();
        assert_int_equal(mailbox_told(m, buf_slice(&names), true, &e), 0);
        assert_int_equal(mailbox_at(m, 0)->flags, round % 2 ? 0 : FLAG_SEEN);
        assert_int_equal(mailbox_highestmodseq(m), highest + 1);
        assert_int_equal(m->scanned_at, scanned);
    }
    /* our own change is explained too, without a look later */
    flag(m, 1, FLAGS_ADD, FLAG_DRAFT);
    box_count(&w->b, CUR, name);
    buf_clear(&names);
    buf_printf(&names, "%s/%s/", buf_str(&fresh), name);
    wait_a_bit();
    assert_int_equal(mailbox_told(m, buf_slice(&names), true, &e), 0);
    assert_int_equal(mailbox_refresh(m, &e), 0);
    assert_int_equal(m->scanned_at, scanned);
    /* somebody else's file, and a message that goes */
    box_write(&w->b, CUR "/123.foreign:2,S", "x\r\n");
    wait_a_bit();
    assert_int_equal(mailbox_told(m, SLICE("123.foreign:2,S/"), true, &e), 0);
    assert_int_equal(mailbox_count(m), 2);
    assert_true(m->scanned_at > scanned);
    snprintf(from, sizeof from, CUR "/%s", name);
    box_unlink(&w->b, from);
    buf_clear(&names);
    buf_printf(&names, "%s/", name);
    wait_a_bit();
    assert_int_equal(mailbox_told(m, buf_slice(&names), true, &e), 0);
    assert_int_equal(mailbox_count(m), 1);
    /* names that are none of ours */
    assert_int_equal(mailbox_told(m, SLICE(".x/..//../a/b"), true, &e), 0);
    /* the watch has lost count: what it does not name is found all the same */
    box_unlink(&w->b, strcat(strcpy(from, CUR "/"), mailbox_at(m, 0)->file));
    wait_a_bit();
    assert_int_equal(mailbox_told(m, SLICE(""), false, &e), 0);
    assert_int_equal(mailbox_count(m), 0);
    mailbox_close(m);
    buf_free(&fresh);
    buf_free(&names);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {T(base_and_log), T(other_boots), T(survives_the_close),
        T(others_notes), T(lost_in_use), T(keeps_recent), T(tells_status), T(damaged),
        T(died_before_the_note), T(told_by_name)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
