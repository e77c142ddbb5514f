/* SEARCH arguments into a program (RFC 3501 6.4.4, RFC 4731). */
#include "imapd/search.h"

#include <string.h>

#include "common/ascii.h"
#include "mail/decode.h"
#include "mail/header_keys.h"
#include "store/name.h"

enum argument { NONE, STRING, FIELD_AND_STRING, KEYWORD, DATE, SIZE, SET };

static const struct row {
    struct slice name;
    enum search_kind kind;
    enum argument argument;
    bool negate;
    uint32_t mask;
    struct slice field;
} rows[] = {
#define ROW(name_, kind_, ...)                                                                               \
    {                                                                                                        \
        .name = {name_, sizeof name_ - 1}, .kind = SEARCH_##kind_, __VA_ARGS__                               \
    }
#define FIELD(name_) ROW(name_, HEADER, .argument = STRING, .field = {name_, sizeof name_ - 1})
    ROW("ALL", EVERYTHING, 0),
    ROW("ANSWERED", FLAG, .mask = FLAG_ANSWERED),
    FIELD("BCC"),
    ROW("BEFORE", BEFORE, .argument = DATE),
    ROW("BODY", BODY, .argument = STRING),
    FIELD("CC"),
    ROW("DELETED", FLAG, .mask = FLAG_DELETED),
    ROW("DRAFT", FLAG, .mask = FLAG_DRAFT),
    ROW("FLAGGED", FLAG, .mask = FLAG_FLAGGED),
    FIELD("FROM"),
    ROW("HEADER", HEADER, .argument = FIELD_AND_STRING),
    ROW("KEYWORD", KEYWORD, .argument = KEYWORD),
    ROW("LARGER", LARGER, .argument = SIZE),
    ROW("NEW", NEW, 0),
    ROW("OLD", RECENT, .negate = true),
    ROW("ON", ON, .argument = DATE),
    ROW("RECENT", RECENT, 0),
    ROW("SEEN", FLAG, .mask = FLAG_SEEN),
    ROW("SENTBEFORE", SENTBEFORE, .argument = DATE),
    ROW("SENTON", SENTON, .argument = DATE),
    ROW("SENTSINCE", SENTSINCE, .argument = DATE),
    ROW("SINCE", SINCE, .argument = DATE),
    ROW("SMALLER", SMALLER, .argument = SIZE),
    FIELD("SUBJECT"),
    ROW("TEXT", TEXT, .argument = STRING),
    FIELD("TO"),
    ROW("UID", UID, .argument = SET),
    ROW("UNANSWERED", FLAG, .negate = true, .mask = FLAG_ANSWERED),
    ROW("UNDELETED", FLAG, .negate = true, .mask = FLAG_DELETED),
    ROW("UNDRAFT", FLAG, .negate = true, .mask = FLAG_DRAFT),
    ROW("UNFLAGGED", FLAG, .negate = true, .mask = FLAG_FLAGGED),
    ROW("UNKEYWORD", KEYWORD, .argument = KEYWORD, .negate = true),
    ROW("UNSEEN", FLAG, .negate = true, .mask = FLAG_SEEN),
#undef FIELD
#undef ROW
};

/* A key, or a group of them: all must hold, or with `any` one of them. */
struct node {
    struct node *next; /* in its group: the one read before it of the same cost */
    bool is_group, any, negate;
    enum search_cost cost;
    struct search_key key;
    struct node *children[SEARCH_COSTS]; /* last one first, as the program is written from its end */
};

/* NOT, OR or "(" whose keys are being read. */
struct frame {
    struct node *group; /* NULL: a NOT, it has no node of its own */
    unsigned wanted;    /* keys still to come; 0: up to the closing parenthesis */
};

struct reader {
    struct imap_parse *p;
    struct slice charset;
    struct node *root;
    size_t keys;
    struct frame frames[SEARCH_DEPTH_MAX];
    size_t depth;
};

static const char too_big[] =
    "the command needs more memory than one command may have; send it in smaller steps";

/* ------------------------------------------------------------------ one key */

