/*
 * BODY and BODYSTRUCTURE (RFC 3501 7.4.2). The tree is walked by its links, down and up, without a stack:
 * what stands behind the children of a part is written on the way up.
 */
#include "imapd/fetch.h"

static void write_params(struct buf *out, const struct header_param *params)
{
    if (!params) {
        buf_add(out, SLICE("NIL"));
        return;
    }
    for (const struct header_param *p = params; p; p = p->next) {
        buf_add_char(out, p == params ? '(' : ' ');
        imap_write_string(out, p->name, false);
        buf_add_char(out, ' ');
        imap_write_string(out, p->value, false);
    }
    buf_add_char(out, ')');
}

/* Fields of a part's header that are shown beside Content-Type and -Transfer-Encoding; p == NULL: not there.
 */
struct fields {
    struct slice id, description, md5, disposition, language, location;
};

static void find_fields(struct slice header, struct fields *f)
{
    const struct {
        struct slice name;
        struct slice *to;
    } wanted[] = {
        {SLICE("Content-ID"), &f->id},
        {SLICE("Content-Description"), &f->description},
        {SLICE("Content-MD5"), &f->md5},
        {SLICE("Content-Disposition"), &f->disposition},
        {SLICE("Content-Language"), &f->language},
        {SLICE("Content-Location"), &f->location},
    };
    struct slice rest = slice_sub(header, 0, HEADER_LOOK_MAX);
    struct header_field field;

    *f = (struct fields){0};
    for (size_t n = 0; n < HEADER_FIELDS_MAX && header_next(&rest, &field); n++) {
        if (!slice_starts_nocase(field.name, SLICE("Content-")))
            continue;
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (!wanted[i].to->p && slice_eq_nocase(field.name, wanted[i].name))
                *wanted[i].to = field.value;
    }
}

static void write_unfolded(struct buf *out, struct slice value, struct arena *scratch)
{
    imap_write_nstring(out, value.p ? header_unfold(value, scratch) : value, false);
}

static void write_disposition(struct buf *out, struct slice value, struct arena *scratch)
{
    struct header_content c;

    if (!value.p || !header_content(value, scratch, &c)) {
        buf_add(out, SLICE("NIL"));
        return;
    }
    buf_add_char(out, '(');
    imap_write_string(out, c.type, false);
    buf_add_char(out, ' ');
    write_params(out, c.params);
    buf_add_char(out, ')');
}

/* body-fld-lang: a list of the tags (RFC 3282) */
static void write_language(struct buf *out, struct slice value, struct arena *scratch)
{
    struct slice rest = value.p ? header_tokens(value, scratch) : value, tag;
    bool any = false;

    while (slice_cut(&rest, ',', &tag)) {
        tag = slice_trim(tag);
        if (!tag.n)
            continue;
        buf_add_char(out, any ? ' ' : '(');
        imap_write_string(out, tag, false);
        any = true;
    }
    buf_add(out, any ? SLICE(")") : SLICE("NIL"));
}

static struct slice header_of(const struct mime_part *p, struct slice text)
{
    return slice_sub(text, p->header, p->header_len);
}

/*
 * An rfc822 message shows what is in it. message/global is of the basic form: a client of IMAP4rev1 looks for
 * an envelope with message/rfc822 only (RFC 3501 9, media-message).
 */
static bool shows_message(const struct mime_part *p, const struct header_content *c)
{
    return p->kind == MIME_MESSAGE && slice_eq_nocase(c->subtype, SLICE("rfc822"));
}

/* body-ext-1part, body-ext-mpart: disposition, language, location (with the blanks before them) */
static void write_extension(struct buf *out, const struct fields *f, struct arena *scratch)
{
    buf_add_char(out, ' ');
    write_disposition(out, f->disposition, scratch);
    buf_add_char(out, ' ');
    write_language(out, f->language, scratch);
    buf_add_char(out, ' ');
    write_unfolded(out, f->location, scratch);
}

/* What stands before the children; returns true if there are such. */
static bool write_before(
    struct buf *out, const struct mime_tree *t, uint32_t i, struct slice text, struct arena *scratch)
{
    const struct mime_part *p = &t->parts[i];
    struct header_content c;
    struct slice encoding;
    struct fields f;

    buf_add_char(out, '(');
    if (p->kind == MIME_MULTIPART)
        return true;
    mime_content_type(t, i, text, scratch, &c);
    mime_part_encoding(t, i, text, scratch, &encoding);
    find_fields(header_of(p, text), &f);
    imap_write_string(out, c.type, false);
    buf_add_char(out, ' ');
    imap_write_string(out, c.subtype, false);
    buf_add_char(out, ' ');
    write_params(out, c.params);
    buf_add_char(out, ' ');
    write_unfolded(out, f.id, scratch);
    buf_add_char(out, ' ');
    write_unfolded(out, f.description, scratch);
    buf_add_char(out, ' ');
    imap_write_string(out, encoding, false);
    buf_add_char(out, ' ');
    buf_add_u64(out, p->body_crlf);
    if (!shows_message(p, &c))
        return false;
    buf_add_char(out, ' ');
    fetch_envelope_write(out, header_of(&t->parts[p->first_child], text), scratch);
    buf_add_char(out, ' ');
    return true;
}

/* What stands behind the children, or behind body-fields where there are none. */
static void write_after(struct buf *out, const struct mime_tree *t, uint32_t i, struct slice text,
    bool extensible, struct arena *scratch)
{
    const struct mime_part *p = &t->parts[i];
    struct header_content c;
    struct fields f;

    mime_content_type(t, i, text, scratch, &c);
    if (p->kind == MIME_MULTIPART) {
        buf_add_char(out, ' ');
        imap_write_string(out, c.subtype, false);
    } else if (shows_message(p, &c) || slice_eq_nocase(c.type, SLICE("text"))) {
        buf_add_char(out, ' ');
        buf_add_u64(out, p->body_lines);
    }
    if (extensible) {
        find_fields(header_of(p, text), &f);
        buf_add_char(out, ' ');
        if (p->kind == MIME_MULTIPART)
            write_params(out, c.params);
        else
            write_unfolded(out, f.md5, scratch);
        write_extension(out, &f, scratch);
    }
    buf_add_char(out, ')');
}

void fetch_bodystructure_write(
    struct buf *out, const struct mime_tree *t, struct slice text, bool extensible, struct arena *scratch)
{
    uint32_t i = 0;

    arena_reset(scratch);
    for (;;) {
        bool goes_in = write_before(out, t, i, text, scratch);

        arena_reset(scratch);
        if (goes_in) {
            i = t->parts[i].first_child;
            continue;
        }
        write_after(out, t, i, text, extensible, scratch);
        arena_reset(scratch);
        while (i != 0 && t->parts[i].next == 0) {
            i = t->parts[i].parent;
            write_after(out, t, i, text, extensible, scratch);
            arena_reset(scratch);
        }
        if (i == 0)
            return;
        i = t->parts[i].next;
    }
}
