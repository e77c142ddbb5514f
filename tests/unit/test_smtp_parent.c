/*
 * smtpd's parent: a message's way from a front to the mailboxes and the queue. The front, authd, queued and
 * two delivers have stand-ins at the other ends of its channels, driven by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "mail/dsn.h"
#include "queue/request.h"
#include "smtpd/roles.h"

enum { FRONT, AUTHD, DELIVER0, DELIVER1, QUEUED, PEERS };

static const struct {
    enum role_id id;
    unsigned instance;
} peers[PEERS] = {
    [FRONT] = {ROLE_SMTPD_FRONT, 0},
    [AUTHD] = {ROLE_AUTHD, 0},
    [DELIVER0] = {ROLE_SMTPD_DELIVER, 0},
    [DELIVER1] = {ROLE_SMTPD_DELIVER, 1},
    [QUEUED] = {ROLE_QUEUED, 0},
};

static struct settings settings = {.hostname = (char *)(uintptr_t) "mx.example.org",
    .smtp_connections_per_address = 20,
    .new_per_minute = 1000,
    .connections = 100};
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

/* What the front says of the recipients, the same of each. */
static unsigned notify;
static const char *orcpt = "";

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
    ipc_put_u64(&out, true);
    ipc_put_u64(&out, false);
    ipc_put_u64(&out, ENVELOPE_RET_HDRS);
    ipc_put_str(&out, "an id");
    ipc_put_u64(&out, 4);
    ipc_put_u64(&out, nrcpts);
    for (size_t i = 0; i < nrcpts; i++) {
        ipc_put_str(&out, "u@example.org");
        ipc_put_str(&out, orcpt);
        ipc_put_u64(&out, notify);
    }
    ipc_put_fd(&out, fd);
    say(FRONT, &out);
    return id;
}

static const char *authors = ""; /* of the EXPAND that was read last, a blank behind each */

/* Reads an EXPAND; returns for how many recipients. */
static uint64_t hear_expand(struct id id, const char *account)
{
    static char list[200];
    uint64_t n;

    hear(AUTHD, IPC_EXPAND);
    assert_true(slice_eq(ipc_get(&in), slice_str(id.text)));
    assert_true(slice_eq(ipc_get(&in), slice_str(account)));
    assert_true(slice_eq(ipc_get(&in), SLICE("a@b.test")));
    list[0] = '\0';
    for (n = ipc_get_u64(&in); n > 0; n--) {
        struct slice author = ipc_get(&in);

        snprintf(list + strlen(list), sizeof list - strlen(list), "%.*s ", SLICE_FMT(author));
    }
    authors = list;
    n = ipc_get_u64(&in);
    for (uint64_t i = 0; i < n; i++)
        ipc_get(&in);
    assert_true(ipc_end(&in));
    return n;
}

struct who {
    const char *account; /* "" when it is elsewhere, or refused */
    bool known;
    enum err_code code;
    const char *elsewhere, *forward, *reverse_path;
    uint64_t index;
};

#define HERE(account, known, code)                                                                           \
    {                                                                                                        \
        account, known, code, NULL, NULL, NULL, 0                                                            \
    }

static bool more; /* EXPANDED is not the last */

static void expanded(struct id id, enum err_code code, const struct who *who, size_t n)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_EXPANDED);
    ipc_put_str(&out, id.text);
    ipc_put_u64(&out, code);
    ipc_put_u64(&out, REPLY_GERMAN);
    ipc_put_u64(&out, more);
    ipc_put_u64(&out, n);
    for (size_t i = 0; i < n; i++) {
        ipc_put_u64(&out, who[i].index);
        ipc_put_u64(&out, who[i].code);
        ipc_put_str(&out, who[i].account);
        ipc_put_str(&out, who[i].account);
        ipc_put_u64(&out, who[i].known);
        ipc_put_str(&out, who[i].elsewhere ? who[i].elsewhere : "");
        ipc_put_str(&out, who[i].forward ? who[i].forward : "");
        ipc_put_str(&out, who[i].reverse_path ? who[i].reverse_path : "");
    }
    say(AUTHD, &out);
}

