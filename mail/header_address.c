#include "mail/header.h"

#include <string.h>

#include "common/ascii.h"
#include "mail/header_lex.h"

#define ADDRESSES_MAX 10000
#define SPECIALS "()<>[]:;@\\,.\"" /* RFC 5322 3.2.3 */
#define WORD_LOOK_MAX 256 /* encoded words with specials inside are looked for within so many octets */

/*
 * One forward pass. The words of an element go to both bufs, as whether they are a display name or an address
 * shows only at what follows them. Inside <..> they go to `spec` only.
 */
struct reader {
    struct lex lex;
    struct arena *arena;
    struct buf phrase;  /* words with a blank where there were blanks or comments */
    struct buf spec;    /* the last run of words joined by dots, then '@' and the domain */
    struct buf comment; /* the last comment: "a@b (Name)" is how names were written once */
    struct slice route;
    size_t at; /* where the '@' is in spec, if has_at */
    bool has_at;
    bool gap;    /* blanks or comments stand before the next token */
    bool closed; /* spec is complete: words that follow belong to the phrase only */
    bool angle;  /* inside <..> */
    bool skip;   /* up to the next comma nothing counts */
    bool in_group;
    bool failed; /* the arena is used up */
    size_t count;
    struct header_address *first, **tail;
};

static void element_start(struct reader *r)
{
    buf_clear(&r->phrase);
    buf_clear(&r->spec);
    buf_clear(&r->comment);
    r->route = slice_of(NULL, 0);
    r->has_at = r->gap = r->closed = r->angle = r->skip = false;
}

static struct slice keep(struct reader *r, struct slice s)
{
    struct slice copy = arena_copy(r->arena, s);

    if (!copy.p)
        r->failed = true;
    return copy;
}

static struct header_address *append(struct reader *r)
{
    struct header_address *a = arena_zalloc(r->arena, 1, sizeof *a);

    if (!a) {
        r->failed = true;
        return NULL;
    }
    *r->tail = a;
    r->tail = &a->next;
    r->count++;
    return a;
}

/* An address of what was read; a name that is empty is none. */
static void add_address(struct reader *r, struct slice name, struct slice local, struct slice domain)
{
    struct header_address *a = append(r);

    if (!a)
        return;
    if (slice_trim(name).n)
        a->name = keep(r, slice_trim(name));
    a->route = r->route;
    a->local = keep(r, local);
    a->domain = keep(r, domain);
}

/* The element ends here: what was read of it becomes an address. */
static void element_end(struct reader *r)
{
    struct slice spec = buf_slice(&r->spec), phrase = buf_slice(&r->phrase);
    struct slice local = r->has_at ? slice_sub(spec, 0, r->at) : spec;
    struct slice domain = r->has_at ? slice_from(spec, r->at + 1) : SLICE("");

    if (r->skip) {
        /* already taken, or not to be read */
    } else if (r->angle) {
        if (!slice_starts(spec, SLICE("@")) && (spec.n || phrase.n))
            add_address(r, phrase, local, domain);
    } else if (r->has_at) {
        if (local.n)
            add_address(r, buf_slice(&r->comment), local, domain);
    } else if (spec.n && slice_eq(spec, phrase)) {
        add_address(r, buf_slice(&r->comment), spec, domain);
    } else if (phrase.n) {
        /* words only: a name without an address */
        add_address(r, phrase, SLICE(""), domain);
    }
    element_start(r);
}

static void group_start(struct reader *r)
{
    struct header_address *a = append(r);

    if (a)
        a->local = keep(r, slice_trim(buf_slice(&r->phrase)));
    r->in_group = true;
    element_start(r);
}

static void group_end(struct reader *r)
{
    if (r->in_group)
        append(r);
    r->in_group = false;
}

/* Before a word, a dot or a domain literal: makes place for it. True if it belongs to spec. */
static bool word_start(struct reader *r, bool dot)
{
    bool joined = dot || !r->gap || r->spec.n == 0 || r->spec.p[r->spec.n - 1] == '.' ||
                  r->spec.p[r->spec.n - 1] == '@';

    if (r->gap && r->phrase.n && !r->angle)
        buf_add_char(&r->phrase, ' ');
    r->gap = false;
    if (!joined && r->has_at)
        r->closed = true;
    else if (!joined)
        buf_clear(&r->spec);
    return !r->closed;
}

static void add_text(struct reader *r, struct slice s)
{
    bool in_spec = word_start(r, s.n == 1 && s.p[0] == '.');

    if (!r->angle)
        lex_put(&r->phrase, s);
    if (in_spec)
        lex_put(&r->spec, s);
}

static void read_quoted(struct reader *r)
{
    bool in_spec = word_start(r, false);
    struct buf *to = r->angle ? &r->spec : &r->phrase;
    size_t start = to->n;

    lex_quoted(&r->lex, !r->angle || in_spec ? to : NULL);
    if (!r->angle && in_spec)
        buf_add(&r->spec, slice_from(buf_slice(&r->phrase), start));
}

