/*
 * postamt.cache: what was put is had again by this session, another, and one without an index; what is
 * damaged, of another message or gone is not; the file does not grow without end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "store/cache_priv.h"
#include "tests/unit/store_box.h"

#define FILE_PATH "state/" BOX_PATH "/INBOX/" CACHE_FILE

static struct box box;

static int setup(void **state)
{
    (void)state;
    box_make(&box);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    box_remove(&box);
    return 0;
}

static struct mailbox *open_inbox(struct account *a)
{
    struct err e = {0};
    struct mailbox *m = mailbox_open(a, SLICE("INBOX"), &e);

    assert_non_null(m);
    return m;
}

static void deliver(size_t n)
{
    char text[64];

    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "Subject: %zu\r\n\r\nbody\r\n", i);
        box_deliver(&box, text);
    }
}

/* What the test puts for a message: told from its UID alone. */
static void put(struct mailbox *m, uint32_t uid, size_t octets)
{
    char *text = mem_alloc(octets + 24);
    int n = snprintf(text, 24, "envelope %06u", uid);
    struct cache_record r = {.tried = 3, .size_crlf = 23};

    memset(text + n, 'x', octets);
    r.slots[CACHE_ENVELOPE] = slice_of(text, (size_t)n);
    r.slots[CACHE_PREVIEW] = slice_of(text + n, octets);
    r.slots[CACHE_KEYS] = slice_of(text, 0);
    mailbox_cache_put(m, uid, &r);
    free(text);
}

/* Is there a record? Then it is the one that was put. */
static bool has(struct mailbox *m, uint32_t uid)
{
    struct cache_record r;
    char text[24];

    if (!mailbox_cache_get(m, uid, &r))
        return false;
    snprintf(text, sizeof text, "envelope %06u", uid);
    assert_true(slice_eq(r.slots[CACHE_ENVELOPE], slice_str(text)));
    assert_true(r.slots[CACHE_KEYS].p && r.slots[CACHE_KEYS].n == 0);
    assert_null(r.slots[CACHE_BODY].p);
    assert_int_equal(r.tried, 3);
    assert_int_equal(r.size_crlf, 23);
    return true;
}

static size_t count(struct mailbox *m)
{
    size_t n = 0;

    for (size_t i = 0; i < mailbox_count(m); i++)
        n += has(m, mailbox_at(m, i)->uid);
    return n;
}

static void put_all(struct mailbox *m, size_t octets)
{
    for (size_t i = 0; i < mailbox_count(m); i++)
        put(m, mailbox_at(m, i)->uid, octets);
    mailbox_cache_done(m);
}

/* UID of the n-th message, from 1 on. */
static uint32_t nth(const struct mailbox *m, size_t n)
{
    return mailbox_at(m, n - 1)->uid;
}

static off_t file_size(void)
{
    struct stat st;

    return fstatat(box.root, FILE_PATH, &st, 0) < 0 ? -1 : st.st_size;
}

static ino_t file_inode(void)
{
    struct stat st;

    assert_int_equal(fstatat(box.root, FILE_PATH, &st, 0), 0);
    return st.st_ino;
}

/* Offsets that nobody knows any more, as without an index. */
static void forget(struct mailbox *m)
{
    for (size_t i = 0; i < mailbox_count(m); i++)
        mailbox_set_cache(m, mailbox_at(m, i)->uid, 0);
}

static void put_and_get(void **state)
{
    struct account *a = box_open(&box), *b = box_open(&box);
    struct mailbox *m, *other;
    off_t size;

    (void)state;
    deliver(5);
    m = open_inbox(a);
    assert_int_equal(count(m), 0);
    put_all(m, 100);
    size = file_size();
    assert_int_equal(size, CACHE_HEADER_SIZE + 5 * (CACHE_RECORD_HEAD + 15 + 100));
    assert_int_equal(count(m), 5);
    /* another process, which knows no offsets of its own */
    other = open_inbox(b);
    forget(other);
    assert_int_equal(count(other), 5);
    mailbox_close(other);
    /* a new message is unknown; so is one that is not there */
    deliver(1);
    assert_int_equal(mailbox_refresh(m, NULL), 0);
    assert_int_equal(count(m), 5);
    assert_false(has(m, 99));
    put(m, 99, 10);
    mailbox_cache_done(m);
    assert_int_equal(file_size(), size);
    /* one session after the other */
    mailbox_close(m);
    m = open_inbox(a);
    assert_int_equal(count(m), 5);
    put(m, nth(m, 6), 100);
    mailbox_close(m);
    m = open_inbox(a);
    assert_int_equal(count(m), 6);
    mailbox_close(m);
    account_close(a);
    account_close(b);
}

