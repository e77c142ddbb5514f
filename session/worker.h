/*
 * worker: the process of one logged-in user, all his sessions in it (imapd, pop3d).
 *
 * Forked by the spawner, it sees this user's folders only and has no network but the sockets it is handed.
 * Event driven. The protocol gives worker_ops; a session is a stream with its state. What others change on
 * disk comes as changed(); usage and quota go through the parent.
 */
#ifndef SESSION_WORKER_H
#define SESSION_WORKER_H

#include "common/ipc.h"
#include "common/settings.h"
#include "common/stream.h"
#include "store/account.h"

struct worker;

struct worker_session {
    struct worker *worker;
    struct stream *stream; /* ops are the protocol's: set with stream_set_ops in opened() */
    char *sid;
    char *ip;
    char *tls; /* "" without TLS */
    const struct settings *settings;
    void *state; /* the protocol's */
};

/* What the watch saw of a mailbox. */
struct worker_news {
    bool new_only;
    struct slice names; /* that came to or left cur/, a slash behind each */
    bool complete;      /* it watches, and there were no others since the last time */
};

struct worker_ops {
    /* A session arrived; tag: what the front was given with the login (IMAP's tag). Input that was left over
     * is in the stream already. The protocol answers the login. */
    void (*opened)(struct worker_session *ws, struct slice tag);
    /* The folder changed on disk (disk name as mailbox_disk_name); all: everything may have. */
    void (*changed)(struct worker *w, struct slice disk_name, const struct worker_news *news);
    /* End it: BYE / -ERR with the sentence of the code, then worker_session_end. */
    void (*kill)(struct worker_session *ws, enum err_code code);
    /* The worker ends, all sessions are over: free worker_state, close what it has open of the account. NULL:
     * nothing. */
    void (*ended)(struct worker *w);
};

struct account *worker_account(struct worker *w);
struct slice worker_user(const struct worker *w); /* the account's address */
struct event_base *worker_base(struct worker *w);
/* The protocol's own per-user state. */
void **worker_state(struct worker *w);
/* Walks the sessions: next(w, NULL) is the first. */
struct worker_session *worker_next_session(struct worker *w, struct worker_session *after);

/* The session is over: writes what waits, closes the stream, forgets ws. The protocol freed its state before.
 */
void worker_session_end(struct worker_session *ws);
/* Tell the parent to watch or no longer watch a mailbox' folders; counted per mailbox by the worker. */
void worker_watch(struct worker *w, struct slice disk_name, bool on);
/* Octets and messages that were added or removed, durable already. */
void worker_usage(
    struct worker *w, uint64_t added, uint64_t removed, uint64_t messages_added, uint64_t messages_removed);
/* Would so many octets more fit the quota? */
bool worker_has_room(const struct worker *w, uint64_t octets);
void worker_quota(const struct worker *w, uint64_t *limit, uint64_t *used);

struct sandbox_filter;
/*
 * Runs the worker in the spawner's child until its channel closes; returns the exit status. `sandbox`: its
 * row, entered before anything else, with the filter made for it. channel: to the parent; mail_dir and
 * state_dir: the user's folders.
 */
int worker_main(const struct worker_ops *ops, const struct settings *settings, unsigned sandbox,
    const struct sandbox_filter *filter, int channel, int mail_dir, int state_dir, struct slice user);

#endif
