/* The list of commands: the order is HELP's, and that of EHLO's keywords. */
#include "smtpd/smtpd.h"

const struct smtp_command *const smtp_commands[] = {
    &smtp_cmd_ehlo,
    &smtp_cmd_helo,
    &smtp_cmd_mail,
    &smtp_cmd_rcpt,
    &smtp_cmd_data,
    &smtp_cmd_bdat,
    &smtp_cmd_rset,
    &smtp_cmd_noop,
    &smtp_cmd_quit,
    &smtp_cmd_starttls,
    &smtp_cmd_auth,
    &smtp_cmd_help,
    &smtp_cmd_vrfy,
    &smtp_cmd_expn,
    NULL,
};

const struct smtp_command *smtp_command_find(struct slice verb)
{
    for (size_t i = 0; smtp_commands[i]; i++)
        if (slice_eq_nocase(verb, slice_str(smtp_commands[i]->name)))
            return smtp_commands[i];
    return NULL;
}

bool smtp_is_foreign_verb(struct slice verb)
{
    static const char *const words[] = {
        "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (slice_eq_nocase(verb, slice_str(words[i])))
            return true;
    return false;
}

bool smtp_check_none(struct smtp_session *s, struct slice args)
{
    if (args.n == 0)
        return true;
    smtp_reply(s, 501, "5.5.4", "this command takes nothing behind its name; leave it away");
    return false;
}

bool smtp_check_any(struct smtp_session *s, struct slice args)
{
    (void)s, (void)args;
    return true;
}