static const char *sender = "", *helo = "helo.test";

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
    assert_true(slice_eq(ipc_get(&in), slice_str(sender)));
    assert_true(trace_get(ipc_get(&in), &trace));
    assert_true(slice_eq(trace.helo, slice_str(helo)));
    assert_int_equal(trace.authenticated, *sender != '\0');
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

static void hear_inspect(size_t deliver, struct id id)
{
    hear(deliver, IPC_INSPECT);
    assert_true(slice_eq(ipc_get(&in), slice_str(id.text)));
    assert_int_equal(ipc_get_u64(&in), 4);
    close(ipc_get_fd(&in));
    assert_true(ipc_end(&in));
}

static void inspected(size_t deliver, struct id id, enum err_code code, const char *const *from, size_t n)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_INSPECTED);
    ipc_put_str(&out, id.text);
    ipc_put_u64(&out, code);
    ipc_put_u64(&out, n);
    for (size_t i = 0; i < n; i++)
        ipc_put_str(&out, from[i]);
    say(deliver, &out);
}

static struct id whole; /* of the ENQUEUE that was read last */

/* Reads an ENQUEUE; want: "account|forward|reverse-path|recipient recipient .." Returns its id. */
static struct id hear_enqueue(const char *want)
{
    struct buf got = BUF_INIT(1 << 16);
    struct arena arena;
    struct enqueue q;
    char text[4];
    int fd;

    hear(QUEUED, IPC_ENQUEUE);
    arena_init(&arena, ENVELOPE_ARENA);
    assert_true(enqueue_get(&in, &arena, &q, &fd));
    assert_int_equal(pread(fd, text, 4, 0), 4);
    close(fd);
    assert_int_equal(q.env.size, 4);
    assert_true(id_is_valid(slice_str(q.message.text)));
    assert_int_equal(q.env.language, REPLY_GERMAN);
    assert_int_equal(q.env.ret, *helo == 'h' ? ENVELOPE_RET_HDRS : ENVELOPE_RET_NONE);
    assert_true(q.env.is_8bit && !q.env.requiretls && !q.env.smtputf8);
    buf_printf(&got, "%.*s|%.*s|%.*s|", SLICE_FMT(q.env.account), SLICE_FMT(q.env.forward),
        SLICE_FMT(q.env.reverse_path));
    for (uint32_t i = 0; i < q.env.nrecipients; i++) {
        assert_int_equal(q.env.recipients[i].notify, notify);
        assert_true(slice_eq(q.env.recipients[i].orcpt, slice_str(orcpt)));
        buf_printf(&got, "%s%.*s", i ? " " : "", SLICE_FMT(q.env.recipients[i].address));
    }
    if (want)
        assert_string_equal(buf_str(&got), want);
    buf_free(&got);
    arena_free(&arena);
    whole = q.message;
    return q.env.id;
}

static void enqueued(struct id id, enum err_code code)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_ENQUEUED);
    ipc_put_str(&out, id.text);
    ipc_put_u64(&out, code);
    say(QUEUED, &out);
}

static void stamp(uint64_t session, const char *account)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_AUTH_TICKET);
    ipc_put_u64(&out, 0);
    ipc_put_u64(&out, session);
    ipc_put_str(&out, "0123456789abcdef");
    ipc_put_str(&out, account);
    ipc_put_str(&out, "bert");
    ipc_put_u64(&out, 0);
    ipc_put_u64(&out, 0);
    assert_int_equal(ipc_send_now(far[AUTHD], &out), 0);
}

