/* A line of the file of suppressed addresses: refused, or read and written so that it reads the same. */
#include <stdlib.h>

#include "queue/suppress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same(const struct suppress_entry *a, const struct suppress_entry *b)
{
    return slice_eq(a->address, b->address) && a->since == b->since && a->until == b->until &&
           slice_eq(a->host, b->host) && slice_eq(a->reply, b->reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf hold = BUF_INIT(size), line = BUF_INIT(BUF_OWN), again;
    struct suppress_entry e, back;

    if (suppress_parse(slice_of(data, size), &hold, &e)) {
        suppress_format(&line, &e);
        again = BUF_INIT(line.n);
        if (slice_chr(buf_slice(&line), '\n') >= 0 || !suppress_parse(buf_slice(&line), &again, &back) ||
            !is_same(&e, &back))
            abort();
        buf_free(&again);
    }
    buf_free(&hold);
    buf_free(&line);
    return 0;
}
