/* list: LIST, LSUB and XLIST: one request, one walk over the account's mailboxes (RFC 3501 6.3.8, RFC 5258).
 */
#ifndef IMAPD_LIST_H
#define IMAPD_LIST_H

#include "imapd/imap.h"

#define LIST_PATTERNS_MAX 32

enum list_kind { LIST_LIST, LIST_LSUB, LIST_XLIST };

enum list_option {
    LIST_SELECT_SUBSCRIBED = 1 << 0,
    LIST_SELECT_SPECIAL = 1 << 1,
    LIST_SELECT_RECURSIVE = 1 << 2,
    LIST_RETURN_SUBSCRIBED = 1 << 3,
    LIST_RETURN_STATUS = 1 << 4,
};

struct list_request {
    enum list_kind kind;
    unsigned options;                         /* enum list_option */
    bool extended;                            /* RFC 5258 syntax was used */
    bool hierarchy;                           /* the one empty pattern: only the separator is asked for */
    struct slice patterns[LIST_PATTERNS_MAX]; /* with the reference in front, UTF-8 */
    size_t npatterns;
    unsigned status; /* items of RETURN (STATUS (..)) */
    /* while it runs */
    bool begun;
    struct account_mailbox *boxes;
    size_t n, at;
    struct slice parent; /* LSUB: the parent that was told last */
};

/* list_parse.c */
bool list_parse(struct imap_cmd *c, struct list_request *r);
/* list.c: check() and run() of all three */
bool list_check(struct imap_cmd *c, enum list_kind kind);
enum imap_step list_run(struct imap_cmd *c);

#endif