static const struct who anna = HERE("anna", true, ERR_OK);
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
    static const char *const from[] = {"bert@example.org", "info@example.org"};
    struct id id;

    (void)state;
    session_open(1);
    stamp(1, "bert@example.org");
    id = mail(1, 1);
    hear_inspect(DELIVER0, id);
    inspected(DELIVER0, id, ERR_OK, from, 2);
    hear_expand(id, "bert@example.org");
    assert_string_equal(authors, "bert@example.org info@example.org ");
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
        {{HERE("anna", true, ERR_OVER_QUOTA)}, 1, ERR_OVER_QUOTA},
        {{HERE("", true, ERR_NO_USER)}, 1, ERR_NO_USER}, {{HERE("anna", true, ERR_OK)}, 0, ERR_NO_USER},
        {{HERE("anna", true, ERR_OK), HERE("", true, ERR_NO_USER)}, 2, ERR_UNAVAILABLE},
        {{HERE("anna", true, ERR_OVER_QUOTA), HERE("", true, ERR_NO_USER)}, 2, ERR_NO_USER},
        {{HERE("anna", true, ERR_OVER_QUOTA), HERE("bert", true, ERR_OK)}, 2, ERR_OK},
        {{HERE("anna", true, ERR_OK), HERE("anna", true, ERR_OK)}, 2, ERR_OK}, /* one copy */
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
    static const struct who who[] = {
        HERE("anna", true, ERR_OK), HERE("bert", true, ERR_OK), HERE("cleo", true, ERR_OK)};
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
        if (again) { /* it is the queue's */
            assert_true(is_quiet(FRONT));
            enqueued(hear_enqueue("||a@b.test|bert"), ERR_OK);
        }
        hear_done(1, id, ERR_OK);
    }
    /* nor the queue */
    id = mail(1, 3);
    hear_expand(id, "");
    expanded(id, ERR_OK, who, 3);
    hear_deliver(DELIVER0, id, false, "anna=0 bert=1 cleo=2");
    delivered(DELIVER0, id, one_bad, 3);
    hear_usage("anna");
    hear_usage("cleo");
    hear_deliver(DELIVER0, id, false, "bert=1");
    delivered(DELIVER0, id, bad, 1);
    enqueued(hear_enqueue("||a@b.test|bert"), ERR_TOO_BIG);
    hear_done(1, id, ERR_UNAVAILABLE);
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
    static const struct who unknown = HERE("anna", false, ERR_OK), full = HERE("anna", true, ERR_OVER_QUOTA);
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

/* Elsewhere first, in sets; then the mailboxes; then 250. */
static void test_elsewhere(void **state)
{
    static const struct who who[] = {
        {"", true, ERR_OK, "p@x.test", "", "a@b.test", 0}, {"anna", true, ERR_OK, "", "", "", 1},
        {"", true, ERR_OK, "q@y.test", "sales@example.org", "srs@example.org", 1},
        {"", true, ERR_OK, "r@x.test", "", "a@b.test", 2},
        {"", true, ERR_OK, "s@x.test", "info@example.org", "srs@example.org", 2},
        {"", true, ERR_OK, "p@x.test", "info@example.org", "srs@example.org", 2}, /* he has it */
    };
    struct id id, part;

    (void)state;
    session_open(1);
    stamp(1, sender = "bert@example.org");
    notify = DSN_NEVER;
    orcpt = "rfc822;u@z.test";
    id = mail(1, 3);
    hear_inspect(DELIVER0, id);
    inspected(DELIVER0, id, ERR_OK, NULL, 0);
    hear_expand(id, sender);
    assert_string_equal(authors, "");
    more = true;
    expanded(id, ERR_OK, who, 2);
    more = false;
    assert_true(is_quiet(QUEUED));
    expanded(id, ERR_OK, who + 2, 4);
    part = hear_enqueue("bert@example.org||a@b.test|p@x.test r@x.test");
    assert_string_equal(part.text, id.text);
    assert_true(is_quiet(QUEUED));
    enqueued(part, ERR_OK);
    part = hear_enqueue("bert@example.org|sales@example.org|srs@example.org|q@y.test");
    assert_string_not_equal(part.text, id.text);
    assert_string_equal(whole.text, id.text);
    enqueued(part, ERR_OK);
    part = hear_enqueue("bert@example.org|info@example.org|srs@example.org|s@x.test");
    assert_true(is_quiet(DELIVER0) && is_quiet(DELIVER1));
    enqueued(part, ERR_OK);
    enqueued(part, ERR_OK); /* nobody's */
    hear_deliver(DELIVER0, id, false, "anna=0");
    delivered(DELIVER0, id, fine, 1);
    hear_usage("anna");
    hear_done(1, id, ERR_OK);
    assert_true(is_quiet(QUEUED));
    sender = orcpt = "";
    notify = 0;
}

