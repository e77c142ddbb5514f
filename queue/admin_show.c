/* list, show, why: what there is to say about messages of the queue. */
#include <string.h>

#include "common/mem.h"
#include "mail/dsn.h"
#include "queue/admin_call.h"

#define REASON_MAX 200 /* octets of a reply in a list */
#define TEXT_MAX 4096  /* octets of an address or a reply, shown whole */
#define FIRST_MAX 5    /* recipients that are named with a reason; the others are counted */
#define PAGE_OCTETS                                                                                          \
    ((size_t)1 << 19) /* of `why`; a message is always told whole, which may be four times that */

/* ---- times ---- */

/* When it will be tried, by its own wait and by that of where it goes. */
static int64_t next_of(const struct queue_door *door, const struct state_recipient *r)
{
    struct buf domain = BUF_INIT(BUF_OWN);
    int64_t next = r->next_try > door->now ? r->next_try : door->now;
    struct schedule_view view;

    if (door->destination) {
        recipient_domain(r->address, &domain);
        if (door->destination(door->ctx, buf_slice(&domain), &view) && view.next > door->clock &&
            door->now + (view.next - door->clock) / 1000 > next)
            next = door->now + (view.next - door->clock) / 1000;
        buf_free(&domain);
    }
    return next;
}

static json_t *time_or_null(int64_t seconds)
{
    return seconds ? call_time(seconds) : json_null();
}

static json_t *next_or_null(
    const struct queue_door *door, const struct state_message *m, const struct state_recipient *r)
{
    return m->hold || r->state != STATE_PENDING ? json_null() : call_time(next_of(door, r));
}

/* ---- list ---- */

/* The recipient whose failure is the freshest; NULL: none failed yet. */
static const struct state_recipient *last_failure(const struct queued *q)
{
    const struct state_recipient *last = NULL;

    for (uint32_t i = 0; i < q->m.nrecipients; i++) {
        const struct state_recipient *r = &q->recipients[i];

        if (q->chosen[i] && recipient_is_left(r) && r->last_try && (!last || r->last_try > last->last_try))
            last = r;
    }
    return last;
}

static bool list_one(void *ctx, const struct queued *q)
{
    struct call *c = ctx;
    const struct queue_door *door = queue_door(c);
    const struct state_recipient *last = last_failure(q);
    int64_t next = INT64_MAX;
    uint32_t left = 0;

    for (uint32_t i = 0; i < q->m.nrecipients; i++) {
        const struct state_recipient *r = &q->recipients[i];

        left += recipient_is_left(r);
        if (r->state == STATE_PENDING && !q->m.hold && next > door->now) {
            int64_t at = next_of(door, r);

            next = at < next ? at : next;
        }
    }
    call_item(
        c, json_pack("{s:s,s:o,s:o,s:I,s:I,s:s,s:o,s:I,s:I,s:o,s:o}", "id", q->m.id.text, "from",
               text_line(q->m.reverse_path, TEXT_MAX), "created", call_time(q->m.created), "age",
               (json_int_t)(door->now > q->m.created ? door->now - q->m.created : 0), "size",
               (json_int_t)q->m.size, "state", message_state(door, q), "next_try",
               next == INT64_MAX ? json_null() : call_time(next), "left", (json_int_t)left, "recipients",
               (json_int_t)q->m.nrecipients, "host", text_line(last ? last->host : SLICE(""), REASON_MAX),
               "reason", text_line(last ? last->reply : SLICE(""), REASON_MAX)));
    return true;
}

enum err_code queue_list(struct call *c)
{
    return select_messages(c, list_one, c);
}

/* ---- show ---- */

static json_t *notify_of(unsigned notify)
{
    static const char *const names[] = {"never", "success", "failure", "delay"};
    json_t *list = json_array();

    for (unsigned i = 0; i < 4; i++)
        if (notify & 1u << i)
            json_array_append_new(list, json_string(names[i]));
    return list;
}

