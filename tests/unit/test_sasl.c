/* sasl: whole exchanges as clients make them, over a directory and password functions of our own. */
#include <crypt.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <cmocka.h>

#include "auth/password.h"
#include "auth/sasl.h"
#include "common/mem.h"

/* ---- the directory and the passwords of this test ---- */

struct directory {
    pthread_mutex_t lock;
    struct directory_account accounts[4];
    bool broken;
};

static struct directory directory = {.lock = PTHREAD_MUTEX_INITIALIZER};
static atomic_uint verified; /* calls of password_verify */

int directory_account_get(
    struct directory *d, struct slice address, struct directory_account *out, struct err *e)
{
    int result = -1;

    if (d->broken)
        return err_set(e, ERR_UNAVAILABLE, "the environment is closed");
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < 4 && result != 0; i++) {
        if (slice_eq(address, slice_str(d->accounts[i].address))) {
            *out = d->accounts[i];
            result = 0;
        }
    }
    pthread_mutex_unlock(&d->lock);
    return result == 0 ? 0 : err_set(e, ERR_NO_USER, "nobody");
}

int directory_account_set(struct directory *d, const struct directory_account *a, struct err *e)
{
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(d->accounts[i].address, a->address) == 0)
            d->accounts[i] = *a;
    }
    pthread_mutex_unlock(&d->lock);
    (void)e;
    return 0;
}

int directory_account_swap(struct directory *d, const struct directory_account *before,
    const struct directory_account *after, struct err *e)
{
    (void)before;
    return directory_account_set(d, after, e);
}

static bool crypt_with(struct slice password, const char *setting, char *out, size_t size)
{
    struct crypt_data *data = calloc(1, sizeof(*data));
    char *z = slice_dup(password);
    bool good = false;

    if (data != NULL && z != NULL) {
        const char *hash = crypt_r(z, setting, data);
        good = hash != NULL && hash[0] != '*' && (size_t)snprintf(out, size, "%s", hash) < size;
    }
    free(data);
    free(z);
    return good;
}

int password_hash(struct slice password, const char *scheme, char *out, size_t size, struct err *e)
{
    const char *setting = strcmp(scheme, "yescrypt") == 0 ? "$y$j75$abcdefghijklmnop" : "$6$abcdefgh";

    return crypt_with(password, setting, out, size) ? 0 : err_set(e, ERR_INTERNAL, "crypt");
}

bool password_verify(struct slice password, const char *hash)
{
    char out[192];

    verified++;
    bool known = hash[0] != '\0';
    return crypt_with(password, known ? hash : "$y$j75$abcdefghijklmnop", out, sizeof(out)) && known &&
           strcmp(out, hash) == 0;
}

const char *password_nobody(const char *scheme)
{
    return strcmp(scheme, "yescrypt") == 0 ? "$y$j75$abcdefghijklmnop" : "$6$abcdefgh";
}

static void hmac(const void *key, size_t n, struct slice text, unsigned char out[32])
{
    unsigned len;

    assert_non_null(HMAC(EVP_sha256(), key, (int)n, (const unsigned char *)text.p, text.n, out, &len));
}

static void sha256(const unsigned char in[32], unsigned char out[32])
{
    assert_int_equal(EVP_Digest(in, 32, out, NULL, EVP_sha256(), NULL), 1);
}

static void client_keys(struct slice password, const unsigned char *salt, size_t n, unsigned rounds,
    unsigned char client[32], unsigned char server[32])
{
    unsigned char salted[32];

    assert_int_equal(
        PKCS5_PBKDF2_HMAC(password.p, (int)password.n, salt, (int)n, (int)rounds, EVP_sha256(), 32, salted),
        1);
    hmac(salted, 32, SLICE("Client Key"), client);
    hmac(salted, 32, SLICE("Server Key"), server);
}

