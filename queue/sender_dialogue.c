/* The dialogue: one row for each stage, and the function that reads its reply (RFC 5321 3, 4.5.3.2). */
#include <string.h>

#include "common/mem.h"
#include "mail/decode.h"
#include "queue/sender_internal.h"

static void at_greeting(struct sender_conn *c, const struct reply *r);
static void at_ehlo(struct sender_conn *c, const struct reply *r);
static void at_helo(struct sender_conn *c, const struct reply *r);
static void at_starttls(struct sender_conn *c, const struct reply *r);
static void at_auth(struct sender_conn *c, const struct reply *r);
static void at_rset(struct sender_conn *c, const struct reply *r);
static void at_mail(struct sender_conn *c, const struct reply *r);
static void at_rcpt(struct sender_conn *c, const struct reply *r);
static void at_data(struct sender_conn *c, const struct reply *r);
static void at_text(struct sender_conn *c, const struct reply *r);
static void at_end(struct sender_conn *c, const struct reply *r);

static const struct {
    const char *name; /* "was too slow at ..." */
    unsigned seconds;
    void (*reply)(struct sender_conn *c, const struct reply *r);
} stages[STAGES] = {
    [STAGE_CONNECT] = {"connecting", 30, NULL},
    [STAGE_HANDSHAKE] = {"the TLS handshake", 60, NULL},
    [STAGE_GREETING] = {"its greeting", 300, at_greeting},
    [STAGE_EHLO] = {"EHLO", 300, at_ehlo},
    [STAGE_HELO] = {"HELO", 300, at_helo},
    [STAGE_STARTTLS] = {"STARTTLS", 120, at_starttls},
    [STAGE_AUTH] = {"AUTH", 120, at_auth},
    [STAGE_AUTH_USER] = {"AUTH", 120, at_auth},
    [STAGE_AUTH_PASSWORD] = {"AUTH", 120, at_auth},
    [STAGE_RSET] = {"RSET", 300, at_rset},
    [STAGE_MAIL] = {"MAIL", 300, at_mail},
    [STAGE_RCPT] = {"RCPT", 300, at_rcpt},
    [STAGE_DATA] = {"DATA", 120, at_data},
    [STAGE_TEXT] = {"the text", 180, at_text},
    [STAGE_END] = {"the end of the text", 600, at_end},
    [STAGE_IDLE] = {"idling", 0, NULL},
};

#define RCPT_SECONDS 5 /* more for each recipient that goes along */

const char *stage_name(enum sender_stage stage)
{
    return stages[stage].name;
}

unsigned stage_seconds(enum sender_stage stage)
{
    return stages[stage].seconds;
}

static bool is_good(const struct reply *r)
{
    return r->code < 300;
}

void stage_reply(struct sender_conn *c, const struct reply *r)
{
    /* whatever it is the answer to: the server is going (RFC 5321 3.8) */
    if (r->code == 421 && c->stage != STAGE_END && c->stage != STAGE_TEXT)
        conn_fail_words(c, r);
    else
        stages[c->stage].reply(c, r);
}

static void odd_code(struct sender_conn *c, const struct reply *r)
{
    conn_fail(c, FAIL_BROKEN, "4.5.0", "said %d, which is no answer to %s", r->code, stage_name(c->stage));
}

/* --- hello, TLS --- */

static void start_tls(struct sender_conn *c)
{
    static const enum tls_verify verify[ROUTE_SECURITIES] = {
        [ROUTE_PKIX] = TLS_VERIFY_PKIX,
        [ROUTE_DANE] = TLS_VERIFY_DANE,
    };
    const struct route_target *t = job_target(c->job);
    struct tls_peer peer = {.host = t->host, .nnames = t->nnames, .verify = verify[t->security]};

    _Static_assert(ROUTE_TLSA_MAX <= TLS_TLSA_MAX, "all records fit");
    _Static_assert(sizeof t->names / sizeof *t->names <= TLS_NAMES_MAX, "all names fit");
    memcpy(peer.names, t->names, sizeof t->names);
    for (size_t i = 0; i < t->ntlsa; i++)
        peer.tlsa[peer.ntlsa++] =
            (struct tls_tlsa){t->tlsa[i].usage, t->tlsa[i].selector, t->tlsa[i].matching, t->tlsa[i].data};
    conn_enter(c, STAGE_HANDSHAKE, 0);
    stream_start_tls_client(c->stream, c->sender->tls, &peer);
}

