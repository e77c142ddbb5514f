/*
 * dsn_text: the part of a notification that a person reads. Used by dsn.c.
 */
#ifndef MAIL_DSN_TEXT_H
#define MAIL_DSN_TEXT_H

#include "mail/dsn.h"

/* Appends text without controls: line ends and blanks become one blank, ill-formed UTF-8 '?'; cut at max
 * octets between characters. */
void dsn_clean(struct buf *out, struct slice s, size_t max);
/* "Not delivered: subject of the original" */
void dsn_subject(struct buf *out, const struct dsn *d);
/* UTF-8, CRLF, wrapped. */
void dsn_words(struct buf *out, const struct dsn *d);

#endif
