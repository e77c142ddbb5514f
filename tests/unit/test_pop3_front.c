/*
 * What a client hears of pop3d before its login: pop3_front_ops against a front that this file plays. A
 * script of what the client sends and what authd decides gives the text of the answers.
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

#include "common/mem.h"
#include "pop3d/pop3.h"
#include "session/front.h"

/* The front, its one connection, and what was asked of it. */
struct front {
    struct front_conn c;
    struct event_base *base;
    int fd;
    bool closed;
    struct buf asked; /* "login anna/secret; " .. */
    struct listener listener;
    struct settings settings;
};

const char *front_mechanisms(const struct front_conn *c)
{
    return c->may_log_in ? "PLAIN LOGIN SCRAM-SHA-256" : "";
}

void front_auth_start(struct front_conn *c, struct slice mechanism, bool has_initial, struct slice initial)
{
    buf_printf(&c->front->asked, "start %.*s %s%.*s; ", SLICE_FMT(mechanism), has_initial ? "=" : "-",
        SLICE_FMT(initial));
}

void front_auth_step(struct front_conn *c, struct slice data)
{
    buf_printf(&c->front->asked, "step %.*s; ", SLICE_FMT(data));
}

void front_auth_cancel(struct front_conn *c)
{
    buf_add_str(&c->front->asked, "cancel; ");
}

void front_auth_login(struct front_conn *c, struct slice user, struct slice password)
{
    buf_printf(&c->front->asked, "login %.*s/%.*s; ", SLICE_FMT(user), SLICE_FMT(password));
}

void front_starttls(struct front_conn *c)
{
    buf_add_str(&c->front->asked, "starttls; ");
}

static void gone(struct front_conn *c)
{
    stream_close_after_flush(c->stream);
    c->stream = NULL;
    pop3_front_ops.closed(c);
    c->front->closed = true;
}

void front_hand_over(struct front_conn *c, struct slice tag)
{
    struct slice left = stream_input(c->stream);

    assert_int_equal(stream_pending(c->stream), 0);
    buf_printf(&c->front->asked, "hand over (%.*s) with \"%.*s\"; ", SLICE_FMT(tag), SLICE_FMT(left));
    gone(c);
}

void front_close(struct front_conn *c)
{
    gone(c);
}

static void on_input(void *ctx, struct stream *s)
{
    (void)s;
    pop3_front_ops.input(ctx);
}

static void on_drained(void *ctx, struct stream *s)
{
    (void)s;
    pop3_front_ops.drained(ctx);
}

static void on_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail)
{
    struct front_conn *c = ctx;

    (void)s, (void)detail;
    if (why == STREAM_TIMEOUT)
        pop3_front_ops.bye(c, ERR_UNAVAILABLE, true);
    gone(c);
}

static const struct stream_ops stream_ops = {.input = on_input, .drained = on_drained, .ended = on_ended};

static int set_up(void **state)
{
    struct front *f = mem_zalloc(1, sizeof *f);
    static char hostname[] = "mail.example.org";
    int pair[2];

    f->base = event_base_new();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    f->fd = pair[0];
    buf_init(&f->asked, BUF_OWN);
    f->settings.hostname = hostname;
    f->settings.login_timeout_s = 60;
    f->listener.tls = LISTENER_STARTTLS;
    f->c = (struct front_conn){
        .front = f, .settings = &f->settings, .listener = &f->listener, .may_log_in = true};
    f->c.stream = stream_new(f->base, pair[1], &stream_ops, &f->c);
    *state = f;
    return 0;
}

