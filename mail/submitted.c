#include "mail/submitted.h"

#include <stdlib.h>

#include "common/mem.h"

#include "mail/address.h"
#include "mail/header.h"
#include "mail/header_lex.h"

size_t submitted_fix(
    struct slice text, const struct submitted *who, struct trace_range *cuts, size_t max, struct buf *add)
{
    bool has_from = false, has_date = false, has_id = false;
    struct slice rest = text;
    struct header_field f;
    size_t n = 0;

    while (header_next(&rest, &f)) {
        has_from |= slice_eq_nocase(f.name, SLICE("From"));
        has_date |= slice_eq_nocase(f.name, SLICE("Date"));
        has_id |= slice_eq_nocase(f.name, SLICE("Message-ID"));
        if (!slice_eq_nocase(f.name, SLICE("Bcc")) && !slice_eq_nocase(f.name, SLICE("Resent-Bcc")) &&
            !trace_is_forged(&f, who->host))
            continue;
        if (n < max)
            cuts[n] = (struct trace_range){.offset = (size_t)(f.raw.p - text.p), .len = f.raw.n};
        n++;
    }
    if (!has_date) {
        buf_add_str(add, "Date: ");
        header_date_format(add, who->now, 0);
        buf_add_str(add, "\r\n");
    }
    if (!has_from) {
        buf_add_str(add, "From: <");
        buf_add(add, who->from);
        buf_add_str(add, ">\r\n");
    }
    if (!has_id)
        buf_printf(add, "Message-ID: <%.*s@%.*s>\r\n", SLICE_FMT(who->id), SLICE_FMT(who->host));
    return n;
}

/* --- From --- */

struct reader {
    struct lex lex;
    struct buf spec; /* what is read of an address */
    bool gap;        /* blanks or comments stand behind the last token of spec */
    bool angle;      /* inside <..> */
    bool closed;     /* behind it */
    bool phrase;     /* more than one word: a display name, so an <..> must follow */
    bool bad;
};

/* A token outside of <..> is of a display name or of a bare address; which one, shows what follows. */
static void take(struct reader *r, struct slice token)
{
    bool is_apart = r->gap && r->spec.n;

    if (r->closed || (r->angle && is_apart)) {
        r->bad = true;
        return;
    }
    r->phrase |= is_apart;
    r->gap = false;
    buf_add(&r->spec, token);
}

static void open_angle(struct reader *r)
{
    struct slice name = buf_slice(&r->spec);
    bool quoted = false;

    /* an address as the display name, without quotes: some programs take that for the author */
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '\\' && quoted)
            i++;
        else if (name.p[i] == '"')
            quoted = !quoted;
        else if (name.p[i] == '@' && !quoted)
            r->bad = true;
    }
    r->bad |= r->angle || r->closed;
    r->angle = true;
    r->phrase = r->gap = false;
    buf_clear(&r->spec);
}

static void read_quoted(struct reader *r)
{
    const char *start = r->lex.p;

    lex_quoted(&r->lex, NULL);
    take(r, slice_of(start, (size_t)(r->lex.p - start)));
}

static void read_token(struct reader *r)
{
    const char *start = r->lex.p;

    switch (*start) {
    case '"':
        read_quoted(r);
        break;
    case '<':
        r->lex.p++;
        open_angle(r);
        break;
    case '>':
        r->lex.p++;
        r->bad |= !r->angle;
        r->angle = false;
        r->closed = true;
        break;
    case ')': /* closes nothing */
    case ':': /* a group, or a route */
    case ';':
        r->lex.p++;
        r->bad = true;
        break;
    default:
        take(r, lex_run(&r->lex, "\"<>():;,"));
        break;
    }
}

/* The element ends: one address, or nothing at all. */
static void end_element(struct reader *r, struct arena *arena, struct slice *from, size_t max, size_t *n)
{
    struct buf text = BUF_INIT(1024);
    struct address a;

    if (r->spec.n || r->angle || r->closed) {
        r->bad |= r->angle || r->phrase || *n == max || r->spec.full ||
                  address_parse(buf_slice(&r->spec), arena, &a) != ADDRESS_OK;
        if (!r->bad) {
            address_format(&text, &a);
            from[*n] = arena_copy(arena, buf_slice(&text));
            r->bad = !from[(*n)++].p;
        }
    }
    buf_free(&text);
    buf_clear(&r->spec);
    r->gap = r->angle = r->closed = r->phrase = false;
}

static bool read_from(struct slice value, struct arena *arena, struct slice *from, size_t max, size_t *n)
{
    struct reader r = {.lex = lex_of(value), .spec = BUF_INIT(HEADER_LOOK_MAX)};

    while (!r.bad) {
        r.gap = lex_cfws(&r.lex, NULL) || r.gap;
        if (r.lex.p == r.lex.end)
            break;
        if (lex_is(&r.lex, ',') && !r.angle) {
            r.lex.p++;
            end_element(&r, arena, from, max, n);
        } else if (lex_is(&r.lex, ',')) {
            r.bad = true;
        } else {
            read_token(&r);
        }
    }
    end_element(&r, arena, from, max, n);
    buf_free(&r.spec);
    return !r.bad && *n > 0;
}

bool submitted_from(struct slice text, struct arena *arena, struct slice *from, size_t max, size_t *n)
{
    struct slice rest = text;
    struct header_field f;
    bool has = false;

    *n = 0;
    while (header_next(&rest, &f)) {
        if (!slice_eq_nocase(f.name, SLICE("From")))
            continue;
        if (has || !read_from(f.value, arena, from, max, n))
            return false;
        has = true;
    }
    return true;
}

/* --- for both --- */

#define CUTS_FIRST 16

static size_t find_cuts(
    struct slice text, const struct submitted *who, struct trace_range *cuts, size_t max, struct buf *add)
{
    return who->from.n ? submitted_fix(text, who, cuts, max, add) : trace_forged(text, who->host, cuts, max);
}

struct trace_range *submitted_cuts(struct slice text, const struct submitted *who, size_t *n, struct buf *add)
{
    size_t max = CUTS_FIRST, before = add->n, found, joined = 0;
    struct trace_range *cuts = mem_zalloc(max, sizeof *cuts);

    while ((found = find_cuts(text, who, cuts, max, add)) > max) {
        max = found; /* the header's size bounds it */
        cuts = mem_realloc(cuts, max, sizeof *cuts);
        buf_cut(add, before);
    }
    for (size_t i = 0; i < found; i++) {
        if (joined && cuts[joined - 1].offset + cuts[joined - 1].len == cuts[i].offset)
            cuts[joined - 1].len += cuts[i].len;
        else
            cuts[joined++] = cuts[i];
    }
    *n = joined;
    if (joined == 0) {
        free(cuts);
        cuts = NULL;
    }
    return cuts;
}
