/* sender: carries messages to other servers by SMTP; no files. man/postamt-sender.8 */
#include "queue/sender.h"

#include <signal.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/role.h"
#include "common/tls.h"

struct state {
    struct sender *engine;
    struct tls_context *tls;
    unsigned patience;
    bool stopping;
};

static void end_if_done(struct role *r)
{
    struct state *s = r->state;

    if (s->stopping && sender_jobs(s->engine) == 0)
        event_base_loopexit(r->base, NULL);
}

static void done(void *ctx, const struct send_result *result)
{
    struct role *r = ctx;
    struct ipc_out out;

    send_result_put(&out, result);
    ipc_send(role_peer(r, ROLE_QUEUED, 0), &out);
    end_if_done(r);
}

static void closed(void *ctx, uint64_t connection)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_SEND_CLOSED);
    ipc_put_u64(&out, connection);
    ipc_send(role_peer(ctx, ROLE_QUEUED, 0), &out);
}

static const struct sender_ops engine_ops = {.done = done, .closed = closed};

/* The authorities are read while files can be opened. */
static int prepare(struct role *r, struct err *e)
{
    static struct state state;
    struct err why = {0};

    (void)e;
    state.tls = tls_context_new_client(r->settings->outbound_ca_file, &why);
    if (why.code != ERR_OK)
        LOG(CERTIFICATE, NULL, F_STR("error", why.detail));
    r->state = &state;
    return 0;
}

static int run(struct role *r, struct err *e)
{
    struct state *s = r->state;
    const char *patience = getenv("POSTAMT_SENDER_PATIENCE"); /* for tests: seconds that a stage may last */
    uint64_t seconds = 0;

    (void)e;
    slice_u64(slice_str(patience), 3600, &seconds);
    s->patience = (unsigned)seconds;
    signal(SIGPIPE, SIG_IGN);
    s->engine = sender_new(r->base, s->tls, s->patience, &engine_ops, r);
    return 0;
}

static bool message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct state *s = r->state;
    uint64_t connection;

    (void)peer, (void)instance, (void)ch;
    if (in->type == IPC_SEND)
        return sender_send(s->engine, in);
    if (in->type != IPC_SEND_CLOSE)
        return false;
    connection = ipc_get_u64(in);
    if (!ipc_end(in))
        return false;
    sender_close(s->engine, connection);
    return true;
}

/* Whoever gave the jobs is gone, and tries them again when it is back. */
static void peer(struct role *r, enum role_id id, unsigned instance, struct ipc *ch)
{
    struct state *s = r->state;

    (void)id, (void)instance;
    if (ch)
        return;
    sender_free(s->engine);
    s->engine = sender_new(r->base, s->tls, s->patience, &engine_ops, r);
    end_if_done(r);
}

static void stop(struct role *r)
{
    struct state *s = r->state;

    s->stopping = true;
    sender_wind_down(s->engine);
    end_if_done(r);
}

static void status(struct role *r, struct buf *json)
{
    const struct state *s = r->state;

    buf_printf(
        json, "{\"jobs\":%zu,\"connections\":%zu}", sender_jobs(s->engine), sender_connections(s->engine));
}

static const struct role_ops ops = {
    .id = ROLE_SENDER,
    .prepare = prepare,
    .run = run,
    .message = message,
    .peer = peer,
    .stop = stop,
    .status = status,
};

int main(int argc, char **argv)
{
    static const struct role_ops *const list[] = {&ops, NULL};

    return role_main(argc, argv, list);
}
