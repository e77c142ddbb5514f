#include "mail/mime.h"

#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/mem.h"

/* RFC 2046 5.1.1 allows 70; what is longer than this is no boundary at all */
#define BOUNDARY_MAX 256
/* for one Content-Type field; HEADER_LOOK_MAX bounds its text */
#define SCRATCH_QUOTA ((size_t)8 << 20)

/* A line's start with the line ends before it: two of them give lines and CRLF size of what lies between. */
struct place {
    uint64_t at;
    uint64_t lines; /* line ends before `at` */
    uint64_t bare;  /* of these without CR */
};

/* A part whose end has not been seen. */
struct open {
    uint32_t part;
    uint32_t last_child;
    struct place header, body;
    bool in_header;
    bool is_digest;
    uint16_t boundary_n; /* 0: no delimiter of this part is awaited */
    uint64_t first;      /* the boundary's first eight octets, zeros behind a shorter one */
    uint64_t mask;       /* which bits of `first` count */
    char boundary[BOUNDARY_MAX];
};

struct scan {
    struct slice text;
    struct mime_part *parts;
    uint32_t count, size;
    uint32_t top;        /* index in open[] of the innermost part */
    uint32_t boundaries; /* open[] entries with a boundary */
    bool truncated;
    bool sealed; /* the last part that may be takes all the rest */
    struct arena scratch;
    struct open open[MIME_DEPTH_MAX + 1];
};

/* ------------------------------------------------------------------ fields of a part's header */

#define CONTENT_TYPE SLICE("content-type")
#define ENCODING SLICE("content-transfer-encoding")

static void plain_text(struct arena *arena, struct header_content *out)
{
    struct header_param *charset = arena_zalloc(arena, 1, sizeof *charset);

    *out = (struct header_content){SLICE("text"), SLICE("plain"), charset};
    if (charset) {
        charset->name = SLICE("charset");
        charset->value = SLICE("us-ascii");
    }
}

/*
 * RFC 2045 5.2: absent (p == NULL) or unreadable is plain text; RFC 2046 5.1.5: absent in a digest is a
 * message. The limits are not looked at here.
 */
static void content_of(struct slice value, bool in_digest, struct arena *arena, struct header_content *out)
{
    if (!value.p) {
        if (in_digest)
            *out = (struct header_content){SLICE("message"), SLICE("rfc822"), NULL};
        else
            plain_text(arena, out);
    } else if (!header_content(value, arena, out) || out->type.n == 0 || out->subtype.n == 0) {
        plain_text(arena, out);
    }
}

/* p == NULL: there is no such field. */
static struct slice value_of(struct slice header, struct slice name)
{
    struct header_field field;

    return header_find(header, name, &field) ? field.value : slice_of(NULL, 0);
}

static bool is_message(const struct header_content *c)
{
    return slice_eq_nocase(c->type, SLICE("message")) &&
           (slice_eq_nocase(c->subtype, SLICE("rfc822")) || slice_eq_nocase(c->subtype, SLICE("global")));
}

/* The first word of the field (p == NULL: absent), comments off, in upper case. */
static struct slice encoding_name(struct slice value, struct arena *arena)
{
    struct slice word;
    size_t n = 0;
    char *upper;

    if (!value.p)
        return SLICE("7BIT");
    word = slice_trim(header_tokens(value, arena));
    while (n < word.n && !ascii_is_blank(word.p[n]) && word.p[n] != ';')
        n++;
    upper = n ? arena_alloc(arena, n) : NULL;
    if (!upper)
        return SLICE("7BIT");
    for (size_t i = 0; i < n; i++)
        upper[i] = ascii_upper(word.p[i]);
    return slice_of(upper, n);
}

