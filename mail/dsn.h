/*
 * dsn: delivery status notifications (RFC 3464, 3461, 6522, 6533), composed from a plain struct. Pure.
 *
 * Three parts: what happened in the sender's words and language; the same for machines; the headers of the
 * original (or all of it, if RET=FULL asked for it, something failed and it is small). Every value from
 * outside (replies, addresses, subjects) is cleaned of controls and goes through one encoder that refuses CR,
 * LF and NUL (security.md S19). The caller sends the result with the null reverse-path, and asks
 * dsn_is_wanted first.
 *
 *     struct dsn d = {.kind = DSN_FAILED, .to = reverse_path, .host = SLICE("mx.example.org"), ..};
 *     if (dsn_compose(&d, &out, &needs) == DSN_OK) ...
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "common/buf.h"
#include "mail/replies.h"

/* RFC 3461 4.1, bits; 0: the sender said nothing */
enum dsn_notify { DSN_NEVER = 1, DSN_SUCCESS = 2, DSN_FAILURE = 4, DSN_DELAY = 8 };

enum dsn_kind {
    DSN_FAILED,    /* given up */
    DSN_DELAYED,   /* tried on */
    DSN_DELIVERED, /* into a mailbox here */
    DSN_RELAYED,   /* to a server that sends no notifications */
    DSN_EXPANDED,  /* to the members of a list or alias */
    DSN_KINDS
};

/* Is one of this kind to be sent? Never to the null reverse-path; else by NOTIFY: failures and delays unless
 * it says otherwise, the rest only for SUCCESS (RFC 3461 5.2). */
bool dsn_is_wanted(enum dsn_kind kind, unsigned notify, struct slice reverse_path);

struct dsn_recipient {
    struct slice address; /* as it stood in RCPT TO, no brackets */
    struct slice orcpt;   /* "rfc822;address", decoded; empty: none */
    const char *status;   /* "5.1.1"; NULL: taken from the reply, else 5.0.0, 4.0.0 or 2.0.0 */
    struct slice host;    /* name of the server that said the reply; empty: this server itself */
    struct slice reply;   /* what it said, lines and all; empty: nothing */
    const char *cause; /* a sentence in the language below, where there is no reply to explain; may be NULL */
    const char *fix;   /* what to do; may be NULL */
    int64_t last_attempt; /* seconds since 1970; 0: none */
    int64_t retry_until;  /* of DSN_DELAYED; 0: not told */
};

struct dsn {
    enum dsn_kind kind;
    enum reply_language language;
    struct slice id;          /* of the notification in our log: common/id.h */
    struct slice host;        /* our name: Reporting-MTA, postmaster@host */
    struct slice to;          /* the original's reverse-path */
    struct slice envid;       /* decoded; empty: none */
    struct slice original_id; /* the original's id in our log */
    int64_t now, arrival;     /* seconds since 1970; when the original came to us */
    bool smtputf8;            /* the original was sent with it */
    bool ret_full;            /* RET=FULL */
    struct slice original;    /* its text, or the start of it as far as the header goes */
    bool is_whole;            /* `original` is all of it */
    const struct dsn_recipient *recipients;
    size_t nrecipients; /* at least 1 */
};

#define DSN_FULL_MAX ((size_t)100000)   /* octets of an original that goes along whole */
#define DSN_HEADERS_MAX ((size_t)65536) /* octets of its header that go along */
/* Cap for `out` that is enough for 1,000 recipients. */
#define DSN_MAX ((size_t)8 << 20)

enum dsn_result {
    DSN_OK,
    DSN_NULL_SENDER, /* there is nobody to tell: the reverse-path is empty */
    DSN_BAD_FIELD,   /* our host name, an address or an id cannot stand in a header */
    DSN_TOO_LARGE,   /* it does not fit into out */
};

/* What the message needs on its way. */
struct dsn_needs {
    bool smtputf8; /* RFC 6533: addresses beyond ASCII */
    bool is_8bit;
};

/* Appends the message, CRLF line ends, Date and Message-ID included. Unless DSN_OK out is as it was. */
enum dsn_result dsn_compose(const struct dsn *d, struct buf *out, struct dsn_needs *needs);

#endif