/* What the queue says is what the client hears, and nobody has it. */
static void test_queue_refuses(void **state)
{
    static const struct who who[] = {
        {"anna", true, ERR_OK, "", "", "", 0}, {"", true, ERR_OK, "p@x.test", "", "a@b.test", 0}};
    struct id id;

    (void)state;
    session_open(1);
    id = mail(1, 1);
    hear_expand(id, "");
    expanded(id, ERR_OK, who, 2);
    enqueued(hear_enqueue("||a@b.test|p@x.test"), ERR_SENDING_LIMIT);
    hear_done(1, id, ERR_SENDING_LIMIT);
    /* it dies, it is not there */
    for (int i = 0; i < 2; i++) {
        id = mail(1, 1);
        hear_expand(id, "");
        expanded(id, ERR_OK, who, 2);
        if (i == 0) {
            hear_enqueue(NULL);
            die(QUEUED);
        }
        hear_done(1, id, ERR_UNAVAILABLE);
    }
    wire(QUEUED);
    assert_true(is_quiet(DELIVER0) && is_quiet(DELIVER1));
}

/* More than fits into one message between processes goes in parts. */
static void test_many_elsewhere(void **state)
{
    static char names[100][300];
    struct who who[100];
    struct id id, part;
    size_t got = 0;

    (void)state;
    session_open(1);
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "u%d@%0240d.test", i, 0);
        who[i] = (struct who){"", true, ERR_OK, names[i], "", "a@b.test", (uint64_t)i};
    }
    id = mail(1, 300);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(hear_expand(id, ""), 100);
        for (int i = 0; i < 100; i++)
            names[i][0] = (char)('a' + k);
        expanded(id, ERR_OK, who, 100);
    }
    while (!is_quiet(QUEUED)) {
        got++;
        part = hear_enqueue(NULL);
        assert_int_equal(strcmp(part.text, id.text) == 0, got == 1);
        enqueued(part, ERR_OK);
    }
    assert_int_equal(got, 2);
    hear_done(1, id, ERR_OK);
}

/* A success is told by queued, which must have had it for that. */
static void test_wants_success(void **state)
{
    static const struct who who[] = {HERE("anna", true, ERR_OK), HERE("bert", true, ERR_OK)};
    struct id id;

    (void)state;
    session_open(1);
    notify = DSN_SUCCESS | DSN_FAILURE;
    id = mail(1, 1);
    hear_expand(id, "");
    expanded(id, ERR_OK, who, 2);
    enqueued(hear_enqueue("||a@b.test|anna bert"), ERR_OK);
    hear_done(1, id, ERR_OK);
    assert_true(is_quiet(DELIVER0));
    notify = 0;
}

static void hear_injected(struct id id, enum err_code code)
{
    hear(QUEUED, IPC_INJECTED);
    assert_true(slice_eq(ipc_get(&in), slice_str(id.text)));
    assert_int_equal(ipc_get_err(&in), code);
    assert_true(ipc_end(&in));
}

/* Reads the EXPAND of an INJECT: the id it has here. */
static struct id inject(struct id id)
{
    struct ipc_out out;
    struct slice s;
    struct id own = {""};
    int fd = memfd_create("text", MFD_CLOEXEC);

    assert_int_equal(write(fd, "text", 4), 4);
    ipc_begin(&out, IPC_INJECT);
    ipc_put_str(&out, id.text);
    ipc_put_str(&out, "");
    ipc_put_str(&out, "anna@example.org");
    ipc_put_u64(&out, false);
    ipc_put_u64(&out, true);
    ipc_put_u64(&out, 4);
    ipc_put_fd(&out, fd);
    say(QUEUED, &out);
    hear(AUTHD, IPC_EXPAND);
    s = ipc_get(&in);
    assert_true(id_is_valid(s) && !slice_eq(s, slice_str(id.text)));
    memcpy(own.text, s.p, ID_LEN);
    assert_int_equal(ipc_get(&in).n, 0); /* nobody logged in */
    assert_int_equal(ipc_get(&in).n, 0); /* the null reverse-path */
    assert_int_equal(ipc_get_u64(&in), 0);
    assert_int_equal(ipc_get_u64(&in), 1);
    assert_true(slice_eq(ipc_get(&in), SLICE("anna@example.org")));
    assert_true(ipc_end(&in));
    return own;
}

