/*
 * What is queued, in memory: messages, their jobs (one for each destination), what is wrong with
 * destinations. Addresses and replies stay in the state and in the files: a message takes some 300 octets
 * here.
 */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "mail/address.h"
#include "queue/queued.h"

#define DUE_AGAIN 600 /* seconds: who could not be given up yet (too few attempts) is looked at again */

/* --- places --- */

struct place *place_get(struct queued *q, struct slice name)
{
    struct place *p = hmap_get(&q->places, name);

    if (!p) {
        p = mem_zalloc(1, sizeof *p);
        p->name = slice_dup(name);
        hmap_put(&q->places, name, p);
    }
    p->users++;
    return p;
}

void place_unuse(struct queued *q, struct place *p)
{
    if (--p->users > 0)
        return;
    hmap_remove(&q->places, slice_str(p->name));
    free(p->name);
    free(p->host);
    free(p->why);
    free(p);
}

static char *copy_text(struct slice s)
{
    char *z = slice_dup(slice_sub(s, 0, STATE_REPLY_MAX));

    return z ? z : mem_strdup("?"); /* a NUL is in it */
}

void place_trouble(struct place *p, struct slice host, struct slice why)
{
    free(p->host);
    free(p->why);
    p->host = why.n ? copy_text(host) : NULL;
    p->why = why.n ? copy_text(why) : NULL;
}

/* --- jobs --- */

static struct job *job_for(struct queued *q, struct message *m, struct slice destination)
{
    struct job *j = m->jobs;

    while (j && !slice_eq(slice_str(j->place->name), destination))
        j = j->next;
    if (j)
        return j;
    j = mem_zalloc(1, sizeof *j);
    j->message = m;
    j->place = place_get(q, destination);
    j->next = m->jobs;
    m->jobs = j;
    return j;
}

static void job_add(struct job *j, uint32_t index)
{
    if ((j->n & (j->n - 1)) == 0) /* 0, 1, 2, 4 ..: it doubles */
        j->recipients = mem_realloc(j->recipients, j->n ? 2 * (size_t)j->n : 1, sizeof *j->recipients);
    j->recipients[j->n++] = index;
}

/* Out of its message and the schedule. */
static void job_free(struct queued *q, struct job *j)
{
    struct job **at = &j->message->jobs;

    INVARIANT(!j->run);
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    schedule_remove(q->schedule, &j->entry);
    place_unuse(q, j->place);
    free(j->recipients);
    free(j);
}

void table_schedule(struct queued *q, struct job *j, int64_t when)
{
    int64_t wait = when - queued_now(q);

    if (!j->message->hold)
        schedule_add(
            q->schedule, slice_str(j->place->name), &j->entry, queued_ms(q) + 1000 * (wait > 0 ? wait : 0));
}

bool table_forget_done(struct queued *q, struct job *j, const uint32_t *done, uint32_t n)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < j->n; i++) {
        bool is_done = false;

        for (uint32_t k = 0; k < n && !is_done; k++)
            is_done = done[k] == j->recipients[i];
        if (!is_done)
            j->recipients[kept++] = j->recipients[i];
    }
    j->message->pending -= j->n - kept;
    j->n = kept;
    if (j->n > 0)
        return false;
    job_free(q, j);
    return true;
}

/* --- messages --- */

struct message *table_find(struct queued *q, struct slice id)
{
    return hmap_get(&q->messages, id);
}

static void message_free(struct queued *q, struct message *m)
{
    INVARIANT(!m->is_noticed);
    while (m->jobs)
        job_free(q, m->jobs);
    due_remove(&q->dues, &m->due);
    hmap_remove(&q->messages, slice_of(m->id.text, ID_LEN));
    free(m);
}

struct schedule_rules table_rules(const struct queued *q, const struct message *m)
{
    struct schedule_rules rules = q->rules;

    if (m->is_backup)
        rules.life = (int64_t)q->role->settings->queue_backup_life_s;
    return rules;
}

