/*
 * text: octets and UTF-8 into a buf as far as they fit; used by the decode_*.c files only.
 *
 * Ill-formed input is cut as Unicode 3.9 advises (D93b): each maximal part of a sequence counts as one
 * U+FFFD. common/utf8.h has what only asks whether UTF-8 is well-formed.
 */
#ifndef MAIL_TEXT_H
#define MAIL_TEXT_H

#include "common/buf.h"

#define TEXT_BAD UINT32_MAX
#define TEXT_REPLACEMENT 0xfffdu

/* Length (1..4) of what stands at p (n > 0); *cp is TEXT_BAD where it is ill-formed. */
size_t text_next(const char *p, size_t n, uint32_t *cp);

/* As many octets as fit into `out`, which is full if not all did. */
void text_add_octets(struct buf *out, struct slice s);
/* The same for UTF-8: ill-formed parts become U+FFFD, no character is cut. */
void text_add(struct buf *out, struct slice s);
void text_add_cp(struct buf *out, uint32_t cp);

#endif
