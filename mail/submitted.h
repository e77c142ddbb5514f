/*
 * submitted: what a message from a mail program lacks, and what must not leave with it (RFC 6409 8). Pure.
 *
 * For messages of accounts that logged in only; what other servers bring and what is forwarded is left as it
 * is, but for trace_forged().
 */
#ifndef MAIL_SUBMITTED_H
#define MAIL_SUBMITTED_H

#include "mail/trace.h"

struct submitted {
    struct slice from; /* goes into From if there is none: the reverse-path, or the account if that is null */
    struct slice host; /* our host name */
    struct slice id;   /* of the message; with the host the Message-ID if there is none. The same for all
                          copies */
    int64_t now;       /* seconds since 1970; the Date if there is none */
};

/*
 * text: the message, or as much of it as its header. Ranges that must be cut, in order: Bcc, Resent-Bcc, and
 * what trace_forged() finds; at most max are written, returns how many there are. Fields to add in front of
 * the text are appended to `add` (1 KiB is enough).
 */
size_t submitted_fix(
    struct slice text, const struct submitted *who, struct trace_range *cuts, size_t max, struct buf *add);

/*
 * The same for whoever's message, with as much room as it takes: `who` says whom an account's message is
 * from; with an empty who->from nobody logged in, and only trace_forged() counts. *n ranges, neighbours
 * joined; the array is the caller's to free (NULL when there is none).
 */
struct trace_range *submitted_cuts(
    struct slice text, const struct submitted *who, size_t *n, struct buf *add);

/*
 * The addresses of From, which the account must be allowed to send as. Read strictly, unlike header.h: no two
 * programs shall find different authors in it. True with *n == 0: there is no From. False: it is there twice,
 * empty, malformed, a group, or has more than max addresses. Copies in the arena, in the form of
 * address_format().
 */
bool submitted_from(struct slice text, struct arena *arena, struct slice *from, size_t max, size_t *n);

#endif
