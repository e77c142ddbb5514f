/* common/dns: each question has one answer, never from inside dns_ask, whatever becomes of resolverd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/dns.h"

static struct event_base *base;
static struct dns *dns;
static struct ipc *ours, *theirs;

/* What resolverd was asked last, and how often. */
static uint64_t asked, type_asked;
static char name_asked[64];
static unsigned questions;

struct seen {
    unsigned answers;
    enum dns_status status;
    size_t n;
    bool secure, asks_again;
    uint32_t ttl;
    char canonical[512];
    struct dns_record first;
};

static bool on_ask(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct slice name;

    (void)ctx, (void)ch;
    assert_int_equal(in->type, IPC_DNS_ASK);
    asked = ipc_get_u64(in);
    name = ipc_get(in);
    type_asked = ipc_get_u64(in);
    assert_true(name.n < sizeof name_asked);
    memcpy(name_asked, name.p, name.n);
    name_asked[name.n] = '\0';
    questions++;
    return ipc_end(in);
}

static bool on_answer(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    (void)ctx, (void)ch;
    return in->type == IPC_DNS_ANSWER && dns_message(dns, in);
}

static void on_closed(void *ctx, struct ipc *ch)
{
    (void)ctx;
    if (ch == ours) {
        ours = NULL;
        dns_connect(dns, NULL);
    } else {
        theirs = NULL;
    }
}

static void on_done(void *ctx, const struct dns_answer *a)
{
    struct seen *s = ctx;

    s->answers++;
    s->status = a->status;
    s->n = a->n;
    s->secure = a->secure;
    s->ttl = a->ttl;
    assert_true(a->canonical.n < sizeof s->canonical);
    memcpy(s->canonical, a->canonical.p, a->canonical.n);
    s->canonical[a->canonical.n] = '\0';
    if (a->n)
        s->first = a->records[0];
    if (s->asks_again) {
        s->asks_again = false;
        dns_ask(dns, SLICE("again.test"), DNS_A, on_done, s);
    }
}

static int setup(void **state)
{
    int fds[2];

    (void)state;
    base = event_base_new();
    dns = dns_new(base);
    questions = 0;
    if (ipc_pair(fds) < 0)
        return -1;
    ours = ipc_new(base, fds[0], "resolverd", on_answer, on_closed, NULL);
    theirs = ipc_new(base, fds[1], "queued", on_ask, on_closed, NULL);
    dns_connect(dns, ours);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_free(dns);
    if (ours)
        ipc_free(ours);
    if (theirs)
        ipc_free(theirs);
    ours = theirs = NULL;
    event_base_free(base);
    return 0;
}

static void turn(void)
{
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void answer(uint64_t question, uint64_t status, const struct dns_record *r)
{
    struct buf one = BUF_INIT(IPC_MAX);
    struct ipc_out out;

    ipc_begin(&out, IPC_DNS_ANSWER);
    ipc_put_u64(&out, question);
    ipc_put_u64(&out, status);
    ipc_put_u64(&out, 1);
    ipc_put_u64(&out, 300);
    ipc_put_str(&out, "host.test");
    ipc_put_str(&out, "");
    ipc_put_u64(&out, r ? 1 : 0);
    if (r) {
        dns_record_encode(&one, r);
        ipc_put(&out, buf_slice(&one));
    }
    buf_free(&one);
    ipc_send(theirs, &out);
    turn();
}

static void asks(void **state)
{
    struct dns_record r = {.ip = {192, 0, 2, 1}, .ip_len = 4};
    struct seen s = {.asks_again = true};

    (void)state;
    dns_ask(dns, SLICE("example.test"), DNS_A, on_done, &s);
    assert_int_equal(s.answers, 0);
    turn();
    assert_string_equal(name_asked, "example.test");
    assert_int_equal(type_asked, DNS_A);
    answer(asked + 1, DNS_NODATA, NULL); /* nobody's */
    assert_int_equal(s.answers, 0);
    answer(asked, DNS_OK, &r);
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.status, DNS_OK);
    assert_int_equal(s.first.ip_len, 4);
    assert_memory_equal(s.first.ip, r.ip, 4);
    assert_true(s.secure);
    assert_int_equal(s.ttl, 300);
    assert_string_equal(s.canonical, "host.test");
    turn();
    assert_string_equal(name_asked, "again.test");
    answer(asked - 1, DNS_OK, &r); /* a second one */
    assert_int_equal(s.answers, 1);
    answer(asked, DNS_NXDOMAIN, NULL);
    assert_int_equal(s.answers, 2);
    assert_int_equal(s.status, DNS_NXDOMAIN);
}

