/*
 * FETCH and SEARCH as commands: what reaches the client, with a mailbox, a view and a stream in memory. The
 * driver's part is played here: check, run until it is done, end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "imapd/commands.h"
#include "store/cache.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define BOX 5

/* ------------------------------------------------------------------ a mailbox in memory */

struct mailbox {
    struct message messages[BOX];
    const char *texts[BOX];
    size_t n;
    struct buf cached[BOX]; /* cache_record_write() */
    unsigned texts_read, heads_read, ranges_read, put, done;
    uint32_t gone;   /* UID whose file is gone */
    uint32_t broken; /* UID whose file cannot be read */
};

struct view {
    uint32_t uids[BOX];
    uint32_t n;
    uint32_t seen_change; /* last UID told to view_seen_change */
};

struct stream {
    struct buf out;
    bool backed_up;
    unsigned deadlines;
};

static struct mailbox box;
static struct view view;
static struct stream stream;
static unsigned announced, yields;
static bool always_yield;

static const struct message *find(uint32_t uid)
{
    for (size_t i = 0; i < box.n; i++)
        if (box.messages[i].uid == uid)
            return &box.messages[i];
    return NULL;
}

const char *mailbox_id(const struct mailbox *m)
{
    (void)m;
    return "0123456789abcdef0123456789abcdef";
}

uint32_t mailbox_uidvalidity(const struct mailbox *m)
{
    (void)m;
    return 42;
}

size_t mailbox_count(const struct mailbox *m)
{
    return m->n;
}

const struct message *mailbox_at(const struct mailbox *m, size_t i)
{
    return &m->messages[i];
}

const struct message *mailbox_by_uid(const struct mailbox *m, uint32_t uid)
{
    (void)m;
    return find(uid);
}

size_t mailbox_lower_bound(const struct mailbox *m, uint32_t uid)
{
    size_t i = 0;

    while (i < m->n && m->messages[i].uid < uid)
        i++;
    return i;
}

static int read_file(struct mailbox *m, uint32_t uid, struct slice *text, struct err *e)
{
    const struct message *msg = find(uid);

    if (!msg || uid == m->gone)
        return err_set(e, ERR_EXPUNGED, "%u", uid);
    if (uid == m->broken)
        return err_set(e, ERR_IO, "%u", uid);
    *text = slice_str(m->texts[msg - m->messages]);
    return 0;
}

int mailbox_received(struct mailbox *m, uint32_t uid, int64_t *seconds, struct err *e)
{
    struct slice text;

    if (read_file(m, uid, &text, e) < 0)
        return -1;
    *seconds = 86400 * 2;
    return 0;
}

int mailbox_size(struct mailbox *m, uint32_t uid, uint64_t *octets, struct err *e)
{
    struct slice text;

    if (read_file(m, uid, &text, e) < 0)
        return -1;
    *octets = text.n;
    return 0;
}

int mailbox_text(struct mailbox *m, uint32_t uid, struct slice *text, struct err *e)
{
    m->texts_read++;
    return read_file(m, uid, text, e);
}

int mailbox_text_head(struct mailbox *m, uint32_t uid, size_t most, struct slice *text, struct err *e)
{
    m->heads_read++;
    if (read_file(m, uid, text, e) < 0)
        return -1;
    *text = slice_sub(*text, 0, most);
    return 0;
}

void mailbox_text_drop(struct mailbox *m)
{
    (void)m;
}

int mailbox_text_range(
    struct mailbox *m, uint32_t uid, uint64_t from, uint64_t n, struct slice *octets, struct err *e)
{
    m->ranges_read += n > 0;
    if (read_file(m, uid, octets, e) < 0)
        return -1;
    assert_true(from <= octets->n && n <= octets->n - from);
    *octets = slice_sub(*octets, from, n);
    return 0;
}

bool mailbox_cache_get(struct mailbox *m, uint32_t uid, struct cache_record *out)
{
    const struct message *msg = find(uid);

    return msg && cache_record_read(buf_slice(&m->cached[msg - m->messages]), out);
}

void mailbox_cache_put(struct mailbox *m, uint32_t uid, const struct cache_record *r)
{
    const struct message *msg = find(uid);
    struct cache_record record = *r;
    struct buf *to = &m->cached[msg - m->messages];

    record.size = msg->size;
    buf_clear(to);
    to->cap = BUF_OWN;
    assert_true(cache_record_write(to, &record));
    m->put++;
}

void mailbox_cache_done(struct mailbox *m)
{
    m->done++;
}

