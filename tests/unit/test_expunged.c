/* What is expunged: kept, how long, under pressure, and back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "store/delivery.h"
#include "store/expunged.h"
#include "store/name.h"
#include "tests/unit/store_box.h"

#define MAIL "mail/" BOX_PATH
#define MAILDIR MAIL "/Maildir"
#define INBOX SLICE("INBOX")
#define RECEIVED 1000000000
#define DAY 86400

struct world {
    struct box b;
    struct account *a;
};

static unsigned free_now; /* thousandths, as the store is told */
static size_t asked;
static unsigned (*free_by)(void); /* what is free then, instead of free_now */

static unsigned free_space(int dir)
{
    (void)dir;
    asked++;
    return free_by ? free_by() : free_now;
}

/* In glibc's place: a rename into expunged/ fails so. */
static int rename_error;

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (rename_error && flags == RENAME_NOREPLACE) {
        errno = rename_error;
        return -1;
    }
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

static int set_up(void **state)
{
    static struct world w;
    struct err e = {0};

    assert_int_equal(store_init(&e), 0);
    log_open(-1, LOG_LEVEL_ERROR);
    expunged_free_space = free_space;
    free_now = 900;
    free_by = NULL;
    rename_error = 0;
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
    if (append_commit(ap, flags, &word, keyword ? 1 : 0, RECEIVED, &uidvalidity, &uid, &e) < 0)
        fail_msg("append: %s", e.detail);
    append_free(ap);
    return uid;
}

static void create(struct account *a, const char *name, enum special_use use)
{
    struct err e = {0};

    if (account_mailbox_create(a, slice_str(name), use, &e) < 0)
        fail_msg("create %s: %s", name, e.detail);
}

static void expunge(struct account *a, const char *name, const uint32_t *uids, size_t n)
{
    struct mailbox *m = open_box(a, name);
    struct err e = {0};
    size_t gone;

    if (mailbox_expunge(m, uids, n, &gone, &e) < 0)
        fail_msg("expunge: %s", e.detail);
    assert_int_equal(gone, n);
    mailbox_close(m);
}

/* expunged/<id> of a mailbox, relative to the box. */
static const char *folder_of(struct account *a, const char *name)
{
    static char path[128];
    struct mailbox *m = open_box(a, name);

    snprintf(path, sizeof path, MAIL "/expunged/%s", mailbox_id(m));
    mailbox_close(m);
    return path;
}

/* Messages in a folder of expunged/; the name of the first. */
static size_t held(struct world *w, const char *folder, char first[256])
{
    struct expunged_name name;
    size_t n = 0;
    int fd = fs_open_dir(w->b.root, folder);
    DIR *list = fd < 0 ? NULL : fs_list(fd);
    struct dirent *d;

    while (list && (d = readdir(list)))
        if (expunged_name_parse(slice_str(d->d_name), &name) && n++ == 0 && first)
            snprintf(first, 256, "%s", d->d_name);
    if (list)
        closedir(list);
    if (fd >= 0)
        close(fd);
    return n;
}

struct back {
    size_t n;
    uint64_t octets;
    char mailbox[64], text[256];
    bool is_home, is_deleted;
    uint32_t flags;
    int64_t received;
};

static void came_back(void *ctx, const struct expunged_item *item)
{
    struct back *b = ctx;

    b->n++;
    b->octets += item->size;
    b->is_home = item->is_home;
    b->is_deleted = item->is_deleted;
    b->flags = item->flags;
    b->received = item->received;
    snprintf(b->mailbox, sizeof b->mailbox, "%.*s", SLICE_FMT(item->mailbox));
    snprintf(b->text, sizeof b->text, "%.*s", SLICE_FMT(item->text));
}

static struct back restore(struct account *a, const char *mailbox, int64_t since, bool dry)
{
    struct back b = {0};
    struct expunged_wish wish = {.mailbox = slice_str(mailbox),
        .since = since,
        .dry = dry,
        .with_text = dry,
        .each = came_back,
        .ctx = &b};
    struct err e = {0};

    if (expunged_restore(a, &wish, &e) < 0)
        fail_msg("restore: %s", e.detail);
    return b;
}

