#include "imapd/commands.h"

#include "imapd/expunge.h"
#include "imapd/session.h"

/* RFC 3501 6.4.2: expunges without telling, unless the mailbox is read only. */
static enum imap_step run(struct imap_cmd *c)
{
    struct err e = {0};
    size_t gone;

    if (!c->s->read_only && imap_expunge(c, NULL, &gone, &e) < 0)
        return imap_reply_err(c, &e);
    imap_deselect(c->s);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_close = {
    .name = "CLOSE",
    .states = IMAP_IN_SELECTED,
    .flags = IMAP_NO_REFRESH,
    .arguments = "",
    .rfc = "RFC 3501 6.4.2",
    .check = imap_check_none,
    .run = run,
};
