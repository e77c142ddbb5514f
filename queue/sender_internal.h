/* sender_internal: what the files of the engine share (queue/sender.h). */
#ifndef QUEUE_SENDER_INTERNAL_H
#define QUEUE_SENDER_INTERNAL_H

#include <event2/event_struct.h>
#include <sys/queue.h>

#include "common/stream.h"
#include "common/tls.h"
#include "queue/reply.h"
#include "queue/sender.h"

#define SENDER_MESSAGES_MAX 100 /* over one connection */

/* Why a target could not be used, the most telling last: of several targets' the highest is reported. */
enum sender_failure {
    FAIL_NONE,
    FAIL_CONNECT, /* no connection */
    FAIL_BROKEN,  /* it broke, took too long, or was no SMTP */
    FAIL_WORDS,   /* the server said so */
    FAIL_TLS,     /* the TLS that is required could not be had */
    FAIL_NEEDS,   /* no server of the route that can be reached takes such a message: refused */
    FAIL_LOCAL,   /* it is our own fault */
};

enum rcpt_state {
    RCPT_PENDING,
    RCPT_ACCEPTED, /* by RCPT; the verdict comes with the text's reply */
    RCPT_DECIDED,
};

struct sender_job {
    TAILQ_ENTRY(sender_job) all;
    struct sender *sender;
    struct sender_conn *conn;
    struct buf octets; /* the message that gave it: slices of job and route point into it */
    struct arena arena;
    struct send_job job;
    struct route route;
    int fd;
    char id[ID_LEN + 1];
    bool is_utf8;  /* an address is, or the message was sent so */
    size_t target; /* that is tried */
    bool in_clear; /* once more, without TLS */
    bool reused;   /* over a connection of an earlier job, which may be at its end */
    enum rcpt_state state[SEND_RECIPIENTS_MAX];
    struct send_result result;
    struct {
        enum sender_failure kind;
        const char *status;
        struct slice text, host;
        enum schedule_class reason;
    } failure;
};

/* The reply that is awaited, and what happens then. */
enum sender_stage {
    STAGE_CONNECT,
    STAGE_HANDSHAKE,
    STAGE_GREETING,
    STAGE_EHLO,
    STAGE_HELO,
    STAGE_STARTTLS,
    STAGE_AUTH,
    STAGE_AUTH_USER,
    STAGE_AUTH_PASSWORD,
    STAGE_RSET,
    STAGE_MAIL,
    STAGE_RCPT,
    STAGE_DATA,
    STAGE_TEXT, /* none: the text is under way */
    STAGE_END,
    STAGE_IDLE,
    STAGES
};

struct sender_conn {
    TAILQ_ENTRY(sender_conn) all;
    struct sender *sender;
    struct sender_job *job; /* NULL: idle */
    uint64_t number;
    int fd;                /* while connecting, then -1 */
    struct stream *stream; /* NULL: connecting */
    struct event wait;     /* for the connection, or for the end of idling */
    struct buf key;        /* to whom, with what TLS, as whom: what a job must match */
    struct slice host;     /* its name; in key */
    struct buf label, tls; /* "mx.example.org [192.0.2.1]", "TLSv1.3 .. verified=dane" */
    bool is_verified;
    enum sender_stage stage;
    unsigned awaited;     /* replies that must come: any other is nobody's */
    uint32_t at;          /* recipient whose reply is awaited */
    struct slice mail_no; /* the reply that refused MAIL while RCPTs were under way; in the job's arena */
    int mail_code;
    struct reply_offers offers;
    bool dirty; /* the server may hold half a transaction: RSET before the next */
    unsigned messages;
    uint64_t sent; /* octets of the text */
    bool at_line_start, last_cr;
    unsigned depth; /* callbacks under way */
    bool dead;
};

struct sender {
    struct event_base *base;
    struct tls_context *tls;
    unsigned patience;
    const struct sender_ops *ops;
    void *ctx;
    TAILQ_HEAD(, sender_job) jobs;
    TAILQ_HEAD(, sender_conn) conns;
    size_t njobs, nconns;
    uint64_t numbers;
    struct buf reply; /* the one that is handled */
    bool winding_down;
};

/* sender_engine.c */
/* One recipient's verdict in the server's words (its code), or in ours (status). text: in the job's arena. */
void job_decide(struct sender_job *j, uint32_t i, int code, struct slice text);
void job_decide_ours(
    struct sender_job *j, uint32_t i, enum send_verdict verdict, const char *status, struct slice text);
bool job_has(const struct sender_job *j, enum rcpt_state state);
/* The first recipient from `from` on in that state; job.n: none. */
uint32_t job_next(const struct sender_job *j, enum rcpt_state state, uint32_t from);
/* All that a server can say of it was said: answers queued and frees the job. The connection is idle. */
void job_done(struct sender_job *j);
/* The connection it had is gone: tries what is next, or answers. */
void job_failed(struct sender_job *j, enum sender_failure kind, const char *status, struct slice text,
    struct slice host, enum schedule_class reason);
/* The job's connection is that whose server gave verdicts. */
void job_note_server(struct sender_job *j);
/* Remembers it, if it tells more than what happened at other targets. */
void job_note(struct sender_job *j, enum sender_failure kind, const char *status, struct slice text,
    struct slice host, enum schedule_class reason);
struct slice job_printf(struct sender_job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline const struct route_target *job_target(const struct sender_job *j)
{
    return &j->route.targets[j->target];
}

/* sender_conn.c */
/* NULL: it cannot even begin (the failure is noted). */
struct sender_conn *conn_open(struct sender_job *j);
/* Is it for that target, and for the job's login? */
bool conn_fits(const struct sender_conn *c, const struct sender_job *j, const struct route_target *t);
void conn_free(struct sender_conn *c);
/* QUIT, without waiting for what is said to it. */
void conn_quit(struct sender_conn *c);
/* Its job is done: free for another. Its number, or 0 when it was closed. */
uint64_t conn_idle(struct sender_conn *c);
/* Waits for the next reply, as long as the stage may last, and `more` seconds. */
void conn_enter(struct sender_conn *c, enum sender_stage stage, unsigned more);
/* Sends a command, to which a reply must come. */
void conn_say(struct sender_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Gives the connection up. A sentence of ours behind the host's name, or (conn_fail_words) what it said. */
void conn_fail(struct sender_conn *c, enum sender_failure kind, const char *status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void conn_fail_words(struct sender_conn *c, const struct reply *r);
/* TLS was refused or failed: once more in clear where that is allowed. */
void conn_fail_tls(struct sender_conn *c, const char *what, struct slice said);

/* sender_dialogue.c */
const char *stage_name(enum sender_stage stage);
unsigned stage_seconds(enum sender_stage stage);
void stage_reply(struct sender_conn *c, const struct reply *r);
void dialogue_begin(struct sender_conn *c);   /* connected */
void dialogue_secured(struct sender_conn *c); /* TLS is in force */
void dialogue_job(struct sender_conn *c);     /* an idle connection has a job */
void dialogue_text_sent(struct sender_conn *c);

/* sender_text.c */
void text_mail(struct sender_conn *c, struct buf *out);
void text_rcpt(struct sender_conn *c, uint32_t i, struct buf *out);
/* Begins with the text, behind 354 or behind BDAT. */
void text_begin(struct sender_conn *c);
/* Gives as much of it to the stream as that takes; dialogue_text_sent at its end. */
void text_go_on(struct sender_conn *c);

#endif
