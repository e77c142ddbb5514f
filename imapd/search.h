/*
 * search: SEARCH keys (RFC 3501 6.4.4), compiled and tried on messages. Independent of the store.
 *
 * search_parse() reads the arguments into a program: an array of tests, each naming the test that follows
 * when it holds and when it does not. NOT, OR and parentheses are gone then: a match is a walk along the
 * array, without a stack. In each group what costs little is tried first. search_bind() puts in what the
 * mailbox knows (the highest numbers, the letters of keywords). search_match() asks for a message's text only
 * when a test needs it.
 */
#ifndef IMAPD_SEARCH_H
#define IMAPD_SEARCH_H

#include "imapd/parse.h"
#include "mail/mime.h"

#define SEARCH_DEPTH_MAX 32  /* NOT, OR and parentheses inside each other (security.md I02) */
#define SEARCH_KEYS_MAX 1000 /* of one command */

enum search_kind {
    SEARCH_EVERYTHING,
    SEARCH_FLAG,    /* has a flag of `mask` */
    SEARCH_KEYWORD, /* name in `name`; search_bind fills in `mask` */
    SEARCH_RECENT,
    SEARCH_NEW,
    SEARCH_SEQ,
    SEARCH_UID,
    SEARCH_BEFORE, /* INTERNALDATE, days */
    SEARCH_ON,
    SEARCH_SINCE,
    SEARCH_LARGER,
    SEARCH_SMALLER,
    SEARCH_SENTBEFORE, /* Date field */
    SEARCH_SENTON,
    SEARCH_SENTSINCE,
    SEARCH_HEADER, /* `needle` in a field `name` */
    SEARCH_BODY,
    SEARCH_TEXT,
};

enum search_cost { SEARCH_COST_INDEX, SEARCH_COST_HEADER, SEARCH_COST_TEXT, SEARCH_COSTS };

struct search_key {
    enum search_kind kind;
    uint32_t mask;
    int32_t day; /* since 1970 */
    uint64_t size;
    struct slice name;
    struct slice needle; /* UTF-8, folded (decode_fold) */
    struct imap_set set;
};

#define SEARCH_HIT UINT32_MAX
#define SEARCH_MISS (UINT32_MAX - 1)

struct search_step {
    struct search_key key;
    uint32_t yes, no; /* index of the next step, or HIT or MISS */
};

enum search_return {
    SEARCH_RETURN_MIN = 1 << 0,
    SEARCH_RETURN_MAX = 1 << 1,
    SEARCH_RETURN_ALL = 1 << 2,
    SEARCH_RETURN_COUNT = 1 << 3,
};

struct search_program {
    struct search_step *steps;
    uint32_t n;
    enum search_cost cost; /* of the dearest step */
    bool extended;         /* RETURN was there: answer ESEARCH (RFC 4731) */
    unsigned returns;      /* enum search_return */
    bool charset_named;    /* there was a CHARSET */
    bool charset_unknown;  /* NO [BADCHARSET] */
};

/* The arguments of SEARCH: RETURN, CHARSET and keys, up to the end. Memory from the parser's arena. */
bool search_parse(struct imap_parse *p, struct search_program *out);

/* last_*: highest numbers in use, for '*'. keyword: flag bits of a name, 0 for none. */
void search_bind(struct search_program *program, uint32_t last_seq, uint32_t last_uid,
    uint32_t (*keyword)(void *ctx, struct slice name), void *ctx);

/* What a message says of itself. The functions are asked once a message and kind at most; false: it cannot be
 * read. */
struct search_message {
    uint32_t seq, uid, flags;
    bool recent;
    int64_t received; /* seconds since 1970; 0: ask date() */
    bool (*date)(void *ctx, int64_t *seconds);
    bool (*size)(void *ctx, uint64_t *octets);
    bool (*head)(void *ctx, struct slice *text); /* the header section; more does not harm */
    bool (*text)(void *ctx, struct slice *text);
    void *ctx;
};

/* Memory that is used again for each message. */
struct search_work {
    struct arena arena;   /* holds the tree */
    struct arena scratch; /* one field, one part */
    struct buf value, folded, raw, utf8;
    /* of the message at hand */
    bool has_head, has_text, has_tree;
    struct slice head, text;
    struct mime_tree tree;
};

void search_work_init(struct search_work *w);
void search_work_free(struct search_work *w);

enum search_result { SEARCH_NO_MATCH, SEARCH_MATCH, SEARCH_UNREADABLE };
enum search_result search_match(
    const struct search_program *p, const struct search_message *m, struct search_work *w);

/* --- search_text.c: folded needles in what is encoded --- */
/* In a field's value, or with `whole` in the whole field. */
bool search_field_has(
    struct search_work *w, const struct header_field *field, bool whole, struct slice needle);
/* In any field of the header section. */
bool search_header_has(struct search_work *w, struct slice header, struct slice needle);
/* In the text parts, the headers of enclosed messages and the file names of w->text, whose tree is w->tree.
 */
bool search_body_has(struct search_work *w, struct slice needle);

#endif
