/* select: which messages and recipients a request means, a page at a time. */
#include <string.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "mail/address.h"
#include "queue/admin_call.h"

#define LOOK_RECIPIENTS 20000         /* of one page */
#define HOLD_MAX ((size_t)16 << 20)   /* 1,000 recipients with their replies are 2 MiB */
#define ARENA_ADDRESS ((size_t)65536) /* for parsing one address */

/* An address or domain as it was asked for, and in the form for look-ups. */
struct wanted {
    struct slice given;
    struct buf normal;
};

struct selection {
    struct call *c;
    bool (*each)(void *ctx, const struct queued *q);
    void *ctx;
    struct wanted from, to, domain;
    struct id after; /* empty: from the first on */
    bool single;     /* only the message `after` itself is looked at */
    uint64_t limit, messages, recipients;
    struct arena arena; /* of the message at hand */
    struct queued q;
    uint32_t seen;
    struct id last; /* that was looked at */
    bool more;
};

/* ---- words about messages ---- */

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

static struct slice domain_of(struct slice address)
{
    ssize_t at = slice_rchr(address, '@');

    return at < 0 ? SLICE("") : slice_from(address, (size_t)at + 1);
}

static bool normalise(struct slice text, struct buf *out)
{
    struct address a;
    struct arena arena;
    bool good;

    arena_init(&arena, ARENA_ADDRESS);
    good = address_parse(text, &arena, &a) == ADDRESS_OK && address_normalise(&a, out);
    arena_free(&arena);
    return good;
}

static bool normalise_domain(struct slice domain, struct buf *out)
{
    const struct address a = {.local = SLICE("x"), .domain = domain};

    if (!address_is_literal(domain) && (!address_is_domain(domain) || !address_normalise(&a, out)))
        return false;
    if (address_is_literal(domain))
        buf_add(out, domain);
    else
        buf_drop(out, 2); /* "x@" */
    return true;
}

void recipient_domain(struct slice address, struct buf *out)
{
    struct slice domain = domain_of(address);
    struct buf normal = BUF_INIT(BUF_OWN);

    if (!is_ascii(domain) && normalise_domain(domain, &normal))
        buf_add(out, buf_slice(&normal));
    else
        for (size_t i = 0; i < domain.n; i++)
            buf_add_char(out, ascii_lower(domain.p[i]));
    buf_free(&normal);
}

bool recipient_is_left(const struct state_recipient *r)
{
    return r->state == STATE_PENDING || r->state == STATE_BOUNCING;
}

const char *recipient_state(
    const struct queue_door *door, const struct state_message *m, const struct state_recipient *r)
{
    switch (r->state) {
    case STATE_DONE:
        return "delivered";
    case STATE_FAILED:
        return "failed";
    case STATE_BOUNCING:
        return "bouncing";
    case STATE_PENDING:
    case STATE_STATES:
        break;
    }
    return m->hold ? "held" : r->next_try > door->now ? "deferred" : "active";
}

const char *message_state(const struct queue_door *door, const struct queued *q)
{
    const char *state = "delivered"; /* it is about to leave */
    bool bouncing = false;

    for (uint32_t i = 0; i < q->m.nrecipients; i++) {
        const struct state_recipient *r = &q->recipients[i];

        bouncing |= r->state == STATE_BOUNCING;
        if (r->state != STATE_PENDING)
            continue;
        state = recipient_state(door, &q->m, r);
        if (strcmp(state, "deferred") != 0)
            return state;
    }
    return bouncing && strcmp(state, "deferred") != 0 ? "bouncing" : state;
}

json_t *text_line(struct slice s, size_t max)
{
    struct buf out = BUF_INIT(BUF_OWN);
    json_t *v;

    while (s.n && out.n < max) {
        size_t n = utf8_printable(s);

        if (n)
            buf_add(&out, slice_sub(s, 0, n));
        else if (*s.p == '\n' || *s.p == '\t')
            buf_add_char(&out, ' ');
        else if (*s.p != '\r')
            buf_add_char(&out, '?');
        s = slice_from(s, n ? n : 1);
    }
    v = call_string(slice_trim(buf_slice(&out)));
    buf_free(&out);
    return v;
}

