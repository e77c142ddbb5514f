/* Jobs and results go from process to process as they were; malformed ones are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "queue/send.h"

static const struct route_tlsa tlsa[] = {
    {.usage = 3, .selector = 1, .matching = 1, .data = {"\0\1\2\3", 4}},
    {.usage = 2, .selector = 0, .matching = 2, .data = {"x", 1}},
};

static struct route_target targets[] = {
    {.host = {"mx.example.org", 14},
        .ip = {192, 0, 2, 1},
        .ip_len = 4,
        .port = 25,
        .security = ROUTE_DANE,
        .names = {{"mx.example.org", 14}, {"example.org", 11}},
        .nnames = 2,
        .tlsa = tlsa,
        .ntlsa = 2},
    {.host = {"mx.example.org", 14},
        .ip = {0x20, 1, 0xd, 0xb8},
        .ip_len = 16,
        .port = 465,
        .security = ROUTE_PKIX,
        .implicit_tls = true,
        .tlsa = tlsa,
        .ntlsa = 2},
    {.host = {"b", 1}, .ip = {192, 0, 2, 2}, .ip_len = 4, .port = 65535},
};

static const struct route route = {.destination = {"example.org", 11},
    .targets = targets,
    .ntargets = 3,
    .user = {"u", 1},
    .password = {"p\0q", 3},
    .is_policy = true};

static struct send_job sample_job(void)
{
    return (struct send_job){.id = SLICE("0abcdefghjkmn"),
        .connection = 77,
        .helo = SLICE("mx.example.net"),
        .reverse_path = SLICE(""),
        .envid = SLICE("a b"),
        .ret = ENVELOPE_RET_HDRS,
        .is_8bit = true,
        .text = 123,
        .size = (uint64_t)1 << 40,
        .n = 2,
        .rcpt = {{.index = 0, .address = SLICE("a@example.org"), .orcpt = SLICE("rfc822;x"), .notify = 6},
            {.index = 999, .address = SLICE("b@example.org")}}};
}

/* What the other process sees of a message. */
static struct ipc_in as_input(const struct ipc_out *out, struct slice octets)
{
    struct ipc_in in = {.rest = slice_from(octets, 4), .nfds = out->nfds};

    memcpy(in.fds, out->fds, sizeof in.fds);
    return in;
}

static void assert_slice(struct slice a, struct slice b)
{
    assert_true(slice_eq(a, b));
}

static void assert_same_route(const struct route *a, const struct route *b)
{
    assert_slice(a->destination, b->destination);
    assert_slice(a->user, b->user);
    assert_slice(a->password, b->password);
    assert_int_equal(a->is_policy, b->is_policy);
    assert_int_equal(a->ntargets, b->ntargets);
    for (size_t i = 0; i < a->ntargets; i++) {
        const struct route_target *t = &a->targets[i], *u = &b->targets[i];

        assert_slice(t->host, u->host);
        assert_int_equal(t->ip_len, u->ip_len);
        assert_memory_equal(t->ip, u->ip, t->ip_len);
        assert_int_equal(t->port, u->port);
        assert_int_equal(t->security, u->security);
        assert_int_equal(t->implicit_tls, u->implicit_tls);
        assert_int_equal(t->nnames, u->nnames);
        for (size_t k = 0; k < t->nnames; k++)
            assert_slice(t->names[k], u->names[k]);
        assert_int_equal(t->ntlsa, u->ntlsa);
        for (size_t k = 0; k < t->ntlsa; k++) {
            assert_int_equal(t->tlsa[k].usage, u->tlsa[k].usage);
            assert_int_equal(t->tlsa[k].selector, u->tlsa[k].selector);
            assert_int_equal(t->tlsa[k].matching, u->tlsa[k].matching);
            assert_slice(t->tlsa[k].data, u->tlsa[k].data);
        }
    }
}

