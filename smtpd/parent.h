/*
 * parent: smtpd's transactions on their way from a front to the mailboxes.
 *
 * MAIL of a front -> EXPAND to authd (in parts, so that each fits into a message) -> COUNT for accounts whose
 * usage is not known, then EXPAND again -> DELIVER to a free deliver (in parts too) -> DELIVERED -> USAGE to
 * authd, MAIL_DONE to the front. Who sends is what authd stamped on the session, never what a front says. A
 * transaction is one object with one text fd; it is dropped with its session as long as no deliver has it,
 * and goes on without one afterwards.
 *
 * parent.c has the role and the messages, transaction.c the objects and their steps, pool.c delivers and
 * counting.
 */
#ifndef SMTPD_PARENT_H
#define SMTPD_PARENT_H

#include "common/hmap.h"
#include "common/id.h"
#include "session/parent.h"

enum transaction_step {
    STEP_EXPANDING,
    STEP_COUNTING,
    STEP_QUEUED,
    STEP_DELIVERING,
};

/* An account the message goes to. */
struct target {
    char *account, *path;
    enum err_code code; /* of authd; then of its last delivery */
    unsigned tries;
    bool counting; /* its usage is being counted */
    bool unknown;  /* its usage was not known when authd answered */
    bool kept;     /* in the mailbox, durable */
};

struct transaction {
    struct transaction *next; /* in the queue for a deliver */
    struct id id;
    enum transaction_step step;
    int64_t since; /* of the step, monotonic seconds */
    unsigned front;
    uint64_t session;
    bool is_orphan; /* nobody waits for the answer */
    char *account;  /* stamped; NULL: nobody logged in */
    char *from, *helo, *tls;
    char ip[46];
    bool esmtp, utf8;
    uint64_t size;
    int64_t when; /* seconds since 1970, the same on a replay */
    int text;
    char **rcpts;
    size_t nrcpts, asked; /* asked: of rcpts, so many were expanded or are being */
    struct target *targets;
    size_t ntargets;
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
/* Asks authd for the next recipients. */
void transaction_expand(struct smtpd_parent *p, struct transaction *t);
/* All recipients are expanded: counts, refuses, or queues. */
void transaction_expanded(struct smtpd_parent *p, struct transaction *t);
/* Adds an account unless it is there. */
void transaction_add_target(
    struct transaction *t, struct slice account, struct slice path, bool known, enum err_code code);
/* The usage of an account was counted: transactions that waited for it go on. */
void transaction_counted(struct smtpd_parent *p, const char *account);
/* A DELIVER for it in *out; false when nothing is left to deliver. */
bool transaction_deliver(struct transaction *t, struct ipc_out *out);
/* What a deliver says, `codes` one for each of the batch. Finishes, or queues what is left. */
void transaction_delivered(struct smtpd_parent *p, struct transaction *t, enum err_code code, uint64_t size,
    const enum err_code *codes);
/* Its deliver died. */
void transaction_lost(struct smtpd_parent *p, struct transaction *t);
/* Tells the front and frees. */
void transaction_finish(struct smtpd_parent *p, struct transaction *t, enum err_code code);
void transaction_free(struct smtpd_parent *p, struct transaction *t);

/* --- pool.c --- */
void pool_queue(struct smtpd_parent *p, struct transaction *t, bool in_front);
void pool_unqueue(struct smtpd_parent *p, struct transaction *t);
void pool_count(struct smtpd_parent *p, const char *account, const char *path);
/* Gives work to delivers that are free. */
void pool_work(struct smtpd_parent *p);
void pool_peer(struct smtpd_parent *p, unsigned instance, bool is_there);
/* DELIVERED, COUNTED; false: malformed. */
bool pool_message(struct smtpd_parent *p, unsigned instance, struct ipc_in *in);

#endif
