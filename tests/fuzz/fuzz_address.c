/* Paths and mailboxes of SMTP: what is parsed can be written and parsed again to the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/mem.h"
#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct address *a, struct arena *arena)
{
    struct buf text = BUF_INIT(2000), normal = BUF_INIT(2000), again = BUF_INIT(2000);
    struct address b;

    address_format(&text, a);
    INVARIANT(!text.full);
    INVARIANT(a->is_null == (text.n == 0));
    if (a->domain.n) {
        INVARIANT(address_parse(buf_slice(&text), arena, &b) == ADDRESS_OK);
        INVARIANT(slice_eq(a->local, b.local) && slice_eq(a->domain, b.domain));
        INVARIANT(a->is_literal == b.is_literal && a->is_utf8 == b.is_utf8);
        INVARIANT(a->local.n > 0 && a->local.n <= ADDRESS_LOCAL_MAX && a->domain.n <= ADDRESS_DOMAIN_MAX);
        /* what is normal stays as it is */
        if (address_normalise(a, &normal)) {
            INVARIANT(address_parse(buf_slice(&normal), arena, &b) == ADDRESS_OK);
            INVARIANT(address_normalise(&b, &again));
            INVARIANT(slice_eq(buf_slice(&normal), buf_slice(&again)));
        } else {
            INVARIANT(normal.n == 0);
        }
    }
    for (size_t i = 0; i < text.n; i++)
        INVARIANT((unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f);
    buf_free(&text);
    buf_free(&normal);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_of(data, size), in = all;
    struct arena arena;
    struct address a;

    arena_init(&arena, 100000);
    if (address_parse_path(&in, true, true, &arena, &a) == ADDRESS_OK) {
        INVARIANT(in.n < size && data[size - in.n - 1] == '>');
        check(&a, &arena);
    } else {
        INVARIANT(in.n == size);
    }
    if (address_parse(all, &arena, &a) == ADDRESS_OK)
        check(&a, &arena);
    if (address_is_literal(all))
        INVARIANT(size > 5 && data[0] == '[');
    arena_free(&arena);
    return 0;
}
