/*
 * AUTH (RFC 4954): the exchange is authd's; here base64 is opened and closed.
 *
 * Challenges go out as 334. Data that a mechanism's success brings goes out as a challenge too, which the
 * client answers with an empty line (RFC 4954 4): only then is it 235.
 */
#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "mail/decode.h"
#include "smtpd/smtpd.h"

#define BASE64_MAX 12288
#define FAILURES_MAX 3 /* security.md 4.3 */

struct auth_args {
    struct slice mechanism;
    struct slice initial; /* base64; "=" is an empty one */
    bool has_initial;
};

static void announce_auth(const struct smtp_session *s, struct buf *lines)
{
    const char *mechanisms = front_mechanisms(s->c);

    if (smtp_is_submission(s) && *mechanisms && !s->account)
        buf_printf(lines, "AUTH %s\n", mechanisms);
}

static bool is_offered(const struct smtp_session *s, struct slice mechanism)
{
    struct slice rest = slice_str(front_mechanisms(s->c)), one;

    while (slice_cut(&rest, ' ', &one))
        if (slice_eq_nocase(one, mechanism))
            return true;
    return false;
}

static bool may_log_in(struct smtp_session *s)
{
    if (!smtp_is_submission(s)) {
        /* phones try port 25 (clients.md quirk 20) */
        smtp_reply(s, 530, "5.7.0",
            "there is no login on this port; use port 465 (TLS) or 587 (STARTTLS) in the mail program");
        return false;
    }
    if (!s->c->may_log_in) {
        smtp_reply_err(s, ERR_AUTH_PRIVACY);
        return false;
    }
    if (s->account) {
        smtp_reply(s, 503, "5.5.1", "you are logged in already; go on with MAIL");
        return false;
    }
    return true;
}

static bool check(struct smtp_session *s, struct slice args)
{
    struct auth_args *a = arena_zalloc(&s->scratch, 1, sizeof *a);

    INVARIANT(a);
    s->args = a;
    if (!may_log_in(s))
        return false;
    slice_cut(&args, ' ', &a->mechanism);
    a->initial = slice_trim(args);
    a->has_initial = a->initial.n > 0;
    if (a->mechanism.n == 0) {
        smtp_reply(s, 501, "5.5.4", "write AUTH and a mechanism that EHLO announces");
        return false;
    }
    if (!is_offered(s, a->mechanism)) {
        smtp_reply_err(s, ERR_AUTH_MECHANISM);
        return false;
    }
    return true;
}

static bool decode(struct slice base64, struct buf *out)
{
    return base64.n <= BASE64_MAX && base64_decode(base64, out) && !out->full;
}

static void forget(struct buf *secret)
{
    if (secret->p)
        mem_wipe(secret->p, secret->size);
    buf_free(secret);
}

static void bad_base64(struct smtp_session *s)
{
    smtp_reply(s, 501, "5.5.2", "that is not base64; the login was cancelled, try it again");
}

static void run(struct smtp_session *s)
{
    const struct auth_args *a = s->args;
    struct buf initial = BUF_INIT(BASE64_MAX);
    char name[32];
    size_t n = a->mechanism.n < sizeof name ? a->mechanism.n : sizeof name;

    for (size_t i = 0; i < n; i++)
        name[i] = ascii_upper(a->mechanism.p[i]);
    if (a->has_initial && !slice_eq(a->initial, SLICE("=")) && !decode(a->initial, &initial)) {
        bad_base64(s);
    } else {
        smtp_wait(s, SMTP_WAIT_AUTH);
        front_auth_start(s->c, slice_of(name, n), a->has_initial, buf_slice(&initial));
    }
    forget(&initial);
}

static void cancel(struct smtp_session *s)
{
    s->phase = SMTP_COMMAND;
    front_auth_cancel(s->c);
}

static void logged_in(struct smtp_session *s)
{
    s->phase = SMTP_COMMAND;
    s->account = s->login;
    s->login = NULL;
    smtp_reply(s, 235, "2.7.0", "you are logged in");
}

void smtp_auth_line(struct smtp_session *s, struct slice line)
{
    struct buf data = BUF_INIT(BASE64_MAX);

    line = slice_trim(line);
    if (s->phase == SMTP_AUTH_FINAL) {
        /* the parent knows the login already: a client that takes it back cannot go on */
        if (line.n == 0 || slice_eq(line, SLICE("="))) {
            logged_in(s);
        } else {
            smtp_reply(s, 501, "5.7.0", "the login was cancelled; connect again");
            s->end = true;
        }
        return;
    }
    if (slice_eq(line, SLICE("*"))) {
        cancel(s);
        smtp_reply_err(s, ERR_AUTH_CANCELLED);
    } else if (!decode(line, &data)) {
        cancel(s);
        bad_base64(s);
    } else {
        smtp_wait(s, SMTP_WAIT_AUTH);
        front_auth_step(s->c, buf_slice(&data));
    }
    forget(&data);
}

/* "334 " and base64; awaits the client's line in `phase`. */
static void challenge(struct smtp_session *s, struct slice data, enum smtp_phase phase)
{
    struct buf *out = stream_out(s->c->stream);

    buf_add_str(out, "334 ");
    base64_encode(data, out);
    buf_add_str(out, "\r\n");
    s->phase = phase;
    smtp_go(s);
}

void smtp_on_challenge(struct front_conn *c, struct slice data)
{
    struct smtp_session *s = c->state;

    if (s->phase == SMTP_WAIT_AUTH)
        challenge(s, data, SMTP_AUTH_LINE);
}

void smtp_on_authenticated(struct front_conn *c, struct slice account, struct slice final)
{
    struct smtp_session *s = c->state;

    if (s->phase != SMTP_WAIT_AUTH)
        return;
    free(s->login);
    s->login = slice_dup(account);
    if (!s->login) {
        smtp_reply_err(s, ERR_INTERNAL);
        s->end = true;
    } else if (final.n) {
        challenge(s, final, SMTP_AUTH_FINAL);
        return;
    } else {
        logged_in(s);
    }
    smtp_go(s);
}

void smtp_on_refused_auth(struct front_conn *c, enum err_code code)
{
    struct smtp_session *s = c->state;

    if (s->phase != SMTP_WAIT_AUTH)
        return;
    s->phase = SMTP_COMMAND;
    smtp_reply_err(s, code);
    if (c->failures >= FAILURES_MAX) {
        smtp_reply(s, 421, "4.7.0",
            "%u logins failed; check user name and password in the mail program, then connect again",
            c->failures);
        s->end = true;
    }
    smtp_go(s);
}

const struct smtp_command smtp_cmd_auth = {
    .name = "AUTH",
    .states = SMTP_IN_READY,
    .flags = SMTP_EARLY,
    .arguments = "mechanism [base64]",
    .rfc = "RFC 4954 4",
    .announce = announce_auth,
    .check = check,
    .run = run,
};
