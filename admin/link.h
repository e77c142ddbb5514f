/*
 * link: who answers the verbs: authd, queued and postamtd on their control sockets, or, with the daemons
 * down, the directory or the queue itself, opened under its own lock in this process.
 *
 * A request is a JSON object with a verb; each(ctx, json) gets the objects of the answer, valid inside the
 * call.
 */
#ifndef ADMIN_LINK_H
#define ADMIN_LINK_H

#include <jansson.h>

#include "admin/cli.h"

typedef void link_each(void *ctx, struct slice json);

/* {"verb":"account add"} of the running verb, with "dry_run" if that was asked for. */
json_t *link_request(const struct cli *c);
/* Verbs of auth/admin.h. The request is wiped and let go. */
enum err_code link_directory(struct cli *c, json_t *request, link_each *each, void *ctx);
/* Verbs of queue/admin.h, page after page until there is no more. The request is let go. */
enum err_code link_queue(struct cli *c, json_t *request, link_each *each, void *ctx);
/* Verbs of postamtd; ERR_NOT_RUNNING when it is down. The request is let go. */
enum err_code link_master(struct cli *c, json_t *request, link_each *each, void *ctx);
/*
 * A change in the directory: the last object of the answer on stdout with --json, else the sentence on
 * stderr:
 * "<subject> <done>", or "<subject> would be <done>" with --dry-run (`done` without a verb: "added").
 * made: a generated password to show, alone on stdout or as "password" of the object; or NULL.
 */
enum err_code link_change(
    struct cli *c, json_t *request, const char *subject, const char *done, const char *made);

#endif
