#include "auth/throttle.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/buf.h"
#include "common/id.h"
#include "common/mem.h"

/*
 * Three tables of fixed size, WAYS entries a bucket; keys are 64 bits of a keyed hash, so nobody can aim at a
 * bucket and no password lies in memory. A full bucket gives up what has run out, else who failed least: a
 * flood of fresh addresses cannot wash an offender out.
 */
#define WAYS 8
#define COUNTER_BUCKETS 8192
#define STAMP_BUCKETS 4096
#define DAY 86400

/* security.md 4.3 */
enum scope { ADDRESS, NETWORK, USER, SCOPES };
static const struct limit {
    int64_t period[2]; /* seconds; 0: no such window */
    uint32_t most[2];
} limits[SCOPES] = {
    [ADDRESS] = {{60, DAY}, {10, 50}},
    [NETWORK] = {{60, DAY}, {30, 150}},
    [USER] = {{3600, 0}, {20, 0}},
};

/* Windows begin with their first failure. */
struct counter {
    uint64_t key; /* 0: free */
    int64_t start[2];
    uint32_t count[2];
    enum scope scope;
};

struct stamp {
    uint64_t key;
    int64_t at;
};

struct throttle {
    unsigned char secret[32];
    bool count_loopback;
    struct counter *counters;
    struct stamp *tried; /* wrong passwords by scope: the same one again is no guess */
    struct stamp *good;  /* address and user of a login */
};

/* The client as the limits see it: text of the whole address (or /64) and of its network. */
struct client {
    struct slice address, network;
    unsigned char octets[16];
    bool loopback;
};

struct throttle *throttle_new(bool count_loopback)
{
    struct throttle *t = mem_zalloc(1, sizeof(*t));

    id_random(t->secret, sizeof(t->secret));
    t->count_loopback = count_loopback;
    t->counters = mem_zalloc((size_t)COUNTER_BUCKETS * WAYS, sizeof(*t->counters));
    t->tried = mem_zalloc((size_t)STAMP_BUCKETS * WAYS, sizeof(*t->tried));
    t->good = mem_zalloc((size_t)STAMP_BUCKETS * WAYS, sizeof(*t->good));
    return t;
}

void throttle_free(struct throttle *t)
{
    if (t == NULL)
        return;
    free(t->counters);
    free(t->tried);
    free(t->good);
    mem_wipe(t->secret, sizeof(t->secret));
    free(t);
}

static void read_client(struct slice ip, struct client *c)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}, one[16] = {[15] = 1};
    char z[INET6_ADDRSTRLEN];
    ssize_t zone = slice_chr(ip, '%');

    if (zone >= 0)
        ip = slice_sub(ip, 0, (size_t)zone);
    *c = (struct client){.address = ip, .network = ip};
    if (ip.n >= sizeof(z))
        return;
    if (ip.n > 0)
        memcpy(z, ip.p, ip.n);
    z[ip.n] = '\0';
    if (inet_pton(AF_INET, z, c->octets) == 1) {
        c->address = slice_of(c->octets, 4);
        c->network = slice_of(c->octets, 3);
    } else if (inet_pton(AF_INET6, z, c->octets) == 1) {
        bool is_v4 = memcmp(c->octets, mapped, sizeof(mapped)) == 0;
        c->address = is_v4 ? slice_of(c->octets + 12, 4) : slice_of(c->octets, 8);
        c->network = is_v4 ? slice_of(c->octets + 12, 3) : slice_of(c->octets, 6);
        c->loopback = memcmp(c->octets, one, sizeof(one)) == 0;
    }
    if (c->address.n == 4 && c->network.n == 3)
        c->loopback = (unsigned char)c->address.p[0] == 127;
}

static void add_part(struct buf *b, struct slice s)
{
    uint64_t n = s.n;

    buf_add(b, slice_of(&n, sizeof(n)));
    buf_add(b, s);
}

/* Never 0. Users differ in more than the case of letters. */
static uint64_t key_of(
    const struct throttle *t, char kind, struct slice who, struct slice user, struct slice password)
{
    struct buf b = BUF_INIT(BUF_OWN);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    uint64_t key;

    buf_add_char(&b, kind);
    add_part(&b, who);
    add_part(&b, user);
    for (size_t i = b.n - user.n; i < b.n; i++)
        b.p[i] = ascii_lower(b.p[i]);
    add_part(&b, password);
    INVARIANT(!b.full && HMAC(EVP_sha256(), t->secret, sizeof(t->secret), (unsigned char *)b.p, b.n, digest,
                             &n) != NULL);
    mem_wipe(b.p, b.n);
    buf_free(&b);
    memcpy(&key, digest, sizeof(key));
    return key != 0 ? key : 1;
}

/* ---- counters ---- */

static bool window_is_over(const struct counter *c, int w, int64_t now)
{
    int64_t period = limits[c->scope].period[w];

    return period == 0 || c->count[w] == 0 || now - c->start[w] >= period;
}

static bool is_over(const struct counter *c, int64_t now)
{
    return c->key == 0 || (window_is_over(c, 0, now) && window_is_over(c, 1, now));
}

