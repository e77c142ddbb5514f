/*
 * The AUTHORIZATION state (RFC 1939 4): greeting, CAPA, STLS, USER and PASS, AUTH, QUIT. It has no files and
 * no accounts; authd decides, and the worker answers the login.
 *
 * A client may send all its commands at once: from the moment a login is asked for, nothing is read until it
 * is answered, and what waits then goes to the worker with the socket.
 */
#include "session/front.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/mem.h"
#include "mail/decode.h"
#include "pop3d/pop3.h"

#define AUTH_LINE_MAX 12290    /* RFC 4954 4, which RFC 5034 follows: a line inside an exchange */
#define INPUT_MAX (32u * 1024) /* what goes along with front_hand_over fits one message */
#define FAILURES_MAX 3         /* wrong passwords, then the connection is closed */

enum step {
    STEP_COMMANDS,
    STEP_ASKED,    /* authd is; nothing is read */
    STEP_RESPONSE, /* a challenge is out */
    STEP_FINAL,    /* the server's last words of a login that succeeded; the client's empty line closes it */
    STEP_HANDING,  /* waits for the output to be out, then the session goes to the worker */
};

struct login {
    enum step step;
    char *user; /* USER was given */
    unsigned bad;
};

struct login_command {
    const char *name;
    const char *arguments; /* for people */
    /* rest: behind the name and one blank; has_rest: there was a blank. False: the connection is closed. */
    bool (*run)(struct front_conn *c, struct slice rest, bool has_rest);
};

static struct buf *out(struct front_conn *c)
{
    return stream_out(c->stream);
}

static void say(struct front_conn *c, const char *z)
{
    buf_add_str(out(c), z);
    buf_add(out(c), SLICE("\r\n"));
}

static bool close_it(struct front_conn *c)
{
    front_close(c);
    return false;
}

/* Something was refused that a mail program does not do. False: that was once too often. */
static bool bad(struct front_conn *c)
{
    struct login *l = c->state;

    if (++l->bad < POP3_BAD_LOGIN)
        return true;
    LOG(PROTOCOL, c->sid.text, F_STR("ip", c->ip), F_STR("why", "too many commands that are none"));
    return close_it(c);
}

static bool refuse(struct front_conn *c, enum err_code code)
{
    pop3_write_err(out(c), code);
    return bad(c);
}

static void forget_user(struct login *l)
{
    free(l->user);
    l->user = NULL;
}

static bool may_start_tls(const struct front_conn *c)
{
    return c->listener->tls == LISTENER_STARTTLS && !c->is_tls;
}

/* --- login --- */

static void ask(struct front_conn *c)
{
    struct login *l = c->state;

    l->step = STEP_ASKED;
    stream_pause(c->stream);
}

static bool run_user(struct front_conn *c, struct slice rest, bool has_rest)
{
    struct login *l = c->state;

    if (!c->may_log_in)
        return refuse(c, ERR_AUTH_PRIVACY);
    rest = slice_trim(rest);
    forget_user(l);
    if (has_rest && rest.n)
        l->user = slice_dup(rest); /* NULL with a NUL in it */
    if (!l->user) {
        say(c, "-ERR write it as: USER address");
        return bad(c);
    }
    say(c, "+OK now the password"); /* whoever it is: RFC 1939 13 */
    return true;
}

/* RFC 1939 7: all behind the first blank is the password, blanks too. */
static bool run_pass(struct front_conn *c, struct slice rest, bool has_rest)
{
    struct login *l = c->state;

    if (!c->may_log_in)
        return refuse(c, ERR_AUTH_PRIVACY);
    if (!l->user) {
        say(c, "-ERR first USER, then PASS");
        return bad(c);
    }
    if (!has_rest || rest.n == 0) {
        say(c, "-ERR write it as: PASS password");
        return bad(c);
    }
    front_auth_login(c, slice_str(l->user), rest);
    ask(c);
    forget_user(l);
    return true;
}

static bool is_offered(struct front_conn *c, struct slice mechanism)
{
    struct slice list = slice_str(front_mechanisms(c)), one;

    while (slice_cut(&list, ' ', &one))
        if (one.n && slice_eq_nocase(one, mechanism))
            return true;
    return false;
}

/* AUTH alone is not in RFC 5034, but Outlook asks so (clients.md 15). */
static bool list_mechanisms(struct front_conn *c)
{
    struct slice list = slice_str(front_mechanisms(c)), one;

    say(c, "+OK these are offered");
    while (slice_cut(&list, ' ', &one)) {
        if (one.n) {
            buf_add(out(c), one);
            buf_add(out(c), SLICE("\r\n"));
        }
    }
    say(c, ".");
    return true;
}

