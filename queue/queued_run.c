/*
 * Jobs whose turn it is: the message's file is opened, the route found, a sender gets both; what it says is
 * noted for each recipient. A job for mailboxes here goes to smtpd's parent instead. One run holds one slot
 * of the schedule from schedule_take to schedule_done.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "queue/queued.h"
#include "queue/textfile.h"

#define POSTPONE 10 /* seconds: something of ours was away; nobody else is to blame */

struct run {
    struct run *next;
    struct queued *q;
    struct job *job;
    struct spool_message file;
    uint32_t at; /* of the job's recipients: those before had their turn */
    uint32_t n;  /* the batch that is under way */
    uint32_t index[SEND_RECIPIENTS_MAX];
    bool is_routing, is_sent;
    unsigned sender;
    uint64_t connection;
    /* over all batches */
    uint32_t done[ENVELOPE_RECIPIENTS_MAX];
    uint32_t ndone;
    int64_t next_try; /* the earliest of those that wait */
    bool is_good;     /* some were delivered */
    bool is_slowed;   /* told to slow down */
};

/* What is known of one recipient now. */
struct verdict {
    enum send_verdict verdict;
    struct slice host, reply, tls;
    enum schedule_class reason;
    bool tells;  /* the next server sends notifications itself */
    bool is_all; /* the destination failed, not this recipient: nobody goes there before it is tried again */
};

static struct message *message_of(const struct run *r)
{
    return r->job->message;
}

/* --- the end of a run --- */

static void run_free(struct run *r)
{
    struct run **at = &r->q->runs;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->q->nruns--;
    spool_message_close(&r->file);
    free(r);
}

/* when: of what is left of the job; 0: as its recipients say. take_same: the connection is there for another.
 */
static void end(
    struct run *r, enum schedule_outcome outcome, enum schedule_class reason, int64_t when, bool take_same)
{
    struct queued *q = r->q;
    struct job *job = r->job;
    struct message *m = job->message;
    struct schedule_entry *next = NULL;
    int64_t again = when ? when : r->next_try != INT64_MAX ? r->next_try : queued_now(q) + POSTPONE;

    if (take_same)
        next = schedule_take_same(q->schedule, &job->entry, outcome == SCHEDULE_GOOD, queued_ms(q));
    if (!next)
        schedule_done(q->schedule, &job->entry, outcome, reason, queued_ms(q));
    if (outcome != SCHEDULE_FAILED)
        place_trouble(job->place, SLICE(""), SLICE(""));
    job->run = NULL; /* the job may go now */
    if (!table_forget_done(q, job, r->done, r->ndone))
        table_schedule(q, job, again);
    run_free(r);
    table_settle(q, m);
    if (next)
        run_start(q, (struct job *)next);
    queued_work_soon(q);
}

static void postpone(struct run *r, const char *why)
{
    LOG(DEFERRED, message_of(r)->id.text, F_STR("to", r->job->place->name), F_STR("reason", why));
    end(r, SCHEDULE_REFUSED, SCHEDULE_OTHER, queued_now(r->q) + POSTPONE, false);
}

/* --- verdicts --- */

static void suppress_dead(struct queued *q, struct slice address, const struct verdict *v)
{
    enum reply_class c = replies_explain(v->host, v->reply).reply_class;

    if (v->host.n && (c == REPLY_UNKNOWN || c == REPLY_DISABLED))
        queued_suppress(q, address, v->host, v->reply);
}

static void note_refused(
    struct run *r, const struct envelope_recipient *to, struct state_recipient *s, const struct verdict *v)
{
    bool tell = notify_is_wanted(&r->file.env, DSN_FAILED, to->notify);

    s->state = tell ? STATE_BOUNCING : STATE_FAILED;
    message_of(r)->has_notice |= tell;
    suppress_dead(r->q, to->address, v);
    LOG(BOUNCED, message_of(r)->id.text, F_SLICE("rcpt", to->address), F_STR("reason", "refused"),
        F_SLICE("host", v->host), F_SLICE("reply", v->reply), F_U64("attempts", s->attempts));
}

