/*
 * Transfer decoding gives the same in pieces of any size and in a small buf its start; charsets, words and
 * folding give UTF-8 within the bounds; words and base64 come back from their encoding. Input: the encoding,
 * the size of pieces, the charset, the cap of the small buf; then the text.
 */
#include <stdint.h>
#include <stdlib.h>

#include "common/mem.h"
#include "mail/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void transfer(enum mime_encoding e, struct slice in, size_t piece, struct buf *out)
{
    struct decode_transfer d;

    decode_transfer_init(&d, e);
    for (; in.n > 0; in = slice_from(in, piece))
        decode_transfer(&d, slice_sub(in, 0, piece), out);
    decode_transfer_finish(&d, out);
}

static void check_transfer(enum mime_encoding e, struct slice in, size_t piece, size_t cap)
{
    struct buf whole = BUF_INIT(BUF_OWN), pieces = BUF_INIT(BUF_OWN), small = BUF_INIT(cap);

    transfer(e, in, in.n + 1, &whole);
    transfer(e, in, piece, &pieces);
    transfer(e, in, piece, &small);
    INVARIANT(whole.n <= in.n && slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    INVARIANT(slice_eq(buf_slice(&small), slice_sub(buf_slice(&whole), 0, cap)));
    INVARIANT(small.full == (whole.n > cap));
    buf_free(&whole);
    buf_free(&pieces);
    buf_free(&small);
}

static void check_text(const struct buf *out)
{
    INVARIANT(out->n <= out->cap && utf8_is_valid(buf_slice(out)));
}

static void check_words(struct slice in, size_t cap)
{
    struct buf out = BUF_INIT(BUF_OWN), small = BUF_INIT(cap), words = BUF_INIT(BUF_OWN),
               back = BUF_INIT(BUF_OWN);

    decode_words(in, &out);
    check_text(&out);
    decode_words(in, &small);
    check_text(&small);
    INVARIANT(slice_starts(buf_slice(&out), buf_slice(&small)));
    for (size_t i = 0; i < out.n; i++) /* what no encoded word may bring */
        if (out.p[i] == '\r' || out.p[i] == '\n' || out.p[i] == '\0')
            out.p[i] = ' ';
    decode_words_encode(buf_slice(&out), &words);
    decode_words(buf_slice(&words), &back);
    INVARIANT(slice_eq(buf_slice(&out), buf_slice(&back)));
    buf_free(&out);
    buf_free(&small);
    buf_free(&words);
    buf_free(&back);
}

static void check_base64(struct slice in)
{
    struct buf out = BUF_INIT(BUF_OWN), back = BUF_INIT(BUF_OWN);

    base64_encode(in, &out);
    INVARIANT(base64_decode(buf_slice(&out), &back) && slice_eq(in, buf_slice(&back)));
    buf_clear(&out);
    buf_clear(&back);
    if (base64_decode(in, &out)) { /* strict: only what we would write ourselves */
        base64_encode(buf_slice(&out), &back);
        INVARIANT(slice_eq(in, buf_slice(&back)));
    }
    buf_free(&out);
    buf_free(&back);
}

static void check_fold(struct slice in, size_t cap)
{
    struct buf out = BUF_INIT(BUF_OWN), small = BUF_INIT(cap);

    decode_fold(in, &out);
    check_text(&out);
    decode_fold(in, &small);
    check_text(&small);
    INVARIANT(slice_starts(buf_slice(&out), buf_slice(&small)));
    buf_free(&out);
    buf_free(&small);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t charsets = 0, cap;
    struct slice in;
    struct buf out;

    if (size < 4)
        return 0;
    in = slice_of(data + 4, size - 4);
    cap = data[3];
    while (decode_charsets[charsets])
        charsets++;
    check_transfer((enum mime_encoding)(data[0] % (MIME_ENCODING_UNKNOWN + 1)), in, (size_t)data[1] + 1, cap);
    out = BUF_INIT(cap * 64);
    decode_charset(slice_str(data[2] < charsets ? decode_charsets[data[2]] : "utf-8"), in, &out);
    check_text(&out);
    buf_free(&out);
    check_words(in, cap);
    check_base64(in);
    check_fold(in, cap);
    return 0;
}
