#include "common/checksum.h"

#include <string.h>

#define LANES 4
#define WORD sizeof(uint64_t)

/* Numbers without a pattern, made odd: the fractions of the square roots of 2, 3, 5, 7 and 11. */
#define K0 UINT64_C(0x6a09e667f3bcc909)
#define K1 UINT64_C(0xbb67ae8584caa73b)
#define K2 UINT64_C(0x3c6ef372fe94f82b)
#define K3 UINT64_C(0xa54ff53a5f1d36f1)
#define K4 UINT64_C(0x510e527fade682d1)

static uint64_t turn(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

static uint64_t word_at(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
    return w;
}

/* For a given lane the result tells every word apart, and for a given word every lane. */
static uint64_t mix(uint64_t lane, uint64_t word, uint64_t k)
{
    return turn((lane ^ word) * k, 29);
}

uint64_t checksum64(uint64_t seed, struct slice s)
{
    uint64_t a = seed ^ K0, b = turn(seed, 16) ^ K1, c = turn(seed, 32) ^ K2, d = turn(seed, 48) ^ K3;
    uint64_t sum = (uint64_t)s.n * K4, last = 0;
    const char *p = s.p;
    size_t left = s.n;

    for (; left >= LANES * WORD; left -= LANES * WORD, p += LANES * WORD) {
        a = mix(a, word_at(p), K0);
        b = mix(b, word_at(p + WORD), K1);
        c = mix(c, word_at(p + 2 * WORD), K2);
        d = mix(d, word_at(p + 3 * WORD), K3);
    }
    for (; left >= WORD; left -= WORD, p += WORD)
        a = mix(a, word_at(p), K4);
    if (left)
        memcpy(&last, p, left);
    sum = mix(sum, a, K0);
    sum = mix(sum, b, K1);
    sum = mix(sum, c, K2);
    sum = mix(sum, d, K3);
    sum = mix(sum, last, K4);
    /* the high bits are the best mixed: they come down */
    sum = (sum ^ sum >> 32) * K1;
    return sum ^ sum >> 29;
}
