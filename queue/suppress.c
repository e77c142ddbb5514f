#include "queue/suppress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/hmap.h"
#include "common/log.h"
#include "common/mem.h"
#include "queue/spool.h"

#define NAME SPOOL_SUPPRESSED
#define STAGING ".new-" NAME
#define FILE_MAX ((size_t)64 << 20) /* SUPPRESS_MAX lines with every octet escaped */

struct one {
    TAILQ_ENTRY(one) next;
    struct suppress_entry entry;
    struct buf texts; /* the entry's slices point there */
};

struct suppress {
    int dir;
    struct hmap by_address;
    TAILQ_HEAD(list, one) list; /* the oldest first */
    bool changed;
};

/* ---- a line ---- */

static void escape(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (ascii_is_control(s.p[i]) || s.p[i] == '\\')
            buf_printf(out, "\\x%02x", (unsigned)(unsigned char)s.p[i]);
        else
            buf_add_char(out, s.p[i]);
    }
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Only what escape() writes. */
static bool unescape(struct slice in, size_t max, struct buf *hold, struct slice *out)
{
    size_t start = hold->n;

    for (size_t i = 0; i < in.n; i++) {
        int high, low;

        if (ascii_is_control(in.p[i]))
            return false;
        if (in.p[i] != '\\') {
            buf_add_char(hold, in.p[i]);
            continue;
        }
        high = in.n - i >= 4 && in.p[i + 1] == 'x' ? digit(in.p[i + 2]) : -1;
        low = high < 0 ? -1 : digit(in.p[i + 3]);
        if (low < 0 || !(ascii_is_control((char)(high << 4 | low)) || (high << 4 | low) == '\\'))
            return false;
        buf_add_char(hold, (char)(high << 4 | low));
        i += 3;
    }
    *out = slice_from(buf_slice(hold), start);
    return !hold->full && out->n <= max;
}

void suppress_format(struct buf *out, const struct suppress_entry *entry)
{
    escape(out, entry->address);
    buf_printf(out, "\t%lld\t%lld\t", (long long)entry->since, (long long)entry->until);
    escape(out, entry->host);
    buf_add_char(out, '\t');
    escape(out, entry->reply);
}

bool suppress_parse(struct slice line, struct buf *hold, struct suppress_entry *out)
{
    struct slice field[5];
    uint64_t since, until;

    for (size_t i = 0; i < 4; i++) {
        if (slice_chr(line, '\t') < 0)
            return false;
        slice_cut(&line, '\t', &field[i]);
    }
    field[4] = line;
    *out = (struct suppress_entry){0};
    buf_clear(hold);
    if (!buf_room(hold, field[0].n + field[3].n + field[4].n)) /* slices into it stay good */
        return false;
    if (!slice_u64(field[1], INT64_MAX, &since) || !slice_u64(field[2], INT64_MAX, &until) ||
        !unescape(field[0], SUPPRESS_ADDRESS_MAX, hold, &out->address) ||
        !unescape(field[3], SUPPRESS_HOST_MAX, hold, &out->host) ||
        !unescape(field[4], SUPPRESS_REPLY_MAX, hold, &out->reply))
        return false;
    out->since = (int64_t)since;
    out->until = (int64_t)until;
    return out->address.n > 0;
}

/* ---- in memory ---- */

static bool is_over(const struct suppress_entry *e, int64_t now)
{
    return e->until && e->until <= now;
}

static void drop(struct suppress *s, struct one *o)
{
    hmap_remove(&s->by_address, o->entry.address);
    TAILQ_REMOVE(&s->list, o, next);
    buf_free(&o->texts);
    free(o);
    s->changed = true;
}

/* What an administrator put here goes last. */
static void make_room(struct suppress *s)
{
    struct one *oldest = TAILQ_FIRST(&s->list), *o;

    TAILQ_FOREACH(o, &s->list, next)
    {
        if (!o->entry.until)
            continue;
        oldest = o;
        break;
    }
    if (oldest)
        drop(s, oldest);
}

static struct slice keep(struct buf *to, struct slice s)
{
    size_t start = to->n;

    buf_add(to, s);
    return slice_from(buf_slice(to), start);
}

