#include "session/parent.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "session/parent_internal.h"

/* What an address has open, and how many it began in this minute; without those that logged in (of SMTP's
 * only the second). */
struct address {
    unsigned open, fresh;
};

struct front_key {
    uint64_t front, session;
};

struct parent *parent_of(struct role *r)
{
    return r->state;
}

void **parent_state(struct role *r)
{
    return &parent_of(r)->state;
}

int64_t parent_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static struct slice key_of(const struct front_key *k)
{
    return slice_of(k, sizeof *k);
}

struct parent_session *parent_find(struct role *r, unsigned front, uint64_t session)
{
    struct front_key k = {front, session};

    return hmap_get(&parent_of(r)->by_front, key_of(&k));
}

struct session *session_by_id(struct parent *p, uint64_t id)
{
    return hmap_get(&p->by_id, slice_of(&id, sizeof id));
}

/* --- sessions and limits --- */

bool parent_counts(const struct parent *p, const char *ip)
{
    return p->role->settings->limit_loopback || (strncmp(ip, "127.", 4) != 0 && strcmp(ip, "::1") != 0);
}

static enum err_code admit(struct parent *p, const struct session *s)
{
    const struct settings *set = p->role->settings;
    struct address *a = hmap_get(&p->addresses, slice_str(s->pub.ip));

    if (!a) {
        a = mem_zalloc(1, sizeof *a);
        hmap_put(&p->addresses, slice_str(s->pub.ip), a);
    }
    a->open++;
    a->fresh++;
    if (!parent_counts(p, s->pub.ip))
        return ERR_OK;
    return a->open > p->ops->per_address(set) || a->fresh > set->new_per_minute ? ERR_TOO_MANY : ERR_OK;
}

static void address_leaves(struct parent *p, const char *ip)
{
    struct address *a = hmap_get(&p->addresses, slice_str(ip));

    if (!a)
        return;
    if (a->open)
        a->open--;
    if (!a->open && !a->fresh) {
        hmap_remove(&p->addresses, slice_str(ip));
        free(a);
    }
}

void session_is_known(struct parent *p, struct session *s)
{
    struct address *a = hmap_get(&p->addresses, slice_str(s->pub.ip));

    if (a && a->fresh)
        a->fresh--;
    if (p->ops->spawner == ROLE_COUNT || s->has_left)
        return;
    s->has_left = true;
    address_leaves(p, s->pub.ip);
}

void session_free(struct parent *p, struct session *s)
{
    struct front_key k = {s->pub.front, s->pub.session};

    if (!s->is_handed) {
        hmap_remove(&p->by_front, key_of(&k));
        p->of_front[s->pub.front]--;
        if (p->ops->session_gone)
            p->ops->session_gone(p->role, &s->pub);
    }
    hmap_remove(&p->by_id, slice_of(&s->id, sizeof s->id));
    if (!s->has_left)
        address_leaves(p, s->pub.ip);
    free(s->pub.account);
    free(s->pub.path);
    free(s);
}

static void stamp_waiting(struct parent *p, struct parent_session *s);

static bool session_open(struct parent *p, unsigned front, struct ipc *ch, struct ipc_in *in)
{
    struct session *s = mem_zalloc(1, sizeof *s);
    struct front_key k;
    struct slice sid, ip;
    enum err_code code;

    s->pub.front = front;
    s->pub.session = ipc_get_u64(in);
    sid = ipc_get(in);
    ip = ipc_get(in);
    ipc_get_u64(in);
    /* twice its connections: more sessions than that no honest front has */
    if (!ipc_end(in) || !id_is_valid(sid) || ip.n >= sizeof s->pub.ip ||
        parent_find(p->role, front, s->pub.session) || front >= ROLE_PEERS_MAX ||
        p->of_front[front] >= 2 * p->role->settings->connections) {
        free(s);
        return false;
    }
    memcpy(s->pub.sid, sid.p, sid.n);
    if (ip.n)
        memcpy(s->pub.ip, ip.p, ip.n);
    s->p = p;
    s->id = ++p->serial;
    k = (struct front_key){front, s->pub.session};
    hmap_put(&p->by_front, key_of(&k), s);
    p->of_front[front]++;
    hmap_put(&p->by_id, slice_of(&s->id, sizeof s->id), s);
    if (p->ops->spawner == ROLE_COUNT)
        stamp_waiting(p, &s->pub);
    code = admit(p, s);
    if (code != ERR_OK) {
        struct ipc_out out;

        LOG(REFUSED, s->pub.sid, F_STR("ip", s->pub.ip), F_STR("why", err_row(code)->text));
        ipc_begin(&out, IPC_SESSION_REFUSED);
        ipc_put_u64(&out, s->pub.session);
        ipc_put_u64(&out, code);
        ipc_send(ch, &out);
    }
    return true;
}

