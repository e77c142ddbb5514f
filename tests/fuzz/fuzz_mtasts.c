/* MTA-STS: a TXT record and a policy as the world sends them; what is taken keeps what the header says. */
#include <stdlib.h>

#include "mail/mtasts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_of((const char *)data, size), id;
    struct mtasts_policy p;

    if (mtasts_record_parse(all, &id) == MTASTS_RECORD &&
        (id.n == 0 || id.n > MTASTS_ID_MAX || id.p < all.p || id.p + id.n > all.p + all.n))
        abort();
    if (mtasts_policy_parse(all, &p) &&
        (p.max_age > MTASTS_MAX_AGE || p.mode > MTASTS_ENFORCE || p.body.n != size))
        abort();
    p.body = all;
    mtasts_allows(&p, SLICE("mx1.example.org"));
    mtasts_mx_matches(all, SLICE("mx1.example.org"));
    mtasts_mx_matches(SLICE("*.example.org"), all);
    return 0;
}
