/* Sequence sets against a naive model: each number asked of the text itself, range by range. */
#include <stdint.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "imapd/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The parser accepted the text: numbers are well-formed. */
static uint32_t number(struct slice s, uint32_t last, bool has_star)
{
    uint64_t n;

    if (slice_eq(s, SLICE("*")))
        return last;
    INVARIANT(slice_u64(s, UINT32_MAX, &n) && n > 0);
    /* the largest number and '*' are one until '*' is resolved (parse.h) */
    return n == UINT32_MAX && has_star ? last : (uint32_t)n;
}

static bool model_has(struct slice text, uint32_t n, uint32_t last)
{
    bool has_star = slice_chr(text, '*') >= 0;
    struct slice range;

    while (slice_cut(&text, ',', &range)) {
        struct slice first;
        uint32_t a, b;

        slice_cut(&range, ':', &first);
        a = number(first, last, has_star);
        b = range.n ? number(range, last, has_star) : a;
        if (a > b ? n >= b && n <= a : n >= a && n <= b)
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct imap_parse p;
    struct imap_set set;
    struct slice text;
    uint32_t last;

    if (size < 2 || size > 70000)
        return 0;
    last = data[0] % 64 + 1u;
    text = slice_of(data + 1, size - 1);
    arena_init(&arena, 1 << 20);
    imap_parse_init(&p, text, &arena);
    if (imap_parse_set(&p, &set) && !set.is_saved) {
        text = slice_sub(text, 0, text.n - p.rest.n);
        imap_set_resolve(&set, last);
        for (size_t i = 0; i < set.n; i++) {
            INVARIANT(set.ranges[i].first >= 1 && set.ranges[i].first <= set.ranges[i].last);
            INVARIANT(i == 0 || set.ranges[i].first > set.ranges[i - 1].last);
        }
        /* a long text has a long model: a few numbers are enough there */
        for (uint32_t n = 1; n <= (text.n < 400 ? last : 2u); n++)
            INVARIANT(imap_set_has(&set, n) == model_has(text, n, last));
    }
    arena_free(&arena);
    return 0;
}
