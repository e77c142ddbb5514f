/* What must be true: the model of a mailbox, and a process' or a client's sight of it beside the model. */
#include "tests/property/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "store/name.h"

unsigned checks = CHECK_ALL;
char failure[600];
const char *failure_kind;
struct totals totals;

void fail(const char *fmt, ...)
{
    va_list ap;

    if (failure[0])
        return;
    failure_kind = fmt;
    va_start(ap, fmt);
    vsnprintf(failure, sizeof failure, fmt, ap);
    va_end(ap);
}

bool failed(void)
{
    return failure[0] != 0;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* --- the model --- */

void client_free(struct client *c)
{
    free(c->items);
    *c = (struct client){0};
}

void box_clear(struct box *b)
{
    for (size_t i = 0; i < CLIENTS; i++)
        client_free(&b->clients[i]);
    free(b->m);
    *b = (struct box){0};
}

struct msg *box_add(struct box *b)
{
    if (b->n == b->size) {
        b->size = b->size ? b->size * 2 : 64;
        b->m = mem_realloc(b->m, b->size, sizeof *b->m);
    }
    b->m[b->n] = (struct msg){0};
    return &b->m[b->n++];
}

struct msg *box_by_uid(struct box *b, uint32_t uid)
{
    for (size_t i = 0; i < b->n && uid; i++)
        if (b->m[i].uid == uid)
            return &b->m[i];
    return NULL;
}

struct msg *box_at(struct box *b, uint32_t k)
{
    size_t n = box_count(b);

    k = n ? (uint32_t)(k % n) : 0;
    for (size_t i = 0; i < b->n; i++)
        if (!b->m[i].gone && k-- == 0)
            return &b->m[i];
    return NULL;
}

size_t box_count(const struct box *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++)
        n += !b->m[i].gone;
    return n;
}

static void learn_unique(struct msg *m, const struct item *it)
{
    struct slice origin = name_origin(slice_str(it->unique));

    if (m->origin[0] && !slice_eq(origin, slice_str(m->origin)))
        fail("UID %u is a copy of %s, its name is %s", it->uid, m->origin, it->unique);
    snprintf(m->unique, sizeof m->unique, "%s", it->unique);
    snprintf(m->origin, sizeof m->origin, "%.*s", (int)origin.n, origin.p);
}

struct msg *box_bind(struct box *b, const struct item *it, const char *who)
{
    struct msg *m = box_by_uid(b, it->uid);

    if (m && m->unique[0] && strcmp(m->unique, it->unique) != 0) {
        fail("%s: UID %u of %s (UIDVALIDITY %u) was %s, is %s", who, it->uid, b->name, b->uidvalidity,
            m->unique, it->unique);
        return NULL;
    }
    if (m && !m->unique[0])
        learn_unique(m, it);
    /* a UID it got in the meantime; those that were deleted since may have had one as well */
    for (int gone = 0; gone < 2 && !m; gone++)
        for (size_t i = 0; i < b->n && !m; i++)
            if (b->m[i].uid == 0 && b->m[i].gone == gone && strcmp(b->m[i].unique, it->unique) == 0)
                m = &b->m[i];
    if (!m) {
        fail("%s: UID %u of %s (%s) is a message that nobody made", who, it->uid, b->name, it->unique);
        return NULL;
    }
    m->uid = it->uid;
    return m;
}

/* --- a process' sight --- */

