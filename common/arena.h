/*
 * arena: memory with one owner and one end: a command, a transaction, a session.
 *
 * A function that allocates for its caller takes the arena. Nothing is freed alone; arena_reset gives all
 * back at once and keeps the first block for the next command. The quota bounds what a peer can make us hold:
 * beyond it arena_alloc returns NULL and the parser reports its error. A zero-initialised arena is not
 * usable: call arena_init. Memory is aligned for any type and not zeroed.
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include "common/slice.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used;  /* octets handed out since the last reset */
    size_t quota; /* octets that may be handed out */
};

void arena_init(struct arena *a, size_t quota);
void arena_free(struct arena *a);
void arena_reset(struct arena *a);

/* n octets, or NULL beyond the quota. */
void *arena_alloc(struct arena *a, size_t n);
/* count zeroed elements of `size` octets; NULL beyond the quota or when the product overflows. */
void *arena_zalloc(struct arena *a, size_t count, size_t size);
/* A copy of s (p == NULL, n == 0 beyond the quota: an empty copy has p != NULL). */
struct slice arena_copy(struct arena *a, struct slice s);
/* A NUL-terminated copy; NULL beyond the quota. */
char *arena_strdup(struct arena *a, struct slice s);

#endif
