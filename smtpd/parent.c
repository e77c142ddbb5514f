#include "smtpd/parent.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "smtpd/roles.h"

#define TEXT_MAX ((size_t)1024) /* of one field a front sends */
#define RCPTS_MAX 8192
#define TICK_S 5
#define EXPAND_S 30 /* authd's time for an answer */
#define WAIT_S 60   /* for a count, for a free deliver */
#define STOP_S 3

static struct smtpd_parent *parent_of_role(struct role *r)
{
    return *parent_state(r);
}

/* --- time --- */

static bool collect_late(void *ctx, struct slice key, void *value)
{
    struct transaction *t = value, **late = ctx;
    int64_t age = smtpd_parent_now() - t->since;

    (void)key;
    if (t->step == STEP_DELIVERING || t->step == STEP_INSPECTING ||
        age < (t->step == STEP_EXPANDING ? EXPAND_S : WAIT_S))
        return true;
    *late = t; /* one a walk: ending it changes the table */
    return false;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct smtpd_parent *p = arg;
    struct timeval tv = {.tv_sec = TICK_S};
    struct transaction *late;

    (void)fd, (void)what;
    do {
        late = NULL;
        hmap_walk(&p->transactions, collect_late, &late);
        if (late) {
            LOG(DELIVERY_FAILED, late->id.text, F_STR("why", "it waited too long"),
                F_U64("step", late->step));
            transaction_finish(p, late, ERR_UNAVAILABLE);
        }
    } while (late);
    if (p->transactions.count)
        evtimer_add(p->tick, &tv);
}

/* --- MAIL --- */

/* A field for a C string: no NUL, not too long; NULL otherwise. */
static char *text_field(struct ipc_in *in)
{
    struct slice s = ipc_get(in);

    return in->bad || s.n > TEXT_MAX ? NULL : slice_dup(s);
}

static uint8_t small_number(struct ipc_in *in)
{
    uint64_t v = ipc_get_u64(in);

    if (v > UINT8_MAX)
        in->bad = true;
    return (uint8_t)v;
}

static bool read_recipients(struct ipc_in *in, struct transaction *t)
{
    uint64_t n = ipc_get_u64(in);

    if (in->bad || n == 0 || n > RCPTS_MAX)
        return false;
    t->rcpts = mem_zalloc(n, sizeof *t->rcpts);
    for (t->nrcpts = 0; t->nrcpts < n && !in->bad; t->nrcpts++) {
        struct recipient *r = &t->rcpts[t->nrcpts];

        r->address = text_field(in);
        r->orcpt = text_field(in);
        r->notify = small_number(in);
        in->bad |= !r->address || !r->orcpt;
    }
    return !in->bad;
}

static bool read_mail(struct ipc_in *in, struct transaction *t)
{
    struct slice id;
    uint64_t ret;

    t->session = ipc_get_u64(in);
    id = ipc_get(in);
    t->from = text_field(in);
    t->helo = text_field(in);
    t->tls = text_field(in);
    t->esmtp = ipc_get_bool(in);
    t->utf8 = ipc_get_bool(in);
    t->is_8bit = ipc_get_bool(in);
    t->requiretls = ipc_get_bool(in);
    ret = ipc_get_u64(in);
    t->envid = text_field(in);
    t->size = ipc_get_u64(in);
    if (in->bad || !id_is_valid(id) || !t->from || !t->helo || !t->tls || !t->envid ||
        ret > ENVELOPE_RET_HDRS)
        return false;
    memcpy(t->id.text, id.p, ID_LEN);
    t->ret = (enum envelope_ret)ret;
    if (!read_recipients(in, t))
        return false;
    t->text = ipc_get_fd(in);
    return ipc_end(in);
}

static struct transaction *transaction_new(void)
{
    struct transaction *t = mem_zalloc(1, sizeof *t);

    t->text = -1;
    t->when = time(NULL);
    t->step = STEP_EXPANDING;
    return t;
}

/* Not in the table, and nobody else shall leave it. */
static bool give_up(struct smtpd_parent *p, struct transaction *t)
{
    t->id.text[0] = '\0';
    transaction_free(p, t);
    return false;
}

static bool on_mail(struct smtpd_parent *p, unsigned front, struct ipc_in *in)
{
    struct transaction *t = transaction_new();
    struct parent_session *s;

    t->front = front;
    if (!read_mail(in, t) || !transaction_begin(p, t))
        return give_up(p, t);
    s = parent_find(p->role, front, t->session);
    if (!s || !s->account) {
        /* the login may still wait in authd's channel */
        ipc_drain(role_peer(p->role, ROLE_AUTHD, 0));
        s = parent_find(p->role, front, t->session);
    }
    if (!s || p->stopping) {
        transaction_finish(p, t, ERR_UNAVAILABLE);
        return true;
    }
    memcpy(t->ip, s->ip, sizeof t->ip);
    t->account = s->account ? mem_strdup(s->account) : NULL;
    transaction_start(p, t);
    return true;
}