static const struct item *item_of(const struct item *items, uint32_t n, uint32_t uid)
{
    uint32_t low = 0, high = n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (items[mid].uid < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && items[low].uid == uid ? &items[low] : NULL;
}

static void check_head(
    struct box *b, const struct answer *a, const struct client *before, bool exact, const char *who)
{
    if (!b->uidvalidity)
        b->uidvalidity = a->uidvalidity;
    if (!b->id[0])
        memcpy(b->id, a->id, sizeof b->id);
    if (a->uidvalidity != b->uidvalidity)
        fail("%s: %s has UIDVALIDITY %u, it was %u", who, b->name, a->uidvalidity, b->uidvalidity);
    if (strcmp(a->id, b->id) != 0)
        fail("%s: %s has the id %s, it was %s", who, b->name, a->id, b->id);
    if (before && before->used && before->modseq > a->modseq)
        fail("%s: HIGHESTMODSEQ of %s fell from %llu to %llu in one process", who, b->name,
            (unsigned long long)before->modseq, (unsigned long long)a->modseq);
    if (exact && (checks & CHECK_MODSEQ_OTHERS) && a->modseq < b->modseq)
        fail("%s: HIGHESTMODSEQ of %s is %llu, another process had told %llu", who, b->name,
            (unsigned long long)a->modseq, (unsigned long long)b->modseq);
    if (a->modseq > b->modseq)
        b->modseq = a->modseq;
}

static void check_item(
    struct box *b, const struct answer *a, const struct item *it, bool exact, const char *who)
{
    struct msg *m = box_bind(b, it, who);

    if (!m)
        return;
    if (it->uid >= a->uidnext)
        fail("%s: UID %u of %s is not below UIDNEXT %u", who, it->uid, b->name, a->uidnext);
    if (it->modseq > a->modseq || it->modseq == 0)
        fail("%s: UID %u of %s has MODSEQ %llu, the highest is %llu", who, it->uid, b->name,
            (unsigned long long)it->modseq, (unsigned long long)a->modseq);
    if (!exact)
        return;
    if (m->gone)
        fail("%s: UID %u of %s (%s) is there, but was deleted", who, it->uid, b->name, it->unique);
    if (it->flags != m->flags || it->keywords != m->keywords)
        fail("%s: UID %u of %s has flags 0x%x and keywords 0x%x, not 0x%x and 0x%x", who, it->uid, b->name,
            it->flags, it->keywords, m->flags, m->keywords);
    if (m->received == 0)
        m->received = it->received;
    if (m->received != it->received)
        fail("%s: UID %u of %s has INTERNALDATE %lld, not %lld", who, it->uid, b->name,
            (long long)it->received, (long long)m->received);
}

void check_dump(struct box *b, const struct answer *a, const struct item *items, const struct client *before,
    bool exact, const char *who)
{
    uint32_t last = 0;

    totals.dumps++;
    check_head(b, a, before, exact, who);
    if (before && before->used && before->n)
        last = before->items[before->n - 1].uid;
    for (uint32_t i = 0; i < a->n && !failed(); i++) {
        check_item(b, a, &items[i], exact, who);
        if ((checks & CHECK_ORDER) && items[i].uid < last && !item_of(before->items, before->n, items[i].uid))
            fail("%s: UID %u of %s is new to this process, which had UID %u before", who, items[i].uid,
                b->name, last);
    }
    for (size_t i = 0; i < b->n && !failed(); i++) {
        struct msg *m = &b->m[i];

        m->noticed |= m->gone && m->uid && !item_of(items, a->n, m->uid);
        if (m->gone || item_of(items, a->n, m->uid))
            continue;
        if (exact)
            fail("%s: UID %u of %s (%s) is lost", who, m->uid, b->name, m->unique);
        else if (before && before->used && item_of(before->items, before->n, m->uid))
            fail("%s: UID %u of %s (%s) is taken for deleted", who, m->uid, b->name, m->unique);
    }
}

/* --- a client's --- */

bool client_has(const struct client *c, uint32_t uid)
{
    return c->used && item_of(c->items, c->n, uid);
}

void client_take(struct client *c, const struct answer *a, const struct item *items, int from, unsigned step)
{
    client_free(c);
    *c = (struct client){.used = true,
        .uidvalidity = a->uidvalidity,
        .modseq = a->modseq,
        .n = a->n,
        .from = from,
        .step = step};
    c->items = mem_alloc((a->n + 1) * sizeof *items);
    memcpy(c->items, items, a->n * sizeof *items);
}

void check_resync(struct client *c, const struct answer *a, const struct item *items,
    const struct answer *gone, const struct item *vanished, const char *who)
{
    char since[120];

    if (c->uidvalidity != a->uidvalidity)
        return; /* it begins anew */
    totals.resyncs++;
    totals.incomplete += !gone->complete;
    snprintf(since, sizeof since,
        "%s: a client that had HIGHESTMODSEQ %llu of process %d at step %u, now %llu", who,
        (unsigned long long)c->modseq, c->from, c->step, (unsigned long long)a->modseq);
    for (uint32_t i = 0; i < gone->n && gone->complete; i++)
        if (item_of(items, a->n, vanished[i].uid))
            fail("%s: is told that UID %u vanished, but it is there", since, vanished[i].uid);
    for (uint32_t i = 0; i < c->n && !failed(); i++) {
        const struct item *had = &c->items[i], *is = item_of(items, a->n, had->uid);
        bool told = !gone->complete && !is;

        for (uint32_t j = 0; j < gone->n && gone->complete && !told; j++)
            told = vanished[j].uid == had->uid;
        if (!is && !told)
            fail("%s: is not told that UID %u vanished", since, had->uid);
        if (is && (is->flags != had->flags || is->keywords != had->keywords) && is->modseq <= c->modseq)
            fail("%s: does not hear of the flags of UID %u (0x%x was 0x%x), their MODSEQ is %llu", since,
                had->uid, is->flags | is->keywords << 8, had->flags | had->keywords << 8,
                (unsigned long long)is->modseq);
    }
    for (uint32_t i = 0; i < a->n && !failed(); i++)
        if (items[i].modseq <= c->modseq && !item_of(c->items, c->n, items[i].uid))
            fail("%s: does not hear of the new UID %u, its MODSEQ is %llu", since, items[i].uid,
                (unsigned long long)items[i].modseq);
}
