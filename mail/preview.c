#include "mail/preview.h"

#include <string.h>

#include "common/ascii.h"
#include "common/utf8.h"
#include "mail/decode.h"

/* Octets of a body: mostly enough for text, for HTML; style sheets may stand before it. */
static const size_t looks[] = {384, (size_t)4 << 10, (size_t)64 << 10};
#define LOOKS (sizeof looks / sizeof *looks)
#define LOOK_MAX ((size_t)64 << 10)
#define NAME_MAX_N 10 /* of a tag or an entity that matters */

struct preview {
    struct buf *out;
    unsigned chars;
    bool gap; /* a blank is due before the next character */
};

static bool is_full(const struct preview *p)
{
    return p->chars >= PREVIEW_CHARS;
}

/* Blanks, and what senders fill a preview with: zero-width characters, soft hyphens. */
static bool is_blank(uint32_t c)
{
    if (c > ' ' && c < 0x7f)
        return false;
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == 0xa0 || c == 0x34f || c == 0xad ||
           (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) || (c >= 0x2060 && c <= 0x206f) ||
           c == 0x3000 || c == 0xfeff;
}

static void add(struct preview *p, uint32_t code)
{
    char c[4] = {(char)code};
    size_t n = 1;

    if (is_blank(code)) {
        p->gap = p->chars > 0;
        return;
    }
    if (code <= ' ' || code >= 0x7f) {
        n = utf8_encode(code, c);
        if (utf8_printable(slice_of(c, n)) != n)
            return;
    }
    if (p->gap && p->chars + 1 >= PREVIEW_CHARS) {
        p->chars = PREVIEW_CHARS; /* a blank at the end says nothing */
        return;
    }
    if (p->gap) {
        buf_add_char(p->out, ' ');
        p->chars++;
        p->gap = false;
    }
    buf_add(p->out, slice_of(c, n));
    p->chars++;
}

static bool is_graph(char c)
{
    return c > ' ' && c < 0x7f && c != '<' && c != '&';
}

/* The first character; of ASCII that can be shown the whole word. */
static size_t add_next(struct preview *p, struct slice s)
{
    size_t left, run = 0;
    uint32_t code = (unsigned char)s.p[0];
    size_t n = code < 0x80 ? 1 : utf8_decode(s, &code);

    if (n == 0)
        return 1; /* decode_charset left none; a piece may be cut */
    add(p, code);
    if (!is_graph(s.p[0]) || is_full(p))
        return n;
    left = PREVIEW_CHARS - p->chars;
    while (run < left && 1 + run < s.n && is_graph(s.p[1 + run]))
        run++;
    buf_add(p->out, slice_sub(s, 1, run));
    p->chars += (unsigned)run;
    return 1 + run;
}

static void plain(struct preview *p, struct slice s)
{
    while (s.n && !is_full(p))
        s = slice_from(s, add_next(p, s));
}

/* ------------------------------------------------------------------ HTML */

static const struct {
    struct slice name;
    uint32_t code;
} entities[] = {
    {{"amp", 3}, '&'},
    {{"lt", 2}, '<'},
    {{"gt", 2}, '>'},
    {{"quot", 4}, '"'},
    {{"apos", 4}, '\''},
    {{"nbsp", 4}, ' '},
    {{"zwnj", 4}, ' '},
    {{"zwj", 3}, ' '},
    {{"shy", 3}, ' '},
    {{"copy", 4}, 0xa9},
    {{"reg", 3}, 0xae},
    {{"euro", 4}, 0x20ac},
    {{"hellip", 6}, 0x2026},
    {{"ndash", 5}, 0x2013},
    {{"mdash", 5}, 0x2014},
    {{"bull", 4}, 0x2022},
    {{"middot", 6}, 0xb7},
    {{"lsquo", 5}, 0x2018},
    {{"rsquo", 5}, 0x2019},
    {{"ldquo", 5}, 0x201c},
    {{"rdquo", 5}, 0x201d},
    {{"bdquo", 5}, 0x201e},
    {{"laquo", 5}, 0xab},
    {{"raquo", 5}, 0xbb},
    {{"auml", 4}, 0xe4},
    {{"ouml", 4}, 0xf6},
    {{"uuml", 4}, 0xfc},
    {{"Auml", 4}, 0xc4},
    {{"Ouml", 4}, 0xd6},
    {{"Uuml", 4}, 0xdc},
    {{"szlig", 5}, 0xdf},
    {{"eacute", 6}, 0xe9},
    {{"egrave", 6}, 0xe8},
    {{"ecirc", 5}, 0xea},
    {{"agrave", 6}, 0xe0},
    {{"aacute", 6}, 0xe1},
    {{"acirc", 5}, 0xe2},
    {{"ccedil", 6}, 0xe7},
    {{"ntilde", 6}, 0xf1},
    {{"oacute", 6}, 0xf3},
};

