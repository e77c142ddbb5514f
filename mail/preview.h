/*
 * preview: the first words of a message, for a list (RFC 8970).
 *
 * Of the first part that is text and no attachment: transfer encoding and charset decoded, tags and what is
 * not shown of HTML taken out, blanks squeezed, at most PREVIEW_CHARS characters of UTF-8 without controls.
 * Only the start of a part is looked at. Pure functions, fuzzed.
 */
#ifndef MAIL_PREVIEW_H
#define MAIL_PREVIEW_H

#include "common/buf.h"
#include "mail/mime.h"

#define PREVIEW_CHARS 200 /* RFC 8970 3.1: at most 256 */
#define PREVIEW_OCTETS_MAX (PREVIEW_CHARS * 4)

/* Appends nothing when there is no text in it. Memory of `scratch` is used, never reset. */
void preview_write(struct slice text, const struct mime_tree *t, struct arena *scratch, struct buf *out);

#endif
