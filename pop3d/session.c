/*
 * The driver of one POP3 session: reads lines, checks them, runs commands, keeps time.
 *
 * One command runs at a time and lines are answered in their order (RFC 2449 6.6); what a client pipelines is
 * answered in as few writes as the output's limit allows. A command that returned POP3_MORE, and a client
 * that pipelines for longer than a turn, go on from a timer of 0 ms, after other sessions had theirs. What no
 * QUIT confirmed is forgotten.
 */
#include "pop3d/session.h"

#include <stdlib.h>
#include <time.h>

#include "common/log.h"
#include "common/mem.h"

#define TURN_NS 2000000
#define TURN_LINES 64 /* between two looks at the clock */

struct pop3_private {
    struct event *turn; /* made when first needed */
    uint64_t turn_ends; /* ns, monotonic */
    unsigned bad;
    bool read_text; /* the mailbox holds a message's text because of us */
    bool waits;     /* for the output to drain */
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool pop3_yield(const struct pop3_session *s)
{
    return stream_is_backed_up(s->stream) || now_ns() > s->private->turn_ends;
}

/* --- answers --- */

static void __attribute__((format(printf, 3, 0)))
answer(struct pop3_session *s, const char *status, const char *fmt, va_list ap)
{
    struct buf *out = pop3_out(s);

    buf_add_str(out, status);
    buf_vprintf(out, fmt, ap);
    buf_add(out, SLICE("\r\n"));
}

enum pop3_step pop3_ok(struct pop3_session *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    answer(s, "+OK ", fmt, ap);
    va_end(ap);
    return POP3_DONE;
}

enum pop3_step pop3_err(struct pop3_session *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    answer(s, "-ERR ", fmt, ap);
    va_end(ap);
    return POP3_DONE;
}

void pop3_write_err(struct buf *out, enum err_code code)
{
    const struct err_row *row = err_row(code);

    buf_add(out, SLICE("-ERR "));
    if (*row->pop3)
        buf_printf(out, "[%s] ", row->pop3);
    buf_add_str(out, row->text);
    buf_add(out, SLICE("\r\n"));
}

enum pop3_step pop3_err_row(struct pop3_session *s, const struct err *e)
{
    if (err_row(e->code)->level >= LOG_LEVEL_WARN)
        LOG(STORE_ERROR, s->ws->sid, F_STR("error", err_row(e->code)->name), F_STR("why", e->detail));
    pop3_write_err(pop3_out(s), e->code);
    return POP3_DONE;
}

/* --- life --- */

/* Frees the session and lets the stream write what waits; s and s->stream are gone. */
static void end(struct pop3_session *s)
{
    struct worker_session *ws = s->ws;

    /* RFC 1939 6: QUIT was given, so the deletions are done even if nobody listens any more */
    if (s->cmd == &pop3_quit)
        while (pop3_delete_some(s) == POP3_MORE)
            ;
    if (s->private->turn)
        event_free(s->private->turn);
    if (s->mailbox) {
        if (s->private->read_text)
            mailbox_text_drop(s->mailbox);
        mailbox_close(s->mailbox);
    }
    free(s->private);
    free(s->msgs);
    free(s->mechanisms);
    free(s);
    ws->state = NULL;
    worker_session_end(ws);
}

static const struct pop3_command login;

void pop3_session_kill(struct pop3_session *s, enum err_code code)
{
    /* in the middle of an answer of many lines the sentence would be taken for part of it */
    if (!s->cmd || s->cmd == &login)
        pop3_write_err(pop3_out(s), code);
    end(s);
}

static void schedule(struct pop3_session *s);

/* The time a client may be silent; only whole commands and output that moves count (security.md 4.4). */
static void touch(struct pop3_session *s)
{
    stream_deadline(s->stream, (unsigned)(s->ws->settings->idle_pop3_s * 1000));
}

/* --- commands --- */

/* A line that is no command. False: the session has ended. */
static bool bad_line(struct pop3_session *s)
{
    if (++s->private->bad < POP3_BAD_MAX)
        return true;
    LOG(PROTOCOL, s->ws->sid, F_STR("ip", s->ws->ip), F_STR("why", "too many commands that are none"));
    pop3_err(s, "too many unknown commands; this is a POP3 server, check the mail program's account type");
    end(s);
    return false;
}

/* Goes on with s->cmd. False: the session has ended, or the command waits. */
static bool run(struct pop3_session *s)
{
    enum pop3_step step = s->cmd->run(s);

    if (step == POP3_MORE) {
        schedule(s);
        return false;
    }
    s->cmd = NULL;
    if (step == POP3_END)
        end(s);
    return step == POP3_DONE;
}

/* RFC 1939 5: a number that is too large, and one that was marked. */
static bool check_message(struct pop3_session *s)
{
    uint32_t n = s->args.message;

    if (!s->args.has_message)
        return true;
    if (n == 0 || n > s->count) {
        pop3_err(s, "there is no such message, there are %zu; LIST shows them", s->count);
        return false;
    }
    if (s->msgs[n - 1].deleted) {
        pop3_err(s, "message %u is marked as deleted; RSET brings it back", n);
        return false;
    }
    return true;
}

/* False: the session has ended, or the command waits. */
static bool handle_line(struct pop3_session *s, struct slice line)
{
    const struct pop3_command *row;

    switch (pop3_parse(line, &row, &s->args)) {
    case POP3_UNKNOWN:
        pop3_err(s, "unknown command; CAPA and the POP3 standard say what is known here");
        return bad_line(s);
    case POP3_LOGIN_ONLY:
        pop3_err(s, "you are logged in already; QUIT first to log in as somebody else");
        return bad_line(s);
    case POP3_BAD_ARGUMENTS:
        pop3_err(s, "write it as: %s%s%s", row->name, *row->arguments ? " " : "", row->arguments);
        return bad_line(s);
    case POP3_PARSED:
        break;
    }
    if (!check_message(s))
        return true;
    if (row == &pop3_retr || row == &pop3_top)
        s->private->read_text = true;
    s->at = 0;
    s->cmd = row;
    return run(s);
}

/* Lines, until there are none, the output is backed up, or the turn is over. False: the session has ended, or
 * waits. */
static bool read_lines(struct pop3_session *s)
{
    struct slice line;
    bool any = false;

    s->private->turn_ends = now_ns() + TURN_NS;
    for (unsigned n = 1;; n++) {
        enum stream_line what;

        if (stream_is_backed_up(s->stream) || (n % TURN_LINES == 0 && pop3_yield(s))) {
            schedule(s);
            return false;
        }
        what = stream_line(s->stream, POP3_LINE_MAX, &line);
        if (what == STREAM_MORE)
            break;
        any = true;
        if (what == STREAM_LINE_LONG) {
            pop3_err(s, "the line is longer than %d octets; no command is", POP3_LINE_MAX);
            if (!bad_line(s))
                return false;
        } else if (!handle_line(s, line)) {
            return false;
        }
    }
    if (any)
        touch(s);
    if (s->private->read_text && s->mailbox) {
        mailbox_text_drop(s->mailbox);
        s->private->read_text = false;
    }
    return true;
}

/* --- turns --- */

static void go_on(struct pop3_session *s)
{
    s->private->waits = false;
    touch(s);
    s->private->turn_ends = now_ns() + TURN_NS;
    if (s->cmd && !run(s))
        return;
    stream_resume(s->stream); /* lines that wait come as input */
    stream_flush(s->stream);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    go_on(arg);
}

/* To be continued: when the output has drained, or after the others had their turn. */
static void schedule(struct pop3_session *s)
{
    static const struct timeval now = {0};

    stream_pause(s->stream);
    stream_flush(s->stream);
    if (stream_is_backed_up(s->stream)) {
        s->private->waits = true;
        stream_when_drained(s->stream);
        return;
    }
    if (!s->private->turn)
        s->private->turn = evtimer_new(worker_base(s->ws->worker), on_turn, s);
    INVARIANT(s->private->turn && evtimer_add(s->private->turn, &now) == 0);
}

static void on_input(void *ctx, struct stream *stream)
{
    (void)stream;
    read_lines(ctx);
}

static void on_drained(void *ctx, struct stream *stream)
{
    struct pop3_session *s = ctx;

    (void)stream;
    if (s->private->waits)
        go_on(s);
}

/* RFC 1939 3: an autologout sends nothing and deletes nothing. So does every other end without QUIT. */
static void on_ended(void *ctx, struct stream *stream, enum stream_end why, const char *detail)
{
    struct pop3_session *s = ctx;
    static const char *const whys[] = {"eof", "error", "timeout", "stalled"};

    (void)stream;
    if (s->count - s->left && s->cmd != &pop3_quit)
        LOG(PROTOCOL, s->ws->sid, F_STR("why", "ended without QUIT: nothing was deleted"),
            F_STR("end", whys[why]), F_STR("detail", detail ? detail : ""));
    end(s);
}

static const struct stream_ops stream_ops = {.input = on_input, .drained = on_drained, .ended = on_ended};

/* --- login --- */

/* The sizes that no name tells: files of other programs, read once. */
static enum pop3_step measure(struct pop3_session *s)
{
    for (; s->at < s->count; s->at++) {
        struct pop3_message *m = &s->msgs[s->at];
        const struct message *msg;
        struct err e = {0};

        if (m->size == 0 && mailbox_size(s->mailbox, m->uid, &m->size, &e) < 0) {
            LOG(STORE_ODD, s->ws->sid, F_STR("what", "no size of a message"), F_U64("uid", m->uid),
                F_STR("why", e.detail));
            msg = mailbox_by_uid(s->mailbox, m->uid);
            m->size = msg ? msg->size : 0;
        }
        s->octets += m->size;
        if (s->at % TURN_LINES == TURN_LINES - 1 && pop3_yield(s))
            return s->at++, POP3_MORE;
    }
    return pop3_ok(s, "%zu messages (%llu octets)", s->count, (unsigned long long)s->octets);
}

/* What runs until the login is answered; the client cannot name it. */
static const struct pop3_command login = {.name = "", .arguments = "", .run = measure};

static int snapshot(struct pop3_session *s, struct err *e)
{
    s->mailbox = pop3_open_inbox(s->ws->worker, e);
    if (!s->mailbox)
        return -1;
    s->uidvalidity = mailbox_uidvalidity(s->mailbox);
    s->count = s->left = mailbox_count(s->mailbox);
    s->msgs = mem_zalloc(s->count ? s->count : 1, sizeof *s->msgs);
    for (size_t i = 0; i < s->count; i++) {
        const struct message *m = mailbox_at(s->mailbox, i);

        s->msgs[i].uid = m->uid;
        s->msgs[i].size = m->size_crlf;
    }
    return 0;
}

/* The front's list of mechanisms, for CAPA. A front is not trusted: nothing but such a list is repeated. */
static char *mechanisms_of(struct slice tag)
{
    for (size_t i = 0; i < tag.n; i++) {
        char c = tag.p[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == ' '))
            tag.n = 0;
    }
    return slice_dup(tag.n > 400 ? slice_of("", 0) : tag);
}

void pop3_session_new(struct worker_session *ws, struct slice tag)
{
    struct pop3_session *s = mem_zalloc(1, sizeof *s);
    struct err e = {0};

    s->ws = ws;
    s->stream = ws->stream;
    s->private = mem_zalloc(1, sizeof *s->private);
    s->mechanisms = mechanisms_of(tag);
    ws->state = s;
    stream_set_ops(s->stream, &stream_ops, s);
    if (snapshot(s, &e) < 0) {
        pop3_err_row(s, &e);
        end(s);
        return;
    }
    s->cmd = &login;
    stream_pause(s->stream);
    go_on(s);
}
