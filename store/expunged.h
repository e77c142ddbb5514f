/*
 * expunged: what was deleted is kept for a while, and comes back with `postamt mailbox undelete`.
 *
 *     mail/<path>/expunged/
 *         <mailbox id>/                     of one mailbox
 *             <k><when>.<name in cur/>      a message: one rename away from where it was
 *             <k><when>~<names>.<name ..>   the same with keywords, whose meaning is in
 *             names.<names>                 a copy of dovecot-keywords as it was then
 *         <k><when>.<mailbox id>/           a deleted mailbox, whole; its name is in its postamt-deleted
 *         gone.<..>/                        one that is being removed for good
 *
 * k is how long it is kept: 'l' long (store.keep_expunged), 's' short (store.keep_expunged_junk: Junk, and
 * what POP3 deletes). when: seconds in base 32. Message files are not touched: their mtime stays
 * INTERNALDATE. It is outside Maildir, so no mail program sees it, and no counter or recount has it.
 *
 * flock on expunged/<mailbox id>: shared while messages are moved in, exclusive when purging removes it.
 */
#ifndef STORE_EXPUNGED_H
#define STORE_EXPUNGED_H

#include "store/mailbox.h"

#define EXPUNGED_FOLDER "expunged"
#define EXPUNGED_DELETED "postamt-deleted"
#define EXPUNGED_KEEP 1209600     /* seconds; 14 days */
#define EXPUNGED_KEEP_JUNK 172800 /* 2 days */

enum expunged_class { EXPUNGED_LONG, EXPUNGED_SHORT, EXPUNGED_CLASSES };

/*
 * How long this process keeps what it expunges, seconds; 0: it is unlinked at once. all_short: all of it is
 * of the short class (pop3d). The standard is what is said above.
 */
void expunged_policy(struct account *a, uint64_t keep, uint64_t keep_junk, bool all_short);
/* low(ctx) is called when an expunge found the disk nearly full: it is time to purge. */
void expunged_on_low_space(struct account *a, void (*low)(void *ctx), void *ctx);

/* Thousandths of the file system that are free. Tests put their own here. */
extern unsigned (*expunged_free_space)(int dir);
#define EXPUNGED_LOW 100    /* below it nothing is kept */
#define EXPUNGED_ENOUGH 150 /* the oldest are purged until so much is free */

/* --- purging (expunged_purge.c) --- */

struct expunged_purge;
struct expunged_purged {
    uint64_t messages, mailboxes, octets;
};
/* True when it was not done for an hour, by any process. */
bool expunged_purge_is_due(struct account *a, int64_t now);
/* now: seconds since 1970. The account must stay open. */
struct expunged_purge *expunged_purge_new(struct account *a, int64_t now);
/* A bounded piece of it (about a millisecond); false when all is done. */
bool expunged_purge_step(struct expunged_purge *p);
/* Also before the end. `out` may be NULL. */
void expunged_purge_free(struct expunged_purge *p, struct expunged_purged *out);

/* --- coming back (undelete.c) --- */

struct expunged_item {
    struct slice mailbox; /* where it goes (UTF-8) */
    bool is_home;         /* it is where it was; false: its mailbox is not known any more, it goes to INBOX */
    bool is_deleted;      /* the mailbox was deleted; it comes back with it */
    int64_t expunged;     /* seconds */
    int64_t received;     /* INTERNALDATE */
    uint64_t size;        /* octets */
    uint32_t flags;       /* the system flags */
    struct slice text;    /* its first 64 KiB at most, when asked for; empty when it cannot be read */
};
struct expunged_wish {
    struct slice mailbox; /* only what was in this one; empty: all */
    int64_t since;        /* only what was expunged at or after it */
    bool dry;             /* change nothing */
    bool with_text;
    /* Each that comes back, or would. */
    void (*each)(void *ctx, const struct expunged_item *item);
    void *ctx;
};
/*
 * Brings messages and deleted mailboxes back, durable when it returns: a deleted mailbox with all it had (its
 * UIDs too), a message into its mailbox with a fresh UID, its flags but \Deleted, keywords, INTERNALDATE and
 * unique part. Other sessions see them arrive. ERR_NO_MAILBOX: wish->mailbox is none and was none.
 */
int expunged_restore(struct account *a, const struct expunged_wish *wish, struct err *e);

/* --- for store/ only --- */

/* A name in expunged/ or in expunged/<mailbox id>/. */
struct expunged_name {
    enum expunged_class class;
    int64_t when;
    struct slice names; /* "" when it has no keywords */
    struct slice rest;  /* the name it had; the mailbox' id */
};
bool expunged_name_parse(struct slice text, struct expunged_name *out);

/* One EXPUNGE. */
struct keeping {
    struct mailbox *m;
    int dir; /* expunged/<id>; -1: unlink */
    char prefix[32];
    char names[16]; /* "" until a message with keywords comes */
    size_t kept;
    size_t unkept; /* unlinked because there was no room */
    bool is_low;
};
/* n: UIDs that will go, to see whether they have keywords. */
int keeping_begin(struct keeping *k, struct mailbox *m, const uint32_t *uids, size_t n, struct err *e);
/* Takes the file out of cur/. -1 with errno, ENOENT when it is not there under that name. */
int keeping_take(struct keeping *k, const struct message *msg);
/* What was kept becomes durable there; then the caller syncs cur/. In any case after keeping_begin. */
int keeping_end(struct keeping *k, struct err *e);

/*
 * A deleted mailbox: its folder goes into expunged/ by one rename, durable but for Maildir's own fsync, which
 * is the caller's. 1: done; 0: it is not to be kept (empty, no room, not wanted): the caller removes it;
 * -1 with the error. Under the account's lock.
 */
int expunged_keep_mailbox(struct account *a, const char *disk, struct err *e);

#endif
