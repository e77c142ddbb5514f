/*
 * Dialogues with smtpd's front over TCP on loopback: the driver and all commands. authd and the parent have
 * stand-ins here, at the other ends of the front's channels.
 *
 * A dialogue is lines: "C: .." what the client sends (CRLF is added; '^' is a CRLF within, '%' a NUL), "R:
 * .." the same without the CRLF at the end, "S: .." the next line it gets ('~' stands for any text), "E:" the
 * server has closed, "N:" nothing comes. "kept: .." is the text the parent got last, '^' for CRLF.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "smtpd/roles.h"

/* --- the stand-ins --- */

static struct role role;
static struct listener listeners[2];
static struct settings settings = {
    .hostname = (char *)(uintptr_t) "mx.example.org",
    .listeners = listeners,
    .nlisteners = 2,
    .message_size = 70000,
    .max_recipients = 5,
    .max_recipients_mx = 3,
    .connections = 100,
    .smtp_timeout_s = 300,
    .smtp_session_s = 1800,
};
static unsigned ports[2];
static struct buf kept = {.cap = 1 << 20};
static struct buf envelope = {.cap = 1 << 20};
static struct buf flags = {.cap = 1 << 20}; /* what came with MAIL and RCPT */
static enum err_code done_code;
static bool parent_is_silent;

static bool to_front(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    enum role_id peer = ctx == &listeners[0] ? ROLE_AUTHD : ROLE_SMTPD_PARENT;

    return smtpd_front_role.message(&role, peer, 0, ch, in);
}

static void send_code(struct ipc *ch, enum ipc_type type, uint64_t session, enum err_code code)
{
    struct ipc_out out;

    ipc_begin(&out, type);
    ipc_put_u64(&out, session);
    ipc_put_u64(&out, code);
    if (type == IPC_AUTH_REFUSED)
        ipc_put_u64(&out, 0);
    ipc_send(ch, &out);
}

static void auth_ok(struct ipc *ch, uint64_t session, const char *final)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_AUTH_OK);
    ipc_put_u64(&out, session);
    ipc_put_str(&out, "anna@example.org");
    ipc_put_str(&out, "0123456789abcdef");
    ipc_put_str(&out, final);
    ipc_send(ch, &out);
}

static void challenge(struct ipc *ch, uint64_t session, const char *text)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_AUTH_CHALLENGE);
    ipc_put_u64(&out, session);
    ipc_put_str(&out, text);
    ipc_send(ch, &out);
}

/* "good" is the password of everything; X-FINAL brings data with its success. */
static bool authd(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    static bool final;
    uint64_t session = ipc_get_u64(in);
    struct slice text;
    bool has_initial;

    (void)ctx;
    switch (in->type) {
    case IPC_RCPT_ASK:
        text = ipc_get(in);
        /* who logged in may write to elsewhere */
        if (ipc_get_bool(in) && slice_ends(text, SLICE(".example"))) {
            assert_true(ipc_end(in));
            send_code(ch, IPC_RCPT_ANSWER, session, ERR_OK);
            return true;
        }
        assert_true(ipc_end(in));
        send_code(ch, IPC_RCPT_ANSWER, session,
            !slice_ends(text, SLICE(".org"))      ? ERR_NO_RELAY
            : slice_starts(text, SLICE("full"))   ? ERR_OVER_QUOTA
            : slice_starts(text, SLICE("nobody")) ? ERR_NO_USER
                                                  : ERR_OK);
        return true;
    case IPC_AUTH_START:
        ipc_get(in);
        ipc_get(in);
        final = slice_eq(ipc_get(in), SLICE("X-FINAL"));
        ipc_get(in);
        ipc_get_bool(in);
        has_initial = ipc_get_bool(in);
        text = ipc_get(in);
        assert_true(ipc_end(in));
        if (!has_initial)
            challenge(ch, session, "who?");
        else if (slice_eq(text, SLICE("good")))
            auth_ok(ch, session, final ? "end" : "");
        else
            send_code(ch, IPC_AUTH_REFUSED, session, ERR_AUTH_FAILED);
        return true;
    case IPC_AUTH_STEP:
        if (slice_eq(ipc_get(in), SLICE("good")))
            auth_ok(ch, session, final ? "end" : "");
        else
            send_code(ch, IPC_AUTH_REFUSED, session, ERR_AUTH_FAILED);
        return true;
    case IPC_AUTH_CANCEL:
        return ipc_end(in);
    default:
        return false;
    }
}

