/* The tree of parts: every header and body is compared octet by octet, with LF and with CRLF line ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "mail/mime.h"

#define S MIME_SINGLE
#define M MIME_MULTIPART
#define R MIME_MESSAGE
#define OPAQUE 0x10
#define IN_DIGEST 0x20
#define ROWS 16

struct row {
    uint8_t depth, kind; /* kind with OPAQUE, IN_DIGEST */
    uint32_t children;
    const char *header, *body; /* with LF */
};

struct sample {
    const char *name, *text; /* with LF */
    struct row rows[ROWS];   /* ends at header == NULL */
};

#define MIXED(b) "Content-Type: multipart/mixed; boundary=\"" b "\"\n\n"
#define DIGEST(b) "Content-Type: multipart/digest; boundary=" b "\n\n"
#define RFC822 "Content-Type: message/rfc822\n\n"

static const struct sample samples[] = {
    {"empty", "", {{0, S, 0, "", ""}}},
    {"only an empty line", "\n", {{0, S, 0, "\n", ""}}},
    {"header alone", "A: b\n", {{0, S, 0, "A: b\n", ""}}},
    {"header cut", "A: b", {{0, S, 0, "A: b", ""}}},
    {"plain", "A: b\n\nhello\nyou", {{0, S, 0, "A: b\n\n", "hello\nyou"}}},
    {"empty lines in body", "A: b\n\n\n\n\n", {{0, S, 0, "A: b\n\n", "\n\n\n"}}},
    {"dashes without a boundary", "A: b\n\n--\n--x\n", {{0, S, 0, "A: b\n\n", "--\n--x\n"}}},
    {"two parts, preamble, epilogue",
        MIXED("x") "preamble\n--x\nA: 1\n\none\n--x\n\ntwo\n\n--x--\nepilogue\n--x\nno part\n",
        {{0, M, 2, MIXED("x"), "preamble\n--x\nA: 1\n\none\n--x\n\ntwo\n\n--x--\nepilogue\n--x\nno part\n"},
            {1, S, 0, "A: 1\n\n", "one"}, {1, S, 0, "\n", "two\n"}}},
    {"boundary at once, last line cut", MIXED("x") "--x\n\none\n--x--",
        {{0, M, 1, MIXED("x"), "--x\n\none\n--x--"}, {1, S, 0, "\n", "one"}}},
    {"transport padding", MIXED("x y") "--x y  \t\n\none\n--x y-- \n",
        {{0, M, 1, MIXED("x y"), "--x y  \t\n\none\n--x y-- \n"}, {1, S, 0, "\n", "one"}}},
    {"missing final boundary", MIXED("x") "--x\n\none\n--x\n\ntwo\n",
        {{0, M, 2, MIXED("x"), "--x\n\none\n--x\n\ntwo\n"}, {1, S, 0, "\n", "one"},
            {1, S, 0, "\n", "two\n"}}},
    {"empty parts", MIXED("x") "--x\n--x\n\n--x\n\n\n--x--\n",
        {{0, M, 3, MIXED("x"), "--x\n--x\n\n--x\n\n\n--x--\n"}, {1, S, 0, "", ""}, {1, S, 0, "\n", ""},
            {1, S, 0, "\n", ""}}},
    {"header cut by boundary", MIXED("x") "--x\nA: b\n--x--\n",
        {{0, M, 1, MIXED("x"), "--x\nA: b\n--x--\n"}, {1, S, 0, "A: b\n", ""}}},
    {"boundary never comes", MIXED("x") "--y\n\none\n", {{0, S, 0, MIXED("x"), "--y\n\none\n"}}},
    {"closed before it began", MIXED("x") "--x--\n--x\n\none\n",
        {{0, S, 0, MIXED("x"), "--x--\n--x\n\none\n"}}},
    {"multipart without boundary", "Content-Type: multipart/mixed\n\n--\n\none\n",
        {{0, S, 0, "Content-Type: multipart/mixed\n\n", "--\n\none\n"}}},
    {"nested, prefix of the parent's",
        MIXED("ab") "--ab\n" MIXED("a") "--a\n\none\n--a--\n--ab\n\ntwo\n--ab--\n",
        {{0, M, 2, MIXED("ab"), "--ab\n" MIXED("a") "--a\n\none\n--a--\n--ab\n\ntwo\n--ab--\n"},
            {1, M, 1, MIXED("a"), "--a\n\none\n--a--"}, {2, S, 0, "\n", "one"}, {1, S, 0, "\n", "two"}}},
    {"nested, parent's is the prefix",
        MIXED("a") "--a\n" MIXED("ab") "--ab\n\none\n--ab\n\nmore\n--ab--\n--a\n\ntwo\n--a--\n",
        {{0, M, 2, MIXED("a"), "--a\n" MIXED("ab") "--ab\n\none\n--ab\n\nmore\n--ab--\n--a\n\ntwo\n--a--\n"},
            {1, M, 2, MIXED("ab"), "--ab\n\none\n--ab\n\nmore\n--ab--"}, {2, S, 0, "\n", "one"},
            {2, S, 0, "\n", "more"}, {1, S, 0, "\n", "two"}}},
    {"nested, the same boundary twice",
        MIXED("a") "--a\n" MIXED("a") "--a\n\none\n--a--\n--a\n\ntwo\n--a--\n",
        {{0, M, 2, MIXED("a"), "--a\n" MIXED("a") "--a\n\none\n--a--\n--a\n\ntwo\n--a--\n"},
            {1, M, 1, MIXED("a"), "--a\n\none\n--a--"}, {2, S, 0, "\n", "one"}, {1, S, 0, "\n", "two"}}},
    {"inner final boundary missing", MIXED("a") "--a\n" MIXED("b") "--b\n\none\n--a\n\ntwo\n--a--\n",
        {{0, M, 2, MIXED("a"), "--a\n" MIXED("b") "--b\n\none\n--a\n\ntwo\n--a--\n"},
            {1, M, 1, MIXED("b"), "--b\n\none"}, {2, S, 0, "\n", "one"}, {1, S, 0, "\n", "two"}}},
    {"outer boundary right behind inner", MIXED("a") "--a\n" MIXED("b") "--b\n--a--\n",
        {{0, M, 1, MIXED("a"), "--a\n" MIXED("b") "--b\n--a--\n"}, {1, M, 1, MIXED("b"), "--b"},
            {2, S, 0, "", ""}}},
    {"outer boundary in inner header", MIXED("a") "--a\n" MIXED("b") "--b\nA: b\n--a--\n",
        {{0, M, 1, MIXED("a"), "--a\n" MIXED("b") "--b\nA: b\n--a--\n"}, {1, M, 1, MIXED("b"), "--b\nA: b"},
            {2, S, 0, "A: b", ""}}},
    {"message in message", "Content-Type: message/RFC822\n\nSubject: in\n\nhi\n",
        {{0, R, 1, "Content-Type: message/RFC822\n\n", "Subject: in\n\nhi\n"},
            {1, S, 0, "Subject: in\n\n", "hi\n"}}},
    {"message/global, empty", "Content-Type: message/global\n\n",
        {{0, R, 1, "Content-Type: message/global\n\n", ""}, {1, S, 0, "", ""}}},
    {"message cut in the header", "Content-Type: message/rfc822",
        {{0, R, 1, "Content-Type: message/rfc822", ""}, {1, S, 0, "", ""}}},
    {"message in multipart",
        MIXED("a") "--a\n" RFC822 "Subject: in\n" MIXED("b") "--b\n\none\n--b--\nend\n--a\n\ntwo\n--a--\n",
        {{0, M, 2, MIXED("a"),
             "--a\n" RFC822 "Subject: in\n" MIXED("b") "--b\n\none\n--b--\nend\n--a\n\ntwo\n--a--\n"},
            {1, R, 1, RFC822, "Subject: in\n" MIXED("b") "--b\n\none\n--b--\nend"},
            {2, M, 1, "Subject: in\n" MIXED("b"), "--b\n\none\n--b--\nend"}, {3, S, 0, "\n", "one"},
            {1, S, 0, "\n", "two"}}},
    {"message cut by boundary", MIXED("a") "--a\n" RFC822 "--a\n" RFC822 "A: b\n--a--\n",
        {{0, M, 2, MIXED("a"), "--a\n" RFC822 "--a\n" RFC822 "A: b\n--a--\n"}, {1, R, 1, RFC822, ""},
            {2, S, 0, "", ""}, {1, R, 1, RFC822, "A: b"}, {2, S, 0, "A: b", ""}}},
    {"message that is base64",
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQTogYgo=\n",
        {{0, S | OPAQUE, 0, "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n",
            "QTogYgo=\n"}}},
    {"digest", DIGEST("d") "--d\n\nSubject: 1\n\none\n--d\nContent-Type: text/plain\n\ntwo\n--d--\n",
        {{0, M, 2, DIGEST("d"), "--d\n\nSubject: 1\n\none\n--d\nContent-Type: text/plain\n\ntwo\n--d--\n"},
            {1, R | IN_DIGEST, 1, "\n", "Subject: 1\n\none"}, {2, S, 0, "Subject: 1\n\n", "one"},
            {1, S | IN_DIGEST, 0, "Content-Type: text/plain\n\n", "two"}}},
};

