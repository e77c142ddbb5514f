/* Connections: connecting, the stream's callbacks, idling, closing. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "queue/sender_internal.h"

#define KEY_MAX ((size_t)32 * 1024)

/* --- to whom --- */

static void add_part(struct buf *key, struct slice part)
{
    buf_add_u64(key, part.n);
    buf_add_char(key, ':');
    buf_add(key, part);
}

/* All that a connection was made for. It starts with the host's name. */
static void write_key(struct buf *key, const struct sender_job *j, const struct route_target *t)
{
    buf_add(key, t->host);
    add_part(key, slice_of(t->ip, t->ip_len));
    buf_printf(key, "%u %d %d", t->port, t->security, t->implicit_tls);
    for (size_t i = 0; i < t->nnames; i++)
        add_part(key, t->names[i]);
    for (size_t i = 0; i < t->ntlsa; i++) {
        buf_printf(key, "%u %u %u", t->tlsa[i].usage, t->tlsa[i].selector, t->tlsa[i].matching);
        add_part(key, t->tlsa[i].data);
    }
    add_part(key, j->route.user);
    add_part(key, j->route.password);
    add_part(key, j->job.helo);
}

bool conn_fits(const struct sender_conn *c, const struct sender_job *j, const struct route_target *t)
{
    struct buf key = BUF_INIT(KEY_MAX);
    bool same;

    write_key(&key, j, t);
    same = !key.full && slice_eq(buf_slice(&key), buf_slice(&c->key));
    mem_wipe(key.p, key.size);
    buf_free(&key);
    return same;
}

static void write_label(struct buf *label, const struct route_target *t)
{
    char ip[INET6_ADDRSTRLEN] = "";

    inet_ntop(t->ip_len == 4 ? AF_INET : AF_INET6, t->ip, ip, sizeof ip);
    if (slice_eq(t->host, slice_str(ip)))
        buf_printf(label, "[%s]", ip);
    else
        buf_printf(label, "%.*s [%s]", SLICE_FMT(t->host), ip);
}

/* --- life --- */

static void conn_leave(struct sender_conn *c)
{
    if (--c->depth == 0 && c->dead)
        free(c);
}

void conn_free(struct sender_conn *c)
{
    if (c->dead)
        return;
    c->dead = true;
    event_del(&c->wait);
    if (c->fd >= 0)
        close(c->fd);
    if (c->stream)
        stream_free(c->stream);
    c->stream = NULL;
    if (c->job)
        c->job->conn = NULL;
    c->job = NULL;
    TAILQ_REMOVE(&c->sender->conns, c, all);
    c->sender->nconns--;
    mem_wipe(c->key.p, c->key.size);
    buf_free(&c->key);
    buf_free(&c->label);
    buf_free(&c->tls);
    c->depth++;
    conn_leave(c);
}

void conn_quit(struct sender_conn *c)
{
    struct stream *s = c->stream;

    if (s) {
        buf_add_str(stream_out(s), "QUIT\r\n");
        stream_close_after_flush(s);
        c->stream = NULL;
    }
    conn_free(c);
}

/* --- giving up --- */

static void failed(struct sender_conn *c, enum sender_failure kind, const char *status, struct slice text,
    enum schedule_class reason)
{
    struct sender_job *j = c->job;
    struct slice host = arena_copy(&j->arena, buf_slice(&c->label));
    /* QUIT has its place between commands only; who talks nonsense is not spoken to */
    bool is_polite = kind == FAIL_WORDS || kind == FAIL_NEEDS;
    bool was_sent = c->stage == STAGE_END && job_has(j, RCPT_ACCEPTED);

    if (was_sent || job_has(j, RCPT_DECIDED))
        job_note_server(j);
    if (is_polite && c->stream && c->stage < STAGE_DATA && c->stage != STAGE_HANDSHAKE)
        conn_quit(c);
    else
        conn_free(c);
    j->conn = NULL;
    if (was_sent) {
        /* Did it take the message or not? Once more, at another time: rather twice than never. */
        for (uint32_t i = 0; i < j->job.n; i++)
            if (j->state[i] == RCPT_ACCEPTED)
                job_decide_ours(j, i, SEND_DEFERRED, status, text);
        j->result.outcome = SEND_FAILED;
        j->result.reason = reason;
    }
    job_failed(j, kind, status, text, host, reason);
}

void conn_fail(struct sender_conn *c, enum sender_failure kind, const char *status, const char *fmt, ...)
{
    struct buf text = BUF_INIT(SEND_REPLY_MAX);
    enum schedule_class reason = kind == FAIL_TLS    ? SCHEDULE_TLS
                                 : kind < FAIL_WORDS ? SCHEDULE_CONNECT
                                                     : SCHEDULE_OTHER;
    struct slice kept;
    va_list ap;

    buf_add(&text, buf_slice(&c->label));
    buf_add_char(&text, ' ');
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    kept = arena_copy(&c->job->arena, buf_slice(&text));
    buf_free(&text);
    if (strcmp(status, "4.5.0") == 0)
        LOG(REMOTE_ODD, c->job->id, F_SLICE("host", buf_slice(&c->label)), F_SLICE("what", kept));
    if (kind == FAIL_TLS)
        LOG(REMOTE_TLS, c->job->id, F_SLICE("host", buf_slice(&c->label)),
            F_STR("asked", route_security_name(job_target(c->job)->security)), F_SLICE("what", kept));
    failed(c, kind, status, kept, reason);
}

