/*
 * The parent of imapd (and pop3d) beside fronts that lie: whoever has no ticket of authd for his own session
 * gets no worker. Two fronts, authd, the spawner and the workers have stand-ins at the other ends of its
 * channels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "session/parent_internal.h"

enum { FRONT0, FRONT1, AUTHD, SPAWNER, PEERS };

static const struct {
    enum role_id id;
    unsigned instance;
} peers[PEERS] = {
    [FRONT0] = {ROLE_IMAPD_FRONT, 0},
    [FRONT1] = {ROLE_IMAPD_FRONT, 1},
    [AUTHD] = {ROLE_AUTHD, 0},
    [SPAWNER] = {ROLE_IMAPD_SPAWNER, 0},
};

static char no_mail[] = "/nonexistent";
static struct settings settings;
static struct role role, past[32];
static size_t npast;
static int far[PEERS]; /* our ends */
static struct buf store = {.cap = IPC_MAX + 64};
static struct ipc_in in;

static unsigned per_address(const struct settings *s)
{
    return s->connections_per_address;
}

static const struct parent_ops ops = {
    .front = ROLE_IMAPD_FRONT, .spawner = ROLE_IMAPD_SPAWNER, .per_address = per_address};

static size_t index_of(const void *ctx)
{
    return (size_t)((const char *)ctx - (const char *)&peers) / sizeof *peers;
}

static bool to_parent(void *ctx, struct ipc *ch, struct ipc_in *message)
{
    size_t i = index_of(ctx);

    return parent_message(&role, peers[i].id, peers[i].instance, ch, message);
}

static void gone(void *ctx, struct ipc *ch)
{
    size_t i = index_of(ctx);

    (void)ch;
    role.peers[i].ch = NULL;
    parent_peer(&role, peers[i].id, peers[i].instance, NULL);
}

static void wire(size_t i)
{
    int fds[2];

    assert_int_equal(ipc_pair(fds), 0);
    far[i] = fds[1];
    role.peers[i].id = peers[i].id;
    role.peers[i].instance = peers[i].instance;
    role.peers[i].ch = ipc_new(role.base, fds[0], "peer", to_parent, gone, (void *)(uintptr_t)&peers[i]);
    parent_peer(&role, peers[i].id, peers[i].instance, role.peers[i].ch);
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        event_base_loop(role.base, EVLOOP_NONBLOCK);
}

static void say(int fd, struct ipc_out *out)
{
    assert_int_equal(ipc_send_now(fd, out), 0);
    turn();
}

static bool is_quiet(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    turn();
    return poll(&p, 1, 0) == 0;
}

/* The next message there is of this type; read its fields from `in`. */
static void hear(int fd, enum ipc_type type)
{
    if (is_quiet(fd))
        fail_msg("no %s came", ipc_type_name(type));
    ipc_in_free(&in);
    assert_int_equal(ipc_recv(fd, &store, &in), 1);
    assert_string_equal(ipc_type_name(in.type), ipc_type_name(type));
}

static int count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int setup(void **state)
{
    struct err e = {0};

    (void)state;
    log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
    settings = (struct settings){.connections_per_address = 3,
        .connections_per_user = 2,
        .new_per_minute = 1000,
        .connections = 16,
        .worker_linger_s = 3600,
        .mail_dir = no_mail};
    memset(&role, 0, sizeof role);
    role.base = event_base_new();
    role.settings = &settings;
    role.npeers = PEERS;
    assert_int_equal(parent_run(&role, &ops, &e), 0);
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

static struct parent *parent(void)
{
    return role.state;
}

/* --- what the peers say --- */

static void session_open_from(size_t front, uint64_t session, const char *ip)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_SESSION_OPEN);
    ipc_put_u64(&out, session);
    ipc_put_str(&out, id_new().text);
    ipc_put_str(&out, ip);
    ipc_put_u64(&out, 0);
    say(far[front], &out);
}

static void session_open(size_t front, uint64_t session)
{
    session_open_from(front, session, "192.0.2.1");
}

