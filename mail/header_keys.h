/*
 * header_keys: the header fields that lists, searches, sorting and threading ask for, out of the whole
 * header.
 *
 * header_keys_write() copies them as they lie, in their order, with the empty line that ends the header if
 * there is one: the copy is a header section itself, and any question about these fields alone has the same
 * answer from it as from the message. Pure functions.
 */
#ifndef MAIL_HEADER_KEYS_H
#define MAIL_HEADER_KEYS_H

#include "mail/header.h"

/* The copy takes no more than this. */
#define HEADER_KEYS_MAX ((size_t)8 << 10)

/* ASCII case-blind. */
bool header_is_key(struct slice name);
/* `header`: the header section (or a text that begins with it). False when the copy cannot stand for it: too
 * long, or beyond the limits of mail/header.h. What was added is cut off then. */
bool header_keys_write(struct slice header, struct buf *out);

#endif
