/* retry, hold, release, drop, bounce: changes of the messages that a request chooses. */
#include <stdlib.h>

#include "common/hmap.h"
#include "common/log.h"
#include "common/mem.h"
#include "queue/admin_call.h"

/* What replaces a server's words for recipients that no server was asked about. */
#define TEXT_MAX 1024
#define GIVEN_UP "550 5.0.0 the administrator of this server gave the message up"

struct change {
    struct call *c;
    const char *what; /* for the log */
    /* Collects the changes of one message; returns how many recipients it is about, 0: nothing to do. */
    uint32_t (*make)(struct change *ch, const struct queued *q);
    struct id *changed;
    size_t nchanged;
    struct state_message *gone; /* drop: id and nrecipients */
    size_t ngone;
    struct hmap kicked; /* retry: domains */
};

static void put(struct change *ch, const struct queued *q, uint32_t i, const struct state_recipient *r)
{
    if (!ch->c->dry_run)
        state_put_recipient(queue_door(ch->c)->state, &q->m.id, i, r);
}

/* ---- one message ---- */

static void note_kick(struct change *ch, struct slice address)
{
    struct buf domain = BUF_INIT(BUF_OWN);

    recipient_domain(address, &domain);
    hmap_put(&ch->kicked, buf_slice(&domain), ch);
    buf_free(&domain);
}

/* Who is held stays held. */
static uint32_t make_retry(struct change *ch, const struct queued *q)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < q->m.nrecipients && !q->m.hold; i++) {
        struct state_recipient r = q->recipients[i];

        if (!q->chosen[i] || r.state != STATE_PENDING)
            continue;
        r.next_try = queue_door(ch->c)->now;
        put(ch, q, i, &r);
        note_kick(ch, r.address);
        n++;
    }
    return n;
}

static uint32_t make_hold(struct change *ch, const struct queued *q, bool hold)
{
    struct state_message m = q->m;

    if (m.hold == hold)
        return 0;
    m.hold = hold;
    if (!ch->c->dry_run)
        state_put_message(queue_door(ch->c)->state, &m);
    return m.nrecipients;
}

static uint32_t hold_on(struct change *ch, const struct queued *q)
{
    return make_hold(ch, q, true);
}

static uint32_t hold_off(struct change *ch, const struct queued *q)
{
    return make_hold(ch, q, false);
}

static uint32_t make_bounce(struct change *ch, const struct queued *q)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < q->m.nrecipients; i++) {
        struct state_recipient r = q->recipients[i];

        if (!q->chosen[i] || r.state != STATE_PENDING)
            continue;
        r.state = STATE_BOUNCING;
        if (r.reply.n == 0)
            r.reply = SLICE(GIVEN_UP);
        put(ch, q, i, &r);
        n++;
    }
    return n;
}

/* A message leaves with its last recipient; while others wait the dropped ones are only given up. */
static uint32_t make_drop(struct change *ch, const struct queued *q)
{
    uint32_t n = 0, left = 0;

    for (uint32_t i = 0; i < q->m.nrecipients; i++) {
        bool is_left = recipient_is_left(&q->recipients[i]);

        n += q->chosen[i] && is_left;
        left += !q->chosen[i] && is_left;
    }
    if (left == 0) {
        ch->gone = mem_realloc(ch->gone, ch->ngone + 1, sizeof *ch->gone);
        ch->gone[ch->ngone++] = (struct state_message){.id = q->m.id, .nrecipients = q->m.nrecipients};
        return q->nchosen;
    }
    for (uint32_t i = 0; i < q->m.nrecipients; i++) {
        struct state_recipient r = q->recipients[i];

        if (!q->chosen[i] || !recipient_is_left(&r))
            continue;
        r.state = STATE_FAILED;
        put(ch, q, i, &r);
    }
    return n;
}

/* ---- all ---- */

static bool kick_one(void *ctx, struct slice domain, void *value)
{
    const struct queue_door *door = ctx;

    (void)value;
    door->kick(door->ctx, domain);
    return true;
}

/* queued looks at what changed, then ends the back-off of where it goes. */
static void tell(struct change *ch)
{
    struct queue_door *door = queue_door(ch->c);

    for (size_t i = 0; i < ch->nchanged && door->changed; i++)
        door->changed(door->ctx, &ch->changed[i]);
    if (door->kick)
        hmap_walk(&ch->kicked, kick_one, door);
}

static bool change_one(void *ctx, const struct queued *q)
{
    struct change *ch = ctx;
    uint32_t n = ch->make(ch, q);

    if (n == 0)
        return true;
    ch->changed = mem_realloc(ch->changed, ch->nchanged + 1, sizeof *ch->changed);
    ch->changed[ch->nchanged++] = q->m.id;
    call_item(ch->c, json_pack("{s:s,s:o,s:I}", "id", q->m.id.text, "from",
                         text_line(q->m.reverse_path, TEXT_MAX), "recipients", (json_int_t)n));
    if (!ch->c->dry_run)
        LOG(QUEUE_CHANGED, q->m.id.text, F_STR("change", ch->what), F_U64("recipients", n));
    return true;
}

/* Files first, then records (queue/state.h). A file that stays keeps its records. */
static int remove_gone(struct change *ch)
{
    struct queue_door *door = queue_door(ch->c);
    size_t n = 0;
    int rc = 0;

    if (ch->c->dry_run || ch->ngone == 0)
        return 0;
    for (; n < ch->ngone; n++)
        if ((rc = spool_remove(door->spool, slice_of(ch->gone[n].id.text, ID_LEN), ch->c->e)) < 0)
            break;
    if (spool_sync(door->spool, rc == 0 ? ch->c->e : NULL) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        state_remove(door->state, &ch->gone[i].id, ch->gone[i].nrecipients);
    return rc;
}

static enum err_code change(
    struct call *c, const char *what, uint32_t (*make)(struct change *ch, const struct queued *q))
{
    struct change ch = {.c = c, .what = what, .make = make};
    struct queue_door *door = queue_door(c);
    enum err_code code = select_is_given(c);

    if (code == ERR_OK)
        code = select_messages(c, change_one, &ch);
    if (code == ERR_OK && !c->dry_run) {
        int removed = remove_gone(&ch), committed = state_commit(door->state, removed < 0 ? NULL : c->e);

        code = call_result(c, removed < 0 ? removed : committed);
    }
    if (!c->dry_run)
        tell(&ch);
    free(ch.changed);
    free(ch.gone);
    hmap_free(&ch.kicked);
    return code;
}

enum err_code queue_retry(struct call *c)
{
    return change(c, "retry", make_retry);
}

enum err_code queue_hold(struct call *c)
{
    return change(c, "hold", hold_on);
}

enum err_code queue_release(struct call *c)
{
    return change(c, "release", hold_off);
}

enum err_code queue_drop(struct call *c)
{
    return change(c, "drop", make_drop);
}

enum err_code queue_bounce(struct call *c)
{
    return change(c, "bounce", make_bounce);
}