static struct expunged_purged purge(struct account *a, int64_t now)
{
    struct expunged_purged sum;
    struct expunged_purge *p = expunged_purge_new(a, now);
    size_t steps = 0;

    while (expunged_purge_step(p))
        assert_true(++steps < 1000000);
    expunged_purge_free(p, &sum);
    return sum;
}

/* --- */

static void names(void **state)
{
    static const struct {
        const char *text;
        bool good;
        enum expunged_class class;
        int64_t when;
        const char *names, *rest;
    } rows[] = {
        {"l10.1760.x,U=5.3:2,S", true, EXPUNGED_LONG, 32, "", "1760.x,U=5.3:2,S"},
        {"s1~ab.file", true, EXPUNGED_SHORT, 1, "ab", "file"},
        {"l10.a~b.c", true, EXPUNGED_LONG, 32, "", "a~b.c"},
        {"x10.file", false, 0, 0, NULL, NULL},
        {"l.file", false, 0, 0, NULL, NULL},
        {"l10.", false, 0, 0, NULL, NULL},
        {"l10", false, 0, 0, NULL, NULL},
        {"names.l10", false, 0, 0, NULL, NULL},
        {"lzzzzzzzzzzzzz.x", false, 0, 0, NULL, NULL},
        {"", false, 0, 0, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct expunged_name n;
        bool good = expunged_name_parse(slice_str(rows[i].text), &n);

        if (good != rows[i].good)
            fail_msg("row %zu", i);
        if (!good)
            continue;
        assert_int_equal(n.class, rows[i].class);
        assert_int_equal(n.when, rows[i].when);
        assert_true(slice_eq(n.names, slice_str(rows[i].names)));
        assert_true(slice_eq(n.rest, slice_str(rows[i].rest)));
    }
}

static void kept_and_back(void **state)
{
    struct world *w = *state;
    uint32_t uid = append(w->a, "INBOX", "Subject: one\r\n\r\n", FLAG_SEEN | FLAG_DELETED, "Holiday");
    char before[256], after[256], kept[256];
    uint64_t octets, messages;
    struct mailbox *m;
    struct err e = {0};
    struct name name, was;
    struct back b;

    append(w->a, "INBOX", "Subject: two\r\n\r\n", 0, NULL);
    box_count(&w->b, MAILDIR "/cur", before);
    expunge(w->a, "INBOX", &uid, 1);
    assert_int_equal(box_count(&w->b, MAILDIR "/cur", NULL), 1);
    assert_int_equal(held(w, folder_of(w->a, "INBOX"), kept), 1);
    assert_int_equal(kept[0], 'l');
    /* not counted any more */
    assert_int_equal(delivery_usage(w->b.mail, SLICE(BOX_PATH), &octets, &messages, &e), 0);
    assert_int_equal(messages, 1);
    assert_int_equal(octets, strlen("Subject: two\r\n\r\n"));

    b = restore(w->a, "", INT64_MIN, true);
    assert_int_equal(b.n, 1);
    assert_string_equal(b.mailbox, "INBOX");
    assert_string_equal(b.text, "Subject: one\r\n\r\n");
    assert_int_equal(b.received, RECEIVED);
    assert_int_equal(held(w, folder_of(w->a, "INBOX"), NULL), 1);
    assert_int_equal(restore(w->a, "", (int64_t)time(NULL) + 5, false).n, 0);

    b = restore(w->a, "INBOX", (int64_t)time(NULL) - 60, false);
    assert_int_equal(b.n, 1);
    assert_true(b.is_home);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 2);
    assert_int_equal(mailbox_at(m, 1)->uid, 3);
    assert_int_equal(mailbox_at(m, 1)->flags & ~FLAG_KEYWORDS_MASK, FLAG_SEEN);
    assert_true(
        mailbox_at(m, 1)->flags & FLAG_KEYWORD(mailbox_keyword_letter(m, SLICE("holiday"), false, &e)));
    snprintf(after, sizeof after, "%s", mailbox_at(m, 1)->file);
    assert_true(name_parse(slice_str(after), 0, &name) && name_parse(slice_str(kept), 0, &was));
    assert_true(slice_ends(was.unique, name.unique)); /* EMAILID */
    {
        int64_t received;

        assert_int_equal(mailbox_received(m, 3, &received, &e), 0);
        assert_int_equal(received, RECEIVED);
    }
    mailbox_close(m);
    assert_int_equal(held(w, folder_of(w->a, "INBOX"), NULL), 0);
    assert_int_equal(restore(w->a, "", INT64_MIN, false).n, 0);
}