static int64_t next_try(const struct run *r, const struct state_recipient *s, const struct verdict *v,
    const struct schedule_rules *rules)
{
    struct slice place = slice_str(r->job->place->name);
    int64_t now = queued_now(r->q), at, of_place;
    struct schedule_view view = {0};

    at = schedule_next(rules, v->reason, s->attempts, slice_str(message_of(r)->id.text), now);
    if (!v->is_all)
        return at;
    schedule_look(r->q->schedule, place, &view);
    if (view.next > queued_ms(r->q)) /* somebody failed there a moment ago: that counts for all */
        of_place = now + (view.next - queued_ms(r->q)) / 1000 + 1;
    else
        of_place = schedule_next(rules, v->reason, view.failures + 1, place, now);
    return at > of_place ? at : of_place;
}

static void note_deferred(
    struct run *r, const struct envelope_recipient *to, struct state_recipient *s, const struct verdict *v)
{
    struct queued *q = r->q;
    struct message *m = message_of(r);
    struct schedule_rules rules = table_rules(q, m);
    int64_t now = queued_now(q);

    s->reason = v->reason;
    if (schedule_is_expired(&rules, m->created, s->attempts, now)) {
        s->state = STATE_BOUNCING;
        m->has_notice = true;
        LOG(BOUNCED, m->id.text, F_SLICE("rcpt", to->address), F_STR("reason", "expired"),
            F_SLICE("host", v->host), F_SLICE("reply", v->reply), F_U64("attempts", s->attempts));
        return;
    }
    s->next_try = next_try(r, s, v, &rules);
    if (s->next_try < r->next_try)
        r->next_try = s->next_try;
    r->is_slowed |= v->reason == SCHEDULE_RATE;
    LOG(DEFERRED, m->id.text, F_SLICE("rcpt", to->address), F_STR("reason", schedule_class_name(v->reason)),
        F_SLICE("host", v->host), F_SLICE("reply", v->reply), F_U64("attempts", s->attempts),
        F_U64("next", s->next_try - now));
}

static void note_delivered(
    struct run *r, const struct envelope_recipient *to, struct state_recipient *s, const struct verdict *v)
{
    s->state = STATE_DONE;
    s->dsn_sent = v->tells || !notify_is_wanted(&r->file.env, DSN_RELAYED, to->notify);
    message_of(r)->has_notice |= !s->dsn_sent;
    r->is_good = true;
    LOG(SENT, message_of(r)->id.text, F_SLICE("rcpt", to->address), F_SLICE("host", v->host),
        F_SLICE("reply", v->reply), F_SLICE("tls", v->tls), F_U64("attempts", s->attempts),
        F_U64("seconds", queued_now(r->q) - message_of(r)->created));
}

static void note(struct run *r, uint32_t index, const struct verdict *v)
{
    struct queued *q = r->q;
    const struct envelope_recipient *to = &r->file.env.recipients[index];
    struct buf hold = BUF_INIT(BUF_OWN);
    struct state_recipient s;

    INVARIANT(index < r->file.env.nrecipients);
    if (!queued_state_get(q, &message_of(r)->id, index, &hold, &s) || s.state != STATE_PENDING) {
        buf_free(&hold); /* the admin dropped it, or gave it up, meanwhile */
        r->done[r->ndone++] = index;
        return;
    }
    s.attempts++;
    s.last_try = queued_now(q);
    s.host = slice_sub(v->host, 0, STATE_HOST_MAX);
    s.reply = slice_sub(v->reply, 0, STATE_REPLY_MAX);
    switch (v->verdict) {
    case SEND_DELIVERED:
    case SEND_RELAYED:
        note_delivered(r, to, &s, v);
        break;
    case SEND_REFUSED:
        note_refused(r, to, &s, v);
        break;
    default:
        note_deferred(r, to, &s, v);
        break;
    }
    if (s.state != STATE_PENDING)
        r->done[r->ndone++] = index;
    state_put_recipient(q->state, &message_of(r)->id, index, &s);
    buf_free(&hold);
}

/* One verdict of ours on everybody: there is no way to them. */
static void note_all(struct run *r, enum send_verdict verdict, enum schedule_class reason, struct slice reply)
{
    struct verdict v = {.verdict = verdict, .reason = reason, .reply = reply, .is_all = true};

    for (; r->at < r->job->n; r->at++)
        note(r, r->job->recipients[r->at], &v);
}

/* --- mailboxes here --- */

static void on_injected(struct queued *q, void *ctx, enum err_code code);

