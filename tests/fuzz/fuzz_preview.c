/* Any message gives a preview of the length that is allowed, in characters that can be shown. */
#include <stdint.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/utf8.h"
#include "mail/header_keys.h"
#include "mail/preview.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of((const char *)data, size), rest;
    struct buf out = BUF_INIT(PREVIEW_OCTETS_MAX), keys = BUF_INIT(BUF_OWN);
    struct mime_tree t;
    struct arena arena;
    unsigned chars = 0;

    arena_init(&arena, 64 << 20);
    INVARIANT(mime_parse(text, &arena, &t));
    preview_write(text, &t, &arena, &out);
    INVARIANT(!out.full);
    for (rest = buf_slice(&out); rest.n; chars++) {
        size_t n = utf8_printable(rest);

        INVARIANT(n > 0);
        rest = slice_from(rest, n);
    }
    INVARIANT(chars <= PREVIEW_CHARS);
    if (header_keys_write(text, &keys)) {
        struct header_field a, b;

        INVARIANT(keys.n <= HEADER_KEYS_MAX + 2);
        /* the same answer from the copy */
        INVARIANT(
            header_find(text, SLICE("Subject"), &a) == header_find(buf_slice(&keys), SLICE("Subject"), &b));
        INVARIANT(header_find(buf_slice(&keys), SLICE("Subject"), &b) == false || slice_eq(a.raw, b.raw));
    }
    arena_free(&arena);
    buf_free(&out);
    buf_free(&keys);
    return 0;
}