int mailbox_flag(
    struct mailbox *m, uint32_t uid, enum flag_change how, uint32_t flags, bool *changed, struct err *e)
{
    struct message *msg = &m->messages[mailbox_lower_bound(m, uid)];

    (void)e;
    assert_int_equal(how, FLAGS_ADD);
    assert_int_equal(msg->uid, uid);
    *changed = (msg->flags | flags) != msg->flags;
    msg->flags |= flags;
    return 0;
}

int mailbox_keyword_letter(struct mailbox *m, struct slice name, bool create, struct err *e)
{
    (void)m;
    assert_false(create);
    if (slice_eq_nocase(name, SLICE("$Work")))
        return 0;
    return err_set(e, ERR_CANNOT, "no such keyword");
}

uint32_t view_count(const struct view *v)
{
    return v->n;
}

uint32_t view_uid(const struct view *v, uint32_t seq)
{
    return seq >= 1 && seq <= v->n ? v->uids[seq - 1] : 0;
}

uint32_t view_lower_bound(const struct view *v, uint32_t uid)
{
    uint32_t seq = 1;

    while (seq <= v->n && v->uids[seq - 1] < uid)
        seq++;
    return seq;
}

bool view_is_recent(const struct view *v, uint32_t uid)
{
    (void)v;
    return uid == 50;
}

void view_seen_change(struct view *v, uint32_t uid, uint64_t modseq)
{
    (void)modseq;
    v->seen_change = uid;
}

/* ------------------------------------------------------------------ the driver and its stream */

struct buf *stream_out(struct stream *s)
{
    return &s->out;
}

void stream_write(struct stream *s, struct slice octets)
{
    buf_add(&s->out, octets);
}

bool stream_is_backed_up(const struct stream *s)
{
    return s->backed_up;
}

void stream_deadline(struct stream *s, unsigned milliseconds)
{
    assert_int_not_equal(milliseconds, 0);
    s->deadlines++;
}

bool imap_yield(struct imap_cmd *c)
{
    (void)c;
    yields += always_yield;
    return always_yield;
}

void imap_announce(struct imap_session *s, struct mailbox *m)
{
    assert_ptr_equal(s->mailbox, m);
    announced++;
}

enum imap_step imap_reply(struct imap_cmd *c, enum imap_status status, const char *code, const char *fmt, ...)
{
    (void)fmt;
    c->status = status;
    buf_clear(&c->code);
    if (code)
        buf_add_str(&c->code, code);
    return IMAP_DONE;
}

enum imap_step imap_reply_err(struct imap_cmd *c, const struct err *e)
{
    return imap_reply(c, IMAP_NO, err_row(e->code)->imap, "%s", "");
}

void imap_flags_write(struct buf *out, const struct mailbox *m, uint32_t bits, bool recent)
{
    (void)m;
    buf_add_str(out, bits & FLAG_SEEN ? "\\Seen" : "");
    buf_add_str(out, bits & FLAG_SEEN && recent ? " " : "");
    buf_add_str(out, recent ? "\\Recent" : "");
}

static struct imap_session session = {.stream = &stream, .mailbox = &box, .view = &view};

/* Starts a command: "F" or "UF" for (UID) FETCH, "S" or "US" for SEARCH, then the arguments. False: BAD. */
static bool start(struct imap_cmd *c, struct arena *arena, const char *z)
{
    *c = (struct imap_cmd){.s = &session, .arena = arena, .tag = SLICE("a1"), .code = BUF_INIT(BUF_OWN)};
    c->uid = *z == 'U';
    z += c->uid;
    c->row = *z == 'F' ? &imap_cmd_fetch : &imap_cmd_search;
    arena_init(arena, (size_t)8 << 20);
    imap_parse_init(&c->args, slice_str(z + 2), arena);
    return c->row->check(c);
}

static void stop(struct imap_cmd *c)
{
    c->row->end(c);
    buf_free(&c->code);
    arena_free(c->arena);
}

/* Runs a command to its end and appends the tagged reply, short. */
static const char *run(const char *z)
{
    static const char *const words[] = {"OK", "NO", "BAD"};
    struct arena arena;
    struct imap_cmd c;
    enum imap_step step = IMAP_MORE;

    buf_clear(&stream.out);
    if (!start(&c, &arena, z)) {
        assert_non_null(c.error);
        c.status = IMAP_BAD;
        step = IMAP_DONE;
    }
    while (step == IMAP_MORE)
        step = c.row->run(&c);
    assert_int_equal(step, IMAP_DONE);
    buf_add_str(&stream.out, words[c.status]);
    if (c.code.n) {
        buf_add_char(&stream.out, ' ');
        buf_add(&stream.out, buf_slice(&c.code));
    }
    stop(&c);
    return buf_str(&stream.out);
}