static enum mime_encoding encoding_by_name(struct slice name)
{
    static const struct {
        struct slice name;
        enum mime_encoding encoding;
    } rows[] = {
        {{"7BIT", 4}, MIME_7BIT},
        {{"8BIT", 4}, MIME_8BIT},
        {{"BINARY", 6}, MIME_BINARY},
        {{"QUOTED-PRINTABLE", 16}, MIME_QP},
        {{"BASE64", 6}, MIME_BASE64},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (slice_eq_nocase(name, rows[i].name))
            return rows[i].encoding;
    return MIME_ENCODING_UNKNOWN;
}

/* ------------------------------------------------------------------ opening and closing parts */

static struct mime_part *part_new(struct scan *s)
{
    if (s->count == s->size) {
        s->size = s->size ? s->size * 2 : 16;
        s->parts = mem_realloc(s->parts, s->size, sizeof *s->parts);
    }
    s->parts[s->count] = (struct mime_part){0};
    return &s->parts[s->count++];
}

/* A new innermost part whose header starts here; the callers have seen to the limits. */
static void part_open(struct scan *s, const struct place *at, bool in_digest)
{
    uint32_t index = s->count;
    struct mime_part *part = part_new(s);
    struct open *o;

    if (index > 0) {
        struct open *up = &s->open[s->top];
        struct mime_part *parent = &s->parts[up->part];

        part->parent = up->part;
        if (parent->children++ == 0)
            parent->first_child = index;
        else
            s->parts[up->last_child].next = index;
        up->last_child = index;
        s->top++;
        INVARIANT(s->top <= MIME_DEPTH_MAX);
    }
    part->depth = (uint8_t)s->top;
    part->in_digest = in_digest;
    o = &s->open[s->top];
    o->part = index;
    o->last_child = 0;
    o->header = o->body = *at;
    o->in_header = true;
    o->is_digest = false;
    o->boundary_n = 0;
}

/* False if there is no boundary to look for. */
static bool boundary_set(struct scan *s, struct open *o, const struct header_content *c)
{
    struct slice b = header_param_get(c, SLICE("boundary"));
    uint8_t mask[8] = {0};

    /* blanks at the end cannot be told from what transport adds (RFC 2046 5.1.1) */
    while (b.n > 0 && ascii_is_blank(b.p[b.n - 1]))
        b.n--;
    if (b.n == 0 || b.n > BOUNDARY_MAX)
        return false;
    memset(o->boundary, 0, sizeof o->first);
    memcpy(o->boundary, b.p, b.n);
    o->boundary_n = (uint16_t)b.n;
    memset(mask, 0xff, b.n < sizeof mask ? b.n : sizeof mask);
    memcpy(&o->mask, mask, sizeof mask);
    memcpy(&o->first, o->boundary, sizeof o->first);
    s->boundaries++;
    return true;
}

/* The innermost part's header ends here: what it is decides how its body is read. */
static void header_end(struct scan *s, const struct place *at)
{
    struct open *o = &s->open[s->top];
    struct mime_part *part = &s->parts[o->part];
    struct slice header = slice_sub(s->text, o->header.at, at->at - o->header.at);
    bool is_deep = s->top == MIME_DEPTH_MAX;
    struct header_content c;

    o->in_header = false;
    o->body = *at;
    if (s->count == MIME_PARTS_MAX) {
        part->is_opaque = true;
        s->truncated = s->sealed = true;
        return;
    }
    content_of(value_of(header, CONTENT_TYPE), part->in_digest, &s->scratch, &c);
    if (slice_eq_nocase(c.type, SLICE("multipart"))) {
        if (is_deep) {
            part->is_opaque = s->truncated = true;
        } else if (boundary_set(s, o, &c)) {
            part->kind = MIME_MULTIPART;
            o->is_digest = slice_eq_nocase(c.subtype, SLICE("digest"));
        }
    } else if (is_message(&c)) {
        enum mime_encoding encoding =
            encoding_by_name(encoding_name(value_of(header, ENCODING), &s->scratch));

        if (is_deep) {
            part->is_opaque = s->truncated = true;
        } else if (encoding == MIME_QP || encoding == MIME_BASE64) {
            part->is_opaque =
                true; /* RFC 2046 5.2.1 forbids it: the header inside cannot be read as it lies */
        } else {
            part->kind = MIME_MESSAGE;
            part_open(s, at, false);
        }
    }
    arena_reset(&s->scratch);
}

static void place_clamp(struct place *p, const struct place *limit)
{
    if (p->at > limit->at)
        *p = *limit;
}

/* Writes down the measures of the part in open[] number `level`, which ends at `end`. */
static void part_close(struct scan *s, uint32_t level, const struct place *end)
{
    struct open *o = &s->open[level];
    struct mime_part *part = &s->parts[o->part];
    uint64_t lines;

    /* a part that began behind the line end which belongs to an outer delimiter */
    place_clamp(&o->header, end);
    place_clamp(&o->body, end);
    part->header = o->header.at;
    part->header_len = o->body.at - o->header.at;
    part->header_crlf = part->header_len + (o->body.bare - o->header.bare);
    part->body = o->body.at;
    part->body_len = end->at - o->body.at;
    part->body_crlf = part->body_len + (end->bare - o->body.bare);
    lines = end->lines - o->body.lines;
    part->body_lines = lines > UINT32_MAX ? UINT32_MAX : (uint32_t)lines;
    if (o->boundary_n) {
        o->boundary_n = 0;
        s->boundaries--;
    }
    /* no part inside: the grammar of BODYSTRUCTURE knows no such multipart, and the text should be seen */
    if (part->kind == MIME_MULTIPART && part->children == 0)
        part->kind = MIME_SINGLE;
}

/*
 * Ends all parts from open[] number `level` inwards at the delimiter line (or end of text) `line`; `end` is
 * the same without the line end that belongs to the delimiter. False if the last possible part turned out to
 * be open: then nothing is ended, unless the text is at its end.
 */
static bool close_from(struct scan *s, uint32_t level, const struct place *line, const struct place *end)
{
    bool at_end = line->at == s->text.n && line->at == end->at;
    const struct place *limit;

    while (s->open[s->top].in_header) /* twice at most: a message and the empty one in it */
        header_end(s, line);
    if (s->sealed && !at_end)
        return false;
    limit = s->open[level].body.at > end->at ? line : end;
    for (uint32_t i = s->top + 1; i-- > level;)
        part_close(s, i, limit);
    if (level > 0)
        s->top = level - 1;
    return true;
}

/* ------------------------------------------------------------------ lines */

/* To the start of the next line or the end of the text. */
static void line_next(struct slice text, struct place *at)
{
    const char *lf = memchr(text.p + at->at, '\n', text.n - at->at);

    if (!lf) {
        at->at = text.n;
        return;
    }
    if (lf == text.p || lf[-1] != '\r')
        at->bare++;
    at->lines++;
    at->at = (uint64_t)(lf + 1 - text.p);
}

/* Over lines that cannot be delimiters. The hot loop: nearly all of a message passes here. */
static void lines_skip(struct slice text, struct place *at)
{
    const char *p = text.p + at->at, *end = text.p + text.n, *lf = NULL;
    uint64_t lines = 0, crlf = 0;

    do {
        lf = *p == '\n' ? p : memchr(p, '\n', (size_t)(end - p));
        if (!lf) {
            p = end;
            break;
        }
        lines++;
        crlf += lf > text.p && lf[-1] == '\r';
        p = lf + 1;
    } while (p < end && *p != '-');
    at->at = (uint64_t)(p - text.p);
    at->lines += lines;
    at->bare += lines - crlf;
}

/* The place before the line end in front of `line`, which starts a line. */
static struct place before_line_end(struct slice text, const struct place *line)
{
    struct place p = *line;

