/*
 * cache_record: one record of postamt.cache, read and written. Pure functions, fuzzed.
 *
 * A record holds slots of octets about one message. It says whose it is (UID, UIDVALIDITY, the file's unique
 * part as a checksum, the file's size) and has a checksum over everything: whatever lies in the file, what
 * cache_record_read() returns was written by cache_record_write(). As it lies in the file it is in the
 * machine's own byte order; the file never leaves the machine.
 */
#ifndef STORE_CACHE_RECORD_H
#define STORE_CACHE_RECORD_H

#include "common/buf.h"

#define CACHE_SLOTS 8
#define CACHE_RECORD_HEAD 88                 /* octets before the slots */
#define CACHE_RECORD_MAX ((size_t)128 << 10) /* octets of a record */
#define CACHE_MAGIC UINT32_C(0x7a63a9d1)     /* each record begins with it */

struct cache_record {
    uint32_t uid, uidvalidity;
    uint64_t who;       /* cache_who() of the file's name */
    uint64_t size;      /* octets of the file */
    uint64_t size_crlf; /* with every line end as CRLF; 0: not known */
    uint32_t tried;     /* bit n: slot n was to be filled, though it may be absent (too large for a record) */
    struct slice slots[CACHE_SLOTS]; /* p == NULL: absent */
};

/* Of a name in cur/: what stays the same when flags and fields change. */
uint64_t cache_who(const char *file);

/*
 * Octets of the record that s begins with, as its head says; 0 when it is no record, CACHE_RECORD_HEAD when
 * s is too short to tell.
 */
size_t cache_record_size(struct slice s);
/* The record s begins with; slots point into s. False when it is not whole and right. */
bool cache_record_read(struct slice s, struct cache_record *out);
/* Appends it; false, with nothing appended, when it would be longer than CACHE_RECORD_MAX. */
bool cache_record_write(struct buf *out, const struct cache_record *r);

#endif
