/*
 * fetch_tree: MIME trees of the messages that were looked at last.
 *
 * Clients fetch a message part by part, a command each; it is parsed for the first. A message never changes,
 * so a tree is right for as long as it is kept. One table for the process, that is for one user's sessions.
 */
#ifndef IMAPD_FETCH_TREE_H
#define IMAPD_FETCH_TREE_H

#include "mail/mime.h"

/*
 * The tree of a message of `size` octets; mailbox_id as mailbox_id() gives it. From `packed`
 * (mail/mime_pack.h) if that is not empty, else from its text. Valid until the next call. NULL if `packed` is
 * none, or the tree is larger than a tree can be.
 */
const struct mime_tree *fetch_tree(const char *mailbox_id, uint32_t uidvalidity, uint32_t uid, uint64_t size,
    struct slice packed, struct slice text);

#endif
