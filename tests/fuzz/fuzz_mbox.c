/* mbox files: the same events and text whatever the pieces, BEGIN and END in turn, no more text than input.
 */
#include <stdint.h>
#include <stdlib.h>

#include "mail/mbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct slice in, size_t step, bool lengths, struct buf *out)
{
    struct slice chunk = SLICE(""), text;
    enum mbox_event event;
    bool inside = false;
    size_t total = 0, all = in.n;
    struct mbox m;

    mbox_init(&m);
    do {
        event = mbox_next(&m, &chunk, in.n == 0, &text);
        if (event == MBOX_NEED) {
            if (chunk.n)
                abort();
            chunk = slice_sub(in, 0, step);
            in = slice_from(in, chunk.n);
            continue;
        }
        if (event != MBOX_EOF && inside == (event == MBOX_BEGIN))
            abort();
        inside = event != MBOX_END && event != MBOX_EOF;
        if (event == MBOX_BODY && lengths && m.has_length)
            mbox_use_length(&m);
        total += text.n;
        buf_add(out, text);
        if (event != MBOX_TEXT)
            buf_printf(out, "\001%d %u %lld", event, m.flags, (long long)m.received);
    } while (event != MBOX_EOF);
    if (total > all)
        abort();
    mbox_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 3, 17, 8191};
    struct slice in = slice_of(data, size), rest = in;
    struct buf whole = BUF_INIT(BUF_OWN), parts = BUF_INIT(BUF_OWN);
    struct mbox_writer w;

    run(in, SIZE_MAX, size & 1, &whole);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        buf_clear(&parts);
        run(in, steps[i], size & 1, &parts);
        if (!slice_eq(buf_slice(&whole), buf_slice(&parts)))
            abort();
    }
    buf_clear(&parts);
    mbox_write_begin(&w, &parts, slice_sub(in, 0, 20), (int64_t)size * 1000003, (unsigned)size & 31, in);
    while (mbox_write_some(&w, &rest, &parts, parts.n + 10))
        ;
    mbox_write_end(&w, &parts);
    buf_clear(&whole);
    run(buf_slice(&parts), 4096, false, &whole);
    buf_free(&whole);
    buf_free(&parts);
    return 0;
}
