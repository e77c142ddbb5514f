/* The network side of SMTP: greeting, lines, texts, sync points, errors, the end. The rules are in smtpd.h.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "smtpd/roles.h"
#include "smtpd/smtpd.h"

#define LINE_MAX_COMMAND 2048 /* security.md 4.4 */
#define LINE_MAX_AUTH 12288
#define LONG_LINES_MAX 3
#define ERRORS_SOFT 10
#define ERRORS_HARD 20
#define JUNK_MAX 20
#define SLOW_MS 1000
#define CROWDED_MS 10000 /* instead of limits.smtp_timeout */
#define TEXT_RATE 500    /* octets a second */
#define SCRATCH_MAX ((size_t)64 * 1024)
#define TRANSACTION_MAX ((size_t)512 * 1024)

static struct event_base *base; /* the role's */

int64_t smtp_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- replies --- */

void smtp_reply(struct smtp_session *s, int code, const char *enhanced, const char *fmt, ...)
{
    struct buf *out = stream_out(s->c->stream);
    va_list ap;

    if (code >= 400)
        s->errors++;
    buf_printf(out, "%d %s%s", code, enhanced, *enhanced ? " " : "");
    va_start(ap, fmt);
    buf_vprintf(out, fmt, ap);
    va_end(ap);
    buf_add_str(out, "\r\n");
}

void smtp_reply_err(struct smtp_session *s, enum err_code code)
{
    const struct err_row *row = err_row(code);

    smtp_reply(s, row->smtp, row->enhanced, "%s", row->text);
}

void smtp_out_of_sync(struct smtp_session *s)
{
    LOG(ATTACK, s->c->sid.text, F_STR("ip", s->c->ip),
        F_STR("what", "input before it could know our answer"));
    smtp_reply(s, 554, "5.5.0", "you did not wait for the answer; send no more until it has come");
    s->end = true;
}

/* --- the session --- */

enum smtp_in smtp_state(const struct smtp_session *s)
{
    if (!s->helo)
        return SMTP_IN_START;
    if (!s->has_mail)
        return SMTP_IN_READY;
    if (s->in_chunks)
        return SMTP_IN_CHUNKS;
    return s->nrcpts ? SMTP_IN_RCPT : SMTP_IN_MAIL;
}

bool smtp_is_submission(const struct smtp_session *s)
{
    return s->c->listener->service == SERVICE_SUBMISSION;
}

void smtp_forget_mail(struct smtp_session *s)
{
    smtp_text_drop(&s->text);
    s->has_mail = s->in_chunks = false;
    s->rcpts = NULL;
    s->last_rcpt = &s->rcpts;
    s->nrcpts = s->envelope = 0;
    s->from = s->envid = SLICE("");
    s->asked = NULL;
    s->ret = 0;
    s->smtputf8 = s->is_8bit = s->requiretls = false;
    arena_free(&s->arena);
}

bool smtp_has_input(const struct smtp_session *s)
{
    return stream_input(s->c->stream).n > 0;
}

static struct smtp_session *session_new(struct front_conn *c)
{
    struct smtp_session *s = mem_zalloc(1, sizeof *s);

    s->c = c;
    s->opened = smtp_now();
    arena_init(&s->scratch, SCRATCH_MAX);
    arena_init(&s->arena, TRANSACTION_MAX);
    s->text.fd = -1;
    smtp_forget_mail(s);
    c->state = s;
    return s;
}

/* --- time (S18) --- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Absolute, for the whole command; not beyond the session's. Who shall log in has the time of one command for
 * it. */
void smtp_time_command(struct smtp_session *s)
{
    const struct settings *set = s->c->settings;
    bool is_nobody = smtp_is_submission(s) && !s->account;
    uint64_t session = (is_nobody ? set->smtp_timeout_s : set->smtp_session_s) * 1000;
    uint64_t gone = (uint64_t)(smtp_now() - s->opened);
    uint64_t left = session > gone ? session - gone : 1;
    uint64_t command = set->smtp_timeout_s * 1000;

    /* where it is the client that we wait for */
    if (s->phase < SMTP_WAIT_AUTH && !s->account && front_is_crowded(s->c))
        command = least(command, CROWDED_MS);
    stream_min_rate(s->c->stream, 0);
    stream_deadline(s->c->stream, (unsigned)least(least(left, command), 1u << 30));
}

