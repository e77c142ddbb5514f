/* A binary heap that knows where its items are, so that any can be moved or taken out. */
#include <stdlib.h>

#include "common/mem.h"
#include "queue/schedule.h"

static bool before(const struct due *a, const struct due *b)
{
    return a->when < b->when || (a->when == b->when && a->order < b->order);
}

static void place(struct due_heap *h, size_t i, struct due *d)
{
    h->items[i] = d;
    d->at = i + 1;
}

static void up(struct due_heap *h, size_t i, struct due *d)
{
    while (i > 0 && before(d, h->items[(i - 1) / 2])) {
        place(h, i, h->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, d);
}

static void down(struct due_heap *h, size_t i, struct due *d)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(h->items[child + 1], h->items[child]))
            child++;
        if (!before(h->items[child], d))
            break;
        place(h, i, h->items[child]);
        i = child;
    }
    place(h, i, d);
}

/* d goes to place i, from where it may have to rise or sink. */
static void settle(struct due_heap *h, size_t i, struct due *d)
{
    if (i > 0 && before(d, h->items[(i - 1) / 2]))
        up(h, i, d);
    else
        down(h, i, d);
}

void due_put(struct due_heap *h, struct due *d, int64_t when)
{
    d->when = when;
    d->order = h->order++;
    if (d->at) {
        INVARIANT(d->at <= h->n && h->items[d->at - 1] == d);
        settle(h, d->at - 1, d);
        return;
    }
    if (h->n == h->size) {
        h->size = h->size ? h->size * 2 : 8;
        h->items = mem_realloc(h->items, h->size, sizeof *h->items);
    }
    h->n++;
    up(h, h->n - 1, d);
}

void due_remove(struct due_heap *h, struct due *d)
{
    size_t i = d->at - 1;
    struct due *last;

    if (!d->at)
        return;
    INVARIANT(i < h->n && h->items[i] == d);
    d->at = 0;
    last = h->items[--h->n];
    if (last != d)
        settle(h, i, last);
}

struct due *due_first(const struct due_heap *h)
{
    return h->n ? h->items[0] : NULL;
}

struct due *due_pop(struct due_heap *h, int64_t now)
{
    struct due *d = due_first(h);

    if (!d || d->when > now)
        return NULL;
    due_remove(h, d);
    return d;
}

void due_heap_free(struct due_heap *h)
{
    for (size_t i = 0; i < h->n; i++)
        h->items[i]->at = 0;
    free(h->items);
    *h = (struct due_heap){0};
}