static void without_resolverd(void **state)
{
    struct seen s = {0}, waiting = {0}, forgotten = {0};

    (void)state;
    dns_ask(dns, SLICE("waiting.test"), DNS_MX, on_done, &waiting);
    dns_ask(dns, SLICE("forgotten.test"), DNS_MX, on_done, &forgotten);
    dns_forget(dns, &forgotten);
    ipc_free(theirs);
    theirs = NULL;
    turn();
    turn();
    assert_null(ours);
    assert_int_equal(waiting.answers, 1);
    assert_int_equal(waiting.status, DNS_FAILED);
    assert_string_equal(waiting.canonical, "waiting.test");
    dns_ask(dns, SLICE("example.test"), DNS_MX, on_done, &s);
    assert_int_equal(s.answers, 0);
    turn();
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.status, DNS_FAILED);
    turn();
    assert_int_equal(waiting.answers + s.answers, 2);
    assert_int_equal(forgotten.answers, 0);
}

static void bad_names(void **state)
{
    struct seen none = {0}, too_long = {0};
    char name[254];

    (void)state;
    memset(name, 'a', sizeof name);
    dns_ask(dns, SLICE(""), DNS_A, on_done, &none);
    dns_ask(dns, slice_of(name, sizeof name), DNS_A, on_done, &too_long);
    assert_int_equal(none.answers + too_long.answers, 0);
    turn();
    assert_int_equal(none.status, DNS_BAD_NAME);
    assert_int_equal(too_long.status, DNS_BAD_NAME);
    assert_int_equal(questions, 0);
}

static void malformed(void **state)
{
    struct seen s = {0};

    (void)state;
    dns_ask(dns, SLICE("example.test"), DNS_A, on_done, &s);
    turn();
    answer(asked, DNS_STATUSES, NULL);
    turn();
    assert_null(ours); /* its channel was closed */
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.status, DNS_FAILED);
}

static void records(void **state)
{
    static const struct dns_record all = {.ip = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
        .ip_len = 16,
        .preference = 0x1234,
        .name = {"mx.test", 7},
        .text = {"a\0b", 3},
        .usage = 3,
        .selector = 1,
        .matching = 2,
        .data = {"\xff", 1}};
    struct buf out = BUF_INIT(IPC_MAX);
    struct dns_record r;

    (void)state;
    dns_record_encode(&out, &all);
    assert_true(dns_record_decode(buf_slice(&out), &r));
    assert_int_equal(r.ip_len, 16);
    assert_memory_equal(r.ip, all.ip, 16);
    assert_int_equal(r.preference, 0x1234);
    assert_true(slice_eq(r.name, all.name) && slice_eq(r.text, all.text) && slice_eq(r.data, all.data));
    assert_true(r.usage == 3 && r.selector == 1 && r.matching == 2);
    for (size_t n = 0; n < out.n; n++)
        assert_false(dns_record_decode(slice_of(out.p, n), &r));
    buf_add_char(&out, 'x');
    assert_false(dns_record_decode(buf_slice(&out), &r));
    out.p[1] = 5; /* no IP address has so many octets */
    assert_false(dns_record_decode(buf_slice(&out), &r));
    buf_free(&out);
    for (unsigned i = 0; i < DNS_STATUSES; i++)
        assert_string_not_equal(dns_status_name((enum dns_status)i), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(asks, setup, teardown),
        cmocka_unit_test_setup_teardown(without_resolverd, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_names, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed, setup, teardown), cmocka_unit_test(records)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
