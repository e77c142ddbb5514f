/*
 * slice: a read-only run of bytes that somebody else owns.
 *
 * All that is parsed is a slice; nothing from the network ever meets strlen or strcpy. A slice may hold NUL
 * and any other octet and is not NUL-terminated. An empty slice has n == 0; p may then be anything. Passed by
 * value. It lives as long as the buffer, arena or file mapping it points into.
 *
 *     struct slice line = ..., verb;
 *     slice_cut(&line, ' ', &verb);                 // verb = up to the first blank, line = what follows
 *     if (slice_eq_nocase(verb, SLICE("MAIL"))) ...
 */
#ifndef COMMON_SLICE_H
#define COMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct slice {
    const char *p;
    size_t n;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
/* For printf("%.*s", SLICE_FMT(s)); only for text already known to be printable and short. */
#define SLICE_FMT(s) (int)(s).n, (s).p

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){(const char *)p, n};
}

/* A slice of a C string of ours (settings, paths); NULL gives an empty slice. */
struct slice slice_str(const char *z);

bool slice_eq(struct slice a, struct slice b);
/* ASCII letters only; no locale. */
bool slice_eq_nocase(struct slice a, struct slice b);
/* memcmp order, the shorter first. */
int slice_cmp(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_starts_nocase(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);

/* From octet `from` on, at most n octets; clamped to what is there. */
struct slice slice_sub(struct slice s, size_t from, size_t n);
static inline struct slice slice_from(struct slice s, size_t from)
{
    return slice_sub(s, from, SIZE_MAX);
}

/* Index of the first c (from the end: slice_rchr), or -1. */
ssize_t slice_chr(struct slice s, char c);
ssize_t slice_rchr(struct slice s, char c);
/* Index of the first occurrence of needle, or -1; nocase folds ASCII letters. An empty needle is at 0. */
ssize_t slice_find(struct slice s, struct slice needle);
ssize_t slice_find_nocase(struct slice s, struct slice needle);

/*
 * Splits at the first sep: *head = what stands before it, *rest = what follows. Without sep *head is all and
 * *rest is empty. False when *rest was empty on entry (then *head is empty too): `while (slice_cut(..))`
 * walks.
 */
bool slice_cut(struct slice *rest, char sep, struct slice *head);

/* Without leading and trailing SP, TAB, CR, LF. */
struct slice slice_trim(struct slice s);

/* All of s as an unsigned decimal number; false if empty, not all digits, or above max. */
bool slice_u64(struct slice s, uint64_t max, uint64_t *out);

/* Heap copy as a C string; NULL if s holds a NUL octet. Aborts when memory is out. The caller frees. */
char *slice_dup(struct slice s);

#endif
