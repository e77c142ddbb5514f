#include "queue/state.h"

#include <stdlib.h>
#include <string.h>

#include "common/kv.h"
#include "common/log.h"
#include "common/mem.h"
#include "queue/state_record.h"

#define TABLE "queue"
#define RETRIES 8
#define BATCH 2000 /* records of one transaction while the state is built from files */

/* A change that waits: its key and value lie in `octets`, one after the other. */
struct change {
    size_t at, key_n, value_n;
    bool is_removal;
};

struct state {
    char *dir;
    struct spool *spool;
    struct kv *kv;
    struct kv_table *table;
    struct buf octets;
    struct change *changes;
    size_t n, size;
};

/* ---- changes ---- */

static struct change *change_begin(struct state *st, const struct id *id, const uint32_t *index)
{
    char key[STATE_KEY_MAX];
    size_t key_n = state_key(key, id, index);

    if (st->n == st->size) {
        st->size = st->size ? st->size * 2 : 64;
        st->changes = mem_realloc(st->changes, st->size, sizeof *st->changes);
    }
    st->changes[st->n] = (struct change){.at = st->octets.n, .key_n = key_n};
    buf_add(&st->octets, slice_of(key, key_n));
    return &st->changes[st->n++];
}

static void change_end(struct state *st, struct change *c)
{
    INVARIANT(!st->octets.full);
    c->value_n = st->octets.n - c->at - c->key_n;
}

void state_put_message(struct state *st, const struct state_message *m)
{
    struct change *c = change_begin(st, &m->id, NULL);

    state_message_encode(&st->octets, m);
    change_end(st, c);
}

void state_put_recipient(
    struct state *st, const struct id *id, uint32_t index, const struct state_recipient *r)
{
    struct change *c;

    INVARIANT(index < ENVELOPE_RECIPIENTS_MAX);
    c = change_begin(st, id, &index);
    state_recipient_encode(&st->octets, r);
    change_end(st, c);
}

void state_remove(struct state *st, const struct id *id, uint32_t nrecipients)
{
    change_begin(st, id, NULL)->is_removal = true;
    for (uint32_t i = 0; i < nrecipients; i++)
        change_begin(st, id, &i)->is_removal = true;
}

struct state_message state_message_of(const struct envelope *env)
{
    return (struct state_message){
        .id = env->id,
        .account = env->account,
        .reverse_path = env->reverse_path,
        .created = env->created,
        .size = env->size,
        .nrecipients = env->nrecipients,
        .hold = env->hold,
    };
}

void state_add(struct state *st, const struct envelope *env)
{
    struct state_message m = state_message_of(env);

    state_put_message(st, &m);
    for (uint32_t i = 0; i < env->nrecipients; i++) {
        struct state_recipient r = {.address = env->recipients[i].address};

        state_put_recipient(st, &env->id, i, &r);
    }
}

size_t state_waiting(const struct state *st)
{
    return st->n;
}

static enum kv_result write_all(struct state *st)
{
    struct kv_txn *t = kv_begin(st->kv);
    enum kv_result r = KV_OK;

    for (size_t i = 0; i < st->n && (r == KV_OK || r == KV_NONE); i++) {
        const struct change *c = &st->changes[i];
        struct slice key = slice_of(st->octets.p + c->at, c->key_n);

        r = c->is_removal ? kv_delete(t, st->table, key)
                          : kv_put(t, st->table, key, slice_of(key.p + key.n, c->value_n));
    }
    return kv_commit(t); /* fails as the first operation that failed did */
}

int state_commit(struct state *st, struct err *e)
{
    enum kv_result r = KV_OK;

    if (st->n == 0)
        return 0;
    for (int i = 0; i < RETRIES; i++)
        if ((r = write_all(st)) != KV_RETRY)
            break;
    if (r != KV_OK)
        return err_set(e, ERR_IO, "the state of the queue in %s cannot be written", st->dir);
    st->n = 0;
    buf_clear(&st->octets);
    if (st->octets.size > (size_t)4 << 20)
        buf_shrink(&st->octets);
    return 0;
}

