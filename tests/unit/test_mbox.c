#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mail/mbox.h"

#define FROM "From a@example.org Wed Jun 30 21:49:08 1993\n"

/* "<" at a begin, text, "|" where the body begins, "[flags keywords]>" at the end. With `lengths` a
 * Content-Length is believed when a message or the end is where it says. */
static void render(struct slice in, size_t step, bool lengths, struct buf *out)
{
    struct slice all = in, chunk = SLICE(""), text;
    enum mbox_event event;
    struct mbox m;

    mbox_init(&m);
    do {
        event = mbox_next(&m, &chunk, in.n == 0, &text);
        switch (event) {
        case MBOX_NEED:
            assert_int_equal(chunk.n, 0);
            chunk = slice_sub(in, 0, step);
            in = slice_from(in, chunk.n);
            break;
        case MBOX_BEGIN:
            buf_printf(out, "<%lld ", (long long)m.received);
            break;
        case MBOX_TEXT:
            buf_add(out, text);
            break;
        case MBOX_BODY:
            buf_add_char(out, '|');
            if (lengths && m.has_length && m.offset + m.length <= all.n) {
                struct slice rest = slice_from(all, (size_t)(m.offset + m.length));

                if (rest.n == 0 || slice_starts(rest, SLICE("From ")) || slice_starts(rest, SLICE("\nFrom ")))
                    mbox_use_length(&m);
            }
            break;
        case MBOX_END:
            buf_printf(out, "[%x ", m.flags);
            for (size_t i = 0; i < m.keywords.n; i++)
                buf_add_char(out, m.keywords.p[i] == '\n' ? ',' : m.keywords.p[i]);
            buf_add_str(out, "]>");
            break;
        case MBOX_EOF:
            break;
        }
    } while (event != MBOX_EOF);
    if (m.junk)
        buf_add_str(out, "junk");
    mbox_free(&m);
}

