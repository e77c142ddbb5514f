/*
 * fault: what went wrong, what to do, and the exit status that says so to scripts.
 *
 * Sentences of the server are "what happened; what to do"; fault_take divides them. The table in fault.c
 * gives each error code its exit status and the advice for sentences that have none.
 */
#ifndef ADMIN_FAULT_H
#define ADMIN_FAULT_H

#include "common/buf.h"
#include "common/err.h"

struct fault {
    enum err_code code;
    char text[4096];
    char fix[512];
};

/* 0, 1, 64, 65, 67, 69, 73, 75, 77, 78: see postamt(1). */
int fault_exit(enum err_code code);
/* Returns the code. */
enum err_code fault_set(struct fault *f, enum err_code code, const char *fix, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* text "what; fix" (fix may be given apart, or empty). Returns the code. */
enum err_code fault_take(struct fault *f, enum err_code code, struct slice text, struct slice fix);
/* From the JSON object that ends an answer: {} or {"error":{"code","text","fix"}}. */
enum err_code fault_read(struct fault *f, struct slice json);
/* Two lines to stderr, or one JSON object to stdout, where the rest of a JSON answer is. */
void fault_show(const struct fault *f, bool json);

#endif
