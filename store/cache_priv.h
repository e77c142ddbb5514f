/*
 * cache_priv: what cache.c (records) and cache_file.c (the file) share.
 *
 * The file begins with a header: magic, version, generation, and when to look how much of it
 * lives; records follow. All of it is a cache: every step may fail, and then there is none.
 */
#ifndef STORE_CACHE_PRIV_H
#define STORE_CACHE_PRIV_H

#include "store/cache.h"
#include "store/mailbox_priv.h"

#define CACHE_FILE "postamt.cache"
#define CACHE_HEADER_SIZE 64
#define CACHE_SMALL ((uint64_t)64 << 10)  /* a file below is never compacted */
#define CACHE_WINDOW ((size_t)128 << 10)  /* read at once when records are asked for in a row */
#define CACHE_PENDING ((size_t)256 << 10) /* written at once at the latest */

struct cache_header {
    uint64_t generation;
    uint64_t due;  /* size of the file at which to look how much of it lives */
    uint64_t live; /* records that lived at the last look */
};

struct cache_pending {
    uint32_t uid;
    size_t at; /* in `pending` */
};

struct cache {
    int fd;        /* -1: not open */
    bool off;      /* given up until the mailbox is opened again */
    bool looked;   /* whether offsets are lost altogether */
    bool walked;   /* offsets were put right from this file */
    uint64_t seen; /* octets the file had at least */
    struct cache_header header;
    /* what was read last */
    struct buf window;
    uint64_t window_at;
    uint64_t next; /* behind the last record that was asked for */
    /* what waits to be written */
    struct buf pending;
    struct cache_pending *list;
    size_t nlist, list_size;
};

/* --- cache_file.c --- */
/* Opens or makes the file; false: there is none to be had, and c->off. */
bool cache_open(struct mailbox *m);
void cache_close(struct cache *c);
/* Gives the file up. */
void cache_drop(struct mailbox *m);
/* Is ours still the one under the name, and whole? Else it is closed. */
bool cache_is_current(struct mailbox *m);
/* The octets from `at` on, as many as are in memory; fewer than `least` are not, unless the file ends there.
 * When they must be read, `window` of them are (or `least`, if that is more). */
struct slice cache_window(struct cache *c, uint64_t at, size_t least, size_t window);
/* Appends by one write; *at is where it lies. */
bool cache_append(struct cache *c, struct slice s, uint64_t *at);
/* Replaces the file if more than half of it is dead; c->fd is open. */
void cache_compact_if_due(struct mailbox *m);

/* --- cache.c --- */
/* The record of a message at an offset, if it fits. */
bool cache_record_at(
    struct mailbox *m, const struct message *msg, uint64_t at, struct cache_record *out, size_t *size);
/* All is given back, what waits is written; for the end of the mailbox. */
void cache_end(struct mailbox *m);

#endif
