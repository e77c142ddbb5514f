#include "auth/password.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uninorm.h>

#include "common/ascii.h"
#include "common/id.h"
#include "common/mem.h"
#include "common/utf8.h"

/* Cost 5 is 16 MiB and about 22 ms; the 25,000 rounds of SHA-512 take some 8 ms (security.md 4.3). */
static const struct scheme {
    const char *name, *prefix;
    unsigned long cost;
    const char *nobody; /* settings as of a new hash, which no password has: they decide what a try costs */
} schemes[] = {
    {"yescrypt", "$y$", 5, "$y$j9T$QMLK8rYl9Hb0Zk5xVn2Dt.$"},
    {"sha512crypt", "$6$", 25000, "$6$rounds=25000$QMLK8rYl9Hb0Zk5x$"},
};

/* Hashes that are taken from elsewhere too; what is not here (DES, MD5, none) is never compared. */
static const struct known {
    const char *prefix;
    size_t tail; /* characters behind the last '$' */
} known[] = {{"$y$", 43}, {"$6$", 86}, {"$2b$", 53}, {"$2y$", 53}, {"$2a$", 53}, {"$5$", 43}, {"$7$", 43},
    {"$gy$", 43}};

#define PASSWORD_MAX 512 /* libcrypt's own limit */
#define SALT_LEN 16
#define KEY_LEN 32

/* crypt_r with memory of its own, wiped after. The result is copied to out, false when it is an error. */
static bool crypt_to(struct slice password, const char *setting, char *out, size_t size)
{
    char *text = slice_dup(password.n <= PASSWORD_MAX ? password : slice_sub(password, 0, PASSWORD_MAX));
    struct crypt_data *data;
    const char *hash;
    bool good;

    if (!text)
        return false;
    data = mem_zalloc(1, sizeof *data);
    hash = crypt_r(text, setting, data);
    good = hash && hash[0] != '*' && (size_t)snprintf(out, size, "%s", hash) < size;
    mem_wipe(data, sizeof *data);
    free(data);
    mem_wipe(text, strlen(text));
    free(text);
    return good;
}

static const struct scheme *scheme_of(const char *name)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strcmp(schemes[i].name, name) == 0)
            return &schemes[i];
    return NULL;
}

const char *password_nobody(const char *scheme)
{
    const struct scheme *s = scheme_of(scheme);

    return s ? s->nobody : schemes->nobody;
}

static bool can_hash(struct slice password)
{
    return password.n > 0 && password.n <= PASSWORD_MAX && slice_chr(password, '\0') < 0;
}

int password_hash(struct slice password, const char *scheme, char *out, size_t size, struct err *e)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    char random[SALT_LEN];
    const struct scheme *s = scheme_of(scheme);

    if (!s)
        return err_set(e, ERR_CONFIG, "there is no password scheme %s; use yescrypt or sha512crypt", scheme);
    if (!can_hash(password))
        return err_set(e, ERR_SYNTAX, "that password cannot be used; use 8 to 256 characters");
    id_random(random, sizeof random);
    if (!crypt_gensalt_rn(s->prefix, s->cost, random, (int)sizeof random, setting, (int)sizeof setting) ||
        !crypt_to(password, setting, out, size))
        return err_set(e, ERR_INTERNAL, "libcrypt cannot make a hash of scheme %s", scheme);
    return 0;
}

static const struct known *known_of(struct slice hash)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_starts(hash, slice_str(known[i].prefix)))
            return &known[i];
    return NULL;
}

bool password_take_hash(struct slice text, char *out, size_t size)
{
    struct slice hash = slice_trim(text);
    const struct known *k;
    ssize_t brace;

    if (slice_starts(hash, SLICE("{")) && (brace = slice_chr(hash, '}')) > 0) {
        if (!slice_ends(slice_sub(hash, 0, (size_t)brace), SLICE("CRYPT")))
            return false;
        hash = slice_from(hash, (size_t)brace + 1);
    }
    k = known_of(hash);
    if (!k || hash.n >= size || hash.n - (size_t)slice_rchr(hash, '$') - 1 != k->tail)
        return false;
    for (size_t i = 0; i < hash.n; i++)
        if (!ascii_is_alnum(hash.p[i]) && !memchr("$./=,", hash.p[i], 5))
            return false;
    memcpy(out, hash.p, hash.n);
    out[hash.n] = '\0';
    return true;
}