static void another_session_sees_it_come(void **state)
{
    struct world *w = *state;
    uint32_t uid = append(w->a, "INBOX", "x\r\n", 0, NULL);
    struct mailbox *m = open_box(w->a, "INBOX");
    struct account *other = box_open(&w->b);
    struct err e = {0};
    size_t gone;
    uint64_t modseq;

    assert_int_equal(mailbox_expunge(m, &uid, 1, &gone, &e), 0);
    modseq = mailbox_highestmodseq(m);
    assert_int_equal(restore(other, "", INT64_MIN, false).n, 1);
    nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL);
    assert_int_equal(mailbox_refresh(m, &e), 0);
    assert_int_equal(mailbox_count(m), 1);
    assert_true(mailbox_at(m, 0)->uid > uid);
    assert_true(mailbox_at(m, 0)->modseq > modseq);
    mailbox_close(m);
    account_close(other);
}

/* The letter means something else by the time the message comes back. */
static void keywords_used_again(void **state)
{
    struct world *w = *state;
    uint32_t uid = append(w->a, "INBOX", "x\r\n", 0, "First"), other;
    struct err e = {0};
    struct mailbox *m;
    char path[300];
    uint32_t flags;

    expunge(w->a, "INBOX", &uid, 1);
    box_unlink(&w->b, MAILDIR "/dovecot-keywords");
    box_write(&w->b, MAILDIR "/dovecot-keywords", "0 Second\n");
    other = append(w->a, "INBOX", "y\r\n", 0, "Second");
    expunge(w->a, "INBOX", &other, 1);
    snprintf(path, sizeof path, "%s", folder_of(w->a, "INBOX"));
    assert_int_equal(held(w, path, NULL), 2);
    assert_int_equal(restore(w->a, "", INT64_MIN, false).n, 2);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 2);
    flags = mailbox_at(m, 0)->flags | mailbox_at(m, 1)->flags;
    assert_true(mailbox_at(m, 0)->flags != mailbox_at(m, 1)->flags);
    assert_int_equal(flags, FLAG_KEYWORD(mailbox_keyword_letter(m, SLICE("First"), false, &e)) |
                                FLAG_KEYWORD(mailbox_keyword_letter(m, SLICE("Second"), false, &e)));
    mailbox_close(m);
}

static void long_names(void **state)
{
    struct world *w = *state;
    char name[256], path[600];
    struct mailbox *m;
    uint32_t uid;
    struct back b;

    memset(name, 'n', 255);
    memcpy(name + 248, ":2,FSab", 7);
    name[255] = '\0';
    snprintf(path, sizeof path, MAILDIR "/cur/%s", name);
    m = open_box(w->a, "INBOX");
    mailbox_close(m);
    box_write(&w->b, path, "long\r\n");
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 1);
    uid = mailbox_at(m, 0)->uid;
    mailbox_close(m);
    expunge(w->a, "INBOX", &uid, 1);
    assert_int_equal(held(w, folder_of(w->a, "INBOX"), NULL), 1);
    b = restore(w->a, "", INT64_MIN, false);
    assert_int_equal(b.n, 1);
    assert_int_equal(b.flags, FLAG_FLAGGED | FLAG_SEEN);
    m = open_box(w->a, "INBOX");
    assert_int_equal(mailbox_count(m), 1);
    mailbox_close(m);
}

static void moved_is_not_expunged(void **state)
{
    struct world *w = *state;
    uint32_t uid = append(w->a, "INBOX", "x\r\n", 0, NULL), there, validity;
    struct mailbox *m = open_box(w->a, "INBOX");
    struct err e = {0};

    create(w->a, "Trash", USE_TRASH);
    assert_int_equal(mailbox_copy(m, &uid, 1, SLICE("Trash"), true, &there, &validity, &e), 0);
    mailbox_close(m);
    assert_false(box_has(&w->b, MAIL "/expunged"));
}

