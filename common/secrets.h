/*
 * secrets: passwords that settings name a file for, on their way from postamtd (who may read them) to queued.
 *
 * One for each of settings.routes, in order; empty where the route has none. A blob is each one's length (4
 * octets) and octets.
 */
#ifndef COMMON_SECRETS_H
#define COMMON_SECRETS_H

#include "common/settings.h"

/* Reads each route's password_file (its first line). ERR_CONFIG names the file. */
int secrets_load(const struct settings *s, struct buf *blob, struct err *e);
/* The password of route number `route`; empty without. */
struct slice secrets_get(struct slice blob, size_t route);

#endif
