/*
 * session: the driver of one IMAP session in the worker; what commands need not know.
 *
 * One command runs at a time: while it does, what the client sends waits as octets in the stream (64 KiB), so
 * nothing is read ahead and tagged replies keep their order. A command that returned IMAP_MORE gets its next
 * turn from the worker's queue, a zero timer: sessions take turns, and the loop serves sockets between.
 * Output beyond 256 KiB stops the session until it has drained (I11). An idle session holds no command, no
 * arena, no text.
 */
#ifndef IMAPD_SESSION_H
#define IMAPD_SESSION_H

#include <time.h>

#include "imapd/imap.h"
#include "imapd/reader.h"

#define IMAP_BAD_MAX 20 /* security.md 4.4 */
#define IMAP_ARENA_MAX ((size_t)8 << 20)

/* The worker's, one a user. */
struct imap_worker {
    struct worker *worker;
    struct event *turn_timer;          /* zero: the queue has somebody */
    struct event *sync_timer;          /* flag changes become durable */
    struct event *idle_timer;          /* the earliest autologout */
    struct imap_session *first, *last; /* queue of those who want a turn */
    bool sync_is_due;
};

struct imap_private {
    struct imap_worker *w;
    struct imap_reader reader;
    struct arena arena;
    struct imap_cmd cmd;
    struct buf text;  /* of the command that runs */
    bool waits;       /* its run() said IMAP_WAIT */
    bool wants_drain; /* the session stands until its output is out */
    bool over;        /* ends after the tagged reply */
    bool is_queued, is_running, is_paused;
    bool exists_unheard;       /* EXISTS was last said within FETCH, STORE or SEARCH */
    unsigned bad;              /* commands that were none */
    time_t deadline;           /* monotonic seconds */
    char *watched;             /* disk name of the selected mailbox, as it was then */
    struct timespec turn;      /* when the turn began */
    unsigned messages;         /* imap_yield calls in this turn */
    struct imap_session *next; /* in the queue */
    /* a literal that is not collected */
    const struct imap_literal_sink *sink;
    void *sink_ctx;
    struct err refused; /* why it was not taken; code OK: no error */
};

/* The worker's state, made at the first session. */
struct imap_worker *imap_worker_of(struct worker *w);

/* Makes the session, answers the login with `tag`. */
void imap_session_open(struct worker_session *ws, struct slice tag);
/* Reads and runs until there is nothing to do, the turn is used up, or the session has ended (then s is
 * gone). */
void imap_session_go(struct imap_session *s);
/* Writes "* BYE text" and ends it; s is gone. */
void imap_session_bye(struct imap_session *s, const char *text);
/* For LOGOUT: end after the tagged reply. */
void imap_session_over(struct imap_session *s);
/* For BYE in the middle of a command: it is over once the driver is back in control. */
void imap_session_free(struct imap_session *s);

/* Tag, name, blank (RFC 3501 2.2.1): row, tag and arguments of c (whose arena is set). What is wrong with it,
 * or NULL. */
const char *imap_read_head(struct imap_cmd *c, struct slice text);

/*
 * Thunderbird overlooks an EXISTS that comes while it downloads (RFC 9051 5.2 wants it there) and then goes
 * idle without fetching: new mail would stay unseen. At the start of IDLE the number is said once more.
 */
void imap_repeat_exists(struct imap_session *s);
/* IDLE is on: changes go out at once. */
bool imap_session_is_idling(const struct imap_session *s);
void imap_want_turn(struct imap_session *s);
/* Flags were changed: they are synced within a second. */
void imap_flags_changed(struct imap_session *s);
/* Looks at the mailbox of that name if any session of the user has it selected; tells the idling ones but
 * `but`. */
void imap_refresh_all(struct worker *w, struct slice name, const struct imap_session *but);
/* The same with what the watch saw of that folder. */
void imap_tell_all(struct worker *w, struct slice disk_name, const struct worker_news *news);

/* "IMAP4rev1 .." for a session of the worker (commands.c). */
void imap_capabilities(struct buf *out);
/* Row of a name ("UID" is not one); NULL. */
const struct imap_command *imap_command_by_name(struct slice name);
/* "* FLAGS (..)" and "* OK [PERMANENTFLAGS (..)]" (changes.c) */
void imap_send_flags(struct imap_session *s);

/* Argument helpers of several commands (arguments.c). */
/* BAD with p->error of the cursor: what a check() returns when the cursor failed. */
bool imap_check_failed(struct imap_cmd *c);
/* Nothing follows. */
bool imap_check_none(struct imap_cmd *c);
/* One mailbox name, then the end; c->data is its struct slice. */
bool imap_check_mailbox(struct imap_cmd *c);
/* What is wrong with flags a client wants to set; NULL: nothing. */
const char *imap_flags_complaint(const struct slice *names, size_t n);
/* Bit of a system flag or $Forwarded; 0: a keyword. */
uint32_t imap_system_flag(struct slice name);

#endif