static void greet(struct sender_conn *c)
{
    c->awaited = 1;
    conn_enter(c, STAGE_GREETING, 0);
}

static void say_ehlo(struct sender_conn *c)
{
    conn_enter(c, STAGE_EHLO, 0);
    conn_say(c, "EHLO %.*s", SLICE_FMT(c->job->job.helo));
}

void dialogue_begin(struct sender_conn *c)
{
    if (job_target(c->job)->implicit_tls)
        start_tls(c);
    else
        greet(c);
}

void dialogue_secured(struct sender_conn *c)
{
    /* what was offered in clear may be an attacker's: asked anew (RFC 3207 4.2) */
    c->offers = (struct reply_offers){0};
    if (job_target(c->job)->implicit_tls)
        greet(c);
    else
        say_ehlo(c);
}

static void at_greeting(struct sender_conn *c, const struct reply *r)
{
    if (is_good(r))
        say_ehlo(c);
    else
        conn_fail_words(c, r);
}

static void log_in(struct sender_conn *c);

static void hello_done(struct sender_conn *c)
{
    const struct sender_job *j = c->job;
    enum route_security security = job_target(j)->security;

    if (stream_is_tls(c->stream) || security == ROUTE_NO_TLS || j->in_clear) {
        log_in(c);
    } else if (c->offers.starttls) {
        conn_enter(c, STAGE_STARTTLS, 0);
        conn_say(c, "STARTTLS");
    } else if (security == ROUTE_MAY_TLS) {
        log_in(c);
    } else {
        conn_fail(c, FAIL_TLS, "4.7.5", "does not offer STARTTLS, which is required");
    }
}

static void at_ehlo(struct sender_conn *c, const struct reply *r)
{
    if (is_good(r)) {
        c->offers = reply_offers(r);
        hello_done(c);
    } else if (r->code >= 500 && !stream_is_tls(c->stream)) {
        conn_enter(c, STAGE_HELO, 0);
        conn_say(c, "HELO %.*s", SLICE_FMT(c->job->job.helo));
    } else {
        conn_fail_words(c, r);
    }
}

static void at_helo(struct sender_conn *c, const struct reply *r)
{
    if (is_good(r))
        hello_done(c);
    else
        conn_fail_words(c, r);
}

static void at_starttls(struct sender_conn *c, const struct reply *r)
{
    struct buf said = BUF_INIT(SEND_REPLY_MAX);

    if (is_good(r)) {
        start_tls(c);
        return;
    }
    reply_text(r, SEND_REPLY_MAX, &said);
    conn_fail_tls(c, "STARTTLS was refused", buf_slice(&said));
    buf_free(&said);
}

/* --- AUTH (RFC 4954, 4616) --- */

static void say_base64(struct sender_conn *c, const char *before, struct slice secret)
{
    struct buf code = BUF_INIT(IPC_MAX);

    base64_encode(secret, &code);
    conn_say(c, "%s%.*s", before, (int)code.n, code.p ? code.p : "");
    mem_wipe(code.p, code.size);
    buf_free(&code);
}

static void log_in(struct sender_conn *c)
{
    const struct route *route = &c->job->route;
    struct buf plain = BUF_INIT(IPC_MAX);

    if (route->user.n == 0) {
        dialogue_job(c);
    } else if (!c->is_verified) {
        conn_fail(c, FAIL_TLS, "4.7.0", "gets no password: nobody vouches for its certificate");
    } else if (c->offers.auth_plain) {
        buf_add_char(&plain, '\0');
        buf_add(&plain, route->user);
        buf_add_char(&plain, '\0');
        buf_add(&plain, route->password);
        conn_enter(c, STAGE_AUTH, 0);
        say_base64(c, "AUTH PLAIN ", buf_slice(&plain));
        mem_wipe(plain.p, plain.size);
        buf_free(&plain);
    } else if (c->offers.auth_login) {
        conn_enter(c, STAGE_AUTH_USER, 0);
        conn_say(c, "AUTH LOGIN");
    } else {
        conn_fail(c, FAIL_BROKEN, "4.7.0", "does not offer AUTH PLAIN or LOGIN");
    }
}