/* A text may take long, but must keep coming. */
void smtp_time_text(struct smtp_session *s)
{
    stream_deadline(s->c->stream, 0);
    stream_min_rate(s->c->stream, TEXT_RATE);
}

/* --- waiting --- */

void smtp_wait(struct smtp_session *s, enum smtp_phase phase)
{
    s->phase = phase;
    stream_pause(s->c->stream);
    smtp_time_command(s);
}

static void on_slow_over(evutil_socket_t fd, short what, void *arg)
{
    struct smtp_session *s = arg;

    (void)fd, (void)what;
    if (s->phase == SMTP_WAIT_SLOW) {
        s->phase = SMTP_COMMAND;
        smtp_go(s);
    }
}

static void slow_down(struct smtp_session *s)
{
    struct timeval tv = {.tv_sec = SLOW_MS / 1000, .tv_usec = SLOW_MS % 1000 * 1000};

    if (!s->slow)
        s->slow = evtimer_new(base, on_slow_over, s);
    INVARIANT(s->slow);
    evtimer_add(s->slow, &tv);
    smtp_wait(s, SMTP_WAIT_SLOW);
}

/* --- lines --- */

/* What is missing, for a command out of order. */
static void wrong_state(struct smtp_session *s, const struct smtp_command *cmd)
{
    switch (smtp_state(s)) {
    case SMTP_IN_START:
        smtp_reply(s, 503, "5.5.1", "say EHLO first");
        return;
    case SMTP_IN_READY:
        smtp_reply(s, 503, "5.5.1", "no mail is under way; begin with MAIL FROM:<address>");
        return;
    case SMTP_IN_MAIL:
        if (cmd->states & SMTP_IN_RCPT) {
            smtp_reply(s, 554, "5.5.1",
                "nobody was found to take the message; give a recipient with RCPT TO:<address>");
            return;
        }
        break;
    default:
        break;
    }
    smtp_reply(s, 503, "5.5.1", "a mail is under way; finish it, or forget it with RSET");
}

static bool may_run(struct smtp_session *s, const struct smtp_command *cmd)
{
    if (!s->helo && !(cmd->states & SMTP_IN_START)) {
        wrong_state(s, cmd);
        return false;
    }
    if (smtp_is_submission(s) && !s->account && !(cmd->flags & SMTP_EARLY)) { /* RFC 6409 4.3 */
        if (s->c->may_log_in)
            smtp_reply(
                s, 530, "5.7.0", "log in first: give the mail program the account's user name and password");
        else
            smtp_reply(s, 530, "5.7.0",
                "STARTTLS first, then log in: choose STARTTLS, or port 465, in the mail program");
        return false;
    }
    if (!(cmd->states & smtp_state(s))) {
        wrong_state(s, cmd);
        return false;
    }
    if ((cmd->flags & SMTP_JUNK) && ++s->junk > JUNK_MAX) {
        smtp_reply(s, 421, "4.7.0", "too many commands that move no mail; connect again when there is some");
        s->end = true;
        return false;
    }
    return true;
}

static void command(struct smtp_session *s, struct slice line)
{
    const struct smtp_command *cmd;
    struct smtp_line words;

    if (!smtp_parse_line(line, &words)) {
        smtp_reply(s, 500, "5.5.2",
            line.n ? "a command holds no control characters" : "a command is missing; say HELP");
        return;
    }
    cmd = smtp_command_find(words.verb);
    if (!cmd && smtp_is_foreign_verb(words.verb)) {
        LOG(ATTACK, s->c->sid.text, F_STR("ip", s->c->ip), F_STR("what", "another protocol's command"));
        smtp_reply(s, 554, "5.5.1", "this is a mail server and speaks SMTP only");
        s->end = true;
    } else if (!cmd) {
        smtp_reply(s, 500, "5.5.1", "that command is not known here; HELP lists those that are");
    } else if (may_run(s, cmd) && cmd->check(s, words.args)) {
        if ((cmd->flags & SMTP_LAST) && smtp_has_input(s))
            smtp_out_of_sync(s);
        else
            cmd->run(s);
    }
}