static void put_ticket(
    struct ipc_out *out, unsigned front, uint64_t session, const char *octets, const char *account)
{
    ipc_begin(out, IPC_AUTH_TICKET);
    ipc_put_u64(out, front);
    ipc_put_u64(out, session);
    ipc_put_str(out, octets);
    ipc_put_str(out, account);
    ipc_put_str(out, account);
    ipc_put_u64(out, 0);
    ipc_put_u64(out, 0);
}

static void ticket(unsigned front, uint64_t session, const char *octets, const char *account)
{
    struct ipc_out out;

    put_ticket(&out, front, session, octets, account);
    say(far[AUTHD], &out);
}

/* Hands over one end of a socket pair; returns the client's. */
static int take_with(size_t front, uint64_t session, const char *octets, size_t left)
{
    struct ipc_out out;
    char *text = mem_zalloc(left + 1, 1);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ipc_begin(&out, IPC_SESSION_TAKE);
    ipc_put_u64(&out, session);
    ipc_put_str(&out, octets);
    ipc_put_str(&out, "a1");
    ipc_put(&out, slice_of(text, left));
    ipc_put_str(&out, "");
    ipc_put_fd(&out, pair[1]);
    say(far[front], &out);
    free(text);
    return pair[0];
}

static void take(size_t front, uint64_t session, const char *octets)
{
    close(take_with(front, session, octets, 0));
}

static void hear_refused(size_t front, uint64_t session, enum err_code code)
{
    hear(far[front], IPC_SESSION_REFUSED);
    assert_int_equal(ipc_get_u64(&in), session);
    assert_int_equal(ipc_get_err(&in), code);
    assert_true(ipc_end(&in));
}

/* The spawner is told to make this account's worker; the worker's end of its channel. */
static int hear_spawn(const char *account)
{
    int fd;

    hear(far[SPAWNER], IPC_SPAWN);
    ipc_get_u64(&in);
    assert_true(slice_eq(ipc_get(&in), slice_str(account)));
    ipc_get(&in);
    fd = ipc_get_fd(&in);
    assert_true(ipc_end(&in));
    return fd;
}

/* The worker gets a session with a socket; the parent's number for it. */
static uint64_t hear_session(int worker)
{
    uint64_t id;

    hear(worker, IPC_WORKER_QUOTA);
    hear(worker, IPC_WORKER_SESSION);
    id = ipc_get_u64(&in);
    assert_int_equal(in.nfds, 1);
    return id;
}

static void session_end(int worker, uint64_t id)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_WORKER_SESSION_END);
    ipc_put_u64(&out, id);
    say(worker, &out);
}

#define A "aaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbb"

/* Session `n` of front 0 gets to anna's worker, which is new; its channel, and the session's number. */
static int anna_comes(uint64_t n, uint64_t *id)
{
    int worker;

    session_open(FRONT0, n);
    ticket(0, n, A, "anna");
    take(FRONT0, n, A);
    worker = hear_spawn("anna");
    *id = hear_session(worker);
    hear(far[FRONT0], IPC_SESSION_TAKEN);
    assert_int_equal(ipc_get_u64(&in), n);
    return worker;
}

/* --- the tests --- */

static void test_ticket(void **state)
{
    uint64_t id;
    int worker = anna_comes(1, &id);

    (void)state;
    assert_int_equal(parent()->ntickets, 0);
    assert_int_equal(parent()->by_front.count, 0);
    close(worker);
}

/* What a captured front may try: each is refused, and nobody's worker hears of it. */
static void test_forged(void **state)
{
    static const struct {
        size_t front;
        uint64_t session;
        const char *octets;
    } rows[] = {
        {FRONT0, 2, A},                 /* another session's ticket */
        {FRONT1, 1, A},                 /* another front's, for a session of the same number */
        {FRONT0, 1, B},                 /* made up */
        {FRONT0, 1, ""},                /* none */
        {FRONT0, 1, "aaaaaaaaaaaaaaa"}, /* a part of it */
        {FRONT0, 1, A "a"},             /* more than it */
    };
    int before;

    (void)state;
    session_open(FRONT0, 1);
    session_open(FRONT0, 2);
    session_open(FRONT1, 1);
    ticket(0, 1, A, "anna");
    before = count_fds();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        take(rows[i].front, rows[i].session, rows[i].octets);
        hear_refused(rows[i].front, rows[i].session, ERR_AUTH_FAILED);
        assert_true(is_quiet(far[SPAWNER]));
        assert_int_equal(parent()->workers.count, 0);
    }
    ipc_in_free(&in);
    assert_int_equal(count_fds(), before);
    take(FRONT1, 77, A); /* a session that was never opened: no answer, nothing happens */
    assert_true(is_quiet(far[FRONT1]) && is_quiet(far[SPAWNER]));
    take(FRONT0, 1, A); /* the ticket is still good where it belongs */
    close(hear_spawn("anna"));
}

