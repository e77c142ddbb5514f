/*
 * imap: a session of the IMAP worker and its commands: one file and one row each.
 *
 * `imapd/cmd_<name>.c` exports one const struct imap_command; the list in commands.c names it; CAPABILITY and
 * the man page come from the rows. The driver (session.c) alone reads commands, checks state and read-only,
 * looks at the mailbox for news, sends untagged changes and the tagged reply; tagged replies come in the
 * order of the commands. check() reads the arguments and changes nothing: it returns false with c->error for
 * BAD. run() may assume what check() made sure. Long work returns IMAP_MORE after 2 ms or 64 messages
 * (imap_yield) or when the output is backed up.
 */
#ifndef IMAPD_IMAP_H
#define IMAPD_IMAP_H

#include "imapd/parse.h"
#include "session/worker.h"
#include "store/view.h"

enum imap_in { IMAP_IN_AUTH = 1, IMAP_IN_SELECTED = 2, IMAP_IN_ANY = 3 };

enum imap_step {
    IMAP_DONE, /* c->status, c->code, c->text say the tagged reply */
    IMAP_MORE, /* call run() again: when output has drained, or the loop has served the others */
    IMAP_WAIT, /* somebody calls imap_resume(c) later (IDLE) */
};

enum imap_flags {
    IMAP_HAS_UID = 1 << 0, /* exists as UID <name> too */
    IMAP_CHANGES = 1 << 1, /* refused in a mailbox that was opened read only */
    IMAP_HOLDS_EXPUNGE =
        1 << 2, /* no EXPUNGE may be sent while it runs, unless it is a UID form (RFC 3501 7.4.1) */
    IMAP_NO_REFRESH = 1 << 3, /* the driver need not look at the disk before the tagged reply */
};

struct imap_session;
struct imap_cmd;

struct imap_command {
    const char *name;       /* "FETCH" */
    unsigned states;        /* enum imap_in */
    unsigned flags;         /* enum imap_flags */
    const char *arguments;  /* shape, for the man page: "sequence-set items" */
    const char *capability; /* what CAPABILITY announces for it; NULL: nothing beyond IMAP4rev1 */
    const char *rfc;        /* "RFC 3501 6.4.5" */
    bool (*check)(struct imap_cmd *c);
    enum imap_step (*run)(struct imap_cmd *c);
    void (*end)(struct imap_cmd
            *c); /* frees what is not in the arena; also when the session ends in the middle; NULL */
    void (*line)(
        struct imap_cmd *c, struct slice line); /* a line of the client while it waits (IDLE); NULL */
    const struct imap_literal_sink
        *sink; /* takes literals of the command (APPEND); NULL: they are collected */
};

enum imap_status { IMAP_OK, IMAP_NO, IMAP_BAD };

/* A command that runs. */
struct imap_cmd {
    struct imap_session *s;
    const struct imap_command *row;
    struct arena *arena;    /* this command's; 8 MiB */
    struct imap_parse args; /* behind the name and the blank */
    struct slice tag;
    bool uid;          /* the UID form */
    void *data;        /* what check() read, for run() */
    const char *error; /* BAD sentence of check() */
    enum imap_status status;
    struct buf code; /* response code without brackets, may be empty */
    struct buf text; /* sentence; empty: "<NAME> completed" */
    void *literal;   /* what sink->begin made; the driver aborts it unless run() took it (set it to NULL) */
};

struct imap_session {
    struct worker_session *ws;
    struct stream *stream;
    struct account *account;
    struct mailbox *mailbox; /* NULL: none selected */
    struct view *view;
    bool read_only;
    bool utf8; /* ENABLE UTF8=ACCEPT */
    bool enabled_condstore;
    uint64_t enabled;             /* bits of what ENABLE switched on (cmd_enable.c) */
    struct imap_cmd *cmd;         /* running */
    struct imap_private *private; /* the driver's */
};

extern const struct imap_command *const imap_commands[]; /* NULL at the end */

/* --- for commands --- */
static inline struct buf *imap_out(struct imap_session *s)
{
    return stream_out(s->stream);
}
/* OK / NO / BAD of the tagged reply; code may be NULL. */
enum imap_step imap_reply(struct imap_cmd *c, enum imap_status status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* NO with the row of the error: code, sentence; logs it at the row's level. */
enum imap_step imap_reply_err(struct imap_cmd *c, const struct err *e);
/* True when 2 ms or 64 messages are used up since run() was entered, or the output is backed up: return
 * IMAP_MORE. */
bool imap_yield(struct imap_cmd *c);
void imap_resume(struct imap_cmd *c);
/* Untagged changes of the selected mailbox, now (IDLE, NOOP): looks at the disk if refresh. */
void imap_send_changes(struct imap_session *s, bool with_expunges, bool refresh);
/* Tells all sessions of the user that have this mailbox selected (another one changed it). */
void imap_announce(struct imap_session *s, struct mailbox *m);
/* Selects (or with NULL deselects) a mailbox for the session: watch, view, references. */
int imap_select(struct imap_session *s, struct slice name, bool read_only, struct err *e);
void imap_deselect(struct imap_session *s);

/*
 * Messages a set names, resolved against the view: ascending sequence numbers with their UIDs, in the arena.
 * For sequence numbers out of range: false (BAD); unknown UIDs are left out silently.
 */
struct imap_targets {
    uint32_t *uids;
    uint32_t *seqs;
    size_t n;
};
bool imap_targets(struct imap_cmd *c, const struct imap_set *set, bool uid, struct imap_targets *out);

/* Flags: "\Seen" .. and keywords into bits; create: unknown keywords take a letter. -1 with the error.
 * \Recent is refused. */
int imap_flags_parse(
    struct mailbox *m, const struct slice *names, size_t n, bool create, uint32_t *bits, struct err *e);
/* "\Seen \Flagged $Forwarded" with blanks; recent adds \Recent. */
void imap_flags_write(struct buf *out, const struct mailbox *m, uint32_t bits, bool recent);

/* Literals the reader must not collect in memory: APPEND (cmd_append.c) gives these to the driver. */
struct imap_literal_sink {
    /* The command's arguments so far (up to and including "{n}"). 0: taken, *ctx is made; 1: not the message
     * but an argument, collect it; -1 with the error: refused, and swallowed if it is non-synchronising. In
     * the text that check() reads "{n}" CRLF stands without the octets. */
    int (*begin)(struct imap_session *s, struct slice text, uint64_t size, void **ctx, struct err *e);
    int (*piece)(void *ctx, struct slice octets, struct err *e);
    void (*abort)(void *ctx);
};

#endif
