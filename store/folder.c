#include "store/folder.h"

#include <string.h>

#include <stdlib.h>
#include <uninorm.h>

#include "common/ascii.h"
#include "common/utf8.h"
#include "store/name.h"

#define PART_MAX_IN 4000 /* octets looked at before normalisation says how long a name is */

/* Modified base 64: ',' for '/', no padding (RFC 3501 5.1.3). */
static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int b64_value(char c)
{
    const char *at = c ? strchr(b64, c) : NULL;

    return at ? (int)(at - b64) : -1;
}

static bool is_direct(uint32_t code)
{
    return code >= 0x20 && code <= 0x7e;
}

/* One "&...-" run that is being written. */
struct shift {
    struct buf *out;
    uint32_t bits;
    unsigned nbits;
    bool open;
};

static void shift_unit(struct shift *s, uint32_t unit)
{
    if (!s->open)
        buf_add_char(s->out, '&');
    s->open = true;
    s->bits = s->bits << 16 | unit;
    s->nbits += 16;
    while (s->nbits >= 6) {
        s->nbits -= 6;
        buf_add_char(s->out, b64[s->bits >> s->nbits & 63]);
    }
    s->bits &= (1u << s->nbits) - 1;
}

static void shift_code(struct shift *s, uint32_t code)
{
    if (code >= 0x10000) {
        code -= 0x10000;
        shift_unit(s, 0xd800 | code >> 10);
        code = 0xdc00 | (code & 0x3ff);
    }
    shift_unit(s, code);
}

static void shift_close(struct shift *s)
{
    if (!s->open)
        return;
    if (s->nbits)
        buf_add_char(s->out, b64[s->bits << (6 - s->nbits) & 63]);
    buf_add_char(s->out, '-');
    *s = (struct shift){.out = s->out};
}

/* `escape`: one more character that never stands for itself (the dot on disk), or NUL. */
static bool utf7_encode(struct slice in, struct buf *out, char escape)
{
    struct shift s = {.out = out};
    uint32_t code;
    size_t w;

    for (; in.n; in = slice_from(in, w)) {
        w = utf8_decode(in, &code);
        if (w == 0)
            return false;
        if (!is_direct(code) || (escape && code == (unsigned char)escape)) {
            shift_code(&s, code);
            continue;
        }
        shift_close(&s);
        buf_add_char(out, (char)code);
        if (code == '&')
            buf_add_char(out, '-');
    }
    shift_close(&s);
    return !out->full;
}

bool folder_utf7_encode(struct slice utf8, struct buf *out)
{
    return utf7_encode(utf8, out, '\0');
}

/* The characters of one run between '&' and '-'; false for a broken one. */
static bool decode_run(struct slice run, struct buf *out)
{
    uint32_t bits = 0, high = 0;
    unsigned nbits = 0;
    char text[4];

    for (size_t i = 0; i < run.n; i++) {
        int v = b64_value(run.p[i]);
        uint32_t unit;

        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        nbits += 6;
        if (nbits < 16)
            continue;
        nbits -= 16;
        unit = bits >> nbits & 0xffff;
        bits &= (1u << nbits) - 1;
        if (high) {
            if (unit < 0xdc00 || unit > 0xdfff)
                return false;
            unit = 0x10000 + ((high & 0x3ff) << 10 | (unit & 0x3ff));
            high = 0;
        } else if (unit >= 0xd800 && unit <= 0xdbff) {
            high = unit;
            continue;
        } else if (unit >= 0xdc00 && unit <= 0xdfff) {
            return false;
        }
        buf_add(out, slice_of(text, utf8_encode(unit, text)));
    }
    return !high && nbits < 6 && bits == 0;
}

/*
 * Strictness by writing it again: whatever is not the one right encoding (runs side by side, printable
 * characters in a run, left-over bits) comes out otherwise.
 */
static bool utf7_decode(struct slice in, struct buf *out, char escape)
{
    size_t start = out->n;
    struct buf again = BUF_INIT(in.n + 1);
    struct slice rest = in, run;
    bool ok = true;

    while (ok && rest.n) {
        ssize_t end;

        if (rest.p[0] != '&') {
            ok = is_direct((unsigned char)rest.p[0]);
            buf_add_char(out, rest.p[0]);
            rest = slice_from(rest, 1);
            continue;
        }
        end = slice_chr(rest, '-');
        ok = end > 0;
        if (!ok)
            break;
        run = slice_sub(rest, 1, (size_t)end - 1);
        if (run.n == 0)
            buf_add_char(out, '&');
        else
            ok = decode_run(run, out);
        rest = slice_from(rest, (size_t)end + 1);
    }
    ok = ok && !out->full && utf7_encode(slice_from(buf_slice(out), start), &again, escape) &&
         slice_eq(buf_slice(&again), in);
    buf_free(&again);
    if (!ok)
        buf_cut(out, start);
    return ok;
}

bool folder_utf7_decode(struct slice in, struct buf *out)
{
    return utf7_decode(in, out, '\0');
}

static bool to_nfc(struct slice in, struct buf *out)
{
    size_t n = 0;
    uint8_t *nfc;

    if (in.n == 0)
        return true;
    nfc = u8_normalize(UNINORM_NFC, (const uint8_t *)in.p, in.n, NULL, &n);
    if (!nfc)
        return false;
    buf_add(out, slice_of(nfc, n));
    free(nfc);
    return !out->full;
}

