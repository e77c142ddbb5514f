#include "common/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void mem_panic(const char *what, const char *file, int line)
{
    char text[256];
    int n = snprintf(text, sizeof text, "postamt: internal error: %s (%s:%d)\n", what, file, line);

    if (n > 0 && write(STDERR_FILENO, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1) < 0) {
        /* nobody is left to tell */
    }
    abort();
}

void *mem_alloc(size_t n)
{
    void *p = malloc(n ? n : 1);

    if (!p)
        mem_panic("out of memory", __FILE__, __LINE__);
    return p;
}

void *mem_zalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);

    if (!p)
        mem_panic("out of memory", __FILE__, __LINE__);
    return p;
}

void *mem_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes))
        mem_panic("allocation size overflow", __FILE__, __LINE__);
    p = realloc(p, bytes ? bytes : 1);
    if (!p)
        mem_panic("out of memory", __FILE__, __LINE__);
    return p;
}

char *mem_strdup(const char *z)
{
    size_t n = strlen(z) + 1;

    return memcpy(mem_alloc(n), z, n);
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    char *z = NULL;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&z, fmt, ap);
    va_end(ap);
    if (n < 0 || !z)
        mem_panic("out of memory", __FILE__, __LINE__);
    return z;
}

void mem_wipe(void *p, size_t n)
{
    explicit_bzero(p, n);
}
