/*
 * Dialogues with imapd's worker over socket pairs: the driver and all commands, on an account in a temporary
 * folder. The core of session/worker.c has a stand-in here: no parent, no sandbox.
 *
 * A dialogue is lines: "C: .." what the first client sends (CRLF is added; '^' is a CRLF within), "S: .." the
 * next line it gets ('~' stands for any text), "E:" the server has closed; "C2:", "S2:", "E2:" the same for a
 * second session, which "2:" opens. "deliver: MAILBOX" puts a message into new/ and tells the worker; "quota:
 * N" sets the quota; "wait: ms".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "imapd/session.h"
#include "imapd/worker.h"

/* --- the stand-in for session/worker.c --- */

struct session {
    struct worker_session pub;
    struct session *next;
};

struct worker {
    struct event_base *base;
    struct account *account;
    struct session *sessions;
    void *state;
    uint64_t quota, used;
    int watches;
};

struct account *worker_account(struct worker *w)
{
    return w->account;
}

struct slice worker_user(const struct worker *w)
{
    (void)w;
    return SLICE("u@example.org");
}

struct event_base *worker_base(struct worker *w)
{
    return w->base;
}

void **worker_state(struct worker *w)
{
    return &w->state;
}

struct worker_session *worker_next_session(struct worker *w, struct worker_session *after)
{
    struct session *s = after ? ((struct session *)after)->next : w->sessions;

    return s ? &s->pub : NULL;
}

void worker_session_end(struct worker_session *ws)
{
    struct session **at = &ws->worker->sessions, *s;

    while (*at != (struct session *)ws)
        at = &(*at)->next;
    s = *at;
    *at = s->next;
    stream_close_after_flush(ws->stream);
    free(s);
}

void worker_watch(struct worker *w, struct slice disk_name, bool on)
{
    (void)disk_name;
    w->watches += on ? 1 : -1;
    assert_true(w->watches >= 0);
}

void worker_usage(
    struct worker *w, uint64_t added, uint64_t removed, uint64_t messages_added, uint64_t messages_removed)
{
    (void)messages_added, (void)messages_removed;
    w->used += added;
    assert_true(w->used >= removed);
    w->used -= removed;
}

bool worker_has_room(const struct worker *w, uint64_t octets)
{
    return w->quota == 0 || w->used + octets <= w->quota;
}

void worker_quota(const struct worker *w, uint64_t *limit, uint64_t *used)
{
    *limit = w->quota;
    *used = w->used;
}

/* --- the house --- */

struct client {
    int fd;
    struct buf in;
    bool eof;
};

static struct worker w;
static struct client clients[2];
static struct settings settings;
static char root[] = "/tmp/test_imap_sessionXXXXXX";
static int mail_root, state_root;
static unsigned delivered;

static void connect_client(struct client *c)
{
    struct session *s = mem_zalloc(1, sizeof *s);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    *c = (struct client){.fd = pair[0], .in = BUF_INIT(BUF_OWN)};
    s->pub = (struct worker_session){.worker = &w,
        .sid = (char *)(uintptr_t) "sid",
        .ip = (char *)(uintptr_t) "::1",
        .tls = (char *)(uintptr_t) "",
        .settings = &settings};
    s->pub.stream = stream_new(w.base, pair[1], NULL, NULL);
    s->next = w.sessions;
    w.sessions = s;
    imapd_worker_ops.opened(&s->pub, SLICE("login"));
}

static void receive(struct client *c)
{
    char *to = buf_room(&c->in, 65536);
    ssize_t n = read(c->fd, to, 65536);

    if (n > 0)
        buf_grew(&c->in, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        c->eof = true;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void turn(void)
{
    if (event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) != 0 || !w.sessions)
        usleep(1000);
}

static void run_for(int64_t ms)
{
    int64_t end = now_ms() + ms;

    do {
        turn();
    } while (now_ms() < end);
}

/* The next line without its end; false: closed, or nothing came in 5 s. */
static bool next_line(struct client *c, struct buf *line)
{
    int64_t end = now_ms() + 5000;
    ssize_t lf;

    buf_clear(line);
    while ((lf = slice_chr(buf_slice(&c->in), '\n')) < 0) {
        if (c->eof || now_ms() > end)
            return false;
        turn();
        receive(c);
    }
    buf_add(line, slice_sub(buf_slice(&c->in), 0, (size_t)lf));
    buf_drop(&c->in, (size_t)lf + 1);
    if (line->n && line->p[line->n - 1] == '\r')
        buf_cut(line, line->n - 1);
    return true;
}

static void send_text(struct client *c, struct slice text)
{
    while (text.n) {
        ssize_t n = write(c->fd, text.p, text.n);

        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            turn();
            continue;
        }
        text = slice_from(text, (size_t)n);
    }
}

