/* dkim_key: the keys of dkim.h; what is OpenSSL's about them. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "mail/decode.h"
#include "mail/dkim.h"

#define RSA_BITS 2048
#define RSA_BITS_LEAST 2048 /* RFC 8301 3.2: shorter ones SHOULD NOT be used */
#define RSA_BITS_MOST 4096  /* the longest that every verifier takes */
#define ED25519_OCTETS 32
#define TXT_STRING_MAX 255

struct dkim_key {
    EVP_PKEY *pkey;
    enum dkim_algorithm algorithm;
};

/* Takes the key over. */
static struct dkim_key *key_of(EVP_PKEY *pkey, struct err *e)
{
    int bits = EVP_PKEY_get_bits(pkey);
    struct dkim_key *key;

    if (EVP_PKEY_is_a(pkey, "RSA") && (bits < RSA_BITS_LEAST || bits > RSA_BITS_MOST)) {
        err_set(e, ERR_SYNTAX, "an RSA key of %d bits cannot sign mail; make one of %d bits", bits, RSA_BITS);
    } else if (!EVP_PKEY_is_a(pkey, "RSA") && !EVP_PKEY_is_a(pkey, "ED25519")) {
        err_set(e, ERR_SYNTAX, "only RSA and Ed25519 keys sign mail; make one of these");
    } else {
        key = mem_alloc(sizeof *key);
        key->pkey = pkey;
        key->algorithm = EVP_PKEY_is_a(pkey, "RSA") ? DKIM_RSA : DKIM_ED25519;
        return key;
    }
    EVP_PKEY_free(pkey);
    return NULL;
}

struct dkim_key *dkim_key_new(enum dkim_algorithm algorithm, struct err *e)
{
    EVP_PKEY *pkey = algorithm == DKIM_RSA ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS)
                                           : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (pkey)
        return key_of(pkey, e);
    ERR_clear_error();
    err_set(e, ERR_INTERNAL, "a key could not be made");
    return NULL;
}

/* Nobody is asked for a password. */
static int no_password(char *to, int size, int writing, void *ctx)
{
    (void)to, (void)size, (void)writing, (void)ctx;
    return -1;
}

struct dkim_key *dkim_key_load(struct slice pem, struct err *e)
{
    BIO *in = pem.n && pem.n <= DKIM_PEM_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    EVP_PKEY *pkey = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;

    BIO_free(in);
    ERR_clear_error();
    if (pkey)
        return key_of(pkey, e);
    err_set(e, ERR_SYNTAX, "that is not a private key in PEM without a password");
    return NULL;
}

void dkim_key_free(struct dkim_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

bool dkim_key_pem(const struct dkim_key *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    bool good = false;
    char *text;
    long n;

    if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1) {
        n = BIO_get_mem_data(bio, &text);
        /* all at once, so that no copy is left behind when it grows */
        good = n > 0 && buf_room(out, (size_t)n);
        if (good)
            buf_add(out, slice_of(text, (size_t)n));
    }
    BIO_free(bio);
    ERR_clear_error();
    return good;
}

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *key)
{
    return key->algorithm;
}

const char *dkim_algorithm_name(enum dkim_algorithm algorithm)
{
    return algorithm == DKIM_RSA ? "rsa" : "ed25519";
}

bool dkim_public_record(const struct dkim_key *key, struct buf *out)
{
    unsigned char raw[ED25519_OCTETS], *der = NULL;
    size_t n = sizeof raw;
    int rc;

    buf_printf(out, "v=DKIM1; k=%s; p=", dkim_algorithm_name(key->algorithm));
    if (key->algorithm == DKIM_ED25519) { /* RFC 8463 4.2 */
        if (EVP_PKEY_get_raw_public_key(key->pkey, raw, &n) != 1)
            return false;
        base64_encode(slice_of(raw, n), out);
    } else {
        rc = i2d_PUBKEY(key->pkey, &der);
        if (rc <= 0)
            return false;
        base64_encode(slice_of(der, (size_t)rc), out);
        OPENSSL_free(der);
    }
    return !out->full;
}

void dkim_record_split(struct slice record, struct buf *out)
{
    do {
        struct slice part = slice_sub(record, 0, TXT_STRING_MAX);

        buf_add_char(out, '"');
        for (size_t i = 0; i < part.n; i++) {
            if (part.p[i] == '"' || part.p[i] == '\\')
                buf_add_char(out, '\\');
            buf_add_char(out, part.p[i]);
        }
        buf_add_char(out, '"');
        record = slice_from(record, part.n);
        if (record.n)
            buf_add_char(out, ' ');
    } while (record.n);
}

static bool sign(EVP_MD_CTX *ctx, const struct dkim_key *key, struct slice text, struct buf *out)
{
    const unsigned char *from = (const unsigned char *)text.p;
    size_t n = (size_t)EVP_PKEY_get_size(key->pkey);
    unsigned char digest[32];
    unsigned char *to = (unsigned char *)buf_room(out, n);

    if (!to)
        return false;
    if (key->algorithm == DKIM_RSA) {
        if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) != 1 ||
            EVP_DigestSign(ctx, to, &n, from, text.n) != 1)
            return false;
    } else {
        /* RFC 8463 3: the hash is what PureEdDSA signs */
        if (EVP_Q_digest(NULL, "SHA256", NULL, from, text.n, digest, NULL) != 1 ||
            EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) != 1 ||
            EVP_DigestSign(ctx, to, &n, digest, sizeof digest) != 1)
            return false;
    }
    buf_grew(out, n);
    return true;
}

bool dkim_key_sign(const struct dkim_key *key, struct slice text, struct buf *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && sign(ctx, key, text, out);

    EVP_MD_CTX_free(ctx);
    if (!good)
        ERR_clear_error();
    return good;
}

bool dkim_is_selector(struct slice s)
{
    if (s.n == 0 || s.n > DKIM_SELECTOR_MAX || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-')
            return false;
    return true;
}
