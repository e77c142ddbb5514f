/*
 * queued: the outbound queue: spool, state, schedule, routes, bounces, signatures. No network.
 * man/postamt-queued.8
 */
#include "queue/queued.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "mail/address.h"

#define WRITERS 8
#define WRITING_MAX 1000 /* messages that wait for a writer */
#define STOP_SECONDS 3

/* --- clocks --- */

int64_t queued_now(const struct queued *q)
{
    return (int64_t)time(NULL) + q->ahead;
}

int64_t queued_ms(const struct queued *q)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + q->ahead * 1000;
}

void queued_advance(struct queued *q, int64_t seconds)
{
    q->ahead += seconds;
    queued_work_soon(q);
}

static int64_t router_now(void *ctx)
{
    return queued_now(ctx);
}

/* --- addresses that refused mail --- */

static bool normalise(struct slice address, struct buf *out)
{
    struct address a;
    struct arena arena;
    bool ok;

    arena_init(&arena, 4096);
    ok = address_parse(address, &arena, &a) == ADDRESS_OK && address_normalise(&a, out);
    arena_free(&arena);
    return ok;
}

bool queued_is_suppressed(struct queued *q, struct slice address, struct suppress_entry *out)
{
    struct buf name = BUF_INIT(1024);
    bool found =
        normalise(address, &name) && suppress_find(q->suppress, buf_slice(&name), queued_now(q), out);

    buf_free(&name);
    return found;
}

void queued_suppress(struct queued *q, struct slice address, struct slice host, struct slice reply)
{
    struct buf name = BUF_INIT(1024);
    int64_t now = queued_now(q);

    if (normalise(address, &name)) {
        struct suppress_entry s = {.address = buf_slice(&name),
            .since = now,
            .until = now + SUPPRESS_LIFE,
            .host = host,
            .reply = reply};

        suppress_add(q->suppress, &s);
    }
    buf_free(&name);
}

/* --- work --- */

static _Noreturn void end_for(const char *id, const char *why)
{
    LOG(QUEUE_STATE, id, F_STR("error", why));
    _exit(EXIT_FAILURE);
}

bool queued_state_get(
    struct queued *q, const struct id *id, uint32_t index, struct buf *hold, struct state_recipient *out)
{
    struct err e = {0};
    int got = state_get(q->state, id, index, hold, out, &e);

    if (got < 0)
        end_for(id->text, e.detail);
    return got == 1;
}

void queued_commit(struct queued *q)
{
    struct err e = {0};

    if (state_waiting(q->state) == 0 || state_commit(q->state, &e) == 0)
        return;
    if (!state_is_alive(q->state))
        end_for(NULL, e.detail);
    LOG(QUEUE_STATE, NULL, F_STR("error", e.detail)); /* they stay, for the next time */
}

void queued_work_soon(struct queued *q)
{
    struct timeval at_once = {0};

    if (!q->is_working)
        evtimer_add(q->work, &at_once);
}

static void sleep_until(struct queued *q, int64_t ms)
{
    const struct due *due = due_first(&q->dues);
    int64_t wait = ms == INT64_MAX ? INT64_MAX : ms - queued_ms(q), other;
    struct timeval tv;

    if (due) {
        other = due->when - queued_now(q);
        other = other < 0 ? 0 : 1000 * (other < 86400 ? other : 86400);
        wait = other < wait ? other : wait;
    }
    if (wait == INT64_MAX)
        return;
    wait = wait < 0 ? 0 : wait < 86400000 ? wait : 86400000;
    tv = (struct timeval){.tv_sec = (time_t)(wait / 1000), .tv_usec = (suseconds_t)(wait % 1000 * 1000)};
    evtimer_add(q->work, &tv);
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
    struct queued *q = arg;
    struct schedule_entry *e;

    (void)fd, (void)what;
    if (!q->has_loaded)
        return;
    q->is_working = true;
    queued_commit(q);
    table_due(q);
    queued_commit(q);
    notify_work(q);
    while (!q->stopping && (e = schedule_take(q->schedule, queued_ms(q))))
        run_start(q, (struct job *)e);
    queued_commit(q);
    q->is_working = false;
    sleep_until(q, q->stopping ? INT64_MAX : schedule_wake(q->schedule, queued_ms(q)));
}

static void on_minute(evutil_socket_t fd, short what, void *arg)
{
    struct queued *q = arg;
    struct err e = {0};

    (void)fd, (void)what;

    if (suppress_save(q->suppress, queued_now(q), &e) < 0)
        LOG(QUEUE_STATE, NULL, F_STR("error", e.detail));
    state_checkpoint(q->state);
    schedule_sweep(q->schedule, queued_ms(q));
}

