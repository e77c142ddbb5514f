/* Which worker serves an account: the only place that knows. One worker a user ("isolation = user", design).
 */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "session/parent_internal.h"

/* Of what the front passes on: our fields beside it fit into one message. */
#define TAKE_MAX (IPC_MAX - 256)

static void worker_free(struct parent_worker *w)
{
    struct parent *p = w->p;

    watch_drop_all(w);
    hmap_remove(&p->workers, slice_str(w->account));
    while (w->sessions) {
        struct session *s = w->sessions;

        w->sessions = s->next;
        session_free(p, s);
    }
    ipc_free(w->ch);
    event_free(w->linger);
    free(w->account);
    free(w->path);
    free(w);
}

static void on_worker_closed(void *ctx, struct ipc *ch)
{
    struct parent_worker *w = ctx;

    (void)ch;
    w->ch = NULL;
    if (w->nsessions)
        LOG(ROLE_DIED, NULL, F_STR("role", "worker"), F_STR("user", w->account),
            F_U64("sessions", w->nsessions));
    worker_free(w);
}

/* Nobody has been here for worker_linger: closing the channel ends it. */
static void on_linger(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    worker_free(arg);
}

static void linger(struct parent_worker *w)
{
    struct timeval tv = {.tv_sec = (time_t)w->p->role->settings->worker_linger_s};

    if (w->p->stopping)
        tv.tv_sec = 0;
    evtimer_add(w->linger, &tv);
}

static bool session_ended(struct parent_worker *w, uint64_t id)
{
    struct session *s = session_by_id(w->p, id);

    if (!s || s->worker != w)
        return false;
    *s->here = s->next;
    if (s->next)
        s->next->here = s->here;
    session_free(w->p, s);
    if (--w->nsessions == 0)
        linger(w);
    return true;
}

static bool on_worker(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct parent_worker *w = ctx;
    struct ipc_out out;
    struct slice name;
    uint64_t n[4];

    (void)ch;
    switch (in->type) {
    case IPC_WORKER_SESSION_END:
        n[0] = ipc_get_u64(in);
        return ipc_end(in) && session_ended(w, n[0]);
    case IPC_WORKER_USAGE:
        for (int i = 0; i < 4; i++)
            n[i] = ipc_get_u64(in);
        if (!ipc_end(in))
            return false;
        ipc_begin(&out, IPC_USAGE);
        ipc_put_str(&out, w->account);
        for (int i = 0; i < 4; i++)
            ipc_put_u64(&out, n[i]);
        ipc_send(role_peer(w->p->role, ROLE_AUTHD, 0), &out);
        return true;
    case IPC_WORKER_WATCH:
        name = ipc_get(in);
        n[0] = ipc_get_bool(in);
        if (!ipc_end(in))
            return false;
        watch_set(w, name, n[0]);
        return true;
    default:
        return false;
    }
}

static void send_quota(struct parent_worker *w, uint64_t quota, uint64_t used)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_WORKER_QUOTA);
    ipc_put_u64(&out, quota);
    ipc_put_u64(&out, used);
    ipc_send(w->ch, &out);
}

/* The worker of an account, started if there is none. NULL when the spawner is away. */
static struct parent_worker *worker_for(struct parent *p, const char *account, const char *path)
{
    struct parent_worker *w = hmap_get(&p->workers, slice_str(account));
    struct ipc *spawner = role_peer(p->role, p->ops->spawner, 0);
    struct ipc_out out;
    int fds[2];

    if (w)
        return w;
    if (!spawner || ipc_pair(fds) < 0)
        return NULL;
    w = mem_zalloc(1, sizeof *w);
    w->p = p;
    w->id = ++p->serial;
    w->account = mem_strdup(account);
    w->path = mem_strdup(path);
    w->linger = evtimer_new(p->role->base, on_linger, w);
    INVARIANT(w->linger);
    w->ch = ipc_new(p->role->base, fds[0], account, on_worker, on_worker_closed, w);
    hmap_put(&p->workers, slice_str(account), w);
    ipc_begin(&out, IPC_SPAWN);
    ipc_put_u64(&out, w->id);
    ipc_put_str(&out, account);
    ipc_put_str(&out, path);
    ipc_put_fd(&out, fds[1]);
    ipc_send(spawner, &out);
    return w;
}

static unsigned sessions_of_address(const struct parent_worker *w, const char *ip)
{
    unsigned n = 0;

    for (const struct session *s = w->sessions; s; s = s->next)
        n += strcmp(s->pub.ip, ip) == 0;
    return n;
}

