/*
 * The data of a record as any name server may send it: what is taken has names of letters, digits and a few
 * signs, nothing longer than its limit, and comes through a message between our processes unchanged. The
 * first octet is the type; the rest the record, and once more a name as text.
 */
#include <stdint.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "lookup/rdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(struct slice name)
{
    size_t label = 0;

    INVARIANT(name.n <= 253);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        INVARIANT(c == '-' || c == '_' || c == '/' || c == '.' || (ascii_is_alnum(c) && c == ascii_lower(c)));
        INVARIANT(c != '.' || label > 0);
        label = c == '.' ? 0 : label + 1;
        INVARIANT(label <= 63);
    }
    INVARIANT(name.n == 0 || label > 0);
}

static void check_way(const struct dns_record *r)
{
    struct buf out = BUF_INIT((size_t)1 << 20);
    struct dns_record back;

    dns_record_encode(&out, r);
    INVARIANT(dns_record_decode(buf_slice(&out), &back));
    INVARIANT(back.ip_len == r->ip_len && back.preference == r->preference && slice_eq(back.name, r->name) &&
              slice_eq(back.text, r->text) && back.usage == r->usage && slice_eq(back.data, r->data));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_record r, sorted[3];
    struct slice name, rest = slice_of(data, size < UINT16_MAX ? size : UINT16_MAX);
    struct arena arena;
    size_t n = 0;

    if (size == 0)
        return 0;
    arena_init(&arena, (size_t)1 << 18);
    rest = slice_from(rest, 1);
    if (rdata_parse((enum dns_type)data[0], rest, &arena, &r)) {
        check_name(r.name);
        check_way(&r);
    }
    (void)dns_record_decode(rest, &r);
    if (rdata_name(rest, &arena, &name)) {
        INVARIANT(name.n > 0);
        check_name(name);
    }
    for (size_t i = 0; i < rest.n; i++) {
        r.preference = (unsigned char)rest.p[i];
        n = rdata_add(sorted, n, 3, &r);
        INVARIANT(
            n == (i < 3 ? i + 1 : 3) && (n < 2 || sorted[n - 2].preference <= sorted[n - 1].preference));
    }
    arena_free(&arena);
    return 0;
}
