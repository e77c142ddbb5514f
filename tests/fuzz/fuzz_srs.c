/* Addresses of bounces, and of what is forwarded: no address is taken back that we did not make, and what we
 * make comes back. */
#include <stdlib.h>

#include "mail/srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char ours[SRS_SECRET_LEN] = "0123456789abcdef0123456789abcdef",
                               theirs[SRS_SECRET_LEN];
    struct buf out = BUF_INIT(1024), back = BUF_INIT(1024), plain = BUF_INIT(1024);
    struct arena arena;
    struct address a, made;

    arena_init(&arena, 1 << 16);
    if (address_parse(slice_of(data, size), &arena, &a) != ADDRESS_OK)
        goto end;
    srs_reverse(ours, 0, &a, &out);
    buf_clear(&out);
    address_format(&plain, &a);
    srs_forward(ours, 86400, &a, SLICE("example.org"), &out);
    if (address_parse(buf_slice(&out), &arena, &made) != ADDRESS_OK)
        abort();
    if (slice_eq(made.local, SLICE("postmaster")))
        goto end;
    if (srs_reverse(theirs, 86400, &made, &back) != SRS_REFUSED ||
        srs_reverse(ours, 86400, &made, &back) != SRS_OK)
        abort();
    /* of an SRS1 the first forwarder's comes back */
    if (slice_starts_nocase(made.local, SLICE("SRS0")) && !slice_eq(buf_slice(&back), buf_slice(&plain)))
        abort();
end:
    buf_free(&out);
    buf_free(&back);
    buf_free(&plain);
    arena_free(&arena);
    return 0;
}
