/*
 * metadata: named values of a mailbox, or of the account: the place for what RFC 5464 calls entries.
 *
 * One small durable file `postamt-metadata` in the mailbox' folder (so it goes along with RENAME and DELETE),
 * or in mail/<path> for the account: "postamt-metadata 1\n", then for each entry, sorted by name,
 * "<name> <octets>\n<value>\n". Replaced as a whole under the account's lock. Names are as RFC 5464 4.1 has
 * them, ASCII without regard to case: "/private/comment", "/shared/vendor/..". Values are octets.
 *
 *     if (metadata_get(a, SLICE("INBOX"), SLICE("/private/comment"), &value, &e) > 0) ..
 */
#ifndef STORE_METADATA_H
#define STORE_METADATA_H

#include "store/account.h"

#define METADATA_NAME_MAX 200
#define METADATA_VALUE_MAX ((size_t)64 << 10)
#define METADATA_ENTRIES_MAX 100
#define METADATA_SIZE_MAX ((size_t)1 << 20) /* of all that one file holds */

/* mailbox: its name, or empty for the account. 1: appended to `value`, 0: no such entry, -1 with the error.
 * ERR_NO_MAILBOX, ERR_CORRUPT. */
int metadata_get(
    struct account *a, struct slice mailbox, struct slice entry, struct buf *value, struct err *e);

/* Durable when it returns. value->p NULL removes the entry; ERR_LIMIT, ERR_SYNTAX for a name that is none. */
int metadata_set(
    struct account *a, struct slice mailbox, struct slice entry, struct slice value, struct err *e);

/* Every entry in the order of names, until each() says false. The slices live during the call only. */
int metadata_each(struct account *a, struct slice mailbox,
    bool (*each)(void *ctx, struct slice entry, struct slice value), void *ctx, struct err *e);

#endif
