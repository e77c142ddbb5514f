/*
 * dkim_keys: where the DKIM keys of our domains lie: <auth>/dkim/<domain>/<selector>.pem.
 *
 * Folders 0700, files 0600, both of the directory's owner: authd writes them (or, with the daemons down, the
 * postamt command as the same user) and hands them to the role that signs; nobody else can read them. Every
 * key there signs: while one is replaced both do, so that there is no moment at which the DNS must change. A
 * key that is taken away is moved to <auth>/dkim/_removed/<domain>/, never deleted; its selector is not given
 * again, because resolvers remember its record. dir is the open folder of the directory, domains are
 * normalised (A-labels, lower case). Changes are durable when they return; the caller makes one at a time.
 * All block.
 */
#ifndef AUTH_DKIM_KEYS_H
#define AUTH_DKIM_KEYS_H

#include "mail/dkim.h"

#define DKIM_KEYS_MAX 8 /* of one domain */

struct dkim_stored {
    char selector[DKIM_SELECTOR_MAX + 1];
    struct dkim_key *key;
    int64_t created; /* seconds since 1970 */
};

struct dkim_stored_list {
    struct dkim_stored item[DKIM_KEYS_MAX]; /* RSA before Ed25519, then by selector */
    size_t n;
};

/* All keys of a domain; 0 with n == 0 when there is none. -1: a file cannot be read, or is no key (CORRUPT);
 * the list has the others then. The caller calls dkim_keys_free in both cases. */
int dkim_keys_load(int dir, struct slice domain, struct dkim_stored_list *out, struct err *e);
void dkim_keys_free(struct dkim_stored_list *list);

/*
 * Keeps one more key. selector: the one it got, "p202611" for RSA and "e202611" for Ed25519 in November 2026
 * (with a letter behind it for the next of the month). -1: pem is none, there are too many (LIMIT), the disk
 * failed.
 */
int dkim_keys_add(int dir, struct slice domain, struct slice pem, int64_t now,
    char selector[DKIM_SELECTOR_MAX + 1], struct err *e);
/* Moves a key of the domain aside, or all of them (selector empty). 0 too when there is none. */
int dkim_keys_remove(int dir, struct slice domain, struct slice selector, struct err *e);

#endif
