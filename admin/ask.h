/*
 * ask: passwords and consent, from a terminal or from stdin; never from the command line, where ps shows
 * them.
 */
#ifndef ADMIN_ASK_H
#define ADMIN_ASK_H

#include "admin/cli.h"

#define ASK_PASSWORD_MAX 1024

/*
 * A password for `address` into out (the caller wipes and frees): with --generate a new one; the first line
 * of stdin when that is no terminal; else typed without echo, twice if `twice`.
 */
enum err_code ask_password(struct cli *c, const char *address, bool twice, struct buf *out);
/* --hash: a crypt(3) hash, the first line of stdin. */
enum err_code ask_hash(struct cli *c, struct buf *out);
void ask_wipe(struct buf *secret);
/* "question [y/N] "; ERR_OK for yes, with --yes and with --dry-run; without a terminal it is an error. */
enum err_code ask_consent(struct cli *c, const char *question);

#endif
