/* STARTTLS (RFC 3207) */
#include "smtpd/smtpd.h"

static void announce_starttls(const struct smtp_session *s, struct buf *lines)
{
    if (s->c->listener->tls == LISTENER_STARTTLS && !s->c->is_tls)
        buf_add_str(lines, "STARTTLS\n");
}

static bool check(struct smtp_session *s, struct slice args)
{
    if (s->c->is_tls) {
        smtp_reply(s, 503, "5.5.1", "TLS is in force already; go on");
        return false;
    }
    if (s->c->listener->tls != LISTENER_STARTTLS) {
        smtp_reply(s, 502, "5.5.1", "there is no TLS on this port; use the one with TLS");
        return false;
    }
    return smtp_check_none(s, args);
}

static void run(struct smtp_session *s)
{
    smtp_reply(s, 220, "2.0.0", "begin TLS");
    s->phase = SMTP_WAIT_TLS;
    /* input that waits ends the connection: stream_start_tls (S04) */
    front_starttls(s->c);
}

const struct smtp_command smtp_cmd_starttls = {
    .name = "STARTTLS",
    .states = SMTP_IN_ANY,
    .flags = SMTP_LAST | SMTP_EARLY,
    .arguments = "",
    .rfc = "RFC 3207 4",
    .announce = announce_starttls,
    .check = check,
    .run = run,
};