/* Every part has something in it, every character can be shown, nothing is too much. */
static bool is_sound(struct slice name)
{
    struct slice rest = name, part;
    unsigned depth = 0;

    if (name.n == 0 || name.n > FOLDER_NAME_MAX || name.p[name.n - 1] == '/')
        return false;
    while (slice_cut(&rest, '/', &part)) {
        if (part.n == 0 || ++depth > FOLDER_DEPTH_MAX)
            return false;
        for (size_t w; part.n; part = slice_from(part, w))
            if ((w = utf8_printable(part)) == 0)
                return false;
    }
    return true;
}

int folder_normalise(struct slice utf8, struct buf *out, struct err *e)
{
    struct buf nfc = BUF_INIT(PART_MAX_IN * 4);
    struct slice name = utf8, rest, first;
    int rc = -1;

    while (name.n > 1 && name.p[name.n - 1] == '/')
        name.n--;
    if (name.n == 0 || name.n > PART_MAX_IN || !utf8_is_valid(name) || !to_nfc(name, &nfc) ||
        !is_sound(buf_slice(&nfc))) {
        err_set(e, ERR_MAILBOX_NAME, "%zu octets", utf8.n);
        goto out;
    }
    rest = buf_slice(&nfc);
    slice_cut(&rest, '/', &first);
    if (slice_eq_nocase(first, SLICE("INBOX")))
        memcpy(nfc.p, "INBOX", 5);
    buf_add(out, buf_slice(&nfc));
    rc = out->full ? err_set(e, ERR_MAILBOX_NAME, "too long") : 0;
out:
    buf_free(&nfc);
    return rc;
}

int folder_to_disk(struct slice name, struct buf *out, struct err *e)
{
    struct slice rest = name, part;
    size_t start = out->n;

    if (slice_eq(name, SLICE("INBOX")))
        return 0;
    if (!is_sound(name))
        return err_set(e, ERR_MAILBOX_NAME, "not a normalised name");
    while (slice_cut(&rest, '/', &part)) {
        buf_add_char(out, '.');
        if (!utf7_encode(part, out, '.'))
            break;
    }
    if (out->full || out->n - start > NAME_LEN_MAX) {
        buf_cut(out, start);
        return err_set(e, ERR_MAILBOX_NAME, "longer than a file name may be");
    }
    return 0;
}

bool folder_from_disk(struct slice entry, struct buf *name)
{
    struct buf plain = BUF_INIT(PART_MAX_IN), normal = BUF_INIT(PART_MAX_IN), again = BUF_INIT(PART_MAX_IN);
    struct slice rest = slice_from(entry, 1), part;
    bool ok = entry.n >= 2 && entry.n <= NAME_LEN_MAX && entry.p[0] == '.';

    while (ok && slice_cut(&rest, '.', &part)) {
        if (plain.n)
            buf_add_char(&plain, '/');
        ok = part.n > 0 && utf7_decode(part, &plain, '.');
    }
    /* only what folder_to_disk would make is a mailbox: no two folders have one name */
    ok = ok && folder_normalise(buf_slice(&plain), &normal, NULL) == 0 &&
         folder_to_disk(buf_slice(&normal), &again, NULL) == 0 && slice_eq(buf_slice(&again), entry);
    if (ok)
        buf_add(name, buf_slice(&normal));
    buf_free(&plain);
    buf_free(&normal);
    buf_free(&again);
    return ok && !name->full;
}

/* A run of wildcards is one: '*' if it has any, else '%'. */
static bool pattern_squeeze(struct slice pattern, struct buf *out)
{
    for (size_t i = 0; i < pattern.n; i++) {
        char c = pattern.p[i];
        char *last = out->n ? out->p + out->n - 1 : NULL;

        if ((c == '*' || c == '%') && last && (*last == '*' || *last == '%')) {
            if (c == '*')
                *last = '*';
            continue;
        }
        buf_add_char(out, c);
    }
    return !out->full;
}

bool folder_match(struct slice pattern, struct slice name)
{
    /* literal characters beyond the name's length cannot match; one wildcard stands beside each at most */
    struct buf p = BUF_INIT(2 * FOLDER_NAME_MAX + 2);
    bool at[2 * FOLDER_NAME_MAX + 3];
    size_t inbox = slice_eq(name, SLICE("INBOX")) || slice_starts(name, SLICE("INBOX/")) ? 5 : 0;
    bool matched = false;

    if (name.n > FOLDER_NAME_MAX || !pattern_squeeze(pattern, &p))
        goto out;
    /* at[j]: the first j characters of the pattern match what of the name was read */
    memset(at, 0, sizeof at);
    at[0] = true;
    for (size_t j = 0; j < p.n && (p.p[j] == '*' || p.p[j] == '%'); j++)
        at[j + 1] = true;
    for (size_t i = 0; i < name.n; i++) {
        bool before = at[0]; /* at[j] as it was before this character */

        at[0] = false;
        for (size_t j = 0; j < p.n; j++) {
            bool was = at[j + 1];
            char c = p.p[j];

            if (c == '*' || (c == '%' && name.p[i] != '/'))
                at[j + 1] = was || at[j];
            else if (c == '%')
                at[j + 1] = at[j];
            else
                at[j + 1] = before && (i < inbox ? ascii_lower(c) == ascii_lower(name.p[i]) : c == name.p[i]);
            before = was;
        }
    }
    matched = at[p.n];
out:
    buf_free(&p);
    return matched;
}