static struct slice to_crlf(const char *z)
{
    char *p = malloc(strlen(z) * 2 + 1);
    size_t n = 0;

    assert_non_null(p);
    for (; *z; z++) {
        if (*z == '\n')
            p[n++] = '\r';
        p[n++] = *z;
    }
    return slice_of(p, n);
}

static void expect_slice(
    const char *what, size_t row, struct slice text, uint64_t at, uint64_t n, struct slice want)
{
    struct slice got;

    assert_true(at <= text.n && n <= text.n - at);
    got = slice_of(text.p + at, n);
    if (!slice_eq(got, want))
        fail_msg("%s, part %zu: got \"%.*s\", want \"%.*s\"", what, row, SLICE_FMT(got), SLICE_FMT(want));
}

static uint32_t count_lf(const char *z)
{
    uint32_t n = 0;

    for (; *z; z++)
        n += *z == '\n';
    return n;
}

/* What must be true of every tree; the fuzz target has the like. */
static void check_shape(const struct mime_tree *t, struct slice text)
{
    assert_int_equal(t->parts[0].parent, 0);
    assert_int_equal(t->parts[0].header, 0);
    assert_int_equal(t->parts[0].body + t->parts[0].body_len, text.n);
    for (uint32_t i = 0; i < t->count; i++) {
        const struct mime_part *p = &t->parts[i], *up = &t->parts[p->parent];
        uint32_t children = 0, k = p->first_child;

        assert_true(p->header + p->header_len == p->body);
        assert_true(i == 0 || (p->parent < i && p->depth == up->depth + 1));
        assert_true(i == 0 || (p->header >= up->body && p->body + p->body_len <= up->body + up->body_len));
        for (; k; k = t->parts[k].next, children++)
            assert_true(k > i && k < t->count && t->parts[k].parent == i);
        assert_int_equal(children, p->children);
        assert_true(p->kind == MIME_SINGLE ? children == 0 : children > 0);
    }
}

