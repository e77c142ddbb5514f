/*
 * known: what FETCH and SEARCH want to know of a message without reading it, from the cache (store/cache.h),
 * or else from the message, and then for the next time.
 *
 * The slots of the cache are what these commands answer with. When one is missing the message is read once
 * and all of them are made: whoever lists a mailbox asks for the next soon. Only of a large message whose
 * header is wanted no more is read than that.
 */
#ifndef IMAPD_KNOWN_H
#define IMAPD_KNOWN_H

#include "common/arena.h"
#include "store/cache.h"

/* Memory that is used again for each message of a command. */
struct known {
    struct arena scratch;
    struct arena tree;
    struct buf side;  /* one of them that others are made from, or beside others */
    struct buf built; /* slots that were made just now */
    bool has_text;    /* the last known_get read the whole message: mailbox_text costs nothing now */
};

void known_init(struct known *k);
void known_free(struct known *k);

/*
 * The slots asked for (bits of enum cache_slot) in out->slots; CACHE_KEYS may be absent all the same (see
 * mail/header_keys.h), all else is there. Valid until the next known_get or call of the cache. -1: the
 * message cannot be read.
 */
int known_get(struct known *k, struct mailbox *m, uint32_t uid, unsigned slots, struct cache_record *out,
    struct err *e);

#endif
