/*
 * account_priv: what the files of store/ share about an account, and nobody else sees.
 *
 * Locks: flock on mail/<path> itself (the account: its list of mailboxes, small files, the UIDVALIDITY
 * counter), flock on the mailbox folder (UIDs). A mailbox lock is taken first, the account's inside it, never
 * the other way round.
 */
#ifndef STORE_ACCOUNT_PRIV_H
#define STORE_ACCOUNT_PRIV_H

#include "store/account.h"

#define DISK_INBOX                                                                                           \
    "INBOX" /* INBOX' folder in state/; no folder on disk can be called so, they begin with a dot */

struct mailbox;

struct account {
    int mail;             /* mail/<path> */
    int maildir;          /* mail/<path>/Maildir */
    int state;            /* state/<path> */
    struct mailbox *open; /* list; store/mailbox.c keeps it */
    unsigned locks;       /* mailboxes locked at the moment */
    /* Set by store/mailbox.c. Before a folder moves: what is open under that name is that folder, or has the
     * name no more (another process gave it to another one). */
    void (*settle)(struct account *a, struct slice name);
    /* Open mailboxes follow what happens to their folder. to.n == 0: deleted. */
    void (*moved)(struct account *a, struct slice from, struct slice to);
    /* Lets go of the mailboxes that are kept open though nobody has them open. */
    void (*release)(struct account *a);
    /* store/expunged.h: policy, and whom to tell that the disk is nearly full. */
    uint64_t keep[2];
    bool all_short;
    void (*idle_work)(void *ctx);
    void *idle_ctx;
    void (*low_space)(void *ctx);
    void *low_space_ctx;
};

/* The boot id that store_init read: 16 octets, all zero when it is not known. */
const unsigned char *store_boot_id(void);

/* The account's lock is the caller's to take and give back. */
int account_lock(struct account *a, struct err *e);
void account_unlock(struct account *a);

/* A UIDVALIDITY that no mailbox of this account had before: durable before it returns. Takes the account's
 * lock. */
int account_new_uidvalidity(struct account *a, uint32_t *out, struct err *e);
/* One that another server gave out: later ones of ours are above it. Takes the account's lock. */
int account_saw_uidvalidity(struct account *a, uint32_t uidvalidity, struct err *e);
/* The same with the lock held. */
int account_next_uidvalidity(struct account *a, uint32_t *out, struct err *e);

/* A name for staging: "tmp.<id>". Old ones are removed when an account or a mailbox is opened. */
#define STAGING_PREFIX "tmp."
void staging_name(char out[32]);

/* A folder, opened below Maildir: disk "" is Maildir itself. */
int account_open_folder(struct account *a, struct slice disk, int *fd, struct err *e);
bool account_folder_exists(struct account *a, struct slice disk);
/* With the lock held: the folder and what is missing above it. ERR_MAILBOX_EXISTS. */
int boxes_create(struct account *a, struct slice name, struct err *e);
int boxes_create_parents(struct account *a, struct slice name, struct err *e);
/* Removes what a deletion or a crash left under a name that is no mailbox. */
void boxes_remove_rest(struct account *a, const char *entry);

/* store/smallfiles.c: subscriptions and special uses, line by line as they are on disk. */
int subscriptions_load(struct account *a, struct buf *text, struct err *e);
/* The text without what stands before the first name. */
struct slice subscriptions_lines(struct slice text);
/* The next line that names a mailbox; false at the end. name is cleared before. */
bool subscriptions_next(struct slice *rest, struct buf *name);
/* Courier's list becomes ours, unless there is one: once, at the first login. */
int subscriptions_take(struct account *a, struct err *e);
int specials_load(struct account *a, struct buf *text, struct err *e);
bool specials_next(struct slice *rest, enum special_use *use, struct slice *disk);
/* The file of special uses is there: the account has been furnished. */
bool specials_begun(struct account *a);
int specials_begin(struct account *a, struct buf *text, struct err *e);
/* Has it that use? False when that cannot be told. */
bool specials_is(struct account *a, struct slice disk, enum special_use use);
/* `disk` gets `use` (USE_NONE: loses what it has), with the account's lock held. */
int specials_set(struct account *a, struct slice disk, enum special_use use, struct err *e);

#endif
