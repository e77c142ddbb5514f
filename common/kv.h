/*
 * kv: ordered tables of octet strings with transactions, in one environment that one process owns.
 *
 * Berkeley DB 5.3 behind it, and only here (distributions are dropping it: this is the one file to replace).
 * The environment is private to the process (DB_PRIVATE), locked by flock on its folder: a second owner gets
 * ERR_UNAVAILABLE. Opening recovers. With sync == true a commit is durable when kv_commit returns; else it
 * may lose the last seconds in a power cut (not when the process is killed) but never its consistency.
 * Deadlocks are retried by the caller's loop around kv_begin..kv_commit when KV_RETRY is returned. Threads
 * may use it at once.
 */
#ifndef COMMON_KV_H
#define COMMON_KV_H

#include "common/buf.h"
#include "common/err.h"

struct kv;
struct kv_table;
struct kv_txn;

enum kv_result { KV_OK, KV_NONE, KV_RETRY, KV_ERROR };

/* dir: absolute path, made with mode 0700 if missing. *damaged is set when the environment cannot be
 * recovered: the caller moves it aside (kv_set_aside) and rebuilds. */
struct kv *kv_open(const char *dir, bool sync, bool *damaged, struct err *e);
/* Checkpoint, log removal, close. */
void kv_close(struct kv *kv);
/* Renames the environment's files into dir/damaged-<time>/. */
int kv_set_aside(const char *dir, struct err *e);
struct kv_table *kv_table(struct kv *kv, const char *name, struct err *e);
/* By timer: checkpoint and removal of logs no longer needed. */
void kv_checkpoint(struct kv *kv);

struct kv_txn *kv_begin(struct kv *kv);
enum kv_result kv_commit(struct kv_txn *t);
void kv_abort(struct kv_txn *t);

/* txn may be NULL for reads. The value is appended to out. */
enum kv_result kv_get(struct kv_txn *t, struct kv_table *table, struct slice key, struct buf *out);
enum kv_result kv_put(struct kv_txn *t, struct kv_table *table, struct slice key, struct slice value);
enum kv_result kv_delete(struct kv_txn *t, struct kv_table *table, struct slice key);
/* Calls each(ctx, key, value) for keys >= from in order while it returns true. Do not change the table
 * inside. */
enum kv_result kv_walk(struct kv_txn *t, struct kv_table *table, struct slice from,
    bool (*each)(void *ctx, struct slice key, struct slice value), void *ctx);

#endif