static void look(struct front *f)
{
    for (int i = 0; i < 10; i++)
        event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static int tear_down(void **state)
{
    struct front *f = *state;

    close(f->fd);
    look(f);
    assert_true(f->closed);
    event_base_free(f->base);
    buf_free(&f->asked);
    free(f);
    return 0;
}

/* Sends `line` (may be empty) and compares all that comes. */
static void talk(struct front *f, const char *line, const char *answer)
{
    struct buf in = BUF_INIT(65536);
    ssize_t n;

    if (*line)
        assert_int_equal(send(f->fd, line, strlen(line), MSG_NOSIGNAL), strlen(line));
    look(f);
    n = recv(f->fd, buf_room(&in, 60000), 60000, MSG_DONTWAIT);
    buf_grew(&in, n > 0 ? (size_t)n : 0);
    assert_string_equal(buf_str(&in), answer);
    buf_free(&in);
}

static void asked(struct front *f, const char *what)
{
    assert_string_equal(buf_str(&f->asked), what);
    buf_clear(&f->asked);
}

static void greet(struct front *f)
{
    pop3_front_ops.opened(&f->c);
    talk(f, "", "+OK mail.example.org POP3 ready\r\n");
}

static void refuse(struct front *f, enum err_code code)
{
    f->c.failures++;
    stream_resume(f->c.stream);
    pop3_front_ops.refused_auth(&f->c, code);
}

#define CAPA_HEAD "+OK these are offered\r\nUIDL\r\nTOP\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n"
#define CAPA_TAIL "IMPLEMENTATION postamt\r\n.\r\n"
#define CAPA_LOGIN "USER\r\nSASL PLAIN LOGIN SCRAM-SHA-256\r\n"
#define WRONG                                                                                                \
    "-ERR [AUTH] user name or password is wrong; check both in the mail program's account settings\r\n"
#define PRIVACY                                                                                              \
    "-ERR [AUTH] log in over TLS only: choose SSL/TLS or STARTTLS in the mail program's account "            \
    "settings\r\n"
#define UNKNOWN "-ERR unknown command; this is a POP3 server, CAPA says what it knows\r\n"

static void test_capa(void **state)
{
    struct front *f = *state;

    greet(f);
    talk(f, "CAPA\r\n", CAPA_HEAD "STLS\r\n" CAPA_LOGIN CAPA_TAIL);
    f->c.may_log_in = false;
    talk(f, "capa\r\n", CAPA_HEAD "STLS\r\n" CAPA_TAIL);
    f->c.may_log_in = f->c.is_tls = true;
    talk(f, "CAPA\r\n", CAPA_HEAD CAPA_LOGIN CAPA_TAIL);
    talk(f, "QUIT\r\n", "+OK bye\r\n");
    assert_true(f->closed);
}

/* No login in clear (P03, clients.md 18), and the third attempt is the last. */
static void test_clear(void **state)
{
    struct front *f = *state;

    f->c.may_log_in = false;
    greet(f);
    talk(f, "USER anna\r\nAUTH PLAIN AGEAYg==\r\n", PRIVACY PRIVACY);
    talk(f, "PASS secret\r\n", PRIVACY);
    asked(f, "");
    assert_true(f->closed);
}

static void test_pass(void **state)
{
    struct front *f = *state;

    greet(f);
    talk(f, "PASS secret\r\n", "-ERR first USER, then PASS\r\n");
    talk(f, "USER anna@example.org\r\n", "+OK now the password\r\n");
    talk(f, "PASS  my  secret \r\n", "");
    asked(f, "login anna@example.org/ my  secret ; ");
    refuse(f, ERR_AUTH_FAILED);
    talk(f, "", WRONG);
    talk(f, "PASS secret\r\n", "-ERR first USER, then PASS\r\n");
    talk(f, "USER anna\r\n", "+OK now the password\r\n");
    talk(f, "PASS secret\r\n", "");
    pop3_front_ops.authenticated(&f->c, SLICE("anna@example.org"), SLICE(""));
    asked(f, "login anna/secret; hand over (PLAIN LOGIN SCRAM-SHA-256) with \"\"; ");
}

/* What comes behind PASS waits for the worker, or for the refusal. */
static void test_pipelined(void **state)
{
    struct front *f = *state;

    greet(f);
    talk(f, "USER anna\r\nPASS wrong\r\nUSER anna\r\nPASS right\r\nSTAT\r\nLI", "+OK now the password\r\n");
    asked(f, "login anna/wrong; ");
    refuse(f, ERR_AUTH_FAILED);
    talk(f, "", WRONG "+OK now the password\r\n");
    asked(f, "login anna/right; ");
    pop3_front_ops.authenticated(&f->c, SLICE("anna@example.org"), SLICE(""));
    asked(f, "hand over (PLAIN LOGIN SCRAM-SHA-256) with \"STAT\r\nLI\"; ");
}

static void test_three_failures(void **state)
{
    struct front *f = *state;

    greet(f);
    for (int i = 0; i < 3; i++) {
        talk(f, "USER anna\r\nPASS x\r\n", "+OK now the password\r\n");
        assert_false(f->closed);
        refuse(f, i < 2 ? ERR_AUTH_FAILED : ERR_AUTH_SLOW_DOWN);
        talk(f, "",
            i < 2 ? WRONG
                  : "-ERR [SYS/TEMP] too many wrong passwords came from this address or for this user; wait "
                    "ten minutes, "
                    "then check the password\r\n");
    }
    assert_true(f->closed);
}

static void test_auth(void **state)
{
    struct front *f = *state;

    greet(f);
    talk(f, "AUTH\r\n", "+OK these are offered\r\nPLAIN\r\nLOGIN\r\nSCRAM-SHA-256\r\n.\r\n");
    talk(f, "AUTH CRAM-MD5\r\n", "-ERR [AUTH] that way of logging in is not offered here\r\n");
    talk(f, "AUTH PLAIN YWJj\r\n", "");
    asked(f, "start PLAIN =abc; ");
    refuse(f, ERR_AUTH_FAILED);
    talk(f, "", WRONG);
    talk(f, "AUTH PLAIN =\r\n", "");
    asked(f, "start PLAIN =; ");
    pop3_front_ops.challenge(&f->c, SLICE(""));
    talk(f, "", "+ \r\n");
    talk(f, "*\r\n", "-ERR [AUTH] the login was cancelled\r\n");
    asked(f, "cancel; ");
    talk(f, "auth login\r\n", "");
    asked(f, "start login -; ");
    pop3_front_ops.challenge(&f->c, SLICE("Username:"));
    talk(f, "", "+ VXNlcm5hbWU6\r\n");
    talk(f, "YW5uYQ==\r\n", "");
    asked(f, "step anna; ");
    pop3_front_ops.authenticated(&f->c, SLICE("anna@example.org"), SLICE(""));
    asked(f, "hand over (PLAIN LOGIN SCRAM-SHA-256) with \"\"; ");
}

/* SCRAM's last words of the server go as a challenge; the client confirms with an empty line. */
static void test_final(void **state)
{
    struct front *f = *state;

    greet(f);
    talk(f, "AUTH SCRAM-SHA-256 YWJj\r\n", "");
    pop3_front_ops.authenticated(&f->c, SLICE("anna@example.org"), SLICE("v=1"));
    talk(f, "", "+ dj0x\r\n");
    asked(f, "start SCRAM-SHA-256 =abc; ");
    talk(f, "\r\nSTAT\r\n", "");
    asked(f, "hand over (PLAIN LOGIN SCRAM-SHA-256) with \"STAT\r\n\"; ");
}

static void test_final_refused(void **state)
{
    struct front *f = *state;

    greet(f);
    talk(f, "AUTH SCRAM-SHA-256 YWJj\r\n", "");
    pop3_front_ops.authenticated(&f->c, SLICE("anna@example.org"), SLICE("v=1"));
    talk(f, "*\r\n", "+ dj0x\r\n-ERR [AUTH] the login was cancelled\r\n");
    assert_true(f->closed);
}

static void test_long_response(void **state)
{
    struct front *f = *state;
    struct buf line = BUF_INIT(BUF_OWN), step = BUF_INIT(BUF_OWN);

    greet(f);
    talk(f, "AUTH PLAIN\r\n", "");
    pop3_front_ops.challenge(&f->c, SLICE(""));
    buf_add(&step, SLICE("start PLAIN -; step "));
    for (int i = 0; i < 1000; i++) {
        buf_add(&line, SLICE("YWJj"));
        buf_add(&step, SLICE("abc"));
    }
    buf_add(&line, SLICE("\r\n"));
    buf_add(&step, SLICE("; "));
    talk(f, buf_str(&line), "+ \r\n");
    asked(f, buf_str(&step));
    pop3_front_ops.challenge(&f->c, SLICE(""));
    buf_clear(&line);
    for (int i = 0; i < 4000; i++)
        buf_add(&line, SLICE("YWJj"));
    buf_add(&line, SLICE("\r\n"));
    talk(f, buf_str(&line), "+ \r\n-ERR the line is too long; no command is\r\n");
    asked(f, "cancel; ");
    buf_free(&line);
    buf_free(&step);
}

static void test_bad(void **state)
{
    struct front *f = *state;
    char line[400];

    greet(f);
    talk(f, "STAT\r\n", "-ERR log in first: USER and PASS, or AUTH\r\n");
    memset(line, 'x', sizeof line);
    memcpy(line + sizeof line - 3, "\r\n", 3);
    talk(f, line, "-ERR the line is too long; no command is\r\n");
    talk(f, "GET / HTTP/1.0\r\nHost: x\r\n", UNKNOWN);
    assert_true(f->closed);
}

static void test_refused_commands(void **state)
{
    static const struct {
        const char *line, *answer;
    } rows[] = {
        {"NOOP\r\n", "-ERR log in first: USER and PASS, or AUTH\r\n"},
        {"RETR x\r\n", "-ERR log in first: USER and PASS, or AUTH\r\n"},
        {"APOP anna 0\r\n",
            "-ERR that way of logging in is not offered here; use USER and PASS, or AUTH\r\n"},
        {"USER\r\n", "-ERR write it as: USER address\r\n"},
        {"USER  \r\n", "-ERR write it as: USER address\r\n"},
        {"AUTH PLAIN !!\r\n", "-ERR write it as: AUTH mechanism response, the response in base64\r\n"},
        {"STLS now\r\n", "-ERR write it as: STLS\r\n"},
        {"\r\n", UNKNOWN},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct front *f;

        assert_int_equal(set_up(state), 0);
        f = *state;
        greet(f);
        talk(f, rows[i].line, rows[i].answer);
        asked(f, "");
        assert_false(f->closed);
        tear_down(state);
    }
}

/* Nothing that came in clear behind STLS is read, and what was said before is forgotten: S04. */
static void test_stls(void **state)
{
    struct front *f = *state;

    greet(f);
    talk(f, "USER anna\r\n", "+OK now the password\r\n");
    talk(f, "STLS\r\n", "+OK begin TLS now\r\n");
    asked(f, "starttls; ");
    f->c.is_tls = true;
    pop3_front_ops.secured(&f->c);
    talk(f, "PASS secret\r\n", "-ERR first USER, then PASS\r\n");
    talk(f, "STLS\r\n", "-ERR TLS is on already; log in now\r\n");
}

static void test_stls_not_offered(void **state)
{
    struct front *f = *state;

    f->listener.tls = LISTENER_NO_TLS;
    greet(f);
    talk(f, "STLS\r\n", "-ERR TLS is not offered on this port; use port 995\r\n");
    talk(f, "CAPA\r\n", CAPA_HEAD CAPA_LOGIN CAPA_TAIL);
}

static void test_bye(void **state)
{
    struct front *f = *state;

    pop3_front_ops.bye(&f->c, ERR_TOO_MANY, false); /* before the greeting */
    gone(&f->c);
    talk(f, "", "-ERR [SYS/TEMP] too many connections from this address; close some\r\n");
}

static void test_timeout(void **state)
{
    struct front *f = *state;

    greet(f);
    pop3_front_ops.bye(&f->c, ERR_UNAVAILABLE, true);
    talk(f, "", ""); /* RFC 1939 3 */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_capa),
        TEST(test_clear),
        TEST(test_pass),
        TEST(test_pipelined),
        TEST(test_three_failures),
        TEST(test_auth),
        TEST(test_final),
        TEST(test_final_refused),
        TEST(test_long_response),
        TEST(test_bad),
        cmocka_unit_test(test_refused_commands),
        TEST(test_stls),
        TEST(test_stls_not_offered),
        TEST(test_bye),
        TEST(test_timeout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