int password_scram(struct slice password, unsigned iterations, char *out, size_t size, struct err *e)
{
    static const unsigned char salt[16] = "0123456789abcde";
    unsigned char client[32], server[32], stored[32];
    char a[64], b[64], c[64];

    client_keys(password, salt, sizeof(salt), iterations, client, server);
    sha256(client, stored);
    EVP_EncodeBlock((unsigned char *)a, salt, sizeof(salt));
    EVP_EncodeBlock((unsigned char *)b, stored, 32);
    EVP_EncodeBlock((unsigned char *)c, server, 32);
    if ((size_t)snprintf(out, size, "SCRAM-SHA-256$%u:%s$%s:%s", iterations, a, b, c) >= size)
        return err_set(e, ERR_INTERNAL, "too long");
    return 0;
}

#define ANNA "anna@example.org"
#define PASSWORD "correct horse"

static void make_account(size_t i, const char *address, const char *scheme, bool scram, bool suspended)
{
    struct directory_account *a = &directory.accounts[i];

    *a = (struct directory_account){.suspended = suspended};
    snprintf(a->address, sizeof(a->address), "%s", address);
    assert_int_equal(password_hash(SLICE(PASSWORD), scheme, a->hash, sizeof(a->hash), NULL), 0);
    if (scram)
        assert_int_equal(password_scram(SLICE(PASSWORD), 4096, a->scram, sizeof(a->scram), NULL), 0);
}

static int setup(void **state)
{
    struct err e = {0};

    directory.broken = false;
    make_account(0, ANNA, "yescrypt", true, false);
    make_account(1, "old@example.org", "sha512crypt", false, false);
    make_account(2, "off@example.org", "yescrypt", true, true);
    make_account(3, "bert@example.org", "yescrypt", true, false);
    if (sasl_load("mail.example.org", &e) != 0) {
        print_error("%s\n", e.detail);
        return -1;
    }
    *state = sasl_open(&directory, 60);
    verified = 0;
    return 0;
}

static int teardown(void **state)
{
    sasl_close(*state);
    return 0;
}

/* ---- one exchange, scripted ---- */

struct talk {
    struct sasl_exchange *x;
    struct buf out, account;
    struct err e;
    enum sasl_outcome outcome;
};

static void talk_start(
    struct talk *t, struct sasl_server *s, const char *mechanism, bool has_initial, struct slice initial)
{
    *t = (struct talk){.out = BUF_INIT(65536), .account = BUF_INIT(65536)};
    t->x = sasl_exchange_new(s, "imap", true, "192.0.2.1");
    assert_non_null(t->x);
    t->outcome =
        sasl_exchange_start(t->x, slice_str(mechanism), has_initial, initial, &t->out, &t->account, &t->e);
}

static void talk_step(struct talk *t, struct slice message)
{
    buf_clear(&t->out);
    t->outcome = sasl_exchange_step(t->x, message, &t->out, &t->account, &t->e);
}

static void talk_end(struct talk *t)
{
    sasl_exchange_free(t->x);
    buf_free(&t->out);
    buf_free(&t->account);
}

static void expect_done(struct talk *t, const char *account)
{
    if (t->outcome != SASL_DONE)
        fail_msg("not done: %s: %s", err_row(t->e.code)->name, t->e.detail);
    assert_string_equal(buf_str(&t->account), account);
    talk_end(t);
}

static void expect_refused(struct talk *t, enum err_code code)
{
    assert_int_equal(t->outcome, SASL_REFUSED);
    assert_int_equal(t->e.code, code);
    assert_int_equal(t->account.n, 0);
    assert_int_equal(t->out.n, 0);
    talk_end(t);
}

static void expect_challenge(struct talk *t, const char *challenge)
{
    assert_int_equal(t->outcome, SASL_CONTINUE_EXCHANGE);
    assert_string_equal(buf_str(&t->out), challenge);
}

static void test_mechanisms(void **state)
{
    static const char *const refused[] = {"", "CRAM-MD5", "DIGEST-MD5", "ANONYMOUS", "NTLM", "EXTERNAL",
        "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "PLAI", "PLAIN LOGIN", "SCRAM-SHA-2567"};
    struct talk t;

    assert_string_equal(sasl_server_mechanisms(*state, true), "SCRAM-SHA-256 PLAIN LOGIN");
    assert_string_equal(sasl_server_mechanisms(*state, false), "PLAIN LOGIN");
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        talk_start(&t, *state, refused[i], true, SLICE("anonymous"));
        expect_refused(&t, ERR_AUTH_MECHANISM);
    }
}

