/*
 * delivery: a message into the mailboxes of its local recipients, written once, durable before it returns.
 *
 * The role that does this may read READ_DIR, MAKE_REG and REFER below mail/, everything in spool/: it links
 * its spooled file in, it cannot read, change or remove anybody's mail.
 */
#ifndef STORE_DELIVERY_H
#define STORE_DELIVERY_H

#include "common/err.h"
#include "common/id.h"
#include "common/slice.h"

struct delivery_recipient {
    struct slice path; /* account_path() of the account */
    uint32_t number;   /* of the recipient within the message, from 0 */
    int result;        /* out: 0 linked and durable, -1 failed (error in err) */
    bool was_there;    /* out: a replay found it */
    struct err err;
};

/*
 * Makes spool/<id> from `head` (our trace header) and the octets of text_fd from offset `from` on, leaving
 * out the given ranges (forged fields; offsets relative to `from`), mode 0400, synced.
 */
struct delivery_cut {
    uint64_t offset, len;
};
int delivery_spool(int spool_dir, const struct id *id, struct slice head, int text_fd, uint64_t from,
    uint64_t len, const struct delivery_cut *cuts, size_t ncuts, uint64_t *size, struct err *e);

/*
 * Links spool/<id> into new/ of each recipient, syncs each folder once. Name:
 * <seconds>.<id>r<number>.<host>,S=<size>. replay: look into new/ and cur/ for the unique part first. `when`:
 * seconds for the name, the same on a replay. Without replay a file that is there already is an error: its
 * sync failed and is not tried again (design, group commit).
 */
void delivery_link(int mail_root, int spool_dir, const struct id *id, int64_t when, struct slice host,
    uint64_t size, struct delivery_recipient *rcpts, size_t n, bool replay);
int delivery_unspool(int spool_dir, const struct id *id, struct err *e);

/* Octets and messages of an account from its file names (S=; a name without is counted by fstatat). */
int delivery_usage(int mail_root, struct slice path, uint64_t *octets, uint64_t *messages, struct err *e);
/* Adds those of one mailbox' folder. */
void delivery_count(int dir, uint64_t *octets, uint64_t *messages);

#endif
