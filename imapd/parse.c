#include "imapd/parse.h"

#include <string.h>

#include "common/ascii.h"
#include "common/utf8.h"
#include "store/folder.h"

#define FLAGS_MAX 64

const char imap_bad_mailbox_name[] =
    "that mailbox name cannot be used here; choose one without control characters, empty "
    "parts or more than 1000 octets";

static const char too_big[] =
    "the command needs more memory than one command may have; send it in smaller steps";

void imap_parse_init(struct imap_parse *p, struct slice text, struct arena *arena)
{
    *p = (struct imap_parse){.rest = text, .arena = arena};
}

bool imap_parse_fail(struct imap_parse *p, const char *error)
{
    /* the first complaint is the one that says where it went wrong */
    if (!p->error)
        p->error = error;
    return false;
}

static void skip(struct imap_parse *p, size_t n)
{
    p->rest = slice_from(p->rest, n);
}

bool imap_parse_peek(const struct imap_parse *p, char c)
{
    return p->rest.n > 0 && p->rest.p[0] == c;
}

bool imap_parse_end(struct imap_parse *p)
{
    if (p->rest.n == 0)
        return true;
    /* a blank before the line's end is seen from old clients and harms nobody */
    for (size_t i = 0; i < p->rest.n; i++) {
        if (p->rest.p[i] != ' ')
            return imap_parse_fail(p, "something follows where the command should end");
    }
    skip(p, p->rest.n);
    return true;
}

bool imap_parse_space(struct imap_parse *p)
{
    size_t n = 0;

    while (n < p->rest.n && p->rest.p[n] == ' ')
        n++;
    if (n == 0)
        return imap_parse_fail(
            p, p->rest.n ? "a blank is missing between two arguments" : "an argument is missing");
    skip(p, n);
    return true;
}

bool imap_parse_char(struct imap_parse *p, char c)
{
    if (!imap_parse_peek(p, c)) {
        switch (c) {
        case '(':
            return imap_parse_fail(p, "an opening parenthesis is missing");
        case ')':
            return imap_parse_fail(p, "a closing parenthesis is missing");
        case '[':
        case ']':
            return imap_parse_fail(p, "a square bracket is missing");
        default:
            return imap_parse_fail(p, "a punctuation character is missing or wrong");
        }
    }
    skip(p, 1);
    return true;
}

/* ATOM-CHAR (RFC 3501 9): CHAR without atom-specials */
static bool is_atom_char(char c)
{
    return !ascii_is_control(c) && !ascii_is_8bit(c) && !memchr("(){ %*\"\\]", c, 9);
}

static size_t run(struct slice s, const char *more)
{
    size_t n = 0;

    while (n < s.n && (is_atom_char(s.p[n]) || (s.p[n] && strchr(more, s.p[n]))))
        n++;
    return n;
}

bool imap_parse_atom(struct imap_parse *p, struct slice *out)
{
    size_t n = run(p->rest, "");

    if (n == 0)
        return imap_parse_fail(p, p->rest.n ? "a word was expected" : "an argument is missing");
    *out = slice_sub(p->rest, 0, n);
    skip(p, n);
    return true;
}

/* quoted (RFC 3501 9); the cursor is on the first quote */
static bool quoted(struct imap_parse *p, struct slice *out)
{
    struct slice s = slice_from(p->rest, 1);
    size_t n = 0, escapes = 0;
    char *to;

    for (; n < s.n && s.p[n] != '"'; n++) {
        if (s.p[n] == '\\') {
            escapes++;
            if (++n == s.n || (s.p[n] != '"' && s.p[n] != '\\'))
                return imap_parse_fail(p, "a backslash in a quoted string may stand before \" and \\ only");
        } else if (s.p[n] == '\0' || s.p[n] == '\r' || s.p[n] == '\n') {
            return imap_parse_fail(p, "a quoted string may not hold NUL, CR or LF; send a literal");
        }
    }
    if (n == s.n)
        return imap_parse_fail(p, "the closing quote of a string is missing");
    if (escapes == 0) {
        *out = slice_sub(s, 0, n);
    } else {
        to = arena_alloc(p->arena, n - escapes);
        if (!to)
            return imap_parse_fail(p, too_big);
        *out = slice_of(to, n - escapes);
        for (size_t i = 0; i < n; i++) {
            if (s.p[i] == '\\')
                i++;
            *to++ = s.p[i];
        }
    }
    p->rest = slice_from(s, n + 1);
    return true;
}

/* literal: "{n}" or "{n+}", CRLF, n octets (RFC 3501 9, RFC 7888 4); the cursor is on the brace */
static bool literal(struct imap_parse *p, struct slice *out)
{
    ssize_t close = slice_chr(p->rest, '}');
    struct slice digits, after;
    uint64_t n;

    if (close < 0)
        return imap_parse_fail(p, "the closing brace of a literal is missing");
    digits = slice_sub(p->rest, 1, (size_t)close - 1);
    after = slice_from(p->rest, (size_t)close + 1);
    if (digits.n && digits.p[digits.n - 1] == '+')
        digits.n--;
    if (!slice_u64(digits, UINT32_MAX, &n))
        return imap_parse_fail(p, "the length of a literal is no number");
    if (!slice_starts(after, SLICE("\r\n")) || after.n - 2 < n)
        return imap_parse_fail(
            p, "a literal stands at the end of its line: {length} and a line break, then its octets");
    *out = slice_sub(after, 2, (size_t)n);
    if (memchr(out->p, '\0', out->n))
        return imap_parse_fail(p, "a literal may not hold NUL octets");
    p->rest = slice_from(after, 2 + (size_t)n);
    return true;
}