static char large[700001];

static int setup(void **state)
{
    static const char *const texts[BOX] = {"Subject: one\r\n\r\nfirst\r\n", "Subject: two\r\n\r\nsecond\r\n",
        large, "Subject: four", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"};

    (void)state;
    memset(large, 'x', sizeof large - 1);
    memcpy(large, "A: b\r\n\r\n", 8);
    box = (struct mailbox){.n = BOX};
    view = (struct view){.n = BOX};
    for (uint32_t i = 0; i < BOX; i++) {
        box.texts[i] = texts[i];
        box.messages[i] = (struct message){.uid = (i + 1) * 10,
            .size = strlen(texts[i]),
            .size_crlf = i == 1 ? 0 : strlen(texts[i]),
            .received = i == 1 ? 0 : 86400 * (int64_t)(i + 1)};
        view.uids[i] = (i + 1) * 10;
    }
    stream = (struct stream){.out = BUF_INIT(BUF_OWN)};
    session.read_only = false;
    announced = yields = 0;
    always_yield = false;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&stream.out);
    for (size_t i = 0; i < BOX; i++)
        buf_free(&box.cached[i]);
    return 0;
}

/* ------------------------------------------------------------------ tests */

static void test_simple(void **state)
{
    static const struct {
        const char *command, *answer;
    } rows[] = {
        {"F 1 FLAGS", "* 1 FETCH (FLAGS ())\r\nOK"},
        {"F 5 (FLAGS)", "* 5 FETCH (FLAGS (\\Recent))\r\nOK"},
        {"UF 15:25 FLAGS", "* 2 FETCH (UID 20 FLAGS ())\r\nOK"},
        {"UF 99:* (UID)", "* 5 FETCH (UID 50)\r\nOK"},
        {"UF 11:19,51 FLAGS", "OK"},
        {"F 1,2,4:* UID",
            "* 1 FETCH (UID 10)\r\n* 2 FETCH (UID 20)\r\n* 4 FETCH (UID 40)\r\n* 5 FETCH (UID 50)\r\nOK"},
        {"F 2 FAST", "* 2 FETCH (RFC822.SIZE 24 FLAGS () INTERNALDATE \" 3-Jan-1970 00:00:00 +0000\")\r\nOK"},
        {"F 2 (RFC822.SIZE UID)", "* 2 FETCH (UID 20 RFC822.SIZE 24)\r\nOK"},
        {"F 1:6 FLAGS", "BAD"},
        {"F 0 FLAGS", "BAD"},
        {"F 1", "BAD"},
        {"F $ FLAGS", "BAD"},
        {"F 1 FLAGS x", "BAD"},
        {"F 1 ENVELOPE", "* 1 FETCH (ENVELOPE (NIL \"one\" NIL NIL NIL NIL NIL NIL NIL NIL))\r\nOK"},
        {"F 1 BODY.PEEK[HEADER]", "* 1 FETCH (BODY[HEADER] {16}\r\nSubject: one\r\n\r\n)\r\nOK"},
        {"F 1 BODY.PEEK[3]", "* 1 FETCH (BODY[3] NIL)\r\nOK"},
        {"F 4 (BODY.PEEK[]<3.4> RFC822.HEADER)",
            "* 4 FETCH (BODY[]<3> {4}\r\nject RFC822.HEADER {13}\r\nSubject: "
            "four)\r\nOK"},
        {"UF 50 BODYSTRUCTURE",
            "* 5 FETCH (UID 50 BODYSTRUCTURE ((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL "
            "NIL \"7BIT\" 1 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL))\r\nOK"},
        {"S ALL", "* SEARCH 1 2 3 4 5\r\nOK"},
        {"US 2:3", "* SEARCH 20 30\r\nOK"},
        {"S SEEN", "* SEARCH\r\nOK"},
        {"S SUBJECT t BODY SECOND", "* SEARCH 2\r\nOK"},
        {"S KEYWORD none", "* SEARCH\r\nOK"},
        {"S CHARSET x-none ALL", "NO BADCHARSET (UTF-8 US-ASCII)"},
        {"S RETURN () 2:4", "* ESEARCH (TAG \"a1\") ALL 2:4\r\nOK"},
        {"US RETURN (MIN MAX COUNT ALL) NOT 2",
            "* ESEARCH (TAG \"a1\") UID MIN 10 MAX 50 ALL 10,30,40,50 COUNT 4\r\nOK"},
        {"S RETURN (MIN) 3:5", "* ESEARCH (TAG \"a1\") MIN 3\r\nOK"},
        {"S RETURN (ALL MIN MAX COUNT) SEEN", "* ESEARCH (TAG \"a1\") COUNT 0\r\nOK"},
        {"S RETURN (MAX) SEEN", "* ESEARCH (TAG \"a1\")\r\nOK"},
        {"S ON 3-Jan-1970", "* SEARCH 2\r\nOK"},
        {"S SINCE 4-Jan-1970", "* SEARCH 3 4 5\r\nOK"},
        {"S NONSENSE", "BAD"},
    };

    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        /* the same with a pause wherever there may be one */
        always_yield = turn == 1;
        for (size_t i = 0; i < COUNT(rows); i++)
            assert_string_equal(run(rows[i].command), rows[i].answer);
    }
    assert_true(yields > 8);
    assert_int_equal(announced, 0);
    for (size_t i = 0; i < BOX; i++)
        assert_int_equal(box.messages[i].flags, 0);
}

