/* The machine for line ends, dots and chunks: security.md S01, S02, S20. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "mail/smtptext.h"

struct sink {
    struct buf kept;
    size_t calls;
    bool fails;
};

static bool keep(void *ctx, struct slice run)
{
    struct sink *s = ctx;

    assert_true(run.n > 0);
    s->calls++;
    if (s->fails)
        return false;
    buf_add(&s->kept, run);
    return true;
}

/* What one input is to give. flags: C bare CR, L bare LF, N NUL, 8 eight bit, B too big */
struct row {
    struct slice in;
    size_t used;
    struct slice kept;
    const char *flags;
    unsigned received;
    bool done;
};

#define ROW(in_, used_, kept_, flags_, received_, done_)                                                     \
    {                                                                                                        \
        {in_, sizeof(in_) - 1}, used_, {kept_, sizeof(kept_) - 1}, flags_, received_, done_                  \
    }

static const struct row data_rows[] = {
    ROW(".\r\n", 3, "", "", 0, true),
    ROW(".\r\nMAIL", 3, "", "", 0, true),
    ROW("a: b\r\n\r\ntext\r\n.\r\nMAIL FROM:<x@y>\r\n", 17, "a: b\r\n\r\ntext\r\n", "", 0, true),
    ROW("\r\n..\r\n...x\r\n.y\r\n.\r\n", 19, "\r\n.\r\n..x\r\ny\r\n", "", 0, true),
    ROW("a\r\n.", 4, "a\r\n", "", 0, false),
    ROW("a\r\n.\r", 5, "a\r\n", "", 0, false),
    ROW("a\r", 2, "a\r", "", 0, false),
    ROW("", 0, "", "", 0, false),
    /* smuggling: what other servers took for the end of data */
    ROW("a\n.\nX\r\n.\r\nQ", 10, "a\n.\nX\r\n", "L", 0, true),
    ROW("a\n.\r\nX\r\n.\r\nQ", 11, "a\n.\r\nX\r\n", "L", 0, true),
    ROW("a\r\n.\nX\r\n.\r\nQ", 11, "a\r\n\nX\r\n", "L", 0, true),
    ROW("a\r.\rX\r\n.\r\nQ", 10, "a\r.\rX\r\n", "C", 0, true),
    ROW("a\r\n.\rX\r\n.\r\nQ", 11, "a\r\n\rX\r\n", "C", 0, true),
    ROW("a\r\n\0.\r\nX\r\n.\r\nQ", 13, "a\r\n\0.\r\nX\r\n", "N", 0, true),
    ROW("a\r\r\n.\r\nQ", 7, "a\r\r\n", "C", 0, true),
    ROW("a\r.\r\nX\r\n.\r\nQ", 11, "a\r.\r\nX\r\n", "C", 0, true),
    ROW("a\n\r\n.\r\nQ", 7, "a\n\r\n", "L", 0, true),
    ROW("a\r\n.\r\r\nX\r\n.\r\nQ", 13, "a\r\n\r\r\nX\r\n", "C", 0, true),
    ROW("a\r\n.\r.\r\n.\r\nQ", 11, "a\r\n\r.\r\n", "C", 0, true),
    ROW("a\r\n .\r\n.\r\nQ", 10, "a\r\n .\r\n", "", 0, true),
    ROW("\n.\r\n", 4, "\n.\r\n", "L", 0, false),
    ROW("\r.\r\n", 4, "\r.\r\n", "C", 0, false),
    /* octets behind the end do not count */
    ROW("a\r\n.\r\n\0\n\r\xff", 6, "a\r\n", "", 0, true),
    ROW("\xc3\xa4\r\n.\r\n", 7, "\xc3\xa4\r\n", "8", 0, true),
    ROW("0123456789012345678901234567890123456789\xff\r\n.\r\n", 46,
        "0123456789012345678901234567890123456789\xff\r\n", "8", 0, true),
    /* hops */
    ROW("Received: a\r\nreceived : b\r\nRECEIVED\t:c\r\n d\r\nX-Received: e\r\nReceivedx: f\r\n Received: "
        "g\r\n"
        "Receive: h\r\n\r\nReceived: body\r\n.\r\n",
        120,
        "Received: a\r\nreceived : b\r\nRECEIVED\t:c\r\n d\r\nX-Received: e\r\nReceivedx: f\r\n Received: "
        "g\r\n"
        "Receive: h\r\n\r\nReceived: body\r\n",
        "", 3, true),
    ROW("Received: a\n\nReceived: b\r\n.\r\n", 29, "Received: a\n\nReceived: b\r\n", "L", 1, true),
    ROW("..Received: a\r\n.Received: b\r\n.\r\n", 32, ".Received: a\r\nReceived: b\r\n", "", 1, true),
    ROW("Received\r\n: a\r\nReceived", 23, "Received\r\n: a\r\nReceived", "", 0, false),
};

