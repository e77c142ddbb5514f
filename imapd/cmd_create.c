#include "imapd/commands.h"

#include "common/log.h"
#include "imapd/session.h"

struct create {
    struct slice name;
    enum special_use use;
    bool bad_use; /* a use that is not known, or two */
};

static enum special_use use_by_name(struct slice name)
{
    for (enum special_use use = USE_NONE + 1; use < USE_COUNT; use++) {
        if (slice_eq_nocase(name, slice_str(special_use_name(use))))
            return use;
    }
    return USE_NONE;
}

/* "(USE (\Sent))" (RFC 6154 3) */
static bool parse_uses(struct imap_cmd *c, struct create *create)
{
    struct slice word;
    const struct slice *uses;
    size_t n;

    if (!imap_parse_char(&c->args, '(') || !imap_parse_atom(&c->args, &word))
        return false;
    if (!slice_eq_nocase(word, SLICE("USE")))
        return imap_parse_fail(&c->args, "CREATE knows one parameter: (USE (\\Sent))");
    if (!imap_parse_space(&c->args) || !imap_parse_flags(&c->args, false, &uses, &n) ||
        !imap_parse_char(&c->args, ')'))
        return false;
    if (n == 1)
        create->use = use_by_name(uses[0]);
    create->bad_use = n > 1 || (n == 1 && create->use == USE_NONE);
    return true;
}

static bool check(struct imap_cmd *c)
{
    struct create *create = arena_zalloc(c->arena, 1, sizeof *create);

    c->data = create;
    if (!create || !imap_parse_mailbox(&c->args, c->s->utf8, &create->name))
        return imap_check_failed(c);
    if (imap_parse_peek(&c->args, ' ') &&
        (!imap_parse_space(&c->args) || (c->args.rest.n && !parse_uses(c, create))))
        return imap_check_failed(c);
    return imap_check_none(c);
}

/* RFC 3501 6.3.3, RFC 6154 3 */
static enum imap_step run(struct imap_cmd *c)
{
    const struct create *create = c->data;
    struct err e = {0};

    if (create->bad_use)
        return imap_reply(c, IMAP_NO, "USEATTR",
            "a mailbox has one use of \\All \\Archive \\Drafts \\Flagged \\Junk \\Sent \\Trash");
    if (account_mailbox_create(c->s->account, create->name, create->use, &e) < 0) {
        if (create->use != USE_NONE && e.code == ERR_CANNOT)
            return imap_reply(c, IMAP_NO, "USEATTR", "another mailbox has that use; create this one without");
        return imap_reply_err(c, &e);
    }
    LOG(MAILBOX, c->s->ws->sid, F_STR("done", "create"), F_SLICE("mailbox", create->name));
    return IMAP_DONE;
}

const struct imap_command imap_cmd_create = {
    .name = "CREATE",
    .states = IMAP_IN_ANY,
    .arguments = "mailbox [(USE (use))]",
    .capability = "CREATE-SPECIAL-USE",
    .rfc = "RFC 3501 6.3.3",
    .check = check,
    .run = run,
};
