#include "imapd/commands.h"

#include "imapd/session.h"

struct store {
    struct imap_set set;
    enum flag_change how;
    bool silent;
    const struct slice *flags;
    size_t nflags;
    /* while it runs */
    bool begun, skipped, changed;
    struct imap_targets targets;
    size_t at;
    uint32_t bits;
};

/* store-att-flags (RFC 3501 9) */
static bool parse(struct imap_cmd *c, struct store *store)
{
    struct slice word;
    const char *complaint;

    if (!imap_parse_set(&c->args, &store->set) || !imap_parse_space(&c->args))
        return false;
    store->how = FLAGS_SET;
    if (imap_parse_peek(&c->args, '+') || imap_parse_peek(&c->args, '-')) {
        store->how = imap_parse_peek(&c->args, '+') ? FLAGS_ADD : FLAGS_REMOVE;
        c->args.rest = slice_from(c->args.rest, 1);
    }
    if (!imap_parse_atom(&c->args, &word))
        return false;
    store->silent = slice_eq_nocase(word, SLICE("FLAGS.SILENT"));
    if (!store->silent && !slice_eq_nocase(word, SLICE("FLAGS")))
        return imap_parse_fail(&c->args, "STORE changes FLAGS, +FLAGS or -FLAGS, each also with .SILENT");
    if (!imap_parse_space(&c->args) || !imap_parse_flags(&c->args, true, &store->flags, &store->nflags) ||
        !imap_parse_end(&c->args))
        return false;
    complaint = imap_flags_complaint(store->flags, store->nflags);
    return !complaint || imap_parse_fail(&c->args, complaint);
}

static bool check(struct imap_cmd *c)
{
    struct store *store = arena_zalloc(c->arena, 1, sizeof *store);

    c->data = store;
    return (store && parse(c, store)) || imap_check_failed(c);
}

/* One message's flags; -1 with the error. */
static int change(struct imap_cmd *c, struct store *store, uint32_t seq, uint32_t uid, struct err *e)
{
    struct imap_session *s = c->s;
    const struct message *m;
    struct buf *out = imap_out(s);
    bool changed = false;

    if (mailbox_flag(s->mailbox, uid, store->how, store->bits, &changed, e) < 0) {
        if (e->code != ERR_EXPUNGED)
            return -1;
        store->skipped = true;
        return 0;
    }
    m = mailbox_by_uid(s->mailbox, uid);
    if (!m) {
        store->skipped = true;
        return 0;
    }
    store->changed |= changed;
    if (changed)
        view_seen_change(s->view, uid, m->modseq);
    if (store->silent)
        return 0;
    buf_printf(out, "* %u FETCH (", seq);
    if (c->uid)
        buf_printf(out, "UID %u ", uid);
    buf_add_str(out, "FLAGS (");
    imap_flags_write(out, s->mailbox, m->flags, view_is_recent(s->view, uid));
    buf_add_str(out, "))\r\n");
    return 0;
}

static enum imap_step begin(struct imap_cmd *c, struct store *store)
{
    struct imap_session *s = c->s;
    struct err e = {0};
    bool create = store->how != FLAGS_REMOVE;

    store->begun = true;
    if (!imap_targets(c, &store->set, c->uid, &store->targets))
        return imap_reply(c, IMAP_BAD, NULL, "%s", c->error);
    if (imap_flags_parse(s->mailbox, store->flags, store->nflags, create, &store->bits, &e) < 0)
        return imap_reply_err(c, &e);
    return IMAP_MORE;
}

/* RFC 3501 6.4.6; messages that others deleted: RFC 2180 4.2.1, RFC 5530 3 (EXPUNGEISSUED) */
static enum imap_step run(struct imap_cmd *c)
{
    struct store *store = c->data;
    struct imap_session *s = c->s;
    struct err e = {0};

    if (!store->begun && begin(c, store) == IMAP_DONE)
        return IMAP_DONE;
    if (store->at < store->targets.n) {
        bool more = false;

        if (mailbox_begin(s->mailbox, &e) < 0)
            return imap_reply_err(c, &e);
        while (store->at < store->targets.n && !more) {
            size_t i = store->at++;

            if (change(c, store, store->targets.seqs[i], store->targets.uids[i], &e) < 0)
                break;
            more = store->at < store->targets.n && imap_yield(c);
        }
        mailbox_end(s->mailbox);
        if (more)
            return IMAP_MORE;
    }
    if (store->changed) {
        imap_flags_changed(s);
        imap_announce(s, s->mailbox);
    }
    if (e.code != ERR_OK && e.code != ERR_EXPUNGED)
        return imap_reply_err(c, &e);
    if (store->skipped && !c->uid)
        return imap_reply(c, IMAP_NO, "EXPUNGEISSUED",
            "some of the messages were deleted by another program; the "
            "others have their flags");
    return IMAP_DONE;
}

const struct imap_command imap_cmd_store = {
    .name = "STORE",
    .states = IMAP_IN_SELECTED,
    .flags = IMAP_HAS_UID | IMAP_CHANGES | IMAP_HOLDS_EXPUNGE,
    .arguments = "sequence-set [+|-]FLAGS[.SILENT] flags",
    .rfc = "RFC 3501 6.4.6",
    .check = check,
    .run = run,
};
