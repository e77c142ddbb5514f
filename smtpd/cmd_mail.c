/* MAIL (RFC 5321 4.1.1.2), with SIZE (RFC 1870), BODY (RFC 6152), AUTH (RFC 4954 5), RET and ENVID (RFC 3461
 * 4.3, 4.4), SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689) */
#include "common/ascii.h"
#include "common/mem.h"
#include "mail/address.h"
#include "queue/envelope.h"
#include "smtpd/smtpd.h"

#define ENVID_MAX 100 /* RFC 3461 4.4, as it is written */

struct mail_args {
    struct slice from, envid;
    enum envelope_ret ret;
    bool smtputf8, is_8bit, requiretls;
};

static void announce_mail(const struct smtp_session *s, struct buf *lines)
{
    buf_printf(
        lines, "SIZE %llu\n8BITMIME\nDSN\nSMTPUTF8\n", (unsigned long long)s->c->settings->message_size);
    if (s->c->is_tls)
        buf_add_str(lines, "REQUIRETLS\n");
}

static bool bad_param(struct smtp_session *s, int code, const char *sentence)
{
    smtp_reply(s, code, "5.5.4", "%s", sentence);
    return false;
}

static bool check_size(struct smtp_session *s, struct mail_args *m, const struct smtp_param *p)
{
    struct slice value = p->value;
    uint64_t size;

    (void)m;
    /* RFC 1870 5: up to 20 digits; what 64 bits do not hold is too much all the same */
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < '0' || value.p[i] > '9' || i >= 20)
            value.n = 0;
    if (value.n == 0)
        return bad_param(s, 501, "SIZE wants a number of octets: SIZE=1000");
    if (!slice_u64(value, UINT64_MAX, &size) || size > s->c->settings->message_size) {
        smtp_reply(s, 552, "5.3.4",
            "the message is larger than this server takes (%llu octets); send large files by a link",
            (unsigned long long)s->c->settings->message_size);
        return false;
    }
    return true;
}

static bool check_body(struct smtp_session *s, struct mail_args *m, const struct smtp_param *p)
{
    m->is_8bit = slice_eq_nocase(p->value, SLICE("8BITMIME"));
    if (m->is_8bit || slice_eq_nocase(p->value, SLICE("7BIT")))
        return true;
    return bad_param(s, 501, "BODY may be 7BIT or 8BITMIME here; encode binary parts as base64");
}

/* who vouches for whom is of no use to us; what cannot be an address is refused (S07) */
static bool check_auth(struct smtp_session *s, struct mail_args *m, const struct smtp_param *p)
{
    (void)m;
    return (p->has_value && smtp_parse_xtext(p->value, NULL)) ||
           bad_param(s, 501, "AUTH wants an address in xtext, or <>");
}

static bool check_ret(struct smtp_session *s, struct mail_args *m, const struct smtp_param *p)
{
    m->ret = slice_eq_nocase(p->value, SLICE("FULL"))   ? ENVELOPE_RET_FULL
             : slice_eq_nocase(p->value, SLICE("HDRS")) ? ENVELOPE_RET_HDRS
                                                        : ENVELOPE_RET_NONE;
    return m->ret != ENVELOPE_RET_NONE || bad_param(s, 501, "RET may be FULL or HDRS");
}

static bool check_envid(struct smtp_session *s, struct mail_args *m, const struct smtp_param *p)
{
    struct buf text = BUF_INIT(ENVID_MAX);
    bool good = p->has_value && p->value.n <= ENVID_MAX && smtp_parse_xtext(p->value, &text);

    for (size_t i = 0; i < text.n; i++)
        good = good && !ascii_is_8bit(text.p[i]);
    m->envid = arena_copy(&s->scratch, buf_slice(&text));
    buf_free(&text);
    return good || bad_param(s, 501, "ENVID wants at most 100 octets of xtext");
}

static bool check_smtputf8(struct smtp_session *s, struct mail_args *m, const struct smtp_param *p)
{
    m->smtputf8 = true;
    return !p->has_value || bad_param(s, 501, "SMTPUTF8 has no value");
}

static bool check_requiretls(struct smtp_session *s, struct mail_args *m, const struct smtp_param *p)
{
    m->requiretls = true;
    if (p->has_value)
        return bad_param(s, 501, "REQUIRETLS has no value");
    return s->c->is_tls || bad_param(s, 555, "REQUIRETLS is for sessions with TLS; use STARTTLS first");
}