static void test_plain(void **state)
{
    struct talk t;

    talk_start(&t, *state, "PLAIN", true, SLICE("\0" ANNA "\0" PASSWORD));
    assert_true(slice_eq(sasl_exchange_user(t.x), SLICE(ANNA)));
    expect_done(&t, ANNA);
    talk_start(&t, *state, "plain", true, SLICE(ANNA "\0Anna@Example.ORG\0" PASSWORD));
    expect_done(&t, ANNA);
    talk_start(&t, *state, "PLAIN", false, SLICE(""));
    expect_challenge(&t, "");
    talk_step(&t, SLICE("\0" ANNA "\0" PASSWORD));
    expect_done(&t, ANNA);
    talk_start(
        &t, *state, "PLAIN", true, SLICE("bert@example.org\0" ANNA "\0" PASSWORD)); /* to act as another */
    expect_refused(&t, ERR_AUTH_FAILED);
    talk_start(&t, *state, "PLAIN", true, SLICE(""));
    if (t.outcome == SASL_CONTINUE_EXCHANGE)
        talk_step(&t, SLICE(""));
    expect_refused(&t, ERR_AUTH_FAILED);
}

/* Without TLS, where plain_login allows it. */
static void test_without_tls(void **state)
{
    struct buf out = BUF_INIT(1024), account = BUF_INIT(1024);
    struct err e = {0};
    struct sasl_exchange *x = sasl_exchange_new(*state, "imap", false, "127.0.0.1");

    assert_int_equal(
        sasl_exchange_start(x, SLICE("PLAIN"), true, SLICE("\0" ANNA "\0" PASSWORD), &out, &account, &e),
        SASL_DONE);
    assert_string_equal(buf_str(&account), ANNA);
    /* and over is over */
    assert_int_equal(sasl_exchange_step(x, SLICE("\0" ANNA "\0" PASSWORD), &out, &account, &e), SASL_REFUSED);
    sasl_exchange_free(x);
    buf_free(&out);
    buf_free(&account);
}

/* clients.md 1 */
static void test_login(void **state)
{
    struct talk t;

    talk_start(&t, *state, "LOGIN", false, SLICE(""));
    expect_challenge(&t, "Username:");
    talk_step(&t, SLICE(ANNA));
    expect_challenge(&t, "Password:");
    talk_step(&t, SLICE(PASSWORD));
    expect_done(&t, ANNA);
    talk_start(&t, *state, "LOGIN", true, SLICE(ANNA));
    expect_challenge(&t, "Password:");
    talk_step(&t, SLICE(PASSWORD));
    expect_done(&t, ANNA);
    talk_start(&t, *state, "LOGIN", true, SLICE(ANNA));
    talk_step(&t, SLICE("wrong horse"));
    expect_refused(&t, ERR_AUTH_FAILED);
}

/* ---- SCRAM, the client's side (RFC 5802 3, 5) ---- */

struct scram {
    struct talk t;
    char first[600], server_first[600];
    unsigned char server_key[32], signature[32];
};

static void scram_first(struct scram *c, struct sasl_server *s, const char *user, bool initial)
{
    snprintf(c->first, sizeof(c->first), "n,,n=%s,r=fyko+d2lbbFgONRv9qkxdawL", user);
    talk_start(&c->t, s, "SCRAM-SHA-256", initial, initial ? slice_str(c->first) : SLICE(""));
    if (!initial) {
        expect_challenge(&c->t, "");
        talk_step(&c->t, slice_str(c->first));
    }
    if (c->t.outcome == SASL_CONTINUE_EXCHANGE)
        snprintf(c->server_first, sizeof(c->server_first), "%s", buf_str(&c->t.out));
}

