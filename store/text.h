/*
 * text: line ends. Messages are kept as they came; what a client gets has CR LF at every line end.
 *
 * A bare CR stays what it is. Pure functions.
 */
#ifndef STORE_TEXT_H
#define STORE_TEXT_H

#include "common/buf.h"

/* LFs without a CR in front. `last`: the octet before the text (0 at the start), afterwards its last one. */
uint64_t text_bare_lf(struct slice text, char *last);
/* The text with a CR in front of each LF that has none. */
void text_to_crlf(struct slice text, struct buf *out);

#endif
