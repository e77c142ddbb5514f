/* Any octets are no record of the cache, or one whose slots lie in them; written again it is the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/checksum.h"
#include "common/mem.h"
#include "store/cache_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lets an input pass the checksum, which no change of a seed would. */
static void make_sound(char *p, size_t size)
{
    uint32_t magic = CACHE_MAGIC, length = (uint32_t)size;
    uint64_t sum;

    memcpy(p, &magic, sizeof magic);
    memcpy(p + 4, &length, sizeof length);
    sum = checksum64(size, slice_of(p + 16, size - 16));
    memcpy(p + 8, &sum, sizeof sum);
}

static void try(struct slice s)
{
    struct buf out = BUF_INIT(BUF_OWN);
    struct cache_record r, again;

    INVARIANT(cache_record_size(s) <= CACHE_RECORD_MAX);
    if (cache_record_read(s, &r)) {
        for (size_t i = 0; i < CACHE_SLOTS; i++)
            INVARIANT(!r.slots[i].p || (r.slots[i].p >= s.p && r.slots[i].p + r.slots[i].n <= s.p + s.n));
        INVARIANT(cache_record_write(&out, &r));
        INVARIANT(cache_record_read(buf_slice(&out), &again));
        INVARIANT(again.uid == r.uid && again.uidvalidity == r.uidvalidity && again.who == r.who &&
                  again.size == r.size && again.size_crlf == r.size_crlf && again.tried == r.tried);
        for (size_t i = 0; i < CACHE_SLOTS; i++)
            INVARIANT(!again.slots[i].p == !r.slots[i].p && slice_eq(again.slots[i], r.slots[i]));
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = slice_of(data, size);
    char *copy;

    try(s);
    if (size < CACHE_RECORD_HEAD)
        return 0;
    copy = mem_alloc(size);
    memcpy(copy, data, size);
    make_sound(copy, size);
    try(slice_of(copy, size));
    free(copy);
    return 0;
}
