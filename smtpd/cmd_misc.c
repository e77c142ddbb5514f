/* RSET, NOOP, QUIT, HELP, VRFY, EXPN (RFC 5321 4.1.1.5 .. 4.1.1.10) */
#include "smtpd/smtpd.h"

static void run_rset(struct smtp_session *s)
{
    smtp_forget_mail(s);
    smtp_reply(s, 250, "2.0.0", "forgotten");
}

static void run_noop(struct smtp_session *s)
{
    smtp_reply(s, 250, "2.0.0", "here");
}

static void run_quit(struct smtp_session *s)
{
    smtp_reply(s, 221, "2.0.0", "%s closes the connection", s->c->settings->hostname);
    s->end = true;
}

static void run_help(struct smtp_session *s)
{
    struct buf *out = stream_out(s->c->stream);

    for (size_t i = 0; smtp_commands[i]; i++)
        buf_printf(out, "214-2.0.0 %s%s%s (%s)\r\n", smtp_commands[i]->name,
            *smtp_commands[i]->arguments ? " " : "", smtp_commands[i]->arguments, smtp_commands[i]->rfc);
    buf_printf(out, "214 2.0.0 questions are answered by postmaster@%s\r\n", s->c->settings->hostname);
}

/* Who has a mailbox here is told to nobody who only asks (RFC 5321 7.3). */
static void run_vrfy(struct smtp_session *s)
{
    smtp_reply(
        s, 252, "2.1.5", "addresses are not verified; send the message, an unknown one is refused at RCPT");
}

static void run_expn(struct smtp_session *s)
{
    smtp_reply(s, 502, "5.5.1", "lists are not shown; ask their owner");
}

const struct smtp_command smtp_cmd_rset = {
    .name = "RSET",
    .states = SMTP_IN_ANY,
    .flags = SMTP_JUNK | SMTP_EARLY,
    .arguments = "",
    .rfc = "RFC 5321 4.1.1.5",
    .check = smtp_check_none,
    .run = run_rset,
};

const struct smtp_command smtp_cmd_noop = {
    .name = "NOOP",
    .states = SMTP_IN_ANY,
    .flags = SMTP_JUNK | SMTP_EARLY,
    .arguments = "[text]",
    .rfc = "RFC 5321 4.1.1.9",
    .check = smtp_check_any,
    .run = run_noop,
};

const struct smtp_command smtp_cmd_quit = {
    .name = "QUIT",
    .states = SMTP_IN_ANY,
    .flags = SMTP_EARLY,
    .arguments = "",
    .rfc = "RFC 5321 4.1.1.10",
    .check = smtp_check_any,
    .run = run_quit,
};

const struct smtp_command smtp_cmd_help = {
    .name = "HELP",
    .states = SMTP_IN_ANY,
    .flags = SMTP_JUNK | SMTP_EARLY,
    .arguments = "",
    .rfc = "RFC 5321 4.1.1.8",
    .check = smtp_check_any,
    .run = run_help,
};

const struct smtp_command smtp_cmd_vrfy = {
    .name = "VRFY",
    .states = SMTP_IN_ANY,
    .flags = SMTP_JUNK,
    .arguments = "address",
    .rfc = "RFC 5321 4.1.1.6",
    .check = smtp_check_any,
    .run = run_vrfy,
};

const struct smtp_command smtp_cmd_expn = {
    .name = "EXPN",
    .states = SMTP_IN_ANY,
    .flags = SMTP_JUNK,
    .arguments = "list",
    .rfc = "RFC 5321 4.1.1.7",
    .check = smtp_check_any,
    .run = run_expn,
};
