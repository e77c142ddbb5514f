/* The selected mailbox of a session: opening, watching, telling what changed. */
#include "imapd/session.h"

#include <stdlib.h>

#include "common/log.h"

/* RFC 3501 7.2.6, 7.1 PERMANENTFLAGS */
void imap_send_flags(struct imap_session *s)
{
    struct buf *out = imap_out(s);
    uint32_t all = FLAG_SEEN | FLAG_ANSWERED | FLAG_FLAGGED | FLAG_DELETED | FLAG_DRAFT | FLAG_FORWARDED;
    unsigned letters = 0;

    for (unsigned i = 0; i < FLAG_KEYWORDS; i++) {
        if (mailbox_keyword(s->mailbox, i).n) {
            all |= FLAG_KEYWORD(i);
            letters++;
        }
    }
    buf_add_str(out, "* FLAGS (");
    imap_flags_write(out, s->mailbox, all, false);
    buf_add_str(out, ")\r\n* OK [PERMANENTFLAGS (");
    if (!s->read_only)
        imap_flags_write(out, s->mailbox, all, false);
    /* "\*": a new keyword may be set */
    if (!s->read_only && letters < FLAG_KEYWORDS)
        buf_add_str(out, " \\*");
    buf_add_str(out, s->read_only ? ")] opened for reading only\r\n" : ")] flags that can be kept\r\n");
}

static void on_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
    (void)uid;
    buf_printf(imap_out(ctx), "* %u EXPUNGE\r\n", seq);
}

static void on_exists(void *ctx, uint32_t count, uint32_t recent)
{
    struct imap_session *s = ctx;

    buf_printf(imap_out(s), "* %u EXISTS\r\n* %u RECENT\r\n", count, recent);
    s->private->exists_unheard = s->cmd && s->cmd->row && (s->cmd->row->flags & IMAP_HOLDS_EXPUNGE);
}

void imap_repeat_exists(struct imap_session *s)
{
    if (s->private->exists_unheard && s->view)
        buf_printf(imap_out(s), "* %u EXISTS\r\n", view_count(s->view));
    s->private->exists_unheard = false;
}

/* With the UID: a client that lost count is right all the same (RFC 9051 7.5.2). */
static void on_flags(void *ctx, uint32_t seq, const struct message *msg, bool recent)
{
    struct imap_session *s = ctx;
    struct buf *out = imap_out(s);

    buf_printf(out, "* %u FETCH (UID %u FLAGS (", seq, msg->uid);
    imap_flags_write(out, s->mailbox, msg->flags, recent);
    buf_add_str(out, "))\r\n");
}

static void on_keywords(void *ctx)
{
    imap_send_flags(ctx);
}

void imap_send_changes(struct imap_session *s, bool with_expunges, bool refresh)
{
    static const struct view_events events = {on_expunged, on_exists, on_flags, on_keywords};
    struct err e = {0};

    if (!s->mailbox)
        return;
    if (refresh && mailbox_refresh(s->mailbox, &e) < 0)
        LOG(STORE_ERROR, s->ws->sid, F_STR("error", err_row(e.code)->name), F_STR("detail", e.detail));
    if (view_has_news(s->view))
        view_sync(s->view, with_expunges, &events, s);
}

/* To a session in IDLE, at once. What does not fit waits in the view until the output has drained. */
static void push(struct imap_session *s)
{
    if (stream_is_backed_up(s->stream)) {
        stream_when_drained(s->stream);
        return;
    }
    imap_send_changes(s, true, false);
    stream_flush(s->stream);
}

/* To all idling sessions of the worker that have it selected, but one. */
static void announce(struct worker *w, const struct imap_session *but, const struct mailbox *m)
{
    struct worker_session *ws = NULL;

    while ((ws = worker_next_session(w, ws))) {
        struct imap_session *s = ws->state;

        if (s && s != but && s->mailbox == m && imap_session_is_idling(s))
            push(s);
    }
}

void imap_announce(struct imap_session *s, struct mailbox *m)
{
    if (mailbox_needs_sync(m))
        imap_flags_changed(s);
    announce(s->ws->worker, s, m);
}

/* One of the sessions that have a mailbox selected: they all share it. */
static struct imap_session *find_session(struct worker *w, struct slice name, bool by_disk_name)
{
    struct worker_session *ws = NULL;

    while ((ws = worker_next_session(w, ws))) {
        struct imap_session *s = ws->state;

        if (s && s->mailbox &&
            slice_eq(by_disk_name ? mailbox_disk_name(s->mailbox) : mailbox_name(s->mailbox), name))
            return s;
    }
    return NULL;
}

/* After a look at the mailbox; that it is gone each session learns with its next command. */
static void looked(
    struct worker *w, struct imap_session *s, const struct imap_session *but, const struct err *e)
{
    if (e->code != ERR_OK && e->code != ERR_NO_MAILBOX)
        LOG(STORE_ERROR, s->ws->sid, F_STR("error", err_row(e->code)->name), F_STR("detail", e->detail));
    announce(w, but, s->mailbox);
}

void imap_refresh_all(struct worker *w, struct slice name, const struct imap_session *but)
{
    struct imap_session *s = find_session(w, name, false);
    struct err e = {0};

    if (!s)
        return;
    mailbox_refresh(s->mailbox, &e);
    looked(w, s, but, &e);
}

void imap_tell_all(struct worker *w, struct slice disk_name, const struct worker_news *news)
{
    struct imap_session *s = find_session(w, disk_name, true);
    struct err e = {0};

    if (!s)
        return;
    if (news->new_only)
        mailbox_refresh(s->mailbox, &e);
    else
        mailbox_told(s->mailbox, news->names, news->complete, &e);
    looked(w, s, NULL, &e);
}

int imap_select(struct imap_session *s, struct slice name, bool read_only, struct err *e)
{
    struct mailbox *m;

    imap_deselect(s);
    m = mailbox_open(s->account, name, e);
    if (!m)
        return -1;
    if (mailbox_refresh(m, e) < 0) {
        mailbox_close(m);
        return -1;
    }
    s->mailbox = m;
    s->read_only = read_only;
    s->view = view_new(m, read_only);
    s->private->watched = slice_dup(mailbox_disk_name(m));
    worker_watch(s->ws->worker, slice_str(s->private->watched), true);
    return 0;
}

void imap_deselect(struct imap_session *s)
{
    struct err e = {0};

    if (!s->mailbox)
        return;
    if (mailbox_needs_sync(s->mailbox) && mailbox_sync(s->mailbox, &e) < 0)
        LOG(STORE_ERROR, s->ws->sid, F_STR("error", err_row(e.code)->name), F_STR("detail", e.detail));
    /* a rename may have given it another name meanwhile: the watch is taken back under the one it had */
    worker_watch(s->ws->worker, slice_str(s->private->watched), false);
    free(s->private->watched);
    s->private->watched = NULL;
    view_free(s->view);
    mailbox_close(s->mailbox);
    s->view = NULL;
    s->mailbox = NULL;
    s->read_only = false;
}
