#include "imapd/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "imapd/words.h"

#define TURN_US 2000
#define TURN_MESSAGES 64

static time_t now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static int64_t turn_us(const struct imap_private *p)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (t.tv_sec - p->turn.tv_sec) * 1000000 + (t.tv_nsec - p->turn.tv_nsec) / 1000;
}

bool imap_yield(struct imap_cmd *c)
{
    struct imap_private *p = c->s->private;

    return ++p->messages >= TURN_MESSAGES || stream_is_backed_up(c->s->stream) || turn_us(p) >= TURN_US;
}

/* --- replies --- */

enum imap_step imap_reply(struct imap_cmd *c, enum imap_status status, const char *code, const char *fmt, ...)
{
    va_list ap;

    c->status = status;
    buf_clear(&c->code);
    buf_clear(&c->text);
    if (code)
        buf_add_str(&c->code, code);
    va_start(ap, fmt);
    buf_vprintf(&c->text, fmt, ap);
    va_end(ap);
    return IMAP_DONE;
}

static void log_err(const struct imap_session *s, const struct imap_command *row, const struct err *e)
{
    const struct err_row *er = err_row(e->code);

    if (er->level >= LOG_LEVEL_WARN)
        LOG(STORE_ERROR, s->ws->sid, F_STR("command", row ? row->name : ""), F_STR("error", er->name),
            F_STR("detail", e->detail));
    else
        LOG(COMMAND, s->ws->sid, F_STR("command", row ? row->name : ""), F_STR("error", er->name),
            F_STR("detail", e->detail));
}

enum imap_step imap_reply_err(struct imap_cmd *c, const struct err *e)
{
    const struct err_row *row = err_row(e->code);

    log_err(c->s, c->row, e);
    return imap_reply(c, IMAP_NO, row->imap, "%s", row->text);
}

static void write_tagged(struct imap_session *s, struct slice tag, const struct imap_cmd *c)
{
    static const char *const words[] = {"OK", "NO", "BAD"};
    struct buf *out = imap_out(s);

    buf_add(out, tag.n ? tag : SLICE("*"));
    buf_printf(out, " %s ", words[c->status]);
    if (c->code.n) {
        buf_add_char(out, '[');
        buf_add(out, buf_slice(&c->code));
        buf_add_str(out, "] ");
    }
    if (c->text.n)
        buf_add(out, buf_slice(&c->text));
    else
        buf_printf(out, "%s%s completed", c->uid ? "UID " : "", c->row ? c->row->name : "command");
    buf_add_str(out, "\r\n");
}

/* --- life --- */

void imap_session_open(struct worker_session *ws, struct slice tag)
{
    struct imap_session *s = mem_zalloc(1, sizeof *s);
    struct imap_private *p = mem_zalloc(1, sizeof *p);
    struct buf *out;

    s->ws = ws;
    s->stream = ws->stream;
    s->account = worker_account(ws->worker);
    s->private = p;
    ws->state = s;
    p->w = imap_worker_of(ws->worker);
    imap_reader_init(&p->reader, &imap_limits_worker);
    arena_init(&p->arena, IMAP_ARENA_MAX);
    p->deadline = now_s() + (time_t)ws->settings->idle_imap_s;
    out = imap_out(s);
    buf_add(out, tag.n ? tag : SLICE("*"));
    buf_add_str(out, " OK [CAPABILITY ");
    imap_capabilities(out);
    buf_add_str(out, "] logged in\r\n");
    stream_flush(s->stream);
}

static void unqueue(struct imap_session *s)
{
    struct imap_worker *w = s->private->w;
    struct imap_session *before = NULL, *at = w->first;

    if (!s->private->is_queued)
        return;
    while (at && at != s) {
        before = at;
        at = at->private->next;
    }
    INVARIANT(at);
    if (before)
        before->private->next = s->private->next;
    else
        w->first = s->private->next;
    if (w->last == s)
        w->last = before;
    s->private->is_queued = false;
}

