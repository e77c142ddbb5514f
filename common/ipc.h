/*
 * ipc: typed messages between our processes over SOCK_SEQPACKET, file descriptors with them.
 *
 * One message is at most 64 KiB: a header (version, type) and fields in the order the table below names.
 * Writing: ipc_begin, ipc_put_.., ipc_send. Reading: ipc_get_.. in the same order, then ipc_end, which is
 * false when anything was missing, too long, left over or not of its type. A malformed message closes that
 * peer and is logged; it never stops the receiver. File descriptors arrive close-on-exec; those a handler
 * does not take are closed.
 */
#ifndef COMMON_IPC_H
#define COMMON_IPC_H

#include <event2/event.h>

#include "common/buf.h"
#include "common/err.h"

#define IPC_VERSION 1
#define IPC_MAX 65536
#define IPC_FDS_MAX 4

/*
 * type, file descriptors allowed, fields. u = u64, s = octets, b = bool (u64 0/1), e = err code (u64), .. =
 * repeated. "session" is the front's number for one of its connections, unique in that front's life.
 */
#define IPC_TABLE(X)                                                                                         \
    /* postamtd -> every role */                                                                             \
    X(ROLE_CONFIG, 1, "s file name; fd: text of postamt.conf")                                               \
    X(ROLE_TLS, 1, "fd: blob of tls_pack()")                                                                 \
    X(ROLE_LISTEN, 1, "u index in settings.listeners; fd: listening socket")                                 \
    X(ROLE_SECRETS, 1, "fd: for each of settings.routes its password; see common/secrets.h")                 \
    X(ROLE_PEER, 1, "s role name, u its instance; fd: channel; replaces an earlier one")                     \
    X(ROLE_GO, 0, "all that is needed to start was sent")                                                    \
    X(ROLE_STOP, 0, "end in order: finish what is running, take nothing new")                                \
    /* role -> postamtd */                                                                                   \
    X(ROLE_READY, 0, "sandboxed and serving; s empty, or what the sandbox lacks")                            \
    X(ROLE_STATUS, 0, "s one line of JSON for `postamt status`")                                             \
    X(ROLE_STATUS_ASK, 0, "")                                                                                \
    /* postamt <-> postamtd, authd (control sockets) */                                                      \
    X(ADMIN_REQUEST, 0, "s JSON object with a verb")                                                         \
    X(ADMIN_ITEM, 0, "s JSON object: one of a stream")                                                       \
    X(ADMIN_END, 0, "s JSON object: {} or {\"error\":{..}}")                                                 \
    /* front -> authd */                                                                                     \
    X(AUTH_START, 0,                                                                                         \
        "u session, s sid, s service, s mechanism, s client ip, b tls, b has initial response, s it")        \
    X(AUTH_STEP, 0, "u session, s client's data, decoded")                                                   \
    X(AUTH_CANCEL, 0, "u session: the client sent * or went away")                                           \
    X(AUTH_LOGIN, 0, "u session, s sid, s service, s client ip, b tls, s user, s password")                  \
    X(RCPT_ASK, 0,                                                                                           \
        "u session, s address as written, b the front believes that the session is logged in: mail for "     \
        "elsewhere is taken then (EXPAND decides)")                                                          \
    /* authd -> front */                                                                                     \
    X(AUTH_MECHANISMS, 0, "s space-separated mechanisms to announce; sent at start and when it changes")     \
    X(AUTH_CHALLENGE, 0, "u session, s challenge, not encoded")                                              \
    X(AUTH_OK, 0, "u session, s account, s ticket (16 octets), s final server data")                         \
    X(AUTH_REFUSED, 0, "u session, e code, u microseconds to wait before the answer")                        \
    X(RCPT_ANSWER, 0, "u session, e code (OK, NO_USER, NO_RELAY, OVER_QUOTA, UNAVAILABLE)")                  \
    /* authd -> parents */                                                                                   \
    X(AUTH_TICKET, 0,                                                                                        \
        "u front instance, u session, s ticket, s account, s account path, u quota octets, u used")          \
    X(QUOTA_NOW, 0, "s account, u quota octets (0: none), u used octets")                                    \
    X(ACCOUNT_CHANGED, 0, "s account: suspended, removed or new password: end its sessions")                 \
    /* parents -> authd */                                                                                   \
    X(USAGE, 0,                                                                                              \
        "s account, u octets added, u octets removed, u messages added, u messages removed; durable "        \
        "already")                                                                                           \
    X(USAGE_SET, 0, "s account, u octets, u messages: counted anew")                                         \
    X(EXPAND, 0,                                                                                             \
        "s transaction, s authenticated account or empty, s reverse-path, u m, m times: s address in "       \
        "From:, "                                                                                            \
        "u n, n times: s address")                                                                           \
    /* authd -> smtpd.parent */                                                                              \
    X(EXPANDED, 0,                                                                                           \
        "s transaction, e code, u language of the account (enum reply_language), b another one with the "    \
        "rest follows, u n, n times: u index in EXPAND, e code of this recipient, s account of a mailbox "   \
        "here (empty: none), s its path, b usage known, s address elsewhere (empty: none), s address of "    \
        "ours that forwards there (empty: written to directly), s reverse-path to use then")                 \
    /* authd -> queued: all domains when the channel opens, then END; one again when it changes */           \
    X(DOMAIN_KEYS, 0,                                                                                        \
        "s domain (A-labels), b it is ours, u n, n times: s selector, s PEM of the private key")             \
    X(DOMAIN_KEYS_END, 0, "")                                                                                \
    /* front -> parent */                                                                                    \
    X(SESSION_OPEN, 0, "u session, s sid, s client ip, u listener")                                          \
    X(SESSION_CLOSED, 0, "u session")                                                                        \
    X(SESSION_TAKE, 1,                                                                                       \
        "u session, s ticket, s tag, s input left over, s tls text; fd: the client or a relay socket")       \
    X(MAIL, 1,                                                                                               \
        "u session, s transaction, s reverse-path, s helo, s tls text, b esmtp, b utf8, b 8bit, b "          \
        "requiretls, u ret, s envid, u size, u n, n: s rcpt, s orcpt, u notify; fd: text")                   \
    /* parent -> front */                                                                                    \
    X(SESSION_REFUSED, 0, "u session, e code")                                                               \
    X(SESSION_TAKEN, 0, "u session")                                                                         \
    X(SESSION_KILL, 0, "u session: end it (account suspended, kicked)")                                      \
    X(MAIL_DONE, 0, "u session, e code, s transaction")                                                      \
    /* parent -> spawner -> parent */                                                                        \
    X(SPAWN, 1, "u worker, s account, s path; fd: the worker's channel")                                     \
    X(WORKER_GONE, 0, "u worker, u wait status")                                                             \
    /* parent <-> worker */                                                                                  \
    X(WORKER_SESSION, 1,                                                                                     \
        "u session id of the parent, s sid, s tag, s client ip, s tls text, s input left over; fd")          \
    X(WORKER_SESSION_END, 0, "u session id of the parent")                                                   \
    X(WORKER_KILL, 0, "u session id of the parent, e code: say BYE and end")                                 \
    X(WORKER_QUOTA, 0, "u quota octets (0: none), u used")                                                   \
    X(WORKER_USAGE, 0, "u octets added, u removed, u messages added, u removed")                             \
    X(WORKER_WATCH, 0, "s disk name of a mailbox, b on")                                                     \
    X(WORKER_CHANGED, 0,                                                                                     \
        "s disk name of a mailbox that changed on disk, b new/ only, s names that came to or left cur/, a "  \
        "slash behind each, b there were no others since the last time")                                     \
    /* smtpd.parent <-> deliver; COUNT: authd too */                                                         \
    X(DELIVER, 1,                                                                                            \
        "s transaction, b replay, u seconds, u size, s account that logged in (empty: none), s trace "       \
        "fields (see mail/trace.h), u n, n: s path, u number; fd: text")                                     \
    X(DELIVERED, 0, "s transaction, e code, u size in the mailbox, u n, n times: e code, b was there")       \
    X(INSPECT, 1, "s transaction, u size; fd: text")                                                         \
    X(INSPECTED, 0, "s transaction, e code, u n, n times: s address in From:")                               \
    /* smtpd.parent <-> queued */                                                                            \
    X(ENQUEUE, 1, "s id, then as queue/request.h has it; fd: text, sealed")                                  \
    X(ENQUEUED, 0, "s id, e code")                                                                           \
    X(INJECT, 1,                                                                                             \
        "s id, s reverse-path, s recipient here, b utf8, b 8bit, u size; fd: text, sealed: put it into the " \
        "mailbox")                                                                                           \
    X(INJECTED, 0, "s id, e code")                                                                           \
    /* queued <-> resolverd */                                                                               \
    X(DNS_ASK, 0, "u question, s name, u type")                                                              \
    X(DNS_ANSWER, 0,                                                                                         \
        "u question, u status, b secure, u ttl, s canonical name, s why, u n, n times: s record; see "       \
        "common/dns.h")                                                                                      \
    /* queued <-> fetchd */                                                                                  \
    X(FETCH, 0, "u question, s host, u n, n times: s IP address, 4 or 16 octets: its MTA-STS policy")        \
    X(FETCHED, 0, "u question, u status (queue/fetch.h), s body, s why")                                     \
    /* queued <-> sender: see queue/send.h */                                                                \
    X(SEND, 1, "as queue/send.h has it; fd: the queue's file")                                               \
    X(SENT, 0, "as queue/send.h has it")                                                                     \
    X(SEND_CLOSE, 0, "u connection: no more for it")                                                         \
    X(SEND_CLOSED, 0, "u connection: an idle one ended by itself")                                           \
    X(COUNT, 0, "s account, s path")                                                                         \
    X(COUNTED, 0, "s account, e code, u octets, u messages")

