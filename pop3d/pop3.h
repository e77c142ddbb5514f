/*
 * pop3: a session of the POP3 worker and its commands: one row each, one file a family.
 *
 * `pop3d/cmd_<name>.c` exports const struct pop3_command rows; the list in commands.c names them; CAPA and
 * the man page come from the rows. The driver (session.c) alone reads lines, checks arguments against the
 * row's shape and against the snapshot, and calls run(), which may assume that the message exists and is not
 * marked. The snapshot (numbers, UIDs, sizes of the INBOX) is made at login and never changes (RFC 1939 8);
 * nothing is locked meanwhile (security.md P01): other sessions, IMAP and deliveries go on, and a message
 * they delete is simply gone. DELE only marks; QUIT deletes by UID, durably, before it answers.
 *
 * Long work is run() returning POP3_MORE: it is called again when the output has drained, or when the loop
 * has served the others. What it must remember between the calls stands in struct pop3_session.
 */
#ifndef POP3D_POP3_H
#define POP3D_POP3_H

#include "session/worker.h"
#include "store/mailbox.h"

#define POP3_LINE_MAX 255 /* octets of a command with its CRLF: RFC 2449 4, security.md P02 */
#define POP3_BAD_LOGIN 3  /* commands that are none before the connection is closed: before login */
#define POP3_BAD_MAX 20   /* after login */

enum pop3_step { POP3_DONE, POP3_MORE, POP3_END /* the session is over: the driver frees it */ };

enum pop3_shape { POP3_NOTHING, POP3_MAY_MESSAGE, POP3_MESSAGE, POP3_MESSAGE_LINES };

struct pop3_session;

struct pop3_command {
    const char *name;      /* "RETR" */
    const char *arguments; /* for people: "message lines"; "" for none */
    enum pop3_shape shape;
    const char *capability; /* what CAPA announces for it; NULL: nothing beyond RFC 1939 */
    const char *rfc;        /* "RFC 1939 5" */
    enum pop3_step (*run)(struct pop3_session *s);
};

extern const struct pop3_command *const pop3_commands[]; /* NULL at the end */

struct pop3_arguments {
    bool has_message;
    uint32_t message; /* as the client counts: 1 is the first; 0 when it was no number a message can have */
    uint32_t lines;
};

enum pop3_parse {
    POP3_PARSED,
    POP3_UNKNOWN,
    POP3_LOGIN_ONLY /* USER, PASS, .. after the login */,
    POP3_BAD_ARGUMENTS
};
/* Reads one line (no CRLF). Pure; fuzzed. *row is set unless POP3_UNKNOWN or POP3_LOGIN_ONLY. */
enum pop3_parse pop3_parse(struct slice line, const struct pop3_command **row, struct pop3_arguments *args);

struct pop3_message {
    uint32_t uid;
    bool deleted;  /* marked: DELE */
    uint64_t size; /* octets with CRLF, without dot-stuffing */
};

/* A message on its way out: RETR and TOP (cmd_retr.c). */
struct pop3_text {
    uint32_t uid;
    size_t at, end; /* octets of the text that went out, that shall go out */
    bool at_line_start, last_cr;
    bool needs_blank; /* no blank line behind the header: one is added (clients.md 15) */
};

struct pop3_session {
    struct worker_session *ws;
    struct stream *stream;
    struct mailbox *mailbox;   /* NULL: it could not be opened */
    struct pop3_message *msgs; /* msgs[0] is message 1 */
    uint32_t uidvalidity;
    size_t count;                   /* in the snapshot */
    size_t left;                    /* not marked */
    uint64_t octets;                /* of those */
    char *mechanisms;               /* what the front announces: CAPA says the same after login */
    const struct pop3_command *cmd; /* running */
    struct pop3_arguments args;     /* its */
    size_t at;                      /* how far it is */
    size_t removed, failed;         /* messages QUIT deleted, could not delete */
    enum err_code error;            /* and why */
    struct pop3_text text;
    struct pop3_private *private; /* the driver's */
};

/* --- for commands --- */
static inline struct buf *pop3_out(struct pop3_session *s)
{
    return stream_out(s->stream);
}
/* The message the arguments name. */
static inline struct pop3_message *pop3_message(struct pop3_session *s)
{
    return &s->msgs[s->args.message - 1];
}
/* "+OK <text>" or "-ERR <text>"; POP3_DONE, so that a command can `return pop3_ok(..)`. */
enum pop3_step pop3_ok(struct pop3_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum pop3_step pop3_err(struct pop3_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* -ERR with the row of the error, which is logged at its level. */
enum pop3_step pop3_err_row(struct pop3_session *s, const struct err *e);
/* The output is backed up, or 2 ms are used up since run() was entered: return POP3_MORE. */
bool pop3_yield(const struct pop3_session *s);

/* "-ERR [<code>] <sentence>" CRLF of a row of the error table. */
void pop3_write_err(struct buf *out, enum err_code code);
/*
 * The capability list with its final dot (RFC 2449 5). stls: STLS is possible; login: USER and PASS are;
 * mechanisms: for SASL, "" for none.
 */
void pop3_write_capabilities(struct buf *out, bool stls, bool login, const char *mechanisms);

extern const struct pop3_command pop3_capa, pop3_stat, pop3_list, pop3_uidl, pop3_retr, pop3_top, pop3_dele,
    pop3_rset, pop3_noop, pop3_quit;
/* QUIT's work without its answer: one portion of deletions. */
enum pop3_step pop3_delete_some(struct pop3_session *s);

/* --- the roles --- */
extern const struct worker_ops pop3_worker_ops;
struct front_ops;
extern const struct front_ops pop3_front_ops;

#endif
