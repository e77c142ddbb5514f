/* The reader: the same commands however the octets are cut; limits I01 and I03. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "imapd/reader.h"

/*
 * Feeds in pieces of `cut` octets and writes down what happens: <text> a command, +n a synchronising literal
 * that is taken, =n another, !(text) refused, # bye, (..) octets for the sink. sink: literals above 5 octets
 * go there. refuse: literals of 9 octets are refused.
 */
static void play(const struct imap_reader_limits *limits, struct slice input, size_t cut, struct buf *log)
{
    struct imap_reader r;

    imap_reader_init(&r, limits);
    while (input.n) {
        struct slice in = slice_sub(input, 0, cut), piece;
        enum imap_read what;
        struct buf text;

        input = slice_from(input, in.n);
        while ((what = imap_reader_feed(&r, &in, &piece)) != IMAP_READ_MORE) {
            switch (what) {
            case IMAP_READ_COMMAND:
                imap_reader_text(&r, &text);
                buf_add_char(log, '<');
                buf_add(log, buf_slice(&text));
                buf_add_char(log, '>');
                buf_free(&text);
                break;
            case IMAP_READ_LITERAL:
                buf_printf(log, "%c%llu", r.literal_waits ? '+' : '=', (unsigned long long)r.literal);
                if (r.literal == 9)
                    imap_reader_refuse(&r, "nine", false);
                else if (r.literal == 7)
                    imap_reader_sink(&r);
                else
                    imap_reader_take(&r);
                break;
            case IMAP_READ_PIECE:
                buf_add_char(log, '(');
                buf_add(log, piece);
                buf_add_char(log, ')');
                break;
            case IMAP_READ_REFUSED:
                imap_reader_text(&r, &text);
                buf_add_str(log, "!(");
                buf_add(log, slice_sub(buf_slice(&text), 0, 8));
                buf_add_char(log, ')');
                buf_free(&text);
                break;
            case IMAP_READ_BYE:
                buf_add_char(log, '#');
                imap_reader_fini(&r);
                return;
            default:
                fail();
            }
        }
    }
    imap_reader_fini(&r);
}

static const struct imap_reader_limits small = {
    .line = 30, .literal = 20, .literals = 24, .count = 3, .swallow = 100, .strict = false};
static const struct imap_reader_limits strict = {
    .line = 30, .literal = 20, .literals = 24, .count = 3, .swallow = 0, .strict = true};

static const struct {
    const struct imap_reader_limits *limits;
    const char *in, *want;
} rows[] = {
    {&small, "a NOOP\r\nb NOOP\nc NOOP\r\n", "<a NOOP><b NOOP><c NOOP>"},
    {&small, "\r\n\n", "<><>"},
    {&small, "a LOGIN {2}\r\nme {3}\r\nyou\r\nb X\r\n", "+2+3<a LOGIN {2}\r\nme {3}\r\nyou><b X>"},
    {&small, "a LOGIN {2+}\r\nme {3+}\r\n\r\n{\r\nb X\r\n", "=2=3<a LOGIN {2+}\r\nme {3+}\r\n\r\n{><b X>"},
    {&small, "a {0+}\r\n\r\n", "=0<a {0+}\r\n>"},
    /* a literal's octets announce nothing, nor lend a CR to the line */
    {&small, "a {4+}\r\n{3+}\r\nb\r\n", "=4<a {4+}\r\n{3+}><b>"},
    {&small, "a {3+}\r\nx{3}\r\nb\r\n", "=3<a {3+}\r\nx{3}><b>"},
    {&small, "a {2+}\r\nx\r\nb\r\n", "=2<a {2+}\r\nx\r><b>"},
    {&small, "a {x}\r\nb {}\r\nc {+}\r\nd 3}\r\n", "<a {x}><b {}><c {+}><d 3}>"},
    /* the sink gets it, the line goes on */
    {&small, "a {7+}\r\n1234567)\r\nb\r\n", "=7(1234567)<a {7+}\r\n)><b>"},
    {&small, "a ~{7+}\r\n1234567\r\n", "=7(1234567)<a ~{7+}\r\n>"},
    /* refused: synchronising ends the command, else all of it is swallowed, with what it announces */
    {&small, "a {9}\r\nb\r\n", "+9!(a {9})<b>"},
    {&small, "a {9+}\r\n123456789 x\r\nb\r\n", "=9!(a {9+})<b>"},
    {&small, "a {9+}\r\n123456789 {3+}\r\n\r\n\r\r\nb\r\n", "=9!(a {9+})<b>"},
    {&small, "a {9+}\r\n123456789 {3}\r\nb\r\n", "=9!(a {9+})<b>"},
    {&small, "a {9+}\r\n123456789 {101+}\r\nb\r\n", "=9#"},
    /* over the limits: one literal, their sum, their number */
    {&small, "a {21}\r\nb\r\n", "+21!(a {21})<b>"},
    {&small, "a {18446744073709551617}\r\nb\r\n", "+18446744073709551615!(a {18446)<b>"},
    {&small, "a {18446744073709551617+}\r\nb\r\n", "=18446744073709551615#"},
    {&small, "a {10+}\r\n0123456789{15}\r\nb\r\n", "=10+15!(a {10+}\r)<b>"},
    {&small, "a {1+}\r\n0{1+}\r\n0{1+}\r\n0{1}\r\nb\r\n", "=1=1=1+1!(a {1+}\r\n)<b>"},
    /* the line: 30 octets with the CR are one, 31 are too many; what follows is read where it begins */
    {&small, "a 345678901234567890123456789\r\nb\r\n", "<a 345678901234567890123456789><b>"},
    {&small, "a 34567890123456789012345678901xyzxyz\r\nb\r\n", NULL},
    {&small, "a 34567890123456789012345678901 {4+}\r\nz\r\nz\r\nb\r\n", NULL},
    {&strict, "a {21}\r\n", "+21#"},
    {&strict, "a {21+}\r\n", "=21#"},
    {&strict, "a {3}\r\nabc\r\n", "+3<a {3}\r\nabc>"},
    {&strict, "a 34567890123456789012345678901xyzxyz", "#"},
};