bool password_verify(struct slice password, const char *hash)
{
    char made[CRYPT_OUTPUT_SIZE];
    bool good = false;

    /* every refusal costs what a try at a real hash costs */
    if (!can_hash(password)) {
        (void)crypt_to(SLICE("nothing"), schemes->nobody, made, sizeof made);
    } else if (!known_of(slice_str(hash))) {
        (void)crypt_to(password, schemes->nobody, made, sizeof made);
    } else if (crypt_to(password, hash, made, sizeof made)) {
        size_t n = strlen(made);

        good = n == strlen(hash) && CRYPTO_memcmp(made, hash, n) == 0;
    }
    mem_wipe(made, sizeof made);
    return good;
}

/* RFC 4013 2.1: spaces become U+0020, and some characters nothing. */
static bool is_other_space(uint32_t c)
{
    return c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

static bool is_nothing(uint32_t c)
{
    return c == 0xad || c == 0x34f || c == 0x1806 || (c >= 0x180b && c <= 0x180d) ||
           (c >= 0x200b && c <= 0x200d) || c == 0x2060 || (c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff;
}

/* RFC 4013 2.3: controls, private use, non-characters, tags; unassigned code points are let through (RFC 3454
 * 7). */
static bool is_prohibited(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x6dd || c == 0x70f || c == 0x180e ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2061 && c <= 0x206f) || (c >= 0x2ff0 && c <= 0x2ffb) ||
           (c >= 0xe000 && c <= 0xf8ff) || (c >= 0xfdd0 && c <= 0xfdef) || (c >= 0xfff9 && c <= 0xffff) ||
           (c & 0xfffe) == 0xfffe || (c >= 0x1d173 && c <= 0x1d17a) || (c >= 0xe0000 && c <= 0xe007f) ||
           c >= 0xf0000;
}

/* RFC 4013 (the bidirectional rule apart: clients do not check it either). False: cannot be prepared. */
static bool saslprep(struct slice in, struct buf *out)
{
    struct buf mapped = BUF_INIT(BUF_OWN);
    size_t n = 0;
    uint8_t *normal;
    bool good = true;

    while (in.n && good) {
        uint32_t c;
        size_t width = utf8_decode(in, &c);

        good = width > 0;
        if (good && is_other_space(c))
            buf_add_char(&mapped, ' ');
        else if (good && !is_nothing(c))
            buf_add(&mapped, slice_sub(in, 0, width));
        in = slice_from(in, width);
    }
    normal = good ? u8_normalize(UNINORM_NFKC, (const uint8_t *)buf_str(&mapped), mapped.n, NULL, &n) : NULL;
    good = normal != NULL && n > 0;
    for (struct slice rest = slice_of(normal, n); rest.n && good;) {
        uint32_t c;
        size_t width = utf8_decode(rest, &c);

        good = width > 0 && !is_prohibited(c);
        rest = slice_from(rest, width);
    }
    if (good)
        buf_add(out, slice_of(normal, n));
    if (normal)
        mem_wipe(normal, n);
    free(normal);
    if (mapped.p)
        mem_wipe(mapped.p, mapped.size);
    buf_free(&mapped);
    return good;
}

struct scram_keys {
    unsigned char stored[KEY_LEN], server[KEY_LEN];
};

/* RFC 5802 3: SaltedPassword, then ClientKey, StoredKey and ServerKey */
static bool scram_keys(
    struct slice prepared, const unsigned char *salt, unsigned iterations, struct scram_keys *out)
{
    unsigned char salted[KEY_LEN], client[KEY_LEN];
    unsigned int n = 0;
    bool good = PKCS5_PBKDF2_HMAC(prepared.p, (int)prepared.n, salt, SALT_LEN, (int)iterations, EVP_sha256(),
                    KEY_LEN, salted) == 1;

    good = good && HMAC(EVP_sha256(), salted, KEY_LEN, (const unsigned char *)"Client Key", 10, client, &n) &&
           HMAC(EVP_sha256(), salted, KEY_LEN, (const unsigned char *)"Server Key", 10, out->server, &n) &&
           EVP_Digest(client, KEY_LEN, out->stored, &n, EVP_sha256(), NULL) == 1;
    mem_wipe(salted, sizeof salted);
    mem_wipe(client, sizeof client);
    return good;
}

static int scram_text(struct slice prepared, unsigned iterations, char *out, size_t size, struct err *e)
{
    unsigned char salt[SALT_LEN];
    char salt64[2 * SALT_LEN], stored64[2 * KEY_LEN], server64[2 * KEY_LEN];
    struct scram_keys keys;
    int n;

    id_random(salt, sizeof salt);
    if (!scram_keys(prepared, salt, iterations, &keys))
        return err_set(e, ERR_INTERNAL, "OpenSSL cannot make a SCRAM verifier");
    EVP_EncodeBlock((unsigned char *)salt64, salt, SALT_LEN);
    EVP_EncodeBlock((unsigned char *)stored64, keys.stored, KEY_LEN);
    EVP_EncodeBlock((unsigned char *)server64, keys.server, KEY_LEN);
    n = snprintf(out, size, "SCRAM-SHA-256$%u:%s$%s:%s", iterations, salt64, stored64, server64);
    mem_wipe(&keys, sizeof keys);
    if (n < 0 || (size_t)n >= size)
        return err_set(e, ERR_INTERNAL, "no room for a SCRAM verifier");
    return 0;
}

int password_scram(struct slice password, unsigned iterations, char *out, size_t size, struct err *e)
{
    struct buf prepared = BUF_INIT(BUF_OWN);
    int rc;

    if (!can_hash(password) || iterations == 0 || iterations > 10000000 || !saslprep(password, &prepared))
        rc = err_set(e, ERR_SYNTAX, "that password cannot be used; use letters, digits and signs in UTF-8");
    else
        rc = scram_text(buf_slice(&prepared), iterations, out, size, e);
    if (prepared.p)
        mem_wipe(prepared.p, prepared.size);
    buf_free(&prepared);
    return rc;
}

void password_generate(char out[24])
{
    /* without i, l, o, 0 and 1, which people mix up; 20 of 31 characters are 99 bits */
    static const char alphabet[] = "abcdefghjkmnpqrstuvwxyz23456789";
    size_t letters = sizeof alphabet - 1;

    for (size_t i = 0; i < 23; i++) {
        unsigned char random;

        if (i % 6 == 5) {
            out[i] = '-';
            continue;
        }
        do /* so that each character is as likely as the other */
            id_random(&random, 1);
        while (random >= 256 / letters * letters);
        out[i] = alphabet[random % letters];
    }
    out[23] = '\0';
}

const char *password_complaint(struct slice password, struct slice address)
{
    ssize_t at = slice_rchr(address, '@');

    if (password.n < 8)
        return "The password is too short; use at least 8 characters";
    if (password.n > 256)
        return "The password is too long; use at most 256 octets";
    for (size_t i = 0; i < password.n; i++)
        if (ascii_is_control(password.p[i]))
            return "The password holds control characters; use letters, digits and signs";
    if (!utf8_is_valid(password))
        return "The password is not UTF-8; use a terminal that writes UTF-8, or plain letters and digits";
    if (slice_eq_nocase(password, address) ||
        (at > 0 && slice_eq_nocase(password, slice_sub(address, 0, (size_t)at))))
        return "The password is the address itself; choose another one, or use --generate";
    return NULL;
}
