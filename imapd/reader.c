#include "imapd/reader.h"

#include <string.h>

#include "common/ascii.h"

/* security.md 4.4 */
const struct imap_reader_limits imap_limits_front = {
    .line = 8 * 1024, .literal = 1024, .literals = 4096, .count = 8, .swallow = 0, .strict = true};
const struct imap_reader_limits imap_limits_worker = {.line = (size_t)64 * 1024,
    .literal = (size_t)128 * 1024,
    .literals = (size_t)1024 * 1024,
    .count = 1000,
    .swallow = (uint64_t)256 * 1024 * 1024,
    .strict = false};

static size_t text_cap(const struct imap_reader_limits *l)
{
    /* each literal adds a line end of its own */
    return l->line + l->literals + 2 * (size_t)l->count + 2;
}

void imap_reader_init(struct imap_reader *r, const struct imap_reader_limits *limits)
{
    *r = (struct imap_reader){.limits = limits, .text = BUF_INIT(text_cap(limits))};
}

void imap_reader_fini(struct imap_reader *r)
{
    buf_free(&r->text);
}

bool imap_reader_is_empty(const struct imap_reader *r)
{
    return r->state == IMAP_AT_LINE && r->text.n == 0 && !r->swallowing;
}

void imap_reader_text(struct imap_reader *r, struct buf *out)
{
    const struct imap_reader_limits *limits = r->limits;

    *out = r->text;
    imap_reader_init(r, limits);
}

static enum imap_read bye(struct imap_reader *r, const char *why)
{
    r->state = IMAP_AT_BYE;
    r->why = why;
    return IMAP_READ_BYE;
}

/*
 * Does the line end with a literal's announcement, "{n}", "{n+}", "~{n}" (RFC 3501 4.3, RFC 7888 4, RFC
 * 3516 4.2)? A size beyond 64 bits becomes the largest number: no limit lets it pass.
 */
static bool announces(struct imap_reader *r, struct slice line)
{
    ssize_t open = slice_rchr(line, '{');
    struct slice digits;

    if (open < 0 || line.p[line.n - 1] != '}')
        return false;
    digits = slice_sub(line, (size_t)open + 1, line.n - (size_t)open - 2);
    r->literal_waits = !(digits.n && digits.p[digits.n - 1] == '+');
    if (!r->literal_waits)
        digits.n--;
    if (digits.n == 0)
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        if (!ascii_is_digit(digits.p[i]))
            return false;
    }
    if (!slice_u64(digits, UINT64_MAX, &r->literal))
        r->literal = UINT64_MAX;
    r->literal_binary = open > 0 && line.p[open - 1] == '~';
    return true;
}

/* Keeps the end of what is swallowed: enough for "{18446744073709551615+}". */
static void keep_tail(struct imap_reader *r, struct slice s)
{
    size_t drop;

    if (s.n > sizeof r->tail)
        s = slice_from(s, s.n - sizeof r->tail);
    drop = r->tail_n + s.n > sizeof r->tail ? r->tail_n + s.n - sizeof r->tail : 0;
    memmove(r->tail, r->tail + drop, r->tail_n - drop);
    r->tail_n -= drop;
    if (s.n)
        memcpy(r->tail + r->tail_n, s.p, s.n);
    r->tail_n += s.n;
}

/* A line of a refused command has ended. */
static enum imap_read swallowed_line(struct imap_reader *r)
{
    struct slice tail;

    if (r->tail_n && r->tail[r->tail_n - 1] == '\r')
        r->tail_n--;
    tail = slice_of(r->tail, r->tail_n);
    r->tail_n = 0;
    if (!announces(r, tail) || r->literal_waits)
        return IMAP_READ_REFUSED;
    if (r->literal > r->limits->swallow)
        return bye(r, r->why);
    r->left = r->literal;
    r->state = IMAP_AT_LITERAL;
    return IMAP_READ_MORE;
}

static enum imap_read line_end(struct imap_reader *r)
{
    /* CR and LF may come in two pieces: judge the text, but never a literal's octets */
    if (r->text.n > r->from && r->text.p[r->text.n - 1] == '\r') {
        buf_cut(&r->text, r->text.n - 1);
        r->line--;
    }
    if (!announces(r, slice_from(buf_slice(&r->text), r->from)))
        return IMAP_READ_COMMAND;
    r->state = IMAP_AT_DECISION;
    return IMAP_READ_LITERAL;
}