enum ipc_type {
#define X(name, fds, fields) IPC_##name,
    IPC_TABLE(X)
#undef X
        IPC_TYPE_COUNT
};
const char *ipc_type_name(enum ipc_type type);

struct ipc_out {
    struct buf buf;
    int fds[IPC_FDS_MAX];
    size_t nfds;
};

void ipc_begin(struct ipc_out *out, enum ipc_type type);
void ipc_put_u64(struct ipc_out *out, uint64_t v);
void ipc_put(struct ipc_out *out, struct slice s);
void ipc_put_str(struct ipc_out *out, const char *z);
/* The fd is taken over and closed once sent (or when sending failed). */
void ipc_put_fd(struct ipc_out *out, int fd);

struct ipc_in {
    enum ipc_type type;
    struct slice rest;
    bool bad;
    int fds[IPC_FDS_MAX];
    size_t nfds, taken;
};

uint64_t ipc_get_u64(struct ipc_in *in);
bool ipc_get_bool(struct ipc_in *in);
enum err_code ipc_get_err(struct ipc_in *in);
/* Points into the message: valid inside the handler. */
struct slice ipc_get(struct ipc_in *in);
/* The next fd, now the caller's; -1 and bad if there is none. */
int ipc_get_fd(struct ipc_in *in);
bool ipc_end(struct ipc_in *in);

