#include "common/slice.h"

#include <string.h>

#include "common/ascii.h"
#include "common/mem.h"

struct slice slice_str(const char *z)
{
    return slice_of(z, z ? strlen(z) : 0);
}

bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    if (c)
        return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_eq(slice_of(s.p, prefix.n), prefix);
}

bool slice_starts_nocase(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_eq_nocase(slice_of(s.p, prefix.n), prefix);
}

bool slice_ends(struct slice s, struct slice suffix)
{
    return s.n >= suffix.n && slice_eq(slice_of(s.p + (s.n - suffix.n), suffix.n), suffix);
}

struct slice slice_sub(struct slice s, size_t from, size_t n)
{
    if (from >= s.n)
        return slice_of(s.p, 0);
    return slice_of(s.p + from, n < s.n - from ? n : s.n - from);
}

ssize_t slice_chr(struct slice s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? at - s.p : -1;
}

ssize_t slice_rchr(struct slice s, char c)
{
    const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;

    return at ? at - s.p : -1;
}

ssize_t slice_find(struct slice s, struct slice needle)
{
    const char *at;

    if (needle.n == 0)
        return 0;
    at = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return at ? at - s.p : -1;
}

ssize_t slice_find_nocase(struct slice s, struct slice needle)
{
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (slice_eq_nocase(slice_of(s.p + i, needle.n), needle))
            return (ssize_t)i;
    return -1;
}

bool slice_cut(struct slice *rest, char sep, struct slice *head)
{
    ssize_t at = slice_chr(*rest, sep);
    bool some = rest->n > 0;

    if (at < 0) {
        *head = *rest;
        *rest = slice_sub(*rest, rest->n, 0);
        return some;
    }
    *head = slice_sub(*rest, 0, (size_t)at);
    *rest = slice_from(*rest, (size_t)at + 1);
    return true;
}

struct slice slice_trim(struct slice s)
{
    while (s.n && ascii_is_blank(s.p[0]))
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n && ascii_is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool slice_u64(struct slice s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i]) || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

char *slice_dup(struct slice s)
{
    char *z;

    if (slice_chr(s, '\0') >= 0)
        return NULL;
    z = mem_alloc(s.n + 1);
    if (s.n)
        memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    return z;
}