    if (p.at == 0)
        return p;
    p.at--;
    p.lines--;
    if (p.at > 0 && text.p[p.at - 1] == '\r')
        p.at--;
    else
        p.bare--;
    return p;
}

/*
 * Which open part's delimiter a line starting with "--" is: the longest boundary that the line begins with
 * (RFC 2046 5.1.1: what follows does not matter), of equal ones the innermost. -1 for none.
 */
static ssize_t delimiter_find(const struct scan *s, struct slice line)
{
    struct slice rest = slice_from(line, 2);
    uint64_t first = 0;
    size_t best_n = 0;
    ssize_t best = -1;

    memcpy(&first, rest.p, rest.n < sizeof first ? rest.n : sizeof first);
    for (uint32_t i = s->top + 1; i-- > 0;) {
        const struct open *o = &s->open[i];

        if (o->boundary_n <= best_n || o->boundary_n > rest.n || (first & o->mask) != o->first)
            continue;
        if (memcmp(rest.p, o->boundary, o->boundary_n) == 0) {
            best = (ssize_t)i;
            best_n = o->boundary_n;
        }
    }
    return best;
}

/* A line starting with "--" while boundaries are awaited; moves `at` behind it if it was a delimiter. */
static bool delimiter_take(struct scan *s, struct place *at)
{
    struct place line = *at, next = *at, end;
    struct slice text;
    ssize_t level;
    struct open *o;

    line_next(s->text, &next);
    text = slice_sub(s->text, line.at, next.at - line.at);
    level = delimiter_find(s, text);
    if (level < 0)
        return false;
    o = &s->open[level];
    end = before_line_end(s->text, &line);
    if (s->top > (uint32_t)level && !close_from(s, (uint32_t)level + 1, &line, &end))
        return false;
    if (slice_starts(slice_from(text, 2 + (size_t)o->boundary_n), SLICE("--"))) {
        o->boundary_n = 0; /* all that follows is epilogue */
        s->boundaries--;
    } else {
        part_open(s, &next, o->is_digest);
    }
    *at = next;
    return true;
}

static void scan_text(struct scan *s)
{
    struct slice text = s->text;
    struct place at = {0};

    part_open(s, &at, false);
    while (at.at < text.n) {
        const char *p = text.p + at.at;
        size_t left = text.n - at.at;

        if (p[0] == '-' && left > 2 && p[1] == '-' && s->boundaries > 0 && !s->sealed &&
            delimiter_take(s, &at))
            continue;
        if (!s->open[s->top].in_header) {
            lines_skip(text, &at);
            continue;
        }
        line_next(text, &at);
        if (p[0] == '\n' || (p[0] == '\r' && left > 1 && p[1] == '\n'))
            header_end(s, &at);
    }
    close_from(s, 0, &at, &at);
}

static bool has_8bit(struct slice text)
{
    size_t i = 0;

    while (text.n - i >= 64) {
        uint64_t w[8], any = 0;

        memcpy(w, text.p + i, sizeof w);
        for (size_t k = 0; k < 8; k++)
            any |= w[k];
        if (any & 0x8080808080808080u)
            return true;
        i += 64;
    }
    for (; i < text.n; i++)
        if (ascii_is_8bit(text.p[i]))
            return true;
    return false;
}

bool mime_parse(struct slice text, struct arena *arena, struct mime_tree *out)
{
    struct scan s MEM_UNINITIALIZED; /* 33 KiB: cleared they would cost more than most messages */
    const struct mime_part *root;

    if (text.n == 0)
        text.p = "";
    s.text = text;
    s.parts = NULL;
    s.count = s.size = s.top = s.boundaries = 0;
    s.truncated = s.sealed = false;
    arena_init(&s.scratch, SCRATCH_QUOTA);
    scan_text(&s);
    arena_free(&s.scratch);

    root = &s.parts[0];
    *out = (struct mime_tree){
        .count = s.count,
        .truncated = s.truncated,
        .has_bare_lf = root->header_crlf + root->body_crlf != text.n,
        .has_nul = memchr(text.p, '\0', text.n) != NULL,
        .has_8bit = has_8bit(text),
    };
    out->parts = arena_alloc(arena, s.count * sizeof *out->parts);
    if (out->parts)
        memcpy(out->parts, s.parts, s.count * sizeof *out->parts);
    free(s.parts);
    return out->parts != NULL;
}

/* ------------------------------------------------------------------ questions */

static ssize_t child_at(const struct mime_tree *t, uint32_t part, uint32_t number)
{
    uint32_t i = t->parts[part].first_child;

    if (number == 0 || number > t->parts[part].children)
        return -1;
    while (--number > 0)
        i = t->parts[i].next;
    return (ssize_t)i;
}

ssize_t mime_find(const struct mime_tree *t, const uint32_t *path, size_t n)
{
    bool is_whole = true; /* `at` stands for a message: its one part has number 1 unless it is a multipart */
    ssize_t at = 0;

    for (size_t i = 0; i < n; i++) {
        const struct mime_part *p = &t->parts[at];

        if (!is_whole && p->kind == MIME_MESSAGE) {
            at = (ssize_t)p->first_child;
            p = &t->parts[at];
            is_whole = true;
        }
        if (p->kind == MIME_MULTIPART)
            at = child_at(t, (uint32_t)at, path[i]);
        else if (!is_whole || path[i] != 1)
            at = -1;
        if (at < 0)
            return -1;
        is_whole = false;
    }
    return at;
}

static struct slice header_of(const struct mime_tree *t, uint32_t part, struct slice text)
{
    return slice_sub(text, t->parts[part].header, t->parts[part].header_len);
}

/* What the header says, brought in line with the tree. */
static void content_in_tree(const struct mime_tree *t, uint32_t part, struct slice value, struct arena *arena,
    struct header_content *out)
{
    const struct mime_part *p = &t->parts[part];
    bool is_multipart;

