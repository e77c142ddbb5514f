#include "common/settings_scan.h"

#include <limits.h>
#include <stdio.h>

#include "common/ascii.h"

#define DEPTH_MAX 8
#define COMPLAINTS_MAX 20

struct scan {
    struct slice text;
    size_t at;
    unsigned line;
    const char *file;
    struct buf *out;
    unsigned complaints;
    char before; /* the last delimiter, 'v' after a value, 'n' after a name */
    size_t depth;
    char open[DEPTH_MAX];
    unsigned open_line[DEPTH_MAX];
};

struct settings_quoted settings_quote(struct slice s)
{
    static const char hex[] = "0123456789abcdef";
    struct settings_quoted q;
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (n + 8 > sizeof(q.z)) {
            q.z[n++] = '.';
            q.z[n++] = '.';
            break;
        }
        unsigned char c = (unsigned char)s.p[i];
        if (ascii_is_control((char)c)) {
            q.z[n++] = '\\';
            q.z[n++] = 'x';
            q.z[n++] = hex[c >> 4];
            q.z[n++] = hex[c & 15];
        } else {
            q.z[n++] = (char)c;
        }
    }
    q.z[n] = '\0';
    return q;
}

void settings_complain(struct buf *out, const char *file, unsigned line, const char *fmt, ...)
{
    va_list ap;

    buf_printf(out, "%s:%u: ", file, line);
    va_start(ap, fmt);
    buf_vprintf(out, fmt, ap);
    va_end(ap);
    buf_add_char(out, '\n');
}

#define COMPLAIN(s, line_, ...)                                                                              \
    ((s)->complaints++, settings_complain((s)->out, (s)->file, (line_), __VA_ARGS__))

static char look(const struct scan *s, size_t ahead)
{
    return s->at + ahead < s->text.n ? s->text.p[s->at + ahead] : '\0';
}

static bool in_list(const struct scan *s)
{
    return s->depth > 0 && s->open[s->depth - 1] != '{';
}

/* A value is due: behind '=', or as an element of a list. */
static bool value_is_due(const struct scan *s)
{
    return s->before == '=' || s->before == '(' || (s->before == ',' && in_list(s));
}

static void skip_line(struct scan *s)
{
    while (s->at < s->text.n && s->text.p[s->at] != '\n')
        s->at++;
}

static bool skip_comment(struct scan *s)
{
    unsigned from = s->line;

    for (s->at += 2; s->at < s->text.n; s->at++) {
        if (look(s, 0) == '*' && look(s, 1) == '/') {
            s->at += 2;
            return true;
        }
        if (look(s, 0) == '\n')
            s->line++;
    }
    COMPLAIN(s, from, "the comment that begins here has no end; write */ behind it");
    return false;
}

static bool skip_text(struct scan *s)
{
    for (s->at++; s->at < s->text.n && look(s, 0) != '\n'; s->at++) {
        if (look(s, 0) == '"') {
            s->at++;
            s->before = 'v';
            return true;
        }
        if (look(s, 0) == '\\' && look(s, 1) != '\n')
            s->at++;
    }
    COMPLAIN(s, s->line, "a text has no closing quote in its line; write \" behind it");
    return false;
}

static bool is_word(char c)
{
    return ascii_is_alnum(c) || ascii_is_8bit(c) || c == '_' || c == '-' || c == '*' || c == '.' ||
           c == '@' || c == '+' || c == '/' || c == '\\' || c == '%';
}

static struct slice word(struct scan *s)
{
    size_t from = s->at;

    while (s->at < s->text.n && is_word(look(s, 0)) &&
           !(look(s, 0) == '/' && s->at > from && (look(s, 1) == '/' || look(s, 1) == '*')))
        s->at++;
    return slice_sub(s->text, from, s->at - from);
}

