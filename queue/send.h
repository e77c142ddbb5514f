/*
 * send: what queued gives a sender to do and what comes back.
 *
 * queued: SEND(job, route; fd of the queue's file) -> sender: SENT(result). A sender keeps a connection open
 * after a message when it can; the result names it, and the next SEND for the same destination may go over it
 * (job.connection), or SEND_CLOSE ends it. A connection that idles SEND_IDLE_SECONDS is ended by the sender,
 * which says SEND_CLOSED. A SEND that crosses it is answered by trying the route from the start. Exactly one
 * SENT answers each SEND; when the channel breaks, all jobs of that sender are to be seen as failed, with a
 * verdict unknown: they are tried again.
 */
#ifndef QUEUE_SEND_H
#define QUEUE_SEND_H

#include "queue/envelope.h"
#include "queue/route.h"

#define SEND_RECIPIENTS_MAX 100             /* of one job */
#define SEND_OCTETS_MAX ((size_t)16 * 1024) /* of its addresses and ORCPTs */
#define SEND_IDLE_SECONDS 10
#define SEND_REPLY_MAX                                                                                       \
    1024 /* octets of a reply that are kept; controls but LF are blanks, lines end in LF                     \
          */

struct send_job {
    struct slice id;     /* the message's, for the log */
    uint64_t connection; /* 0: a new one */
    struct slice helo;   /* our name */
    struct slice reverse_path, envid;
    enum envelope_ret ret;
    bool smtputf8, is_8bit, requiretls; /* as queue/envelope.h */
    uint64_t text, size;                /* where the text lies in the file: CRLF line ends, no dots stuffed */
    uint32_t n;
    struct {
        uint32_t index; /* in the envelope */
        struct slice address, orcpt;
        uint8_t notify;
    } rcpt[SEND_RECIPIENTS_MAX];
};

/* fd is taken over. */
void send_job_put(struct ipc_out *out, const struct send_job *j, const struct route *route, int fd);
/* Slices point into the message; *fd is the caller's. */
bool send_job_get(struct ipc_in *in, struct arena *arena, struct send_job *j, struct route *route, int *fd);

enum send_verdict {
    SEND_DELIVERED, /* 250, by a server that was told NOTIFY and ENVID (it offers DSN) */
    SEND_RELAYED,   /* 250, by one that does not offer DSN (RFC 3461 4.1 "relayed") */
    SEND_DEFERRED,  /* 4xx, or nothing was said: try again */
    SEND_REFUSED,   /* 5xx, or the server cannot take such a message (no SMTPUTF8, no 8BITMIME, no REQUIRETLS,
                       too large by its SIZE): no use to try again */
    SEND_VERDICTS
};

/* Enhanced codes (RFC 3463, 5336, 8689) of verdicts of our own, and what they mean. */
#define SEND_STATUSES(X)                                                                                     \
    X("4.3.0", "the queue's file could not be read")                                                         \
    X("4.4.1", "no server answered")                                                                         \
    X("4.4.2", "the connection broke or took too long")                                                      \
    X("4.5.0", "the server broke the protocol")                                                              \
    X("4.7.0", "the server does not take our password, or nobody vouches for it")                            \
    X("4.7.5", "the TLS that is required could not be had")                                                  \
    X("5.1.3", "an address that no SMTP command can hold")                                                   \
    X("5.3.4", "the message is larger than the server takes")                                                \
    X("5.6.3", "8-bit text, and the server takes none")                                                      \
    X("5.6.7", "an address beyond ASCII, and the server takes none")                                         \
    X("5.7.10", "the message asked for TLS all the way, and the server's cannot be verified")                \
    X("5.7.30", "the same, and the server does not promise it (RFC 8689 4.2.1)")
#define SEND_STATUS_TEXT(status, meaning) status,

/* Of the whole job. */
enum send_outcome {
    SEND_DONE,   /* the server gave a verdict on every recipient (of whatever kind) */
    SEND_FAILED, /* no server could be talked to, or it broke off, or 421: the destination failed. Recipients
                    without a verdict of a server are SEND_DEFERRED */
    SEND_OUTCOMES
};

struct send_result {
    struct slice id;
    uint64_t connection; /* open for more; 0: closed */
    enum send_outcome outcome;
    enum schedule_class reason; /* of SEND_FAILED, and of deferrals */
    struct slice host; /* "mx1.example.org [192.0.2.1]" that gave the verdicts; empty: none was reached */
    struct slice tls;  /* "TLSv1.3 TLS_AES_256_GCM_SHA384 verified=dane|pkix|no"; empty: in clear */
    uint32_t n;        /* as in the job, and in its order */
    struct {
        uint32_t index;
        enum send_verdict verdict;
        const char *status; /* of our own verdicts, one of SEND_STATUSES; else NULL: it is in the reply */
        struct slice reply; /* what the server said; of our own verdicts a sentence */
        bool is_remote;     /* the reply is the server's words, not ours */
    } rcpt[SEND_RECIPIENTS_MAX];
};

/* With more than 54 recipients long replies are cut so that all fit. */
void send_result_put(struct ipc_out *out, const struct send_result *r);
bool send_result_get(struct ipc_in *in, struct send_result *r);

#endif
