/* EHLO, HELO (RFC 5321 4.1.1.1) */
#include <stdlib.h>

#include "common/mem.h"
#include "mail/address.h"
#include "smtpd/smtpd.h"

static void announce_ehlo(const struct smtp_session *s, struct buf *lines)
{
    (void)s;
    buf_add_str(lines, "PIPELINING\nENHANCEDSTATUSCODES\n"); /* RFC 2920, RFC 2034 */
}

/* Scanners and old programs say what they like (clients.md quirk 21): only what cannot be noted is refused.
 */
static bool check(struct smtp_session *s, struct slice args)
{
    struct slice *helo;

    if (args.n == 0) {
        smtp_reply(s, 501, "5.5.4", "say who you are behind the command: EHLO name.example");
        return false;
    }
    if (args.n > 255) {
        smtp_reply(
            s, 501, "5.5.4", "that name is longer than a domain can be; send a host name or [address]");
        return false;
    }
    helo = arena_zalloc(&s->scratch, 1, sizeof *helo);
    INVARIANT(helo);
    *helo = args;
    s->args = helo;
    return true;
}

static void greet(struct smtp_session *s, bool extended)
{
    const struct slice *helo = s->args;

    smtp_forget_mail(s); /* RFC 5321 4.1.4: as RSET */
    if (!address_is_domain(*helo) && !address_is_literal(*helo))
        LOG(PROTOCOL, s->c->sid.text, F_STR("ip", s->c->ip), F_STR("what", "odd name in EHLO"),
            F_SLICE("helo", *helo));
    free(s->helo);
    s->helo = slice_dup(*helo); /* no NUL in it: smtp_parse_line */
    s->is_extended = extended;
}

static void run_helo(struct smtp_session *s)
{
    greet(s, false);
    smtp_reply(s, 250, "", "%s", s->c->settings->hostname);
}

static void run_ehlo(struct smtp_session *s)
{
    struct buf lines = BUF_INIT(4096), *out = stream_out(s->c->stream);
    struct slice rest, line;

    greet(s, true);
    for (size_t i = 0; smtp_commands[i]; i++)
        if (smtp_commands[i]->announce)
            smtp_commands[i]->announce(s, &lines);
    buf_printf(out, "250-%s\r\n", s->c->settings->hostname);
    rest = buf_slice(&lines);
    while (slice_cut(&rest, '\n', &line)) {
        buf_add_str(out, rest.n ? "250-" : "250 ");
        buf_add(out, line);
        buf_add_str(out, "\r\n");
    }
    buf_free(&lines);
}

const struct smtp_command smtp_cmd_ehlo = {
    .name = "EHLO",
    .states = SMTP_IN_ANY,
    .flags = SMTP_LAST | SMTP_EARLY,
    .arguments = "name",
    .rfc = "RFC 5321 4.1.1.1",
    .announce = announce_ehlo,
    .check = check,
    .run = run_ehlo,
};

const struct smtp_command smtp_cmd_helo = {
    .name = "HELO",
    .states = SMTP_IN_ANY,
    .flags = SMTP_LAST | SMTP_EARLY,
    .arguments = "name",
    .rfc = "RFC 5321 4.1.1.1",
    .check = check,
    .run = run_helo,
};
