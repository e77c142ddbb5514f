#include "imapd/fetch_tree.h"

#include <string.h>

#include "mail/mime_pack.h"

#define TREES 4 /* two devices and two mailboxes beside each other */
#define TREE_QUOTA (MIME_PARTS_MAX * sizeof(struct mime_part) + 4096)

struct entry {
    char mailbox_id[40];
    uint32_t uidvalidity, uid;
    uint64_t size; /* of the text */
    struct mime_tree tree;
    struct arena arena;
};

static struct entry entries[TREES];
static unsigned oldest;

const struct mime_tree *fetch_tree(const char *mailbox_id, uint32_t uidvalidity, uint32_t uid, uint64_t size,
    struct slice packed, struct slice text)
{
    struct slice id = slice_sub(slice_str(mailbox_id), 0, sizeof entries[0].mailbox_id - 1);
    struct entry *e;

    for (unsigned i = 0; i < TREES; i++) {
        e = &entries[i];
        if (e->uid == uid && e->uidvalidity == uidvalidity && e->size == size && e->tree.parts &&
            slice_eq(slice_str(e->mailbox_id), id))
            return &e->tree;
    }
    e = &entries[oldest];
    oldest = (oldest + 1) % TREES;
    arena_free(&e->arena);
    *e = (struct entry){.uidvalidity = uidvalidity, .uid = uid, .size = size};
    memcpy(e->mailbox_id, id.p, id.n);
    arena_init(&e->arena, TREE_QUOTA);
    if (packed.n ? mime_unpack(packed, size, &e->arena, &e->tree) : mime_parse(text, &e->arena, &e->tree))
        return &e->tree;
    e->tree.parts = NULL;
    return NULL;
}