static void set_due(struct queued *q, struct message *m, int64_t at_least)
{
    struct schedule_rules rules = table_rules(q, m);
    int64_t when = schedule_expiry(&rules, m->created);

    if (rules.warn > 0 && !m->warned && rules.warn < rules.life)
        when = m->created + rules.warn;
    due_put(&q->dues, &m->due, when > at_least ? when : at_least);
}

static bool is_backup(const struct settings *s, struct slice address)
{
    ssize_t at = slice_rchr(address, '@');

    for (size_t i = 0; at >= 0 && i < s->nbackups; i++)
        if (slice_eq_nocase(slice_from(address, (size_t)at + 1), slice_str(s->backups[i].domain)))
            return true;
    return false;
}

/* --- reading the state --- */

struct load {
    struct queued *q;
    struct message *m; /* being read; NULL: it is passed over */
    const struct id *only;
    struct slice reverse_path;
    struct buf reverse_path_copy;
    int64_t next; /* of the earliest recipient, by job: one time a message is enough */
};

static void loaded(struct load *l)
{
    struct message *m = l->m;

    if (!m)
        return;
    for (struct job *j = m->jobs; j; j = j->next)
        if (!j->run && !j->entry.to)
            table_schedule(l->q, j, schedule_sane(&l->q->rules, l->next, queued_now(l->q)));
    set_due(l->q, m, 0);
    l->m = NULL;
    table_settle(l->q, m);
}

static bool on_message(void *ctx, const struct state_message *r)
{
    struct load *l = ctx;
    struct message *m;

    loaded(l);
    if (l->only && memcmp(l->only->text, r->id.text, ID_LEN) != 0)
        return false;
    m = table_find(l->q, slice_of(r->id.text, ID_LEN));
    if (!m) {
        m = mem_zalloc(1, sizeof *m);
        m->id = r->id;
        hmap_put(&l->q->messages, slice_of(m->id.text, ID_LEN), m);
    }
    m->created = r->created;
    m->nrecipients = r->nrecipients;
    m->pending = 0;
    m->hold = r->hold;
    m->warned = r->warned;
    m->has_notice = m->is_backup = false;
    buf_clear(&l->reverse_path_copy);
    buf_add(&l->reverse_path_copy, r->reverse_path);
    l->reverse_path = buf_slice(&l->reverse_path_copy);
    l->next = INT64_MAX;
    l->m = m;
    return true;
}

static bool on_recipient(
    void *ctx, const struct state_message *r, uint32_t index, const struct state_recipient *to)
{
    struct load *l = ctx;
    struct buf destination = BUF_INIT(2048);

    (void)r;
    if (to->state == STATE_BOUNCING)
        l->m->has_notice = true;
    if (to->state == STATE_DONE && !to->dsn_sent)
        l->m->has_notice = true; /* perhaps somebody wants to know that it arrived */
    if (to->state != STATE_PENDING)
        return true;
    router_destination(l->q->router, l->reverse_path, to->address, &destination);
    job_add(job_for(l->q, l->m, buf_slice(&destination)), index);
    l->m->pending++;
    l->m->is_backup |= is_backup(l->q->role->settings, to->address);
    if (to->next_try < l->next)
        l->next = to->next_try;
    buf_free(&destination);
    return true;
}

static int load(struct queued *q, const struct id *only, struct err *e)
{
    struct load l = {.q = q, .only = only, .reverse_path_copy = BUF_INIT(BUF_OWN)};
    struct state_visitor v = {.message = on_message, .recipient = on_recipient, .ctx = &l};
    int rc = state_walk(q->state, only, &v, e);

    loaded(&l);
    buf_free(&l.reverse_path_copy);
    return rc;
}

int table_load(struct queued *q, struct err *e)
{
    return load(q, NULL, e);
}