static void deliver_to(struct slice folder)
{
    char path[300], text[200];
    int fd, n;

    delivered++;
    snprintf(path, sizeof path, "%s/mail/u/Maildir/%.*s%snew/%u.M%u.host", root, SLICE_FMT(folder),
        folder.n ? "/" : "", 1000 + delivered, delivered);
    n = snprintf(
        text, sizeof text, "From: a@example.org\r\nSubject: %u\r\n\r\nHello %u\r\n", delivered, delivered);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0400);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, (size_t)n), n);
    close(fd);
}

/* --- dialogues --- */

/* want may hold '~' for any text */
static bool matches(struct slice want, struct slice got)
{
    struct slice part;
    bool first = true;

    while (slice_cut(&want, '~', &part)) {
        ssize_t at = slice_find(got, part);

        if (at < 0 || (first && at != 0))
            return false;
        got = slice_from(got, (size_t)at + part.n);
        first = false;
        if (want.n == 0 && part.p[part.n] != '~')
            return got.n == 0;
    }
    return true;
}

static void send_line(struct client *c, struct slice text)
{
    struct buf out = BUF_INIT(BUF_OWN);

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '^')
            buf_add_str(&out, "\r\n");
        else
            buf_add_char(&out, text.p[i]);
    }
    buf_add_str(&out, "\r\n");
    send_text(c, buf_slice(&out));
    buf_free(&out);
}

static void expect_end(struct client *c)
{
    struct buf line = BUF_INIT(BUF_OWN);

    if (next_line(c, &line) || !c->eof)
        fail_msg("not closed: %.*s", SLICE_FMT(buf_slice(&line)));
    buf_free(&line);
}

static void greet(struct client *c)
{
    struct buf line = BUF_INIT(BUF_OWN);

    connect_client(c);
    assert_true(next_line(c, &line));
    if (!slice_starts(buf_slice(&line), SLICE("login OK [CAPABILITY IMAP4rev1 ")))
        fail_msg("%.*s", SLICE_FMT(buf_slice(&line)));
    buf_free(&line);
}

static void step(struct slice line, struct buf *got)
{
    struct slice what, rest = line;
    struct client *c = &clients[0];

    assert_true(slice_cut(&rest, ':', &what));
    rest = slice_from(rest, 1);
    if (what.n == 2 && what.p[1] == '2') {
        c = &clients[1];
        what.n = 1;
    }
    if (slice_eq(what, SLICE("C"))) {
        send_line(c, rest);
    } else if (slice_eq(what, SLICE("S"))) {
        if (!next_line(c, got))
            fail_msg("%s instead of: %.*s", c->eof ? "the end" : "nothing", SLICE_FMT(line));
        if (!matches(rest, buf_slice(got)))
            fail_msg("got:  %.*s\nwant: %.*s", SLICE_FMT(buf_slice(got)), SLICE_FMT(rest));
    } else if (slice_eq(what, SLICE("E"))) {
        expect_end(c);
    } else if (slice_eq(what, SLICE("2"))) {
        greet(&clients[1]);
    } else if (slice_eq(what, SLICE("deliver"))) {
        struct slice folder = slice_eq(rest, SLICE("INBOX")) ? SLICE("") : rest;

        deliver_to(folder);
        imapd_worker_ops.changed(&w, folder, &(struct worker_news){0});
    } else if (slice_eq(what, SLICE("quota"))) {
        assert_true(slice_u64(rest, UINT64_MAX, &w.quota));
    } else if (slice_eq(what, SLICE("wait"))) {
        uint64_t ms;

        assert_true(slice_u64(rest, 10000, &ms));
        run_for((int64_t)ms);
    } else {
        fail_msg("what is %.*s", SLICE_FMT(line));
    }
}

