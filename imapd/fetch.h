/*
 * fetch: the items of FETCH (RFC 3501 6.4.5), read and rendered. Pure functions; cmd_fetch.c puts them to
 * work.
 *
 * fetch_items_parse() reads "ALL", "BODY[1.2.MIME]<0.100>" or a list of such into a struct fetch_items in the
 * command's arena. The renderers take the text of a message (as mailbox_text gives it: every line end CRLF)
 * and append to a buf; whatever the message looks like, what they append is balanced and well-formed. Fuzzed.
 */
#ifndef IMAPD_FETCH_H
#define IMAPD_FETCH_H

#include "imapd/parse.h"
#include "mail/mime.h"

#define FETCH_SECTIONS_MAX 128 /* BODY[..] of one command */
#define FETCH_FIELDS_MAX 256   /* names in one HEADER.FIELDS */
#define FETCH_PATH_MAX (MIME_DEPTH_MAX + 1)

enum fetch_item {
    FETCH_UID = 1 << 0,
    FETCH_FLAGS = 1 << 1,
    FETCH_INTERNALDATE = 1 << 2,
    FETCH_SIZE = 1 << 3,
    FETCH_ENVELOPE = 1 << 4,
    FETCH_BODY = 1 << 5,
    FETCH_BODYSTRUCTURE = 1 << 6,
};

/* What of the part: all of it (the body, for a part), or a piece. */
enum fetch_what { FETCH_ALL, FETCH_HEADER, FETCH_FIELDS, FETCH_FIELDS_NOT, FETCH_TEXT, FETCH_MIME };

struct fetch_section {
    struct fetch_section *next;
    enum fetch_what what;
    const uint32_t *path; /* part number, npath == 0: the message */
    size_t npath;
    const struct slice *fields; /* HEADER.FIELDS(.NOT) */
    size_t nfields;
    struct slice
        label; /* how the answer calls it, the partial's start included: "BODY[1]<0>", "RFC822.TEXT" */
    bool peek;
    bool is_keys; /* HEADER.FIELDS of the message, fields of mail/header_keys.h only */
    bool is_partial;
    uint64_t from, len; /* octets */
};

struct fetch_items {
    unsigned simple;                /* enum fetch_item */
    struct fetch_section *sections; /* in the order of the command */
    unsigned slots;                 /* what the cache can tell (bits of enum cache_slot, store/cache.h) */
    bool sets_seen;                 /* some section is not a PEEK */
    bool needs_head;  /* some section is, or is of, the header section, and not from the cache */
    bool needs_parts; /* some section is of a part */
    bool needs_text;  /* some section needs the whole text */
};

/* The items at the cursor, up to the closing parenthesis if there is one. */
bool fetch_items_parse(struct imap_parse *p, struct fetch_items *out);

/*
 * ENVELOPE (RFC 3501 7.4.2) of the header section at the start of `header`. Memory of `scratch` is used,
 * never reset; when it is used up, addresses are left out.
 */
void fetch_envelope_write(struct buf *out, struct slice header, struct arena *scratch);

/*
 * BODYSTRUCTURE and BODY of the message (RFC 3501 7.4.2). `scratch` is reset between parts: nothing of the
 * caller's may live in it.
 */
void fetch_bodystructure_write(struct buf *extensible, struct buf *basic, const struct mime_tree *t,
    struct slice text, struct arena *scratch);

/* Where the octets lie that a section names, or, for HEADER.FIELDS, the header they are chosen from; partials
 * are not looked at. False: there is no such part (NIL). */
bool fetch_section_range(
    const struct fetch_section *s, const struct mime_tree *t, uint64_t *from, uint64_t *n);
/* HEADER.FIELDS(.NOT) out of a header section, into `built` (cleared first). */
void fetch_section_subset(const struct fetch_section *s, struct slice header, struct buf *built);

/*
 * The octets a section names, the partial applied. False: there is no such part (NIL). `t` may be NULL when
 * the path is empty. HEADER.FIELDS are put together in `built` (cleared first), everything else is a slice of
 * `text`.
 */
bool fetch_section_resolve(const struct fetch_section *s, const struct mime_tree *t, struct slice text,
    struct buf *built, struct slice *out);

/* Appends octets, NUL as 0x80 (security.md S23): a literal must not hold it. */
void fetch_add_octets(struct buf *out, struct slice octets);

#endif
