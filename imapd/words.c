#include "imapd/words.h"

#include <string.h>

#include "common/ascii.h"

#define TAG_MAX 128
#define ID_PAIRS_MAX 30 /* RFC 2971 3.3 */

bool imap_parse_id(struct imap_parse *p, struct slice *name, struct slice *version)
{
    struct slice key, value;

    *name = *version = SLICE("");
    if (!imap_parse_peek(p, '(')) {
        if (!imap_parse_atom(p, &key) || !slice_eq_nocase(key, SLICE("NIL")))
            return imap_parse_fail(p, "ID takes NIL or a list of names and values in parentheses");
        return imap_parse_end(p);
    }
    imap_parse_char(p, '(');
    for (unsigned n = 0; !imap_parse_peek(p, ')'); n++) {
        if (n == ID_PAIRS_MAX)
            return imap_parse_fail(p, "ID has more than 30 names");
        if ((n && !imap_parse_space(p)) || !imap_parse_string(p, &key) || !imap_parse_space(p) ||
            !imap_parse_nstring(p, &value))
            return false;
        if (slice_eq_nocase(key, SLICE("name")))
            *name = value;
        else if (slice_eq_nocase(key, SLICE("version")))
            *version = value;
    }
    return imap_parse_char(p, ')') && imap_parse_end(p);
}

bool imap_parse_tag(struct imap_parse *p, struct slice *tag)
{
    size_t n = 0;

    for (; n < p->rest.n && p->rest.p[n] != ' '; n++) {
        char ch = p->rest.p[n];

        if (n == TAG_MAX || ascii_is_control(ch) || ascii_is_8bit(ch) || memchr("(){%*\"\\+", ch, 8))
            return imap_parse_fail(
                p, "a command begins with a tag, a word of at most 128 letters and digits");
    }
    if (n == 0)
        return imap_parse_fail(p, "a command begins with a tag, a word of at most 128 letters and digits");
    *tag = slice_sub(p->rest, 0, n);
    p->rest = slice_from(p->rest, n);
    return true;
}