static void inject_next(struct run *r)
{
    const struct envelope *env = &r->file.env;
    uint32_t index;
    int text;

    if (r->at == r->job->n) {
        end(r, r->is_good ? SCHEDULE_GOOD : SCHEDULE_REFUSED, SCHEDULE_OTHER, 0, false);
        return;
    }
    index = r->job->recipients[r->at];
    INVARIANT(index < env->nrecipients);
    text = textfile_new(SLICE(""), r->file.fd, r->file.text, env->size);
    if (text < 0) {
        postpone(r, "the text could not be copied");
        return;
    }
    inject_start(r->q, &env->id, env->reverse_path, env->recipients[index].address, env->smtputf8,
        env->is_8bit, text, env->size, on_injected, r);
}

static void on_injected(struct queued *q, void *ctx, enum err_code code)
{
    struct run *r = ctx;
    const struct err_row *row = err_row(code);
    struct buf reply = BUF_INIT(STATE_REPLY_MAX);
    struct verdict v = {.verdict = code == ERR_OK         ? SEND_RELAYED
                                   : row->smtp / 100 == 5 ? SEND_REFUSED
                                                          : SEND_DEFERRED,
        .reason = SCHEDULE_OTHER};

    (void)q;
    if (code == ERR_UNAVAILABLE) {
        postpone(r, "smtpd is not there");
        return;
    }
    if (code != ERR_OK)
        buf_printf(&reply, "%d %s %s", row->smtp, row->enhanced, row->text);
    v.reply = buf_slice(&reply);
    note(r, r->job->recipients[r->at++], &v);
    buf_free(&reply);
    inject_next(r);
}

/* --- senders --- */

static struct idle *take_idle(struct queued *q, const struct place *p)
{
    for (struct idle **at = &q->idle; *at; at = &(*at)->next) {
        struct idle *i = *at;

        if (i->place != p || !q->senders[i->sender].is_there)
            continue;
        *at = i->next;
        return i;
    }
    return NULL;
}

static void idle_free(struct queued *q, struct idle *i)
{
    place_unuse(q, i->place);
    free(i);
}

static void keep_idle(struct queued *q, struct place *p, unsigned sender, uint64_t connection)
{
    struct idle *i = mem_alloc(sizeof *i);

    *i = (struct idle){.next = q->idle,
        .place = place_get(q, slice_str(p->name)),
        .sender = sender,
        .connection = connection};
    q->idle = i;
}

/* With connection 0 all of the sender's. */
static void drop_idle(struct queued *q, unsigned sender, uint64_t connection)
{
    for (struct idle **at = &q->idle; *at;) {
        struct idle *i = *at;

        if (i->sender != sender || (connection && i->connection != connection)) {
            at = &i->next;
            continue;
        }
        *at = i->next;
        idle_free(q, i);
    }
}

/* False: there is none. */
static bool choose_sender(struct run *r)
{
    struct queued *q = r->q;
    struct idle *idle = r->file.env.requiretls ? NULL : take_idle(q, r->job->place);
    bool found = idle != NULL;

    r->connection = 0;
    if (idle) {
        r->sender = idle->sender;
        r->connection = idle->connection;
        idle_free(q, idle);
    }
    for (unsigned i = 0; !idle && i < SENDERS_MAX; i++) {
        if (!q->senders[i].is_there || (found && q->senders[i].running >= q->senders[r->sender].running))
            continue;
        found = true;
        r->sender = i;
    }
    return found;
}

static void fill_batch(struct run *r, struct send_job *job)
{
    const struct envelope *env = &r->file.env;
    size_t octets = 0;

    for (r->n = 0; r->at + r->n < r->job->n && r->n < SEND_RECIPIENTS_MAX && octets < SEND_OCTETS_MAX;
         r->n++) {
        uint32_t index = r->job->recipients[r->at + r->n];

        INVARIANT(index < env->nrecipients);
        octets += env->recipients[index].address.n + env->recipients[index].orcpt.n;
        r->index[r->n] = index;
        job->rcpt[r->n].index = index;
        job->rcpt[r->n].address = env->recipients[index].address;
        job->rcpt[r->n].orcpt = env->recipients[index].orcpt;
        job->rcpt[r->n].notify = env->recipients[index].notify;
    }
    job->n = r->n;
}

