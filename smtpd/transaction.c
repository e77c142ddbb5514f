/* A transaction and its steps. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "smtpd/parent.h"

#define TICK_S 5
#define EXPAND_RCPTS 100 /* in one message to authd: its answer has names and paths of them all */
#define EXPAND_OCTETS ((size_t)12 * 1024)
#define DELIVER_OCTETS ((size_t)48 * 1024) /* of paths in one message to a deliver */

int64_t smtpd_parent_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

void transaction_enter(struct transaction *t, enum transaction_step step)
{
    t->step = step;
    t->since = smtpd_parent_now();
}

/* --- begin and end --- */

bool transaction_begin(struct smtpd_parent *p, struct transaction *t)
{
    struct timeval tv = {.tv_sec = TICK_S};

    if (hmap_get(&p->transactions, slice_str(t->id.text)))
        return false;
    hmap_put(&p->transactions, slice_str(t->id.text), t);
    if (p->transactions.count == 1)
        evtimer_add(p->tick, &tv);
    return true;
}

void transaction_start(struct smtpd_parent *p, struct transaction *t)
{
    if (!t->account) {
        transaction_expand(p, t);
        return;
    }
    transaction_enter(t, STEP_WAITING);
    pool_queue(p, t, false);
    pool_work(p);
}

/* What authd said. */
static void drop_expanded(struct transaction *t)
{
    for (size_t i = 0; i < t->ntargets; i++) {
        free(t->targets[i].account);
        free(t->targets[i].path);
    }
    for (size_t i = 0; i < t->naway; i++) {
        free(t->away[i].address);
        free(t->away[i].forward);
        free(t->away[i].reverse_path);
    }
    free(t->targets);
    free(t->away);
    t->targets = NULL;
    t->away = NULL;
    t->ntargets = t->naway = 0;
    t->refused = ERR_OK;
    t->asked = 0;
}

void transaction_free(struct smtpd_parent *p, struct transaction *t)
{
    if (t->step == STEP_WAITING)
        pool_unqueue(p, t);
    if (t->step == STEP_ENQUEUEING)
        hmap_remove(&p->parts, slice_str(t->part.text));
    hmap_remove(&p->transactions, slice_str(t->id.text));
    drop_expanded(t);
    for (size_t i = 0; i < t->nrcpts; i++) {
        free(t->rcpts[i].address);
        free(t->rcpts[i].orcpt);
    }
    for (size_t i = 0; i < t->nauthors; i++)
        free(t->authors[i]);
    free(t->authors);
    free(t->rcpts);
    free(t->batch);
    free(t->account);
    free(t->from);
    free(t->envid);
    free(t->helo);
    free(t->tls);
    if (t->text >= 0)
        close(t->text);
    free(t);
}

void transaction_finish(struct smtpd_parent *p, struct transaction *t, enum err_code code)
{
    struct ipc_out out;

    if (t->is_injected) {
        ipc_begin(&out, IPC_INJECTED);
        ipc_put_str(&out, t->injected.text);
        ipc_put_u64(&out, code);
        ipc_send(role_peer(p->role, ROLE_QUEUED, 0), &out);
    } else if (!t->is_orphan) {
        ipc_begin(&out, IPC_MAIL_DONE);
        ipc_put_u64(&out, t->session);
        ipc_put_u64(&out, code);
        ipc_put_str(&out, t->id.text);
        ipc_send(role_peer(p->role, ROLE_SMTPD_FRONT, t->front), &out);
    }
    transaction_free(p, t);
}

/* --- who gets it --- */

void transaction_expand(struct smtpd_parent *p, struct transaction *t)
{
    struct ipc *authd = role_peer(p->role, ROLE_AUTHD, 0);
    size_t n = 0, octets = 0;
    struct ipc_out out;

    if (!authd) {
        transaction_finish(p, t, ERR_UNAVAILABLE);
        return;
    }
    while (t->asked + n < t->nrcpts && n < EXPAND_RCPTS && octets < EXPAND_OCTETS)
        octets += strlen(t->rcpts[t->asked + n++].address);
    ipc_begin(&out, IPC_EXPAND);
    ipc_put_str(&out, t->id.text);
    ipc_put_str(&out, t->account ? t->account : "");
    ipc_put_str(&out, t->from);
    /* once is enough */
    ipc_put_u64(&out, t->asked ? 0 : t->nauthors);
    for (size_t i = 0; t->asked == 0 && i < t->nauthors; i++)
        ipc_put_str(&out, t->authors[i]);
    ipc_put_u64(&out, n);
    for (size_t i = 0; i < n; i++)
        ipc_put_str(&out, t->rcpts[t->asked + i].address);
    t->first = t->asked;
    t->asked += n;
    transaction_enter(t, STEP_EXPANDING);
    ipc_send(authd, &out);
}

/* Room for one more of a list that doubles: 0, 1, 2, 4 .. */
static void *grown(void *list, size_t n, size_t size)
{
    return (n & (n - 1)) == 0 ? mem_realloc(list, n ? n * 2 : 1, size) : list;
}