static void count_errors(struct smtp_session *s)
{
    if (s->errors == s->counted || s->end || s->phase != SMTP_COMMAND)
        return;
    s->counted = s->errors;
    if (s->errors >= ERRORS_HARD) {
        LOG(PROTOCOL, s->c->sid.text, F_STR("ip", s->c->ip), F_STR("what", "too many errors"));
        smtp_reply(s, 421, "4.7.0", "too many errors; look at the first of them, then connect again");
        s->end = true;
    } else if (s->errors >= ERRORS_SOFT) {
        slow_down(s);
    }
}

static size_t line_max(const struct smtp_session *s)
{
    bool is_auth = s->phase != SMTP_COMMAND || slice_starts_nocase(stream_input(s->c->stream), SLICE("AUTH"));

    return is_auth ? LINE_MAX_AUTH : LINE_MAX_COMMAND;
}

static bool long_line(struct smtp_session *s)
{
    smtp_reply(s, 500, "5.5.2", "the line is longer than %d octets; split the command", LINE_MAX_COMMAND);
    if (s->phase != SMTP_COMMAND) {
        s->phase = SMTP_COMMAND;
        front_auth_cancel(s->c);
    }
    if (++s->long_lines >= LONG_LINES_MAX)
        s->end = true;
    return true;
}

static bool line_input(struct smtp_session *s)
{
    struct slice line;

    switch (stream_line(s->c->stream, line_max(s), &line)) {
    case STREAM_MORE:
        return false;
    case STREAM_LINE_LONG:
        long_line(s);
        break;
    case STREAM_LINE:
        smtp_time_command(s);
        if (s->phase == SMTP_COMMAND)
            command(s, line);
        else
            smtp_auth_line(s, line);
        arena_reset(&s->scratch);
        s->args = NULL;
    }
    count_errors(s);
    return true;
}

/* --- texts --- */

static bool text_input(struct smtp_session *s)
{
    struct slice in = stream_input(s->c->stream);

    if (in.n == 0)
        return false;
    if (s->phase == SMTP_OCTETS) {
        if (!smtp_chunk_input(s, in))
            return true;
    } else {
        stream_consume(s->c->stream, smtp_text_data(&s->text, in));
        if (!s->text.machine.done) {
            smtp_text_is_endless(s);
            return true;
        }
        smtp_text_ended(s);
    }
    if (!s->end && s->phase == SMTP_COMMAND)
        smtp_time_command(s);
    count_errors(s);
    return true;
}

/* --- the driver --- */

/* One step; false: there is nothing to do now. */
static bool step(struct smtp_session *s)
{
    switch (s->phase) {
    case SMTP_COMMAND:
    case SMTP_AUTH_LINE:
    case SMTP_AUTH_FINAL:
        return line_input(s);
    case SMTP_TEXT:
    case SMTP_OCTETS:
        return text_input(s);
    default:
        return false;
    }
}

/* False: the session is gone. */
static bool drive(struct smtp_session *s)
{
    while (!s->end && !stream_is_backed_up(s->c->stream) && step(s))
        ;
    arena_free(&s->scratch); /* nothing while idle */
    if (!s->end)
        return true;
    front_close(s->c);
    return false;
}

void smtp_go(struct smtp_session *s)
{
    stream_hold(s->c->stream, false);
    if (s->phase >= SMTP_WAIT_AUTH)
        s->phase = SMTP_COMMAND;
    if (!s->end) {
        count_errors(s);
        if (s->phase == SMTP_WAIT_SLOW) {
            stream_flush(s->c->stream);
            return;
        }
        stream_resume(s->c->stream);
        smtp_time_command(s);
    }
    /* what waits is read before the answer leaves: one write for both where the client pipelines */
    if (drive(s) && s->phase != SMTP_WAIT_RCPT)
        stream_flush(s->c->stream);
}

static void on_input(struct front_conn *c)
{
    if (c->state)
        drive(c->state);
}

