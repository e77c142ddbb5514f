/* FETCH: the items read from a command, and what is rendered from messages in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "imapd/fetch.h"
#include "imapd/fetch_tree.h"
#include "mail/mime_pack.h"
#include "store/cache.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* The text with every LF as CRLF, as mailbox_text gives it. */
static void crlf(struct buf *out, const char *z)
{
    buf_init(out, BUF_OWN);
    for (; *z; z++) {
        if (*z == '\n')
            buf_add_char(out, '\r');
        buf_add_char(out, *z);
    }
}

/* ------------------------------------------------------------------ ENVELOPE */

static const struct {
    const char *header, *envelope;
} envelopes[] = {
    {"", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"},
    {"Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\nFrom: Terry Gray <gray@cac.washington.edu>\n"
     "Subject: IMAP4rev1 WG\n mtg summary\nTo: imap@cac.washington.edu\n"
     "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\n"
     "Message-Id: <B27397-0100000@cac.washington.edu>\n\n",
        "(\"Mon, 7 Feb 1994 21:52:25 -0800 (PST)\" \"IMAP4rev1 WG mtg summary\" "
        "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
        "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
        "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
        "((NIL NIL \"imap\" \"cac.washington.edu\")) "
        "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) "
        "NIL NIL \"<B27397-0100000@cac.washington.edu>\")"},
    /* an own Sender and an empty Reply-To */
    {"From: a@b\nSender: c@d\nReply-To:\n\n", "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) "
                                              "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)"},
    /* groups: a start with the name, an end of NILs */
    {"To: undisclosed-recipients:;\nCc: A: b@c, d@e; , f@g\n\n",
        "(NIL NIL NIL NIL NIL ((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)) "
        "((NIL NIL \"A\" NIL)(NIL NIL \"b\" \"c\")(NIL NIL \"d\" \"e\")(NIL NIL NIL NIL)(NIL NIL \"f\" "
        "\"g\")) "
        "NIL NIL NIL)"},
    /* quotes and backslashes, an encoded word, a source route */
    {"From: \"A \\\"B\\\\\" <@x,@y:a@b>\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n\n",
        "(NIL \"=?utf-8?q?gr=C3=BC=C3=9Fe?=\" ((\"A \\\"B\\\\\" \"@x,@y\" \"a\" \"b\")) "
        "((\"A \\\"B\\\\\" \"@x,@y\" \"a\" \"b\")) ((\"A \\\"B\\\\\" \"@x,@y\" \"a\" \"b\")) NIL NIL NIL NIL "
        "NIL)"},
    /* eight bits go as a literal */
    {"Subject: gr\xc3\xbc\xc3\x9f\x65\n\n",
        "(NIL {7}\r\ngr\xc3\xbc\xc3\x9f\x65 NIL NIL NIL NIL NIL NIL NIL NIL)"},
    /* a field that is there twice: the first text, all addresses */
    {"Subject: one\nTo: a@b\nSubject: two\nTo: c@d\n\n",
        "(NIL \"one\" NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)"},
    /* an empty field is there, an empty address is none; a header without an end */
    {"Subject:\nFrom: <>\nDate: x", "(\"x\" \"\" NIL NIL NIL NIL NIL NIL NIL NIL)"},
};

static void test_envelope(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < COUNT(envelopes); i++) {
        struct buf text, out = BUF_INIT(BUF_OWN);

        crlf(&text, envelopes[i].header);
        fetch_envelope_write(&out, buf_slice(&text), &arena);
        assert_string_equal(buf_str(&out), envelopes[i].envelope);
        buf_free(&text);
        buf_free(&out);
        arena_reset(&arena);
    }
    arena_free(&arena);
}

/* ------------------------------------------------------------------ BODY and BODYSTRUCTURE */

#define PLAIN "\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7BIT\""
#define NO_ENVELOPE "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