void transaction_add_target(struct transaction *t, const struct target *target)
{
    struct target *new;

    for (size_t i = 0; i < t->ntargets; i++)
        if (strcmp(target->account, t->targets[i].account) == 0)
            return;
    t->targets = grown(t->targets, t->ntargets, sizeof *t->targets);
    new = &t->targets[t->ntargets++];
    *new = *target;
    new->account = mem_strdup(target->account);
    new->path = mem_strdup(target->path);
}

void transaction_add_away(struct transaction *t, const struct away *away)
{
    struct away *new;

    for (size_t i = 0; i < t->naway; i++)
        if (strcmp(away->address, t->away[i].address) == 0)
            return;
    t->away = grown(t->away, t->naway, sizeof *t->away);
    new = &t->away[t->naway++];
    *new = *away;
    new->address = mem_strdup(away->address);
    new->forward = mem_strdup(away->forward);
    new->reverse_path = mem_strdup(away->reverse_path);
}

/*
 * May it be delivered at all? A recipient that was fine at RCPT and is gone now stops the message for all:
 * then it is in nobody's mailbox twice when the client comes again and hears at RCPT who is meant. A full
 * mailbox beside others with room (one of an alias, or full since RCPT) gets the message all the same: it was
 * accepted, and refusing it for all until one person has tidied up would be worse.
 */
static enum err_code verdict(const struct transaction *t)
{
    enum err_code first = t->refused;
    bool one_is_fine = t->naway > 0;

    for (size_t i = 0; i < t->ntargets; i++) {
        one_is_fine |= t->targets[i].code == ERR_OK;
        if (first == ERR_OK)
            first = t->targets[i].code;
    }
    if (!one_is_fine)
        return first == ERR_OK ? ERR_NO_USER : first;
    return t->refused == ERR_OK ? ERR_OK : ERR_UNAVAILABLE;
}

static bool start_counting(struct smtpd_parent *p, struct transaction *t)
{
    bool any = false;

    if (t->counted)
        return false;
    t->counted = true;
    for (size_t i = 0; i < t->ntargets; i++) {
        if (!t->targets[i].unknown)
            continue;
        any = t->targets[i].counting = true;
        pool_count(p, t->targets[i].account, t->targets[i].path);
    }
    if (any)
        transaction_enter(t, STEP_COUNTING);
    return any;
}

void transaction_expanded(struct smtpd_parent *p, struct transaction *t)
{
    enum err_code code;

    if (t->asked < t->nrcpts) {
        transaction_expand(p, t);
        return;
    }
    if (start_counting(p, t)) {
        pool_work(p);
        return;
    }
    code = verdict(t);
    if (code != ERR_OK) {
        transaction_finish(p, t, code);
        return;
    }
    enqueue_start(p, t);
}

void transaction_go_on(struct smtpd_parent *p, struct transaction *t)
{
    if (t->ntargets == 0 || t->pass > 0) {
        transaction_finish(p, t, ERR_OK);
        return;
    }
    transaction_enter(t, STEP_WAITING);
    pool_queue(p, t, false);
    pool_work(p);
}

struct counted {
    struct smtpd_parent *p;
    const char *account;
    struct transaction *ready; /* linked by next: a walk must not change the table */
};

static bool count_off(void *ctx, struct slice key, void *value)
{
    struct counted *c = ctx;
    struct transaction *t = value;
    bool waits = false;

    (void)key;
    if (t->step != STEP_COUNTING)
        return true;
    for (size_t i = 0; i < t->ntargets; i++) {
        if (strcmp(t->targets[i].account, c->account) == 0)
            t->targets[i].counting = false;
        waits |= t->targets[i].counting;
    }
    if (!waits) {
        t->next = c->ready;
        c->ready = t;
    }
    return true;
}

void transaction_counted(struct smtpd_parent *p, const char *account)
{
    struct counted c = {p, account, NULL};

    hmap_walk(&p->transactions, count_off, &c);
    for (struct transaction *t = c.ready, *next; t; t = next) {
        next = t->next;
        t->next = NULL;
        /* authd knows the usage now: is there room? */
        drop_expanded(t);
        transaction_expand(p, t);
    }
}

/* --- into the mailboxes --- */

struct trace transaction_trace(const struct transaction *t)
{
    return (struct trace){
        .reverse_path = slice_str(t->from),
        .helo = slice_str(t->helo),
        .client_ip = slice_str(t->ip),
        .client_name = SLICE(""),
        .for_address = t->nrcpts == 1 ? slice_str(t->rcpts[0].address) : SLICE(""),
        .tls = slice_str(t->tls),
        .esmtp = t->esmtp,
        .authenticated = t->account != NULL,
        .utf8 = t->utf8,
    };
}

static void put_inspect(struct transaction *t, struct ipc_out *out)
{
    ipc_begin(out, IPC_INSPECT);
    ipc_put_str(out, t->id.text);
    ipc_put_u64(out, t->size);
    transaction_enter(t, STEP_INSPECTING);
}

