#include "imapd/list.h"

#include "imapd/session.h"
#include "imapd/status.h"

static const char *const words[] = {"LIST", "LSUB", "XLIST"};

bool list_check(struct imap_cmd *c, enum list_kind kind)
{
    struct list_request *r = arena_zalloc(c->arena, 1, sizeof *r);

    c->data = r;
    if (!r)
        return imap_check_failed(c);
    r->kind = kind;
    if (kind == LIST_LSUB)
        r->options = LIST_SELECT_SUBSCRIBED;
    return list_parse(c, r) || imap_check_failed(c);
}

static bool matches(const struct list_request *r, struct slice name)
{
    for (size_t i = 0; i < r->npatterns; i++) {
        if (folder_match(r->patterns[i], name))
            return true;
    }
    return false;
}

/* XLIST had its own words for some uses before RFC 6154 */
static const char *use_name(const struct list_request *r, enum special_use use)
{
    if (r->kind != LIST_XLIST)
        return special_use_name(use);
    switch (use) {
    case USE_ALL:
        return "\\AllMail";
    case USE_FLAGGED:
        return "\\Starred";
    case USE_JUNK:
        return "\\Spam";
    default:
        return special_use_name(use);
    }
}

static void flag(struct buf *out, const char **blank, const char *name)
{
    if (!*name)
        return;
    buf_add_str(out, *blank);
    buf_add_str(out, name);
    *blank = " ";
}

/* Attributes: RFC 3501 7.2.2, RFC 3348 3 (children), RFC 5258 3 (\NonExistent, \Subscribed), RFC 6154 2 */
static void tell(struct imap_cmd *c, struct list_request *r, const struct account_mailbox *b, bool child_info)
{
    struct buf *out = imap_out(c->s);
    const char *blank = "";
    bool subscribed =
        (r->options & LIST_RETURN_SUBSCRIBED) || (r->extended && (r->options & LIST_SELECT_SUBSCRIBED));

    buf_printf(out, "* %s (", words[r->kind]);
    if (!b->exists)
        flag(out, &blank, r->extended ? "\\NonExistent" : "\\Noselect");
    if (subscribed && b->subscribed)
        flag(out, &blank, "\\Subscribed");
    if (r->kind == LIST_XLIST && slice_eq(b->name, SLICE("INBOX")))
        flag(out, &blank, "\\Inbox");
    flag(out, &blank, b->has_children ? "\\HasChildren" : "\\HasNoChildren");
    flag(out, &blank, use_name(r, b->use));
    buf_add_str(out, ") \"/\" ");
    imap_write_mailbox(out, b->name, c->s->utf8);
    if (child_info)
        buf_add_str(out, " (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    buf_add_str(out, "\r\n");
}

/* RECURSIVEMATCH: is something below it subscribed that the patterns themselves do not name? Sorted: what is
 * below a name follows it, with other names between at most ("a b" stands before "a/b"). */
static bool has_subscribed_child(const struct list_request *r, size_t i)
{
    struct slice name = r->boxes[i].name;

    for (size_t k = i + 1; k < r->n && slice_starts(r->boxes[k].name, name); k++) {
        const struct account_mailbox *b = &r->boxes[k];

        if (b->name.p[name.n] == '/' && b->subscribed && !matches(r, b->name))
            return true;
    }
    return false;
}

/*
 * LSUB (RFC 3501 6.3.9): "foo/bar" is subscribed, the pattern is "%": foo is told as \Noselect though it is
 * not subscribed, so that a client walking the levels finds bar.
 */
static void tell_parents(struct imap_cmd *c, struct list_request *r, const struct account_mailbox *b)
{
    if (!slice_ends(r->patterns[0], SLICE("%")))
        return;
    for (size_t i = 0; i < b->name.n; i++) {
        struct account_mailbox parent = {.name = slice_sub(b->name, 0, i), .has_children = true};

        if (b->name.p[i] != '/' || !matches(r, parent.name) || slice_eq(parent.name, r->parent))
            continue;
        r->parent = parent.name;
        tell(c, r, &parent, false);
    }
}

/* One mailbox of the account. -1 with the error. */
static void consider(struct imap_cmd *c, struct list_request *r, size_t i)
{
    const struct account_mailbox *b = &r->boxes[i];
    bool child_info = false, selected = true;

    if ((r->options & LIST_SELECT_SPECIAL) && b->use == USE_NONE)
        return;
    if (r->options & LIST_SELECT_SUBSCRIBED)
        selected = b->subscribed;
    if (!matches(r, b->name)) {
        if (r->kind == LIST_LSUB && selected)
            tell_parents(c, r, b);
        return;
    }
    if (r->options & LIST_SELECT_RECURSIVE)
        child_info = has_subscribed_child(r, i);
    if (!selected && !child_info)
        return;
    if (r->kind == LIST_LSUB)
        r->parent = b->name;
    tell(c, r, b, child_info);
    if ((r->options & LIST_RETURN_STATUS) && b->exists) {
        struct err e = {0};

        /* a mailbox that went away meanwhile has no STATUS; the LIST is right for the moment it was told */
        (void)imap_write_status(c->s, b->name, r->status, &e);
    }
}

enum imap_step list_run(struct imap_cmd *c)
{
    struct list_request *r = c->data;
    struct imap_session *s = c->s;

    if (r->hierarchy) {
        buf_printf(imap_out(s), "* %s (\\Noselect) \"/\" \"\"\r\n", words[r->kind]);
        return IMAP_DONE;
    }
    if (!r->begun) {
        struct err e = {0};
        ssize_t n =
            account_list(s->account, (r->options & LIST_SELECT_SUBSCRIBED) != 0, c->arena, &r->boxes, &e);

        if (n < 0)
            return imap_reply_err(c, &e);
        r->n = (size_t)n;
        r->begun = true;
    }
    while (r->at < r->n) {
        consider(c, r, r->at++);
        if (r->at < r->n && imap_yield(c))
            return IMAP_MORE;
    }
    return IMAP_DONE;
}
