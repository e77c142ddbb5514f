/*
 * textfile: a message's text on its way between our processes: a sealed memory file, which nobody who holds
 * it can change any more.
 */
#ifndef QUEUE_TEXTFILE_H
#define QUEUE_TEXTFILE_H

#include "common/buf.h"
#include "common/err.h"

#define TEXTFILE_HEADER_MAX ((size_t)10 << 20) /* security.md 4.4 */

/* Sealed, and of the size that was told? -1: INTERNAL. */
int textfile_check(int fd, uint64_t size, struct err *e);
/* The text's first octets into the (empty) buf, at least as many as hold the header. -1: TOO_BIG, IO. */
int textfile_read_header(int fd, uint64_t size, struct buf *out, struct err *e);
/* A fresh one: `front`, then size octets of `file` from the offset on (file may be -1 when size is 0). -1:
 * errno. */
int textfile_new(struct slice front, int file, uint64_t offset, uint64_t size);

#endif