static void put_deliver(struct transaction *t, struct ipc_out *out)
{
    struct trace trace = transaction_trace(t);

    ipc_begin(out, IPC_DELIVER);
    ipc_put_str(out, t->id.text);
    ipc_put_u64(out, t->replay);
    ipc_put_u64(out, (uint64_t)t->when);
    ipc_put_u64(out, t->size);
    ipc_put_str(out, t->account ? t->account : "");
    trace_put(out, &trace);
    ipc_put_u64(out, t->nbatch);
    for (size_t i = 0; i < t->nbatch; i++) {
        ipc_put_str(out, t->targets[t->batch[i]].path);
        ipc_put_u64(out, t->batch[i]);
    }
    transaction_enter(t, STEP_DELIVERING);
    t->begun = true;
}

/* The targets of the next DELIVER. */
static void choose_batch(struct transaction *t)
{
    size_t octets = 0;

    free(t->batch);
    t->batch = mem_zalloc(t->ntargets, sizeof *t->batch);
    t->nbatch = 0;
    for (size_t i = 0; i < t->ntargets && octets < DELIVER_OCTETS; i++) {
        if (t->targets[i].kept || t->targets[i].tries > t->pass)
            continue;
        octets += strlen(t->targets[i].path) + 12;
        t->batch[t->nbatch++] = (uint32_t)i;
    }
}

bool transaction_job(struct transaction *t, struct ipc_out *out)
{
    bool inspect = t->account && !t->inspected;
    int fd;

    if (!inspect)
        choose_batch(t);
    fd = inspect || t->nbatch ? fcntl(t->text, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0)
        return false;
    if (inspect)
        put_inspect(t, out);
    else
        put_deliver(t, out);
    ipc_put_fd(out, fd);
    return true;
}

void transaction_inspected(
    struct smtpd_parent *p, struct transaction *t, enum err_code code, char **authors, size_t n)
{
    t->authors = authors;
    t->nauthors = n;
    t->inspected = true;
    t->replay = false;
    if (code != ERR_OK || t->is_orphan)
        transaction_finish(p, t, code);
    else
        transaction_expand(p, t);
}

static void report_usage(struct smtpd_parent *p, const struct target *target, uint64_t size)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_USAGE);
    ipc_put_str(&out, target->account);
    ipc_put_u64(&out, size);
    ipc_put_u64(&out, 0);
    ipc_put_u64(&out, 1);
    ipc_put_u64(&out, 0);
    ipc_send(role_peer(p->role, ROLE_AUTHD, 0), &out);
}

/* What the client may be told of a delivery that failed: to come again. */
static enum err_code temporary(enum err_code code)
{
    return err_row(code)->smtp / 100 == 4 ? code : ERR_UNAVAILABLE;
}

/* After a pass: again for those that failed if others have it, then they are the queue's; or the answer. */
static void pass_ended(struct smtpd_parent *p, struct transaction *t)
{
    enum err_code failed = ERR_OK;
    bool any_kept = t->naway > 0;

    for (size_t i = 0; i < t->ntargets; i++) {
        any_kept |= t->targets[i].kept;
        if (!t->targets[i].kept && failed == ERR_OK)
            failed = t->targets[i].code;
    }
    if (failed == ERR_OK) {
        transaction_finish(p, t, ERR_OK);
    } else if (any_kept && t->pass == 0) {
        t->pass = 1;
        transaction_enter(t, STEP_WAITING);
        pool_queue(p, t, true);
    } else if (any_kept) {
        enqueue_failed_targets(p, t);
    } else {
        transaction_finish(p, t, temporary(failed));
    }
}

void transaction_delivered(struct smtpd_parent *p, struct transaction *t, enum err_code code, uint64_t size,
    const enum err_code *codes)
{
    bool more = false;

    t->replay = false;
    for (size_t i = 0; i < t->nbatch; i++) {
        struct target *target = &t->targets[t->batch[i]];

        target->tries++;
        target->code = code != ERR_OK ? code : codes[i];
        target->kept = target->code == ERR_OK;
        if (target->kept) {
            LOG(DELIVERED, t->id.text, F_STR("account", target->account), F_U64("size", size));
            /* also when a replay found it there: the deliver that died had told nobody */
            report_usage(p, target, size);
        } else {
            LOG(DELIVERY_FAILED, t->id.text, F_STR("account", target->account),
                F_STR("why", err_row(target->code)->name));
        }
    }
    for (size_t i = 0; i < t->ntargets; i++)
        more |= !t->targets[i].kept && t->targets[i].tries <= t->pass;
    if (more) {
        transaction_enter(t, STEP_WAITING);
        pool_queue(p, t, true);
    } else {
        pass_ended(p, t);
    }
}

void transaction_lost(struct smtpd_parent *p, struct transaction *t)
{
    LOG(DELIVERY_FAILED, t->id.text,
        F_STR(
            "why", t->replay ? "a second deliver died with it" : "its deliver died; it is sent to another"));
    if (t->replay || (t->is_orphan && !t->begun)) {
        transaction_finish(p, t, ERR_INTERNAL);
        return;
    }
    t->replay = true;
    transaction_enter(t, STEP_WAITING);
    pool_queue(p, t, true);
}