static void job_comes_back(void **state)
{
    struct send_job j = sample_job(), back;
    struct route r;
    struct ipc_out out;
    struct ipc_in in;
    struct arena arena;
    int fd;

    (void)state;
    arena_init(&arena, ROUTE_ARENA);
    send_job_put(&out, &j, &route, open("/dev/null", O_RDONLY | O_CLOEXEC));
    assert_false(out.buf.full);
    in = as_input(&out, buf_slice(&out.buf));
    assert_true(send_job_get(&in, &arena, &back, &r, &fd));
    assert_int_equal(fd, out.fds[0]);
    assert_same_route(&route, &r);
    assert_ptr_equal(r.targets[0].tlsa, r.targets[1].tlsa);
    assert_slice(back.id, j.id);
    assert_int_equal(back.connection, 77);
    assert_slice(back.helo, j.helo);
    assert_slice(back.reverse_path, j.reverse_path);
    assert_slice(back.envid, j.envid);
    assert_int_equal(back.ret, j.ret);
    assert_true(back.is_8bit && !back.smtputf8 && !back.requiretls);
    assert_int_equal(back.text, j.text);
    assert_int_equal(back.size, j.size);
    assert_int_equal(back.n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(back.rcpt[i].index, j.rcpt[i].index);
        assert_slice(back.rcpt[i].address, j.rcpt[i].address);
        assert_slice(back.rcpt[i].orcpt, j.rcpt[i].orcpt);
        assert_int_equal(back.rcpt[i].notify, j.rcpt[i].notify);
    }
    close(fd);
    /* cut anywhere, or with more behind it, or without its file, it is none */
    for (size_t n = 4; n <= out.buf.n + 1; n++) {
        char copy[4096] = {0};

        memcpy(copy, out.buf.p, n < out.buf.n ? n : out.buf.n);
        in = as_input(&out, slice_of(copy, n));
        in.nfds = n == out.buf.n ? 0 : 1;
        arena_reset(&arena);
        assert_false(send_job_get(&in, &arena, &back, &r, &fd));
        assert_int_equal(fd, -1);
    }
    arena_free(&arena);
    buf_free(&out.buf);
}

static bool is_taken(const struct send_job *j, const struct route *route_)
{
    struct send_job back;
    struct route r;
    struct ipc_out out;
    struct ipc_in in;
    struct arena arena;
    int fd;
    bool ok;

    arena_init(&arena, ROUTE_ARENA);
    send_job_put(&out, j, route_, 3);
    in = as_input(&out, buf_slice(&out.buf));
    ok = !out.buf.full && send_job_get(&in, &arena, &back, &r, &fd);
    arena_free(&arena);
    buf_free(&out.buf);
    return ok;
}

#define REFUSED(change)                                                                                      \
    do {                                                                                                     \
        struct send_job j = sample_job();                                                                    \
        struct route r = route;                                                                              \
        struct route_target t = targets[0];                                                                  \
                                                                                                             \
        r.targets = &t;                                                                                      \
        r.ntargets = 1;                                                                                      \
        assert_true(is_taken(&j, &r));                                                                       \
        change;                                                                                              \
        assert_false(is_taken(&j, &r));                                                                      \
    } while (0)

static void bad_jobs_are_refused(void **state)
{
    (void)state;
    REFUSED(j.id = SLICE("../../../etc/p"));
    REFUSED(j.helo = SLICE(""));
    REFUSED(j.ret = (enum envelope_ret)3);
    REFUSED(j.text = (uint64_t)INT64_MAX + 1);
    REFUSED(j.size = INT64_MAX);
    REFUSED(j.n = 0);
    REFUSED(j.rcpt[0].index = ENVELOPE_RECIPIENTS_MAX);
    REFUSED(j.rcpt[0].notify = 16);
    REFUSED(j.rcpt[1].address = SLICE(""));
    REFUSED(r.ntargets = 0);
    REFUSED(t.host = SLICE(""));
    REFUSED(t.ip_len = 5);
    REFUSED(t.port = 0);
    REFUSED(t.security = ROUTE_SECURITIES);
}

/* The largest job that the headers allow fits; of too many TLSA records the last are left out. */
static void largest_fits(void **state)
{
    static char octets[SEND_OCTETS_MAX];
    static struct route_tlsa many[ROUTE_HOSTS_MAX][ROUTE_TLSA_MAX];
    struct route_target list[ROUTE_TARGETS_MAX];
    struct route r = route, back_route;
    struct send_job j = sample_job(), back;
    struct ipc_out out;
    struct ipc_in in;
    struct arena arena;
    size_t got = 0;
    int fd;

    (void)state;
    memset(octets, 'x', sizeof octets);
    r.user = slice_of(octets, 255);
    r.password = slice_of(octets, 1024);
    j.n = SEND_RECIPIENTS_MAX;
    for (size_t i = 0; i < j.n; i++)
        j.rcpt[i].address = j.rcpt[i].orcpt = slice_of(octets, SEND_OCTETS_MAX / SEND_RECIPIENTS_MAX / 2);
    for (size_t i = 0; i < ROUTE_TARGETS_MAX; i++) {
        list[i] = targets[1];
        list[i].host = slice_of(octets, 253);
        list[i].nnames = 4;
        for (size_t k = 0; k < 4; k++)
            list[i].names[k] = list[i].host;
        for (size_t k = 0; k < ROUTE_TLSA_MAX; k++)
            many[i % ROUTE_HOSTS_MAX][k] = (struct route_tlsa){.usage = 3, .data = slice_of(octets, 2000)};
        list[i].tlsa = many[i % ROUTE_HOSTS_MAX];
        list[i].ntlsa = ROUTE_TLSA_MAX;
    }
    r.targets = list;
    r.ntargets = ROUTE_TARGETS_MAX;
    arena_init(&arena, ROUTE_ARENA);
    send_job_put(&out, &j, &r, 3);
    assert_false(out.buf.full);
    in = as_input(&out, buf_slice(&out.buf));
    assert_true(send_job_get(&in, &arena, &back, &back_route, &fd));
    for (size_t i = 0; i < ROUTE_HOSTS_MAX; i++)
        got += back_route.targets[i].ntlsa;
    assert_int_equal(got, 10);
    assert_int_equal(back_route.targets[5].ntlsa, 8);
    arena_free(&arena);
    buf_free(&out.buf);
}

