#include "imapd/commands.h"

#include "imapd/session.h"

struct idle {
    bool begun, done;
};

static bool check(struct imap_cmd *c)
{
    c->data = arena_zalloc(c->arena, 1, sizeof(struct idle));
    return c->data ? imap_check_none(c) : imap_check_failed(c);
}

/* RFC 2177 3. News go out as they come: the worker pushes to every session that waits here. */
static enum imap_step run(struct imap_cmd *c)
{
    struct idle *idle = c->data;

    if (!idle->begun) {
        idle->begun = true;
        buf_add_str(imap_out(c->s), "+ idling\r\n");
        imap_send_changes(c->s, true, true);
        imap_repeat_exists(c->s);
        stream_flush(c->s->stream);
        return IMAP_WAIT;
    }
    return idle->done ? IMAP_DONE : imap_reply(c, IMAP_BAD, NULL, "within IDLE only DONE is understood");
}

static void line(struct imap_cmd *c, struct slice text)
{
    struct idle *idle = c->data;

    idle->done = slice_eq_nocase(slice_trim(text), SLICE("DONE"));
    imap_resume(c);
}

const struct imap_command imap_cmd_idle = {
    .name = "IDLE",
    .states = IMAP_IN_ANY,
    .arguments = "",
    .capability = "IDLE",
    .rfc = "RFC 2177 3",
    .check = check,
    .run = run,
    .line = line,
};