static void reads(void **state)
{
    static const struct {
        const char *in, *expect;
        bool lengths;
    } rows[] = {
        {"", "", false},
        {"\n\n", "", false},
        {"no mbox\n", "junk", false},
        {FROM "S: x\n\nbody\n\n", "<741476948 S: x\n\n|body\n[0 ]>", false},
        {FROM "S: x\n\nbody\n", "<741476948 S: x\n\n|body\n[0 ]>", false},
        {FROM "S: x\n\nbody", "<741476948 S: x\n\n|body[0 ]>", false},
        {FROM "S: x\n\n\n\nbody\n\n\n" FROM "T: y\n\n" FROM "\nb\n",
            "<741476948 S: x\n\n|\n\nbody\n\n[0 ]><741476948 T: y\n\n|[0 ]><741476948 \n|b\n[0 ]>", false},
        /* CR LF, and a body that has lines like the one between messages */
        {"From - Tue Jul 05 12:34:56 2011\r\nS: x\r\n\r\nb\r\n>From me\r\n>>From you\r\n> From\r\nFrom "
         "here\r\n\r\n"
         "From there on\r\n>From\r\n",
            "<1309869296 S: x\r\n\r\n|b\r\nFrom me\r\n>From you\r\n> From\r\nFrom here\r\n\r\nFrom there "
            "on\r\n>From\r\n[0 ]>",
            false},
        /* no empty line in front: text */
        {FROM "\na\n" FROM "b\n", "<741476948 \n|a\n" FROM "b\n[0 ]>", false},
        /* what programs keep */
        {FROM "Status: RO\nX-Status: AF\nSubject: x\nX-Keywords: one\n  folded\nX-UID: 7\n y\nX-Keywords:  "
              "two three \n"
              "Content-Length: 3\n\nb\n",
            "<741476948 Subject: x\n\n|b\n[7 one,two,three,]>", false},
        {FROM
            "X-Mozilla-Status: 1003\nX-Mozilla-Status2: 00800000\nX-Mozilla-Keys: $label1      \nA: b\n\nc\n",
            "<741476948 A: b\n\n|c\n[23 $label1,]>", false},
        {FROM "X-Mozilla-Status: 0009\n\nc\n", "<741476948 \n|c\n[41 ]>", false},
        {FROM "X-Status: TDx\nstatus: O\n\nStatus: R\n", "<741476948 \n|Status: R\n[18 ]>", false},
        {FROM ">From x y\nReceived: a\n\tb\n\nc\n", "<741476948 Received: a\n\tb\n\n|c\n[0 ]>", false},
        /* lengths: right, right before an empty line, wrong */
        {FROM "Content-Length: 55\n\na\n\n" FROM ">From b\n" FROM "\nx\n",
            "<741476948 \n|a\n\n" FROM "From b\n[0 ]><741476948 \n|x\n[0 ]>", true},
        {FROM "Content-Length: 47\n\na\n\n" FROM "\n" FROM "\nx\n",
            "<741476948 \n|a\n\n" FROM "[0 ]><741476948 \n|x\n[0 ]>", true},
        {FROM "Content-Length: 5\n\na\n\n" FROM "\nx\n", "<741476948 \n|a\n[0 ]><741476948 \n|x\n[0 ]>",
            true},
        {FROM "Content-Length: 99999999\n\na\n", "<741476948 \n|a\n[0 ]>", true},
        {FROM "Content-Length: -1\n\na\n", "<741476948 \n|a\n[0 ]>", true},
        {FROM "Content-Length: 0\n\n" FROM "\n", "<741476948 \n|[0 ]><741476948 \n|[0 ]>", true},
        {"junk\n\n" FROM "\na\n", "<741476948 \n|a\n[0 ]>junk", false},
        {FROM, "<741476948 [0 ]>", false},
        {FROM "A: b", "<741476948 A: b[0 ]>", false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step<12; step += step> 3 ? 3 : 1) {
            struct buf out = BUF_INIT(1 << 16);

            render(slice_str(rows[i].in), step == 10 ? 100000 : step, rows[i].lengths, &out);
            if (strcmp(buf_str(&out), rows[i].expect) != 0)
                fail_msg("row %zu, step %zu: %s", i, step, buf_str(&out));
            buf_free(&out);
        }
    (void)state;
}

/* Lines of any length: nothing is lost, nothing in them is taken for a line's begin. */
static void long_lines(void **state)
{
    static const size_t lengths[] = {8190, 8191, 8192, 8193, 16384, 100000};

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t step = 1000; step < 300000; step *= 7) {
            struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), expect = BUF_INIT(1 << 20);
            struct buf line = BUF_INIT(1 << 20);

            while (line.n < lengths[i])
                buf_add_str(&line, line.n == 8192 ? ">From x " : "12345678");
            buf_cut(&line, lengths[i]);
            buf_printf(
                &in, FROM "A: %s\n\n%s\n\n" FROM "\n%s", buf_str(&line), buf_str(&line), buf_str(&line));
            buf_printf(&expect, "<741476948 A: %s\n\n|%s\n[0 ]><741476948 \n|%s[0 ]>", buf_str(&line),
                buf_str(&line), buf_str(&line));
            render(buf_slice(&in), step, false, &out);
            assert_true(slice_eq(buf_slice(&out), buf_slice(&expect)));
            buf_free(&in);
            buf_free(&out);
            buf_free(&expect);
            buf_free(&line);
        }
    (void)state;
}