static bool parent(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    struct ipc_out out;
    uint64_t session, size, n;
    char id[20] = "";
    struct slice s;
    int fd;

    (void)ctx;
    if (in->type != IPC_MAIL)
        return in->type == IPC_SESSION_OPEN || in->type == IPC_SESSION_CLOSED;
    session = ipc_get_u64(in);
    s = ipc_get(in);
    assert_int_equal(s.n, 13);
    memcpy(id, s.p, s.n);
    buf_clear(&envelope);
    buf_clear(&flags);
    buf_add(&envelope, ipc_get(in));
    buf_add_char(&envelope, ' ');
    buf_add(&envelope, ipc_get(in)); /* helo */
    ipc_get(in);
    ipc_get_bool(in);
    buf_printf(&flags, "utf8=%d", ipc_get_bool(in));
    buf_printf(&flags, " 8bit=%d", ipc_get_bool(in));
    buf_printf(&flags, " tls=%d", ipc_get_bool(in));
    buf_printf(&flags, " ret=%d", (int)ipc_get_u64(in));
    s = ipc_get(in);
    buf_printf(&flags, " envid=%.*s", SLICE_FMT(s));
    size = ipc_get_u64(in);
    for (n = ipc_get_u64(in); n > 0; n--) {
        buf_add_char(&envelope, ' ');
        buf_add(&envelope, ipc_get(in));
        s = ipc_get(in);
        buf_printf(&flags, " [%.*s %d]", SLICE_FMT(s), (int)ipc_get_u64(in));
    }
    fd = ipc_get_fd(in);
    assert_true(ipc_end(in));
    assert_int_equal(fcntl(fd, F_GET_SEALS) & seals, seals);
    buf_clear(&kept);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(fs_read_all(fd, &kept, kept.cap), 0);
    assert_int_equal(kept.n, size);
    close(fd);
    if (parent_is_silent)
        return true;
    ipc_begin(&out, IPC_MAIL_DONE);
    ipc_put_u64(&out, session);
    ipc_put_u64(&out, done_code);
    ipc_put_str(&out, id);
    ipc_send(ch, &out);
    return true;
}

static void closed(void *ctx, struct ipc *ch)
{
    (void)ctx, (void)ch;
    fail_msg("a message was malformed");
}

static void wire(size_t i, enum role_id id, ipc_handler *handler)
{
    int fds[2];

    assert_int_equal(ipc_pair(fds), 0);
    role.peers[i].id = id;
    role.peers[i].ch = ipc_new(role.base, fds[0], "peer", to_front, closed, &listeners[i]);
    assert_non_null(ipc_new(role.base, fds[1], "front", handler, closed, NULL));
    role.npeers = i + 1;
}

static void open_port(unsigned i, enum service service)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    ports[i] = ntohs(a.sin_port);
    listeners[i] = (struct listener){
        .service = service, .tls = LISTENER_NO_TLS, .plain_login = service == SERVICE_SUBMISSION};
    smtpd_front_role.listener(&role, i, fd);
}

