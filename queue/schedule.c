#include "queue/schedule.h"

#include <stdlib.h>

#include "common/hmap.h"
#include "common/mem.h"

#define SLOTS_FIRST 2
#define IDLE_MS ((int64_t)3600 * 1000)
#define BURST 10 /* so many may go at once under a rate, after a pause */

/* Messages per minute: the time at which the bucket is empty again (GCRA). */
struct rate {
    int64_t empty;
};

struct schedule_destination {
    struct due due;                           /* in `later`, by the time from which it can have something */
    struct due_heap entries;                  /* what waits for it */
    struct schedule_destination *next, *prev; /* in the ring of those that can go now */
    bool is_ready;
    char *name;
    size_t name_n;
    unsigned running, slots, credit; /* credit: successes since the slots last grew */
    bool has_failed;                 /* once: grow carefully */
    unsigned failures;
    enum schedule_class reason;
    int64_t not_before;
    struct rate rate;
    int64_t used; /* last take or done */
};

struct schedule {
    struct schedule_rules rules;
    struct hmap destinations;
    struct due_heap later;
    struct schedule_destination *ready; /* whose turn is next; a ring */
    unsigned running;
    struct rate rate;
};

static struct schedule_destination *destination_of(struct due *d)
{
    return (struct schedule_destination *)(void *)((char *)d - offsetof(struct schedule_destination, due));
}

static struct schedule_entry *entry_of(struct due *d)
{
    return (struct schedule_entry *)(void *)((char *)d - offsetof(struct schedule_entry, due));
}

/* ---- rates ---- */

static int64_t rate_allows(const struct rate *r, unsigned per_minute)
{
    int64_t step = per_minute ? 60000 / (int64_t)per_minute : 0;

    return per_minute ? r->empty - step * (BURST - 1) : INT64_MIN;
}

static void rate_use(struct rate *r, unsigned per_minute, int64_t now)
{
    if (!per_minute)
        return;
    r->empty = (r->empty > now ? r->empty : now) + 60000 / (int64_t)per_minute;
}

/* ---- destinations: in the ring, in the heap of later, or in neither (nothing waits, or all slots are full)
 */

static void ring_add(struct schedule *s, struct schedule_destination *d)
{
    if (d->is_ready)
        return;
    d->is_ready = true;
    if (!s->ready) {
        s->ready = d->next = d->prev = d;
        return;
    }
    d->next = s->ready; /* its turn is last */
    d->prev = s->ready->prev;
    d->prev->next = d;
    s->ready->prev = d;
}

static void ring_remove(struct schedule *s, struct schedule_destination *d)
{
    if (!d->is_ready)
        return;
    d->is_ready = false;
    if (d->next == d) {
        s->ready = NULL;
        return;
    }
    d->prev->next = d->next;
    d->next->prev = d->prev;
    if (s->ready == d)
        s->ready = d->next;
}

static unsigned slots_of(const struct schedule *s, const struct schedule_destination *d)
{
    unsigned n = d->slots < s->rules.concurrency ? d->slots : s->rules.concurrency;

    return d->failures || n == 0 ? 1 : n; /* after a failure one goes as a probe */
}

/* From when it can have something; INT64_MAX when only a change can tell. */
static int64_t ready_at(const struct schedule *s, const struct schedule_destination *d)
{
    const struct due *first = due_first(&d->entries);
    int64_t at, allowed = rate_allows(&d->rate, s->rules.rate);

    if (!first || d->running >= slots_of(s, d))
        return INT64_MAX;
    at = first->when > d->not_before ? first->when : d->not_before;
    return at > allowed ? at : allowed;
}

/* Puts it where it belongs after any change. One in the ring stays until its turn shows that it is not ready.
 */
static void settle(struct schedule *s, struct schedule_destination *d)
{
    int64_t at = ready_at(s, d);

    if (d->is_ready && at != INT64_MAX)
        return;
    ring_remove(s, d);
    if (at == INT64_MAX)
        due_remove(&s->later, &d->due);
    else if (!d->due.at || d->due.when != at)
        due_put(&s->later, &d->due, at);
}

static struct schedule_destination *get(struct schedule *s, struct slice name)
{
    struct schedule_destination *d = hmap_get(&s->destinations, name);