/* What the queue brings back. */
static void test_inject(void **state)
{
    static const struct who away = {"", true, ERR_OK, "p@x.test", "anna@example.org", "", 0},
                            nobody = {"", true, ERR_NO_USER, "", "", "", 0};
    struct id id = id_new(), own, second;

    (void)state;
    helo = "mx.example.org";
    own = inject(id);
    expanded(own, ERR_OK, &anna, 1);
    hear_deliver(DELIVER0, own, false, "anna=0");
    second = inject(id); /* of the same message */
    expanded(second, ERR_OK, &nobody, 1);
    hear_injected(id, ERR_NO_USER);
    delivered(DELIVER0, own, fine, 1);
    hear_usage("anna");
    hear_injected(id, ERR_OK);
    /* it goes on elsewhere by now */
    own = inject(id);
    expanded(own, ERR_OK, &away, 1);
    enqueued(hear_enqueue("|anna@example.org||p@x.test"), ERR_OK);
    hear_injected(id, ERR_OK);
    /* queued dies: what nobody has yet comes again */
    own = inject(id);
    die(QUEUED);
    expanded(own, ERR_OK, &anna, 1);
    assert_true(is_quiet(DELIVER0) && is_quiet(DELIVER1));
    wire(QUEUED);
    assert_true(is_quiet(QUEUED) && is_quiet(FRONT));
    helo = "helo.test";
}

static void test_inspect(void **state)
{
    static const char *const from[] = {"bert@example.org"};
    struct ipc_out out;
    struct id id;

    (void)state;
    session_open(1);
    stamp(1, sender = "bert@example.org");
    id = mail(1, 1);
    hear_inspect(DELIVER0, id);
    inspected(DELIVER0, id, ERR_BAD_FROM, NULL, 0);
    hear_done(1, id, ERR_BAD_FROM);
    /* the deliver dies, twice */
    id = mail(1, 1);
    hear_inspect(DELIVER0, id);
    die(DELIVER0);
    hear_inspect(DELIVER1, id);
    inspected(DELIVER1, id, ERR_OK, from, 1);
    hear_expand(id, sender);
    expanded(id, ERR_OK, &anna, 1);
    hear_deliver(DELIVER1, id, false, "anna=0");
    delivered(DELIVER1, id, fine, 1);
    hear_usage("anna");
    hear_done(1, id, ERR_OK);
    id = mail(1, 1);
    hear_inspect(DELIVER1, id);
    die(DELIVER1);
    wire(DELIVER0);
    hear_inspect(DELIVER0, id);
    /* an answer to what was not asked is none */
    delivered(DELIVER0, id, fine, 0);
    hear_done(1, id, ERR_INTERNAL);
    close(far[DELIVER0]);
    wire(DELIVER0);
    /* the client goes meanwhile */
    id = mail(1, 1);
    hear_inspect(DELIVER0, id);
    ipc_begin(&out, IPC_SESSION_CLOSED);
    ipc_put_u64(&out, 1);
    say(FRONT, &out);
    inspected(DELIVER0, id, ERR_OK, from, 1);
    assert_true(is_quiet(AUTHD) && is_quiet(FRONT));
    wire(DELIVER1);
    sender = "";
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_one), T(test_stamp), T(test_forged), T(test_verdicts),
        T(test_parts), T(test_deliver_dies), T(test_some_fail), T(test_count), T(test_session_goes),
        T(test_authd_dies), T(test_malformed), T(test_elsewhere), T(test_queue_refuses),
        T(test_many_elsewhere), T(test_wants_success), T(test_inject), T(test_inspect)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
