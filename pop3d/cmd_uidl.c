/*
 * UIDL: RFC 1939 7
 *
 * The id is the UID and the UIDVALIDITY of the INBOX, eight hexadecimal digits each, lower case. Both are
 * durable without any state/, so clients that leave mail on the server fetch nothing twice. It is also
 * Dovecot's form, so those of a mailbox that was taken over with its UIDs go on as if nothing had happened. A
 * message that had another id on its former server keeps that (store/uidl.c).
 */
#include "pop3d/pop3.h"
#include "pop3d/listing.h"

#include <string.h>

static char *write_line(const struct pop3_session *s, const struct pop3_message *m, char *p)
{
    struct slice kept = s->mailbox ? mailbox_uidl(s->mailbox, m->uid) : SLICE("");

    if (kept.n) {
        memcpy(p, kept.p, kept.n);
        return p + kept.n;
    }
    return listing_hex8(listing_hex8(p, m->uid), s->uidvalidity);
}

static enum pop3_step run(struct pop3_session *s)
{
    char id[LISTING_WHAT_MAX + 1];

    if (s->args.has_message) {
        *write_line(s, pop3_message(s), id) = '\0';
        return pop3_ok(s, "%u %s", s->args.message, id);
    }
    if (s->at == 0)
        pop3_ok(s, "%zu messages", s->left);
    return listing_run(s, write_line);
}

const struct pop3_command pop3_uidl = {.name = "UIDL",
    .arguments = "[message]",
    .shape = POP3_MAY_MESSAGE,
    .capability = "UIDL",
    .rfc = "RFC 1939 7",
    .run = run};
