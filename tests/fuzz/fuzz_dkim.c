/*
 * A message signed whole and signed in pieces has the same field, whatever is in it. The first octet says how
 * many of the next are lengths of pieces; the rest is the text, its header up to the empty line.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/mem.h"
#include "mail/dkim.h"
#include "mail/dkim_canon.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* RFC 8463, appendix A.1 */
static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                          "-----END PRIVATE KEY-----\n";

static void keep(void *ctx, struct slice run)
{
    INVARIANT(run.n > 0);
    buf_add(ctx, run);
}

/* What no canonical body has (RFC 6376 3.4.4). */
static void check_canonical(struct slice out)
{
    INVARIANT(out.n == 0 || slice_ends(out, SLICE("\r\n")));
    INVARIANT(!slice_ends(out, SLICE("\r\n\r\n")) && !slice_eq(out, SLICE("\r\n")));
    INVARIANT(
        slice_chr(out, '\t') < 0 && slice_find(out, SLICE("  ")) < 0 && slice_find(out, SLICE(" \r\n")) < 0);
    for (size_t i = 0; i < out.n; i++)
        INVARIANT(out.p[i] != '\n' || (i > 0 && out.p[i - 1] == '\r'));
}

static void check_body(struct slice body)
{
    struct buf once = BUF_INIT(BUF_OWN), twice = BUF_INIT(BUF_OWN);
    struct dkim_canon *c = mem_alloc(sizeof *c);

    dkim_canon_init(c, keep, &once);
    dkim_canon_body(c, body);
    dkim_canon_end(c);
    check_canonical(buf_slice(&once));
    dkim_canon_init(c, keep, &twice);
    dkim_canon_body(c, buf_slice(&once));
    dkim_canon_end(c);
    INVARIANT(slice_eq(buf_slice(&once), buf_slice(&twice)));
    buf_free(&once);
    buf_free(&twice);
    free(c);
}

static bool sign(
    const struct dkim_key *key, struct slice header, struct slice body, struct slice cuts, struct buf *out)
{
    struct dkim_signer s = {.domain = SLICE("example.org"), .selector = SLICE("s"), .key = key};
    struct dkim *d = dkim_new();
    bool good = dkim_begin(d, header, NULL) == 0;

    for (size_t i = 0, at = 0; good && at < body.n; i++) {
        size_t n = cuts.n ? (unsigned char)cuts.p[i % cuts.n] : body.n;

        n = n ? n : i % 2; /* empty pieces too, but not for ever */
        dkim_body(d, slice_sub(body, at, n));
        at += n;
    }
    dkim_end(d);
    if (good)
        INVARIANT(dkim_sign(d, &s, 1, out, NULL) == 0);
    dkim_free(d);
    return good;
}

static void check_field(struct slice field)
{
    struct slice rest = field;
    struct header_field f;

    INVARIANT(header_next(&rest, &f) && rest.n == 0 && slice_eq(f.name, SLICE("DKIM-Signature")));
    INVARIANT(slice_ends(field, SLICE("\r\n")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dkim_key *key;
    struct buf a = BUF_INIT(BUF_OWN), b = BUF_INIT(BUF_OWN);
    struct slice cuts, text, body;
    size_t head;
    bool good;

    if (size == 0)
        return 0;
    if (!key)
        key = dkim_key_load(slice_of(pem, sizeof pem - 1), NULL);
    INVARIANT(key);
    cuts = slice_sub(slice_of(data + 1, size - 1), 0, data[0] % 8);
    text = slice_from(slice_of(data + 1, size - 1), cuts.n);
    head = header_size(text);
    body = slice_from(text, head);
    check_body(body);
    good = sign(key, slice_sub(text, 0, head), body, SLICE(""), &a);
    INVARIANT(good == sign(key, slice_sub(text, 0, head), body, cuts, &b));
    INVARIANT(slice_eq(buf_slice(&a), buf_slice(&b)));
    if (good)
        check_field(buf_slice(&a));
    buf_free(&a);
    buf_free(&b);
    return 0;
}
