/*
 * settings_scan: a look at the text of postamt.conf before libconfig gets it.
 *
 * libconfig says "syntax error" for `10M`, for a text without quotes and for "paths.mail = ..", wraps numbers
 * that do not fit into an int silently, follows @include (we hand the text on to roles without files) and
 * nests without limit. This pass walks the tokens once, without recursion, and names each of these with its
 * line and its fix.
 */
#ifndef COMMON_SETTINGS_SCAN_H
#define COMMON_SETTINGS_SCAN_H

#include "common/buf.h"

/* Appends "file:line: what; fix" lines to out. True when there was nothing to complain of. */
bool settings_scan(struct slice text, const char *file, struct buf *out);

/* One complaint; text of the file goes through settings_quote first. */
void settings_complain(struct buf *out, const char *file, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

struct settings_quoted {
    char z[100];
};
/* Printable for a terminal: controls as \xHH, cut at about 80 octets. */
struct settings_quoted settings_quote(struct slice s);

#endif