/* Behind "&#": the number, 0 when it is none. */
static uint32_t number(struct slice s)
{
    bool hex = s.n && ascii_lower(s.p[0]) == 'x';
    uint32_t v = 0;

    for (size_t i = hex; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        uint32_t digit = ascii_is_digit(c) ? (uint32_t)(c - '0') : (uint32_t)(c - 'a') + 10;

        if (digit >= (hex ? 16 : 10) || v > 0x10ffff)
            return 0;
        v = v * (hex ? 16 : 10) + digit;
    }
    return v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff) ? 0 : v;
}

/* At '&': octets taken. */
static size_t entity(struct preview *p, struct slice s)
{
    struct slice name;
    uint32_t code = 0;
    size_t n = 1;

    while (n < s.n && n <= NAME_MAX_N && (ascii_is_alnum(s.p[n]) || (n == 1 && s.p[n] == '#')))
        n++;
    name = slice_sub(s, 1, n - 1);
    if (slice_starts(name, SLICE("#")))
        code = number(slice_from(name, 1));
    for (size_t i = 0; i < sizeof entities / sizeof *entities && code == 0; i++)
        if (slice_eq(entities[i].name, name))
            code = entities[i].code;
    if (code == 0) {
        add(p, '&');
        return 1;
    }
    add(p, code);
    return n + (n < s.n && s.p[n] == ';');
}

/* Octets up to the end of the element `name`, whose start tag lies before s; all of s if it does not end. */
static size_t to_end_tag(struct slice s, struct slice name)
{
    for (size_t i = 0; i < s.n;) {
        const char *lt = memchr(s.p + i, '<', s.n - i);

        if (!lt)
            break;
        i = (size_t)(lt - s.p) + 1;
        if (i < s.n && s.p[i] == '/' && slice_starts_nocase(slice_from(s, i + 1), name))
            return i - 1;
    }
    return s.n;
}

/* Octets of a tag, '>' included; one in a quoted value does not count. */
static size_t tag_size(struct slice s)
{
    char quote = 0;

    for (size_t i = 1; i < s.n; i++) {
        char c = s.p[i];

        if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '>')
            return i + 1;
        else if ((c == '"' || c == '\'') && s.p[i - 1] == '=')
            quote = c;
    }
    return s.n;
}

