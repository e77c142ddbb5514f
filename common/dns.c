#include "common/dns.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define NAME_MAX_OCTETS 253

struct question {
    struct question *next;
    struct dns *dns;
    uint64_t id;
    struct slice name; /* its own */
    enum dns_type type;
    bool is_sent, waits; /* for an answer; for its turn to be sent */
    dns_done *done;
    void *ctx;
    struct event *timer; /* DNS_SECONDS, or the loop's next turn when there is nobody to ask */
    enum dns_status failure;
    const char *why;
};

struct dns {
    struct event_base *base;
    struct ipc *resolverd;
    struct question *questions, **end; /* in the order they were asked */
    size_t nsent;
    uint64_t last;
};

const char *dns_status_name(enum dns_status s)
{
    static const char *const names[DNS_STATUSES] = {
        [DNS_OK] = "ok",
        [DNS_NODATA] = "nodata",
        [DNS_NXDOMAIN] = "nxdomain",
        [DNS_FAILED] = "failed",
        [DNS_BOGUS] = "bogus",
        [DNS_BUSY] = "busy",
        [DNS_BAD_NAME] = "bad-name",
    };

    return (unsigned)s < DNS_STATUSES ? names[s] : "?";
}

struct dns *dns_new(struct event_base *base)
{
    struct dns *d = mem_zalloc(1, sizeof *d);

    d->base = base;
    d->end = &d->questions;
    return d;
}

static void question_free(struct question *q)
{
    event_free(q->timer);
    free((void *)(uintptr_t)q->name.p);
    free(q);
}

void dns_free(struct dns *d)
{
    while (d->questions) {
        struct question *q = d->questions;

        d->questions = q->next;
        question_free(q);
    }
    free(d);
}

static void send_question(struct question *q)
{
    struct ipc_out out;

    q->waits = false;
    q->is_sent = true;
    q->dns->nsent++;
    ipc_begin(&out, IPC_DNS_ASK);
    ipc_put_u64(&out, q->id);
    ipc_put(&out, q->name);
    ipc_put_u64(&out, q->type);
    ipc_send(q->dns->resolverd, &out);
}

/* Out of the list; whoever waits for its turn has it. */
static void question_take(struct question *q)
{
    struct dns *d = q->dns;
    struct question **at = &d->questions;

    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    if (!*at)
        d->end = at;
    d->nsent -= q->is_sent;
    for (q = d->questions; q && d->nsent < DNS_AT_ONCE; q = q->next)
        if (q->waits)
            send_question(q);
}

/* Out of the list before it is answered: the callback may ask, and forget. */
static void question_answer(struct question *q, struct dns_answer *answer)
{
    question_take(q);
    if (!answer->canonical.n)
        answer->canonical = q->name;
    q->done(q->ctx, answer);
    question_free(q);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    struct question *q = ctx;
    struct dns_answer answer = {.status = q->failure, .why = slice_str(q->why)};

    (void)fd, (void)what;
    question_answer(q, &answer);
}

static void answer_after(struct question *q, time_t seconds, enum dns_status status, const char *why)
{
    struct timeval tv = {.tv_sec = seconds};

    q->failure = status;
    q->why = why;
    event_add(q->timer, &tv);
}

void dns_connect(struct dns *d, struct ipc *resolverd)
{
    d->resolverd = resolverd;
    for (struct question *q = d->questions; q; q = q->next) {
        q->waits = false;
        answer_after(q, 0, DNS_FAILED, "resolverd ended and is started again");
    }
}

void dns_ask(struct dns *d, struct slice name, enum dns_type type, dns_done *done, void *ctx)
{
    struct question *q = mem_zalloc(1, sizeof *q);
    char *copy = mem_alloc(name.n + 1);

    if (name.n)
        memcpy(copy, name.p, name.n);
    *q = (struct question){.dns = d,
        .id = ++d->last,
        .name = slice_of(copy, name.n),
        .type = type,
        .done = done,
        .ctx = ctx,
        .timer = evtimer_new(d->base, on_timer, q)};
    INVARIANT(q->timer);
    *d->end = q;
    d->end = &q->next;
    if (name.n == 0 || name.n > NAME_MAX_OCTETS) {
        answer_after(q, 0, DNS_BAD_NAME, "that is no domain name");
    } else if (!d->resolverd) {
        answer_after(q, 0, DNS_FAILED, "resolverd is starting");
    } else {
        answer_after(q, DNS_SECONDS, DNS_FAILED, "resolverd has no answer in time");
        q->waits = d->nsent >= DNS_AT_ONCE;
        if (!q->waits)
            send_question(q);
    }
}