static const struct {
    const char *text, *body, *structure;
} structures[] = {
    {"", "(" PLAIN " 0 0)", "(" PLAIN " 0 0 NIL NIL NIL NIL)"},
    {"A: b\n\none\ntwo\n", "(" PLAIN " 10 2)", "(" PLAIN " 10 2 NIL NIL NIL NIL)"},
    {"Content-Type: TEXT/HTML; charset=\"utf-8\"; format=flowed\nContent-Transfer-Encoding: "
     "quoted-printable\n"
     "Content-ID: <1@x>\nContent-Description: a\n b\nContent-MD5: Q2hlY2s=\n"
     "Content-Disposition: inline\nContent-Language: de, en\nContent-Location: http://x/\n\nx",
        "(\"text\" \"html\" (\"charset\" \"utf-8\" \"format\" \"flowed\") \"<1@x>\" \"a b\" "
        "\"QUOTED-PRINTABLE\" 1 0)",
        "(\"text\" \"html\" (\"charset\" \"utf-8\" \"format\" \"flowed\") \"<1@x>\" \"a b\" "
        "\"QUOTED-PRINTABLE\" 1 0 "
        "\"Q2hlY2s=\" (\"inline\" NIL) (\"de\" \"en\") \"http://x/\")"},
    /* boundary and disposition are what the Gmail app wants (clients.md 11) */
    {"Content-Type: multipart/mixed; boundary=\"b\"\nContent-Disposition: inline; a=b\n\n--b\n\none\n--b\n"
     "Content-Type: application/pdf; name=\"x.pdf\"\nContent-Transfer-Encoding: base64\n"
     "Content-Disposition: attachment; filename=\"x \\\"1\\\".pdf\"; size=3\n\nAAAA\n--b--\n",
        "((" PLAIN " 3 0)(\"application\" \"pdf\" (\"name\" \"x.pdf\") NIL NIL \"BASE64\" 4) \"mixed\")",
        "((" PLAIN
        " 3 0 NIL NIL NIL NIL)(\"application\" \"pdf\" (\"name\" \"x.pdf\") NIL NIL \"BASE64\" 4 NIL "
        "(\"attachment\" (\"filename\" \"x \\\"1\\\".pdf\" \"size\" \"3\")) NIL NIL) \"mixed\" (\"boundary\" "
        "\"b\") "
        "(\"inline\" (\"a\" \"b\")) NIL NIL)"},
    /* a message in a message, whose body is a multipart in a multipart */
    {"Content-Type: multipart/digest; boundary=o\n\n--o\n\nSubject: inner\n"
     "Content-Type: multipart/alternative; boundary=i\n\n--i\n\na\n--i\nContent-Type: "
     "text/html\n\nb\n--i--\n--o--\n",
        "((\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 117 (NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) "
        "((" PLAIN " 1 0)(\"text\" \"html\" NIL NIL NIL \"7BIT\" 1 0) \"alternative\") 10) \"digest\")",
        "((\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 117 (NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) "
        "((" PLAIN " 1 0 NIL NIL NIL NIL)(\"text\" \"html\" NIL NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL) "
        "\"alternative\" (\"boundary\" \"i\") NIL NIL NIL) 10 NIL NIL NIL NIL) \"digest\" (\"boundary\" "
        "\"o\") NIL NIL "
        "NIL)"},
    /* the message is nothing but another one, empty */
    {"Content-Type: message/rfc822\n\n",
        "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 0 " NO_ENVELOPE " (" PLAIN " 0 0) 0)",
        "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 0 " NO_ENVELOPE " (" PLAIN
        " 0 0 NIL NIL NIL NIL) 0 NIL NIL NIL NIL)"},
    /* message/global is of the basic form for IMAP4rev1; so is an encoded message/rfc822 */
    {"Content-Type: message/global\n\nSubject: x\n\ny\n", "(\"message\" \"global\" NIL NIL NIL \"7BIT\" 17)",
        "(\"message\" \"global\" NIL NIL NIL \"7BIT\" 17 NIL NIL NIL NIL)"},
    {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA\n",
        "(\"application\" \"octet-stream\" NIL NIL NIL \"BASE64\" 6)",
        "(\"application\" \"octet-stream\" NIL NIL NIL \"BASE64\" 6 NIL NIL NIL NIL)"},
    /* a boundary that never comes, a type that is none */
    {"Content-Type: multipart/mixed; boundary=b\n\nx\n", "(" PLAIN " 3 1)",
        "(" PLAIN " 3 1 NIL NIL NIL NIL)"},
    {"Content-Type: nonsense\n\nx\n", "(" PLAIN " 3 1)", "(" PLAIN " 3 1 NIL NIL NIL NIL)"},
};