/* ---- what is wanted ---- */

enum err_code select_is_given(const struct call *c)
{
    if (call_count(c, "ids") || call_has(c, "from") || call_has(c, "to") || call_has(c, "domain") ||
        call_flag(c, "all"))
        return ERR_OK;
    err_set(c->e, ERR_USAGE,
        "no message was chosen; name some by their ids, or choose by --from, --to, --domain or --all");
    return ERR_USAGE;
}

static enum err_code want(const struct call *c, const char *field, struct wanted *w)
{
    bool domain = strcmp(field, "domain") == 0;

    w->normal = BUF_INIT(BUF_OWN);
    w->given = call_text(c, field);
    if (!call_has(c, field) || (strcmp(field, "from") == 0 && slice_eq(w->given, SLICE("<>"))))
        return ERR_OK;
    if (domain ? normalise_domain(w->given, &w->normal) : normalise(w->given, &w->normal))
        return ERR_OK;
    err_set(c->e, ERR_SYNTAX, "that is no %s: %.*s", domain ? "domain" : "address",
        (int)(w->given.n < 80 ? w->given.n : 80), w->given.p);
    return ERR_SYNTAX;
}

static bool is_wanted(const struct wanted *w, struct slice have, bool domain)
{
    struct buf normal = BUF_INIT(BUF_OWN);
    bool is;

    if (!w->normal.n)
        return have.n == 0; /* <> */
    if (slice_eq_nocase(have, buf_slice(&w->normal)) || slice_eq_nocase(have, w->given))
        return true;
    if (is_ascii(have))
        return false;
    is = (domain ? normalise_domain(have, &normal) : normalise(have, &normal)) &&
         slice_eq(buf_slice(&normal), buf_slice(&w->normal));
    buf_free(&normal);
    return is;
}

static void choose(struct selection *s)
{
    struct queued *q = &s->q;
    const struct call *c = s->c;

    if (call_has(c, "from") && !is_wanted(&s->from, q->m.reverse_path, false))
        return;
    for (uint32_t i = 0; i < q->m.nrecipients; i++) {
        struct slice address = q->recipients[i].address;

        q->chosen[i] = (!call_has(c, "to") || is_wanted(&s->to, address, false)) &&
                       (!call_has(c, "domain") || is_wanted(&s->domain, domain_of(address), true));
        q->nchosen += q->chosen[i];
    }
}

/* ---- walking ---- */

static struct slice copy(struct selection *s, struct slice text)
{
    text = arena_copy(&s->arena, text);
    INVARIANT(text.p);
    return text;
}

/* The message at hand is whole: is it meant? False: the page is full. */
static bool finish(struct selection *s)
{
    if (s->seen == 0 || s->seen != s->q.m.nrecipients)
        return true;
    s->seen = 0;
    choose(s);
    return s->q.nchosen == 0 || s->each(s->ctx, &s->q);
}

static bool on_message(void *ctx, const struct state_message *m)
{
    struct selection *s = ctx;

    if (s->after.text[0] && strcmp(m->id.text, s->after.text) == 0 && !s->single)
        return true;
    s->more = !finish(s);
    if (!s->single)
        s->more |= s->messages >= s->limit || s->recipients >= LOOK_RECIPIENTS;
    if (s->more || (s->single && strcmp(m->id.text, s->after.text) != 0))
        return false;
    arena_reset(&s->arena);
    s->q = (struct queued){.m = *m};
    s->q.m.account = copy(s, m->account);
    s->q.m.reverse_path = copy(s, m->reverse_path);
    s->q.recipients = arena_zalloc(&s->arena, m->nrecipients, sizeof *s->q.recipients);
    s->q.chosen = arena_zalloc(&s->arena, m->nrecipients, sizeof *s->q.chosen);
    INVARIANT(s->q.recipients && s->q.chosen);
    s->last = m->id;
    s->messages++;
    s->recipients += m->nrecipients;
    return true;
}