void dns_forget(struct dns *d, const void *ctx)
{
    struct question *next;

    for (struct question *q = d->questions; q; q = next) {
        next = q->next;
        if (q->ctx != ctx)
            continue;
        question_take(q);
        question_free(q);
    }
}

bool dns_message(struct dns *d, struct ipc_in *in)
{
    struct dns_record records[DNS_RECORDS_MAX];
    struct dns_answer answer = {.records = records};
    uint64_t id = ipc_get_u64(in), status = ipc_get_u64(in), ttl;
    struct question *q = d->questions;

    answer.secure = ipc_get_bool(in);
    ttl = ipc_get_u64(in);
    answer.canonical = ipc_get(in);
    answer.why = ipc_get(in);
    answer.n = ipc_get_u64(in);
    if (status >= DNS_STATUSES || ttl > UINT32_MAX || answer.n > DNS_RECORDS_MAX)
        return false;
    answer.status = (enum dns_status)status;
    answer.ttl = (uint32_t)ttl;
    for (size_t i = 0; i < answer.n; i++)
        if (!dns_record_decode(ipc_get(in), &records[i]))
            return false;
    if (!ipc_end(in) || (answer.status == DNS_OK) != (answer.n > 0))
        return false;
    while (q && q->id != id)
        q = q->next;
    if (q) /* else it was forgotten, or was answered when its time was over */
        question_answer(q, &answer);
    return true;
}

/* --- a record in a message: its fields in the struct's order, lengths before them, the higher octet first
 * ---
 */

static void put_u16(struct buf *out, size_t v)
{
    INVARIANT(v <= UINT16_MAX);
    buf_add_char(out, (char)(v >> 8));
    buf_add_char(out, (char)(v & 0xff));
}

static void put_run(struct buf *out, struct slice s)
{
    put_u16(out, s.n);
    buf_add(out, s);
}

void dns_record_encode(struct buf *out, const struct dns_record *r)
{
    put_run(out, slice_of(r->ip, r->ip_len));
    put_u16(out, r->preference);
    put_run(out, r->name);
    put_run(out, r->text);
    buf_add_char(out, (char)r->usage);
    buf_add_char(out, (char)r->selector);
    buf_add_char(out, (char)r->matching);
    put_run(out, r->data);
}

static bool get_octets(struct slice *in, size_t n, struct slice *s)
{
    bool ok = in->n >= n;

    *s = slice_sub(*in, 0, n);
    *in = slice_from(*in, n);
    return ok;
}

static bool get_u16(struct slice *in, uint16_t *v)
{
    struct slice s;

    if (!get_octets(in, 2, &s))
        return false;
    *v = (uint16_t)((unsigned char)s.p[0] << 8 | (unsigned char)s.p[1]);
    return true;
}

static bool get_run(struct slice *in, struct slice *s)
{
    uint16_t n;

    return get_u16(in, &n) && get_octets(in, n, s);
}

bool dns_record_decode(struct slice in, struct dns_record *r)
{
    struct slice ip, tlsa;

    *r = (struct dns_record){0};
    if (!get_run(&in, &ip) || !get_u16(&in, &r->preference) || !get_run(&in, &r->name) ||
        !get_run(&in, &r->text) || !get_octets(&in, 3, &tlsa) || !get_run(&in, &r->data) || in.n)
        return false;
    if ((ip.n != 0 && ip.n != 4 && ip.n != 16) || r->name.n > NAME_MAX_OCTETS)
        return false;
    if (ip.n)
        memcpy(r->ip, ip.p, ip.n);
    r->ip_len = (uint8_t)ip.n;
    r->usage = (uint8_t)tlsa.p[0];
    r->selector = (uint8_t)tlsa.p[1];
    r->matching = (uint8_t)tlsa.p[2];
    return true;
}