    if (d)
        return d;
    d = mem_zalloc(1, sizeof *d);
    d->name = mem_alloc(name.n + 1);
    for (size_t i = 0; i < name.n; i++)
        d->name[i] = name.p[i];
    d->name[name.n] = '\0';
    d->name_n = name.n;
    d->slots = SLOTS_FIRST;
    d->not_before = INT64_MIN;
    hmap_put(&s->destinations, name, d);
    return d;
}

struct schedule *schedule_new(const struct schedule_rules *rules)
{
    struct schedule *s = mem_zalloc(1, sizeof *s);

    s->rules = *rules;
    return s;
}

void schedule_set_rules(struct schedule *s, const struct schedule_rules *rules)
{
    s->rules = *rules;
}

static void destination_free(struct schedule_destination *d)
{
    for (size_t i = 0; i < d->entries.n; i++)
        entry_of(d->entries.items[i])->to = NULL;
    due_heap_free(&d->entries);
    free(d->name);
    free(d);
}

static bool free_each(void *ctx, struct slice key, void *value)
{
    (void)ctx, (void)key;
    destination_free(value);
    return true;
}

void schedule_free(struct schedule *s)
{
    if (!s)
        return;
    hmap_walk(&s->destinations, free_each, NULL);
    hmap_free(&s->destinations);
    free(s->later.items);
    free(s);
}

void schedule_add(struct schedule *s, struct slice destination, struct schedule_entry *e, int64_t when)
{
    INVARIANT(!e->to && !e->running);
    e->to = get(s, destination);
    due_put(&e->to->entries, &e->due, when);
    settle(s, e->to);
}

void schedule_move(struct schedule *s, struct schedule_entry *e, int64_t when)
{
    INVARIANT(e->to && !e->running);
    due_put(&e->to->entries, &e->due, when);
    settle(s, e->to);
}

void schedule_remove(struct schedule *s, struct schedule_entry *e)
{
    struct schedule_destination *d = e->to;

    INVARIANT(!e->running);
    if (!d)
        return;
    due_remove(&d->entries, &e->due);
    e->to = NULL;
    settle(s, d);
}

static struct schedule_entry *take_from(struct schedule *s, struct schedule_destination *d, int64_t now)
{
    struct due *due = due_pop(&d->entries, now);

    INVARIANT(due);
    rate_use(&d->rate, s->rules.rate, now);
    rate_use(&s->rate, s->rules.total_rate, now);
    d->used = now;
    entry_of(due)->running = true;
    return entry_of(due);
}

struct schedule_entry *schedule_take(struct schedule *s, int64_t now)
{
    struct due *due;

    while ((due = due_pop(&s->later, now)))
        ring_add(s, destination_of(due));
    if (s->running >= s->rules.total || rate_allows(&s->rate, s->rules.total_rate) > now)
        return NULL;
    while (s->ready) {
        struct schedule_destination *d = s->ready;
        struct schedule_entry *e;

        if (ready_at(s, d) > now) {
            ring_remove(s, d);
            settle(s, d);
            continue;
        }
        e = take_from(s, d, now);
        d->running++;
        s->running++;
        s->ready = d->next; /* the others first */
        if (ready_at(s, d) > now) {
            ring_remove(s, d);
            settle(s, d);
        }
        return e;
    }
    return NULL;
}

static void succeeded(struct schedule *s, struct schedule_destination *d)
{
    if (d->failures) {
        d->failures = 0;
        d->slots = d->slots > SLOTS_FIRST ? d->slots : SLOTS_FIRST; /* what the failures left of them */
    }
    d->not_before = INT64_MIN;
    /* up by one each time until the first failure ever, then by one for as many successes as there are slots
     */
    if (d->slots < s->rules.concurrency && (!d->has_failed || ++d->credit >= d->slots)) {
        d->slots++;
        d->credit = 0;
    }
}

static void failed(struct schedule *s, struct schedule_destination *d, enum schedule_class c, int64_t now)
{
    int64_t until;

    /* what was under way beside the first that failed says the same thing once more, not a worse one */
    if (d->not_before > now)
        return;
    d->slots = d->slots > 1 ? d->slots / 2 : 1;
    d->credit = 0;
    d->has_failed = true;
    d->failures++;
    d->reason = c;
    until = now + 1000 * schedule_delay(&s->rules, c, d->failures, slice_of(d->name, d->name_n));
    d->not_before = until;
}

