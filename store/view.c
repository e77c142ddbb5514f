#include "store/view.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "store/mailbox_priv.h"

struct seen {
    uint32_t uid;
    uint64_t modseq;
};

struct view {
    struct mailbox *m;
    bool read_only;
    uint32_t uidvalidity;
    uint32_t *uids; /* as announced */
    size_t n, size;
    uint32_t *recent; /* ascending: ours alone */
    size_t nrecent, recent_size;
    uint64_t modseq;   /* flags and arrivals are told up to here */
    uint64_t expunged; /* expunges are told up to here */
    uint32_t keywords;
    struct seen *seen; /* changes the session made itself; sorted when asked */
    size_t nseen, seen_size;
    bool seen_sorted;
};

static size_t lower_bound(const uint32_t *at, size_t n, uint32_t uid)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (at[mid] < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void push(uint32_t **at, size_t *n, size_t *size, uint32_t uid)
{
    if (*n == *size) {
        *size = *size ? *size * 2 : 64;
        *at = mem_realloc(*at, *size, sizeof **at);
    }
    (*at)[(*n)++] = uid;
}

/* The mailbox' messages from the i-th on; \Recent is claimed by the first who may. */
static void announce(struct view *v, size_t i)
{
    struct mailbox *m = v->m;
    uint32_t claimed = 0;

    if (v->n + (m->n - i) > v->size) {
        v->size = v->n + (m->n - i) + 64;
        v->uids = mem_realloc(v->uids, v->size, sizeof *v->uids);
    }
    if (i < m->n)
        memcpy(v->uids + v->n, m->uids + i, (m->n - i) * sizeof *v->uids);
    v->n += m->n - i;
    if (m->recent_from == UID_END)
        return;
    if (i < m->n && m->uids[i] < m->recent_from)
        i = mailbox_lower_bound(m, (uint32_t)m->recent_from);
    for (; i < m->n; i++) {
        struct message *msg = &m->msgs[i];

        if (!msg->recent)
            continue;
        push(&v->recent, &v->nrecent, &v->recent_size, msg->uid);
        if (v->read_only)
            continue;
        msg->recent = false;
        claimed = msg->uid;
    }
    if (!v->read_only)
        m->recent_from = UID_END;
    if (claimed)
        journal_claimed(m, claimed);
}

struct view *view_new(struct mailbox *m, bool read_only)
{
    struct view *v = mem_zalloc(1, sizeof *v);

    v->m = m;
    v->read_only = read_only;
    v->uidvalidity = m->meta.uidvalidity;
    v->size = m->n + 64;
    v->uids = mem_zalloc(v->size, sizeof *v->uids);
    announce(v, 0);
    v->modseq = v->expunged = m->modseq;
    v->keywords = m->keyword_generation;
    return v;
}

void view_free(struct view *v)
{
    if (!v)
        return;
    free(v->uids);
    free(v->recent);
    free(v->seen);
    free(v);
}

struct mailbox *view_mailbox(struct view *v)
{
    return v->m;
}

uint32_t view_count(const struct view *v)
{
    return (uint32_t)v->n;
}

uint32_t view_recent(const struct view *v)
{
    return (uint32_t)v->nrecent;
}

uint32_t view_uid(const struct view *v, uint32_t seq)
{
    return seq >= 1 && seq <= v->n ? v->uids[seq - 1] : 0;
}

uint32_t view_seq(const struct view *v, uint32_t uid)
{
    size_t i = lower_bound(v->uids, v->n, uid);

    return i < v->n && v->uids[i] == uid ? (uint32_t)i + 1 : 0;
}

uint32_t view_lower_bound(const struct view *v, uint32_t uid)
{
    return (uint32_t)lower_bound(v->uids, v->n, uid) + 1;
}

bool view_is_recent(const struct view *v, uint32_t uid)
{
    size_t i = lower_bound(v->recent, v->nrecent, uid);

    return i < v->nrecent && v->recent[i] == uid;
}

/* --- what the session knows already --- */

static int compare_seen(const void *pa, const void *pb)
{
    const struct seen *a = pa, *b = pb;

    if (a->uid != b->uid)
        return a->uid < b->uid ? -1 : 1;
    return a->modseq < b->modseq ? -1 : a->modseq > b->modseq;
}

void view_seen_change(struct view *v, uint32_t uid, uint64_t modseq)
{
    if (v->nseen == v->seen_size) {
        v->seen_size = v->seen_size ? v->seen_size * 2 : 16;
        v->seen = mem_realloc(v->seen, v->seen_size, sizeof *v->seen);
    }
    v->seen_sorted = v->nseen == 0 || (v->seen_sorted && v->seen[v->nseen - 1].uid <= uid);
    v->seen[v->nseen++] = (struct seen){uid, modseq};
}

static bool is_seen(struct view *v, const struct message *msg)
{
    size_t low = 0, high = v->nseen;

    if (v->nseen == 0)
        return false;
    if (!v->seen_sorted)
        qsort(v->seen, v->nseen, sizeof *v->seen, compare_seen);
    v->seen_sorted = true;
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (v->seen[mid].uid < msg->uid ||
            (v->seen[mid].uid == msg->uid && v->seen[mid].modseq < msg->modseq))
            low = mid + 1;
        else
            high = mid;
    }
    return low < v->nseen && v->seen[low].uid == msg->uid;
}

/* Has this message, which the session sees, a change it does not know? */
static bool is_news(struct view *v, const struct message *msg)
{
    return msg && msg->modseq > v->modseq && view_seq(v, msg->uid) && !is_seen(v, msg);
}

