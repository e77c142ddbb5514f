/* RCPT (RFC 5321 4.1.1.3): each recipient is asked of authd, one at a time. */
#include "common/mem.h"
#include "mail/address.h"
#include "smtpd/smtpd.h"

#define ENVELOPE_MAX                                                                                         \
    ((size_t)48 * 1024) /* octets of addresses: the envelope is one message between our processes */
#define RCPT_COST 8     /* of an address beyond its octets */
#define EXCESS_MAX 1000 /* refused for their number before the session ends (S16) */

static bool is_too_many(struct smtp_session *s, size_t n)
{
    const struct settings *set = s->c->settings;
    size_t max = s->account ? set->max_recipients : set->max_recipients_mx;

    return s->nrcpts >= max || s->envelope + n + RCPT_COST > ENVELOPE_MAX;
}

static bool check_params(struct smtp_session *s, struct slice rest)
{
    struct smtp_param p;

    switch (smtp_parse_param(&rest, &p)) {
    case SMTP_PARAMS_END:
        return true;
    case SMTP_PARAM:
        smtp_reply(
            s, 555, "5.5.4", "that parameter of RCPT is not known here; send only what EHLO announces");
        return false;
    default:
        smtp_reply(s, 501, "5.5.4", "what stands behind the address is malformed; write RCPT TO:<address>");
        return false;
    }
}

static void refused(struct smtp_session *s, struct slice address, enum err_code code)
{
    LOG(RCPT_REFUSED, s->c->sid.text, F_STR("ip", s->c->ip), F_SLICE("from", s->from),
        F_SLICE("rcpt", address), F_STR("why", err_row(code)->name));
}

static bool check_path(struct smtp_session *s, struct slice *args, struct slice *to)
{
    struct buf text = BUF_INIT(1024);
    enum address_error e;
    struct address a;

    e = address_parse_path(args, false, true, &s->scratch, &a);
    if (e != ADDRESS_OK) {
        smtp_reply(s, e == ADDRESS_SYNTAX ? 501 : 553, "5.1.3", "%s", address_error_text(e));
        return false;
    }
    if (a.is_utf8) {
        smtp_reply(s, 553, "5.6.7",
            "addresses with other than ASCII letters are not taken here yet; use an ASCII address");
        return false;
    }
    if (a.domain.n == 0) /* <postmaster>, RFC 5321 4.5.1: this host's */
        a.domain = slice_str(s->c->settings->hostname);
    address_format(&text, &a);
    INVARIANT(!text.full);
    *to = arena_copy(&s->scratch, buf_slice(&text));
    buf_free(&text);
    INVARIANT(to->p);
    return true;
}

static bool check(struct smtp_session *s, struct slice args)
{
    struct slice *to = arena_zalloc(&s->scratch, 1, sizeof *to);

    INVARIANT(to);
    s->args = to;
    if (!smtp_parse_keyword(&args, SLICE("TO:"))) {
        smtp_reply(s, 501, "5.5.4", "write RCPT TO:<address>");
        return false;
    }
    if (!check_path(s, &args, to) || !check_params(s, args))
        return false;
    if (is_too_many(s, to->n)) {
        unsigned errors = s->errors;

        refused(s, *to, ERR_LIMIT);
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
    const struct slice *to = s->args;
    struct ipc_out out;

    s->asked = arena_copy(&s->arena, *to);
    INVARIANT(s->asked.p);
    ipc_begin(&out, IPC_RCPT_ASK);
    ipc_put_u64(&out, s->c->session);
    ipc_put(&out, s->asked);
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
    struct smtp_rcpt *r;

    if (code != ERR_OK) {
        refused(s, s->asked, code);
        smtp_reply_err(s, code);
    } else {
        r = arena_zalloc(&s->arena, 1, sizeof *r);
        INVARIANT(r);
        r->address = s->asked;
        *s->last_rcpt = r;
        s->last_rcpt = &r->next;
        s->nrcpts++;
        s->envelope += r->address.n + RCPT_COST;
        smtp_reply(s, 250, "2.1.5", "recipient is fine");
    }
    smtp_go(s);
}

const struct smtp_command smtp_cmd_rcpt = {
    .name = "RCPT",
    .states = SMTP_IN_MAIL | SMTP_IN_RCPT,
    .arguments = "TO:<address>",
    .rfc = "RFC 5321 4.1.1.3",
    .check = check,
    .run = run,
};
