/*
 * import: many messages at once into one mailbox, from outside the server; safe to break off and to repeat.
 *
 * A message's unique part says which message it is: the one given (a Maildir's), or one made of a hash of its
 * text. What is there already is not brought in again, so a run that was killed is simply started anew.
 * Messages are staged in state/, and come into cur/ in batches that share their syncs, without UIDs: they get
 * them as a foreign program's files do, in the order of their dates, whoever looks first. Nothing is locked
 * and nothing of a batch is visible before it is durable.
 *
 *     im = import_open(account, mailbox, &e);
 *     while (..) {
 *         import_begin(im, SLICE(""), crlf, &e); import_write(im, piece, &e) ..; import_commit(im, &meta,
 * ..);
 *     }
 *     import_close(im, &e);       // the last batch; without a look at its result nothing is sure
 */
#ifndef STORE_IMPORT_H
#define STORE_IMPORT_H

#include "store/mailbox.h"

struct import;

#define IMPORT_BATCH 64 /* messages that share their syncs */

struct import_meta {
    struct slice unique;   /* as of the source's file name; empty: made of the text's hash */
    int64_t received;      /* INTERNALDATE; 0: now */
    uint32_t flags;        /* FLAG_SEEN .. FLAG_FORWARDED */
    struct slice keywords; /* names, one a line; one that has no room is left out */
};

struct import_counts {
    uint64_t messages, octets; /* brought in, durable */
    uint64_t there;            /* were there */
    uint64_t keywords_lost;
};

/* Reads the names of the mailbox once. ERR_NO_MAILBOX. */
struct import *import_open(struct account *a, struct slice mailbox, struct err *e);
/* A message of this unique part (of a Maildir) is in the mailbox or came in this run. */
bool import_has(const struct import *im, struct slice unique);

/* No more than so many octets come in: import_commit answers ERR_OVER_QUOTA for the message that would not
 * fit. */
void import_limit(struct import *im, uint64_t octets);
/* The next message; crlf: line ends become CR LF. */
int import_begin(struct import *im, bool crlf, struct err *e);
int import_write(struct import *im, struct slice piece, struct err *e);
/* It is complete. *was_there: it was in the mailbox before, nothing was done. */
int import_commit(struct import *im, const struct import_meta *meta, bool *was_there, struct err *e);
/* Not this one after all. */
void import_drop(struct import *im);
/* What is staged becomes durable and visible. */
int import_flush(struct import *im, struct err *e);
const struct import_counts *import_counts(const struct import *im);
/* Flushes and frees. */
int import_close(struct import *im, struct err *e);

#endif
