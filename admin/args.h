/*
 * args: the command line, read against the tables of verbs.h. Pure: no file, no terminal.
 *
 * Flags may stand anywhere, as "--flag value" or "--flag=value"; "--" ends them. "postamt help account" is
 * "postamt account --help". What is mistyped is compared with what would be right there: "did you mean ..?".
 */
#ifndef ADMIN_ARGS_H
#define ADMIN_ARGS_H

#include "admin/fault.h"
#include "admin/verbs.h"

#define ARGS_MAX 100 /* objects of a verb: as many ids of messages */

struct args {
    const char *noun;        /* NULL: none was named */
    const struct verb *verb; /* NULL with help only */
    const char *object[ARGS_MAX];
    size_t nobjects;
    const char *flag[FLAG_COUNT]; /* value, "" of a switch, NULL when absent */
};

/* argv[0] is not looked at. All pointers point into argv. On failure f says why, and --json, if seen, is in
 * a->flag. */
enum err_code args_parse(struct args *a, int argc, char **argv, struct fault *f);

/* The name of the list (count of them) that is meant by word, or NULL when none is near. */
const char *args_nearest(const char *word, const char *const *names, size_t count);

#endif