static void send_batch(struct run *r, const struct route *route)
{
    struct queued *q = r->q;
    const struct envelope *env = &r->file.env;
    struct send_job *job = mem_zalloc(1, sizeof *job);
    int fd = fcntl(r->file.fd, F_DUPFD_CLOEXEC, 0);
    struct ipc_out out;

    if (fd < 0 || !choose_sender(r)) {
        if (fd >= 0)
            close(fd);
        free(job);
        postpone(r, "no sender is there");
        return;
    }
    job->id = slice_str(env->id.text);
    job->connection = r->connection;
    job->helo = slice_str(q->role->settings->hostname);
    job->reverse_path = env->reverse_path;
    job->envid = env->envid;
    job->ret = env->ret;
    job->smtputf8 = env->smtputf8;
    job->is_8bit = env->is_8bit;
    job->requiretls = env->requiretls;
    job->text = r->file.text;
    job->size = env->size;
    fill_batch(r, job);
    send_job_put(&out, job, route, fd);
    free(job);
    r->is_sent = true;
    q->senders[r->sender].running++;
    ipc_send(role_peer(q->role, ROLE_SENDER, r->sender), &out);
}

static void on_route(void *ctx, const struct router_result *result)
{
    struct run *r = ctx;
    struct buf reply = BUF_INIT(STATE_REPLY_MAX);
    struct place *p = r->job->place;

    r->is_routing = false;
    switch (result->status) {
    case ROUTE_OK:
        send_batch(r, result->route);
        break;
    case ROUTE_HERE: /* the domain was made ours meanwhile */
        message_of(r)->is_stale = true;
        end(r, SCHEDULE_REFUSED, SCHEDULE_OTHER, queued_now(r->q), false);
        break;
    case ROUTE_LATER:
        buf_printf(&reply, "451 %s ", result->status_code);
        buf_add(&reply, slice_sub(result->why, 0, STATE_REPLY_MAX - 32));
        note_all(r, SEND_DEFERRED, result->reason, buf_slice(&reply));
        place_trouble(p, SLICE(""), buf_slice(&reply));
        end(r, SCHEDULE_FAILED, result->reason, 0, false);
        break;
    default:
        buf_printf(&reply, "550 %s ", result->status_code);
        buf_add(&reply, slice_sub(result->why, 0, STATE_REPLY_MAX - 32));
        note_all(r, SEND_REFUSED, SCHEDULE_DNS, buf_slice(&reply));
        end(r, SCHEDULE_REFUSED, SCHEDULE_DNS, 0, false);
        break;
    }
    buf_free(&reply);
}

static void find_route(struct run *r)
{
    r->is_routing = true;
    router_find(r->q->router, slice_str(r->job->place->name), r->file.env.requiretls, on_route, r);
}

static struct run *find_run(struct queued *q, unsigned sender, struct slice id, uint32_t index)
{
    for (struct run *r = q->runs; r; r = r->next)
        if (r->is_sent && r->sender == sender && r->index[0] == index &&
            slice_eq(id, slice_str(message_of(r)->id.text)))
            return r;
    return NULL;
}

static bool is_of_batch(const struct run *r, const struct send_result *result)
{
    if (result->n != r->n)
        return false;
    for (uint32_t i = 0; i < r->n; i++)
        if (result->rcpt[i].index != r->index[i])
            return false;
    return true;
}

/* A 4xx of one recipient has its own reason; of what broke off, the sender's. */
static enum schedule_class reason_of(const struct send_result *result, uint32_t i)
{
    if (result->outcome == SEND_FAILED || !result->rcpt[i].is_remote)
        return result->reason;
    return schedule_class_of(replies_explain(result->host, result->rcpt[i].reply).reply_class);
}

static void note_result(struct run *r, const struct send_result *result)
{
    for (uint32_t i = 0; i < r->n; i++) {
        struct buf own = BUF_INIT(STATE_REPLY_MAX);
        struct verdict v = {.verdict = result->rcpt[i].verdict,
            .host = result->rcpt[i].is_remote ? result->host : SLICE(""),
            .reply = result->rcpt[i].reply,
            .tls = result->tls,
            .reason = reason_of(result, i),
            .tells = result->rcpt[i].verdict == SEND_DELIVERED,
            .is_all = result->outcome == SEND_FAILED};

        if (!result->rcpt[i].is_remote && result->rcpt[i].status) {
            buf_printf(&own, "%s %s ", v.verdict == SEND_REFUSED ? "550" : "451", result->rcpt[i].status);
            buf_add(&own, slice_sub(v.reply, 0, STATE_REPLY_MAX - 32));
            v.reply = buf_slice(&own);
        }
        if (result->outcome == SEND_FAILED && i == 0)
            place_trouble(r->job->place, result->host, v.reply);
        note(r, r->index[i], &v);
        buf_free(&own);
    }
    r->at += r->n;
}

