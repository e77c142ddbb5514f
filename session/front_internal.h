/* front_internal: what front.c and front_login.c share. */
#ifndef SESSION_FRONT_INTERNAL_H
#define SESSION_FRONT_INTERNAL_H

#include "session/front.h"

#define TICKET_LEN 16

enum conn_step {
    CONN_TALKING,
    CONN_AUTHENTICATING, /* authd is asked */
    CONN_REFUSED,        /* waits until the refusal may be told */
    CONN_HANDED,         /* the parent was asked to take it */
    CONN_CLOSING,
};

struct conn {
    struct front_conn pub; /* first: a front_conn is a conn */
    enum conn_step step;
    struct conn *older, *newer; /* of those nobody has logged in on, by age */
    bool is_listed;
    struct event *delay; /* until a refused login is told */
    enum err_code refusal;
    char ticket[TICKET_LEN];
    int spare;            /* a handed plain socket, until the parent took it; -1 */
    struct stream *inner; /* our end of the relay, until the parent took the other */
};

struct port {
    struct front *front;
    unsigned index;
    int fd;
    struct event *accepting;
    struct event *resume;
};

struct front {
    struct role *role;
    const struct front_ops *ops;
    enum role_id parent;
    struct port ports[64];
    size_t nports;
    struct conn **conns; /* by the low bits of the session number */
    size_t nslots, count;
    uint64_t serial;
    struct conn *oldest, *newest;
    char *mechanisms;
    uint64_t accepted, relayed;
    bool stopping;
};

static inline struct conn *conn_of(struct front_conn *c)
{
    return (struct conn *)c;
}

/* front.c */
extern const struct stream_ops conn_stream_ops;
struct tls_context *conn_tls(struct conn *c);
/* A login succeeded: it is no longer among those that make room for others. */
void conn_unlist(struct front *f, struct conn *c);
/* The connection is over for us; tell: the parent hears of it. Frees c. */
void conn_forget(struct conn *c, bool tell);
/* The protocol says why, then it is closed. Frees c. */
void conn_say_bye(struct conn *c, enum err_code code, bool is_timeout);

/* front_login.c */
void login_refuse_later(struct conn *c, enum err_code code, uint64_t microseconds);
/* AUTH_OK, AUTH_REFUSED; false: malformed */
bool login_ok(struct conn *c, struct ipc_in *in);
bool login_refused(struct conn *c, struct ipc_in *in);
/* SESSION_TAKEN, SESSION_REFUSED */
void hand_over_taken(struct conn *c);
void hand_over_refused(struct conn *c, enum err_code code);

#endif
