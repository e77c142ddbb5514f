/*
 * smtpd's parent: a message's way from a front to the mailboxes. The front, authd and two delivers have
 * stand-ins at the other ends of its channels, driven by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "mail/trace.h"
#include "smtpd/roles.h"

enum { FRONT, AUTHD, DELIVER0, DELIVER1, PEERS };

static const struct {
    enum role_id id;
    unsigned instance;
} peers[PEERS] = {
    [FRONT] = {ROLE_SMTPD_FRONT, 0},
    [AUTHD] = {ROLE_AUTHD, 0},
    [DELIVER0] = {ROLE_SMTPD_DELIVER, 0},
    [DELIVER1] = {ROLE_SMTPD_DELIVER, 1},
};

static struct settings settings = {
    .smtp_connections_per_address = 20, .new_per_minute = 1000, .connections = 100};
static struct role role, past[32];
static size_t npast;
static int far[PEERS]; /* our ends */
static struct buf store = {.cap = IPC_MAX + 64};
static struct ipc_in in;

static bool to_parent(void *ctx, struct ipc *ch, struct ipc_in *message)
{
    size_t i = (size_t)((char *)ctx - (char *)&peers) / sizeof *peers;

    return smtpd_parent_role.message(&role, peers[i].id, peers[i].instance, ch, message);
}

static void gone(void *ctx, struct ipc *ch)
{
    size_t i = (size_t)((char *)ctx - (char *)&peers) / sizeof *peers;

    (void)ch;
    role.peers[i].ch = NULL;
    smtpd_parent_role.peer(&role, peers[i].id, peers[i].instance, NULL);
}

static void wire(size_t i)
{
    int fds[2];

    assert_int_equal(ipc_pair(fds), 0);
    far[i] = fds[1];
    role.peers[i].id = peers[i].id;
    role.peers[i].instance = peers[i].instance;
    role.peers[i].ch = ipc_new(role.base, fds[0], "peer", to_parent, gone, (void *)(uintptr_t)&peers[i]);
    smtpd_parent_role.peer(&role, peers[i].id, peers[i].instance, role.peers[i].ch);
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        event_base_loop(role.base, EVLOOP_NONBLOCK);
}

static void die(size_t i)
{
    close(far[i]);
    far[i] = -1;
    turn();
}

static void say(size_t i, struct ipc_out *out)
{
    assert_int_equal(ipc_send_now(far[i], out), 0);
    turn();
}

/* The next message for that peer is of this type; read its fields from `in`. */
static void hear(size_t i, enum ipc_type type)
{
    struct pollfd p = {.fd = far[i], .events = POLLIN};

    turn();
    ipc_in_free(&in);
    if (poll(&p, 1, 0) != 1)
        fail_msg("no %s came", ipc_type_name(type));
    assert_int_equal(ipc_recv(far[i], &store, &in), 1);
    assert_string_equal(ipc_type_name(in.type), ipc_type_name(type));
}

static bool is_quiet(size_t i)
{
    struct pollfd p = {.fd = far[i], .events = POLLIN};

    turn();
    return poll(&p, 1, 0) == 0;
}

static int setup(void **state)
{
    struct err e = {0};

    (void)state;
    log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
    memset(&role, 0, sizeof role);
    role.base = event_base_new();
    role.settings = &settings;
    role.npeers = PEERS;
    assert_int_equal(smtpd_parent_role.run(&role, &e), 0);
    for (size_t i = 0; i < PEERS; i++)
        wire(i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ipc_in_free(&in);
    in = (struct ipc_in){0};
    /* a role's state ends with its process: the leak checker shall find these */
    assert_true(npast < sizeof past / sizeof *past);
    past[npast++] = role;
    for (size_t i = 0; i < PEERS; i++) {
        ipc_free(role.peers[i].ch);
        if (far[i] >= 0)
            close(far[i]);
    }
    return 0;
}

/* --- what the peers say --- */

static void session_open(uint64_t session)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_SESSION_OPEN);
    ipc_put_u64(&out, session);
    ipc_put_str(&out, id_new().text);
    ipc_put_str(&out, "192.0.2.1");
    ipc_put_u64(&out, 0);
    say(FRONT, &out);
}

