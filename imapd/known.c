#include "imapd/known.h"

#include "imapd/fetch.h"
#include "mail/header_keys.h"
#include "mail/mime_pack.h"
#include "mail/preview.h"

#define SCRATCH_QUOTA ((size_t)8 << 20) /* one message's header fields, opened and unfolded */
#define TREE_QUOTA (MIME_PARTS_MAX * sizeof(struct mime_part) + 4096)
#define SLOT_MAX ((size_t)24 << 10)     /* what is longer is made anew each time */
#define WHOLE_MAX ((uint64_t)128 << 10) /* a message up to here is read whole though its header would do */

#define OF_HEADER (CACHE_BIT(CACHE_ENVELOPE) | CACHE_BIT(CACHE_KEYS))
#define OF_TEXT                                                                                              \
    (CACHE_BIT(CACHE_BODY) | CACHE_BIT(CACHE_BODYSTRUCTURE) | CACHE_BIT(CACHE_PARTS) |                       \
        CACHE_BIT(CACHE_PREVIEW))

void known_init(struct known *k)
{
    *k = (struct known){0};
    arena_init(&k->scratch, SCRATCH_QUOTA);
    arena_init(&k->tree, TREE_QUOTA);
    buf_init(&k->built, BUF_OWN);
    buf_init(&k->side, BUF_OWN);
}

void known_free(struct known *k)
{
    arena_free(&k->scratch);
    arena_free(&k->tree);
    buf_free(&k->built);
    buf_free(&k->side);
}

/* Slots being made one after the other in k->built, which may move meanwhile. */
struct making {
    struct known *k;
    size_t from[CACHE_SLOTS], to[CACHE_SLOTS];
    unsigned made;
};

static void slot_end(struct making *w, enum cache_slot slot, size_t from)
{
    w->from[slot] = from;
    w->to[slot] = w->k->built.n;
    w->made |= CACHE_BIT(slot);
}

/* What stands in the side buffer becomes a slot. */
static void slot_of_side(struct making *w, enum cache_slot slot)
{
    size_t from = w->k->built.n;

    buf_add(&w->k->built, buf_slice(&w->k->side));
    slot_end(w, slot, from);
}

static void make_of_header(struct making *w, struct slice text, bool whole)
{
    struct known *k = w->k;
    size_t from;

    arena_reset(&k->scratch);
    buf_clear(&k->side);
    /* of a header that goes on behind the octets that were read nothing is known */
    if ((whole || header_size(text) < text.n) && header_keys_write(text, &k->side)) {
        slot_of_side(w, CACHE_KEYS);
        text = buf_slice(&k->side); /* the fields of an envelope are among them */
    }
    from = k->built.n;
    fetch_envelope_write(&k->built, text, &k->scratch);
    slot_end(w, CACHE_ENVELOPE, from);
}

static void make_of_text(struct making *w, struct slice text)
{
    struct known *k = w->k;
    struct mime_tree t;
    size_t from;

    arena_reset(&k->tree);
    if (!mime_parse(text, &k->tree, &t))
        return;
    from = k->built.n;
    buf_clear(&k->side);
    fetch_bodystructure_write(&k->built, &k->side, &t, text, &k->scratch);
    slot_end(w, CACHE_BODYSTRUCTURE, from);
    slot_of_side(w, CACHE_BODY);
    from = k->built.n;
    mime_pack(&t, &k->built);
    slot_end(w, CACHE_PARTS, from);
    from = k->built.n;
    preview_write(text, &t, &k->scratch, &k->built);
    slot_end(w, CACHE_PREVIEW, from);
    arena_reset(&k->scratch);
}

/* What was made, for the caller; without what is too long, for the cache. */
static void hand_out(
    const struct making *w, struct mailbox *m, uint32_t uid, bool put, struct cache_record *out)
{
    struct cache_record kept;

    for (size_t i = 0; i < CACHE_SLOTS; i++)
        if (w->made & CACHE_BIT(i))
            out->slots[i] = slice_of(w->k->built.p + w->from[i], w->to[i] - w->from[i]);
    if (!put)
        return;
    kept = *out;
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        if (kept.slots[i].n > SLOT_MAX)
            kept.slots[i] = slice_of(NULL, 0);
    mailbox_cache_put(m, uid, &kept);
}

static bool has(const struct cache_record *r, unsigned slots)
{
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        if ((slots & CACHE_BIT(i)) && !r->slots[i].p && i != CACHE_KEYS)
            return false;
    return (r->tried & slots) == slots;
}

int known_get(
    struct known *k, struct mailbox *m, uint32_t uid, unsigned slots, struct cache_record *out, struct err *e)
{
    struct making w = {.k = k};
    const struct message *msg;
    bool was_tried = false, whole;
    struct slice text;

    k->has_text = false;
    if (mailbox_cache_get(m, uid, out)) {
        if (has(out, slots))
            return 0;
        was_tried = (out->tried & slots) == slots;
    }
    msg = mailbox_by_uid(m, uid);
    whole = (slots & OF_TEXT) || !msg || msg->size <= WHOLE_MAX;
    if ((whole ? mailbox_text(m, uid, &text, e) : mailbox_text_head(m, uid, HEADER_LOOK_MAX, &text, e)) < 0)
        return -1;
    k->has_text = whole;
    *out = (struct cache_record){
        .tried = whole ? OF_HEADER | OF_TEXT : OF_HEADER, .size_crlf = whole ? text.n : 0};
    buf_clear(&k->built);
    make_of_header(&w, text, whole);
    if (whole)
        make_of_text(&w, text);
    hand_out(&w, m, uid, !was_tried, out);
    return 0;
}