static void play(const char *script)
{
    struct slice rest = slice_str(script), line;
    struct buf got = BUF_INIT(BUF_OWN);

    while (slice_cut(&rest, '\n', &line))
        step(line, &got);
    buf_free(&got);
}

static void make_account(void)
{
    struct err e = {0};
    char path[100];
    int mail, state;

    snprintf(path, sizeof path, "%s/mail", root);
    assert_int_equal(mkdir(path, 0700), 0);
    mail_root = fs_open_root(path);
    snprintf(path, sizeof path, "%s/state", root);
    assert_int_equal(mkdir(path, 0700), 0);
    state_root = fs_open_root(path);
    assert_int_equal(account_make_dirs(mail_root, state_root, SLICE("u"), &e), 0);
    mail = fs_open_dir(mail_root, "u");
    state = fs_open_dir(state_root, "u");
    assert_true(mail >= 0 && state >= 0);
    w.account = account_open(mail, state, &e);
    if (!w.account || account_furnish(w.account, &e) < 0)
        fail_msg("%s", e.detail);
}

static int setup(void **state)
{
    (void)state;
    memcpy(root + sizeof root - 7, "XXXXXX", 6);
    if (!mkdtemp(root))
        return -1;
    log_set_level(LOG_LEVEL_ERROR);
    memset(&w, 0, sizeof w);
    memset(clients, 0, sizeof clients);
    settings = (struct settings){.idle_imap_s = 1800, .message_size = 50u << 20};
    delivered = 0;
    if (store_init(NULL) < 0)
        return -1;
    w.base = event_base_new();
    make_account();
    greet(&clients[0]);
    return 0;
}

