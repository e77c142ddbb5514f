#include <string.h>

#include "common/ascii.h"
#include "mail/decode.h"
#include "mail/text.h"

/*
 * RFC 2045 6.7 allows 76 columns. A longer run of blanks is taken for text, so that a piece of blanks without
 * end is not held; at this length, wherever pieces end.
 */
#define BLANKS_MAX 1024
/* decoded octets gathered before they go into the buf */
#define GATHER 3072

void decode_transfer_init(struct decode_transfer *d, enum mime_encoding encoding)
{
    *d = (struct decode_transfer){.encoding = encoding, .blanks = BUF_INIT(BLANKS_MAX)};
}

/* ------------------------------------------------------------------ base64 */

/* The value, or 0x40 for '=', or 0x80 for what does not count (RFC 2045 6.8: ignored). */
/* clang-format off */
#define XX 0x80
#define X8 XX, XX, XX, XX, XX, XX, XX, XX
static const uint8_t base64_class[256] = {
    X8, X8, X8, X8,
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, 62, XX, XX, XX, 63, /* 20 */
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, XX, XX, XX, 0x40, XX, XX,
    XX, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, /* 40 */
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, XX, XX, XX, XX, XX,
    XX, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, /* 60 */
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, XX, XX, XX, XX, XX,
    X8, X8, X8, X8, X8, X8, X8, X8, X8, X8, X8, X8, X8, X8, X8, X8,
};
/* clang-format on */

/* The octets of a group that is not whole. */
static void base64_tail(struct decode_transfer *d, struct buf *out)
{
    char octets[2];

    if (d->have == 2) {
        octets[0] = (char)(d->bits >> 4);
        text_add_octets(out, slice_of(octets, 1));
    } else if (d->have == 3) {
        octets[0] = (char)(d->bits >> 10);
        octets[1] = (char)(d->bits >> 2);
        text_add_octets(out, slice_of(octets, 2));
    }
    d->have = 0;
    d->bits = 0;
}

static void group_put(char *to, uint32_t bits)
{
    to[0] = (char)(bits >> 16);
    to[1] = (char)(bits >> 8);
    to[2] = (char)bits;
}

static void base64_piece(struct decode_transfer *d, struct slice in, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)in.p, *end = p + in.n;
    char octets[GATHER];
    size_t n = 0;

    while (p < end && !d->ended && !out->full) {
        uint8_t v;

        if (n == sizeof octets) {
            text_add_octets(out, slice_of(octets, n));
            n = 0;
        }
        if (d->have == 0 && end - p >= 4) {
            uint8_t a = base64_class[p[0]], b = base64_class[p[1]], c = base64_class[p[2]],
                    e = base64_class[p[3]];

            if ((a | b | c | e) < 0x40) {
                group_put(octets + n, (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | e);
                n += 3;
                p += 4;
                continue;
            }
        }
        v = base64_class[*p++];
        if (v < 0x40) {
            d->bits = d->bits << 6 | v;
            if (++d->have == 4) {
                group_put(octets + n, d->bits);
                n += 3;
                d->have = 0;
                d->bits = 0;
            }
        } else if (v == 0x40 && d->have >= 2) {
            d->ended = true; /* elsewhere '=' is a wrong character as any other */
        }
    }
    text_add_octets(out, slice_of(octets, n));
    if (d->ended)
        base64_tail(d, out);
}

/* ------------------------------------------------------------------ quoted-printable */

static void blanks_put(struct decode_transfer *d, struct buf *out)
{
    text_add_octets(out, buf_slice(&d->blanks));
    buf_clear(&d->blanks);
}

static void blank_hold(struct decode_transfer *d, char c, struct buf *out)
{
    if (d->blanks.n == BLANKS_MAX)
        blanks_put(d, out);
    buf_add_char(&d->blanks, c);
}

static void hold(struct decode_transfer *d, char c)
{
    d->held[d->held_n++] = c;
}

/*
 * One octet behind '='. Held is '=' alone, '=' with a hex digit, or '=' with CR; blanks between '=' and the
 * line end stand in d->blanks. False if this is no escape: what was held has gone out as text, and c is still
 * to be read.
 */
