/*
 * output: answers on stdout: a table for people, --plain for scripts of the shell, --json for other programs.
 *
 * Items are JSON objects. With --json each is printed as it came. Text of others never reaches a terminal
 * with its control characters. Talk ("anna@example.org was added") goes to stderr, and not at all with
 * --json.
 */
#ifndef ADMIN_OUTPUT_H
#define ADMIN_OUTPUT_H

#include <jansson.h>

#include "admin/cli.h"

enum cell { CELL_TEXT, CELL_NUMBER, CELL_USED, CELL_STATE, CELL_YES_NO };

struct column {
    const char *title;
    const char *key; /* of the item; CELL_USED: "used" and "quota", in --plain two fields in octets */
    enum cell cell;
};

struct table {
    const struct cli *cli;
    const struct column *columns;
    size_t ncolumns;
    char **cells; /* ncolumns a row */
    size_t nrows;
};

void table_init(struct table *t, const struct cli *c, const struct column *columns, size_t n);
/* One item; prints it at once with --json and --plain. ctx is a struct table, for link_directory. */
void table_item(void *ctx, struct slice json);
void table_add(struct table *t, const json_t *item);
/* Prints what is left and frees. */
void table_end(struct table *t);

/* One object: "key  value" a line. */
void output_object(const struct cli *c, const json_t *item);
void output_json(const json_t *item);
void output_say(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends s with '?' for what a terminal would act on; lines: LF stays. */
void output_clean(struct buf *out, struct slice s, bool lines);
/* "1.5G" */
void output_size(struct buf *out, uint64_t octets);
/* "3 days", "2 h 5 min", "40 s" */
void output_duration(struct buf *out, int64_t seconds);

#endif
