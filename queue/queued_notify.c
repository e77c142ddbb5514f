/*
 * What the sender is told: that recipients are given up, that they wait, that they were reached. One
 * notification for all recipients of a message that share a fate. It goes to a mailbox here, by way of
 * smtpd's parent; until it lies there the recipients stay as they are in the state, so a crash in between
 * tells the sender twice, never not.
 *
 * Only who logged in is told (security.md S15): of what came from outside and was forwarded, or is kept as a
 * backup, a failure goes to the postmaster, with the whole message, and nothing else to anybody.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "queue/prepare.h"
#include "queue/queued.h"
#include "queue/textfile.h"

#define AT_ONCE 8 /* notifications under way */
#define AGAIN 300 /* seconds after one that could not be delivered */
#define ARENA_MAX ((size_t)4 << 20)

struct notice {
    struct queued *q;
    struct message *message;
    struct spool_message file;
    enum dsn_kind kind;
    struct id id; /* of the notification in the log */
    uint32_t index[ENVELOPE_RECIPIENTS_MAX];
    struct dsn_recipient rcpt[ENVELOPE_RECIPIENTS_MAX];
    uint32_t n;
    uint32_t unwanted[ENVELOPE_RECIPIENTS_MAX]; /* done, and nobody wants to know */
    uint32_t nunwanted;
    struct arena arena;
};

bool notify_is_wanted(const struct envelope *env, enum dsn_kind kind, unsigned notify)
{
    if (env->account.n)
        return dsn_is_wanted(kind, notify, env->reverse_path);
    return kind == DSN_FAILED && dsn_is_wanted(kind, notify, env->reverse_path);
}

void notify_soon(struct queued *q, struct message *m)
{
    if (m->is_noticed)
        return;
    m->is_noticed = true;
    m->next_notice = NULL;
    *q->last_notice = m;
    q->last_notice = &m->next_notice;
    queued_work_soon(q);
}

/* --- what there is to tell --- */

static bool is_of_kind(const struct notice *n, const struct state_recipient *r, uint8_t notify)
{
    const struct message *m = n->message;
    struct schedule_rules rules = table_rules(n->q, m);

    switch (n->kind) {
    case DSN_FAILED:
        return r->state == STATE_BOUNCING;
    case DSN_RELAYED:
    case DSN_DELIVERED:
        return r->state == STATE_DONE && !r->dsn_sent && (r->host.n > 0) == (n->kind == DSN_RELAYED);
    default:
        return r->state == STATE_PENDING && notify_is_wanted(&n->file.env, DSN_DELAYED, notify) &&
               queued_now(n->q) >= m->created + rules.warn;
    }
}

/* Of those that wait for one destination few are tried: what it said to them is true for the others as well.
 */
static const struct place *place_of(const struct message *m, uint32_t index)
{
    for (const struct job *j = m->jobs; j; j = j->next)
        for (uint32_t i = 0; i < j->n; i++)
            if (j->recipients[i] == index)
                return j->place;
    return NULL;
}

static void take(struct notice *n, uint32_t i, const struct state_recipient *r)
{
    const struct envelope_recipient *to = &n->file.env.recipients[i];
    const struct place *p = r->reply.n ? NULL : place_of(n->message, i);
    struct schedule_rules rules = table_rules(n->q, n->message);

    n->index[n->n] = i;
    n->rcpt[n->n++] = (struct dsn_recipient){
        .address = to->address,
        .orcpt = to->orcpt,
        .host = arena_copy(&n->arena, p && p->why ? slice_str(p->host) : r->host),
        .reply = arena_copy(&n->arena, p && p->why ? slice_str(p->why) : r->reply),
        .last_attempt = r->last_try,
        .retry_until = n->kind == DSN_DELAYED ? schedule_expiry(&rules, n->message->created) : 0,
    };
}