static void classes_and_ages(void **state)
{
    struct world *w = *state;
    int64_t now = (int64_t)time(NULL);
    uint32_t uids[2] = {append(w->a, "INBOX", "a\r\n", 0, "Key"), append(w->a, "INBOX", "b\r\n", 0, NULL)};
    uint32_t junk;
    struct expunged_purged sum;
    char inbox[128], junked[128], first[256];

    create(w->a, "Junk", USE_JUNK);
    junk = append(w->a, "Junk", "c\r\n", 0, NULL);
    expunge(w->a, "Junk", &junk, 1);
    expunge(w->a, "INBOX", uids, 1);
    expunged_policy(w->a, EXPUNGED_KEEP, EXPUNGED_KEEP_JUNK, true); /* pop3d */
    expunge(w->a, "INBOX", uids + 1, 1);
    expunged_policy(w->a, EXPUNGED_KEEP, EXPUNGED_KEEP_JUNK, false);
    snprintf(inbox, sizeof inbox, "%s", folder_of(w->a, "INBOX"));
    snprintf(junked, sizeof junked, "%s", folder_of(w->a, "Junk"));
    assert_int_equal(held(w, inbox, NULL), 2);
    assert_int_equal(held(w, junked, first), 1);
    assert_int_equal(first[0], 's');

    assert_true(expunged_purge_is_due(w->a, now));
    assert_int_equal(purge(w->a, now + 2 * DAY - 10).messages, 0);
    assert_false(expunged_purge_is_due(w->a, now + 2 * DAY));
    assert_true(expunged_purge_is_due(w->a, now + 2 * DAY + 3600));
    sum = purge(w->a, now + 2 * DAY + 10);
    assert_int_equal(sum.messages, 2);
    assert_int_equal(sum.octets, 6);
    assert_int_equal(held(w, inbox, NULL), 1);
    assert_false(box_has(&w->b, junked)); /* the folder goes with its last message */
    assert_int_equal(purge(w->a, now + 14 * DAY - 10).messages, 0);
    assert_int_equal(purge(w->a, now + 14 * DAY + 10).messages, 1);
    assert_false(box_has(&w->b, inbox));
    assert_int_equal(restore(w->a, "", INT64_MIN, false).n, 0);
}

static void not_wanted(void **state)
{
    struct world *w = *state;
    uint32_t uid = append(w->a, "INBOX", "x\r\n", 0, NULL);

    expunged_policy(w->a, 0, EXPUNGED_KEEP_JUNK, false);
    expunge(w->a, "INBOX", &uid, 1);
    assert_false(box_has(&w->b, MAIL "/expunged"));
    assert_int_equal(box_count(&w->b, MAILDIR "/cur", NULL), 0);
}

static void note(void *ctx)
{
    ++*(int *)ctx;
}

static struct world *full_world;
static char full_folder[128];

/* Each of the twenty that went gives a hundredth of the disk back: seven are needed. */
static unsigned free_by_count(void)
{
    return 80 + 10 * (20 - (unsigned)held(full_world, full_folder, NULL));
}