static void test_twice(void **state)
{
    uint64_t id;
    int worker = anna_comes(1, &id);

    (void)state;
    take(FRONT0, 1, A); /* handed over: the front knows it no more */
    assert_true(is_quiet(far[FRONT0]) && is_quiet(worker));
    session_open(FRONT0, 1); /* nor does the same number help */
    take(FRONT0, 1, A);
    hear_refused(FRONT0, 1, ERR_AUTH_FAILED);
    assert_true(is_quiet(worker));
    close(worker);
}

/* A refused take gives the socket back to nobody, and costs no descriptor. */
static void test_refused_costs_nothing(void **state)
{
    uint64_t id;
    int worker = anna_comes(1, &id), before;
    char c;

    (void)state;
    settings.connections_per_address = 100;
    session_open(FRONT0, 2);
    ticket(0, 2, A, "anna");
    take(FRONT0, 2, A);
    hear_session(worker);
    hear(far[FRONT0], IPC_SESSION_TAKEN);
    ipc_in_free(&in);
    before = count_fds();
    for (uint64_t n = 3; n < 20; n++) {
        int client;

        session_open(FRONT0, n);
        ticket(0, n, A, "anna");
        client =
            take_with(FRONT0, n, A, n % 2 ? 0 : IPC_MAX - 200); /* also more than fits beside our fields */
        hear_refused(FRONT0, n, n % 2 ? ERR_TOO_MANY : ERR_LIMIT);
        assert_int_equal(recv(client, &c, 1, MSG_DONTWAIT), 0); /* nobody holds the other end */
        close(client);
    }
    assert_true(is_quiet(worker));
    assert_int_equal(count_fds(), before);
    close(worker);
}

static void test_per_address(void **state)
{
    struct ipc_out out;

    (void)state;
    for (uint64_t n = 1; n <= 3; n++)
        session_open_from(n % 2 ? FRONT0 : FRONT1, n, "192.0.2.9");
    assert_true(is_quiet(far[FRONT0]) && is_quiet(far[FRONT1]));
    session_open_from(FRONT1, 4, "192.0.2.9"); /* counted over all fronts */
    hear_refused(FRONT1, 4, ERR_TOO_MANY);
    session_open_from(FRONT1, 5, "192.0.2.10");
    assert_true(is_quiet(far[FRONT1]));
    for (uint64_t n = 6; n < 12; n++)
        session_open_from(FRONT1, n, "127.0.0.1");
    assert_true(is_quiet(far[FRONT1]));
    for (uint64_t n = 3; n <= 4; n++) { /* one leaves, and the one that was refused */
        ipc_begin(&out, IPC_SESSION_CLOSED);
        ipc_put_u64(&out, n);
        say(far[n == 3 ? FRONT0 : FRONT1], &out);
    }
    session_open_from(FRONT0, 13, "192.0.2.9");
    assert_true(is_quiet(far[FRONT0]));
    settings.new_per_minute = 4;
    session_open_from(FRONT0, 14, "192.0.2.11");
    assert_true(is_quiet(far[FRONT0]));
    for (int i = 0; i < 4; i++) { /* opened and closed: as many as it likes in a minute, not more */
        ipc_begin(&out, IPC_SESSION_CLOSED);
        ipc_put_u64(&out, 14);
        say(far[FRONT0], &out);
        session_open_from(FRONT0, 14, "192.0.2.11");
    }
    hear_refused(FRONT0, 14, ERR_TOO_MANY);
}

