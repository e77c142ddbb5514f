/*
 * RETR: RFC 1939 5. TOP: RFC 1939 7.
 *
 * The text goes out dot-stuffed as the client takes it; between two portions it is asked for anew, which
 * costs nothing as long as no other session of the user read something in between. Flags stay as they are.
 * NUL octets are passed on; a message that ends without a blank line behind its header gets one (clients.md
 * 15).
 */
#include <string.h>

#include "common/log.h"
#include "mail/smtptext.h"
#include "pop3d/pop3.h"

#define PIECE ((size_t)64 * 1024)
#define HEAD ((size_t)64 * 1024) /* read for TOP at first */

/* Octets of the header with the blank line; text.n and *missing when there is none. */
static size_t header_size(struct slice text, bool *missing)
{
    const char *end;

    *missing = false;
    if (slice_starts(text, SLICE("\r\n")))
        return 2;
    end = text.n ? memmem(text.p, text.n, "\r\n\r\n", 4) : NULL;
    *missing = end == NULL;
    return end ? (size_t)(end - text.p) + 4 : text.n;
}

/* Octets of the header and the first `lines` of the body; false: the text has fewer. */
static bool top_size(struct slice text, uint32_t lines, bool *missing, size_t *size)
{
    size_t at = header_size(text, missing);

    for (; lines && at < text.n; lines--) {
        const char *lf = memchr(text.p + at, '\n', text.n - at);

        at = lf ? (size_t)(lf - text.p) + 1 : text.n;
        if (!lf)
            break;
    }
    *size = at;
    return !*missing && (lines == 0);
}

/* The text, or its start if that is enough. -1: nothing has gone out yet. */
static int begin(struct pop3_session *s, bool is_top, struct slice *text, struct err *e)
{
    struct pop3_text *t = &s->text;

    *t = (struct pop3_text){.uid = pop3_message(s)->uid, .at_line_start = true};
    if (is_top) {
        if (mailbox_text_head(s->mailbox, t->uid, HEAD, text, e) < 0)
            return -1;
        if (top_size(*text, s->args.lines, &t->needs_blank, &t->end))
            return 0;
    }
    if (mailbox_text(s->mailbox, t->uid, text, e) < 0)
        return -1;
    t->end = text->n;
    if (is_top)
        top_size(*text, s->args.lines, &t->needs_blank, &t->end);
    else
        header_size(*text, &t->needs_blank);
    return 0;
}

/* A message lost in the middle must not look complete: no dot, the connection ends. */
static enum pop3_step break_off(struct pop3_session *s, const char *why)
{
    LOG(STORE_ERROR, s->ws->sid, F_STR("what", "a message went away while it was sent"),
        F_U64("uid", s->text.uid), F_STR("why", why));
    return POP3_END;
}

static void finish(struct pop3_session *s)
{
    struct buf *out = pop3_out(s);

    if (!s->text.at_line_start)
        buf_add(out, s->text.last_cr ? SLICE("\n") : SLICE("\r\n"));
    if (s->text.needs_blank)
        buf_add(out, SLICE("\r\n"));
    buf_add(out, SLICE(".\r\n"));
}

static enum pop3_step send_text(struct pop3_session *s, bool is_top)
{
    struct pop3_text *t = &s->text;
    struct slice text;
    struct err e = {0};

    if (s->at == 0) {
        if (begin(s, is_top, &text, &e) < 0)
            return pop3_err_row(s, &e);
        if (is_top)
            pop3_ok(s, "the top follows");
        else
            pop3_ok(s, "%llu octets", (unsigned long long)pop3_message(s)->size);
        s->at = 1;
    } else if (mailbox_text(s->mailbox, t->uid, &text, &e) < 0) {
        return break_off(s, e.detail);
    }
    if (text.n < t->end)
        return break_off(s, "the text became shorter");
    while (t->at < t->end) {
        struct slice piece = slice_sub(text, t->at, t->end - t->at < PIECE ? t->end - t->at : PIECE);

        smtptext_stuff(pop3_out(s), piece, &t->at_line_start, &t->last_cr);
        t->at += piece.n;
        if (t->at < t->end && pop3_yield(s))
            return POP3_MORE;
    }
    finish(s);
    return POP3_DONE;
}

static enum pop3_step run_retr(struct pop3_session *s)
{
    return send_text(s, false);
}

static enum pop3_step run_top(struct pop3_session *s)
{
    return send_text(s, true);
}

const struct pop3_command pop3_retr = {
    .name = "RETR", .arguments = "message", .shape = POP3_MESSAGE, .rfc = "RFC 1939 5", .run = run_retr};
const struct pop3_command pop3_top = {.name = "TOP",
    .arguments = "message lines",
    .shape = POP3_MESSAGE_LINES,
    .capability = "TOP",
    .rfc = "RFC 1939 7",
    .run = run_top};