static void batch_ended(struct run *r, const struct send_result *result)
{
    struct queued *q = r->q;
    bool is_open = result->connection != 0;

    r->is_sent = false;
    q->senders[r->sender].running--;
    if (is_open)
        keep_idle(q, r->job->place, r->sender, result->connection);
    note_result(r, result);
    if (result->outcome == SEND_FAILED)
        end(r, SCHEDULE_FAILED, result->reason, 0, false);
    else if (r->at < r->job->n)
        find_route(r); /* kept: asks nobody */
    else if (r->is_slowed && !r->is_good)
        end(r, SCHEDULE_FAILED, SCHEDULE_RATE, 0, false);
    else
        end(r, r->is_good ? SCHEDULE_GOOD : SCHEDULE_REFUSED, SCHEDULE_OTHER, 0, is_open);
}

static bool on_sent(struct queued *q, unsigned sender, struct ipc_in *in)
{
    struct send_result *result = mem_alloc(sizeof *result);
    struct run *r = NULL;
    bool ok = send_result_get(in, result) && result->n > 0;

    if (ok)
        r = find_run(q, sender, result->id, result->rcpt[0].index);
    ok = r && is_of_batch(r, result);
    if (ok)
        batch_ended(r, result);
    free(result);
    return ok;
}

bool run_sender_message(struct queued *q, unsigned sender, struct ipc_in *in)
{
    uint64_t connection;

    if (sender >= SENDERS_MAX)
        return false;
    if (in->type == IPC_SENT)
        return on_sent(q, sender, in);
    connection = ipc_get_u64(in);
    if (in->type != IPC_SEND_CLOSED || !ipc_end(in) || connection == 0)
        return false;
    drop_idle(q, sender, connection);
    return true;
}

/* What it had is tried again: of what it may have delivered just now, there is one repeat. */
void run_sender_gone(struct queued *q, unsigned sender)
{
    struct run *r;

    if (sender >= SENDERS_MAX)
        return;
    drop_idle(q, sender, 0);
    q->senders[sender].running = 0;
    do {
        for (r = q->runs; r && !(r->is_sent && r->sender == sender); r = r->next)
            ;
        if (r) {
            r->is_sent = false;
            postpone(r, "its sender died");
        }
    } while (r);
}

/* Routes may have changed: nobody goes over what is open. */
void run_drop_idle(struct queued *q)
{
    while (q->idle) {
        struct idle *i = q->idle;
        struct ipc_out out;

        q->idle = i->next;
        ipc_begin(&out, IPC_SEND_CLOSE);
        ipc_put_u64(&out, i->connection);
        ipc_send(role_peer(q->role, ROLE_SENDER, i->sender), &out);
        idle_free(q, i);
    }
}

/* --- the start --- */

/* Its file is gone or damaged (that is logged): there is nothing to send any more. */
static void no_file(struct run *r)
{
    struct message *m = message_of(r);

    LOG(QUEUE_STATE, m->id.text, F_STR("error", "its file is not in the queue any more"));
    state_remove(r->q->state, &m->id, m->nrecipients);
    m->is_stale = true;
    end(r, SCHEDULE_REFUSED, SCHEDULE_OTHER, queued_now(r->q) + POSTPONE, false);
}

void run_start(struct queued *q, struct job *j)
{
    struct run *r = mem_zalloc(1, sizeof *r);
    struct err e = {0};

    INVARIANT(!j->run && j->entry.running);
    *r = (struct run){.next = q->runs, .q = q, .job = j, .next_try = INT64_MAX};
    q->runs = r;
    q->nruns++;
    j->run = r;
    switch (spool_read(q->spool, slice_of(j->message->id.text, ID_LEN), &r->file, &e)) {
    case SPOOL_OK:
        break;
    case SPOOL_ERROR:
        postpone(r, e.detail);
        return;
    default:
        no_file(r);
        return;
    }
    if (slice_eq(slice_str(j->place->name), ROUTER_DESTINATION_HERE))
        inject_next(r);
    else
        find_route(r);
}