/* Records of one message are no records of another: UID, UIDVALIDITY, unique part and size count. */
static void not_others(void **state)
{
    struct account *a = box_open(&box);
    struct mailbox *m;
    struct message *msg;

    (void)state;
    deliver(3);
    m = open_inbox(a);
    put_all(m, 50);
    mailbox_set_cache(m, nth(m, 1), mailbox_by_uid(m, nth(m, 2))->cache);
    assert_true(has(m, nth(m, 1))); /* found again by the walk */
    mailbox_set_cache(m, nth(m, 1), mailbox_by_uid(m, nth(m, 2))->cache);
    assert_false(has(m, nth(m, 1))); /* which is made once */
    assert_true(has(m, nth(m, 2)));
    mailbox_set_cache(m, nth(m, 3), UINT64_MAX);
    assert_false(has(m, nth(m, 3)));
    mailbox_set_cache(m, nth(m, 3), 1 << 20);
    assert_false(has(m, nth(m, 3)));
    msg = message_find(m, nth(m, 2));
    msg->size++;
    assert_false(has(m, nth(m, 2)));
    msg->size--;
    assert_true(has(m, nth(m, 2)));
    msg->file[0]++;
    assert_false(has(m, nth(m, 2)));
    msg->file[0]--;
    m->meta.uidvalidity++;
    assert_false(has(m, nth(m, 2)));
    m->meta.uidvalidity--;
    assert_true(has(m, nth(m, 2)));
    mailbox_close(m);
    account_close(a);
}

static struct buf load(void)
{
    struct buf b = BUF_INIT(1 << 24);
    int fd = openat(box.root, FILE_PATH, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(fs_read_all(fd, &b, 1 << 24), 0);
    close(fd);
    return b;
}

static void store(struct slice s)
{
    int fd = openat(box.root, FILE_PATH, O_WRONLY | O_TRUNC | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, s.p, s.n), s.n);
    close(fd);
}

/* Every octet flipped, and the file cut at every octet: before it is opened, and while it is. Nothing wrong
 * is ever had from it, and what is put afterwards is had. */
static void damage(void **state)
{
    struct account *a = box_open(&box);
    struct mailbox *m;
    struct buf whole;

    (void)state;
    deliver(3);
    m = open_inbox(a);
    put_all(m, 20);
    whole = load();
    for (size_t i = 0; i < whole.n; i++) {
        for (int how = 0; how < 4; how++) {
            bool cut = how & 1, before = how & 2;
            struct buf *text = &whole;
            size_t n;

            store(buf_slice(&whole));
            if (before) {
                cache_end(m);
                if (!cut)
                    text->p[i] = (char)(text->p[i] ^ 1 << i % 8);
                store(slice_sub(buf_slice(text), 0, cut ? i : text->n));
            } else {
                forget(m);
                cache_close(m->cache);
                m->cache->off = false;
                assert_int_equal(count(m), 3);
                if (!cut)
                    text->p[i] = (char)(text->p[i] ^ 1 << i % 8);
                store(slice_sub(buf_slice(text), 0, cut ? i : text->n));
                mailbox_cache_done(m);
            }
            n = count(m);
            if (i < CACHE_HEADER_SIZE ? before && n != 0 : n > 2)
                fail_msg("octet %zu, way %d: %zu records", i, how, n);
            put_all(m, 20);
            assert_int_equal(count(m), 3);
            if (!cut)
                text->p[i] = (char)(text->p[i] ^ 1 << i % 8);
        }
    }
    buf_free(&whole);
    mailbox_close(m);
    account_close(a);
}

/* Records that follow a torn one are found all the same. */
static void torn(void **state)
{
    struct account *a = box_open(&box);
    struct mailbox *m;
    struct buf whole;

    (void)state;
    deliver(4);
    m = open_inbox(a);
    put_all(m, 200);
    mailbox_close(m);
    whole = load();
    memmove(whole.p + 200, whole.p + 300, whole.n - 300);
    store(slice_of(whole.p, whole.n - 100));
    m = open_inbox(a);
    forget(m);
    assert_int_equal(count(m), 3);
    buf_free(&whole);
    mailbox_close(m);
    account_close(a);
}