/* RFC 5034 4: "=" is an initial response that is there and empty. */
static bool run_auth(struct front_conn *c, struct slice rest, bool has_rest)
{
    struct slice mechanism;
    struct buf initial = BUF_INIT(AUTH_LINE_MAX);
    bool has_initial, fits;

    (void)has_rest;
    rest = slice_trim(rest);
    if (!c->may_log_in)
        return refuse(c, ERR_AUTH_PRIVACY);
    if (rest.n == 0)
        return list_mechanisms(c);
    slice_cut(&rest, ' ', &mechanism);
    rest = slice_trim(rest);
    if (!is_offered(c, mechanism))
        return refuse(c, ERR_AUTH_MECHANISM);
    has_initial = rest.n > 0;
    fits = !has_initial || slice_eq(rest, SLICE("=")) || base64_decode(rest, &initial);
    if (fits && !initial.full) {
        front_auth_start(c, mechanism, has_initial, buf_slice(&initial));
        ask(c);
    }
    if (initial.p)
        mem_wipe(initial.p, initial.n);
    fits = fits && !initial.full;
    buf_free(&initial);
    if (fits)
        return true;
    say(c, "-ERR write it as: AUTH mechanism response, the response in base64");
    return bad(c);
}

/* A line inside an exchange. */
static bool respond(struct front_conn *c, struct slice line)
{
    struct login *l = c->state;
    struct buf data = BUF_INIT(AUTH_LINE_MAX);
    bool good = base64_decode(line, &data) && !data.full;

    if (good) {
        front_auth_step(c, buf_slice(&data));
        ask(c);
    }
    if (data.p)
        mem_wipe(data.p, data.n);
    buf_free(&data);
    if (good)
        return true;
    /* "*", and whatever else is no answer (clients.md 5) */
    front_auth_cancel(c);
    l->step = STEP_COMMANDS;
    return refuse(c, ERR_AUTH_CANCELLED);
}

static void hand_over(struct front_conn *c)
{
    struct login *l = c->state;

    l->step = STEP_HANDING;
    stream_flush(c->stream);
    if (stream_pending(c->stream)) {
        stream_pause(c->stream);
        stream_when_drained(c->stream);
        return;
    }
    front_hand_over(c, slice_str(front_mechanisms(c)));
}

/* The client's empty answer to the last words of a login that succeeded. */
static bool confirm(struct front_conn *c, struct slice line)
{
    if (line.n) {
        pop3_write_err(out(c), ERR_AUTH_CANCELLED);
        return close_it(c);
    }
    hand_over(c);
    return false;
}

/* --- the other commands --- */

static bool run_capa(struct front_conn *c, struct slice rest, bool has_rest)
{
    (void)rest, (void)has_rest;
    pop3_write_capabilities(out(c), may_start_tls(c), c->may_log_in, front_mechanisms(c));
    return true;
}

static bool run_stls(struct front_conn *c, struct slice rest, bool has_rest)
{
    (void)has_rest;
    if (rest.n) {
        say(c, "-ERR write it as: STLS");
        return bad(c);
    }
    if (c->is_tls) {
        say(c, "-ERR TLS is on already; log in now");
        return bad(c);
    }
    if (!may_start_tls(c)) {
        say(c, "-ERR TLS is not offered on this port; use port 995");
        return bad(c);
    }
    say(c, "+OK begin TLS now");
    front_starttls(c);
    return false; /* nothing more is read in clear (security.md S04) */
}

static bool run_quit(struct front_conn *c, struct slice rest, bool has_rest)
{
    (void)rest, (void)has_rest;
    say(c, "+OK bye");
    return close_it(c);
}

static const struct login_command commands[] = {
    {"CAPA", "", run_capa},                     /* RFC 2449 5 */
    {"STLS", "", run_stls},                     /* RFC 2595 4 */
    {"USER", "address", run_user},              /* RFC 1939 7 */
    {"PASS", "password", run_pass},             /* RFC 1939 7 */
    {"AUTH", "mechanism [response]", run_auth}, /* RFC 5034 4 */
    {"QUIT", "", run_quit},                     /* RFC 1939 4 */
};

