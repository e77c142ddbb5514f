#include "store/cache.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "store/cache_priv.h"
#include "store/journal.h"

#define ONE ((size_t)4 << 10)     /* read at once when a single record is asked for */
#define NEAR ((uint64_t)16 << 10) /* of a gap that is read over rather than jumped over */

void mailbox_set_cache(struct mailbox *m, uint32_t uid, uint64_t offset)
{
    struct message *msg = message_find(m, uid);

    if (!msg || msg->cache == offset)
        return;
    msg->cache = offset;
    journal_facts(m, msg);
}

static bool fits(const struct mailbox *m, const struct message *msg, const struct cache_record *r)
{
    return r->uid == msg->uid && r->uidvalidity == m->meta.uidvalidity &&
           (msg->size == 0 || r->size == 0 || r->size == msg->size) && r->who == cache_who(msg->file);
}

bool cache_record_at(
    struct mailbox *m, const struct message *msg, uint64_t at, struct cache_record *out, size_t *size)
{
    struct cache *c = m->cache;
    size_t window = at >= c->next && at - c->next < NEAR ? CACHE_WINDOW : ONE;
    struct slice s = cache_window(c, at, CACHE_RECORD_HEAD, window);

    *size = cache_record_size(s);
    if (*size > s.n)
        s = cache_window(c, at, *size, window);
    if (*size == 0 || *size > s.n)
        return false;
    c->next = at + *size;
    return cache_record_read(s, out) && fits(m, msg, out);
}

/* --- lost offsets --- */

/* Octets from the start of s to the next that may be a record. */
static size_t to_magic(struct slice s)
{
    uint32_t magic = CACHE_MAGIC;
    const char *p = s.n > sizeof magic ? memmem(s.p + 1, s.n - 1, &magic, sizeof magic) : NULL;

    /* one may begin in the last octets */
    return p ? (size_t)(p - s.p) : s.n > sizeof magic ? s.n - sizeof magic + 1 : s.n;
}

/* Every record of the file, the later of two for a message counts; offsets[i] is for msgs[i]. */
static void walk(struct mailbox *m, uint64_t *offsets)
{
    struct cache *c = m->cache;
    uint64_t at = CACHE_HEADER_SIZE;
    struct cache_record r;

    for (;;) {
        struct slice s = cache_window(c, at, CACHE_RECORD_HEAD, CACHE_WINDOW);
        size_t size = cache_record_size(s), i;

        if (size > s.n)
            s = cache_window(c, at, size, CACHE_WINDOW);
        if (s.n < CACHE_RECORD_HEAD)
            return;
        if (!cache_record_read(s, &r)) {
            at += to_magic(s);
            continue;
        }
        i = mailbox_lower_bound(m, r.uid);
        if (i < m->n && fits(m, &m->msgs[i], &r))
            offsets[i] = at;
        at += size;
    }
}

/* Once for a file: offsets as the file has them. */
static void find_offsets(struct mailbox *m)
{
    uint64_t *offsets = mem_zalloc(m->n + 1, sizeof *offsets);

    m->cache->walked = true;
    walk(m, offsets);
    for (size_t i = 0; i < m->n; i++)
        if (m->msgs[i].cache != offsets[i])
            mailbox_set_cache(m, m->msgs[i].uid, offsets[i]);
    free(offsets);
}

/* No offset at all though there are records: the index was lost. */
static bool offsets_are_lost(const struct mailbox *m)
{
    if (m->cache->seen <= CACHE_HEADER_SIZE)
        return false;
    for (size_t i = 0; i < m->n; i++)
        if (m->msgs[i].cache)
            return false;
    return true;
}

/* --- asking and putting --- */

/* The cache, open; NULL when there is none. */
static struct cache *cache_of(struct mailbox *m)
{
    struct cache *c = m->cache;

    if (!c) {
        c = m->cache = mem_zalloc(1, sizeof *c);
        c->fd = -1;
        buf_init(&c->window, CACHE_RECORD_MAX);
        buf_init(&c->pending, CACHE_PENDING + CACHE_RECORD_MAX);
    }
    if (c->off || (c->fd < 0 && !cache_open(m)))
        return NULL;
    return c;
}

bool mailbox_cache_get(struct mailbox *m, uint32_t uid, struct cache_record *out)
{
    struct cache *c = cache_of(m);
    const struct message *msg = message_find(m, uid);
    bool lost;
    size_t size;

    if (!c || !msg)
        return false;
    if (msg->cache && cache_record_at(m, msg, msg->cache, out, &size))
        return true;
    lost = msg->cache || (!c->looked && offsets_are_lost(m));
    c->looked = true;
    if (!lost || c->walked)
        return false;
    find_offsets(m);
    return msg->cache && cache_record_at(m, msg, msg->cache, out, &size);
}

/* What waits goes to the file. */
static void flush(struct mailbox *m)
{
    struct cache *c = m->cache;
    uint64_t at;

    if (c->nlist == 0)
        return;
    if (!c->off && !cache_is_current(m) && cache_open(m))
        find_offsets(m);
    if (!c->off && cache_append(c, buf_slice(&c->pending), &at)) {
        for (size_t i = 0; i < c->nlist; i++)
            mailbox_set_cache(m, c->list[i].uid, at + c->list[i].at);
    } else if (!c->off) {
        cache_drop(m);
    }
    c->nlist = 0;
    buf_clear(&c->pending);
}

void mailbox_cache_put(struct mailbox *m, uint32_t uid, const struct cache_record *r)
{
    struct cache *c = cache_of(m);
    const struct message *msg = message_find(m, uid);
    struct cache_record record = *r;
    size_t at;

    if (!c || !msg)
        return;
    record.uid = uid;
    record.uidvalidity = m->meta.uidvalidity;
    record.who = cache_who(msg->file);
    record.size = msg->size;
    at = c->pending.n;
    if (!cache_record_write(&c->pending, &record))
        return;
    if (c->nlist == c->list_size) {
        c->list_size = c->list_size ? c->list_size * 2 : 16;
        c->list = mem_realloc(c->list, c->list_size, sizeof *c->list);
    }
    c->list[c->nlist++] = (struct cache_pending){uid, at};
    if (c->pending.n >= CACHE_PENDING)
        flush(m);
}

void mailbox_cache_done(struct mailbox *m)
{
    struct cache *c = m->cache;

    if (!c)
        return;
    flush(m);
    if (c->fd >= 0 && cache_is_current(m))
        cache_compact_if_due(m);
    free(c->list);
    c->list = NULL;
    c->list_size = 0;
    buf_free(&c->pending);
    if (c->window.size > ONE)
        buf_free(&c->window);
    else
        buf_clear(&c->window);
    c->next = UINT64_MAX; /* whoever asks next is not in a row with this */
}

void cache_end(struct mailbox *m)
{
    struct cache *c = m->cache;

    if (!c)
        return;
    if (!m->gone)
        mailbox_cache_done(m);
    cache_close(c);
    free(c->list);
    buf_free(&c->pending);
    buf_free(&c->window);
    free(c);
    m->cache = NULL;
}
