/*
 * state: what has become of each recipient of each queued message, and what the queue knows of a message
 * without opening its file.
 *
 * Kept in an environment of common/kv that queued alone owns, without syncs: the files of the queue
 * (queue/spool.h) are the truth about what there is to send, this is the truth about what was done already,
 * and it may lose its last seconds in a power cut: then a recipient is sent to again, once (security.md 1). A
 * process that is killed loses nothing that was committed.
 *
 * Changes are collected and written by state_commit, all in one transaction; reads see what was committed.
 * Not for several threads. Disk is read and written, nothing is synced.
 *
 * state_open makes both sides agree: a message without records gets them from its envelope (all its
 * recipients pending), records without a file go, a damaged environment is set aside and built anew from the
 * files.
 *
 * Order: a message's file first, then state_add; at its end spool_remove first, then state_remove. The other
 * way round a crash in between would make a message of which nothing is known to be done.
 *
 *     state_put_message(st, &m);
 *     for (..) state_put_recipient(st, &m.id, i, &r);
 *     if (state_commit(st, e) < 0) ...
 */
#ifndef QUEUE_STATE_H
#define QUEUE_STATE_H

#include "queue/schedule.h"
#include "queue/spool.h"

struct state;

#define STATE_REPLY_MAX 1024 /* octets of a reply that are kept */
#define STATE_HOST_MAX 255

enum state_of_recipient {
    STATE_PENDING,
    STATE_DONE,     /* the next server has it, or it was expanded or delivered here */
    STATE_FAILED,   /* given up; the sender was told, or did not want to be */
    STATE_BOUNCING, /* given up; the sender is still to be told */
    STATE_STATES
};

struct state_message {
    struct id id;
    struct slice account, reverse_path; /* as in the envelope */
    int64_t created;                    /* seconds since 1970 */
    uint64_t size;                      /* octets of the text */
    uint32_t nrecipients;
    bool hold;   /* nobody is tried until it is released; begins as the envelope has it */
    bool warned; /* the sender knows of the delay */
};

struct state_recipient {
    struct slice address; /* as in the envelope */
    enum state_of_recipient state;
    enum schedule_class reason; /* of the last failure */
    unsigned attempts;
    int64_t last_try, next_try; /* seconds since 1970; 0: none yet */
    bool dsn_sent;              /* a DSN of success or relay went out for it */
    struct slice host;          /* who said the reply, cut at STATE_HOST_MAX; empty: nobody yet */
    struct slice reply;         /* any octets, cut at STATE_REPLY_MAX */
};

/*
 * dir: absolute path of the environment; spool: borrowed until state_close. *rebuilt: messages whose records
 * were made from their files, those of a damaged environment among them. NULL: *e (ERR_UNAVAILABLE: another
 * process owns it).
 */
struct state *state_open(const char *dir, struct spool *spool, size_t *rebuilt, struct err *e);
/* What was not committed is lost. */
void state_close(struct state *st);

/* What the record of a fresh message says; slices are the envelope's. */
struct state_message state_message_of(const struct envelope *env);
void state_put_message(struct state *st, const struct state_message *m);
/* index: place in the envelope, from 0. */
void state_put_recipient(
    struct state *st, const struct id *id, uint32_t index, const struct state_recipient *r);
/* The message and all its recipients. */
void state_remove(struct state *st, const struct id *id, uint32_t nrecipients);
/* Message and recipients of a fresh envelope: all pending, due at once. */
void state_add(struct state *st, const struct envelope *env);
/* Number of changes that wait for state_commit. */
size_t state_waiting(const struct state *st);
/* All or nothing. -1: the disk is full or ill; the changes stay, for another try. Nothing is lost if none
 * comes: the files are still there. */
int state_commit(struct state *st, struct err *e);
/* False: Berkeley DB met damage and does nothing any more; close and open again, which rebuilds. */
bool state_is_alive(struct state *st);
/* By timer: checkpoint, and removal of logs no longer needed. */
void state_checkpoint(struct state *st);

/* One recipient; slices point into *hold. 1: there, 0: not there, -1: *e. */
int state_get(struct state *st, const struct id *id, uint32_t index, struct buf *hold,
    struct state_recipient *out, struct err *e);

/*
 * Every message in the order of ids, by age, from the first id >= from on (NULL: all), its recipients in the
 * order of the envelope: message(ctx, m), then recipient(ctx, m, index, r) for each. A false from either ends
 * the walk. Slices live during the call only. Changes may be collected inside, for a state_commit behind the
 * walk. -1: *e (ERR_CORRUPT: close and open again, which rebuilds).
 */
struct state_visitor {
    bool (*message)(void *ctx, const struct state_message *m);
    bool (*recipient)(
        void *ctx, const struct state_message *m, uint32_t index, const struct state_recipient *r);
    void *ctx;
};
int state_walk(struct state *st, const struct id *from, const struct state_visitor *v, struct err *e);

#endif