/* Returns the server's salt and iterations for comparison. */
static void scram_proof(struct scram *c, const char *password, char salt_text[64], unsigned *rounds)
{
    char nonce[300], auth[2000], final[800], proof_text[64];
    unsigned char salt[64], client[32], stored[32], proof[32];

    assert_int_equal(c->t.outcome, SASL_CONTINUE_EXCHANGE);
    assert_int_equal(sscanf(c->server_first, "r=%299[^,],s=%63[^,],i=%u", nonce, salt_text, rounds), 3);
    assert_int_equal(strncmp(nonce, "fyko+d2lbbFgONRv9qkxdawL", 24), 0);
    assert_true(strlen(nonce) > 40);
    int n = EVP_DecodeBlock(salt, (unsigned char *)salt_text, (int)strlen(salt_text));
    assert_int_equal(n, 18);
    client_keys(slice_str(password), salt, 16, *rounds, client, c->server_key);
    sha256(client, stored);
    snprintf(auth, sizeof(auth), "%s,%s,c=biws,r=%s", c->first + 3, c->server_first, nonce);
    hmac(stored, 32, slice_str(auth), proof);
    hmac(c->server_key, 32, slice_str(auth), c->signature);
    for (size_t i = 0; i < 32; i++)
        proof[i] ^= client[i];
    EVP_EncodeBlock((unsigned char *)proof_text, proof, 32);
    snprintf(final, sizeof(final), "c=biws,r=%s,p=%s", nonce, proof_text);
    talk_step(&c->t, slice_str(final));
}

static void scram_good(struct sasl_server *s, const char *user, const char *account, bool initial)
{
    struct scram c;
    char salt[64], text[64], wants[80];
    unsigned rounds;

    scram_first(&c, s, user, initial);
    scram_proof(&c, PASSWORD, salt, &rounds);
    EVP_EncodeBlock((unsigned char *)text, c.signature, 32);
    snprintf(wants, sizeof(wants), "v=%s", text);
    expect_challenge(&c.t, wants);
    talk_step(&c.t, SLICE(""));
    expect_done(&c.t, account);
}

static void scram_bad(
    struct sasl_server *s, const char *user, const char *password, char salt[64], unsigned *rounds)
{
    struct scram c;

    scram_first(&c, s, user, true);
    scram_proof(&c, password, salt, rounds);
    expect_refused(&c.t, ERR_AUTH_FAILED);
}

static void test_scram(void **state)
{
    char salt[64], other[64];
    unsigned rounds;

    scram_good(*state, ANNA, ANNA, true);
    scram_good(*state, "Anna@EXAMPLE.org", ANNA, false);
    scram_bad(*state, ANNA, "wrong", salt, &rounds);
    assert_string_equal(salt, "MDEyMzQ1Njc4OWFiY2RlAA==");
    assert_int_equal(rounds, 4096);
    /* nobody: as if there were somebody, the same each time */
    scram_bad(*state, "nobody@example.org", PASSWORD, salt, &rounds);
    assert_int_equal(rounds, 100000);
    scram_bad(*state, "nobody@example.org", "wrong", other, &rounds);
    assert_string_equal(salt, other);
    scram_bad(*state, "nobody2@example.org", PASSWORD, other, &rounds);
    assert_string_not_equal(salt, other);
    scram_bad(*state, "no address", PASSWORD, salt, &rounds);
    scram_bad(*state, "old@example.org", PASSWORD, salt, &rounds); /* has no verifier */
    scram_bad(*state, "off@example.org", PASSWORD, salt, &rounds); /* suspended: its own salt */
    assert_string_equal(salt, "MDEyMzQ1Njc4OWFiY2RlAA==");
    assert_int_equal(verified, 0);
}

/* ---- who may not ---- */

#define M(literal)                                                                                           \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

