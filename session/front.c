/* The front's core: connections from accept to close. front_login.c: logins and handing over. */
#include "session/front_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/tls.h"

#define ACCEPT_BURST 16
#define ACCEPT_PAUSE_MS 100 /* when the process is out of descriptors */
#define STOP_GRACE_S 3

#define SLOT_BITS 20

static struct front *front_of(struct role *r)
{
    return r->state;
}

/* --- the table of connections --- */

static struct conn *find(struct front *f, uint64_t session)
{
    size_t slot = session & ((1u << SLOT_BITS) - 1);

    return slot < f->nslots && f->conns[slot] && f->conns[slot]->pub.session == session ? f->conns[slot]
                                                                                        : NULL;
}

static void enlist(struct front *f, struct conn *c)
{
    c->older = f->newest;
    c->newer = NULL;
    *(f->newest ? &f->newest->newer : &f->oldest) = c;
    f->newest = c;
    c->is_listed = true;
}

void conn_unlist(struct front *f, struct conn *c)
{
    if (!c->is_listed)
        return;
    *(c->older ? &c->older->newer : &f->oldest) = c->newer;
    *(c->newer ? &c->newer->older : &f->newest) = c->older;
    c->is_listed = false;
}

static struct conn *conn_add(struct front *f)
{
    struct conn *c = mem_zalloc(1, sizeof *c);
    size_t slot = 0;

    if (f->count == f->nslots) {
        size_t n = f->nslots ? f->nslots * 2 : 64;

        f->conns = mem_realloc(f->conns, n, sizeof(struct conn *));
        memset(f->conns + f->nslots, 0, (n - f->nslots) * sizeof(struct conn *));
        slot = f->nslots;
        f->nslots = n;
    } else {
        slot = f->serial % f->nslots; /* the free ones are spread: start anywhere */
        while (f->conns[slot])
            slot = (slot + 1) % f->nslots;
    }
    c->pub.session = ++f->serial << SLOT_BITS | slot;
    c->pub.front = f;
    c->spare = -1;
    f->conns[slot] = c;
    f->count++;
    enlist(f, c);
    return c;
}

/* --- messages --- */

bool front_send(struct front_conn *c, enum role_id peer, struct ipc_out *out)
{
    struct ipc *ch = role_peer(c->front->role, peer, 0);

    ipc_send(ch, out);
    return ch != NULL;
}

static void tell_parent(struct conn *c, enum ipc_type type)
{
    struct ipc_out out;

    ipc_begin(&out, type);
    ipc_put_u64(&out, c->pub.session);
    if (type == IPC_SESSION_OPEN) {
        ipc_put_str(&out, c->pub.sid.text);
        ipc_put_str(&out, c->pub.ip);
        ipc_put_u64(&out, (uint64_t)(c->pub.listener - c->pub.settings->listeners));
    }
    front_send(&c->pub, c->pub.front->parent, &out);
}

/* --- the end of a connection --- */

void conn_forget(struct conn *c, bool tell)
{
    struct front *f = c->pub.front;

    if (c->step == CONN_AUTHENTICATING) {
        struct ipc_out out;

        ipc_begin(&out, IPC_AUTH_CANCEL);
        ipc_put_u64(&out, c->pub.session);
        front_send(&c->pub, ROLE_AUTHD, &out);
    }
    c->step = CONN_CLOSING;
    f->ops->closed(&c->pub);
    if (tell)
        tell_parent(c, IPC_SESSION_CLOSED);
    conn_unlist(f, c);
    f->conns[c->pub.session & ((1u << SLOT_BITS) - 1)] = NULL;
    f->count--;
    if (c->delay)
        event_free(c->delay);
    if (c->inner)
        stream_free(c->inner);
    if (c->spare >= 0)
        close(c->spare);
    mem_wipe(c->ticket, sizeof c->ticket);
    free(c);
}

