/*
 * envelope: who a queued message is from and for, and how it stands in front of the text in the queue's file.
 *
 * Pure functions. On disk:
 *
 *     "PMQUEUE1"                  8 octets
 *     length of the envelope      4 octets, from the first octet of the file to the last of END
 *     records                     type (2 octets), length (4 octets), value; in the order of their types
 *     END                         a record whose value is checksum64 over everything before that value
 *
 * Numbers are little-endian. Nothing is a line and nothing is escaped: a value may hold any octet, NUL, CR
 * and LF as well (security.md S07). Refusing control octets is the work of the parser that takes a value from
 * SMTP, and writing it safely that of who puts it into a header or a command. A type of which this version
 * knows nothing is refused, unless its top bit says that it may be skipped, so that an older version can read
 * what a newer one queued. A damaged envelope is refused whole.
 *
 * The envelope never changes once the file has its name; what becomes of a recipient stands in queue/state.h.
 *
 *     struct buf out = BUF_INIT(ENVELOPE_MAX);
 *     if (!envelope_encode(&env, &out)) ...            // too many or too long recipients
 */
#ifndef QUEUE_ENVELOPE_H
#define QUEUE_ENVELOPE_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/id.h"
#include "mail/replies.h"

#define ENVELOPE_MAX ((size_t)1 << 20) /* octets of one envelope (security.md S16) */
#define ENVELOPE_RECIPIENTS_MAX 1000   /* security.md 4.4 */
#define ENVELOPE_HEAD 12               /* octets that tell how long the envelope is */
/* Arena that decoding the largest envelope takes. */
#define ENVELOPE_ARENA ((size_t)1 << 17)

/* RFC 3461 4.3 */
enum envelope_ret { ENVELOPE_RET_NONE, ENVELOPE_RET_FULL, ENVELOPE_RET_HDRS };

struct envelope_recipient {
    struct slice address; /* local@domain as it goes into RCPT TO, without brackets */
    struct slice orcpt;   /* "rfc822;address", xtext already decoded (RFC 3461 4.2); empty: none was given */
    uint8_t notify;       /* enum dsn_notify (mail/dsn.h); 0: none was given */
};

struct envelope {
    struct id id;
    struct slice account;      /* who submitted it, "local@domain"; empty: forwarded, or taken as a backup */
    struct slice reverse_path; /* without brackets; empty: the null reverse-path */
    struct slice envid;        /* xtext already decoded (RFC 3461 4.4); empty: none */
    struct slice forward; /* the alias of ours that sent it on, "local@domain"; empty: it was submitted or is
                             our own */
    enum envelope_ret ret;
    enum reply_language language; /* of notifications to the sender */
    bool smtputf8;                /* RFC 6531 */
    bool is_8bit;                 /* BODY=8BITMIME (RFC 6152) */
    bool requiretls;              /* RFC 8689 */
    bool hold;                    /* queued, but not sent until somebody releases it */
    int64_t created;              /* seconds since 1970 */
    uint64_t size;                /* octets of the text */
    struct envelope_recipient *recipients;
    uint32_t nrecipients; /* 1 .. ENVELOPE_RECIPIENTS_MAX */
};

/* Appends the envelope to out. False, and out as it was, beyond ENVELOPE_MAX or out's cap, without recipients
 * or with more than the limit. The length does not depend on created and size. */
bool envelope_encode(const struct envelope *env, struct buf *out);

/* How long the envelope is of which these octets (ENVELOPE_HEAD at least) are the first; 0 if it is none. */
size_t envelope_length(struct slice head);

/*
 * The envelope that is all of `in`. Slices of *out point into `in`, the recipients are in the arena. False if
 * it is damaged in any way (or the arena is used up); *out is then undefined.
 */
bool envelope_decode(struct slice in, struct arena *arena, struct envelope *out);

#endif
