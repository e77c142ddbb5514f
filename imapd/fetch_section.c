/* BODY[section]<partial> (RFC 3501 6.4.5): which octets of the message those are. */
#include "imapd/fetch.h"

#include <string.h>

static bool is_named(const struct fetch_section *s, struct slice name)
{
    for (size_t i = 0; i < s->nfields; i++)
        if (s->fields[i].n == name.n && slice_eq_nocase(s->fields[i], name))
            return true;
    return false;
}

/* RFC 3501 6.4.5: the empty line is part of every subset, if the message has one. */
void fetch_section_subset(const struct fetch_section *s, struct slice header, struct buf *built)
{
    bool named = s->what == FETCH_FIELDS;
    struct slice rest = header;
    struct header_field field;
    size_t n = 0;

    buf_clear(built);
    while (n++ < HEADER_FIELDS_MAX && header_next(&rest, &field))
        if (is_named(s, field.name) == named)
            buf_add(built, field.raw);
    if (slice_ends(header, SLICE("\r\n\r\n")) || slice_ends(header, SLICE("\n\n")) ||
        slice_eq(header, SLICE("\r\n")) || slice_eq(header, SLICE("\n")))
        buf_add(built, SLICE("\r\n"));
}

bool fetch_section_range(
    const struct fetch_section *s, const struct mime_tree *t, uint64_t *from, uint64_t *n)
{
    bool is_part = s->what == FETCH_ALL || s->what == FETCH_MIME;
    ssize_t i = mime_find(t, s->path, s->npath);
    const struct mime_part *p;

    if (i < 0)
        return false;
    p = &t->parts[i];
    if (s->npath == 0 && is_part) {
        *from = 0;
        *n = p->header_len + p->body_len;
        return true;
    }
    /* HEADER and TEXT of a part: of the message in a message/rfc822 part, whose number the path is */
    if (!is_part && s->npath) {
        if (p->kind != MIME_MESSAGE)
            return false;
        p = &t->parts[p->first_child];
    }
    if (s->what == FETCH_ALL || s->what == FETCH_TEXT) {
        *from = p->body;
        *n = p->body_len;
    } else {
        *from = p->header;
        *n = p->header_len;
    }
    return true;
}

/* Of the message itself, where no tree is at hand. */
static void message_range(const struct fetch_section *s, struct slice text, uint64_t *from, uint64_t *n)
{
    size_t header = s->what == FETCH_ALL ? 0 : header_size(text);
    bool is_behind = s->what == FETCH_ALL || s->what == FETCH_TEXT;

    *from = is_behind ? header : 0;
    *n = is_behind ? text.n - header : header;
}

bool fetch_section_resolve(const struct fetch_section *s, const struct mime_tree *t, struct slice text,
    struct buf *built, struct slice *out)
{
    uint64_t from, n;

    if (s->npath == 0)
        message_range(s, text, &from, &n);
    else if (!t || !fetch_section_range(s, t, &from, &n))
        return false;
    *out = slice_sub(text, from, n);
    if (s->what == FETCH_FIELDS || s->what == FETCH_FIELDS_NOT) {
        fetch_section_subset(s, *out, built);
        *out = buf_slice(built);
    }
    if (s->is_partial)
        *out = slice_sub(*out, s->from, s->len);
    return true;
}

void fetch_add_octets(struct buf *out, struct slice octets)
{
    while (octets.n) {
        const char *nul = memchr(octets.p, '\0', octets.n);
        size_t n = nul ? (size_t)(nul - octets.p) : octets.n;

        buf_add(out, slice_sub(octets, 0, n));
        if (nul)
            buf_add_char(out, (char)0x80);
        octets = slice_from(octets, n + (nul != NULL));
    }
}
