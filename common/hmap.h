/*
 * hmap: a table from octet strings to pointers, safe against keys made to collide (SipHash with a key of the
 * process, security.md I09). Keys are copied. Not for several threads without a lock.
 */
#ifndef COMMON_HMAP_H
#define COMMON_HMAP_H

#include "common/slice.h"

struct hmap_entry;

struct hmap {
    struct hmap_entry **slots;
    size_t size, count;
};

/* A zeroed struct is an empty table. Values are not freed. */
void hmap_free(struct hmap *m);
void *hmap_get(const struct hmap *m, struct slice key);
/* Returns the value that stood there before (NULL: none). value must not be NULL. */
void *hmap_put(struct hmap *m, struct slice key, void *value);
void *hmap_remove(struct hmap *m, struct slice key);
/* Walks all; each may remove the entry it was given, nothing else. False ends the walk. */
void hmap_walk(struct hmap *m, bool (*each)(void *ctx, struct slice key, void *value), void *ctx);

uint64_t hmap_hash(struct slice key);

#endif
