#include <string.h>

#include "mail/decode.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice in, struct buf *out)
{
    size_t groups = in.n / 3, rest = in.n % 3;
    const unsigned char *p = (const unsigned char *)in.p;
    char *to;

    if (in.n == 0)
        return;
    if (in.n > SIZE_MAX / 2) {
        out->full = true;
        return;
    }
    to = buf_room(out, (groups + 1) * 4 - (rest ? 0 : 4));
    if (!to)
        return;
    for (size_t i = 0; i < groups; i++, p += 3) {
        *to++ = alphabet[p[0] >> 2];
        *to++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        *to++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
        *to++ = alphabet[p[2] & 63];
    }
    if (rest) {
        unsigned char second = rest == 2 ? p[1] : 0;

        *to++ = alphabet[p[0] >> 2];
        *to++ = alphabet[(p[0] & 3) << 4 | second >> 4];
        *to++ = rest == 2 ? alphabet[(second & 15) << 2] : '=';
        *to++ = '=';
    }
    buf_grew(out, groups * 4 + (rest ? 4 : 0));
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 3.3, 3.5: no other character, whole groups, and no bits set that nobody reads */
bool base64_decode(struct slice in, struct buf *out)
{
    size_t start = out->n, pad = 0;

    if (in.n % 4 != 0)
        return false;
    while (pad < 2 && pad < in.n && in.p[in.n - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < in.n; i += 4) {
        size_t have = i + 4 == in.n ? 4 - pad : 4;
        uint32_t bits = 0;
        char octets[3];

        for (size_t k = 0; k < 4; k++) {
            int v = k < have ? value_of(in.p[i + k]) : 0;

            if (v < 0)
                goto bad;
            bits = bits << 6 | (uint32_t)v;
        }
        if (have < 4 && (bits & (have == 3 ? 0xffu : 0xffffu)) != 0)
            goto bad;
        octets[0] = (char)(bits >> 16);
        octets[1] = (char)(bits >> 8);
        octets[2] = (char)bits;
        buf_add(out, slice_of(octets, have - 1));
    }
    if (!out->full)
        return true;
bad:
    buf_cut(out, start);
    return false;
}
