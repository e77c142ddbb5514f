/*
 * address: mailboxes as SMTP writes them (RFC 5321 4.1.2, RFC 6531 3.3). Pure functions over slices.
 *
 * One forward parser; it takes the route of a source-routed path off (RFC 5321 appendix C) and returns what
 * is left. Slices of the result point into the input, but for a quoted local part that needed unquoting,
 * which is copied into the arena.
 */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include "common/arena.h"
#include "common/buf.h"

#define ADDRESS_LOCAL_MAX 64   /* RFC 5321 4.5.3.1.1 */
#define ADDRESS_DOMAIN_MAX 255 /* RFC 5321 4.5.3.1.2 */

struct address {
    struct slice local;  /* without quotes and backslashes; may hold any printable octet, '@' too */
    struct slice domain; /* as written, without a trailing dot; empty only for <postmaster> */
    bool is_null;        /* the null reverse-path <> */
    bool is_literal;     /* the domain is an address literal, brackets included */
    bool is_utf8;        /* has octets >= 0x80: needs SMTPUTF8 */
};

enum address_error {
    ADDRESS_OK,
    ADDRESS_SYNTAX,      /* 501 5.1.3 / 5.1.7 */
    ADDRESS_LOCAL_LONG,  /* local part above 64 octets */
    ADDRESS_DOMAIN_LONG, /* domain above 255, or a label above 63 octets */
    ADDRESS_BAD_UTF8,    /* octets >= 0x80 that are not UTF-8 */
};

/*
 * A Path at the start of *in: "<a@b>", "<>" (allow_null), "<@relay:a@b>", "<postmaster>" (allow_postmaster,
 * any case). Blanks before '<' are skipped (Outlook). On ADDRESS_OK *in starts behind '>'. The empty local
 * part
 * `""@d` is refused. An address literal is checked for its form (IPv4, IPv6:, General).
 */
enum address_error address_parse_path(
    struct slice *in, bool allow_null, bool allow_postmaster, struct arena *arena, struct address *out);

/* A bare addr-spec (Mailbox of RFC 5321), all of s: for accounts, aliases, login names. */
enum address_error address_parse(struct slice s, struct arena *arena, struct address *out);

/* A domain name: letters, digits, hyphens, UTF-8 U-labels; at least one label; 63 octets a label. */
bool address_is_domain(struct slice s);
/* An IPv4 or IPv6 address literal with its brackets. */
bool address_is_literal(struct slice s);

/* local@domain, the local part quoted where the grammar wants it. Nothing for the null path. */
void address_format(struct buf *out, const struct address *a);

/* The same address for look-ups: local part and domain in lower case ASCII, no trailing dot; IDNA A-labels
 * and U-labels of one domain become the same A-label form. False when it does not fit or IDNA refuses it. */
bool address_normalise(const struct address *a, struct buf *out);

/* One sentence for the reply, by error. */
const char *address_error_text(enum address_error e);

#endif
