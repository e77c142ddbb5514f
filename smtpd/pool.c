/* The delivers: who is free, what waits for them. */
#include <stdlib.h>

#include "common/log.h"
#include "common/mem.h"
#include "smtpd/parent.h"
#include "smtpd/text.h"

/* --- queues --- */

void pool_queue(struct smtpd_parent *p, struct transaction *t, bool in_front)
{
    if (in_front) {
        t->next = p->queue;
        p->queue = t;
        if (!t->next)
            p->queue_end = &t->next;
    } else {
        t->next = NULL;
        *p->queue_end = t;
        p->queue_end = &t->next;
    }
}

void pool_unqueue(struct smtpd_parent *p, struct transaction *t)
{
    for (struct transaction **at = &p->queue; *at; at = &(*at)->next) {
        if (*at != t)
            continue;
        *at = t->next;
        if (!*at)
            p->queue_end = at;
        t->next = NULL;
        return;
    }
}

static void queue_count(struct smtpd_parent *p, struct count *c)
{
    c->next = NULL;
    *p->count_end = c;
    p->count_end = &c->next;
}

void pool_count(struct smtpd_parent *p, const char *account, const char *path)
{
    struct count *c;

    if (hmap_get(&p->counts, slice_str(account)))
        return;
    c = mem_zalloc(1, sizeof *c);
    c->account = mem_strdup(account);
    c->path = mem_strdup(path);
    hmap_put(&p->counts, slice_str(account), c);
    queue_count(p, c);
}

static void count_free(struct smtpd_parent *p, struct count *c)
{
    hmap_remove(&p->counts, slice_str(c->account));
    free(c->account);
    free(c->path);
    free(c);
}

/* --- work --- */

static bool give_count(struct smtpd_parent *p, unsigned i)
{
    struct count *c = p->count_queue;
    struct ipc_out out;

    /* one at a time: mail whose accounts are known goes on meanwhile */
    if (!c || p->counting > 0)
        return false;
    p->count_queue = c->next;
    if (!p->count_queue)
        p->count_end = &p->count_queue;
    c->next = NULL;
    p->counting++;
    p->pool[i].count = c;
    ipc_begin(&out, IPC_COUNT);
    ipc_put_str(&out, c->account);
    ipc_put_str(&out, c->path);
    ipc_send(role_peer(p->role, ROLE_SMTPD_DELIVER, i), &out);
    return true;
}

static bool give_transaction(struct smtpd_parent *p, unsigned i)
{
    struct transaction *t = p->queue;
    struct ipc_out out;

    if (!t)
        return false;
    pool_unqueue(p, t);
    if (!transaction_job(t, &out)) { /* out of file descriptors */
        t->step = STEP_EXPANDING;    /* it is in no queue */
        transaction_finish(p, t, ERR_UNAVAILABLE);
        return true;
    }
    p->pool[i].transaction = t;
    ipc_send(role_peer(p->role, ROLE_SMTPD_DELIVER, i), &out);
    return true;
}

void pool_work(struct smtpd_parent *p)
{
    for (unsigned i = 0; i < POOL_MAX && (p->queue || p->count_queue); i++)
        while (p->pool[i].is_there && !p->pool[i].transaction && !p->pool[i].count)
            if (!give_count(p, i) && !give_transaction(p, i))
                break;
}

static void count_lost(struct smtpd_parent *p, struct count *c)
{
    char *account;

    if (!c->again) {
        c->again = true;
        queue_count(p, c);
        return;
    }
    LOG(INTERNAL, NULL, F_STR("what", "two delivers died while they counted"), F_STR("account", c->account));
    account = mem_strdup(c->account);
    count_free(p, c);
    transaction_counted(p, account);
    free(account);
}

void pool_peer(struct smtpd_parent *p, unsigned instance, bool is_there)
{
    struct transaction *t;
    struct count *c;

    if (instance >= POOL_MAX)
        return;
    t = p->pool[instance].transaction;
    c = p->pool[instance].count;
    p->pool[instance].is_there = is_there;
    p->pool[instance].transaction = NULL;
    p->pool[instance].count = NULL;
    if (t)
        transaction_lost(p, t);
    if (c) {
        p->counting--;
        count_lost(p, c);
    }
    pool_work(p);
}

/* --- answers --- */

static bool on_delivered(struct smtpd_parent *p, unsigned instance, struct ipc_in *in)
{
    struct transaction *t = p->pool[instance].transaction;
    struct slice id = ipc_get(in);
    enum err_code code = ipc_get_err(in), *codes;
    uint64_t size = ipc_get_u64(in), n = ipc_get_u64(in);

    if (in->bad || !t || t->step != STEP_DELIVERING || !slice_eq(id, slice_str(t->id.text)) || n != t->nbatch)
        return false;
    codes = mem_zalloc(n, sizeof *codes);
    for (size_t i = 0; i < n; i++) {
        codes[i] = ipc_get_err(in);
        ipc_get_bool(in);
    }
    if (!ipc_end(in)) {
        free(codes);
        return false; /* the channel closes: pool_peer sends it to another */
    }
    p->pool[instance].transaction = NULL;
    transaction_delivered(p, t, code, size, codes);
    free(codes);
    pool_work(p);
    return true;
}

static bool on_inspected(struct smtpd_parent *p, unsigned instance, struct ipc_in *in)
{
    struct transaction *t = p->pool[instance].transaction;
    struct slice id = ipc_get(in);
    enum err_code code = ipc_get_err(in);
    uint64_t n = ipc_get_u64(in), got = 0;
    char **authors;

    if (in->bad || !t || t->step != STEP_INSPECTING || !slice_eq(id, slice_str(t->id.text)) ||
        n > SMTP_AUTHORS_MAX)
        return false;
    authors = mem_zalloc(n + 1, sizeof *authors);
    while (got < n && (authors[got] = slice_dup(ipc_get(in))))
        got++;
    if (!ipc_end(in) || got < n) {
        while (got > 0)
            free(authors[--got]);
        free(authors);
        return false;
    }
    p->pool[instance].transaction = NULL;
    transaction_inspected(p, t, code, authors, got);
    pool_work(p);
    return true;
}

static bool on_counted(struct smtpd_parent *p, unsigned instance, struct ipc_in *in)
{
    struct count *c = p->pool[instance].count;
    struct slice account = ipc_get(in);
    enum err_code code = ipc_get_err(in);
    uint64_t octets = ipc_get_u64(in), messages = ipc_get_u64(in);
    struct ipc_out out;
    char *name;

    if (!ipc_end(in) || !c || !slice_eq(account, slice_str(c->account)))
        return false;
    p->pool[instance].count = NULL;
    p->counting--;
    if (code == ERR_OK) {
        ipc_begin(&out, IPC_USAGE_SET);
        ipc_put_str(&out, c->account);
        ipc_put_u64(&out, octets);
        ipc_put_u64(&out, messages);
        ipc_send(role_peer(p->role, ROLE_AUTHD, 0), &out);
    }
    name = mem_strdup(c->account);
    count_free(p, c);
    transaction_counted(p, name);
    free(name);
    pool_work(p);
    return true;
}

bool pool_message(struct smtpd_parent *p, unsigned instance, struct ipc_in *in)
{
    if (instance >= POOL_MAX)
        return false;
    if (in->type == IPC_DELIVERED)
        return on_delivered(p, instance, in);
    if (in->type == IPC_INSPECTED)
        return on_inspected(p, instance, in);
    return in->type == IPC_COUNTED && on_counted(p, instance, in);
}