static void close_conn(struct conn *c)
{
    struct stream *s = c->pub.stream;

    if (s)
        stream_close_after_flush(s);
    c->pub.stream = NULL;
    conn_forget(c, true);
}

void front_close(struct front_conn *c)
{
    LOG(DISCONNECT, c->sid.text, F_STR("ip", c->ip));
    close_conn(conn_of(c));
}

void conn_say_bye(struct conn *c, enum err_code code, bool is_timeout)
{
    if (c->pub.stream)
        c->pub.front->ops->bye(&c->pub, code, is_timeout);
    front_close(&c->pub);
}

/* --- the stream's callbacks --- */

static void on_input(void *ctx, struct stream *s)
{
    struct conn *c = ctx;

    (void)s;
    if (c->step == CONN_TALKING || c->step == CONN_AUTHENTICATING)
        c->pub.front->ops->input(&c->pub);
}

static void on_drained(void *ctx, struct stream *s)
{
    struct conn *c = ctx;

    (void)s;
    if (c->pub.front->ops->drained)
        c->pub.front->ops->drained(&c->pub);
}

static void on_secured(void *ctx, struct stream *s)
{
    struct conn *c = ctx;
    struct buf text = BUF_INIT(256);

    stream_tls_text(s, &text);
    LOG(TLS, c->pub.sid.text, F_SLICE("tls", buf_slice(&text)));
    buf_free(&text);
    c->pub.is_tls = true;
    c->pub.may_log_in = true;
    if (c->pub.listener->tls == LISTENER_TLS)
        c->pub.front->ops->opened(&c->pub);
    else
        c->pub.front->ops->secured(&c->pub);
}

static void on_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail)
{
    struct conn *c = ctx;
    static const char *const whys[] = {"eof", "error", "timeout", "stalled"};

    if (why == STREAM_TIMEOUT && c->step != CONN_HANDED) {
        conn_say_bye(c, ERR_UNAVAILABLE, true);
        return;
    }
    if (why == STREAM_ERROR && detail && strstr(detail, "TLS"))
        LOG(TLS_FAILED, c->pub.sid.text, F_STR("ip", c->pub.ip), F_STR("why", detail));
    LOG(DISCONNECT, c->pub.sid.text, F_STR("ip", c->pub.ip), F_STR("why", whys[why]),
        F_STR("detail", detail ? detail : ""));
    stream_free(s);
    c->pub.stream = NULL;
    conn_forget(c, true);
}

const struct stream_ops conn_stream_ops = {
    .input = on_input, .drained = on_drained, .secured = on_secured, .ended = on_ended};

/* --- accepting --- */

/* "::ffff:192.0.2.1" is shown and counted as what it is. */
static bool set_ip(struct front_conn *c, const struct sockaddr_storage *ss)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)ss;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)ss;

    if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        struct in_addr a;

        memcpy(&a, (const char *)&v6->sin6_addr + 12, 4);
        c->is_loopback = (ntohl(a.s_addr) >> 24) == 127;
        return inet_ntop(AF_INET, &a, c->ip, sizeof c->ip) != NULL;
    }
    if (ss->ss_family == AF_INET6) {
        c->is_loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
        return inet_ntop(AF_INET6, &v6->sin6_addr, c->ip, sizeof c->ip) != NULL;
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.*): accept4 has filled it in */
    c->is_loopback = (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    return inet_ntop(AF_INET, &v4->sin_addr, c->ip, sizeof c->ip) != NULL;
}

/* No session tickets on port 25 (clients.md 19). */
struct tls_context *conn_tls(struct conn *c)
{
    struct role *r = c->pub.front->role;

    return c->pub.listener->service == SERVICE_SMTP ? r->tls_no_tickets : r->tls;
}

/* A relayed session has left the table, but not the process: both its sockets are ours. */
static size_t load(const struct front *f)
{
    return f->count + (size_t)f->relayed;
}

bool front_is_crowded(const struct front_conn *c)
{
    return load(c->front) > (size_t)c->front->role->settings->connections * 8 / 10;
}

