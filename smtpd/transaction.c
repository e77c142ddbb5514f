/* A transaction and its steps. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "mail/trace.h"
#include "smtpd/parent.h"

#define EXPAND_RCPTS 100 /* in one message to authd: its answer has names and paths of them all */
#define EXPAND_OCTETS ((size_t)12 * 1024)
#define DELIVER_OCTETS ((size_t)48 * 1024) /* of paths in one message to a deliver */

int64_t smtpd_parent_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static void enter(struct transaction *t, enum transaction_step step)
{
    t->step = step;
    t->since = smtpd_parent_now();
}

/* --- the end --- */

static void drop_targets(struct transaction *t)
{
    for (size_t i = 0; i < t->ntargets; i++) {
        free(t->targets[i].account);
        free(t->targets[i].path);
    }
    free(t->targets);
    t->targets = NULL;
    t->ntargets = 0;
}

void transaction_free(struct smtpd_parent *p, struct transaction *t)
{
    if (t->step == STEP_QUEUED)
        pool_unqueue(p, t);
    hmap_remove(&p->transactions, slice_str(t->id.text));
    drop_targets(t);
    for (size_t i = 0; i < t->nrcpts; i++)
        free(t->rcpts[i]);
    free(t->rcpts);
    free(t->batch);
    free(t->account);
    free(t->from);
    free(t->helo);
    free(t->tls);
    if (t->text >= 0)
        close(t->text);
    free(t);
}

void transaction_finish(struct smtpd_parent *p, struct transaction *t, enum err_code code)
{
    struct ipc_out out;

    if (!t->is_orphan) {
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
        octets += strlen(t->rcpts[t->asked + n++]);
    ipc_begin(&out, IPC_EXPAND);
    ipc_put_str(&out, t->id.text);
    ipc_put_str(&out, t->account ? t->account : "");
    ipc_put_str(&out, t->from);
    ipc_put_u64(&out, n);
    for (size_t i = 0; i < n; i++)
        ipc_put_str(&out, t->rcpts[t->asked + i]);
    t->asked += n;
    enter(t, STEP_EXPANDING);
    ipc_send(authd, &out);
}

void transaction_add_target(
    struct transaction *t, struct slice account, struct slice path, bool known, enum err_code code)
{
    struct target *target;

    for (size_t i = 0; i < t->ntargets; i++)
        if (slice_eq(account, slice_str(t->targets[i].account)))
            return;
    if ((t->ntargets & (t->ntargets - 1)) == 0) /* 0, 1, 2, 4 ..: it doubles */
        t->targets = mem_realloc(t->targets, t->ntargets ? t->ntargets * 2 : 1, sizeof *t->targets);
    target = &t->targets[t->ntargets++];
    *target = (struct target){
        .account = slice_dup(account), .path = slice_dup(path), .code = code, .unknown = !known};
}

/*
 * May it be delivered at all? A recipient that was fine at RCPT and is gone now stops the message for all:
 * then it is in nobody's mailbox twice when the client comes again and hears at RCPT who is meant. A full
 * mailbox beside others with room (one of an alias, or full since RCPT) gets the message all the same: it was
 * accepted, and refusing it for all until one person has tidied up would be worse.
 */
static enum err_code verdict(const struct transaction *t)
{
    enum err_code first = ERR_OK;
    bool one_is_fine = false, one_is_gone = false;

    for (size_t i = 0; i < t->ntargets; i++) {
        enum err_code code = t->targets[i].code;

        one_is_fine |= code == ERR_OK;
        one_is_gone |= code != ERR_OK && code != ERR_OVER_QUOTA;
        if (first == ERR_OK)
            first = code;
    }
    if (t->ntargets == 0)
        return ERR_NO_USER;
    if (!one_is_fine)
        return first;
    return one_is_gone ? ERR_UNAVAILABLE : ERR_OK;
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
        enter(t, STEP_COUNTING);
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
    enter(t, STEP_QUEUED);
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
        drop_targets(t);
        t->asked = 0;
        transaction_expand(p, t);
    }
}

/* --- into the mailboxes --- */

static void put_trace(const struct transaction *t, struct ipc_out *out)
{
    struct trace trace = {
        .reverse_path = slice_str(t->from),
        .helo = slice_str(t->helo),
        .client_ip = slice_str(t->ip),
        .client_name = SLICE(""),
        .for_address = t->nrcpts == 1 ? slice_str(t->rcpts[0]) : SLICE(""),
        .tls = slice_str(t->tls),
        .esmtp = t->esmtp,
        .authenticated = t->account != NULL,
        .utf8 = t->utf8,
    };

    trace_put(out, &trace);
}

bool transaction_deliver(struct transaction *t, struct ipc_out *out)
{
    size_t octets = 0;
    int fd;

    free(t->batch);
    t->batch = mem_zalloc(t->ntargets, sizeof *t->batch);
    t->nbatch = 0;
    for (size_t i = 0; i < t->ntargets && octets < DELIVER_OCTETS; i++) {
        if (t->targets[i].kept || t->targets[i].tries > t->pass)
            continue;
        octets += strlen(t->targets[i].path) + 12;
        t->batch[t->nbatch++] = (uint32_t)i;
    }
    fd = t->nbatch ? fcntl(t->text, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0)
        return false;
    ipc_begin(out, IPC_DELIVER);
    ipc_put_str(out, t->id.text);
    ipc_put_u64(out, t->replay);
    ipc_put_u64(out, (uint64_t)t->when);
    ipc_put_u64(out, t->size);
    put_trace(t, out);
    ipc_put_u64(out, t->nbatch);
    for (size_t i = 0; i < t->nbatch; i++) {
        ipc_put_str(out, t->targets[t->batch[i]].path);
        ipc_put_u64(out, t->batch[i]);
    }
    ipc_put_fd(out, fd);
    enter(t, STEP_DELIVERING);
    return true;
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

/* After a pass: again for those that failed if others have it, or the answer. */
static void pass_ended(struct smtpd_parent *p, struct transaction *t)
{
    enum err_code failed = ERR_OK;
    bool any_kept = false;

    for (size_t i = 0; i < t->ntargets; i++) {
        any_kept |= t->targets[i].kept;
        if (!t->targets[i].kept && failed == ERR_OK)
            failed = t->targets[i].code;
    }
    if (failed == ERR_OK) {
        transaction_finish(p, t, ERR_OK);
    } else if (any_kept && t->pass == 0) {
        t->pass = 1;
        enter(t, STEP_QUEUED);
        pool_queue(p, t, true);
    } else {
        /* The client sends the whole message again: who has it gets a second copy. Better than none for the
         * others, and there is no other answer for some of the recipients only (RFC 5321 has one reply for
         * all). */
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
        enter(t, STEP_QUEUED);
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
    if (t->replay) {
        transaction_finish(p, t, ERR_INTERNAL);
        return;
    }
    t->replay = true;
    enter(t, STEP_QUEUED);
    pool_queue(p, t, true);
}