/* --- INJECT --- */

static bool read_inject(struct ipc_in *in, struct transaction *t)
{
    struct slice id = ipc_get(in);

    t->from = text_field(in);
    t->rcpts = mem_zalloc(1, sizeof *t->rcpts);
    t->nrcpts = 1;
    t->rcpts[0].address = text_field(in);
    t->rcpts[0].orcpt = mem_strdup("");
    t->utf8 = ipc_get_bool(in);
    t->is_8bit = ipc_get_bool(in);
    t->size = ipc_get_u64(in);
    t->text = ipc_get_fd(in);
    if (!ipc_end(in) || !id_is_valid(id) || !t->from || !t->rcpts[0].address)
        return false;
    memcpy(t->injected.text, id.p, ID_LEN);
    return true;
}

/* An id of its own: the first message may still be on its way to others here. */
static bool on_inject(struct smtpd_parent *p, struct ipc_in *in)
{
    struct transaction *t = transaction_new();

    t->is_injected = t->esmtp = true;
    t->id = id_new();
    t->helo = mem_strdup(p->role->settings->hostname);
    t->tls = mem_strdup("");
    t->envid = mem_strdup("");
    if (!read_inject(in, t) || !transaction_begin(p, t))
        return give_up(p, t);
    LOG(QUEUE_BACK, t->id.text, F_STR("of", t->injected.text), F_STR("rcpt", t->rcpts[0].address));
    if (p->stopping)
        transaction_finish(p, t, ERR_UNAVAILABLE);
    else
        transaction_start(p, t);
    return true;
}

/* --- EXPANDED --- */

/* What authd says of one recipient. */
struct item {
    uint64_t index;
    enum err_code code;
    char *account, *path;
    bool known;
    char *elsewhere, *forward, *reverse_path;
};

static bool read_item(struct ipc_in *in, struct item *item)
{
    item->index = ipc_get_u64(in);
    item->code = ipc_get_err(in);
    item->account = text_field(in);
    item->path = text_field(in);
    item->known = ipc_get_bool(in);
    item->elsewhere = text_field(in);
    item->forward = text_field(in);
    item->reverse_path = text_field(in);
    return !in->bad && item->account && item->path && item->elsewhere && item->forward && item->reverse_path;
}

static void item_free(struct item *item)
{
    free(item->account);
    free(item->path);
    free(item->elsewhere);
    free(item->forward);
    free(item->reverse_path);
}

static bool add_item(struct transaction *t, const struct item *item)
{
    size_t rcpt = t->first + item->index;

    if (item->index >= t->asked - t->first)
        return false;
    if (item->account[0])
        transaction_add_target(t, &(struct target){.account = item->account,
                                      .path = item->path,
                                      .rcpt = rcpt,
                                      .code = item->code,
                                      .unknown = !item->known});
    else if (item->code == ERR_OK && item->elsewhere[0])
        transaction_add_away(t, &(struct away){.address = item->elsewhere,
                                    .forward = item->forward,
                                    .reverse_path = item->reverse_path,
                                    .rcpt = rcpt});
    else if (t->refused == ERR_OK)
        t->refused = item->code;
    return true;
}

static bool on_expanded(struct smtpd_parent *p, struct ipc_in *in)
{
    struct transaction *t = hmap_get(&p->transactions, ipc_get(in));
    enum err_code code = ipc_get_err(in);
    uint64_t language = ipc_get_u64(in);
    bool more = ipc_get_bool(in), good = language < REPLY_LANGUAGES;
    uint64_t n = ipc_get_u64(in);

    if (t && t->step != STEP_EXPANDING)
        t = NULL;
    for (uint64_t i = 0; i < n && good && !in->bad; i++) {
        struct item item = {0};

        good = read_item(in, &item) && (!t || add_item(t, &item));
        item_free(&item);
    }
    if (!good || !ipc_end(in))
        return false;
    if (!t || more)
        return true;
    t->language = (enum reply_language)language;
    if (code != ERR_OK)
        transaction_finish(p, t, code);
    else
        transaction_expanded(p, t);
    return true;
}

/* --- the core's calls --- */

/* authd does not know what an account's owner has, who logs in just now. */
static bool on_count(struct smtpd_parent *p, struct ipc_in *in)
{
    char *account = slice_dup(ipc_get(in)), *path = slice_dup(ipc_get(in));
    bool ok = ipc_end(in) && account && path;

    if (ok) {
        pool_count(p, account, path);
        pool_work(p);
    }
    free(account);
    free(path);
    return ok;
}

