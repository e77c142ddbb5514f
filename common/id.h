/*
 * id: names for sessions and messages, short, sortable by time, never used twice.
 *
 * 13 characters of Crockford's base 32 in lower case: 42 bits of milliseconds, 23 bits of random. They stand
 * in the log, in Received, in SMTP's 250 reply and in the Maildir names of what we deliver.
 */
#ifndef COMMON_ID_H
#define COMMON_ID_H

#include "common/slice.h"

#define ID_LEN 13

struct id {
    char text[ID_LEN + 1];
};

struct id id_new(void);
/* Exactly 13 characters of the alphabet: what came from another process. */
bool id_is_valid(struct slice s);
/* Fills with octets of getrandom(2); aborts if the kernel has none. */
void id_random(void *to, size_t n);

/* A number in the same base-32 digits, without leading zeros; returns the length (at most 13). */
size_t id_base32(uint64_t v, char out[14]);
bool id_base32_parse(struct slice s, uint64_t *out);

#endif
