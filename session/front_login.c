/* Logins by authd, and giving the session to the parent's worker. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "session/front_internal.h"

/* --- login --- */

const char *front_mechanisms(const struct front_conn *c)
{
    return c->may_log_in && c->front->mechanisms ? c->front->mechanisms : "";
}

static void on_refusal_due(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd, (void)what;
    if (c->step != CONN_REFUSED)
        return;
    c->step = CONN_TALKING;
    stream_resume(c->pub.stream);
    c->pub.front->ops->refused_auth(&c->pub, c->refusal);
}

void login_refuse_later(struct conn *c, enum err_code code, uint64_t microseconds)
{
    struct timeval tv = {
        .tv_sec = (time_t)(microseconds / 1000000), .tv_usec = (suseconds_t)(microseconds % 1000000)};

    c->step = CONN_REFUSED;
    c->refusal = code;
    stream_pause(c->pub.stream);
    if (!c->delay)
        c->delay = evtimer_new(c->pub.front->role->base, on_refusal_due, c);
    INVARIANT(c->delay);
    evtimer_add(c->delay, &tv);
}

static void auth_send(struct conn *c, struct ipc_out *out)
{
    c->step = CONN_AUTHENTICATING;
    if (!role_peer(c->pub.front->role, ROLE_AUTHD, 0)) {
        ipc_send(NULL, out);
        login_refuse_later(c, ERR_AUTH_BUSY, 0);
        return;
    }
    front_send(&c->pub, ROLE_AUTHD, out);
}

static void auth_head(struct conn *c, struct ipc_out *out, enum ipc_type type)
{
    ipc_begin(out, type);
    ipc_put_u64(out, c->pub.session);
    ipc_put_str(out, c->pub.sid.text);
    ipc_put_str(out, c->pub.front->ops->alpn);
}

void front_auth_start(struct front_conn *pub, struct slice mechanism, bool has_initial, struct slice initial)
{
    struct conn *c = conn_of(pub);
    struct ipc_out out;

    auth_head(c, &out, IPC_AUTH_START);
    ipc_put(&out, mechanism);
    ipc_put_str(&out, pub->ip);
    ipc_put_u64(&out, pub->is_tls);
    ipc_put_u64(&out, has_initial);
    ipc_put(&out, initial);
    auth_send(c, &out);
}

void front_auth_step(struct front_conn *pub, struct slice data)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_AUTH_STEP);
    ipc_put_u64(&out, pub->session);
    ipc_put(&out, data);
    auth_send(conn_of(pub), &out);
}

void front_auth_cancel(struct front_conn *pub)
{
    struct conn *c = conn_of(pub);
    struct ipc_out out;

    ipc_begin(&out, IPC_AUTH_CANCEL);
    ipc_put_u64(&out, pub->session);
    front_send(pub, ROLE_AUTHD, &out);
    c->step = CONN_TALKING;
}

void front_auth_login(struct front_conn *pub, struct slice user, struct slice password)
{
    struct conn *c = conn_of(pub);
    struct ipc_out out;

    auth_head(c, &out, IPC_AUTH_LOGIN);
    ipc_put_str(&out, pub->ip);
    ipc_put_u64(&out, pub->is_tls);
    ipc_put(&out, user);
    ipc_put(&out, password);
    auth_send(c, &out);
}

bool login_ok(struct conn *c, struct ipc_in *in)
{
    struct slice account = ipc_get(in), ticket = ipc_get(in), final = ipc_get(in);

    if (!ipc_end(in) || ticket.n != TICKET_LEN)
        return false;
    if (c->step != CONN_AUTHENTICATING)
        return true;
    memcpy(c->ticket, ticket.p, TICKET_LEN);
    c->step = CONN_TALKING;
    conn_unlist(c->pub.front, c);
    c->pub.front->ops->authenticated(&c->pub, account, final);
    return true;
}

bool login_refused(struct conn *c, struct ipc_in *in)
{
    enum err_code code = ipc_get_err(in);
    uint64_t us = ipc_get_u64(in);

    if (!ipc_end(in) || us > 60000000)
        return false;
    if (c->step != CONN_AUTHENTICATING)
        return true;
    c->pub.failures++;
    login_refuse_later(c, code, us);
    return true;
}

void front_starttls(struct front_conn *c)
{
    stream_start_tls(c->stream, conn_tls(conn_of(c)), c->front->ops->alpn, true);
}

/* --- handing over --- */

void front_hand_over(struct front_conn *pub, struct slice tag)
{
    struct conn *c = conn_of(pub);
    struct buf left = BUF_INIT(IPC_MAX), tls = BUF_INIT(256);
    struct ipc_out out;
    int fd = -1, pair[2];

    c->step = CONN_HANDED;
    stream_deadline(pub->stream, 0);
    if (!role_peer(pub->front->role, pub->front->parent, 0)) {
        conn_say_bye(c, ERR_UNAVAILABLE, false);
        return;
    }
    if (pub->is_tls) {
        stream_tls_text(pub->stream, &tls);
        stream_pause(pub->stream);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
            conn_say_bye(c, ERR_UNAVAILABLE, false);
            return;
        }
        c->inner = stream_new(pub->front->role->base, pair[0], &conn_stream_ops, c);
        stream_pause(c->inner);
        fd = pair[1];
    } else {
        fd = stream_detach(pub->stream, &left);
        if (fd < 0) {
            conn_say_bye(c, ERR_UNAVAILABLE, false);
            return;
        }
        pub->stream = NULL;
        c->spare = dup(fd);
    }
    ipc_begin(&out, IPC_SESSION_TAKE);
    ipc_put_u64(&out, pub->session);
    ipc_put(&out, slice_of(c->ticket, TICKET_LEN));
    ipc_put(&out, tag);
    ipc_put(&out, buf_slice(&left));
    ipc_put(&out, buf_slice(&tls));
    ipc_put_fd(&out, fd);
    front_send(pub, pub->front->parent, &out);
    buf_free(&left);
    buf_free(&tls);
}

static void on_relay_ended(void *ctx)
{
    struct front *f = ctx;

    f->relayed--;
}

void hand_over_taken(struct conn *c)
{
    struct front *f = c->pub.front;

    if (c->step != CONN_HANDED)
        return;
    if (c->inner && c->pub.stream) {
        f->relayed++;
        stream_relay(c->pub.stream, c->inner, on_relay_ended, f);
    }
    c->inner = NULL;
    c->pub.stream = NULL;
    conn_forget(c, false); /* from now on the worker tells the parent when it ends */
}

void hand_over_refused(struct conn *c, enum err_code code)
{
    if (c->spare >= 0) { /* the socket had been given away: a stream again, to say why */
        c->pub.stream = stream_new(c->pub.front->role->base, c->spare, &conn_stream_ops, c);
        c->spare = -1;
    }
    LOG(REFUSED, c->pub.sid.text, F_STR("ip", c->pub.ip), F_STR("why", err_row(code)->text));
    conn_say_bye(c, code, false);
}