bool state_is_alive(struct state *st)
{
    struct buf none = BUF_INIT(STATE_KEY_MAX);
    enum kv_result r = kv_get(NULL, st->table, SLICE("none"), &none);

    buf_free(&none);
    return r == KV_NONE;
}

void state_checkpoint(struct state *st)
{
    kv_checkpoint(st->kv);
}

/* ---- reading ---- */

int state_get(struct state *st, const struct id *id, uint32_t index, struct buf *hold,
    struct state_recipient *out, struct err *e)
{
    char key[STATE_KEY_MAX];
    size_t start = hold->n;
    enum kv_result r = kv_get(NULL, st->table, slice_of(key, state_key(key, id, &index)), hold);

    *out = (struct state_recipient){0};
    if (r == KV_NONE)
        return 0;
    if (r != KV_OK || !state_recipient_decode(slice_from(buf_slice(hold), start), out))
        return err_set(e, ERR_CORRUPT, "the state of %s cannot be read", id->text);
    return 1;
}

/* The walk as the table gives it: a message's record, then as many recipients as it says, else it is damaged.
 */
struct walk {
    const struct state_visitor *v;
    struct state_message m;
    struct buf texts; /* of the message: its record's memory goes with the next step */
    uint32_t seen;
    bool inside, is_damaged, is_ended;
};

static bool is_whole(const struct walk *w)
{
    return !w->inside || w->seen == w->m.nrecipients;
}

static bool step(void *ctx, struct slice key, struct slice value)
{
    struct walk *w = ctx;
    struct state_recipient r;
    struct id id;
    uint32_t index = 0;
    int kind = state_key_parse(key, &id, &index);

    if (kind == 1) {
        w->is_damaged = !is_whole(w);
        w->m = (struct state_message){.id = id};
        buf_clear(&w->texts);
        buf_add(&w->texts, value);
        w->is_damaged |= !state_message_decode(buf_slice(&w->texts), &w->m);
        w->inside = true;
        w->seen = 0;
        w->is_ended = !w->is_damaged && w->v->message && !w->v->message(w->v->ctx, &w->m);
        return !w->is_damaged && !w->is_ended;
    }
    r = (struct state_recipient){0};
    w->is_damaged = kind != 2 || !w->inside || memcmp(id.text, w->m.id.text, ID_LEN) != 0 ||
                    index != w->seen || !state_recipient_decode(value, &r);
    w->seen++;
    w->is_ended = !w->is_damaged && w->v->recipient && !w->v->recipient(w->v->ctx, &w->m, index, &r);
    return !w->is_damaged && !w->is_ended;
}

int state_walk(struct state *st, const struct id *from, const struct state_visitor *v, struct err *e)
{
    struct walk w = {.v = v, .texts = BUF_INIT(BUF_OWN)};
    struct slice start = from ? slice_of(from->text, ID_LEN) : SLICE("");
    enum kv_result r = kv_walk(NULL, st->table, start, step, &w);

    buf_free(&w.texts);
    if (r != KV_OK || w.is_damaged || (!w.is_ended && !is_whole(&w)))
        return err_set(e, ERR_CORRUPT, "the state of the queue in %s is damaged", st->dir);
    return 0;
}

/* ---- agreeing with the files ---- */

struct agreement {
    struct id *ids; /* of the files, ascending */
    size_t n, at;   /* all before `at` were met in the table */
    struct id *missing;
    size_t nmissing;
    struct state_message *gone; /* id and nrecipients */
    size_t ngone, gone_size;
};

