/*
 * keys: the domains of this server and the DKIM keys that sign their mail, as authd told them.
 *
 * The loop puts them in; threads that sign look them up. A set that was found stays while it is held, also
 * when the domain gets others meanwhile.
 */
#ifndef QUEUE_KEYS_H
#define QUEUE_KEYS_H

#include "common/ipc.h"
#include "mail/dkim.h"

struct keys;
struct key_set; /* the keys of one domain */

struct keys *keys_new(void);
void keys_free(struct keys *k);
/* IPC_DOMAIN_KEYS: the domain with its keys replaces what was known of it. False: malformed. */
bool keys_message(struct keys *k, struct ipc_in *in);
/* A-labels, lower case. */
bool keys_is_ours(struct keys *k, struct slice domain);
/* The keys of a domain as it is written in an address, or of the nearest one above it that has some; NULL:
 * none. */
struct key_set *keys_find(struct keys *k, struct slice domain);
void keys_release(struct key_set *set);
/* One DKIM-Signature for each key, appended. -1: *e; nothing was appended. Several threads may sign with one
 * set. */
int keys_sign(struct key_set *set, struct dkim *d, int64_t now, struct buf *out, struct err *e);

#endif
