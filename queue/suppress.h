/*
 * suppress: addresses whose servers refused mail for good. Mail to them is refused here, at once, so that
 * nobody's name suffers from trying again and again.
 *
 * What a server's reply put here stays 7 days, what an administrator put here stays until he takes it away.
 * In memory, with one small file `suppressed` in the queue's folder, a line an address:
 *
 *     <address> TAB <since> TAB <until> TAB <host> TAB <reply>
 *
 * Times are seconds since 1970; until 0: for ever. Control octets and backslashes are written \xHH. A line
 * that cannot be read is left out and logged, never fatal. suppress_save writes the file anew, whole and
 * durable, if anything changed: by timer, since what a crash takes from it is only learned once more.
 *
 * At most SUPPRESS_MAX addresses: the oldest that a server's reply put here goes first. Not for several
 * threads.
 */
#ifndef QUEUE_SUPPRESS_H
#define QUEUE_SUPPRESS_H

#include "common/buf.h"
#include "common/err.h"

#define SUPPRESS_MAX 10000
#define SUPPRESS_LIFE ((int64_t)7 * 86400)
#define SUPPRESS_ADDRESS_MAX 320 /* octets; local part, @, domain */
#define SUPPRESS_HOST_MAX 255
#define SUPPRESS_REPLY_MAX 1024

struct suppress;

struct suppress_entry {
    struct slice address;     /* as address_normalise (mail/address.h) has it */
    int64_t since, until;     /* seconds since 1970; until 0: for ever */
    struct slice host, reply; /* who refused it and how; empty: an administrator did it. Any octets */
};

/* folder: of the queue, absolute; it must be there. A file that is missing is an empty one. NULL: *e. */
struct suppress *suppress_open(const char *folder, struct err *e);
/* What was not saved is lost. NULL is nothing. */
void suppress_close(struct suppress *s);

/* Puts an address in, or renews it. Longer hosts and replies are cut. False: the address is empty or too
 * long. */
bool suppress_add(struct suppress *s, const struct suppress_entry *entry);
/* False when it was not there. */
bool suppress_remove(struct suppress *s, struct slice address);
/* Is there a reason not to send to it? Slices of *out (may be NULL) live until the next change. */
bool suppress_find(const struct suppress *s, struct slice address, int64_t now, struct suppress_entry *out);
/* Those in force, the oldest first, while each returns true. Do not change it inside. */
void suppress_walk(const struct suppress *s, int64_t now,
    bool (*each)(void *ctx, const struct suppress_entry *entry), void *ctx);
/* Forgets what is over, then writes the file if something changed since it was last written. -1: *e; the
 * next call tries again. */
int suppress_save(struct suppress *s, int64_t now, struct err *e);

/* One line without its end. parse(format(e)) is e. Slices of *out point into hold, whose cap must be the
 * line's length at least. */
void suppress_format(struct buf *out, const struct suppress_entry *entry);
bool suppress_parse(struct slice line, struct buf *hold, struct suppress_entry *out);

#endif
