/*
 * ENQUEUE: a message is signed, written and synced in a thread; those that are ready at the same moment share
 * the sync of the folder; then their records are made and smtpd hears that they are kept.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "queue/prepare.h"
#include "queue/queued.h"

#define HOUR 3600
#define DAY 86400
#define FREE_MIN 50    /* thousandths of the disk that stay free */
#define REMOVED_MS 100 /* records of removed files wait so long for a sync that is made for a new one */

struct accept {
    struct pool_job job; /* first */
    struct accept *next;
    struct queued *q;
    struct buf octets; /* the message of smtpd: slices of `request` point into it */
    struct arena arena;
    struct enqueue request;
    char *host;
    int text;
    struct spool_writer writer;
    int rc;
    struct err e;
};

struct sync {
    struct pool_job job; /* first */
    struct queued *q;
    struct accept *placed;
    struct id *removed;
    uint32_t *removed_n;
    size_t nremoved;
    int rc;
    struct err e;
};

static void sync_late(struct queued *q);

/* --- how much an account may send (limits.outbound_*) --- */

struct sent_by {
    int64_t hour, day; /* numbers of the hour and the day that the counts are of */
    unsigned in_hour, in_day;
};

static unsigned count_elsewhere(struct queued *q, const struct envelope *env)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < env->nrecipients; i++) {
        ssize_t at = slice_rchr(env->recipients[i].address, '@');

        n += !keys_is_ours(q->keys, slice_from(env->recipients[i].address, (size_t)(at + 1)));
    }
    return n;
}

static bool may_send(struct queued *q, const struct envelope *env)
{
    const struct settings *s = q->role->settings;
    struct sent_by *by = hmap_get(&q->sent_by, env->account);
    unsigned n = env->account.n ? count_elsewhere(q, env) : 0;
    int64_t now = queued_now(q);

    if (n == 0)
        return true;
    if (!by) {
        by = mem_zalloc(1, sizeof *by);
        hmap_put(&q->sent_by, env->account, by);
    }
    if (by->hour != now / HOUR)
        by->in_hour = 0;
    if (by->day != now / DAY)
        by->in_day = 0;
    by->hour = now / HOUR;
    by->day = now / DAY;
    if ((s->outbound_per_hour && by->in_hour + n > s->outbound_per_hour) ||
        (s->outbound_per_day && by->in_day + n > s->outbound_per_day))
        return false;
    by->in_hour += n;
    by->in_day += n;
    return true;
}

/* --- answers --- */

static void answer(struct queued *q, const char *id, enum err_code code)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_ENQUEUED);
    ipc_put_str(&out, id);
    ipc_put_u64(&out, code);
    ipc_send(role_peer(q->role, ROLE_SMTPD_PARENT, 0), &out);
}

static void accept_free(struct accept *a)
{
    if (a->text >= 0)
        close(a->text);
    buf_free(&a->octets);
    arena_free(&a->arena);
    free(a->host);
    free(a);
}

static void refuse(struct accept *a, enum err_code code, const char *why)
{
    LOG(QUEUE_REFUSED, a->request.env.id.text, F_SLICE("account", a->request.env.account),
        F_STR("why", err_row(code)->name), F_STR("detail", why));
    answer(a->q, a->request.env.id.text, code);
    accept_free(a);
}

/* An address that refused mail for good a while ago is not bothered again: the sender hears why. */
static void mark_suppressed(struct queued *q, const struct envelope *env)
{
    for (uint32_t i = 0; i < env->nrecipients; i++) {
        struct slice address = env->recipients[i].address;
        struct state_recipient r = {.address = address, .state = STATE_BOUNCING, .last_try = queued_now(q)};
        struct suppress_entry s;

        if (!notify_is_wanted(env, DSN_FAILED, env->recipients[i].notify) ||
            !queued_is_suppressed(q, address, &s))
            continue;
        r.host = slice_sub(s.host, 0, STATE_HOST_MAX);
        r.reply = s.reply.n
                      ? slice_sub(s.reply, 0, STATE_REPLY_MAX)
                      : SLICE("550 5.7.1 the administrator of this server lets no mail go to that address");
        LOG(BOUNCED, env->id.text, F_SLICE("rcpt", address), F_STR("reason", "suppressed"));
        state_put_recipient(q->state, &env->id, i, &r);
    }
}

