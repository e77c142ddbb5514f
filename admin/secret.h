/* secret: changes that carry a password or a hash (account add, password set). */
#ifndef ADMIN_SECRET_H
#define ADMIN_SECRET_H

#include <jansson.h>

#include "admin/cli.h"

/*
 * Asks for the password (or hash) of the account that is the verb's object, adds it to the request, sends
 * that, and shows a generated password: alone on stdout, or as "password" of the JSON object. The request is
 * let go.
 */
enum err_code secret_change(struct cli *c, json_t *request, const char *done);

#endif
