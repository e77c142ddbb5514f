#include "mail/header.h"

#include <string.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "mail/decode.h"
#include "mail/header_lex.h"

#define TSPECIALS "()<>@,;:\\\"/[]?=" /* RFC 2045 5.1 */
#define SECTIONS_MAX 1000             /* RFC 2231 numbers above are not believed */

/* One parameter as it is written; with RFC 2231 that may be a piece of one. */
struct piece {
    struct slice name; /* lower case, without the stars */
    struct slice value;
    int section;      /* of name*1; -1 for a name without a number */
    bool is_extended; /* name ends in a star: the value is percent-encoded */
    bool is_taken;
};

static struct slice lower(struct slice s, struct arena *arena)
{
    struct slice copy = arena_copy(arena, s);

    for (size_t i = 0; copy.p && i < s.n; i++)
        ((char *)copy.p)[i] = (char)(s.p[i] ? ascii_lower(s.p[i]) : (char)0x80);
    return copy;
}

/* Takes "*", "*3" or "*3*" off the name; a form that RFC 2231 does not know stays part of it. */
static void split_name(struct piece *piece)
{
    struct slice name = piece->name;
    ssize_t star;
    uint64_t v;

    piece->section = -1;
    if (name.n > 1 && name.p[name.n - 1] == '*') {
        piece->is_extended = true;
        name.n--;
    }
    star = slice_rchr(name, '*');
    if (star > 0 && slice_u64(slice_from(name, (size_t)star + 1), SECTIONS_MAX, &v)) {
        piece->section = (int)v;
        name.n = (size_t)star;
    }
    piece->name = name;
}

/* A value: a quoted string, or what stands there up to a blank, a comment or the semicolon. */
static struct slice take_value(struct lex *l, struct arena *arena)
{
    struct buf text = BUF_INIT(HEADER_LOOK_MAX);
    bool is_quoted = lex_is(l, '"');
    struct slice out = is_quoted ? slice_of(l->p + 1, (size_t)(l->end - l->p) - 1) : lex_run(l, ";(\"");
    ssize_t end = is_quoted ? slice_chr(out, '"') : (ssize_t)out.n;

    /* nearly always: the octets as they lie */
    if (end >= 0 && lex_is_plain(slice_sub(out, 0, (size_t)end)) &&
        (!is_quoted || slice_chr(slice_sub(out, 0, (size_t)end), '\\') < 0)) {
        l->p += is_quoted ? end + 2 : 0;
        return arena_copy(arena, slice_sub(out, 0, (size_t)end));
    }
    if (is_quoted)
        lex_quoted(l, &text);
    else
        lex_put(&text, out);
    out = arena_copy(arena, buf_slice(&text));
    buf_free(&text);
    return out;
}

/* Moves to the next semicolon that is in no quoted string and no comment. */
static bool next_semicolon(struct lex *l)
{
    while (lex_cfws(l, NULL), l->p < l->end) {
        if (*l->p == ';') {
            l->p++;
            return true;
        }
        if (*l->p == '"')
            lex_quoted(l, NULL);
        else
            lex_run(l, ";(\"");
    }
    return false;
}

/* At most HEADER_PARAMS_MAX pieces; 0 as well when the arena is used up. */
static size_t read_pieces(struct lex *l, struct arena *arena, struct piece *pieces)
{
    size_t n = 0;

    while (n < HEADER_PARAMS_MAX && next_semicolon(l)) {
        struct piece *piece = &pieces[n];
        struct slice name;

        lex_cfws(l, NULL);
        name = lex_run(l, TSPECIALS);
        lex_cfws(l, NULL);
        if (name.n == 0 || !lex_is(l, '='))
            continue;
        l->p++;
        lex_cfws(l, NULL);
        *piece = (struct piece){.name = lower(name, arena), .value = take_value(l, arena)};
        if (!piece->name.p || !piece->value.p)
            return 0;
        split_name(piece);
        n++;
    }
    return n;
}

static void percent_decode(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        int high = i + 2 < s.n && s.p[i] == '%' ? ascii_hex(s.p[i + 1]) : -1;
        int low = high >= 0 ? ascii_hex(s.p[i + 2]) : -1;

        buf_add_char(out, low >= 0 ? (char)(high * 16 + low) : s.p[i]);
        if (low >= 0)
            i += 2;
    }
}

/* Octets in a charset as the value to show: UTF-8, as encoded words if it is not ASCII; always one line. */
static struct slice in_words(struct slice charset, struct slice octets, struct arena *arena)
{
    struct buf utf8 = BUF_INIT(HEADER_LOOK_MAX), words = BUF_INIT(HEADER_LOOK_MAX);
    struct slice out;

