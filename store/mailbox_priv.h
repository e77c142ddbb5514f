/*
 * mailbox_priv: what the files that make up a mailbox share.
 *
 *     mailbox.c  opening, sharing, looking                  numbers.c  UIDs and MODSEQs, the lock
 *     array.c    the messages in memory                     journal.c  what goes into postamt.index, and out
 *     scan.c     names of cur/ and new/ against the array   assign.c   UIDs for names that have none
 *     change.c   flags, expunge, sync                       append.c, copy.c  messages coming in
 *     keywords.c dovecot-keywords                           body.c     text and size of a message
 *     cache.c, cache_file.c  postamt.cache
 *     takeover.c lists of other servers                     uidl.c     POP3 ids that came from them
 *     status.c   STATUS
 *
 * An object is light until it is loaded: it knows its numbering but not its messages. APPEND and COPY need no
 * more. A closed one stays in memory for a while (mailbox.c), so that the next open finds it loaded.
 *
 * Every change is made with the lock held (numbers_lock), and every MODSEQ given there: the array then knows
 * all that others changed, and MODSEQs only grow, whoever gives them.
 */
#ifndef STORE_MAILBOX_PRIV_H
#define STORE_MAILBOX_PRIV_H

#include <time.h>

#include "common/fs.h"
#include "store/account_priv.h"
#include "store/foreign.h"
#include "store/journal.h"
#include "store/meta.h"

#define UID_END ((uint64_t)UINT32_MAX + 1) /* UIDNEXT when all UIDs are used up */
#define TRUST_AGE 20000000                 /* ns an mtime must be old before a scan is believed for it */

/* One message changed or came: the views look here, not through the whole array. */
struct change {
    uint64_t modseq;
    uint32_t uid;
};

struct adopted {
    struct slice unique;
    uint32_t uid;
};

struct uidl {
    uint32_t uid;
    struct slice id;
};

struct mailbox {
    struct account *account;
    struct mailbox *next;
    unsigned refs;
    bool listed; /* in the account's list: another open finds it */
    bool loaded, loading;
    bool known;   /* the index was valid: its UIDNEXT is above every UID in a name */
    bool touched; /* we wrote into the index */
    bool gone;    /* deleted, or numbered anew by another process */
    char *name, *disk;
    int dir, cur, fresh, state,
        index;    /* fds: the folder, cur/, new/, its folder in state/, postamt.index (or -1) */
    int replaced; /* while the lock is held: the index as it was before somebody wrote a new one, or -1 */
    int64_t closed_at; /* no references: since when, ns monotonic */

    struct meta meta;
    uint64_t uidnext;
    uint64_t modseq; /* the highest given out */
    unsigned locked; /* depth */

    /* journal.c: the index as it was when the lock was taken, or as we wrote it */
    struct index_header header;
    bool header_valid;
    struct buf notes; /* entries for its log */
    uint64_t log_at;  /* the array knows its log up to here */
    uint64_t lineage; /* of the index that the array came from, or that we wrote */
    bool rewrite;     /* the next write makes a new base, of a new lineage */
    bool incomplete;  /* others' notes could not be read: no base of this array before it has been scanned */

    struct message *msgs; /* ascending UID */
    uint32_t *uids;       /* their UIDs once more, side by side: for searching, and for views to copy */
    size_t n, size;
    uint64_t recent_from; /* no message below this UID is \Recent */
    struct buf names;     /* where most file names of the array lie; the others are on the heap */
    uint64_t old_bound;   /* UIDs below it that are not in the array were expunged: never taken as they are */
    size_t unnamed, adopt_at; /* how many, and where mailbox_adopt_step goes on */

    struct mailbox_expunged *expunged;
    size_t nexpunged, expunged_size;
    uint64_t expunged_from; /* the history is complete for what came after this MODSEQ */
    struct change *changes;
    size_t nchanges, changes_size;
    uint64_t changes_from;

    int64_t dir_stamp;              /* mtime of the folder itself when it was not deleted; 0: look */
    int64_t cur_stamp, fresh_stamp; /* mtimes (ns) the array stands for; 0: look */
    bool cur_trusted, fresh_trusted;
    bool watched;                  /* what happens in cur/ we are told by name */
    bool sure;                     /* and nothing had happened unseen when that began */
    int64_t scanned_at, scan_cost; /* ns, monotonic: end and duration of the last scan of cur/ */
    int64_t own_before;            /* own_begin() */
    size_t odd;                    /* entries that are no messages, as last logged */