/* --- the role --- */

static bool is_ours(void *ctx, struct slice domain)
{
    struct queued *q = ctx;

    return keys_is_ours(q->keys, domain);
}

static void fetch(
    void *ctx, uint64_t question, struct slice host, const struct dns_record *addresses, size_t n)
{
    struct queued *q = ctx;
    struct ipc_out out;

    ipc_begin(&out, IPC_FETCH);
    ipc_put_u64(&out, question);
    ipc_put(&out, host);
    ipc_put_u64(&out, n);
    for (size_t i = 0; i < n; i++)
        ipc_put(&out, slice_of(addresses[i].ip, addresses[i].ip_len));
    ipc_send(role_peer(q->role, ROLE_FETCHD, 0), &out);
}

static void set_rules(struct queued *q)
{
    const struct settings *s = q->role->settings;

    q->rules = schedule_default_rules();
    q->rules.life = (int64_t)s->queue_life_s;
    q->rules.warn = (int64_t)s->queue_warn_s;
    q->rules.concurrency = s->queue_per_destination;
    q->rules.total = s->queue_connections;
    q->rules.rate = s->queue_rate;
    q->rules.total_rate = s->queue_total_rate;
}

static int open_files(struct queued *q, struct err *e)
{
    const struct settings *s = q->role->settings;
    char *state_dir = mem_printf("%s/state", s->queue_dir);
    size_t rebuilt = 0;
    int rc = -1;

    q->folder = fs_open_root(s->queue_dir);
    if (q->folder < 0) {
        err_errno(e, s->queue_dir);
    } else if ((q->spool = spool_open(s->queue_dir, e)) && (q->suppress = suppress_open(s->queue_dir, e)) &&
               (q->state = state_open(state_dir, q->spool, &rebuilt, e))) {
        rc = 0;
    }
    free(state_dir);
    return rc;
}

static int prepare(struct role *r, struct err *e)
{
    (void)r, (void)e;
    control_prepare();
    return 0;
}

static int run(struct role *r, struct err *e)
{
    struct queued *q = mem_zalloc(1, sizeof *q);
    const char *test = getenv("POSTAMT_TEST_CLOCK");
    struct timeval minute = {.tv_sec = SWEEP_SECONDS};
    struct router_ops router = {.is_ours = is_ours, .fetch = fetch, .now = router_now, .ctx = q};

    q->role = r;
    q->has_test_clock = test && strcmp(test, "1") == 0;
    q->last_notice = &q->notices;
    if (open_files(q, e) < 0)
        return -1;
    set_rules(q);
    q->keys = keys_new();
    q->schedule = schedule_new(&q->rules);
    q->dns = dns_new(r->base);
    q->router = router_new(r->base, q->dns, r->settings, buf_slice(&r->secrets), q->folder, &router);
    q->writers = pool_new(r->base, WRITERS, WRITING_MAX);
    q->syncer = pool_new(r->base, 1, 2);
    q->work = evtimer_new(r->base, on_work, q);
    q->minute = event_new(r->base, -1, EV_PERSIST, on_minute, q);
    INVARIANT(q->work && q->minute && event_add(q->minute, &minute) == 0);
    r->state = q;
    return 0;
}

/* The domains are known: who goes where can be said. */
static bool domains_complete(struct queued *q, struct ipc_in *in)
{
    struct err e = {0};

    if (!ipc_end(in))
        return false;
    if (q->has_loaded)
        return true;
    q->has_loaded = true;
    if (table_load(q, &e) < 0) {
        LOG(QUEUE_STATE, NULL, F_STR("error", e.detail));
        mem_panic(
            "the state of the queue cannot be read", __FILE__, __LINE__); /* the next start rebuilds it */
    }
    LOG(START, NULL, F_STR("what", "the queue"), F_U64("messages", q->messages.count));
    queued_work_soon(q);
    return true;
}

static bool message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct queued *q = r->state;

    switch (peer) {
    case ROLE_SMTPD_PARENT:
        return in->type == IPC_ENQUEUE    ? accept_enqueue(q, ch, in)
               : in->type == IPC_INJECTED ? inject_message(q, in)
                                          : false;
    case ROLE_AUTHD:
        return in->type == IPC_DOMAIN_KEYS       ? keys_message(q->keys, in)
               : in->type == IPC_DOMAIN_KEYS_END ? domains_complete(q, in)
                                                 : false;
    case ROLE_SENDER:
        return run_sender_message(q, instance, in);
    case ROLE_RESOLVERD:
        return in->type == IPC_DNS_ANSWER && dns_message(q->dns, in);
    case ROLE_FETCHD:
        return in->type == IPC_FETCHED && router_fetched(q->router, in);
    default:
        return false;
    }
}

