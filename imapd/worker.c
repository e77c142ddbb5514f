#include "imapd/worker.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "imapd/session.h"

/* Flag changes are durable at most a second after the first (design.md 4). */
#define SYNC_DELAY_MS 700

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval now = {0, 0};
    struct imap_worker *w = arg;
    struct imap_session *last = w->last, *s;

    (void)fd, (void)what;
    /* those who queue up again meanwhile wait for the next round, behind what the sockets bring */
    while ((s = w->first)) {
        bool end = s == last;

        w->first = s->private->next;
        if (!w->first)
            w->last = NULL;
        s->private->is_queued = false;
        imap_session_go(s);
        if (end)
            break;
    }
    if (w->first)
        event_add(w->turn_timer, &now);
}

static void on_sync(evutil_socket_t fd, short what, void *arg)
{
    struct imap_worker *w = arg;
    struct worker_session *ws = NULL;

    (void)fd, (void)what;
    w->sync_is_due = false;
    while ((ws = worker_next_session(w->worker, ws))) {
        struct imap_session *s = ws->state;
        struct err e = {0};

        if (s && s->mailbox && mailbox_needs_sync(s->mailbox) && mailbox_sync(s->mailbox, &e) < 0)
            LOG(STORE_ERROR, ws->sid, F_STR("error", err_row(e.code)->name), F_STR("detail", e.detail));
    }
}

void imap_flags_changed(struct imap_session *s)
{
    static const struct timeval soon = {0, SYNC_DELAY_MS * 1000};
    struct imap_worker *w = s->private->w;

    if (w->sync_is_due)
        return;
    w->sync_is_due = true;
    event_add(w->sync_timer, &soon);
}

static time_t now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* Deadlines only move away: the timer may come early, then it looks for the next. */
static void arm_idle(struct imap_worker *w)
{
    struct worker_session *ws = NULL;
    struct timeval tv = {0, 0};
    time_t first = 0, now = now_s();

    while ((ws = worker_next_session(w->worker, ws))) {
        struct imap_session *s = ws->state;

        if (s && (!first || s->private->deadline < first))
            first = s->private->deadline;
    }
    if (!first)
        return;
    tv.tv_sec = first > now ? first - now : 1;
    event_add(w->idle_timer, &tv);
}

/* RFC 3501 5.4 */
static void on_idle(evutil_socket_t fd, short what, void *arg)
{
    struct imap_worker *w = arg;
    struct worker_session *ws = worker_next_session(w->worker, NULL), *next;
    time_t now = now_s();

    (void)fd, (void)what;
    for (; ws; ws = next) {
        struct imap_session *s = ws->state;

        next = worker_next_session(w->worker, ws);
        if (!s || s->private->deadline > now)
            continue;
        if (s->cmd && !imap_session_is_idling(s)) /* works for its user */
            s->private->deadline = now + (time_t)ws->settings->idle_imap_s;
        else
            imap_session_bye(s, "nothing was asked for a long time; connect again when needed");
    }
    arm_idle(w);
}

struct imap_worker *imap_worker_of(struct worker *w)
{
    void **state = worker_state(w);
    struct imap_worker *iw = *state;

    if (iw)
        return iw;
    *state = iw = mem_zalloc(1, sizeof *iw);
    iw->worker = w;
    iw->turn_timer = evtimer_new(worker_base(w), on_turn, iw);
    iw->sync_timer = evtimer_new(worker_base(w), on_sync, iw);
    iw->idle_timer = evtimer_new(worker_base(w), on_idle, iw);
    INVARIANT(iw->turn_timer && iw->sync_timer && iw->idle_timer);
    return iw;
}

/* --- the stream's callbacks --- */

static void on_input(void *ctx, struct stream *stream)
{
    (void)stream;
    imap_session_go(ctx);
}

static void on_drained(void *ctx, struct stream *stream)
{
    struct imap_session *s = ctx;

    (void)stream;
    s->private->wants_drain = false;
    if (imap_session_is_idling(s))
        imap_send_changes(s, true, false);
    imap_session_go(s);
}

static void on_ended(void *ctx, struct stream *stream, enum stream_end why, const char *detail)
{
    static const char *const words[] = {"eof", "error", "timeout", "stalled"};
    struct imap_session *s = ctx;

    LOG(DISCONNECT, s->ws->sid, F_STR("why", words[why]), F_STR("detail", detail ? detail : ""));
    (void)stream; /* worker_session_end gives it up */
    imap_session_free(s);
}

static const struct stream_ops session_ops = {on_input, on_drained, NULL, on_ended};

static void opened(struct worker_session *ws, struct slice tag)
{
    imap_session_open(ws, tag);
    stream_set_ops(ws->stream, &session_ops, ws->state);
    arm_idle(imap_worker_of(ws->worker));
}

static void changed(struct worker *w, struct slice disk_name, const struct worker_news *news)
{
    imap_tell_all(w, disk_name, news);
}

static void kill_session(struct worker_session *ws, enum err_code code)
{
    struct imap_session *s = ws->state;

    if (s)
        imap_session_bye(s, err_row(code)->text);
    else
        worker_session_end(ws);
}

const struct worker_ops imapd_worker_ops = {.opened = opened, .changed = changed, .kill = kill_session};