static int collect(struct notice *n, struct err *e)
{
    struct buf hold = BUF_INIT(BUF_OWN);
    int rc = 0;

    n->n = n->nunwanted = 0;
    for (uint32_t i = 0; rc == 0 && i < n->file.env.nrecipients; i++) {
        uint8_t notify = n->file.env.recipients[i].notify;
        struct state_recipient r;

        buf_clear(&hold);
        rc = state_get(n->q->state, &n->message->id, i, &hold, &r, e) < 0 ? -1 : 0;
        if (rc < 0 || !is_of_kind(n, &r, notify))
            continue;
        if (notify_is_wanted(&n->file.env, n->kind, notify))
            take(n, i, &r);
        else
            n->unwanted[n->nunwanted++] = i;
    }
    buf_free(&hold);
    return rc;
}

/* --- what is noted of it --- */

static void mark(struct notice *n, uint32_t index)
{
    struct buf hold = BUF_INIT(BUF_OWN);
    struct state_recipient r;

    if (queued_state_get(n->q, &n->message->id, index, &hold, &r)) {
        if (r.state == STATE_BOUNCING)
            r.state = STATE_FAILED;
        r.dsn_sent = r.dsn_sent || r.state == STATE_DONE;
        state_put_recipient(n->q->state, &n->message->id, index, &r);
    }
    buf_free(&hold);
}

static void mark_warned(struct notice *n)
{
    struct state_message record = state_message_of(&n->file.env);
    struct message *m = n->message;

    m->warned = record.warned = true;
    record.hold = m->hold;
    state_put_message(n->q->state, &record);
}

static void mark_all(struct notice *n)
{
    if (n->kind == DSN_DELAYED) {
        mark_warned(n);
        return;
    }
    for (uint32_t i = 0; i < n->n; i++)
        mark(n, n->index[i]);
    for (uint32_t i = 0; i < n->nunwanted; i++)
        mark(n, n->unwanted[i]);
}

static void release(struct notice *n)
{
    struct queued *q = n->q;

    n->message->is_noticed = false;
    spool_message_close(&n->file);
    arena_free(&n->arena);
    free(n);
    q->notifying--;
    queued_commit(q);
}

/* more: look whether there is something else to tell. */
static void finish(struct notice *n, bool more)
{
    struct queued *q = n->q;
    struct message *m = n->message;

    release(n);
    m->has_notice = more;
    table_settle(q, m);
}

static void postpone(struct notice *n, const char *why)
{
    struct queued *q = n->q;
    struct message *m = n->message;

    LOG(NOTIFY_FAILED, m->id.text, F_STR("notification", n->id.text), F_STR("why", why));
    release(n);
    m->has_notice = true;
    due_put(&q->dues, &m->due, queued_now(q) + AGAIN);
    if (m->is_stale)
        table_settle(q, m);
}

/* --- the notification itself --- */

/* Who hears of it: the sender, or the postmaster of what forwards (RFC 5321 4.5.1). */
static void address_of(const struct notice *n, struct buf *to)
{
    const struct envelope *env = &n->file.env;
    ssize_t at = slice_rchr(env->forward, '@');

    if (env->account.n) {
        buf_add(to, env->reverse_path);
        return;
    }
    buf_add_str(to, "postmaster@");
    if (at >= 0)
        buf_add(to, slice_from(env->forward, (size_t)at + 1));
    else
        buf_add_str(to, n->q->role->settings->hostname);
}

static int read_original(const struct notice *n, struct buf *out, bool *is_whole)
{
    const struct envelope *env = &n->file.env;
    size_t most = DSN_FULL_MAX > DSN_HEADERS_MAX ? DSN_FULL_MAX : DSN_HEADERS_MAX;
    size_t len = env->size < most ? (size_t)env->size : most;
    char *to = buf_room(out, len);

    *is_whole = len == env->size;
    if (!to || fs_pread_all(n->file.fd, to, len, (off_t)n->file.text) < 0)
        return -1;
    buf_grew(out, len);
    return 0;
}

