/*
 * dkim_sign DOMAIN SELECTOR KEYFILE [SELECTOR KEYFILE ..]
 *
 * Signs for tests/e2e/dkim_verify.py, which has others verify. stdin: messages, each "<octets> <piece>\n" and
 * the text, which is given to the signer in pieces of that size; stdout: for each "<octets>\n" and its
 * fields.
 *
 * dkim_sign --bench KEYFILE SECONDS
 *
 * What it costs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/fs.h"
#include "common/mem.h"
#include "mail/dkim.h"
#include "mail/dkim_canon.h"
#include "mail/header.h"

#define KEYS_MAX 8

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "dkim_sign: %s\n", what);
    exit(1);
}

static struct dkim_key *key_of(const char *file)
{
    struct buf pem = BUF_INIT(DKIM_PEM_MAX);
    struct dkim_key *key;
    struct err e = {0};
    FILE *f = fopen(file, "r");
    char *to = buf_room(&pem, DKIM_PEM_MAX);

    if (!f || !to)
        fail(file);
    buf_grew(&pem, fread(to, 1, DKIM_PEM_MAX, f));
    fclose(f);
    key = dkim_key_load(buf_slice(&pem), &e);
    buf_free(&pem);
    if (!key)
        fail(e.detail);
    return key;
}

static void sign(
    struct slice text, size_t piece, const struct dkim_signer *signers, size_t n, struct buf *out)
{
    size_t head = header_size(text);
    struct dkim *d = dkim_new();
    struct err e = {0};

    if (dkim_begin(d, slice_sub(text, 0, head), &e) < 0)
        fail(e.detail);
    for (size_t at = head; at < text.n; at += piece)
        dkim_body(d, slice_sub(text, at, piece));
    dkim_end(d);
    for (size_t i = 0; i < n; i++)
        if (dkim_sign(d, &signers[i], time(NULL), out, &e) < 0)
            fail(e.detail);
    dkim_free(d);
}

static double cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void ignore(void *ctx, struct slice run)
{
    *(size_t *)ctx += run.n;
}

static void fill(struct buf *b, size_t size, bool words)
{
    static const char line[] =
        "The quick brown fox jumps  over the lazy dog, and then sleeps until noon.\r\n";
    static const char code[] =
        "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGlz\r\n";

    while (b->n < size)
        buf_add_str(b, words ? line : code);
}

static void bench_canon(bool words, double seconds)
{
    struct buf body = BUF_INIT(BUF_OWN);
    struct dkim_canon *c = mem_alloc(sizeof *c);
    size_t out = 0, in = 0;
    double start;

    fill(&body, 1 << 20, words);
    start = cpu();
    while (cpu() - start < seconds) {
        dkim_canon_init(c, ignore, &out);
        for (size_t at = 0; at < body.n; at += 65536)
            dkim_canon_body(c, slice_sub(buf_slice(&body), at, 65536));
        dkim_canon_end(c);
        in += body.n;
    }
    printf(
        "canonicalisation, %s: %.0f MB/s\n", words ? "words" : "base64", (double)in / (cpu() - start) / 1e6);
    buf_free(&body);
    free(c);
}

static void bench(const char *file, double seconds)
{
    struct dkim_key *key = key_of(file);
    struct dkim_signer s = {.domain = SLICE("example.org"), .selector = SLICE("s"), .key = key};
    struct buf text = BUF_INIT(BUF_OWN), out = BUF_INIT(BUF_OWN);
    unsigned n = 0;
    double start;

    bench_canon(true, seconds);
    bench_canon(false, seconds);
    buf_add_str(&text,
        "From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\nDate: Tue, 24 Nov 2026 04:00:00 +0000\r\n"
        "Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n");
    fill(&text, 4096, true);
    for (start = cpu(); cpu() - start < seconds; n++) {
        buf_clear(&out);
        sign(buf_slice(&text), 65536, &s, 1, &out);
    }
    printf("signed, 4 KiB: %.3f ms a message\n", (cpu() - start) * 1e3 / n);
    buf_free(&text);
    buf_free(&out);
    dkim_key_free(key);
}

int main(int argc, char **argv)
{
    struct dkim_signer signers[KEYS_MAX];
    struct dkim_key *keys[KEYS_MAX];
    size_t n = 0, size, piece;
    char line[64], *end;

    if (argc == 4 && strcmp(argv[1], "--bench") == 0) {
        bench(argv[2], strtod(argv[3], NULL));
        return 0;
    }
    if (argc < 4 || argc % 2)
        fail("DOMAIN SELECTOR KEYFILE ..");
    for (int i = 2; i + 1 < argc && n < KEYS_MAX; i += 2, n++) {
        keys[n] = key_of(argv[i + 1]);
        signers[n] = (struct dkim_signer){slice_str(argv[1]), slice_str(argv[i]), SLICE(""), keys[n]};
    }
    while (fgets(line, sizeof line, stdin)) {
        struct buf text = BUF_INIT(BUF_OWN), out = BUF_INIT(BUF_OWN);
        char *to;

        size = strtoul(line, &end, 10);
        piece = strtoul(end, NULL, 10);
        to = buf_room(&text, size);
        if (!piece || !to || fread(to, 1, size, stdin) != size)
            fail("stdin is cut short");
        buf_grew(&text, size);
        sign(buf_slice(&text), piece, signers, n, &out);
        printf("%zu\n", out.n);
        fwrite(out.p, 1, out.n, stdout);
        buf_free(&text);
        buf_free(&out);
    }
    for (size_t i = 0; i < n; i++)
        dkim_key_free(keys[i]);
    return 0;
}