void table_look_again(struct queued *q, const struct id *id)
{
    struct message *m = table_find(q, slice_of(id->text, ID_LEN));
    struct err e = {0};
    bool is_running = false;
    struct buf hold = BUF_INIT(BUF_OWN);
    struct state_recipient first;

    queued_commit(q);
    for (struct job *j = m ? m->jobs : NULL; j; j = j->next)
        is_running |= j->run != NULL;
    if (m && (is_running || m->is_noticed)) {
        m->is_stale = true; /* what runs has its end first */
        return;
    }
    if (m) {
        m->is_stale = false;
        while (m->jobs)
            job_free(q, m->jobs);
    }
    if (queued_state_get(q, id, 0, &hold, &first)) {
        if (load(q, id, &e) < 0)
            LOG(QUEUE_STATE, id->text, F_STR("error", e.detail));
    } else if (m) { /* dropped */
        message_free(q, m);
        queued_work_soon(q);
    }
    buf_free(&hold);
}

/* --- what becomes of a message --- */

static bool is_at_end(const struct message *m)
{
    return m->pending == 0 && !m->jobs && !m->is_noticed && !m->has_notice;
}

void table_settle(struct queued *q, struct message *m)
{
    if (m->is_stale) {
        table_look_again(q, &m->id);
        return;
    }
    if (m->has_notice) {
        notify_soon(q, m);
        return;
    }
    if (!is_at_end(m))
        return;
    if (!accept_remove(q, m)) {
        due_put(&q->dues, &m->due, queued_now(q) + DUE_AGAIN);
        return;
    }
    LOG(QUEUE_DONE, m->id.text, F_U64("nrcpt", m->nrecipients),
        F_U64("seconds", queued_now(q) > m->created ? queued_now(q) - m->created : 0));
    message_free(q, m);
}

/* A job that nobody serves at the moment: have its recipients waited long enough? */
static bool give_up(struct queued *q, struct job *j, const struct schedule_rules *rules)
{
    struct schedule_view view = {0};
    struct buf hold = BUF_INIT(BUF_OWN);
    uint32_t done[SEND_RECIPIENTS_MAX], n = 0;
    struct err e = {0};

    schedule_look(q->schedule, slice_str(j->place->name), &view);
    for (uint32_t i = 0; i < j->n && n < SEND_RECIPIENTS_MAX; i++) {
        struct state_recipient r;

        buf_clear(&hold);
        if (state_get(q->state, &j->message->id, j->recipients[i], &hold, &r, &e) != 1 ||
            !schedule_is_expired(rules, j->message->created, r.attempts + view.failures, queued_now(q)))
            continue;
        if (j->place->why && (r.reply.n == 0 || r.attempts == 0)) {
            r.host = slice_str(j->place->host);
            r.reply = slice_str(j->place->why);
        }
        r.state = STATE_BOUNCING;
        state_put_recipient(q->state, &j->message->id, j->recipients[i], &r);
        LOG(BOUNCED, j->message->id.text, F_SLICE("rcpt", r.address), F_STR("reason", "expired"),
            F_SLICE("host", r.host), F_SLICE("reply", r.reply));
        done[n++] = j->recipients[i];
    }
    buf_free(&hold);
    if (n == 0)
        return false;
    j->message->has_notice = true;
    table_forget_done(q, j, done, n);
    return true;
}

static bool is_expired(struct queued *q, struct message *m)
{
    struct schedule_rules rules = table_rules(q, m);
    bool any = false;
    struct job *next;

    if (queued_now(q) < schedule_expiry(&rules, m->created))
        return false;
    for (struct job *j = m->jobs; j; j = next) {
        next = j->next;
        if (!j->run)
            any |= give_up(q, j, &rules);
    }
    return any;
}

void table_due(struct queued *q)
{
    struct due *due;

    while ((due = due_pop(&q->dues, queued_now(q)))) {
        struct message *m = (struct message *)due;
        struct schedule_rules rules = table_rules(q, m);
        bool warns = rules.warn > 0 && !m->warned && queued_now(q) >= m->created + rules.warn;

        set_due(q, m, queued_now(q) + DUE_AGAIN);
        if (m->has_notice || is_at_end(m)) { /* it could not be delivered, its file not be removed */
            table_settle(q, m);
        } else if (!m->hold && (is_expired(q, m) || warns)) {
            m->has_notice = true;
            table_settle(q, m);
        }
    }
}
