/*
 * header_lex: the tokens of structured fields (RFC 5322 3.2), for mail/ only.
 *
 * A reader moves forward over a value, line ends and all. Comments nest by a counter, never by recursion;
 * what is not closed reaches to the end of the value, so that no octet is looked at twice. Text goes into a
 * buf without CR and LF, and with NUL as 0x80: what is read here can be shown and logged as one line.
 */
#ifndef MAIL_HEADER_LEX_H
#define MAIL_HEADER_LEX_H

#include "common/buf.h"
#include "common/slice.h"

struct lex {
    const char *p, *end;
};

static inline struct lex lex_of(struct slice s)
{
    return (struct lex){s.p, s.p + s.n};
}

static inline bool lex_is(const struct lex *l, char c)
{
    return l->p < l->end && *l->p == c;
}

/* Text that lex_put() takes as it is. */
bool lex_is_plain(struct slice s);
/* Text into out by the rule above; out == NULL drops it. */
void lex_put(struct buf *out, struct slice s);

/* At '(': moves behind the comment; out (or NULL) gets what is in it. False if it is not closed. */
bool lex_comment(struct lex *l, struct buf *out);
/* At '"': moves behind the quoted string; out (or NULL) gets what is in it, backslashes taken off. */
void lex_quoted(struct lex *l, struct buf *out);
/* Blanks and comments; the last closed comment replaces what is in `comment` (or NULL). True if there were
 * any. */
bool lex_cfws(struct lex *l, struct buf *comment);
/* The octets up to the first that is a blank or one of `stop` (ASCII). */
struct slice lex_run(struct lex *l, const char *stop);

#endif
