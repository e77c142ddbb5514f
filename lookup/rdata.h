/*
 * rdata: the data of one record of an answer (RFC 1035 3.3), as anybody in the world may have written it.
 *
 * Pure functions. Wire form in, checked record out: names are lower case, without the final dot, of labels
 * that hold letters, digits, '-', '_' and '/' only (RFC 2317's), not compressed. What does not fit its type
 * to the last octet is refused. What a record points to is in the arena.
 */
#ifndef LOOKUP_RDATA_H
#define LOOKUP_RDATA_H

#include "common/arena.h"
#include "common/dns.h"

/* A name as text, with or without its final dot. False: it is none, or the root. */
bool rdata_name(struct slice text, struct arena *arena, struct slice *name);
/* False: malformed, or a type that dns.h has not. */
bool rdata_parse(enum dns_type type, struct slice wire, struct arena *arena, struct dns_record *r);
/*
 * Puts r among the n records that are there, by preference, behind its equals; of more than max those of
 * lowest preference stay, and of equals the earlier. Returns the new n.
 */
size_t rdata_add(struct dns_record *records, size_t n, size_t max, const struct dns_record *r);

#endif
