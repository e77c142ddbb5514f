/*
 * mime_pack: a MIME tree in few octets, to be kept beside the message.
 *
 * Some ten octets a part: kind and depth, and lengths as numbers of seven bits an octet; links between parts
 * follow from order and depth. mime_unpack() believes nothing: a tree it returns is one that mime_parse()
 * could have made of a text of that size, all parts inside it. Pure functions, fuzzed.
 */
#ifndef MAIL_MIME_PACK_H
#define MAIL_MIME_PACK_H

#include "common/buf.h"
#include "mail/mime.h"

void mime_pack(const struct mime_tree *t, struct buf *out);
/* text_n: octets of the text the tree belongs to. False for what is no such tree, or when the arena is used
 * up. */
bool mime_unpack(struct slice packed, uint64_t text_n, struct arena *arena, struct mime_tree *out);

#endif
