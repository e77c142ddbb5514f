#include "common/arena.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

/* First block: most commands need less, an IDLE that lasts for hours too; malloc keeps this size at hand. */
#define ARENA_BLOCK 992
#define ARENA_ALIGN _Alignof(max_align_t)

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    max_align_t data[];
};

void arena_init(struct arena *a, size_t quota)
{
    *a = (struct arena){.quota = quota};
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->blocks = NULL;
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    struct arena_block *first = a->blocks;

    if (first) {
        /* keep the oldest block, it has the ordinary size */
        while (a->blocks->next) {
            first = a->blocks;
            a->blocks = first->next;
            free(first);
        }
        if (a->blocks->size > ARENA_BLOCK) {
            free(a->blocks);
            a->blocks = NULL;
        } else {
            a->blocks->used = 0;
        }
    }
    a->used = 0;
}

static struct arena_block *block_for(struct arena *a, size_t n)
{
    struct arena_block *b = a->blocks;
    size_t size;

    if (b && b->size - b->used >= n)
        return b;
    /* blocks double, so that a large message costs few of them */
    size = b ? b->size * 2 : ARENA_BLOCK;
    if (size > (size_t)1 << 20)
        size = (size_t)1 << 20;
    if (size < n)
        size = n;
    b = mem_alloc(sizeof *b + size);
    b->size = size;
    b->used = 0;
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    struct arena_block *b;
    size_t used;
    void *p;

    if (__builtin_add_overflow(n, ARENA_ALIGN - 1, &n))
        return NULL;
    n &= ~(ARENA_ALIGN - 1);
    if (n == 0)
        n = ARENA_ALIGN;
    if (__builtin_add_overflow(a->used, n, &used) || used > a->quota)
        return NULL;
    b = block_for(a, n);
    p = (char *)b->data + b->used;
    b->used += n;
    a->used = used;
    return p;
}

void *arena_zalloc(struct arena *a, size_t count, size_t size)
{
    size_t n;
    void *p;

    if (__builtin_mul_overflow(count, size, &n))
        return NULL;
    p = arena_alloc(a, n);
    return p ? memset(p, 0, n) : NULL;
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n);

    if (!p)
        return slice_of(NULL, 0);
    if (s.n)
        memcpy(p, s.p, s.n);
    return slice_of(p, s.n);
}

char *arena_strdup(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (!p)
        return NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}
