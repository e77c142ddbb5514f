/* The file postamt.cache: opened, made, read, appended to, compacted. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checksum.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/cache_priv.h"

#define VERSION 1

struct disk_header {
    char magic[8];
    uint32_t version;
    uint32_t reserved;
    uint64_t generation;
    uint64_t due;
    uint64_t live;
    uint64_t unused[2];
    uint64_t checksum; /* of all before it */
};

_Static_assert(sizeof(struct disk_header) == CACHE_HEADER_SIZE, "the header has no gaps");

static const char magic[8] = "postcach";

static uint64_t sum(const struct disk_header *d)
{
    return checksum64(VERSION, slice_of(d, offsetof(struct disk_header, checksum)));
}

static void header_make(const struct cache_header *h, struct disk_header *d)
{
    *d =
        (struct disk_header){.version = VERSION, .generation = h->generation, .due = h->due, .live = h->live};
    memcpy(d->magic, magic, sizeof magic);
    d->checksum = sum(d);
}

static bool header_read(int fd, struct cache_header *h)
{
    struct disk_header d;

    /* a second time: a neighbour may have been writing it */
    for (int attempt = 0; attempt < 2; attempt++) {
        if (fs_pread_all(fd, &d, sizeof d, 0) < 0)
            return false;
        if (memcmp(d.magic, magic, sizeof magic) == 0 && d.version == VERSION && d.checksum == sum(&d)) {
            *h = (struct cache_header){d.generation, d.due, d.live};
            return true;
        }
    }
    return false;
}

/* A new file that has no name yet but its staging one. */
static int file_make(struct mailbox *m, const struct cache_header *h, char staging[32])
{
    struct disk_header d;
    int fd;

    header_make(h, &d);
    staging_name(staging);
    fd = fs_open_write(m->state, staging, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0600);
    if (fd < 0)
        return -1;
    if (fs_write_all(fd, slice_of(&d, sizeof d)) == 0)
        return fd;
    close(fd);
    fs_unlink(m->state, staging);
    return -1;
}

/* Under its name; somebody else's may be there first, which does as well. */
static bool file_begin(struct mailbox *m)
{
    struct cache_header h = {.generation = 1, .due = CACHE_SMALL};
    char staging[32];
    int fd = file_make(m, &h, staging);

    if (fd < 0)
        return false;
    close(fd);
    if (fs_rename_new(m->state, staging, m->state, CACHE_FILE) == 0)
        return true;
    fs_unlink(m->state, staging);
    return errno == EEXIST;
}

bool cache_open(struct mailbox *m)
{
    struct cache *c = m->cache;
    struct stat st;

    for (int attempt = 0; attempt < 3; attempt++) {
        c->fd = fs_open_write(m->state, CACHE_FILE, O_RDWR | O_APPEND, 0600);
        if (c->fd < 0 && (errno != ENOENT || !file_begin(m)))
            break;
        if (c->fd < 0)
            continue;
        if (fstat(c->fd, &st) == 0 && header_read(c->fd, &c->header)) {
            c->seen = (uint64_t)st.st_size;
            c->walked = c->looked = false;
            buf_clear(&c->window);
            c->next = UINT64_MAX;
            return true;
        }
        /* none of ours, or damaged: a new one */
        cache_close(c);
        if (fs_unlink(m->state, CACHE_FILE) < 0 && errno != ENOENT)
            break;
    }
    c->off = true;
    return false;
}

void cache_close(struct cache *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_clear(&c->window);
}

void cache_drop(struct mailbox *m)
{
    int why = errno;

    cache_close(m->cache);
    m->cache->off = true;
    fs_unlink(m->state, CACHE_FILE);
    LOG(STORE_ERROR, NULL, F_STR("mailbox", m->name), F_STR("file", CACHE_FILE), F_U64("errno", why));
}

bool cache_is_current(struct mailbox *m)
{
    struct cache *c = m->cache;
    struct stat st;

    if (c->fd < 0)
        return false;
    if (fstat(c->fd, &st) == 0 && st.st_nlink > 0) {
        if ((uint64_t)st.st_size >= c->seen) {
            c->seen = (uint64_t)st.st_size;
            return true;
        }
        /* cut off by somebody: what follows would lie where others' offsets point to */
        fs_unlink(m->state, CACHE_FILE);
    }
    cache_close(c);
    return false;
}

struct slice cache_window(struct cache *c, uint64_t at, size_t least, size_t window)
{
    size_t most = least > window ? least : window;
    ssize_t n;
    char *to;

