/*
 * index: state/<account>/<mailbox>/postamt.index, what is derived about a mailbox, so that nobody must look
 * at its names again.
 *
 *     header   INDEX_HEADER_SIZE octets: numbering, the mtimes of cur/ and new/ that the rest stands for,
 * where the rest is; with a checksum; written last base     messages sorted by UID, expunges by MODSEQ, file
 * names; one checksum, written once log      entries in MODSEQ order that came after the base, each with a
 * checksum, up to header.log_end
 *
 * This is the format only: who records what and when stands in store/journal.h. Every call is made with the
 * mailbox' lock held, so there is no torn reading. Read by pread, written by pwrite, never mapped (a cut
 * mapping is SIGBUS), never synced in use. A header of another boot counts only with the clean mark, which an
 * orderly close sets; whoever goes on from a marked header takes the mark away durably first. Nothing in the
 * file is believed without its checksum and bounds: a damaged file is as good as none.
 *
 * A new base comes by a new file that replaces the old one; who has the old one open sees it at its link
 * count.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "store/mailbox.h"

#define INDEX_FILE "postamt.index"
#define INDEX_HEADER_SIZE 256

struct index_header {
    uint32_t uidvalidity;
    bool clean;
    bool has_base;                 /* without one only the numbering counts */
    bool cur_trusted, new_trusted; /* the stamps were older than TRUST_AGE when the folder was looked at */
    uint64_t uidnext;              /* every UID below it may have been given out */
    uint64_t modseq;               /* every MODSEQ up to it may have been given out */
    int64_t cur_stamp;             /* mtimes (ns) of cur/ and new/ with nothing unknown in them; 0: look */
    int64_t new_stamp;
    uint64_t expunged_from; /* the history of expunges is complete for what came after this MODSEQ */
    /* of base and log together, for STATUS: kept by the last close, void after the next change */
    bool has_summary;
    uint32_t messages, unseen, deleted, recent;
    uint64_t octets;
    uint64_t lineage; /* a new base of another lineage does not go on where an old log ended */
    /* where things are; index_replace sets them */
    uint64_t nmessages, nexpunged, names_size, base_checksum;
    uint64_t log_end; /* the log begins behind the base */
};

/* fd for reading and writing, made if missing; -1 with errno. */
int index_open(int state_dir);
/* False when there is none, it is damaged, of another version, or of another boot without the mark. */
bool index_read(int fd, struct index_header *out);
/* 0, or -1 with errno: the file is not to be relied on then, see index_spoil. */
int index_write(int fd, const struct index_header *h, bool sync);
/* Makes the file count for nothing (a write failed, something in it is wrong). */
void index_spoil(int state_dir, int fd);

/*
 * The base. Messages come with `file` pointing into *names, which the caller owns as long as they live.
 * `expunged` is ascending by MODSEQ. False: damaged.
 */
struct index_base {
    struct message *messages; /* the caller frees */
    struct mailbox_expunged *expunged;
    size_t nmessages, nexpunged;
    struct buf names;
};
bool index_read_base(int fd, const struct index_header *h, struct index_base *out);
/* Where the log begins. */
uint64_t index_log_start(const struct index_header *h);

/*
 * A new file with this base and an empty log in the place of the old; *h gets the places and is written with
 * it. Returns its fd, or -1 with errno (the old file is as it was).
 */
int index_replace(int state_dir, struct index_header *h, const struct message *messages, size_t n,
    const struct mailbox_expunged *expunged, size_t nexpunged);

/* --- the log --- */

enum index_what {
    INDEX_ADD = 1, /* a message came: all of it */
    INDEX_NAME,    /* flags and name of a message */
    INDEX_FACTS,   /* what was found out about one: sizes, date, place in the cache; no MODSEQ */
    INDEX_GONE,    /* expunged */
    INDEX_CLAIMED, /* no message up to this UID is \Recent any more; no MODSEQ */
};

struct index_entry {
    enum index_what what;
    struct message msg; /* as far as `what` says; msg.file points into the log that was read */
};

/* Appends to `log` what index_append will write. */
void index_put(struct buf *log, enum index_what what, const struct message *msg);
/* The next entry; false at the end, or when the rest is damaged (*rest is not empty then). */
bool index_next(struct slice *rest, struct index_entry *out);
/* Entries behind h->log_end, then the header with the new end. -1 with errno. */
int index_append(int fd, struct index_header *h, struct slice log, bool sync);
/* The log from an offset up to h->log_end into `out`; false when it cannot be read. */
bool index_read_log(int fd, const struct index_header *h, uint64_t from, struct buf *out);

#endif