/* in: the front's message; the fd leaves it only for the worker's. */
static enum err_code hand_to_worker(struct parent *p, struct session *s, const struct ticket *t,
    struct slice tag, struct slice left, struct slice tls, struct ipc_in *in)
{
    struct parent_worker *w = worker_for(p, t->account, t->path);
    struct {
        uint64_t front, session;
    } key = {s->pub.front, s->pub.session};
    struct ipc_out out;

    if (!w)
        return ERR_UNAVAILABLE;
    if (tag.n + left.n + tls.n > TAKE_MAX)
        return ERR_LIMIT;
    if (parent_counts(p, s->pub.ip) &&
        sessions_of_address(w, s->pub.ip) >= p->role->settings->connections_per_user)
        return ERR_TOO_MANY;
    evtimer_del(w->linger);
    hmap_remove(&p->by_front, slice_of(&key, sizeof key));
    p->of_front[s->pub.front]--;
    s->is_handed = true;
    s->worker = w;
    s->next = w->sessions;
    s->here = &w->sessions;
    if (s->next)
        s->next->here = &s->next;
    w->sessions = s;
    w->nsessions++;
    session_is_known(p, s);
    send_quota(w, t->quota, t->used);
    ipc_begin(&out, IPC_WORKER_SESSION);
    ipc_put_u64(&out, s->id);
    ipc_put_str(&out, s->pub.sid);
    ipc_put(&out, tag);
    ipc_put_str(&out, s->pub.ip);
    ipc_put(&out, tls);
    ipc_put(&out, left);
    ipc_put_fd(&out, ipc_get_fd(in));
    ipc_send(w->ch, &out);
    return ERR_OK;
}

void router_take(struct parent *p, unsigned front, struct ipc *ch, struct ipc_in *in, bool *malformed)
{
    uint64_t number = ipc_get_u64(in);
    struct slice octets = ipc_get(in), tag = ipc_get(in), left = ipc_get(in), tls = ipc_get(in);
    struct session *s;
    struct ticket *t;
    struct ipc_out out;
    enum err_code code = ERR_AUTH_FAILED;

    *malformed = !ipc_end(in) || in->nfds != 1;
    s = (struct session *)parent_find(p->role, front, number);
    if (*malformed || !s)
        return;
    /* authd sent its ticket to us before it told the front: it waits in the channel if it is not here yet */
    t = ticket_find(p, front, number, octets);
    if (!t) {
        ipc_drain(role_peer(p->role, ROLE_AUTHD, 0));
        t = ticket_find(p, front, number, octets);
    }
    if (t) {
        /* the fd stays inside the message until it is sure who takes it: on refusal ipc_in_free closes it */
        code = hand_to_worker(p, s, t, tag, left, tls, in);
        ticket_drop(p, t);
    } else {
        LOG(ATTACK, s->pub.sid, F_STR("what", "a front handed over a session without a ticket"));
    }
    ipc_begin(&out, code == ERR_OK ? IPC_SESSION_TAKEN : IPC_SESSION_REFUSED);
    ipc_put_u64(&out, number);
    if (code != ERR_OK)
        ipc_put_u64(&out, code);
    ipc_send(ch, &out);
}

void router_quota(struct parent *p, struct slice account, uint64_t quota, uint64_t used)
{
    struct parent_worker *w = hmap_get(&p->workers, account);

    if (w)
        send_quota(w, quota, used);
    /* who is on his way to a worker brings what was known when he logged in */
    for (struct ticket *t = p->tickets; t; t = t->next)
        if (slice_eq(account, slice_str(t->account))) {
            t->quota = quota;
            t->used = used;
        }
}

void router_kill(struct parent *p, struct slice account)
{
    struct parent_worker *w = hmap_get(&p->workers, account);

    if (!w)
        return;
    for (struct session *s = w->sessions; s; s = s->next) {
        struct ipc_out out;

        ipc_begin(&out, IPC_WORKER_KILL);
        ipc_put_u64(&out, s->id);
        ipc_put_u64(&out, ERR_UNAVAILABLE);
        ipc_send(w->ch, &out);
    }
}

static bool stop_worker(void *ctx, struct slice key, void *value)
{
    struct parent_worker *w = value;

    (void)ctx;
    router_kill(w->p, key);
    if (w->nsessions == 0)
        worker_free(w); /* removes the entry the walk stands on */
    return true;
}

void router_stop(struct parent *p)
{
    hmap_walk(&p->workers, stop_worker, p);
}

bool router_is_idle(const struct parent *p)
{
    return p->workers.count == 0;
}