static struct id mail(uint64_t session, size_t nrcpts)
{
    struct id id = id_new();
    struct ipc_out out;
    int fd = memfd_create("text", MFD_CLOEXEC);

    assert_int_equal(write(fd, "text", 4), 4);
    ipc_begin(&out, IPC_MAIL);
    ipc_put_u64(&out, session);
    ipc_put_str(&out, id.text);
    ipc_put_str(&out, "a@b.test");
    ipc_put_str(&out, "helo.test");
    ipc_put_str(&out, "");
    ipc_put_u64(&out, true);
    ipc_put_u64(&out, false);
    ipc_put_u64(&out, 4);
    ipc_put_u64(&out, nrcpts);
    for (size_t i = 0; i < nrcpts; i++)
        ipc_put_str(&out, "u@example.org");
    ipc_put_fd(&out, fd);
    say(FRONT, &out);
    return id;
}

/* Reads an EXPAND; returns for how many recipients. */
static uint64_t hear_expand(struct id id, const char *account)
{
    uint64_t n;

    hear(AUTHD, IPC_EXPAND);
    assert_true(slice_eq(ipc_get(&in), slice_str(id.text)));
    assert_true(slice_eq(ipc_get(&in), slice_str(account)));
    assert_true(slice_eq(ipc_get(&in), SLICE("a@b.test")));
    n = ipc_get_u64(&in);
    for (uint64_t i = 0; i < n; i++)
        ipc_get(&in);
    assert_true(ipc_end(&in));
    return n;
}

struct who {
    const char *account;
    bool known;
    enum err_code code;
};

static void expanded(struct id id, enum err_code code, const struct who *who, size_t n)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_EXPANDED);
    ipc_put_str(&out, id.text);
    ipc_put_u64(&out, code);
    ipc_put_u64(&out, n);
    for (size_t i = 0; i < n; i++) {
        ipc_put_str(&out, who[i].account);
        ipc_put_str(&out, who[i].account);
        ipc_put_u64(&out, who[i].known);
        ipc_put_u64(&out, who[i].code);
    }
    say(AUTHD, &out);
}

/* Reads a DELIVER; "path path" in the order of their numbers. */
static void hear_deliver(size_t deliver, struct id id, bool replay, const char *paths)
{
    struct buf got = BUF_INIT(1000);
    struct trace trace;
    char text[4];
    uint64_t n;
    int fd;

    hear(deliver, IPC_DELIVER);
    assert_true(slice_eq(ipc_get(&in), slice_str(id.text)));
    assert_int_equal(ipc_get_bool(&in), replay);
    assert_true(ipc_get_u64(&in) > 0);
    assert_int_equal(ipc_get_u64(&in), 4);
    assert_true(trace_get(ipc_get(&in), &trace));
    assert_true(slice_eq(trace.helo, SLICE("helo.test")) && slice_eq(trace.client_ip, SLICE("192.0.2.1")));
    for (n = ipc_get_u64(&in); n > 0; n--) {
        if (got.n)
            buf_add_char(&got, ' ');
        buf_add(&got, ipc_get(&in));
        buf_printf(&got, "=%llu", (unsigned long long)ipc_get_u64(&in));
    }
    fd = ipc_get_fd(&in);
    assert_true(ipc_end(&in));
    assert_int_equal(pread(fd, text, 4, 0), 4);
    assert_memory_equal(text, "text", 4);
    close(fd);
    assert_string_equal(buf_str(&got), paths);
    buf_free(&got);
}

static void delivered(size_t deliver, struct id id, const enum err_code *codes, size_t n)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_DELIVERED);
    ipc_put_str(&out, id.text);
    ipc_put_u64(&out, ERR_OK);
    ipc_put_u64(&out, 100);
    ipc_put_u64(&out, n);
    for (size_t i = 0; i < n; i++) {
        ipc_put_u64(&out, codes[i]);
        ipc_put_u64(&out, false);
    }
    say(deliver, &out);
}

static void hear_usage(const char *account)
{
    hear(AUTHD, IPC_USAGE);
    assert_true(slice_eq(ipc_get(&in), slice_str(account)));
    assert_int_equal(ipc_get_u64(&in), 100);
}