static bool compose(struct notice *n, struct slice to, struct buf *out, struct dsn_needs *needs)
{
    const struct envelope *env = &n->file.env;
    const char *host = n->q->role->settings->hostname;
    struct buf original = BUF_INIT(BUF_OWN), text = BUF_INIT(DSN_MAX);
    struct dsn d = {.kind = n->kind,
        .language = env->language,
        .id = slice_str(n->id.text),
        .host = slice_str(host),
        .to = to,
        .envid = env->envid,
        .original_id = slice_str(env->id.text),
        .now = queued_now(n->q),
        .arrival = env->created,
        .smtputf8 = env->smtputf8,
        .ret_full = env->ret == ENVELOPE_RET_FULL || env->account.n == 0,
        .recipients = n->rcpt,
        .nrecipients = n->n};
    bool ok = read_original(n, &original, &d.is_whole) == 0;

    d.original = buf_slice(&original);
    ok = ok && dsn_compose(&d, &text, needs) == DSN_OK;
    if (ok) {
        prepare_sign_own(n->q->keys, slice_str(host), buf_slice(&text), d.now, out);
        buf_add(out, buf_slice(&text));
    }
    buf_free(&original);
    buf_free(&text);
    return ok && !out->full;
}

/* As long again as the message itself was tried. */
static bool is_too_late(const struct notice *n)
{
    struct schedule_rules rules = table_rules(n->q, n->message);

    return queued_now(n->q) > schedule_expiry(&rules, n->message->created) + rules.life;
}

static void on_told(struct queued *q, void *ctx, enum err_code code)
{
    static const char *const kinds[DSN_KINDS] = {"failed", "delayed", "delivered", "relayed", "expanded"};
    struct notice *n = ctx;

    (void)q;
    if (code != ERR_OK && err_row(code)->smtp / 100 == 4 && !is_too_late(n)) {
        postpone(n, err_row(code)->name);
        return;
    }
    if (code == ERR_OK)
        LOG(NOTIFIED, n->message->id.text, F_STR("notification", n->id.text), F_STR("kind", kinds[n->kind]),
            F_U64("nrcpt", n->n));
    else /* the account is gone, or full for as long as a message lives: nobody can be told */
        LOG(NOTIFY_FAILED, n->message->id.text, F_STR("notification", n->id.text),
            F_STR("why", err_row(code)->name));
    mark_all(n);
    finish(n, true);
}

static void tell(struct notice *n)
{
    struct buf to = BUF_INIT(1024), text = BUF_INIT(DSN_MAX + 65536);
    struct dsn_needs needs = {0};
    int fd = -1;

    address_of(n, &to);
    if (!compose(n, buf_slice(&to), &text, &needs))
        postpone(n, "it could not be written");
    else if ((fd = textfile_new(buf_slice(&text), -1, 0, 0)) < 0)
        postpone(n, "no memory for it");
    else
        inject_start(
            n->q, &n->id, SLICE(""), buf_slice(&to), needs.smtputf8, needs.is_8bit, fd, text.n, on_told, n);
    buf_free(&to);
    buf_free(&text);
}

/* The first kind of which there is something to tell. */
static bool next_kind(struct notice *n, struct err *e)
{
    static const enum dsn_kind order[] = {DSN_FAILED, DSN_RELAYED, DSN_DELIVERED, DSN_DELAYED};
    const struct schedule_rules *rules = &n->q->rules;

    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        n->kind = order[i];
        if (n->kind == DSN_DELAYED && (n->message->warned || rules->warn <= 0 || n->message->hold))
            continue;
        if (collect(n, e) < 0)
            return false;
        if (n->n > 0)
            return true;
        if (n->nunwanted > 0)
            mark_all(n);
    }
    return false;
}

static void start(struct queued *q, struct message *m)
{
    struct notice *n = mem_zalloc(1, sizeof *n);
    enum spool_result r;
    struct err e = {0};

    q->notifying++;
    n->q = q;
    n->message = m;
    n->id = id_new();
    arena_init(&n->arena, ARENA_MAX);
    r = spool_read(q->spool, slice_of(m->id.text, ID_LEN), &n->file, &e);
    if (r == SPOOL_ERROR)
        postpone(n, e.detail);
    else if (r != SPOOL_OK)
        finish(n, false); /* there is nothing to tell of any more; why is logged */
    else if (next_kind(n, &e))
        tell(n);
    else if (e.code != ERR_OK)
        postpone(n, e.detail);
    else
        finish(n, false);
}

void notify_work(struct queued *q)
{
    while (q->notices && q->notifying < AT_ONCE) {
        struct message *m = q->notices;

        q->notices = m->next_notice;
        if (!q->notices)
            q->last_notice = &q->notices;
        start(q, m);
    }
}