static void end_command(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct imap_cmd *c = &p->cmd;

    if (c->row && c->row->end)
        c->row->end(c);
    if (c->literal && p->sink)
        p->sink->abort(c->literal);
    c->literal = NULL;
    p->sink = NULL;
    p->refused = (struct err){0};
    buf_free(&c->code);
    buf_free(&c->text);
    buf_free(&p->text);
    arena_free(&p->arena);
    memset(c, 0, sizeof *c);
    s->cmd = NULL;
    p->waits = false;
}

void imap_session_free(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct worker_session *ws = s->ws;

    unqueue(s);
    if (p->sink_ctx && p->sink)
        p->sink->abort(p->sink_ctx);
    end_command(s);
    imap_deselect(s);
    imap_reader_fini(&p->reader);
    free(p);
    free(s);
    ws->state = NULL;
    worker_session_end(ws);
}

void imap_session_bye(struct imap_session *s, const char *text)
{
    buf_printf(imap_out(s), "* BYE %s\r\n", text);
    imap_session_free(s);
}

void imap_session_over(struct imap_session *s)
{
    s->private->over = true;
}

bool imap_session_is_idling(const struct imap_session *s)
{
    return s->private->waits && s->private->cmd.row->line;
}

void imap_want_turn(struct imap_session *s)
{
    static const struct timeval now = {0, 0};
    struct imap_private *p = s->private;
    struct imap_worker *w = p->w;

    if (p->is_queued)
        return;
    p->is_queued = true;
    p->next = NULL;
    if (w->last)
        w->last->private->next = s;
    else
        w->first = s;
    w->last = s;
    event_add(w->turn_timer, &now);
}

void imap_resume(struct imap_cmd *c)
{
    struct imap_private *p = c->s->private;

    p->waits = false;
    if (!p->is_running)
        imap_want_turn(c->s);
}

/* --- one command --- */

const char *imap_read_head(struct imap_cmd *c, struct slice text)
{
    struct slice name;

    imap_parse_init(&c->args, text, c->arena);
    if (!imap_parse_tag(&c->args, &c->tag))
        return c->args.error;
    if (!imap_parse_space(&c->args) || !imap_parse_atom(&c->args, &name))
        return "the name of the command is missing behind the tag";
    if (slice_eq_nocase(name, SLICE("UID"))) {
        c->uid = true;
        if (!imap_parse_space(&c->args) || !imap_parse_atom(&c->args, &name))
            return "behind UID one of the commands that have a UID form is missing";
    }
    c->row = imap_command_by_name(name);
    if (!c->row)
        return "there is no command of that name here; CAPABILITY tells what there is";
    if (c->uid && !(c->row->flags & IMAP_HAS_UID))
        return "that command has no UID form";
    if (imap_parse_peek(&c->args, ' '))
        imap_parse_space(&c->args);
    else if (c->args.rest.n)
        return "a blank is missing behind the command's name";
    return NULL;
}

static bool refuse(struct imap_cmd *c, enum imap_status status, const char *code, const char *text)
{
    imap_reply(c, status, code, "%s", text);
    return false;
}

/* Everything before run(). False: the reply is set. */
static bool prepare(struct imap_session *s, struct imap_cmd *c, struct slice text)
{
    const char *wrong = imap_read_head(c, text);
    enum imap_in in = s->mailbox ? IMAP_IN_SELECTED : IMAP_IN_AUTH;

    if (wrong)
        return refuse(c, IMAP_BAD, NULL, wrong);
    if (!(c->row->states & in))
        return refuse(c, IMAP_BAD, NULL,
            in == IMAP_IN_AUTH ? "no mailbox is selected; send SELECT first"
                               : "not while a mailbox is selected; send CLOSE or UNSELECT first");
    if (!c->row->check(c)) {
        if (!c->error)
            c->error = c->args.error ? c->args.error : "the arguments cannot be understood";
        if (c->error == imap_bad_mailbox_name)
            return refuse(c, IMAP_NO, err_row(ERR_MAILBOX_NAME)->imap, c->error);
        return refuse(c, IMAP_BAD, NULL, c->error);
    }
    if ((c->row->flags & IMAP_CHANGES) && s->mailbox && s->read_only) {
        imap_reply_err(c, &(struct err){.code = ERR_READ_ONLY});
        return false;
    }
    return true;
}