static int setup(void **state)
{
    struct err e = {0};
    struct ipc_out out;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)state;
    log_open(null, LOG_LEVEL_ERROR);
    role.base = event_base_new();
    role.settings = &settings;
    role.tls = role.tls_no_tickets = (struct tls_context *)&role; /* no handshake is made here */
    assert_int_equal(smtpd_front_role.run(&role, &e), 0);
    wire(0, ROLE_AUTHD, authd);
    wire(1, ROLE_SMTPD_PARENT, parent);
    open_port(0, SERVICE_SMTP);
    open_port(1, SERVICE_SUBMISSION);
    ipc_begin(&out, IPC_AUTH_MECHANISMS);
    ipc_put_str(&out, "PLAIN X-FINAL");
    /* as authd does when it starts */
    {
        struct ipc_in in = {.type = IPC_AUTH_MECHANISMS, .rest = slice_from(buf_slice(&out.buf), 4)};

        assert_true(smtpd_front_role.message(&role, ROLE_AUTHD, 0, NULL, &in));
        buf_free(&out.buf);
    }
    return 0;
}

/* --- the client --- */

struct client {
    int fd;
    struct buf in;
    bool is_closed;
};

static void turn(struct client *c)
{
    char octets[65536];
    ssize_t n;

    event_base_loop(role.base, EVLOOP_NONBLOCK);
    n = recv(c->fd, octets, sizeof octets, MSG_DONTWAIT);
    if (n > 0)
        buf_add(&c->in, slice_of(octets, (size_t)n));
    else if (n == 0 || errno == ECONNRESET)
        c->is_closed = true;
}

static void client_open(struct client *c, unsigned port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .in = BUF_INIT(1 << 20)};
    assert_int_equal(connect(c->fd, (struct sockaddr *)&a, sizeof a), 0);
}

static void client_close(struct client *c)
{
    close(c->fd);
    buf_free(&c->in);
    for (int i = 0; i < 5; i++)
        event_base_loop(role.base, EVLOOP_NONBLOCK);
}

static void client_send(struct client *c, const char *text, bool line)
{
    struct buf out = BUF_INIT(1 << 20);

    for (; *text; text++) {
        if (*text == '^')
            buf_add_str(&out, "\r\n");
        else
            buf_add_char(&out, *text == '%' ? '\0' : *text);
    }
    if (line)
        buf_add_str(&out, "\r\n");
    assert_int_equal(send(c->fd, out.p, out.n, MSG_NOSIGNAL), out.n);
    buf_free(&out);
}

static bool matches(struct slice line, const char *want)
{
    const char *any = strchr(want, '~');

    return any ? slice_starts(line, slice_of(want, (size_t)(any - want))) : slice_eq(line, slice_str(want));
}

static void expect(struct client *c, const char *want)
{
    ssize_t lf;
    struct slice line;

    for (int i = 0; (lf = slice_find(buf_slice(&c->in), SLICE("\r\n"))) < 0 && i < 2000; i++) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};

        turn(c);
        if (i > 10)
            poll(&p, 1, 1);
    }
    if (lf < 0)
        fail_msg("nothing came, wanted: %s", want);
    line = slice_sub(buf_slice(&c->in), 0, (size_t)lf);
    if (!matches(line, want))
        fail_msg("got: %.*s, wanted: %s", SLICE_FMT(line), want);
    buf_drop(&c->in, (size_t)lf + 2);
}

static void expect_kept(const char *want)
{
    struct buf text = BUF_INIT(1 << 20);

    for (; *want; want++) {
        if (*want == '^')
            buf_add_str(&text, "\r\n");
        else
            buf_add_char(&text, *want);
    }
    assert_true(slice_eq(buf_slice(&text), buf_slice(&kept)));
    buf_free(&text);
}

static void dialogue(unsigned port, const char *const *lines)
{
    struct client c;

    client_open(&c, ports[port]);
    for (; *lines; lines++) {
        const char *l = *lines, *text = strchr(l, ':') + 1;

        text += *text == ' ';
        if (*l == 'C' || *l == 'R') {
            client_send(&c, text, *l == 'C');
        } else if (*l == 'S') {
            expect(&c, text);
        } else if (*l == 'k') {
            expect_kept(text);
        } else {
            for (int i = 0; i < (*l == 'E' ? 500 : 20) && !c.is_closed; i++) {
                struct pollfd p = {.fd = c.fd, .events = POLLIN};

                turn(&c);
                poll(&p, 1, 1);
            }
            if (c.in.n)
                fail_msg("unasked: %.*s", SLICE_FMT(buf_slice(&c.in)));
            assert_int_equal(c.is_closed, *l == 'E');
        }
    }
    client_close(&c);
}