static void check_flags(const struct smtptext *t, const char *flags)
{
    assert_int_equal(t->bare_cr, strchr(flags, 'C') != NULL);
    assert_int_equal(t->bare_lf, strchr(flags, 'L') != NULL);
    assert_int_equal(t->nul, strchr(flags, 'N') != NULL);
    assert_int_equal(t->eightbit, strchr(flags, '8') != NULL);
    assert_int_equal(t->too_big, strchr(flags, 'B') != NULL);
}

/* Feeds the input cut at a and b; returns the octets used. Each piece lies in memory of its own size. */
static size_t feed(struct smtptext *t, struct slice in, size_t a, size_t b, struct sink *s)
{
    size_t cuts[] = {0, a, b, in.n}, used = 0;

    for (int i = 0; i < 3 && !t->done; i++) {
        size_t n = cuts[i + 1] - cuts[i], took;
        char *piece = malloc(n ? n : 1);

        assert_non_null(piece);
        memcpy(piece, in.p + cuts[i], n);
        took = smtptext_data(t, slice_of(piece, n), keep, s);
        assert_true(took == n || (t->done && took < n));
        used += took;
        free(piece);
    }
    return used;
}

static void data_cut_anywhere(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof data_rows / sizeof data_rows[0]; r++) {
        const struct row *row = &data_rows[r];
        uint64_t header_size = 0;

        for (size_t a = 0; a <= row->in.n; a++)
            for (size_t b = a; b <= row->in.n; b++) {
                struct sink s = {.kept = BUF_INIT(1000)};
                struct smtptext t;
                size_t used;

                smtptext_init(&t, 1000);
                used = feed(&t, row->in, a, b, &s);
                if (used != row->used || t.done != row->done || !slice_eq(buf_slice(&s.kept), row->kept))
                    fail_msg("row %zu cut at %zu, %zu: used %zu done %d kept %.*s", r, a, b, used, t.done,
                        SLICE_FMT(buf_slice(&s.kept)));
                check_flags(&t, row->flags);
                assert_int_equal(t.headers, row->received);
                assert_int_equal(t.size, row->kept.n);
                if (a == 0 && b == 0)
                    header_size = t.header_size;
                assert_int_equal(t.header_size, header_size);
                buf_free(&s.kept);
            }
    }
}

static void header_size_counts_the_empty_line(void **state)
{
    static const struct {
        const char *in;
        uint64_t size;
        bool in_header;
    } rows[] = {
        {"a: b\r\n\r\nc\r\n", 8, false},
        {"a: b\n\nc\r\n", 6, false},
        {"\r\nc\r\n", 2, false},
        {"a: b\r\nc: d\r\n", 12, true},
        {"a: b\r\n\rx\r\n\r\n", 12, false},
        {"a\r\r\n\r\nx", 6, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sink s = {.kept = BUF_INIT(1000)};
        struct smtptext t;

        smtptext_init(&t, 1000);
        smtptext_bdat(&t, slice_str(rows[i].in), false, keep, &s);
        assert_int_equal(t.header_size, rows[i].size);
        assert_int_equal(t.in_header, rows[i].in_header);
        buf_free(&s.kept);
    }
}

static const struct row bdat_rows[] = {
    ROW("", 0, "", "", 0, true),
    ROW("a\r\n.\r\nb", 7, "a\r\n.\r\nb", "", 0, true),
    ROW("..\r\n", 4, "..\r\n", "", 0, true),
    ROW("a\r", 2, "a\r", "C", 0, true),
    ROW("a\r\n\r", 4, "a\r\n\r", "C", 0, true),
    ROW("a\n", 2, "a\n", "L", 0, true),
    ROW("a\rb\nc\0\xff", 7, "a\rb\nc\0\xff", "CLN8", 0, true),
    ROW("Received: x\r\nReceived: y\r\n\r\n", 28, "Received: x\r\nReceived: y\r\n\r\n", "", 2, true),
};

static void bdat_cut_anywhere(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof bdat_rows / sizeof bdat_rows[0]; r++) {
        const struct row *row = &bdat_rows[r];

        for (size_t a = 0; a <= row->in.n; a++) {
            struct sink s = {.kept = BUF_INIT(1000)};
            struct smtptext t;

            smtptext_init(&t, 1000);
            smtptext_bdat(&t, slice_sub(row->in, 0, a), false, keep, &s);
            assert_false(t.done);
            smtptext_bdat(&t, slice_from(row->in, a), true, keep, &s);
            assert_true(t.done);
            assert_true(slice_eq(buf_slice(&s.kept), row->kept));
            check_flags(&t, row->flags);
            assert_int_equal(t.headers, row->received);
            buf_free(&s.kept);
        }
    }
}