static void run_sample(const struct sample *s, bool crlf)
{
    struct slice text = crlf ? to_crlf(s->text) : slice_of(strdup(s->text), strlen(s->text));
    struct arena arena;
    struct mime_tree t;
    size_t n = 0;

    arena_init(&arena, 1 << 20);
    assert_true(mime_parse(text, &arena, &t));
    check_shape(&t, text);
    for (; n < ROWS && s->rows[n].header; n++) {
        const struct row *r = &s->rows[n];
        const struct mime_part *p = &t.parts[n];
        uint8_t kind;
        struct slice header = crlf ? to_crlf(r->header) : slice_str(r->header),
                     header_crlf = to_crlf(r->header);
        struct slice body = crlf ? to_crlf(r->body) : slice_str(r->body), body_crlf = to_crlf(r->body);

        if (n >= t.count)
            fail_msg("%s: %u parts only", s->name, t.count);
        expect_slice(s->name, n, text, p->header, p->header_len, header);
        expect_slice(s->name, n, text, p->body, p->body_len, body);
        kind = (uint8_t)(p->kind | (p->is_opaque ? OPAQUE : 0) | (p->in_digest ? IN_DIGEST : 0));
        if (p->depth != r->depth || kind != r->kind || p->children != r->children)
            fail_msg("%s, part %zu: depth %u kind %#x children %u", s->name, n, p->depth, kind, p->children);
        assert_int_equal(p->header_crlf, header_crlf.n);
        assert_int_equal(p->body_crlf, body_crlf.n);
        assert_int_equal(p->body_lines, count_lf(r->body));
        free((void *)header_crlf.p);
        free((void *)body_crlf.p);
        if (crlf) {
            free((void *)header.p);
            free((void *)body.p);
        }
    }
    if (t.count != n)
        fail_msg("%s: %u parts, want %zu", s->name, t.count, n);
    assert_int_equal(t.has_bare_lf, !crlf && strchr(s->text, '\n') != NULL);
    assert_false(t.truncated);
    arena_free(&arena);
    free((void *)text.p);
}

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        run_sample(&samples[i], false);
        run_sample(&samples[i], true);
    }
}

