#include "mail/smtptext.h"

#include <string.h>

#include "common/ascii.h"

/* Where the dot machine stands. Only CRLF leads to START. */
enum {
    START,  /* at the start of a line */
    TEXT,   /* in a line */
    CR,     /* behind a CR of the text */
    DOT,    /* behind a dot at the start of a line, which is not kept */
    DOT_CR, /* behind such a dot and a CR that waits to be part of the end or of the text */
};

/* Where the scanner for Received stands in its line; 0 .. 7 are letters found so far. */
enum {
    NAME = 8,     /* the whole name: blanks or the colon follow */
    OTHER = 9,    /* this line is of no interest */
    EMPTY_CR = 10 /* a CR at the start of a line: an LF now ends the header */
};

void smtptext_init(struct smtptext *t, uint64_t max)
{
    *t = (struct smtptext){.max = max, .state = START, .in_header = true};
}

static bool is_8bit(struct slice s)
{
    const char *p = s.p, *end = s.p + s.n;
    uint64_t any = 0, word;

    for (; end - p >= 32; p += 32) {
        for (int k = 0; k < 4; k++) {
            memcpy(&word, p + 8 * k, sizeof word);
            any |= word;
        }
        if (any & 0x8080808080808080u)
            return true;
    }
    for (; p < end; p++)
        any |= (unsigned char)*p;
    return any & 0x80;
}

/* One octet at the start of a header line. */
static void header_octet(struct smtptext *t, char c)
{
    static const char name[] = "received";

    if (c == '\n') {
        /* bare LF counts as well: those who read the message later take it as a line end */
        t->in_header = t->received_match != 0 && t->received_match != EMPTY_CR;
        t->received_match = 0;
    } else if (t->received_match == 0 && c == '\r') {
        t->received_match = EMPTY_CR;
    } else if (t->received_match < NAME) {
        t->received_match = ascii_lower(c) == name[t->received_match] ? t->received_match + 1 : OTHER;
    } else if (t->received_match != NAME || (c != ' ' && c != '\t')) {
        t->headers += t->received_match == NAME && c == ':';
        t->received_match = OTHER;
    }
}

/* Counts the Received fields and the octets of the header as long as it lasts. */
static void scan_header(struct smtptext *t, struct slice s)
{
    const char *p = s.p, *end = s.p + s.n, *lf;

    while (t->in_header && p < end) {
        if (t->received_match == OTHER) {
            lf = memchr(p, '\n', (size_t)(end - p));
            if (!lf) {
                p = end;
                break;
            }
            t->received_match = 0;
            p = lf + 1;
        } else {
            header_octet(t, *p++);
        }
    }
    t->header_size += (uint64_t)(p - s.p);
}

/* Octets of the message: notes what they hold and gives them on as far as they may be kept. */
static void give(struct smtptext *t, struct slice run, smtptext_sink *sink, void *ctx)
{
    uint64_t room = t->size < t->max ? t->max - t->size : 0;

    if (run.n == 0)
        return;
    if (!t->nul && memchr(run.p, '\0', run.n))
        t->nul = true;
    if (!t->eightbit && is_8bit(run))
        t->eightbit = true;
    if (t->in_header)
        scan_header(t, run);
    t->size += run.n;
    if (run.n > room) {
        t->too_big = true;
        run.n = (size_t)room;
    }
    if (run.n && !t->sink_failed && !sink(ctx, run))
        t->sink_failed = true;
}

/* In a line at octet i: reads to its end or to the end of the piece; returns the octet behind. */
static size_t read_line(struct smtptext *t, struct slice in, size_t i)
{
    const char *lf = memchr(in.p + i, '\n', in.n - i);
    size_t end = lf ? (size_t)(lf - in.p) : in.n;
    bool cr_last = end > i && in.p[end - 1] == '\r';

    if (!t->bare_cr && memchr(in.p + i, '\r', end - i - cr_last))
        t->bare_cr = true;
    if (!lf) {
        t->state = cr_last ? CR : TEXT;
        return end;
    }
    t->state = cr_last ? START : TEXT;
    if (!cr_last)
        t->bare_lf = true;
    return end + 1;
}

/* Behind a CR at octet i: only LF makes a line end of it. */
static size_t read_after_cr(struct smtptext *t, struct slice in, size_t i)
{
    if (in.p[i] == '\n') {
        t->state = START;
        return i + 1;
    }
    t->bare_cr = true;
    t->state = TEXT;
    return i;
}

size_t smtptext_data(struct smtptext *t, struct slice in, smtptext_sink *sink, void *ctx)
{
    size_t i = 0, run = 0; /* run: where what is kept and not yet given on starts */

    while (i < in.n && !t->done) {
        switch (t->state) {
        case START:
            if (in.p[i] == '.') {
                give(t, slice_sub(in, run, i - run), sink, ctx);
                run = ++i;
                t->state = DOT;
            } else {
                i = read_line(t, in, i);
            }
            break;
        case CR:
            i = read_after_cr(t, in, i);
            break;
        case DOT:
            if (in.p[i] == '\r') {
                run = ++i;
                t->state = DOT_CR;
            } else {
                t->state = TEXT;
            }
            break;
        case DOT_CR:
            if (in.p[i] == '\n') {
                run = ++i;
                t->done = true;
            } else {
                give(t, SLICE("\r"), sink, ctx);
                t->bare_cr = true;
                t->state = TEXT;
            }
            break;
        default:
            i = read_line(t, in, i);
            break;
        }
    }
    give(t, slice_sub(in, run, i - run), sink, ctx);
    return i;
}

void smtptext_bdat(struct smtptext *t, struct slice in, bool last, smtptext_sink *sink, void *ctx)
{
    for (size_t i = 0; i < in.n;)
        i = t->state == CR ? read_after_cr(t, in, i) : read_line(t, in, i);
    give(t, in, sink, ctx);
    if (last) {
        if (t->state == CR)
            t->bare_cr = true;
        t->done = true;
    }
}

void smtptext_stuff(struct buf *out, struct slice in, bool *at_line_start, bool *last_cr)
{
    size_t i = 0, run = 0;
    const char *lf;
    size_t end;

    while (i < in.n) {
        if (*at_line_start && in.p[i] == '.') {
            /* RFC 5321 4.5.2: the dot goes out twice, once as the end of what is before it */
            buf_add(out, slice_sub(in, run, i + 1 - run));
            run = i;
        }
        lf = memchr(in.p + i, '\n', in.n - i);
        end = lf ? (size_t)(lf - in.p) : in.n;
        if (end > i)
            *last_cr = in.p[end - 1] == '\r';
        *at_line_start = lf != NULL;
        i = end;
        if (!lf)
            break;
        if (!*last_cr) {
            buf_add(out, slice_sub(in, run, end - run));
            buf_add(out, SLICE("\r"));
            run = end;
        }
        *last_cr = false;
        i++;
    }
    buf_add(out, slice_sub(in, run, i - run));
}
