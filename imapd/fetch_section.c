/* BODY[section]<partial> (RFC 3501 6.4.5): which octets of the message those are. */
#include "imapd/fetch.h"

#include <string.h>

/*
 * A header section and what follows it. For a part: of the message inside a message/rfc822 part, whose number
 * the path is.
 */
static bool message_at(const struct fetch_section *s, const struct mime_tree *t, struct slice text,
    struct slice *header, struct slice *body)
{
    const struct mime_part *p;
    size_t n;
    ssize_t i;

    if (s->npath == 0) {
        n = header_size(text);
        *header = slice_sub(text, 0, n);
        *body = slice_from(text, n);
        return true;
    }
    i = mime_find(t, s->path, s->npath);
    if (i < 0 || t->parts[i].kind != MIME_MESSAGE)
        return false;
    p = &t->parts[t->parts[i].first_child];
    *header = slice_sub(text, p->header, p->header_len);
    *body = slice_sub(text, p->body, p->body_len);
    return true;
}

static bool is_named(const struct fetch_section *s, struct slice name)
{
    for (size_t i = 0; i < s->nfields; i++)
        if (s->fields[i].n == name.n && slice_eq_nocase(s->fields[i], name))
            return true;
    return false;
}

/* RFC 3501 6.4.5: the empty line is part of every subset, if the message has one. */
static void subset(const struct fetch_section *s, struct slice header, struct buf *built)
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

static bool whole_section(const struct fetch_section *s, const struct mime_tree *t, struct slice text,
    struct buf *built, struct slice *out)
{
    struct slice header, body;
    ssize_t i;

    if (s->what == FETCH_ALL || s->what == FETCH_MIME) {
        if (s->npath == 0) {
            *out = text;
            return true;
        }
        i = mime_find(t, s->path, s->npath);
        if (i < 0)
            return false;
        *out = s->what == FETCH_MIME ? slice_sub(text, t->parts[i].header, t->parts[i].header_len)
                                     : slice_sub(text, t->parts[i].body, t->parts[i].body_len);
        return true;
    }
    if (!message_at(s, t, text, &header, &body))
        return false;
    if (s->what == FETCH_TEXT) {
        *out = body;
    } else if (s->what == FETCH_HEADER) {
        *out = header;
    } else {
        subset(s, header, built);
        *out = buf_slice(built);
    }
    return true;
}

bool fetch_section_resolve(const struct fetch_section *s, const struct mime_tree *t, struct slice text,
    struct buf *built, struct slice *out)
{
    if ((s->npath && !t) || !whole_section(s, t, text, built, out))
        return false;
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
