/* The other direction of parse.h: strings and mailbox names in the one right form. */
#include "imapd/parse.h"

#include <string.h>

#include "common/ascii.h"
#include "common/utf8.h"
#include "store/folder.h"

#define QUOTED_MAX 1000 /* longer strings go as literals: clients read lines into small buffers */

/* What is in a string that matters for its form. */
struct contents {
    bool line_end_or_nul, wide;
    size_t escapes; /* quotes and backslashes */
};

static struct contents look(struct slice s)
{
    struct contents c = {0};

    for (size_t i = 0; i < s.n; i++) {
        c.line_end_or_nul |= s.p[i] == '\0' || s.p[i] == '\r' || s.p[i] == '\n';
        c.wide |= ascii_is_8bit(s.p[i]);
        c.escapes += s.p[i] == '"' || s.p[i] == '\\';
    }
    return c;
}

static void write_quoted(struct buf *out, struct slice s, size_t escapes)
{
    char *start = buf_room(out, s.n + escapes + 2), *to = start;

    if (!start)
        return;
    *to++ = '"';
    if (escapes == 0 && s.n) {
        memcpy(to, s.p, s.n);
        to += s.n;
    }
    for (size_t i = 0; i < s.n && escapes; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            *to++ = '\\';
        *to++ = s.p[i];
    }
    *to++ = '"';
    buf_grew(out, (size_t)(to - start));
}

void imap_write_string(struct buf *out, struct slice s, bool utf8)
{
    struct contents c = look(slice_sub(s, 0, QUOTED_MAX));
    ssize_t nul;

    if (s.n <= QUOTED_MAX && !c.line_end_or_nul && (!c.wide || (utf8 && utf8_is_valid(s)))) {
        write_quoted(out, s, c.escapes);
        return;
    }
    buf_printf(out, "{%zu}\r\n", s.n);
    /* a literal may not hold NUL (RFC 3501 4.3): 0x80 stands for it, as long and as foreign */
    while ((nul = slice_chr(s, '\0')) >= 0) {
        buf_add(out, slice_sub(s, 0, (size_t)nul));
        buf_add_char(out, (char)0x80);
        s = slice_from(s, (size_t)nul + 1);
    }
    buf_add(out, s);
}

void imap_write_nstring(struct buf *out, struct slice s, bool utf8)
{
    if (s.p)
        imap_write_string(out, s, utf8);
    else
        buf_add(out, SLICE("NIL"));
}

static bool can_be_atom(struct slice s)
{
    if (s.n == 0 || slice_eq_nocase(s, SLICE("NIL")))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && slice_chr(SLICE("!#$&'+,-./:;<=>?@[]^_`|~"), s.p[i]) < 0)
            return false;
    }
    return true;
}

void imap_write_mailbox(struct buf *out, struct slice name, bool utf8)
{
    struct buf encoded = BUF_INIT(8 * FOLDER_NAME_MAX);

    if (!utf8 && folder_utf7_encode(name, &encoded))
        name = buf_slice(&encoded);
    if (can_be_atom(name))
        buf_add(out, name);
    else
        imap_write_string(out, name, utf8);
    buf_free(&encoded);
}
