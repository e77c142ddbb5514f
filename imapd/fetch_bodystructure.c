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

/*
 * An rfc822 message shows what is in it. message/global is of the basic form: a client of IMAP4rev1 looks for
 * an envelope with message/rfc822 only (RFC 3501 9, media-message).
 */
static bool shows_message(const struct mime_part *p, const struct header_content *c)
{
    return p->kind == MIME_MESSAGE && slice_eq_nocase(c->subtype, SLICE("rfc822"));
}

/* body-ext-1part, body-ext-mpart: disposition, language, location (with the blanks before them) */
static void write_extension(
    struct buf *out, const struct mime_part *p, const struct mime_description *d, struct arena *scratch)
{
    buf_add_char(out, ' ');
    if (p->kind == MIME_MULTIPART)
        write_params(out, d->content.params);
    else
        write_unfolded(out, d->md5, scratch);
    buf_add_char(out, ' ');
    write_disposition(out, d->disposition, scratch);
    buf_add_char(out, ' ');
    write_language(out, d->language, scratch);
    buf_add_char(out, ' ');
    write_unfolded(out, d->location, scratch);
}

/* What stands before the children of a part that is no multipart. */
static void write_before(struct buf *out, const struct mime_tree *t, const struct mime_part *p,
    const struct mime_description *d, struct slice text, struct arena *scratch)
{
    const struct mime_part *inner = &t->parts[p->first_child];

    buf_add_char(out, '(');
    imap_write_string(out, d->content.type, false);
    buf_add_char(out, ' ');
    imap_write_string(out, d->content.subtype, false);
    buf_add_char(out, ' ');
    write_params(out, d->content.params);
    buf_add_char(out, ' ');
    write_unfolded(out, d->id, scratch);
    buf_add_char(out, ' ');
    write_unfolded(out, d->description, scratch);
    buf_add_char(out, ' ');
    imap_write_string(out, d->encoding_name, false);
    buf_add_char(out, ' ');
    buf_add_u64(out, p->body_crlf);
    if (!shows_message(p, &d->content))
        return;
    buf_add_char(out, ' ');
    fetch_envelope_write(out, slice_sub(text, inner->header, inner->header_len), scratch);
    buf_add_char(out, ' ');
}

/* What stands behind the children, or behind body-fields where there are none, up to the extensions. */
static void write_behind(struct buf *out, const struct mime_part *p, const struct mime_description *d)
{
    if (p->kind == MIME_MULTIPART) {
        buf_add_char(out, ' ');
        imap_write_string(out, d->content.subtype, false);
    } else if (shows_message(p, &d->content) || slice_eq_nocase(d->content.type, SLICE("text"))) {
        buf_add_char(out, ' ');
        buf_add_u64(out, p->body_lines);
    }
}

/* The one is written, the other gets the same octets, but for the extensions. */
struct pair {
    struct buf *extensible, *basic;
    size_t copied; /* octets of `extensible` that `basic` has or is not to have */
};

static void copy(struct pair *w)
{
    buf_add(w->basic, slice_from(buf_slice(w->extensible), w->copied));
    w->copied = w->extensible->n;
}

static void close_part(
    struct pair *w, const struct mime_part *p, const struct mime_description *d, struct arena *scratch)
{
    write_behind(w->extensible, p, d);
    copy(w);
    write_extension(w->extensible, p, d, scratch);
    w->copied = w->extensible->n;
    buf_add_char(w->extensible, ')');
    copy(w);
    arena_reset(scratch);
}

void fetch_bodystructure_write(struct buf *extensible, struct buf *basic, const struct mime_tree *t,
    struct slice text, struct arena *scratch)
{
    struct pair w = {extensible, basic, extensible->n};
    struct mime_description d;
    uint32_t i = 0;

    for (;;) {
        const struct mime_part *p = &t->parts[i];

        arena_reset(scratch);
        if (p->kind == MIME_MULTIPART) {
            buf_add_char(extensible, '(');
            i = p->first_child;
            continue;
        }
        mime_describe(t, i, text, scratch, &d);
        write_before(extensible, t, p, &d, text, scratch);
        if (shows_message(p, &d.content)) {
            i = p->first_child;
            continue;
        }
        close_part(&w, p, &d, scratch);
        while (i != 0 && t->parts[i].next == 0) {
            i = t->parts[i].parent;
            mime_describe(t, i, text, scratch, &d);
            close_part(&w, &t->parts[i], &d, scratch);
        }
        if (i == 0)
            return;
        i = t->parts[i].next;
    }
}
