/* status: STATUS items, for STATUS and for LIST .. RETURN (STATUS (..)) (RFC 5819). */
#ifndef IMAPD_STATUS_H
#define IMAPD_STATUS_H

#include "imapd/imap.h"

/* "(MESSAGES UNSEEN)" into bits of the items. */
bool imap_parse_status_items(struct imap_parse *p, unsigned *items);
/* Writes "* STATUS name (..)"; -1 with the error. */
int imap_write_status(struct imap_session *s, struct slice name, unsigned items, struct err *e);

#endif
