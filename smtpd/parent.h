/*
 * parent: smtpd's transactions on their way from a front to the mailboxes and the queue.
 *
 * MAIL of a front -> INSPECT by a free deliver if the sender logged in (whom does From name?) -> EXPAND to
 * authd (in parts, so that each fits into a message) -> COUNT for accounts whose usage is not known, then
 * EXPAND again -> ENQUEUE to queued for recipients elsewhere -> DELIVER to a free deliver (in parts too) ->
 * DELIVERED -> USAGE to authd, MAIL_DONE to the front. Who sends is what authd stamped on the session, never
 * what a front says. A transaction is one object with one text fd; it is dropped with its session until a
 * recipient may have it, and goes on without one afterwards. INJECT of queued makes one without a front:
 * a notification of ours, or a recipient here that was queued.
 *
 * parent.c has the role and the messages, transaction.c the objects and their steps, enqueue.c what goes to
 * queued, pool.c the delivers.
 */
#ifndef SMTPD_PARENT_H
#define SMTPD_PARENT_H

#include "common/hmap.h"
#include "common/id.h"
#include "mail/trace.h"
#include "queue/envelope.h"
#include "session/parent.h"

enum transaction_step {
    STEP_WAITING, /* for a deliver */
    STEP_INSPECTING,
    STEP_EXPANDING,
    STEP_COUNTING,
    STEP_ENQUEUEING,
    STEP_DELIVERING,
};

/* As the client named him. */
struct recipient {
    char *address, *orcpt;
    uint8_t notify; /* enum dsn_notify */
};

/* An account the message goes to. */
struct target {
    char *account, *path;
    size_t rcpt;        /* which recipient led there first */
    enum err_code code; /* of authd; then of its last delivery */
    unsigned tries;
    bool counting; /* its usage is being counted */
    bool unknown;  /* its usage was not known when authd answered */
    bool kept;     /* in the mailbox, durable */
};

/* A recipient that is the queue's. */
struct away {
    char *address;
    char *forward; /* the address of ours that sends it on; "" written to directly */
    char *reverse_path;
    size_t rcpt;
    bool in_part; /* of the ENQUEUE that runs */
    bool queued;  /* durable */
};

struct transaction {
    struct transaction *next; /* in the queue for a deliver */
    struct id id;
    enum transaction_step step;
    int64_t since; /* of the step, monotonic seconds */
    unsigned front;
    uint64_t session;
    bool is_injected; /* queued waits for the answer, not a front */
    struct id injected;
    bool is_orphan; /* nobody waits for the answer */
    bool begun;     /* somebody may have it already */
    char *account;  /* stamped; NULL: nobody logged in */
    char *from, *envid, *helo, *tls;
    char ip[46];
    bool esmtp, utf8, is_8bit, requiretls;
    enum envelope_ret ret;
    enum reply_language language;
    uint64_t size;
    int64_t when; /* seconds since 1970, the same on a replay */
    int text;
    bool inspected;
    char **authors; /* the addresses in From */
    size_t nauthors;
    struct recipient *rcpts;
    size_t nrcpts, asked;  /* asked: of rcpts, so many were expanded or are being */
    size_t first;          /* of the EXPAND that runs */
    enum err_code refused; /* the first of recipients that authd refused */
    struct target *targets;
    size_t ntargets;
    struct away *away;
    size_t naway;
    struct id part; /* of the ENQUEUE that runs */
    size_t nparts;
    bool counted;    /* once is enough */
    uint32_t *batch; /* targets of the DELIVER that runs */
    size_t nbatch;
    unsigned pass; /* 1: those that failed, once more */
    bool replay;   /* a deliver died with it */
};

/* An account whose files are to be counted. */
struct count {
    struct count *next;
    char *account, *path;
    bool again; /* a deliver died with it */
};

#define POOL_MAX 64

struct smtpd_parent {
    struct role *role;
    struct hmap transactions; /* by id */
    struct hmap parts;        /* those that wait for queued, by the id of the ENQUEUE */
    struct transaction *queue, **queue_end;
    struct hmap counts; /* by account */
    struct count *count_queue, **count_end;
    struct {
        bool is_there;
        struct transaction *transaction;
        struct count *count;
    } pool[POOL_MAX];
    size_t counting;    /* delivers that count */
    struct event *tick; /* while there are transactions */
    bool stopping;
};

int64_t smtpd_parent_now(void);

/* --- transaction.c --- */
/* In the table, with its clock on. False: its id is there already. */
bool transaction_begin(struct smtpd_parent *p, struct transaction *t);
void transaction_enter(struct transaction *t, enum transaction_step step);
/* First step: who it is from. */
void transaction_start(struct smtpd_parent *p, struct transaction *t);
/* Asks authd for the next recipients. */
void transaction_expand(struct smtpd_parent *p, struct transaction *t);
/* All recipients are expanded: counts, refuses, or goes on. */
void transaction_expanded(struct smtpd_parent *p, struct transaction *t);
/* Add what authd said of a recipient unless it is there. */
void transaction_add_target(struct transaction *t, const struct target *target);
void transaction_add_away(struct transaction *t, const struct away *away);
/* The usage of an account was counted: transactions that waited for it go on. */
void transaction_counted(struct smtpd_parent *p, const char *account);
/* The job for a deliver in *out, INSPECT or DELIVER; false when there is none left. */
bool transaction_job(struct transaction *t, struct ipc_out *out);
/* What a deliver found in From; the array and its texts are taken over. */
void transaction_inspected(
    struct smtpd_parent *p, struct transaction *t, enum err_code code, char **authors, size_t n);
/* What a deliver says, `codes` one for each of the batch. Finishes, or queues what is left. */
void transaction_delivered(struct smtpd_parent *p, struct transaction *t, enum err_code code, uint64_t size,
    const enum err_code *codes);
/* Its deliver died. */
void transaction_lost(struct smtpd_parent *p, struct transaction *t);
/* To the mailboxes, or done. */
void transaction_go_on(struct smtpd_parent *p, struct transaction *t);
/* For Received and Return-Path. */
struct trace transaction_trace(const struct transaction *t);
/* Tells the front, or queued, and frees. */
void transaction_finish(struct smtpd_parent *p, struct transaction *t, enum err_code code);
void transaction_free(struct smtpd_parent *p, struct transaction *t);

/* --- enqueue.c --- */
/* Recipients elsewhere first, and here those whose sender wants to know that it arrived; then
 * transaction_go_on(). */
void enqueue_start(struct smtpd_parent *p, struct transaction *t);
/* Those here who could not get it while others did. */
void enqueue_failed_targets(struct smtpd_parent *p, struct transaction *t);
/* ENQUEUED; false: malformed. */
bool enqueue_message(struct smtpd_parent *p, struct ipc_in *in);

/* --- pool.c --- */
void pool_queue(struct smtpd_parent *p, struct transaction *t, bool in_front);
void pool_unqueue(struct smtpd_parent *p, struct transaction *t);
void pool_count(struct smtpd_parent *p, const char *account, const char *path);
/* Gives work to delivers that are free. */
void pool_work(struct smtpd_parent *p);
void pool_peer(struct smtpd_parent *p, unsigned instance, bool is_there);
/* INSPECTED, DELIVERED, COUNTED; false: malformed. */
bool pool_message(struct smtpd_parent *p, unsigned instance, struct ipc_in *in);

#endif
