#include "mail/mime_pack.h"

#include <string.h>

enum tree_flags { HAS_NUL = 1, HAS_BARE_LF = 2, HAS_8BIT = 4, TRUNCATED = 8 };
enum part_flags { KIND_MASK = 3, IS_OPAQUE = 4, IN_DIGEST = 8 };

#define PART_MIN 8 /* octets of the smallest part */

static void put(struct buf *out, uint64_t v)
{
    char octets[10];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        octets[n++] = (char)(v | 0x80);
    octets[n++] = (char)v;
    buf_add(out, slice_of(octets, n));
}

static bool take(struct slice *in, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 63 && in->n; shift += 7) {
        unsigned char c = (unsigned char)in->p[0];

        *in = slice_from(*in, 1);
        *v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return true;
    }
    return false;
}

void mime_pack(const struct mime_tree *t, struct buf *out)
{
    uint64_t at = 0;

    put(out, (t->has_nul ? HAS_NUL : 0) | (t->has_bare_lf ? HAS_BARE_LF : 0) | (t->has_8bit ? HAS_8BIT : 0) |
                 (t->truncated ? TRUNCATED : 0));
    put(out, t->count);
    for (uint32_t i = 0; i < t->count; i++) {
        const struct mime_part *p = &t->parts[i];

        put(out, p->kind | (p->is_opaque ? IS_OPAQUE : 0) | (p->in_digest ? IN_DIGEST : 0));
        put(out, p->depth);
        /* in pre-order headers only move forward */
        put(out, p->header - at);
        at = p->header;
        put(out, p->header_len);
        put(out, p->body_len);
        put(out, p->header_crlf - p->header_len);
        put(out, p->body_crlf - p->body_len);
        put(out, p->body_lines);
    }
}

/* Numbers of one part: inside the text, and possible. */
static bool take_part(struct slice *in, uint64_t *at, uint64_t text_n, struct mime_part *p)
{
    uint64_t v[8];

    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (!take(in, &v[i]))
            return false;
    if (v[0] > (KIND_MASK | IS_OPAQUE | IN_DIGEST) || (v[0] & KIND_MASK) > MIME_MESSAGE ||
        v[1] > MIME_DEPTH_MAX)
        return false;
    if (v[2] > text_n - *at || v[3] > text_n - *at - v[2] || v[4] > text_n - *at - v[2] - v[3])
        return false;
    /* each line end is an octet at least */
    if (v[5] > v[3] || v[6] > v[4] || v[7] > v[4] || v[7] > UINT32_MAX)
        return false;
    *at += v[2];
    *p = (struct mime_part){
        .kind = (uint8_t)(v[0] & KIND_MASK),
        .depth = (uint8_t)v[1],
        .is_opaque = (v[0] & IS_OPAQUE) != 0,
        .in_digest = (v[0] & IN_DIGEST) != 0,
        .header = *at,
        .header_len = v[3],
        .body = *at + v[3],
        .body_len = v[4],
        .header_crlf = v[3] + v[5],
        .body_crlf = v[4] + v[6],
        .body_lines = (uint32_t)v[7],
    };
    return true;
}

/* Links of part i, all parts before it being linked. last[d]: the last part of depth d so far. */
static bool link_part(struct mime_tree *t, uint32_t i, uint32_t *last)
{
    struct mime_part *p = &t->parts[i], *up;

    if (i == 0) {
        last[0] = 0;
        return p->depth == 0;
    }
    if (p->depth == 0 || p->depth > t->parts[i - 1].depth + 1)
        return false;
    p->parent = last[p->depth - 1];
    up = &t->parts[p->parent];
    if (up->kind == MIME_SINGLE || (up->kind == MIME_MESSAGE && up->children > 0))
        return false;
    if (p->header < up->body || p->body + p->body_len > up->body + up->body_len)
        return false;
    if (up->children++ == 0)
        up->first_child = i;
    else
        t->parts[last[p->depth]].next = i;
    last[p->depth] = i;
    return true;
}

bool mime_unpack(struct slice packed, uint64_t text_n, struct arena *arena, struct mime_tree *out)
{
    uint32_t last[MIME_DEPTH_MAX + 1];
    uint64_t flags, count, at = 0;

    if (!take(&packed, &flags) || flags > 15 || !take(&packed, &count) || count == 0 ||
        count > MIME_PARTS_MAX || count > packed.n / PART_MIN)
        return false;
    *out = (struct mime_tree){
        .count = (uint32_t)count,
        .has_nul = (flags & HAS_NUL) != 0,
        .has_bare_lf = (flags & HAS_BARE_LF) != 0,
        .has_8bit = (flags & HAS_8BIT) != 0,
        .truncated = (flags & TRUNCATED) != 0,
        .parts = arena_alloc(arena, count * sizeof *out->parts),
    };
    if (!out->parts)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!take_part(&packed, &at, text_n, &out->parts[i]) || !link_part(out, i, last))
            return false;
    /* what has parts has some */
    for (uint32_t i = 0; i < count; i++)
        if ((out->parts[i].kind != MIME_SINGLE) != (out->parts[i].children > 0))
            return false;
    return packed.n == 0 && out->parts[0].header == 0 &&
           out->parts[0].body + out->parts[0].body_len == text_n;
}
