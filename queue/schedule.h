/*
 * schedule: when what is tried again, and who is next. Pure: every function takes its clock as an argument,
 * so that days pass in a test within milliseconds. Not for several threads.
 *
 * Two parts.
 *
 * 1. Rules, on the wall clock (seconds since 1970), for what is kept on disk: after the n-th attempt a
 * recipient waits 300 s, doubling to 4,000 s (another row for each class of failure), up to a quarter more by
 * a hash of its id so that what came together does not come again together. It is given up after 5 days, and
 * never before its fifth attempt: a clock that jumps ahead loses no mail (security.md 3.2). An attempt of the
 *    destination that failed counts for every recipient that waited for it. One warning after 4 h.
 *
 * 2. The table of who may go now, on a clock that never goes back (milliseconds, CLOCK_MONOTONIC). An entry
 * (one message to one destination: the caller's struct with a schedule_entry in it) waits in its destination
 * until it is due. A destination has its own back-off, its own number of slots, its own rate; one that is
 * dead costs one look in its back-off time, whatever waits for it, and nobody else anything. Slots start at
 * 2, grow with success to 20 and halve on failure; a destination that failed gets one slot, as a probe, until
 * it succeeds. Destinations that could go take turns, one entry each, so a long queue for one does not hold
 * up a short one.
 *
 *     schedule_add(s, SLICE("example.org"), &job->entry, now);
 *     while ((entry = schedule_take(s, now)))               // it has a slot now
 *         start(job_of(entry));
 *     sleep until schedule_wake(s, now)
 *     ...
 *     schedule_done(s, &job->entry, SCHEDULE_GOOD, 0, now); // slot given back, the entry is out
 *
 * add, take, done, move, remove: O(log n).
 */
#ifndef QUEUE_SCHEDULE_H
#define QUEUE_SCHEDULE_H

#include "common/slice.h"
#include "mail/replies.h"

/* ---- rules ---- */

enum schedule_class {
    SCHEDULE_CONNECT,  /* no connection, or it broke */
    SCHEDULE_GREYLIST, /* asked to come again soon */
    SCHEDULE_RATE,     /* asked to slow down */
    SCHEDULE_TLS,      /* the TLS that is required could not be had */
    SCHEDULE_DNS,      /* no answer, or a bogus one */
    SCHEDULE_OTHER,    /* any other 4xx */
    SCHEDULE_CLASSES
};

/* Words for the log and --json; "connect", "greylist", .. */
const char *schedule_class_name(enum schedule_class c);
/* What a 4xx reply of that kind means for the schedule. */
enum schedule_class schedule_class_of(enum reply_class c);

struct schedule_rules {
    int64_t first, most;  /* seconds after the first attempt, and at most */
    int64_t life;         /* seconds until a recipient is given up */
    int64_t warn;         /* seconds until the sender is told of the delay; 0: never */
    unsigned attempts;    /* not given up before so many */
    unsigned concurrency; /* slots of one destination at most */
    unsigned total;       /* slots of all at most */
    unsigned rate;        /* messages per minute to one destination; 0: no limit */
    unsigned total_rate;  /* the same to all */
};

/* 300 s, 4,000 s, 5 days, 4 h, 5 attempts, 20 slots, 200 in all, no rates. */
struct schedule_rules schedule_default_rules(void);

/* Seconds to wait after attempt number `attempt` (1: the first has just failed). id gives the jitter. */
int64_t schedule_delay(
    const struct schedule_rules *r, enum schedule_class c, unsigned attempt, struct slice id);

/* When to try again: now + schedule_delay. */
int64_t schedule_next(
    const struct schedule_rules *r, enum schedule_class c, unsigned attempt, struct slice id, int64_t now);

/* A time that was kept on disk, after which the clock may have been set: never later than the longest delay
 * from now. */
int64_t schedule_sane(const struct schedule_rules *r, int64_t next, int64_t now);

/* To be given up? */
bool schedule_is_expired(const struct schedule_rules *r, int64_t created, unsigned attempts, int64_t now);
/* When it will be (for Will-Retry-Until). */
int64_t schedule_expiry(const struct schedule_rules *r, int64_t created);
/* To be warned about? Once (warned: that was done), and not before the second attempt. */
bool schedule_is_warning_due(
    const struct schedule_rules *r, int64_t created, unsigned attempts, bool warned, int64_t now);