#define D(port, ...) dialogue(port, (const char *const[]){__VA_ARGS__, NULL})
#define HELLO "S: 220 mx.example.org ESMTP postamt", "C: HELO c.test", "S: 250 mx.example.org"

/* --- the tests --- */

static void test_mail(void **state)
{
    (void)state;
    D(0, "S: 220 ~", "C: EHLO c.test", "S: 250-mx.example.org", "S: 250-PIPELINING",
        "S: 250-ENHANCEDSTATUSCODES", "S: 250-SIZE 70000", "S: 250-8BITMIME", "S: 250-DSN", "S: 250-SMTPUTF8",
        "S: 250 CHUNKING",
        "C: MAIL FROM: <a@b.test> SIZE=10^RCPT TO:<Anna@Example.org>^RCPT TO:<nobody@example.org>^RCPT "
        "TO:<x@relay.test>^RCPT TO:<full@example.org>^DATA",
        "S: 250 2.1.0 ~", "S: 250 2.1.5 ~", "S: 550 5.1.1 ~", "S: 550 5.7.1 ~", "S: 452 4.2.2 ~", "S: 354 ~",
        "C: Subject: x^^..dot^text^.^QUIT", "S: 250 2.0.0 kept as ~", "S: 221 2.0.0 ~",
        "E:", "kept: Subject: x^^.dot^text^");
    assert_true(slice_eq(buf_slice(&envelope), SLICE("a@b.test c.test Anna@Example.org")));
    /* the null path, <postmaster>, a route */
    D(0, HELLO, "C: MAIL FROM:<>", "S: 250 ~", "C: RCPT TO:<Postmaster>", "S: 250 ~",
        "C: RCPT TO:<@a.test,@b.test:u@example.org>", "S: 250 ~", "C: DATA", "S: 354 ~", "C: .", "S: 250 ~",
        "kept:");
    assert_true(slice_eq(buf_slice(&envelope), SLICE(" c.test Postmaster@mx.example.org u@example.org")));
}

static void test_done_code(void **state)
{
    (void)state;
    done_code = ERR_NO_SPACE;
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^DATA", "S: 250 ~", "S: 250 ~", "S: 354 ~",
        "C: .", "S: 452 4.3.1 ~", "C: DATA", "S: 503 5.5.1 ~", "C: NOOP", "S: 250 ~");
    done_code = ERR_OK;
}

static void test_order(void **state)
{
    (void)state;
    D(0, "S: 220 ~", "C: MAIL FROM:<a@b.test>", "S: 503 5.5.1 say EHLO first", "C: EHLO", "S: 501 ~",
        "C: HELO c", "S: 250 ~", "C: RCPT TO:<u@example.org>", "S: 503 ~", "C: DATA", "S: 503 ~",
        "C: MAIL FROM:<a@b.test>", "S: 250 ~", "C: DATA", "S: 554 5.5.1 ~", "C: MAIL FROM:<a@b.test>",
        "S: 503 ~", "C: RSET", "S: 250 ~", "C: DATA", "S: 503 ~");
    D(0, HELLO, "C: VRFY u", "S: 252 ~", "C: EXPN l", "S: 502 ~", "C: FROB", "S: 500 5.5.1 ~", "C: RSET x",
        "S: 501 ~", "C: NO%OP", "S: 500 5.5.2 ~", "C:", "S: 500 ~", "C: STARTTLS", "S: 502 ~", "C: HELP",
        "S: 214-2.0.0 EHLO ~");
}