/* No text is read for what the index has, and no body of a large message for what the header has. */
static void test_reads(void **state)
{
    (void)state;
    run("F 1,3:5 ALL");
    assert_int_equal(box.heads_read, 1);
    assert_int_equal(box.texts_read, 3);
    run("F 1,3:5 FAST");
    run("S SEEN BODY x SUBJECT y");
    assert_int_equal(box.texts_read, 3);
    run("S SUBJECT y BODY x");
    assert_int_equal(box.heads_read, 1);
    assert_int_equal(box.texts_read, 4);
    run("S HEADER X-Other y");
    assert_int_equal(box.heads_read, 6);
    assert_int_equal(box.put, 5);
}

/* What was read once is not read again, and the same is said of it. */
static void test_cached(void **state)
{
    static const char *const commands[] = {
        "F 1:5 ENVELOPE",
        "F 1:5 BODY",
        "F 1:5 (UID BODYSTRUCTURE)",
        "F 1:5 FULL",
        "F 1:5 BODY.PEEK[HEADER.FIELDS (Subject From)]",
        "F 1:5 BODY.PEEK[HEADER.FIELDS (SUBJECT)]<2.9>",
        "S SUBJECT t",
        "S OR HEADER To \"\" SENTBEFORE 1-Jan-2020",
    };
    static const char *const parts[] = {
        "F 1:5 BODY.PEEK[1]",
        "F 1:5 (BODY.PEEK[1.MIME] BODY.PEEK[2])",
        "F 1:5 BODY.PEEK[1]<0.3>",
        "F 3 BODY.PEEK[1]<650000.100000>",
        "F 1:5 BODY.PEEK[HEADER]",
        "F 1:5 BODY.PEEK[HEADER.FIELDS.NOT (Subject)]",
        "F 1:5 (BODY.PEEK[HEADER.FIELDS (A Subject)]<1.3> BODY.PEEK[HEADER.FIELDS (Subject)])",
    };
    char *first;

    (void)state;
    for (size_t i = 0; i < COUNT(commands); i++) {
        setup(state);
        first = mem_strdup(run(commands[i]));
        assert_true(box.put > 0);
        box.texts_read = box.heads_read = box.put = box.done = 0;
        assert_string_equal(run(commands[i]), first);
        assert_int_equal(box.texts_read + box.heads_read + box.ranges_read + box.put, 0);
        assert_int_equal(box.done, 1);
        free(first);
        teardown(state);
    }
    for (size_t i = 0; i < COUNT(parts); i++) {
        setup(state);
        first = mem_strdup(run(parts[i]));
        run("F 1:5 BODY");
        box.texts_read = box.heads_read = box.put = box.ranges_read = 0;
        assert_string_equal(run(parts[i]), first);
        assert_int_equal(box.texts_read + box.heads_read + box.put, 0);
        assert_true(box.ranges_read > 0);
        free(first);
        teardown(state);
    }
    setup(state);
}

