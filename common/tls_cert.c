/* Certificates: reading, looking at and making them. Contexts are in tls.c. */
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "common/tls_internal.h"

#define CHAIN_MAX 10
#define NAMES_MAX 1000

/* A key with a password cannot be used by a server that starts alone: never ask at the terminal. */
static int no_password(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static BIO *pem_bio(struct slice pem)
{
    return pem.n && pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
}

static int read_chain(struct tls_cert *c, struct slice pem, struct err *e)
{
    BIO *bio = pem_bio(pem);
    X509 *x;

    c->more = sk_X509_new_null();
    c->leaf = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
    while (c->leaf && c->more && sk_X509_num(c->more) < CHAIN_MAX &&
           (x = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        if (!sk_X509_push(c->more, x))
            X509_free(x);
    }
    BIO_free(bio);
    if (!c->leaf || !c->more)
        return err_set(e, ERR_CONFIG, "holds no certificate in PEM form");
    /* the reading ends at "no start line"; anything else is damage further down */
    if (ERR_peek_last_error() && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return err_set(e, ERR_CONFIG, "certificate %d of the chain is damaged", sk_X509_num(c->more) + 2);
    ERR_clear_error();
    return 0;
}

static bool is_dns_name(struct slice s)
{
    size_t i;

    for (i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '-' && s.p[i] != '_' &&
            (s.p[i] != '*' || i))
            return false;
    }
    return s.n > 0 && s.n < 254;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_name(char **list, size_t *n, const ASN1_STRING *text)
{
    struct slice s = slice_of((const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
    char *p;

    if (*n == NAMES_MAX || !is_dns_name(s))
        return;
    list[*n] = slice_dup(s);
    for (p = list[*n]; *p; p++)
        *p = ascii_lower(*p);
    ++*n;
}

/* RFC 6125 6.4.4: the common name counts only where there is no DNS name. */
static char *read_names(X509 *x)
{
    GENERAL_NAMES *alt = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    char **list = mem_zalloc(NAMES_MAX, sizeof *list), *names;
    struct buf b = BUF_INIT(BUF_OWN);
    size_t n = 0, i;
    int at;

    for (at = 0; at < sk_GENERAL_NAME_num(alt); at++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(alt, at);

        if (name->type == GEN_DNS)
            add_name(list, &n, name->d.dNSName);
    }
    at = X509_NAME_get_index_by_NID(X509_get_subject_name(x), NID_commonName, -1);
    if (n == 0 && at >= 0)
        add_name(list, &n, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(X509_get_subject_name(x), at)));
    GENERAL_NAMES_free(alt);
    qsort(list, n, sizeof *list, by_text);
    for (i = 0; i < n; i++) {
        if (i == 0 || strcmp(list[i], list[i - 1]) != 0)
            buf_printf(&b, "%s%s", b.n ? "," : "", list[i]);
    }
    names = mem_strdup(buf_str(&b));
    for (i = 0; i < n; i++)
        free(list[i]);
    free(list);
    buf_free(&b);
    return names;
}

int tls_cert_read(struct tls_cert *c, struct slice chain_pem, struct slice key_pem, struct err *e)
{
    BIO *bio;

    *c = (struct tls_cert){0};
    ERR_clear_error();
    if (read_chain(c, chain_pem, e) < 0) {
        tls_cert_free(c);
        return -1;
    }
    c->names = read_names(c->leaf);
    bio = pem_bio(key_pem);
    c->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    if (!c->key) {
        err_set(
            e, ERR_CONFIG, "%.80s: the key file holds no private key in PEM form without password", c->names);
    } else if (X509_check_private_key(c->leaf, c->key) != 1) {
        err_set(e, ERR_CONFIG, "%.80s: the private key does not belong to the certificate", c->names);
    } else {
        ERR_clear_error();
        return 0;
    }
    ERR_clear_error();
    tls_cert_free(c);
    return -1;
}

void tls_cert_free(struct tls_cert *c)
{
    X509_free(c->leaf);
    sk_X509_pop_free(c->more, X509_free);
    EVP_PKEY_free(c->key);
    free(c->names);
    *c = (struct tls_cert){0};
}

static int64_t seconds(const ASN1_TIME *t)
{
    struct tm tm = {0};

    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

int tls_inspect(struct slice chain_pem, struct slice key_pem, struct tls_info *out, struct err *e)
{
    struct tls_cert c;
    size_t n;
    char *cut;

    *out = (struct tls_info){0};
    if (tls_cert_read(&c, chain_pem, key_pem, e) < 0)
        return -1;
    n = strlen(c.names);
    memcpy(out->names, c.names, n < sizeof out->names ? n : sizeof out->names - 1);
    if (n >= sizeof out->names && (cut = strrchr(out->names, ',')))
        *cut = '\0'; /* whole names only */
    if (!X509_NAME_oneline(X509_get_issuer_name(c.leaf), out->issuer, sizeof out->issuer))
        out->issuer[0] = '\0';
    out->not_before = seconds(X509_get0_notBefore(c.leaf));
    out->not_after = seconds(X509_get0_notAfter(c.leaf));
    out->self_signed = X509_self_signed(c.leaf, 1) == 1;
    ERR_clear_error();
    tls_cert_free(&c);
    return 0;
}

/* --- a certificate of our own --- */

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool ok = ext && X509_add_ext(x, ext, -1) == 1;

    X509_EXTENSION_free(ext);
    return ok;
}

static bool add_alt_names(X509 *x, const char *const *names, size_t n)
{
    GENERAL_NAMES *alt = GENERAL_NAMES_new();
    bool ok = alt != NULL;
    size_t i;

    for (i = 0; ok && i < n; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();

        ok = name && text && ASN1_STRING_set(text, names[i], (int)strlen(names[i])) == 1;
        if (ok) {
            GENERAL_NAME_set0_value(name, GEN_DNS, text);
            text = NULL;
            ok = sk_GENERAL_NAME_push(alt, name) > 0;
            name = ok ? NULL : name;
        }
        ASN1_IA5STRING_free(text);
        GENERAL_NAME_free(name);
    }
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, alt, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(alt);
    return ok;
}

static bool set_serial(X509 *x)
{
    BIGNUM *bn = BN_new();
    /* RFC 5280 4.1.2.2: positive, at most 20 octets */
    bool ok = bn && BN_rand(bn, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));

    BN_free(bn);
    return ok;
}

static X509 *make(EVP_PKEY *key, const char *const *names, size_t n)
{
    const long ten_years = 3652;
    X509 *x = X509_new();
    X509_NAME *subject = X509_NAME_new();
    const char *cn = strlen(names[0]) <= 64 ? names[0] : "postamt";
    bool ok =
        x && subject && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0) == 1 &&
        X509_set_subject_name(x, subject) == 1 && X509_set_issuer_name(x, subject) == 1 &&
        /* an hour ago: the client's clock may be behind */
        X509_gmtime_adj(X509_getm_notBefore(x), -3600) &&
        X509_time_adj_ex(X509_getm_notAfter(x), (int)ten_years, 0, NULL) && X509_set_pubkey(x, key) == 1 &&
        add_alt_names(x, names, n) && add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(x, NID_key_usage, "critical,digitalSignature") &&
        add_extension(x, NID_ext_key_usage, "serverAuth") && X509_sign(x, key, EVP_sha256()) > 0;

    X509_NAME_free(subject);
    if (!ok) {
        X509_free(x);
        x = NULL;
    }
    return x;
}

/* The PEM text in the BIO, which is then wiped. */
static bool take_pem(BIO *bio, struct buf *to)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);

    if (n <= 0)
        return false;
    buf_add(to, slice_of(p, (size_t)n));
    mem_wipe(p, (size_t)n);
    return !to->full;
}