static void test_arguments(void **state)
{
    (void)state;
    D(0, HELLO, "C: MAIL FROM:<a@b.test>=", "S: 501 ~", "C: MAIL FROM:<a@b.test> X=1", "S: 555 5.5.4 ~",
        "C: MAIL FROM:<a@b.test> BODY=BINARYMIME", "S: 501 ~", "C: MAIL FROM:<a@b.test> SIZE=70001",
        "S: 552 5.3.4 ~", "C: MAIL FROM:<a@b.test> SIZE=99999999999999999999", "S: 552 ~",
        "C: MAIL FROM:<a@b.test> SIZE=1 SIZE=1", "S: 501 ~", "C: MAIL FROM:<a@b.test> AUTH=a+0A+0AX",
        "S: 501 ~", "C: MAIL FROM:<;sleep 60;>", "S: 501 5.1.7 ~", "C: MAIL FROM:a@b.test", "S: 501 ~");
    D(0, HELLO, "C: MAIL FROM:<a@b.test> AUTH=<> BODY=8BITMIME SIZE=70000", "S: 250 ~", "C: RCPT TO:<>",
        "S: 501 5.1.3 ~", "C: RCPT TO:<\"\"@example.org>", "S: 501 ~", "C: RCPT TO:<u>", "S: 501 ~",
        "C: RCPT TO:<u@example.org> NOTIFY=NEVER X", "S: 555 ~", "C: RCPT TO:<u@[127.0.0.1]>",
        "S: 550 5.7.1 ~", "C: RCPT TO:<\"u@remote.test\"@relay.test>", "S: 550 5.7.1 ~");
}

/* RFC 3461, 6531, 8689 */
static void test_extensions(void **state)
{
    (void)state;
    D(0, HELLO, "C: MAIL FROM:<a@b.test> RET=HDRS ENVID=a+2Bb BODY=8BITMIME", "S: 250 ~",
        "C: RCPT TO:<u@example.org> NOTIFY=success,DELAY ORCPT=rfc822;u+2Bx@z.test", "S: 250 ~",
        "C: RCPT TO:<v@example.org> ORCPT=utf-8;j\\x{f6}rg@z.test NOTIFY=NEVER", "S: 250 ~",
        "C: RCPT TO:<w@example.org>", "S: 250 ~", "C: DATA", "S: 354 ~", "C: .", "S: 250 ~", "kept:");
    assert_string_equal(buf_str(&flags), "utf8=0 8bit=1 tls=0 ret=2 envid=a+b [rfc822;u+x@z.test 10] "
                                         "[utf-8;j\xc3\xb6rg@z.test 1] [ 0]");
    /* what was said belongs to its transaction only */
    D(0, HELLO, "C: MAIL FROM:<a@b.test> RET=FULL ENVID=x SMTPUTF8", "S: 250 ~", "C: RSET", "S: 250 ~",
        "C: MAIL FROM:<a@b.test> BODY=7BIT", "S: 250 ~", "C: RCPT TO:<u@example.org>", "S: 250 ~", "C: DATA",
        "S: 354 ~", "C: .", "S: 250 ~");
    assert_string_equal(buf_str(&flags), "utf8=0 8bit=0 tls=0 ret=0 envid= [ 0]");
    D(0, HELLO, "C: MAIL FROM:<a@b.test> RET=BODY", "S: 501 ~", "C: MAIL FROM:<a@b.test> RET", "S: 501 ~",
        "C: MAIL FROM:<a@b.test> RET=FULL RET=FULL", "S: 501 ~", "C: MAIL FROM:<a@b.test> ENVID=a+0A",
        "S: 501 5.5.4 ~", "C: MAIL FROM:<a@b.test> ENVID=a+FF", "S: 501 5.5.4 ~",
        "C: MAIL FROM:<a@b.test> SMTPUTF8=1", "S: 501 ~", "C: MAIL FROM:<a@b.test> REQUIRETLS", "S: 555 ~");
    D(0, HELLO, "C: MAIL FROM:<a@b.test>", "S: 250 ~", "C: RCPT TO:<u@example.org> NOTIFY=NEVER,DELAY",
        "S: 501 ~", "C: RCPT TO:<u@example.org> NOTIFY=NEVER NOTIFY=NEVER", "S: 501 ~",
        "C: RCPT TO:<u@example.org> ORCPT=rfc822;a+0Ab@c", "S: 501 5.5.4 ~",
        "C: RCPT TO:<u@example.org> ORCPT=utf-8;j\xc3\xb6rg@c", "S: 501 ~",
        "C: RCPT TO:<u@example.org> ORCPT=rfc822;x ORCPT=rfc822;x", "S: 501 ~");
}

