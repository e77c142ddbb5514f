/*
 * parse: the words of an SMTP command line (RFC 5321 4.1) and its parameters (RFC 5321 4.1.1.11). Pure;
 * fuzzed.
 *
 * One forward parser with a pointer and a length; what is read are slices into the line. Nothing is copied
 * but decoded xtext. Addresses are mail/address.h's.
 */
#ifndef SMTPD_PARSE_H
#define SMTPD_PARSE_H

#include "common/buf.h"

/* Blanks at the end are taken off (RFC 5321 4.1.1 asks for tolerance); args has no blanks in front. */
struct smtp_line {
    struct slice verb;
    struct slice args;
};
/* False: the line holds a control octet (NUL, a bare CR ..; TAB counts as a blank), or no verb. */
bool smtp_parse_line(struct slice line, struct smtp_line *out);

/* Takes "FROM:" or "TO:" (any case) from the front of *args; false if it is not there. */
bool smtp_parse_keyword(struct slice *args, struct slice keyword);

/* One " KEYWORD" or " KEYWORD=value" behind a path. */
struct smtp_param {
    struct slice name;
    struct slice value;
    bool has_value;
};
enum smtp_params { SMTP_PARAM, SMTP_PARAMS_END, SMTP_PARAMS_BAD };
/* The next parameter; *rest starts right behind the '>' of the path. */
enum smtp_params smtp_parse_param(struct slice *rest, struct smtp_param *out);

/*
 * xtext (RFC 3461 4): "+3D" is "=". False if it is malformed or an octet it stands for is a control
 * (security.md S07: no line end gets into an envelope). out may be NULL: check only.
 */
bool smtp_parse_xtext(struct slice in, struct buf *out);

/*
 * The value of NOTIFY (RFC 3461 4.1): NEVER alone, or some of SUCCESS, FAILURE, DELAY. bits: enum dsn_notify.
 */
bool smtp_parse_notify(struct slice in, unsigned *bits);
/*
 * The value of ORCPT (RFC 3461 4.2, RFC 6533 3): "type;address", the address decoded from xtext, and what has
 * the type utf-8 from its own encoding. Octets beyond ASCII only of that type, and in the value itself only
 * with smtputf8. False as for xtext.
 */
bool smtp_parse_orcpt(struct slice in, bool smtputf8, struct buf *out);

/*
 * The arguments of BDAT (RFC 3030 2): "86", "86 LAST". SMTP_CHUNK_HUGE: a number that no 64 bits hold.
 */
enum smtp_chunk { SMTP_CHUNK, SMTP_CHUNK_HUGE, SMTP_CHUNK_BAD };
enum smtp_chunk smtp_parse_chunk(struct slice args, uint64_t *size, bool *last);

#endif
