/* SEARCH and UID SEARCH (RFC 3501 6.4.4, 6.4.8), with ESEARCH (RFC 4731). */
#include "imapd/commands.h"

#include <string.h>

#include "imapd/search.h"
#include "imapd/set_walk.h"

#define CHEAP_STRIDE 512 /* messages between two looks at the clock while only the index is read */

struct search {
    struct search_program program;
    struct search_work work;
    struct set_walk walk;
    struct imap_range all;
    bool started;
    size_t looked;
    size_t hint; /* index in the mailbox of the next message, most likely */
    /* results */
    struct buf numbers; /* uint32_t */
    uint32_t min, max;
    size_t count;
    struct err error; /* the first that is not "gone" */
};

/* The message at hand, for the program's questions. */
struct source {
    struct mailbox *m;
    uint32_t uid;
    struct err error;
};

static bool check(struct imap_cmd *c)
{
    struct imap_parse *p = &c->args;
    struct search *s = arena_zalloc(c->arena, 1, sizeof *s);

    if (!s || !search_parse(p, &s->program)) {
        c->error = p->error ? p->error : "the command needs more memory than one command may have";
        return false;
    }
    search_work_init(&s->work);
    buf_init(&s->numbers, BUF_OWN);
    c->data = s;
    return true;
}

static void end(struct imap_cmd *c)
{
    struct search *s = c->data;

    if (!s)
        return;
    search_work_free(&s->work);
    buf_free(&s->numbers);
    c->data = NULL;
}

static bool source_size(void *ctx, uint64_t *octets)
{
    struct source *s = ctx;
    const struct message *msg = mailbox_by_uid(s->m, s->uid);

    if (msg && msg->size_crlf) {
        *octets = msg->size_crlf;
        return true;
    }
    return mailbox_size(s->m, s->uid, octets, &s->error) == 0;
}

static bool source_date(void *ctx, int64_t *seconds)
{
    struct source *s = ctx;

    return mailbox_received(s->m, s->uid, seconds, &s->error) == 0;
}

static bool source_head(void *ctx, struct slice *text)
{
    struct source *s = ctx;

    return mailbox_text_head(s->m, s->uid, HEADER_LOOK_MAX, text, &s->error) == 0;
}

static bool source_text(void *ctx, struct slice *text)
{
    struct source *s = ctx;

    return mailbox_text(s->m, s->uid, text, &s->error) == 0;
}

/* Bits of a keyword's name, 0 if no message can have it. */
static uint32_t keyword_bits(void *ctx, struct slice name)
{
    struct err e = {0};
    int letter;

    if (slice_eq_nocase(name, SLICE("$Forwarded")))
        return FLAG_FORWARDED;
    letter = mailbox_keyword_letter(ctx, name, false, &e);
    return letter < 0 ? 0 : FLAG_KEYWORD(letter);
}

static void start(struct imap_cmd *c, struct search *s)
{
    const struct view *v = c->s->view;
    uint32_t count = view_count(v);
    struct imap_set everything = {.ranges = &s->all, .n = 1};

    s->all = (struct imap_range){1, UINT32_MAX};
    set_walk_init(&s->walk, v, &everything, true);
    search_bind(&s->program, count, view_uid(v, count), keyword_bits, c->s->mailbox);
    s->started = true;
}

/* The view and the mailbox are walked side by side; where they differ the UID is looked up. */
static const struct message *message_of(struct search *s, const struct mailbox *m, uint32_t uid)
{
    const struct message *msg = s->hint < mailbox_count(m) ? mailbox_at(m, s->hint) : NULL;

    if (!msg || msg->uid != uid) {
        s->hint = mailbox_lower_bound(m, uid);
        msg = s->hint < mailbox_count(m) ? mailbox_at(m, s->hint) : NULL;
    }
    if (!msg || msg->uid != uid)
        return NULL;
    s->hint++;
    return msg;
}

static void found(struct search *s, uint32_t number)
{
    if (s->count++ == 0)
        s->min = number;
    s->max = number;
    if (s->program.returns & SEARCH_RETURN_ALL)
        buf_add(&s->numbers, slice_of(&number, sizeof number));
}