static void test_utf8(void **state)
{
    (void)state;
    D(0, HELLO, "C: MAIL FROM:<j\xc3\xb6rg@b.test>", "S: 553 5.6.7 ~", "C: MAIL FROM:<a@m\xc3\xbcller.test>",
        "S: 553 5.6.7 ~", "C: MAIL FROM:<j\xf6rg@b.test> SMTPUTF8", "S: 553 ~",
        "C: MAIL FROM:<a@\xe2\x98\x83.test> SMTPUTF8", "S: 553 5.1.2 ~", "C: MAIL FROM:<a@b.test>",
        "S: 250 ~", "C: RCPT TO:<j\xc3\xb6rg@example.org>", "S: 553 5.6.7 ~");
    D(0, HELLO, "C: MAIL FROM:<j\xc3\xb6rg@m\xc3\xbcller.test> SMTPUTF8", "S: 250 ~",
        "C: RCPT TO:<j\xc3\xb6rg@example.org> ORCPT=utf-8;j\xc3\xb6rg@c", "S: 250 ~", "C: DATA", "S: 354 ~",
        "C: .", "S: 250 ~");
    assert_string_equal(buf_str(&envelope), "j\xc3\xb6rg@m\xc3\xbcller.test c.test j\xc3\xb6rg@example.org");
    assert_string_equal(buf_str(&flags), "utf8=1 8bit=0 tls=0 ret=0 envid= [utf-8;j\xc3\xb6rg@c 0]");
}

/* S14: elsewhere for those who logged in. */
static void test_elsewhere(void **state)
{
    (void)state;
    D(0, HELLO, "C: MAIL FROM:<a@b.test>", "S: 250 ~", "C: RCPT TO:<u@far.example>", "S: 550 5.7.1 ~");
    D(1, HELLO, "C: AUTH PLAIN Z29vZA==", "S: 235 ~", "C: MAIL FROM:<a@b.test>", "S: 250 ~",
        "C: RCPT TO:<u@far.example>", "S: 250 ~", "C: RSET", "S: 250 ~");
}

static void test_too_many_recipients(void **state)
{
    (void)state;
    D(0, HELLO,
        "C: MAIL FROM:<a@b.test>^RCPT TO:<a@x.org>^RCPT TO:<b@x.org>^RCPT TO:<c@x.org>^RCPT TO:<d@x.org>",
        "S: 250 ~", "S: 250 ~", "S: 250 ~", "S: 250 ~", "S: 452 4.5.3 ~", "C: DATA", "S: 354 ~", "C: .",
        "S: 250 ~");
}

/* security.md S01: one message or none */
static void test_smuggling(void **state)
{
    static const char *const ends[] = {"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r\r\n.\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct buf text = BUF_INIT(1000);

        buf_printf(
            &text, "R: a%sMAIL FROM:<b@b.test>\r\nRCPT TO:<u@example.org>\r\nDATA\r\nb\r\n.\r\n", ends[i]);
        D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^DATA", "S: 250 ~", "S: 250 ~",
            "S: 354 ~", buf_str(&text), "S: 550 5.5.2 ~", "E:");
        buf_free(&text);
    }
}

