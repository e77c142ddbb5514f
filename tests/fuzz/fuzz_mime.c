/* Any text gives a tree whose parts lie in the text and in their parents, and whose counts are right. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "mail/mime_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct measure {
    uint64_t lines, crlf;
};

static struct measure measure(struct slice text, uint64_t from, uint64_t n)
{
    struct measure m = {0, n};

    for (uint64_t i = from; i < from + n; i++) {
        if (text.p[i] != '\n')
            continue;
        m.lines++;
        m.crlf += i == 0 || text.p[i - 1] != '\r';
    }
    return m;
}

static void check_part(const struct mime_tree *t, uint32_t i, struct slice text)
{
    const struct mime_part *p = &t->parts[i], *up = &t->parts[p->parent];
    uint32_t children = 0;
    uint64_t end = p->body;

    INVARIANT(p->header <= text.n && p->header_len <= text.n - p->header);
    INVARIANT(p->body == p->header + p->header_len && p->body_len <= text.n - p->body);
    INVARIANT(p->depth <= MIME_DEPTH_MAX);
    if (i == 0) {
        INVARIANT(p->parent == 0 && p->depth == 0 && p->header == 0 && p->body + p->body_len == text.n);
    } else {
        INVARIANT(p->parent < i && p->depth == up->depth + 1 && up->kind != MIME_SINGLE);
        INVARIANT(p->header >= up->body && p->body + p->body_len <= up->body + up->body_len);
    }
    for (uint32_t k = p->first_child; k; k = t->parts[k].next) {
        const struct mime_part *child = &t->parts[k];

        INVARIANT(k < t->count && child->parent == i && child->header >= end);
        end = child->body + child->body_len;
        children++;
    }
    INVARIANT(children == p->children);
    INVARIANT(p->kind == MIME_SINGLE ? children == 0 : children > 0);
    if (p->kind == MIME_MESSAGE)
        INVARIANT(
            children == 1 && t->parts[p->first_child].header == p->body && end == p->body + p->body_len);
}

/* The sizes of IMAP, counted the slow way; for the outer parts only, so that depth does not make it
 * quadratic. */
static void check_sizes(const struct mime_part *p, struct slice text)
{
    struct measure header = measure(text, p->header, p->header_len),
                   body = measure(text, p->body, p->body_len);

    INVARIANT(header.crlf == p->header_crlf);
    INVARIANT(body.crlf == p->body_crlf && body.lines == p->body_lines);
}

/* Packed and unpacked it is the same tree. */
static void check_packed(const struct mime_tree *t, size_t text_n, struct arena *arena)
{
    struct buf packed = BUF_INIT(BUF_OWN);
    struct mime_tree u;

    mime_pack(t, &packed);
    INVARIANT(mime_unpack(buf_slice(&packed), text_n, arena, &u));
    INVARIANT(u.count == t->count && u.has_nul == t->has_nul && u.has_bare_lf == t->has_bare_lf &&
              u.has_8bit == t->has_8bit && u.truncated == t->truncated);
    for (uint32_t i = 0; i < u.count; i++)
        INVARIANT(memcmp(&u.parts[i], &t->parts[i], sizeof u.parts[i]) == 0);
    buf_free(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct arena arena;
    struct mime_tree t;
    uint32_t path[4] = {1, 1, 2, 1};

    arena_init(&arena, 64 << 20);
    INVARIANT(mime_parse(text, &arena, &t));
    INVARIANT(t.count >= 1 && t.count <= MIME_PARTS_MAX);
    for (uint32_t i = 0; i < t.count; i++) {
        struct header_content c;
        struct slice name;

        check_part(&t, i, text);
        if (t.parts[i].depth < 4)
            check_sizes(&t.parts[i], text);
        mime_content_type(&t, i, text, &arena, &c);
        INVARIANT(c.type.n > 0 && c.subtype.n > 0);
        INVARIANT(slice_eq_nocase(c.type, SLICE("multipart")) == (t.parts[i].kind == MIME_MULTIPART));
        mime_part_encoding(&t, i, text, &arena, &name);
        INVARIANT(name.n > 0);
    }
    /* IMAP's HEADER is read by the tree or by this, whichever is at hand */
    INVARIANT(t.parts[0].header_len == header_size(text));
    check_packed(&t, size, &arena);
    for (size_t n = 0; n <= 4; n++) {
        ssize_t found = mime_find(&t, path, n);

        INVARIANT(found >= -1 && found < (ssize_t)t.count);
    }
    arena_free(&arena);
    return 0;
}
