/*
 * journal: what is recorded in postamt.index, and how the array of messages comes out of it again.
 *
 * Between numbers_lock and numbers_unlock changes are noted here; the outermost numbers_unlock writes them,
 * before anybody is told. numbers_lock has read what other processes noted meanwhile. What was found out
 * about messages (sizes, dates) may be noted without the lock and is written with the next change, or at the
 * close. All is derived: what a process that died did not write, or what cannot be written on a full disk,
 * the next scan of the names finds.
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "store/index.h"

/* Gives `msg` the next MODSEQ and notes it as new; takes over msg->file. With the lock held. */
void journal_added(struct mailbox *m, struct message *msg);
/* The message has other flags, and perhaps another name: the next MODSEQ. With the lock held. */
void journal_changed(struct mailbox *m, struct message *msg);
/* Another name only. With the lock held. */
void journal_renamed(struct mailbox *m, const struct message *msg);
/* This UID is expunged: the next MODSEQ. With the lock held. */
void journal_gone(struct mailbox *m, uint32_t uid);
/* Sizes, date or place in the cache were found out. */
void journal_facts(struct mailbox *m, const struct message *msg);
/* Sessions were told \Recent up to this UID. */
void journal_claimed(struct mailbox *m, uint32_t uid);

/* For numbers_lock: what others wrote since; m->header was read. False when the array may miss something. */
bool journal_catch_up(struct mailbox *m);
/* Without the lock: has somebody written what we do not know? True when in doubt. */
bool journal_is_behind(const struct mailbox *m);
/* The array out of base and log; false when there is none that can be believed. With the lock held. */
bool journal_load(struct mailbox *m);
/* For numbers_unlock: all that was noted, with the numbering. */
void journal_write(struct mailbox *m);
/* At the last close: the index is durable and marked so. With the lock held. */
void journal_mark_clean(struct mailbox *m);
/* Writes what was noted without the lock, if it is much. */
void journal_ease(struct mailbox *m);

#endif
