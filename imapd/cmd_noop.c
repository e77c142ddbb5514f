#include "imapd/commands.h"

#include "imapd/session.h"

/* RFC 3501 6.1.2: the driver looks for news before every tagged reply; nothing is left to do here. */
static enum imap_step run(struct imap_cmd *c)
{
    return imap_reply(c, IMAP_OK, NULL, "NOOP completed");
}

const struct imap_command imap_cmd_noop = {
    .name = "NOOP",
    .states = IMAP_IN_ANY,
    .arguments = "",
    .rfc = "RFC 3501 6.1.2",
    .check = imap_check_none,
    .run = run,
};
