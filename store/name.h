/*
 * name: what a Maildir file name says.
 *
 *     <unique>[,S=<octets>][,W=<octets as CRLF>][,D=<save time, base 32>],U=<uid>.<v>:2,<flags>
 *
 * v = low 20 bits of UIDVALIDITY in base 32: a file that a foreign program moved here from another folder has
 * another v and is known as new. Foreign fields stay where they are. A pure parser and one writer; slices
 * point into the name. Flags ASCII-sorted, keywords are the letters a..z (store/keywords.h).
 */
#ifndef STORE_NAME_H
#define STORE_NAME_H

#include "common/buf.h"

#define NAME_LEN_MAX 255

/* Flag bits of a message: system flags, then keyword letter 'a' + n at FLAG_KEYWORD(n). */
#define FLAG_SEEN (1u << 0)      /* S */
#define FLAG_ANSWERED (1u << 1)  /* R */
#define FLAG_FLAGGED (1u << 2)   /* F */
#define FLAG_DELETED (1u << 3)   /* T */
#define FLAG_DRAFT (1u << 4)     /* D */
#define FLAG_FORWARDED (1u << 5) /* P: Maildir's "passed"; IMAP shows it as the keyword $Forwarded */
#define FLAG_KEYWORD(n) (1u << (6 + (n)))
#define FLAG_KEYWORDS_MASK (~0u << 6)
#define FLAG_KEYWORDS 26

struct name {
    struct slice base;   /* all before ":2,": unique part and fields */
    struct slice unique; /* before the first comma */
    uint64_t size;       /* S=, or 0 */
    uint64_t size_crlf;  /* W=, or S=, or 0 */
    int64_t saved;       /* D= in seconds, or 0 */
    uint32_t uid;        /* U=, or 0 when absent or of another UIDVALIDITY */
    uint32_t flags;
    bool has_size, has_crlf;
    bool has_info;        /* ":2," was there */
    bool has_foreign_uid; /* U= with another v */
};

/* False for a name that is no message (starts with a dot, empty, NUL, above 255 octets). */
bool name_parse(struct slice text, uint32_t uidvalidity, struct name *out);

/*
 * The name with these fields instead: existing S=, W=, D=, U= are kept or replaced, foreign fields stay. Zero
 * leaves a field out (W= also when equal to S=). False when it would be longer than 255 octets.
 */
bool name_write(struct buf *out, struct slice base, uint64_t size, uint64_t size_crlf, int64_t saved,
    uint32_t uid, uint32_t uidvalidity, uint32_t flags);
/* The unique part without the ".c<digits>" that COPY adds: the same for all copies of a message. */
struct slice name_origin(struct slice unique);
/* The same base with other flags. */
bool name_write_flags(struct buf *out, struct slice base, uint32_t flags);

#endif