static void little_room(void **state)
{
    struct world *w = *state;
    int64_t now = (int64_t)time(NULL);
    uint32_t uids[40];
    char folder[128], first[256], to[256], path[512], dest[512];
    struct expunged_name parts;
    size_t left, n;
    int told = 0;

    for (size_t i = 0; i < 40; i++)
        uids[i] = append(w->a, "INBOX", "x\r\n", 0, NULL);
    asked = 0;
    expunge(w->a, "INBOX", uids, 20);
    assert_int_equal(asked, 1); /* once a command */
    snprintf(folder, sizeof folder, "%s", folder_of(w->a, "INBOX"));
    /* ages of one to twenty days, but nothing over its time */
    expunged_policy(w->a, 100 * DAY, DAY, false);
    for (int i = 20; i > 0; i--) {
        char digits[14];

        assert_true(held(w, folder, first) > 0);
        assert_true(expunged_name_parse(slice_str(first), &parts));
        digits[id_base32((uint64_t)(now - i * DAY), digits)] = '\0';
        snprintf(path, sizeof path, "%s/%s", folder, first);
        snprintf(to, sizeof to, "l%s.%.*s", digits, SLICE_FMT(parts.rest));
        snprintf(dest, sizeof dest, "%s/.%s", folder, to);
        box_rename(&w->b, path, dest);
    }
    {
        int fd = fs_open_dir(w->b.root, folder);
        DIR *list = fs_list(fd);
        struct dirent *d;

        while ((d = readdir(list)))
            if (d->d_name[0] == '.' && d->d_name[1] == 'l')
                assert_int_equal(fs_rename(fd, d->d_name, fd, d->d_name + 1), 0);
        closedir(list);
        close(fd);
    }
    assert_int_equal(held(w, folder, NULL), 20);

    expunged_on_low_space(w->a, note, &told);
    free_now = 99;
    expunge(w->a, "INBOX", uids + 20, 20); /* unlinked at once */
    assert_int_equal(told, 1);
    assert_int_equal(held(w, folder, NULL), 20);
    assert_int_equal(box_count(&w->b, MAILDIR "/cur", NULL), 0);

    /* room comes back after some of the oldest went; the youngest stay */
    full_world = w;
    snprintf(full_folder, sizeof full_folder, "%s", folder);
    free_by = free_by_count;
    n = purge(w->a, now).messages;
    free_by = NULL;
    left = held(w, folder, NULL);
    assert_true(n >= 7 && n <= 9); /* portions of a sixteenth of the time: one or two at once */
    assert_int_equal(n + left, 20);
    for (size_t i = 0; i < left; i++) {
        int64_t youngest_gone = now - (int64_t)(left + 1) * DAY;
        int fd = fs_open_dir(w->b.root, folder);
        DIR *list = fs_list(fd);
        struct dirent *d;

        while ((d = readdir(list)))
            if (expunged_name_parse(slice_str(d->d_name), &parts))
                assert_true(parts.when > youngest_gone);
        closedir(list);
        close(fd);
    }
    /* no room at all: everything held goes, and it ends */
    free_now = 10;
    assert_int_equal(purge(w->a, now).messages, left);
    assert_int_equal(held(w, folder, NULL), 0);
}

/* A full disk does not keep anybody from making room; another error is one. */
static void rename_fails(void **state)
{
    static const int full[] = {ENOSPC, EDQUOT};
    struct world *w = *state;
    struct mailbox *m;
    struct err e = {0};
    uint32_t uid;
    size_t gone;
    int told = 0;

    expunged_on_low_space(w->a, note, &told);
    for (size_t i = 0; i < 2; i++) {
        uid = append(w->a, "INBOX", "x\r\n", 0, NULL);
        rename_error = full[i];
        expunge(w->a, "INBOX", &uid, 1);
        rename_error = 0;
        assert_int_equal(box_count(&w->b, MAILDIR "/cur", NULL), 0);
        assert_int_equal(held(w, folder_of(w->a, "INBOX"), NULL), 0);
        assert_int_equal(told, i + 1);
    }
    uid = append(w->a, "INBOX", "x\r\n", 0, NULL);
    m = open_box(w->a, "INBOX");
    rename_error = EIO;
    assert_int_equal(mailbox_expunge(m, &uid, 1, &gone, &e), -1);
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(mailbox_count(m), 1);
    rename_error = 0;
    mailbox_close(m);
    assert_int_equal(box_count(&w->b, MAILDIR "/cur", NULL), 1);

    create(w->a, "Full", USE_NONE);
    append(w->a, "Full", "x\r\n", 0, NULL);
    /* its folder cannot be moved, nor be put aside */
    rename_error = ENOSPC;
    assert_int_equal(account_mailbox_delete(w->a, SLICE("Full"), &e), -1);
    rename_error = 0;
    assert_true(account_has(w->a, SLICE("Full")));
}

