#include "queue/keys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/hmap.h"
#include "common/log.h"
#include "common/mem.h"
#include "mail/address.h"

#define KEYS_MAX 8

struct key_set {
    char *domain;
    atomic_uint holders;
    size_t n;
    struct {
        char *selector;
        struct dkim_key *key;
    } item[KEYS_MAX];
};

struct keys {
    pthread_mutex_t lock; /* of the table */
    struct hmap sets;
};

struct keys *keys_new(void)
{
    struct keys *k = mem_zalloc(1, sizeof *k);

    pthread_mutex_init(&k->lock, NULL);
    return k;
}

void keys_release(struct key_set *set)
{
    if (!set || atomic_fetch_sub(&set->holders, 1) > 1)
        return;
    for (size_t i = 0; i < set->n; i++) {
        free(set->item[i].selector);
        dkim_key_free(set->item[i].key);
    }
    free(set->domain);
    free(set);
}

static bool release_each(void *ctx, struct slice key, void *value)
{
    (void)ctx, (void)key;
    keys_release(value);
    return true;
}

void keys_free(struct keys *k)
{
    hmap_walk(&k->sets, release_each, NULL);
    hmap_free(&k->sets);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static struct key_set *set_new(struct slice domain)
{
    struct key_set *set = mem_zalloc(1, sizeof *set);

    set->domain = slice_dup(domain);
    atomic_init(&set->holders, 1);
    return set;
}

static void add_key(struct key_set *set, struct slice selector, struct slice pem)
{
    struct err e = {0};
    struct dkim_key *key = set->n < KEYS_MAX && dkim_is_selector(selector) ? dkim_key_load(pem, &e) : NULL;

    if (!key) {
        LOG(INTERNAL, NULL, F_STR("what", "a DKIM key cannot be used"), F_STR("domain", set->domain),
            F_SLICE("selector", selector), F_STR("why", e.detail));
        return;
    }
    set->item[set->n].selector = slice_dup(selector);
    set->item[set->n++].key = key;
}

bool keys_message(struct keys *k, struct ipc_in *in)
{
    struct slice domain = ipc_get(in);
    bool ours = ipc_get_bool(in);
    uint64_t n = ipc_get_u64(in);
    struct key_set *set, *old;

    if (in->bad || domain.n == 0 || slice_chr(domain, '\0') >= 0)
        return false;
    set = set_new(domain);
    for (uint64_t i = 0; i < n && !in->bad; i++) {
        struct slice selector = ipc_get(in), pem = ipc_get(in);

        if (!in->bad)
            add_key(set, selector, pem);
    }
    if (!ipc_end(in)) {
        keys_release(set);
        return false;
    }
    pthread_mutex_lock(&k->lock);
    if (ours) {
        old = hmap_put(&k->sets, domain, set);
    } else {
        old = hmap_remove(&k->sets, domain);
        keys_release(set);
    }
    keys_release(old);
    pthread_mutex_unlock(&k->lock);
    return true;
}

bool keys_is_ours(struct keys *k, struct slice domain)
{
    bool ours;

    pthread_mutex_lock(&k->lock);
    ours = hmap_get(&k->sets, domain) != NULL;
    pthread_mutex_unlock(&k->lock);
    return ours;
}

struct key_set *keys_find(struct keys *k, struct slice domain)
{
    struct address a = {.local = SLICE("a"), .domain = domain};
    struct buf name = BUF_INIT(ADDRESS_DOMAIN_MAX + 8);
    struct key_set *found = NULL;
    struct slice at;
    ssize_t dot = 1;

    if (address_normalise(&a, &name)) {
        at = slice_from(buf_slice(&name), 2); /* behind "a@" */
        pthread_mutex_lock(&k->lock);
        for (; dot >= 0 && !found; at = slice_from(at, (size_t)dot + 1)) {
            found = hmap_get(&k->sets, at);
            if (found && found->n == 0)
                found = NULL;
            dot = slice_chr(at, '.');
        }
        if (found)
            atomic_fetch_add(&found->holders, 1);
        pthread_mutex_unlock(&k->lock);
    }
    buf_free(&name);
    return found;
}

int keys_sign(struct key_set *set, struct dkim *d, int64_t now, struct buf *out, struct err *e)
{
    size_t before = out->n;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < set->n; i++) {
        struct dkim_signer signer = {.domain = slice_str(set->domain),
            .selector = slice_str(set->item[i].selector),
            .identity = SLICE(""),
            .key = set->item[i].key};

        rc = dkim_sign(d, &signer, now, out, e);
    }
    if (rc < 0)
        buf_cut(out, before);
    return rc;
}