static void from_lines(void **state)
{
    static const struct {
        const char *line;
        int64_t expect; /* -1: none */
    } rows[] = {
        {"From a Wed Jun 30 21:49:08 1993", 741476948},
        {"From a Wed Jun 30 21:49:08 1993\r\n", 741476948},
        {"From a  Thu Jul  1 21:49 1993", 741563340},
        {"From a b c Wed Jun 30 21:49:08 1993", 741476948},
        {"From a Wed Jun 30 21:49:08 +0200 1993", 741476948 - 7200},
        {"From a Wed Jun 30 21:49:08 CEST 1993", 741476948},
        {"From a Wed Jun 30 21:49:08 1993 -0130", 741476948 + 5400},
        {"From a Wed Jun 30 21:49:08 1993 remote from b", 741476948},
        {"From a Wed, 30 Jun 1993 21:49:08 +0000", 741476948},
        {"From jun Wed Jun 30 21:49:08 1993", 741476948},
        {"From - Sun Mar 01 00:00:00 2020", 1583020800},
        {"From here to there", -1},
        {"From a Wed Jun 30 21:49:08", -1},
        {"From a Wed Jun 99 21:49:08 1993", -1},
        {"From a Wed Jun 30 1993", -1},
        {"From", -1},
        {"From ", -1},
        {"from a Wed Jun 30 21:49:08 1993", -1},
        {"", -1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t at = -1;
        bool ok = mbox_from_line(slice_str(rows[i].line), &at);

        if (ok != (rows[i].expect >= 0) || (ok && at != rows[i].expect))
            fail_msg("%s: %d %lld", rows[i].line, ok, (long long)at);
    }
    (void)state;
}

static void write_all(struct slice text, unsigned flags, const char *words, size_t most, struct buf *out)
{
    struct mbox_writer w;

    mbox_write_begin(&w, out, SLICE("a b"), 741476948, flags, slice_str(words));
    while (mbox_write_some(&w, &text, out, most ? out->n + most : SIZE_MAX))
        ;
    mbox_write_end(&w, out);
}

static void writes(void **state)
{
    static const struct {
        const char *text;
        unsigned flags;
        const char *keywords, *expect;
    } rows[] = {
        {"A: b\r\nStatus: RO\r\n x\r\nC: d\r\n\r\nFrom x\r\n>From y\r\n\r\nz", MBOX_SEEN, "",
            "A: b\nC: d\nStatus: RO\n\n>From x\n>>From y\n\nz\n\n"},
        {"A: b\r\n\r\n", MBOX_ANSWERED | MBOX_FLAGGED | MBOX_DRAFT | MBOX_DELETED, "one\ntwo\n",
            "A: b\nStatus: O\nX-Status: AFTD\nX-Keywords: one two\n\n\n"},
        {"A: b\r\n", 0, "", "A: b\nStatus: O\n\n\n"},
        {"", 0, "", "Status: O\n\n\n"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t most = 0; most < 3; most++) {
            struct buf out = BUF_INIT(1 << 16);

            write_all(slice_str(rows[i].text), rows[i].flags, rows[i].keywords, most, &out);
            assert_true(slice_starts(buf_slice(&out), SLICE("From a_b Wed Jun 30 21:49:08 1993\n")));
            assert_string_equal(strchr(buf_str(&out), '\n') + 1, rows[i].expect);
            buf_free(&out);
        }
    (void)state;
}

/* What was written is read as it was, whatever stands in it. */
static void round_trip(void **state)
{
    struct buf file = BUF_INIT(1 << 16), out = BUF_INIT(1 << 16);

    write_all(SLICE("A: b\r\n\r\n\r\n" FROM "\r\n>>" FROM "\r\n\r\n"), MBOX_SEEN | MBOX_FLAGGED, "k1\nk2\n",
        0, &file);
    write_all(SLICE("\r\nx\r\n"), 0, "", 0, &file);
    render(buf_slice(&file), 5, false, &out);
    assert_string_equal(
        buf_str(&out), "<741476948 A: b\n\n|\n" FROM "\n>>" FROM "\n\n[5 k1,k2,]><741476948 \n|x\n[0 ]>");
    buf_free(&file);
    buf_free(&out);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(from_lines),
        cmocka_unit_test(writes),
        cmocka_unit_test(round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