static bool on_message(
    struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct smtpd_parent *p = parent_of_role(r);

    (void)ch;
    if (peer == ROLE_SMTPD_FRONT && in->type == IPC_MAIL)
        return on_mail(p, instance, in);
    if (peer == ROLE_AUTHD && in->type == IPC_EXPANDED)
        return on_expanded(p, in);
    if (peer == ROLE_AUTHD && in->type == IPC_COUNT)
        return on_count(p, in);
    if (peer == ROLE_QUEUED && in->type == IPC_ENQUEUED)
        return enqueue_message(p, in);
    if (peer == ROLE_QUEUED && in->type == IPC_INJECT)
        return on_inject(p, in);
    return peer == ROLE_SMTPD_DELIVER && pool_message(p, instance, in);
}

struct leaver {
    struct smtpd_parent *p;
    const struct parent_session *s; /* that went */
    enum role_id peer;              /* that is gone */
};

static bool drop_of_session(void *ctx, struct slice key, void *value)
{
    struct leaver *l = ctx;
    struct transaction *t = value;

    (void)key;
    if (t->is_orphan || t->is_injected || t->front != l->s->front || t->session != l->s->session)
        return true;
    /* nobody was told 250: what nobody can have is forgotten, the client sends it again */
    t->is_orphan = true;
    if (!t->begun && t->step != STEP_INSPECTING)
        transaction_free(l->p, t);
    return true;
}

static void on_session_gone(struct role *r, struct parent_session *s)
{
    struct leaver l = {.p = parent_of_role(r), .s = s};

    if (l.p->transactions.count)
        hmap_walk(&l.p->transactions, drop_of_session, &l);
}

static bool fail_waiting(void *ctx, struct slice key, void *value)
{
    struct leaver *l = ctx;
    struct transaction *t = value;

    (void)key;
    if (t->step == (l->peer == ROLE_AUTHD ? STEP_EXPANDING : STEP_ENQUEUEING))
        transaction_finish(l->p, t, ERR_UNAVAILABLE);
    else if (l->peer == ROLE_QUEUED && t->is_injected && !t->begun)
        transaction_free(l->p, t); /* it comes again */
    return true;
}

static void on_peer(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch)
{
    struct leaver l = {.p = parent_of_role(r), .peer = peer};

    if (peer == ROLE_SMTPD_DELIVER)
        pool_peer(l.p, instance, ch != NULL);
    else if ((peer == ROLE_AUTHD || peer == ROLE_QUEUED) && !ch)
        hmap_walk(&l.p->transactions, fail_waiting, &l);
}

static unsigned per_address(const struct settings *s)
{
    return s->smtp_connections_per_address;
}

static const struct parent_ops parent_ops = {
    .front = ROLE_SMTPD_FRONT,
    .spawner = ROLE_COUNT,
    .per_address = per_address,
    .message = on_message,
    .session_gone = on_session_gone,
    .peer = on_peer,
};

/* --- the role --- */

static int run(struct role *r, struct err *e)
{
    struct smtpd_parent *p = mem_zalloc(1, sizeof *p);

    p->role = r;
    p->queue_end = &p->queue;
    p->count_end = &p->count_queue;
    p->tick = evtimer_new(r->base, on_tick, p);
    INVARIANT(p->tick);
    if (parent_run(r, &parent_ops, e) < 0)
        return -1;
    *parent_state(r) = p;
    return 0;
}

static void on_stop_check(evutil_socket_t fd, short what, void *arg)
{
    struct role *r = arg;
    struct timeval soon = {.tv_usec = 20000};

    (void)fd, (void)what;
    if (parent_of_role(r)->transactions.count == 0)
        parent_stop(r);
    else
        event_base_once(r->base, -1, EV_TIMEOUT, on_stop_check, r, &soon);
}

/* What is on its way gets there first. */
static void stop(struct role *r)
{
    struct smtpd_parent *p = parent_of_role(r);
    struct timeval late = {.tv_sec = STOP_S};

    if (p->stopping)
        return;
    p->stopping = true;
    event_base_loopexit(r->base, &late);
    on_stop_check(-1, 0, r);
}

static void status(struct role *r, struct buf *json)
{
    struct smtpd_parent *p = parent_of_role(r);
    struct buf core = BUF_INIT(4096);
    size_t busy = 0, there = 0;

    for (size_t i = 0; i < POOL_MAX; i++) {
        there += p->pool[i].is_there;
        busy += p->pool[i].transaction || p->pool[i].count;
    }
    parent_status(r, &core);
    if (core.n && core.p[core.n - 1] == '}')
        buf_cut(&core, core.n - 1);
    buf_add(json, buf_slice(&core));
    buf_printf(
        json, ",\"transactions\":%zu,\"delivers\":%zu,\"busy\":%zu}", p->transactions.count, there, busy);
    buf_free(&core);
}

const struct role_ops smtpd_parent_role = {
    .id = ROLE_SMTPD_PARENT,
    .run = run,
    .message = parent_message,
    .peer = parent_peer,
    .reloaded = parent_reloaded,
    .stop = stop,
    .status = status,
};
