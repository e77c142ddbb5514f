/*
 * err: one error, one table, three protocols.
 *
 * Where something fails: `return err_set(e, ERR_OVER_QUOTA, "used %s of %s", ..)`. The row of the code
 * (err.c) has the IMAP response code, the SMTP status with its enhanced code, the POP3 response code, the log
 * level and the sentence a person sees, with its fix. `detail` is for our log and our admin, never for the
 * network.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdbool.h>

/* name, IMAP code, SMTP status, enhanced status, POP3 code, log level, sentence with the fix */
#define ERR_TABLE(X)                                                                                         \
    X(OK, "", 250, "2.0.0", "", DEBUG, "done")                                                               \
    X(INTERNAL, "SERVERBUG", 451, "4.3.0", "SYS/TEMP", ERROR,                                                \
        "the server made a mistake; nothing was changed, please try again")                                  \
    X(IO, "UNAVAILABLE", 451, "4.3.0", "SYS/TEMP", ERROR,                                                    \
        "the server's disk reported an error; nothing was changed, please try again later")                  \
    X(NO_SPACE, "UNAVAILABLE", 452, "4.3.1", "SYS/TEMP", ERROR,                                              \
        "the server's disk is full; please try again later")                                                 \
    X(UNAVAILABLE, "UNAVAILABLE", 451, "4.3.2", "SYS/TEMP", WARN,                                            \
        "a part of the server is starting or busy; please try again in a minute")                            \
    X(OVER_QUOTA, "OVERQUOTA", 452, "4.2.2", "SYS/PERM", INFO,                                               \
        "the mailbox is full; delete messages or ask the administrator for more room")                       \
    X(TOO_BIG, "TOOBIG", 552, "5.3.4", "SYS/PERM", INFO, "the message is larger than this server takes")     \
    X(LIMIT, "LIMIT", 452, "4.5.3", "SYS/PERM", INFO,                                                        \
        "that is more than the server handles at once; use smaller steps")                                   \
    X(NO_MAILBOX, "NONEXISTENT", 550, "5.2.0", "SYS/PERM", INFO, "there is no mailbox of that name")         \
    X(TRY_CREATE, "TRYCREATE", 550, "5.2.0", "SYS/PERM", INFO,                                               \
        "there is no mailbox of that name; create it first")                                                 \
    X(MAILBOX_EXISTS, "ALREADYEXISTS", 550, "5.2.0", "SYS/PERM", INFO,                                       \
        "a mailbox of that name exists already")                                                             \
    X(MAILBOX_NAME, "CANNOT", 550, "5.2.0", "SYS/PERM", INFO, "that mailbox name cannot be used here")       \
    X(CANNOT, "CANNOT", 550, "5.2.0", "SYS/PERM", INFO, "that cannot be done with this mailbox")             \
    X(HAS_CHILDREN, "HASCHILDREN", 550, "5.2.0", "SYS/PERM", INFO,                                           \
        "the mailbox has mailboxes below it; delete those first")                                            \
    X(READ_ONLY, "NOPERM", 550, "5.7.1", "SYS/PERM", INFO, "the mailbox was opened for reading only")        \
    X(KEYWORDS_FULL, "LIMIT", 452, "4.2.0", "SYS/PERM", INFO,                                                \
        "the mailbox has its 26 keywords; take one from all its messages first")                             \
    X(EXPUNGED, "EXPUNGEISSUED", 550, "5.2.0", "SYS/TEMP", INFO,                                             \
        "the message was deleted by another program")                                                        \
    X(CORRUPT, "SERVERBUG", 451, "4.3.0", "SYS/TEMP", ERROR,                                                 \
        "a file of the mailbox is damaged; the administrator was told")                                      \
    X(BAD_CHARSET, "BADCHARSET", 501, "5.5.4", "", INFO, "that charset is not known here; UTF-8 always is")  \
    X(SYNTAX, "CLIENTBUG", 501, "5.5.2", "", INFO, "the command could not be understood")                    \
    X(AUTH_FAILED, "AUTHENTICATIONFAILED", 535, "5.7.8", "AUTH", INFO,                                       \
        "user name or password is wrong; check both in the mail program's account settings")                 \
    X(AUTH_BUSY, "UNAVAILABLE", 454, "4.7.0", "SYS/TEMP", WARN,                                              \
        "too many people log in at this moment; please try again in a minute")                               \
    X(AUTH_SLOW_DOWN, "LIMIT", 454, "4.7.0", "SYS/TEMP", INFO,                                               \
        "too many wrong passwords came from this address or for this user; wait ten minutes, then check "    \
        "the password")                                                                                      \
    X(AUTH_MECHANISM, "CANNOT", 504, "5.5.4", "AUTH", INFO, "that way of logging in is not offered here")    \
    X(AUTH_CANCELLED, "CLIENTBUG", 501, "5.7.0", "AUTH", INFO, "the login was cancelled")                    \
    X(AUTH_PRIVACY, "PRIVACYREQUIRED", 538, "5.7.11", "AUTH", INFO,                                          \
        "log in over TLS only: choose SSL/TLS or STARTTLS in the mail program's account settings")           \
    X(AUTH_REQUIRED, "AUTHORIZATIONFAILED", 530, "5.7.0", "AUTH", INFO, "log in first")                      \
    X(NO_USER, "NONEXISTENT", 550, "5.1.1", "", INFO, "there is no mailbox for that address here")           \
    X(NO_RELAY, "NOPERM", 550, "5.7.1", "", INFO,                                                            \
        "this server does not carry mail to other domains; check the recipient's address")                   \
    X(SENDER_DENIED, "NOPERM", 550, "5.7.1", "", INFO,                                                       \
        "the account that logged in may not send as that address; use its own address or ask for an alias")  \
    X(BAD_FROM, "CANNOT", 554, "5.6.0", "", INFO,                                                            \
        "the message's From line is malformed or there twice; write one From line with one address")         \
    X(SENDING_LIMIT, "LIMIT", 450, "4.7.1", "", INFO,                                                        \
        "the account has written to more recipients than it may in an hour or a day; send it later or ask "  \
        "for more")                                                                                          \
    X(LOOP, "CANNOT", 554, "5.4.6", "", INFO,                                                                \
        "the message has gone round in circles; a forward points back to itself")                            \
    X(TOO_MANY, "LIMIT", 421, "4.7.0", "SYS/TEMP", INFO,                                                     \
        "too many connections from this address; close some")                                                \
    X(EXISTS, "ALREADYEXISTS", 550, "5.1.0", "", INFO, "that exists already")                                \
    X(NO_DOMAIN, "NONEXISTENT", 550, "5.1.2", "", INFO, "that domain is not one of this server's")           \
    X(NO_MESSAGE, "NONEXISTENT", 550, "5.1.0", "", INFO, "there is no such message in the queue")            \
    X(USAGE, "CLIENTBUG", 501, "5.5.4", "", INFO, "the command was not given what it needs")                 \
    X(NOT_RUNNING, "UNAVAILABLE", 451, "4.3.2", "", INFO,                                                    \
        "postamt is not running; start it with: systemctl start postamt")                                    \
    X(NOT_PERMITTED, "NOPERM", 550, "5.7.1", "", INFO,                                                       \
        "you may not do that; run it as root or as a member of group postamt")                               \
    X(CONFIG, "CONTACTADMIN", 451, "4.3.5", "SYS/PERM", ERROR,                                               \
        "the configuration is wrong; run: postamt config check")

enum err_code {
#define X(name, imap, smtp, enhanced, pop3, level, text) ERR_##name,
    ERR_TABLE(X)
#undef X
        ERR_COUNT
};

struct err {
    enum err_code code;
    char detail[200]; /* for log and admin; may be empty */
};

struct err_row {
    const char *name;     /* "OVER_QUOTA": stable, shown in --json */
    const char *imap;     /* response code without brackets, "" for none */
    int smtp;             /* reply code */
    const char *enhanced; /* RFC 3463 */
    const char *pop3;     /* RFC 2449, 3206 response code without brackets */
    int level;            /* enum log_level */
    const char *text;
};

const struct err_row *err_row(enum err_code code);
/* A code that came over ipc: ERR_INTERNAL if it is none. */
enum err_code err_code_checked(unsigned code);
/* Sets code and detail (e may be NULL); returns -1 so that a function can `return err_set(..)`. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same from errno: ENOSPC and EDQUOT are NO_SPACE, else IO; detail "what: strerror". */
int err_errno(struct err *e, const char *what);

#endif
