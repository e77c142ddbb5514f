#include "store/text.h"

#include <string.h>

uint64_t text_bare_lf(struct slice text, char *last)
{
    const char *p = text.p, *end = text.p + text.n, *lf;
    uint64_t n = 0;

    if (text.n == 0)
        return 0;
    for (; (lf = memchr(p, '\n', (size_t)(end - p))); p = lf + 1)
        n += (lf > text.p ? lf[-1] : *last) != '\r';
    *last = end[-1];
    return n;
}

void text_to_crlf(struct slice text, struct buf *out)
{
    size_t start = 0;

    for (size_t at = 0; at < text.n;) {
        const char *lf = memchr(text.p + at, '\n', text.n - at);

        if (!lf)
            break;
        at = (size_t)(lf - text.p);
        if (at == 0 || lf[-1] != '\r') {
            buf_add(out, slice_sub(text, start, at - start));
            buf_add_char(out, '\r');
            start = at;
        }
        at++;
    }
    buf_add(out, slice_from(text, start));
}
