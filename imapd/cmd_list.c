#include "imapd/commands.h"

#include "imapd/list.h"

static bool check(struct imap_cmd *c)
{
    return list_check(c, LIST_LIST);
}

const struct imap_command imap_cmd_list = {
    .name = "LIST",
    .states = IMAP_IN_ANY,
    .arguments = "[(selection)] reference pattern|(patterns) [RETURN (options)]",
    .capability = "LIST-EXTENDED LIST-STATUS SPECIAL-USE CHILDREN",
    .rfc = "RFC 3501 6.3.8",
    .check = check,
    .run = list_run,
};