static void test_refused_texts(void **state)
{
    struct buf text = BUF_INIT(1 << 20);

    (void)state;
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^DATA", "S: 250 ~", "S: 250 ~", "S: 354 ~",
        "C: a%b^.", "S: 554 5.6.0 ~", "C: NOOP", "S: 250 ~");
    buf_add_str(&text, "C: ");
    for (int i = 0; i < 51; i++)
        buf_add_str(&text, "Received: x^");
    buf_add_str(&text, "^.");
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^DATA", "S: 250 ~", "S: 250 ~", "S: 354 ~",
        buf_str(&text), "S: 554 5.4.6 ~");
    buf_cut(&text, 3);
    for (int i = 0; i < 70001; i++)
        buf_add_char(&text, 'x');
    buf_add_str(&text, "^.");
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^DATA", "S: 250 ~", "S: 250 ~", "S: 354 ~",
        buf_str(&text), "S: 552 5.3.4 ~", "C: NOOP", "S: 250 ~");
    buf_cut(&text, 3);
    for (int i = 0; i < 150000; i++)
        buf_add_char(&text, 'x');
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^DATA", "S: 250 ~", "S: 250 ~", "S: 354 ~",
        buf_str(&text), "S: 552 5.3.4 ~", "E:");
    buf_free(&text);
}

/* RFC 3030, security.md S03 */
static void test_chunks(void **state)
{
    (void)state;
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^BDAT 6^abcd", "S: 250 ~", "S: 250 ~",
        "S: 250 2.0.0 ~", "C: BDAT 8 LAST", "R: ^.^.^", "S: 250 2.0.0 kept as ~", "kept: abcd^^.^.^");
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^BDAT 0 LAST", "S: 250 ~", "S: 250 ~",
        "S: 250 2.0.0 kept as ~", "kept:");
    /* swallowed when nobody takes it */
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<nobody@example.org>^BDAT 7 LAST^NOOP^NNOOP", "S: 250 ~",
        "S: 550 ~", "S: 554 5.5.1 ~", "S: 250 2.0.0 here");
    /* not with DATA in one transaction; RSET forgets */
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>", "S: 250 ~", "S: 250 ~", "C: BDAT 2",
        "R: ^", "S: 250 ~", "C: DATA", "S: 503 ~", "C: RCPT TO:<v@example.org>", "S: 503 ~", "C: RSET",
        "S: 250 ~", "C: BDAT 2 LAST", "R: ^", "S: 503 ~");
    D(0, HELLO, "C: BDAT 99999999999999999999^NOOP", "S: 552 ~", "E:");
    D(0, HELLO, "C: BDAT x^NOOP", "S: 501 ~", "E:");
    D(0, HELLO, "C: BDAT 1000000 LAST", "S: 552 ~", "E:");
    /* half a chunk is none */
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^BDAT 20^NOOP", "S: 250 ~", "S: 250 ~", "N:");
}

/* security.md S17, S09 */
static void test_pipelining(void **state)
{
    struct buf text = BUF_INIT(1 << 20);
    struct client c;

    (void)state;
    D(0, "S: 220 ~", "C: EHLO c^NOOP", "S: 554 5.5.0 ~", "E:");
    D(0, HELLO, "C: MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^DATA^text^.", "S: 250 ~", "S: 250 ~",
        "S: 554 5.5.0 ~", "E:");
    D(0, "S: 220 ~", "C: POST / HTTP/1.1^Host: x", "S: 554 ~", "E:");
    /* before the greeting */
    client_open(&c, ports[0]);
    client_send(&c, "EHLO c", true);
    expect(&c, "554 5.5.0 ~");
    client_close(&c);
    buf_add_str(&text, "C: NOOP ");
    for (int i = 0; i < 30000; i++)
        buf_add_char(&text, 'x');
    D(0, HELLO, buf_str(&text), "S: 500 5.5.2 ~", "C: NOOP", "S: 250 ~", buf_str(&text), "S: 500 ~",
        buf_str(&text), "S: 500 ~", "E:");
    buf_free(&text);
}