    if (at >= c->window_at && at - c->window_at < c->window.n &&
        c->window.n - (size_t)(at - c->window_at) >= least)
        return slice_from(buf_slice(&c->window), (size_t)(at - c->window_at));
    buf_clear(&c->window);
    to = at <= INT64_MAX ? buf_room(&c->window, most) : NULL;
    if (!to)
        return SLICE("");
    do
        n = pread(c->fd, to, most, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        buf_grew(&c->window, (size_t)n);
    c->window_at = at;
    return buf_slice(&c->window);
}

bool cache_append(struct cache *c, struct slice s, uint64_t *at)
{
    ssize_t n;
    off_t end;

    do
        n = write(c->fd, s.p, s.n);
    while (n < 0 && errno == EINTR);
    if (n >= 0 && (size_t)n != s.n)
        errno = ENOSPC;
    if (n < 0 || (size_t)n != s.n)
        return false;
    end = lseek(c->fd, 0, SEEK_CUR);
    if (end < (off_t)s.n)
        return false;
    *at = (uint64_t)end - s.n;
    c->seen = c->seen > (uint64_t)end ? c->seen : (uint64_t)end;
    return true;
}

/* --- compaction --- */

/* When half of the file may be dead, but not so soon again that looking would cost more than what is saved.
 */
static uint64_t next_look(uint64_t size, uint64_t live)
{
    uint64_t due = live > size / 2 + size / 16 ? 2 * live : size + size / 8;

    return due > CACHE_SMALL ? due : CACHE_SMALL;
}

/* Octets and number of the records that messages point to. */
static void measure(struct mailbox *m, uint64_t *live, uint64_t *n)
{
    struct cache_record r;
    size_t size;

    *live = *n = 0;
    m->cache->next = CACHE_HEADER_SIZE;
    for (size_t i = 0; i < m->n; i++)
        if (m->msgs[i].cache && cache_record_at(m, &m->msgs[i], m->msgs[i].cache, &r, &size)) {
            *live += size;
            (*n)++;
        }
}

static bool copy_records(struct mailbox *m, int fd, uint64_t *offsets)
{
    struct buf waiting = BUF_INIT(CACHE_PENDING + CACHE_RECORD_MAX);
    uint64_t end = CACHE_HEADER_SIZE;
    struct cache_record r;
    bool ok = true;
    size_t size;

    m->cache->next = CACHE_HEADER_SIZE;
    for (size_t i = 0; i < m->n && ok; i++) {
        if (!m->msgs[i].cache || !cache_record_at(m, &m->msgs[i], m->msgs[i].cache, &r, &size))
            continue;
        offsets[i] = end;
        end += size;
        ok = cache_record_write(&waiting, &r);
        if (ok && waiting.n >= CACHE_PENDING) {
            ok = fs_write_all(fd, buf_slice(&waiting)) == 0;
            buf_clear(&waiting);
        }
    }
    ok = ok && fs_write_all(fd, buf_slice(&waiting)) == 0;
    buf_free(&waiting);
    return ok;
}

/* The lock on our file is held, and it is the one under the name. */
static bool compact(struct mailbox *m, uint64_t live, uint64_t n)
{
    struct cache *c = m->cache;
    struct cache_header h = {c->header.generation + 1, next_look(CACHE_HEADER_SIZE + live, live), n};
    uint64_t *offsets = mem_zalloc(m->n + 1, sizeof *offsets);
    char staging[32];
    int fd = file_make(m, &h, staging);
    bool done = false;

    if (fd < 0)
        goto out;
    if (!copy_records(m, fd, offsets) || fs_rename(m->state, staging, m->state, CACHE_FILE) < 0) {
        close(fd);
        fs_unlink(m->state, staging);
        goto out;
    }
    cache_close(c);
    c->fd = fd;
    c->header = h;
    c->seen = CACHE_HEADER_SIZE + live;
    for (size_t i = 0; i < m->n; i++)
        if (m->msgs[i].cache != offsets[i])
            mailbox_set_cache(m, m->msgs[i].uid, offsets[i]);
    done = true;
out:
    free(offsets);
    return done;
}

/* Remembered in the file, so that not everybody who opens the mailbox looks again. */
static void note(struct mailbox *m, uint64_t live, uint64_t n)
{
    struct cache *c = m->cache;
    struct disk_header d;
    /* what is written at a place goes to the end where O_APPEND is set */
    int fd = fs_open_write(m->state, CACHE_FILE, O_RDWR, 0600);
    struct stat ours, theirs;

    c->header.due = next_look(c->seen, live);
    c->header.live = n;
    if (fd < 0)
        return;
    header_make(&c->header, &d);
    if (fstat(fd, &theirs) == 0 && fstat(c->fd, &ours) == 0 && theirs.st_ino == ours.st_ino)
        fs_pwrite_all(fd, &d, sizeof d, 0); /* a header that does not get there is an old or a bad one */
    close(fd);
}

static bool is_due(const struct mailbox *m)
{
    const struct cache *c = m->cache;

    return c->seen > CACHE_SMALL && (c->seen >= c->header.due || m->n < c->header.live / 2);
}

void cache_compact_if_due(struct mailbox *m)
{
    struct cache *c = m->cache;
    uint64_t live, n;

    if (!is_due(m) || fs_try_lock(c->fd) < 0) /* or somebody is at it */
        return;
    if (!cache_is_current(m))
        return; /* somebody was */
    if (!header_read(c->fd, &c->header)) {
        fs_unlink(m->state, CACHE_FILE);
        cache_close(c);
        return;
    }
    if (is_due(m)) {
        measure(m, &live, &n);
        if (live > (c->seen - CACHE_HEADER_SIZE) / 2 || !compact(m, live, n))
            note(m, live, n);
    }
    fs_unlock(c->fd);
}