static void kept(struct accept *a)
{
    struct queued *q = a->q;
    struct envelope *env = &a->request.env;

    LOG(QUEUED, env->id.text, F_SLICE("account", env->account), F_SLICE("from", env->reverse_path),
        F_SLICE("forward", env->forward), F_U64("nrcpt", env->nrecipients), F_U64("size", env->size));
    state_add(q->state, env);
    mark_suppressed(q, env);
}

/* --- the thread's part --- */

static int copy_text(struct accept *a, const struct prepared *p)
{
    uint64_t at = 0;
    int rc = spool_write(&a->writer, buf_slice(&p->front), &a->e);

    for (size_t i = 0; rc == 0 && i < p->ncuts; i++) {
        rc = spool_copy(&a->writer, a->text, at, p->cuts[i].offset - at, &a->e);
        at = p->cuts[i].offset + p->cuts[i].len;
    }
    return rc < 0 ? rc : spool_copy(&a->writer, a->text, at, a->request.env.size - at, &a->e);
}

static void write_message(struct pool_job *job)
{
    struct accept *a = (struct accept *)job;
    struct prepared p;

    a->rc =
        prepare_text(a->q->keys, &a->request, slice_str(a->host), a->request.env.created, a->text, &p, &a->e);
    if (a->rc == 0)
        a->rc = spool_begin(a->q->spool, &a->request.env, &a->writer, &a->e);
    if (a->rc == 0) {
        a->rc = copy_text(a, &p);
        if (a->rc < 0)
            spool_drop(&a->writer);
        else
            a->rc = spool_place(&a->writer, &a->e);
    }
    prepared_free(&p);
}

static void written(struct pool_job *job)
{
    struct accept *a = (struct accept *)job;
    struct queued *q = a->q;

    if (a->rc < 0) {
        refuse(a, a->e.code, a->e.detail);
        return;
    }
    a->next = q->placed;
    q->placed = a;
    accept_sync(q);
}

/* --- the folder's sync --- */

static void sync_folder(struct pool_job *job)
{
    struct sync *s = (struct sync *)job;

    s->rc = spool_sync(s->q->spool, &s->e);
    for (struct accept *a = s->placed; s->rc < 0 && a; a = a->next)
        (void)spool_remove(s->q->spool, slice_str(a->request.env.id.text), NULL);
}

/* 451 for all of them when the records cannot be written either: the files go, nobody was told 250. */
static int all_kept(struct sync *s)
{
    struct queued *q = s->q;
    struct accept *next;

    for (struct accept *a = s->placed; a; a = a->next)
        kept(a);
    for (size_t i = 0; i < s->nremoved; i++)
        state_remove(q->state, &s->removed[i], s->removed_n[i]);
    if (state_commit(q->state, &s->e) < 0) {
        LOG(QUEUE_STATE, NULL, F_STR("error", s->e.detail));
        for (struct accept *a = s->placed; a; a = a->next) {
            (void)spool_remove(q->spool, slice_str(a->request.env.id.text), NULL);
            state_remove(q->state, &a->request.env.id, a->request.env.nrecipients); /* they still wait */
        }
        return -1;
    }
    for (struct accept *a = s->placed; a; a = next) {
        next = a->next;
        answer(q, a->request.env.id.text, ERR_OK);
        table_look_again(q, &a->request.env.id);
        accept_free(a);
    }
    return 0;
}

static void note_removed(struct queued *q, const struct id *id, uint32_t nrecipients)
{
    if (q->nremoved == q->removed_size) {
        q->removed_size = q->removed_size ? 2 * q->removed_size : 64;
        q->removed = mem_realloc(q->removed, q->removed_size, sizeof *q->removed);
        q->removed_n = mem_realloc(q->removed_n, q->removed_size, sizeof *q->removed_n);
    }
    q->removed[q->nremoved] = *id;
    q->removed_n[q->nremoved++] = nrecipients;
}