/* libconfig reads an int by atoi and takes what fits: all that would be changed is refused. */
static void check_number(struct scan *s, struct slice w)
{
    struct slice digits = w;
    uint64_t v;
    bool large = false, negative = false;

    if (digits.n > 0 && (digits.p[0] == '-' || digits.p[0] == '+')) {
        negative = digits.p[0] == '-';
        digits = slice_from(digits, 1);
    }
    if (digits.n > 0 && ascii_upper(digits.p[digits.n - 1]) == 'L') {
        while (digits.n > 0 && ascii_upper(digits.p[digits.n - 1]) == 'L')
            digits.n--;
        large = true;
    }
    uint64_t max = large ? (uint64_t)INT64_MAX : (uint64_t)INT_MAX;
    if (slice_u64(digits, max, &v))
        return;
    bool all_digits = digits.n > 0;
    for (size_t i = 0; i < digits.n; i++)
        all_digits = all_digits && ascii_is_digit(digits.p[i]);
    if (all_digits)
        COMPLAIN(s, s->line, "the number %s is too %s; the %s one that can be written is %s%d",
            settings_quote(w).z, negative ? "small" : "large", negative ? "smallest" : "largest",
            negative ? "-" : "", INT_MAX);
    else
        COMPLAIN(s, s->line, "%s is not a plain number; write it in quotes: \"%s\"", settings_quote(w).z,
            settings_quote(w).z);
}

static void check_word(struct scan *s, struct slice w)
{
    static const struct slice yes_no[] = {{"yes", 3}, {"no", 2}, {"on", 2}, {"off", 3}};
    struct settings_quoted q = settings_quote(w);

    if (slice_starts(w, SLICE("@include"))) {
        COMPLAIN(s, s->line, "@include is not followed; write the settings into this file");
        skip_line(s);
        return;
    }
    if (value_is_due(s)) {
        s->before = 'v';
        if (slice_eq_nocase(w, SLICE("true")) || slice_eq_nocase(w, SLICE("false")))
            return;
        for (size_t i = 0; i < 4; i++) {
            if (slice_eq_nocase(w, yes_no[i])) {
                COMPLAIN(s, s->line, "%s without quotes is not understood; write %s", q.z,
                    i % 2 == 0 ? "true" : "false");
                return;
            }
        }
        if (ascii_is_digit(w.p[0]) || ((w.p[0] == '-' || w.p[0] == '+') && w.n > 1 && ascii_is_digit(w.p[1])))
            check_number(s, w);
        else
            COMPLAIN(s, s->line, "the text %s has no quotes; write \"%s\"", q.z, q.z);
        return;
    }
    s->before = 'n';
    ssize_t dot = slice_chr(w, '.');
    if (dot > 0 && (size_t)dot + 1 < w.n)
        COMPLAIN(s, s->line, "a name has no dot; write %s = { %s = ..; };",
            settings_quote(slice_sub(w, 0, (size_t)dot)).z, settings_quote(slice_from(w, (size_t)dot + 1)).z);
    else if (!ascii_is_alpha(w.p[0]))
        COMPLAIN(s, s->line, "%s cannot begin a setting; a setting is written name = value;", q.z);
}

static bool open_bracket(struct scan *s, char c)
{
    if (s->depth == DEPTH_MAX) {
        COMPLAIN(s, s->line, "brackets stand more than %d deep; no setting needs that", DEPTH_MAX);
        return false;
    }
    s->open[s->depth] = c;
    s->open_line[s->depth] = s->line;
    s->depth++;
    s->before = c;
    return true;
}

static bool close_bracket(struct scan *s, char c)
{
    char wants = c == '}' ? '{' : '(';

    if (s->depth == 0) {
        COMPLAIN(s, s->line, "%c closes nothing; take it out", c);
        return false;
    }
    s->depth--;
    if (s->open[s->depth] != wants) {
        COMPLAIN(s, s->line, "%c does not close the %c of line %u; close that first", c, s->open[s->depth],
            s->open_line[s->depth]);
        return false;
    }
    s->before = 'v';
    return true;
}

