/*
 * role: what each process of ours is: a name, privileges, peers, a loop.
 *
 * postamtd starts every role with `<daemon> --role <name> --instance <n>`; fd 3 is its channel to postamtd,
 * fd 4 the log. Over fd 3 come configuration, certificates, listening sockets and a channel to each peer that
 * the wiring table (common/wiring.h) names; then ROLE_GO. role_main receives them, calls prepare (open what
 * the sandbox will refuse), drops to the role's uid, enters its sandbox row and calls run. A role ends when
 * postamtd does (PR_SET_PDEATHSIG and end of file on fd 3). A peer that died and was started again arrives as
 * a new channel.
 *
 *     int main(int argc, char **argv) { return role_main(argc, argv, imapd_roles); }
 */
#ifndef COMMON_ROLE_H
#define COMMON_ROLE_H

#include "common/ipc.h"
#include "common/settings.h"
#include "common/wiring.h"

struct tls_context;
struct role;

struct role_ops {
    enum role_id id;
    /* Before privileges are dropped: as little as possible (NULL: nothing). -1 with the error ends the role.
     */
    int (*prepare)(struct role *r, struct err *e);
    /* After the sandbox: set up state; event roles return 0 and the loop runs; blocking roles (base == NULL)
     * do their work here and return when it ends. */
    int (*run)(struct role *r, struct err *e);
    /* A message from a peer; false: malformed. */
    bool (*message)(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in);
    /* A peer (re)appeared or is gone (ch NULL). May be NULL. */
    void (*peer)(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch);
    /* New settings or certificates are in r (NULL: not interested). */
    void (*reloaded)(struct role *r);
    /* A listening socket, for fronts. */
    void (*listener)(struct role *r, unsigned index, int fd);
    /* Stop was asked for: end by event_base_loopexit when done. NULL: at once. */
    void (*stop)(struct role *r);
    /* One line of JSON about itself; NULL: {} */
    void (*status)(struct role *r, struct buf *json);
    /* Blocking roles: a signal interrupted role_next (SIGCHLD of the spawner). May be NULL. */
    void (*interrupted)(struct role *r);
    bool blocking; /* no event loop: run() calls role_next() */
};

#define ROLE_PEERS_MAX 64

struct role {
    const struct role_ops *ops;
    unsigned instance;
    struct event_base *base; /* NULL for blocking roles */
    const struct settings *settings;
    struct tls_context *tls; /* NULL for roles without */
    struct tls_context *tls_no_tickets;
    struct buf secrets;  /* common/secrets.h; queued only. A new one comes before reloaded() */
    struct ipc *control; /* to postamtd */
    int control_fd;      /* blocking roles */
    void *state;         /* the role's own */
    struct {
        enum role_id id;
        unsigned instance;
        struct ipc *ch; /* NULL: gone */
        int fd;         /* blocking roles: the channel, -1 gone */
    } peers[ROLE_PEERS_MAX];
    size_t npeers;
};

/* list ends with a NULL pointer. Returns the exit status of the process. */
int role_main(int argc, char **argv, const struct role_ops *const *list);
/* Channel to a peer; NULL when it is not there at the moment. */
struct ipc *role_peer(struct role *r, enum role_id id, unsigned instance);
/* Blocking roles: channel fd to a peer; -1. */
int role_peer_fd(struct role *r, enum role_id id, unsigned instance);
/*
 * Blocking roles: the next message of a peer; what postamtd says is handled inside. 1 a message (store holds
 * its octets; call ipc_in_free after), 0 the role shall end.
 */
int role_next(struct role *r, struct buf *store, struct ipc_in *in, enum role_id *peer, unsigned *instance);
/* A malformed message of a blocking role's peer: its channel is closed and logged. */
void role_peer_bad(struct role *r, enum role_id peer, unsigned instance, const struct ipc_in *in);

#endif