    char *keywords[FLAG_KEYWORDS];
    struct buf keyword_rest; /* lines of the file that are none of ours */
    int64_t keyword_stamp;
    uint32_t keyword_generation;
    uint32_t forwarded; /* the letter that another server used for $Forwarded, or 0 */

    struct adopted *adopted; /* sorted by unique part */
    size_t nadopted;
    struct buf adopt_text;
    int64_t adopt_stamp;

    struct foreign foreign; /* the list of another server, while it is of use */
    uint64_t foreign_stamp; /* its stamp, served or not */
    struct uidl *uidls;     /* by UID */
    size_t nuidls;
    struct buf uidl_text;

    bool needs_sync;
    struct buf raw, crlf;
    uint32_t text_uid; /* whose text is in raw or crlf; 0: nobody's */
    struct slice text;
    struct text_range *range; /* body.c; NULL until parts are asked for */
    struct cache *cache;      /* cache.c; NULL until it is asked for */
};

/* numbers.c */
/*
 * Takes the lock; the array (if loaded) and the numbering are as the other processes left them, or
 * m->incomplete says that the array may miss something: scan. ERR_UNAVAILABLE while another mailbox of the
 * account is locked by us and this one by somebody else. Ends with numbers_unlock after success only.
 */
int numbers_lock(struct mailbox *m, struct err *e);
/* Both, without a deadlock; they may be one. numbers_unlock for each. */
int numbers_lock_two(struct mailbox *a, struct mailbox *b, struct err *e);
/* The outermost one writes what was noted into the index. */
void numbers_unlock(struct mailbox *m);
/* With the lock held: n consecutive UIDs from *first on are ours. ERR_LIMIT when they are used up. */
int numbers_take(struct mailbox *m, uint32_t n, uint32_t *first, struct err *e);
/* With the lock held: a UID found in a name. */
int numbers_saw(struct mailbox *m, uint32_t uid, struct err *e);
/* With the lock held: the next MODSEQ. */
uint64_t numbers_modseq(struct mailbox *m);
/* First contact of this object: meta, index, highest MODSEQ. Sets m->known. */
int numbers_open(struct mailbox *m, struct err *e);
/* The object goes: all into the index, with the clean mark. */
void numbers_close(struct mailbox *m);
/* A new UIDVALIDITY, durable, with the lock held (security.md I05). */
int numbers_restart(struct mailbox *m, struct err *e);

/* mailbox.c */
/* Shared like mailbox_open, but the messages are not read unless `load`. */
struct mailbox *mailbox_get(struct account *a, struct slice name, bool load, struct err *e);
int mailbox_load(struct mailbox *m, struct err *e);
int64_t stamp_of(const struct stat *st);
/* mtime of a folder in ns, 0 if it cannot be told. */
int64_t folder_stamp(int fd);
/* Changes with every replacement of a small file, 0 when there is none. */
int64_t file_stamp(int dir, const char *name);
/* Around our own change of cur/: if nobody else changed it until now, it need not be scanned for ours. */
void own_begin(struct mailbox *m);
void own_end(struct mailbox *m);
int64_t clock_ns(clockid_t clock);

/* status.c */
void status_add(struct mailbox_status *out, uint32_t flags, bool recent, uint64_t size);

/* array.c */
struct message *message_find(struct mailbox *m, uint32_t uid);
/* Into its place in the array (or instead of the one with the same UID); the name is taken over. */
struct message *message_put(struct mailbox *m, const struct message *msg);
/* A name on the heap in the place of the one it has. */
void message_set_name(struct mailbox *m, struct message *msg, char *name);
/* file = NULL */
void message_free_name(struct mailbox *m, struct message *msg);
/* With the lock held, after a loop that set file = NULL: they are expunged, each with a MODSEQ. */
void messages_compact(struct mailbox *m);
/* The same for those whose expunge is in the history already. */
void messages_close_gaps(struct mailbox *m);
void messages_free(struct mailbox *m);
/* This UID came or changed with this MODSEQ, the highest so far; or went. */
void changes_add(struct mailbox *m, uint32_t uid, uint64_t modseq);
void expunged_add(struct mailbox *m, uint32_t uid, uint64_t modseq);

