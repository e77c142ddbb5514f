/*
 * request: a message that smtpd's parent gives to the queue (IPC_ENQUEUE): envelope, trace, where it comes
 * from. One message between processes: at most ENQUEUE_OCTETS of recipients.
 */
#ifndef QUEUE_REQUEST_H
#define QUEUE_REQUEST_H

#include "common/ipc.h"
#include "mail/trace.h"
#include "queue/envelope.h"

#define ENQUEUE_OCTETS ((size_t)48 * 1024) /* of addresses and ORCPTs, 16 octets a recipient besides */

struct enqueue {
    struct envelope env; /* id, created, account, reverse-path, forward, recipients .. */
    struct trace trace;  /* for Received; its by, id and now are queued's to fill in */
    struct id message;   /* of the whole message, of which this may be a part: goes into Message-ID */
};

/* text: a sealed memory file of env.size octets, taken over. */
void enqueue_put(struct ipc_out *out, const struct enqueue *q, int text);
/* Slices point into the message, recipients into the arena; *text is the caller's. False: malformed. */
bool enqueue_get(struct ipc_in *in, struct arena *arena, struct enqueue *q, int *text);

#endif
