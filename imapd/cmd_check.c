#include "imapd/commands.h"

#include "imapd/session.h"

/* RFC 3501 6.4.1: what was changed is made durable now. */
static enum imap_step run(struct imap_cmd *c)
{
    struct err e = {0};

    if (mailbox_needs_sync(c->s->mailbox) && mailbox_sync(c->s->mailbox, &e) < 0)
        return imap_reply_err(c, &e);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_check = {
    .name = "CHECK",
    .states = IMAP_IN_SELECTED,
    .arguments = "",
    .rfc = "RFC 3501 6.4.1",
    .check = imap_check_none,
    .run = run,
};