static void at_auth(struct sender_conn *c, const struct reply *r)
{
    const struct route *route = &c->job->route;

    if (is_good(r)) {
        dialogue_job(c);
    } else if (r->code == 334 && c->stage == STAGE_AUTH_USER) {
        conn_enter(c, STAGE_AUTH_PASSWORD, 0);
        say_base64(c, "", route->user);
    } else if (r->code == 334 && c->stage == STAGE_AUTH_PASSWORD) {
        conn_enter(c, STAGE_AUTH, 0);
        say_base64(c, "", route->password);
    } else {
        conn_fail_words(c, r);
    }
}

/* --- a message --- */

/* What is the same for all recipients, said by us about this server. */
static void refuse_all(struct sender_conn *c, const char *status, const char *sentence)
{
    struct sender_job *j = c->job;
    struct slice text = job_printf(j, "%.*s %s", (int)c->label.n, c->label.p, sentence);

    for (uint32_t i = 0; i < j->job.n; i++)
        if (j->state[i] == RCPT_PENDING)
            job_decide_ours(j, i, SEND_REFUSED, status, text);
    job_done(j);
}

/* False: the server cannot take the message, and the job has gone elsewhere or is done. */
static bool can_take(struct sender_conn *c)
{
    const struct send_job *j = &c->job->job;
    const struct reply_offers *o = &c->offers;

    /* RFC 8689 4.2.1: the next server may; mail to the null path's owner is a notification */
    if (j->requiretls && j->reverse_path.n && !c->is_verified)
        conn_fail(c, FAIL_NEEDS, "5.7.10", "has no TLS that can be verified, for which the message asks");
    else if (j->requiretls && j->reverse_path.n && !o->requiretls)
        conn_fail(c, FAIL_NEEDS, "5.7.30", "does not offer REQUIRETLS, for which the message asks");
    else if (c->job->is_utf8 && !o->smtputf8)
        refuse_all(c, "5.6.7", "takes no addresses beyond ASCII (it does not offer SMTPUTF8)");
    else if (j->is_8bit && !o->is_8bit)
        refuse_all(c, "5.6.3", "takes no text with 8-bit characters (it does not offer 8BITMIME)");
    else if (o->size && j->size > o->size)
        refuse_all(c, "5.3.4", "takes no message of that size");
    else
        return true;
    return false;
}

static void say_mail(struct sender_conn *c)
{
    struct sender_job *j = c->job;
    struct buf *out = stream_out(c->stream);
    unsigned awaited = 1;

    text_mail(c, out);
    c->at = job_next(j, RCPT_PENDING, 0);
    if (c->offers.pipelining) {
        for (uint32_t i = c->at; i < j->job.n; i = job_next(j, RCPT_PENDING, i + 1), awaited++)
            text_rcpt(c, i, out);
        /* behind CHUNKING comes BDAT with the text, once somebody is there to get it */
        if (!c->offers.chunking) {
            buf_add_str(out, "DATA\r\n");
            awaited++;
        }
    }
    conn_enter(c, STAGE_MAIL, RCPT_SECONDS * awaited);
    stream_flush(c->stream);
    c->awaited = awaited;
}

void dialogue_job(struct sender_conn *c)
{
    event_del(&c->wait);
    c->mail_code = 0;
    c->sent = 0;
    if (!can_take(c))
        return;
    if (c->dirty) {
        conn_enter(c, STAGE_RSET, 0);
        conn_say(c, "RSET");
    } else {
        say_mail(c);
    }
}

static void at_rset(struct sender_conn *c, const struct reply *r)
{
    if (!is_good(r)) {
        conn_fail_words(c, r);
        return;
    }
    c->dirty = false;
    say_mail(c);
}

static struct slice keep_text(struct sender_job *j, const struct reply *r)
{
    struct buf text = BUF_INIT(SEND_REPLY_MAX);
    struct slice kept;

    reply_text(r, SEND_REPLY_MAX, &text);
    kept = arena_copy(&j->arena, buf_slice(&text));
    buf_free(&text);
    return kept;
}

/* The verdict on all in that state. */
static void decide_all(struct sender_job *j, enum rcpt_state state, const struct reply *r)
{
    struct slice text = keep_text(j, r);

    for (uint32_t i = 0; i < j->job.n; i++)
        if (j->state[i] == state)
            job_decide(j, i, r->code, text);
}

