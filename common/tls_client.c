/* TLS as a client: what a server must show. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "common/mem.h"
#include "common/tls_internal.h"

#define DNS_NAME_MAX 255

enum { DANE_TA = 2, DANE_EE = 3 };

struct tls_context *tls_context_new_client(const char *ca_file, struct err *e)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    INVARIANT(c);
    ERR_clear_error();
    SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(
        c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    /* where any certificate will do, an old one is better than none: what must verify is asked more below */
    INVARIANT(SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_cipher_list(c, "HIGH:!aNULL:@SECLEVEL=1") == 1 && SSL_CTX_dane_enable(c) == 1);
    SSL_CTX_dane_set_flags(c, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    if (SSL_CTX_load_verify_file(c, ca_file) != 1)
        err_set(
            e, ERR_CONFIG, "%s: cannot be read as PEM; no certificate of a server verifies by it", ca_file);
    ERR_clear_error();
    return tls_context_of(c);
}

static bool is_ip(const char *name)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);

    ASN1_OCTET_STRING_free(ip);
    ERR_clear_error();
    return ip != NULL;
}

/* NUL-terminated; false: no name of a host. */
static bool copy_name(struct slice name, char out[DNS_NAME_MAX + 1])
{
    if (name.n == 0 || name.n > DNS_NAME_MAX || memchr(name.p, '\0', name.n))
        return false;
    memcpy(out, name.p, name.n);
    out[name.n] = '\0';
    return true;
}

/* OpenSSL writes "*.example.org" of a policy as ".example.org" (RFC 8461 4.1). */
static bool add_name(SSL *ssl, struct slice name)
{
    char text[DNS_NAME_MAX + 1];

    if (slice_starts(name, SLICE("*.")))
        name = slice_from(name, 1);
    return copy_name(name, text) && SSL_add1_host(ssl, text) == 1;
}

static bool add_records(SSL *ssl, const struct tls_peer *peer)
{
    int usable = 0;

    for (size_t i = 0; i < peer->ntlsa; i++) {
        const struct tls_tlsa *r = &peer->tlsa[i];

        if (r->usage == DANE_TA || r->usage == DANE_EE)
            usable += SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching,
                          (const unsigned char *)r->data.p, r->data.n) == 1;
        ERR_clear_error();
    }
    return usable > 0;
}

const char *tls_client_prepare(SSL *ssl, const struct tls_peer *peer)
{
    unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS;
    char host[DNS_NAME_MAX + 1];
    bool ok, ip;

    if (!copy_name(peer->host, host))
        return "the server has no name";
    ip = is_ip(host);
    if (peer->verify == TLS_VERIFY_DANE) {
        if (SSL_dane_enable(ssl, host) != 1 || !add_records(ssl, peer))
            return "no usable TLSA record";
    } else {
        /* RFC 8461 4.1; of DANE-TA the common name counts where there is no other (RFC 7672 3.2.3) */
        flags |= X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    }
    SSL_set_hostflags(ssl, flags);
    ok = ip || SSL_set_tlsext_host_name(ssl, host) == 1;
    if (peer->nnames == 0)
        ok = ok && SSL_set1_host(ssl, host) == 1;
    for (size_t i = 0; i < peer->nnames; i++)
        ok = ok && add_name(ssl, peer->names[i]);
    if (peer->verify != TLS_VERIFY_NOTED) {
        SSL_set_security_level(ssl, 2);
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    }
    ERR_clear_error();
    return ok ? NULL : "a name that no certificate can have";
}

const char *tls_client_verified(const SSL *ssl, const char **why)
{
    long result = SSL_get_verify_result(ssl);

    *why = X509_verify_cert_error_string(result);
    if (result != X509_V_OK || !SSL_get0_peer_certificate(ssl))
        return "no";
    return SSL_get0_dane_authority((SSL *)(uintptr_t)ssl, NULL, NULL) >= 0 ? "dane" : "pkix";
}
