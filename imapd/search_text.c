/*
 * Needles in what a message shows a reader: transfer encodings, charsets and encoded words decoded, case
 * folded.
 *
 * Large texts pass in pieces that end at a line, so that memory is bounded and no character is cut; the end
 * of a folded piece is carried over to the next. Text in ASCII, nearly all there is, is folded by hand and
 * not converted.
 */
#include "imapd/search.h"

#include <string.h>

#include "common/ascii.h"
#include "mail/decode.h"

#define PIECE ((size_t)128 << 10)
#define ONES UINT64_C(0x0101010101010101)
#define HIGH_BITS (ONES * 0x80)

static bool has(struct slice hay, struct slice needle)
{
    return needle.n <= hay.n && memmem(hay.p, hay.n, needle.p, needle.n) != NULL;
}

/* Eight octets of ASCII in lower case: 0x20 is added where an octet is at least 'A' and not above 'Z'. */
static uint64_t lower8(uint64_t w)
{
    uint64_t from_a = w + ONES * (0x80 - 'A'), above_z = w + ONES * (0x80 - 'Z' - 1);

    return w | ((from_a & ~above_z & HIGH_BITS) >> 2);
}

/* Appends s in lower case; false, with nothing appended, if it is not all ASCII or does not fit. */
static bool fold_ascii(struct buf *out, struct slice s)
{
    char *to = buf_room(out, s.n);
    uint64_t any = 0;
    size_t i = 0;

    if (!to)
        return false;
    for (; s.n - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t w;

        memcpy(&w, s.p + i, sizeof w);
        any |= w;
        w = lower8(w);
        memcpy(to + i, &w, sizeof w);
    }
    for (; i < s.n; i++) {
        any |= (uint64_t)(unsigned char)s.p[i];
        to[i] = ascii_lower(s.p[i]);
    }
    if (any & HIGH_BITS)
        return false;
    buf_grew(out, s.n);
    return true;
}

/* ------------------------------------------------------------------ header fields */

/* A value that reads as it stands: one line of ASCII without encoded words or TABs. */
static bool is_plain(struct slice value)
{
    for (size_t i = 0; i < value.n; i++)
        if (ascii_is_8bit(value.p[i]) || (ascii_is_control(value.p[i])))
            return false;
    return slice_find(value, SLICE("=?")) < 0;
}

/* Encoded words opened and folded into w->folded (cleared first); TAB is a blank, as folding makes the one of
 * the other. */
static void fold_value(struct search_work *w, struct slice value)
{
    buf_clear(&w->folded);
    if (is_plain(value)) {
        fold_ascii(&w->folded, value);
        return;
    }
    arena_reset(&w->scratch);
    buf_clear(&w->value);
    decode_words(header_unfold(value, &w->scratch), &w->value);
    decode_fold(buf_slice(&w->value), &w->folded);
    for (size_t i = 0; i < w->folded.n; i++)
        if (w->folded.p[i] == '\t')
            w->folded.p[i] = ' ';
}

bool search_field_has(
    struct search_work *w, const struct header_field *field, bool whole, struct slice needle)
{
    struct slice value = field->value;

    if (whole) {
        /* the value ends where the field does, less the line end */
        if (value.p + value.n < field->raw.p || value.p > field->raw.p + field->raw.n)
            return false;
        value = slice_of(field->raw.p, (size_t)(value.p + value.n - field->raw.p));
    }
    fold_value(w, value);
    return has(buf_slice(&w->folded), needle);
}

bool search_header_has(struct search_work *w, struct slice header, struct slice needle)
{
    struct slice rest = slice_sub(header, 0, HEADER_LOOK_MAX);
    struct header_field field;

    for (size_t n = 0; n < HEADER_FIELDS_MAX && header_next(&rest, &field); n++)
        if (search_field_has(w, &field, true, needle))
            return true;
    return false;
}

/* ------------------------------------------------------------------ bodies */

struct looking {
    struct search_work *w;
    struct slice needle;
    struct slice charset;
    bool is_ascii_based; /* ASCII octets mean ASCII in this charset */
    bool found;
};

/* Charsets in which an octet below 0x80 is that character of ASCII, wherever all are. Others convert always.
 */
static bool is_ascii_based(struct slice charset)
{
    static const struct slice starts[] = {{"us-ascii", 8}, {"ascii", 5}, {"utf-8", 5}, {"utf8", 4},
        {"iso-8859-", 9}, {"windows-125", 11}, {"koi8-", 5}};

    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (slice_starts_nocase(charset, starts[i]))
            return true;
    return charset.n == 0;
}

