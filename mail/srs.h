/*
 * srs: the reverse-path of what an alias of ours forwards (the Sender Rewriting Scheme). Pure.
 *
 * A server elsewhere would refuse a forwarded message whose reverse-path is of a domain for which we may not
 * send (SPF). So it leaves with an address at the alias's domain that only we can have made, and that a
 * bounce brings back:
 *
 *     SRS0=hash=day=example.com=anna@ours      for anna@example.com
 *     SRS1=hash=first==hash=day=..@ours        for SRS0=hash=day=..@first, which another forwarder made
 *
 * The hash is 40 bits of HMAC-SHA256 over what follows it in lower case, so that a relay that changes the
 * case does no harm; whoever guesses it could send reports from nobody to one address, and has one try a
 * command. A day is valid for SRS_DAYS; an SRS1 for as long as the first forwarder takes it.
 *
 * Local parts have 64 octets at most (RFC 5321 4.5.3.1.1). What does not fit (or has a "=" in its domain)
 * leaves as postmaster@ours: the message arrives, and a bounce is read by somebody who can mend the alias.
 * The null reverse-path stays null; that is the caller's work.
 */
#ifndef MAIL_SRS_H
#define MAIL_SRS_H

#include "mail/address.h"

#define SRS_SECRET_LEN 32
#define SRS_DAYS 21

/* Appends the reverse-path for `from` (not the null one) forwarded by an alias at `domain`. now: seconds
 * since 1970. */
void srs_forward(const unsigned char secret[SRS_SECRET_LEN], int64_t now, const struct address *from,
    struct slice domain, struct buf *out);

enum srs {
    SRS_NONE,    /* an address like any other */
    SRS_REFUSED, /* it looks like one, and we did not make it or long ago */
    SRS_OK,
};
/* Where mail for `to`, which is at a domain of ours, belongs; appended to out if SRS_OK. */
enum srs srs_reverse(
    const unsigned char secret[SRS_SECRET_LEN], int64_t now, const struct address *to, struct buf *out);

#endif
