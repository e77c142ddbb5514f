/*
 * Sessions of the POP3 worker over socket pairs with an account on disk: dialogues, two sessions at once,
 * other programs that delete and rename, QUIT and its absence: security.md P01, P02.
 *
 * The worker itself (session/worker.c) is played by this file: it would enter the sandbox.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"
#include "pop3d/pop3.h"
#include "tests/unit/store_box.h"

#define CLIENTS 3
#define WAIT_S 10

struct worker {
    struct box box;
    struct event_base *base;
    struct account *account;
    void *state;
    uint64_t removed, messages_removed;
    unsigned ended;
    struct settings settings;
    struct {
        int fd;
        struct worker_session *ws; /* NULL: it has ended */
        struct buf in;
        bool eof;
    } clients[CLIENTS];
};

/* --- the worker --- */

struct account *worker_account(struct worker *w)
{
    return w->account;
}

struct slice worker_user(const struct worker *w)
{
    (void)w;
    return SLICE("anna@example.org");
}

struct event_base *worker_base(struct worker *w)
{
    return w->base;
}

void **worker_state(struct worker *w)
{
    return &w->state;
}

void worker_session_end(struct worker_session *ws)
{
    struct worker *w = ws->worker;

    assert_null(ws->state);
    stream_close_after_flush(ws->stream);
    for (size_t i = 0; i < CLIENTS; i++)
        if (w->clients[i].ws == ws)
            w->clients[i].ws = NULL;
    w->ended++;
    free(ws);
}

void worker_usage(
    struct worker *w, uint64_t added, uint64_t removed, uint64_t messages_added, uint64_t messages_removed)
{
    assert_int_equal(added + messages_added, 0);
    w->removed += removed;
    w->messages_removed += messages_removed;
}

/* --- the stage --- */

static int set_up(void **state)
{
    struct worker *w = mem_zalloc(1, sizeof *w);
    struct err e = {0};

    assert_int_equal(store_init(&e), 0);
    box_make(&w->box);
    w->base = event_base_new();
    w->account = box_open(&w->box);
    assert_int_equal(account_furnish(w->account, &e), 0);
    w->settings.idle_pop3_s = 600;
    for (size_t i = 0; i < CLIENTS; i++) {
        w->clients[i].fd = -1;
        buf_init(&w->clients[i].in, BUF_OWN);
    }
    *state = w;
    return 0;
}

static void look(struct worker *w)
{
    event_base_loop(w->base, EVLOOP_NONBLOCK);
    for (size_t i = 0; i < CLIENTS; i++) {
        ssize_t n;

        if (w->clients[i].fd < 0 || w->clients[i].eof)
            continue;
        n = recv(w->clients[i].fd, buf_room(&w->clients[i].in, 65536), 65536, MSG_DONTWAIT);
        if (n > 0)
            buf_grew(&w->clients[i].in, (size_t)n);
        else if (n == 0 || errno != EAGAIN)
            w->clients[i].eof = true;
    }
}

static void nap(void)
{
    struct timespec ts = {.tv_nsec = 200000};

    nanosleep(&ts, NULL);
}

static void disconnect(struct worker *w, size_t i)
{
    if (w->clients[i].fd >= 0)
        close(w->clients[i].fd);
    w->clients[i].fd = -1;
    for (time_t end = time(NULL) + WAIT_S; w->clients[i].ws && time(NULL) < end; nap())
        look(w);
    assert_null(w->clients[i].ws);
    buf_free(&w->clients[i].in);
    buf_init(&w->clients[i].in, BUF_OWN);
    w->clients[i].eof = false;
}

static int tear_down(void **state)
{
    struct worker *w = *state;

    for (size_t i = 0; i < CLIENTS; i++)
        disconnect(w, i);
    look(w);
    pop3_worker_ops.ended(w);
    account_close(w->account);
    event_base_free(w->base);
    box_remove(&w->box);
    free(w);
    return 0;
}