void conn_fail_words(struct sender_conn *c, const struct reply *r)
{
    struct buf text = BUF_INIT(SEND_REPLY_MAX);
    struct slice kept;
    enum schedule_class reason;

    reply_text(r, SEND_REPLY_MAX, &text);
    kept = arena_copy(&c->job->arena, buf_slice(&text));
    buf_free(&text);
    reason = schedule_class_of(replies_explain(c->host, kept).reply_class);
    /* 554 for all is no verdict on a recipient: it is the destination that cannot be used (RFC 5321 3.1) */
    failed(c, FAIL_WORDS, NULL, kept, reason == SCHEDULE_OTHER || r->code >= 500 ? SCHEDULE_CONNECT : reason);
}

void conn_fail_tls(struct sender_conn *c, const char *what, struct slice said)
{
    struct sender_job *j = c->job;
    enum route_security security = job_target(j)->security;

    if (security != ROUTE_MAY_TLS) {
        conn_fail(c, FAIL_TLS, "4.7.5", "%s%s%.*s", what, said.n ? ": " : "", SLICE_FMT(said));
        return;
    }
    LOG(REMOTE_TLS, j->id, F_SLICE("host", buf_slice(&c->label)),
        F_STR("asked", route_security_name(security)), F_STR("what", what), F_SLICE("error", said),
        F_STR("next", "in clear"));
    conn_free(c);
    j->conn = NULL;
    j->in_clear = true;
    j->reused = false;
    if (!conn_open(j)) {
        j->in_clear = false;
        job_failed(j, FAIL_NONE, NULL, SLICE(""), SLICE(""), SCHEDULE_CONNECT);
    }
}

/* --- the stream's callbacks --- */

/* What waits behind what is awaited: nobody asked for it (security.md S04). What comes behind the last word
 * on a message takes nothing from that; the connection ends then. */
static bool spoke_out_of_turn(const struct sender_conn *c)
{
    return c->awaited == 0 && c->stage != STAGE_END && stream_input(c->stream).n > 0;
}

static void handle(struct sender_conn *c)
{
    struct buf *kept = &c->sender->reply;
    struct reply r;
    ssize_t n;

    while (!c->dead && c->stage != STAGE_IDLE && (n = reply_parse(stream_input(c->stream), &r)) != 0) {
        if (n < 0) {
            conn_fail(c, FAIL_BROKEN, "4.5.0", "said what is no reply of SMTP, at %s", stage_name(c->stage));
            return;
        }
        buf_clear(kept);
        buf_add(kept, r.raw);
        r.raw = buf_slice(kept);
        stream_consume(c->stream, (size_t)n);
        c->awaited -= c->awaited > 0;
        if (spoke_out_of_turn(c)) {
            conn_fail(c, FAIL_BROKEN, "4.5.0", "said more than it was asked, at %s", stage_name(c->stage));
            return;
        }
        stage_reply(c, &r);
    }
}

/* An idle connection's end: "421 timeout", or none of its words. */
static void end_idle(struct sender_conn *c)
{
    struct sender *s = c->sender;
    uint64_t number = c->number;

    conn_free(c);
    s->ops->closed(s->ctx, number);
}

static void on_input(void *ctx, struct stream *s)
{
    struct sender_conn *c = ctx;

    (void)s;
    c->depth++;
    if (c->stage == STAGE_IDLE)
        end_idle(c);
    else
        handle(c);
    conn_leave(c);
}

static void on_drained(void *ctx, struct stream *s)
{
    struct sender_conn *c = ctx;

    (void)s;
    c->depth++;
    if (c->stage == STAGE_TEXT)
        text_go_on(c);
    conn_leave(c);
}

static void on_secured(void *ctx, struct stream *s)
{
    struct sender_conn *c = ctx;
    const char *why, *verified = stream_tls_verified(s, &why);

    c->depth++;
    stream_tls_text(s, &c->tls);
    buf_printf(&c->tls, " verified=%s", verified);
    c->is_verified = strcmp(verified, "no") != 0;
    dialogue_secured(c);
    conn_leave(c);
}

