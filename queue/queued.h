/*
 * queued: the outbound queue's role: what its files share.
 *
 *     queued.c          the role: start, messages of other roles, clocks, status
 *     queued_accept.c   ENQUEUE: signs, writes, syncs, answers
 *     queued_table.c    what is queued, in memory: messages and their jobs
 *     queued_run.c      jobs whose turn it is: route, sender, verdicts
 *     queued_inject.c   messages for mailboxes here, by way of smtpd's parent
 *     queued_notify.c   bounces, warnings, confirmations
 *     queued_control.c  the postamt command
 *     keys.c            domains of ours and their DKIM keys
 *     prepare.c         the text as it goes out
 *     textfile.c        texts on their way between processes
 *
 * Everything but signing, writing and syncing (threads of a pool) happens on the loop. What is told to be
 * done is durable before it is told; marks of what was done are committed, unsynced, at the end of the loop's
 * turn.
 */
#ifndef QUEUE_QUEUED_H
#define QUEUE_QUEUED_H

#include "common/dns.h"
#include "common/hmap.h"
#include "common/pool.h"
#include "common/role.h"
#include "mail/dsn.h"
#include "queue/keys.h"
#include "queue/request.h"
#include "queue/route.h"
#include "queue/send.h"
#include "queue/state.h"
#include "queue/suppress.h"

/* A destination by the name that the schedule has for it, and what was last wrong with it. */
struct place {
    char *name;
    size_t users; /* jobs */
    char *host;   /* who said it, or was called; NULL: nothing was wrong yet */
    char *why;
};

/* One message to one destination. */
struct job {
    struct schedule_entry entry; /* first: the schedule gives this back */
    struct job *next;            /* of the message */
    struct message *message;
    struct place *place;
    uint32_t *recipients; /* pending ones, by their place in the envelope */
    uint32_t n;
    struct run *run; /* it has its turn */
};

struct message {
    struct due due; /* first: when somebody must look whether it is to be warned about or given up */
    struct id id;
    int64_t created;
    uint32_t nrecipients, pending;
    struct job *jobs;
    struct message *next_notice;
    bool hold, warned;
    bool is_backup;  /* for a domain of backup_mx: it lives longer */
    bool has_notice; /* its sender is to be told something */
    bool is_noticed; /* it waits for that, or is being told */
    bool is_stale;   /* its records were changed by the command while a job ran: read them anew */
};

/* A connection of a sender that is open and idle. */
struct idle {
    struct idle *next;
    struct place *place;
    unsigned sender;
    uint64_t connection;
};

struct run;
struct accept;
struct injection;

#define SENDERS_MAX 32
#define SWEEP_SECONDS 60

struct queued {
    struct role *role;
    struct spool *spool;
    struct state *state;
    struct suppress *suppress;
    struct schedule *schedule;
    struct schedule_rules rules;
    struct dns *dns;
    struct router *router;
    struct keys *keys;
    int folder; /* the queue's */

    struct hmap messages; /* id -> struct message */
    struct hmap places;   /* name -> struct place */
    struct due_heap dues; /* messages, on the wall clock */
    bool has_loaded;      /* domains are known, messages are in the table */

    struct run *runs;
    size_t nruns;
    struct idle *idle;
    struct {
        bool is_there;
        unsigned running;
    } senders[SENDERS_MAX];

    struct hmap injections; /* id -> struct injection */
    struct message *notices, **last_notice;
    unsigned notifying;

    struct pool *writers, *syncer;
    struct accept *placed; /* named, wait for the folder's sync */
    struct id *removed;    /* unlinked, wait for it before their records go */
    uint32_t *removed_n;
    size_t nremoved, removed_size;
    bool is_syncing, has_late_sync;
    struct hmap sent_by; /* account -> how much it sent lately */

    struct event *work, *minute;
    bool is_working;
    int64_t ahead; /* seconds that a test has moved the clock */
    bool has_test_clock;
    bool stopping;
};