bool suppress_add(struct suppress *s, const struct suppress_entry *entry)
{
    struct slice host = slice_sub(entry->host, 0, SUPPRESS_HOST_MAX);
    struct slice reply = slice_sub(entry->reply, 0, SUPPRESS_REPLY_MAX);
    struct one *o, *old = hmap_get(&s->by_address, entry->address);

    if (entry->address.n == 0 || entry->address.n > SUPPRESS_ADDRESS_MAX)
        return false;
    o = mem_zalloc(1, sizeof *o);
    o->texts = BUF_INIT(BUF_OWN);
    INVARIANT(buf_room(&o->texts, entry->address.n + host.n + reply.n));
    o->entry.since = entry->since;
    o->entry.until = entry->until;
    o->entry.address = keep(&o->texts, entry->address);
    o->entry.host = keep(&o->texts, host);
    o->entry.reply = keep(&o->texts, reply);
    if (old) /* only now: it may be what was given */
        drop(s, old);
    else if (s->by_address.count >= SUPPRESS_MAX)
        make_room(s);
    hmap_put(&s->by_address, o->entry.address, o);
    TAILQ_INSERT_TAIL(&s->list, o, next);
    s->changed = true;
    return true;
}

bool suppress_remove(struct suppress *s, struct slice address)
{
    struct one *o = hmap_get(&s->by_address, address);

    if (o)
        drop(s, o);
    return o != NULL;
}

bool suppress_find(const struct suppress *s, struct slice address, int64_t now, struct suppress_entry *out)
{
    const struct one *o = hmap_get(&s->by_address, address);

    if (!o || is_over(&o->entry, now))
        return false;
    if (out)
        *out = o->entry;
    return true;
}

void suppress_walk(const struct suppress *s, int64_t now,
    bool (*each)(void *ctx, const struct suppress_entry *entry), void *ctx)
{
    const struct one *o;

    TAILQ_FOREACH(o, &s->list, next)
    if (!is_over(&o->entry, now) && !each(ctx, &o->entry))
        break;
}

/* ---- on disk ---- */

static void load(struct suppress *s, struct slice text)
{
    struct buf hold = BUF_INIT(text.n);
    struct slice line;
    size_t damaged = 0;

    while (slice_cut(&text, '\n', &line)) {
        struct suppress_entry e;

        if (!suppress_parse(line, &hold, &e))
            damaged++;
        else
            suppress_add(s, &e);
    }
    if (damaged)
        LOG(QUEUE_STATE, NULL, F_STR("damaged", "lines of the file " NAME), F_U64("n", damaged));
    buf_free(&hold);
    s->changed = damaged > 0;
}

struct suppress *suppress_open(const char *folder, struct err *e)
{
    struct suppress *s = mem_zalloc(1, sizeof *s);
    struct buf text = BUF_INIT(FILE_MAX);

    TAILQ_INIT(&s->list);
    s->dir = fs_open_root(folder);
    if (s->dir < 0 || (fs_load(s->dir, NAME, &text, FILE_MAX) < 0 && errno != ENOENT)) {
        err_errno(e, NAME);
        suppress_close(s);
        s = NULL;
    } else {
        load(s, buf_slice(&text));
    }
    buf_free(&text);
    return s;
}

void suppress_close(struct suppress *s)
{
    if (!s)
        return;
    while (!TAILQ_EMPTY(&s->list))
        drop(s, TAILQ_FIRST(&s->list));
    hmap_free(&s->by_address);
    if (s->dir >= 0)
        close(s->dir);
    free(s);
}

int suppress_save(struct suppress *s, int64_t now, struct err *e)
{
    struct buf text = BUF_INIT(FILE_MAX);
    struct one *o = TAILQ_FIRST(&s->list), *next;
    int rc;

    for (; o; o = next) {
        next = TAILQ_NEXT(o, next);
        if (is_over(&o->entry, now))
            drop(s, o);
    }
    if (!s->changed)
        return 0;
    TAILQ_FOREACH(o, &s->list, next)
    {
        suppress_format(&text, &o->entry);
        buf_add_char(&text, '\n');
    }
    rc = fs_replace(s->dir, STAGING, s->dir, NAME, buf_slice(&text), 0600, true);
    buf_free(&text);
    if (rc < 0)
        return err_errno(e, NAME);
    s->changed = false;
    return 0;
}
