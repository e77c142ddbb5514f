#include "imapd/commands.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/mem.h"
#include "imapd/session.h"

/* The message, from the announced literal on (imap_literal_sink). */
struct incoming {
    struct append *append;
    uint64_t size;
};

struct append_args {
    struct slice mailbox;
    const struct slice *flags;
    size_t nflags;
    int64_t received; /* 0: now */
    bool utf8;        /* "UTF8 (" stands before the literal (RFC 6855 4) */
};

/* mailbox [flags] [date-time], up to the message's literal (RFC 3501 6.3.11) */
static bool parse_args(struct imap_parse *p, bool utf8, struct append_args *a)
{
    const char *complaint;

    *a = (struct append_args){0};
    if (!imap_parse_mailbox(p, utf8, &a->mailbox) || !imap_parse_space(p))
        return false;
    if (imap_parse_peek(p, '(')) {
        if (!imap_parse_flags(p, false, &a->flags, &a->nflags) || !imap_parse_space(p))
            return false;
        complaint = imap_flags_complaint(a->flags, a->nflags);
        if (complaint)
            return imap_parse_fail(p, complaint);
    }
    if (imap_parse_peek(p, '"') && (!imap_parse_date_time(p, &a->received) || !imap_parse_space(p)))
        return false;
    if (utf8 && imap_parse_peek(p, 'U')) {
        struct slice word;

        if (!imap_parse_atom(p, &word) || !slice_eq(word, SLICE("UTF8")) || !imap_parse_space(p) ||
            !imap_parse_char(p, '('))
            return imap_parse_fail(p, "behind the mailbox, flags and date the message stands as a literal");
        a->utf8 = true;
    }
    if (imap_parse_peek(p, '~'))
        imap_parse_char(p, '~');
    if (!imap_parse_peek(p, '{'))
        return imap_parse_fail(p, "behind the mailbox, flags and date the message stands as a literal");
    return true;
}

/* Size, room and mailbox are judged before "+" is sent: a message that cannot be kept need not come. */
static int begin(struct imap_session *s, struct slice text, uint64_t size, void **ctx, struct err *e)
{
    struct arena arena;
    struct imap_parse p;
    struct append_args args;
    struct append *append = NULL;
    struct incoming *in;
    int result = -1;

    arena_init(&arena, 64 * 1024);
    imap_parse_init(&p, text, &arena);
    if (!parse_args(&p, s->utf8, &args) && p.error != imap_bad_mailbox_name) {
        /* an argument is sent as a literal, or the command is wrong: check() says so when all of it is there
         */
        arena_free(&arena);
        return 1;
    }
    if (p.error)
        err_set(e, ERR_MAILBOX_NAME, "APPEND");
    else if (size > s->ws->settings->message_size)
        err_set(e, ERR_TOO_BIG, "%llu octets", (unsigned long long)size);
    else if (size == 0)
        err_set(e, ERR_USAGE, "an empty message");
    else if (!worker_has_room(s->ws->worker, size))
        err_set(e, ERR_OVER_QUOTA, "%llu octets more", (unsigned long long)size);
    else
        append = append_begin(s->account, args.mailbox, e);
    if (append) {
        in = mem_zalloc(1, sizeof *in);
        in->append = append;
        in->size = size;
        *ctx = in;
        result = 0;
    } else if (e->code == ERR_NO_MAILBOX) {
        e->code = ERR_TRY_CREATE; /* RFC 3501 6.3.11 */
    }
    arena_free(&arena);
    return result;
}

static int piece(void *ctx, struct slice octets, struct err *e)
{
    struct incoming *in = ctx;

    return append_write(in->append, octets, e);
}

static void drop(void *ctx)
{
    struct incoming *in = ctx;

    append_free(in->append);
    free(in);
}

/* Behind the arguments "{n}" CRLF without its octets, and ")" if it was UTF8. */
static bool parse_rest(struct imap_parse *p, bool utf8)
{
    ssize_t close = slice_chr(p->rest, '}');

    if (close < 0)
        return imap_parse_fail(p, "behind the mailbox, flags and date the message stands as a literal");
    p->rest = slice_from(p->rest, (size_t)close + 1);
    if (!imap_parse_char(p, '\r') || !imap_parse_char(p, '\n') || (utf8 && !imap_parse_char(p, ')')))
        return false;
    return imap_parse_end(p);
}

static bool check(struct imap_cmd *c)
{
    struct append_args *args = arena_zalloc(c->arena, 1, sizeof *args);

    c->data = args;
    if (!args || !parse_args(&c->args, c->s->utf8, args))
        return imap_check_failed(c);
    if (!c->literal)
        imap_parse_fail(&c->args, "behind the mailbox, flags and date the message stands as a literal");
    if (c->args.error || !parse_rest(&c->args, args->utf8))
        return imap_check_failed(c);
    return true;
}

/* System flags as bits, keywords by name: the mailbox is another one, its letters are its own. */
static uint32_t split_flags(const struct append_args *args, struct slice *keywords, size_t *n)
{
    uint32_t bits = 0;

    *n = 0;
    for (size_t i = 0; i < args->nflags; i++) {
        uint32_t bit = imap_system_flag(args->flags[i]);

        if (bit)
            bits |= bit;
        else
            keywords[(*n)++] = args->flags[i];
    }
    return bits;
}

/* RFC 3501 6.3.11, RFC 4315 3 (APPENDUID) */
static enum imap_step run(struct imap_cmd *c)
{
    struct imap_session *s = c->s;
    const struct append_args *args = c->data;
    struct incoming *in = c->literal;
    struct slice *keywords = arena_zalloc(c->arena, args->nflags, sizeof *keywords);
    uint32_t bits, validity = 0, uid = 0;
    struct err e = {0};
    size_t nkeywords;

    if (!keywords)
        return imap_reply_err(c, &(struct err){.code = ERR_LIMIT});
    bits = split_flags(args, keywords, &nkeywords);
    /* on failure the driver aborts the literal */
    if (append_commit(in->append, bits, keywords, nkeywords, args->received, &validity, &uid, &e) < 0)
        return imap_reply_err(c, &e);
    worker_usage(s->ws->worker, in->size, 0, 1, 0);
    LOG(APPEND, s->ws->sid, F_SLICE("mailbox", args->mailbox), F_U64("uid", uid), F_U64("size", in->size));
    c->literal = NULL;
    drop(in);
    imap_refresh_all(s->ws->worker, args->mailbox, s);
    buf_printf(&c->code, "APPENDUID %u %u", validity, uid);
    return IMAP_DONE;
}

static const struct imap_literal_sink sink = {begin, piece, drop};

const struct imap_command imap_cmd_append = {
    .name = "APPEND",
    .states = IMAP_IN_ANY,
    .arguments = "mailbox [flags] [date-time] literal",
    .rfc = "RFC 3501 6.3.11",
    .check = check,
    .run = run,
    .sink = &sink,
};
