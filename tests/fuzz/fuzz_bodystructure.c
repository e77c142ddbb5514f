/*
 * Whatever a message looks like, ENVELOPE, BODY and BODYSTRUCTURE are balanced and made of strings, literals
 * of the right length, numbers and NIL; every part BODYSTRUCTURE shows can be fetched.
 */
#include <stdint.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "imapd/fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice take_number(struct slice s, uint64_t *n)
{
    size_t digits = 0;

    while (digits < s.n && ascii_is_digit(s.p[digits]))
        digits++;
    INVARIANT(digits > 0 && slice_u64(slice_sub(s, 0, digits), UINT64_MAX, n));
    return slice_from(s, digits);
}

static struct slice take_quoted(struct slice s)
{
    for (size_t i = 1; i < s.n; i++) {
        INVARIANT(s.p[i] != '\0' && s.p[i] != '\r' && s.p[i] != '\n' && !ascii_is_8bit(s.p[i]));
        if (s.p[i] == '\\') {
            i++;
            INVARIANT(i < s.n && (s.p[i] == '"' || s.p[i] == '\\'));
        } else if (s.p[i] == '"') {
            return slice_from(s, i + 1);
        }
    }
    mem_panic("no closing quote", __FILE__, __LINE__);
}

static struct slice take_literal(struct slice s)
{
    uint64_t n;

    s = take_number(slice_from(s, 1), &n);
    INVARIANT(slice_starts(s, SLICE("}\r\n")) && s.n - 3 >= n);
    INVARIANT(slice_chr(slice_sub(s, 3, n), '\0') < 0);
    return slice_from(s, 3 + n);
}

/* One parenthesised thing, all of s. */
static void check_value(struct slice s)
{
    size_t depth = 0;
    bool after = false; /* something that needs a blank or a parenthesis behind it */
    uint64_t n;

    INVARIANT(s.n > 0 && s.p[0] == '(');
    do {
        INVARIANT(s.n > 0);
        switch (s.p[0]) {
        case '(':
            INVARIANT(!after);
            depth++;
            s = slice_from(s, 1);
            INVARIANT(!slice_starts(s, SLICE(" ")) && !slice_starts(s, SLICE(")")));
            continue;
        case ')':
            depth--;
            s = slice_from(s, 1);
            /* lists and bodies stand side by side without a blank */
            after = !slice_starts(s, SLICE("("));
            continue;
        case ' ':
            INVARIANT(after);
            s = slice_from(s, 1);
            INVARIANT(!slice_starts(s, SLICE(" ")) && !slice_starts(s, SLICE(")")));
            after = false;
            continue;
        default:
            break;
        }
        INVARIANT(!after);
        after = true;
        if (s.p[0] == '"') {
            s = take_quoted(s);
        } else if (s.p[0] == '{') {
            s = take_literal(s);
        } else if (ascii_is_digit(s.p[0])) {
            s = take_number(s, &n);
        } else {
            INVARIANT(slice_starts(s, SLICE("NIL")));
            s = slice_from(s, 3);
        }
    } while (depth > 0);
    INVARIANT(s.n == 0);
}

/* mailbox_text gives CRLF line ends. */
static void crlf(struct buf *out, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n' && (i == 0 || data[i - 1] != '\r'))
            buf_add_char(out, '\r');
        buf_add_char(out, (char)data[i]);
    }
}

static void check_part(const struct mime_tree *t, uint32_t i, struct slice text, struct buf *built)
{
    uint32_t path[FETCH_PATH_MAX];
    struct fetch_section s = {.path = path};
    struct slice octets;

    /* the number of the part, from its end */
    for (uint32_t at = i; at != 0; at = t->parts[at].parent) {
        const struct mime_part *up = &t->parts[t->parts[at].parent];
        uint32_t number = 1;

        /* the body of an enclosed message has the number of its part, and ".1" unless it is a multipart */
        if (up->kind == MIME_MESSAGE && t->parts[at].kind == MIME_MULTIPART)
            continue;
        for (uint32_t k = up->first_child; k != at; k = t->parts[k].next)
            number++;
        INVARIANT(s.npath < FETCH_PATH_MAX);
        path[s.npath++] = number;
    }
    for (size_t a = 0, b = s.npath; a + 1 < b; a++) {
        uint32_t swap = path[a];

        path[a] = path[--b];
        path[b] = swap;
    }
    if (i == 0 || (t->parts[i].kind == MIME_MULTIPART && t->parts[t->parts[i].parent].kind == MIME_MESSAGE))
        return;
    /* a message that is a message: its own part has number 1 */
    if (t->parts[0].kind == MIME_MESSAGE && s.npath < FETCH_PATH_MAX) {
        for (size_t k = s.npath++; k > 0; k--)
            path[k] = path[k - 1];
        path[0] = 1;
    }
    INVARIANT(fetch_section_resolve(&s, t, text, built, &octets));
    INVARIANT(octets.n == t->parts[i].body_len && (octets.n == 0 || octets.p == text.p + t->parts[i].body));
    s.what = FETCH_MIME;
    INVARIANT(fetch_section_resolve(&s, t, text, built, &octets));
    INVARIANT(octets.n == t->parts[i].header_len);
    s.what = FETCH_HEADER;
    INVARIANT(fetch_section_resolve(&s, t, text, built, &octets) == (t->parts[i].kind == MIME_MESSAGE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = BUF_INIT(BUF_OWN), out = BUF_INIT(BUF_OWN), basic = BUF_INIT(BUF_OWN);
    struct arena arena, scratch;
    struct mime_tree t;

    arena_init(&arena, MIME_PARTS_MAX * sizeof(struct mime_part) + 4096);
    arena_init(&scratch, (size_t)4 << 20);
    crlf(&text, data, size);
    fetch_envelope_write(&out, buf_slice(&text), &scratch);
    check_value(buf_slice(&out));
    INVARIANT(mime_parse(buf_slice(&text), &arena, &t));
    buf_clear(&out);
    fetch_bodystructure_write(&out, &basic, &t, buf_slice(&text), &scratch);
    check_value(buf_slice(&out));
    check_value(buf_slice(&basic));
    for (uint32_t i = 0; i < t.count && i < 200; i++)
        check_part(&t, i, buf_slice(&text), &out);
    arena_free(&arena);
    arena_free(&scratch);
    buf_free(&text);
    buf_free(&out);
    buf_free(&basic);
    return 0;
}