static enum search_cost cost_of(enum search_kind kind)
{
    switch (kind) {
    case SEARCH_SENTBEFORE:
    case SEARCH_SENTON:
    case SEARCH_SENTSINCE:
    case SEARCH_HEADER:
        return SEARCH_COST_HEADER;
    case SEARCH_BODY:
    case SEARCH_TEXT:
        return SEARCH_COST_TEXT;
    default:
        return SEARCH_COST_INDEX;
    }
}

/* What is looked for, as the texts will be: UTF-8, folded. */
static bool read_needle(struct reader *r, struct slice *out)
{
    struct buf utf8 = BUF_INIT((size_t)1 << 20), folded = BUF_INIT((size_t)4 << 20);
    struct slice raw;

    if (!imap_parse_space(r->p) || !imap_parse_astring(r->p, &raw))
        return false;
    decode_charset(r->charset, raw, &utf8);
    decode_fold(buf_slice(&utf8), &folded);
    *out = utf8.full || folded.full ? slice_of(NULL, 0) : arena_copy(r->p->arena, buf_slice(&folded));
    buf_free(&utf8);
    buf_free(&folded);
    return out->p ? true : imap_parse_fail(r->p, too_big);
}

static bool read_argument(struct reader *r, enum argument what, struct search_key *key)
{
    struct imap_parse *p = r->p;

    switch (what) {
    case NONE:
        return true;
    case FIELD_AND_STRING:
        return imap_parse_space(p) && imap_parse_astring(p, &key->name) && read_needle(r, &key->needle);
    case STRING:
        return read_needle(r, &key->needle);
    case KEYWORD:
        return imap_parse_space(p) && imap_parse_atom(p, &key->name);
    case DATE:
        return imap_parse_space(p) && imap_parse_date(p, &key->day);
    case SIZE:
        return imap_parse_space(p) && imap_parse_number(p, UINT32_MAX, &key->size);
    case SET:
        return imap_parse_space(p) && imap_parse_set(p, &key->set);
    }
    return false;
}

static struct node *node_new(struct reader *r)
{
    struct node *n = arena_zalloc(r->p->arena, 1, sizeof *n);

    if (!n)
        imap_parse_fail(r->p, too_big);
    return n;
}

/* A sequence set, or a word with its argument. NULL: the parser has the error. */
static struct node *read_key(struct reader *r)
{
    struct imap_parse *p = r->p;
    struct node *n;
    struct slice name;

    if (r->keys++ == SEARCH_KEYS_MAX) {
        imap_parse_fail(p, "SEARCH takes at most 1000 keys");
        return NULL;
    }
    n = node_new(r);
    if (!n)
        return NULL;
    if (p->rest.n && (ascii_is_digit(p->rest.p[0]) || p->rest.p[0] == '*' || p->rest.p[0] == '$')) {
        n->key.kind = SEARCH_SEQ;
        if (!imap_parse_set(p, &n->key.set))
            return NULL;
    } else {
        if (!imap_parse_atom(p, &name))
            return NULL;
        for (size_t i = 0;; i++) {
            if (i == sizeof rows / sizeof *rows) {
                imap_parse_fail(
                    p, "that is no search key; for example UNSEEN, FROM x, SINCE 1-Feb-2026, TEXT x are");
                return NULL;
            }
            if (!slice_eq_nocase(name, rows[i].name))
                continue;
            n->key.kind = rows[i].kind;
            n->key.mask = rows[i].mask;
            n->key.name = rows[i].field;
            n->negate = rows[i].negate;
            if (!read_argument(r, rows[i].argument, &n->key))
                return NULL;
            break;
        }
    }
    if (n->key.set.is_saved) {
        imap_parse_fail(p, "$ names the result of a saved search, and none was saved");
        return NULL;
    }
    n->cost = cost_of(n->key.kind);
    return n;
}

/* ------------------------------------------------------------------ groups */

static void group_add(struct node *group, struct node *n)
{
    n->next = group->children[n->cost];
    group->children[n->cost] = n;
    if (n->cost > group->cost)
        group->cost = n->cost;
}

