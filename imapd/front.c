#include "imapd/front.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/mem.h"
#include "imapd/reader.h"
#include "imapd/words.h"
#include "mail/decode.h"

#define BAD_MAX 3              /* security.md 4.4 */
#define FAILURES_MAX 3         /* security.md 4.3 */
#define INPUT_MAX (32u * 1024) /* what goes along with front_hand_over fits one message */
#define SASL_LINE_MAX 8192

enum phase {
    PHASE_COMMAND,
    PHASE_AUTHD,     /* authd thinks; input waits */
    PHASE_SASL,      /* the next line is the client's answer to a challenge */
    PHASE_SASL_LAST, /* the next line answers the server's last word (SCRAM); then the login is done */
    PHASE_HANDING,   /* logged in: the worker takes over when the output is out */
    PHASE_HANDED,
    PHASE_TLS,
};

struct imap_front {
    enum phase phase;
    struct imap_reader reader;
    struct buf tag; /* of the command that waits for authd */
    unsigned bad;
};

struct front_args {
    struct imap_parse p;
    struct slice tag;
};

/* A command before the login. run: false when the connection is gone. A wrong argument is told by
 * args->p.error. */
struct front_command {
    const char *name;
    const char *rfc;
    bool (*run)(struct front_conn *c, struct front_args *a);
};

static struct imap_front *state_of(struct front_conn *c)
{
    return c->state;
}

static struct buf *out_of(struct front_conn *c)
{
    return stream_out(c->stream);
}

/* It held a password. */
static void free_secret(struct buf *b)
{
    if (b->p)
        mem_wipe(b->p, b->n);
    buf_free(b);
}

/* --- replies --- */

static void capability(struct front_conn *c, struct buf *out)
{
    struct slice rest = slice_str(front_mechanisms(c)), word;

    buf_add_str(out, "CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE");
    if (!c->is_tls && c->listener->tls == LISTENER_STARTTLS)
        buf_add_str(out, " STARTTLS");
    if (!c->may_log_in)
        buf_add_str(out, " LOGINDISABLED");
    while (slice_cut(&rest, ' ', &word)) {
        buf_add_str(out, " AUTH=");
        buf_add(out, word);
    }
}

static void reply(
    struct front_conn *c, struct slice tag, const char *status, const char *code, const char *text)
{
    struct buf *out = out_of(c);

    buf_add(out, tag.n ? tag : SLICE("*"));
    buf_printf(out, " %s ", status);
    if (*code)
        buf_printf(out, "[%s] ", code);
    buf_add_str(out, text);
    buf_add_str(out, "\r\n");
}

static void reply_err(struct front_conn *c, struct slice tag, enum err_code code)
{
    const struct err_row *row = err_row(code);

    reply(c, tag, "NO", row->imap, row->text);
}

static bool bye(struct front_conn *c, const char *text)
{
    buf_printf(out_of(c), "* BYE %s\r\n", text);
    front_close(c);
    return false;
}

/* BAD; the third ends the connection. */
static bool bad(struct front_conn *c, struct slice tag, const char *text)
{
    reply(c, tag, "BAD", "", text);
    if (++state_of(c)->bad < BAD_MAX)
        return true;
    LOG(PROTOCOL, c->sid.text, F_STR("ip", c->ip), F_STR("last", text));
    return bye(c, "too many commands that could not be understood; is this a mail program?");
}

/* --- commands --- */

static bool run_capability(struct front_conn *c, struct front_args *a)
{
    if (!imap_parse_end(&a->p))
        return true;
    buf_add_str(out_of(c), "* ");
    capability(c, out_of(c));
    buf_add_str(out_of(c), "\r\n");
    reply(c, a->tag, "OK", "", "CAPABILITY completed");
    return true;
}

static bool run_noop(struct front_conn *c, struct front_args *a)
{
    if (imap_parse_end(&a->p))
        reply(c, a->tag, "OK", "", "NOOP completed");
    return true;
}

static bool run_logout(struct front_conn *c, struct front_args *a)
{
    if (!imap_parse_end(&a->p))
        return true;
    buf_add_str(out_of(c), "* BYE see you\r\n");
    reply(c, a->tag, "OK", "", "LOGOUT completed");
    front_close(c);
    return false;
}

