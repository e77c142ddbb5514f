/* utf8: the shape of UTF-8 (RFC 3629), without tables. */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include "common/slice.h"

/* Width in octets of the well-formed character at the start of s and its code point; 0 if there is none. */
size_t utf8_decode(struct slice s, uint32_t *code);
/* Width of the character at the start if it can be shown: no C0, C1, DEL, line or paragraph separator; else
 * 0. */
size_t utf8_printable(struct slice s);
bool utf8_is_valid(struct slice s);
/* Writes the character, returns its width (1..4). */
size_t utf8_encode(uint32_t code, char out[4]);

#endif