static enum imap_read feed_line(struct imap_reader *r, struct slice *in)
{
    ssize_t lf = slice_chr(*in, '\n');
    struct slice part = lf < 0 ? *in : slice_sub(*in, 0, (size_t)lf);

    *in = slice_from(*in, part.n + (lf >= 0));
    if (!r->swallowing && part.n > r->limits->line - r->line) {
        r->why = "the command line is too long";
        r->too_big = false;
        if (r->limits->strict)
            return bye(r, r->why);
        /* the tag is at the start: keep as much as fits */
        keep_tail(r, slice_from(buf_slice(&r->text), r->from));
        if (r->text.n < 64)
            buf_add(&r->text, slice_sub(part, 0, 64));
        r->swallowing = true;
    }
    if (r->swallowing) {
        keep_tail(r, part);
        return lf < 0 ? IMAP_READ_MORE : swallowed_line(r);
    }
    buf_add(&r->text, part);
    r->line += part.n;
    return lf < 0 ? IMAP_READ_MORE : line_end(r);
}

static enum imap_read feed_literal(struct imap_reader *r, struct slice *in, struct slice *piece)
{
    struct slice part = slice_sub(*in, 0, r->left < in->n ? (size_t)r->left : in->n);
    bool sink = r->state == IMAP_AT_SINK;

    *in = slice_from(*in, part.n);
    r->left -= part.n;
    if (r->left == 0)
        r->state = IMAP_AT_LINE;
    if (sink && part.n) {
        *piece = part;
        return IMAP_READ_PIECE;
    }
    if (!r->swallowing)
        buf_add(&r->text, part);
    return IMAP_READ_MORE;
}

enum imap_read imap_reader_feed(struct imap_reader *r, struct slice *in, struct slice *piece)
{
    enum imap_read what = IMAP_READ_MORE;

    if (r->state == IMAP_AT_REFUSED) {
        r->state = IMAP_AT_LINE;
        return IMAP_READ_REFUSED;
    }
    if (r->state == IMAP_AT_BYE)
        return IMAP_READ_BYE;
    if (r->state == IMAP_AT_DECISION)
        return IMAP_READ_LITERAL;
    while (in->n && what == IMAP_READ_MORE)
        what = r->state == IMAP_AT_LINE ? feed_line(r, in) : feed_literal(r, in, piece);
    return what;
}

static void begin_literal(struct imap_reader *r, enum imap_reader_state state)
{
    r->count++;
    /* in the text every announcement has one shape */
    buf_add_str(&r->text, "\r\n");
    r->left = r->literal;
    r->state = r->left ? state : IMAP_AT_LINE;
    r->from = r->text.n + (state == IMAP_AT_LITERAL ? (size_t)r->left : 0);
}

bool imap_reader_take(struct imap_reader *r)
{
    const struct imap_reader_limits *l = r->limits;

    if (r->literal > l->literal || r->literal > l->literals - r->octets || r->count >= l->count) {
        imap_reader_refuse(r, "a literal is too large, or there are too many in one command", true);
        return false;
    }
    r->octets += (size_t)r->literal;
    begin_literal(r, IMAP_AT_LITERAL);
    return true;
}

void imap_reader_sink(struct imap_reader *r)
{
    begin_literal(r, IMAP_AT_SINK);
}

void imap_reader_refuse(struct imap_reader *r, const char *why, bool too_big)
{
    r->why = why;
    r->too_big = too_big;
    r->swallowing = true;
    r->tail_n = 0;
    if (r->limits->strict || (!r->literal_waits && r->literal > r->limits->swallow)) {
        r->state = IMAP_AT_BYE;
    } else if (r->literal_waits) {
        r->state = IMAP_AT_REFUSED;
    } else {
        r->left = r->literal;
        r->state = r->left ? IMAP_AT_LITERAL : IMAP_AT_LINE;
    }
}

void imap_reader_drop(struct imap_reader *r, const char *why)
{
    r->why = why;
    r->too_big = false;
    r->swallowing = true;
    r->tail_n = 0;
    if (r->state == IMAP_AT_SINK)
        r->state = IMAP_AT_LITERAL;
}
