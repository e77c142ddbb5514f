/*
 * wiring: the table of all roles and of who may talk to whom. There is no channel that is not in it.
 */
#ifndef COMMON_WIRING_H
#define COMMON_WIRING_H

#include "common/slice.h"

/* name, program, uid kind, tls blob, one per (see enum role_many) */
#define ROLE_TABLE(X)                                                                                        \
    X(AUTHD, "authd", "authd", AUTH, NO_CERTIFICATES, ONE)                                                   \
    X(SMTPD_PARENT, "smtpd.parent", "smtpd", MAIL, NO_CERTIFICATES, ONE)                                     \
    X(SMTPD_FRONT, "smtpd.front", "smtpd", NET, CERTIFICATES, FRONTS)                                        \
    X(SMTPD_DELIVER, "smtpd.deliver", "smtpd", MAIL, NO_CERTIFICATES, DELIVERS)                              \
    X(IMAPD_PARENT, "imapd.parent", "imapd", MAIL, NO_CERTIFICATES, ONE)                                     \
    X(IMAPD_FRONT, "imapd.front", "imapd", NET, CERTIFICATES, FRONTS)                                        \
    X(IMAPD_SPAWNER, "imapd.spawner", "imapd", MAIL, NO_CERTIFICATES, ONE)                                   \
    X(POP3D_PARENT, "pop3d.parent", "pop3d", MAIL, NO_CERTIFICATES, ONE)                                     \
    X(POP3D_FRONT, "pop3d.front", "pop3d", NET, CERTIFICATES, FRONTS)                                        \
    X(POP3D_SPAWNER, "pop3d.spawner", "pop3d", MAIL, NO_CERTIFICATES, ONE)                                   \
    X(QUEUED, "queued", "queued", QUEUE, NO_CERTIFICATES, ONE)                                               \
    X(SENDER, "sender", "sender", NET, NO_CERTIFICATES, FRONTS)                                              \
    X(RESOLVERD, "resolverd", "resolverd", NET, NO_CERTIFICATES, ONE)                                        \
    X(FETCHD, "fetchd", "fetchd", NET, NO_CERTIFICATES, ONE)

/* Pairs that get a channel. Workers are not in it: a worker knows its parent only. */
#define WIRE_TABLE(X)                                                                                        \
    X(SMTPD_FRONT, AUTHD)                                                                                    \
    X(SMTPD_FRONT, SMTPD_PARENT)                                                                             \
    X(SMTPD_PARENT, AUTHD)                                                                                   \
    X(SMTPD_PARENT, SMTPD_DELIVER)                                                                           \
    X(IMAPD_FRONT, AUTHD)                                                                                    \
    X(IMAPD_FRONT, IMAPD_PARENT)                                                                             \
    X(IMAPD_PARENT, AUTHD)                                                                                   \
    X(IMAPD_PARENT, IMAPD_SPAWNER)                                                                           \
    X(POP3D_FRONT, AUTHD)                                                                                    \
    X(POP3D_FRONT, POP3D_PARENT)                                                                             \
    X(POP3D_PARENT, AUTHD)                                                                                   \
    X(POP3D_PARENT, POP3D_SPAWNER)                                                                           \
    X(SMTPD_PARENT, QUEUED)                                                                                  \
    X(QUEUED, AUTHD)                                                                                         \
    X(QUEUED, SENDER)                                                                                        \
    X(QUEUED, RESOLVERD)                                                                                     \
    X(QUEUED, FETCHD)

enum role_id {
#define X(id, name, program, uid, tls, many) ROLE_##id,
    ROLE_TABLE(X)
#undef X
        ROLE_COUNT
};

enum role_user { ROLE_USER_AUTH, ROLE_USER_MAIL, ROLE_USER_NET, ROLE_USER_QUEUE, ROLE_USER_COUNT };
/* "postamt-auth" .. */
const char *role_user_name(enum role_user user);
enum role_many { ROLE_ONE, ROLE_FRONTS, ROLE_DELIVERS }; /* how many instances run */

struct role_row {
    const char *name;
    const char *program;
    enum role_user user;
    bool certificates;
    enum role_many many;
};

extern const struct role_row role_rows[ROLE_COUNT];
/* ROLE_COUNT if there is none of that name */
enum role_id role_by_name(struct slice name);
bool role_is_wired(enum role_id a, enum role_id b);
/* The service's roles: which front role listens for a service (settings.h). */
enum role_id role_front_of(int service);

#endif