static void deleted_mailbox(void **state)
{
    struct world *w = *state;
    uint32_t uids[2], validity;
    int64_t now = (int64_t)time(NULL);
    struct err e = {0};
    struct mailbox *m;
    char id[40], path[256];
    uint64_t octets, messages;
    struct back b;

    create(w->a, "A/B", USE_NONE);
    uids[0] = append(w->a, "A/B", "one\r\n", FLAG_FLAGGED, "Key");
    uids[1] = append(w->a, "A/B", "two\r\n", 0, NULL);
    expunge(w->a, "A/B", uids, 1);
    m = open_box(w->a, "A/B");
    validity = mailbox_uidvalidity(m);
    snprintf(id, sizeof id, "%s", mailbox_id(m));
    mailbox_close(m);
    assert_int_equal(account_mailbox_delete_counted(w->a, SLICE("A/B"), &octets, &messages, &e), 0);
    assert_int_equal(messages, 1);
    assert_int_equal(octets, 5);
    assert_int_equal(account_mailbox_delete(w->a, SLICE("A"), &e), 0);
    assert_false(account_has(w->a, SLICE("A/B")));
    assert_int_equal(delivery_usage(w->b.mail, SLICE(BOX_PATH), &octets, &messages, &e), 0);
    assert_int_equal(messages, 0);

    b = restore(w->a, "A/B", INT64_MIN, true);
    assert_int_equal(b.n, 2);
    assert_false(account_has(w->a, SLICE("A/B")));
    b = restore(w->a, "A/B", INT64_MIN, false);
    assert_int_equal(b.n, 2);
    m = open_box(w->a, "A/B");
    assert_string_equal(mailbox_id(m), id);
    assert_int_equal(mailbox_uidvalidity(m), validity);
    assert_int_equal(mailbox_count(m), 2);
    assert_int_equal(mailbox_at(m, 0)->uid, uids[1]); /* it never went away */
    assert_true(mailbox_at(m, 1)->uid > uids[1]);
    mailbox_close(m);
    assert_false(box_has(&w->b, MAILDIR "/.A.B/" EXPUNGED_DELETED));

    /* one of its name was made since: the messages join it */
    assert_int_equal(account_mailbox_delete(w->a, SLICE("A/B"), &e), 0);
    create(w->a, "A/B", USE_NONE);
    append(w->a, "A/B", "three\r\n", 0, NULL);
    b = restore(w->a, "", INT64_MIN, false);
    assert_int_equal(b.n, 2);
    assert_true(b.is_deleted);
    m = open_box(w->a, "A/B");
    assert_int_equal(mailbox_count(m), 3);
    assert_true(mailbox_keyword_letter(m, SLICE("Key"), false, &e) >= 0);
    mailbox_close(m);

    /* and for good */
    assert_int_equal(account_mailbox_delete(w->a, SLICE("A/B"), &e), 0);
    purge(w->a, now); /* what was left of the one that joined */
    assert_int_equal(purge(w->a, now + 14 * DAY + 10).messages, 3);
    snprintf(path, sizeof path, MAIL "/expunged");
    assert_int_equal(box_count(&w->b, path, NULL), 0);
    assert_int_equal(restore(w->a, "", INT64_MIN, false).n, 0);
    {
        struct expunged_wish wish = {.mailbox = SLICE("A/B")};

        assert_int_equal(expunged_restore(w->a, &wish, &e), -1);
        assert_int_equal(e.code, ERR_NO_MAILBOX);
    }
    /* an empty one leaves nothing */
    create(w->a, "Empty", USE_NONE);
    assert_int_equal(account_mailbox_delete(w->a, SLICE("Empty"), &e), 0);
    assert_int_equal(box_count(&w->b, path, NULL), 0);
}

/* Its mailbox went without a trace: to INBOX. */
static void homeless(void **state)
{
    struct world *w = *state;
    uint32_t uid;
    struct err e = {0};
    struct back b;

    create(w->a, "Gone", USE_NONE);
    uid = append(w->a, "Gone", "x\r\n", 0, NULL);
    expunge(w->a, "Gone", &uid, 1);
    free_now = 50; /* no room to keep the folder */
    assert_int_equal(account_mailbox_delete(w->a, SLICE("Gone"), &e), 0);
    free_now = 900;
    b = restore(w->a, "", INT64_MIN, false);
    assert_int_equal(b.n, 1);
    assert_false(b.is_home);
    assert_string_equal(b.mailbox, "INBOX");
    assert_int_equal(box_count(&w->b, MAILDIR "/cur", NULL), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), T(kept_and_back),
        T(another_session_sees_it_come), T(keywords_used_again), T(long_names), T(moved_is_not_expunged),
        T(classes_and_ages), T(not_wanted), T(little_room), T(rename_fails), T(deleted_mailbox), T(homeless)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