/* "[..]": blanks do not count in it */
static void read_literal(struct reader *r)
{
    const char *start = r->lex.p, *p = start;

    while (p < r->lex.end && *p != ']' && !ascii_is_blank(*p) && *p != ',' && *p != '>')
        p++;
    if (p < r->lex.end && *p == ']')
        p++;
    r->lex.p = p;
    add_text(r, slice_of(start, (size_t)(p - start)));
}

/* Octets of an encoded word at the start of s, 0 if there is none; some senders leave commas and quotes in
 * it. */
static size_t encoded_word(struct slice s)
{
    size_t n = s.n < WORD_LOOK_MAX ? s.n : WORD_LOOK_MAX;
    int marks = 0;

    if (!slice_starts(s, SLICE("=?")))
        return 0;
    for (size_t i = 2; i < n && !ascii_is_blank(s.p[i]); i++) {
        if (s.p[i] != '?')
            continue;
        if (++marks == 3)
            return i + 1 < n && s.p[i + 1] == '=' ? i + 2 : 0;
    }
    return 0;
}

static void read_word(struct reader *r)
{
    struct slice rest = slice_of(r->lex.p, (size_t)(r->lex.end - r->lex.p));
    size_t n = r->angle ? 0 : encoded_word(rest);

    if (n) {
        r->lex.p += n;
        add_text(r, slice_sub(rest, 0, n));
    } else {
        add_text(r, lex_run(&r->lex, SPECIALS));
    }
}

static void read_at(struct reader *r)
{
    bool in_route = r->angle && (r->spec.n == 0 || r->spec.p[0] == '@') && !r->has_at;

    if (!r->angle)
        buf_add_char(&r->phrase, '@');
    r->gap = false;
    if (!in_route && (r->has_at || r->closed)) {
        /* two of them: whoever guesses which domain counts can be fooled */
        if (r->angle)
            r->skip = true;
        r->closed = true;
        buf_clear(&r->spec);
        r->has_at = false;
        return;
    }
    r->has_at = !in_route;
    r->at = r->spec.n;
    buf_add_char(&r->spec, '@');
}

static void read_colon(struct reader *r)
{
    if (r->angle && slice_starts(buf_slice(&r->spec), SLICE("@")) && !r->has_at) {
        r->route = keep(r, buf_slice(&r->spec));
        buf_clear(&r->spec);
    } else if (!r->angle && !r->in_group && !r->has_at && r->phrase.n) {
        group_start(r);
    } else {
        r->skip = true;
    }
}

static void read_angle(struct reader *r)
{
    if (r->angle) {
        r->skip = true;
        return;
    }
    buf_clear(&r->spec);
    r->angle = true;
    r->has_at = r->closed = r->gap = false;
}

static void read_token(struct reader *r)
{
    char c = *r->lex.p;

    switch (c) {
    case ',':
        r->lex.p++;
        if (r->angle && !r->skip && !r->has_at && slice_starts(buf_slice(&r->spec), SLICE("@")))
            buf_add_char(&r->spec, c);
        else
            element_end(r);
        return;
    case ';':
        r->lex.p++;
        element_end(r);
        group_end(r);
        return;
    case '"':
        if (r->skip)
            lex_quoted(&r->lex, NULL);
        else
            read_quoted(r);
        return;
    default:
        break;
    }
    if (r->skip) {
        r->lex.p++;
        return;
    }
    switch (c) {
    case '<':
        r->lex.p++;
        read_angle(r);
        break;
    case '>':
        r->lex.p++;
        if (r->angle) {
            element_end(r);
            r->skip = true;
        }
        break;
    case '@':
        r->lex.p++;
        read_at(r);
        break;
    case ':':
        r->lex.p++;
        read_colon(r);
        break;
    case '[':
        read_literal(r);
        break;
    case '.':
        r->lex.p++;
        add_text(r, SLICE("."));
        break;
    case ')':
    case ']':
    case '\\':
        r->lex.p++;
        break;
    default:
        read_word(r);
        break;
    }
}

struct header_address *header_addresses(struct slice value, struct arena *arena)
{
    struct reader r = {
        .lex = lex_of(slice_sub(value, 0, HEADER_LOOK_MAX)),
        .arena = arena,
        .phrase = BUF_INIT(HEADER_LOOK_MAX),
        .spec = BUF_INIT(HEADER_LOOK_MAX),
        .comment = BUF_INIT(HEADER_LOOK_MAX),
    };

    r.tail = &r.first;
    element_start(&r);
    while (r.count < ADDRESSES_MAX && !r.failed) {
        r.gap = lex_cfws(&r.lex, &r.comment) || r.gap;
        if (r.lex.p == r.lex.end)
            break;
        read_token(&r);
    }
    if (r.count < ADDRESSES_MAX && !r.failed)
        element_end(&r);
    group_end(&r);
    buf_free(&r.phrase);
    buf_free(&r.spec);
    buf_free(&r.comment);
    return r.failed ? NULL : r.first;
}
