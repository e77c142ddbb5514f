#include "auth/verifier.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/password.h"
#include "common/ascii.h"
#include "common/id.h"
#include "common/mem.h"
#include "common/utf8.h"

#define BUCKETS 1024
#define WAYS 8 /* 8192 remembered passwords, 0.6 MiB */
#define MARK 32

struct remembered {
    unsigned char key[MARK];   /* of user, service, mechanism, password */
    unsigned char hash[16];    /* of the account's hash when it was verified */
    unsigned char account[16]; /* to forget by */
    int64_t until;             /* monotonic seconds; 0: free */
};

struct verifier {
    struct directory *directory;
    unsigned char secret[32];
    const char *scheme;
    uint64_t cache_seconds;
    pthread_mutex_t lock; /* of the table */
    struct remembered *table;
};

struct verifier *verifier_new(struct directory *d, uint64_t cache_seconds)
{
    struct verifier *v = mem_zalloc(1, sizeof(*v));

    v->directory = d;
    v->cache_seconds = cache_seconds;
    v->scheme = "yescrypt";
    id_random(v->secret, sizeof(v->secret));
    v->table = mem_zalloc((size_t)BUCKETS * WAYS, sizeof(*v->table));
    INVARIANT(pthread_mutex_init(&v->lock, NULL) == 0);
    return v;
}

void verifier_free(struct verifier *v)
{
    if (v == NULL)
        return;
    pthread_mutex_destroy(&v->lock);
    free(v->table);
    mem_wipe(v->secret, sizeof(v->secret));
    free(v);
}

void verifier_set_hash(struct verifier *v, const char *scheme)
{
    v->scheme = strcmp(scheme, "sha512crypt") == 0 ? "sha512crypt" : "yescrypt";
}

/* ---- names ---- */

/* RFC 5322 3.2.3 atext, dots, UTF-8: no quotes, blanks, brackets, backslashes, controls (S12). */
static bool is_allowed(char c)
{
    return ascii_is_alnum(c) || ascii_is_8bit(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.@", c) != NULL);
}

bool verifier_name(struct slice raw, struct buf *account)
{
    struct address a;
    struct arena arena;

    if (raw.n == 0 || raw.n > VERIFIER_NAME_MAX || slice_chr(raw, '@') < 0)
        return false;
    for (size_t i = 0; i < raw.n; i++) {
        if (!is_allowed(raw.p[i]))
            return false;
    }
    size_t before = account->n;
    arena_init(&arena, 1024);
    bool good = address_parse(raw, &arena, &a) == ADDRESS_OK && a.local.n > 0 && a.domain.n > 0 &&
                !a.is_literal && address_normalise(&a, account) && account->n - before <= VERIFIER_NAME_MAX;
    arena_free(&arena);
    if (!good)
        buf_cut(account, before);
    return good;
}

/* ---- keyed hashes ---- */

static void mark_parts(const struct verifier *v, const struct slice *parts, size_t n, unsigned char out[MARK])
{
    struct buf b = BUF_INIT(BUF_OWN);
    unsigned len = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t size = parts[i].n;
        buf_add(&b, slice_of(&size, sizeof(size)));
        buf_add(&b, parts[i]);
    }
    INVARIANT(
        !b.full &&
        HMAC(EVP_sha256(), v->secret, sizeof(v->secret), (unsigned char *)b.p, b.n, out, &len) != NULL &&
        len == MARK);
    mem_wipe(b.p, b.n);
    buf_free(&b);
}

void verifier_mark(struct verifier *v, struct slice what, unsigned char out[32])
{
    mark_parts(v, (const struct slice[]){SLICE("mark"), what}, 2, out);
}

static void key_of(const struct verifier *v, const char *service, const char *mechanism, struct slice account,
    struct slice password, unsigned char out[MARK])
{
    mark_parts(v,
        (const struct slice[]){SLICE("key"), account, slice_str(service), slice_str(mechanism), password}, 5,
        out);
}

/* ---- memory ---- */

static int64_t seconds(void)
{
    struct timespec now;

    INVARIANT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec + 1; /* never 0 */
}

static struct remembered *bucket_of(const struct verifier *v, const unsigned char key[MARK])
{
    uint32_t n;