int tls_self_signed(
    const char *const *names, size_t n, struct buf *chain_pem, struct buf *key_pem, struct err *e)
{
    EVP_PKEY *key;
    X509 *x;
    BIO *cert_bio, *key_bio;
    size_t i;
    bool ok;

    for (i = 0; i < n; i++) {
        if (!is_dns_name(slice_str(names[i])))
            return err_set(e, ERR_CONFIG, "\"%.100s\" is no host name", names[i]);
    }
    if (n == 0 || n > NAMES_MAX)
        return err_set(e, ERR_CONFIG, "a certificate needs a host name");
    ERR_clear_error();
    key = EVP_EC_gen("P-256");
    x = key ? make(key, names, n) : NULL;
    cert_bio = BIO_new(BIO_s_mem());
    key_bio = BIO_new(BIO_s_secmem());
    ok = x && cert_bio && key_bio && PEM_write_bio_X509(cert_bio, x) == 1 &&
         PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1 &&
         take_pem(cert_bio, chain_pem) && take_pem(key_bio, key_pem);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    X509_free(x);
    EVP_PKEY_free(key);
    if (!ok)
        err_set(e, ERR_INTERNAL, "no certificate could be made: %s",
            ERR_reason_error_string(ERR_peek_last_error()));
    ERR_clear_error();
    return ok ? 0 : -1;
}
