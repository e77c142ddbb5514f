/*
 * parent: keeps the sessions of one daemon: limits, tickets, the router to the workers, the one inotify
 * instance.
 *
 * Never trusts a front: who is logged in is what authd said in AUTH_TICKET, looked up by front, session and
 * ticket, used once. imapd and pop3d use all of it; smtpd's parent uses the sessions (limits, the account of
 * an authenticated session) and has its own messages. The router (router_find in parent_router.c) is the only
 * place that knows which worker serves an account.
 */
#ifndef SESSION_PARENT_H
#define SESSION_PARENT_H

#include "common/role.h"

struct parent;

struct parent_session {
    unsigned front;   /* instance */
    uint64_t session; /* the front's number */
    char sid[16];
    char ip[46];
    char *account; /* who authd says it is; NULL: nobody yet */
    char *path;
};

struct parent_ops {
    enum role_id front, spawner; /* ROLE_COUNT: no workers (smtpd) */
    unsigned (*per_address)(const struct settings *s);
    /* Messages the core does not know (SMTP). False: malformed. */
    bool (*message)(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in);
    /* A session ended or its front died (SMTP: drop its transactions). May be NULL. */
    void (*session_gone)(struct role *r, struct parent_session *s);
    void (*peer)(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch);
};

int parent_run(struct role *r, const struct parent_ops *ops, struct err *e);
bool parent_message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in);
void parent_peer(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch);
void parent_reloaded(struct role *r);
void parent_stop(struct role *r);
void parent_status(struct role *r, struct buf *json);

/* NULL: no such session. */
struct parent_session *parent_find(struct role *r, unsigned front, uint64_t session);
/* The protocol's own state, kept beside the core's. */
void **parent_state(struct role *r);

#endif