/* The grammar is so small that all of it is checked here: libconfig 1.5 leaks on a syntax error. */
static bool separator(struct scan *s, char c)
{
    s->at++;
    if (c == '=' || c == ':') {
        if (s->before != 'n') {
            COMPLAIN(s, s->line, "%c stands without a name before it; a setting is written name = value;", c);
            return false;
        }
        s->before = '=';
        return true;
    }
    if (s->before != 'v' || (c == ';' && in_list(s))) {
        COMPLAIN(s, s->line, "%c stands where a %s is due", c,
            in_list(s) || s->before == '=' ? "value"
            : s->before == 'n'             ? "="
                                           : "setting");
        return false;
    }
    s->before = c;
    return true;
}

/* One token that starts with c. False: what follows cannot be understood any more. */
static bool token(struct scan *s, char c)
{
    bool opens = c == '{' || c == '(' || c == '"';

    if (c == '[' || c == ']') {
        COMPLAIN(s, s->line, "%c is not used here; lists stand in ( )", c);
        return false;
    }
    if ((opens || is_word(c)) && s->before == 'v' && in_list(s)) {
        COMPLAIN(s, s->line, "two entries of a list stand side by side; write a comma between them");
        return false;
    }
    if (opens && !value_is_due(s)) {
        COMPLAIN(s, s->line, "%c stands where a name is due; a setting is written name = value;", c);
        return false;
    }
    if (is_word(c) && s->before == 'n') {
        COMPLAIN(s, s->line, "a name stands without = and value before %s", settings_quote(word(s)).z);
        return false;
    }
    if ((c == '}' || c == ')') && (s->before == 'n' || s->before == '=' || (s->before == ',' && c == ')'))) {
        COMPLAIN(s, s->line, "%c stands where a %s is due", c, s->before == 'n' ? "=" : "value");
        return false;
    }
    switch (c) {
    case '{':
    case '(':
        s->at++;
        return open_bracket(s, c);
    case '}':
    case ')':
        s->at++;
        return close_bracket(s, c);
    case '=':
    case ':':
    case ',':
    case ';':
        return separator(s, c);
    case '"':
        return skip_text(s);
    default:
        if (is_word(c)) {
            check_word(s, word(s));
            return true;
        }
        COMPLAIN(s, s->line, "the octet %s means nothing here; texts stand in quotes",
            settings_quote(slice_of(&c, 1)).z);
        return false;
    }
}

bool settings_scan(struct slice text, const char *file, struct buf *out)
{
    struct scan s = {.text = text, .line = 1, .file = file, .out = out, .before = ';'};

    for (size_t i = 0; i < text.n; i++) {
        s.line += text.p[i] == '\n';
        if (text.p[i] == '\0') {
            COMPLAIN(&s, s.line, "a NUL octet stands here; this is not a text file");
            return false;
        }
    }
    s.line = 1;
    while (s.at < text.n && s.complaints < COMPLAINTS_MAX) {
        char c = text.p[s.at];
        if (ascii_is_blank(c)) {
            s.line += c == '\n';
            s.at++;
        } else if (c == '#' || (c == '/' && look(&s, 1) == '/')) {
            skip_line(&s);
        } else if (c == '/' && look(&s, 1) == '*') {
            if (!skip_comment(&s))
                return false;
        } else if (!token(&s, c)) {
            return false;
        }
    }
    if (s.complaints == 0 && s.depth > 0)
        COMPLAIN(&s, s.open_line[s.depth - 1], "the %c of this line is never closed; write %s at its end",
            s.open[s.depth - 1], s.open[s.depth - 1] == '{' ? "};" : ");");
    if (s.complaints == 0 && (s.before == 'n' || s.before == '='))
        COMPLAIN(&s, s.line, "the last setting has no value; a setting is written name = value;");
    return s.complaints == 0;
}
