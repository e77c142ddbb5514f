/* The list of commands, and what CAPABILITY says of them. */
#include "imapd/commands.h"

#include "imapd/session.h"

const struct imap_command *const imap_commands[] = {
    &imap_cmd_append,
    &imap_cmd_capability,
    &imap_cmd_check,
    &imap_cmd_close,
    &imap_cmd_copy,
    &imap_cmd_create,
    &imap_cmd_delete,
    &imap_cmd_enable,
    &imap_cmd_examine,
    &imap_cmd_expunge,
    &imap_cmd_fetch,
    &imap_cmd_id,
    &imap_cmd_idle,
    &imap_cmd_list,
    &imap_cmd_logout,
    &imap_cmd_lsub,
    &imap_cmd_move,
    &imap_cmd_namespace,
    &imap_cmd_noop,
    &imap_cmd_rename,
    &imap_cmd_search,
    &imap_cmd_select,
    &imap_cmd_status,
    &imap_cmd_store,
    &imap_cmd_subscribe,
    &imap_cmd_unselect,
    &imap_cmd_unsubscribe,
    &imap_cmd_xlist,
    NULL,
};

const struct imap_command *imap_command_by_name(struct slice name)
{
    for (const struct imap_command *const *at = imap_commands; *at; at++) {
        if (slice_eq_nocase(name, slice_str((*at)->name)))
            return *at;
    }
    return NULL;
}

void imap_capabilities(struct buf *out)
{
    /* what belongs to no command: LITERAL+ is the reader's (RFC 7888), SASL-IR the front's (RFC 4959) */
    buf_add_str(out, "IMAP4rev1 LITERAL+ SASL-IR");
    for (const struct imap_command *const *at = imap_commands; *at; at++) {
        if ((*at)->capability) {
            buf_add_char(out, ' ');
            buf_add_str(out, (*at)->capability);
        }
    }
}