static void test_refused(void **state)
{
    static const struct slice messages[] = {
        M("\0" ANNA "\0wrong"),
        M("\0nobody@example.org\0" PASSWORD),
        M("\0off@example.org\0" PASSWORD),
        M("\0anna\0" PASSWORD),
        M("\0a' OR 1--@example.org\0x"),
        M("\0*)(uid=*@example.org\0x"),
        M("\0an\tna@example.org\0x"),
        M("\0anna@example.org\n\0x"),
        M("\0\"anna\"@example.org\0x"),
        M("\0anna@[127.0.0.1]\0x"),
        M("\0@example.org\0x"),
        M("\0anna@\0x"),
        M("\0anna@@example.org\0x"),
        M("\0anna@example.org@example.org\0x"),
        M("\0<anna@example.org>\0x"),
        M("\0\xff\xfe@example.org\0x"),
        M("\0../../etc/passwd\0x"),
        M("\0anna@example.org,bert@example.org\0x"),
        M("\0 \0x"),
    };
    struct talk t;

    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        unsigned before = verified;
        talk_start(&t, *state, "PLAIN", true, messages[i]);
        if (t.outcome != SASL_REFUSED || verified != before + 1)
            fail_msg("row %zu: outcome %d, %u hashes", i, (int)t.outcome, (unsigned)verified - before);
        expect_refused(&t, ERR_AUTH_FAILED);
    }
}

/* The directory is away: that is not a wrong password. */
static void test_directory_fails(void **state)
{
    struct talk t;

    directory.broken = true;
    talk_start(&t, *state, "PLAIN", true, SLICE("\0" ANNA "\0" PASSWORD));
    expect_refused(&t, ERR_UNAVAILABLE);
}

static double seconds_of(struct sasl_server *s, struct slice message)
{
    struct timespec a, b;
    double best = 1e9;

    for (int i = 0; i < 5; i++) {
        struct talk t;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        talk_start(&t, s, "PLAIN", true, message);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        expect_refused(&t, ERR_AUTH_FAILED);
        double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
        best = took < best ? took : best;
    }
    return best;
}

static void test_timing(void **state)
{
    double known = seconds_of(*state, SLICE("\0" ANNA "\0wrong"));
    double unknown = seconds_of(*state, SLICE("\0nobody@example.org\0wrong"));
    double odd = seconds_of(*state, SLICE("\0no body\0wrong"));

    assert_true(known < unknown * 2 && unknown < known * 2);
    assert_true(odd < unknown * 2 && unknown < odd * 2);
}

/* ---- memory of verified passwords ---- */

static bool check(struct sasl_server *s, const char *service, const char *user, const char *password)
{
    struct buf account = BUF_INIT(1024);
    struct err e = {0};
    bool good = sasl_check_password(s, service, slice_str(user), slice_str(password), &account, &e);

    assert_true(good || e.code == ERR_AUTH_FAILED);
    assert_int_equal(account.n > 0, good);
    buf_free(&account);
    return good;
}

static void test_cache(void **state)
{
    struct sasl_server *s = *state;

    assert_false(sasl_check_is_cached(s, "imap", SLICE(ANNA), SLICE(PASSWORD)));
    assert_true(check(s, "imap", ANNA, PASSWORD));
    assert_int_equal(verified, 1);
    assert_true(sasl_check_is_cached(s, "imap", SLICE("ANNA@example.org"), SLICE(PASSWORD)));
    assert_true(check(s, "imap", ANNA, PASSWORD));
    assert_int_equal(verified, 1);
    assert_false(check(s, "imap", ANNA, "wrong")); /* wrong ones are never remembered */
    assert_false(check(s, "imap", ANNA, "wrong"));
    assert_int_equal(verified, 3);
    assert_false(sasl_check_is_cached(s, "pop3", SLICE(ANNA), SLICE(PASSWORD)));
    assert_false(sasl_check_is_cached(s, "imap", SLICE("bert@example.org"), SLICE(PASSWORD))); /* A02 */
    sasl_forget(s, SLICE("bert@example.org"));
    assert_true(sasl_check_is_cached(s, "imap", SLICE(ANNA), SLICE(PASSWORD)));
    sasl_forget(s, SLICE(ANNA));
    assert_false(sasl_check_is_cached(s, "imap", SLICE(ANNA), SLICE(PASSWORD)));
    assert_true(check(s, "imap", ANNA, PASSWORD));
    directory.accounts[0].suspended = true;
    assert_false(sasl_check_is_cached(s, "imap", SLICE(ANNA), SLICE(PASSWORD)));
    assert_false(check(s, "imap", ANNA, PASSWORD));
    directory.accounts[0].suspended = false;
    assert_true(sasl_check_is_cached(s, "imap", SLICE(ANNA), SLICE(PASSWORD)));
    assert_int_equal(password_hash(SLICE("new"), "yescrypt", directory.accounts[0].hash, 192, NULL), 0);
    assert_false(sasl_check_is_cached(s, "imap", SLICE(ANNA), SLICE(PASSWORD)));
    assert_false(check(s, "imap", ANNA, PASSWORD));
    assert_true(check(s, "imap", ANNA, "new"));
}

