#include "imapd/commands.h"

#include "imapd/session.h"

static enum imap_step change(struct imap_cmd *c, bool on)
{
    const struct slice *name = c->data;
    struct err e = {0};

    if (account_subscribe(c->s->account, *name, on, &e) < 0)
        return imap_reply_err(c, &e);
    return IMAP_DONE;
}

static enum imap_step run_subscribe(struct imap_cmd *c)
{
    return change(c, true);
}

static enum imap_step run_unsubscribe(struct imap_cmd *c)
{
    return change(c, false);
}

const struct imap_command imap_cmd_subscribe = {
    .name = "SUBSCRIBE",
    .states = IMAP_IN_ANY,
    .arguments = "mailbox",
    .rfc = "RFC 3501 6.3.6",
    .check = imap_check_mailbox,
    .run = run_subscribe,
};

const struct imap_command imap_cmd_unsubscribe = {
    .name = "UNSUBSCRIBE",
    .states = IMAP_IN_ANY,
    .arguments = "mailbox",
    .rfc = "RFC 3501 6.3.7",
    .check = imap_check_mailbox,
    .run = run_unsubscribe,
};