/* --- the core's calls --- */

/* S17: who talks before the greeting is no mail server. With TLS there is nothing to see before it. */
static bool is_early(const struct front_conn *c)
{
    char octet;

    return !c->is_tls && recv(stream_fd(c->stream), &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void on_opened(struct front_conn *c)
{
    struct smtp_session *s = session_new(c);

    if (is_early(c)) {
        smtp_out_of_sync(s);
        front_close(c);
        return;
    }
    smtp_reply(s, 220, "", "%s ESMTP postamt", c->settings->hostname);
    smtp_time_command(s);
    stream_flush(c->stream);
}

/* RFC 3207 4.2: nothing that was said in clear counts. */
static void on_secured(struct front_conn *c)
{
    struct smtp_session *s = c->state;

    smtp_forget_mail(s);
    free(s->helo);
    s->helo = NULL;
    s->phase = SMTP_COMMAND;
    smtp_time_command(s);
}

static void on_bye(struct front_conn *c, enum err_code code, bool is_timeout)
{
    const char *host = c->settings->hostname;
    struct buf *out = stream_out(c->stream);

    if (is_timeout)
        buf_printf(out, "421 4.4.2 %s waited too long for you; connect again\r\n", host);
    else if (code == ERR_UNAVAILABLE)
        buf_printf(out, "421 4.3.2 %s is stopping or restarting; connect again in a minute\r\n", host);
    else
        buf_printf(out, "421 4.7.0 %s: %s\r\n", host, err_row(code)->text);
}

static void on_closed(struct front_conn *c)
{
    struct smtp_session *s = c->state;

    if (!s)
        return;
    smtp_forget_mail(s);
    arena_free(&s->scratch);
    if (s->slow)
        event_free(s->slow);
    free(s->helo);
    free(s->account);
    free(s->login);
    free(s);
    c->state = NULL;
}

static bool on_message(struct front_conn *c, struct ipc_in *in)
{
    struct smtp_session *s = c->state;
    enum err_code code;
    struct slice id;

    switch (in->type) {
    case IPC_RCPT_ANSWER:
        code = ipc_get_err(in);
        if (!ipc_end(in))
            return false;
        if (s && s->phase == SMTP_WAIT_RCPT)
            smtp_on_rcpt(s, code);
        return true;
    case IPC_MAIL_DONE:
        code = ipc_get_err(in);
        id = ipc_get(in);
        if (!ipc_end(in))
            return false;
        if (s && s->phase == SMTP_WAIT_KEPT && slice_eq(id, slice_str(s->id.text)))
            smtp_on_kept(s, code);
        return true;
    default:
        return false;
    }
}

static void on_peer_lost(struct front_conn *c, enum role_id peer)
{
    struct smtp_session *s = c->state;

    if (!s)
        return;
    if (peer == ROLE_AUTHD && s->phase == SMTP_WAIT_RCPT)
        smtp_on_rcpt(s, ERR_UNAVAILABLE);
    else if (peer == ROLE_SMTPD_PARENT && s->phase == SMTP_WAIT_KEPT)
        /* a deliver may be at it all the same: then the client's next try gives a second copy, which is right
         */
        smtp_on_kept(s, ERR_UNAVAILABLE);
}

static const struct front_ops front_ops = {
    .alpn = "smtp",
    .opened = on_opened,
    .input = on_input,
    .drained = on_input,
    .secured = on_secured,
    .challenge = smtp_on_challenge,
    .authenticated = smtp_on_authenticated,
    .refused_auth = smtp_on_refused_auth,
    .bye = on_bye,
    .closed = on_closed,
    .message = on_message,
    .peer_lost = on_peer_lost,
};

static int run(struct role *r, struct err *e)
{
    base = r->base;
    return front_run(r, &front_ops, ROLE_SMTPD_PARENT, e);
}

const struct role_ops smtpd_front_role = {
    .id = ROLE_SMTPD_FRONT,
    .run = run,
    .message = front_message,
    .peer = front_peer,
    .reloaded = front_reloaded,
    .listener = front_listener,
    .stop = front_stop,
    .status = front_status,
};