static bool session_closed(struct parent *p, unsigned front, struct ipc_in *in)
{
    struct parent_session *s = parent_find(p->role, front, ipc_get_u64(in));

    if (!ipc_end(in))
        return false;
    if (s)
        session_free(p, (struct session *)s);
    return true;
}

/* --- tickets --- */

static void ticket_free(struct ticket *t)
{
    free(t->account);
    free(t->path);
    free(t);
}

/* The session belongs to the ticket's account. */
static void stamp(struct parent_session *s, struct ticket *t)
{
    free(s->account);
    free(s->path);
    s->account = t->account;
    s->path = t->path;
    t->account = t->path = NULL;
    session_is_known(((struct session *)s)->p, (struct session *)s);
}

/* A session of SMTP that is only heard of now, though it is logged in already. */
static void stamp_waiting(struct parent *p, struct parent_session *s)
{
    for (struct ticket *t = p->tickets; t; t = t->next) {
        if (t->front != s->front || t->session != s->session)
            continue;
        stamp(s, t);
        ticket_drop(p, t);
        return;
    }
}

/* Tickets nobody comes for: a front that died, or a flood of logins without a session. */
static void ticket_drop_oldest(struct parent *p)
{
    struct ticket *t = p->tickets;

    while (t->next)
        t = t->next;
    ticket_drop(p, t);
}

static bool ticket_arrives(struct parent *p, struct ipc_in *in)
{
    struct ticket *t = mem_zalloc(1, sizeof *t);
    struct slice octets, account, path;
    struct parent_session *s;

    t->front = (unsigned)ipc_get_u64(in);
    t->session = ipc_get_u64(in);
    octets = ipc_get(in), account = ipc_get(in), path = ipc_get(in);
    t->quota = ipc_get_u64(in);
    t->used = ipc_get_u64(in);
    t->account = slice_dup(account);
    t->path = slice_dup(path);
    if (!ipc_end(in) || octets.n != TICKET_LEN || !t->account || !t->path) {
        ticket_free(t);
        return false;
    }
    memcpy(t->octets, octets.p, TICKET_LEN);
    t->since = parent_now();
    /* SMTP: the session itself is stamped, nothing is handed over. Its SESSION_OPEN may still wait in the
     * front's channel: then session_open finds the ticket. */
    s = p->ops->spawner == ROLE_COUNT ? parent_find(p->role, t->front, t->session) : NULL;
    if (s) {
        stamp(s, t);
        ticket_free(t);
    } else {
        t->next = p->tickets;
        p->tickets = t;
        if (++p->ntickets > TICKETS_MAX)
            ticket_drop_oldest(p);
    }
    return true;
}

struct ticket *ticket_find(struct parent *p, unsigned front, uint64_t session, struct slice octets)
{
    for (struct ticket *t = p->tickets; t; t = t->next)
        if (t->front == front && t->session == session && octets.n == TICKET_LEN &&
            memcmp(t->octets, octets.p, TICKET_LEN) == 0)
            return t;
    return NULL;
}

void ticket_drop(struct parent *p, struct ticket *t)
{
    struct ticket **at = &p->tickets;

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    p->ntickets--;
    ticket_free(t);
}

/* --- the minute --- */

static bool address_minute(void *ctx, struct slice key, void *value)
{
    struct parent *p = ctx;
    struct address *a = value;

    a->fresh = 0;
    if (!a->open) {
        hmap_remove(&p->addresses, key);
        free(a);
    }
    return true;
}

static void on_minute(evutil_socket_t fd, short what, void *arg)
{
    struct parent *p = arg;
    int64_t old = parent_now() - TICKET_LIFE_S;

    (void)fd, (void)what;
    hmap_walk(&p->addresses, address_minute, p);
    for (struct ticket *t = p->tickets, *next; t; t = next) {
        next = t->next;
        if (t->since < old)
            ticket_drop(p, t);
    }
}

/* --- the role's callbacks --- */

/* A session that is still with its front (SMTP) and belongs to the account. */
static bool kill_of_account(void *ctx, struct slice key, void *value)
{
    const struct slice *account = ctx;
    struct session *s = value;
    struct ipc_out out;

    (void)key;
    if (!s->pub.account || !slice_eq(*account, slice_str(s->pub.account)))
        return true;
    ipc_begin(&out, IPC_SESSION_KILL);
    ipc_put_u64(&out, s->pub.session);
    ipc_send(role_peer(s->p->role, s->p->ops->front, s->pub.front), &out);
    return true;
}

