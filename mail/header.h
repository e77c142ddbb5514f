/*
 * header: the header section of a message and the structured fields in it (RFC 5322, 6532). Pure functions.
 *
 * Works on the text as it lies in the file, with CRLF or LF line ends, in one forward pass without recursion.
 * Limits of security.md 4.4: 1 MiB a header section is looked at, 10,000 fields; beyond that the rest is
 * ignored.
 */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include <time.h>

#include "common/arena.h"
#include "common/buf.h"

#define HEADER_LOOK_MAX ((size_t)1 << 20)
#define HEADER_FIELDS_MAX 10000

struct header_field {
    struct slice raw;   /* name, colon, value, line end(s): the octets in the message */
    struct slice name;  /* without the colon; blanks before the colon taken off */
    struct slice value; /* behind the colon, folds and all, without the last line end */
};

/*
 * Walks the fields: *rest is what follows the field; false at the end of the header (empty line or end of
 * text). A line without a colon is skipped as a field with an empty name. Start with *rest = the text.
 */
bool header_next(struct slice *rest, struct header_field *field);

/*
 * The same for the fields alone whose name begins with this letter, in either case; *n counts all fields,
 * from 0 on: none is found beyond HEADER_FIELDS_MAX.
 */
bool header_next_by_letter(struct slice *rest, char letter, size_t *n, struct header_field *field);

/* Length in octets of the header section, the empty line included if there is one. */
size_t header_size(struct slice text);

/* The first field of that name (ASCII case-blind). */
bool header_find(struct slice text, struct slice name, struct header_field *field);

/*
 * Value unfolded (RFC 5322 2.2.3), a copy in the arena: line ends before blanks taken out, other CR and LF
 * become blanks, outer blanks trimmed. NUL becomes 0x80.
 */
struct slice header_unfold(struct slice value, struct arena *arena);

/*
 * An address as the IMAP ENVELOPE wants it (RFC 3501 7.4.2), unfolded, comments taken out; no CR, LF or NUL
 * in it. "a@b (Name)" has the name of its comment. "root" has an empty domain, words without an address are a
 * name with local part and domain empty.
 */
struct header_address {
    struct header_address *next;
    struct slice name;   /* display name, quotes off, encoded words as they are; p == NULL: none */
    struct slice route;  /* obsolete source route, p == NULL: none */
    struct slice local;  /* p == NULL in the mark that ends a group */
    struct slice domain; /* p == NULL in a group's start (local is then the group's name) and end */
};

/*
 * An address-list, groups included, tolerant as the field is: what cannot be read is skipped to the next
 * comma (two bare '@' in an address as well: nobody shall guess which domain counts). Linear in the value; at
 * most 10,000 addresses. NULL if there is none, or the arena is used up.
 */
struct header_address *header_addresses(struct slice value, struct arena *arena);

/* Text with comments taken out and quoted strings opened, blanks folded to one: for ids and tokens. */
struct slice header_tokens(struct slice value, struct arena *arena);

/* Message ids ("<..>", brackets included) in a value one after the other: *rest moves on; false at the end.
 */
bool header_msgid_next(struct slice *rest, struct slice *id);

/*
 * RFC 5322 3.3 date-time with the obsolete forms. *utc: seconds since 1970; *zone_minutes: offset as written.
 * False if it cannot be read.
 */
bool header_date(struct slice value, int64_t *utc, int *zone_minutes);
/* "Mon, 23 Nov 2026 23:15:42 +0000" */
void header_date_format(struct buf *out, int64_t utc, int zone_minutes);

/* A token or quoted-string parameter list as in Content-Type (RFC 2045 5.1, 2231). */
struct header_param {
    struct header_param *next;
    struct slice name;  /* lower case; RFC 2231 pieces put together, the name without its star forms */
    struct slice value; /* quotes off; RFC 2231 percent-decoded into UTF-8 as an RFC 2047 word if not ASCII */
};

#define HEADER_PARAMS_MAX 128

struct header_content {
    struct slice type;    /* lower case; "text" in text/plain; the disposition in Content-Disposition */
    struct slice subtype; /* lower case; empty where the field has none */
    struct header_param *params;
};

/* False when not even the type can be read: the caller takes its default. */
bool header_content(struct slice value, struct arena *arena, struct header_content *out);
/* Value of a parameter by (lower-case) name; p == NULL if absent. */
struct slice header_param_get(const struct header_content *c, struct slice name);

/* Subject without re:/fwd: and list tags (RFC 5256 2.1); *is_reply set if something said so. */
struct slice header_base_subject(struct slice subject_utf8, struct arena *arena, bool *is_reply);

/*
 * The one writer of header fields of ours: "Name: value CRLF", folded at 78 columns where a blank allows,
 * non-ASCII as encoded words (RFC 2047). Refuses (false, nothing written) CR, LF, NUL in name or value (S19).
 */
bool header_write(struct buf *out, struct slice name, struct slice value_utf8);

#endif
