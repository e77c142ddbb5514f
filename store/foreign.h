/*
 * foreign: what another IMAP or POP3 server wrote beside a Maildir folder's messages.
 *
 *     dovecot-uidlist        "3 V<uidvalidity> N<next uid> G<guid>", then "<uid> [<fields>] :<file name>";
 *                            version 1: "1 <uidvalidity> <next uid>", then "<uid> <file name>"
 *     courierimapuiddb       as dovecot-uidlist's version 1
 *     courierpop3dsizelist   "/2 <next uid> <uidvalidity>", then "<file name> <octets> <uid>:<uidvalidity>"
 *     courierimapkeywords/:list   names of keywords, an empty line, then "<file name>:<n> <n> .."
 *
 * Parsers are pure and take the files as a person or a crash may have left them: a line that makes no sense
 * is passed by, a UID that stands twice belongs to the first. File names count by their unique part: fields
 * behind it come and go. Slices point into the text given, which foreign_load makes the struct's own.
 * Nothing is ever written here (store/foreign_export.c does that).
 */
#ifndef STORE_FOREIGN_H
#define STORE_FOREIGN_H

#include "common/buf.h"
#include "common/err.h"

#define FOREIGN_UIDLIST "dovecot-uidlist"
#define FOREIGN_UIDVALIDITY "dovecot-uidvalidity"
#define FOREIGN_COURIER_UIDLIST "courierimapuiddb"
#define FOREIGN_COURIER_POP3 "courierpop3dsizelist"
#define FOREIGN_COURIER_KEYWORDS "courierimapkeywords/:list"
#define FOREIGN_COURIER_SUBSCRIBED "courierimapsubscribed"
#define FOREIGN_UIDL_MAX 70 /* octets of a POP3 unique id: RFC 1939 7 */

struct foreign_entry {
    struct slice unique;
    struct slice uidl; /* POP3 id that differs from the default, or empty */
    uint32_t uid;      /* 0: only the POP3 id is known */
    uint32_t line;
};

struct foreign {
    uint32_t uidvalidity; /* 0: there is no list that can be used */
    uint64_t uidnext;     /* above every UID of the list */
    bool courier;
    struct foreign_entry *entries; /* by unique part, each once */
    size_t n, size;
    struct buf text, pop3; /* the files */
    struct buf ids;
};

#define FOREIGN_INIT                                                                                         \
    ((struct foreign){.text = {.cap = BUF_OWN}, .pop3 = {.cap = BUF_OWN}, .ids = {.cap = BUF_OWN}})

/* False when the text is no list, or has no UIDVALIDITY; *out then has none. Slices point into text. */
bool foreign_parse(struct slice text, struct foreign *out);
/*
 * Adds the POP3 ids of a courierpop3dsizelist, written into out->ids. False when it is none of version 2 or
 * above.
 */
bool foreign_parse_pop3(struct slice text, struct foreign *out);

/* The list of this mailbox folder, if it has one (*out is FOREIGN_INIT before): Dovecot's before Courier's.
 */
int foreign_load(int dir, struct foreign *out, struct err *e);
void foreign_free(struct foreign *f);
/* Changes with every change of any of the lists; 0: there is none. */
uint64_t foreign_stamp(int dir);
/* NULL when the list does not know it. */
const struct foreign_entry *foreign_find(const struct foreign *f, struct slice unique);

/* "dovecot-uidvalidity" of the Maildir's root: the last one given out, eight hexadecimal digits. */
bool foreign_parse_uidvalidity(struct slice text, uint32_t *out);

/*
 * courierimapkeywords/:list, line by line: foreign_keywords_begin divides it, then each call of _next gives
 * the numbers of one file name; foreign_keyword the name of a number.
 */
struct foreign_keywords {
    struct slice names, rest;
    struct slice unique;
    struct slice numbers;
};
void foreign_keywords_begin(struct foreign_keywords *k, struct slice text);
bool foreign_keywords_next(struct foreign_keywords *k);
/* The next keyword of the present file. */
bool foreign_keyword(struct foreign_keywords *k, struct slice *name);

/*
 * One line of Dovecot's or Courier's list of subscriptions as "A.B" (modified UTF-7, dots between the levels)
 * into out; false for a line that names no mailbox. Version 2 of Dovecot's has tabs between the levels.
 */
bool foreign_subscription(struct slice line, bool courier, struct buf *out);
#define FOREIGN_SUBSCRIPTIONS_2 "V\t2\n\n" /* begins version 2 */

#endif
