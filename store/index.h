/*
 * index: state/<account>/<mailbox>/postamt.index, what processes of one boot know in common about a mailbox.
 *
 * For now only the header: numbering and the state of the folders it was written for. Read by pread, written
 * by pwrite with the mailbox' lock held, never mapped, never synced in use. A header of another boot counts
 * only with the clean mark, which an orderly stop sets; whoever goes on from a marked header takes the mark
 * away durably first. Records will follow behind INDEX_HEADER_SIZE.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "common/buf.h"

#define INDEX_FILE "postamt.index"
#define INDEX_HEADER_SIZE 128

struct index_header {
    uint32_t uidvalidity;
    bool clean;
    uint64_t uidnext;  /* every UID below it may have been given out */
    uint64_t modseq;   /* every MODSEQ up to it may have been given out */
    int64_t cur_stamp; /* mtimes (ns) of cur/ and new/ with nothing unknown in them; 0: not known */
    int64_t new_stamp;
};

/* fd for reading and writing, made if missing; -1 with errno. */
int index_open(int state_dir);
/* False when there is none, it is damaged, of another version, or of another boot without the mark. */
bool index_read(int fd, struct index_header *out);
/* 0, or -1 with errno: the file is not to be relied on then, see index_spoil. */
int index_write(int fd, const struct index_header *h, bool sync);
/* With the lock held: the file counts for nothing, for whoever has it open too; the next to write it begins
 * anew. */
int index_forget(int fd);
/* Makes the file count for nothing (a write failed). */
void index_spoil(int state_dir, int fd);

#endif
