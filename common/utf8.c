#include "common/utf8.h"

size_t utf8_decode(struct slice s, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c;
    size_t n;
    uint32_t v;

    if (s.n == 0)
        return 0;
    c = (unsigned char)s.p[0];
    if (c < 0x80) {
        *code = c;
        return 1;
    }
    n = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 0;
    if (n == 0 || s.n < n)
        return 0;
    v = c & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        c = (unsigned char)s.p[i];
        if ((c & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (c & 0x3fu);
    }
    if (v < least[n] || (v >= 0xd800 && v < 0xe000) || v > 0x10ffff)
        return 0;
    *code = v;
    return n;
}

size_t utf8_printable(struct slice s)
{
    uint32_t code;
    size_t n = utf8_decode(s, &code);

    if (n == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029)
        return 0;
    return n;
}

bool utf8_is_valid(struct slice s)
{
    uint32_t code;

    while (s.n) {
        size_t n = utf8_decode(s, &code);
        if (n == 0)
            return false;
        s = slice_from(s, n);
    }
    return true;
}

size_t utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}
