/*
 * cache: postamt.cache of a mailbox: what was found out about a message, so that its file need not be opened.
 *
 * One record a message (store/cache_record.h), its offset in struct message's `cache` and in the index. What
 * the slots hold is the caller's. A message never changes, so a record that fits is right for ever; one that
 * does not fit (another message's, torn, flipped, gone) is no record, and that is never an error: ask the
 * message, and put what it says.
 *
 * Several processes use one file: a record is appended by one write (O_APPEND), nothing is ever changed in
 * place, no lock is held, nothing is synced or mapped. When more than half of the file is dead, it is
 * replaced by a new generation, which the others notice by the link count of theirs. Offsets that were lost
 * (with the index, or by a new generation) are found again by one walk through the file. When the disk is
 * full or broken the file is dropped, and the mailbox does without until it is opened the next time.
 *
 *     if (!mailbox_cache_get(m, msg, &r) || !r.slots[CACHE_ENVELOPE].p) {
 *         .. read the message ..
 *         mailbox_cache_put(m, uid, &r);
 *     }
 *     .. when the command has ended: mailbox_cache_done(m);
 */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include "store/cache_record.h"
#include "store/mailbox.h"

enum cache_slot {
    CACHE_ENVELOPE,      /* as IMAP says it */
    CACHE_BODY,          /* likewise */
    CACHE_BODYSTRUCTURE, /* likewise */
    CACHE_PARTS,         /* mail/mime_pack.h */
    CACHE_KEYS,          /* mail/header_keys.h */
    CACHE_PREVIEW,       /* mail/preview.h */
};
#define CACHE_BIT(slot) (1u << (slot))

/* True if there is a record; its slots are valid until the next mailbox_cache_get() or _done() for this
 * mailbox. */
bool mailbox_cache_get(struct mailbox *m, uint32_t uid, struct cache_record *out);
/*
 * Slots, `tried` and size_crlf for a message; the rest of `r` is filled in here. It is copied, and written
 * with others at mailbox_cache_done() or when they are many.
 */
void mailbox_cache_put(struct mailbox *m, uint32_t uid, const struct cache_record *r);
/* Writes what waits, gives memory back. May take a time that grows with the file, once in a doubling of it.
 */
void mailbox_cache_done(struct mailbox *m);

#endif
