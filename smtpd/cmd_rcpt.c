/* RCPT (RFC 5321 4.1.1.3), with NOTIFY and ORCPT (RFC 3461 4.1, 4.2): each recipient is asked of authd, one
 * at a time. */
#include "common/mem.h"
#include "mail/address.h"
#include "smtpd/smtpd.h"

#define ENVELOPE_OCTETS                                                                                      \
    ((size_t)60 * 1024) /* of addresses: the envelope is one message between our processes */
#define RCPT_COST 16    /* of an address beyond its octets */
#define EXCESS_MAX 1000 /* refused for their number before the session ends (S16) */
#define ORCPT_MAX 500   /* RFC 3461 4.2, as it is written */

static size_t cost(const struct smtp_rcpt *r)
{
    return r->address.n + r->orcpt.n + RCPT_COST;
}

static bool is_too_many(struct smtp_session *s, const struct smtp_rcpt *r)
{
    const struct settings *set = s->c->settings;
    size_t max = s->account ? set->max_recipients : set->max_recipients_mx;

    return s->nrcpts >= max || s->envelope + cost(r) > ENVELOPE_OCTETS;
}

static bool bad_param(struct smtp_session *s, int code, const char *sentence)
{
    smtp_reply(s, code, "5.5.4", "%s", sentence);
    return false;
}

static bool take_orcpt(struct smtp_session *s, struct slice value, struct smtp_rcpt *r)
{
    struct buf text = BUF_INIT(ORCPT_MAX);
    bool good = value.n <= ORCPT_MAX && smtp_parse_orcpt(value, s->smtputf8, &text);

    r->orcpt = arena_copy(&s->scratch, buf_slice(&text));
    INVARIANT(r->orcpt.p);
    buf_free(&text);
    return good || bad_param(s, 501, "ORCPT wants a type and an address in xtext: ORCPT=rfc822;a@b.example");
}

static bool check_param(struct smtp_session *s, const struct smtp_param *p, struct smtp_rcpt *r)
{
    if (slice_eq_nocase(p->name, SLICE("NOTIFY"))) {
        if (r->notify)
            return bad_param(s, 501, "a parameter is there twice; send it once");
        return smtp_parse_notify(p->value, &r->notify) ||
               bad_param(s, 501, "NOTIFY may be NEVER, or some of SUCCESS,FAILURE,DELAY");
    }
    if (slice_eq_nocase(p->name, SLICE("ORCPT"))) {
        if (r->orcpt.n)
            return bad_param(s, 501, "a parameter is there twice; send it once");
        return take_orcpt(s, p->value, r);
    }
    return bad_param(s, 555, "that parameter of RCPT is not known here; send only what EHLO announces");
}

static bool check_params(struct smtp_session *s, struct slice rest, struct smtp_rcpt *r)
{
    struct smtp_param p;

    for (;;) {
        switch (smtp_parse_param(&rest, &p)) {
        case SMTP_PARAMS_END:
            return true;
        case SMTP_PARAMS_BAD:
            return bad_param(s, 501, "what stands behind the address is malformed; write RCPT TO:<address>");
        case SMTP_PARAM:
            if (!check_param(s, &p, r))
                return false;
        }
    }
}

static void refused(struct smtp_session *s, struct slice address, enum err_code code)
{
    LOG(RCPT_REFUSED, s->c->sid.text, F_STR("ip", s->c->ip), F_SLICE("from", s->from),
        F_SLICE("rcpt", address), F_STR("why", err_row(code)->name));
}

static bool check_path(struct smtp_session *s, struct slice *args, struct slice *to)
{
    enum address_error e;
    struct address a;

    e = address_parse_path(args, false, true, &s->scratch, &a);
    if (e != ADDRESS_OK) {
        smtp_reply(s, e == ADDRESS_SYNTAX ? 501 : 553, "5.1.3", "%s", address_error_text(e));
        return false;
    }
    if (a.domain.n == 0) /* <postmaster>, RFC 5321 4.5.1: this host's */
        a.domain = slice_str(s->c->settings->hostname);
    return smtp_take_address(s, &a, s->smtputf8, to);
}

static bool check(struct smtp_session *s, struct slice args)
{
    struct smtp_rcpt *r = arena_zalloc(&s->scratch, 1, sizeof *r);

    INVARIANT(r);
    s->args = r;
    if (!smtp_parse_keyword(&args, SLICE("TO:"))) {
        smtp_reply(s, 501, "5.5.4", "write RCPT TO:<address>");
        return false;
    }
    if (!check_path(s, &args, &r->address) || !check_params(s, args, r))
        return false;
    if (is_too_many(s, r)) {
        unsigned errors = s->errors;

        refused(s, r->address, ERR_LIMIT);
        if (++s->excess > EXCESS_MAX) {
            smtp_reply(s, 421, "4.7.0", "far too many recipients; send the message in parts");
            s->end = true;
            return false;
        }
        /* a sender that packs more into a message does nothing wrong: RFC 5321 4.5.3.1.10 */
        smtp_reply(s, 452, "4.5.3",
            "no more recipients in this message; send it to the others in a message of its own");
        s->errors = errors;
        return false;
    }
    return true;
}

static void run(struct smtp_session *s)
{
    const struct smtp_rcpt *args = s->args;
    struct smtp_rcpt *r = arena_zalloc(&s->arena, 1, sizeof *r);
    struct ipc_out out;

    INVARIANT(r);
    *r = (struct smtp_rcpt){.address = arena_copy(&s->arena, args->address),
        .orcpt = arena_copy(&s->arena, args->orcpt),
        .notify = args->notify};
    INVARIANT(r->address.p && r->orcpt.p);
    s->asked = r;
    ipc_begin(&out, IPC_RCPT_ASK);
    ipc_put_u64(&out, s->c->session);
    ipc_put(&out, r->address);
    ipc_put_u64(&out, s->account != NULL);
    if (!front_send(s->c, ROLE_AUTHD, &out)) {
        smtp_reply_err(s, ERR_UNAVAILABLE);
        return;
    }
    smtp_wait(s, SMTP_WAIT_RCPT);
    /* authd answers at once: what was said before (MAIL, in a pipeline) goes with it, one packet for both */
    stream_hold(s->c->stream, true);
}

void smtp_on_rcpt(struct smtp_session *s, enum err_code code)
{
    struct smtp_rcpt *r = s->asked;

    if (code != ERR_OK) {
        refused(s, r->address, code);
        smtp_reply_err(s, code);
    } else {
        *s->last_rcpt = r;
        s->last_rcpt = &r->next;
        s->nrcpts++;
        s->envelope += cost(r);
        smtp_reply(s, 250, "2.1.5", "recipient is fine");
    }
    smtp_go(s);
}

const struct smtp_command smtp_cmd_rcpt = {
    .name = "RCPT",
    .states = SMTP_IN_MAIL | SMTP_IN_RCPT,
    .arguments = "TO:<address> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;address]",
    .rfc = "RFC 5321 4.1.1.3",
    .check = check,
    .run = run,
};