/* --- changes --- */

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* UIDs of changed messages the session should hear of, ascending, each once; the caller frees. */
static uint32_t *collect_flags(struct view *v, size_t *count)
{
    uint32_t *found = NULL, uid = 0;
    size_t n = 0, size = 0, kept = 0, changes;
    bool complete;

    changes = mailbox_changed_since(v->m, v->modseq, SIZE_MAX, &uid, &complete);
    if (!complete) {
        for (size_t i = 0; i < v->m->n; i++)
            if (is_news(v, &v->m->msgs[i]))
                push(&found, &n, &size, v->m->msgs[i].uid);
        *count = n;
        return found;
    }
    for (size_t i = v->m->nchanges - changes; i < v->m->nchanges; i++)
        if (is_news(v, message_find(v->m, v->m->changes[i].uid)))
            push(&found, &n, &size, v->m->changes[i].uid);
    if (n)
        qsort(found, n, sizeof *found, compare_uids);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || found[i] != found[kept - 1])
            found[kept++] = found[i];
    *count = kept;
    return found;
}

/* Places in the view of what is gone, ascending; the caller frees. */
static uint32_t *collect_expunged(struct view *v, size_t *count)
{
    const struct mailbox_expunged *list;
    uint32_t *gone = NULL;
    size_t n = 0, size = 0, listed;
    bool complete;

    *count = 0;
    if (v->expunged == v->m->modseq && v->uidvalidity == v->m->meta.uidvalidity)
        return NULL;
    listed = mailbox_expunged_since(v->m, v->expunged, &list, &complete);
    if (v->uidvalidity != v->m->meta.uidvalidity) {
        for (size_t i = 0; i < v->n; i++)
            push(&gone, &n, &size, (uint32_t)i);
    } else if (complete) {
        for (size_t i = 0; i < listed; i++) {
            uint32_t seq = view_seq(v, list[i].uid);

            if (seq)
                push(&gone, &n, &size, seq - 1);
        }
        if (n)
            qsort(gone, n, sizeof *gone, compare_uids);
    } else {
        for (size_t i = 0; i < v->n; i++)
            if (!mailbox_by_uid(v->m, v->uids[i]))
                push(&gone, &n, &size, (uint32_t)i);
    }
    *count = n;
    return gone;
}

static size_t first_new(const struct view *v)
{
    /* UIDs only grow; a message that was overlooked below the last announced one waits for the next SELECT */
    return v->n ? mailbox_lower_bound(v->m, v->uids[v->n - 1]) +
                      (mailbox_by_uid(v->m, v->uids[v->n - 1]) != NULL)
                : 0;
}

static void tell_expunged(struct view *v, const struct view_events *events, void *ctx)
{
    size_t n, kept = 0, next = 0, recents = 0;
    uint32_t *gone = collect_expunged(v, &n);

    for (size_t i = n; i > 0; i--)
        if (events->expunged)
            events->expunged(ctx, gone[i - 1] + 1, v->uids[gone[i - 1]]);
    /* recent ones first, while the list of UIDs tells who is gone */
    for (size_t i = 0; i < v->nrecent && n; i++) {
        uint32_t place = view_seq(v, v->recent[i]);
        bool is_gone = place && bsearch(&(uint32_t){place - 1}, gone, n, sizeof *gone, compare_uids);

        if (!is_gone)
            v->recent[recents++] = v->recent[i];
    }
    if (n)
        v->nrecent = recents;
    for (size_t i = 0; i < v->n && n; i++) {
        if (next < n && gone[next] == i)
            next++;
        else
            v->uids[kept++] = v->uids[i];
    }
    if (n)
        v->n = kept;
    v->expunged = v->m->modseq;
    v->uidvalidity = v->m->meta.uidvalidity;
    free(gone);
}

bool view_has_news(const struct view *cv)
{
    /* what was sorted lazily or need not be looked at again is no change that anybody could see */
    struct view *v = (struct view *)(uintptr_t)cv;
    size_t n;

    if (v->keywords != v->m->keyword_generation || v->uidvalidity != v->m->meta.uidvalidity)
        return true;
    if (v->modseq == v->m->modseq && v->expunged == v->m->modseq)
        return false;
    if (first_new(v) < v->m->n)
        return true;
    free(collect_expunged(v, &n));
    if (n)
        return true;
    free(collect_flags(v, &n));
    if (n)
        return true;
    /* The session knows all of it, mostly its own STOREs: else each would be compared with all before it. */
    v->modseq = v->expunged = v->m->modseq;
    v->nseen = 0;
    return false;
}

void view_sync(struct view *v, bool with_expunges, const struct view_events *events, void *ctx)
{
    struct mailbox *m = v->m;
    uint32_t *flags = NULL;
    size_t nflags = 0, before, from;

    if (v->keywords != m->keyword_generation) {
        v->keywords = m->keyword_generation;
        if (events->keywords)
            events->keywords(ctx);
    }
    if (with_expunges && (v->expunged != m->modseq || v->uidvalidity != m->meta.uidvalidity))
        tell_expunged(v, events, ctx);
    if (v->uidvalidity != m->meta.uidvalidity || v->modseq == m->modseq)
        return;
    flags = collect_flags(v, &nflags); /* of what was announced before; the new ones are fetched anyway */
    before = v->n;
    from = first_new(v);
    announce(v, from);
    v->modseq = m->modseq;
    v->nseen = 0;
    if (v->n > before && events->exists)
        events->exists(ctx, (uint32_t)v->n, (uint32_t)v->nrecent);
    for (size_t i = 0; i < nflags && events->flags; i++) {
        const struct message *msg = mailbox_by_uid(m, flags[i]);
        uint32_t seq = view_seq(v, flags[i]);

        if (msg && seq)
            events->flags(ctx, seq, msg, view_is_recent(v, flags[i]));
    }
    free(flags);
}