    decode_charset(charset.n ? charset : SLICE("utf-8"), octets, &utf8);
    for (size_t i = 0; i < utf8.n; i++)
        if (ascii_is_control(utf8.p[i]))
            utf8.p[i] = ' ';
    decode_words_encode(buf_slice(&utf8), &words);
    out = arena_copy(arena, buf_slice(&words));
    buf_free(&utf8);
    buf_free(&words);
    return out;
}

/* charset'language'text at the start of an extended value (RFC 2231 4) */
static bool take_charset(struct slice *s, struct slice *charset)
{
    struct slice rest = *s, language;
    ssize_t quote = slice_chr(rest, '\'');

    *charset = SLICE("");
    if (quote < 0 || slice_chr(slice_from(rest, (size_t)quote + 1), '\'') < 0)
        return false;
    slice_cut(&rest, '\'', charset);
    slice_cut(&rest, '\'', &language);
    *s = rest;
    return true;
}

static struct piece *find_piece(struct piece *pieces, size_t n, struct slice name, int section)
{
    for (size_t i = 0; i < n; i++)
        if (pieces[i].section == section && slice_eq(pieces[i].name, name))
            return &pieces[i];
    return NULL;
}

/* Puts name*0, name*1 .. together up to the first that is missing (RFC 2231 3). */
static struct slice join(struct piece *pieces, size_t n, struct piece *piece, struct arena *arena)
{
    struct slice name = piece->name, charset = SLICE(""), value, out;
    struct buf octets = BUF_INIT(HEADER_LOOK_MAX);
    bool encoded = piece->is_extended;

    for (int section = piece->section; piece; piece = find_piece(pieces, n, name, ++section)) {
        value = piece->value;
        if (encoded && section <= 0 && piece->is_extended)
            take_charset(&value, &charset);
        if (piece->is_extended && encoded)
            percent_decode(value, &octets);
        else
            buf_add(&octets, value);
        if (section < 0)
            break;
    }
    out = encoded ? in_words(charset, buf_slice(&octets), arena) : arena_copy(arena, buf_slice(&octets));
    buf_free(&octets);
    return out;
}

/* The piece that stands for all pieces of its name: name*, else name*0, else the plain one. */
static struct piece *best_piece(struct piece *pieces, size_t n, struct slice name)
{
    struct piece *plain = NULL, *numbered = find_piece(pieces, n, name, 0);

    for (size_t i = 0; i < n; i++) {
        if (pieces[i].section >= 0 || !slice_eq(pieces[i].name, name))
            continue;
        if (pieces[i].is_extended)
            return &pieces[i];
        if (!plain)
            plain = &pieces[i];
    }
    return numbered ? numbered : plain;
}

static bool make_params(struct piece *pieces, size_t n, struct arena *arena, struct header_param **tail)
{
    for (size_t i = 0; i < n; i++) {
        struct piece *best;
        struct header_param *param;

        if (pieces[i].is_taken)
            continue;
        for (size_t k = i; k < n; k++)
            if (slice_eq(pieces[k].name, pieces[i].name))
                pieces[k].is_taken = true;
        best = best_piece(pieces, n, pieces[i].name);
        if (!best)
            continue;
        param = arena_zalloc(arena, 1, sizeof *param);
        if (!param)
            return false;
        param->name = best->name;
        param->value = best->section < 0 && !best->is_extended ? best->value : join(pieces, n, best, arena);
        if (!param->value.p)
            return false;
        *tail = param;
        tail = &param->next;
    }
    return true;
}

bool header_content(struct slice value, struct arena *arena, struct header_content *out)
{
    struct lex l = lex_of(slice_sub(value, 0, HEADER_LOOK_MAX));
    struct piece pieces[HEADER_PARAMS_MAX] MEM_UNINITIALIZED;
    struct slice type, subtype = SLICE("");
    size_t n;

    *out = (struct header_content){.type = SLICE(""), .subtype = SLICE("")};
    lex_cfws(&l, NULL);
    type = lex_run(&l, TSPECIALS);
    if (type.n == 0)
        return false;
    lex_cfws(&l, NULL);
    if (lex_is(&l, '/')) {
        l.p++;
        lex_cfws(&l, NULL);
        subtype = lex_run(&l, TSPECIALS);
    }
    out->type = lower(type, arena);
    out->subtype = lower(subtype, arena);
    n = read_pieces(&l, arena, pieces);
    if (out->type.p && out->subtype.p && make_params(pieces, n, arena, &out->params))
        return true;
    *out = (struct header_content){.type = SLICE(""), .subtype = SLICE("")};
    return false;
}

struct slice header_param_get(const struct header_content *c, struct slice name)
{
    for (const struct header_param *p = c->params; p; p = p->next)
        if (slice_eq(p->name, name))
            return p->value;
    return slice_of(NULL, 0);
}