/* Gone with state/, alone, or made by somebody else: goes on, and is made anew. */
static void removed(void **state)
{
    struct account *a = box_open(&box);
    struct mailbox *m;

    (void)state;
    deliver(3);
    m = open_inbox(a);
    put_all(m, 20);
    box_unlink(&box, FILE_PATH);
    assert_int_equal(count(m), 3); /* it is open */
    mailbox_cache_done(m);
    assert_int_equal(count(m), 0);
    put_all(m, 20);
    assert_int_equal(count(m), 3);
    assert_true(file_size() > 0);
    box_unlink(&box, FILE_PATH);
    put(m, nth(m, 2), 20); /* waits while the file is gone */
    mailbox_cache_done(m);
    assert_int_equal(count(m), 1);
    /* a folder in its place: without a cache */
    box_unlink(&box, FILE_PATH);
    assert_int_equal(mkdirat(box.root, FILE_PATH, 0700), 0);
    put_all(m, 20);
    assert_int_equal(count(m), 0);
    assert_int_equal(unlinkat(box.root, FILE_PATH, AT_REMOVEDIR), 0);
    mailbox_close(m);
    /* and with it again */
    m = open_inbox(a);
    put_all(m, 20);
    assert_int_equal(count(m), 3);
    box_lose_state(&box);
    put_all(m, 20);
    mailbox_cache_done(m);
    mailbox_close(m);
    account_close(a);
}

/* Put again and again: the file stays within twice what lives, and the others notice. */
static void bounded(void **state)
{
    struct account *a = box_open(&box), *b = box_open(&box);
    struct mailbox *m, *other;
    off_t most = 0;

    (void)state;
    deliver(50);
    m = open_inbox(a);
    other = open_inbox(b);
    put_all(m, 2000);
    assert_int_equal(m->cache->header.generation, 1);
    for (int i = 0; i < 20; i++) {
        put_all(m, 2000);
        most = file_size() > most ? file_size() : most;
        assert_int_equal(count(m), 50);
        mailbox_cache_done(other);
        assert_int_equal(count(other), 50);
    }
    assert_int_equal(m->cache->header.generation, 21);
    assert_int_equal(other->cache->header.generation, 21);
    assert_true(most <= 2 * 50 * 2103 + CACHE_HEADER_SIZE);
    /* they die with their messages */
    for (int i = 0; i < 45; i++) {
        uint32_t uid = nth(m, 1);
        size_t gone;

        assert_int_equal(mailbox_expunge(m, &uid, 1, &gone, NULL), 0);
    }
    mailbox_close(m);
    assert_true(file_size() < 6 * 2200);
    mailbox_close(other);
    m = open_inbox(a);
    assert_int_equal(count(m), 5);
    mailbox_close(m);
    account_close(a);
    account_close(b);
}

/* Growth that lives is looked at once in a doubling. */
static void grows(void **state)
{
    struct account *a = box_open(&box);
    struct cache_header h;
    struct mailbox *m;
    ino_t inode;

    (void)state;
    deliver(80);
    m = open_inbox(a);
    put_all(m, 2000);
    inode = file_inode();
    h = m->cache->header;
    assert_int_equal(h.due, 2 * (file_size() - CACHE_HEADER_SIZE));
    assert_int_equal(h.live, 80);
    deliver(40);
    assert_int_equal(mailbox_refresh(m, NULL), 0);
    for (size_t n = 81; n <= 120; n++)
        put(m, nth(m, n), 2000);
    mailbox_close(m);
    m = open_inbox(a);
    assert_int_equal(count(m), 120);
    assert_int_equal(m->cache->header.due, h.due);
    assert_int_equal(file_inode(), inode);
    mailbox_close(m);
    account_close(a);
}

/* Two who append at once: every record lies where its writer believes. */
static void two_writers(void **state)
{
    struct account *a = box_open(&box), *b = box_open(&box);
    struct mailbox *m, *other;

    (void)state;
    deliver(40);
    m = open_inbox(a);
    other = open_inbox(b);
    for (size_t n = 1; n <= 40; n++) {
        put(n % 2 ? m : other, nth(m, n), n * 10);
        mailbox_cache_done(n % 2 ? m : other);
    }
    for (size_t n = 1; n <= 40; n++)
        assert_true(has(n % 2 ? m : other, nth(m, n)));
    forget(m);
    cache_close(m->cache);
    assert_int_equal(count(m), 40);
    mailbox_close(other);
    mailbox_close(m);
    account_close(a);
    account_close(b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(put_and_get),
        T(not_others),
        T(damage),
        T(torn),
        T(removed),
        T(bounded),
        T(grows),
        T(two_writers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
