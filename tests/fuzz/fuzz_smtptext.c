/*
 * The text machine read whole and read in pieces must do the same. The first octet of the input says how many
 * of the next are lengths of pieces; the rest is the text.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "mail/smtptext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct cuts {
    const uint8_t *len;
    size_t n, at;
};

/* Length of the next piece of what is left: the lengths come round again and again. */
static size_t next_piece(struct cuts *c, size_t left)
{
    size_t n = c->n ? c->len[c->at++ % c->n] : left;

    /* empty pieces are tried, but not for ever */
    if (n == 0 && c->at % 2)
        n = 1;
    return n < left ? n : left;
}

static bool keep(void *ctx, struct slice run)
{
    INVARIANT(run.n > 0);
    buf_add(ctx, run);
    return true;
}

static void same(const struct smtptext *a, const struct smtptext *b, struct buf *kept_a, struct buf *kept_b)
{
    INVARIANT(a->size == b->size && a->headers == b->headers && a->header_size == b->header_size);
    INVARIANT(a->in_header == b->in_header && a->done == b->done && a->state == b->state);
    INVARIANT(a->bare_cr == b->bare_cr && a->bare_lf == b->bare_lf && a->nul == b->nul);
    INVARIANT(a->eightbit == b->eightbit && a->too_big == b->too_big);
    INVARIANT(slice_eq(buf_slice(kept_a), buf_slice(kept_b)));
    INVARIANT(kept_a->n == (a->size < a->max ? a->size : a->max));
    INVARIANT(a->header_size <= a->size && a->too_big == (a->size > a->max));
}

static void check_data(struct slice text, struct cuts cuts, uint64_t max)
{
    struct buf kept_a = BUF_INIT(BUF_OWN), kept_b = BUF_INIT(BUF_OWN);
    struct smtptext a, b;
    size_t used, at = 0;

    smtptext_init(&a, max);
    smtptext_init(&b, max);
    used = smtptext_data(&a, text, keep, &kept_a);
    INVARIANT(a.done || used == text.n);
    /* the end is CRLF "." CRLF, or "." CRLF at the very start */
    if (a.done) {
        INVARIANT(slice_ends(slice_sub(text, 0, used), SLICE(".\r\n")));
        INVARIANT(used == 3 || slice_ends(slice_sub(text, 0, used), SLICE("\r\n.\r\n")));
    } else {
        INVARIANT(slice_find(text, SLICE("\r\n.\r\n")) < 0);
    }
    while (at < text.n && !b.done) {
        size_t n = next_piece(&cuts, text.n - at);
        size_t took = smtptext_data(&b, slice_sub(text, at, n), keep, &kept_b);

        INVARIANT(took == n || b.done);
        at += took;
    }
    INVARIANT(at == used);
    same(&a, &b, &kept_a, &kept_b);
    buf_free(&kept_a);
    buf_free(&kept_b);
}

static void check_bdat(struct slice text, struct cuts cuts, uint64_t max)
{
    struct buf kept_a = BUF_INIT(BUF_OWN), kept_b = BUF_INIT(BUF_OWN);
    struct smtptext a, b;

    smtptext_init(&a, max);
    smtptext_init(&b, max);
    smtptext_bdat(&a, text, true, keep, &kept_a);
    for (size_t at = 0; at < text.n;) {
        size_t n = next_piece(&cuts, text.n - at);

        smtptext_bdat(&b, slice_sub(text, at, n), false, keep, &kept_b);
        at += n;
    }
    smtptext_bdat(&b, slice_sub(text, 0, 0), true, keep, &kept_b);
    same(&a, &b, &kept_a, &kept_b);
    buf_free(&kept_a);
    buf_free(&kept_b);
}

static void check_stuff(struct slice text, struct cuts cuts)
{
    struct buf a = BUF_INIT(BUF_OWN), b = BUF_INIT(BUF_OWN);
    bool at_line_start = true, last_cr = false;

    smtptext_stuff(&a, text, &at_line_start, &last_cr);
    at_line_start = true;
    last_cr = false;
    for (size_t at = 0; at < text.n;) {
        size_t n = next_piece(&cuts, text.n - at);

        smtptext_stuff(&b, slice_sub(text, at, n), &at_line_start, &last_cr);
        at += n;
    }
    INVARIANT(slice_eq(buf_slice(&a), buf_slice(&b)));
    /* no text can end the transfer before its time */
    INVARIANT(slice_find(buf_slice(&a), SLICE("\r\n.\r\n")) < 0);
    INVARIANT(!slice_starts(buf_slice(&a), SLICE(".\r\n")));
    for (size_t i = 0; i < a.n; i++)
        INVARIANT(a.p[i] != '\n' || (i > 0 && a.p[i - 1] == '\r'));
    buf_free(&a);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cuts cuts = {.len = data + 1};
    struct slice text;

    if (size == 0)
        return 0;
    cuts.n = data[0] % 8;
    if (cuts.n > size - 1)
        cuts.n = size - 1;
    text = slice_of(data + 1 + cuts.n, size - 1 - cuts.n);
    check_data(text, cuts, UINT64_MAX);
    check_data(text, cuts, data[0]);
    check_bdat(text, cuts, data[0]);
    check_stuff(text, cuts);
    return 0;
}
