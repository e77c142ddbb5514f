#include "common/id.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/mem.h"

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

void id_random(void *to, size_t n)
{
    char *p = to;

    while (n) {
        ssize_t got = getrandom(p, n, 0);

        INVARIANT(got > 0);
        p += got;
        n -= (size_t)got;
    }
}

/* Within a millisecond a process counts on from where chance began: chance alone would meet itself at a few
 * hundred ids a millisecond. */
static uint32_t low_bits(uint64_t ms)
{
    static _Thread_local uint64_t last_ms;
    static _Thread_local uint32_t last;

    if (ms == last_ms)
        last++;
    else
        id_random(&last, sizeof last);
    last_ms = ms;
    return last;
}

struct id id_new(void)
{
    struct id id;
    struct timespec now;
    uint32_t random;
    uint64_t ms;

    clock_gettime(CLOCK_REALTIME, &now);
    ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    random = low_bits(ms);
    /* 13 digits hold 65 bits: 42 of time in front, 23 of chance behind */
    for (int i = ID_LEN - 1; i >= 0; i--) {
        if (i >= 9) {
            id.text[i] = digits[random & 31];
            random >>= 5;
        } else {
            id.text[i] = digits[i == 8 ? ((ms & 3) << 3 | (random & 7)) : (ms & 31)];
            ms >>= i == 8 ? 2 : 5;
        }
    }
    id.text[ID_LEN] = '\0';
    return id;
}

bool id_is_valid(struct slice s)
{
    if (s.n != ID_LEN)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || !strchr(digits, s.p[i]))
            return false;
    return true;
}

size_t id_base32(uint64_t v, char out[14])
{
    char back[14];
    size_t n = 0;

    do {
        back[n++] = digits[v & 31];
        v >>= 5;
    } while (v);
    for (size_t i = 0; i < n; i++)
        out[i] = back[n - 1 - i];
    out[n] = '\0';
    return n;
}

bool id_base32_parse(struct slice s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0 || s.n > 13)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        const char *at = s.p[i] ? strchr(digits, s.p[i]) : NULL;

        if (!at || v >> 59)
            return false;
        v = v << 5 | (uint64_t)(at - digits);
    }
    *out = v;
    return true;
}