/* At '<': octets of the tag, and of the element when it is none that is shown. */
static size_t tag(struct preview *p, struct slice s)
{
    static const struct slice unseen[] = {{"style", 5}, {"script", 6}, {"title", 5}, {"head", 4}};
    static const struct slice within[] = {{"b", 1}, {"i", 1}, {"a", 1}, {"u", 1}, {"em", 2}, {"font", 4},
        {"span", 4}, {"strong", 6}, {"wbr", 3}};
    bool closes = s.n > 1 && s.p[1] == '/';
    size_t n = 1 + (size_t)closes, size;
    struct slice name;
    bool is_within = false;

    if (slice_starts(s, SLICE("<!--"))) {
        ssize_t end = slice_find(s, SLICE("-->"));

        return end < 0 ? s.n : (size_t)end + 3;
    }
    if (n >= s.n || (!ascii_is_alpha(s.p[n]) && s.p[n] != '!' && s.p[n] != '?')) {
        add(p, '<');
        return 1;
    }
    while (n < s.n && ascii_is_alnum(s.p[n]))
        n++;
    name = slice_sub(s, 1 + (size_t)closes, n - 1 - (size_t)closes);
    size = tag_size(s);
    for (size_t i = 0; i < sizeof unseen / sizeof *unseen && !closes; i++)
        if (slice_eq_nocase(name, unseen[i]))
            return size + to_end_tag(slice_from(s, size), name);
    for (size_t i = 0; i < sizeof within / sizeof *within; i++)
        is_within = is_within || slice_eq_nocase(name, within[i]);
    if (!is_within)
        add(p, ' ');
    return size;
}

static void html(struct preview *p, struct slice s)
{
    while (s.n && !is_full(p)) {
        size_t n;

        if (s.p[0] == '<')
            n = tag(p, s);
        else if (s.p[0] == '&')
            n = entity(p, s);
        else
            n = add_next(p, s);
        s = slice_from(s, n);
    }
}

/* ------------------------------------------------------------------ the part */

static bool is_attachment(struct slice header, struct arena *scratch)
{
    struct header_field field;
    struct header_content c;

    return header_find(header, SLICE("Content-Disposition"), &field) &&
           header_content(field.value, scratch, &c) && slice_eq_nocase(c.type, SLICE("attachment"));
}

/* The first part of text, and what it says of itself. */
static bool find_part(struct slice text, const struct mime_tree *t, struct arena *scratch, uint32_t *part,
    struct header_content *c)
{
    for (uint32_t i = 0; i < t->count && i < 100; i++) {
        const struct mime_part *p = &t->parts[i];

        if (p->kind != MIME_SINGLE || p->is_opaque || p->body_len == 0)
            continue;
        mime_content_type(t, i, text, scratch, c);
        if (!slice_eq_nocase(c->type, SLICE("text")) ||
            is_attachment(slice_sub(text, p->header, p->header_len), scratch))
            continue;
        *part = i;
        return true;
    }
    return false;
}

static void decode(struct slice octets, enum mime_encoding encoding, struct slice charset, struct buf *utf8)
{
    struct buf raw = BUF_INIT(LOOK_MAX);
    struct decode_transfer d;

    if (encoding == MIME_QP || encoding == MIME_BASE64) {
        decode_transfer_init(&d, encoding);
        decode_transfer(&d, octets, &raw);
        decode_transfer_finish(&d, &raw);
        octets = buf_slice(&raw);
    }
    decode_charset(charset, octets, utf8);
    buf_free(&raw);
}

void preview_write(struct slice text, const struct mime_tree *t, struct arena *scratch, struct buf *out)
{
    struct buf utf8 = BUF_INIT(4 * LOOK_MAX);
    struct preview p = {.out = out};
    struct header_content c;
    size_t before = out->n;
    struct slice body, name;
    enum mime_encoding encoding;
    uint32_t part;

    if (!find_part(text, t, scratch, &part, &c))
        return;
    body = slice_sub(text, t->parts[part].body, t->parts[part].body_len);
    encoding = mime_part_encoding(t, part, text, scratch, &name);
    for (size_t i = slice_eq_nocase(c.subtype, SLICE("html")); i < LOOKS; i++) {
        buf_clear(&utf8);
        buf_cut(out, before);
        p = (struct preview){.out = out};
        decode(slice_sub(body, 0, looks[i]), encoding, header_param_get(&c, SLICE("charset")), &utf8);
        if (slice_eq_nocase(c.subtype, SLICE("html")))
            html(&p, buf_slice(&utf8));
        else
            plain(&p, buf_slice(&utf8));
        if (is_full(&p) || body.n <= looks[i])
            break;
    }
    buf_free(&utf8);
}
