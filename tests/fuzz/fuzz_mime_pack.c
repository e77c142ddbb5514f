/* Any octets give no tree, or one whose parts lie in each other and in the text; packed again it is the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/mem.h"
#include "mail/mime_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first two octets: the size of the text it claims to belong to. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf again = BUF_INIT(BUF_OWN);
    struct mime_tree t, u;
    struct arena arena;
    uint64_t text_n;

    if (size < 2)
        return 0;
    text_n = (uint64_t)data[0] << 8 | data[1];
    arena_init(&arena, 8 << 20);
    if (mime_unpack(slice_of((const char *)data + 2, size - 2), text_n, &arena, &t)) {
        for (uint32_t i = 0; i < t.count; i++) {
            const struct mime_part *p = &t.parts[i];

            INVARIANT(p->header + p->header_len == p->body && p->body + p->body_len <= text_n);
            INVARIANT(p->parent < t.count && p->next < t.count && p->first_child < t.count);
            INVARIANT(i == 0 || p->parent < i);
        }
        mime_pack(&t, &again);
        INVARIANT(mime_unpack(buf_slice(&again), text_n, &arena, &u) && u.count == t.count);
    }
    arena_free(&arena);
    buf_free(&again);
    return 0;
}
