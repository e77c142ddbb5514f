/*
 * set_walk: the messages a set names, one after the other, without a list of them.
 *
 * "1:*" of a million messages costs no memory. The view may change between two steps: with UIDs the walk goes
 * on behind the last one; with sequence numbers the driver holds expunges back (IMAP_HOLDS_EXPUNGE).
 */
#ifndef IMAPD_SET_WALK_H
#define IMAPD_SET_WALK_H

#include "imapd/parse.h"
#include "store/view.h"

struct set_walk {
    struct imap_set set; /* resolved */
    bool by_uid;
    size_t range;
    uint32_t next; /* number not looked at yet */
    uint32_t seq;  /* place of the last UID */
    uint32_t uid;
};

/*
 * Resolves '*' in the set (which stays the caller's) and starts. False: a sequence number that no message has
 * (BAD); in an empty mailbox '*' names nothing and is no error.
 */
bool set_walk_init(struct set_walk *w, const struct view *v, const struct imap_set *set, bool by_uid);
/* The next message; false at the end. UIDs that are not in the view are passed over. */
bool set_walk_next(struct set_walk *w, const struct view *v, uint32_t *seq, uint32_t *uid);

#endif