static void on_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail)
{
    struct sender_conn *c = ctx;
    const char *stage = stage_name(c->stage);

    (void)s;
    c->depth++;
    if (c->stage == STAGE_IDLE)
        end_idle(c);
    else if (c->stage == STAGE_HANDSHAKE || c->stage == STAGE_STARTTLS)
        conn_fail_tls(
            c, "TLS failed", why == STREAM_TIMEOUT ? SLICE("no answer in time") : slice_str(detail));
    else if (why == STREAM_TIMEOUT)
        conn_fail(c, FAIL_BROKEN, "4.4.2", "was too slow at %s", stage);
    else if (why == STREAM_STALLED)
        conn_fail(c, FAIL_BROKEN, "4.4.2", "took nothing more at %s", stage);
    else if (why == STREAM_EOF)
        conn_fail(c, FAIL_BROKEN, "4.4.2", "closed the connection at %s", stage);
    else
        conn_fail(c, FAIL_BROKEN, "4.4.2", "broke the connection at %s: %s", stage, detail ? detail : "");
    conn_leave(c);
}

static const struct stream_ops ops = {
    .input = on_input, .drained = on_drained, .secured = on_secured, .ended = on_ended};

void conn_enter(struct sender_conn *c, enum sender_stage stage, unsigned more)
{
    unsigned seconds = stage_seconds(stage) + more;

    if (c->sender->patience && seconds > c->sender->patience)
        seconds = c->sender->patience;
    c->stage = stage;
    if (c->stream)
        stream_deadline(c->stream, seconds * 1000);
}

void conn_say(struct sender_conn *c, const char *fmt, ...)
{
    struct buf *out = stream_out(c->stream);
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(out, fmt, ap);
    va_end(ap);
    buf_add_str(out, "\r\n");
    stream_flush(c->stream);
    c->awaited = 1;
}

/* --- connecting --- */

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct sender_conn *c = arg;
    int error = ETIMEDOUT;
    socklen_t n = sizeof error;

    c->depth++;
    if ((what & EV_WRITE) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        error = errno;
    if (error) {
        conn_fail(c, FAIL_CONNECT, "4.4.1", "cannot be reached: %s", strerrordesc_np(error));
    } else {
        c->stream = stream_new(c->sender->base, fd, &ops, c);
        c->fd = -1;
        dialogue_begin(c);
    }
    conn_leave(c);
}

static int start_connect(const struct route_target *t)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } to = {0};
    socklen_t n = t->ip_len == 4 ? sizeof to.v4 : sizeof to.v6;
    int fd = socket(t->ip_len == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (t->ip_len == 4) {
        to.v4.sin_family = AF_INET;
        to.v4.sin_port = htons(t->port);
        memcpy(&to.v4.sin_addr, t->ip, 4);
    } else {
        to.v6.sin6_family = AF_INET6;
        to.v6.sin6_port = htons(t->port);
        memcpy(&to.v6.sin6_addr, t->ip, 16);
    }
    if (connect(fd, &to.any, n) < 0 && errno != EINPROGRESS) {
        int why = errno;

        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

struct sender_conn *conn_open(struct sender_job *j)
{
    struct sender *s = j->sender;
    const struct route_target *t = job_target(j);
    struct sender_conn *c;
    struct timeval limit = {stage_seconds(STAGE_CONNECT), 0};
    int fd = start_connect(t);

    if (fd < 0) {
        struct buf label = BUF_INIT(SEND_REPLY_MAX);
        const char *why = strerrordesc_np(errno);

        write_label(&label, t);
        job_note(j, FAIL_CONNECT, "4.4.1", job_printf(j, "%s cannot be reached: %s", buf_str(&label), why),
            arena_copy(&j->arena, buf_slice(&label)), SCHEDULE_CONNECT);
        buf_free(&label);
        return NULL;
    }
    c = mem_zalloc(1, sizeof *c);
    c->sender = s;
    c->job = j;
    j->conn = c;
    c->number = ++s->numbers;
    c->fd = fd;
    c->key = c->label = c->tls = BUF_INIT(KEY_MAX);
    write_key(&c->key, j, t);
    c->host = slice_sub(buf_slice(&c->key), 0, t->host.n);
    write_label(&c->label, t);
    TAILQ_INSERT_TAIL(&s->conns, c, all);
    s->nconns++;
    if (s->patience && limit.tv_sec > s->patience)
        limit.tv_sec = s->patience;
    INVARIANT(event_assign(&c->wait, s->base, fd, EV_WRITE, on_connected, c) == 0 &&
              event_add(&c->wait, &limit) == 0);
    return c;
}

/* --- idling --- */

static void on_idle_end(evutil_socket_t fd, short what, void *arg)
{
    struct sender_conn *c = arg;
    struct sender *s = c->sender;
    uint64_t number = c->number;

    (void)fd, (void)what;
    conn_quit(c);
    s->ops->closed(s->ctx, number);
}

uint64_t conn_idle(struct sender_conn *c)
{
    struct timeval limit = {SEND_IDLE_SECONDS, 0};

    c->job->conn = NULL;
    c->job = NULL;
    if (c->messages >= SENDER_MESSAGES_MAX || c->sender->winding_down || c->key.full) {
        conn_quit(c);
        return 0;
    }
    c->stage = STAGE_IDLE;
    stream_deadline(c->stream, 0);
    INVARIANT(event_assign(&c->wait, c->sender->base, -1, 0, on_idle_end, c) == 0 &&
              event_add(&c->wait, &limit) == 0);
    return c->number;
}