/* A file that is not as the client sees it is not read in pieces. */
static void test_not_by_range(void **state)
{
    (void)state;
    run("F 5 BODYSTRUCTURE");
    box.cached[4].p[32] = (char)(box.cached[4].p[32] ^ 1); /* a flipped bit: as if there were none */
    run("F 5 BODY.PEEK[1]");
    assert_int_equal(box.ranges_read, 0);
    assert_int_equal(box.put, 2);
    box.messages[4].size--; /* one LF alone */
    buf_clear(&box.cached[4]);
    run("F 5 BODY");
    box.texts_read = 0;
    assert_string_equal(run("F 5 BODY.PEEK[1]"), "* 5 FETCH (BODY[1] {1}\r\nx)\r\nOK");
    assert_int_equal(box.ranges_read, 0);
    assert_int_equal(box.texts_read, 1);
}

/* What is too long for the cache is made anew each time, and put only once. */
static void test_too_long(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);
    char *first;

    (void)state;
    while (text.n < 40000)
        buf_add_str(&text, "To: somebody@example.org\r\n");
    buf_add_str(&text, "Subject: x\r\n\r\nbody\r\n");
    box.texts[0] = buf_str(&text);
    box.messages[0].size = box.messages[0].size_crlf = text.n;
    first = mem_strdup(run("F 1 (ENVELOPE BODY.PEEK[HEADER.FIELDS (TO)])"));
    assert_true(strlen(first) > 80000);
    assert_string_equal(run("F 1 (ENVELOPE BODY.PEEK[HEADER.FIELDS (TO)])"), first);
    assert_int_equal(box.put, 1);
    assert_string_equal(run("S 1 SUBJECT x"), "* SEARCH 1\r\nOK");
    assert_int_equal(box.put, 1);
    run("F 1 BODY");
    assert_int_equal(box.put, 1);
    free(first);
    buf_free(&text);
}

static void test_seen(void **state)
{
    (void)state;
    assert_string_equal(
        run("F 1 BODY[TEXT]"), "* 1 FETCH (FLAGS (\\Seen) BODY[TEXT] {7}\r\nfirst\r\n)\r\nOK");
    assert_int_equal(view.seen_change, 10);
    assert_int_equal(announced, 1);
    /* it is set already: no flags, nothing to tell */
    assert_string_equal(run("F 1 BODY[TEXT]"), "* 1 FETCH (BODY[TEXT] {7}\r\nfirst\r\n)\r\nOK");
    assert_int_equal(announced, 1);
    assert_string_equal(
        run("F 2 RFC822.HEADER"), "* 2 FETCH (RFC822.HEADER {16}\r\nSubject: two\r\n\r\n)\r\nOK");
    session.read_only = true;
    assert_string_equal(run("F 2 RFC822.TEXT"), "* 2 FETCH (RFC822.TEXT {8}\r\nsecond\r\n)\r\nOK");
    assert_int_equal(box.messages[1].flags, 0);
    session.read_only = false;
    assert_string_equal(
        run("F 2 (FLAGS RFC822.TEXT)"), "* 2 FETCH (FLAGS (\\Seen) RFC822.TEXT {8}\r\nsecond\r\n)\r\nOK");
}

/* RFC 2180 4.1.2: what is left is answered. */
static void test_vanished(void **state)
{
    (void)state;
    box.gone = 20;
    assert_string_equal(run("F 1:2 ENVELOPE"),
        "* 1 FETCH (ENVELOPE (NIL \"one\" NIL NIL NIL NIL NIL NIL NIL NIL))\r\nNO EXPUNGEISSUED");
    assert_string_equal(run("UF 20 BODY[]"), "OK EXPUNGEISSUED");
    assert_int_equal(box.messages[1].flags, 0);
    assert_string_equal(run("S NOT BODY none"), "* SEARCH 1 3 4 5\r\nOK");
    /* the mailbox knows already, the view does not */
    view.uids[1] = 15;
    assert_string_equal(run("F 1:2 UID"), "* 1 FETCH (UID 10)\r\nNO EXPUNGEISSUED");
    assert_string_equal(run("S ALL"), "* SEARCH 1 3 4 5\r\nOK");
    view.uids[1] = 20;
    box.broken = 50;
    assert_string_equal(
        run("F 2,4:5 BODY.PEEK[]"), "* 4 FETCH (BODY[] {13}\r\nSubject: four)\r\nNO UNAVAILABLE");
    assert_string_equal(run("S BODY none"), "* SEARCH\r\nNO UNAVAILABLE");
}

