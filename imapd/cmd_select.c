#include "imapd/commands.h"

#include "common/log.h"
#include "imapd/session.h"

static uint32_t first_unseen(const struct imap_session *s)
{
    uint32_t count = view_count(s->view);

    for (uint32_t seq = 1; seq <= count; seq++) {
        const struct message *m = mailbox_by_uid(s->mailbox, view_uid(s->view, seq));

        if (m && !(m->flags & FLAG_SEEN))
            return seq;
    }
    return 0;
}

/* RFC 3501 6.3.1 */
static enum imap_step open_mailbox(struct imap_cmd *c, bool read_only)
{
    struct imap_session *s = c->s;
    struct buf *out = imap_out(s);
    const struct slice *name = c->data;
    struct err e = {0};
    uint32_t unseen;

    /* RFC 7162 3.2.11, RFC 9051 7.1: the old mailbox is closed even if the new one cannot be opened */
    if (s->mailbox)
        buf_add_str(out, "* OK [CLOSED] the mailbox that was selected is closed\r\n");
    if (imap_select(s, *name, read_only, &e) < 0)
        return imap_reply_err(c, &e);
    imap_send_flags(s);
    buf_printf(out, "* %u EXISTS\r\n* %u RECENT\r\n", view_count(s->view), view_recent(s->view));
    unseen = first_unseen(s);
    if (unseen)
        buf_printf(out, "* OK [UNSEEN %u] the first message that was not read\r\n", unseen);
    buf_printf(out, "* OK [UIDVALIDITY %u] UIDs are valid\r\n* OK [UIDNEXT %u] the next UID\r\n",
        mailbox_uidvalidity(s->mailbox), mailbox_uidnext(s->mailbox));
    LOG(SELECT, s->ws->sid, F_SLICE("mailbox", *name), F_U64("messages", view_count(s->view)));
    return imap_reply(c, IMAP_OK, read_only ? "READ-ONLY" : "READ-WRITE", "%s completed", c->row->name);
}

static enum imap_step run_select(struct imap_cmd *c)
{
    return open_mailbox(c, false);
}

static enum imap_step run_examine(struct imap_cmd *c)
{
    return open_mailbox(c, true);
}

const struct imap_command imap_cmd_select = {
    .name = "SELECT",
    .states = IMAP_IN_ANY,
    .flags = IMAP_NO_REFRESH,
    .arguments = "mailbox",
    .rfc = "RFC 3501 6.3.1",
    .check = imap_check_mailbox,
    .run = run_select,
};

/* The same with the mailbox read only (RFC 3501 6.3.2). */
const struct imap_command imap_cmd_examine = {
    .name = "EXAMINE",
    .states = IMAP_IN_ANY,
    .flags = IMAP_NO_REFRESH,
    .arguments = "mailbox",
    .rfc = "RFC 3501 6.3.2",
    .check = imap_check_mailbox,
    .run = run_examine,
};
