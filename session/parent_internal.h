/* parent_internal: what parent.c, parent_router.c and parent_watch.c share. */
#ifndef SESSION_PARENT_INTERNAL_H
#define SESSION_PARENT_INTERNAL_H

#include "common/hmap.h"
#include "session/parent.h"

#define TICKET_LEN 16
#define TICKETS_MAX 4096
#define TICKET_LIFE_S 60

struct parent_worker;

/* A session of a front, or one that a worker has. */
struct session {
    struct parent_session pub; /* first */
    struct parent *p;
    uint64_t id;    /* our own number for it: key of by_id, told to the worker */
    bool is_handed; /* the worker has it; the front no longer knows it */
    bool has_left;  /* its address: it does not count there any more */
    struct parent_worker *worker;
    struct session *next, **here; /* of the worker's */
};

struct ticket {
    struct ticket *next;
    unsigned front;
    uint64_t session;
    char octets[TICKET_LEN];
    char *account, *path;
    uint64_t quota, used;
    int64_t since;
};

struct watch_entry;

struct parent_worker {
    struct parent *p;
    uint64_t id;
    char *account, *path;
    struct ipc *ch;
    struct event *linger; /* set while it has no session */
    struct session *sessions;
    unsigned nsessions;
    struct watch_entry *watches;
};

struct parent {
    struct role *role;
    const struct parent_ops *ops;
    void *state; /* the protocol's */
    uint64_t serial;
    struct hmap by_front;              /* {front, session} -> struct session, until it is handed over */
    uint64_t of_front[ROLE_PEERS_MAX]; /* how many it has there */
    struct hmap by_id;                 /* id -> struct session */
    struct hmap addresses;             /* client ip -> struct address */
    struct hmap workers;               /* account -> struct parent_worker */
    struct ticket *tickets;
    size_t ntickets;
    struct event *minute; /* forgets counters and old tickets */
    int inotify_fd;       /* inotify instance, -1: none */
    struct event *inotify;
    struct event *changes_due; /* debounced news */
    struct event *poll_timer;  /* when there are no watches left */
    struct hmap by_wd;
    struct watch_entry *dirty; /* mailboxes with changes their workers have not been told */
    bool poll_said;
    bool stopping;
};

struct parent *parent_of(struct role *r);
struct session *session_by_id(struct parent *p, uint64_t id);
void session_free(struct parent *p, struct session *s);
/* It logged in: it is no longer one of those an address may have without login. */
void session_is_known(struct parent *p, struct session *s);
int64_t parent_now(void);
/* Do limits of one address hold for this one? Not for loopback unless limits.loopback is set. */
bool parent_counts(const struct parent *p, const char *ip);

/* parent_router.c */
void router_take(struct parent *p, unsigned front, struct ipc *ch, struct ipc_in *in, bool *malformed);
void router_quota(struct parent *p, struct slice account, uint64_t quota, uint64_t used);
void router_kill(struct parent *p, struct slice account);
void router_stop(struct parent *p);
bool router_is_idle(const struct parent *p);
struct ticket *ticket_find(struct parent *p, unsigned front, uint64_t session, struct slice octets);
void ticket_drop(struct parent *p, struct ticket *t);

/* parent_watch.c */
int watch_start(struct parent *p, struct err *e);
void watch_set(struct parent_worker *w, struct slice disk_name, bool on);
void watch_drop_all(struct parent_worker *w);

#endif
