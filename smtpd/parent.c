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
    if (t->step == STEP_DELIVERING || age < (t->step == STEP_EXPANDING ? EXPAND_S : WAIT_S))
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

static bool read_mail(struct ipc_in *in, struct transaction *t)
{
    struct slice id;
    uint64_t n;

    t->session = ipc_get_u64(in);
    id = ipc_get(in);
    t->from = text_field(in);
    t->helo = text_field(in);
    t->tls = text_field(in);
    t->esmtp = ipc_get_bool(in);
    t->utf8 = ipc_get_bool(in);
    t->size = ipc_get_u64(in);
    n = ipc_get_u64(in);
    if (in->bad || !id_is_valid(id) || !t->from || !t->helo || !t->tls || n == 0 || n > RCPTS_MAX)
        return false;
    memcpy(t->id.text, id.p, ID_LEN);
    t->rcpts = mem_zalloc(n, sizeof *t->rcpts);
    while (t->nrcpts < n && (t->rcpts[t->nrcpts] = text_field(in)))
        t->nrcpts++;
    t->text = ipc_get_fd(in);
    return ipc_end(in) && t->nrcpts == n;
}

static bool on_mail(struct smtpd_parent *p, unsigned front, struct ipc_in *in)
{
    struct transaction *t = mem_zalloc(1, sizeof *t);
    struct timeval tv = {.tv_sec = TICK_S};
    struct parent_session *s;

    t->text = -1;
    t->front = front;
    t->when = time(NULL);
    t->step = STEP_EXPANDING;
    if (!read_mail(in, t) || hmap_get(&p->transactions, slice_str(t->id.text))) {
        t->id.text[0] = '\0'; /* not in the table, and nobody else shall leave it */
        transaction_free(p, t);
        return false;
    }
    hmap_put(&p->transactions, slice_str(t->id.text), t);
    if (p->transactions.count == 1)
        evtimer_add(p->tick, &tv);
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
    transaction_expand(p, t);
    return true;
}

/* --- EXPANDED --- */

static bool on_expanded(struct smtpd_parent *p, struct ipc_in *in)
{
    struct transaction *t = hmap_get(&p->transactions, ipc_get(in));
    enum err_code code = ipc_get_err(in);
    uint64_t n = ipc_get_u64(in);

    if (t && t->step != STEP_EXPANDING)
        t = NULL;
    for (uint64_t i = 0; i < n && !in->bad; i++) {
        struct slice account = ipc_get(in), path = ipc_get(in);
        bool known = ipc_get_bool(in);
        enum err_code of_this = ipc_get_err(in);

        if (in->bad || slice_chr(account, '\0') >= 0 || slice_chr(path, '\0') >= 0)
            return false;
        if (t)
            transaction_add_target(t, account, path, known, of_this);
    }
    if (!ipc_end(in))
        return false;
    if (!t)
        return true;
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
    return peer == ROLE_SMTPD_DELIVER && pool_message(p, instance, in);
}

struct leaver {
    struct smtpd_parent *p;
    const struct parent_session *s; /* NULL: those that wait for authd, which is gone */
};

static bool drop_of_session(void *ctx, struct slice key, void *value)
{
    struct leaver *l = ctx;
    struct transaction *t = value;

    (void)key;
    if (t->is_orphan || t->front != l->s->front || t->session != l->s->session)
        return true;
    /* nobody was told 250: what no deliver has is forgotten, the client sends it again */
    t->is_orphan = true;
    if (t->step != STEP_DELIVERING && !t->replay && t->pass == 0)
        transaction_free(l->p, t);
    return true;
}

static void on_session_gone(struct role *r, struct parent_session *s)
{
    struct leaver l = {parent_of_role(r), s};

    if (l.p->transactions.count)
        hmap_walk(&l.p->transactions, drop_of_session, &l);
}

static bool fail_expanding(void *ctx, struct slice key, void *value)
{
    struct leaver *l = ctx;
    struct transaction *t = value;

    (void)key;
    if (t->step == STEP_EXPANDING)
        transaction_finish(l->p, t, ERR_UNAVAILABLE);
    return true;
}

static void on_peer(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch)
{
    struct leaver l = {parent_of_role(r), NULL};

    if (peer == ROLE_SMTPD_DELIVER)
        pool_peer(l.p, instance, ch != NULL);
    else if (peer == ROLE_AUTHD && !ch)
        hmap_walk(&l.p->transactions, fail_expanding, &l);
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
