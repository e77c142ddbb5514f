/*
 * spool: the files of the queue, one a message, and the promise that 250 means kept.
 *
 *     queue/<id>              envelope (queue/envelope.h), then the text with CRLF, to the end; 0400
 *     queue/.new-<id>         being written; whoever wrote it has not been told 250
 *     queue/damaged/<id>      what could not be read; moved there with a log line, never deleted
 *     queue/state/            queue/state.h
 *     queue/suppressed        queue/suppress.h
 *
 * A file is written under its staged name, fdatasync'd, renamed, and the folder fsync'd: then it is accepted
 * (security.md 1, commit protocol). A sync that fails is never repeated: the file is dropped. A file that has
 * its name never changes; it is removed when its last recipient is done.
 *
 * Reading and writing block. Functions may be called from several threads at once on one spool, each with its
 * own message. Nothing is kept in memory.
 *
 *     struct spool_writer w;
 *     if (spool_begin(s, &env, &w, e) < 0 || spool_write(&w, dkim_header, e) < 0 ||
 *         spool_copy(&w, text_fd, 0, text_len, e) < 0) {
 *         spool_drop(&w);
 *         return -1;
 *     }
 *     return spool_commit(&w, e);                      // 0: it is kept
 */
#ifndef QUEUE_SPOOL_H
#define QUEUE_SPOOL_H

#include "common/err.h"
#include "queue/envelope.h"

#define SPOOL_SUPPRESSED "suppressed"

struct spool;

/* path: absolute; the folder is made (0700) if it is missing. Removes staged files older than 36 h. NULL with
 * *e set on failure. */
struct spool *spool_open(const char *path, struct err *e);
void spool_close(struct spool *s);

struct spool_writer {
    struct spool *spool;
    int fd;
    const struct envelope *env; /* the caller's, until commit or drop */
    size_t envelope_len;
    uint64_t size; /* octets of text written so far */
};

/* Starts the file of env->id. created must be set; size is filled in by the commit and need not be known. On
 * failure nothing is left. ERR_SYNTAX: the envelope is too large. */
int spool_begin(struct spool *s, const struct envelope *env, struct spool_writer *w, struct err *e);
/* Text, piece by piece. After a failure: spool_drop. */
int spool_write(struct spool_writer *w, struct slice text, struct err *e);
/* len octets of another file from the offset on. ERR_IO when it ends before. */
int spool_copy(struct spool_writer *w, int fd, uint64_t offset, uint64_t len, struct err *e);
/* Makes it durable under its name; the writer is used up whatever comes back. -1: nothing of it is left, and
 * the message must not be acknowledged. */
int spool_commit(struct spool_writer *w, struct err *e);
/* The same in two steps, for several messages that share the folder's fsync: each spool_place, then one
 * spool_sync. When that fails spool_remove each and acknowledge none. */
int spool_place(struct spool_writer *w, struct err *e);
int spool_sync(struct spool *s, struct err *e);
/* Gives up: removes the staged file. */
void spool_drop(struct spool_writer *w);

enum spool_result {
    SPOOL_OK,
    SPOOL_NONE,    /* there is no such file */
    SPOOL_DAMAGED, /* it was moved to damaged/ and logged */
    SPOOL_ERROR,   /* the disk; *e says what. The file is still there */
};

struct spool_message {
    int fd; /* for reading; the owner may pass it to others */
    struct envelope env;
    uint64_t text; /* offset of the text in the file; env.size octets to its end */
    struct buf octets;
    struct arena arena;
};

/* Opens a message. On SPOOL_OK the caller ends with spool_message_close; env's slices live until then. */
enum spool_result spool_read(struct spool *s, struct slice id, struct spool_message *m, struct err *e);
void spool_message_close(struct spool_message *m);

/* Removes a message. It is gone for good after the next spool_sync: after a power cut before that it would be
 * sent again to whom the state does not show as done. 0 also when it was not there. */
int spool_remove(struct spool *s, struct slice id, struct err *e);

/* Ids of all messages, ascending (that is, by age); *ids is the caller's to free. Reads names only: 100,000
 * take some 50 ms. Names that are no id are left alone and logged, once a call, with their number. */
int spool_list(struct spool *s, struct id **ids, size_t *n, struct err *e);

#endif
