#include "imapd/words.h"

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