static bool qp_escape(struct decode_transfer *d, char c, struct buf *out)
{
    char second = d->held_n == 2 ? d->held[1] : '\0';

    if (c == '\n' && (second == '\0' || second == '\r')) { /* soft line break */
        buf_clear(&d->blanks);
        d->held_n = 0;
        return true;
    }
    if (second == '\0') {
        if (c == ' ' || c == '\t') {
            if (d->blanks.n < BLANKS_MAX) {
                blank_hold(d, c, out);
                return true;
            }
        } else if (c == '\r' || (ascii_hex(c) >= 0 && d->blanks.n == 0)) {
            hold(d, c);
            return true;
        }
    } else if (second != '\r' && ascii_hex(c) >= 0) {
        char octet = (char)((unsigned)ascii_hex(second) << 4 | (unsigned)ascii_hex(c));

        text_add_octets(out, slice_of(&octet, 1));
        d->held_n = 0;
        return true;
    }
    /* RFC 2045 6.7: a wrong escape is best shown as it is */
    text_add_octets(out, SLICE("="));
    blanks_put(d, out);
    text_add_octets(out, slice_of(&second, second != '\0'));
    d->held_n = 0;
    return false;
}

/* One octet that is not ordinary text, or that follows a held one. */
static void qp_octet(struct decode_transfer *d, char c, struct buf *out)
{
    if (d->held_n > 0 && d->held[0] == '=') {
        if (qp_escape(d, c, out))
            return;
    } else if (d->held_n > 0) { /* CR: of a line end? */
        if (c == '\n')
            buf_clear(&d->blanks);
        blanks_put(d, out);
        text_add_octets(out, SLICE("\r"));
        d->held_n = 0;
    }
    if (c == ' ' || c == '\t') {
        blank_hold(d, c, out);
    } else if (c == '\r') {
        hold(d, c);
    } else if (c == '=') {
        blanks_put(d, out);
        hold(d, c);
    } else {
        if (c == '\n')
            buf_clear(&d->blanks); /* RFC 2045 6.7 (3): added on the way */
        blanks_put(d, out);
        text_add_octets(out, slice_of(&c, 1));
    }
}

static bool qp_is_ordinary(char c)
{
    return c != '=' && c != ' ' && c != '\t' && c != '\r' && c != '\n';
}

static void qp_piece(struct decode_transfer *d, struct slice in, struct buf *out)
{
    size_t i = 0;

    while (i < in.n && !out->full) {
        size_t from = i;

        if (d->held_n == 0) {
            /* a blank counts when text follows, and mostly it does */
            while (i < in.n && (qp_is_ordinary(in.p[i]) ||
                                   (in.p[i] == ' ' && i + 1 < in.n && qp_is_ordinary(in.p[i + 1]))))
                i++;
            if (i > from) {
                blanks_put(d, out);
                text_add_octets(out, slice_sub(in, from, i - from));
                continue;
            }
        }
        qp_octet(d, in.p[i++], out);
    }
}

/* ------------------------------------------------------------------ both */

void decode_transfer(struct decode_transfer *d, struct slice in, struct buf *out)
{
    if (d->encoding == MIME_BASE64)
        base64_piece(d, in, out);
    else if (d->encoding == MIME_QP)
        qp_piece(d, in, out);
    else
        text_add_octets(out, in);
}

void decode_transfer_finish(struct decode_transfer *d, struct buf *out)
{
    if (d->encoding == MIME_BASE64) {
        base64_tail(d, out);
    } else if (d->encoding == MIME_QP && d->held_n > 0) {
        /* "=" and "=CR" at the end are soft line breaks; blanks there were added on the way */
        if (d->held[0] == '\r') {
            blanks_put(d, out);
            text_add_octets(out, SLICE("\r"));
        } else if (d->held_n == 2 && d->held[1] != '\r') {
            text_add_octets(out, slice_of(d->held, 2));
        }
    }
    d->held_n = 0;
    buf_free(&d->blanks);
}
