/* Sequence sets (RFC 3501 9, RFC 5182 2.1). */
#include "imapd/parse.h"

#include <stdlib.h>

#define RANGES_MAX 10000 /* I04 */

static int by_first(const void *a, const void *b)
{
    const struct imap_range *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static void sort_and_merge(struct imap_set *set)
{
    struct imap_range *r = set->ranges;
    size_t kept = 0;

    if (set->n == 0)
        return;
    qsort(r, set->n, sizeof *r, by_first);
    for (size_t i = 1; i < set->n; i++) {
        /* a lone '*' (UINT32_MAX) is not merged with a neighbour: it becomes another number later */
        if (r[i].first <= r[kept].last || (r[i].first == r[kept].last + 1 && r[i].first != UINT32_MAX)) {
            if (r[i].last > r[kept].last)
                r[kept].last = r[i].last;
        } else {
            r[++kept] = r[i];
        }
    }
    set->n = kept + 1;
}

static bool seq_number(struct imap_parse *p, struct imap_set *set, uint32_t *out)
{
    uint64_t n;

    if (imap_parse_peek(p, '*')) {
        set->has_star = true;
        *out = UINT32_MAX;
        return imap_parse_char(p, '*');
    }
    if (!imap_parse_nz_number(p, UINT32_MAX, &n)) {
        p->error =
            "a message set has numbers from 1 to 4294967295, ranges with : and commas between, as 1:3,7,10:*";
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

/* Ranges are at least one more than commas: the array is made once. */
static size_t count_ranges(struct slice s)
{
    size_t n = 1;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == ',')
            n++;
        else if (s.p[i] != ':' && s.p[i] != '*' && (s.p[i] < '0' || s.p[i] > '9'))
            break;
    }
    return n;
}

bool imap_parse_set(struct imap_parse *p, struct imap_set *out)
{
    size_t n = count_ranges(p->rest);

    *out = (struct imap_set){0};
    if (imap_parse_peek(p, '$')) {
        out->is_saved = true;
        return imap_parse_char(p, '$');
    }
    if (n > RANGES_MAX)
        return imap_parse_fail(p, "a message set has more than 10000 ranges; send it in parts");
    out->ranges = arena_zalloc(p->arena, n, sizeof *out->ranges);
    if (!out->ranges)
        return imap_parse_fail(p, "the message set is too large for one command; send it in parts");
    for (;;) {
        struct imap_range r;

        if (!seq_number(p, out, &r.first))
            return false;
        r.last = r.first;
        if (imap_parse_peek(p, ':')) {
            imap_parse_char(p, ':');
            if (!seq_number(p, out, &r.last))
                return false;
        }
        if (r.first > r.last)
            r = (struct imap_range){r.last, r.first};
        out->ranges[out->n++] = r;
        if (!imap_parse_peek(p, ','))
            break;
        imap_parse_char(p, ',');
    }
    sort_and_merge(out);
    return true;
}

void imap_set_resolve(struct imap_set *set, uint32_t last)
{
    if (!set->has_star)
        return;
    for (size_t i = 0; i < set->n; i++) {
        struct imap_range *r = &set->ranges[i];

        if (r->first == UINT32_MAX)
            r->first = last;
        if (r->last == UINT32_MAX)
            r->last = last;
        /* "5:*" of a mailbox with 3 messages names 3..5 (RFC 3501 6.4.8) */
        if (r->first > r->last)
            *r = (struct imap_range){r->last, r->first};
    }
    set->has_star = false;
    sort_and_merge(set);
}

bool imap_set_has(const struct imap_set *set, uint32_t n)
{
    size_t low = 0, high = set->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (n < set->ranges[middle].first)
            high = middle;
        else if (n > set->ranges[middle].last)
            low = middle + 1;
        else
            return true;
    }
    return false;
}

void imap_set_write(struct buf *out, const uint32_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t from = i;

        while (i + 1 < n && numbers[i + 1] == numbers[i] + 1)
            i++;
        if (from)
            buf_add_char(out, ',');
        buf_add_u64(out, numbers[from]);
        if (i > from) {
            buf_add_char(out, ':');
            buf_add_u64(out, numbers[i]);
        }
    }
}
