#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

void buf_init(struct buf *b, size_t cap)
{
    *b = BUF_INIT(cap);
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = BUF_INIT(b->cap);
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->full = false;
}

char *buf_room(struct buf *b, size_t n)
{
    size_t need, size;

    if (__builtin_add_overflow(b->n, n, &need) || need > b->cap || b->full) {
        b->full = true;
        return NULL;
    }
    if (need > b->size || !b->p) {
        size = b->size < 32 ? 64 : b->size * 2;
        while (size < need)
            size *= 2;
        if (size > b->cap && b->cap >= need && b->cap > 0)
            size = b->cap;
        b->p = mem_realloc(b->p, size, 1);
        b->size = size;
    }
    return b->p + b->n;
}

void buf_grew(struct buf *b, size_t m)
{
    INVARIANT(m <= b->size - b->n);
    b->n += m;
}

void buf_add(struct buf *b, struct slice s)
{
    char *to = s.n ? buf_room(b, s.n) : NULL;

    if (!to)
        return;
    memcpy(to, s.p, s.n);
    b->n += s.n;
}

void buf_add_char_slow(struct buf *b, char c)
{
    char *to = buf_room(b, 1);

    if (!to)
        return;
    *to = c;
    b->n++;
}

void buf_add_str(struct buf *b, const char *z)
{
    buf_add(b, slice_str(z));
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, slice_of(digits + at, sizeof digits - at));
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    char *to;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    /* one more for the NUL that vsnprintf writes and that does not count */
    to = n >= 0 ? buf_room(b, (size_t)n + 1) : NULL;
    if (!to)
        return;
    vsnprintf(to, (size_t)n + 1, fmt, ap);
    b->n += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_drop(struct buf *b, size_t n)
{
    INVARIANT(n <= b->n);
    b->n -= n;
    if (b->n && n)
        memmove(b->p, b->p + n, b->n);
}

void buf_cut(struct buf *b, size_t n)
{
    INVARIANT(n <= b->n);
    b->n = n;
}

void buf_shrink(struct buf *b)
{
    if (b->n == 0) {
        bool full = b->full;
        buf_free(b);
        b->full = full;
    } else if (b->size > b->n * 2) {
        b->p = mem_realloc(b->p, b->n, 1);
        b->size = b->n;
    }
}

const char *buf_str(struct buf *b)
{
    char *end;

    INVARIANT(!b->full);
    if (b->n == b->size || !b->p) {
        b->size = b->n + 1;
        b->p = mem_realloc(b->p, b->size, 1);
    }
    end = b->p + b->n;
    *end = '\0';
    return b->p;
}
