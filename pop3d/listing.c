#include "pop3d/listing.h"

#include <string.h>

#include "common/mem.h"

#define PORTION 512 /* lines between two looks at output and clock */
#define LINE_MAX_OCTETS (20 + 1 + LISTING_WHAT_MAX + 2)

char *listing_number(char *p, uint64_t v)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[sizeof digits - ++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    memcpy(p, digits + sizeof digits - n, n);
    return p + n;
}

char *listing_hex8(char *p, uint32_t v)
{
    static const char digits[] = "0123456789abcdef";

    for (int shift = 28; shift >= 0; shift -= 4)
        *p++ = digits[v >> shift & 15];
    return p;
}

enum pop3_step listing_run(struct pop3_session *s, listing_line *line)
{
    struct buf *out = pop3_out(s);

    while (s->at < s->count) {
        size_t end = s->count - s->at < PORTION ? s->count : s->at + PORTION;
        char *from = buf_room(out, (end - s->at) * LINE_MAX_OCTETS), *p = from;

        INVARIANT(from); /* the driver sees to it that the output is never near its cap */
        for (; s->at < end; s->at++) {
            const struct pop3_message *m = &s->msgs[s->at];

            if (m->deleted)
                continue;
            p = listing_number(p, s->at + 1);
            *p++ = ' ';
            p = line(s, m, p);
            *p++ = '\r';
            *p++ = '\n';
        }
        buf_grew(out, (size_t)(p - from));
        if (s->at < s->count && pop3_yield(s))
            return POP3_MORE;
    }
    buf_add(out, SLICE(".\r\n"));
    return POP3_DONE;
}