static void hear_done(uint64_t session, struct id id, enum err_code code)
{
    hear(FRONT, IPC_MAIL_DONE);
    assert_int_equal(ipc_get_u64(&in), session);
    assert_int_equal(ipc_get_err(&in), code);
    assert_true(slice_eq(ipc_get(&in), slice_str(id.text)));
    assert_true(ipc_end(&in));
}

static const struct who anna = {"anna", true, ERR_OK};
static const enum err_code fine[] = {ERR_OK, ERR_OK, ERR_OK};

/* --- the tests --- */

static void test_one(void **state)
{
    struct id id;

    (void)state;
    session_open(1);
    id = mail(1, 1);
    assert_int_equal(hear_expand(id, ""), 1);
    expanded(id, ERR_OK, &anna, 1);
    hear_deliver(DELIVER0, id, false, "anna=0");
    assert_true(is_quiet(FRONT)); /* 250 means kept */
    delivered(DELIVER0, id, fine, 1);
    hear_usage("anna");
    hear_done(1, id, ERR_OK);
}

/* Who sends is what authd says, also when its word comes later than the front's. */
static void test_stamp(void **state)
{
    struct ipc_out out;
    struct id id;

    (void)state;
    session_open(1);
    ipc_begin(&out, IPC_AUTH_TICKET);
    ipc_put_u64(&out, 0);
    ipc_put_u64(&out, 1);
    ipc_put_str(&out, "0123456789abcdef");
    ipc_put_str(&out, "bert@example.org");
    ipc_put_str(&out, "bert");
    ipc_put_u64(&out, 0);
    ipc_put_u64(&out, 0);
    assert_int_equal(ipc_send_now(far[AUTHD], &out), 0);
    id = mail(1, 1);
    hear_expand(id, "bert@example.org");
    expanded(id, ERR_SENDER_DENIED, NULL, 0);
    hear_done(1, id, ERR_SENDER_DENIED);
    assert_true(is_quiet(DELIVER0) && is_quiet(DELIVER1));
}

/* A front cannot say who sent it: authd's word comes from authd, for that session of that front, or not at
 * all. */
static void test_forged(void **state)
{
    static const enum ipc_type authds[] = {IPC_AUTH_TICKET, IPC_ACCOUNT_CHANGED, IPC_QUOTA_NOW, IPC_EXPANDED,
        IPC_DELIVERED, IPC_COUNTED, IPC_SESSION_TAKE, IPC_WORKER_GONE};
    static const struct {
        uint64_t front, session;
    } others[] = {{0, 2}, {1, 1}, {7, 1}};
    struct ipc_out out;
    struct id id;

    (void)state;
    /* tickets of other sessions and of other fronts stamp nothing here */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ipc_begin(&out, IPC_AUTH_TICKET);
        ipc_put_u64(&out, others[i].front);
        ipc_put_u64(&out, others[i].session);
        ipc_put_str(&out, "0123456789abcdef");
        ipc_put_str(&out, "bert@example.org");
        ipc_put_str(&out, "bert");
        ipc_put_u64(&out, 0);
        ipc_put_u64(&out, 0);
        say(AUTHD, &out);
    }
    session_open(1);
    id = mail(1, 1);
    hear_expand(id, "");
    /* a session it never opened: nobody's mail */
    id = mail(5, 1);
    hear_done(5, id, ERR_UNAVAILABLE);
    assert_true(is_quiet(AUTHD));
    /* what others say, whole and well formed, ends it */
    for (size_t i = 0; i < sizeof authds / sizeof *authds; i++) {
        ipc_begin(&out, authds[i]);
        if (authds[i] == IPC_AUTH_TICKET) {
            ipc_put_u64(&out, 0);
            ipc_put_u64(&out, 1);
            ipc_put_str(&out, "0123456789abcdef");
        }
        ipc_put_str(&out, "bert@example.org");
        ipc_put_str(&out, "bert");
        ipc_put_u64(&out, 0);
        ipc_put_u64(&out, 0);
        say(FRONT, &out);
        assert_null(role.peers[FRONT].ch);
        close(far[FRONT]);
        wire(FRONT);
        session_open(1);
        id = mail(1, 1);
        hear_expand(id, "");
    }
}