static void test_junk(void **state)
{
    struct client c;

    (void)state;
    client_open(&c, ports[0]);
    expect(&c, "220 ~");
    for (int i = 0; i < 20; i++) {
        client_send(&c, "NOOP", true);
        expect(&c, "250 ~");
    }
    client_send(&c, "NOOP", true);
    expect(&c, "421 4.7.0 ~");
    client_close(&c);
}

static void test_login(void **state)
{
    (void)state;
    D(0, HELLO, "C: AUTH PLAIN", "S: 530 5.7.0 there is no login on this port; use port 465 ~");
    D(1, HELLO, "C: MAIL FROM:<a@b.test>", "S: 530 5.7.0 ~", "C: AUTH NTLM", "S: 504 ~", "C: AUTH",
        "S: 501 ~", "C: AUTH PLAIN Z29v", "S: 535 5.7.8 ~", "C: auth plain Z29vZA==", "S: 235 2.7.0 ~",
        "C: AUTH PLAIN", "S: 503 ~", "C: MAIL FROM:<a@b.test>", "S: 250 ~", "C: RCPT TO:<u@example.org>",
        "S: 250 ~", "C: DATA", "S: 354 ~", "C: a%b^.", "S: 250 ~");
    D(1, "S: 220 ~", "C: EHLO c", "S: 250-~", "S: 250-~", "S: 250-~", "S: 250-~", "S: 250-~", "S: 250-~",
        "S: 250-~", "S: 250-CHUNKING", "S: 250 AUTH PLAIN X-FINAL");
    /* a challenge, an empty initial response, cancelling, bad base64 (S11) */
    D(1, HELLO, "C: AUTH PLAIN", "S: 334 d2hvPw==", "C: Z29vZA==", "S: 235 ~");
    D(1, HELLO, "C: AUTH PLAIN =", "S: 535 ~", "C: AUTH PLAIN", "S: 334 ~", "C: *", "S: 501 5.7.0 ~",
        "C: AUTH PLAIN", "S: 334 ~", "C: Z29v!", "S: 501 5.5.2 ~", "C: NOOP", "S: 250 ~",
        "C: AUTH PLAIN Z=29", "S: 501 5.5.2 ~");
    D(1, HELLO, "C: AUTH PLAIN AAAA", "S: 535 ~", "C: AUTH PLAIN AAAB", "S: 535 ~", "C: AUTH PLAIN AAAC",
        "S: 535 ~", "S: 421 4.7.0 ~", "E:");
    /* the server's last data wants an answer (RFC 4954 4) */
    D(1, HELLO, "C: AUTH X-FINAL Z29vZA==", "S: 334 ZW5k", "C: MAIL FROM:<a@b.test>", "S: 501 ~", "E:");
    D(1, HELLO, "C: AUTH X-FINAL", "S: 334 ~", "C: Z29vZA==", "S: 334 ZW5k", "C:", "S: 235 ~",
        "C: MAIL FROM:<a@b.test>", "S: 250 ~");
}

static void test_parent_lost(void **state)
{
    struct client c;

    (void)state;
    parent_is_silent = true;
    client_open(&c, ports[0]);
    expect(&c, "220 ~");
    client_send(&c, "HELO c", true);
    expect(&c, "250 ~");
    client_send(&c, "MAIL FROM:<a@b.test>^RCPT TO:<u@example.org>^DATA", true);
    expect(&c, "250 ~");
    expect(&c, "250 ~");
    expect(&c, "354 ~");
    client_send(&c, ".", true);
    for (int i = 0; i < 20; i++)
        turn(&c);
    assert_int_equal(c.in.n, 0);
    smtpd_front_role.peer(&role, ROLE_SMTPD_PARENT, 0, NULL);
    expect(&c, "451 4.3.2 ~");
    client_send(&c, "NOOP", true);
    expect(&c, "250 ~");
    client_close(&c);
    parent_is_silent = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_done_code),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_too_many_recipients),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_junk),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_parent_lost),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
