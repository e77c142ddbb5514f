/*
 * IMAP before the login: imapd_front_ops over a socket pair, with a stand-in for the front's core that writes
 * down what it is asked. Rows I01, I03, S04's part, S11; clients.md 5, 18.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "imapd/front.h"

static struct event_base *base;
static struct front_conn conn;
static struct listener listener;
static struct settings settings;
static struct buf asked; /* what the core was asked */
static int client;

/* --- the stand-in for session/front.c --- */

const char *front_mechanisms(const struct front_conn *c)
{
    return c->may_log_in ? "PLAIN LOGIN" : "";
}

void front_auth_start(struct front_conn *c, struct slice mechanism, bool has_initial, struct slice initial)
{
    (void)c;
    /* PLAIN's octets hold NUL */
    buf_printf(&asked, "start %.*s %d <", SLICE_FMT(mechanism), has_initial);
    if (initial.n)
        buf_printf(&asked, "%zu octets", initial.n);
    buf_add_str(&asked, ">;");
}

void front_auth_step(struct front_conn *c, struct slice data)
{
    (void)c;
    buf_printf(&asked, "step <%.*s>;", SLICE_FMT(data));
}

void front_auth_cancel(struct front_conn *c)
{
    (void)c;
    buf_add_str(&asked, "cancel;");
}

void front_auth_login(struct front_conn *c, struct slice user, struct slice password)
{
    (void)c;
    buf_printf(&asked, "login <%.*s> <%.*s>;", SLICE_FMT(user), SLICE_FMT(password));
}

void front_starttls(struct front_conn *c)
{
    (void)c;
    buf_add_str(&asked, "starttls;");
}

void front_hand_over(struct front_conn *c, struct slice tag)
{
    assert_int_equal(stream_pending(c->stream), 0);
    buf_printf(&asked, "take %.*s with <%.*s>;", SLICE_FMT(tag), SLICE_FMT(stream_input(c->stream)));
}

void front_close(struct front_conn *c)
{
    stream_close_after_flush(c->stream);
    c->stream = NULL;
    imapd_front_ops.closed(c);
    buf_add_str(&asked, "close;");
}

static void on_input(void *ctx, struct stream *s)
{
    (void)ctx, (void)s;
    imapd_front_ops.input(&conn);
}

static void on_drained(void *ctx, struct stream *s)
{
    (void)ctx, (void)s;
    imapd_front_ops.drained(&conn);
}

static void on_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail)
{
    (void)ctx, (void)s, (void)why, (void)detail;
    front_close(&conn);
}

static const struct stream_ops ops = {on_input, on_drained, NULL, on_ended};

/* --- helpers --- */

