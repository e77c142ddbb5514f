#include "imapd/commands.h"

#include "imapd/session.h"

/* RFC 2342 5: everything is the user's own, nothing is shared. */
static enum imap_step run(struct imap_cmd *c)
{
    buf_add_str(imap_out(c->s), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    return IMAP_DONE;
}

const struct imap_command imap_cmd_namespace = {
    .name = "NAMESPACE",
    .states = IMAP_IN_ANY,
    .arguments = "",
    .capability = "NAMESPACE",
    .rfc = "RFC 2342 5",
    .check = imap_check_none,
    .run = run,
};
