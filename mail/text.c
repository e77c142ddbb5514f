#include "mail/text.h"

#include <string.h>

#include "common/utf8.h"

/* RFC 3629 4: the second octet's range depends on the first; the others are 80..BF */
static size_t lead(unsigned char c, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (c < 0xc2)
        return 0;
    if (c < 0xe0)
        return 2;
    if (c < 0xf0) {
        if (c == 0xe0)
            *low = 0xa0;
        else if (c == 0xed)
            *high = 0x9f;
        return 3;
    }
    if (c > 0xf4)
        return 0;
    if (c == 0xf0)
        *low = 0x90;
    else if (c == 0xf4)
        *high = 0x8f;
    return 4;
}

size_t text_next(const char *p, size_t n, uint32_t *cp)
{
    const unsigned char *u = (const unsigned char *)p;
    unsigned char low, high;
    uint32_t v;
    size_t len;

    if (u[0] < 0x80) {
        *cp = u[0];
        return 1;
    }
    *cp = TEXT_BAD;
    len = lead(u[0], &low, &high);
    if (len == 0)
        return 1;
    v = u[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (i == n || u[i] < low || u[i] > high)
            return i;
        v = v << 6 | (u[i] & 0x3fu);
        low = 0x80;
        high = 0xbf;
    }
    *cp = v;
    return len;
}

void text_add_octets(struct buf *out, struct slice s)
{
    size_t left = out->cap > out->n ? out->cap - out->n : 0;
    bool is_more = s.n > left;

    buf_add(out, is_more ? slice_sub(s, 0, left) : s);
    if (is_more)
        out->full = true;
}

/* Length of well-formed text at the start. */
static size_t valid_prefix(struct slice s)
{
    size_t i = 0;

    while (i < s.n) {
        uint64_t w;
        uint32_t cp;
        size_t n;

        if (s.n - i >= sizeof w) {
            memcpy(&w, s.p + i, sizeof w);
            if ((w & 0x8080808080808080u) == 0) {
                i += sizeof w;
                continue;
            }
        }
        n = text_next(s.p + i, s.n - i, &cp);
        if (cp == TEXT_BAD)
            break;
        i += n;
    }
    return i;
}

/* Well-formed text as far as whole characters fit. */
static void add_valid(struct buf *out, struct slice s)
{
    size_t left = out->cap > out->n ? out->cap - out->n : 0;

    if (s.n <= left) {
        buf_add(out, s);
        return;
    }
    while (left > 0 && ((unsigned char)s.p[left] & 0xc0) == 0x80)
        left--;
    buf_add(out, slice_sub(s, 0, left));
    out->full = true;
}

void text_add(struct buf *out, struct slice s)
{
    while (s.n > 0 && !out->full) {
        size_t n = valid_prefix(s);
        uint32_t cp;

        add_valid(out, slice_sub(s, 0, n));
        s = slice_from(s, n);
        if (s.n == 0)
            break;
        s = slice_from(s, text_next(s.p, s.n, &cp));
        text_add_cp(out, TEXT_REPLACEMENT);
    }
}

void text_add_cp(struct buf *out, uint32_t cp)
{
    char c[4];

    buf_add(out, slice_of(c, utf8_encode(cp, c)));
}
