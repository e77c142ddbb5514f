/*
 * tls_internal: what tls.c, tls_cert.c, tls_client.c and stream_tls.c share.
 */
#ifndef COMMON_TLS_INTERNAL_H
#define COMMON_TLS_INTERNAL_H

#include <openssl/x509.h>

#include "common/tls.h"

/* A certificate with its key, read from PEM and checked. */
struct tls_cert {
    X509 *leaf;
    STACK_OF(X509) * more; /* the rest of the chain, in order */
    EVP_PKEY *key;
    char *names; /* DNS names, lower case, sorted, without doubles, comma-separated */
};

/* -1 with ERR_CONFIG when one of them cannot be read or the key is not the certificate's. */
int tls_cert_read(struct tls_cert *c, struct slice chain_pem, struct slice key_pem, struct err *e);
void tls_cert_free(struct tls_cert *c);

/* A context around this one, which it owns. */
struct tls_context *tls_context_of(struct ssl_ctx_st *ssl);

/* Tells the SSL object what its server must show. NULL, or what is wrong: static text. */
const char *tls_client_prepare(struct ssl_st *ssl, const struct tls_peer *peer);
/* How the server's certificate was verified after a handshake: "dane", "pkix", "no"; *why: what is wrong
 * with it, static text. */
const char *tls_client_verified(const struct ssl_st *ssl, const char **why);

#endif