static void say_rcpt(struct sender_conn *c)
{
    struct buf *out = stream_out(c->stream);

    text_rcpt(c, c->at, out);
    stream_flush(c->stream);
    c->awaited = 1;
}

static void at_mail(struct sender_conn *c, const struct reply *r)
{
    struct sender_job *j = c->job;

    if (r->code >= 300 && r->code < 400) {
        odd_code(c, r);
        return;
    }
    c->dirty = true;
    if (!is_good(r)) {
        c->mail_code = r->code;
        c->mail_no = keep_text(j, r);
        if (!c->offers.pipelining) {
            decide_all(j, RCPT_PENDING, r);
            job_done(j);
            return;
        }
    }
    if (c->offers.pipelining) {
        c->stage = STAGE_RCPT; /* in the time of the whole group */
    } else {
        conn_enter(c, STAGE_RCPT, 0);
        say_rcpt(c);
    }
}

/* All recipients were answered. */
static void envelope_done(struct sender_conn *c)
{
    struct sender_job *j = c->job;
    bool is_chunk = c->offers.chunking;

    if (!is_chunk && c->offers.pipelining) {
        conn_enter(c, STAGE_DATA, 0);
    } else if (!job_has(j, RCPT_ACCEPTED)) {
        job_done(j);
    } else if (is_chunk) {
        buf_printf(stream_out(c->stream), "BDAT %llu LAST\r\n", (unsigned long long)j->job.size);
        text_begin(c);
    } else {
        conn_enter(c, STAGE_DATA, 0);
        conn_say(c, "DATA");
    }
}

static void at_rcpt(struct sender_conn *c, const struct reply *r)
{
    struct sender_job *j = c->job;

    if (r->code >= 300 && r->code < 400) {
        odd_code(c, r);
        return;
    }
    if (c->mail_code)
        job_decide(j, c->at, c->mail_code, c->mail_no);
    else if (is_good(r))
        j->state[c->at] = RCPT_ACCEPTED;
    else
        job_decide(j, c->at, r->code, keep_text(j, r));
    c->at = job_next(j, RCPT_PENDING, c->at + 1);
    if (c->at == j->job.n)
        envelope_done(c);
    else if (!c->offers.pipelining) {
        conn_enter(c, STAGE_RCPT, 0);
        say_rcpt(c);
    }
}

static void at_data(struct sender_conn *c, const struct reply *r)
{
    struct sender_job *j = c->job;

    if (r->code == 354 && job_has(j, RCPT_ACCEPTED)) {
        text_begin(c);
    } else if (r->code == 354) {
        /* it wants a text for nobody: none, and what it says to that is of no interest (RFC 2920 3.1) */
        conn_enter(c, STAGE_END, 0);
        conn_say(c, ".");
    } else if (r->code < 400) {
        odd_code(c, r);
    } else {
        decide_all(j, RCPT_ACCEPTED, r);
        job_done(j);
    }
}

/* It interrupts us: nothing more can be said over this connection, but its word counts. */
static void at_text(struct sender_conn *c, const struct reply *r)
{
    struct sender_job *j = c->job;

    if (r->code < 400 || r->code == 421) {
        if (r->code == 421)
            conn_fail_words(c, r);
        else
            odd_code(c, r);
        return;
    }
    decide_all(j, RCPT_ACCEPTED, r);
    conn_fail(c, FAIL_BROKEN, "4.4.2", "did not take the whole text");
}

void dialogue_text_sent(struct sender_conn *c)
{
    conn_enter(c, STAGE_END, 0);
}

static void at_end(struct sender_conn *c, const struct reply *r)
{
    struct sender_job *j = c->job;

    if (r->code >= 300 && r->code < 400) {
        odd_code(c, r);
        return;
    }
    c->dirty = false; /* RFC 5321 4.1.1.4: the transaction is over either way */
    c->messages++;
    decide_all(j, RCPT_ACCEPTED, r);
    if (r->code == 421) {
        j->result.outcome = SEND_FAILED;
        conn_fail(c, FAIL_BROKEN, "4.4.2", "closed the connection");
        return;
    }
    job_done(j);
}
