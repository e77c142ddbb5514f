/*
 * decode: transfer encodings, charsets and encoded words into UTF-8, in pieces and in bounded memory.
 *
 * Wrong input never fails: what cannot be decoded becomes U+FFFD and decoding goes on. Output is bounded by
 * the buf: when that is full it holds the start of the whole output (of text, whole characters).
 */
#ifndef MAIL_DECODE_H
#define MAIL_DECODE_H

#include "common/utf8.h"
#include "common/utf8.h" /* utf8_is_valid */
#include "mail/mime.h"

/* Transfer decoding in pieces (RFC 2045 6.7, 6.8). */
struct decode_transfer {
    enum mime_encoding encoding;
    uint32_t bits; /* base64: collected bits */
    uint8_t have;  /* base64: collected characters */
    bool ended;    /* base64: padding was seen */
    char held[4];  /* QP: an escape cut by the piece's end */
    uint8_t held_n;
    struct buf blanks; /* QP: trailing blanks that count only if text follows */
};

void decode_transfer_init(struct decode_transfer *d, enum mime_encoding encoding);
void decode_transfer(struct decode_transfer *d, struct slice in, struct buf *out);
/* What was held goes out; gives memory back, so it must follow every init. */
void decode_transfer_finish(struct decode_transfer *d, struct buf *out);

/* A charset converter to UTF-8; handles of iconv are kept by name for the process' life. */
struct decode_charset;
/* False if the charset is not known. us-ascii and utf-8 need no iconv. Opens before the sandbox:
 * decode_preload(). */
bool decode_charset_known(struct slice name);
/* All of `in` at once. Unknown charset: octets above 0x7f become U+FFFD. */
void decode_charset(struct slice charset, struct slice in, struct buf *out);
/* Opens the charsets that mail uses, so that none needs a file once the sandbox is in force. */
void decode_preload(void);
/* Names of the charsets decode_preload opens, NULL-ended: the man page and a test list them. */
extern const char *const decode_charsets[];

/*
 * Encoded words of RFC 2047 (and RFC 2231 language tags) in an unfolded value into UTF-8. CR, LF and NUL that
 * a word holds become blanks: the value stays one line.
 */
void decode_words(struct slice value, struct buf *out);
/* UTF-8 as encoded words where it must be (Q or B, whichever is shorter; 75 columns a word); ASCII as it is.
 */
void decode_words_encode(struct slice utf8, struct buf *out);

/* For searching: case folded and canonically decomposed-composed (NFKC casefold) UTF-8; bad octets become
 * U+FFFD. */
void decode_fold(struct slice utf8, struct buf *out);

/* Base64 without line breaks (RFC 4648 4); decode: false on anything but strict input. */
void base64_encode(struct slice in, struct buf *out);
bool base64_decode(struct slice in, struct buf *out);

#endif
