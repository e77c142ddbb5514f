/*
 * mem: heap memory that is there or the process ends.
 *
 * Input never decides how much is asked for: buffers and arenas have caps, and what exceeds a cap is an error
 * of the peer that reports as one. When the machine itself has no memory left the role aborts and is started
 * anew (doc/ARCHITECTURE, "our bug aborts, their input never does").
 */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include <stddef.h>

void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull));
/* zeroed; n * size is checked for overflow */
void *mem_zalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *z) __attribute__((malloc, returns_nonnull));
/* printf into fresh heap memory, for paths and names of ours */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2), malloc, returns_nonnull));
/* Overwrites a secret in a way the compiler keeps. */
void mem_wipe(void *p, size_t n);

/* A large local variable that is filled before it is read: not cleared by -ftrivial-auto-var-init. */
#if __has_attribute(uninitialized)
#define MEM_UNINITIALIZED __attribute__((uninitialized))
#else
#define MEM_UNINITIALIZED
#endif

/* Our own bug: say where and abort. Stays on in release builds. */
#define INVARIANT(cond) ((cond) ? (void)0 : mem_panic(#cond, __FILE__, __LINE__))
_Noreturn void mem_panic(const char *what, const char *file, int line);

#endif
