/* MAIL (RFC 5321 4.1.1.2), with SIZE (RFC 1870), BODY (RFC 6152), AUTH (RFC 4954 5) */
#include "common/mem.h"
#include "mail/address.h"
#include "smtpd/smtpd.h"

struct mail_args {
    struct slice from;
};

static void announce_mail(const struct smtp_session *s, struct buf *lines)
{
    buf_printf(lines, "SIZE %llu\n8BITMIME\n", (unsigned long long)s->c->settings->message_size);
}

static bool bad_param(struct smtp_session *s, int code, const char *sentence)
{
    smtp_reply(s, code, "5.5.4", "%s", sentence);
    return false;
}

static bool check_size(struct smtp_session *s, struct slice value)
{
    uint64_t size;

    /* RFC 1870 5: up to 20 digits; what 64 bits do not hold is too much all the same */
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < '0' || value.p[i] > '9' || i >= 20)
            return bad_param(s, 501, "SIZE wants a number of octets: SIZE=1000");
    if (!slice_u64(value, UINT64_MAX, &size) || size > s->c->settings->message_size) {
        smtp_reply(s, 552, "5.3.4",
            "the message is larger than this server takes (%llu octets); send large files by a link",
            (unsigned long long)s->c->settings->message_size);
        return false;
    }
    return true;
}

static bool check_param(struct smtp_session *s, const struct smtp_param *p)
{
    if (slice_eq_nocase(p->name, SLICE("SIZE")))
        return p->has_value ? check_size(s, p->value)
                            : bad_param(s, 501, "SIZE wants a number of octets: SIZE=1000");
    if (slice_eq_nocase(p->name, SLICE("BODY"))) {
        if (slice_eq_nocase(p->value, SLICE("7BIT")) || slice_eq_nocase(p->value, SLICE("8BITMIME")))
            return true;
        return bad_param(s, 501, "BODY may be 7BIT or 8BITMIME here; encode binary parts as base64");
    }
    if (slice_eq_nocase(p->name, SLICE("AUTH"))) {
        /* who vouches for whom is of no use to us; what cannot be an address is refused (S07) */
        if (p->has_value && smtp_parse_xtext(p->value, NULL))
            return true;
        return bad_param(s, 501, "AUTH wants an address in xtext, or <>");
    }
    return bad_param(s, 555, "that parameter of MAIL is not known here; send only what EHLO announces");
}

static unsigned param_bit(const struct smtp_param *p)
{
    static const char *const names[] = {"SIZE", "BODY", "AUTH"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (slice_eq_nocase(p->name, slice_str(names[i])))
            return 1u << i;
    return 0;
}

static bool check_params(struct smtp_session *s, struct slice rest)
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
            if (seen & param_bit(&p))
                return bad_param(s, 501, "a parameter is there twice; send it once");
            seen |= param_bit(&p);
            if (!check_param(s, &p))
                return false;
        }
    }
}

static bool check_path(struct smtp_session *s, struct slice *args, struct slice *from)
{
    struct buf text = BUF_INIT(1024);
    enum address_error e;
    struct address a;

    e = address_parse_path(args, true, false, &s->scratch, &a);
    if (e != ADDRESS_OK) {
        smtp_reply(s, e == ADDRESS_SYNTAX ? 501 : 553, "5.1.7", "%s", address_error_text(e));
        return false;
    }
    if (a.is_utf8) {
        smtp_reply(s, 553, "5.6.7",
            "addresses with other than ASCII letters are not taken here yet; use an ASCII address");
        return false;
    }
    address_format(&text, &a);
    INVARIANT(!text.full);
    *from = arena_copy(&s->scratch, buf_slice(&text));
    buf_free(&text);
    INVARIANT(from->p);
    return true;
}

static bool check(struct smtp_session *s, struct slice args)
{
    struct mail_args *m = arena_zalloc(&s->scratch, 1, sizeof *m);

    INVARIANT(m);
    s->args = m;
    if (!smtp_parse_keyword(&args, SLICE("FROM:"))) {
        smtp_reply(s, 501, "5.5.4", "write MAIL FROM:<address>");
        return false;
    }
    return check_path(s, &args, &m->from) && check_params(s, args);
}

static void run(struct smtp_session *s)
{
    const struct mail_args *m = s->args;

    smtp_forget_mail(s);
    s->has_mail = true;
    s->id = id_new();
    s->began = smtp_now();
    s->from = arena_copy(&s->arena, m->from);
    INVARIANT(s->from.p);
    s->envelope = s->from.n;
    LOG(MAIL_FROM, s->c->sid.text, F_STR("mail", s->id.text), F_SLICE("from", s->from));
    smtp_reply(s, 250, "2.1.0", "sender is fine");
}

const struct smtp_command smtp_cmd_mail = {
    .name = "MAIL",
    .states = SMTP_IN_READY,
    .arguments = "FROM:<address> [SIZE=octets] [BODY=7BIT|8BITMIME]",
    .rfc = "RFC 5321 4.1.1.2",
    .announce = announce_mail,
    .check = check,
    .run = run,
};
