/*
 * directory_name: addresses and domains as callers write them, normalised and taken apart for look-ups.
 *
 * name_free is called for every name that was given to one of these, whatever it returned.
 */
#ifndef AUTH_DIRECTORY_NAME_H
#define AUTH_DIRECTORY_NAME_H

#include "common/buf.h"
#include "mail/address.h"

struct name {
    struct buf text;
    struct slice address, domain, local; /* into text; domain is empty only for <postmaster> */
};

/* An address; "@domain" too where catch_all says so (its local part is empty). */
bool name_of(struct slice s, bool catch_all, struct name *n);
bool name_of_address(const struct address *a, struct name *n);
/* address == domain, no local part */
bool name_of_domain(struct slice domain, struct name *n);
void name_free(struct name *n);

/*
 * The characters a local part of ours may have, before anything else sees it (security.md S12, S13). What
 * only quoted local parts can hold (blanks, '@', quotes, backslashes) and '/' is out; '+' starts a
 * sub-address (plus: allowed).
 */
bool name_is_allowed(struct slice local, bool plus);

#endif
