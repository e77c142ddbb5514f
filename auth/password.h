/*
 * password: hashes and verifiers (crypt_r, PBKDF2 for SCRAM). Pure but slow: 2-30 ms of CPU a call; authd
 * calls it in threads. Secrets are wiped.
 */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include "common/buf.h"
#include "common/err.h"

/* New hash; scheme "yescrypt" or "sha512crypt". */
int password_hash(struct slice password, const char *scheme, char *out, size_t size, struct err *e);
/* Constant time comparison. An empty or unknown hash takes as long as a yescrypt hash and fails. */
bool password_verify(struct slice password, const char *hash);
/* For password_verify where there is no account: fails, and costs what a try at a new hash of that scheme
 * costs. */
const char *password_nobody(const char *scheme);
/*
 * A hash as another server wrote it, into out: crypt(3), with or without a prefix as "{CRYPT}" or
 * "{SHA512-CRYPT}". False when password_verify could not check it.
 */
bool password_take_hash(struct slice text, char *out, size_t size);
/* RFC 5802, 7677: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, 16 octets of salt; SASLprep of
 * ASCII and UTF-8 (NFKC). */
int password_scram(struct slice password, unsigned iterations, char *out, size_t size, struct err *e);
/* A password people can type: 4 groups of 5, about 100 bits. */
void password_generate(char out[24]);
/* Too short (below 8 octets), control octets, the address itself: the sentence; NULL: fine. */
const char *password_complaint(struct slice password, struct slice address);

#endif
