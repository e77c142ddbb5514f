/* The control socket of `postamt queue`; the verbs are queue/admin.h's. */
#include <grp.h>
#include <string.h>

#include "common/control.h"
#include "common/mem.h"
#include "queue/admin.h"
#include "queue/queued.h"

static gid_t admin_group = (gid_t)-1; /* looked up outside the sandbox */

void control_prepare(void)
{
    struct group *gr = getgrnam("postamt");

    if (gr)
        admin_group = gr->gr_gid;
}

static void on_changed(void *ctx, const struct id *id)
{
    table_look_again(ctx, id);
    queued_work_soon(ctx);
}

/* Where mail for a domain goes: itself, or the host of a rule. */
static void destination_of(struct queued *q, struct slice domain, struct buf *out)
{
    struct buf address = BUF_INIT(1024);

    buf_add_str(&address, "postmaster@");
    buf_add(&address, domain);
    router_destination(q->router, SLICE(""), buf_slice(&address), out);
    buf_free(&address);
}

static void on_kick(void *ctx, struct slice domain)
{
    struct queued *q = ctx;
    struct buf name = BUF_INIT(2048);

    destination_of(q, domain, &name);
    router_drop(q->router, buf_slice(&name));
    schedule_kick(q->schedule, buf_slice(&name), queued_ms(q));
    buf_free(&name);
    queued_work_soon(q);
}

static bool on_destination(void *ctx, struct slice domain, struct schedule_view *out)
{
    struct queued *q = ctx;
    struct buf name = BUF_INIT(2048);
    bool known;

    destination_of(q, domain, &name);
    known = schedule_look(q->schedule, buf_slice(&name), out);
    buf_free(&name);
    return known;
}

/* {"verb":"queue clock","seconds":N}: hours pass (tests; POSTAMT_TEST_CLOCK). */
static bool moves_clock(struct queued *q, struct slice request)
{
    static const struct call_verb verbs[] = {
        {"queue clock", {{"seconds", CALL_SIZE, true}}, NULL}, {.name = NULL}};
    struct err e = {0};
    struct call c = {.e = &e};
    const struct call_verb *verb = q->has_test_clock ? call_begin(&c, verbs, request) : NULL;

    if (verb)
        queued_advance(q, (int64_t)call_size(&c, "seconds"));
    if (q->has_test_clock)
        call_finish(&c);
    return verb != NULL;
}

static enum err_code on_request(
    void *ctx, struct slice request, void (*item)(void *to, struct slice json), void *to, struct buf *why)
{
    struct queued *q = ctx;
    struct queue_door door = {.spool = q->spool,
        .state = q->state,
        .suppress = q->suppress,
        .now = queued_now(q),
        .clock = queued_ms(q),
        .rules = &q->rules,
        .changed = on_changed,
        .kick = on_kick,
        .destination = on_destination,
        .ctx = q};
    struct err e = {0};
    enum err_code code;

    if (moves_clock(q, request))
        return ERR_OK;
    if (!q->has_loaded) {
        buf_add_str(why, "the queue is starting; try again in a moment");
        return ERR_UNAVAILABLE;
    }
    code = queue_admin_handle(&door, request, item, to, &e);
    buf_add_str(why, e.detail);
    return code;
}

void control_listen(struct queued *q, int fd)
{
    control_new(q->role->base, fd, admin_group, on_request, q);
}
