#include "mail/header_lex.h"

#include <string.h>

#include "common/ascii.h"

static void put_char(struct buf *out, char c)
{
    if (out && c != '\r' && c != '\n')
        buf_add_char(out, (char)(c ? c : (char)0x80));
}

bool lex_is_plain(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
            return false;
    return true;
}

void lex_put(struct buf *out, struct slice s)
{
    if (!out)
        return;
    if (lex_is_plain(s)) {
        buf_add(out, s);
        return;
    }
    for (size_t i = 0; i < s.n; i++)
        put_char(out, s.p[i]);
}

bool lex_comment(struct lex *l, struct buf *out)
{
    size_t depth = 0;

    while (l->p < l->end) {
        char c = *l->p++;

        if (c == '(') {
            if (depth++ == 0)
                continue;
        } else if (c == ')') {
            if (--depth == 0)
                return true;
        } else if (c == '\\' && l->p < l->end) {
            c = *l->p++;
        }
        put_char(out, c);
    }
    return false;
}

void lex_quoted(struct lex *l, struct buf *out)
{
    for (l->p++; l->p < l->end;) {
        char c = *l->p++;

        if (c == '"')
            return;
        if (c == '\\' && l->p < l->end)
            c = *l->p++;
        put_char(out, c);
    }
}

bool lex_cfws(struct lex *l, struct buf *comment)
{
    const char *start = l->p;

    while (l->p < l->end) {
        if (*l->p == '(') {
            if (comment)
                buf_clear(comment);
            if (!lex_comment(l, comment) && comment)
                buf_clear(comment);
        } else if (ascii_is_blank(*l->p)) {
            l->p++;
        } else {
            break;
        }
    }
    return l->p > start;
}

struct slice lex_run(struct lex *l, const char *stop)
{
    const char *start = l->p;
    uint64_t stops[2] = {0};

    for (; *stop; stop++)
        stops[*stop >> 6 & 1] |= UINT64_C(1) << (*stop & 63);
    for (; l->p < l->end && !ascii_is_blank(*l->p); l->p++)
        if (!ascii_is_8bit(*l->p) && (stops[*l->p >> 6 & 1] >> (*l->p & 63) & 1))
            break;
    return slice_of(start, (size_t)(l->p - start));
}
