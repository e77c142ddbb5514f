/* The selected mailbox of a session: opening, watching, telling what changed. */
#include "imapd/session.h"

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
    buf_printf(imap_out(ctx), "* %u EXISTS\r\n* %u RECENT\r\n", count, recent);
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
    if (refresh && mailbox_refresh(s->mailbox, true, &e) < 0)
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

void imap_announce(struct imap_session *s, struct mailbox *m)
{
    struct worker_session *ws = NULL;

    while ((ws = worker_next_session(s->ws->worker, ws))) {
        struct imap_session *other = ws->state;

        if (other && other != s && other->mailbox == m && imap_session_is_idling(other))
            push(other);
    }
}

void imap_announce_name(struct imap_session *s, struct slice name)
{
    struct worker_session *ws = NULL;

    while ((ws = worker_next_session(s->ws->worker, ws))) {
        struct imap_session *other = ws->state;
        struct err e = {0};

        if (!other || !other->mailbox || !slice_eq(mailbox_name(other->mailbox), name))
            continue;
        if (mailbox_refresh(other->mailbox, true, &e) < 0)
            LOG(STORE_ERROR, s->ws->sid, F_STR("error", err_row(e.code)->name), F_STR("detail", e.detail));
        imap_announce(s, other->mailbox);
        return; /* all sessions share the one object */
    }
}

int imap_select(struct imap_session *s, struct slice name, bool read_only, struct err *e)
{
    struct mailbox *m;

    imap_deselect(s);
    m = mailbox_open(s->account, name, e);
    if (!m)
        return -1;
    if (mailbox_refresh(m, false, e) < 0) {
        mailbox_close(m);
        return -1;
    }
    s->mailbox = m;
    s->read_only = read_only;
    s->view = view_new(m, read_only);
    worker_watch(s->ws->worker, mailbox_disk_name(m), true);
    return 0;
}

void imap_deselect(struct imap_session *s)
{
    struct err e = {0};

    if (!s->mailbox)
        return;
    if (mailbox_needs_sync(s->mailbox) && mailbox_sync(s->mailbox, &e) < 0)
        LOG(STORE_ERROR, s->ws->sid, F_STR("error", err_row(e.code)->name), F_STR("detail", e.detail));
    worker_watch(s->ws->worker, mailbox_disk_name(s->mailbox), false);
    view_free(s->view);
    mailbox_close(s->mailbox);
    s->view = NULL;
    s->mailbox = NULL;
    s->read_only = false;
}
