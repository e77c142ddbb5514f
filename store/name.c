#include "store/name.h"

#include <string.h>

#include "common/ascii.h"
#include "common/id.h"

/* No file is that large; a field that says so is not believed. */
#define SIZE_LIMIT ((uint64_t)1 << 48)
#define VALIDITY_MASK 0xfffffu /* the low 20 bits that stand behind the UID */

enum field_kind { FIELD_FOREIGN, FIELD_SIZE, FIELD_CRLF, FIELD_SAVED, FIELD_UID };

struct field {
    enum field_kind kind;
    uint64_t value;
    uint64_t validity; /* of FIELD_UID */
};

static struct field field_parse(struct slice text)
{
    struct field f = {.kind = FIELD_FOREIGN};
    struct slice value = slice_from(text, 2), uid;

    if (text.n < 3 || text.p[1] != '=')
        return f;
    switch (text.p[0]) {
    case 'S':
        if (slice_u64(value, SIZE_LIMIT, &f.value))
            f.kind = FIELD_SIZE;
        break;
    case 'W':
        if (slice_u64(value, SIZE_LIMIT, &f.value) && f.value > 0)
            f.kind = FIELD_CRLF;
        break;
    case 'D':
        if (id_base32_parse(value, &f.value) && f.value > 0 && f.value < SIZE_LIMIT)
            f.kind = FIELD_SAVED;
        break;
    case 'U':
        if (slice_cut(&value, '.', &uid) && slice_u64(uid, UINT32_MAX, &f.value) && f.value > 0 &&
            id_base32_parse(value, &f.validity) && f.validity <= VALIDITY_MASK)
            f.kind = FIELD_UID;
        break;
    default:
        break;
    }
    return f;
}

static const char letters[] = "DFPRST";
static const uint32_t bits[] = {
    FLAG_DRAFT, FLAG_FLAGGED, FLAG_FORWARDED, FLAG_ANSWERED, FLAG_SEEN, FLAG_DELETED};

static uint32_t flags_parse(struct slice text)
{
    uint32_t flags = 0;

    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] ? strchr(letters, text.p[i]) : NULL;

        if (at)
            flags |= bits[at - letters];
        else if (text.p[i] >= 'a' && text.p[i] <= 'z')
            flags |= FLAG_KEYWORD(text.p[i] - 'a');
    }
    return flags;
}

static void flags_write(struct buf *out, uint32_t flags)
{
    buf_add(out, SLICE(":2,"));
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (flags & bits[i])
            buf_add_char(out, letters[i]);
    for (unsigned i = 0; i < FLAG_KEYWORDS; i++)
        if (flags & FLAG_KEYWORD(i))
            buf_add_char(out, (char)('a' + i));
}

/* Where the last ":2," stands, or the length. */
static size_t info_at(struct slice text)
{
    for (size_t i = text.n; i >= 3; i--)
        if (text.p[i - 3] == ':' && text.p[i - 2] == '2' && text.p[i - 1] == ',')
            return i - 3;
    return text.n;
}

bool name_parse(struct slice text, uint32_t uidvalidity, struct name *out)
{
    size_t base = info_at(text);
    struct slice rest, part;

    *out = (struct name){.base = slice_sub(text, 0, base)};
    if (text.n == 0 || text.n > NAME_LEN_MAX || text.p[0] == '.' || slice_chr(text, '\0') >= 0 ||
        slice_chr(text, '/') >= 0)
        return false;
    rest = out->base;
    if (!slice_cut(&rest, ',', &out->unique) || out->unique.n == 0)
        return false;
    while (slice_cut(&rest, ',', &part)) {
        struct field f = field_parse(part);

        if (f.kind == FIELD_SIZE && !out->has_size) {
            out->size = f.value;
            out->has_size = true;
        } else if (f.kind == FIELD_CRLF && !out->has_crlf) {
            out->size_crlf = f.value;
            out->has_crlf = true;
        } else if (f.kind == FIELD_SAVED && out->saved == 0) {
            out->saved = (int64_t)f.value;
        } else if (f.kind == FIELD_UID && out->uid == 0) {
            if (f.validity == (uidvalidity & VALIDITY_MASK))
                out->uid = (uint32_t)f.value;
            else
                out->has_foreign_uid = true;
        }
    }
    if (!out->has_crlf)
        out->size_crlf = out->size;
    out->has_info = base < text.n;
    if (out->has_info)
        out->flags = flags_parse(slice_from(text, base + 3));
    return true;
}

static void add_number(struct buf *out, const char *key, uint64_t value)
{
    buf_add_str(out, key);
    buf_add_u64(out, value);
}

static void add_base32(struct buf *out, const char *key, uint64_t value)
{
    char digits[14];

    buf_add_str(out, key);
    buf_add(out, slice_of(digits, id_base32(value, digits)));
}

/* One known field, once; `done` are the kinds that are written. */
static void add_field(struct buf *out, enum field_kind kind, uint64_t value, unsigned *done)
{
    if (value == 0 || *done & 1u << kind)
        return;
    *done |= 1u << kind;
    if (kind == FIELD_SAVED)
        add_base32(out, ",D=", value);
    else
        add_number(out, kind == FIELD_SIZE ? ",S=" : ",W=", value);
}

bool name_write(struct buf *out, struct slice base, uint64_t size, uint64_t size_crlf, int64_t saved,
    uint32_t uid, uint32_t uidvalidity, uint32_t flags)
{
    struct slice rest = base, part;
    size_t start = out->n;
    unsigned done = 0;
    uint64_t values[] = {[FIELD_FOREIGN] = 0,
        [FIELD_SIZE] = size,
        [FIELD_CRLF] = size_crlf == size ? 0 : size_crlf,
        [FIELD_SAVED] = saved > 0 ? (uint64_t)saved : 0,
        [FIELD_UID] = 0};

    slice_cut(&rest, ',', &part);
    buf_add(out, part);
    while (slice_cut(&rest, ',', &part)) {
        struct field f = field_parse(part);

        if (f.kind == FIELD_FOREIGN) {
            buf_add_char(out, ',');
            buf_add(out, part);
        } else {
            add_field(out, f.kind, values[f.kind], &done);
        }
    }
    for (enum field_kind kind = FIELD_SIZE; kind <= FIELD_SAVED; kind++)
        add_field(out, kind, values[kind], &done);
    if (uid) {
        add_number(out, ",U=", uid);
        add_base32(out, ".", uidvalidity & VALIDITY_MASK);
    }
    flags_write(out, flags);
    return !out->full && out->n - start <= NAME_LEN_MAX;
}

struct slice name_origin(struct slice unique)
{
    size_t n = unique.n;

    while (n && ascii_is_digit(unique.p[n - 1]))
        n--;
    if (n < unique.n && n > 2 && unique.p[n - 1] == 'c' && unique.p[n - 2] == '.')
        return slice_sub(unique, 0, n - 2);
    return unique;
}

bool name_write_flags(struct buf *out, struct slice base, uint32_t flags)
{
    size_t start = out->n;

    buf_add(out, base);
    flags_write(out, flags);
    return !out->full && out->n - start <= NAME_LEN_MAX;
}