/* --- event-driven channel --- */
struct ipc;
/* False: the message was malformed or not for us; the channel is closed and `closed` called. */
typedef bool ipc_handler(void *ctx, struct ipc *ch, struct ipc_in *in);
/* The channel is at its end; it frees itself when this returns (ipc_free inside is allowed). */
typedef void ipc_closed(void *ctx, struct ipc *ch);

/* fd is taken over. `name` is for the log ("imapd.front.1"). */
struct ipc *ipc_new(
    struct event_base *base, int fd, const char *name, ipc_handler *handler, ipc_closed *closed, void *ctx);
/* No callback comes any more. Safe inside the handler. */
void ipc_free(struct ipc *ch);
const char *ipc_name(const struct ipc *ch);
/* Sends or queues; the out is emptied. A backlog above 4 MiB closes the channel. NULL ch: dropped, fds
 * closed. */
void ipc_send(struct ipc *ch, struct ipc_out *out);
/* Handles what already waits in the socket now, before anything else (tickets before takes). */
void ipc_drain(struct ipc *ch);
/*
 * Who is at the other end of a control socket (SO_PEERCRED, SO_PEERGROUPS): root, our own uid, or a member of
 * the group that may administer ((gid_t)-1: there is none).
 */
bool ipc_peer_is_admin(int fd, gid_t admin_group);

/* --- blocking (deliver, spawner, the postamt command, start of a role) --- */
/* 1 a message, 0 end of file, -1 error or malformed (errno EBADMSG). `store` holds the octets `in` points
 * into. */
int ipc_recv(int fd, struct buf *store, struct ipc_in *in);
int ipc_send_now(int fd, struct ipc_out *out);
/* Closes fds of a message that nobody took. */
void ipc_in_free(struct ipc_in *in);

/* A pair of channels, close-on-exec, send buffers wide enough for IPC_MAX. */
int ipc_pair(int fds[2]);

#endif
