#include "mail/header.h"

#include "common/ascii.h"

/*
 * RFC 5256 2.1 and the ABNF of its section 5. Each function takes a piece off the front or the end of *s and
 * says whether it did. What is tried in vain is not tried again, so that "[a][a][a].." stays linear.
 */

static bool take_blanks(struct slice *s)
{
    size_t n = 0;

    while (n < s->n && s->p[n] == ' ')
        n++;
    *s = slice_from(*s, n);
    return n > 0;
}

/* subj-blob */
static bool take_blob(struct slice *s)
{
    size_t n = 1;

    if (s->n == 0 || s->p[0] != '[')
        return false;
    while (n < s->n && s->p[n] != '[' && s->p[n] != ']')
        n++;
    if (n == s->n || s->p[n] == '[')
        return false;
    *s = slice_from(*s, n + 1);
    take_blanks(s);
    return true;
}

/* subj-refwd */
static bool take_refwd(struct slice *s)
{
    struct slice rest = *s;

    if (slice_starts_nocase(rest, SLICE("fwd")))
        rest = slice_from(rest, 3);
    else if (slice_starts_nocase(rest, SLICE("re")) || slice_starts_nocase(rest, SLICE("fw")))
        rest = slice_from(rest, 2);
    else
        return false;
    take_blanks(&rest);
    take_blob(&rest);
    if (rest.n == 0 || rest.p[0] != ':')
        return false;
    *s = slice_from(rest, 1);
    return true;
}

/* Steps 3 to 5: leaders, then blobs while something is left behind them. */
static void take_front(struct slice *s, bool *is_reply)
{
    struct slice chain, last;
    bool more = true;

    while (more) {
        more = take_blanks(s);
        for (chain = last = *s; take_blob(&chain);)
            if (chain.n)
                last = chain;
        if (take_refwd(&chain)) {
            *s = chain;
            *is_reply = more = true;
        } else if (last.n < s->n) {
            /* no leader starts within this chain of blobs; the last one stays if it is all there is */
            *s = last;
            if (chain.n == 0)
                return;
        }
    }
}

/* Step 2: subj-trailer */
static void take_end(struct slice *s, bool *is_reply)
{
    for (;;) {
        if (s->n && s->p[s->n - 1] == ' ') {
            s->n--;
        } else if (s->n >= 5 && slice_eq_nocase(slice_from(*s, s->n - 5), SLICE("(fwd)"))) {
            s->n -= 5;
            *is_reply = true;
        } else {
            return;
        }
    }
}

/* Step 1: all blanks and line ends in a row become one blank. */
static struct slice one_line(struct slice s, struct arena *arena)
{
    char *to = arena_alloc(arena, s.n);
    size_t n = 0;

    if (!to)
        return slice_of(NULL, 0);
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_blank(s.p[i]))
            to[n++] = s.p[i];
        else if (n == 0 || to[n - 1] != ' ')
            to[n++] = ' ';
    }
    return slice_of(to, n);
}

struct slice header_base_subject(struct slice subject_utf8, struct arena *arena, bool *is_reply)
{
    struct slice s = one_line(slice_sub(subject_utf8, 0, HEADER_LOOK_MAX), arena);

    *is_reply = false;
    for (;;) {
        take_end(&s, is_reply);
        take_front(&s, is_reply);
        /* step 6 */
        if (!slice_starts_nocase(s, SLICE("[fwd:")) || s.p[s.n - 1] != ']')
            return s;
        s = slice_sub(s, 5, s.n - 6);
        *is_reply = true;
    }
}
