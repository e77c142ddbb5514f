/* words: pieces of the protocol that front and worker both speak. Pure. */
#ifndef IMAPD_WORDS_H
#define IMAPD_WORDS_H

#include "imapd/parse.h"

#define IMAP_ID_REPLY "* ID (\"name\" \"postamt\")\r\n"

/*
 * ID's argument to the end of the command: NIL or at most 30 pairs (RFC 2971 3.3); what the client says of
 * its name and version, empty if it does not.
 */
bool imap_parse_id(struct imap_parse *p, struct slice *name, struct slice *version);

/* Tag of a command: 1*ASTRING-CHAR without '+' (RFC 3501 9), at most 128; the blank behind it stays. */
bool imap_parse_tag(struct imap_parse *p, struct slice *tag);

#endif