/* Thirty people behind one address: who logged in is none of those it may have without login. */
static void test_logged_in_make_room(void **state)
{
    int worker = -1;

    (void)state;
    settings.new_per_minute = 3;
    settings.connections_per_user = 100;
    for (uint64_t n = 1; n <= 20; n++) {
        session_open_from(FRONT0, n, "192.0.2.9");
        ticket(0, n, A, "anna");
        take(FRONT0, n, A);
        if (n == 1)
            worker = hear_spawn("anna");
        hear_session(worker);
        hear(far[FRONT0], IPC_SESSION_TAKEN);
    }
    for (uint64_t n = 21; n <= 23; n++)
        session_open_from(FRONT0, n, "192.0.2.9");
    assert_true(is_quiet(far[FRONT0]));
    session_open_from(FRONT0, 24, "192.0.2.9");
    hear_refused(FRONT0, 24, ERR_TOO_MANY);
    session_end(worker, 2); /* one that logged in goes: that is no room for another without login */
    turn();
    session_open_from(FRONT0, 25, "192.0.2.9");
    hear_refused(FRONT0, 25, ERR_TOO_MANY);
    close(worker);
}

/* More sessions than a front can have: it is none of ours any more. */
static void test_flood(void **state)
{
    (void)state;
    settings.connections_per_address = 1000;
    for (uint64_t n = 1; n <= 32; n++)
        session_open(FRONT0, n);
    assert_non_null(role.peers[FRONT0].ch);
    session_open(FRONT0, 33);
    assert_null(role.peers[FRONT0].ch);
    assert_int_equal(parent()->by_front.count, 0);
    assert_int_equal(parent()->addresses.count, 1); /* its minute is not over */
    session_open(FRONT1, 1);
    assert_non_null(role.peers[FRONT1].ch);
}

static void test_tickets_bounded(void **state)
{
    struct ipc_out out;

    (void)state;
    for (uint64_t n = 1; n <= TICKETS_MAX + 10; n++) {
        put_ticket(&out, 0, n, A, "anna");
        assert_int_equal(ipc_send_now(far[AUTHD], &out), 0);
        event_base_loop(role.base, EVLOOP_NONBLOCK);
    }
    turn();
    assert_int_equal(parent()->ntickets, TICKETS_MAX);
    session_open(FRONT0, 1);
    take(FRONT0, 1, A); /* the oldest went */
    hear_refused(FRONT0, 1, ERR_AUTH_FAILED);
    /* a minute later the rest is of no use */
    for (struct ticket *t = parent()->tickets; t; t = t->next)
        t->since -= TICKET_LIFE_S + 1;
    event_active(parent()->minute, EV_TIMEOUT, 0);
    turn();
    assert_int_equal(parent()->ntickets, 0);
}

/* Tickets of a front that died are not for who comes in its place. */
static void test_front_dies(void **state)
{
    (void)state;
    session_open(FRONT0, 1);
    ticket(0, 1, A, "anna");
    ticket(1, 1, B, "bert");
    close(far[FRONT0]);
    turn();
    assert_int_equal(parent()->by_front.count, 0);
    assert_int_equal(parent()->ntickets, 1);
    wire(FRONT0);
    session_open(FRONT0, 1);
    take(FRONT0, 1, A);
    hear_refused(FRONT0, 1, ERR_AUTH_FAILED);
}

static void test_malformed(void **state)
{
    static const enum ipc_type all[] = {IPC_SESSION_OPEN, IPC_SESSION_CLOSED, IPC_SESSION_TAKE};
    struct ipc_out out;

    (void)state;
    /* each type there is, empty: a front may say three of them, none without fields */
    for (unsigned type = 0; type < IPC_TYPE_COUNT; type++) {
        ipc_begin(&out, (enum ipc_type)type);
        say(far[FRONT1], &out);
        if (role.peers[FRONT1].ch)
            fail_msg("%s without fields was taken from a front", ipc_type_name((enum ipc_type)type));
        close(far[FRONT1]);
        wire(FRONT1);
    }
    /* what it may say, with something behind it */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        ipc_begin(&out, all[i]);
        ipc_put_u64(&out, 1);
        if (all[i] == IPC_SESSION_OPEN) {
            ipc_put_str(&out, id_new().text);
            ipc_put_str(&out, "192.0.2.1");
            ipc_put_u64(&out, 0);
        }
        for (int k = 0; all[i] == IPC_SESSION_TAKE && k < 4; k++)
            ipc_put_str(&out, A); /* and no socket */
        if (all[i] != IPC_SESSION_TAKE)
            ipc_put_u64(&out, 0);
        say(far[FRONT1], &out);
        assert_null(role.peers[FRONT1].ch);
        close(far[FRONT1]);
        wire(FRONT1);
    }
    /* a session twice; a log id that is none; an address that is too long */
    session_open(FRONT1, 5);
    session_open(FRONT1, 5);
    assert_null(role.peers[FRONT1].ch);
    close(far[FRONT1]);
    wire(FRONT1);
    session_open_from(FRONT1, 6, "2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000");
    assert_null(role.peers[FRONT1].ch);
    assert_non_null(role.peers[FRONT0].ch);
    assert_non_null(role.peers[AUTHD].ch);
    assert_true(is_quiet(far[SPAWNER]));
}