static bool from_authd(struct role *r, struct ipc *ch, unsigned instance, struct ipc_in *in)
{
    struct parent *p = parent_of(r);
    struct slice account;
    uint64_t quota, used;

    switch (in->type) {
    case IPC_AUTH_TICKET:
        return ticket_arrives(p, in);
    case IPC_QUOTA_NOW:
        account = ipc_get(in);
        quota = ipc_get_u64(in);
        used = ipc_get_u64(in);
        if (!ipc_end(in))
            return false;
        router_quota(p, account, quota, used);
        return true;
    case IPC_ACCOUNT_CHANGED:
        account = ipc_get(in);
        if (!ipc_end(in))
            return false;
        router_kill(p, account);
        for (struct ticket *t = p->tickets, *next; t; t = next) { /* nobody came for them yet */
            next = t->next;
            if (slice_eq(account, slice_str(t->account)))
                ticket_drop(p, t);
        }
        hmap_walk(&p->by_front, kill_of_account, &account);
        return true;
    default:
        return p->ops->message && p->ops->message(r, ROLE_AUTHD, instance, ch, in);
    }
}

bool parent_message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct parent *p = parent_of(r);
    bool malformed = false;

    if (peer == ROLE_AUTHD)
        return from_authd(r, ch, instance, in);
    if (peer == p->ops->front) {
        switch (in->type) {
        case IPC_SESSION_OPEN:
            return session_open(p, instance, ch, in);
        case IPC_SESSION_CLOSED:
            return session_closed(p, instance, in);
        case IPC_SESSION_TAKE:
            if (p->ops->spawner == ROLE_COUNT)
                return false;
            router_take(p, instance, ch, in, &malformed);
            return !malformed;
        default:
            break;
        }
    }
    if (peer == p->ops->spawner && in->type == IPC_WORKER_GONE) {
        uint64_t worker = ipc_get_u64(in), status = ipc_get_u64(in);

        if (status != 0 && ipc_end(in))
            LOG(ROLE_DIED, NULL, F_STR("role", "worker"), F_U64("worker", worker), F_U64("status", status));
        return ipc_end(in);
    }
    return p->ops->message && p->ops->message(r, peer, instance, ch, in);
}

struct front_gone {
    struct parent *p;
    unsigned front;
};

static bool drop_of_front(void *ctx, struct slice key, void *value)
{
    struct front_gone *g = ctx;
    struct session *s = value;

    (void)key;
    if (s->pub.front == g->front && !s->is_handed)
        session_free(g->p, s); /* removes the entry the walk stands on */
    return true;
}

void parent_peer(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch)
{
    struct parent *p = parent_of(r);

    if (peer == p->ops->front && !ch) {
        struct front_gone g = {p, instance};

        hmap_walk(&p->by_front, drop_of_front, &g);
        for (struct ticket *t = p->tickets, *next; t; t = next) {
            next = t->next;
            if (t->front == instance)
                ticket_drop(p, t);
        }
    }
    if (p->ops->peer)
        p->ops->peer(r, peer, instance, ch);
}

void parent_reloaded(struct role *r)
{
    (void)r; /* limits are read from r->settings where they are used */
}

static void on_stop_check(evutil_socket_t fd, short what, void *arg)
{
    struct role *r = arg;
    struct timeval soon = {.tv_usec = 20000};

    (void)fd, (void)what;
    if (router_is_idle(parent_of(r)))
        event_base_loopexit(r->base, NULL);
    else
        event_base_once(r->base, -1, EV_TIMEOUT, on_stop_check, r, &soon);
}

void parent_stop(struct role *r)
{
    struct parent *p = parent_of(r);
    struct timeval late = {.tv_sec = 3};

    if (p->stopping)
        return;
    p->stopping = true;
    router_stop(p);
    event_base_loopexit(r->base, &late);
    on_stop_check(-1, 0, r);
}

void parent_status(struct role *r, struct buf *json)
{
    struct parent *p = parent_of(r);

    buf_printf(json, "{\"sessions\":%zu,\"workers\":%zu,\"addresses\":%zu}", p->by_id.count, p->workers.count,
        p->addresses.count);
}

int parent_run(struct role *r, const struct parent_ops *ops, struct err *e)
{
    struct parent *p = mem_zalloc(1, sizeof *p);
    struct timeval minute = {.tv_sec = 60};

    p->role = r;
    p->ops = ops;
    p->inotify_fd = -1;
    r->state = p;
    p->minute = event_new(r->base, -1, EV_PERSIST, on_minute, p);
    INVARIANT(p->minute && event_add(p->minute, &minute) == 0);
    return ops->spawner == ROLE_COUNT ? 0 : watch_start(p, e);
}