static int teardown(void **state)
{
    struct imap_worker *iw = w.state;
    char command[100];

    (void)state;
    for (int i = 0; i < 2; i++) {
        if (clients[i].in.cap) {
            close(clients[i].fd);
            buf_free(&clients[i].in);
        }
    }
    /* all sessions end, the mailboxes are closed, no watch is left */
    for (int i = 0; i < 1000 && w.sessions; i++)
        turn();
    assert_null(w.sessions);
    assert_int_equal(w.watches, 0);
    run_for(5);
    event_free(iw->turn_timer);
    event_free(iw->sync_timer);
    event_free(iw->idle_timer);
    free(iw);
    account_close(w.account);
    close(mail_root);
    close(state_root);
    event_base_free(w.base);
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

/* --- tests --- */

static void test_basics(void **state)
{
    (void)state;
    play("C: a CAPABILITY\n"
         "S: * CAPABILITY IMAP4rev1 LITERAL+ ~ IDLE ~ MOVE~\n"
         "S: a OK CAPABILITY completed\n"
         "C: b noop\n"
         "S: b OK NOOP completed\n"
         "C: c ID (\"name\" \"test\" \"version\" NIL)\n"
         "S: * ID (\"name\" \"postamt\")\n"
         "S: c OK ID completed\n"
         "C: d NAMESPACE\n"
         "S: * NAMESPACE ((\"\" \"/\")) NIL NIL\n"
         "S: d OK ~\n"
         "C: e FETCH 1 FLAGS\n"
         "S: e BAD no mailbox is selected; ~\n"
         "C: f NONSENSE\n"
         "S: f BAD there is no command of that name ~\n"
         "C: g NOOP x\n"
         "S: g BAD something follows ~\n"
         "C: (\n"
         "S: * BAD a command begins with a tag~\n"
         "C: \n"
         "C: h UID NOOP\n"
         "S: h BAD that command has no UID form\n"
         "C: i ENABLE CONDSTORE UTF8=ACCEPT\n"
         "S: * ENABLED UTF8=ACCEPT\n"
         "S: i OK ~\n"
         "C: j LOGOUT\n"
         "S: * BYE ~\n"
         "S: j OK LOGOUT completed\n"
         "E:\n");
}

static void test_select_store_expunge(void **state)
{
    (void)state;
    play("deliver: INBOX\n"
         "deliver: INBOX\n"
         "deliver: INBOX\n"
         "C: a SELECT inbox\n"
         "S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)\n"
         "S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)] ~\n"
         "S: * 3 EXISTS\n"
         "S: * 3 RECENT\n"
         "S: * OK [UNSEEN 1] ~\n"
         "S: * OK [UIDVALIDITY ~] ~\n"
         "S: * OK [UIDNEXT 4] ~\n"
         "S: a OK [READ-WRITE] SELECT completed\n"
         "C: b STORE 1 +FLAGS (\\Seen $work)\n"
         "S: * 1 FETCH (FLAGS (\\Seen $work \\Recent))\n"
         "S: ~\n"
         "S: ~\n"
         "S: b OK STORE completed\n"
         "C: c UID STORE 1,3 FLAGS \\Deleted\n"
         "S: * 1 FETCH (UID 1 FLAGS (\\Deleted \\Recent))\n"
         "S: * 3 FETCH (UID 3 FLAGS (\\Deleted \\Recent))\n"
         "S: c OK UID STORE completed\n"
         "C: d STORE 2 +FLAGS.SILENT (\\Flagged)\n"
         "S: d OK STORE completed\n"
         "C: e STORE 4 +FLAGS (\\Seen)\n"
         "S: e BAD a sequence number is above ~\n"
         "C: f UID STORE 4 +FLAGS (\\Seen)\n"
         "S: f OK UID STORE completed\n"
         "C: g STORE 1 +FLAGS (\\Recent)\n"
         "S: g BAD \\Recent is ~\n"
         "C: h UID EXPUNGE 2:3\n"
         "S: * 3 EXPUNGE\n"
         "S: h OK UID EXPUNGE completed\n"
         "C: i EXPUNGE\n"
         "S: * 1 EXPUNGE\n"
         "S: i OK EXPUNGE completed\n"
         "C: j STORE 1:* -FLAGS (\\Flagged)\n"
         "S: * 1 FETCH (FLAGS (~))\n"
         "S: j OK STORE completed\n"
         "C: k STORE 1 +FLAGS.SILENT \\Deleted\n"
         "S: k OK STORE completed\n"
         "C: l CLOSE\n"
         "S: l OK CLOSE completed\n"
         "C: m EXAMINE INBOX\n"
         "S: * FLAGS ~\n"
         "S: * OK [PERMANENTFLAGS ()] ~\n"
         "S: * 0 EXISTS\n"
         "S: * 0 RECENT\n"
         "S: * OK [UIDVALIDITY ~\n"
         "S: * OK [UIDNEXT 4] ~\n"
         "S: m OK [READ-ONLY] EXAMINE completed\n"
         "C: n STORE 1:* +FLAGS (\\Seen)\n"
         "S: n NO [NOPERM] ~\n"
         "C: o SELECT nowhere\n"
         "S: * OK [CLOSED] ~\n"
         "S: o NO [NONEXISTENT] ~\n"
         "C: p CLOSE\n"
         "S: p BAD no mailbox is selected~\n");
}

static void test_append(void **state)
{
    (void)state;
    play("C: a APPEND Sent (\\Seen) \"23-Nov-2026 23:15:42 +0000\" {23}\n"
         "S: + OK\n"
         "C: Subject: x^^Hello you\n"
         "S: a OK [APPENDUID ~ 1] APPEND completed\n"
         "C: b APPEND Sent {23+}^Subject: x^^Hello you\n"
         "S: b OK [APPENDUID ~ 2] APPEND completed\n"
         "C: c APPEND nowhere {23}\n"
         "S: c NO [TRYCREATE] ~\n"
         "C: d APPEND nowhere {23+}^Subject: x^^Hello you^e NOOP\n"
         "S: d NO [TRYCREATE] ~\n"
         "S: e OK NOOP completed\n"
         "C: f APPEND Sent {60000000}\n"
         "S: f NO [TOOBIG] ~\n"
         "C: g APPEND {4}\n"
         "S: + OK\n"
         "C: Sent {23}\n"
         "S: + OK\n"
         "C: Subject: x^^Hello you\n"
         "S: g OK [APPENDUID ~ 3] ~\n"
         "C: h APPEND Sent\n"
         "S: h BAD ~\n"
         "C: i APPEND Sent (\\Recent) {23+}^Subject: x^^Hello you\n"
         "S: i BAD \\Recent ~\n"
         "C: j APPEND Sent {23+}^Subject: x^^Hello you {3+}^abc\n"
         "S: j BAD ~\n"
         "C: k STATUS Sent (MESSAGES UIDNEXT UNSEEN SIZE)\n"
         "S: * STATUS Sent (MESSAGES 3 UIDNEXT 4 UNSEEN 2 SIZE 69)\n"
         "S: k OK STATUS completed\n"
         "C: l ENABLE UTF8=ACCEPT\n"
         "S: ~\n"
         "S: l OK ~\n"
         "C: m APPEND Sent UTF8 (~{23+}^Subject: x^^Hello you)\n"
         "S: m OK [APPENDUID ~ 4] ~\n"
         "quota: 100\n"
         "C: n APPEND Sent {23}\n"
         "S: n NO [OVERQUOTA] ~\n"
         "C: o SELECT Sent\n"
         "S: ~\nS: ~\nS: * 4 EXISTS\nS: ~\nS: ~\nS: ~\nS: ~\n"
         "S: o OK ~\n"
         "C: p COPY 1:4 Trash\n"
         "S: p NO [OVERQUOTA] ~\n"
         "C: q MOVE 1:4 Trash\n"
         "S: * OK [COPYUID ~ 1:4 1:4] moved\n"
         "S: * 4 EXPUNGE\nS: * 3 EXPUNGE\nS: * 2 EXPUNGE\nS: * 1 EXPUNGE\n"
         "S: q OK MOVE completed\n");
    assert_int_equal(w.used, 92);
}

static void test_mailboxes(void **state)
{
    (void)state;
    play("C: a LIST \"\" \"\"\n"
         "S: * LIST (\\Noselect) \"/\" \"\"\n"
         "S: a OK LIST completed\n"
         "C: b LIST \"\" *\n"
         "S: * LIST (\\HasNoChildren) \"/\" INBOX\n"
         "S: * LIST (\\HasNoChildren \\Archive) \"/\" Archive\n"
         "S: * LIST (\\HasNoChildren \\Drafts) \"/\" Drafts\n"
         "S: * LIST (\\HasNoChildren \\Junk) \"/\" Junk\n"
         "S: * LIST (\\HasNoChildren \\Sent) \"/\" Sent\n"
         "S: * LIST (\\HasNoChildren \\Trash) \"/\" Trash\n"
         "S: b OK LIST completed\n"
         "C: c CREATE foo/\n"
         "S: c OK CREATE completed\n"
         "C: d CREATE foo/bar\n"
         "S: d OK ~\n"
         "C: e CREATE foo\n"
         "S: e NO [ALREADYEXISTS] ~\n"
         "C: f SUBSCRIBE foo/bar\n"
         "S: f OK ~\n"
         "C: g LSUB \"\" foo*\n"
         "S: * LSUB (\\HasNoChildren) \"/\" foo/bar\n"
         "S: g OK ~\n"
         "C: h LSUB foo %\n"
         "S: * LSUB (\\Noselect \\HasChildren) \"/\" foo\n"
         "S: h OK ~\n"
         "C: i LIST (SUBSCRIBED RECURSIVEMATCH) \"\" fo% RETURN (CHILDREN)\n"
         "S: * LIST (\\HasChildren) \"/\" foo (\"CHILDINFO\" (\"SUBSCRIBED\"))\n"
         "S: i OK ~\n"
         "C: j LIST (SPECIAL-USE) \"\" (INBOX Sent) RETURN (SUBSCRIBED STATUS (MESSAGES))\n"
         "S: * LIST (\\Subscribed \\HasNoChildren \\Sent) \"/\" Sent\n"
         "S: * STATUS Sent (MESSAGES 0)\n"
         "S: j OK ~\n"
         "C: k XLIST \"\" Junk\n"
         "S: * XLIST (\\HasNoChildren \\Spam) \"/\" Junk\n"
         "S: k OK ~\n"
         "C: l RENAME foo \"a b\"\n"
         "S: l OK ~\n"
         "C: m LIST \"\" a*\n"
         "S: * LIST (\\HasChildren) \"/\" \"a b\"\n"
         "S: * LIST (\\HasNoChildren) \"/\" \"a b/bar\"\n"
         "S: m OK ~\n"
         "C: n DELETE \"a b/bar\"\n"
         "S: n OK ~\n"
         "C: o DELETE \"a b\"\n"
         "S: o OK ~\n"
         "C: p DELETE nowhere\n"
         "S: p NO [NONEXISTENT] ~\n"
         "C: q CREATE x (USE (\\Nothing))\n"
         "S: q NO [USEATTR] ~\n"
         "C: r CREATE Entw&APw-rfe\n"
         "S: r OK ~\n"
         "C: s ENABLE UTF8=ACCEPT\n"
         "S: ~\nS: s OK ~\n"
         "C: t LIST \"\" E*\n"
         "S: * LIST (\\HasNoChildren) \"/\" \"Entw\xc3\xbcrfe\"\n"
         "S: t OK ~\n"
         "C: u CREATE \"R & D\"\n"
         "S: u OK ~\n"
         "C: v DELETE INBOX\n"
         "S: v NO ~\n"
         "C: w LIST (RECURSIVEMATCH) \"\" *\n"
         "S: w BAD RECURSIVEMATCH needs ~\n");
}

/* I07: names that want out */
static void test_names(void **state)
{
    static const char *const bad[] = {"a//b", "/x", "\"\"", "\"a\x01\"", "a/../../b", "../../x", ".", "..",
        "cur", "new", "tmp", "dovecot-uidlist", "~root", "#x", "&AAAA-", "\"a&ZeVnLIqe-\"", "x/./y"};
    struct buf line = BUF_INIT(BUF_OWN), deep = BUF_INIT(BUF_OWN);
    char path[200];
    struct stat st;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf_clear(&line);
        buf_printf(&line, "a CREATE %s", bad[i]);
        send_line(&clients[0], buf_slice(&line));
        assert_true(next_line(&clients[0], &line));
        /* made under a name of its own, or refused with a sentence; never a crash, never outside */
        if (!slice_starts(buf_slice(&line), SLICE("a OK")) &&
            !slice_starts(buf_slice(&line), SLICE("a NO [CANNOT]")) &&
            !slice_starts(
                buf_slice(&line), SLICE("a NO [ALREADYEXISTS]")) && /* ".." is a parent of "../../x" */
            !slice_starts(buf_slice(&line), SLICE("a BAD ")))
            fail_msg("%s: %.*s", bad[i], SLICE_FMT(buf_slice(&line)));
    }
    for (int i = 0; i < 300; i++)
        buf_add_str(&deep, i ? "/d" : "d");
    buf_clear(&line);
    buf_printf(&line, "b CREATE %.*s", SLICE_FMT(buf_slice(&deep)));
    send_line(&clients[0], buf_slice(&line));
    play("S: b NO [CANNOT] ~\n"
         "C: c CREATE a//b\n"
         "S: c NO [CANNOT] ~\n");
    snprintf(path, sizeof path, "%s/mail/x", root);
    assert_true(stat(path, &st) < 0);
    snprintf(path, sizeof path, "%s/mail/u/x", root);
    assert_true(stat(path, &st) < 0);
    buf_free(&line);
    buf_free(&deep);
}

