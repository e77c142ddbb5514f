/*
 * tls: certificates, keys and the server contexts made of them (OpenSSL appears here, in stream.c's TLS part,
 * and where mail is signed).
 *
 * postamtd reads the PEM files (root), packs them into one blob and hands it to the fronts, which build
 * contexts from memory. TLS 1.2 and 1.3, AEAD only, X25519 and P-256, no compression, no renegotiation, no
 * client certificate asked, ALPN checked against the protocol, SNI: exact and one-label wildcard match;
 * unknown, dotted or absent names get the default certificate; no per-name allocation. RSA and ECDSA chains
 * may stand side by side.
 */
#ifndef COMMON_TLS_H
#define COMMON_TLS_H

#include "common/buf.h"
#include "common/err.h"

struct tls_context;

/* One certificate as it is handed on: PEM texts. The first of a blob is the default. */
struct tls_pair {
    struct slice chain; /* PEM, leaf first */
    struct slice key;   /* PEM, not encrypted */
};
/* Blob of pairs and ticket keys (80 octets, shared by all fronts); false if it would exceed 1 MiB. */
bool tls_pack(const struct tls_pair *pairs, size_t n, const unsigned char ticket_keys[80], struct buf *blob);

/*
 * Context for one role from a blob; tickets: session tickets offered (not on port 25). NULL with ERR_CONFIG
 * and a detail that names the file's trouble (key does not match, expired is allowed but logged by the
 * caller).
 */
struct tls_context *tls_context_new(struct slice blob, bool tickets, struct err *e);
/* Reference counted: running streams keep theirs over a reload. */
struct tls_context *tls_context_ref(struct tls_context *t);
void tls_context_free(struct tls_context *t);

/* What postamtd and `postamt tls status` say of a PEM chain: names, expiry (seconds since 1970); checks the
 * key. */
struct tls_info {
    char names[512]; /* comma-separated DNS names */
    char issuer[256];
    int64_t not_before, not_after;
    bool self_signed;
};
int tls_inspect(struct slice chain_pem, struct slice key_pem, struct tls_info *out, struct err *e);

/* A self-signed ECDSA P-256 certificate for these names, 10 years, as PEM (first start without certificates).
 */
int tls_self_signed(
    const char *const *names, size_t n, struct buf *chain_pem, struct buf *key_pem, struct err *e);

/* For stream.c */
struct ssl_ctx_st *tls_context_ssl(struct tls_context *t);

#endif
