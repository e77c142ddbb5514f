/* BDAT (RFC 3030 2): chunks of counted octets. A chunk whose command is refused goes by unread (security.md
 * S03). */
#include "common/mem.h"
#include "smtpd/smtpd.h"

struct bdat_args {
    uint64_t size;
    bool last;
};

static void announce_bdat(const struct smtp_session *s, struct buf *lines)
{
    (void)s;
    buf_add_str(lines, "CHUNKING\n");
}

/* Where the octets end is not known: nothing behind them can be understood. */
static bool give_up(struct smtp_session *s, int code, const char *enhanced, const char *sentence)
{
    smtp_reply(s, code, enhanced, "%s", sentence);
    s->end = true;
    return false;
}

static bool check(struct smtp_session *s, struct slice args)
{
    struct bdat_args *b = arena_zalloc(&s->scratch, 1, sizeof *b);
    uint64_t max = s->c->settings->message_size;

    INVARIANT(b);
    s->args = b;
    switch (smtp_parse_chunk(args, &b->size, &b->last)) {
    case SMTP_CHUNK_BAD:
        return give_up(s, 501, "5.5.4", "write BDAT with the number of octets that follow: BDAT 1000 LAST");
    case SMTP_CHUNK_HUGE:
        return give_up(
            s, 552, "5.3.4", "the message is larger than this server takes; send large files by a link");
    case SMTP_CHUNK:
        break;
    }
    if (b->size / 2 > max)
        return give_up(
            s, 552, "5.3.4", "the message is larger than this server takes; send large files by a link");
    return true;
}

static void refuse(struct smtp_session *s)
{
    if (smtp_is_submission(s) && !s->account)
        smtp_reply_err(s, ERR_AUTH_REQUIRED);
    else if (!s->has_mail)
        smtp_reply(s, 503, "5.5.1", "no mail is under way; begin with MAIL FROM:<address>");
    else
        smtp_reply(s, 554, "5.5.1", "nobody was found to take the message; check the recipients' addresses");
}

/* All octets of the chunk are here. */
static void chunk_ended(struct smtp_session *s)
{
    s->phase = SMTP_COMMAND;
    if (s->chunk.swallow)
        refuse(s);
    else if (s->chunk.last || smtp_text_judge(&s->text, true).code)
        smtp_text_ended(s); /* what is wrong already is told at once */
    else
        smtp_reply(s, 250, "2.0.0", "chunk is here");
}

static void run(struct smtp_session *s)
{
    const struct bdat_args *b = s->args;

    s->chunk.left = b->size;
    s->chunk.last = b->last;
    s->chunk.swallow = !s->in_chunks && smtp_state(s) != SMTP_IN_RCPT;
    if (!s->chunk.swallow && !s->in_chunks) {
        smtp_text_begin(&s->text, s->c->settings->message_size);
        s->in_chunks = true;
    }
    s->phase = SMTP_OCTETS;
    smtp_time_text(s);
    if (b->size)
        return;
    if (!s->chunk.swallow && b->last)
        smtp_text_chunk(&s->text, SLICE(""), true);
    chunk_ended(s);
}

bool smtp_chunk_input(struct smtp_session *s, struct slice in)
{
    struct slice piece = slice_sub(in, 0, s->chunk.left < in.n ? (size_t)s->chunk.left : in.n);

    s->chunk.left -= piece.n;
    if (!s->chunk.swallow)
        smtp_text_chunk(&s->text, piece, s->chunk.last && s->chunk.left == 0);
    stream_consume(s->c->stream, piece.n);
    if (!s->chunk.swallow && smtp_text_is_endless(s))
        return true;
    if (s->chunk.left)
        return false;
    chunk_ended(s);
    return true;
}

/* Its octets must be read whatever the state is: run() looks at the state itself. */
const struct smtp_command smtp_cmd_bdat = {
    .name = "BDAT",
    .states = SMTP_IN_ANY,
    .flags = SMTP_EARLY,
    .arguments = "octets [LAST]",
    .rfc = "RFC 3030 2",
    .announce = announce_bdat,
    .check = check,
    .run = run,
};