static struct send_result sample_result(void)
{
    return (struct send_result){.id = SLICE("0abcdefghjkmn"),
        .connection = 5,
        .outcome = SEND_FAILED,
        .reason = SCHEDULE_RATE,
        .host = SLICE("mx.example.org [192.0.2.1]"),
        .tls = SLICE("TLSv1.3 x verified=dane"),
        .n = 2,
        .rcpt = {{.index = 3, .verdict = SEND_REFUSED, .status = "5.6.7", .reply = SLICE("ours")},
            {.index = 4, .verdict = SEND_RELAYED, .reply = SLICE("250 ok\n250 more"), .is_remote = true}}};
}

static bool result_round(const struct send_result *r, struct send_result *back, struct ipc_out *out)
{
    struct ipc_in in;

    send_result_put(out, r);
    in = as_input(out, buf_slice(&out->buf));
    return !out->buf.full && send_result_get(&in, back);
}

static void result_comes_back(void **state)
{
    struct send_result r = sample_result(), back;
    struct ipc_out out;
    struct ipc_in in;

    (void)state;
    assert_true(result_round(&r, &back, &out));
    assert_slice(back.id, r.id);
    assert_int_equal(back.connection, 5);
    assert_int_equal(back.outcome, r.outcome);
    assert_int_equal(back.reason, r.reason);
    assert_slice(back.host, r.host);
    assert_slice(back.tls, r.tls);
    assert_int_equal(back.n, 2);
    assert_string_equal(back.rcpt[0].status, "5.6.7");
    assert_null(back.rcpt[1].status);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(back.rcpt[i].index, r.rcpt[i].index);
        assert_int_equal(back.rcpt[i].verdict, r.rcpt[i].verdict);
        assert_slice(back.rcpt[i].reply, r.rcpt[i].reply);
        assert_int_equal(back.rcpt[i].is_remote, r.rcpt[i].is_remote);
    }
    for (size_t n = 4; n < out.buf.n; n++) {
        in = as_input(&out, slice_sub(buf_slice(&out.buf), 0, n));
        assert_false(send_result_get(&in, &back));
    }
    buf_free(&out.buf);
}

static void bad_results_are_refused(void **state)
{
    struct send_result back;
    struct ipc_out out;

    (void)state;
    for (int i = 0; i < 6; i++) {
        struct send_result r = sample_result();

        if (i == 0)
            r.id = SLICE("0");
        if (i == 1)
            r.outcome = SEND_OUTCOMES;
        if (i == 2)
            r.reason = SCHEDULE_CLASSES;
        if (i == 3)
            r.n = 0;
        if (i == 4)
            r.rcpt[1].verdict = SEND_VERDICTS;
        if (i == 5)
            r.rcpt[1].index = ENVELOPE_RECIPIENTS_MAX;
        assert_false(result_round(&r, &back, &out));
        buf_free(&out.buf);
    }
}

/* A hundred long replies fit, each cut at a character. */
static void long_replies_are_cut(void **state)
{
    static char text[SEND_REPLY_MAX];
    struct send_result r = sample_result(), back;
    struct ipc_out out;

    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '\xa4' : '\xc3';
    r.n = SEND_RECIPIENTS_MAX;
    for (size_t i = 0; i < r.n; i++)
        r.rcpt[i] = r.rcpt[1], r.rcpt[i].reply = slice_from(slice_of(text, sizeof text), i % 2);
    assert_true(result_round(&r, &back, &out));
    for (size_t i = 0; i < r.n; i++) {
        assert_in_range(back.rcpt[i].reply.n, 500, 600);
        assert_int_equal(back.rcpt[i].reply.p[back.rcpt[i].reply.n - 1], '\xa4');
    }
    buf_free(&out.buf);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(route_security_name(ROUTE_DANE), "dane");
    assert_string_equal(route_status_name(ROUTE_NULL_MX), "null-mx");
    for (unsigned i = 0; i < ROUTE_STATUSES; i++)
        assert_non_null(route_status_name((enum route_status)i));
    assert_string_equal(route_security_name(ROUTE_SECURITIES), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_comes_back),
        cmocka_unit_test(bad_jobs_are_refused),
        cmocka_unit_test(largest_fits),
        cmocka_unit_test(result_comes_back),
        cmocka_unit_test(bad_results_are_refused),
        cmocka_unit_test(long_replies_are_cut),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