/* Pieces of the sink are joined: "(1)(2)" is "(12)". */
static void join(struct buf *log)
{
    struct buf out = BUF_INIT(10000);

    for (size_t i = 0; i < log->n; i++) {
        if (log->p[i] == ')' && i + 1 < log->n && log->p[i + 1] == '(')
            i++;
        else
            buf_add_char(&out, log->p[i]);
    }
    buf_free(log);
    *log = out;
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].in);

        for (size_t cut = 1; cut <= n; cut++) {
            struct buf log = BUF_INIT(10000);

            play(rows[i].limits, slice_of(rows[i].in, n), cut, &log);
            join(&log);
            if (rows[i].want && !slice_eq(buf_slice(&log), slice_str(rows[i].want)))
                fail_msg("%s cut at %zu:\n%.*s\nwant\n%s", rows[i].in, cut, SLICE_FMT(buf_slice(&log)),
                    rows[i].want);
            /* too long a line: what is kept of it depends on the cut, what follows does not */
            if (!rows[i].want &&
                !(slice_starts(buf_slice(&log), SLICE("!(")) && slice_ends(buf_slice(&log), SLICE(")<b>"))))
                fail_msg("%s cut at %zu:\n%.*s", rows[i].in, cut, SLICE_FMT(buf_slice(&log)));
            buf_free(&log);
        }
    }
}

/* I01: no memory by an announced size; I03: none for a line without end. */
static void test_memory(void **state)
{
    struct imap_reader r;
    struct slice in, piece;
    char junk[4096];

    (void)state;
    memset(junk, 'x', sizeof junk);
    imap_reader_init(&r, &imap_limits_worker);
    in = SLICE("a SEARCH {131072}\r\n");
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_LITERAL);
    assert_true(imap_reader_take(&r));
    assert_true(r.text.size < 1024);
    imap_reader_fini(&r);

    imap_reader_init(&r, &imap_limits_worker);
    in = SLICE("a SEARCH {131073}\r\n");
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_LITERAL);
    assert_false(imap_reader_take(&r));
    assert_true(r.too_big);
    imap_reader_fini(&r);

    imap_reader_init(&r, &imap_limits_worker);
    for (int i = 0; i < 1000; i++) {
        in = slice_of(junk, sizeof junk);
        assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_MORE);
    }
    assert_true(r.text.size <= (size_t)128 * 1024);
    in = SLICE("\r\n");
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_REFUSED);
    imap_reader_fini(&r);

    imap_reader_init(&r, &imap_limits_front);
    in = SLICE("a LOGIN {1024}\r\n");
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_LITERAL);
    assert_true(imap_reader_take(&r));
    imap_reader_fini(&r);
    imap_reader_init(&r, &imap_limits_front);
    in = SLICE("a LOGIN {1025}\r\n");
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_LITERAL);
    assert_false(imap_reader_take(&r));
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_BYE);
    imap_reader_fini(&r);
}

/* A sink that fails in the middle: the rest is swallowed, the next command is read. */
static void test_drop(void **state)
{
    struct imap_reader r;
    struct slice in = SLICE("a APPEND x {10}\r\n"), piece;
    struct buf text;

    (void)state;
    imap_reader_init(&r, &imap_limits_worker);
    assert_true(imap_reader_is_empty(&r));
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_LITERAL);
    imap_reader_sink(&r);
    in = SLICE("0123");
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_PIECE);
    imap_reader_drop(&r, "full");
    in = SLICE("456789\r\nb NOOP\r\n");
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_REFUSED);
    assert_string_equal(r.why, "full");
    imap_reader_text(&r, &text);
    assert_true(slice_starts(buf_slice(&text), SLICE("a APPEND")));
    buf_free(&text);
    assert_int_equal(imap_reader_feed(&r, &in, &piece), IMAP_READ_COMMAND);
    assert_true(slice_eq(buf_slice(&r.text), SLICE("b NOOP")));
    imap_reader_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