static void say(struct worker *w, size_t i, const char *text)
{
    assert_int_equal(send(w->clients[i].fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The next octets that come are these. */
static void hear_n(struct worker *w, size_t i, const char *text, size_t n)
{
    struct buf *in = &w->clients[i].in;

    for (time_t end = time(NULL) + WAIT_S; in->n < n && !w->clients[i].eof && time(NULL) < end; nap())
        look(w);
    if (in->n < n || memcmp(in->p, text, n) != 0)
        fail_msg(
            "expected \"%.*s\", got \"%.*s\"", (int)n, text, (int)(in->n < n + 200 ? in->n : n + 200), in->p);
    buf_drop(in, n);
}

static void hear(struct worker *w, size_t i, const char *text)
{
    hear_n(w, i, text, strlen(text));
}

/* All in one piece, as a client that pipelines does; the answers follow in order. */
static void talk(struct worker *w, size_t i, const char *text, const char *answers)
{
    say(w, i, text);
    hear(w, i, answers);
    look(w);
    assert_int_equal(w->clients[i].in.n, 0);
}

static void hear_end(struct worker *w, size_t i)
{
    for (time_t end = time(NULL) + WAIT_S; !w->clients[i].eof && time(NULL) < end; nap())
        look(w);
    assert_true(w->clients[i].eof);
    assert_int_equal(w->clients[i].in.n, 0);
    assert_null(w->clients[i].ws);
}

static void connect_quietly(struct worker *w, size_t i, const char *left)
{
    struct worker_session *ws = mem_zalloc(1, sizeof *ws);
    static char sid[] = "0123456789abc", ip[] = "192.0.2.1", tls[] = "";
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    w->clients[i].fd = pair[0];
    w->clients[i].ws = ws;
    ws->worker = w;
    ws->sid = sid;
    ws->ip = ip;
    ws->tls = tls;
    ws->settings = &w->settings;
    ws->stream = stream_new(w->base, pair[1], NULL, NULL);
    stream_unread(ws->stream, slice_str(left));
    pop3_worker_ops.opened(ws, SLICE("PLAIN LOGIN"));
}

static void log_in(struct worker *w, size_t i, const char *greeting)
{
    connect_quietly(w, i, "");
    hear(w, i, greeting);
}

static void put_n(struct worker *w, const char *text, size_t n)
{
    struct err e = {0};
    struct append *ap = append_begin(w->account, SLICE("INBOX"), &e);
    uint32_t uidvalidity, uid;

    assert_non_null(ap);
    assert_int_equal(append_write(ap, slice_of(text, n), &e), 0);
    assert_int_equal(append_commit(ap, 0, NULL, 0, 0, &uidvalidity, &uid, &e), 0);
    append_free(ap);
}

static void put(struct worker *w, const char *text)
{
    put_n(w, text, strlen(text));
}

/* What another process that has the account open sees and does. */
struct neighbour {
    struct account *account;
    struct mailbox *inbox;
};

static struct neighbour neighbour_open(struct worker *w)
{
    struct err e = {0};
    struct neighbour n = {.account = box_open(&w->box)};

    n.inbox = mailbox_open(n.account, SLICE("INBOX"), &e);
    assert_non_null(n.inbox);
    return n;
}

static void neighbour_close(struct neighbour *n)
{
    mailbox_close(n->inbox);
    account_close(n->account);
}

static size_t on_disk(struct worker *w)
{
    struct neighbour n = neighbour_open(w);
    size_t count = mailbox_count(n.inbox);

    neighbour_close(&n);
    return count;
}

static void neighbour_deletes(struct worker *w, size_t index)
{
    struct neighbour n = neighbour_open(w);
    uint32_t uid = mailbox_at(n.inbox, index)->uid;
    struct err e = {0};
    size_t gone;

    assert_int_equal(mailbox_expunge(n.inbox, &uid, 1, &gone, &e), 0);
    assert_int_equal(gone, 1);
    neighbour_close(&n);
}

#define ONE "Subject: one\r\n\r\nfirst\r\n"               /* 23 octets */
#define TWO "Subject: two\r\n\r\na\r\n.b\r\n..c\r\nd\r\n" /* 31 */
#define TWO_SENT "Subject: two\r\n\r\na\r\n..b\r\n...c\r\nd\r\n"
#define SIX_HELLO "+OK 2 messages (54 octets)\r\n"

/* --- the tests --- */

static void test_empty(void **state)
{
    struct worker *w = *state;

    log_in(w, 0, "+OK 0 messages (0 octets)\r\n");
    talk(w, 0, "STAT\r\nLIST\r\nUIDL\r\n",
        "+OK 0 0\r\n+OK 0 messages (0 octets)\r\n.\r\n+OK 0 messages\r\n.\r\n");
    talk(w, 0, "RETR 1\r\n", "-ERR there is no such message, there are 0; LIST shows them\r\n");
    talk(w, 0, "QUIT\r\n", "+OK bye\r\n");
    hear_end(w, 0);
}

static void test_commands(void **state)
{
    struct worker *w = *state;

    put(w, ONE);
    put(w, TWO);
    log_in(w, 0, SIX_HELLO);
    talk(w, 0, "STAT\r\n", "+OK 2 54\r\n");
    talk(w, 0, "LIST\r\n", SIX_HELLO "1 23\r\n2 31\r\n.\r\n");
    talk(w, 0, "list 2\r\n", "+OK 2 31\r\n");
    talk(w, 0, "NOOP\n", "+OK still here\r\n");
    talk(w, 0, "RETR 1\r\n", "+OK 23 octets\r\n" ONE ".\r\n");
    talk(w, 0, "RETR 2\r\n", "+OK 31 octets\r\n" TWO_SENT ".\r\n");
    talk(w, 0, "TOP 2 0\r\n", "+OK the top follows\r\nSubject: two\r\n\r\n.\r\n");
    talk(w, 0, "TOP 2 2\r\n", "+OK the top follows\r\nSubject: two\r\n\r\na\r\n..b\r\n.\r\n");
    talk(w, 0, "TOP 2 4294967295\r\n", "+OK the top follows\r\n" TWO_SENT ".\r\n");
    talk(w, 0, "CAPA\r\n",
        "+OK these are offered\r\nUIDL\r\nTOP\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nUSER\r\nSASL "
        "PLAIN LOGIN\r\n"
        "IMPLEMENTATION postamt\r\n.\r\n");
    talk(w, 0, "DELE 1\r\nSTAT\r\nLIST\r\n",
        "+OK message 1 goes at QUIT\r\n+OK 1 31\r\n+OK 1 messages (31 octets)\r\n2 31\r\n.\r\n");
    talk(w, 0, "DELE 1\r\n", "-ERR message 1 is marked as deleted; RSET brings it back\r\n");
    talk(w, 0, "RETR 1\r\n", "-ERR message 1 is marked as deleted; RSET brings it back\r\n");
    talk(w, 0, "RSET\r\nSTAT\r\n", SIX_HELLO "+OK 2 54\r\n");
    talk(w, 0, "DELE 2\r\nQUIT\r\n", "+OK message 2 goes at QUIT\r\n+OK bye, 1 messages deleted\r\n");
    hear_end(w, 0);
    assert_int_equal(w->messages_removed, 1);
    assert_int_equal(w->removed, 31);
    assert_int_equal(on_disk(w), 1);
    log_in(w, 1, "+OK 1 messages (23 octets)\r\n");
}

static void test_refusals(void **state)
{
    struct worker *w = *state;
    static const struct {
        const char *line, *answer;
    } rows[] = {
        {"RETR 0", "-ERR there is no such message, there are 2; LIST shows them"},
        {"RETR 3", "-ERR there is no such message, there are 2; LIST shows them"},
        {"LIST 99999999999", "-ERR there is no such message, there are 2; LIST shows them"},
        {"RETR -1", "-ERR write it as: RETR message"},
        {"TOP 1", "-ERR write it as: TOP message lines"},
        {"TOP 1 99999999999", "-ERR write it as: TOP message lines"},
        {"STAT 1", "-ERR write it as: STAT"},
        {"USER anna", "-ERR you are logged in already; QUIT first to log in as somebody else"},
        {"XTND", "-ERR unknown command; CAPA and the POP3 standard say what is known here"},
        {"", "-ERR unknown command; CAPA and the POP3 standard say what is known here"},
    };
    struct buf text = BUF_INIT(BUF_OWN), long_line = BUF_INIT(BUF_OWN);

    put(w, ONE);
    put(w, TWO);
    log_in(w, 0, SIX_HELLO);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&text);
        buf_printf(&text, "%s\r\n", rows[i].line);
        buf_clear(&long_line);
        buf_printf(&long_line, "%s\r\n", rows[i].answer);
        talk(w, 0, buf_str(&text), buf_str(&long_line));
    }
    buf_clear(&text);
    buf_add(&text, SLICE("UIDL "));
    for (size_t i = 0; i < 100000; i++)
        buf_add_char(&text, '1');
    buf_add(&text, SLICE("\r\nNOOP\r\n"));
    talk(
        w, 0, buf_str(&text), "-ERR the line is longer than 255 octets; no command is\r\n+OK still here\r\n");
    buf_free(&text);
    buf_free(&long_line);
}

/* After 20 commands that are none the session ends, and nothing is deleted. */
static void test_too_many_bad(void **state)
{
    struct worker *w = *state;

    put(w, ONE);
    log_in(w, 0, "+OK 1 messages (23 octets)\r\n");
    talk(w, 0, "DELE 1\r\n", "+OK message 1 goes at QUIT\r\n");
    for (int i = 0; i < POP3_BAD_MAX; i++)
        say(w, 0, "what?\r\n");
    for (int i = 0; i < POP3_BAD_MAX; i++)
        hear(w, 0, "-ERR unknown command; CAPA and the POP3 standard say what is known here\r\n");
    hear(w, 0,
        "-ERR too many unknown commands; this is a POP3 server, check the mail program's account type\r\n");
    hear_end(w, 0);
    assert_int_equal(on_disk(w), 1);
}

/* What the front had read already is answered after the login; the order is kept. */
static void test_pipelined_with_login(void **state)
{
    struct worker *w = *state;

    put(w, ONE);
    connect_quietly(w, 0, "STAT\r\nRETR 1\r\nDEL");
    say(w, 0, "E 1\r\nQUIT\r\n");
    hear(w, 0,
        "+OK 1 messages (23 octets)\r\n+OK 1 23\r\n+OK 23 octets\r\n" ONE
        ".\r\n+OK message 1 goes at QUIT\r\n+OK bye, 1 messages deleted\r\n");
    hear_end(w, 0);
    assert_int_equal(on_disk(w), 0);
}

static void test_no_quit(void **state)
{
    struct worker *w = *state;

    put(w, ONE);
    log_in(w, 0, "+OK 1 messages (23 octets)\r\n");
    talk(w, 0, "DELE 1\r\n", "+OK message 1 goes at QUIT\r\n");
    disconnect(w, 0);
    assert_int_equal(on_disk(w), 1);
    log_in(w, 1, "+OK 1 messages (23 octets)\r\n");
    talk(w, 1, "DELE 1\r\n", "+OK message 1 goes at QUIT\r\n");
    pop3_worker_ops.kill(w->clients[1].ws, ERR_UNAVAILABLE);
    hear(w, 1, "-ERR [SYS/TEMP] a part of the server is starting or busy; please try again in a minute\r\n");
    hear_end(w, 1);
    assert_int_equal(on_disk(w), 1);
    assert_int_equal(w->messages_removed, 0);
}

/* Two devices at once: nobody is locked out, each keeps his numbers. */
static void test_two_sessions(void **state)
{
    struct worker *w = *state;

    put(w, ONE);
    put(w, TWO);
    log_in(w, 0, SIX_HELLO);
    log_in(w, 1, SIX_HELLO);
    put(w, ONE);
    talk(w, 0, "STAT\r\n", "+OK 2 54\r\n");
    log_in(w, 2, "+OK 3 messages (77 octets)\r\n");
    talk(w, 1, "DELE 1\r\nQUIT\r\n", "+OK message 1 goes at QUIT\r\n+OK bye, 1 messages deleted\r\n");
    talk(w, 0, "RETR 1\r\n", "-ERR [SYS/TEMP] the message was deleted by another program\r\n");
    talk(w, 0, "RETR 2\r\n", "+OK 31 octets\r\n" TWO_SENT ".\r\n");
    talk(w, 2, "TOP 1 1\r\n", "-ERR [SYS/TEMP] the message was deleted by another program\r\n");
    /* marked, but gone already: that is what was wanted */
    talk(w, 0, "DELE 1\r\nDELE 2\r\nQUIT\r\n",
        "+OK message 1 goes at QUIT\r\n+OK message 2 goes at QUIT\r\n+OK bye, 1 messages deleted\r\n");
    assert_int_equal(w->messages_removed, 2);
    assert_int_equal(w->removed, 54);
    talk(w, 2, "RETR 3\r\nQUIT\r\n", "+OK 23 octets\r\n" ONE ".\r\n+OK bye\r\n");
    assert_int_equal(on_disk(w), 1);
}

/* Another process deletes, and renames by a flag, what is in our snapshot. */
static void test_neighbour(void **state)
{
    struct worker *w = *state;
    struct neighbour n;
    struct err e = {0};
    bool changed;

    put(w, ONE);
    put(w, TWO);
    put(w, ONE);
    log_in(w, 0, "+OK 3 messages (77 octets)\r\n");
    neighbour_deletes(w, 0);
    n = neighbour_open(w);
    assert_int_equal(
        mailbox_flag(n.inbox, mailbox_at(n.inbox, 0)->uid, FLAGS_ADD, FLAG_SEEN, &changed, &e), 0);
    assert_true(changed);
    talk(w, 0, "RETR 2\r\n", "+OK 31 octets\r\n" TWO_SENT ".\r\n");
    talk(w, 0, "RETR 1\r\n", "-ERR [SYS/TEMP] the message was deleted by another program\r\n");
    assert_int_equal(
        mailbox_flag(n.inbox, mailbox_at(n.inbox, 0)->uid, FLAGS_ADD, FLAG_ANSWERED, &changed, &e), 0);
    neighbour_close(&n);
    talk(w, 0, "DELE 1\r\nDELE 2\r\nQUIT\r\n",
        "+OK message 1 goes at QUIT\r\n+OK message 2 goes at QUIT\r\n+OK bye, 1 messages deleted\r\n");
    hear_end(w, 0);
    assert_int_equal(w->messages_removed, 1);
    assert_int_equal(on_disk(w), 1);
}

/* The ids are those of the next session, of another process, and of a life without state/. */
static void test_uidl(void **state)
{
    struct worker *w = *state;
    struct neighbour n;
    char all[200], one[64];

    put(w, ONE);
    put(w, TWO);
    neighbour_deletes(w, 0);
    put(w, ONE);
    n = neighbour_open(w);
    snprintf(
        one, sizeof one, "+OK 2 %08x%08x\r\n", mailbox_at(n.inbox, 1)->uid, mailbox_uidvalidity(n.inbox));
    snprintf(all, sizeof all, "+OK 2 messages\r\n1 %08x%08x\r\n%s.\r\n", mailbox_at(n.inbox, 0)->uid,
        mailbox_uidvalidity(n.inbox), one + 4);
    neighbour_close(&n);
    for (size_t i = 0; i < 2; i++) {
        log_in(w, i, SIX_HELLO);
        talk(w, i, "UIDL\r\n", all);
        talk(w, i, "UIDL 2\r\n", one);
        talk(w, i, "DELE 1\r\nUIDL 1\r\n",
            "+OK message 1 goes at QUIT\r\n-ERR message 1 is marked as deleted; RSET brings it back\r\n");
    }
}

/* RETR tells no flags to anybody: the mail stays unread for IMAP. */
static void test_flags_stay(void **state)
{
    struct worker *w = *state;
    struct neighbour n;

    put(w, ONE);
    log_in(w, 0, "+OK 1 messages (23 octets)\r\n");
    talk(w, 0, "RETR 1\r\nQUIT\r\n", "+OK 23 octets\r\n" ONE ".\r\n+OK bye\r\n");
    n = neighbour_open(w);
    assert_int_equal(mailbox_at(n.inbox, 0)->flags, 0);
    neighbour_close(&n);
}

/* Texts as they should not be: clients.md 15. */
static void test_odd_texts(void **state)
{
    struct worker *w = *state;
    static const struct {
        struct slice text, retr, top;
    } rows[] = {
        {SLICE("Subject: a\r\n"), SLICE("Subject: a\r\n\r\n.\r\n"), SLICE("Subject: a\r\n\r\n.\r\n")},
        {SLICE("Subject: a"), SLICE("Subject: a\r\n\r\n.\r\n"), SLICE("Subject: a\r\n\r\n.\r\n")},
        {SLICE("\r\nbody\r\n"), SLICE("\r\nbody\r\n.\r\n"), SLICE("\r\nbody\r\n.\r\n")},
        {SLICE("A: b\r\n\r\nbody"), SLICE("A: b\r\n\r\nbody\r\n.\r\n"), SLICE("A: b\r\n\r\nbody\r\n.\r\n")},
        {SLICE("A: b\r\n\r\nx\0y\r\n\0\r\n"), SLICE("A: b\r\n\r\nx\0y\r\n\0\r\n.\r\n"),
            SLICE("A: b\r\n\r\nx\0y\r\n.\r\n")},
        {SLICE("A: b\r\n\r\n.\r\n"), SLICE("A: b\r\n\r\n..\r\n.\r\n"), SLICE("A: b\r\n\r\n..\r\n.\r\n")},
        {SLICE(".A: b\r\n\r\nc\r\n"), SLICE("..A: b\r\n\r\nc\r\n.\r\n"), SLICE("..A: b\r\n\r\nc\r\n.\r\n")},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        put_n(w, rows[i].text.p, rows[i].text.n);
    connect_quietly(w, 0, "");
    hear(w, 0, "+OK 7 messages (");
    while (!memchr(w->clients[0].in.p, '\n', w->clients[0].in.n))
        look(w);
    buf_clear(&w->clients[0].in);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[80];

        snprintf(text, sizeof text, "RETR %zu\r\n", i + 1);
        say(w, 0, text);
        snprintf(text, sizeof text, "+OK %zu octets\r\n", rows[i].text.n);
        hear(w, 0, text);
        hear_n(w, 0, rows[i].retr.p, rows[i].retr.n);
        snprintf(text, sizeof text, "TOP %zu 1\r\n", i + 1);
        say(w, 0, text);
        hear(w, 0, "+OK the top follows\r\n");
        hear_n(w, 0, rows[i].top.p, rows[i].top.n);
        assert_int_equal(w->clients[0].in.n, 0);
    }
}

/* Files of another program: LF line ends, no size in the name. */
static void test_foreign_file(void **state)
{
    struct worker *w = *state;

    box_write(&w->box, "mail/" BOX_PATH "/Maildir/new/1700000000.1.host", "Subject: a\n\nb\n.c\n");
    log_in(w, 0, "+OK 1 messages (21 octets)\r\n");
    talk(w, 0, "LIST 1\r\nRETR 1\r\n", "+OK 1 21\r\n+OK 21 octets\r\nSubject: a\r\n\r\nb\r\n..c\r\n.\r\n");
}

/* A message larger than all buffers, to a client that takes it late; another session works meanwhile. */
static void test_back_pressure(void **state)
{
    struct worker *w = *state;
    struct buf text = BUF_INIT(BUF_OWN), sent = BUF_INIT(BUF_OWN);
    char answer[64];

    buf_add(&text, SLICE("Subject: big\r\n\r\n"));
    buf_add(&sent, SLICE("Subject: big\r\n\r\n"));
    for (int i = 0; i < 200000; i++) {
        buf_printf(&text, "%s line %d\r\n", i % 3 ? "a" : ".", i);
        buf_printf(&sent, "%s line %d\r\n", i % 3 ? "a" : "..", i);
    }
    buf_add(&sent, SLICE(".\r\n"));
    put(w, ONE);
    put_n(w, text.p, text.n);
    snprintf(answer, sizeof answer, "+OK 2 messages (%zu octets)\r\n", text.n + 23);
    log_in(w, 0, answer);
    log_in(w, 1, answer);
    say(w, 0, "RETR 2\r\nRETR 2\r\nTOP 2 150000\r\nNOOP\r\n");
    for (int i = 0; i < 1000; i++)
        event_base_loop(w->base, EVLOOP_NONBLOCK); /* client 0 takes nothing */
    assert_true(stream_pending(w->clients[0].ws->stream) < STREAM_OUT_HIGH + 256 * 1024);
    assert_true(stream_pending(w->clients[0].ws->stream) > 0);
    talk(w, 1, "RETR 1\r\n", "+OK 23 octets\r\n" ONE ".\r\n");
    snprintf(answer, sizeof answer, "+OK %zu octets\r\n", text.n);
    for (int i = 0; i < 2; i++) {
        hear(w, 0, answer);
        hear_n(w, 0, sent.p, sent.n);
    }
    hear(w, 0, "+OK the top follows\r\n");
    hear_n(w, 0, sent.p, (size_t)(strstr(sent.p, "a line 150001") - sent.p) - strlen(".. line 150000\r\n"));
    hear(w, 0, ".\r\n+OK still here\r\n");
    buf_free(&text);
    buf_free(&sent);
}

/* A message that goes away while it is sent must not look complete. */
static void test_lost_in_the_middle(void **state)
{
    struct worker *w = *state;
    struct buf text = BUF_INIT(BUF_OWN);
    struct buf *in = &w->clients[0].in;

    buf_add(&text, SLICE("Subject: big\r\n\r\n"));
    while (text.n < 4000000)
        buf_add(&text, SLICE("0123456789 0123456789 0123456789 0123456789\r\n"));
    put_n(w, text.p, text.n);
    put(w, ONE);
    connect_quietly(w, 0, "RETR 1\r\n");
    for (int i = 0; i < 100; i++)
        event_base_loop(w->base, EVLOOP_NONBLOCK);
    neighbour_deletes(w, 0);
    /* a second session reads something, so that the text is asked for anew */
    connect_quietly(w, 1, "RETR 2\r\n");
    for (int i = 0; i < 100; i++)
        event_base_loop(w->base, EVLOOP_NONBLOCK);
    for (time_t end = time(NULL) + WAIT_S; !w->clients[0].eof && time(NULL) < end; nap())
        look(w);
    assert_true(w->clients[0].eof);
    assert_null(w->clients[0].ws);
    assert_true(in->n < text.n);
    assert_memory_not_equal(in->p + in->n - 5, "\r\n.\r\n", 5);
    buf_free(&text);
}

/* LIST and UIDL of many, and more deletions than one portion. */
static void test_many(void **state)
{
    struct worker *w = *state;
    enum { N = 5000 };
    struct buf list = BUF_INIT(BUF_OWN), dele = BUF_INIT(BUF_OWN), deleted = BUF_INIT(BUF_OWN);

    for (int i = 0; i < N; i++) {
        char path[128];

        snprintf(
            path, sizeof path, "mail/" BOX_PATH "/Maildir/new/1700000000.M%05d.host,S=%zu", i, strlen(ONE));
        box_write(&w->box, path, ONE);
        buf_printf(&list, "%d 23\r\n", i + 1);
        buf_printf(&dele, "DELE %d\r\n", i + 1);
        buf_printf(&deleted, "+OK message %d goes at QUIT\r\n", i + 1);
    }
    log_in(w, 0, "+OK 5000 messages (115000 octets)\r\n");
    say(w, 0, "LIST\r\n");
    hear(w, 0, "+OK 5000 messages (115000 octets)\r\n");
    hear_n(w, 0, list.p, list.n);
    hear(w, 0, ".\r\n");
    say(w, 0, buf_str(&dele));
    hear_n(w, 0, deleted.p, deleted.n);
    talk(w, 0, "RSET\r\nSTAT\r\n", "+OK 5000 messages (115000 octets)\r\n+OK 5000 115000\r\n");
    say(w, 0, buf_str(&dele));
    say(w, 0, "QUIT\r\n");
    hear_n(w, 0, deleted.p, deleted.n);
    hear(w, 0, "+OK bye, 5000 messages deleted\r\n");
    hear_end(w, 0);
    assert_int_equal(w->messages_removed, N);
    assert_int_equal(w->removed, 115000);
    assert_int_equal(on_disk(w), 0);
    buf_free(&list);
    buf_free(&dele);
    buf_free(&deleted);
}

static void test_idle(void **state)
{
    struct worker *w = *state;

    w->settings.idle_pop3_s = 1;
    put(w, ONE);
    log_in(w, 0, "+OK 1 messages (23 octets)\r\n");
    talk(w, 0, "DELE 1\r\n", "+OK message 1 goes at QUIT\r\n");
    hear_end(w, 0); /* RFC 1939 3: without a word */
    assert_int_equal(on_disk(w), 1);
}

/* A front that sends nonsense as mechanisms is not repeated. */
static void test_strange_tag(void **state)
{
    struct worker *w = *state;
    struct worker_session *ws;

    connect_quietly(w, 0, "");
    ws = w->clients[0].ws;
    hear(w, 0, "+OK 0 messages (0 octets)\r\n");
    assert_string_equal(((struct pop3_session *)ws->state)->mechanisms, "PLAIN LOGIN");
    disconnect(w, 0);
    ws = mem_zalloc(1, sizeof *ws);
    {
        static char none[] = "";
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        w->clients[0].fd = pair[0];
        w->clients[0].ws = ws;
        *ws = (struct worker_session){.worker = w,
            .sid = none,
            .ip = none,
            .tls = none,
            .settings = &w->settings,
            .stream = stream_new(w->base, pair[1], NULL, NULL)};
    }
    pop3_worker_ops.opened(ws, SLICE("PLAIN\r\n+OK"));
    hear(w, 0, "+OK 0 messages (0 octets)\r\n");
    assert_string_equal(((struct pop3_session *)ws->state)->mechanisms, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_empty),
        TEST(test_commands),
        TEST(test_refusals),
        TEST(test_too_many_bad),
        TEST(test_pipelined_with_login),
        TEST(test_no_quit),
        TEST(test_two_sessions),
        TEST(test_neighbour),
        TEST(test_uidl),
        TEST(test_flags_stay),
        TEST(test_odd_texts),
        TEST(test_foreign_file),
        TEST(test_back_pressure),
        TEST(test_lost_in_the_middle),
        TEST(test_many),
        TEST(test_idle),
        TEST(test_strange_tag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
