/*
 * utf8: one code point of UTF-8 at a time, and octets into a buf as far as they fit.
 *
 * Ill-formed input is cut as Unicode 3.9 advises (D93b): each maximal part of a sequence counts as one
 * U+FFFD.
 */
#ifndef MAIL_UTF8_H
#define MAIL_UTF8_H

#include "common/buf.h"

#define UTF8_BAD UINT32_MAX
#define UTF8_REPLACEMENT 0xfffdu

/* Length (1..4) of what stands at p (n > 0); *cp is UTF8_BAD where it is ill-formed. */
size_t utf8_next(const char *p, size_t n, uint32_t *cp);
/* Octets written (1..4); cp is a Unicode scalar value. */
size_t utf8_put(char *to, uint32_t cp);

/* As many octets as fit into `out`, which is full if not all did. */
void octets_add(struct buf *out, struct slice s);
/* The same for UTF-8: ill-formed parts become U+FFFD, no character is cut. */
void utf8_add(struct buf *out, struct slice s);
void utf8_add_cp(struct buf *out, uint32_t cp);

#endif