static void show_message(struct call *c, const struct queued *q, const struct envelope *env)
{
    static const char *const ret[] = {"", "full", "hdrs"};
    const struct queue_door *door = queue_door(c);
    json_t *o = json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:I,s:s,s:b,s:I}", "id", q->m.id.text, "from",
        text_line(q->m.reverse_path, TEXT_MAX), "account", text_line(q->m.account, TEXT_MAX), "forward",
        text_line(env->forward, TEXT_MAX), "created", call_time(q->m.created), "expires",
        call_time(schedule_expiry(door->rules, q->m.created)), "size", (json_int_t)q->m.size, "state",
        message_state(door, q), "warned", q->m.warned, "recipients", (json_int_t)q->m.nrecipients);

    INVARIANT(o);
    json_object_set_new(o, "envid", text_line(env->envid, TEXT_MAX));
    json_object_set_new(o, "ret", json_string(ret[env->ret <= ENVELOPE_RET_HDRS ? env->ret : 0]));
    json_object_set_new(o, "smtputf8", json_boolean(env->smtputf8));
    json_object_set_new(o, "8bit", json_boolean(env->is_8bit));
    json_object_set_new(o, "requiretls", json_boolean(env->requiretls));
    call_item(c, o);
}

static void show_recipient(
    struct call *c, const struct queued *q, uint32_t i, const struct envelope_recipient *in)
{
    const struct queue_door *door = queue_door(c);
    const struct state_recipient *r = &q->recipients[i];
    json_t *o = json_pack("{s:o,s:s,s:I,s:o,s:o,s:s,s:o,s:o}", "recipient", text_line(r->address, TEXT_MAX),
        "state", recipient_state(door, &q->m, r), "attempts", (json_int_t)r->attempts, "last_try",
        time_or_null(r->last_try), "next_try", next_or_null(door, &q->m, r), "class",
        r->attempts && recipient_is_left(r) ? schedule_class_name(r->reason) : "", "host",
        text_line(r->host, TEXT_MAX), "reply", text_line(r->reply, TEXT_MAX));

    INVARIANT(o);
    json_object_set_new(o, "orcpt", text_line(in->orcpt, TEXT_MAX));
    json_object_set_new(o, "notify", notify_of(in->notify));
    json_object_set_new(o, "dsn_sent", json_boolean(r->dsn_sent));
    call_item(c, o);
}

static bool show_one(void *ctx, const struct queued *q)
{
    struct call *c = ctx;
    struct spool_message m;
    enum spool_result rc = spool_read(queue_door(c)->spool, slice_of(q->m.id.text, ID_LEN), &m, c->e);

    if (rc == SPOOL_OK && m.env.nrecipients == q->m.nrecipients) {
        show_message(c, q, &m.env);
        for (uint32_t i = 0; i < q->m.nrecipients; i++)
            show_recipient(c, q, i, &m.env.recipients[i]);
    } else if (rc != SPOOL_ERROR) {
        err_set(c->e, ERR_CORRUPT, "the file of %s is gone or damaged; look into the log", q->m.id.text);
    }
    if (rc == SPOOL_OK)
        spool_message_close(&m);
    return true;
}

enum err_code queue_show(struct call *c)
{
    json_t *request = json_pack("{s:[s%]}", "ids", call_text(c, "id").p, call_text(c, "id").n);
    struct call one = *c;
    enum err_code code;

    INVARIANT(request);
    one.request = request;
    code = select_messages(&one, show_one, &one);
    json_decref(request);
    return code == ERR_OK ? c->e->code : code;
}

/* ---- why ---- */

struct why {
    struct call *c;
    enum reply_language language;
    size_t octets;
};

/* What is not a server's word. */
static const struct {
    const char *name, *cause[REPLY_LANGUAGES], *fix[REPLY_LANGUAGES];
} own[] = {
    {"held",
        {"The message is held: nobody is tried until it is released.",
            "Die Nachricht wird angehalten: Sie wird nicht gesendet, bis jemand sie freigibt."},
        {"Release it with: postamt queue release.", "Geben Sie sie frei mit: postamt queue release."}},
    {"not-tried", {"It was not tried yet.", "Es gab noch keinen Versuch."},
        {"Wait a moment; if it stays so, see whether the server is well with: postamt status.",
            "Warten Sie einen Moment; bleibt es so, sehen Sie nach dem Server mit: postamt status."}},
};

