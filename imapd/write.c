/* The other direction of parse.h: strings and mailbox names in the one right form. */
#include "imapd/parse.h"

#include "common/ascii.h"
#include "common/utf8.h"
#include "store/folder.h"

#define QUOTED_MAX 1000 /* longer strings go as literals: clients read lines into small buffers */

static bool can_be_quoted(struct slice s, bool utf8)
{
    bool wide = false;

    if (s.n > QUOTED_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\0' || s.p[i] == '\r' || s.p[i] == '\n')
            return false;
        wide |= ascii_is_8bit(s.p[i]);
    }
    return !wide || (utf8 && utf8_is_valid(s));
}

static void write_quoted(struct buf *out, struct slice s)
{
    size_t from = 0;

    buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\') {
            buf_add(out, slice_sub(s, from, i - from));
            buf_add_char(out, '\\');
            from = i;
        }
    }
    buf_add(out, slice_from(s, from));
    buf_add_char(out, '"');
}

void imap_write_string(struct buf *out, struct slice s, bool utf8)
{
    ssize_t nul;

    if (can_be_quoted(s, utf8)) {
        write_quoted(out, s);
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
        buf_add_str(out, "NIL");
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