static bool run_id(struct front_conn *c, struct front_args *a)
{
    struct slice name, version;

    if (!imap_parse_space(&a->p) || !imap_parse_id(&a->p, &name, &version))
        return true;
    buf_add_str(out_of(c), IMAP_ID_REPLY);
    reply(c, a->tag, "OK", "", "ID completed");
    return true;
}

/* RFC 3501 6.2.1, 9051 6.2.1: what was said in clear counts for nothing; the stream drops what waits (S04).
 */
static bool run_starttls(struct front_conn *c, struct front_args *a)
{
    if (!imap_parse_end(&a->p))
        return true;
    if (c->is_tls)
        return imap_parse_fail(&a->p, "TLS is on already"), true;
    if (c->listener->tls != LISTENER_STARTTLS)
        return imap_parse_fail(&a->p, "this port has no TLS"), true;
    reply(c, a->tag, "OK", "", "begin TLS now");
    state_of(c)->phase = PHASE_TLS;
    front_starttls(c);
    return true;
}

/* May a login begin? False: it was answered. */
static bool may_log_in(struct front_conn *c, struct slice tag)
{
    if (!c->may_log_in)
        reply_err(c, tag, ERR_AUTH_PRIVACY);
    else if (!*front_mechanisms(c))
        reply_err(c, tag, ERR_UNAVAILABLE);
    else
        return true;
    return false;
}

static void begin_login(struct front_conn *c, struct slice tag)
{
    struct imap_front *f = state_of(c);

    buf_clear(&f->tag);
    buf_add(&f->tag, tag);
    f->phase = PHASE_AUTHD;
}

/* RFC 3501 6.2.3 */
static bool run_login(struct front_conn *c, struct front_args *a)
{
    struct slice user, password;

    if (!imap_parse_space(&a->p) || !imap_parse_astring(&a->p, &user) || !imap_parse_space(&a->p) ||
        !imap_parse_astring(&a->p, &password) || !imap_parse_end(&a->p))
        return true;
    if (!may_log_in(c, a->tag))
        return true;
    begin_login(c, a->tag);
    front_auth_login(c, user, password);
    /* it lies in the command's text or in the arena, both ours */
    mem_wipe((void *)(uintptr_t)password.p, password.n);
    return true;
}

static bool is_offered(struct front_conn *c, struct slice mechanism)
{
    struct slice rest = slice_str(front_mechanisms(c)), word;

    while (slice_cut(&rest, ' ', &word)) {
        if (slice_eq_nocase(word, mechanism))
            return true;
    }
    return false;
}

/* An initial response (RFC 4959 3) or an answer within the exchange: base64; "=" is an empty initial
 * response. */
static bool decode(struct slice text, bool initial, struct buf *out)
{
    return (initial && slice_eq(text, SLICE("="))) || base64_decode(text, out);
}

/* RFC 3501 6.2.2 */
static bool run_authenticate(struct front_conn *c, struct front_args *a)
{
    struct slice mechanism, text = SLICE("");
    struct buf initial = BUF_INIT(SASL_LINE_MAX);
    bool has_initial;

    if (!imap_parse_space(&a->p) || !imap_parse_atom(&a->p, &mechanism))
        return true;
    has_initial = imap_parse_peek(&a->p, ' ');
    if (has_initial) {
        imap_parse_space(&a->p);
        text = a->p.rest;
        has_initial = text.n > 0;
        a->p.rest = slice_from(text, text.n);
    }
    if (!imap_parse_end(&a->p) || !may_log_in(c, a->tag))
        return true;
    if (!is_offered(c, mechanism)) {
        reply_err(c, a->tag, ERR_AUTH_MECHANISM);
        return true;
    }
    if (has_initial && !decode(text, true, &initial)) {
        imap_parse_fail(&a->p, "the initial response is no base64");
    } else {
        begin_login(c, a->tag);
        front_auth_start(c, mechanism, has_initial, buf_slice(&initial));
    }
    free_secret(&initial);
    return true;
}

static const struct front_command commands[] = {
    {"AUTHENTICATE", "RFC 3501 6.2.2", run_authenticate},
    {"CAPABILITY", "RFC 3501 6.1.1", run_capability},
    {"ID", "RFC 2971 3.1", run_id},
    {"LOGIN", "RFC 3501 6.2.3", run_login},
    {"LOGOUT", "RFC 3501 6.1.3", run_logout},
    {"NOOP", "RFC 3501 6.1.2", run_noop},
    {"STARTTLS", "RFC 3501 6.2.1", run_starttls},
};