static bool frame_open(struct reader *r, struct node *group, unsigned wanted)
{
    if (r->depth == SEARCH_DEPTH_MAX)
        return imap_parse_fail(r->p, "NOT, OR and parentheses may stand in each other at most 32 deep");
    r->frames[r->depth++] = (struct frame){group, wanted};
    return true;
}

/* A key or group is complete: into what it stands in, which may be complete by that, and so on. */
static void complete(struct reader *r, struct node *n)
{
    while (r->depth) {
        struct frame *f = &r->frames[r->depth - 1];

        if (f->group)
            group_add(f->group, n);
        if (f->wanted == 0 || --f->wanted > 0)
            return;
        if (f->group)
            n = f->group;
        else
            n->negate = !n->negate;
        r->depth--;
    }
    group_add(r->root, n);
}

static bool take_word(struct imap_parse *p, struct slice word)
{
    struct slice rest = p->rest;

    if (!slice_starts_nocase(rest, word) || rest.n == word.n || rest.p[word.n] != ' ')
        return false;
    p->rest = slice_from(rest, word.n);
    return true;
}

/* "(", "NOT " or "OR ": one that opens something. */
static bool read_opening(struct reader *r, bool *opened)
{
    struct imap_parse *p = r->p;
    bool list = imap_parse_peek(p, '('), any = !list && take_word(p, SLICE("OR"));
    bool not = !list && !any && take_word(p, SLICE("NOT"));
    struct node *group = NULL;

    *opened = list || any || not ;
    if (!*opened)
        return true;
    if (list)
        p->rest = slice_from(p->rest, 1);
    else if (!imap_parse_space(p))
        return false;
    if (list || any) {
        group = node_new(r);
        if (!group)
            return false;
        group->is_group = true;
        group->any = any;
    }
    return frame_open(r, group, list ? 0 : any ? 2 : 1);
}

static bool read_keys(struct reader *r)
{
    struct imap_parse *p = r->p;

    for (;;) {
        struct node *n;
        bool opened;

        if (!read_opening(r, &opened))
            return false;
        if (opened)
            continue;
        n = read_key(r);
        if (!n)
            return false;
        complete(r, n);
        while (r->depth && r->frames[r->depth - 1].wanted == 0 && imap_parse_peek(p, ')')) {
            p->rest = slice_from(p->rest, 1);
            r->depth--;
            complete(r, r->frames[r->depth].group);
        }
        if (p->rest.n == 0 || (r->depth == 0 && slice_trim(p->rest).n == 0))
            break;
        if (!imap_parse_space(p))
            return false;
    }
    if (r->depth && r->frames[r->depth - 1].wanted == 0)
        return imap_parse_fail(p, "a closing parenthesis is missing");
    if (r->depth)
        return imap_parse_fail(p, "a search key is missing behind NOT or OR");
    return imap_parse_end(p);
}

/* ------------------------------------------------------------------ the program */

struct emission {
    const struct node *group;
    uint32_t yes, no;
    uint32_t entry; /* where its children that are written already begin */
    int cost;
    const struct node *child;
};

static struct emission emission_of(const struct node *group, uint32_t yes, uint32_t no)
{
    return (struct emission){group, yes, no, group->any ? no : yes, SEARCH_COSTS, NULL};
}

/* The next child to write: from the dearest to the cheapest, as the program grows towards its front. */
static const struct node *next_child(struct emission *e)
{
    while (!e->child && e->cost > 0)
        e->child = e->group->children[--e->cost];
    if (e->child) {
        const struct node *n = e->child;

        e->child = n->next;
        return n;
    }
    return NULL;
}