static bool on_recipient(
    void *ctx, const struct state_message *m, uint32_t index, const struct state_recipient *r)
{
    struct selection *s = ctx;
    struct state_recipient *to;

    if (strcmp(m->id.text, s->last.text) != 0)
        return true;
    to = &s->q.recipients[index];
    *to = *r;
    to->address = copy(s, r->address);
    to->host = copy(s, r->host);
    to->reply = copy(s, r->reply);
    s->seen++;
    return true;
}

static int walk(struct selection *s)
{
    struct state_visitor v = {.message = on_message, .recipient = on_recipient, .ctx = s};
    int rc = state_walk(queue_door(s->c)->state, s->after.text[0] ? &s->after : NULL, &v, s->c->e);

    if (rc == 0 && !s->more)
        s->more = !finish(s);
    return rc;
}

static bool take_id(struct id *id, struct slice text)
{
    *id = (struct id){0};
    if (!id_is_valid(text))
        return false;
    memcpy(id->text, text.p, ID_LEN);
    return true;
}

static void tell_missing(const struct call *c, struct slice id)
{
    call_item(c, json_pack("{s:o,s:{s:s,s:s,s:s}}", "id", text_line(id, 100), "error", "code",
                     err_row(ERR_NO_MESSAGE)->name, "text", "it is not in the queue", "fix",
                     "see what is there with: postamt queue list"));
}

/* The place in the list behind the id that the last page ended with. */
static size_t first_id(const struct call *c)
{
    struct slice after = call_text(c, "after");
    size_t i = call_count(c, "ids");

    while (i > 0 && !slice_eq(call_nth(c, "ids", i - 1), after))
        i--;
    return i;
}

static enum err_code each_id(struct selection *s)
{
    size_t n = call_count(s->c, "ids"), first = first_id(s->c), found = 0;

    s->single = true;
    for (size_t i = first; i < n && !s->more; i++) {
        struct slice text = call_nth(s->c, "ids", i);
        uint64_t before = s->messages;

        s->seen = 0;
        if (take_id(&s->after, text) && walk(s) < 0)
            return s->c->e->code;
        found += s->messages != before;
        if (s->messages == before && n > 1)
            tell_missing(s->c, text);
    }
    if (found || first)
        return ERR_OK;
    err_set(s->c->e, ERR_NO_MESSAGE, "%s not in the queue; see what is there with: postamt queue list",
        n == 1 ? "that message is" : "those messages are");
    return ERR_NO_MESSAGE;
}

static enum err_code each_page(struct selection *s)
{
    struct slice after = call_text(s->c, "after");

    if (after.n && !take_id(&s->after, after)) {
        err_set(s->c->e, ERR_SYNTAX, "that is no id of a message");
        return ERR_SYNTAX;
    }
    return walk(s) < 0 ? s->c->e->code : ERR_OK;
}

enum err_code select_messages(struct call *c, bool (*each)(void *ctx, const struct queued *q), void *ctx)
{
    struct selection s = {.c = c, .each = each, .ctx = ctx, .limit = call_size(c, "limit")};
    enum err_code code = want(c, "from", &s.from);

    arena_init(&s.arena, HOLD_MAX);
    if (s.limit == 0 || s.limit > QUEUE_ADMIN_LOOK)
        s.limit = QUEUE_ADMIN_LOOK;
    if (code == ERR_OK)
        code = want(c, "to", &s.to);
    if (code == ERR_OK)
        code = want(c, "domain", &s.domain);
    if (code == ERR_OK)
        code = call_count(c, "ids") ? each_id(&s) : each_page(&s);
    if (code == ERR_OK && s.more)
        call_item(c, json_pack("{s:s}", "next", s.last.text));
    buf_free(&s.from.normal);
    buf_free(&s.to.normal);
    buf_free(&s.domain.normal);
    arena_free(&s.arena);
    return code;
}
