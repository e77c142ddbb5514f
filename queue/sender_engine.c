/* Jobs: which target is next, what each recipient's verdict is. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "mail/address.h"
#include "queue/sender_internal.h"

/* The route's arrays, replies of all recipients, and sentences of ours about each target. */
#define JOB_ARENA                                                                                            \
    (ROUTE_ARENA + (size_t)(SEND_RECIPIENTS_MAX + 4 * ROUTE_TARGETS_MAX) * (SEND_REPLY_MAX + 64))

struct sender *sender_new(struct event_base *base, struct tls_context *tls, unsigned patience,
    const struct sender_ops *ops, void *ctx)
{
    struct sender *s = mem_zalloc(1, sizeof *s);

    s->base = base;
    s->tls = tls_context_ref(tls);
    s->patience = patience;
    s->ops = ops;
    s->ctx = ctx;
    TAILQ_INIT(&s->jobs);
    TAILQ_INIT(&s->conns);
    buf_init(&s->reply, REPLY_OCTETS);
    return s;
}

static void job_unlink(struct sender_job *j)
{
    TAILQ_REMOVE(&j->sender->jobs, j, all);
    j->sender->njobs--;
}

static void job_free(struct sender_job *j)
{
    close(j->fd);
    arena_free(&j->arena);
    mem_wipe(j->octets.p, j->octets.size); /* a password may be in it */
    buf_free(&j->octets);
    free(j);
}

void sender_free(struct sender *s)
{
    struct sender_job *j;

    while (!TAILQ_EMPTY(&s->conns))
        conn_free(TAILQ_FIRST(&s->conns));
    while ((j = TAILQ_FIRST(&s->jobs))) {
        job_unlink(j);
        job_free(j);
    }
    tls_context_free(s->tls);
    buf_free(&s->reply);
    free(s);
}

size_t sender_jobs(const struct sender *s)
{
    return s->njobs;
}

size_t sender_connections(const struct sender *s)
{
    return s->nconns;
}

/* --- verdicts --- */

struct slice job_printf(struct sender_job *j, const char *fmt, ...)
{
    struct buf text = BUF_INIT(SEND_REPLY_MAX);
    struct slice kept;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    kept = arena_copy(&j->arena, buf_slice(&text));
    buf_free(&text);
    return kept;
}

void job_note_server(struct sender_job *j)
{
    const struct sender_conn *c = j->conn;

    j->result.host = arena_copy(&j->arena, buf_slice(&c->label));
    j->result.tls = arena_copy(&j->arena, buf_slice(&c->tls));
}

static enum schedule_class class_of(struct slice host, struct slice text)
{
    return schedule_class_of(replies_explain(host, text).reply_class);
}

void job_decide(struct sender_job *j, uint32_t i, int code, struct slice text)
{
    enum send_verdict verdict = SEND_REFUSED;

    if (code < 300)
        verdict = j->conn && j->conn->offers.dsn ? SEND_DELIVERED : SEND_RELAYED;
    else if (code < 500)
        verdict = SEND_DEFERRED;
    job_decide_ours(j, i, verdict, NULL, text);
    j->result.rcpt[i].is_remote = true;
    if (verdict == SEND_DEFERRED)
        j->result.reason = class_of(job_target(j)->host, text);
}

void job_decide_ours(
    struct sender_job *j, uint32_t i, enum send_verdict verdict, const char *status, struct slice text)
{
    j->state[i] = RCPT_DECIDED;
    j->result.rcpt[i].verdict = verdict;
    j->result.rcpt[i].status = status;
    j->result.rcpt[i].reply = text;
}

uint32_t job_next(const struct sender_job *j, enum rcpt_state state, uint32_t from)
{
    while (from < j->job.n && j->state[from] != state)
        from++;
    return from;
}

bool job_has(const struct sender_job *j, enum rcpt_state state)
{
    return job_next(j, state, 0) < j->job.n;
}

static void answer(struct sender_job *j)
{
    struct sender *s = j->sender;

    job_unlink(j);
    s->ops->done(s->ctx, &j->result);
    job_free(j);
}

void job_done(struct sender_job *j)
{
    if (j->conn) {
        job_note_server(j);
        j->result.connection = conn_idle(j->conn);
    }
    answer(j);
}

/* No target is left. */
static void give_up(struct sender_job *j)
{
    bool refused = j->failure.kind == FAIL_NEEDS;

    for (uint32_t i = 0; i < j->job.n; i++) {
        if (j->state[i] == RCPT_DECIDED)
            continue;
        job_decide_ours(j, i, refused ? SEND_REFUSED : SEND_DEFERRED, j->failure.status, j->failure.text);
        j->result.rcpt[i].is_remote = j->failure.kind == FAIL_WORDS;
    }
    if (j->result.host.n == 0)
        j->result.host = j->failure.host;
    j->result.reason = j->failure.reason;
    j->result.outcome = refused || j->failure.kind == FAIL_LOCAL ? SEND_DONE : SEND_FAILED;
    answer(j);
}

/* --- targets --- */