/* What only authd may say is not believed of a front. */
static void test_authds_words(void **state)
{
    struct ipc_out out;

    (void)state;
    session_open(FRONT0, 1);
    put_ticket(&out, 0, 1, A, "anna");
    say(far[FRONT0], &out);
    assert_null(role.peers[FRONT0].ch);
    assert_int_equal(parent()->ntickets, 0);
}

static void test_worker_dies(void **state)
{
    uint64_t id;
    int worker = anna_comes(1, &id);

    (void)state;
    close(worker);
    turn();
    assert_int_equal(parent()->workers.count, 0);
    assert_int_equal(parent()->by_id.count, 0);
    worker = anna_comes(2, &id); /* a new one */
    /* another worker's session is none of its business */
    session_end(worker, id + 1000);
    assert_int_equal(parent()->workers.count, 0);
    close(worker);
}

static void test_linger(void **state)
{
    uint64_t id;
    int worker = anna_comes(1, &id);
    struct pollfd p = {.fd = worker, .events = POLLIN};

    (void)state;
    session_end(worker, id);
    assert_int_equal(parent()->workers.count, 1);
    session_open(FRONT0, 2);
    ticket(0, 2, A, "anna");
    take(FRONT0, 2, A);
    id = hear_session(worker); /* the same one */
    assert_true(is_quiet(far[SPAWNER]));
    settings.worker_linger_s = 0;
    session_end(worker, id);
    turn();
    assert_int_equal(parent()->workers.count, 0);
    assert_int_equal(poll(&p, 1, 0), 1);
    ipc_in_free(&in);
    assert_int_equal(ipc_recv(worker, &store, &in), 0); /* end of file: it ends */
    close(worker);
}

static void test_no_spawner(void **state)
{
    (void)state;
    close(far[SPAWNER]);
    turn();
    session_open(FRONT0, 1);
    ticket(0, 1, A, "anna");
    take(FRONT0, 1, A);
    hear_refused(FRONT0, 1, ERR_UNAVAILABLE);
    wire(SPAWNER);
}

static void test_account_changed(void **state)
{
    struct ipc_out out;
    uint64_t id;
    int worker = anna_comes(1, &id);

    (void)state;
    session_open(FRONT0, 2);
    session_open(FRONT0, 3);
    ticket(0, 2, A, "anna"); /* on its way */
    ticket(0, 3, B, "bert");
    ipc_begin(&out, IPC_ACCOUNT_CHANGED);
    ipc_put_str(&out, "anna");
    say(far[AUTHD], &out);
    hear(worker, IPC_WORKER_KILL);
    assert_int_equal(ipc_get_u64(&in), id);
    take(FRONT0, 2, A);
    hear_refused(FRONT0, 2, ERR_AUTH_FAILED);
    take(FRONT0, 3, B);
    close(hear_spawn("bert"));
    close(worker);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_ticket), T(test_forged), T(test_twice),
        T(test_refused_costs_nothing), T(test_per_address), T(test_logged_in_make_room), T(test_flood),
        T(test_tickets_bounded), T(test_front_dies), T(test_malformed), T(test_authds_words),
        T(test_worker_dies), T(test_linger), T(test_no_spawner), T(test_account_changed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