/* Wall clock, seconds since 1970; monotonic clock, milliseconds. */
int64_t queued_now(const struct queued *q);
int64_t queued_ms(const struct queued *q);
/* Something may be due: the schedule is looked at when this turn of the loop is over, state is committed. */
void queued_work_soon(struct queued *q);
/* Did that address refuse mail for good a while ago? An address as it is written. */
bool queued_is_suppressed(struct queued *q, struct slice address, struct suppress_entry *out);
void queued_suppress(struct queued *q, struct slice address, struct slice host, struct slice reply);
/* state_get. A state that cannot be read ends the process, in queued_commit too: the next start makes it anew
 * from the files, while going on would take those who wait for done. */
bool queued_state_get(
    struct queued *q, const struct id *id, uint32_t index, struct buf *hold, struct state_recipient *out);
/* What was marked is in the state. */
void queued_commit(struct queued *q);
/* Moves both clocks (tests). */
void queued_advance(struct queued *q, int64_t seconds);

/* --- queued_table.c --- */
/* All messages of the state. */
int table_load(struct queued *q, struct err *e);
/* Its records are new, or were changed by somebody else, or gone: looks (again). */
void table_look_again(struct queued *q, const struct id *id);
struct message *table_find(struct queued *q, struct slice id);
/* A job's entry waits from now on (again). */
void table_schedule(struct queued *q, struct job *j, int64_t when);
/* Takes recipients out of the job that are not pending any more; frees it when it has none. True: it is gone.
 */
bool table_forget_done(struct queued *q, struct job *j, const uint32_t *done, uint32_t n);
/* After any change of its recipients: it is at its end, or somebody is to be told. */
void table_settle(struct queued *q, struct message *m);
/* What is wrong with a destination, for those that wait for it; empty slices: nothing any more. */
void place_trouble(struct place *p, struct slice host, struct slice why);
struct place *place_get(struct queued *q, struct slice name);
void place_unuse(struct queued *q, struct place *p);
/* The rules for one message: those of a backup live longer. */
struct schedule_rules table_rules(const struct queued *q, const struct message *m);
/* Messages whose warning or end is due. */
void table_due(struct queued *q);

/* --- queued_accept.c --- */
bool accept_enqueue(struct queued *q, struct ipc *ch, struct ipc_in *in);
/* The message is at its end: file and records go, the latter soon, with one sync for several. False: the disk
 * is ill, nothing went. */
bool accept_remove(struct queued *q, const struct message *m);
/* Syncs the folder now if anything waits for that. */
void accept_sync(struct queued *q);

/* --- queued_run.c --- */
void run_start(struct queued *q, struct job *j);
/* SENT, SEND_CLOSED; false: malformed. */
bool run_sender_message(struct queued *q, unsigned sender, struct ipc_in *in);
void run_sender_gone(struct queued *q, unsigned sender);
void run_drop_idle(struct queued *q);

/* --- queued_inject.c --- */
typedef void inject_done(struct queued *q, void *ctx, enum err_code code);
/*
 * Gives a text to smtpd's parent for one recipient here. id: of the log. text: a sealed memory file of size
 * octets, taken over. done is called once, never from inside; UNAVAILABLE when smtpd is away.
 */
void inject_start(struct queued *q, const struct id *id, struct slice reverse_path, struct slice recipient,
    bool utf8, bool is_8bit, int text, uint64_t size, inject_done *done, void *ctx);
bool inject_message(struct queued *q, struct ipc_in *in);
void inject_parent_gone(struct queued *q);

/* --- queued_notify.c --- */
/* The message has recipients whose fate the sender is to be told (m->has_notice). */
void notify_soon(struct queued *q, struct message *m);
void notify_work(struct queued *q);
/* Is a notification of this kind wanted for a recipient of it? Failures of what nobody logged in for go to
 * the postmaster (security.md S15: no backscatter). */
bool notify_is_wanted(const struct envelope *env, enum dsn_kind kind, unsigned notify);

/* --- queued_control.c --- */
/* Before the sandbox. */
void control_prepare(void);
void control_listen(struct queued *q, int fd);

#endif
