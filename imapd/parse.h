/*
 * parse: the words of an IMAP command (RFC 3501 9, 9051 9), read from one complete command in memory.
 *
 * A command is its line with the literals in place, "{n}CRLF" and n octets, as the reader (imapd/reader.h)
 * collected it. A cursor walks it once; what is read are slices into the text, or arena copies where quotes
 * were opened. Nothing recurses; nesting is counted against a limit. Every function returns false and sets
 * p->error (a sentence for BAD) when the text does not fit; the cursor is then of no more use. Pure; fuzzed.
 */
#ifndef IMAPD_PARSE_H
#define IMAPD_PARSE_H

#include "common/arena.h"
#include "common/buf.h"

struct imap_parse {
    struct slice rest;
    struct arena *arena;
    const char *error;
};

void imap_parse_init(struct imap_parse *p, struct slice text, struct arena *arena);
bool imap_parse_fail(struct imap_parse *p, const char *error);

bool imap_parse_end(struct imap_parse *p);          /* nothing must be left */
bool imap_parse_space(struct imap_parse *p);        /* one SP (more are forgiven) */
bool imap_parse_char(struct imap_parse *p, char c); /* exactly this */
bool imap_parse_peek(const struct imap_parse *p, char c);
/* A run of ATOM-CHARs: no ']', as in fetch-att and flags. */
bool imap_parse_atom(struct imap_parse *p, struct slice *out);
/* An atom that may hold ']', a quoted string or a literal. */
bool imap_parse_astring(struct imap_parse *p, struct slice *out);
bool imap_parse_string(struct imap_parse *p, struct slice *out);       /* quoted or literal, no atom */
bool imap_parse_nstring(struct imap_parse *p, struct slice *out);      /* NIL: p == NULL */
bool imap_parse_list_mailbox(struct imap_parse *p, struct slice *out); /* with % and * */
bool imap_parse_number(struct imap_parse *p, uint64_t max, uint64_t *out);
bool imap_parse_nz_number(struct imap_parse *p, uint64_t max, uint64_t *out);
/* \Seen or a keyword atom, as written */
bool imap_parse_flag(struct imap_parse *p, struct slice *out);
/* "(" flags ")" or, when bare is allowed, flags without parentheses; at most 64. */
bool imap_parse_flags(struct imap_parse *p, bool bare, const struct slice **flags, size_t *n);
/* A mailbox name: astring, modified UTF-7 (or UTF-8 when `utf8`) decoded and normalised. p->error says what
 * is wrong; a name that is well written but impossible (I07) gives imap_bad_mailbox_name, for which the
 * driver answers NO [CANNOT]. */
extern const char imap_bad_mailbox_name[];
bool imap_parse_mailbox(struct imap_parse *p, bool utf8, struct slice *out);
/* " 1-Feb-2026 10:00:00 +0100" in quotes (date-time): seconds since 1970 */
bool imap_parse_date_time(struct imap_parse *p, int64_t *out);
/* date of SEARCH, quoted or not: days since 1970 */
bool imap_parse_date(struct imap_parse *p, int32_t *days);

/* Sequence sets (I04): at most 10,000 ranges (8 KiB of text never hold more); sorted and merged; '*' is
 * UINT32_MAX until resolved. */
struct imap_range {
    uint32_t first, last;
};
struct imap_set {
    struct imap_range *ranges;
    size_t n;
    bool has_star;
    bool is_saved; /* "$" (RFC 5182) */
};
bool imap_parse_set(struct imap_parse *p, struct imap_set *out);
/* '*' becomes `last` (the highest number in use); sorts and merges again. */
void imap_set_resolve(struct imap_set *set, uint32_t last);
bool imap_set_has(const struct imap_set *set, uint32_t n);
/* "1:3,7" of ascending numbers */
void imap_set_write(struct buf *out, const uint32_t *numbers, size_t n);

/* --- the other direction --- */
/* Quoted if it can be, else a literal; 8-bit goes as a literal unless utf8 (then quoted). */
void imap_write_string(struct buf *out, struct slice s, bool utf8);
void imap_write_nstring(struct buf *out, struct slice s, bool utf8); /* p == NULL: NIL */
/* A mailbox name: modified UTF-7, or UTF-8 when `utf8`, as an astring. */
void imap_write_mailbox(struct buf *out, struct slice name, bool utf8);
/* "23-Nov-2026 23:15:42 +0000" in quotes */
void imap_write_date_time(struct buf *out, int64_t utc);

#endif
