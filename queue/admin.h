/*
 * admin: what the postamt command asks of the queue, one function behind two doors (common/call.h).
 *
 * queued calls queue_admin_handle for what arrives on its control socket; with the daemons down the postamt
 * command opens spool, state and suppressions itself (queue_door_open) and calls the same. Verbs are rows of
 * a table (admin.c); what they change stands in the state when they return, and `changed` was called for each
 * message it was changed of.
 *
 * Messages are chosen by "ids", "from", "to", "domain" and "all"; what is given must all be true of a
 * message. "to" and "domain" choose recipients: retry, bounce and drop leave the others of the message alone.
 * hold and release are about the message.
 *
 * One request looks at QUEUE_ADMIN_LOOK messages at most, so that queued is held up for a moment only. When
 * there is more, the last object of the answer is {"next":"<id>"}: ask the same again with "after":"<id>".
 */
#ifndef QUEUE_ADMIN_H
#define QUEUE_ADMIN_H

#include "common/call.h"
#include "queue/state.h"
#include "queue/suppress.h"

#define QUEUE_ADMIN_LOOK 1000 /* messages */

struct queue_door {
    struct spool *spool;
    struct state *state;
    struct suppress *suppress;
    int64_t now;   /* seconds since 1970 */
    int64_t clock; /* ms, of the schedule */
    const struct schedule_rules *rules;
    /* All NULL with the daemons down. */
    void (*changed)(void *ctx, const struct id *id); /* its records changed or are gone: look again */
    /* domain: lower case, A-labels; of recipients who shall be tried now: end the back-off of where they go
     */
    void (*kick)(void *ctx, struct slice domain);
    /* How it stands with where recipients of the domain go; false: nothing is known. */
    bool (*destination)(void *ctx, struct slice domain, struct schedule_view *out);
    void *ctx;
};

/*
 * Runs one request; changes that wait in the state are committed first. item(ctx, json text) is called for
 * each object of the answer. Returns ERR_OK or the code with detail in e: the caller sends the end
 * (call_end).
 */
enum err_code queue_admin_handle(struct queue_door *door, struct slice request,
    void (*item)(void *ctx, struct slice json), void *ctx, struct err *e);

/*
 * Opens what lies below the queue's folder (absolute, paths.queue), which is made if it is missing; the rest
 * of the door is left alone. -1: *e (ERR_UNAVAILABLE: another process has it open).
 */
int queue_door_open(struct queue_door *door, const char *folder, struct err *e);
void queue_door_close(struct queue_door *door);

/* The table, for tests that compare it with the command and the manual page. */
extern const struct call_verb queue_verbs[];

#endif
