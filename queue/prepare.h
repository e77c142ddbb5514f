/*
 * prepare: a message's text as it goes out: trace fields and signatures in front, what must not leave taken
 * out.
 *
 * Submitted mail gets what it lacks (mail/submitted.h) and loses Bcc; forwarded mail gets Delivered-To and is
 * refused when it was there before (security.md S20). All of it is signed by the domain of From:, forwarded
 * mail by that of the alias (unless it came from outside and says in From: that it is of ours); mail that is
 * kept for another server as its backup is left as it is, but for Received. Blocks; for threads.
 */
#ifndef QUEUE_PREPARE_H
#define QUEUE_PREPARE_H

#include "queue/keys.h"
#include "queue/request.h"

struct prepared {
    struct buf front; /* fields in front of the text */
    struct trace_range *cuts;
    size_t ncuts;
};

/* text: a sealed memory file of q->env.size octets; host: our name; q->trace and q->env.id say the rest.
 * -1: LOOP, TOO_BIG, IO, INTERNAL (not sealed). prepared_free in any case. */
int prepare_text(struct keys *keys, const struct enqueue *q, struct slice host, int64_t now, int text,
    struct prepared *out, struct err *e);
void prepared_free(struct prepared *p);

/* Signs a whole message of ours that lies in memory, by the keys of `domain` (or above it); appended to out.
 * Nothing when there are none. */
void prepare_sign_own(
    struct keys *keys, struct slice domain, struct slice message, int64_t now, struct buf *out);

#endif
