/* Headers of mail programs: what is found can be cut out, and authors are addresses. */
#include <stdlib.h>

#include "mail/submitted.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct submitted who = {
        .from = {"a@b", 3}, .host = {"mx.example.org", 14}, .id = {"0abcdefghjkmn", 13}};
    struct slice text = slice_of(data, size), from[5];
    struct buf add = BUF_INIT(1024);
    struct trace_range cuts[10];
    struct arena arena;
    struct address a;
    size_t n = submitted_fix(text, &who, cuts, 10, &add), end = 0;

    for (size_t i = 0; i < n && i < 10; i++) {
        if (cuts[i].offset < end || cuts[i].len == 0 || cuts[i].len > size - cuts[i].offset)
            abort();
        end = cuts[i].offset + cuts[i].len;
    }
    if (add.full)
        abort();
    arena_init(&arena, 1 << 16);
    if (submitted_from(text, &arena, from, 5, &n))
        for (size_t i = 0; i < n; i++)
            if (address_parse(from[i], &arena, &a) != ADDRESS_OK)
                abort();
    buf_free(&add);
    arena_free(&arena);
    return 0;
}
