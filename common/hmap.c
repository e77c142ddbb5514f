#include "common/hmap.h"

#include <stdlib.h>
#include <string.h>

#include "common/id.h"
#include "common/mem.h"

struct hmap_entry {
    struct hmap_entry *next;
    uint64_t hash;
    void *value;
    size_t n;
    char key[];
};

/* SipHash-1-3 */
static inline uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

#define ROUND(v)                                                                                             \
    do {                                                                                                     \
        v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);                                   \
        v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];                                                          \
        v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];                                                          \
        v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);                                   \
    } while (0)

uint64_t hmap_hash(struct slice key)
{
    static uint64_t k[2];
    static bool seeded;
    uint64_t v[4], word;
    const char *p = key.p;
    size_t left = key.n;

    if (!seeded) {
        id_random(k, sizeof k);
        seeded = true;
    }
    v[0] = k[0] ^ 0x736f6d6570736575u, v[1] = k[1] ^ 0x646f72616e646f6du;
    v[2] = k[0] ^ 0x6c7967656e657261u, v[3] = k[1] ^ 0x7465646279746573u;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        v[3] ^= word;
        ROUND(v);
        v[0] ^= word;
    }
    word = (uint64_t)key.n << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)(unsigned char)p[i] << (8 * i);
    v[3] ^= word;
    ROUND(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    ROUND(v);
    ROUND(v);
    ROUND(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct hmap_entry **find(const struct hmap *m, struct slice key, uint64_t hash)
{
    struct hmap_entry **at = &m->slots[hash & (m->size - 1)];

    while (*at && ((*at)->hash != hash || !slice_eq(slice_of((*at)->key, (*at)->n), key)))
        at = &(*at)->next;
    return at;
}

static void resize(struct hmap *m, size_t size)
{
    struct hmap_entry **slots = mem_zalloc(size, sizeof *slots);

    for (size_t i = 0; i < m->size; i++)
        for (struct hmap_entry *e = m->slots[i], *next; e; e = next) {
            next = e->next;
            e->next = slots[e->hash & (size - 1)];
            slots[e->hash & (size - 1)] = e;
        }
    free(m->slots);
    m->slots = slots;
    m->size = size;
}

void hmap_free(struct hmap *m)
{
    for (size_t i = 0; i < m->size; i++)
        for (struct hmap_entry *e = m->slots[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    free(m->slots);
    *m = (struct hmap){0};
}

void *hmap_get(const struct hmap *m, struct slice key)
{
    struct hmap_entry *e = m->size ? *find(m, key, hmap_hash(key)) : NULL;

    return e ? e->value : NULL;
}

void *hmap_put(struct hmap *m, struct slice key, void *value)
{
    uint64_t hash = hmap_hash(key);
    struct hmap_entry **at, *e;
    void *old;

    INVARIANT(value);
    if (m->count >= m->size)
        resize(m, m->size ? m->size * 2 : 16);
    at = find(m, key, hash);
    if (*at) {
        old = (*at)->value;
        (*at)->value = value;
        return old;
    }
    e = mem_alloc(sizeof *e + key.n);
    *e = (struct hmap_entry){.hash = hash, .value = value, .n = key.n};
    if (key.n)
        memcpy(e->key, key.p, key.n);
    *at = e;
    m->count++;
    return NULL;
}

void *hmap_remove(struct hmap *m, struct slice key)
{
    struct hmap_entry **at, *e;
    void *value;

    if (!m->size)
        return NULL;
    at = find(m, key, hmap_hash(key));
    e = *at;
    if (!e)
        return NULL;
    value = e->value;
    *at = e->next;
    free(e);
    m->count--;
    return value;
}

void hmap_walk(struct hmap *m, bool (*each)(void *ctx, struct slice key, void *value), void *ctx)
{
    for (size_t i = 0; i < m->size; i++)
        for (struct hmap_entry *e = m->slots[i], *next; e; e = next) {
            next = e->next;
            if (!each(ctx, slice_of(e->key, e->n), e->value))
                return;
        }
}