/* A run of octets that starts and ends between characters. */
static void look_at(struct looking *l, struct slice octets)
{
    struct search_work *w = l->w;
    size_t keep = l->needle.n - 1;

    if (!l->is_ascii_based || !fold_ascii(&w->folded, octets)) {
        w->folded.full = false;
        buf_clear(&w->utf8);
        decode_charset(l->charset, octets, &w->utf8);
        decode_fold(buf_slice(&w->utf8), &w->folded);
    }
    l->found = l->found || has(buf_slice(&w->folded), l->needle);
    /* a needle may begin at the end of this piece */
    if (w->folded.n > keep)
        buf_drop(&w->folded, w->folded.n - keep);
    w->folded.full = false;
}

/* Octets up to the last line end of s; all of s when there is none in so much of it. */
static size_t to_line_end(struct slice s, bool is_last)
{
    ssize_t lf = is_last ? -1 : slice_rchr(s, '\n');

    return lf < 0 ? s.n : (size_t)lf + 1;
}

static void look_undecoded(struct looking *l, struct slice octets)
{
    while (octets.n && !l->found) {
        struct slice piece = slice_sub(octets, 0, PIECE);
        size_t n = to_line_end(piece, piece.n == octets.n);

        look_at(l, slice_sub(octets, 0, n));
        octets = slice_from(octets, n);
    }
}

static void look_decoded(struct looking *l, struct slice octets, enum mime_encoding encoding)
{
    struct buf *raw = &l->w->raw;
    struct decode_transfer d;

    buf_clear(raw);
    decode_transfer_init(&d, encoding);
    while (octets.n && !l->found) {
        struct slice piece = slice_sub(octets, 0, PIECE);

        decode_transfer(&d, piece, raw);
        octets = slice_from(octets, piece.n);
        if (raw->n >= PIECE) {
            size_t n = to_line_end(buf_slice(raw), false);

            look_at(l, slice_sub(buf_slice(raw), 0, n));
            buf_drop(raw, n);
        }
    }
    decode_transfer_finish(&d, raw);
    if (!l->found)
        look_at(l, buf_slice(raw));
}

static bool text_part_has(
    struct search_work *w, uint32_t i, const struct header_content *c, struct slice needle)
{
    const struct mime_part *p = &w->tree.parts[i];
    struct slice octets = slice_sub(w->text, p->body, p->body_len), name;
    enum mime_encoding encoding = mime_part_encoding(&w->tree, i, w->text, &w->scratch, &name);
    struct looking l = {.w = w, .needle = needle, .charset = header_param_get(c, SLICE("charset"))};

    l.is_ascii_based = is_ascii_based(l.charset);
    buf_clear(&w->folded);
    if (encoding == MIME_QP || encoding == MIME_BASE64)
        look_decoded(&l, octets, encoding);
    else
        look_undecoded(&l, octets);
    return l.found;
}

/* What a reader sees of an attachment: its name and description. */
static bool names_have(struct search_work *w, struct slice part_header, struct slice needle)
{
    struct slice rest = slice_sub(part_header, 0, HEADER_LOOK_MAX);
    struct header_field field;
    struct header_content c;

    for (size_t n = 0; n < HEADER_FIELDS_MAX && header_next(&rest, &field); n++) {
        bool type = slice_eq_nocase(field.name, SLICE("Content-Type"));

        if (slice_eq_nocase(field.name, SLICE("Content-Description"))) {
            if (search_field_has(w, &field, false, needle))
                return true;
            continue;
        }
        if (!type && !slice_eq_nocase(field.name, SLICE("Content-Disposition")))
            continue;
        arena_reset(&w->scratch);
        if (!header_content(field.value, &w->scratch, &c))
            continue;
        buf_clear(&w->value);
        buf_clear(&w->folded);
        decode_words(header_param_get(&c, type ? SLICE("name") : SLICE("filename")), &w->value);
        decode_fold(buf_slice(&w->value), &w->folded);
        if (has(buf_slice(&w->folded), needle))
            return true;
    }
    return false;
}

bool search_body_has(struct search_work *w, struct slice needle)
{
    if (needle.n == 0)
        return true;
    for (uint32_t i = 0; i < w->tree.count; i++) {
        const struct mime_part *p = &w->tree.parts[i];
        const struct mime_part *parent = &w->tree.parts[p->parent];
        struct slice header = slice_sub(w->text, p->header, p->header_len);
        struct header_content c;

        if (i > 0 && parent->kind == MIME_MESSAGE) {
            if (search_header_has(w, header, needle))
                return true;
        } else if (i > 0 && names_have(w, header, needle)) {
            return true;
        }
        if (p->kind != MIME_SINGLE || p->is_opaque)
            continue;
        arena_reset(&w->scratch);
        mime_content_type(&w->tree, i, w->text, &w->scratch, &c);
        if (slice_eq_nocase(c.type, SLICE("text")) && text_part_has(w, i, &c, needle))
            return true;
    }
    return false;
}
