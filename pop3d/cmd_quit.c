/*
 * QUIT: RFC 1939 6. Deletes what is marked, durably, and answers after that.
 *
 * Deletion is by UID: what another session deleted meanwhile is gone already, what came is not touched. Up to
 * PORTION messages cost one sync; more go in portions, so that other sessions of the user are served between.
 * If the connection breaks while it works, the rest is deleted all the same: the client has said QUIT.
 */
#include "pop3d/pop3.h"

#include "common/log.h"

#define PORTION 2048

/* What cannot be deleted stays as it is; QUIT's answer says so. */
static enum pop3_step give_up(struct pop3_session *s, size_t n, const struct err *e)
{
    LOG(STORE_ERROR, s->ws->sid, F_STR("what", "QUIT"), F_STR("why", e->detail));
    s->failed += n;
    s->error = e->code;
    return s->at < s->count ? POP3_MORE : POP3_DONE;
}

enum pop3_step pop3_delete_some(struct pop3_session *s)
{
    uint32_t uids[PORTION];
    uint64_t octets = 0;
    size_t n = 0, gone = 0;
    struct err e = {0};
    bool failed;

    if (s->left == s->count)
        return POP3_DONE;
    if (s->at == 0 && mailbox_refresh(s->mailbox, &e) < 0) {
        /* perhaps numbered anew: then our UIDs mean nothing any more */
        s->at = s->count;
        return give_up(s, s->count - s->left, &e);
    }
    for (; s->at < s->count && n < PORTION; s->at++) {
        const struct message *m =
            s->msgs[s->at].deleted ? mailbox_by_uid(s->mailbox, s->msgs[s->at].uid) : NULL;

        if (m) {
            uids[n++] = m->uid;
            octets += m->size;
        }
    }
    if (n == 0)
        return POP3_DONE;
    failed = mailbox_expunge(s->mailbox, uids, n, &gone, &e) < 0;
    if (gone) /* fewer than n also when a neighbour was faster between our look and now; he counts his */
        worker_usage(s->ws->worker, 0, gone == n ? octets : octets / n * gone, 0, gone);
    s->removed += gone;
    if (failed)
        return give_up(s, n - gone, &e);
    return s->at < s->count ? POP3_MORE : POP3_DONE;
}

static enum pop3_step run(struct pop3_session *s)
{
    if (pop3_delete_some(s) == POP3_MORE)
        return POP3_MORE;
    if (s->removed)
        LOG(EXPUNGE, s->ws->sid, F_SLICE("user", worker_user(s->ws->worker)), F_STR("mailbox", "INBOX"),
            F_U64("messages", s->removed));
    if (s->failed) /* RFC 1939 6: "some deleted messages not removed" */
        pop3_err(s, "[SYS/TEMP] some deleted messages (%zu) are still there; %s", s->failed,
            err_row(s->error)->text);
    else if (s->removed)
        pop3_ok(s, "bye, %zu messages deleted", s->removed);
    else
        pop3_ok(s, "bye");
    return POP3_END;
}

const struct pop3_command pop3_quit = {
    .name = "QUIT", .arguments = "", .shape = POP3_NOTHING, .rfc = "RFC 1939 6", .run = run};