static void synced(struct pool_job *job)
{
    struct sync *s = (struct sync *)job;
    struct queued *q = s->q;
    struct accept *next;
    bool is_healthy;

    q->is_syncing = false;
    if (s->rc == 0)
        s->rc = all_kept(s);
    else /* records stay until a sync, the next message's, says that the files are gone */
        for (size_t i = 0; i < s->nremoved; i++)
            note_removed(q, &s->removed[i], s->removed_n[i]);
    is_healthy = s->rc == 0;
    for (struct accept *a = s->rc < 0 ? s->placed : NULL; a; a = next) {
        next = a->next;
        refuse(a, s->e.code, s->e.detail);
    }
    free(s->removed);
    free(s->removed_n);
    free(s);
    if (q->placed)
        accept_sync(q);
    else if (is_healthy && q->nremoved)
        sync_late(q);
    queued_work_soon(q);
}

void accept_sync(struct queued *q)
{
    struct sync *s;

    if (q->is_syncing || (!q->placed && !q->nremoved))
        return;
    s = mem_zalloc(1, sizeof *s);
    *s = (struct sync){.job = {.work = sync_folder, .done = synced},
        .q = q,
        .placed = q->placed,
        .removed = q->removed,
        .removed_n = q->removed_n,
        .nremoved = q->nremoved};
    q->placed = NULL;
    q->removed = NULL;
    q->removed_n = NULL;
    q->nremoved = q->removed_size = 0;
    q->is_syncing = true;
    INVARIANT(pool_submit(q->syncer, &s->job)); /* one at a time */
}

static void on_late_sync(evutil_socket_t fd, short what, void *arg)
{
    struct queued *q = arg;

    (void)fd, (void)what;
    q->has_late_sync = false;
    accept_sync(q);
}

static void sync_late(struct queued *q)
{
    struct timeval late = {.tv_usec = REMOVED_MS * 1000};

    if (!q->has_late_sync)
        q->has_late_sync = event_base_once(q->role->base, -1, EV_TIMEOUT, on_late_sync, q, &late) == 0;
}

bool accept_remove(struct queued *q, const struct message *m)
{
    struct err e = {0};

    if (spool_remove(q->spool, slice_str(m->id.text), &e) < 0) {
        LOG(QUEUE_STATE, m->id.text, F_STR("error", e.detail));
        return false;
    }
    note_removed(q, &m->id, m->nrecipients);
    sync_late(q);
    return true;
}

/* --- ENQUEUE --- */

bool accept_enqueue(struct queued *q, struct ipc *ch, struct ipc_in *in)
{
    struct accept *a = mem_zalloc(1, sizeof *a);
    struct ipc_in copy = *in;

    (void)ch;
    *a = (struct accept){.job = {.work = write_message, .done = written}, .q = q, .text = -1};
    a->octets = BUF_INIT(IPC_MAX);
    arena_init(&a->arena, ENVELOPE_ARENA);
    buf_add(&a->octets, in->rest);
    copy.rest = buf_slice(&a->octets);
    if (!enqueue_get(&copy, &a->arena, &a->request, &a->text)) {
        in->taken = copy.taken;
        accept_free(a);
        return false;
    }
    in->taken = copy.taken;
    a->request.env.created = queued_now(q);
    a->host = mem_strdup(q->role->settings->hostname);
    if (!q->has_loaded || q->stopping)
        refuse(a, ERR_UNAVAILABLE, "queued is starting or ending");
    else if (!may_send(q, &a->request.env))
        refuse(a, ERR_SENDING_LIMIT, "limits.outbound_per_hour, limits.outbound_per_day");
    else if (fs_free_space(q->folder) < FREE_MIN)
        refuse(a, ERR_NO_SPACE, "less than 5 % of the queue's disk are free");
    else if (table_find(q, slice_str(a->request.env.id.text)))
        refuse(a, ERR_INTERNAL, "a message of that id is queued already");
    else if (!pool_submit(q->writers, &a->job))
        refuse(a, ERR_UNAVAILABLE, "too many messages are being written");
    return true;
}