static void beyond_max_nothing_is_kept(void **state)
{
    static const char in[] = "abc\r\n..def\r\n\n.\r\nx\r\n.\r\nQUIT";
    struct slice text = slice_of(in, sizeof in - 1);

    (void)state;
    for (uint64_t max = 0; max < 25; max++)
        for (size_t a = 0; a < sizeof in; a++) {
            struct sink s = {.kept = BUF_INIT(1000)};
            struct smtptext t;

            smtptext_init(&t, max);
            assert_int_equal(feed(&t, text, a, a, &s), sizeof in - 5);
            assert_true(t.done && t.bare_lf);
            assert_int_equal(t.size, 18);
            assert_int_equal(t.too_big, max < 18);
            assert_true(
                slice_eq(buf_slice(&s.kept), slice_sub(SLICE("abc\r\n.def\r\n\n.\r\nx\r\n"), 0, max)));
            buf_free(&s.kept);
        }
}

static void failed_sink_is_not_called_again(void **state)
{
    struct sink s = {.kept = BUF_INIT(1000), .fails = true};
    struct smtptext t;

    (void)state;
    smtptext_init(&t, 1000);
    assert_int_equal(smtptext_data(&t, SLICE("a\r\n.b\r\n.c\r\n.\r\nQ"), keep, &s), 14);
    assert_true(t.done && t.sink_failed);
    assert_int_equal(s.calls, 1);
}

static void runs_are_long(void **state)
{
    size_t n = 1 << 20;
    char *text = malloc(n);
    struct sink s = {.kept = BUF_INIT(1 << 21)};
    struct smtptext t;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = "line of text, sixteen\r\n"[i % 23];
    smtptext_init(&t, UINT64_MAX);
    assert_int_equal(smtptext_data(&t, slice_of(text, n), keep, &s), n);
    assert_int_equal(s.calls, 1);
    /* only CR: each octet is looked at a bounded number of times */
    memset(text, '\r', n);
    assert_int_equal(smtptext_data(&t, slice_of(text, n), keep, &s), n);
    assert_int_equal(s.calls, 2);
    assert_true(t.bare_cr);
    buf_free(&s.kept);
    free(text);
}

static void stuffs_cut_anywhere(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"a", "a"},
        {".", ".."},
        {".\r\n", "..\r\n"},
        {"a\n.b\n..\n", "a\r\n..b\r\n...\r\n"},
        {"a\r\n.b\r\n", "a\r\n..b\r\n"},
        {"\n\n.", "\r\n\r\n.."},
        {"\r\n\r\n", "\r\n\r\n"},
        {"a.b\n", "a.b\r\n"},
        {"a\r\r\n.\r\n", "a\r\r\n..\r\n"},
        {"a\r.\n", "a\r.\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice in = slice_str(rows[i][0]);

        for (size_t a = 0; a <= in.n; a++)
            for (size_t b = a; b <= in.n; b++) {
                struct buf out = BUF_INIT(100);
                bool at_line_start = true, last_cr = false;

                smtptext_stuff(&out, slice_sub(in, 0, a), &at_line_start, &last_cr);
                smtptext_stuff(&out, slice_sub(in, a, b - a), &at_line_start, &last_cr);
                smtptext_stuff(&out, slice_from(in, b), &at_line_start, &last_cr);
                assert_string_equal(buf_str(&out), rows[i][1]);
                buf_free(&out);
            }
    }
}

/* What is stuffed and ended comes back as it was. */
static void stuffed_text_comes_back(void **state)
{
    static const char alphabet[] = ".\r\na";

    (void)state;
    for (unsigned v = 0; v < 4096 * 16; v++) {
        char text[10];
        struct buf out = BUF_INIT(100);
        struct sink s = {.kept = BUF_INIT(100)};
        bool at_line_start = true, last_cr = false, crlf_only = true;
        struct smtptext t;

        for (int i = 0; i < 8; i++)
            text[i] = alphabet[v >> (2 * i) & 3];
        memcpy(text + 8, "\r\n", 2);
        for (int i = 0; i < 10; i++)
            crlf_only &= (text[i] != '\n' || (i > 0 && text[i - 1] == '\r')) &&
                         (text[i] != '\r' || text[i + 1] == '\n');
        if (!crlf_only)
            continue;
        smtptext_stuff(&out, slice_of(text, 10), &at_line_start, &last_cr);
        buf_add(&out, SLICE(".\r\n"));
        smtptext_init(&t, 100);
        assert_int_equal(smtptext_data(&t, buf_slice(&out), keep, &s), out.n);
        assert_true(t.done && !t.bare_cr && !t.bare_lf);
        assert_true(slice_eq(buf_slice(&s.kept), slice_of(text, 10)));
        buf_free(&out);
        buf_free(&s.kept);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_cut_anywhere),
        cmocka_unit_test(header_size_counts_the_empty_line),
        cmocka_unit_test(bdat_cut_anywhere),
        cmocka_unit_test(beyond_max_nothing_is_kept),
        cmocka_unit_test(failed_sink_is_not_called_again),
        cmocka_unit_test(runs_are_long),
        cmocka_unit_test(stuffs_cut_anywhere),
        cmocka_unit_test(stuffed_text_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