static void look_at(struct imap_cmd *c, struct search *s, uint32_t seq, uint32_t uid)
{
    struct mailbox *m = c->s->mailbox;
    const struct message *msg = message_of(s, m, uid);
    struct source source = {.m = m, .uid = uid};
    struct search_message sm;

    if (!msg)
        return;
    sm = (struct search_message){
        .seq = seq,
        .uid = uid,
        .flags = msg->flags,
        .recent = view_is_recent(c->s->view, uid),
        .received = msg->received,
        .date = source_date,
        .size = source_size,
        .head = source_head,
        .text = source_text,
        .ctx = &source,
    };
    switch (search_match(&s->program, &sm, &s->work)) {
    case SEARCH_MATCH:
        found(s, c->uid ? uid : seq);
        break;
    case SEARCH_UNREADABLE:
        /* a message that is gone matches nothing */
        if (source.error.code != ERR_EXPUNGED && s->error.code == ERR_OK)
            s->error = source.error;
        break;
    case SEARCH_NO_MATCH:
        break;
    }
}

/* Nothing that is asked for can change any more. */
static bool is_enough(const struct search *s)
{
    return s->program.returns == SEARCH_RETURN_MIN && s->count > 0;
}

static void write_search(struct imap_cmd *c, const struct search *s)
{
    struct buf *out = imap_out(c->s);
    uint32_t number;

    buf_add(out, SLICE("* SEARCH"));
    for (size_t i = 0; i < s->numbers.n; i += sizeof number) {
        memcpy(&number, s->numbers.p + i, sizeof number);
        buf_add_char(out, ' ');
        buf_add_u64(out, number);
    }
    buf_add(out, SLICE("\r\n"));
}

/* RFC 4731 3.1; the tag is quoted always (clients.md 9) */
static void write_esearch(struct imap_cmd *c, const struct search *s)
{
    struct buf *out = imap_out(c->s);
    unsigned returns = s->program.returns;

    buf_add(out, SLICE("* ESEARCH (TAG \""));
    buf_add(out, c->tag);
    buf_add(out, c->uid ? SLICE("\") UID") : SLICE("\")"));
    if ((returns & SEARCH_RETURN_MIN) && s->count) {
        buf_add(out, SLICE(" MIN "));
        buf_add_u64(out, s->min);
    }
    if ((returns & SEARCH_RETURN_MAX) && s->count) {
        buf_add(out, SLICE(" MAX "));
        buf_add_u64(out, s->max);
    }
    if ((returns & SEARCH_RETURN_ALL) && s->count) {
        buf_add(out, SLICE(" ALL "));
        imap_set_write(out, (const uint32_t *)(const void *)s->numbers.p, s->numbers.n / sizeof(uint32_t));
    }
    if (returns & SEARCH_RETURN_COUNT) {
        buf_add(out, SLICE(" COUNT "));
        buf_add_u64(out, s->count);
    }
    buf_add(out, SLICE("\r\n"));
}

static enum imap_step finish(struct imap_cmd *c, struct search *s)
{
    if (s->program.cost > SEARCH_COST_INDEX)
        mailbox_text_drop(c->s->mailbox);
    if (s->program.extended)
        write_esearch(c, s);
    else
        write_search(c, s);
    return s->error.code == ERR_OK ? IMAP_DONE : imap_reply_err(c, &s->error);
}

static enum imap_step run(struct imap_cmd *c)
{
    struct search *s = c->data;
    uint32_t seq, uid;

    if (s->program.charset_named && c->s->utf8) /* RFC 6855 3 */
        return imap_reply(c, IMAP_BAD, NULL, "after ENABLE UTF8=ACCEPT all is UTF-8; leave CHARSET out");
    if (s->program.charset_unknown)
        return imap_reply(c, IMAP_NO, "BADCHARSET (UTF-8 US-ASCII)", "%s", err_row(ERR_BAD_CHARSET)->text);
    if (!s->started)
        start(c, s);
    while (!is_enough(s) && set_walk_next(&s->walk, c->s->view, &seq, &uid)) {
        look_at(c, s, seq, uid);
        s->looked++;
        if ((s->program.cost > SEARCH_COST_INDEX || s->looked % CHEAP_STRIDE == 0) && imap_yield(c))
            return IMAP_MORE;
    }
    return finish(c, s);
}

const struct imap_command imap_cmd_search = {
    .name = "SEARCH",
    .states = IMAP_IN_SELECTED,
    .flags = IMAP_HAS_UID | IMAP_HOLDS_EXPUNGE,
    .arguments = "[RETURN (MIN MAX ALL COUNT)] [CHARSET charset] keys",
    .capability = "ESEARCH",
    .rfc = "RFC 3501 6.4.4",
    .check = check,
    .run = run,
    .end = end,
};
