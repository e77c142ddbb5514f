/* Which messages a set names in the session's view (RFC 3501 6.4.8, 9). */
#include "imapd/imap.h"

static bool refuse(struct imap_cmd *c, const char *why)
{
    c->error = why;
    return false;
}

/* From sequence number `from` to `to` of the view; to is below from when nothing is meant. */
static void span(
    const struct imap_session *s, const struct imap_range *r, bool uid, uint32_t *from, uint32_t *to)
{
    if (!uid) {
        *from = r->first;
        *to = r->last;
        return;
    }
    *from = view_lower_bound(s->view, r->first);
    *to = r->last == UINT32_MAX ? view_count(s->view) : view_lower_bound(s->view, r->last + 1) - 1;
}

bool imap_targets(struct imap_cmd *c, const struct imap_set *set, bool uid, struct imap_targets *out)
{
    struct imap_session *s = c->s;
    uint32_t count = view_count(s->view), from, to;
    struct imap_set copy = *set;
    size_t n = 0;

    *out = (struct imap_targets){0};
    if (set->is_saved)
        return refuse(c, "$ names the result of a saved search, and none was saved");
    /* 1:* of an empty mailbox is nothing, not an error: clients ask before they look */
    if (count == 0 && (uid || set->has_star))
        return true;
    copy.ranges = arena_zalloc(c->arena, set->n, sizeof *copy.ranges);
    if (!copy.ranges)
        return refuse(c, "the message set is too large for one command; send it in parts");
    for (size_t i = 0; i < set->n; i++)
        copy.ranges[i] = set->ranges[i];
    imap_set_resolve(&copy, uid ? view_uid(s->view, count) : count);
    for (size_t i = 0; i < copy.n; i++) {
        if (!uid && copy.ranges[i].last > count)
            return refuse(c, "a sequence number is above the number of messages in the mailbox");
        span(s, &copy.ranges[i], uid, &from, &to);
        n += to >= from ? to - from + 1 : 0;
    }
    out->uids = arena_zalloc(c->arena, n, sizeof *out->uids);
    out->seqs = arena_zalloc(c->arena, n, sizeof *out->seqs);
    if (!out->uids || !out->seqs)
        return refuse(c, "the message set names too many messages for one command; send it in parts");
    for (size_t i = 0; i < copy.n; i++) {
        span(s, &copy.ranges[i], uid, &from, &to);
        for (uint32_t seq = from; seq <= to; seq++) {
            out->seqs[out->n] = seq;
            out->uids[out->n++] = view_uid(s->view, seq);
        }
    }
    return true;
}
