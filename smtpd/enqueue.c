/*
 * What goes to queued: recipients elsewhere in sets, each a message of the queue with an id of its own.
 *
 * One set are those that have the reverse-path and the forwarding alias in common, and fit into one message
 * between processes. The first has the transaction's id. One after the other: when one is refused the rest is
 * not tried.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "mail/dsn.h"
#include "queue/request.h"
#include "smtpd/parent.h"

#define RECIPIENT_OCTETS 16 /* of a recipient besides his texts */

/*
 * The answer to the client. Before anything was delivered nobody here has it. Afterwards it sends the whole
 * message again, and who has it gets a second copy: better than none for the others, and there is no other
 * answer for some of the recipients only (RFC 5321 has one reply for all).
 */
static void refuse(struct smtpd_parent *p, struct transaction *t, enum err_code code)
{
    if (t->pass > 0) {
        LOG(DELIVERY_FAILED, t->id.text, F_STR("why", "the queue does not take those who failed"),
            F_STR("code", err_row(code)->name));
        code = err_row(code)->smtp / 100 == 4 ? code : ERR_UNAVAILABLE;
    }
    transaction_finish(p, t, code);
}

static bool is_of_set(const struct away *a, const struct away *first)
{
    return !a->queued && strcmp(a->forward, first->forward) == 0 &&
           strcmp(a->reverse_path, first->reverse_path) == 0;
}

/* Marks the next set; returns the first of it, NULL when all are queued. */
static const struct away *choose(struct transaction *t, struct envelope *env)
{
    const struct away *first = NULL;
    size_t octets = 0;

    for (size_t i = 0; i < t->naway && octets < ENQUEUE_OCTETS && env->nrecipients < ENVELOPE_RECIPIENTS_MAX;
         i++) {
        struct away *a = &t->away[i];
        const struct recipient *r = &t->rcpts[a->rcpt];
        size_t n = strlen(a->address) + strlen(r->orcpt) + RECIPIENT_OCTETS;

        if (!first && !a->queued)
            first = a;
        if (!first || !is_of_set(a, first) || octets + n > ENQUEUE_OCTETS)
            continue;
        octets += n;
        a->in_part = true;
        env->recipients[env->nrecipients++] = (struct envelope_recipient){
            .address = slice_str(a->address), .orcpt = slice_str(r->orcpt), .notify = r->notify};
    }
    return first;
}

static void send_part(
    struct smtpd_parent *p, struct transaction *t, const struct away *first, struct enqueue *q, int fd)
{
    struct ipc_out out;

    t->part = t->nparts++ ? id_new() : t->id;
    q->env.id = t->part;
    q->env.account = slice_str(t->account ? t->account : "");
    q->env.reverse_path = slice_str(first->reverse_path);
    q->env.forward = slice_str(first->forward);
    q->env.envid = slice_str(t->envid);
    q->env.ret = t->ret;
    q->env.language = t->language;
    q->env.smtputf8 = t->utf8;
    q->env.is_8bit = t->is_8bit;
    q->env.requiretls = t->requiretls;
    q->env.created = t->when;
    q->env.size = t->size;
    q->trace = transaction_trace(t);
    q->message = t->id;
    enqueue_put(&out, q, fd);
    t->begun = true;
    transaction_enter(t, STEP_ENQUEUEING);
    hmap_put(&p->parts, slice_str(t->part.text), t);
    ipc_send(role_peer(p->role, ROLE_QUEUED, 0), &out);
}

/* The next set, or what follows the last. */
static void go_on(struct smtpd_parent *p, struct transaction *t)
{
    struct enqueue q = {.env = {.recipients = NULL}};
    const struct away *first;
    int fd = -1;

    if (t->naway)
        q.env.recipients = mem_zalloc(t->naway, sizeof *q.env.recipients);
    first = choose(t, &q.env);
    if (first && role_peer(p->role, ROLE_QUEUED, 0))
        fd = fcntl(t->text, F_DUPFD_CLOEXEC, 0);
    if (!first)
        transaction_go_on(p, t);
    else if (fd < 0)
        refuse(p, t, ERR_UNAVAILABLE);
    else
        send_part(p, t, first, &q, fd);
    free(q.env.recipients);
}

static void add_target(struct transaction *t, const struct target *target)
{
    transaction_add_away(t, &(struct away){.address = target->account,
                                .forward = (char *)(uintptr_t) "",
                                .reverse_path = t->from,
                                .rcpt = target->rcpt});
}

void enqueue_start(struct smtpd_parent *p, struct transaction *t)
{
    size_t left = 0;

    for (size_t i = 0; i < t->ntargets; i++) {
        struct target *target = &t->targets[i];

        if (!t->is_injected && t->from[0] && (t->rcpts[target->rcpt].notify & DSN_SUCCESS)) {
            /* queued writes the notification when it has brought it back */
            add_target(t, target);
            free(target->account);
            free(target->path);
        } else {
            t->targets[left++] = *target;
        }
    }
    t->ntargets = left;
    go_on(p, t);
}

void enqueue_failed_targets(struct smtpd_parent *p, struct transaction *t)
{
    for (size_t i = 0; i < t->ntargets; i++)
        if (!t->targets[i].kept)
            add_target(t, &t->targets[i]);
    go_on(p, t);
}

bool enqueue_message(struct smtpd_parent *p, struct ipc_in *in)
{
    struct transaction *t = hmap_get(&p->parts, ipc_get(in));
    enum err_code code = ipc_get_err(in);
    size_t n = 0;

    if (!ipc_end(in))
        return false;
    if (!t)
        return true;
    hmap_remove(&p->parts, slice_str(t->part.text));
    for (size_t i = 0; i < t->naway; i++) {
        n += t->away[i].in_part;
        t->away[i].queued |= t->away[i].in_part && code == ERR_OK;
        t->away[i].in_part = false;
    }
    if (code != ERR_OK) {
        refuse(p, t, code);
        return true;
    }
    LOG(QUEUE_PART, t->id.text, F_STR("part", t->part.text), F_U64("nrcpt", n));
    go_on(p, t);
    return true;
}