static struct counter *counter_find(struct throttle *t, uint64_t key)
{
    struct counter *bucket = t->counters + (key % COUNTER_BUCKETS) * WAYS;

    for (size_t i = 0; i < WAYS; i++) {
        if (bucket[i].key == key)
            return &bucket[i];
    }
    return NULL;
}

static struct counter *counter_make(struct throttle *t, uint64_t key, enum scope scope, int64_t now)
{
    struct counter *bucket = t->counters + (key % COUNTER_BUCKETS) * WAYS, *least = bucket;

    for (size_t i = 0; i < WAYS; i++) {
        struct counter *c = &bucket[i];
        if (is_over(c, now)) {
            least = c;
            break;
        }
        uint32_t sum = c->count[0] + c->count[1], least_sum = least->count[0] + least->count[1];
        if (sum < least_sum || (sum == least_sum && c->start[0] < least->start[0]))
            least = c;
    }
    *least = (struct counter){.key = key, .scope = scope};
    return least;
}

static bool is_full(struct throttle *t, enum scope scope, uint64_t key, int64_t now)
{
    const struct counter *c = counter_find(t, key);

    for (int w = 0; c != NULL && w < 2; w++) {
        if (!window_is_over(c, w, now) && c->count[w] >= limits[scope].most[w])
            return true;
    }
    return false;
}

static void count(struct throttle *t, enum scope scope, uint64_t key, int64_t now)
{
    struct counter *c = counter_find(t, key);

    if (c == NULL)
        c = counter_make(t, key, scope, now);
    for (int w = 0; w < 2; w++) {
        if (limits[scope].period[w] == 0)
            continue;
        if (window_is_over(c, w, now)) {
            c->start[w] = now;
            c->count[w] = 0;
        }
        if (c->count[w] < UINT32_MAX / 4)
            c->count[w]++;
    }
}

/* ---- stamps ---- */

static bool stamp_is_fresh(const struct stamp *table, uint64_t key, int64_t now)
{
    const struct stamp *bucket = table + (key % STAMP_BUCKETS) * WAYS;

    for (size_t i = 0; i < WAYS; i++) {
        if (bucket[i].key == key)
            return now - bucket[i].at < DAY;
    }
    return false;
}

static void stamp_set(struct stamp *table, uint64_t key, int64_t now)
{
    struct stamp *bucket = table + (key % STAMP_BUCKETS) * WAYS, *to = bucket;

    for (size_t i = 0; i < WAYS; i++) {
        if (bucket[i].key == key || bucket[i].key == 0) {
            to = &bucket[i];
            break;
        }
        if (bucket[i].at < to->at)
            to = &bucket[i];
    }
    *to = (struct stamp){.key = key, .at = now};
}

/* ---- what authd calls ---- */

static const struct slice nothing = {"", 0};

static uint64_t good_key(const struct throttle *t, const struct client *c, struct slice user)
{
    return key_of(t, 'g', c->address, user, nothing);
}

/* Keys of the counters a try belongs to; their number: without a user there is no counter for it. */
static int counter_keys(
    const struct throttle *t, const struct client *c, struct slice user, uint64_t keys[SCOPES])
{
    keys[ADDRESS] = key_of(t, 'a', c->address, nothing, nothing);
    keys[NETWORK] = key_of(t, 'n', c->network, nothing, nothing);
    if (user.n == 0)
        return USER;
    keys[USER] = key_of(t, 'u', nothing, user, nothing);
    return SCOPES;
}

bool throttle_allows(struct throttle *t, struct slice client_ip, struct slice user, int64_t now)
{
    struct client c;
    uint64_t keys[SCOPES];

    read_client(client_ip, &c);
    if (c.loopback && !t->count_loopback)
        return true;
    if (user.n > 0 && stamp_is_fresh(t->good, good_key(t, &c, user), now))
        return true;
    int n = counter_keys(t, &c, user, keys);
    for (int i = 0; i < n; i++) {
        if (is_full(t, (enum scope)i, keys[i], now))
            return false;
    }
    return true;
}

void throttle_failed(
    struct throttle *t, struct slice client_ip, struct slice user, struct slice password, int64_t now)
{
    struct client c;
    uint64_t keys[SCOPES];

    read_client(client_ip, &c);
    if (c.loopback && !t->count_loopback)
        return;
    int n = counter_keys(t, &c, user, keys);
    for (int i = 0; i < n; i++) {
        uint64_t tried = key_of(t, 't', slice_of(&keys[i], sizeof(keys[i])), user, password);
        bool again = password.n > 0 && stamp_is_fresh(t->tried, tried, now);
        if (again)
            continue;
        stamp_set(t->tried, tried, now);
        count(t, (enum scope)i, keys[i], now);
    }
}

void throttle_succeeded(struct throttle *t, struct slice client_ip, struct slice user, int64_t now)
{
    struct client c;

    read_client(client_ip, &c);
    if (user.n > 0)
        stamp_set(t->good, good_key(t, &c, user), now);
}
