/*
 * checksum: 64 bits over a run of octets, for derived files: against torn writes and bad disks.
 *
 * Not against anybody who wants to be believed: there is no key. Four lanes of eight octets are multiplied
 * side by side, so that it costs about as much as reading the memory. Every step can be undone, which means
 * that a change within eight octets that lie together (a flipped bit, a lost word) is always seen; any other
 * passes once in 2^64. The value depends on the byte order: the file never leaves the machine.
 */
#ifndef COMMON_CHECKSUM_H
#define COMMON_CHECKSUM_H

#include "common/slice.h"

/* seed: what the octets belong to, or 0; other seeds give other sums. */
uint64_t checksum64(uint64_t seed, struct slice s);

#endif
