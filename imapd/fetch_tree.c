#include "imapd/fetch_tree.h"

#include <string.h>

#define TREES 4 /* two devices and two mailboxes beside each other */
#define TREE_QUOTA (MIME_PARTS_MAX * sizeof(struct mime_part) + 4096)

struct entry {
    char mailbox_id[40];
    uint32_t uidvalidity, uid;
    size_t text_n;
    struct mime_tree tree;
    struct arena arena;
};

static struct entry entries[TREES];
static unsigned oldest;

const struct mime_tree *fetch_tree(
    const char *mailbox_id, uint32_t uidvalidity, uint32_t uid, struct slice text)
{
    struct slice id = slice_sub(slice_str(mailbox_id), 0, sizeof entries[0].mailbox_id - 1);
    struct entry *e;

    for (unsigned i = 0; i < TREES; i++) {
        e = &entries[i];
        if (e->uid == uid && e->uidvalidity == uidvalidity && e->text_n == text.n && e->tree.parts &&
            slice_eq(slice_str(e->mailbox_id), id))
            return &e->tree;
    }
    e = &entries[oldest];
    oldest = (oldest + 1) % TREES;
    arena_free(&e->arena);
    *e = (struct entry){.uidvalidity = uidvalidity, .uid = uid, .text_n = text.n};
    memcpy(e->mailbox_id, id.p, id.n);
    arena_init(&e->arena, TREE_QUOTA);
    if (mime_parse(text, &e->arena, &e->tree))
        return &e->tree;
    e->tree.parts = NULL;
    return NULL;
}
