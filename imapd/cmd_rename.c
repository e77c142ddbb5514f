#include "imapd/commands.h"

#include "common/log.h"
#include "imapd/session.h"

static bool check(struct imap_cmd *c)
{
    struct slice *names = arena_zalloc(c->arena, 2, sizeof *names);

    c->data = names;
    if (!names || !imap_parse_mailbox(&c->args, c->s->utf8, &names[0]) || !imap_parse_space(&c->args) ||
        !imap_parse_mailbox(&c->args, c->s->utf8, &names[1]))
        return imap_check_failed(c);
    return imap_check_none(c);
}

static bool is_or_is_below(struct slice name, struct slice top)
{
    return slice_starts(name, top) && (name.n == top.n || name.p[top.n] == '/');
}

/* RFC 3501 6.3.5 */
static enum imap_step run(struct imap_cmd *c)
{
    struct imap_session *s = c->s;
    const struct slice *names = c->data;
    bool inbox = slice_eq(names[0], SLICE("INBOX"));
    bool selected = s->mailbox && !inbox && is_or_is_below(mailbox_name(s->mailbox), names[0]);
    struct err e = {0};

    if (account_mailbox_rename(s->account, names[0], names[1], &e) < 0)
        return imap_reply_err(c, &e);
    LOG(MAILBOX, s->ws->sid, F_STR("done", "rename"), F_SLICE("mailbox", names[0]), F_SLICE("to", names[1]));
    if (selected) {
        imap_deselect(s);
        buf_add_str(imap_out(s), "* OK [CLOSED] the mailbox that was selected has another name\r\n");
    }
    if (inbox) /* its messages moved (RFC 3501 6.3.5) */
        imap_refresh_all(s->ws->worker, names[0], s);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_rename = {
    .name = "RENAME",
    .states = IMAP_IN_ANY,
    .arguments = "mailbox new-name",
    .rfc = "RFC 3501 6.3.5",
    .check = check,
    .run = run,
};