    memcpy(&n, key, sizeof(n));
    return v->table + (size_t)(n % BUCKETS) * WAYS;
}

static bool is_remembered(
    struct verifier *v, const unsigned char key[MARK], const struct directory_account *a)
{
    struct remembered *bucket = bucket_of(v, key);
    unsigned char hash[MARK];
    int64_t now = seconds();
    bool found = false;

    verifier_mark(v, slice_str(a->hash), hash);
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < WAYS; i++) {
        if (bucket[i].until > now && CRYPTO_memcmp(bucket[i].key, key, MARK) == 0)
            found = CRYPTO_memcmp(bucket[i].hash, hash, sizeof(bucket[i].hash)) == 0;
    }
    pthread_mutex_unlock(&v->lock);
    return found;
}

static void remember(struct verifier *v, const unsigned char key[MARK], const struct directory_account *a)
{
    struct remembered *bucket = bucket_of(v, key), *to = bucket;
    unsigned char hash[MARK], account[MARK];

    if (v->cache_seconds == 0)
        return;
    verifier_mark(v, slice_str(a->hash), hash);
    verifier_mark(v, slice_str(a->address), account);
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < WAYS; i++) {
        if (memcmp(bucket[i].key, key, MARK) == 0) {
            to = &bucket[i];
            break;
        }
        if (bucket[i].until < to->until)
            to = &bucket[i];
    }
    memcpy(to->key, key, MARK);
    memcpy(to->hash, hash, sizeof(to->hash));
    memcpy(to->account, account, sizeof(to->account));
    to->until = seconds() + (int64_t)v->cache_seconds;
    pthread_mutex_unlock(&v->lock);
}

void verifier_forget(struct verifier *v, struct slice account)
{
    unsigned char mark[MARK];

    verifier_mark(v, account, mark);
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < (size_t)BUCKETS * WAYS; i++) {
        if (memcmp(v->table[i].account, mark, sizeof(v->table[i].account)) == 0)
            mem_wipe(&v->table[i], sizeof(v->table[i]));
    }
    pthread_mutex_unlock(&v->lock);
}

/* ---- checking ---- */

/* An account that may log in; else its reason, in words for the log only. */
static bool get_usable(struct verifier *v, struct slice account, struct directory_account *a, struct err *e)
{
    struct err inner = {0};

    if (directory_account_get(v->directory, account, a, &inner) != 0) {
        if (inner.code == ERR_NO_USER || inner.code == ERR_NO_DOMAIN)
            err_set(e, ERR_AUTH_FAILED, "no such account");
        else
            err_set(e, inner.code, "%s", inner.detail);
        return false;
    }
    if (a->hash[0] != '\0' && !a->suspended)
        return true;
    err_set(e, ERR_AUTH_FAILED, a->suspended ? "the account is suspended" : "the account has no password");
    return false;
}

bool verifier_is_usable(struct verifier *v, struct slice account, struct err *e)
{
    struct directory_account a;
    bool good = get_usable(v, account, &a, e);

    mem_wipe(&a, sizeof(a));
    return good;
}

static bool hash_is_old(const struct verifier *v, const char *hash)
{
    if (strncmp(hash, "$y$", 3) == 0)
        return false;
    return strncmp(hash, "$6$", 3) != 0 || strcmp(v->scheme, "sha512crypt") != 0;
}

/*
 * Now that the password is here: what can be made of it only now. A failure is no reason to refuse the login:
 * the next one tries again. The account is read again, because an administrator may have changed it while we
 * hashed.
 */
static void upgrade(struct verifier *v, struct slice password, struct directory_account *verified)
{
    struct directory_account now, before;
    char hash[sizeof(now.hash)] = "", scram[sizeof(now.scram)] = "";
    bool old = hash_is_old(v, verified->hash), lacks = verified->scram[0] == '\0';

    if (!old && !lacks)
        return;
    if (old && password_hash(password, v->scheme, hash, sizeof(hash), NULL) != 0)
        return;
    if (lacks && password_scram(password, VERIFIER_ITERATIONS, scram, sizeof(scram), NULL) != 0)
        scram[0] = '\0';
    if (directory_account_get(v->directory, slice_str(verified->address), &now, NULL) == 0 &&
        strcmp(now.hash, verified->hash) == 0) {
        before = now;
        if (old)
            memcpy(now.hash, hash, sizeof(hash));
        if (now.scram[0] == '\0')
            memcpy(now.scram, scram, sizeof(scram));
        /* suspended or given a new password in this moment: that stays */
        if (directory_account_swap(v->directory, &before, &now, NULL) == 0)
            *verified = now;
        mem_wipe(&before, sizeof(before));
    }
    mem_wipe(&now, sizeof(now));
    mem_wipe(hash, sizeof(hash));
    mem_wipe(scram, sizeof(scram));
}

