#include "imapd/commands.h"

#include "imapd/session.h"

/* RFC 3501 6.1.3 */
static enum imap_step run(struct imap_cmd *c)
{
    buf_add_str(imap_out(c->s), "* BYE see you\r\n");
    imap_session_over(c->s);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_logout = {
    .name = "LOGOUT",
    .states = IMAP_IN_ANY,
    .flags = IMAP_NO_REFRESH,
    .arguments = "",
    .rfc = "RFC 3501 6.1.3",
    .check = imap_check_none,
    .run = run,
};