/* ---- a heap of times ---- */

/* Within the caller's struct; zeroed: in no heap. */
struct due {
    int64_t when;
    uint64_t order; /* among equal times, who was put in first comes first */
    size_t at;      /* 1 + its place; 0: in no heap */
};

/* A zeroed struct is an empty heap. Also of use by itself, for expiry and warnings. */
struct due_heap {
    struct due **items;
    size_t n, size;
    uint64_t order;
};

/* Puts it in, or moves it when it is in already. */
void due_put(struct due_heap *h, struct due *d, int64_t when);
void due_remove(struct due_heap *h, struct due *d);
/* The earliest, NULL if there is none; it stays in. */
struct due *due_first(const struct due_heap *h);
/* Takes the earliest out if its time has come, else NULL. */
struct due *due_pop(struct due_heap *h, int64_t now);
void due_heap_free(struct due_heap *h);

/* ---- who may go ---- */

struct schedule;
struct schedule_destination;

/* Zeroed before its first use. Its memory must stay while it is in the schedule. */
struct schedule_entry {
    struct due due;
    struct schedule_destination *to; /* NULL: not in the schedule */
    bool running;                    /* it has a slot */
};

/* The rules are copied. */
struct schedule *schedule_new(const struct schedule_rules *rules);
/* Entries are the caller's: they are forgotten. */
void schedule_free(struct schedule *s);
/* New rules, on reload: in force from the next take on. */
void schedule_set_rules(struct schedule *s, const struct schedule_rules *rules);

/* Waits for the destination (any octets; lower case is the caller's) until `when`, in milliseconds. */
void schedule_add(struct schedule *s, struct slice destination, struct schedule_entry *e, int64_t when);
/* Another time for one that waits. */
void schedule_move(struct schedule *s, struct schedule_entry *e, int64_t when);
/* Takes one out that waits (dropped, held, given up); nothing for one that is not in. Not for one that runs.
 */
void schedule_remove(struct schedule *s, struct schedule_entry *e);

/* The next that may go now; it holds a slot until schedule_done. NULL: nobody. */
struct schedule_entry *schedule_take(struct schedule *s, int64_t now);
/* One more for the same destination, for the connection that is open already: the entry that ran is done
 * (GOOD or REFUSED), the new one has its slot. NULL: none is due, or the rate says wait; then schedule_done.
 */
struct schedule_entry *schedule_take_same(
    struct schedule *s, struct schedule_entry *done, bool good, int64_t now);

enum schedule_outcome {
    SCHEDULE_GOOD,    /* delivered: the destination works */
    SCHEDULE_REFUSED, /* this message or recipient was refused or deferred: the destination works */
    SCHEDULE_FAILED,  /* the destination failed, or told us to slow down: back-off by class, fewer slots */
};

/* Gives the slot back; the entry is out (schedule_add puts it in again). */
void schedule_done(struct schedule *s, struct schedule_entry *e, enum schedule_outcome outcome,
    enum schedule_class c, int64_t now);

/* When schedule_take may have something, in milliseconds: now or earlier when it has already; INT64_MAX: not
 * before something is added or done. */
int64_t schedule_wake(const struct schedule *s, int64_t now);

/* Ends a destination's back-off (`postamt queue retry`); false if nothing is known of it. */
bool schedule_kick(struct schedule *s, struct slice destination, int64_t now);
/* Forgets destinations that nothing waits for and that nobody used for an hour; by timer. How many. */
size_t schedule_sweep(struct schedule *s, int64_t now);

struct schedule_view {
    struct slice name;
    size_t waiting;             /* entries, the running ones not counted */
    unsigned running, slots;    /* in use, allowed */
    unsigned failures;          /* in a row */
    int64_t next;               /* ms: not before; 0: no back-off */
    enum schedule_class reason; /* of the last failure */
};
bool schedule_look(const struct schedule *s, struct slice destination, struct schedule_view *out);
/* Each of them, in no order, while it returns true. Do not change the schedule inside. */
void schedule_walk(struct schedule *s, bool (*each)(void *ctx, const struct schedule_view *view), void *ctx);

#endif
