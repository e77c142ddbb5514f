/* What a user's worker has besides its sessions: the INBOX, open as long as the worker lives, so that the
 * next login (mail programs poll) need not read its names again. */
#include <stdlib.h>

#include "common/mem.h"
#include "pop3d/session.h"

struct user {
    struct mailbox *kept;
};

struct mailbox *pop3_open_inbox(struct worker *w, struct err *e)
{
    void **state = worker_state(w);
    struct user *u = *state;
    struct mailbox *m = mailbox_open(worker_account(w), SLICE("INBOX"), e);

    if (!m && e->code == ERR_NO_MAILBOX) /* numbered anew by somebody else: the old object stepped aside */
        m = mailbox_open(worker_account(w), SLICE("INBOX"), e);
    if (!m)
        return NULL;
    if (!u)
        *state = u = mem_zalloc(1, sizeof *u);
    if (u->kept != m) {
        struct err ignored = {0};

        if (u->kept)
            mailbox_close(u->kept);
        u->kept = mailbox_open(
            worker_account(w), SLICE("INBOX"), &ignored); /* the same object, one reference more */
    }
    return m;
}

static void on_opened(struct worker_session *ws, struct slice tag)
{
    pop3_session_new(ws, tag);
}

/* The numbers of a session are those of its login (RFC 1939 8); a login looks for itself. */
static void on_changed(struct worker *w, struct slice disk_name, const struct worker_news *news)
{
    (void)w, (void)disk_name, (void)news;
}

static void on_kill(struct worker_session *ws, enum err_code code)
{
    pop3_session_kill(ws->state, code);
}

static void on_ended(struct worker *w)
{
    void **state = worker_state(w);
    struct user *u = *state;

    if (!u)
        return;
    if (u->kept)
        mailbox_close(u->kept);
    free(u);
    *state = NULL;
}

const struct worker_ops pop3_worker_ops = {
    .opened = on_opened, .changed = on_changed, .kill = on_kill, .ended = on_ended};