/* The i-th UID that changed flags or came with a MODSEQ > since (a UID may come twice); returns how many
 * there are. *complete: the list reaches back to `since`; if not, compare the MODSEQ of all messages. */
size_t mailbox_changed_since(
    const struct mailbox *m, uint64_t since, size_t i, uint32_t *uid, bool *complete);

/* scan.c */
/* Compares the whole of cur/ with the array. Names without a UID get one. */
int scan_cur(struct mailbox *m, struct err *e);
/* Looks only at these names of cur/. True when they explain all: the array is as the folder is. */
bool scan_names(struct mailbox *m, struct slice names);
/* Takes what is in new/. */
int scan_fresh(struct mailbox *m, struct err *e);
/* The message's file was not where the array says: looks for it. ERR_EXPUNGED. */
struct message *scan_locate(struct mailbox *m, uint32_t uid, struct err *e);
/* True for a name of a regular file that is a message; counts and logs what is odd. */
bool scan_is_message(struct mailbox *m, int dir, const struct dirent *d, struct name *name, size_t *odd);

/* assign.c */
struct fresh {
    char *file;
    uint64_t order; /* the number at the front of the name */
    bool in_new;
};
/* UIDs for names that have none (freed here); with the lock held. */
int assign_uids(struct mailbox *m, struct fresh *names, size_t n, struct err *e);
/* A new UIDVALIDITY, and new UIDs for all, with the lock held (security.md I05). */
int mailbox_renumber(struct mailbox *m, struct err *e);
/* Reads postamt-adopt if it changed. */
int adopt_load(struct mailbox *m, struct err *e);
/* UID of a unique part, or 0. */
uint32_t adopt_find(const struct mailbox *m, struct slice unique);
/* The name a message is to have with these flags; false when it does not fit. */
bool message_name(const struct mailbox *m, const struct message *msg, uint32_t flags, struct buf *out);

/* takeover.c */
/* First contact, with the lock held: UIDVALIDITY and UIDNEXT of another server's list, or a new UIDVALIDITY,
 * durable in m->meta. known: there is a postamt-mailbox, but no UID was ever given out. */
int takeover_numbers(struct mailbox *m, bool known, struct err *e);
/* Reads the list if it is of use; m->uidnext is above its UIDs afterwards. */
int takeover_look(struct mailbox *m, struct err *e);
/* UID of a unique part, or 0. */
uint32_t takeover_find(const struct mailbox *m, struct slice unique);
/* Before the first scan: what the list names in new/ goes to cur/, where it is met with its UID. */
int takeover_fetch_new(struct mailbox *m, struct err *e);
/* After it: keywords and POP3 ids. Failures are logged, the next open tries again. */
void takeover_finish(struct mailbox *m);
/* Every name has its U=: the list has served. */
void takeover_done(struct mailbox *m);
void takeover_served(struct mailbox *m);

/* uidl.c */
int uidl_load(struct mailbox *m, struct err *e);
void uidl_free(struct mailbox *m);
/* The ids that m->foreign has for messages of m into postamt-uidl, durably. */
int uidl_take(struct mailbox *m, struct err *e);

/* append.c */
/* Takes the lock; n UIDs from *first on for names that come into cur/. numbers_unlock follows. */
int incoming_begin(struct mailbox *m, uint32_t n, uint32_t *first, struct err *e);
/* ERR_NO_MAILBOX becomes ERR_TRY_CREATE. */
struct mailbox *incoming_mailbox(struct account *a, struct slice name, struct err *e);

/* body.c */
void text_range_end(struct mailbox *m);

/* keywords.c */
/* Reads dovecot-keywords if it changed. */
int keywords_load(struct mailbox *m, struct err *e);
void keywords_free(struct mailbox *m);
/* The flags of a name: a letter that stands for $Forwarded is P. */
uint32_t keywords_flags(const struct mailbox *m, uint32_t flags);
/* The flags of a message of `from` in the letters of `to`; a keyword that has no room there is left out. */
uint32_t keywords_translate(struct mailbox *from, struct mailbox *to, uint32_t flags);

#endif