static void test_two_sessions(void **state)
{
    (void)state;
    play("deliver: INBOX\n"
         "deliver: INBOX\n"
         "deliver: INBOX\n"
         "C: a SELECT INBOX\n"
         "S: ~\nS: ~\nS: * 3 EXISTS\nS: * 3 RECENT\nS: ~\nS: ~\nS: ~\nS: a OK ~\n"
         "2:\n"
         "C2: a SELECT INBOX\n"
         "S2: ~\nS2: ~\nS2: * 3 EXISTS\nS2: * 0 RECENT\nS2: ~\nS2: ~\nS2: ~\nS2: a OK ~\n"
         "C2: b IDLE\n"
         "S2: + idling\n"
         /* the other one's changes come at once */
         "C: b STORE 2 +FLAGS (\\Flagged)\n"
         "S: * 2 FETCH (FLAGS (\\Flagged \\Recent))\n"
         "S: b OK ~\n"
         "S2: * 2 FETCH (UID 2 FLAGS (\\Flagged))\n"
         "deliver: INBOX\n"
         "S2: * 4 EXISTS\n"
         "S2: * ~ RECENT\n"
         /* DONE and the next command in one packet (clients.md 6) */
         "C2: DONE^c NOOP\n"
         "S2: b OK IDLE completed\n"
         "S2: c OK NOOP completed\n"
         "C: c NOOP\n"
         "S: * 4 EXISTS\nS: * ~ RECENT\nS: c OK ~\n"
         /* numbers stay while the other one does not know of the expunge */
         "C: d STORE 1 +FLAGS.SILENT (\\Deleted)\nS: d OK ~\n"
         "C: e EXPUNGE\nS: * 1 EXPUNGE\nS: e OK ~\n"
         "C2: d STORE 1:2 +FLAGS (\\Answered)\n"
         "S2: * 2 FETCH (FLAGS (\\Answered \\Flagged))\n"
         "S2: d NO [EXPUNGEISSUED] ~\n"
         "C2: e UID STORE 1:2 +FLAGS (\\Seen)\n"
         "S2: * ~ FETCH (UID 2 FLAGS (\\Answered \\Flagged \\Seen))\n"
         "S2: * 1 EXPUNGE\n"
         "S2: e OK ~\n"
         "C2: f IDLE\n"
         "S2: + idling\n"
         "C2: nonsense\n"
         "S2: f BAD within IDLE only DONE ~\n"
         /* the selected mailbox goes away */
         "C: f CREATE x\n"
         "S: * ~ FETCH ~\n"
         "S: f OK ~\n"
         "C2: g SELECT x\n"
         "S2: * OK [CLOSED] ~\nS2: ~\nS2: ~\nS2: ~\nS2: ~\nS2: ~\nS2: ~\nS2: g OK ~\n"
         "C: g DELETE x\nS: g OK ~\n"
         "C2: h NOOP\n"
         "S2: h OK ~\n"
         "S2: * BYE the selected mailbox was deleted ~\n"
         "E2:\n");
}

