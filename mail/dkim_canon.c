#include "mail/dkim_canon.h"

#include <string.h>

#include "common/ascii.h"

/* Below this it is cheaper to copy than to hand on. */
#define RUN_LONG 512

/* 1: octets that end a run of plain text */
static const unsigned char stops[256] = {[' '] = 1, ['\t'] = 1, ['\r'] = 1, ['\n'] = 1};

static bool is_stop(char c)
{
    return stops[(unsigned char)c];
}

void dkim_canon_init(struct dkim_canon *c, void (*put)(void *ctx, struct slice run), void *ctx)
{
    /* hold is not worth clearing */
    c->put = put;
    c->ctx = ctx;
    c->line_ends = 0;
    c->blank = c->cr = c->in_line = c->has_text = false;
    c->held = 0;
}

static void flush(struct dkim_canon *c)
{
    if (c->held)
        c->put(c->ctx, slice_of(c->hold, c->held));
    c->held = 0;
}

static void put(struct dkim_canon *c, struct slice run)
{
    if (run.n > sizeof c->hold - c->held)
        flush(c);
    if (run.n >= RUN_LONG) {
        flush(c);
        c->put(c->ctx, run);
        return;
    }
    memcpy(c->hold + c->held, run.p, run.n);
    c->held += run.n;
}

static void line_end(struct dkim_canon *c)
{
    c->line_ends++;
    c->blank = c->in_line = false;
}

/* Text: what was kept back for it goes first. */
static void text(struct dkim_canon *c, struct slice run)
{
    for (; c->line_ends; c->line_ends--)
        put(c, SLICE("\r\n"));
    if (c->blank)
        put(c, SLICE(" "));
    c->blank = false;
    c->in_line = c->has_text = true;
    put(c, run);
}

/*
 * Where the text at p (no stop) ends that can go out as it is: a single space or a CRLF between two plain
 * octets is part of it.
 */
static const char *plain_end(const char *p, const char *end)
{
    for (;;) {
        while (p < end && !is_stop(*p))
            p++;
        if (end - p >= 2 && *p == ' ' && !is_stop(p[1]))
            p += 2;
        else if (end - p >= 3 && *p == '\r' && p[1] == '\n' && !is_stop(p[2]))
            p += 3;
        else
            return p;
    }
}

void dkim_canon_body(struct dkim_canon *c, struct slice piece)
{
    const char *p = piece.p, *end = p + piece.n;

    while (p < end) {
        const char *start = p;

        if (c->cr) {
            c->cr = false;
            if (*p == '\n') {
                line_end(c);
                p++;
                continue;
            }
            text(c, SLICE("\r"));
        }
        switch (*p) {
        case ' ':
        case '\t':
            c->blank = true;
            p++;
            break;
        case '\r':
            c->cr = true;
            p++;
            break;
        case '\n':
            line_end(c);
            p++;
            break;
        default:
            p = plain_end(p, end);
            text(c, slice_of(start, (size_t)(p - start)));
        }
    }
}

void dkim_canon_end(struct dkim_canon *c)
{
    if (c->cr)
        text(c, SLICE("\r"));
    if (c->has_text)
        put(c, SLICE("\r\n"));
    flush(c);
}

void dkim_canon_field(struct buf *out, struct slice name, struct slice value)
{
    bool gap = false;

    name = slice_trim(name);
    value = slice_trim(value);
    for (size_t i = 0; i < name.n; i++)
        buf_add_char(out, ascii_lower(name.p[i]));
    buf_add_char(out, ':');
    for (size_t i = 0; i < value.n; i++) {
        char ch = value.p[i];

        /* unfolded: a line end inside a field stands before a blank */
        if (ch == '\n' || (ch == '\r' && i + 1 < value.n && value.p[i + 1] == '\n'))
            continue;
        if (ch == ' ' || ch == '\t') {
            gap = true;
            continue;
        }
        if (gap)
            buf_add_char(out, ' ');
        gap = false;
        buf_add_char(out, ch);
    }
}
