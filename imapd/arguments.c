/* Shapes of arguments that several commands have. */
#include "imapd/session.h"

bool imap_check_failed(struct imap_cmd *c)
{
    c->error = c->args.error;
    return false;
}

bool imap_check_none(struct imap_cmd *c)
{
    return imap_parse_end(&c->args) || imap_check_failed(c);
}

bool imap_check_mailbox(struct imap_cmd *c)
{
    struct slice *name = arena_zalloc(c->arena, 1, sizeof *name);

    c->data = name;
    if (!name || !imap_parse_mailbox(&c->args, c->s->utf8, name) || !imap_parse_end(&c->args))
        return imap_check_failed(c);
    return true;
}