/* False: the connection is closed, or not ours to read any more. */
static bool handle_line(struct front_conn *c, struct slice line)
{
    const struct pop3_command *row;
    struct pop3_arguments args;
    struct slice name, rest = line;
    bool has_rest;

    slice_cut(&rest, ' ', &name);
    has_rest = name.n < line.n;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (slice_eq_nocase(name, slice_str(commands[i].name)))
            return commands[i].run(c, rest, has_rest);
    if (pop3_parse(line, &row, &args) == POP3_UNKNOWN)
        say(c, "-ERR unknown command; this is a POP3 server, CAPA says what it knows");
    else if (row)
        say(c, "-ERR log in first: USER and PASS, or AUTH");
    else
        say(c, "-ERR that way of logging in is not offered here; use USER and PASS, or AUTH");
    return bad(c);
}

/* --- the core's callbacks --- */

static void on_opened(struct front_conn *c)
{
    c->state = mem_zalloc(1, sizeof(struct login));
    stream_set_input_max(c->stream, INPUT_MAX);
    stream_deadline(c->stream, (unsigned)(c->settings->login_timeout_s * 1000));
    /* no timestamp in <>: there is no APOP (security.md P03) */
    buf_printf(out(c), "+OK %s POP3 ready\r\n", c->settings->hostname);
    stream_flush(c->stream);
}

static void on_input(struct front_conn *c)
{
    struct login *l = c->state;
    struct slice line;
    bool goes_on = true;

    while (goes_on) {
        bool exchange = l->step == STEP_RESPONSE;
        enum stream_line what;

        if (l->step == STEP_ASKED || l->step == STEP_HANDING) {
            stream_pause(c->stream);
            return;
        }
        what = stream_line(c->stream, exchange ? AUTH_LINE_MAX : POP3_LINE_MAX, &line);
        if (what == STREAM_MORE)
            return;
        if (what == STREAM_LINE_LONG) {
            if (exchange)
                front_auth_cancel(c);
            else if (l->step == STEP_FINAL) {
                confirm(c, SLICE("*"));
                return;
            }
            l->step = STEP_COMMANDS;
            say(c, "-ERR the line is too long; no command is");
            goes_on = bad(c);
        } else if (exchange) {
            goes_on = respond(c, line);
        } else if (l->step == STEP_FINAL) {
            goes_on = confirm(c, line);
        } else {
            goes_on = handle_line(c, line);
        }
    }
}

static void on_drained(struct front_conn *c)
{
    struct login *l = c->state;

    if (l && l->step == STEP_HANDING)
        hand_over(c);
}

/* RFC 2595 4: all that was said before TLS is forgotten. */
static void on_secured(struct front_conn *c)
{
    struct login *l = c->state;

    forget_user(l);
    l->step = STEP_COMMANDS;
}

static void send_challenge(struct front_conn *c, struct slice data)
{
    buf_add(out(c), SLICE("+ "));
    base64_encode(data, out(c));
    buf_add(out(c), SLICE("\r\n"));
    stream_resume(c->stream);
    stream_flush(c->stream);
}

static void on_challenge(struct front_conn *c, struct slice data)
{
    struct login *l = c->state;

    l->step = STEP_RESPONSE;
    send_challenge(c, data);
}

/* POP3's +OK carries no data, so the server's last words go as a challenge (RFC 5034 4). */
static void on_authenticated(struct front_conn *c, struct slice account, struct slice final)
{
    struct login *l = c->state;

    (void)account; /* authd tells the parent, and logs it */
    if (final.n == 0) {
        hand_over(c);
        return;
    }
    l->step = STEP_FINAL;
    send_challenge(c, final);
}

static void on_refused(struct front_conn *c, enum err_code code)
{
    struct login *l = c->state;

    l->step = STEP_COMMANDS;
    pop3_write_err(out(c), code);
    if (c->failures >= FAILURES_MAX) {
        front_close(c);
        return;
    }
    stream_resume(c->stream);
    stream_flush(c->stream);
}

/* RFC 1939 3: a timeout says nothing. */
static void on_bye(struct front_conn *c, enum err_code code, bool is_timeout)
{
    if (!is_timeout)
        pop3_write_err(out(c), code);
}

static void on_closed(struct front_conn *c)
{
    struct login *l = c->state;

    if (!l)
        return;
    forget_user(l);
    free(l);
    c->state = NULL;
}

const struct front_ops pop3_front_ops = {
    .alpn = "pop3",
    .opened = on_opened,
    .input = on_input,
    .drained = on_drained,
    .secured = on_secured,
    .challenge = on_challenge,
    .authenticated = on_authenticated,
    .refused_auth = on_refused,
    .bye = on_bye,
    .closed = on_closed,
};
