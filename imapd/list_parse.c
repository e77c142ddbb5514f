/* The arguments of LIST (RFC 3501 6.3.8, 5258 3, 6154 2, 5819 2). */
#include "imapd/list.h"

#include "imapd/session.h"
#include "imapd/status.h"

static bool pattern(struct imap_cmd *c, struct list_request *r, struct slice reference)
{
    struct imap_parse *p = &c->args;
    struct slice raw;
    struct buf joined = BUF_INIT(8 * FOLDER_NAME_MAX), decoded = BUF_INIT(8 * FOLDER_NAME_MAX);

    if (r->npatterns == LIST_PATTERNS_MAX)
        return imap_parse_fail(p, "LIST has more than 32 patterns");
    if (!imap_parse_list_mailbox(p, &raw))
        return false;
    r->hierarchy = r->npatterns == 0 && raw.n == 0;
    buf_add(&joined, reference);
    buf_add(&joined, raw);
    /* a pattern that is no modified UTF-7 matches what it says: Thunderbird sends UTF-8 (clients.md 12) */
    if (c->s->utf8 || !folder_utf7_decode(buf_slice(&joined), &decoded)) {
        buf_clear(&decoded);
        buf_add(&decoded, buf_slice(&joined));
    }
    r->patterns[r->npatterns] = arena_copy(c->arena, buf_slice(&decoded));
    if (joined.full || decoded.full || !r->patterns[r->npatterns].p)
        imap_parse_fail(p, "a pattern of LIST is too long");
    r->npatterns++;
    buf_free(&joined);
    buf_free(&decoded);
    return !p->error;
}

static bool patterns(struct imap_cmd *c, struct list_request *r, struct slice reference)
{
    struct imap_parse *p = &c->args;

    if (r->kind != LIST_LIST || !imap_parse_peek(p, '('))
        return pattern(c, r, reference);
    r->extended = true;
    imap_parse_char(p, '(');
    do {
        if ((r->npatterns && !imap_parse_space(p)) || !pattern(c, r, reference))
            return false;
    } while (imap_parse_peek(p, ' '));
    r->hierarchy = false; /* "" among several is a pattern that matches nothing */
    return imap_parse_char(p, ')');
}

/* "(" options ")" before the reference */
static bool selection(struct imap_parse *p, struct list_request *r)
{
    static const struct {
        const char *name;
        unsigned option;
    } options[] = {
        {"SUBSCRIBED", LIST_SELECT_SUBSCRIBED}, {"SPECIAL-USE", LIST_SELECT_SPECIAL},
        {"RECURSIVEMATCH", LIST_SELECT_RECURSIVE}, {"REMOTE", 0}, /* there are none */
    };
    bool first = true;

    imap_parse_char(p, '(');
    while (!imap_parse_peek(p, ')')) {
        struct slice word;
        size_t i = 0;

        if ((!first && !imap_parse_space(p)) || !imap_parse_atom(p, &word))
            return false;
        while (i < 4 && !slice_eq_nocase(word, slice_str(options[i].name)))
            i++;
        if (i == 4)
            return imap_parse_fail(p, "LIST selects by SUBSCRIBED, SPECIAL-USE, REMOTE and RECURSIVEMATCH");
        r->options |= options[i].option;
        first = false;
    }
    /* RFC 5258 3.1: it changes other options, alone it means nothing */
    if ((r->options & LIST_SELECT_RECURSIVE) && !(r->options & LIST_SELECT_SUBSCRIBED))
        return imap_parse_fail(p, "RECURSIVEMATCH needs SUBSCRIBED beside it");
    return imap_parse_char(p, ')');
}

/* "RETURN (" options ")" */
static bool returns(struct imap_parse *p, struct list_request *r)
{
    struct slice word;
    bool first = true;

    if (!imap_parse_atom(p, &word) || !slice_eq_nocase(word, SLICE("RETURN")) || !imap_parse_space(p) ||
        !imap_parse_char(p, '('))
        return imap_parse_fail(p, "behind the pattern of LIST only RETURN (options) may follow");
    while (!imap_parse_peek(p, ')')) {
        if ((!first && !imap_parse_space(p)) || !imap_parse_atom(p, &word))
            return false;
        first = false;
        if (slice_eq_nocase(word, SLICE("SUBSCRIBED"))) {
            r->options |= LIST_RETURN_SUBSCRIBED;
        } else if (slice_eq_nocase(word, SLICE("STATUS"))) {
            if (!imap_parse_space(p) || !imap_parse_status_items(p, &r->status))
                return false;
            r->options |= LIST_RETURN_STATUS;
        } else if (!slice_eq_nocase(word, SLICE("CHILDREN")) &&
                   !slice_eq_nocase(word, SLICE("SPECIAL-USE"))) {
            /* these two are told always */
            return imap_parse_fail(p, "LIST returns SUBSCRIBED, CHILDREN, SPECIAL-USE and STATUS (items)");
        }
    }
    return imap_parse_char(p, ')');
}

bool list_parse(struct imap_cmd *c, struct list_request *r)
{
    struct imap_parse *p = &c->args;
    struct slice reference;

    if (r->kind == LIST_LIST && imap_parse_peek(p, '(')) {
        r->extended = true;
        if (!selection(p, r) || !imap_parse_space(p))
            return false;
    }
    if (!imap_parse_astring(p, &reference) || !imap_parse_space(p) || !patterns(c, r, reference))
        return false;
    if (r->kind == LIST_LIST && imap_parse_peek(p, ' ')) {
        imap_parse_space(p);
        if (p->rest.n) {
            r->extended = true;
            if (!returns(p, r))
                return false;
        }
    }
    return imap_parse_end(p);
}