static void try_targets(struct sender_job *j)
{
    while (j->target < j->route.ntargets) {
        if (conn_open(j))
            return;
        j->target++;
    }
    give_up(j);
}

void job_note(struct sender_job *j, enum sender_failure kind, const char *status, struct slice text,
    struct slice host, enum schedule_class reason)
{
    if (kind < j->failure.kind)
        return;
    j->failure.kind = kind;
    j->failure.status = status;
    j->failure.text = text;
    j->failure.host = host;
    j->failure.reason = reason;
}

void job_failed(struct sender_job *j, enum sender_failure kind, const char *status, struct slice text,
    struct slice host, enum schedule_class reason)
{
    for (uint32_t i = 0; i < j->job.n; i++)
        if (j->state[i] == RCPT_ACCEPTED)
            j->state[i] = RCPT_PENDING;
    if (!job_has(j, RCPT_PENDING)) {
        answer(j);
        return;
    }
    if (kind == FAIL_LOCAL) {
        job_note(j, kind, status, text, host, reason);
        give_up(j);
        return;
    }
    if (j->reused) {
        /* closed while it idled: that says nothing of the destination */
        j->reused = false;
        j->target = 0;
    } else {
        job_note(j, kind, status, text, host, reason);
        j->in_clear = false;
        j->target++;
    }
    try_targets(j);
}

/* --- from queued --- */

/* What no command can hold is refused here; how a path is quoted was the business of who took it in. */
static void check_addresses(struct sender_job *j)
{
    struct arena arena;
    struct address a;
    bool path_ok;

    arena_init(&arena, SEND_OCTETS_MAX);
    path_ok = j->job.reverse_path.n == 0 || address_parse(j->job.reverse_path, &arena, &a) == ADDRESS_OK;
    j->is_utf8 = j->job.smtputf8 || (path_ok && j->job.reverse_path.n && a.is_utf8);
    for (uint32_t i = 0; i < j->job.n; i++) {
        arena_reset(&arena);
        if (path_ok && address_parse(j->job.rcpt[i].address, &arena, &a) == ADDRESS_OK)
            j->is_utf8 |= a.is_utf8;
        else
            job_decide_ours(j, i, SEND_REFUSED, "5.1.3",
                SLICE("the address cannot be written in SMTP; the sender should check it"));
    }
    arena_free(&arena);
}

/* The connection that queued names, if it is still there and the route agrees. */
static struct sender_conn *take_idle(struct sender_job *j)
{
    struct sender_conn *c;

    TAILQ_FOREACH(c, &j->sender->conns, all)
    {
        if (c->number == j->job.connection && c->stage == STAGE_IDLE && !c->dead)
            break;
    }
    if (!c)
        return NULL;
    for (j->target = 0; j->target < j->route.ntargets; j->target++)
        if (conn_fits(c, j, job_target(j)))
            return c;
    j->target = 0;
    conn_quit(c);
    return NULL;
}

static struct sender_job *job_new(struct sender *s, struct ipc_in *in)
{
    struct sender_job *j = mem_zalloc(1, sizeof *j);
    struct ipc_in copy = *in;

    j->sender = s;
    buf_init(&j->octets, IPC_MAX);
    buf_add(&j->octets, in->rest);
    copy.rest = buf_slice(&j->octets);
    arena_init(&j->arena, JOB_ARENA);
    if (!send_job_get(&copy, &j->arena, &j->job, &j->route, &j->fd)) {
        arena_free(&j->arena);
        buf_free(&j->octets);
        free(j);
        return NULL;
    }
    in->taken = copy.taken;
    memcpy(j->id, j->job.id.p, ID_LEN);
    j->result.id = j->job.id;
    j->result.reason = SCHEDULE_OTHER;
    j->result.n = j->job.n;
    for (uint32_t i = 0; i < j->job.n; i++)
        j->result.rcpt[i].index = j->job.rcpt[i].index;
    TAILQ_INSERT_TAIL(&s->jobs, j, all);
    s->njobs++;
    return j;
}

bool sender_send(struct sender *s, struct ipc_in *in)
{
    struct sender_job *j = job_new(s, in);
    struct sender_conn *c;

    if (!j)
        return false;
    check_addresses(j);
    if (!job_has(j, RCPT_PENDING)) {
        job_done(j);
    } else if (j->job.connection && (c = take_idle(j))) {
        j->reused = true;
        j->conn = c;
        c->job = j;
        dialogue_job(c);
    } else {
        try_targets(j);
    }
    return true;
}

void sender_close(struct sender *s, uint64_t connection)
{
    struct sender_conn *c;

    TAILQ_FOREACH(c, &s->conns, all)
    {
        if (c->number == connection && c->stage == STAGE_IDLE && !c->dead) {
            conn_quit(c);
            return;
        }
    }
}

void sender_wind_down(struct sender *s)
{
    struct sender_conn *c, *next;

    s->winding_down = true;
    for (c = TAILQ_FIRST(&s->conns); c; c = next) {
        next = TAILQ_NEXT(c, all);
        if (c->stage == STAGE_IDLE && !c->dead)
            conn_quit(c);
    }
}
