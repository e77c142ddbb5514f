#include "store/cache_record.h"

#include <string.h>

#include "common/checksum.h"

#define ABSENT UINT32_MAX

struct disk_record {
    uint32_t magic;
    uint32_t length;   /* of all of it */
    uint64_t checksum; /* of all behind this field */
    uint32_t uid;
    uint32_t uidvalidity;
    uint64_t who;
    uint64_t size;
    uint64_t size_crlf;
    uint32_t tried;
    uint32_t reserved;
    uint32_t slots[CACHE_SLOTS]; /* octets of each, ABSENT */
};

#define SUMMED offsetof(struct disk_record, uid)

_Static_assert(sizeof(struct disk_record) == CACHE_RECORD_HEAD, "the head has no gaps");

uint64_t cache_who(const char *file)
{
    size_t n = 0;

    while (file[n] && file[n] != ',' && file[n] != ':')
        n++;
    return checksum64(0, slice_of(file, n));
}

static size_t size_of_head(const struct disk_record *d)
{
    return d->magic == CACHE_MAGIC && d->length >= sizeof *d && d->length <= CACHE_RECORD_MAX ? d->length : 0;
}

size_t cache_record_size(struct slice s)
{
    struct disk_record d;

    if (s.n < sizeof d)
        return CACHE_RECORD_HEAD;
    memcpy(&d, s.p, sizeof d);
    return size_of_head(&d);
}

bool cache_record_read(struct slice s, struct cache_record *out)
{
    struct disk_record d;
    size_t n, at = sizeof d;

    if (s.n < sizeof d)
        return false;
    memcpy(&d, s.p, sizeof d);
    n = size_of_head(&d);
    if (n == 0 || n > s.n || checksum64(n, slice_sub(s, SUMMED, n - SUMMED)) != d.checksum)
        return false;
    *out = (struct cache_record){.uid = d.uid,
        .uidvalidity = d.uidvalidity,
        .who = d.who,
        .size = d.size,
        .size_crlf = d.size_crlf,
        .tried = d.tried};
    for (size_t i = 0; i < CACHE_SLOTS; i++) {
        if (d.slots[i] == ABSENT)
            continue;
        if (d.slots[i] > n - at)
            return false;
        out->slots[i] = slice_of(s.p + at, d.slots[i]);
        at += d.slots[i];
    }
    return at == n;
}

bool cache_record_write(struct buf *out, const struct cache_record *r)
{
    struct disk_record d = {.magic = CACHE_MAGIC,
        .uid = r->uid,
        .uidvalidity = r->uidvalidity,
        .who = r->who,
        .size = r->size,
        .size_crlf = r->size_crlf,
        .tried = r->tried};
    size_t n = sizeof d, at = out->n;
    char *to;

    for (size_t i = 0; i < CACHE_SLOTS; i++) {
        if (r->slots[i].n > CACHE_RECORD_MAX - n)
            return false;
        d.slots[i] = r->slots[i].p ? (uint32_t)r->slots[i].n : ABSENT;
        n += r->slots[i].n;
    }
    d.length = (uint32_t)n;
    to = buf_room(out, n);
    if (!to)
        return false;
    buf_add(out, slice_of(&d, sizeof d));
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        buf_add(out, r->slots[i]);
    to = out->p + at;
    d.checksum = checksum64(n, slice_of(to + SUMMED, n - SUMMED));
    memcpy(to + offsetof(struct disk_record, checksum), &d.checksum, sizeof d.checksum);
    return true;
}
