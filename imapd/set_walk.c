#include "imapd/set_walk.h"

bool set_walk_init(struct set_walk *w, const struct view *v, const struct imap_set *set, bool by_uid)
{
    uint32_t count = view_count(v), last = by_uid ? view_uid(v, count) : count;
    bool only_star = set->has_star;

    *w = (struct set_walk){.set = *set, .by_uid = by_uid};
    if (set->is_saved)
        return false;
    imap_set_resolve(&w->set, last);
    if (by_uid)
        return true;
    if (count == 0 && only_star) {
        w->set.n = 0;
        return true;
    }
    return w->set.n == 0 || w->set.ranges[w->set.n - 1].last <= count;
}

/* UID form: the first message of the view at or behind `from`. */
static uint32_t place_of(const struct set_walk *w, const struct view *v, uint32_t from)
{
    if (w->seq && from == w->uid + 1 && view_uid(v, w->seq) == w->uid)
        return w->seq + 1;
    return view_lower_bound(v, from);
}

bool set_walk_next(struct set_walk *w, const struct view *v, uint32_t *seq, uint32_t *uid)
{
    for (; w->range < w->set.n; w->range++) {
        const struct imap_range *r = &w->set.ranges[w->range];
        uint32_t from = w->next > r->first ? w->next : r->first;
        uint32_t place;

        if (from > r->last)
            continue;
        place = w->by_uid ? place_of(w, v, from) : from;
        *uid = view_uid(v, place);
        if (*uid == 0)
            break;
        if (w->by_uid && *uid > r->last)
            continue;
        *seq = w->seq = place;
        w->uid = *uid;
        w->next = (w->by_uid ? *uid : place) + 1;
        if (w->next == 0)
            w->range = w->set.n; /* that was the last number there is */
        return true;
    }
    w->range = w->set.n;
    return false;
}
