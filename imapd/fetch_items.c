/* What FETCH is asked for (RFC 3501 6.4.5, 9). */
#include "imapd/fetch.h"

#include <string.h>

#include "common/ascii.h"
#include "mail/header_keys.h"
#include "store/cache.h"

#define FAST (FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE)

static const struct {
    struct slice name;
    unsigned bits;
} simple_items[] = {
    {{"UID", 3}, FETCH_UID},
    {{"FLAGS", 5}, FETCH_FLAGS},
    {{"INTERNALDATE", 12}, FETCH_INTERNALDATE},
    {{"RFC822.SIZE", 11}, FETCH_SIZE},
    {{"ENVELOPE", 8}, FETCH_ENVELOPE},
    {{"BODY", 4}, FETCH_BODY},
    {{"BODYSTRUCTURE", 13}, FETCH_BODYSTRUCTURE},
};

static const struct {
    struct slice name;
    unsigned bits;
} macros[] = {
    {{"FAST", 4}, FAST},
    {{"ALL", 3}, FAST | FETCH_ENVELOPE},
    {{"FULL", 4}, FAST | FETCH_ENVELOPE | FETCH_BODY},
};

/* The old names; they answer under their own name (RFC 3501 6.4.5). */
static const struct {
    struct slice name;
    enum fetch_what what;
    bool peek;
} old_items[] = {
    {{"RFC822", 6}, FETCH_ALL, false},
    {{"RFC822.HEADER", 13}, FETCH_HEADER, true},
    {{"RFC822.TEXT", 11}, FETCH_TEXT, false},
};