static void test_bodystructure(void **state)
{
    struct arena arena, scratch;

    (void)state;
    arena_init(&arena, 1 << 20);
    arena_init(&scratch, 1 << 20);
    for (size_t i = 0; i < COUNT(structures); i++) {
        struct buf text, out = BUF_INIT(BUF_OWN), basic = BUF_INIT(BUF_OWN);
        struct mime_tree t;

        crlf(&text, structures[i].text);
        assert_true(mime_parse(buf_slice(&text), &arena, &t));
        buf_add_str(&out, "before");
        fetch_bodystructure_write(&out, &basic, &t, buf_slice(&text), &scratch);
        assert_string_equal(buf_str(&basic), structures[i].body);
        assert_string_equal(buf_str(&out) + 6, structures[i].structure);
        buf_free(&basic);
        buf_free(&text);
        buf_free(&out);
        arena_reset(&arena);
    }
    arena_free(&arena);
    arena_free(&scratch);
}

/* ------------------------------------------------------------------ items */

static bool parse_items(const char *z, struct arena *arena, struct imap_parse *p, struct fetch_items *items)
{
    imap_parse_init(p, slice_str(z), arena);
    return fetch_items_parse(p, items) && imap_parse_end(p);
}

#define BIT(slot) CACHE_BIT(CACHE_##slot)
#define FAST (FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE)

