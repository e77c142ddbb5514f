/*
 * sender: the engine of the sender role: jobs of queued in, verdicts out, SMTP as a client in between.
 *
 * On libevent's loop, one thread, nothing blocks (a job's text is read from its file in pieces of 64 KiB). A
 * job tries its route's targets in order until one of them gave verdicts; what it may not fall back to stands
 * in route.h and doc/ARCHITECTURE. A connection serves one job at a time and up to 100 in its life.
 *
 * sender_engine.c    jobs: which target is next, what each recipient's verdict is
 * sender_conn.c      connections: connecting, the stream's callbacks, idling, closing
 * sender_dialogue.c  the stages of the dialogue, one row and one function each
 * sender_text.c      MAIL, RCPT and the text
 */
#ifndef QUEUE_SENDER_H
#define QUEUE_SENDER_H

#include <event2/event.h>

#include "queue/send.h"

struct sender;
struct tls_context;

struct sender_ops {
    /* Exactly once for each job, perhaps from inside sender_send. r lives until this returns. */
    void (*done)(void *ctx, const struct send_result *r);
    /* A connection that a result named has ended by itself. */
    void (*closed)(void *ctx, uint64_t connection);
};

/* tls: of tls_context_new_client; a reference is taken. patience: seconds that no stage may exceed; 0: the
 * times of RFC 5321 4.5.3.2 alone. */
struct sender *sender_new(struct event_base *base, struct tls_context *tls, unsigned patience,
    const struct sender_ops *ops, void *ctx);
/* Drops everything: connections are closed, jobs get no answer. */
void sender_free(struct sender *s);

/* An IPC_SEND. False: malformed. */
bool sender_send(struct sender *s, struct ipc_in *in);
/* No more for this connection: QUIT, unless a job has it. */
void sender_close(struct sender *s, uint64_t connection);
/* QUIT on all that idle, and on others when their jobs are done. */
void sender_wind_down(struct sender *s);
size_t sender_jobs(const struct sender *s);
size_t sender_connections(const struct sender *s);

#endif
