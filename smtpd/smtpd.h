/*
 * smtpd: a session of the SMTP front and its commands: one file and one row each.
 *
 * `smtpd/cmd_<name>.c` exports const struct smtp_command rows; the list in commands.c names them; EHLO's
 * keywords, HELP and the man page come from the rows. The driver (front.c) alone reads lines, checks the
 * state and the sync points of pipelining, counts errors and closes. check() reads the arguments and changes
 * nothing: it answers itself and returns false when they are wrong. run() may assume what check() made sure;
 * it either answers, or sets a phase in which an answer is awaited (smtp_wait) and calls smtp_go when it is
 * there. While a session waits nothing of it is read: replies come in the order of the commands. Nobody but
 * the driver closes: set s->end.
 */
#ifndef SMTPD_SMTPD_H
#define SMTPD_SMTPD_H

#include "common/arena.h"
#include "common/log.h"
#include "mail/address.h"
#include "session/front.h"
#include "smtpd/parse.h"
#include "smtpd/text.h"

/* Where a session may stand; exactly one holds. */
enum smtp_in {
    SMTP_IN_START = 1, /* nobody has said EHLO or HELO */
    SMTP_IN_READY = 2,
    SMTP_IN_MAIL = 4,    /* MAIL was accepted */
    SMTP_IN_RCPT = 8,    /* .. and a recipient */
    SMTP_IN_CHUNKS = 16, /* .. and a chunk */
    SMTP_IN_ANY = 31,
};

enum smtp_flags {
    SMTP_LAST = 1 << 0,  /* nothing may be pipelined behind it (RFC 2920 3.1) */
    SMTP_JUNK = 1 << 1,  /* moves no mail: too many of them end the session */
    SMTP_EARLY = 1 << 2, /* allowed on a submission port before the login */
};

enum smtp_phase {
    SMTP_COMMAND,
    SMTP_TEXT,       /* DATA's */
    SMTP_OCTETS,     /* BDAT's */
    SMTP_AUTH_LINE,  /* the client's answer to a challenge */
    SMTP_AUTH_FINAL, /* .. to the server's last data (RFC 4954 4) */
    SMTP_WAIT_AUTH,
    SMTP_WAIT_RCPT,
    SMTP_WAIT_KEPT, /* the parent has the message */
    SMTP_WAIT_SLOW, /* after many errors */
    SMTP_WAIT_TLS,
};

struct smtp_rcpt {
    struct smtp_rcpt *next;
    struct slice address;
    struct slice orcpt; /* "type;address", decoded; empty: none was given */
    unsigned notify;    /* enum dsn_notify; 0: none was given */
};

struct smtp_command;

struct smtp_session {
    struct front_conn *c;
    enum smtp_phase phase;
    bool end;         /* close once the command is finished */
    bool is_extended; /* EHLO, not HELO */
    char *helo;       /* what the client calls itself; NULL: not yet */
    char *account;    /* who logged in; NULL: nobody */
    char *login;      /* becomes account when the client took the server's last data */
    unsigned errors, junk, excess, long_lines;
    unsigned counted; /* errors the driver has seen */
    int64_t opened;   /* monotonic ms */
    struct event *slow;
    struct arena scratch; /* the command's */
    void *args;           /* what check() read, for run() */

    /* the transaction */
    struct arena arena;
    bool has_mail;
    struct id id;
    int64_t began;      /* monotonic ms */
    struct slice from;  /* empty: the null reverse-path */
    struct slice envid; /* decoded; empty: none was given */
    unsigned ret;       /* enum envelope_ret */
    bool smtputf8, is_8bit, requiretls;
    struct smtp_rcpt *rcpts, **last_rcpt;
    size_t nrcpts;
    size_t envelope;         /* octets of the addresses */
    struct smtp_rcpt *asked; /* the recipient authd is asked about */
    bool in_chunks;
    struct {
        uint64_t left;
        bool last;
        bool swallow; /* it was refused already: its octets go by */
    } chunk;
    struct smtp_text text;
};