static void test_verdicts(void **state)
{
    static const struct {
        struct who who[2];
        size_t n;
        enum err_code code; /* ERR_OK: it is delivered */
    } rows[] = {
        {{{"anna", true, ERR_OVER_QUOTA}}, 1, ERR_OVER_QUOTA},
        {{{"anna", true, ERR_NO_USER}}, 1, ERR_NO_USER}, {{{"anna", true, ERR_OK}}, 0, ERR_NO_USER},
        {{{"anna", true, ERR_OK}, {"bert", true, ERR_NO_USER}}, 2, ERR_UNAVAILABLE},
        {{{"anna", true, ERR_OVER_QUOTA}, {"bert", true, ERR_OK}}, 2, ERR_OK},
        {{{"anna", true, ERR_OK}, {"anna", true, ERR_OK}}, 2, ERR_OK}, /* one copy */
    };

    (void)state;
    session_open(1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct id id = mail(1, 2);

        hear_expand(id, "");
        expanded(id, ERR_OK, rows[i].who, rows[i].n);
        if (rows[i].code == ERR_OK) {
            bool same = strcmp(rows[i].who[0].account, rows[i].who[1].account) == 0;

            hear_deliver(DELIVER0, id, false, same ? "anna=0" : "anna=0 bert=1");
            delivered(DELIVER0, id, fine, same ? 1 : 2);
            for (int k = 0; k < (same ? 1 : 2); k++)
                hear(AUTHD, IPC_USAGE);
        }
        hear_done(1, id, rows[i].code);
    }
}

/* Many recipients are expanded in parts. */
static void test_parts(void **state)
{
    struct who who = anna;
    struct id id;

    (void)state;
    session_open(1);
    id = mail(1, 250);
    assert_int_equal(hear_expand(id, ""), 100);
    expanded(id, ERR_OK, &who, 1);
    assert_int_equal(hear_expand(id, ""), 100);
    expanded(id, ERR_OK, &who, 1);
    assert_int_equal(hear_expand(id, ""), 50);
    who.account = "bert";
    expanded(id, ERR_OK, &who, 1);
    hear_deliver(DELIVER0, id, false, "anna=0 bert=1");
}

static void test_deliver_dies(void **state)
{
    struct id id;

    (void)state;
    session_open(1);
    id = mail(1, 1);
    hear_expand(id, "");
    expanded(id, ERR_OK, &anna, 1);
    hear_deliver(DELIVER0, id, false, "anna=0");
    die(DELIVER0);
    hear_deliver(DELIVER1, id, true, "anna=0");
    delivered(DELIVER1, id, fine, 1);
    hear_usage("anna");
    hear_done(1, id, ERR_OK);
    /* and the second one too: nobody knows, the client comes again */
    id = mail(1, 1);
    hear_expand(id, "");
    expanded(id, ERR_OK, &anna, 1);
    hear_deliver(DELIVER1, id, false, "anna=0");
    die(DELIVER1);
    assert_true(is_quiet(FRONT));
    wire(DELIVER0);
    hear_deliver(DELIVER0, id, true, "anna=0");
    die(DELIVER0);
    hear_done(1, id, ERR_INTERNAL);
}

/* Those that failed are tried once more, alone, with their own numbers. */
static void test_some_fail(void **state)
{
    static const struct who who[] = {{"anna", true, ERR_OK}, {"bert", true, ERR_OK}, {"cleo", true, ERR_OK}};
    static const enum err_code one_bad[] = {ERR_OK, ERR_IO, ERR_OK}, bad[] = {ERR_IO, ERR_NO_USER, ERR_IO};
    struct id id;

    (void)state;
    session_open(1);
    for (int again = 0; again < 2; again++) {
        id = mail(1, 3);
        hear_expand(id, "");
        expanded(id, ERR_OK, who, 3);
        hear_deliver(DELIVER0, id, false, "anna=0 bert=1 cleo=2");
        delivered(DELIVER0, id, one_bad, 3);
        hear_usage("anna");
        hear_usage("cleo");
        hear_deliver(DELIVER0, id, false, "bert=1");
        delivered(DELIVER0, id, again ? bad : fine, 1);
        if (!again)
            hear_usage("bert");
        hear_done(1, id, again ? ERR_IO : ERR_OK);
    }
    id = mail(1, 3);
    hear_expand(id, "");
    expanded(id, ERR_OK, who, 3);
    hear_deliver(DELIVER0, id, false, "anna=0 bert=1 cleo=2");
    delivered(DELIVER0, id, bad, 3);
    hear_done(1, id, ERR_IO);
    assert_true(is_quiet(AUTHD));
}

