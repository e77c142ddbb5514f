/*
 * mime: the structure of a message with the place of every part (RFC 2045, 2046). A pure function over the
 * text.
 *
 * One pass finds boundaries and lines; parts are an array in pre-order (no pointers: it can be stored as it
 * is). Iterative: depth 100, 10,000 parts; what lies deeper is one opaque application/octet-stream part.
 * Offsets are in octets of the text as it lies in the file. Lines and sizes count as IMAP wants them, that is
 * with CRLF line ends: for a file with bare LF `*_crlf` differs from the octets in the file.
 *
 * A MIME_MULTIPART has a child at least: one without boundary, or whose boundary never comes, is MIME_SINGLE
 * and text/plain. The part number MIME_PARTS_MAX is opaque and takes the whole rest of the text.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include "mail/header.h"

#define MIME_DEPTH_MAX 100
#define MIME_PARTS_MAX 10000

enum mime_kind {
    MIME_SINGLE,    /* anything with a body of its own */
    MIME_MULTIPART, /* children are its parts */
    MIME_MESSAGE,   /* message/rfc822 or message/global; its one child is the body of the inner message */
};

struct mime_part {
    uint8_t kind;
    uint8_t depth; /* 0 for the message itself, MIME_DEPTH_MAX at most */
    uint8_t
        is_opaque; /* beyond the limits, or an encoded message/rfc822: shown as application/octet-stream */
    uint8_t in_digest;    /* default type is message/rfc822 (RFC 2046 5.1.5) */
    uint32_t parent;      /* index; the root is its own parent */
    uint32_t next;        /* index of the next sibling, 0 for none */
    uint32_t children;    /* number of direct children */
    uint32_t first_child; /* index, 0 for none */
    uint64_t header;      /* offset of this part's MIME header (for the body of a MIME_MESSAGE: of the inner
                             message's header) */
    uint64_t header_len;  /* octets, the empty line included */
    uint64_t body;        /* offset of the body */
    uint64_t body_len;    /* octets; the CRLF before the next boundary is not part of it */
    uint64_t header_crlf; /* header_len with every line end as CRLF */
    uint64_t body_crlf;   /* body_len likewise */
    uint32_t body_lines;  /* line ends in the body */
};

struct mime_tree {
    struct mime_part *parts; /* parts[0] is the message itself */
    uint32_t count;
    bool has_nul;     /* the text holds a NUL octet */
    bool has_bare_lf; /* some line end is not CRLF */
    bool has_8bit;
    bool truncated; /* a limit was met */
};

/* False only when the arena is used up. */
bool mime_parse(struct slice text, struct arena *arena, struct mime_tree *out);

/*
 * The part an IMAP section number names (RFC 3501 6.4.5): path of n numbers (1-based), n == 0 the message
 * itself. Part 1 of a message that is not multipart is its body. -1 if there is none.
 */
ssize_t mime_find(const struct mime_tree *t, const uint32_t *path, size_t n);

/* Content-Type of a part with the defaults applied (text/plain; charset=us-ascii, or message/rfc822 in a
 * digest). */
void mime_content_type(const struct mime_tree *t, uint32_t part, struct slice text, struct arena *arena,
    struct header_content *out);

enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QP, MIME_BASE64, MIME_ENCODING_UNKNOWN };
/* Content-Transfer-Encoding of a part; *name gets it as written (upper case), "7BIT" if there is none. */
enum mime_encoding mime_part_encoding(
    const struct mime_tree *t, uint32_t part, struct slice text, struct arena *arena, struct slice *name);

/* What a part's header says of it; slices of the text, p == NULL: no such field. */
struct mime_description {
    struct header_content content; /* as mime_content_type() has it */
    enum mime_encoding encoding;   /* likewise */
    struct slice encoding_name;
    struct slice id, description, md5, disposition, language, location; /* values as they lie */
};

/* All of it, in one walk through the header. */
void mime_describe(const struct mime_tree *t, uint32_t part, struct slice text, struct arena *arena,
    struct mime_description *out);

#endif