/* What happened to the selected mailbox meanwhile, then the tagged reply. False: the session has ended. */
static bool finish(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct imap_cmd *c = &p->cmd;
    bool with_expunges = c->uid || !c->row || !(c->row->flags & IMAP_HOLDS_EXPUNGE);
    bool refresh = c->row && !(c->row->flags & IMAP_NO_REFRESH) && c->status != IMAP_BAD;
    const char *gone = NULL;

    if (s->mailbox && !p->over) {
        struct err e = {0};

        if (refresh && mailbox_refresh(s->mailbox, &e) < 0) {
            log_err(s, c->row, &e);
            if (e.code == ERR_NO_MAILBOX)
                gone = "the selected mailbox was deleted or renamed by another program; select one again";
        }
        imap_send_changes(s, with_expunges, false);
    }
    write_tagged(s, c->tag, c);
    if (c->status == IMAP_BAD && ++p->bad >= IMAP_BAD_MAX) {
        LOG(PROTOCOL, s->ws->sid, F_U64("bad", p->bad), F_SLICE("last", buf_slice(&c->text)));
        gone = "too many commands that could not be understood; check the mail program";
    }
    end_command(s);
    if (gone) {
        imap_session_bye(s, gone);
        return false;
    }
    if (p->over) {
        imap_session_free(s);
        return false;
    }
    return true;
}

static void begin_command(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct imap_cmd *c = &p->cmd;

    p->deadline = now_s() + (time_t)s->ws->settings->idle_imap_s;
    *c = (struct imap_cmd){.s = s, .arena = &p->arena, .code = BUF_INIT(1 << 20), .text = BUF_INIT(4096)};
    s->cmd = c;
    imap_reader_text(&p->reader, &p->text);
}

/* --- reading --- */

/*
 * A literal is announced: does the command have a sink for it? The command's head is read from the text so
 * far, with a scratch command that is thrown away.
 */
static void decide_literal(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct imap_reader *r = &p->reader;
    struct imap_cmd probe = {.s = s, .arena = &p->arena};
    int taken = 1;

    if (!p->sink && !imap_read_head(&probe, buf_slice(&r->text)) && probe.row->sink) {
        p->refused = (struct err){0};
        taken = probe.row->sink->begin(s, probe.args.rest, r->literal, &p->sink_ctx, &p->refused);
        if (taken == 0)
            p->sink = probe.row->sink;
        else if (taken < 0)
            imap_reader_refuse(r, err_row(p->refused.code)->text, false);
    }
    if (taken == 0)
        imap_reader_sink(r);
    if (taken < 0 || (taken == 1 && !imap_reader_take(r)))
        return;
    if (r->literal_waits) {
        buf_add_str(imap_out(s), "+ OK\r\n");
        stream_flush(s->stream);
    }
}

static void sink_piece(struct imap_session *s, struct slice piece)
{
    struct imap_private *p = s->private;

    if (p->sink->piece(p->sink_ctx, piece, &p->refused) == 0)
        return;
    p->sink->abort(p->sink_ctx);
    p->sink_ctx = NULL;
    p->sink = NULL;
    imap_reader_drop(&p->reader, err_row(p->refused.code)->text);
}

/* The refused command has passed: its tagged reply. False: the session has ended. */
static bool answer_refused(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct imap_cmd *c = &p->cmd;
    const char *why = p->reader.why;
    bool too_big = p->reader.too_big;
    struct err e = p->refused;

    if (p->sink) {
        p->sink->abort(p->sink_ctx);
        p->sink_ctx = NULL;
        p->sink = NULL;
    }
    begin_command(s);
    imap_read_head(c, slice_sub(buf_slice(&p->text), 0, 4096));
    if (e.code != ERR_OK)
        imap_reply_err(c, &e);
    else
        imap_reply(c, too_big ? IMAP_NO : IMAP_BAD, too_big ? err_row(ERR_TOO_BIG)->imap : NULL, "%s", why);
    return finish(s);
}

