/*
 * tls: certificates, keys and the contexts made of them (OpenSSL appears here, in stream.c's TLS part, and
 * where mail is signed).
 *
 * postamtd reads the PEM files (root), packs them into one blob and hands it to the fronts, which build
 * contexts from memory. TLS 1.2 and 1.3, AEAD only, X25519 and P-256, no compression, no renegotiation, no
 * client certificate asked, ALPN checked against the protocol, SNI: exact and one-label wildcard match;
 * unknown, dotted or absent names get the default certificate; no per-name allocation. RSA and ECDSA chains
 * may stand side by side.
 *
 * As a client (the sender): one context with the authorities, and for each stream what its server must show.
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

/* --- client side --- */

/*
 * Context of clients: TLS 1.2 and 1.3, no session kept. ca_file: PEM of the authorities, read here (the file
 * is not needed later). When it cannot be read the context is good, but no certificate verifies by it: *e
 * says so (ERR_CONFIG), else e->code stays as it was.
 */
struct tls_context *tls_context_new_client(const char *ca_file, struct err *e);

enum tls_verify {
    TLS_VERIFY_NOTED, /* any certificate will do; whether it would verify by PKIX is noted */
    TLS_VERIFY_PKIX,  /* for one of the names, from one of the authorities; else the handshake fails */
    TLS_VERIFY_DANE,  /* as one of the TLSA records says; else the handshake fails */
};
/* Usages DANE-TA(2) and DANE-EE(3); others and malformed ones are skipped (RFC 7672 3.1.3). */
struct tls_tlsa {
    uint8_t usage, selector, matching;
    struct slice data;
};
#define TLS_TLSA_MAX 8
#define TLS_NAMES_MAX 4
/* What a server must show. */
struct tls_peer {
    struct slice host; /* SNI, and the name that is verified where `names` is empty; an address is not sent */
    struct slice names[TLS_NAMES_MAX]; /* "mx.example.org", "*.example.org" (one label), "192.0.2.1" */
    size_t nnames;
    enum tls_verify verify;
    struct tls_tlsa tlsa[TLS_TLSA_MAX];
    size_t ntlsa;
};

/* For stream.c */
struct ssl_ctx_st *tls_context_ssl(struct tls_context *t);

#endif
