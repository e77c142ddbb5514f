/* Messages for mailboxes here: smtpd's parent delivers them as it does mail from outside. */
#include <stdlib.h>

#include "common/mem.h"
#include "queue/queued.h"

struct injection {
    struct id id;
    inject_done *done;
    void *ctx;
    struct queued *q;
};

static void finish(struct injection *i, enum err_code code)
{
    struct queued *q = i->q;

    hmap_remove(&q->injections, slice_of(i->id.text, ID_LEN));
    i->done(q, i->ctx, code);
    free(i);
}

static void on_no_parent(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    finish(arg, ERR_UNAVAILABLE);
}

void inject_start(struct queued *q, const struct id *id, struct slice reverse_path, struct slice recipient,
    bool utf8, bool is_8bit, int text, uint64_t size, inject_done *done, void *ctx)
{
    struct ipc *parent = role_peer(q->role, ROLE_SMTPD_PARENT, 0);
    struct injection *i = mem_zalloc(1, sizeof *i);
    struct timeval at_once = {0};
    struct ipc_out out;

    *i = (struct injection){.id = *id, .done = done, .ctx = ctx, .q = q};
    ipc_begin(&out, IPC_INJECT);
    ipc_put_str(&out, id->text);
    ipc_put(&out, reverse_path);
    ipc_put(&out, recipient);
    ipc_put_u64(&out, utf8);
    ipc_put_u64(&out, is_8bit);
    ipc_put_u64(&out, size);
    ipc_put_fd(&out, text);
    ipc_send(parent, &out); /* without a parent it is dropped, and the text closed */
    if (parent)
        hmap_put(&q->injections, slice_of(id->text, ID_LEN), i);
    else
        event_base_once(q->role->base, -1, EV_TIMEOUT, on_no_parent, i, &at_once);
}

bool inject_message(struct queued *q, struct ipc_in *in)
{
    struct injection *i = hmap_get(&q->injections, ipc_get(in));
    enum err_code code = ipc_get_err(in);

    if (!ipc_end(in))
        return false;
    if (i)
        finish(i, code);
    queued_work_soon(q);
    return true;
}

static bool take_one(void *ctx, struct slice key, void *value)
{
    struct injection **one = ctx;

    (void)key;
    *one = value;
    return false; /* one a walk: ending it changes the table */
}

void inject_parent_gone(struct queued *q)
{
    struct injection *one;

    while (q->injections.count) {
        hmap_walk(&q->injections, take_one, &one);
        finish(one, ERR_UNAVAILABLE);
    }
    queued_work_soon(q);
}
