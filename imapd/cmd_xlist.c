/* XLIST: LIST with special uses as it was before RFC 6154; macOS Mail and Outlook 2013 ask it (clients.md
 * 10). */
#include "imapd/commands.h"

#include "imapd/list.h"

static bool check(struct imap_cmd *c)
{
    return list_check(c, LIST_XLIST);
}

const struct imap_command imap_cmd_xlist = {
    .name = "XLIST",
    .states = IMAP_IN_ANY,
    .arguments = "reference pattern",
    .capability = "XLIST",
    .rfc = "RFC 6154 1",
    .check = check,
    .run = list_run,
};