static bool compare(void *ctx, const struct state_message *m)
{
    struct agreement *a = ctx;

    while (a->at < a->n && memcmp(a->ids[a->at].text, m->id.text, ID_LEN) < 0)
        a->missing[a->nmissing++] = a->ids[a->at++];
    if (a->at < a->n && memcmp(a->ids[a->at].text, m->id.text, ID_LEN) == 0) {
        a->at++;
        return true;
    }
    if (a->ngone == a->gone_size) {
        a->gone_size = a->gone_size ? a->gone_size * 2 : 64;
        a->gone = mem_realloc(a->gone, a->gone_size, sizeof *a->gone);
    }
    a->gone[a->ngone++] = (struct state_message){.id = m->id, .nrecipients = m->nrecipients};
    return true;
}

/* Records of what has a file and no record. What is damaged was moved away by spool_read. */
static int add_missing(struct state *st, const struct agreement *a, size_t *added, struct err *e)
{
    for (size_t i = 0; i < a->nmissing; i++) {
        struct spool_message m;

        switch (spool_read(st->spool, slice_of(a->missing[i].text, ID_LEN), &m, e)) {
        case SPOOL_OK:
            state_add(st, &m.env);
            spool_message_close(&m);
            ++*added;
            break;
        case SPOOL_ERROR:
            return -1;
        case SPOOL_NONE:
        case SPOOL_DAMAGED:
            break;
        }
        if (st->n >= BATCH && state_commit(st, e) < 0)
            return -1;
    }
    return 0;
}

static int agree(struct state *st, size_t *added, struct err *e)
{
    struct agreement a = {0};
    struct state_visitor v = {.message = compare, .ctx = &a};
    int rc = spool_list(st->spool, &a.ids, &a.n, e);

    if (rc < 0)
        return -1;
    a.missing = mem_alloc(a.n * sizeof *a.missing);
    rc = state_walk(st, NULL, &v, e);
    while (rc == 0 && a.at < a.n)
        a.missing[a.nmissing++] = a.ids[a.at++];
    for (size_t i = 0; rc == 0 && i < a.ngone; i++) {
        state_remove(st, &a.gone[i].id, a.gone[i].nrecipients);
        if (st->n >= BATCH)
            rc = state_commit(st, e);
    }
    if (rc == 0)
        rc = add_missing(st, &a, added, e);
    if (rc == 0)
        rc = state_commit(st, e);
    if (rc == 0 && (a.ngone || *added))
        LOG(QUEUE_STATE, NULL, F_U64("added", *added), F_U64("removed", a.ngone));
    free(a.ids);
    free(a.missing);
    free(a.gone);
    return rc;
}

/* -1 with *damaged: worth another try once it is set aside. */
static int open_once(struct state *st, size_t *added, bool *damaged, struct err *e)
{
    int rc = -1;

    *added = 0;
    st->kv = kv_open(st->dir, false, damaged, e);
    if (!st->kv)
        return -1;
    st->table = kv_table(st->kv, TABLE, e);
    if (st->table)
        rc = agree(st, added, e);
    if (rc == 0)
        return 0;
    *damaged = e->code == ERR_CORRUPT;
    kv_close(st->kv);
    st->kv = NULL;
    st->n = 0;
    buf_clear(&st->octets);
    return -1;
}

struct state *state_open(const char *dir, struct spool *spool, size_t *rebuilt, struct err *e)
{
    struct state *st = mem_zalloc(1, sizeof *st);
    struct err own = {0};
    bool damaged = false;
    int rc;

    st->dir = mem_strdup(dir);
    st->spool = spool;
    st->octets = BUF_INIT(BUF_OWN);
    rc = open_once(st, rebuilt, &damaged, &own);
    if (rc < 0 && damaged) {
        LOG(QUEUE_STATE, NULL, F_STR("damaged", own.detail));
        rc = kv_set_aside(dir, &own) < 0 ? -1 : open_once(st, rebuilt, &damaged, &own);
    }
    if (rc == 0)
        return st;
    if (e)
        *e = own;
    state_close(st);
    return NULL;
}

void state_close(struct state *st)
{
    if (!st)
        return;
    kv_close(st->kv);
    buf_free(&st->octets);
    free(st->changes);
    free(st->dir);
    free(st);
}