static void test_pipelining(void **state)
{
    (void)state;
    play("deliver: INBOX\n"
         "C: a SELECT INBOX^b STORE 1 +FLAGS.SILENT (\\Seen)^c NOOP^d STATUS Sent (MESSAGES)^e UNSELECT^f "
         "LOGOUT\n"
         "S: ~\nS: ~\nS: ~\nS: ~\nS: ~\nS: ~\nS: ~\n"
         "S: a OK ~\n"
         "S: b OK ~\n"
         "S: c OK ~\n"
         "S: * STATUS ~\n"
         "S: d OK ~\n"
         "S: e OK ~\n"
         "S: * BYE ~\n"
         "S: f OK ~\n"
         "E:\n");
}

/* I01, I03 behind the login */
static void test_limits(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);

    (void)state;
    play("C: a CREATE {131073}\n"
         "S: a NO [TOOBIG] ~\n"
         "C: b CREATE {18446744073709551617}\n"
         "S: b NO [TOOBIG] ~\n"
         "C: c NOOP\n"
         "S: c OK ~\n");
    buf_add_str(&text, "d CREATE ");
    for (int i = 0; i < 70000; i++)
        buf_add_char(&text, 'x');
    send_line(&clients[0], buf_slice(&text));
    play("S: d BAD the command line is too long\n"
         "C: e NOOP\n"
         "S: e OK ~\n");
    buf_clear(&text);
    buf_add_str(&text, "f LIST \"\" ");
    for (int i = 0; i < 50000; i++)
        buf_add_char(&text, '(');
    send_line(&clients[0], buf_slice(&text));
    play("S: f BAD ~\n");
    for (int i = 0; i < 17; i++)
        play("C: x NONSENSE\nS: x BAD ~\n");
    play("C: x NONSENSE\n"
         "S: x BAD ~\n"
         "S: * BYE too many commands ~\n"
         "E:\n");
    buf_free(&text);
}