/* RFC 3501 6.4.5: the example's structure, with its numbers */
static const char example[] =
    MIXED("r") "--r\n\nplain 1\n"
               "--r\nContent-Type: application/octet-stream\n\noctets 2\n"
               "--r\n" RFC822 "Subject: three\n" MIXED(
                   "t") "--t\n\nplain 3.1\n--t\nContent-Type: application/octet-stream\n\noctets 3.2\n--t--\n"
                        "--r\n" MIXED("f") "--f\nContent-Type: image/gif\n\ngif 4.1\n"
                                           "--f\n" RFC822 "Subject: fourtwo\n" MIXED(
                                               "g") "--g\n\nplain 4.2.1\n"
                                                    "--g\nContent-Type: multipart/alternative; boundary=h\n\n"
                                                    "--h\n\nplain 4.2.2.1\n--h\nContent-Type: "
                                                    "text/richtext\n\nrich 4.2.2.2\n--h--\n"
                                                    "--g--\n--f--\n--r--\n";

static const struct {
    const char *text;
    uint32_t path[4];
    size_t n;
    ssize_t part;
    const char *body; /* how the body begins */
} found[] = {
    {example, {0}, 0, 0, "--r"},
    {example, {1}, 1, 1, "plain 1"},
    {example, {2}, 1, 2, "octets 2"},
    {example, {3}, 1, 3, "Subject: three"},
    {example, {3, 1}, 2, 5, "plain 3.1"},
    {example, {3, 2}, 2, 6, "octets 3.2"},
    {example, {3, 3}, 2, -1, NULL},
    {example, {4}, 1, 7, "--f"},
    {example, {4, 1}, 2, 8, "gif 4.1"},
    {example, {4, 1, 1}, 3, -1, NULL},
    {example, {4, 2}, 2, 9, "Subject: fourtwo"},
    {example, {4, 2, 1}, 3, 11, "plain 4.2.1"},
    {example, {4, 2, 2}, 3, 12, "--h"},
    {example, {4, 2, 2, 1}, 4, 13, "plain 4.2.2.1"},
    {example, {4, 2, 2, 2}, 4, 14, "rich 4.2.2.2"},
    {example, {5}, 1, -1, NULL},
    {example, {0}, 1, -1, NULL},
    {"A: b\n\nbody", {0}, 0, 0, "body"},
    {"A: b\n\nbody", {1}, 1, 0, "body"},
    {"A: b\n\nbody", {2}, 1, -1, NULL},
    {"A: b\n\nbody", {1, 1}, 2, -1, NULL},
    {RFC822 "A: b\n\nin", {1}, 1, 0, "A: b"},
    {RFC822 "A: b\n\nin", {1, 1}, 2, 1, "in"},
    {RFC822 "A: b\n\nin", {1, 1, 1}, 3, -1, NULL},
    {RFC822 "A: b\n\nin", {2}, 1, -1, NULL},
    {RFC822 RFC822 "A: b\n\nin", {1, 1}, 2, 1, "A: b"},
    {RFC822 RFC822 "A: b\n\nin", {1, 1, 1}, 3, 2, "in"},
};