/* --- reading --- */

/* False: the connection is gone. */
static bool run_command(struct front_conn *c, struct slice text)
{
    const struct front_command *row = NULL;
    struct front_args a = {0};
    struct slice name;
    struct arena arena;
    bool alive;

    arena_init(&arena, 32 * 1024);
    imap_parse_init(&a.p, text, &arena);
    if (!imap_parse_tag(&a.p, &a.tag) || !imap_parse_space(&a.p) || !imap_parse_atom(&a.p, &name)) {
        alive = bad(c, a.tag, a.p.error);
        arena_free(&arena);
        return alive;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (slice_eq_nocase(name, slice_str(commands[i].name)))
            row = &commands[i];
    }
    if (!row)
        alive = bad(c, a.tag, "that command is not known before the login; log in first");
    else
        alive = row->run(c, &a);
    if (alive && a.p.error)
        alive = bad(c, a.tag, a.p.error);
    arena_free(&arena);
    return alive;
}

static bool read_command(struct front_conn *c, bool *progress)
{
    struct imap_front *f = state_of(c);
    struct slice in = stream_input(c->stream), rest = in, piece;
    enum imap_read what = imap_reader_feed(&f->reader, &rest, &piece);
    struct buf text;
    bool alive;

    *progress = rest.n < in.n || what != IMAP_READ_MORE;
    stream_consume(c->stream, in.n - rest.n);
    switch (what) {
    case IMAP_READ_MORE:
    case IMAP_READ_PIECE:
        return true;
    case IMAP_READ_LITERAL:
        if (imap_reader_take(&f->reader) && f->reader.literal_waits)
            buf_add_str(out_of(c), "+ OK\r\n");
        return true;
    case IMAP_READ_COMMAND:
        imap_reader_text(&f->reader, &text);
        alive = text.n == 0 || run_command(c, buf_slice(&text));
        free_secret(&text);
        return alive;
    case IMAP_READ_REFUSED:
    case IMAP_READ_BYE:
        break;
    }
    LOG(ATTACK, c->sid.text, F_STR("ip", c->ip), F_STR("what", f->reader.why));
    return bye(c, f->reader.why);
}

static void hand_over(struct front_conn *c)
{
    struct imap_front *f = state_of(c);

    stream_flush(c->stream);
    if (stream_pending(c->stream)) {
        stream_when_drained(c->stream);
        return;
    }
    f->phase = PHASE_HANDED;
    front_hand_over(c, buf_slice(&f->tag));
}

/* The exchange is off: "*" or a line that is no answer (clients.md 5). */
static bool cancel(struct front_conn *c, const char *text)
{
    struct imap_front *f = state_of(c);

    if (f->phase == PHASE_SASL)
        front_auth_cancel(c);
    f->phase = PHASE_COMMAND;
    return bad(c, buf_slice(&f->tag), text);
}

static bool read_sasl(struct front_conn *c, bool *progress)
{
    struct imap_front *f = state_of(c);
    struct buf data = BUF_INIT(SASL_LINE_MAX);
    struct slice line;
    bool alive = true;

    *progress = true;
    switch (stream_line(c->stream, SASL_LINE_MAX, &line)) {
    case STREAM_MORE:
        *progress = false;
        return true;
    case STREAM_LINE_LONG:
        return bye(c, "a line of the login is too long");
    case STREAM_LINE:
        break;
    }
    if (slice_eq(line, SLICE("*"))) {
        alive = cancel(c, err_row(ERR_AUTH_CANCELLED)->text);
    } else if (!decode(line, false, &data)) {
        alive = cancel(c, "that is no base64; the login was cancelled");
    } else if (f->phase == PHASE_SASL_LAST) {
        f->phase = PHASE_HANDING;
        hand_over(c); /* it may have ended: no more reading in any case */
        alive = false;
    } else {
        f->phase = PHASE_AUTHD;
        front_auth_step(c, buf_slice(&data));
    }
    free_secret(&data);
    return alive;
}

