/*
 * directory_store: where the directory's records are durable: a kv environment and the text dump beside it.
 *
 *     <dir>/directory.dump    a head line, then one JSON object a line: a record, or the removal of one
 *     <dir>/db/               the environment: table "records" (the same lines by key), "meta", "usage"
 *
 * Each change has a generation, one higher than the last. It is appended to the dump and synced, then
 * committed to the environment, then acknowledged. So after a crash the dump is at most one change ahead.
 * What store_open does:
 *
 *     environment     dump             action
 *     sound, g        sound, g         nothing
 *     sound, g        older, missing   dump written anew from the environment
 *     sound, g        newer            environment filled from the dump (one transaction)
 *     empty           there            the same
 *     damaged         there            environment moved aside, a new one filled from the dump
 *     damaged         missing          refused: nobody starts with an empty directory by accident
 *
 * The dump is compacted (written whole, synced, renamed) when removals and repeated lines are more than half
 * of it. Not thread-safe: directory.c serialises.
 */
#ifndef AUTH_DIRECTORY_STORE_H
#define AUTH_DIRECTORY_STORE_H

#include "common/buf.h"
#include "common/err.h"
#include "mail/replies.h"

enum record_kind { RECORD_DOMAIN, RECORD_ACCOUNT, RECORD_ALIAS };

struct record {
    enum record_kind kind;
    bool removed;
    uint64_t generation;
    struct slice address; /* of an account or alias; the name of a domain */
    struct slice target;  /* of an alias */
    struct slice name, hash, scram;
    uint64_t quota;
    int64_t created;
    uint64_t serial; /* the generation in which it was added; 0: now */
    bool suspended, deliver, may_send;
    enum reply_language language; /* of an account */
};

struct store;

/* repaired: a sentence when something had to be rebuilt. */
struct store *store_open(const char *dir, struct buf *repaired, struct err *e);
void store_close(struct store *s);
/* The open folder, for what lies beside the records; the store's own. */
int store_folder(const struct store *s);
uint64_t store_generation(const struct store *s);

/* Every record; its slices are valid inside each(). -1 when the environment cannot be read after all. */
int store_load(struct store *s, void (*each)(void *ctx, const struct record *r), void *ctx, struct err *e);

/* Puts or removes one record; durable when it returns 0. On -1 nothing has changed. r->generation is set. */
int store_change(struct store *s, struct record *r, struct err *e);

/* What the last orderly close left, forgotten by this call; false if there was none. */
bool store_usage_load(struct store *s,
    void (*each)(void *ctx, struct slice account, uint64_t octets, uint64_t messages), void *ctx);
/* Before store_close: each known account, then the mark that all is there. */
struct store_usage {
    struct slice account;
    uint64_t octets, messages;
};
void store_usage_save(struct store *s, const struct store_usage *list, size_t n);

/* One line of the dump, without its LF. */
void record_write(const struct record *r, struct buf *out);
/* Any text; false if it is no record. Slices point into *hold, which the caller frees with record_release. */
bool record_read(struct slice line, void **hold, struct record *out);
void record_release(void *hold);

#endif
