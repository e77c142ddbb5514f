#include "imapd/commands.h"

#include "common/log.h"
#include "imapd/session.h"

/* RFC 3501 6.3.4 */
static enum imap_step run(struct imap_cmd *c)
{
    struct imap_session *s = c->s;
    const struct slice *name = c->data;
    bool selected = s->mailbox && slice_eq(mailbox_name(s->mailbox), *name);
    uint64_t octets, messages;
    struct err e = {0};

    if (account_mailbox_delete_counted(s->account, *name, &octets, &messages, &e) < 0)
        return imap_reply_err(c, &e);
    worker_usage(s->ws->worker, 0, octets, 0, messages);
    LOG(MAILBOX, s->ws->sid, F_STR("done", "delete"), F_SLICE("mailbox", *name));
    if (selected) {
        imap_deselect(s);
        buf_add_str(imap_out(s), "* OK [CLOSED] the mailbox that was selected is deleted\r\n");
    }
    return IMAP_DONE;
}

const struct imap_command imap_cmd_delete = {
    .name = "DELETE",
    .states = IMAP_IN_ANY,
    .arguments = "mailbox",
    .rfc = "RFC 3501 6.3.4",
    .check = imap_check_mailbox,
    .run = run,
};