bool verifier_check(struct verifier *v, const char *service, const char *mechanism, struct slice raw,
    struct slice password, struct buf *account, struct err *e)
{
    struct buf name = BUF_INIT(VERIFIER_NAME_MAX * 4);
    struct directory_account a = {0};
    unsigned char key[MARK];
    struct err why = {0};
    bool usable = false, good;

    if (verifier_name(raw, &name))
        usable = get_usable(v, buf_slice(&name), &a, &why);
    else
        err_set(&why, ERR_AUTH_FAILED, "no account can have this name; the whole address is needed");
    /* whoever it is, the same steps: the time tells nothing of him (A01) */
    key_of(v, service, mechanism, buf_slice(&name), password, key);
    good = is_remembered(v, key, &a) && usable;
    if (!good && password_verify(password, *a.hash ? a.hash : password_nobody(v->scheme)) && usable) {
        good = true;
        upgrade(v, password, &a);
        remember(v, key, &a);
    }
    if (!good && usable)
        err_set(&why, ERR_AUTH_FAILED, "wrong password");
    if (good)
        buf_add(account, buf_slice(&name));
    else
        err_set(e, why.code, "%s", why.detail);
    mem_wipe(&a, sizeof(a));
    buf_free(&name);
    return good;
}

bool verifier_is_cached(
    struct verifier *v, const char *service, const char *mechanism, struct slice raw, struct slice password)
{
    struct buf name = BUF_INIT(VERIFIER_NAME_MAX * 4);
    struct directory_account a = {0};
    unsigned char key[MARK];
    bool found = false;

    if (verifier_name(raw, &name) && get_usable(v, buf_slice(&name), &a, NULL)) {
        key_of(v, service, mechanism, buf_slice(&name), password, key);
        found = is_remembered(v, key, &a);
    }
    mem_wipe(&a, sizeof(a));
    buf_free(&name);
    return found;
}

/* ---- SCRAM ---- */

static void add_base64(char *out, size_t size, const unsigned char *from, size_t n)
{
    char text[64];
    size_t used = strlen(out);

    INVARIANT(n <= 32 && EVP_EncodeBlock((unsigned char *)text, from, (int)n) > 0);
    INVARIANT((size_t)snprintf(out + used, size - used, "%s", text) < size - used);
}

void verifier_scram(struct verifier *v, struct slice name, char out[256])
{
    struct directory_account a = {0};
    unsigned char mark[MARK];
    bool usable = get_usable(v, name, &a, NULL);
    struct slice stored = slice_str(a.scram);
    ssize_t keys = slice_rchr(stored, '$');

    if (usable && stored.n > 0) {
        snprintf(out, 256, "%s", a.scram);
    } else if (stored.n > 0 && keys > 0) { /* a suspended account keeps its salt, so nothing shows */
        snprintf(out, 256, "%.*s$", (int)keys, stored.p);
    } else {
        snprintf(out, 256, "SCRAM-SHA-256$%u:", VERIFIER_ITERATIONS);
        mark_parts(v, (const struct slice[]){SLICE("salt"), name}, 2, mark);
        add_base64(out, 256, mark, 16);
        snprintf(out + strlen(out), 256 - strlen(out), "$");
    }
    if (!usable || stored.n == 0) {
        mark_parts(v, (const struct slice[]){SLICE("stored key"), name}, 2, mark);
        add_base64(out, 256, mark, MARK);
        snprintf(out + strlen(out), 256 - strlen(out), ":");
        mark_parts(v, (const struct slice[]){SLICE("server key"), name}, 2, mark);
        add_base64(out, 256, mark, MARK);
    }
    mem_wipe(&a, sizeof(a));
}
