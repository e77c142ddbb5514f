/*
 * tls_internal: a certificate with its key, read from PEM and checked; for tls.c and tls_cert.c.
 */
#ifndef COMMON_TLS_INTERNAL_H
#define COMMON_TLS_INTERNAL_H

#include <openssl/x509.h>

#include "common/tls.h"

struct tls_cert {
    X509 *leaf;
    STACK_OF(X509) * more; /* the rest of the chain, in order */
    EVP_PKEY *key;
    char *names; /* DNS names, lower case, sorted, without doubles, comma-separated */
};

/* -1 with ERR_CONFIG when one of them cannot be read or the key is not the certificate's. */
int tls_cert_read(struct tls_cert *c, struct slice chain_pem, struct slice key_pem, struct err *e);
void tls_cert_free(struct tls_cert *c);

#endif