bool imap_parse_string(struct imap_parse *p, struct slice *out)
{
    if (imap_parse_peek(p, '"'))
        return quoted(p, out);
    if (imap_parse_peek(p, '{'))
        return literal(p, out);
    return imap_parse_fail(
        p, p->rest.n ? "a quoted string or a literal was expected" : "an argument is missing");
}

bool imap_parse_astring(struct imap_parse *p, struct slice *out)
{
    size_t n;

    if (imap_parse_peek(p, '"') || imap_parse_peek(p, '{'))
        return imap_parse_string(p, out);
    n = run(p->rest, "]");
    if (n == 0)
        return imap_parse_fail(p, p->rest.n ? "a word or a string was expected" : "an argument is missing");
    *out = slice_sub(p->rest, 0, n);
    skip(p, n);
    return true;
}

bool imap_parse_nstring(struct imap_parse *p, struct slice *out)
{
    struct slice word;

    if (imap_parse_peek(p, '"') || imap_parse_peek(p, '{'))
        return imap_parse_string(p, out);
    if (!imap_parse_atom(p, &word))
        return false;
    if (!slice_eq_nocase(word, SLICE("NIL")))
        return imap_parse_fail(p, "a string or NIL was expected");
    *out = (struct slice){NULL, 0};
    return true;
}

bool imap_parse_list_mailbox(struct imap_parse *p, struct slice *out)
{
    size_t n;

    if (imap_parse_peek(p, '"') || imap_parse_peek(p, '{'))
        return imap_parse_string(p, out);
    n = run(p->rest, "]%*");
    if (n == 0)
        return imap_parse_fail(
            p, p->rest.n ? "a mailbox name or pattern was expected" : "an argument is missing");
    *out = slice_sub(p->rest, 0, n);
    skip(p, n);
    return true;
}

bool imap_parse_number(struct imap_parse *p, uint64_t max, uint64_t *out)
{
    size_t n = 0;

    while (n < p->rest.n && ascii_is_digit(p->rest.p[n]))
        n++;
    if (n == 0)
        return imap_parse_fail(p, "a number was expected");
    if (!slice_u64(slice_sub(p->rest, 0, n), max, out))
        return imap_parse_fail(p, "a number is too large");
    skip(p, n);
    return true;
}

bool imap_parse_nz_number(struct imap_parse *p, uint64_t max, uint64_t *out)
{
    if (imap_parse_peek(p, '0'))
        return imap_parse_fail(p, "a number from 1 on without leading zeros was expected");
    return imap_parse_number(p, max, out);
}

/* flag (RFC 3501 9) */
bool imap_parse_flag(struct imap_parse *p, struct slice *out)
{
    size_t back = imap_parse_peek(p, '\\') ? 1 : 0;
    size_t n = run(slice_from(p->rest, back), "");

    if (n == 0)
        return imap_parse_fail(p, "a flag was expected, as \\Seen or a keyword");
    *out = slice_sub(p->rest, 0, back + n);
    skip(p, back + n);
    return true;
}

bool imap_parse_flags(struct imap_parse *p, bool bare, const struct slice **flags, size_t *n)
{
    bool list = imap_parse_peek(p, '(');
    struct slice *array;

    *n = 0;
    *flags = NULL;
    if (!list && !bare)
        return imap_parse_fail(p, "flags stand in parentheses");
    array = arena_zalloc(p->arena, FLAGS_MAX, sizeof *array);
    if (!array)
        return imap_parse_fail(p, too_big);
    *flags = array;
    if (list) {
        skip(p, 1);
        if (imap_parse_peek(p, ')')) {
            skip(p, 1);
            return true;
        }
    }
    for (;;) {
        if (*n == FLAGS_MAX)
            return imap_parse_fail(p, "more than 64 flags in one command");
        if (!imap_parse_flag(p, &array[*n]))
            return false;
        ++*n;
        if (!imap_parse_peek(p, ' '))
            break;
        imap_parse_space(p);
    }
    return !list || imap_parse_char(p, ')');
}

/* mailbox (RFC 3501 9, 5.1.3; RFC 6855 3 when utf8) */
bool imap_parse_mailbox(struct imap_parse *p, bool utf8, struct slice *out)
{
    struct slice raw;
    struct buf decoded = BUF_INIT(4 * FOLDER_NAME_MAX), name = BUF_INIT(4 * FOLDER_NAME_MAX);
    struct err e = {0};
    bool ok;

    if (!imap_parse_astring(p, &raw))
        return false;
    if (utf8) {
        buf_add(&decoded, raw);
        ok = utf8_is_valid(raw);
    } else {
        ok = folder_utf7_decode(raw, &decoded);
    }
    if (!ok)
        imap_parse_fail(
            p, utf8 ? "a mailbox name must be valid UTF-8"
                    : "a mailbox name must be valid modified UTF-7 (RFC 3501 5.1.3): & is written &-");
    else if (decoded.full || folder_normalise(buf_slice(&decoded), &name, &e) < 0 || name.full)
        ok = imap_parse_fail(p, imap_bad_mailbox_name);
    if (ok) {
        *out = arena_copy(p->arena, buf_slice(&name));
        if (!out->p)
            ok = imap_parse_fail(p, too_big);
    }
    buf_free(&decoded);
    buf_free(&name);
    return ok;
}
