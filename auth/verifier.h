/*
 * verifier: is this the password of that account? Over the directory, with a memory of what was right lately.
 *
 * Names from clients come through verifier_name: an allow-list of characters before anything else sees them.
 * An unknown, suspended or password-less account takes as long as any other and fails with the same words.
 * What is remembered is keyed by a process secret over user, service, mechanism and password, and is worth
 * nothing once the account's hash has changed. Verifying hashes (2-30 ms); all functions may be called from
 * several threads.
 */
#ifndef AUTH_VERIFIER_H
#define AUTH_VERIFIER_H

#include "auth/directory.h"

#define VERIFIER_ITERATIONS 100000u /* of SCRAM verifiers: security.md 4.3 */
#define VERIFIER_NAME_MAX 320

struct verifier;

/* cache_seconds 0: nothing is remembered. */
struct verifier *verifier_new(struct directory *d, uint64_t cache_seconds);
void verifier_free(struct verifier *v);
/* "yescrypt" (until told otherwise) or "sha512crypt": what a hash of an older kind is replaced by. */
void verifier_set_hash(struct verifier *v, const char *scheme);

/* The account a client names, normalised, appended; false when no account can have that name (no '@', odd
 * octets). */
bool verifier_name(struct slice raw, struct buf *account);

/*
 * ERR_AUTH_FAILED with the reason as detail, or the directory's own error. On success the account is
 * appended; an account without SCRAM verifier, or with an old kind of hash, gets new ones.
 */
bool verifier_check(struct verifier *v, const char *service, const char *mechanism, struct slice raw,
    struct slice password, struct buf *account, struct err *e);
/* The same would be answered from memory. */
bool verifier_is_cached(
    struct verifier *v, const char *service, const char *mechanism, struct slice raw, struct slice password);
void verifier_forget(struct verifier *v, struct slice account);

/* There is such an account, not suspended and with a password; else as verifier_check. */
bool verifier_is_usable(struct verifier *v, struct slice account, struct err *e);
/*
 * RFC 5803 value for SCRAM-SHA-256. An account that has none, and any name that is none, gets one nobody has
 * the password for; the same name always the same salt.
 */
void verifier_scram(struct verifier *v, struct slice name, char out[256]);

/* 32 octets of keyed hash, for what must be compared but not kept. */
void verifier_mark(struct verifier *v, struct slice what, unsigned char out[32]);

#endif
