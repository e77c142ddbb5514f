/*
 * front: the network side that smtpd, imapd and pop3d share: accept, limits, TLS, login by authd, handing
 * over.
 *
 * A front has no files and no accounts. A protocol gives front_ops; the core owns the connection's life. The
 * core accepts, tells the parent (SESSION_OPEN: limits), does implicit TLS, and calls opened(). The protocol
 * reads lines from conn->stream, sets deadlines on it, and calls front_auth_*; the answer comes as
 * authenticated() or refused_auth(). After a login imapd and pop3d call front_hand_over: a plain socket is
 * passed itself, a TLS one is relayed. conn is valid until closed() returns; protocol state hangs on
 * conn->state and is freed in closed().
 */
#ifndef SESSION_FRONT_H
#define SESSION_FRONT_H

#include "common/id.h"
#include "common/role.h"
#include "common/stream.h"

struct front;

struct front_conn {
    struct front *front;
    struct stream *stream;
    uint64_t session; /* number in this front's life */
    struct id sid;    /* in every log line */
    const struct listener *listener;
    const struct settings *settings; /* those of the session's start; they outlive it */
    char ip[46];
    bool is_loopback;
    bool is_tls;
    bool may_log_in;   /* TLS is on, or the listener allows a plain login */
    unsigned failures; /* wrong passwords so far */
    void *state;       /* the protocol's */
};

struct front_ops {
    const char *alpn;
    /* The greeting is due (implicit TLS is done already). */
    void (*opened)(struct front_conn *c);
    void (*input)(struct front_conn *c);
    void (*drained)(struct front_conn *c); /* may be NULL */
    /* STARTTLS finished; forget all that was said before. */
    void (*secured)(struct front_conn *c);
    /* authd's answers; octets decoded. final: server data that comes with success (may be empty). */
    void (*challenge)(struct front_conn *c, struct slice data);
    void (*authenticated)(struct front_conn *c, struct slice account, struct slice final);
    void (*refused_auth)(struct front_conn *c, enum err_code code);
    /* The connection may not be (limits, account suspended, shutdown): say why in the protocol's words; the
     * core closes it afterwards. Also for timeouts (ERR_UNAVAILABLE with is_timeout). */
    void (*bye)(struct front_conn *c, enum err_code code, bool is_timeout);
    void (*closed)(struct front_conn *c);
    /* Other messages of peers (SMTP: RCPT_ANSWER, MAIL_DONE); session was looked up. False: malformed. NULL:
     * none. */
    bool (*message)(struct front_conn *c, struct ipc_in *in);
    /* A peer went away while answers of it are awaited (SMTP: 451 for what is open). May be NULL. */
    void (*peer_lost)(struct front_conn *c, enum role_id peer);
};

/* For role_ops.run/message/peer/listener/reloaded/stop/status of a front role. */
int front_run(struct role *r, const struct front_ops *ops, enum role_id parent, struct err *e);
bool front_message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in);
void front_peer(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch);
void front_listener(struct role *r, unsigned index, int fd);
void front_reloaded(struct role *r);
void front_stop(struct role *r);
void front_status(struct role *r, struct buf *json);

/* Mechanisms to announce on this connection ("PLAIN LOGIN"), "" when it may not log in. */
const char *front_mechanisms(const struct front_conn *c);
/* One exchange at a time. The front adds the failure delay itself before refused_auth is called. */
void front_auth_start(struct front_conn *c, struct slice mechanism, bool has_initial, struct slice initial);
void front_auth_step(struct front_conn *c, struct slice data);
void front_auth_cancel(struct front_conn *c);
void front_auth_login(struct front_conn *c, struct slice user, struct slice password);

/* More than 80 % of limits.connections are taken: who is slow must go sooner (security.md 4.4). */
bool front_is_crowded(const struct front_conn *c);

void front_starttls(struct front_conn *c);
/* After authenticated(): give the session to the parent's worker. tag: what the worker answers the login
 * with. The reply to the login is the worker's. On failure bye() is called. Pending output must have been
 * flushed. */
void front_hand_over(struct front_conn *c, struct slice tag);
/* Write what waits and close. */
void front_close(struct front_conn *c);
/* Sends a message to the parent or authd; begin it with ipc_begin and put the session first. */
bool front_send(struct front_conn *c, enum role_id peer, struct ipc_out *out);

#endif