static void test_find(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        struct slice text = slice_str(found[i].text);
        struct arena arena;
        struct mime_tree t;

        arena_init(&arena, 1 << 20);
        assert_true(mime_parse(text, &arena, &t));
        check_shape(&t, text);
        assert_int_equal(mime_find(&t, found[i].path, found[i].n), found[i].part);
        if (found[i].body)
            assert_true(
                slice_starts(slice_from(text, t.parts[found[i].part].body), slice_str(found[i].body)));
        arena_free(&arena);
    }
}

/* The numbers themselves, counted by hand. */
static void test_offsets(void **state)
{
    static const char z[] = "Content-Type: multipart/mixed; boundary=x\r\n\r\n" /* 0..45 */
                            "pre\r\n"                                           /* 45 */
                            "--x\r\n"                                           /* 50 */
                            "A: b\r\n\r\n"                                      /* 55..63 */
                            "one\r\ntwo\r\n" /* 63..71, its last CRLF the delimiter's */
                            "--x\r\n"        /* 73 */
                            "\n"             /* 78, a bare LF */
                            "\x80\n"         /* 79 */
                            "--x--\r\n";     /* 81..88 */
    struct slice text = slice_of(z, sizeof z - 1);
    struct arena arena;
    struct mime_tree t;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_true(mime_parse(text, &arena, &t));
    assert_int_equal(t.count, 3);
    assert_true(t.has_bare_lf && t.has_8bit && !t.has_nul);
    assert_int_equal(t.parts[0].body, 45);
    assert_int_equal(t.parts[0].body_len, 43);
    assert_int_equal(t.parts[0].body_crlf, 45);
    assert_int_equal(t.parts[0].body_lines, 10);
    assert_int_equal(t.parts[1].header, 55);
    assert_int_equal(t.parts[1].header_len, 8);
    assert_int_equal(t.parts[1].body, 63);
    assert_int_equal(t.parts[1].body_len, 8);
    assert_int_equal(t.parts[1].body_lines, 1);
    assert_int_equal(t.parts[1].next, 2);
    assert_int_equal(t.parts[2].header, 78);
    assert_int_equal(t.parts[2].header_len, 1);
    assert_int_equal(t.parts[2].header_crlf, 2);
    assert_int_equal(t.parts[2].body, 79);
    assert_int_equal(t.parts[2].body_len, 1);
    assert_int_equal(t.parts[2].body_crlf, 1);
    assert_int_equal(t.parts[2].body_lines, 0);
    arena_free(&arena);
}

static void test_flags(void **state)
{
    static const struct {
        struct slice text;
        bool nul, bare_lf, eight;
    } rows[] = {
        {{"A: b\r\n\r\nx", 9}, false, false, false},
        {{"A: b\r\n\r\nx\r", 10}, false, false, false},
        {{"A: b\r\n\r\nx\n", 10}, false, true, false},
        {{"\n", 1}, false, true, false},
        {{"A: b\r\n\r\n\0\r\n", 11}, true, false, false},
        {{"A: \xff\r\n\r\n", 8}, false, false, true},
    };
    char long_text[200];
    struct arena arena;
    struct mime_tree t;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(mime_parse(rows[i].text, &arena, &t));
        assert_int_equal(t.has_nul, rows[i].nul);
        assert_int_equal(t.has_bare_lf, rows[i].bare_lf);
        assert_int_equal(t.has_8bit, rows[i].eight);
    }
    for (size_t at = 0; at < sizeof long_text; at++) {
        memset(long_text, 'a', sizeof long_text);
        long_text[at] = (char)0x80;
        assert_true(mime_parse(slice_of(long_text, sizeof long_text), &arena, &t));
        assert_true(t.has_8bit);
    }
    arena_free(&arena);
}

