/*
 * mailbox: one opened mailbox and the truth about its messages, shared by all sessions of one worker.
 *
 * Opening takes the names of cur/ and new/ into an array sorted by UID; names without U= get their UID under
 * flock(LOCK_EX) on the mailbox folder. mailbox_refresh looks for what others changed. Every change has a
 * MODSEQ. A session does not read the array by sequence number: it has a view (store/view.h). Blocking calls
 * on local files; long ones are steps the caller repeats (search, fetch) over single messages. Pointers to
 * struct message are valid until the next call that may change the mailbox.
 *
 * Durable: `postamt-mailbox` (UIDVALIDITY, mailbox id, ceilings of UIDNEXT and MODSEQ in blocks of 1024).
 * Derived: state/../postamt.index (store/index.h). Staged: state/../<name>.
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "store/account.h"
#include "store/name.h"

struct mailbox;

struct message {
    uint32_t uid;
    uint32_t flags;
    uint64_t modseq;
    uint64_t size;      /* octets in the file; 0: not known yet */
    uint64_t size_crlf; /* RFC822.SIZE; 0: not known yet, ask mailbox_size() */
    int64_t
        received;   /* INTERNALDATE, seconds (mtime of the file); 0: not known yet, ask mailbox_received() */
    int64_t saved;  /* SAVEDATE from D=; 0: not known */
    uint64_t cache; /* offset of its record in postamt.cache, 0: none (store/cache.h) */
    char *file;     /* name in cur/ */
    bool unnamed;   /* the name has no U= yet: postamt-adopt has it (mailbox_adopt_step) */
    bool recent;    /* came from new/, and no session has been told \Recent yet */
};

/* Shared: a second open of the same name in this account gives the same object, one reference more. */
struct mailbox *mailbox_open(struct account *a, struct slice name, struct err *e);
void mailbox_close(struct mailbox *m);
struct slice mailbox_name(const struct mailbox *m);

/* May change while the mailbox is open, when all UIDs were used up: the session says BYE then. */
uint32_t mailbox_uidvalidity(const struct mailbox *m);
uint32_t mailbox_uidnext(const struct mailbox *m);
uint64_t mailbox_highestmodseq(const struct mailbox *m);
/* 32 hexadecimal digits, stable over renames (RFC 8474 MAILBOXID). */
const char *mailbox_id(const struct mailbox *m);
/* The POP3 id a message brought from another server, at most 70 octets; empty: pop3d makes one of UID and
 * UIDVALIDITY. Lives as long as the mailbox is open. */
struct slice mailbox_uidl(const struct mailbox *m, uint32_t uid);
size_t mailbox_count(const struct mailbox *m);
/* i < count, ascending UID */
const struct message *mailbox_at(const struct mailbox *m, size_t i);
const struct message *mailbox_by_uid(const struct mailbox *m, uint32_t uid);
/* Index of the first message with UID >= uid, or count. */
size_t mailbox_lower_bound(const struct mailbox *m, uint32_t uid);

/*
 * Looks for changes from outside: cheap (two fstatat) when neither cur/ nor new/ changed. A disappearance is
 * believed only when two complete scans agree. A message in new/ moves to cur/ and gets its UID.
 */
int mailbox_refresh(struct mailbox *m, struct err *e);

/*
 * The same when a watch on the folder told of it: `names` came to or left cur/, a slash behind each.
 * complete: there were no others since the call before. While calls are complete nothing but those names need
 * be looked at; with the first complete one the watch has begun. Ends with the next close or a call that is
 * not complete.
 */
int mailbox_told(struct mailbox *m, struct slice names, bool complete, struct err *e);

/* UIDs expunged with a MODSEQ > since, ascending by MODSEQ; the array belongs to the mailbox. *complete: the
 * history reaches back to `since`. */
struct mailbox_expunged {
    uint32_t uid;
    uint64_t modseq;
};
size_t mailbox_expunged_since(
    const struct mailbox *m, uint64_t since, const struct mailbox_expunged **out, bool *complete);

/* INTERNALDATE in seconds: a stat for the first time. */
int mailbox_received(struct mailbox *m, uint32_t uid, int64_t *seconds, struct err *e);
/* RFC822.SIZE: from W= or S=; a foreign file without is read and counted once. */
int mailbox_size(struct mailbox *m, uint32_t uid, uint64_t *octets, struct err *e);
/*
 * The whole message as it goes to a client (every line end CRLF). The text belongs to the mailbox and is
 * valid until the next mailbox_text, mailbox_text_drop or the close: parts of one message are read one after
 * the other at no cost. ERR_EXPUNGED when the file is gone.
 */
