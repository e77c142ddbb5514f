#include <string.h>

#include "common/ascii.h"
#include "mail/decode.h"
#include "mail/text.h"

/* RFC 2047 2: 75 for the whole word; "=?utf-8?Q?" and "?=" are twelve of them */
#define WORD_TEXT_MAX 63
#define CHARSET_NAME_MAX 64

/* ------------------------------------------------------------------ decoding */

struct word {
    struct slice charset; /* without the language of RFC 2231 5 */
    struct slice text;
    bool is_base64;
    size_t n; /* octets of the whole word */
};

/* Is there an encoded word at the start of s? Linear: what follows "=?" is read to the next '?' only. */
static bool word_at(struct slice s, struct word *w)
{
    ssize_t end, star;
    struct slice rest;

    if (!slice_starts(s, SLICE("=?")))
        return false;
    rest = slice_from(s, 2);
    end = slice_chr(slice_sub(rest, 0, CHARSET_NAME_MAX + 1), '?');
    if (end <= 0)
        return false;
    w->charset = slice_sub(rest, 0, (size_t)end);
    star = slice_chr(w->charset, '*');
    if (star >= 0)
        w->charset.n = (size_t)star;
    rest = slice_from(rest, (size_t)end + 1);
    if (rest.n < 2 || rest.p[1] != '?')
        return false;
    w->is_base64 = ascii_lower(rest.p[0]) == 'b';
    if (!w->is_base64 && ascii_lower(rest.p[0]) != 'q')
        return false;
    rest = slice_from(rest, 2);
    end = slice_chr(rest, '?');
    if (end < 0 || (size_t)end + 1 >= rest.n || rest.p[end + 1] != '=')
        return false;
    w->text = slice_sub(rest, 0, (size_t)end);
    for (size_t i = 0; i < w->text.n; i++)
        if (ascii_is_blank(w->text.p[i]))
            return false; /* RFC 2047 5: an encoded word holds no blanks */
    w->n = (size_t)(rest.p + end + 2 - s.p);
    return true;
}

static void word_octets(const struct word *w, struct buf *out)
{
    struct decode_transfer d;

    if (w->is_base64) {
        decode_transfer_init(&d, MIME_BASE64);
        decode_transfer(&d, w->text, out);
        decode_transfer_finish(&d, out);
        return;
    }
    for (size_t i = 0; i < w->text.n; i++) {
        char c = w->text.p[i];
        int high = -1, low = -1;

        if (c == '=' && w->text.n - i > 2) {
            high = ascii_hex(w->text.p[i + 1]);
            low = ascii_hex(w->text.p[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '_') {
            c = ' ';
        }
        buf_add_char(out, c);
    }
}

/* Converts what neighbours of one charset gathered: a character may have been cut between two words. */
static void words_flush(struct slice charset, struct buf *octets, struct buf *out)
{
    size_t from = out->n;

    decode_charset(charset, buf_slice(octets), out);
    buf_clear(octets);
    /* a value stays one line, whatever was written in the word */
    for (size_t i = from; i < out->n; i++)
        if (out->p[i] == '\r' || out->p[i] == '\n' || out->p[i] == '\0')
            out->p[i] = ' ';
}

void decode_words(struct slice value, struct buf *out)
{
    struct buf octets = BUF_INIT(value.n);
    struct slice charset = {"", 0};
    struct word w;
    size_t i = 0;

    while (i < value.n && !out->full) {
        struct slice rest = slice_from(value, i);
        ssize_t next = slice_find(rest, SLICE("=?"));
        size_t plain = next < 0 ? rest.n : (size_t)next;

        if (plain > 0) {
            text_add(out, slice_sub(rest, 0, plain));
            i += plain;
            continue;
        }
        if (!word_at(rest, &w)) {
            text_add(out, SLICE("=?"));
            i += 2;
            continue;
        }
        charset = w.charset;
        for (;;) { /* this word and those that follow with only blanks between (RFC 2047 6.2) */
            size_t gap = i + w.n;

            if (!slice_eq_nocase(charset, w.charset)) {
                words_flush(charset, &octets, out);
                charset = w.charset;
            }
            word_octets(&w, &octets);
            i = gap;
            while (gap < value.n && ascii_is_blank(value.p[gap]))
                gap++;
            if (!word_at(slice_from(value, gap), &w))
                break;
            i = gap;
        }
        words_flush(charset, &octets, out);
    }
    buf_free(&octets);
}

/* ------------------------------------------------------------------ encoding */

static bool must_encode(struct slice token)
{
    for (size_t i = 0; i < token.n; i++)
        if (ascii_is_8bit(token.p[i]) || (ascii_is_control(token.p[i]) && token.p[i] != '\t'))
            return true;
    return slice_find(token, SLICE("=?")) >= 0;
}

/* RFC 2047 5 (3): safe in a phrase too */
static bool is_q_plain(char c)
{
    return ascii_is_alnum(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
}

static size_t q_size(struct slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += is_q_plain(s.p[i]) || s.p[i] == ' ' ? 1 : 3;
    return n;
}

static void q_put(struct slice s, struct buf *out)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (is_q_plain(s.p[i])) {
            buf_add_char(out, s.p[i]);
        } else if (c == ' ') {
            buf_add_char(out, '_');
        } else {
            char escape[3] = {'=', hex[c >> 4], hex[c & 15]};

            buf_add(out, slice_of(escape, sizeof escape));
        }
    }
}

/* Octets of s that one word holds: whole characters (RFC 2047 5). */
static size_t word_fill(struct slice s, bool is_base64)
{
    size_t n = 0;

    while (n < s.n) {
        uint32_t cp;
        size_t more = n + text_next(s.p + n, s.n - n, &cp);
        size_t size = is_base64 ? (more + 2) / 3 * 4 : q_size(slice_sub(s, 0, more));

        if (size > WORD_TEXT_MAX)
            break;
        n = more;
    }
    return n;
}

static void run_encode(struct slice s, struct buf *out)
{
    bool is_base64 = (s.n + 2) / 3 * 4 < q_size(s);

    while (s.n > 0 && !out->full) {
        size_t n = word_fill(s, is_base64);
        struct slice head = slice_sub(s, 0, n);

        buf_add(out, is_base64 ? SLICE("=?utf-8?B?") : SLICE("=?utf-8?Q?"));
        if (is_base64)
            base64_encode(head, out);
        else
            q_put(head, out);
        buf_add(out, SLICE("?="));
        s = slice_from(s, n);
        if (s.n > 0)
            buf_add_char(out, ' ');
    }
}

void decode_words_encode(struct slice utf8, struct buf *out)
{
    struct buf whole = BUF_INIT(out->cap);
    size_t first = SIZE_MAX, last = 0, i = 0;
    struct slice s;

    text_add(&whole, utf8); /* well-formed from here on */
    s = buf_slice(&whole);
    /* one run from the first token that needs it to the last: blanks between encoded words would be lost */
    while (i < s.n) {
        size_t from = i;

        while (i < s.n && s.p[i] != ' ' && s.p[i] != '\t')
            i++;
        if (must_encode(slice_sub(s, from, i - from))) {
            first = first == SIZE_MAX ? from : first;
            last = i;
        }
        i++;
    }
    if (first == SIZE_MAX) {
        buf_add(out, s);
    } else {
        buf_add(out, slice_sub(s, 0, first));
        run_encode(slice_sub(s, first, last - first), out);
        buf_add(out, slice_from(s, last));
    }
    if (whole.full)
        out->full = true;
    buf_free(&whole);
}