void schedule_done(struct schedule *s, struct schedule_entry *e, enum schedule_outcome outcome,
    enum schedule_class c, int64_t now)
{
    struct schedule_destination *d = e->to;

    INVARIANT(d && e->running && d->running > 0 && s->running > 0);
    e->running = false;
    e->to = NULL;
    d->running--;
    s->running--;
    d->used = now;
    if (outcome == SCHEDULE_FAILED)
        failed(s, d, c, now);
    else if (outcome == SCHEDULE_GOOD || d->failures)
        succeeded(s, d); /* who answers a message is not dead */
    settle(s, d);
}

struct schedule_entry *schedule_take_same(
    struct schedule *s, struct schedule_entry *done, bool good, int64_t now)
{
    struct schedule_destination *d = done->to;
    struct due *first = due_first(&d->entries);
    struct schedule_entry *e;

    INVARIANT(d && done->running);
    if (good || d->failures)
        succeeded(s, d);
    if (!first || first->when > now || rate_allows(&d->rate, s->rules.rate) > now ||
        rate_allows(&s->rate, s->rules.total_rate) > now)
        return NULL;
    e = take_from(s, d, now);
    done->running = false;
    done->to = NULL;
    settle(s, d);
    return e;
}

int64_t schedule_wake(const struct schedule *s, int64_t now)
{
    const struct due *first = due_first(&s->later);
    int64_t at = s->ready ? now : first ? first->when : INT64_MAX;
    int64_t allowed = rate_allows(&s->rate, s->rules.total_rate);

    if (at == INT64_MAX || s->running >= s->rules.total)
        return INT64_MAX;
    return at > allowed ? at : allowed;
}

bool schedule_kick(struct schedule *s, struct slice destination, int64_t now)
{
    struct schedule_destination *d = hmap_get(&s->destinations, destination);

    if (!d)
        return false;
    if (d->not_before > now)
        d->not_before = now;
    settle(s, d);
    return true;
}

struct sweep {
    struct schedule *s;
    int64_t now;
    size_t n;
};

static bool sweep_each(void *ctx, struct slice key, void *value)
{
    struct schedule_destination *d = value;
    struct sweep *w = ctx;

    if (d->entries.n || d->running || d->used > w->now - IDLE_MS || d->not_before > w->now)
        return true;
    INVARIANT(!d->is_ready && !d->due.at);
    hmap_remove(&w->s->destinations, key);
    destination_free(d);
    w->n++;
    return true;
}

size_t schedule_sweep(struct schedule *s, int64_t now)
{
    struct sweep w = {.s = s, .now = now};

    hmap_walk(&s->destinations, sweep_each, &w);
    return w.n;
}

static struct schedule_view view_of(const struct schedule *s, const struct schedule_destination *d)
{
    return (struct schedule_view){
        .name = slice_of(d->name, d->name_n),
        .waiting = d->entries.n,
        .running = d->running,
        .slots = slots_of(s, d),
        .failures = d->failures,
        .next = d->failures && d->not_before != INT64_MIN ? d->not_before : 0,
        .reason = d->reason,
    };
}

bool schedule_look(const struct schedule *s, struct slice destination, struct schedule_view *out)
{
    const struct schedule_destination *d = hmap_get(&s->destinations, destination);

    if (d)
        *out = view_of(s, d);
    return d != NULL;
}

struct walk {
    const struct schedule *s;
    bool (*each)(void *ctx, const struct schedule_view *view);
    void *ctx;
};

static bool walk_each(void *ctx, struct slice key, void *value)
{
    const struct walk *w = ctx;
    struct schedule_view view = view_of(w->s, value);

    (void)key;
    return w->each(w->ctx, &view);
}

void schedule_walk(struct schedule *s, bool (*each)(void *ctx, const struct schedule_view *view), void *ctx)
{
    struct walk w = {s, each, ctx};

    hmap_walk(&s->destinations, walk_each, &w);
}