/* Reads until there is nothing more to do with what is here. c may be gone afterwards. */
static void go(struct front_conn *c)
{
    bool progress = true, alive = true;

    while (alive && progress) {
        /* whoever does not read the answers is not heard either */
        if (stream_is_backed_up(c->stream)) {
            stream_when_drained(c->stream);
            break;
        }
        switch (state_of(c)->phase) {
        case PHASE_COMMAND:
            alive = read_command(c, &progress);
            break;
        case PHASE_SASL:
        case PHASE_SASL_LAST:
            alive = read_sasl(c, &progress);
            break;
        case PHASE_AUTHD:
        case PHASE_HANDING:
        case PHASE_HANDED:
        case PHASE_TLS:
            return;
        }
    }
    if (alive)
        stream_flush(c->stream);
}

/* --- what the core calls --- */

static void opened(struct front_conn *c)
{
    struct imap_front *f = mem_zalloc(1, sizeof *f);
    struct buf *out = out_of(c);

    c->state = f;
    imap_reader_init(&f->reader, &imap_limits_front);
    buf_init(&f->tag, 256);
    stream_set_input_max(c->stream, INPUT_MAX);
    stream_deadline(c->stream, (unsigned)c->settings->login_timeout_s * 1000);
    buf_add_str(out, "* OK [");
    capability(c, out);
    buf_printf(out, "] %s postamt ready\r\n", c->settings->hostname);
    stream_flush(c->stream);
}

static void secured(struct front_conn *c)
{
    struct imap_front *f = state_of(c);

    imap_reader_fini(&f->reader);
    imap_reader_init(&f->reader, &imap_limits_front);
    f->phase = PHASE_COMMAND;
}

static void input(struct front_conn *c)
{
    go(c);
}

static void drained(struct front_conn *c)
{
    if (state_of(c)->phase == PHASE_HANDING)
        hand_over(c);
    else
        go(c);
}

static void write_challenge(struct front_conn *c, struct slice data)
{
    buf_add_str(out_of(c), "+ ");
    base64_encode(data, out_of(c));
    buf_add_str(out_of(c), "\r\n");
    stream_flush(c->stream);
}

static void challenge(struct front_conn *c, struct slice data)
{
    state_of(c)->phase = PHASE_SASL;
    write_challenge(c, data);
    go(c);
}

/* IMAP's success has no data: the server's last word is one more challenge (RFC 3501 6.2.2). */
static void authenticated(struct front_conn *c, struct slice account, struct slice final)
{
    struct imap_front *f = state_of(c);

    (void)account; /* the parent knows by the ticket */
    if (final.n) {
        f->phase = PHASE_SASL_LAST;
        write_challenge(c, final);
        go(c);
        return;
    }
    f->phase = PHASE_HANDING;
    hand_over(c);
}

static void refused_auth(struct front_conn *c, enum err_code code)
{
    struct imap_front *f = state_of(c);

    f->phase = PHASE_COMMAND;
    reply_err(c, buf_slice(&f->tag), code);
    if (c->failures >= FAILURES_MAX) {
        bye(c, "three logins failed; check user name and password in the mail program, then connect again");
        return;
    }
    stream_flush(c->stream);
    go(c);
}

static void say_bye(struct front_conn *c, enum err_code code, bool is_timeout)
{
    struct imap_front *f = state_of(c);
    const struct err_row *row = err_row(code);

    if (is_timeout) {
        buf_add_str(out_of(c), "* BYE nobody logged in in time; connect again when needed\r\n");
        return;
    }
    /* the login that was under way gets its answer first */
    if (f && (f->phase == PHASE_HANDED || f->phase == PHASE_HANDING))
        reply(c, buf_slice(&f->tag), "NO", row->imap, row->text);
    reply(c, SLICE(""), "BYE", row->imap, row->text);
}

static void closed(struct front_conn *c)
{
    struct imap_front *f = state_of(c);

    if (!f)
        return;
    imap_reader_fini(&f->reader);
    buf_free(&f->tag);
    free(f);
    c->state = NULL;
}

const struct front_ops imapd_front_ops = {
    .alpn = "imap",
    .opened = opened,
    .input = input,
    .drained = drained,
    .secured = secured,
    .challenge = challenge,
    .authenticated = authenticated,
    .refused_auth = refused_auth,
    .bye = say_bye,
    .closed = closed,
};