static json_t *first_recipients(const struct queued *q, uint32_t from, const bool *done, uint32_t *n)
{
    const struct state_recipient *r = &q->recipients[from];
    json_t *list = json_array();

    *n = 0;
    for (uint32_t i = from; i < q->m.nrecipients; i++) {
        const struct state_recipient *o = &q->recipients[i];

        if (done[i] || !slice_eq(o->host, r->host) || !slice_eq(o->reply, r->reply))
            continue;
        if (++*n <= FIRST_MAX)
            json_array_append_new(list, text_line(o->address, TEXT_MAX));
    }
    return list;
}

static void explain(struct why *w, const struct queued *q, uint32_t i, const bool *done)
{
    const struct queue_door *door = queue_door(w->c);
    const struct state_recipient *r = &q->recipients[i];
    struct reply_meaning m = replies_explain(r->host, r->reply);
    const char *name = m.name, *provider = m.provider, *cause = m.cause[w->language],
               *fix = m.fix[w->language];
    bool is_admin = m.is_admin;
    json_t *o, *first;
    char *text;
    uint32_t n;

    if ((q->m.hold && r->state == STATE_PENDING) || r->attempts == 0) {
        size_t k = q->m.hold && r->state == STATE_PENDING ? 0 : 1;

        name = own[k].name;
        provider = "";
        cause = own[k].cause[w->language];
        fix = own[k].fix[w->language];
        is_admin = true;
    }
    first = first_recipients(q, i, done, &n);
    o = json_pack("{s:s,s:o,s:s,s:I,s:o,s:I,s:o,s:o,s:o,s:o,s:s,s:s,s:b,s:s,s:s}", "id", q->m.id.text, "from",
        text_line(q->m.reverse_path, TEXT_MAX), "state", recipient_state(door, &q->m, r), "recipients",
        (json_int_t)n, "first", first, "attempts", (json_int_t)r->attempts, "last_try",
        time_or_null(r->last_try), "next_try", next_or_null(door, &q->m, r), "host",
        text_line(r->host, TEXT_MAX), "reply", text_line(r->reply, TEXT_MAX), "meaning", name, "provider",
        provider, "administrator", is_admin, "cause", cause, "fix", fix);
    INVARIANT(o);
    text = json_dumps(o, JSON_COMPACT);
    INVARIANT(text);
    w->octets += strlen(text);
    w->c->item(w->c->ctx, slice_str(text));
    free(text);
    json_decref(o);
}

/* Recipients that were told the same are told of together. */
static bool why_one(void *ctx, const struct queued *q)
{
    struct why *w = ctx;
    bool *done = mem_zalloc(q->m.nrecipients, sizeof *done);

    for (uint32_t i = 0; i < q->m.nrecipients; i++)
        done[i] = !q->chosen[i] || !recipient_is_left(&q->recipients[i]);
    for (uint32_t i = 0; i < q->m.nrecipients; i++) {
        if (done[i])
            continue;
        explain(w, q, i, done);
        for (uint32_t k = q->m.nrecipients; k-- > i;)
            done[k] |= slice_eq(q->recipients[k].host, q->recipients[i].host) &&
                       slice_eq(q->recipients[k].reply, q->recipients[i].reply);
    }
    free(done);
    return w->octets < PAGE_OCTETS;
}

enum err_code queue_why(struct call *c)
{
    struct why w = {.c = c};
    struct slice language = call_text(c, "language");

    if (slice_eq(language, SLICE("de")))
        w.language = REPLY_GERMAN;
    else if (language.n && !slice_eq(language, SLICE("en"))) {
        err_set(c->e, ERR_USAGE, "that language is not known here; write en or de");
        return ERR_USAGE;
    }
    return select_messages(c, why_one, &w);
}