static const struct {
    const char *name;
    bool (*check)(struct smtp_session *s, struct mail_args *m, const struct smtp_param *p);
} params[] = {{"SIZE", check_size}, {"BODY", check_body}, {"AUTH", check_auth}, {"RET", check_ret},
    {"ENVID", check_envid}, {"SMTPUTF8", check_smtputf8}, {"REQUIRETLS", check_requiretls}};

#define PARAMS (sizeof params / sizeof *params)

static bool check_param(
    struct smtp_session *s, struct mail_args *m, const struct smtp_param *p, unsigned *seen)
{
    size_t i = 0;

    while (i < PARAMS && !slice_eq_nocase(p->name, slice_str(params[i].name)))
        i++;
    if (i == PARAMS)
        return bad_param(s, 555, "that parameter of MAIL is not known here; send only what EHLO announces");
    if (*seen & 1u << i)
        return bad_param(s, 501, "a parameter is there twice; send it once");
    *seen |= 1u << i;
    return params[i].check(s, m, p);
}

static bool check_params(struct smtp_session *s, struct mail_args *m, struct slice rest)
{
    struct smtp_param p;
    unsigned seen = 0;

    for (;;) {
        switch (smtp_parse_param(&rest, &p)) {
        case SMTP_PARAMS_END:
            return true;
        case SMTP_PARAMS_BAD:
            return bad_param(s, 501,
                "the parameters behind the address are malformed; write NAME=value with blanks between");
        case SMTP_PARAM:
            if (!check_param(s, m, &p, &seen))
                return false;
        }
    }
}

bool smtp_take_address(struct smtp_session *s, const struct address *a, bool smtputf8, struct slice *text)
{
    struct buf whole = BUF_INIT(1024), normal = BUF_INIT(1024);
    bool is_name = !a->is_utf8 || address_normalise(a, &normal);

    buf_free(&normal);
    if (a->is_utf8 && !smtputf8) {
        smtp_reply(s, 553, "5.6.7",
            "an address with other than ASCII letters wants SMTPUTF8; use another mail program or an ASCII "
            "address");
        return false;
    }
    if (!is_name) {
        smtp_reply(s, 553, "5.1.2", "that domain cannot exist; check the letters behind the @");
        return false;
    }
    address_format(&whole, a);
    INVARIANT(!whole.full);
    *text = arena_copy(&s->scratch, buf_slice(&whole));
    buf_free(&whole);
    INVARIANT(text->p);
    return true;
}

static bool check(struct smtp_session *s, struct slice args)
{
    struct mail_args *m = arena_zalloc(&s->scratch, 1, sizeof *m);
    enum address_error e;
    struct address a;

    INVARIANT(m);
    s->args = m;
    if (!smtp_parse_keyword(&args, SLICE("FROM:"))) {
        smtp_reply(s, 501, "5.5.4", "write MAIL FROM:<address>");
        return false;
    }
    e = address_parse_path(&args, true, false, &s->scratch, &a);
    if (e != ADDRESS_OK) {
        smtp_reply(s, e == ADDRESS_SYNTAX ? 501 : 553, "5.1.7", "%s", address_error_text(e));
        return false;
    }
    return check_params(s, m, args) && smtp_take_address(s, &a, m->smtputf8, &m->from);
}

static void run(struct smtp_session *s)
{
    const struct mail_args *m = s->args;

    smtp_forget_mail(s);
    s->has_mail = true;
    s->id = id_new();
    s->began = smtp_now();
    s->from = arena_copy(&s->arena, m->from);
    s->envid = arena_copy(&s->arena, m->envid);
    INVARIANT(s->from.p && s->envid.p);
    s->ret = m->ret;
    s->smtputf8 = m->smtputf8;
    s->is_8bit = m->is_8bit;
    s->requiretls = m->requiretls;
    s->envelope = s->from.n + s->envid.n;
    LOG(MAIL_FROM, s->c->sid.text, F_STR("mail", s->id.text), F_SLICE("from", s->from));
    smtp_reply(s, 250, "2.1.0", "sender is fine");
}

const struct smtp_command smtp_cmd_mail = {
    .name = "MAIL",
    .states = SMTP_IN_READY,
    .arguments = "FROM:<address> [SIZE=octets] [BODY=7BIT|8BITMIME] [RET=FULL|HDRS] [ENVID=id] "
                 "[SMTPUTF8] [REQUIRETLS]",
    .rfc = "RFC 5321 4.1.1.2",
    .announce = announce_mail,
    .check = check,
    .run = run,
};