static bool compile(struct reader *r, struct search_program *out)
{
    struct emission stack[SEARCH_DEPTH_MAX + 1];
    size_t depth = 1;
    uint32_t at = (uint32_t)r->keys;

    out->steps = arena_zalloc(r->p->arena, r->keys, sizeof *out->steps);
    if (!out->steps)
        return imap_parse_fail(r->p, too_big);
    out->n = at;
    out->cost = r->root->cost;
    stack[0] = emission_of(r->root, SEARCH_HIT, SEARCH_MISS);
    while (depth) {
        struct emission *e = &stack[depth - 1];
        const struct node *n = next_child(e);
        uint32_t yes, no;

        if (!n) {
            depth--;
            if (depth)
                stack[depth - 1].entry = at;
            continue;
        }
        yes = e->group->any ? e->yes : e->entry;
        no = e->group->any ? e->entry : e->no;
        if (n->negate) {
            uint32_t swap = yes;

            yes = no;
            no = swap;
        }
        if (n->is_group) {
            stack[depth++] = emission_of(n, yes, no);
        } else {
            out->steps[--at] = (struct search_step){n->key, yes, no};
            e->entry = at;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ what stands before the keys */

/* RFC 4731 3.1, RFC 4466 2.6.1 */
static bool read_return(struct imap_parse *p, struct search_program *out)
{
    static const struct {
        struct slice name;
        enum search_return bit;
    } options[] = {
        {{"MIN", 3}, SEARCH_RETURN_MIN},
        {{"MAX", 3}, SEARCH_RETURN_MAX},
        {{"ALL", 3}, SEARCH_RETURN_ALL},
        {{"COUNT", 5}, SEARCH_RETURN_COUNT},
    };
    struct slice name;

    out->extended = true;
    if (!imap_parse_space(p) || !imap_parse_char(p, '('))
        return false;
    while (!imap_parse_peek(p, ')')) {
        unsigned bit = 0;

        if (!imap_parse_atom(p, &name))
            return false;
        for (size_t i = 0; i < sizeof options / sizeof *options; i++)
            if (slice_eq_nocase(name, options[i].name))
                bit = options[i].bit;
        if (!bit)
            return imap_parse_fail(p, "RETURN knows MIN, MAX, ALL and COUNT");
        out->returns |= bit;
        if (!imap_parse_peek(p, ')') && !imap_parse_space(p))
            return false;
    }
    if (!out->returns)
        out->returns = SEARCH_RETURN_ALL;
    return imap_parse_char(p, ')') && imap_parse_space(p);
}

bool search_parse(struct imap_parse *p, struct search_program *out)
{
    struct reader r = {.p = p, .charset = SLICE("utf-8")};

    *out = (struct search_program){.returns = SEARCH_RETURN_ALL};
    if (take_word(p, SLICE("RETURN"))) {
        out->returns = 0;
        if (!read_return(p, out))
            return false;
    }
    if (take_word(p, SLICE("CHARSET"))) {
        if (!imap_parse_space(p) || !imap_parse_astring(p, &r.charset) || !imap_parse_space(p))
            return false;
        out->charset_named = true;
        out->charset_unknown = !decode_charset_known(r.charset);
    }
    r.root = node_new(&r);
    if (!r.root)
        return false;
    r.root->is_group = true;
    if (!read_keys(&r) || !compile(&r, out))
        return false;
    out->keys_only = true;
    for (uint32_t i = 0; i < out->n; i++) {
        const struct search_key *key = &out->steps[i].key;

        if (key->kind == SEARCH_HEADER && !header_is_key(key->name))
            out->keys_only = false;
        if (key->kind == SEARCH_BEFORE || key->kind == SEARCH_ON || key->kind == SEARCH_SINCE)
            out->dates = true;
    }
    return true;
}

void search_bind(struct search_program *program, uint32_t last_seq, uint32_t last_uid,
    uint32_t (*keyword)(void *ctx, struct slice name), void *ctx)
{
    for (uint32_t i = 0; i < program->n; i++) {
        struct search_key *key = &program->steps[i].key;

        if (key->kind == SEARCH_SEQ)
            imap_set_resolve(&key->set, last_seq);
        else if (key->kind == SEARCH_UID)
            imap_set_resolve(&key->set, last_uid);
        else if (key->kind == SEARCH_KEYWORD)
            key->mask = keyword(ctx, key->name);
    }
}