static void open_conn(struct port *p, int fd, const struct sockaddr_storage *ss)
{
    struct front *f = p->front;
    struct conn *c;

    /* room by ending the oldest nobody logged in on: a flood of idle connections keeps no one out (S18) */
    if (load(f) >= f->role->settings->connections && f->oldest)
        conn_say_bye(f->oldest, ERR_TOO_MANY, false);
    if (load(f) >= f->role->settings->connections || f->count >> SLOT_BITS) {
        LOG(REFUSED, NULL, F_STR("why", "limits.connections is reached"));
        close(fd);
        return;
    }
    c = conn_add(f);
    c->pub.sid = id_new();
    c->pub.settings = f->role->settings;
    c->pub.listener = &f->role->settings->listeners[p->index];
    c->pub.may_log_in = c->pub.listener->plain_login;
    c->pub.stream = stream_new(f->role->base, fd, &conn_stream_ops, c);
    f->accepted++;
    if (!set_ip(&c->pub, ss))
        memcpy(c->pub.ip, "?", 2);
    LOG(CONNECT, c->pub.sid.text, F_STR("ip", c->pub.ip),
        F_STR("service", service_name(c->pub.listener->service)));
    tell_parent(c, IPC_SESSION_OPEN);
    if (c->pub.listener->tls == LISTENER_TLS)
        stream_start_tls(c->pub.stream, conn_tls(c), f->ops->alpn, false);
    else
        f->ops->opened(&c->pub);
}

static void on_resume_accept(evutil_socket_t fd, short what, void *arg)
{
    struct port *p = arg;

    (void)fd, (void)what;
    event_add(p->accepting, NULL);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct port *p = arg;

    (void)what;
    for (int i = 0; i < ACCEPT_BURST; i++) {
        struct sockaddr_storage ss = {0};
        socklen_t len = sizeof ss;
        int client = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client >= 0) {
            open_conn(p, client, &ss);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};

            LOG(REFUSED, NULL, F_STR("why", strerror(errno)));
            event_del(p->accepting);
            evtimer_add(p->resume, &pause);
        }
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

void front_listener(struct role *r, unsigned index, int fd)
{
    struct front *f = front_of(r);
    struct port *p = &f->ports[f->nports];

    if (f->nports == sizeof f->ports / sizeof *f->ports || index >= r->settings->nlisteners) {
        close(fd);
        return;
    }
    f->nports++;
    *p = (struct port){.front = f, .index = index, .fd = fd};
    evutil_make_socket_nonblocking(fd);
    p->accepting = event_new(r->base, fd, EV_READ | EV_PERSIST, on_accept, p);
    p->resume = evtimer_new(r->base, on_resume_accept, p);
    INVARIANT(p->accepting && p->resume && event_add(p->accepting, NULL) == 0);
}

/* --- the role's callbacks --- */

bool front_message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct front *f = front_of(r);
    struct conn *c;
    struct slice text;
    enum err_code code;

    (void)instance, (void)ch, (void)peer;
    if (in->type == IPC_AUTH_MECHANISMS) {
        text = ipc_get(in);
        if (!ipc_end(in))
            return false;
        free(f->mechanisms);
        f->mechanisms = slice_dup(text);
        return f->mechanisms != NULL;
    }
    c = find(f, ipc_get_u64(in));
    if (in->bad)
        return false;
    if (!c)
        return true; /* it went away meanwhile */
    switch (in->type) {
    case IPC_AUTH_CHALLENGE:
        text = ipc_get(in);
        if (!ipc_end(in))
            return false;
        if (c->step == CONN_AUTHENTICATING) {
            c->step = CONN_TALKING;
            f->ops->challenge(&c->pub, text);
        }
        return true;
    case IPC_AUTH_OK:
        return login_ok(c, in);
    case IPC_AUTH_REFUSED:
        return login_refused(c, in);
    case IPC_SESSION_TAKEN:
        if (!ipc_end(in))
            return false;
        hand_over_taken(c);
        return true;
    case IPC_SESSION_REFUSED:
        code = ipc_get_err(in);
        if (!ipc_end(in))
            return false;
        hand_over_refused(c, code);
        return true;
    case IPC_SESSION_KILL:
        if (!ipc_end(in))
            return false;
        hand_over_refused(c, ERR_UNAVAILABLE);
        return true;
    default:
        return f->ops->message && f->ops->message(&c->pub, in);
    }
}