/* Lengths are part of the key: nothing can be moved from one field into the next. */
static void test_cache_fields(void **state)
{
    assert_true(check(*state, "imap", ANNA, PASSWORD));
    assert_false(sasl_check_is_cached(*state, "imapc", SLICE(ANNA), SLICE("orrect horse")));
    assert_false(sasl_check_is_cached(*state, "ima", SLICE(ANNA), SLICE("p" PASSWORD)));
}

static void test_upgrade(void **state)
{
    struct directory_account *old = &directory.accounts[1];
    struct talk t;

    assert_false(check(*state, "imap", "old@example.org", "wrong"));
    assert_memory_equal(old->hash, "$6$", 3);
    assert_string_equal(old->scram, "");
    talk_start(&t, *state, "PLAIN", true, SLICE("\0old@example.org\0" PASSWORD));
    expect_done(&t, "old@example.org");
    assert_memory_equal(old->hash, "$y$", 3);
    assert_memory_equal(old->scram, "SCRAM-SHA-256$100000:", 21);
    scram_good(*state, "old@example.org", "old@example.org", true);
    /* the new hash is what is remembered */
    unsigned before = verified;
    talk_start(&t, *state, "PLAIN", true, SLICE("\0old@example.org\0" PASSWORD));
    expect_done(&t, "old@example.org");
    assert_int_equal(verified, before);
    /* told so, sha512crypt is no old kind */
    make_account(1, "old@example.org", "sha512crypt", true, false);
    sasl_set_hash(*state, "sha512crypt");
    assert_true(check(*state, "imap", "old@example.org", PASSWORD));
    assert_memory_equal(old->hash, "$6$", 3);
}

/* ---- S11: what is no login at all ---- */

static unsigned random_state = 1;

static unsigned random_number(unsigned below)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 8) % below;
}

