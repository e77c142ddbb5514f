#include <stdlib.h>
#include <string.h>

#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "mail/decode.h"
#include "mail/text.h"

/*
 * The library folds and normalises whole strings, at about a microsecond a call. Text falls into clusters: a
 * starter and what may join with it. Most clusters are one code point below U+10000, whose fold is looked up;
 * the others go through the library one by one. Both give what the library gives for the whole string.
 */
#define TABLE_SIZE 0x10000u
#define FOLD_MAX 6 /* octets */
#define JOINS 0x80
/* octets of a cluster that are normalised together: marks without end must not cost memory */
#define CLUSTER_MAX 4096

enum { UNSEEN, SHORT, LONG };

struct fold {
    uint8_t state;   /* LONG: the fold does not fit here */
    uint8_t joins_n; /* JOINS: may join with what stands before it; below that the length of the text */
    char text[FOLD_MAX];
};

static struct fold table[TABLE_SIZE]; /* pages come with use */

/* Octets of the fold, NFKC; *made is from the heap. */
static struct slice library_fold(struct slice s, uint8_t **made)
{
    size_t n = 0;

    *made = u8_casefold((const uint8_t *)s.p, s.n, NULL, UNINORM_NFKC, NULL, &n);
    if (!*made)
        return s; /* no memory: the text as it is */
    return slice_of(*made, n);
}

static bool is_mark_or_jamo(uint32_t cp)
{
    return uc_combining_class(cp) != 0 || uc_is_general_category_withtable(cp, UC_CATEGORY_MASK_M) ||
           (cp >= 0x1100 && cp < 0x1200);
}

static bool joins_before(uint32_t cp)
{
    ucs4_t parts[UC_DECOMPOSITION_MAX_LENGTH];
    int tag, n;

    /* a compatibility form of a mark or jamo joins as that does */
    for (int depth = 0; depth < 8; depth++) {
        if (is_mark_or_jamo(cp))
            return true;
        if (cp >= 0xac00 && cp < 0xd7a4)
            return false; /* a Hangul syllable begins with a leading jamo, which joins with nothing before it
                           */
        n = uc_decomposition(cp, &tag, parts);
        if (n <= 0)
            return false;
        cp = parts[0];
    }
    return true;
}

static void table_fill(uint32_t cp)
{
    struct fold *f = &table[cp];
    struct slice folded;
    uint8_t *made;
    char c[4];

    folded = library_fold(slice_of(c, utf8_encode(cp, c)), &made);
    f->joins_n = joins_before(cp) ? JOINS : 0;
    f->state = LONG;
    if (folded.n <= sizeof f->text) {
        f->state = SHORT;
        f->joins_n = (uint8_t)(f->joins_n | folded.n);
        if (folded.n > 0)
            memcpy(f->text, folded.p, folded.n);
    }
    free(made);
}

static const struct fold *fold_of(uint32_t cp)
{
    if (cp >= TABLE_SIZE)
        return NULL;
    if (table[cp].state == UNSEEN)
        table_fill(cp);
    return &table[cp];
}

static bool joins(uint32_t cp)
{
    const struct fold *f = fold_of(cp);

    return f ? (f->joins_n & JOINS) != 0 : is_mark_or_jamo(cp);
}

/* s begins with a code point of n octets: how many belong to its cluster. */
static size_t cluster_size(struct slice s, size_t n)
{
    while (n < s.n && n < CLUSTER_MAX && ascii_is_8bit(s.p[n])) {
        uint32_t cp;
        size_t more = text_next(s.p + n, s.n - n, &cp);

        if (cp == TEXT_BAD || !joins(cp))
            break;
        n += more;
    }
    return n;
}

static size_t ascii_run(struct slice s, struct buf *out)
{
    size_t n = 0, left = out->cap > out->n ? out->cap - out->n : 0;
    char *to;

    while (n < s.n && !ascii_is_8bit(s.p[n]))
        n++;
    /* the last one may be a cluster's start */
    if (n > 0 && n < s.n)
        n--;
    to = n > 0 ? buf_room(out, n < left ? n : left) : NULL;
    if (!to)
        return n;
    for (size_t i = 0; i < n && i < left; i++)
        to[i] = ascii_lower(s.p[i]);
    buf_grew(out, n < left ? n : left);
    if (n > left)
        out->full = true;
    return n;
}

void decode_fold(struct slice s, struct buf *out)
{
    while (s.n > 0 && !out->full) {
        const struct fold *f;
        struct slice folded;
        uint8_t *made = NULL;
        uint32_t cp;
        size_t n;

        s = slice_from(s, ascii_run(s, out));
        if (s.n == 0)
            break;
        n = text_next(s.p, s.n, &cp);
        if (cp == TEXT_BAD) {
            text_add_cp(out, TEXT_REPLACEMENT);
            s = slice_from(s, n);
            continue;
        }
        f = fold_of(cp);
        if (cluster_size(s, n) == n && f && f->state == SHORT) {
            folded = slice_of(f->text, f->joins_n & ~JOINS);
        } else {
            n = cluster_size(s, n);
            folded = library_fold(slice_sub(s, 0, n), &made);
        }
        text_add(out, folded);
        free(made);
        s = slice_from(s, n);
    }
}