static void peer(struct role *r, enum role_id id, unsigned instance, struct ipc *ch)
{
    struct queued *q = r->state;

    if (id == ROLE_RESOLVERD)
        dns_connect(q->dns, ch);
    if (id == ROLE_SMTPD_PARENT && !ch)
        inject_parent_gone(q);
    if (id == ROLE_SENDER && instance < SENDERS_MAX) {
        q->senders[instance].is_there = ch != NULL;
        if (!ch)
            run_sender_gone(q, instance);
        queued_work_soon(q);
    }
}

static void listener(struct role *r, unsigned index, int fd)
{
    (void)index;
    control_listen(r->state, fd);
}

static bool collect_all(void *ctx, struct slice key, void *value)
{
    struct id **at = ctx;

    (void)key;
    *(*at)++ = ((struct message *)value)->id;
    return true;
}

/* Other routes, other times: every message is looked at anew, with what its records say. */
static void reloaded(struct role *r)
{
    struct queued *q = r->state;
    size_t n = q->messages.count;
    struct id *ids = mem_zalloc(n + 1, sizeof *ids), *end = ids;

    set_rules(q);
    schedule_set_rules(q->schedule, &q->rules);
    router_set_settings(q->router, r->settings, buf_slice(&r->secrets));
    run_drop_idle(q);
    hmap_walk(&q->messages, collect_all, &end);
    for (size_t i = 0; i < n; i++)
        table_look_again(q, &ids[i]);
    free(ids);
    queued_work_soon(q);
}

/* Threads may still write: what they have not said is not acknowledged. */
static void leave(evutil_socket_t fd, short what, void *arg)
{
    struct queued *q = arg;
    struct err e = {0};

    (void)fd, (void)what;
    queued_commit(q);
    if (suppress_save(q->suppress, queued_now(q), &e) < 0)
        LOG(QUEUE_STATE, NULL, F_STR("error", e.detail));
    state_close(q->state);
    _exit(0);
}

static void on_stop_check(evutil_socket_t fd, short what, void *arg)
{
    struct queued *q = arg;
    struct timeval soon = {.tv_usec = 20000};

    (void)fd, (void)what;
    accept_sync(q);
    if (q->runs || q->is_syncing || q->placed || q->notifying) {
        event_base_once(q->role->base, -1, EV_TIMEOUT, on_stop_check, q, &soon);
        return;
    }
    leave(-1, 0, q);
}

/* What is being sent has a moment to be told of: a message is not sent twice for a restart. */
static void stop(struct role *r)
{
    struct queued *q = r->state;
    struct timeval late = {.tv_sec = STOP_SECONDS};

    if (q->stopping)
        return;
    q->stopping = true;
    event_base_once(r->base, -1, EV_TIMEOUT, leave, q, &late);
    on_stop_check(-1, 0, q);
}

struct numbers {
    size_t recipients, deferred, held;
};

static bool count(void *ctx, struct slice key, void *value)
{
    const struct message *m = value;
    struct numbers *n = ctx;

    (void)key;
    n->recipients += m->pending;
    n->held += m->hold;
    for (const struct job *j = m->jobs; j; j = j->next)
        if (j->place->why) {
            n->deferred++;
            break;
        }
    return true;
}

static void status(struct role *r, struct buf *json)
{
    struct queued *q = r->state;
    struct numbers n = {0};

    hmap_walk(&q->messages, count, &n);
    buf_printf(json,
        "{\"messages\":%zu,\"recipients\":%zu,\"active\":%zu,\"deferred\":%zu,\"held\":%zu,\"loaded\":%s}",
        q->messages.count, n.recipients, q->nruns, n.deferred, n.held, q->has_loaded ? "true" : "false");
}

static const struct role_ops ops = {
    .id = ROLE_QUEUED,
    .prepare = prepare,
    .run = run,
    .message = message,
    .peer = peer,
    .listener = listener,
    .reloaded = reloaded,
    .stop = stop,
    .status = status,
};

int main(int argc, char **argv)
{
    static const struct role_ops *const list[] = {&ops, NULL};

    return role_main(argc, argv, list);
}