static void test_empty(void **state)
{
    (void)state;
    box.n = 0;
    view.n = 0;
    assert_string_equal(run("F 1:* FLAGS"), "OK");
    assert_string_equal(run("UF 1:* FLAGS"), "OK");
    assert_string_equal(run("F 1 FLAGS"), "BAD");
    assert_string_equal(run("S ALL"), "* SEARCH\r\nOK");
    assert_string_equal(run("S RETURN (COUNT) UID 1:*"), "* ESEARCH (TAG \"a1\") COUNT 0\r\nOK");
}

/* A large literal goes out in pieces while the client is slow, and is whole in the end. */
static void test_large(void **state)
{
    struct buf expected = BUF_INIT(BUF_OWN);
    enum imap_step step;
    struct arena arena;
    struct imap_cmd c;
    unsigned steps = 1;

    (void)state;
    assert_true(start(&c, &arena, "F 3:4 (UID BODY[] BODY[HEADER])"));
    stream.backed_up = true;
    while ((step = c.row->run(&c)) == IMAP_MORE)
        steps++;
    assert_int_equal(step, IMAP_DONE);
    assert_int_equal(steps, 3);
    buf_add_str(&expected, "* 3 FETCH (UID 30 FLAGS (\\Seen) BODY[] {700000}\r\n");
    buf_add_str(&expected, large);
    buf_add_str(&expected,
        " BODY[HEADER] {8}\r\nA: b\r\n\r\n)\r\n* 4 FETCH (UID 40 FLAGS (\\Seen) BODY[] {13}\r\n"
        "Subject: four BODY[HEADER] {13}\r\nSubject: four)\r\n");
    assert_true(slice_eq(buf_slice(&stream.out), buf_slice(&expected)));
    stop(&c);
    buf_free(&expected);
}

/* The file goes while its literal is on the way: the connection ends, no wrong octet is sent. */
static void test_cut_off(void **state)
{
    struct arena arena;
    struct imap_cmd c;
    size_t sent;

    (void)state;
    assert_true(start(&c, &arena, "F 3 BODY.PEEK[]"));
    stream.backed_up = true;
    assert_int_equal(c.row->run(&c), IMAP_MORE);
    sent = stream.out.n;
    box.gone = 30;
    assert_int_equal(c.row->run(&c), IMAP_WAIT);
    assert_int_equal(stream.out.n, sent);
    assert_int_equal(stream.deadlines, 1);
    stop(&c);
}

/* UID FETCH goes on behind the last message when others were expunged meanwhile. */
static void test_view_moves(void **state)
{
    struct arena arena;
    struct imap_cmd c;

    (void)state;
    always_yield = true;
    assert_true(start(&c, &arena, "UF 20:50 BODY.PEEK[HEADER.FIELDS (X)]"));
    assert_int_equal(c.row->run(&c), IMAP_MORE);
    assert_int_equal(c.row->run(&c), IMAP_MORE);
    /* 10 and 20 are gone from mailbox and view */
    memmove(view.uids, view.uids + 2, 3 * sizeof *view.uids);
    view.n = 3;
    while (c.row->run(&c) == IMAP_MORE)
        ;
    assert_string_equal(buf_str(&stream.out), "* 2 FETCH (UID 20 BODY[HEADER.FIELDS (X)] {2}\r\n\r\n)\r\n"
                                              "* 3 FETCH (UID 30 BODY[HEADER.FIELDS (X)] {2}\r\n\r\n)\r\n"
                                              "* 2 FETCH (UID 40 BODY[HEADER.FIELDS (X)] {0}\r\n)\r\n"
                                              "* 3 FETCH (UID 50 BODY[HEADER.FIELDS (X)] {2}\r\n\r\n)\r\n");
    stop(&c);
}

/* What is in the index looks at the clock now and then; a file that is read does so at once. */
static void test_turns(void **state)
{
    struct arena arena;
    struct imap_cmd c;

    (void)state;
    always_yield = true;
    assert_true(start(&c, &arena, "F 1:5 (FLAGS UID)"));
    assert_int_equal(c.row->run(&c), IMAP_DONE);
    assert_int_equal(yields, 0);
    stop(&c);
    assert_true(start(&c, &arena, "F 1:5 RFC822.SIZE"));
    assert_int_equal(c.row->run(&c), IMAP_MORE); /* the second's size is not known */
    assert_int_equal(yields, 1);
    stop(&c);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_simple),
        T(test_reads),
        T(test_cached),
        T(test_not_by_range),
        T(test_too_long),
        T(test_seen),
        T(test_vanished),
        T(test_empty),
        T(test_large),
        T(test_cut_off),
        T(test_view_moves),
        T(test_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