    if (p->is_opaque) {
        *out = (struct header_content){SLICE("application"), SLICE("octet-stream"), NULL};
        return;
    }
    content_of(value, p->in_digest, arena, out);
    is_multipart = slice_eq_nocase(out->type, SLICE("multipart"));
    /* the answer agrees with the tree, also when the arena was used up just now */
    if (p->kind == MIME_MULTIPART && !is_multipart)
        *out = (struct header_content){SLICE("multipart"), SLICE("mixed"), NULL};
    else if (p->kind == MIME_MESSAGE && !is_message(out))
        *out = (struct header_content){SLICE("message"), SLICE("rfc822"), NULL};
    else if (p->kind == MIME_SINGLE && is_multipart)
        plain_text(arena, out); /* it has no part, see mime.h */
}

void mime_content_type(const struct mime_tree *t, uint32_t part, struct slice text, struct arena *arena,
    struct header_content *out)
{
    content_in_tree(t, part, value_of(header_of(t, part, text), CONTENT_TYPE), arena, out);
}

enum mime_encoding mime_part_encoding(
    const struct mime_tree *t, uint32_t part, struct slice text, struct arena *arena, struct slice *name)
{
    *name = encoding_name(value_of(header_of(t, part, text), ENCODING), arena);
    return encoding_by_name(*name);
}

void mime_describe(const struct mime_tree *t, uint32_t part, struct slice text, struct arena *arena,
    struct mime_description *out)
{
    struct slice type = {NULL, 0}, encoding = {NULL, 0};
    const struct {
        struct slice name; /* behind "Content-" */
        struct slice *to;
    } wanted[] = {
        {SLICE("Type"), &type},
        {SLICE("Transfer-Encoding"), &encoding},
        {SLICE("ID"), &out->id},
        {SLICE("Description"), &out->description},
        {SLICE("MD5"), &out->md5},
        {SLICE("Disposition"), &out->disposition},
        {SLICE("Language"), &out->language},
        {SLICE("Location"), &out->location},
    };
    struct slice rest = slice_sub(header_of(t, part, text), 0, HEADER_LOOK_MAX);
    struct header_field field;
    size_t n = 0;

    *out = (struct mime_description){.encoding = MIME_7BIT};
    while (header_next_by_letter(&rest, 'c', &n, &field)) {
        if (!slice_starts_nocase(field.name, SLICE("Content-")))
            continue;
        field.name = slice_from(field.name, 8);
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (!wanted[i].to->p && field.name.n == wanted[i].name.n &&
                slice_eq_nocase(field.name, wanted[i].name))
                *wanted[i].to = field.value;
    }
    content_in_tree(t, part, type, arena, &out->content);
    out->encoding_name = encoding_name(encoding, arena);
    out->encoding = encoding_by_name(out->encoding_name);
}