struct smtp_command {
    const char *name;      /* "MAIL" */
    unsigned states;       /* enum smtp_in */
    unsigned flags;        /* enum smtp_flags */
    const char *arguments; /* shape, for HELP and the man page: "FROM:<address> [SIZE=octets]" */
    const char *rfc;
    /* Lines of EHLO, each ended by LF. NULL: none. */
    void (*announce)(const struct smtp_session *s, struct buf *lines);
    bool (*check)(struct smtp_session *s, struct slice args);
    void (*run)(struct smtp_session *s);
};

extern const struct smtp_command *const smtp_commands[]; /* NULL at the end */
const struct smtp_command *smtp_command_find(struct slice verb);
/* Words that only a browser or a proxy sends (security.md S17). */
bool smtp_is_foreign_verb(struct slice verb);
/* Checks for commands without arguments, and for those that take any. */
bool smtp_check_none(struct smtp_session *s, struct slice args);
bool smtp_check_any(struct smtp_session *s, struct slice args);

/* --- for commands --- */
enum smtp_in smtp_state(const struct smtp_session *s);
bool smtp_is_submission(const struct smtp_session *s);
/* One line of a reply; enhanced "" where RFC 2034 wants none. 4xx and 5xx count as errors. */
void smtp_reply(struct smtp_session *s, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The row of the error: code, enhanced code, sentence. */
void smtp_reply_err(struct smtp_session *s, enum err_code code);
/* Stops reading until smtp_go. */
void smtp_wait(struct smtp_session *s, enum smtp_phase phase);
/* The answer is written: goes on with the next command. The session may be gone when it returns. */
void smtp_go(struct smtp_session *s);
/* Forgets the transaction (RSET, its end, EHLO, STARTTLS). */
void smtp_forget_mail(struct smtp_session *s);
/*
 * An address of MAIL or RCPT that was parsed: beyond ASCII only with SMTPUTF8 (RFC 6531), and its domain must
 * be one by IDNA2008. True: *text is a copy of it in the command's arena.
 */
bool smtp_take_address(struct smtp_session *s, const struct address *a, bool smtputf8, struct slice *text);
/* Input the client sent before it could know our answer. */
bool smtp_has_input(const struct smtp_session *s);
/* Says that it broke the rules of pipelining, and closes (S17). */
void smtp_out_of_sync(struct smtp_session *s);
int64_t smtp_now(void);
/* Deadlines: of a command, of a text. */
void smtp_time_command(struct smtp_session *s);
void smtp_time_text(struct smtp_session *s);

/* cmd_data.c: the text is at its end: refuses it, or gives it to the parent. */
void smtp_text_ended(struct smtp_session *s);
/* Octets of a text that nobody will keep: has the client sent enough of them? Then it is told, and s->end is
 * set. */
bool smtp_text_is_endless(struct smtp_session *s);
/* cmd_bdat.c: reads octets of the chunk; false: it wants more. */
bool smtp_chunk_input(struct smtp_session *s, struct slice in);
/* cmd_auth.c */
void smtp_auth_line(struct smtp_session *s, struct slice line);

/* Answers of others, for front_ops. */
void smtp_on_challenge(struct front_conn *c, struct slice data);
void smtp_on_authenticated(struct front_conn *c, struct slice account, struct slice final);
void smtp_on_refused_auth(struct front_conn *c, enum err_code code);
void smtp_on_rcpt(struct smtp_session *s, enum err_code code);
void smtp_on_kept(struct smtp_session *s, enum err_code code);

extern const struct smtp_command smtp_cmd_ehlo, smtp_cmd_helo, smtp_cmd_mail, smtp_cmd_rcpt, smtp_cmd_data,
    smtp_cmd_bdat, smtp_cmd_auth, smtp_cmd_starttls, smtp_cmd_rset, smtp_cmd_noop, smtp_cmd_quit,
    smtp_cmd_help, smtp_cmd_vrfy, smtp_cmd_expn;

#endif