static const struct {
    const char *text;
    unsigned simple;
    const char *labels; /* of the sections, each with a newline; NULL: refused */
    bool sets_seen, needs_head, needs_text, needs_parts;
    unsigned slots;
} items[] = {
    {"FLAGS", FETCH_FLAGS, "", 0, 0, 0, 0, 0},
    {"fast", FAST, "", 0, 0, 0, 0, 0},
    {"ALL", FAST | FETCH_ENVELOPE, "", 0, 0, 0, 0, BIT(ENVELOPE)},
    {"FULL", FAST | FETCH_ENVELOPE | FETCH_BODY, "", 0, 0, 0, 0, BIT(ENVELOPE) | BIT(BODY)},
    {"(UID RFC822.SIZE BODYSTRUCTURE)", FETCH_UID | FETCH_SIZE | FETCH_BODYSTRUCTURE, "", 0, 0, 0, 0,
        BIT(BODYSTRUCTURE)},
    {"(RFC822 RFC822.HEADER RFC822.TEXT)", 0, "RFC822\nRFC822.HEADER\nRFC822.TEXT\n", 1, 1, 1, 0, 0},
    {"RFC822.HEADER", 0, "RFC822.HEADER\n", 0, 1, 0, 0, 0},
    {"BODY[]", 0, "BODY[]\n", 1, 0, 1, 0, 0},
    {"body.peek[]<0.4294967295>", 0, "BODY[]<0>\n", 0, 0, 1, 0, 0},
    {"BODY.PEEK[header]", 0, "BODY[HEADER]\n", 0, 1, 0, 0, 0},
    {"(FLAGS BODY.PEEK[HEADER.FIELDS (Date \"Sub ject\" X-Y)] UID)", FETCH_FLAGS | FETCH_UID,
        "BODY[HEADER.FIELDS (Date \"Sub ject\" X-Y)]\n", 0, 1, 0, 0, 0},
    {"BODY.PEEK[HEADER.FIELDS (Date SUBJECT)]<1.2>", 0, "BODY[HEADER.FIELDS (Date SUBJECT)]<1>\n", 0, 0, 0, 0,
        BIT(KEYS)},
    {"BODY[HEADER.FIELDS (Date)]", 0, "BODY[HEADER.FIELDS (Date)]\n", 1, 0, 0, 0, BIT(KEYS)},
    {"BODY[HEADER.FIELDS.NOT (Date)]<7.9>", 0, "BODY[HEADER.FIELDS.NOT (Date)]<7>\n", 1, 1, 0, 0, 0},
    {"BODY[1.2.MIME]", 0, "BODY[1.2.MIME]\n", 1, 0, 0, 1, BIT(PARTS)},
    {"BODY[3.HEADER.FIELDS (Date)]", 0, "BODY[3.HEADER.FIELDS (Date)]\n", 1, 0, 0, 1, BIT(PARTS)},
    {"BODY[4294967295]", 0, "BODY[4294967295]\n", 1, 0, 0, 1, BIT(PARTS)},
    {"(BODY BODY[TEXT])", FETCH_BODY, "BODY[TEXT]\n", 1, 0, 1, 0, BIT(BODY)},
    {"", 0, NULL, 0, 0, 0, 0, 0},
    {"()", 0, NULL, 0, 0, 0, 0, 0},
    {"(ALL)", 0, NULL, 0, 0, 0, 0, 0},
    {"FLAGS UID", 0, NULL, 0, 0, 0, 0, 0},
    {"(FLAGS", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[MIME]", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[0]", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[4294967296]", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[1.]", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[1.WHAT]", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[HEADER.FIELDS ()]", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[HEADER.FIELDS]", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[]<0.0>", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[]<0>", 0, NULL, 0, 0, 0, 0, 0},
    {"BODY[]<4294967296.1>", 0, NULL, 0, 0, 0, 0, 0},
    {"FLAGS[]", 0, NULL, 0, 0, 0, 0, 0},
};

static void test_items(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < COUNT(items); i++) {
        struct buf labels = BUF_INIT(BUF_OWN);
        struct fetch_items got;
        struct imap_parse p;

        if (!parse_items(items[i].text, &arena, &p, &got)) {
            assert_non_null(p.error);
            assert_null(items[i].labels);
            continue;
        }
        assert_non_null(items[i].labels);
        assert_int_equal(got.simple, items[i].simple);
        assert_int_equal(got.sets_seen, items[i].sets_seen);
        assert_int_equal(got.needs_head, items[i].needs_head);
        assert_int_equal(got.needs_text, items[i].needs_text);
        assert_int_equal(got.needs_parts, items[i].needs_parts);
        assert_int_equal(got.slots, items[i].slots);
        for (const struct fetch_section *s = got.sections; s; s = s->next) {
            buf_add(&labels, s->label);
            buf_add_char(&labels, '\n');
        }
        assert_string_equal(buf_str(&labels), items[i].labels);
        buf_free(&labels);
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void test_limits(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct fetch_items got;
    struct imap_parse p;
    struct arena arena;

    (void)state;
    arena_init(&arena, 4 << 20);
    for (int n = FETCH_SECTIONS_MAX; n <= FETCH_SECTIONS_MAX + 1; n++) {
        buf_clear(&text);
        for (int i = 0; i < n; i++)
            buf_add_str(&text, i ? " BODY[]" : "(BODY[]");
        buf_add_char(&text, ')');
        assert_int_equal(parse_items(buf_str(&text), &arena, &p, &got), n == FETCH_SECTIONS_MAX);
    }
    for (int n = FETCH_FIELDS_MAX; n <= FETCH_FIELDS_MAX + 1; n++) {
        buf_clear(&text);
        buf_add_str(&text, "BODY[HEADER.FIELDS (");
        for (int i = 0; i < n; i++)
            buf_add_str(&text, i ? " a" : "a");
        buf_add_str(&text, ")]");
        assert_int_equal(parse_items(buf_str(&text), &arena, &p, &got), n == FETCH_FIELDS_MAX);
    }
    for (int n = FETCH_PATH_MAX; n <= FETCH_PATH_MAX + 1; n++) {
        buf_clear(&text);
        buf_add_str(&text, "BODY[");
        for (int i = 0; i < n; i++)
            buf_add_str(&text, i ? ".1" : "1");
        buf_add_char(&text, ']');
        assert_int_equal(parse_items(buf_str(&text), &arena, &p, &got), n == FETCH_PATH_MAX);
    }
    arena_free(&arena);
    buf_free(&text);
}

/* ------------------------------------------------------------------ sections */

#define INNER_HEADER "Subject: in\nContent-Type: multipart/mixed; boundary=i\n\n"
#define INNER_BODY "--i\nX: 1\n\ndeep\n--i--"
static const char nested[] =
    "From: a\nTo: b\nfrom: c\nContent-Type: multipart/mixed; boundary=o\n\n"
    "--o\nContent-Type: text/html\n\none\n--o\nContent-Type: message/rfc822\n\n" INNER_HEADER INNER_BODY
    "\n--o\nContent-Type: message/rfc822\n\nSubject: flat\n\nplain\n--o--\n";
static const char single[] = "Subject: x\nDate: y\n\nbody\n";

static const struct {
    const char *text, *section, *octets; /* octets NULL: NIL */
} sections[] = {
    {single, "BODY[]", single},
    {single, "BODY[]<0.4>", "Subj"},
    {single, "BODY[]<20.4294967295>", "\n\nbody\n"}, /* the octet at 20 is the LF of a CRLF */
    {single, "BODY[]<4294967295.4294967295>", ""},
    {single, "BODY[HEADER]", "Subject: x\nDate: y\n\n"},
    {single, "RFC822.HEADER", "Subject: x\nDate: y\n\n"},
    {single, "BODY[TEXT]", "body\n"},
    {single, "BODY[1]", "body\n"},
    {single, "BODY[1.MIME]", "Subject: x\nDate: y\n\n"},
    {single, "BODY[1.1]", NULL},
    {single, "BODY[2]", NULL},
    {single, "BODY[1.HEADER]", NULL},
    {single, "BODY[HEADER.FIELDS (date none)]", "Date: y\n\n"},
    {single, "BODY[HEADER.FIELDS (none)]", "\n"},
    {single, "BODY[HEADER.FIELDS.NOT (date)]", "Subject: x\n\n"},
    {"Subject: x\n", "BODY[HEADER.FIELDS (subject)]", "Subject: x\n"},
    {"\nbody", "BODY[HEADER]", "\n"},
    {"\nbody", "BODY[HEADER.FIELDS (a)]", "\n"},
    {"", "BODY[HEADER.FIELDS (a)]", ""},
    {"", "BODY[1]", ""},
    {nested, "BODY[HEADER.FIELDS (FROM)]", "From: a\nfrom: c\n\n"},
    {nested, "BODY[1]", "one"},
    {nested, "BODY[1]<1.1>", "n"},
    {nested, "BODY[1.MIME]", "Content-Type: text/html\n\n"},
    {nested, "BODY[1.TEXT]", NULL},
    {nested, "BODY[2]", INNER_HEADER INNER_BODY},
    {nested, "BODY[2.MIME]", "Content-Type: message/rfc822\n\n"},
    {nested, "BODY[2.HEADER]", INNER_HEADER},
    {nested, "BODY[2.HEADER.FIELDS (subject)]", "Subject: in\n\n"},
    {nested, "BODY[2.TEXT]", INNER_BODY},
    {nested, "BODY[2.1]", "deep"},
    {nested, "BODY[2.1.MIME]", "X: 1\n\n"},
    {nested, "BODY[2.2]", NULL},
    {nested, "BODY[3.1]", "plain"},
    {nested, "BODY[3.TEXT]", "plain"},
    {nested, "BODY[3.1.MIME]", "Subject: flat\n\n"},
    {nested, "BODY[4]", NULL},
};

/* The same octets by the tree as the cache keeps it, and a piece of the file. */
static void check_packed(const struct fetch_section *s, const struct mime_tree *t, struct slice text,
    bool exists, struct slice octets)
{
    struct buf packed = BUF_INIT(BUF_OWN), built = BUF_INIT(BUF_OWN);
    static uint32_t uid = 1000;
    uint64_t from, n;
    struct slice got;

    mime_pack(t, &packed);
    t = fetch_tree("id", 1, ++uid, text.n, buf_slice(&packed), SLICE(""));
    assert_non_null(t);
    assert_int_equal(fetch_section_range(s, t, &from, &n), exists);
    if (exists) {
        got = slice_sub(text, from, n);
        if (s->what == FETCH_FIELDS || s->what == FETCH_FIELDS_NOT) {
            fetch_section_subset(s, got, &built);
            got = buf_slice(&built);
        }
        if (s->is_partial)
            got = slice_sub(got, s->from, s->len);
        assert_true(slice_eq(got, octets));
    }
    buf_free(&packed);
    buf_free(&built);
}

static void test_sections(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < COUNT(sections); i++) {
        struct buf text, expected, built = BUF_INIT(BUF_OWN);
        struct fetch_items got;
        struct imap_parse p;
        const struct mime_tree *t;
        struct slice octets;
        bool exists;

        crlf(&text, sections[i].text);
        assert_true(parse_items(sections[i].section, &arena, &p, &got));
        t = fetch_tree("id", 1, (uint32_t)i + 1, text.n, SLICE(""), buf_slice(&text));
        exists = fetch_section_resolve(got.sections, t, buf_slice(&text), &built, &octets);
        assert_int_equal(exists, sections[i].octets != NULL);
        check_packed(got.sections, t, buf_slice(&text), exists, octets);
        if (exists) {
            crlf(&expected, sections[i].octets);
            if (got.sections->is_partial && got.sections->from == 20)
                buf_drop(&expected, 1);
            assert_int_equal(octets.n, expected.n);
            assert_true(slice_eq(octets, buf_slice(&expected)));
            buf_free(&expected);
        }
        buf_free(&text);
        buf_free(&built);
        arena_reset(&arena);
    }
    arena_free(&arena);
}

/* S23: a literal holds no NUL and is as long as it says. */
static void test_nul(void **state)
{
    static const char text[] = "\0a\0\0b\0";
    struct buf out = BUF_INIT(BUF_OWN);

    (void)state;
    fetch_add_octets(&out, slice_of(text, sizeof text));
    assert_int_equal(out.n, sizeof text);
    assert_memory_equal(out.p, "\x80\x61\x80\x80\x62\x80\x80", sizeof text);
    buf_free(&out);
}

/* The tree of a message is found again, and of another one is not taken for it. */
static void test_tree_kept(void **state)
{
    struct slice one = SLICE("A: b\r\n\r\nx"), two = SLICE("A: b\r\n\r\nx\r\n\r\n");
    const struct mime_tree *t = fetch_tree("box", 7, 1, one.n, SLICE(""), one);

    (void)state;
    assert_ptr_equal(fetch_tree("box", 7, 1, one.n, SLICE(""), one), t);
    assert_int_equal(fetch_tree("box", 7, 2, two.n, SLICE(""), two)->parts[0].body_lines, 2);
    assert_int_equal(fetch_tree("box", 8, 1, two.n, SLICE(""), two)->parts[0].body_lines, 2);
    assert_int_equal(fetch_tree("other", 7, 1, two.n, SLICE(""), two)->parts[0].body_lines, 2);
    assert_ptr_equal(fetch_tree("box", 7, 1, one.n, SLICE(""), one), t);
    assert_int_equal(t->parts[0].body_lines, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_bodystructure),
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_tree_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
