/*
 * pool: threads for what blocks (hashing passwords, signing, syncing files), so that a role's loop never
 * waits.
 *
 * A job runs work() in a thread, then done() in the loop. At most `waiting_max` jobs wait; one more is
 * refused: a queue of minutes helps nobody (of passwords: security.md 4.3).
 */
#ifndef COMMON_POOL_H
#define COMMON_POOL_H

#include <event2/event.h>
#include <stdbool.h>

struct pool;

struct pool_job {
    struct pool_job *next;
    void (*work)(struct pool_job *job); /* in a thread */
    void (*done)(struct pool_job *job); /* in the loop; may free the job */
};

struct pool *pool_new(struct event_base *base, unsigned threads, unsigned waiting_max);
/* False: too many wait. The job is the pool's until done() is called. */
bool pool_submit(struct pool *p, struct pool_job *job);

#endif
