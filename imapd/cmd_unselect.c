#include "imapd/commands.h"

#include "imapd/session.h"

/* RFC 3691 2: CLOSE that deletes nothing. */
static enum imap_step run(struct imap_cmd *c)
{
    imap_deselect(c->s);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_unselect = {
    .name = "UNSELECT",
    .states = IMAP_IN_SELECTED,
    .flags = IMAP_NO_REFRESH,
    .arguments = "",
    .capability = "UNSELECT",
    .rfc = "RFC 3691 2",
    .check = imap_check_none,
    .run = run,
};
