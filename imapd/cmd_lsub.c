#include "imapd/commands.h"

#include "imapd/list.h"

static bool check(struct imap_cmd *c)
{
    return list_check(c, LIST_LSUB);
}

const struct imap_command imap_cmd_lsub = {
    .name = "LSUB",
    .states = IMAP_IN_ANY,
    .arguments = "reference pattern",
    .rfc = "RFC 3501 6.3.9",
    .check = check,
    .run = list_run,
};
