/*
 * master: postamtd, the one process with root's rights. It parses nothing from the network.
 *
 * Files: postamtd.c (arguments, signals, reload), roles.c (start, wiring, restart), listen.c (ports), certs.c
 * (certificates), logger.c (the log's writer, a thread of its own), folders.c (the trees), control.c (the
 * socket of the postamt command).
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <event2/event.h>

#include "common/ipc.h"
#include "common/log.h"
#include "common/settings.h"
#include "common/wiring.h"

struct child; /* a role that runs or is to be started */

struct master {
    struct event_base *base;
    const char *config_file;
    const char *libexec_dir; /* where the daemons' programs lie */
    struct settings *settings;
    struct buf tls_blob;
    unsigned char ticket_keys[80];
    int *listeners;                /* fd for settings->listeners[i] */
    unsigned *ports;               /* as bound */
    struct buf secrets;            /* common/secrets.h */
    int auth_socket, queue_socket; /* control sockets of authd and queued, bound here */
    struct child *children;
    size_t nchildren;
    bool stopping;
    int exit_status;
    int64_t started; /* seconds since 1970 */
};

/* --- folders.c --- */
/* Makes what is missing, checks owner, mode, that mail, state and spool share one local file system. */
int folders_prepare(const struct settings *s, struct err *e);
/* uid and gid of a role's user; the own ones without root. */
int role_user_ids(enum role_user user, uid_t *uid, gid_t *gid, struct err *e);

/* --- listen.c --- */
/* Binds all listeners of the settings; sockets of `old` with the same address and port are kept. */
int listen_all(const struct settings *s, const struct settings *old, const int *old_fds, int **fds,
    unsigned **ports, struct err *e);
/* A SOCK_SEQPACKET listening socket in run_dir for members of group postamt; an old one is replaced. */
int listen_control(const struct settings *s, const char *name, struct err *e);

/* --- certs.c --- */
/* Certificates of the settings, or the self-made one (made on first use) into a blob of tls_pack(). */
int certs_load(
    const struct settings *s, const unsigned char ticket_keys[80], struct buf *blob, struct err *e);

/* --- logger.c --- */
/* Starts the writer's thread. to: "stderr", "journal", or a file. */
int logger_start(const char *to, struct err *e);
/* A channel for a role (its end is returned, close-on-exec); `name` stands in its lines, `child_name` in
 * those of processes it forked (NULL: the same). -1 with errno. */
int logger_channel(const char *name, const char *child_name);
/* Opens the file anew (after rotation). */
void logger_reopen(const char *to);
/* Writes what waits; at the end. */
void logger_stop(void);

/* --- roles.c --- */
int roles_start(struct master *m, struct err *e);
/* Sends settings and certificates to all roles; starts and ends fronts as their number changed is not done:
 * restart. */
void roles_reload(struct master *m);
void roles_stop(struct master *m);
/* One JSON object a role, comma-separated, into out. */
void roles_status(struct master *m, struct buf *out);

/* --- control.c --- */
int control_start(struct master *m, struct err *e);
void control_stop(void);

/* --- postamtd.c --- */
/* All roles have said READY. */
void master_ready(struct master *m);
/* Reads everything anew; refused and explained if wrong (complaint), the old stays in force. */
int master_reload(struct master *m, struct buf *complaint);

#endif