/* I11: who does not read is not served; nothing is lost for who reads late. */
static void test_back_pressure(void **state)
{
    struct buf line = BUF_INIT(BUF_OWN);
    size_t sent = 0, got = 0;
    struct stream *s = w.sessions->pub.stream;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        static const char text[] = "a LIST \"\" *\r\n";
        ssize_t n = write(clients[0].fd, text, sizeof text - 1);

        if (n < 0)
            break;
        assert_int_equal(n, sizeof text - 1);
        sent++;
        turn();
        assert_true(stream_pending(s) <= STREAM_OUT_HIGH + 4096);
    }
    assert_true(sent > 500);
    while (got < sent) {
        assert_true(next_line(&clients[0], &line));
        got += slice_starts(buf_slice(&line), SLICE("a OK"));
    }
    buf_free(&line);
}

/* A long command gives way: the sibling's NOOP is answered before it has ended. */
static void test_turns(void **state)
{
    struct buf line = BUF_INIT(BUF_OWN);
    bool first_done = false;

    (void)state;
    for (int i = 0; i < 500; i++)
        deliver_to(SLICE(""));
    play("C: a SELECT INBOX\n"
         "S: ~\nS: ~\nS: * 500 EXISTS\nS: ~\nS: ~\nS: ~\nS: ~\nS: a OK ~\n"
         "2:\n"
         "C: b STORE 1:* +FLAGS.SILENT (\\Seen)\n"
         "C2: a NOOP\n");
    while (clients[1].in.n == 0) {
        turn();
        receive(&clients[1]);
        receive(&clients[0]);
        first_done |= clients[0].in.n > 0;
    }
    if (first_done)
        fail_msg("%.*s", SLICE_FMT(buf_slice(&clients[0].in)));
    play("S2: a OK ~\n"
         "S: b OK ~\n"
         "C: c STATUS INBOX (UNSEEN)\n"
         "S: * STATUS INBOX (UNSEEN 0)\n"
         "S: c OK ~\n");
    buf_free(&line);
}