/* Runs a command to its end or to IMAP_MORE / IMAP_WAIT. False: the session has ended. */
static bool run(struct imap_session *s)
{
    struct imap_private *p = s->private;

    clock_gettime(CLOCK_MONOTONIC, &p->turn);
    p->messages = 0;
    switch (p->cmd.row->run(&p->cmd)) {
    case IMAP_DONE:
        return finish(s);
    case IMAP_MORE:
        break;
    case IMAP_WAIT:
        p->waits = true;
        break;
    }
    return true;
}

static bool start(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct imap_cmd *c = &p->cmd;

    begin_command(s);
    c->literal = p->sink_ctx;
    p->sink_ctx = NULL;
    return prepare(s, c, buf_slice(&p->text)) ? run(s) : finish(s);
}

/* A line for the command that waits (IDLE's DONE). */
static void hand_line(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct buf line;

    imap_reader_text(&p->reader, &line);
    p->cmd.row->line(&p->cmd, buf_slice(&line));
    buf_free(&line);
}

/* Takes what the reader found. False: the session has ended. */
static bool take(struct imap_session *s, enum imap_read what)
{
    struct imap_private *p = s->private;
    const char *why;

    switch (what) {
    case IMAP_READ_MORE:
    case IMAP_READ_PIECE:
        return true;
    case IMAP_READ_LITERAL:
        if (s->cmd) /* within IDLE: no command has begun, nothing can be announced */
            imap_reader_refuse(&p->reader, "DONE was expected", false);
        else
            decide_literal(s);
        return true;
    case IMAP_READ_REFUSED:
        if (s->cmd)
            hand_line(s);
        return s->cmd || answer_refused(s);
    case IMAP_READ_COMMAND:
        if (s->cmd) {
            hand_line(s);
            return true;
        }
        if (p->reader.text.n == 0) { /* an empty line: some clients send one behind a literal */
            struct buf none;
            imap_reader_text(&p->reader, &none);
            buf_free(&none);
            return true;
        }
        return start(s);
    case IMAP_READ_BYE:
        break;
    }
    why = p->reader.why;
    LOG(ATTACK, s->ws->sid, F_STR("what", why));
    imap_session_bye(s, why);
    return false;
}

static bool may_read(const struct imap_session *s)
{
    return !s->cmd || imap_session_is_idling(s);
}

/* Feeds the reader once. False: the session has ended. *progress: something was used. */
static bool read_on(struct imap_session *s, bool *progress)
{
    struct imap_private *p = s->private;
    struct slice in = stream_input(s->stream), rest = in, piece = {0};
    enum imap_read what = imap_reader_feed(&p->reader, &rest, &piece);

    *progress = rest.n < in.n || what != IMAP_READ_MORE;
    /* a piece points into the input: it is used before it is consumed */
    if (what == IMAP_READ_PIECE)
        sink_piece(s, piece);
    stream_consume(s->stream, in.n - rest.n);
    return take(s, what);
}

static void read_or_pause(struct imap_session *s, bool on)
{
    struct imap_private *p = s->private;

    if (p->is_paused == !on)
        return;
    p->is_paused = !on;
    if (on)
        stream_resume(s->stream);
    else
        stream_pause(s->stream);
}

void imap_session_go(struct imap_session *s)
{
    struct imap_private *p = s->private;
    struct timespec began;
    bool progress = true;

    if (p->is_running)
        return;
    p->is_running = true;
    clock_gettime(CLOCK_MONOTONIC, &began);
    while (progress) {
        p->turn = began;
        if (stream_is_backed_up(s->stream)) {
            p->wants_drain = true;
            stream_when_drained(s->stream);
            break;
        }
        if (turn_us(p) >= TURN_US) {
            imap_want_turn(s);
            break;
        }
        if (s->cmd && !p->waits) {
            if (!run(s))
                return;
            if (s->cmd && !p->waits && !stream_is_backed_up(s->stream)) {
                imap_want_turn(s);
                break;
            }
        } else if (may_read(s)) {
            if (!read_on(s, &progress))
                return;
        } else {
            break;
        }
    }
    p->is_running = false;
    read_or_pause(s, may_read(s) && !p->wants_drain && !p->is_queued);
    stream_flush(s->stream);
}
