/* What a message is to the server: MAIL, RCPT and the text. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/ascii.h"
#include "mail/dsn.h"
#include "mail/smtptext.h"
#include "queue/sender_internal.h"

#define PIECE ((size_t)64 * 1024)
#define PIECES 4 /* then others have their turn */

/* xtext (RFC 3461 4). With SMTPUTF8 octets beyond ASCII may stand there as they are (RFC 6533 3). */
static void add_xtext(struct buf *out, struct slice s, bool utf8)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c > ' ' && c < 0x7f && c != '+' && c != '=') || (utf8 && c >= 0x80)) {
            buf_add_char(out, (char)c);
        } else {
            buf_add_char(out, '+');
            buf_add_char(out, hex[c >> 4]);
            buf_add_char(out, hex[c & 15]);
        }
    }
}

void text_mail(struct sender_conn *c, struct buf *out)
{
    const struct send_job *j = &c->job->job;
    const struct reply_offers *o = &c->offers;

    buf_printf(out, "MAIL FROM:<%.*s>", SLICE_FMT(j->reverse_path));
    if (o->has_size)
        buf_printf(out, " SIZE=%llu", (unsigned long long)j->size);
    if (j->is_8bit)
        buf_add_str(out, " BODY=8BITMIME");
    if (c->job->is_utf8)
        buf_add_str(out, " SMTPUTF8");
    if (j->requiretls && o->requiretls)
        buf_add_str(out, " REQUIRETLS");
    if (o->dsn && j->ret != ENVELOPE_RET_NONE)
        buf_add_str(out, j->ret == ENVELOPE_RET_FULL ? " RET=FULL" : " RET=HDRS");
    if (o->dsn && j->envid.n) {
        buf_add_str(out, " ENVID=");
        add_xtext(out, j->envid, false);
    }
    buf_add_str(out, "\r\n");
}

static void add_notify(struct buf *out, unsigned notify)
{
    static const struct {
        unsigned bit;
        const char *name;
    } rows[] = {{DSN_SUCCESS, "SUCCESS"}, {DSN_FAILURE, "FAILURE"}, {DSN_DELAY, "DELAY"}};
    const char *before = " NOTIFY=";

    if (notify & DSN_NEVER) {
        buf_add_str(out, " NOTIFY=NEVER");
        return;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (notify & rows[i].bit) {
            buf_add_str(out, before);
            buf_add_str(out, rows[i].name);
            before = ",";
        }
    }
}

/* "rfc822;" stands as it is, the address behind it as xtext. */
static void add_orcpt(struct buf *out, struct slice orcpt, bool utf8)
{
    struct slice type, address = orcpt;

    if (slice_chr(orcpt, ';') < 0 || !slice_cut(&address, ';', &type))
        return;
    for (size_t i = 0; i < type.n; i++)
        if (!ascii_is_alnum(type.p[i]) && type.p[i] != '-')
            return;
    buf_printf(out, " ORCPT=%.*s;", SLICE_FMT(type));
    add_xtext(out, address, utf8);
}

void text_rcpt(struct sender_conn *c, uint32_t i, struct buf *out)
{
    const struct send_job *j = &c->job->job;

    buf_printf(out, "RCPT TO:<%.*s>", SLICE_FMT(j->rcpt[i].address));
    if (c->offers.dsn) {
        add_notify(out, j->rcpt[i].notify);
        add_orcpt(out, j->rcpt[i].orcpt, c->job->is_utf8);
    }
    buf_add_str(out, "\r\n");
}

/* --- the text --- */

void text_begin(struct sender_conn *c)
{
    c->sent = 0;
    c->at_line_start = true;
    c->last_cr = false;
    c->awaited = 1;
    conn_enter(c, STAGE_TEXT, 0);
    text_go_on(c);
}

static void add_end(struct sender_conn *c)
{
    struct buf *out = stream_out(c->stream);

    if (!c->offers.chunking)
        buf_add_str(out, c->at_line_start ? ".\r\n" : "\r\n.\r\n");
    stream_flush(c->stream);
    dialogue_text_sent(c);
}

void text_go_on(struct sender_conn *c)
{
    static char piece[PIECE];
    const struct send_job *j = &c->job->job;

    conn_enter(c, STAGE_TEXT, 0); /* a new block has its own time */
    for (int pieces = 0; c->sent < j->size; pieces++) {
        size_t want = j->size - c->sent < PIECE ? (size_t)(j->size - c->sent) : PIECE;
        ssize_t n;

        if (pieces == PIECES || stream_is_backed_up(c->stream)) {
            stream_when_drained(c->stream);
            return;
        }
        n = pread(c->job->fd, piece, want, (off_t)(j->text + c->sent));
        if (n <= 0) {
            /* without the dot it takes nothing of it */
            conn_fail(c, FAIL_LOCAL, "4.3.0", "got a part only: the queue's file cannot be read: %s",
                n < 0 ? strerrordesc_np(errno) : "it is too short");
            return;
        }
        if (c->offers.chunking)
            stream_write(c->stream, slice_of(piece, (size_t)n));
        else
            smtptext_stuff(stream_out(c->stream), slice_of(piece, (size_t)n), &c->at_line_start, &c->last_cr);
        c->sent += (uint64_t)n;
        if (c->sent < j->size) /* the last piece goes with its end */
            stream_flush(c->stream);
    }
    add_end(c);
}
