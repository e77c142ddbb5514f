/* expunge: taking messages away, for EXPUNGE, CLOSE and MOVE. */
#ifndef IMAPD_EXPUNGE_H
#define IMAPD_EXPUNGE_H

#include "imapd/imap.h"

/*
 * Deletes the messages of the session's view that have \Deleted (with only: of these), durably, and tells the
 * quota. The session is told nothing yet. *gone: how many. -1 with the error.
 */
int imap_expunge(struct imap_cmd *c, const struct imap_targets *only, size_t *gone, struct err *e);

#endif