static const struct {
    struct slice name;
    enum fetch_what what;
} section_texts[] = {
    {{"HEADER.FIELDS.NOT", 17}, FETCH_FIELDS_NOT},
    {{"HEADER.FIELDS", 13}, FETCH_FIELDS},
    {{"HEADER", 6}, FETCH_HEADER},
    {{"TEXT", 4}, FETCH_TEXT},
    {{"MIME", 4}, FETCH_MIME},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const char unknown_item[] =
    "that is no item FETCH knows; for example FLAGS, ENVELOPE, BODYSTRUCTURE, BODY.PEEK[HEADER], UID are";
static const char too_big[] =
    "the command needs more memory than one command may have; send it in smaller steps";

struct reader {
    struct imap_parse *p;
    struct fetch_items *items;
    struct fetch_section **tail;
    size_t nsections;
};

/* A word of letters, digits and dots: item and section names end where something else begins. */
static struct slice word(struct imap_parse *p)
{
    size_t n = 0;

    while (n < p->rest.n && (ascii_is_alnum(p->rest.p[n]) || p->rest.p[n] == '.'))
        n++;
    return slice_sub(p->rest, 0, n);
}

static void skip(struct imap_parse *p, size_t n)
{
    p->rest = slice_from(p->rest, n);
}

static struct fetch_section *section_new(struct reader *r)
{
    struct fetch_section *s;

    if (r->nsections == FETCH_SECTIONS_MAX) {
        imap_parse_fail(r->p, "FETCH takes at most 128 body sections in one command; send it in parts");
        return NULL;
    }
    s = arena_zalloc(r->p->arena, 1, sizeof *s);
    if (!s) {
        imap_parse_fail(r->p, too_big);
        return NULL;
    }
    *r->tail = s;
    r->tail = &s->next;
    r->nsections++;
    return s;
}

/* section-part: nz-number *("." nz-number); the dot before a section text is taken too */
static bool read_path(struct imap_parse *p, struct fetch_section *s, bool *has_text)
{
    uint32_t path[FETCH_PATH_MAX];
    uint32_t *copy;
    uint64_t n;

    *has_text = true;
    while (p->rest.n && ascii_is_digit(p->rest.p[0])) {
        if (s->npath == FETCH_PATH_MAX)
            return imap_parse_fail(p, "a part number has at most 101 levels here");
        if (!imap_parse_nz_number(p, UINT32_MAX, &n))
            return false;
        path[s->npath++] = (uint32_t)n;
        *has_text = imap_parse_peek(p, '.');
        if (*has_text)
            skip(p, 1);
        else
            break;
    }
    if (s->npath == 0) {
        *has_text = !imap_parse_peek(p, ']');
        return true;
    }
    copy = arena_alloc(p->arena, s->npath * sizeof *copy);
    if (!copy)
        return imap_parse_fail(p, too_big);
    memcpy(copy, path, s->npath * sizeof *copy);
    s->path = copy;
    return true;
}

static bool read_fields(struct imap_parse *p, struct fetch_section *s)
{
    struct slice *fields = arena_alloc(p->arena, FETCH_FIELDS_MAX * sizeof *fields);

    if (!fields)
        return imap_parse_fail(p, too_big);
    if (!imap_parse_space(p) || !imap_parse_char(p, '('))
        return false;
    do {
        if (s->nfields == FETCH_FIELDS_MAX)
            return imap_parse_fail(p, "HEADER.FIELDS takes at most 256 names");
        if (!imap_parse_astring(p, &fields[s->nfields]))
            return false;
        s->nfields++;
    } while (imap_parse_peek(p, ' ') && imap_parse_space(p) && !imap_parse_peek(p, ')'));
    s->fields = fields;
    return imap_parse_char(p, ')');
}

static bool read_section_text(struct imap_parse *p, struct fetch_section *s)
{
    struct slice name = word(p);

    for (size_t i = 0; i < COUNT(section_texts); i++) {
        if (!slice_eq_nocase(name, section_texts[i].name))
            continue;
        skip(p, name.n);
        s->what = section_texts[i].what;
        if (s->what == FETCH_MIME && s->npath == 0)
            return imap_parse_fail(p, "MIME needs a part number before it, as in BODY[1.MIME]");
        return s->what == FETCH_FIELDS || s->what == FETCH_FIELDS_NOT ? read_fields(p, s) : true;
    }
    return imap_parse_fail(p, "a body section is a part number, HEADER, HEADER.FIELDS, TEXT or MIME");
}

/* "<" number "." nz-number ">" (I04: both below 2^32, the sum is never taken in 32 bits) */
static bool read_partial(struct imap_parse *p, struct fetch_section *s)
{
    if (!imap_parse_peek(p, '<'))
        return true;
    skip(p, 1);
    s->is_partial = true;
    return imap_parse_number(p, UINT32_MAX, &s->from) && imap_parse_char(p, '.') &&
           imap_parse_nz_number(p, UINT32_MAX, &s->len) && imap_parse_char(p, '>');
}

/* BODY[section]<from>, in one spelling; names as the client gave them, as astrings */
static bool make_label(struct imap_parse *p, struct fetch_section *s)
{
    struct buf b = BUF_INIT((size_t)1 << 20);

    buf_add_str(&b, "BODY[");
    for (size_t i = 0; i < s->npath; i++) {
        if (i)
            buf_add_char(&b, '.');
        buf_add_u64(&b, s->path[i]);
    }
    for (size_t i = 0; i < COUNT(section_texts); i++) {
        if (s->what != FETCH_ALL && section_texts[i].what == s->what) {
            if (s->npath)
                buf_add_char(&b, '.');
            buf_add(&b, section_texts[i].name);
        }
    }
    for (size_t i = 0; i < s->nfields; i++) {
        struct imap_parse atom;
        struct slice whole;

        buf_add_str(&b, i ? " " : " (");
        imap_parse_init(&atom, s->fields[i], p->arena);
        if (imap_parse_atom(&atom, &whole) && atom.rest.n == 0)
            buf_add(&b, whole);
        else
            imap_write_string(&b, s->fields[i], false);
    }
    buf_add_str(&b, s->nfields ? ")]" : "]");
    if (s->is_partial) {
        buf_add_char(&b, '<');
        buf_add_u64(&b, s->from);
        buf_add_char(&b, '>');
    }
    s->label = b.full ? slice_of(NULL, 0) : arena_copy(p->arena, buf_slice(&b));
    buf_free(&b);
    return s->label.p ? true : imap_parse_fail(p, too_big);
}

/* Behind "BODY" or "BODY.PEEK", at "[". */
static bool read_section(struct reader *r, bool peek)
{
    struct imap_parse *p = r->p;
    struct fetch_section *s = section_new(r);
    bool has_text;

    if (!s || !imap_parse_char(p, '[') || !read_path(p, s, &has_text))
        return false;
    if (has_text && !read_section_text(p, s))
        return false;
    s->peek = peek;
    return imap_parse_char(p, ']') && read_partial(p, s) && make_label(p, s);
}

static bool read_item(struct reader *r)
{
    struct imap_parse *p = r->p;
    struct slice name = word(p);
    bool bracket = name.n < p->rest.n && p->rest.p[name.n] == '[';

    if (bracket) {
        bool peek = slice_eq_nocase(name, SLICE("BODY.PEEK"));

        if (!peek && !slice_eq_nocase(name, SLICE("BODY")))
            return imap_parse_fail(p, unknown_item);
        skip(p, name.n);
        return read_section(r, peek);
    }
    for (size_t i = 0; i < COUNT(simple_items); i++) {
        if (slice_eq_nocase(name, simple_items[i].name)) {
            skip(p, name.n);
            r->items->simple |= simple_items[i].bits;
            return true;
        }
    }
    for (size_t i = 0; i < COUNT(old_items); i++) {
        if (slice_eq_nocase(name, old_items[i].name)) {
            struct fetch_section *s = section_new(r);

            if (!s)
                return false;
            skip(p, name.n);
            s->what = old_items[i].what;
            s->peek = old_items[i].peek;
            s->label = old_items[i].name;
            return true;
        }
    }
    return imap_parse_fail(p, unknown_item);
}

static bool read_macro(struct reader *r)
{
    struct slice name = word(r->p);

    for (size_t i = 0; i < COUNT(macros); i++) {
        if (slice_eq_nocase(name, macros[i].name)) {
            skip(r->p, name.n);
            r->items->simple |= macros[i].bits;
            return true;
        }
    }
    return false;
}

static bool is_keys(const struct fetch_section *s)
{
    for (size_t i = 0; i < s->nfields; i++)
        if (!header_is_key(s->fields[i]))
            return false;
    return s->npath == 0 && s->what == FETCH_FIELDS;
}

/* What of a message has to be known for all this. */
static void find_needs(struct fetch_items *items)
{
    if (items->simple & FETCH_ENVELOPE)
        items->slots |= CACHE_BIT(CACHE_ENVELOPE);
    if (items->simple & FETCH_BODY)
        items->slots |= CACHE_BIT(CACHE_BODY);
    if (items->simple & FETCH_BODYSTRUCTURE)
        items->slots |= CACHE_BIT(CACHE_BODYSTRUCTURE);
    for (struct fetch_section *s = items->sections; s; s = s->next) {
        if (!s->peek)
            items->sets_seen = true;
        s->is_keys = is_keys(s);
        if (s->is_keys)
            items->slots |= CACHE_BIT(CACHE_KEYS);
        else if (s->npath)
            items->needs_parts = true;
        else if (s->what == FETCH_ALL || s->what == FETCH_TEXT)
            items->needs_text = true;
        else
            items->needs_head = true;
    }
    if (items->needs_parts)
        items->slots |= CACHE_BIT(CACHE_PARTS);
}

bool fetch_items_parse(struct imap_parse *p, struct fetch_items *out)
{
    struct reader r = {.p = p, .items = out, .tail = &out->sections};

    *out = (struct fetch_items){0};
    if (imap_parse_peek(p, '(')) {
        skip(p, 1);
        do {
            if (!read_item(&r))
                return false;
        } while (imap_parse_peek(p, ' ') && imap_parse_space(p) && !imap_parse_peek(p, ')'));
        if (!imap_parse_char(p, ')'))
            return false;
    } else if (!read_macro(&r) && !read_item(&r)) {
        return false;
    }
    find_needs(out);
    return true;
}