int mailbox_text(struct mailbox *m, uint32_t uid, struct slice *text, struct err *e);
/* Only the first octets, at least the header section if it is below `most`. */
int mailbox_text_head(struct mailbox *m, uint32_t uid, size_t most, struct slice *text, struct err *e);
void mailbox_text_drop(struct mailbox *m);

/*
 * Around several changes that belong together (one step of a command): the lock is taken once, and the index
 * is written once, at mailbox_end. Not across a wait: other processes stand still meanwhile.
 */
int mailbox_begin(struct mailbox *m, struct err *e);
void mailbox_end(struct mailbox *m);

/*
 * Octets of the message as it lies in the file, without reading the rest: n from offset `from` on
 * (an error where the file ends before). Valid until the next call for this mailbox; asked for again they are
 * not read again. The file stays open (so it cannot be lost in between) until another message is asked for,
 * or mailbox_text_drop.
 */
int mailbox_text_range(
    struct mailbox *m, uint32_t uid, uint64_t from, uint64_t n, struct slice *octets, struct err *e);
/* Where its record in postamt.cache is; nothing when there is no such UID. */
void mailbox_set_cache(struct mailbox *m, uint32_t uid, uint64_t offset);

enum flag_change { FLAGS_ADD, FLAGS_REMOVE, FLAGS_SET };
/* One message; a rename, no sync in line (grouped: mailbox_sync). *changed tells whether anything did.
 * FLAGS_SET replaces all. */
int mailbox_flag(
    struct mailbox *m, uint32_t uid, enum flag_change how, uint32_t flags, bool *changed, struct err *e);
/* Flag changes since the last sync become durable: fsync of cur/. Due within a second of the first change. */
bool mailbox_needs_sync(const struct mailbox *m);
int mailbox_sync(struct mailbox *m, struct err *e);

/* In idle time: gives up to `most` names that have none yet their U=; true while there are more. */
bool mailbox_adopt_step(struct mailbox *m, size_t most);

/* Deletes these UIDs (ascending): each is renamed into expunged/ (store/expunged.h) or, when it is not to be
 * kept, unlinked; one fsync of that folder, one of cur/. *gone: how many were there. */
int mailbox_expunge(struct mailbox *m, const uint32_t *uids, size_t n, size_t *gone, struct err *e);

/* The same for what lives on elsewhere (MOVE): nothing is kept. */
int mailbox_remove(struct mailbox *m, const uint32_t *uids, size_t n, size_t *gone, struct err *e);

/* Keywords: names of letters in use (file `dovecot-keywords`). */
struct slice mailbox_keyword(const struct mailbox *m, unsigned letter);
/* Letter of a name (ASCII case-blind); with create a free one is taken, durably. -1: none; ERR_KEYWORDS_FULL.
 */
int mailbox_keyword_letter(struct mailbox *m, struct slice name, bool create, struct err *e);

/* --- adding messages --- */

/*
 * A message being written (APPEND): staged in state/, then linked in by mailbox_append_commit. Writing may
 * come in pieces; the size is known before (literal). Free without commit: nothing stays.
 */
struct append;
struct append *append_begin(struct account *a, struct slice mailbox, struct err *e);
int append_write(struct append *ap, struct slice piece, struct err *e);
/* received: INTERNALDATE, 0 for now. keywords: names. Result: UIDVALIDITY and UID (RFC 4315). Durable on
 * return. */
int append_commit(struct append *ap, uint32_t flags, const struct slice *keywords, size_t nkeywords,
    int64_t received, uint32_t *uidvalidity, uint32_t *uid, struct err *e);
void append_free(struct append *ap);

/*
 * Copies (hard links) or moves (renames) messages into another mailbox, flags and keywords with them;
 * new_uids[i] is the UID of uids[i] there, 0 if it was gone. All or nothing for copies. The destination is
 * durable before a source goes. ERR_TRY_CREATE when there is no such mailbox.
 */
int mailbox_copy(struct mailbox *m, const uint32_t *uids, size_t n, struct slice to, bool move,
    uint32_t *new_uids, uint32_t *to_uidvalidity, struct err *e);

/* Numbers without opening for good: messages, recent, unseen, size in octets, deleted. */
struct mailbox_status {
    uint32_t messages, recent, unseen, uidnext, uidvalidity, deleted;
    uint64_t size, highestmodseq;
};
int mailbox_status(struct account *a, struct slice name, struct mailbox_status *out, struct err *e);

/* For the watcher: fds of the mailbox' new/ and cur/ are not needed, its path below the account is: "" or
 * ".A.B". */
struct slice mailbox_disk_name(const struct mailbox *m);

#endif