static void test_types(void **state)
{
    static const struct {
        const char *text;
        uint32_t part;
        const char *type, *subtype, *charset; /* charset NULL: no parameter */
        enum mime_encoding encoding;
        const char *name;
    } rows[] = {
        {"A: b\n\n", 0, "text", "plain", "us-ascii", MIME_7BIT, "7BIT"},
        {"Content-Type: TEXT/Html; charset=UTF-8\nContent-Transfer-Encoding: Quoted-Printable (x)\n\n", 0,
            "text", "html", "UTF-8", MIME_QP, "QUOTED-PRINTABLE"},
        {"Content-Type: text/plain\nContent-Transfer-Encoding:  base64 \n\n", 0, "text", "plain", NULL,
            MIME_BASE64, "BASE64"},
        {"Content-Type: text\nContent-Transfer-Encoding: 8bit\n\n", 0, "text", "plain", "us-ascii", MIME_8BIT,
            "8BIT"},
        {"Content-Type:\nContent-Transfer-Encoding: binary;\n\n", 0, "text", "plain", "us-ascii", MIME_BINARY,
            "BINARY"},
        {"Content-Transfer-Encoding: x-uuencode\n\n", 0, "text", "plain", "us-ascii", MIME_ENCODING_UNKNOWN,
            "X-UUENCODE"},
        {"Content-Transfer-Encoding:\n\n", 0, "text", "plain", "us-ascii", MIME_7BIT, "7BIT"},
        {"Content-Type: multipart/mixed\n\nx", 0, "text", "plain", "us-ascii", MIME_7BIT, "7BIT"},
        {MIXED("x") "--x\n\none\n", 0, "multipart", "mixed", NULL, MIME_7BIT, "7BIT"},
        {MIXED("x") "--x\n\none\n", 1, "text", "plain", "us-ascii", MIME_7BIT, "7BIT"},
        {DIGEST("x") "--x\n\none\n", 1, "message", "rfc822", NULL, MIME_7BIT, "7BIT"},
        {DIGEST("x") "--x\nContent-Type: image/png\n\none\n", 1, "image", "png", NULL, MIME_7BIT, "7BIT"},
        {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nx", 0, "application",
            "octet-stream", NULL, MIME_BASE64, "BASE64"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice text = slice_str(rows[i].text), name, charset;
        struct header_content c;
        struct arena arena;
        struct mime_tree t;

        arena_init(&arena, 1 << 20);
        assert_true(mime_parse(text, &arena, &t));
        mime_content_type(&t, rows[i].part, text, &arena, &c);
        charset = header_param_get(&c, SLICE("charset"));
        if (!slice_eq(c.type, slice_str(rows[i].type)) || !slice_eq(c.subtype, slice_str(rows[i].subtype)))
            fail_msg("row %zu: %.*s/%.*s", i, SLICE_FMT(c.type), SLICE_FMT(c.subtype));
        assert_int_equal(charset.p != NULL, rows[i].charset != NULL);
        assert_true(slice_eq(charset, slice_str(rows[i].charset)));
        assert_int_equal(mime_part_encoding(&t, rows[i].part, text, &arena, &name), rows[i].encoding);
        assert_true(slice_eq(name, slice_str(rows[i].name)));
        arena_free(&arena);
    }
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* security.md M02: more than a second of CPU is wrong even under sanitizers */
static void parse_within_second(struct slice text, struct arena *arena, struct mime_tree *t)
{
    double start = seconds();

    assert_true(mime_parse(text, arena, t));
    assert_true(seconds() - start < 1.0);
    check_shape(t, text);
}

static void test_million_parts(void **state)
{
    struct buf b = BUF_INIT(BUF_OWN);
    struct arena arena;
    struct mime_tree t;

    (void)state;
    buf_add_str(&b, MIXED("x"));
    for (size_t i = 0; i < 1000000; i++)
        buf_add_str(&b, "--x\n");
    buf_add_str(&b, "--x--\n");
    arena_init(&arena, 16 << 20);
    parse_within_second(buf_slice(&b), &arena, &t);
    assert_int_equal(t.count, MIME_PARTS_MAX);
    assert_true(t.truncated);
    assert_true(t.parts[MIME_PARTS_MAX - 1].is_opaque);
    assert_false(t.parts[MIME_PARTS_MAX - 2].is_opaque);
    assert_int_equal(t.parts[0].children, MIME_PARTS_MAX - 1);
    assert_int_equal(t.parts[MIME_PARTS_MAX - 1].body + t.parts[MIME_PARTS_MAX - 1].body_len, b.n);
    arena_free(&arena);
    buf_free(&b);
}

static void check_depth(const struct mime_tree *t)
{
    uint32_t last = t->count - 1;

    assert_true(t->truncated);
    assert_int_equal(t->count, MIME_DEPTH_MAX + 1);
    assert_int_equal(t->parts[last].depth, MIME_DEPTH_MAX);
    assert_true(t->parts[last].is_opaque);
    for (uint32_t i = 0; i < last; i++)
        assert_false(t->parts[i].is_opaque);
}

static void test_depth(void **state)
{
    struct buf b = BUF_INIT(BUF_OWN);
    struct arena arena;
    struct mime_tree t;

    (void)state;
    arena_init(&arena, 16 << 20);
    for (int i = 0; i < 10000; i++)
        buf_printf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", 100000 + i, 100000 + i);
    for (int i = 9999; i >= 0; i--)
        buf_printf(&b, "\n--b%d--\n", 100000 + i);
    parse_within_second(buf_slice(&b), &arena, &t);
    check_depth(&t);

    buf_clear(&b);
    for (int i = 0; i < 10000; i++)
        buf_add_str(&b, RFC822);
    parse_within_second(buf_slice(&b), &arena, &t);
    check_depth(&t);

    /* all hundred boundaries are long and begin alike: each line meets all of them */
    buf_clear(&b);
    for (int i = 0; i < 99; i++)
        buf_printf(&b, "Content-Type: multipart/mixed; boundary=%0200d\n\n--%0200d\n", i, i);
    buf_add_str(&b, "\n");
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, "--%0200d\n", 500);
    parse_within_second(buf_slice(&b), &arena, &t);
    assert_int_equal(t.count, 100);
    arena_free(&arena);
    buf_free(&b);
}

/* The last part's header is cut by a delimiter, in a deep place: it takes the rest, and all that is open with
 * it. */
static void test_last_part(void **state)
{
    struct buf b = BUF_INIT(BUF_OWN);
    struct arena arena;
    struct mime_tree t;
    const struct mime_part *last;

    (void)state;
    buf_add_str(&b, MIXED("x") "--x\n" MIXED("y"));
    for (int i = 0; i < MIME_PARTS_MAX - 2; i++)
        buf_add_str(&b, "--y\nA: b\n");
    buf_add_str(&b, "--x\n\nmore\n--x--\n");
    arena_init(&arena, 16 << 20);
    parse_within_second(buf_slice(&b), &arena, &t);
    assert_int_equal(t.count, MIME_PARTS_MAX);
    last = &t.parts[MIME_PARTS_MAX - 1];
    assert_true(last->is_opaque);
    assert_int_equal(last->depth, 2);
    assert_true(slice_eq(slice_from(buf_slice(&b), last->body), SLICE("--x\n\nmore\n--x--\n")));
    assert_int_equal(t.parts[1].body + t.parts[1].body_len, b.n);
    arena_free(&arena);
    buf_free(&b);
}

static void test_small_arena(void **state)
{
    struct arena arena;
    struct mime_tree t;

    (void)state;
    arena_init(&arena, sizeof(struct mime_part));
    assert_true(mime_parse(SLICE("A: b\n\nx"), &arena, &t));
    assert_false(mime_parse(SLICE("A: b\n\nx"), &arena, &t));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_million_parts),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_last_part),
        cmocka_unit_test(test_small_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