/* A usage nobody knows is counted, authd told, and asked again whether there is room. */
static void test_count(void **state)
{
    static const struct who unknown = {"anna", false, ERR_OK}, full = {"anna", true, ERR_OVER_QUOTA};
    struct ipc_out out;
    struct id id, other;

    (void)state;
    session_open(1);
    id = mail(1, 1);
    hear_expand(id, "");
    expanded(id, ERR_OK, &unknown, 1);
    hear(DELIVER0, IPC_COUNT);
    other = mail(1, 1);
    hear_expand(other, "");
    expanded(other, ERR_OK, &unknown, 1);
    assert_true(is_quiet(DELIVER1)); /* it is being counted */
    ipc_begin(&out, IPC_COUNTED);
    ipc_put_str(&out, "anna");
    ipc_put_u64(&out, ERR_OK);
    ipc_put_u64(&out, 1000);
    ipc_put_u64(&out, 10);
    say(DELIVER0, &out);
    hear(AUTHD, IPC_USAGE_SET);
    assert_true(slice_eq(ipc_get(&in), SLICE("anna")));
    assert_int_equal(ipc_get_u64(&in), 1000);
    assert_int_equal(ipc_get_u64(&in), 10);
    hear(AUTHD, IPC_EXPAND);
    hear(AUTHD, IPC_EXPAND);
    expanded(id, ERR_OK, &full, 1);
    hear_done(1, id, ERR_OVER_QUOTA);
    expanded(other, ERR_OK, &unknown, 1); /* still not: it goes on without */
    hear_deliver(DELIVER0, other, false, "anna=0");
}

static void test_session_goes(void **state)
{
    struct ipc_out out;
    struct id id, sent;

    (void)state;
    session_open(1);
    sent = mail(1, 1);
    hear_expand(sent, "");
    expanded(sent, ERR_OK, &anna, 1);
    hear_deliver(DELIVER0, sent, false, "anna=0");
    id = mail(1, 1);
    hear_expand(id, "");
    ipc_begin(&out, IPC_SESSION_CLOSED);
    ipc_put_u64(&out, 1);
    say(FRONT, &out);
    expanded(id, ERR_OK, &anna, 1); /* it is forgotten */
    assert_true(is_quiet(DELIVER1));
    delivered(DELIVER0, sent, fine, 1); /* it is not */
    hear_usage("anna");
    assert_true(is_quiet(FRONT));
}

static void test_authd_dies(void **state)
{
    struct id id;

    (void)state;
    session_open(1);
    id = mail(1, 1);
    die(AUTHD);
    hear_done(1, id, ERR_UNAVAILABLE);
    id = mail(1, 1);
    hear_done(1, id, ERR_UNAVAILABLE);
}

/* A peer that talks nonsense loses its channel, nobody else anything. */
static void test_malformed(void **state)
{
    struct ipc_out out;
    struct id id;

    (void)state;
    session_open(1);
    id = mail(1, 1);
    hear_expand(id, "");
    expanded(id, ERR_OK, &anna, 1);
    hear_deliver(DELIVER0, id, false, "anna=0");
    ipc_begin(&out, IPC_DELIVERED);
    ipc_put_str(&out, "something");
    say(DELIVER0, &out);
    hear_deliver(DELIVER1, id, true, "anna=0");
    ipc_begin(&out, IPC_MAIL);
    ipc_put_u64(&out, 1);
    say(FRONT, &out);
    assert_null(role.peers[FRONT].ch);
    delivered(DELIVER1, id, fine, 1);
    hear(AUTHD, IPC_USAGE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_one), T(test_stamp), T(test_forged), T(test_verdicts),
        T(test_parts), T(test_deliver_dies), T(test_some_fail), T(test_count), T(test_session_goes),
        T(test_authd_dies), T(test_malformed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
