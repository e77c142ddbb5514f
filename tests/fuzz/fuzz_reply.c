/* What a server may say: read within its limits, kept as clean text, and cut anywhere it is read the same. */
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "queue/reply.h"
#include "queue/send.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct reply *r)
{
    struct buf out = BUF_INIT(SEND_REPLY_MAX);

    reply_text(r, SEND_REPLY_MAX, &out);
    if (out.full || !utf8_is_valid(buf_slice(&out)))
        abort();
    for (size_t i = 0; i < out.n; i++)
        if ((unsigned char)out.p[i] < 0x20 && out.p[i] != '\n')
            abort();
    reply_offers(r);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of((const char *)data, size);
    struct reply r, again;
    ssize_t n;

    while ((n = reply_parse(in, &r)) > 0) {
        if (r.raw.n != (size_t)n || r.code < 200 || r.code > 599 || (size_t)n > REPLY_OCTETS)
            abort();
        for (size_t i = 1; i < 40 && i <= (size_t)n; i++)
            if (reply_parse(slice_sub(in, 0, (size_t)n - i), &again) != 0)
                abort();
        check_text(&r);
        in = slice_from(in, (size_t)n);
    }
    if (n == 0 && in.n >= REPLY_OCTETS)
        abort();
    return 0;
}