/* Walks all connections; each may end the one it is given. */
static void each_conn(struct front *f, void (*each)(struct conn *c, enum role_id peer), enum role_id peer)
{
    for (size_t i = 0; i < f->nslots; i++)
        if (f->conns[i])
            each(f->conns[i], peer);
}

static void conn_peer_lost(struct conn *c, enum role_id peer)
{
    if (peer == ROLE_AUTHD && c->step == CONN_AUTHENTICATING)
        login_refuse_later(c, ERR_AUTH_BUSY, 0);
    else if (peer == c->pub.front->parent && c->step == CONN_HANDED)
        hand_over_refused(c, ERR_UNAVAILABLE);
    else if (c->pub.front->ops->peer_lost)
        c->pub.front->ops->peer_lost(&c->pub, peer);
}

static void conn_tell_open(struct conn *c, enum role_id peer)
{
    (void)peer;
    tell_parent(c, IPC_SESSION_OPEN);
}

void front_peer(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch)
{
    struct front *f = front_of(r);

    (void)instance;
    if (!ch)
        each_conn(f, conn_peer_lost, peer);
    else if (peer == f->parent) /* a new parent hears of those that are here */
        each_conn(f, conn_tell_open, peer);
}

void front_reloaded(struct role *r)
{
    /* sessions keep the settings and the TLS context they began with; new ones take the new: open_conn,
     * tls_for */
    (void)r;
}

static void conn_stop(struct conn *c, enum role_id peer)
{
    (void)peer;
    if (c->step != CONN_HANDED)
        conn_say_bye(c, ERR_UNAVAILABLE, false);
}

static void on_stop_check(evutil_socket_t fd, short what, void *arg)
{
    struct role *r = arg;
    struct front *f = front_of(r);
    struct timeval soon = {.tv_usec = 20000};

    (void)fd, (void)what;
    if (f->count == 0 && f->relayed == 0)
        event_base_loopexit(r->base, NULL);
    else
        event_base_once(r->base, -1, EV_TIMEOUT, on_stop_check, r, &soon);
}

void front_stop(struct role *r)
{
    struct front *f = front_of(r);
    struct timeval late = {.tv_sec = STOP_GRACE_S};

    if (f->stopping)
        return;
    f->stopping = true;
    for (size_t i = 0; i < f->nports; i++)
        event_del(f->ports[i].accepting);
    each_conn(f, conn_stop, ROLE_COUNT);
    event_base_loopexit(r->base, &late);
    on_stop_check(-1, 0, r);
}

void front_status(struct role *r, struct buf *json)
{
    struct front *f = front_of(r);

    buf_printf(json, "{\"connections\":%zu,\"relayed\":%llu,\"accepted\":%llu}", f->count,
        (unsigned long long)f->relayed, (unsigned long long)f->accepted);
}

int front_run(struct role *r, const struct front_ops *ops, enum role_id parent, struct err *e)
{
    struct front *f;
    uint32_t start;

    if (!r->tls)
        return err_set(e, ERR_CONFIG, "no certificates were sent");
    f = mem_zalloc(1, sizeof *f);
    f->role = r;
    f->ops = ops;
    f->parent = parent;
    /* the numbers of a front that ran before in its place must not mean sessions of this one: a late ticket
     * of authd */
    id_random(&start, sizeof start);
    f->serial = start;
    r->state = f;
    return 0;
}
