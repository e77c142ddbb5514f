/*
 * call: requests of the postamt command: a table of verbs with their fields, the checking of a request
 * against it, the objects of the answer and its end.
 *
 * A request is a JSON object {"verb":"account add","address":..,..}; every verb takes "dry_run":true:
 * checked, nothing changed. Answers are JSON objects, one an item. auth/admin.c and queue/admin.c have the
 * tables; each stands behind two doors, a daemon's control socket (common/control.h) and the postamt command
 * itself while the daemons are down. No text makes it crash.
 *
 *     struct call c = {.door = .., .item = .., .ctx = .., .e = e};
 *     const struct call_verb *verb = call_begin(&c, verbs, request);
 *     enum err_code code = verb ? verb->run(&c) : c.e->code;
 *     call_finish(&c);
 */
#ifndef COMMON_CALL_H
#define COMMON_CALL_H

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"

#define CALL_REQUEST_MAX 65536 /* octets */
#define CALL_LIST_MAX 1000     /* texts of one list */

struct call {
    void *door; /* what the verbs work on; theirs to know */
    void (*item)(void *ctx, struct slice json);
    void *ctx;
    struct err *e;         /* not NULL */
    const json_t *request; /* its fields are checked against the verb's row */
    bool dry_run;
};

struct call_field {
    const char *name;
    enum {
        CALL_TEXT,
        CALL_FLAG,
        CALL_SIZE, /* octets, or how many: a number, or text ("2G", "none") */
        CALL_LIST  /* of texts */
    } type;
    bool needed;
};

/* A table ends with a NULL name. */
struct call_verb {
    const char *name;
    struct call_field fields[10];
    enum err_code (*run)(struct call *c);
};

/* Reads and checks a request. NULL: c->e says what is wrong with it. call_finish follows in any case. */
const struct call_verb *call_begin(struct call *c, const struct call_verb *table, struct slice request);
void call_finish(struct call *c);

/* Fields; an absent one is empty, false, 0. */
bool call_has(const struct call *c, const char *field);
struct slice call_text(const struct call *c, const char *field);
bool call_flag(const struct call *c, const char *field);
uint64_t call_size(const struct call *c, const char *field);
/* How many texts a list has, and one of them. */
size_t call_count(const struct call *c, const char *field);
struct slice call_nth(const struct call *c, const char *field, size_t i);
/* A text field as a C string; ERR_SYNTAX when it is too long. */
enum err_code call_copy(const struct call *c, const char *field, char *to, size_t size);

/* Sends the object and lets it go. */
void call_item(const struct call *c, json_t *o);
/* "2026-11-23T12:00:00Z" */
json_t *call_time(int64_t seconds);
json_t *call_string(struct slice s);
/* ERR_OK for 0, else the code in c->e. */
enum err_code call_result(const struct call *c, int rc);

/*
 * The end of an answer, for ADMIN_END: {} or {"error":{"code":"NO_DOMAIN","text":"..","fix":".."}}. text:
 * "what happened; what to do" (empty: that of the code's row), or several lines, which stay as they are.
 */
void call_end(enum err_code code, struct slice text, struct buf *out);

#endif
