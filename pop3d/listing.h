/*
 * listing: the lines of LIST and UIDL, "<number> <what>", for mailboxes of any size.
 *
 * 100,000 lines are some milliseconds of the worker's time, so they are written digit by digit into the
 * stream's output, in portions between which other sessions have their turn.
 */
#ifndef POP3D_LISTING_H
#define POP3D_LISTING_H

#include "pop3d/pop3.h"

#define LISTING_WHAT_MAX 70 /* octets a listing_line may write: the longest id (RFC 1939 7) */

/* Writes what follows the number; returns the octet behind. */
typedef char *listing_line(const struct pop3_session *s, const struct pop3_message *m, char *p);

/* The lines of all messages that are not marked, from s->at on, and the dot. */
enum pop3_step listing_run(struct pop3_session *s, listing_line *line);

char *listing_number(char *p, uint64_t v);
char *listing_hex8(char *p, uint32_t v);

#endif
