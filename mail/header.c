#include "mail/header.h"

#include <string.h>

#include "common/ascii.h"
#include "mail/decode.h"
#include "mail/header_lex.h"

#define FOLD_COLUMNS 78 /* RFC 5322 2.1.1 */

/* Octets of the first line, its line end included. */
static size_t line_size(struct slice s)
{
    const char *lf = s.n ? memchr(s.p, '\n', s.n) : NULL;

    return lf ? (size_t)(lf - s.p) + 1 : s.n;
}

static struct slice without_line_end(struct slice s)
{
    if (s.n && s.p[s.n - 1] == '\n') {
        s.n--;
        if (s.n && s.p[s.n - 1] == '\r')
            s.n--;
    }
    return s;
}

static bool is_empty_line(struct slice s)
{
    return slice_starts(s, SLICE("\n")) || slice_starts(s, SLICE("\r\n"));
}

/* RFC 5322 2.2: printable US-ASCII but the colon; obs-optional allows blanks before the colon */
static struct slice field_name(struct slice s)
{
    struct slice none = slice_sub(s, 0, 0);

    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ' ' || ascii_is_control(s.p[i]) || ascii_is_8bit(s.p[i]))
            return none;
    return s;
}

bool header_next(struct slice *rest, struct header_field *field)
{
    struct slice s = *rest, line;
    const char *colon;
    size_t n;

    if (s.n == 0 || is_empty_line(s))
        return false;
    n = line_size(s);
    line = slice_sub(s, 0, n);
    colon = memchr(line.p, ':', line.n);
    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
        n += line_size(slice_from(s, n));
    field->raw = slice_sub(s, 0, n);
    *rest = slice_from(s, n);
    field->name = colon ? field_name(slice_of(s.p, (size_t)(colon - s.p))) : slice_of(s.p, 0);
    field->value = without_line_end(colon ? slice_from(field->raw, (size_t)(colon - s.p) + 1) : field->raw);
    return true;
}

size_t header_size(struct slice text)
{
    struct slice rest = text;

    while (rest.n && !is_empty_line(rest))
        rest = slice_from(rest, line_size(rest));
    return text.n - rest.n + (rest.n ? line_size(rest) : 0);
}

/*
 * Fields are skipped by their first letter, and lines of folds with them: a blank is no letter. What is left
 * is read as everywhere.
 */
bool header_next_by_letter(struct slice *rest, char letter, size_t *n, struct header_field *field)
{
    struct slice s = *rest;

    letter = ascii_lower(letter);
    for (; s.n && *n < HEADER_FIELDS_MAX; s = slice_from(s, line_size(s))) {
        if (s.p[0] == '\n' || s.p[0] == '\r') {
            if (is_empty_line(s))
                break;
        }
        if (s.p[0] == ' ' || s.p[0] == '\t')
            continue;
        ++*n;
        if (ascii_lower(s.p[0]) != letter)
            continue;
        *rest = s;
        return header_next(rest, field);
    }
    *rest = slice_of(s.p, 0);
    return false;
}

bool header_find(struct slice text, struct slice name, struct header_field *field)
{
    struct slice rest = slice_sub(text, 0, HEADER_LOOK_MAX);
    size_t n = 0;

    while (name.n && header_next_by_letter(&rest, name.p[0], &n, field))
        if (slice_eq_nocase(field->name, name))
            return true;
    return false;
}

struct slice header_unfold(struct slice value, struct arena *arena)
{
    struct slice s = slice_trim(slice_sub(value, 0, HEADER_LOOK_MAX));
    char *to = arena_alloc(arena, s.n);
    size_t n = 0;

    if (!to)
        return slice_of(NULL, 0);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '\r' || c == '\n') {
            size_t after = i + 1 + (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n');

            /* s is trimmed, so something follows; a line end of no fold is a blank of its own */
            if (s.p[after - 1] == '\n' && (s.p[after] == ' ' || s.p[after] == '\t')) {
                i = after - 1;
                continue;
            }
            c = ' ';
        }
        to[n++] = (char)(c ? c : (char)0x80);
    }
    return slice_of(to, n);
}

struct slice header_tokens(struct slice value, struct arena *arena)
{
    struct lex l = lex_of(slice_sub(value, 0, HEADER_LOOK_MAX));
    struct buf text = BUF_INIT(HEADER_LOOK_MAX);
    struct slice out;
    bool gap;

    while (gap = lex_cfws(&l, NULL), l.p < l.end) {
        if (gap && text.n)
            buf_add_char(&text, ' ');
        if (*l.p == '"')
            lex_quoted(&l, &text);
        else
            lex_put(&text, lex_run(&l, "(\""));
    }
    out = arena_copy(arena, buf_slice(&text));
    buf_free(&text);
    return out;
}

bool header_msgid_next(struct slice *rest, struct slice *id)
{
    const char *p = rest->p, *end = rest->p + rest->n, *start;
    bool quoted;

    while (p < end && (p = memchr(p, '<', (size_t)(end - p)))) {
        start = p++;
        quoted = false;
        /* the id of a quoted local part may hold blanks and '>'; what breaks an id off is where the next may
         * start */
        for (; p < end && *p != '<' && !ascii_is_control(*p) && (quoted || (*p != '>' && *p != ' ')); p++) {
            if (*p == '"')
                quoted = !quoted;
            else if (quoted && *p == '\\' && p + 1 < end && !ascii_is_control(p[1]))
                p++;
        }
        if (p < end && *p == '>') {
            p++;
            if (p - start == 2)
                continue;
            *id = slice_of(start, (size_t)(p - start));
            *rest = slice_of(p, (size_t)(end - p));
            return true;
        }
    }
    *rest = slice_of(end, 0);
    *id = slice_of(end, 0);
    return false;
}

/* Writes words, breaking the line before a blank wherever the next word would go beyond the columns. */
static void write_folded(struct buf *out, struct slice s, size_t column)
{
    size_t i = 0, word;

    while (i < s.n) {
        for (word = i; word < s.n && (s.p[word] == ' ' || s.p[word] == '\t'); word++)
            ;
        for (; word < s.n && s.p[word] != ' ' && s.p[word] != '\t'; word++)
            ;
        if (i > 0 && column + (word - i) > FOLD_COLUMNS) {
            buf_add(out, SLICE("\r\n"));
            column = 0;
        }
        buf_add(out, slice_sub(s, i, word - i));
        column += word - i;
        i = word;
    }
}

bool header_write(struct buf *out, struct slice name, struct slice value_utf8)
{
    struct buf words = BUF_INIT(HEADER_LOOK_MAX);
    bool good = name.n > 0 && field_name(name).n == name.n && slice_chr(name, ':') < 0;

    for (size_t i = 0; i < value_utf8.n && good; i++)
        good = value_utf8.p[i] != '\0' && value_utf8.p[i] != '\r' && value_utf8.p[i] != '\n';
    if (!good)
        return false;
    decode_words_encode(slice_trim(value_utf8), &words);
    good = !words.full && slice_chr(buf_slice(&words), '\n') < 0 && slice_chr(buf_slice(&words), '\r') < 0;
    if (good) {
        buf_add(out, name);
        buf_add(out, SLICE(": "));
        write_folded(out, buf_slice(&words), name.n + 2);
        buf_add(out, SLICE("\r\n"));
    }
    buf_free(&words);
    return good;
}
