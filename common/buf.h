/*
 * buf: a growable run of bytes that we build; it knows its length and its cap.
 *
 * The cap is given at init. What would exceed it is not added, and `full` stays set until buf_clear or
 * buf_free: build first, look once at the end. Initialise with BUF_INIT(cap) or buf_init. The owner calls
 * buf_free; a freed buf is empty and may be used again. buf_slice is valid until the next change.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdarg.h>

#include "common/slice.h"

struct buf {
    char *p;
    size_t n;    /* octets in use */
    size_t size; /* octets allocated */
    size_t cap;  /* octets allowed */
    bool full;   /* something did not fit */
};

#define BUF_INIT(cap_) ((struct buf){.cap = (cap_)})
/* Cap for text of our own making, whose size no peer decides. */
#define BUF_OWN ((size_t)1 << 30)

void buf_init(struct buf *b, size_t cap);
void buf_free(struct buf *b);
/* Empty, memory kept, `full` reset. */
void buf_clear(struct buf *b);

void buf_add(struct buf *b, struct slice s);
void buf_add_char_slow(struct buf *b, char c);
static inline void buf_add_char(struct buf *b, char c)
{
    if (b->n < b->size && !b->full)
        b->p[b->n++] = c;
    else
        buf_add_char_slow(b, c);
}
void buf_add_str(struct buf *b, const char *z);
void buf_add_u64(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/*
 * Room for n more octets at the end; returns where to write, or NULL beyond the cap. Follow with buf_grew(b,
 * m), m <= n, for what was written.
 */
char *buf_room(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t m);
/* Removes the first n octets (n <= b->n); the rest moves to the front. */
void buf_drop(struct buf *b, size_t n);
/* Cuts to n octets (n <= b->n). */
void buf_cut(struct buf *b, size_t n);
/* Memory beyond what is in use goes back; an empty buf holds none. */
void buf_shrink(struct buf *b);

static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->p, b->n);
}
/* NUL-terminated for system calls; the NUL does not count in n. The buf must not be full. */
const char *buf_str(struct buf *b);

#endif
