#include "imapd/commands.h"

#include "common/log.h"
#include "imapd/expunge.h"
#include "imapd/session.h"

int imap_expunge(struct imap_cmd *c, const struct imap_targets *only, size_t *gone, struct err *e)
{
    struct imap_session *s = c->s;
    size_t candidates = only ? only->n : view_count(s->view), n = 0;
    uint32_t *uids = arena_zalloc(c->arena, candidates, sizeof *uids);
    uint64_t octets = 0;
    bool failed;

    *gone = 0;
    if (!uids)
        return err_set(e, ERR_LIMIT, "%zu messages", candidates);
    for (size_t i = 0; i < candidates; i++) {
        uint32_t uid = only ? only->uids[i] : view_uid(s->view, (uint32_t)i + 1);
        const struct message *m = mailbox_by_uid(s->mailbox, uid);

        if (!m || !(m->flags & FLAG_DELETED))
            continue;
        uids[n++] = uid;
        octets += m->size;
    }
    if (n == 0)
        return 0;
    failed = mailbox_expunge(s->mailbox, uids, n, gone, e) < 0;
    if (*gone) /* fewer than n: a neighbour was faster, or the disk said no in the middle */
        worker_usage(s->ws->worker, 0, *gone == n ? octets : octets / n * *gone, 0, *gone);
    if (failed)
        return -1;
    LOG(EXPUNGE, s->ws->sid, F_SLICE("mailbox", mailbox_name(s->mailbox)), F_U64("messages", *gone));
    imap_announce(s, s->mailbox);
    return 0;
}

static bool check(struct imap_cmd *c)
{
    struct imap_set *set = NULL;

    if (c->uid) {
        c->data = set = arena_zalloc(c->arena, 1, sizeof *set);
        if (!set || !imap_parse_set(&c->args, set))
            return imap_check_failed(c);
    }
    return imap_check_none(c);
}

/* RFC 3501 6.4.3, RFC 4315 2.1 */
static enum imap_step run(struct imap_cmd *c)
{
    struct imap_targets targets;
    struct err e = {0};
    size_t gone;

    if (c->uid && !imap_targets(c, c->data, true, &targets))
        return imap_reply(c, IMAP_BAD, NULL, "%s", c->error);
    if (imap_expunge(c, c->uid ? &targets : NULL, &gone, &e) < 0)
        return imap_reply_err(c, &e);
    return IMAP_DONE;
}

const struct imap_command imap_cmd_expunge = {
    .name = "EXPUNGE",
    .states = IMAP_IN_SELECTED,
    .flags = IMAP_HAS_UID | IMAP_CHANGES,
    .arguments = "| UID EXPUNGE sequence-set",
    .capability = "UIDPLUS",
    .rfc = "RFC 3501 6.4.3",
    .check = check,
    .run = run,
};