static void test_garbage(void **state)
{
    static const char *const mechanisms[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256"};
    static const char *const blobs[] = {"", "*", "=", "\xff\xfe\xfd", "n,,",
        "n,,n=,r=", "n,,n=a,r=", "y,,n=a,r=b", "p=tls-unique,,n=" ANNA ",r=abcdefghijkl", "n,a=,n=a,r=b",
        "n,a=x,n=a,r=bbbbbbbb", "n,,m=x,n=a,r=bbbbbbb", "n,,n==2,r=bbbbbbbb", "n,,n=a=2Cb=3D,r=bbbb",
        "c=biws,r=x,p=y", "c=,r=,p=", "c=cD10bHMtdW5pcXVlLCw=,r=x,p=y"};
    struct talk t;

    for (size_t m = 0; m < 3; m++) {
        for (size_t i = 0; i < sizeof(blobs) / sizeof(blobs[0]); i++) {
            talk_start(&t, *state, mechanisms[m], i % 2 == 0, slice_str(blobs[i]));
            for (size_t k = 0; t.outcome == SASL_CONTINUE_EXCHANGE && k < 4; k++)
                talk_step(&t, slice_str(blobs[(i + k) % (sizeof(blobs) / sizeof(blobs[0]))]));
            assert_int_not_equal(t.outcome, SASL_DONE);
            assert_int_equal(t.account.n, 0);
            talk_end(&t);
        }
    }
    for (unsigned round = 0; round < 300; round++) {
        char blob[200];
        size_t n = random_number(sizeof(blob));
        for (size_t i = 0; i < n; i++)
            blob[i] = (char)random_number(round % 2 == 0 ? 256 : 4);
        talk_start(&t, *state, mechanisms[round % 3], round % 5 != 0, slice_of(blob, n));
        if (t.outcome == SASL_CONTINUE_EXCHANGE)
            talk_step(&t, slice_of(blob, n / 2));
        assert_int_not_equal(t.outcome, SASL_DONE);
        talk_end(&t);
    }
    char *large = calloc(1, 65536);
    assert_non_null(large);
    talk_start(&t, *state, "PLAIN", true, slice_of(large, 65536));
    expect_refused(&t, ERR_AUTH_FAILED);
    memset(large, 'a', 9216);
    talk_start(&t, *state, "LOGIN", true, slice_of(large, 9216));
    talk_end(&t);
    free(large);
}

static void test_channel_binding(void **state)
{
    struct talk t;

    talk_start(&t, *state, "SCRAM-SHA-256", true, SLICE("p=tls-unique,,n=" ANNA ",r=abcdefghijkl"));
    expect_refused(&t, ERR_AUTH_FAILED);
    talk_start(&t, *state, "SCRAM-SHA-256", false, SLICE(""));
    talk_step(&t, SLICE("p=tls-unique,,n=" ANNA ",r=abcdefghijkl"));
    expect_refused(&t, ERR_AUTH_FAILED);
}

/* libsasl2 would go on with a nonce made of the time. */
static void test_no_randomness(void **state)
{
    struct rlimit files, none;
    struct talk t;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    none = files;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const char *mechanisms = sasl_server_mechanisms(*state, true);
    talk_start(&t, *state, "SCRAM-SHA-256", true, SLICE("n,,n=" ANNA ",r=fyko+d2lbbFgONRv9qkxdawL"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_string_equal(mechanisms, "PLAIN LOGIN");
    expect_refused(&t, ERR_AUTH_MECHANISM);
}

/* The leak check of the sanitizer build is what this is for. */
static void test_aborted(void **state)
{
    for (int i = 0; i < 1000; i++) {
        struct talk t;
        if (i % 3 == 0) {
            talk_start(&t, *state, "LOGIN", true, SLICE(ANNA));
        } else if (i % 3 == 1) {
            talk_start(&t, *state, "SCRAM-SHA-256", true, SLICE("n,,n=" ANNA ",r=fyko+d2lbbFgONRv9qkxdawL"));
        } else {
            talk_start(&t, *state, "PLAIN", false, SLICE(""));
        }
        assert_int_equal(t.outcome, SASL_CONTINUE_EXCHANGE);
        talk_end(&t);
    }
}

struct job {
    struct sasl_server *server;
    unsigned good, bad;
};

/* cmocka's assertions belong to the first thread: count here. */
static void *run_job(void *context)
{
    struct job *j = context;

    for (int i = 0; i < 20; i++) {
        struct buf out = BUF_INIT(4096), account = BUF_INIT(4096);
        struct err e = {0};
        bool right = i % 4 != 0;
        struct sasl_exchange *x = sasl_exchange_new(j->server, "imap", true, "192.0.2.1");
        enum sasl_outcome o = sasl_exchange_start(x, SLICE("PLAIN"), true,
            right ? SLICE("\0" ANNA "\0" PASSWORD) : SLICE("\0bert@example.org\0wrong"), &out, &account, &e);
        j->good += right && o == SASL_DONE && slice_eq(buf_slice(&account), SLICE(ANNA));
        j->bad += !right && o == SASL_REFUSED && account.n == 0;
        sasl_exchange_free(x);
        buf_free(&out);
        buf_free(&account);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    struct job jobs[4];

    for (size_t i = 0; i < 4; i++) {
        jobs[i] = (struct job){.server = *state};
        assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].good, 15);
        assert_int_equal(jobs[i].bad, 5);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mechanisms),
        TEST(test_plain),
        TEST(test_without_tls),
        TEST(test_login),
        TEST(test_scram),
        TEST(test_refused),
        TEST(test_directory_fails),
        TEST(test_timing),
        TEST(test_cache),
        TEST(test_cache_fields),
        TEST(test_upgrade),
        TEST(test_garbage),
        TEST(test_channel_binding),
        TEST(test_no_randomness),
        TEST(test_aborted),
        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
