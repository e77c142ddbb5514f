/*
 * log: structured lines, key=value, one event each, with the session's or message's id from front to store.
 *
 *     LOG(LOGIN, sid, F_STR("user", name), F_U64("ms", took));
 *
 * Events are a table (name, level, meaning: man/postamt-log.7 is made from it). A role writes to a
 * non-blocking SEQPACKET that postamtd reads; postamtd stamps time, role and pid. A full channel counts what
 * it drops and says so with the next line that fits. Before log_open, and in the postamt command, lines go to
 * stderr. Values are escaped (controls, quotes, invalid UTF-8; 256 octets each): no input can forge a line
 * (security.md A05).
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* name, level, what it means */
#define LOG_TABLE(X)                                                                                         \
    X(START, INFO, "a daemon or role has started")                                                           \
    X(STOP, INFO, "a daemon or role has stopped")                                                            \
    X(ROLE_DIED, ERROR, "a role ended by itself; it is started again")                                       \
    X(ROLE_FAILED, ERROR, "a role could not be started")                                                     \
    X(RELOAD, INFO, "new configuration and certificates are in force for new sessions")                      \
    X(RELOAD_REFUSED, ERROR, "the new configuration is wrong; the old one stays in force")                   \
    X(SANDBOX, WARN, "the kernel lacks a part of the sandbox")                                               \
    X(LISTEN, INFO, "a port is open")                                                                        \
    X(CERTIFICATE, INFO, "a certificate was made or loaded")                                                 \
    X(DROPPED, WARN, "log lines were dropped because the log's writer was slow")                             \
    X(IPC_BAD, ERROR, "another role sent a malformed message; its channel was closed")                       \
    X(CONNECT, DEBUG, "a client connected")                                                                  \
    X(REFUSED, INFO, "a connection was refused")                                                             \
    X(DISCONNECT, DEBUG, "a session ended")                                                                  \
    X(TLS, DEBUG, "TLS is in force")                                                                         \
    X(TLS_FAILED, INFO, "the TLS handshake failed")                                                          \
    X(LOGIN, INFO, "a user logged in")                                                                       \
    X(LOGIN_FAILED, INFO, "a login was refused; fail2ban reads this line")                                   \
    X(ACCOUNT, INFO, "an account, domain, alias or password was changed")                                    \
    X(DIRECTORY, WARN, "the account directory was repaired or rebuilt")                                      \
    X(PROTOCOL, INFO, "a client broke the protocol")                                                         \
    X(ATTACK, WARN, "input that only an attack explains was refused")                                        \
    X(MAIL_FROM, DEBUG, "a mail transaction began")                                                          \
    X(RCPT_REFUSED, INFO, "a recipient was refused")                                                         \
    X(RECEIVED, INFO, "a message was accepted")                                                              \
    X(REJECTED, INFO, "a message was refused")                                                               \
    X(DELIVERED, INFO, "a message is in a mailbox, durable")                                                 \
    X(DELIVERY_FAILED, ERROR, "a message could not be put into a mailbox")                                   \
    X(SELECT, DEBUG, "a mailbox was opened")                                                                 \
    X(EXPUNGE, INFO, "messages were deleted")                                                                \
    X(PURGE, INFO, "expunged messages were removed for good, or could not be kept")                          \
    X(APPEND, INFO, "a client stored a message")                                                             \
    X(MAILBOX, INFO, "a mailbox was created, renamed or deleted")                                            \
    X(TAKEOVER, INFO, "a mailbox of another server was taken over with its UIDs")                            \
    X(STORE_ODD, WARN, "something in a mail folder is not as it should be; it was left alone")               \
    X(STORE_ERROR, ERROR, "a file operation of the store failed")                                            \
    X(WATCH, WARN, "folders cannot be watched; they are polled instead")                                     \
    X(QUOTA, DEBUG, "usage of an account")                                                                   \
    X(COMMAND, DEBUG, "a command of a client, for tracing")                                                  \
    X(QUEUED, INFO, "a message is queued for other servers, durable")                                        \
    X(QUEUE_REFUSED, INFO, "a message could not be queued; its sender was told in the session")              \
    X(SENT, INFO, "another server, or a mailbox here, took a queued message for a recipient")                \
    X(DEFERRED, INFO, "a recipient of a queued message could not be reached; it is tried again")             \
    X(BOUNCED, INFO, "a recipient of a queued message was given up")                                         \
    X(NOTIFIED, INFO, "the sender of a queued message was told what became of it")                           \
    X(NOTIFY_FAILED, WARN, "a notification could not be delivered")                                          \
    X(QUEUE_DONE, INFO, "nothing is left to do for a queued message")                                        \
    X(UNSIGNED, WARN, "a message could not be signed and went out without a DKIM signature")                 \
    X(REMOTE_TLS, INFO, "a server's TLS is not what was asked for")                                          \
    X(REMOTE_ODD, INFO, "a server broke the protocol")                                                       \
    X(QUEUE_PART, INFO, "recipients of a message are in the queue, durable; part: its id there")             \
    X(QUEUE_BACK, INFO, "the queue gives a message to mailboxes here; of: its id there")                     \
    X(QUEUE_DAMAGED, ERROR, "a file of the queue is damaged; it was moved to queue/damaged")                 \
    X(QUEUE_STATE, WARN, "the queue's state was rebuilt from its files, or disagreed with them")             \
    X(QUEUE_CHANGED, INFO, "the postamt command changed a message of the queue")                             \
    X(DNS, WARN, "answers of name servers cannot be checked by DNSSEC, or libunbound cannot be set up")      \
    X(POLICY, INFO, "an MTA-STS policy was fetched, could not be, or is not what the MX records say")        \
    X(INTERNAL, ERROR, "something that should not happen")

enum log_event {
#define X(name, level, meaning) LOG_EV_##name,
    LOG_TABLE(X)
#undef X
        LOG_EV_COUNT
};

struct log_field {
    const char *key; /* NULL ends the list */
    struct slice text;
    uint64_t number;
    bool is_number;
};

#define F_SLICE(k, s)                                                                                        \
    {                                                                                                        \
        .key = (k), .text = (s)                                                                              \
    }
#define F_STR(k, z)                                                                                          \
    {                                                                                                        \
        .key = (k), .text = slice_str(z)                                                                     \
    }
#define F_U64(k, v)                                                                                          \
    {                                                                                                        \
        .key = (k), .number = (uint64_t)(v), .is_number = true                                               \
    }

/* sid: session or message id, NULL for none. */
#ifdef __cppcheck__ /* it does not know __VA_OPT__: make lint says so */
#define LOG(event, sid, ...) log_write(LOG_EV_##event, (sid), (const struct log_field[]){__VA_ARGS__})
#else
#define LOG(event, sid, ...)                                                                                 \
    log_write(LOG_EV_##event, (sid), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})
#endif

void log_write(enum log_event event, const char *sid, const struct log_field *fields);

/* fd: our end of the channel to postamtd (made non-blocking), -1: stderr. min: lines below are not written.
 */
void log_open(int fd, enum log_level min);
void log_set_level(enum log_level min);
/* debug, info, warn, error */
bool log_level_parse(struct slice name, enum log_level *out);
const char *log_level_name(enum log_level level);

struct log_event_row {
    const char *name; /* lower case, '-' for '_' */
    enum log_level level;
    const char *meaning;
};
const struct log_event_row *log_event_row(enum log_event event);

#endif
