#include "imapd/commands.h"

#include "imapd/session.h"

/* RFC 3501 6.1.1 */
static enum imap_step run(struct imap_cmd *c)
{
    struct buf *out = imap_out(c->s);

    buf_add_str(out, "* CAPABILITY ");
    imap_capabilities(out);
    buf_add_str(out, "\r\n");
    return IMAP_DONE;
}

const struct imap_command imap_cmd_capability = {
    .name = "CAPABILITY",
    .states = IMAP_IN_ANY,
    .arguments = "",
    .rfc = "RFC 3501 6.1.1",
    .check = imap_check_none,
    .run = run,
};