static void test_flag_sync(void **state)
{
    struct imap_session *s = w.sessions->pub.state;

    (void)state;
    play("deliver: INBOX\n"
         "C: a SELECT INBOX\n"
         "S: ~\nS: ~\nS: ~\nS: ~\nS: ~\nS: ~\nS: ~\nS: a OK ~\n"
         "C: b STORE 1 +FLAGS.SILENT (\\Seen)\nS: b OK ~\n");
    assert_true(mailbox_needs_sync(s->mailbox));
    run_for(1000);
    assert_false(mailbox_needs_sync(s->mailbox));
    play("C: c STORE 1 -FLAGS.SILENT (\\Seen)\nS: c OK ~\n");
    assert_true(mailbox_needs_sync(s->mailbox));
    play("C: d CHECK\nS: d OK ~\n");
    assert_false(mailbox_needs_sync(s->mailbox));
}

static void test_autologout(void **state)
{
    (void)state;
    settings.idle_imap_s = 1;
    play("2:\n"
         "C2: a IDLE\n"
         "S2: + idling\n"
         "S2: * BYE nothing was asked ~\n"
         "E2:\n"
         "C: a NOOP\n"
         "S: a OK ~\n");
}

static void test_kill(void **state)
{
    (void)state;
    imapd_worker_ops.kill(&w.sessions->pub, ERR_UNAVAILABLE);
    play("S: * BYE ~\n"
         "E:\n");
}

static void test_copy(void **state)
{
    (void)state;
    play("deliver: INBOX\n"
         "deliver: INBOX\n"
         "deliver: INBOX\n"
         "C: a SELECT INBOX\n"
         "S: ~\nS: ~\nS: * 3 EXISTS\nS: ~\nS: ~\nS: ~\nS: ~\nS: a OK ~\n"
         "C: b COPY 1,3 Archive\n"
         "S: b OK [COPYUID ~ 1,3 1:2] COPY completed\n"
         "C: c COPY 2 nowhere\n"
         "S: c NO [TRYCREATE] ~\n"
         "C: d UID COPY 99 Archive\n"
         "S: d OK UID COPY completed\n"
         "C: e UID COPY 99 nowhere\n"
         "S: e NO [TRYCREATE] ~\n"
         "C: f UID MOVE 2 Trash\n"
         "S: * OK [COPYUID ~ 2 1] moved\n"
         "S: * 2 EXPUNGE\n"
         "S: f OK UID MOVE completed\n"
         "C: g STATUS Archive (MESSAGES)\n"
         "S: * STATUS Archive (MESSAGES 2)\n"
         "S: g OK ~\n");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_basics),
        T(test_select_store_expunge),
        T(test_append),
        T(test_mailboxes),
        T(test_names),
        T(test_two_sessions),
        T(test_pipelining),
        T(test_limits),
        T(test_back_pressure),
        T(test_turns),
        T(test_flag_sync),
        T(test_autologout),
        T(test_kill),
        T(test_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
