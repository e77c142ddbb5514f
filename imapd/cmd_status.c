#include "imapd/commands.h"

#include "imapd/session.h"
#include "imapd/status.h"

/* RFC 3501 6.3.10; SIZE: RFC 8438; DELETED: RFC 9051 6.3.11 */
enum { MESSAGES, RECENT, UIDNEXT, UIDVALIDITY, UNSEEN, SIZE, DELETED, ITEMS };

static const char *const names[ITEMS] = {
    "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE", "DELETED"};

bool imap_parse_status_items(struct imap_parse *p, unsigned *items)
{
    *items = 0;
    if (!imap_parse_char(p, '('))
        return false;
    do {
        struct slice word;
        int i = 0;

        if ((*items && !imap_parse_space(p)) || !imap_parse_atom(p, &word))
            return false;
        while (i < ITEMS && !slice_eq_nocase(word, slice_str(names[i])))
            i++;
        if (i == ITEMS)
            return imap_parse_fail(p, "STATUS knows MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE DELETED");
        *items |= 1u << i;
    } while (imap_parse_peek(p, ' '));
    return imap_parse_char(p, ')');
}

int imap_write_status(struct imap_session *s, struct slice name, unsigned items, struct err *e)
{
    struct mailbox_status st;
    struct buf *out = imap_out(s);
    const char *blank = "";

    if (mailbox_status(s->account, name, &st, e) < 0)
        return -1;
    uint64_t values[ITEMS] = {
        st.messages, st.recent, st.uidnext, st.uidvalidity, st.unseen, st.size, st.deleted};
    buf_add_str(out, "* STATUS ");
    imap_write_mailbox(out, name, s->utf8);
    buf_add_str(out, " (");
    for (int i = 0; i < ITEMS; i++) {
        if (!(items & (1u << i)))
            continue;
        buf_add_str(out, blank);
        buf_add_str(out, names[i]);
        buf_add_char(out, ' ');
        buf_add_u64(out, values[i]);
        blank = " ";
    }
    buf_add_str(out, ")\r\n");
    return 0;
}

struct status {
    struct slice name;
    unsigned items;
};

static bool check(struct imap_cmd *c)
{
    struct status *status = arena_zalloc(c->arena, 1, sizeof *status);

    c->data = status;
    if (!status || !imap_parse_mailbox(&c->args, c->s->utf8, &status->name) || !imap_parse_space(&c->args) ||
        !imap_parse_status_items(&c->args, &status->items))
        return imap_check_failed(c);
    return imap_check_none(c);
}

static enum imap_step run(struct imap_cmd *c)
{
    const struct status *status = c->data;
    struct err e = {0};

    if (imap_write_status(c->s, status->name, status->items, &e) < 0)
        return imap_reply_err(c, &e);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_status = {
    .name = "STATUS",
    .states = IMAP_IN_ANY,
    .arguments = "mailbox (items)",
    .capability = "STATUS=SIZE",
    .rfc = "RFC 3501 6.3.10",
    .check = check,
    .run = run,
};
