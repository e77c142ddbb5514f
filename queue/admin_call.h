/* admin_call: what the handlers of the queue's verbs share. Internal to queue/admin*.c. */
#ifndef QUEUE_ADMIN_CALL_H
#define QUEUE_ADMIN_CALL_H

#include "queue/admin.h"

static inline struct queue_door *queue_door(const struct call *c)
{
    return c->door;
}

/* A message with all its recipients, in memory. */
struct queued {
    struct state_message m;
    struct state_recipient *recipients; /* m.nrecipients */
    bool *chosen;                       /* each: does the request mean it? */
    uint32_t nchosen;
};

/*
 * Calls each(ctx, q) for every message that the request chooses, until it returns false or the page is full,
 * then sends {"next"} if there may be more. Ids that are not in the queue are told as objects with an
 * "error"; ERR_NO_MESSAGE when none of them is there. state_put_.. may be called inside.
 */
enum err_code select_messages(struct call *c, bool (*each)(void *ctx, const struct queued *q), void *ctx);
/* ERR_USAGE when the request chooses nothing: changes want to be meant. */
enum err_code select_is_given(const struct call *c);

/* The recipient's domain in lower case, A-labels; appended. */
void recipient_domain(struct slice address, struct buf *out);
/* "active", "deferred", "held", "bouncing", "delivered", "failed" */
const char *recipient_state(
    const struct queue_door *door, const struct state_message *m, const struct state_recipient *r);
const char *message_state(const struct queue_door *door, const struct queued *q);
/* Neither done nor failed. */
bool recipient_is_left(const struct state_recipient *r);
/* Foreign text on one line: controls and what is not UTF-8 become blanks and '?'; max: octets. */
json_t *text_line(struct slice s, size_t max);

enum err_code queue_bounce(struct call *c);
enum err_code queue_drop(struct call *c);
enum err_code queue_hold(struct call *c);
enum err_code queue_list(struct call *c);
enum err_code queue_release(struct call *c);
enum err_code queue_retry(struct call *c);
enum err_code queue_show(struct call *c);
enum err_code queue_suppress_add(struct call *c);
enum err_code queue_suppress_list(struct call *c);
enum err_code queue_suppress_remove(struct call *c);
enum err_code queue_why(struct call *c);

#endif