static void say(struct slice text)
{
    assert_int_equal(write(client, text.p, text.n), (ssize_t)text.n);
    for (int i = 0; i < 5; i++)
        event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* All that was answered since, and what the core was asked. */
static void expect(const char *answer, const char *question)
{
    char text[8192];
    ssize_t n;

    for (int i = 0; i < 5; i++)
        event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    n = read(client, text, sizeof text);
    if (!slice_eq(slice_of(text, n > 0 ? (size_t)n : 0), slice_str(answer)))
        fail_msg("got:  %.*s\nwant: %s", n > 0 ? (int)n : 0, text, answer);
    if (!slice_eq(buf_slice(&asked), slice_str(question)))
        fail_msg("asked: %.*s\nwant: %s", SLICE_FMT(buf_slice(&asked)), question);
    buf_clear(&asked);
}

#define GREETING                                                                                             \
    "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN] mx.example.org "      \
    "postamt ready\r\n"

static int setup(void **state)
{
    int pair[2];

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    base = event_base_new();
    asked = BUF_INIT(BUF_OWN);
    settings = (struct settings){.hostname = (char *)(uintptr_t) "mx.example.org", .login_timeout_s = 60};
    listener = (struct listener){.service = SERVICE_IMAP, .tls = LISTENER_TLS};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    client = pair[0];
    conn =
        (struct front_conn){.settings = &settings, .listener = &listener, .is_tls = true, .may_log_in = true};
    conn.stream = stream_new(base, pair[1], &ops, NULL);
    return 0;
}

static void open_it(const char *greeting)
{
    imapd_front_ops.opened(&conn);
    expect(greeting, "");
}

static int teardown(void **state)
{
    (void)state;
    close(client);
    for (int i = 0; i < 10; i++)
        event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    assert_null(conn.stream);
    assert_null(conn.state);
    buf_free(&asked);
    event_base_free(base);
    return 0;
}

/* --- tests --- */

static void test_plain(void **state)
{
    (void)state;
    open_it(GREETING);
    say(SLICE("a CAPABILITY\r\nb NOOP\r\nc ID NIL\r\nd STARTTLS\r\n"));
    expect("* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN\r\na OK CAPABILITY "
           "completed\r\n"
           "b OK NOOP completed\r\n"
           "* ID (\"name\" \"postamt\")\r\nc OK ID completed\r\n"
           "d BAD TLS is on already\r\n",
        "");
    say(SLICE("e LOGOUT\r\n"));
    expect("* BYE see you\r\ne OK LOGOUT completed\r\n", "close;");
}

/* The password may hold what a word may not; what is pipelined behind goes to the worker. */
static void test_login(void **state)
{
    (void)state;
    open_it(GREETING);
    say(SLICE("a LOGIN me {5}\r\n"));
    expect("+ OK\r\n", "");
    say(SLICE("p \"\\x\r\nb SELECT INBOX\r\n"));
    expect("", "login <me> <p \"\\x>;");
    imapd_front_ops.authenticated(&conn, SLICE("me@example.org"), SLICE(""));
    expect("", "take a with <b SELECT INBOX\r\n>;");
    imapd_front_ops.bye(&conn, ERR_TOO_MANY, false);
    front_close(&conn);
    expect("a NO [LIMIT] too many connections from this address; close some\r\n"
           "* BYE [LIMIT] too many connections from this address; close some\r\n",
        "close;");
}

static void test_refused(void **state)
{
    (void)state;
    open_it(GREETING);
    for (int i = 1; i <= 3; i++) {
        say(SLICE("a LOGIN \"me\" wrong\r\n"));
        expect("", "login <me> <wrong>;");
        conn.failures++;
        imapd_front_ops.refused_auth(&conn, ERR_AUTH_FAILED);
        if (i < 3)
            expect("a NO [AUTHENTICATIONFAILED] user name or password is wrong; check both in the mail "
                   "program's account "
                   "settings\r\n",
                "");
    }
    expect(
        "a NO [AUTHENTICATIONFAILED] user name or password is wrong; check both in the mail program's "
        "account settings\r\n"
        "* BYE three logins failed; check user name and password in the mail program, then connect again\r\n",
        "close;");
}

static void test_sasl(void **state)
{
    (void)state;
    open_it(GREETING);
    say(SLICE("a AUTHENTICATE plain AGEAYg==\r\n"));
    expect("", "start plain 1 <4 octets>;");
    imapd_front_ops.refused_auth(&conn, ERR_AUTH_BUSY);
    expect("a NO [UNAVAILABLE] too many people log in at this moment; please try again in a minute\r\n", "");
    say(SLICE("b AUTHENTICATE LOGIN\r\n"));
    expect("", "start LOGIN 0 <>;");
    imapd_front_ops.challenge(&conn, SLICE("Username:"));
    expect("+ VXNlcm5hbWU6\r\n", "");
    say(SLICE("bWU=\r\n"));
    expect("", "step <me>;");
    imapd_front_ops.challenge(&conn, SLICE("Password:"));
    expect("+ UGFzc3dvcmQ6\r\n", "");
    say(SLICE("*\r\n"));
    expect("b BAD the login was cancelled\r\n", "cancel;");
    /* an empty initial response is not none */
    say(SLICE("c AUTHENTICATE PLAIN =\r\n"));
    expect("", "start PLAIN 1 <>;");
    imapd_front_ops.challenge(&conn, SLICE(""));
    expect("+ \r\n", "");
    /* a junk line cancels; the next command is heard */
    say(SLICE("A2 LOGOUT\r\nd NOOP\r\n"));
    expect("c BAD that is no base64; the login was cancelled\r\nd OK NOOP completed\r\n", "cancel;");
    say(SLICE("e AUTHENTICATE GSSAPI\r\n"));
    expect("e NO [CANNOT] that way of logging in is not offered here\r\n", "");
    /* SCRAM's last word: one challenge more, then the hand-over */
    say(SLICE("f AUTHENTICATE PLAIN\r\n"));
    expect("", "start PLAIN 0 <>;");
    imapd_front_ops.authenticated(&conn, SLICE("me"), SLICE("v=x"));
    expect("+ dj14\r\n", "");
    say(SLICE("\r\ng NOOP\r\n"));
    expect("", "take f with <g NOOP\r\n>;");
    front_close(&conn);
    expect("", "close;");
}

/* Without TLS: no login, no mechanism; STARTTLS is there. */
static void test_clear(void **state)
{
    (void)state;
    conn.is_tls = conn.may_log_in = false;
    listener.tls = LISTENER_STARTTLS;
    open_it("* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED] "
            "mx.example.org postamt ready\r\n");
    say(SLICE("a LOGIN me you\r\nb AUTHENTICATE PLAIN AGEAYg==\r\n"));
    expect("a NO [PRIVACYREQUIRED] log in over TLS only: choose SSL/TLS or STARTTLS in the mail program's "
           "account settings\r\n"
           "b NO [PRIVACYREQUIRED] log in over TLS only: choose SSL/TLS or STARTTLS in the mail program's "
           "account settings\r\n",
        "");
    /* what follows in the same packet is not read as a command */
    say(SLICE("c STARTTLS\r\nd LOGIN me you\r\n"));
    expect("c OK begin TLS now\r\n", "starttls;");
    front_close(&conn);
    expect("", "close;");
}

static void test_limits(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"a LOGIN {1025}\r\n", "* BYE a literal is too large, or there are too many in one command\r\n"},
        {"a LOGIN {99999999999999999999+}\r\n",
            "* BYE a literal is too large, or there are too many in one command\r\n"},
        {"GET / HTTP/1.0\r\nHost: x\r\nUser-Agent: y\r\n",
            "GET BAD that command is not known before the login; log in first\r\n"
            "Host: BAD that command is not known before the login; log in first\r\n"
            "User-Agent: BAD that command is not known before the login; log in first\r\n"
            "* BYE too many commands that could not be understood; is this a mail program?\r\n"},
        {"a ID ((((((((((((\r\nb LOGIN (((\r\nc LOGIN\r\n",
            "a BAD a quoted string or a literal was expected\r\n"
            "b BAD a word or a string was expected\r\n"
            "c BAD an argument is missing\r\n"
            "* BYE too many commands that could not be understood; is this a mail program?\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (i)
            setup(NULL);
        open_it(GREETING);
        say(slice_str(rows[i].in));
        expect(rows[i].out, "close;");
        if (i + 1 < sizeof rows / sizeof *rows)
            teardown(NULL);
    }
}

static void test_long_line(void **state)
{
    char junk[9000];

    (void)state;
    open_it(GREETING);
    memset(junk, 'x', sizeof junk);
    say(slice_of(junk, sizeof junk));
    expect("* BYE the command line is too long\r\n", "close;");
}

static void test_timeout(void **state)
{
    (void)state;
    open_it(GREETING);
    imapd_front_ops.bye(&conn, ERR_UNAVAILABLE, true);
    front_close(&conn);
    expect("* BYE nobody logged in in time; connect again when needed\r\n", "close;");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_plain), T(test_login), T(test_refused), T(test_sasl),
        T(test_clear), T(test_limits), T(test_long_line), T(test_timeout)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
