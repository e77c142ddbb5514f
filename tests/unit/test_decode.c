/* Transfer encodings, charsets, encoded words, folding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mail/decode.h"

#define Z(literal)                                                                                           \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }
#define BAD "\xef\xbf\xbd"

struct pair {
    struct slice in, out;
};

static void expect(const char *what, size_t row, const struct buf *got, struct slice want)
{
    if (!slice_eq(buf_slice(got), want))
        fail_msg("%s, row %zu: got \"%.*s\", want \"%.*s\"", what, row, SLICE_FMT(buf_slice(got)),
            SLICE_FMT(want));
}

/* ------------------------------------------------------------------ transfer */

static void transfer(enum mime_encoding e, struct slice in, size_t piece, struct buf *out)
{
    struct decode_transfer d;

    decode_transfer_init(&d, e);
    for (; in.n > 0; in = slice_from(in, piece))
        decode_transfer(&d, slice_sub(in, 0, piece), out);
    decode_transfer_finish(&d, out);
}

/* In pieces of any size the same comes out, and in a small buf its start. */
static void run_transfer(const char *what, enum mime_encoding e, const struct pair *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t piece = 1; piece <= rows[i].in.n + 1; piece++) {
            struct buf out = BUF_INIT(1000), small = BUF_INIT(rows[i].out.n / 2);

            transfer(e, rows[i].in, piece, &out);
            expect(what, i, &out, rows[i].out);
            assert_false(out.full);
            transfer(e, rows[i].in, piece, &small);
            expect(what, i, &small, slice_sub(rows[i].out, 0, rows[i].out.n / 2));
            assert_int_equal(small.full, rows[i].out.n > 0);
            buf_free(&out);
            buf_free(&small);
        }
    }
}

static void test_qp(void **state)
{
    static const struct pair rows[] = {
        {Z(""), Z("")},
        {Z("plain text"), Z("plain text")},
        {Z("=41=62=c3=A4"), Z("Ab\xc3\xa4")},
        {Z("soft=\r\nbreak=\nagain"), Z("softbreakagain")},
        {Z("soft = \t \r\nbreak"), Z("soft break")},
        {Z("blanks \t \r\nat end \nand inside"), Z("blanks\r\nat end\nand inside")},
        {Z("kept before soft  =\r\n!"), Z("kept before soft  !")},
        {Z("at the end of all   "), Z("at the end of all")},
        {Z("encoded blank=20\r\n"), Z("encoded blank \r\n")},
        {Z("=4"), Z("=4")},
        {Z("="), Z("")},
        {Z("x=\r"), Z("x")},
        {Z("x= "), Z("x")},
        {Z("=XY=4Z==41"), Z("=XY=4Z=A")},
        {Z("= 41"), Z("= 41")},
        {Z("=\rx"), Z("=\rx")},
        {Z("=4\r\n"), Z("=4\r\n")},
        {Z("=\r\r\n"), Z("=\r\r\n")},
        {Z("a\rb\r\r\nc"), Z("a\rb\r\r\nc")},
        {Z("a \rb"), Z("a \rb")},
        {Z("a \r"), Z("a \r")},
        {Z("\0=00\xff"), Z("\0\0\xff")},
        {Z("a =20 \n"), Z("a  \n")},
    };

    (void)state;
    run_transfer("quoted-printable", MIME_QP, rows, sizeof rows / sizeof *rows);
}

static void test_base64_transfer(void **state)
{
    static const struct pair rows[] = {
        {Z(""), Z("")},
        {Z("Zg=="), Z("f")},
        {Z("Zm8="), Z("fo")},
        {Z("Zm9v"), Z("foo")},
        {Z("Zm9v\r\nYmFy\r\n"), Z("foobar")},
        {Z("Z m-9_v!"), Z("foo")},
        {Z("Zg"), Z("f")},
        {Z("Zm8"), Z("fo")},
        {Z("Zm9vZ"), Z("foo")},
        {Z("Zg==Zm9v"), Z("f")},
        {Z("=Zm9v"), Z("foo")},
        {Z("Z=m8="), Z("fo")},
        {Z("AP+/gA=="), Z("\0\xff\xbf\x80")},
        {Z("\0Zm\xff"
           "9v"),
            Z("foo")},
    };

    (void)state;
    run_transfer("base64", MIME_BASE64, rows, sizeof rows / sizeof *rows);
}

static void test_identity(void **state)
{
    static const struct pair rows[] = {{Z("a=41 \r\nZg==\0\xff"), Z("a=41 \r\nZg==\0\xff")}};

    (void)state;
    run_transfer("8bit", MIME_8BIT, rows, 1);
    run_transfer("7bit", MIME_7BIT, rows, 1);
    run_transfer("binary", MIME_BINARY, rows, 1);
    run_transfer("unknown", MIME_ENCODING_UNKNOWN, rows, 1);
}

/* Longer than the buffers inside; blanks without end. */
static void test_long_transfer(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 5, 1023, 1024, 1025, 100000};
    struct buf octets = BUF_INIT(BUF_OWN), text = BUF_INIT(BUF_OWN);

    (void)state;
    for (unsigned i = 0; i < 10000; i++)
        buf_add_char(&octets, (char)(i * 7 + i / 256));
    base64_encode(buf_slice(&octets), &text);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct buf out = BUF_INIT(BUF_OWN);

        transfer(MIME_BASE64, buf_slice(&text), pieces[i], &out);
        assert_true(slice_eq(buf_slice(&out), buf_slice(&octets)));
        buf_free(&out);
    }
    for (int soft = 0; soft < 2; soft++) {
        buf_clear(&octets);
        if (soft)
            buf_add_char(&octets, '=');
        for (int i = 0; i < 5000; i++)
            buf_add_char(&octets, ' ');
        buf_clear(&text);
        buf_add(&text, buf_slice(&octets));
        buf_add_char(&octets, '.');
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            struct buf out = BUF_INIT(BUF_OWN);

            transfer(MIME_QP, buf_slice(&octets), pieces[i], &out);
            assert_true(slice_eq(buf_slice(&out), buf_slice(&octets)));
            buf_free(&out);
        }
    }
    buf_free(&octets);
    buf_free(&text);
}

/* ------------------------------------------------------------------ base64 */

static void test_base64(void **state)
{
    static const struct pair good[] = {
        {Z(""), Z("")},
        {Z("f"), Z("Zg==")},
        {Z("fo"), Z("Zm8=")},
        {Z("foo"), Z("Zm9v")},
        {Z("foob"), Z("Zm9vYg==")},
        {Z("fooba"), Z("Zm9vYmE=")},
        {Z("foobar"), Z("Zm9vYmFy")},
        {Z("\0user\0pass"), Z("AHVzZXIAcGFzcw==")},
        {Z("\xff\xff\xff\xfe"), Z("/////g==")},
        {Z("\xfb\xef\xbe"), Z("++++")},
    };
    static const struct slice bad[] = {
        Z("Z"),
        Z("Zg"),
        Z("Zg="),
        Z("Zm9"),
        Z("="),
        Z("=="),
        Z("===="),
        Z("Z==="),
        Z("Zg==Zg=="),
        Z("Zg==\r\n"),
        Z("Zm 9v"),
        Z("Zm9v "),
        Z("Zh=="),
        Z("Zm9="),
        Z("Z-8="),
        Z("*"),
        Z("Zg=a"),
        Z("\0\0\0\0"),
        Z("Zm9\xff"),
    };
    struct buf out = BUF_INIT(100);

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct buf exact = BUF_INIT(good[i].out.n);

        base64_encode(good[i].in, &exact);
        expect("encode", i, &exact, good[i].out);
        assert_false(exact.full);
        buf_free(&exact);
        buf_clear(&out);
        assert_true(base64_decode(good[i].out, &out));
        expect("decode", i, &out, good[i].in);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf_clear(&out);
        buf_add_char(&out, '#');
        if (base64_decode(bad[i], &out))
            fail_msg("bad row %zu was taken", i);
        expect("kept", i, &out, SLICE("#"));
    }
    out = (buf_free(&out), BUF_INIT(4));
    assert_false(base64_decode(SLICE("Zm9vYmFy"), &out));
    buf_free(&out);
}

/* ------------------------------------------------------------------ charsets */

static void test_charsets(void **state)
{
    static const struct {
        const char *charset;
        struct pair p;
    } rows[] = {
        {"utf-8", {Z("gr\xc3\xbc\xc3\x9f"), Z("gr\xc3\xbc\xc3\x9f")}},
        {"UTF8", {Z("a\xff"
                    "b\xc3"),
                     Z("a" BAD "b" BAD)}},
        {"utf-8", {Z("\xe2\x82x\xf0\x9f\x98"), Z(BAD "x" BAD)}},
        {"utf-8", {Z("\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80"), Z(BAD BAD BAD BAD BAD BAD BAD BAD BAD)}},
        {"us-ascii", {Z("a\xe4"), Z("a" BAD)}},
        {"nonsense", {Z("a\xe4z"), Z("a" BAD "z")}},
        {"", {Z("a\xc3\xa4z"), Z("a" BAD BAD "z")}},
        {"../../x", {Z("\xe4"), Z(BAD)}},
        {"UTF-8//TRANSLIT", {Z("\xe4"), Z(BAD)}},
        {"iso-8859-1", {Z("\xe4"), Z("\xc3\xa4")}},
        {" ISO_8859-1 ", {Z("\xe4"), Z("\xc3\xa4")}},
        {"latin1", {Z("\xe4"), Z("\xc3\xa4")}},
        {"ISO8859-15", {Z("\xa4"), Z("\xe2\x82\xac")}},
        {"iso-8859-5", {Z("\xb0"), Z("\xd0\x90")}},
        {"windows-1252", {Z("\x80\x81!"), Z("\xe2\x82\xac" BAD "!")}},
        {"cp1251", {Z("\xcf\xf0"), Z("\xd0\x9f\xd1\x80")}},
        {"KOI8-R", {Z("\xf0\xd2"), Z("\xd0\x9f\xd1\x80")}},
        {"iso-2022-jp", {Z("\x1b$B$\"\x1b(B!"), Z("\xe3\x81\x82!")}},
        {"iso-2022-jp", {Z("\x1b$B$"), Z(BAD)}},
        {"shift_jis", {Z("\x82\xa0"), Z("\xe3\x81\x82")}},
        {"euc-jp", {Z("\xa4\xa2"), Z("\xe3\x81\x82")}},
        {"euc-jp", {Z("\xa4"), Z(BAD)}},
        {"euc-kr", {Z("\xb0\xa1"), Z("\xea\xb0\x80")}},
        {"ks_c_5601-1987", {Z("\xb0\xa1"), Z("\xea\xb0\x80")}},
        {"gb2312", {Z("\xd6\xd0"), Z("\xe4\xb8\xad")}},
        {"big5", {Z("\xa4\xa4"), Z("\xe4\xb8\xad")}},
        {"utf-7", {Z("A+AOQ-z"), Z("A\xc3\xa4z")}},
        {"utf-16", {Z("\xff\xfe\xe4\0"), Z("\xc3\xa4")}},
        {"utf-16", {Z("\xfe\xff\0\xe4"), Z("\xc3\xa4")}},
        {"utf-16", {Z("\0\xe4"), Z("\xc3\xa4")}},
        {"utf-16le", {Z("\x3d\xd8\0\xde"
                        "a"),
                         Z("\xf0\x9f\x98\x80" BAD)}},
        {"utf-16be", {Z("\xdc\0\0a"), Z(BAD "a")}},
        {"utf-32", {Z("\xff\xfe\0\0a\0\0\0"), Z("a")}},
        {"utf-32be", {Z("\0\x11\0\0\0\0\0a"), Z(BAD "a")}},
        {"macintosh", {Z("\x8a"), Z("\xc3\xa4")}},
        {"ibm850", {Z("\x84"), Z("\xc3\xa4")}},
        {"tis-620", {Z("\xa1"), Z("\xe0\xb8\x81")}},
        {"iso-8859-1", {Z(""), Z("")}},
        {"iso-8859-1", {Z("a\0b"), Z("a\0b")}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF_INIT(1000);

        decode_charset(slice_str(rows[i].charset), rows[i].p.in, &out);
        expect(rows[i].charset, i, &out, rows[i].p.out);
        assert_true(utf8_is_valid(buf_slice(&out)));
        buf_free(&out);
    }
}

static void test_known(void **state)
{
    static const char *const unknown[] = {
        "", "x", "iso-8859-12", "utf-8//ignore", "ISO-2022-CN-EXT", "/etc/passwd", "iso"};

    (void)state;
    decode_preload();
    for (const char *const *z = decode_charsets; *z; z++) {
        struct buf out = BUF_INIT(100);
        bool is_wide = strncmp(*z, "UTF-16", 6) == 0 || strncmp(*z, "UTF-32", 6) == 0;

        if (!decode_charset_known(slice_str(*z)))
            fail_msg("%s is not known", *z);
        decode_charset(slice_str(*z), SLICE("abc 123"), &out);
        if (!is_wide)
            expect(*z, 0, &out, SLICE("abc 123"));
        buf_free(&out);
    }
    assert_true(decode_charset_known(SLICE("US-ASCII")));
    assert_true(decode_charset_known(SLICE("utf8")));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_false(decode_charset_known(slice_str(unknown[i])));
    assert_false(decode_charset_known(SLICE("utf-8\0")));
}

/* Every octet after every state of every charset: the output is UTF-8 within its bounds, and it ends. */
static void test_charset_noise(void **state)
{
    char noise[512];
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++) {
        seed = seed * 1103515245 + 12345;
        noise[i] = i % 16 == 0 ? '\x1b' : (char)(seed >> 16);
    }
    for (const char *const *z = decode_charsets; *z; z++) {
        for (size_t cut = 0; cut < 64; cut++) {
            struct buf out = BUF_INIT(100 + cut);

            decode_charset(slice_str(*z), slice_of(noise + cut, sizeof noise - 2 * cut), &out);
            assert_true(out.n <= out.cap);
            assert_true(utf8_is_valid(buf_slice(&out)));
            buf_free(&out);
        }
    }
}

/* ------------------------------------------------------------------ encoded words */

static void test_words(void **state)
{
    static const struct pair rows[] = {
        {Z(""), Z("")},
        {Z("plain  text"), Z("plain  text")},
        /* RFC 2047 8 */
        {Z("(=?ISO-8859-1?Q?a?=)"), Z("(a)")},
        {Z("=?ISO-8859-1?Q?a?= b"), Z("a b")},
        {Z("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?="), Z("ab")},
        {Z("=?ISO-8859-1?Q?a?=  \t =?ISO-8859-1?Q?b?="), Z("ab")},
        {Z("=?ISO-8859-1?Q?a_b?="), Z("a b")},
        {Z("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?="), Z("a b")},
        {Z("=?iso-8859-1?q?Keld_J=F8rn?= <x@y>"), Z("Keld J\xc3\xb8rn <x@y>")},
        {Z("=?US-ASCII*EN?Q?Keith_Moore?="), Z("Keith Moore")},
        {Z("=?utf-8?b?w6Q=?="), Z("\xc3\xa4")},
        {Z("=?utf-8?B?w6Q?="), Z("\xc3\xa4")},
        {Z("=?utf-8?q?"
           "?="),
            Z("")},
        {Z("a=?utf-8?q?=C3=A4?=b"), Z("a\xc3\xa4"
                                      "b")},
        /* a character cut between two words */
        {Z("=?utf-8?q?=C3?= =?utf-8?q?=A4?="), Z("\xc3\xa4")},
        {Z("=?utf-8?b?w6Q=?= =?UTF-8?q?=C3=A4?="), Z("\xc3\xa4\xc3\xa4")},
        {Z("=?utf-8?q?=C3?= x"), Z(BAD " x")},
        {Z("=?utf-8?q?=C3?= =?iso-8859-1?q?=A4?="), Z(BAD "\xc2\xa4")},
        /* not words */
        {Z("=?"), Z("=?")},
        {Z("=?utf-8"), Z("=?utf-8")},
        {Z("=?utf-8?"), Z("=?utf-8?")},
        {Z("=?utf-8?q"), Z("=?utf-8?q")},
        {Z("=?utf-8?q?"), Z("=?utf-8?q?")},
        {Z("=?utf-8?q?x"), Z("=?utf-8?q?x")},
        {Z("=?utf-8?q?x?"), Z("=?utf-8?q?x?")},
        {Z("=?utf-8?x?x?="), Z("=?utf-8?x?x?=")},
        {Z("=?utf-8?q?x y?="), Z("=?utf-8?q?x y?=")},
        {Z("=??q?x?="), Z("=??q?x?=")},
        {Z("=?=?utf-8?q?x?="), Z("=?x")},
        {Z("=?utf-8?q?=4?="), Z("=4")},
        {Z("=?nonsense?q?a=E4?="), Z("a" BAD)},
        /* raw octets; line ends out of a word */
        {Z("\xc3\xa4 \xe4"), Z("\xc3\xa4 " BAD)},
        {Z("=?utf-8?q?a=0D=0AB:_c=00?="), Z("a  B: c ")},
        {Z("=?iso-2022-jp?B?GyRCJCIbKEI=?="), Z("\xe3\x81\x82")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t cap = 0; cap < 64; cap++) {
            struct buf out = BUF_INIT(cap);

            decode_words(rows[i].in, &out);
            assert_true(utf8_is_valid(buf_slice(&out)));
            if (cap >= rows[i].out.n)
                expect("words", i, &out, rows[i].out);
            else
                assert_true(out.full && slice_starts(rows[i].out, buf_slice(&out)));
            buf_free(&out);
        }
    }
}

static void test_words_encode(void **state)
{
    static const struct pair rows[] = {
        {Z(""), Z("")},
        {Z("plain  ascii\ttext = ?"), Z("plain  ascii\ttext = ?")},
        {Z("\xc3\xa4"), Z("=?utf-8?B?w6Q=?=")},
        {Z("\xc3\xa4 long enough\tfor_Q"), Z("=?utf-8?B?w6Q=?= long enough\tfor_Q")},
        {Z("Hello W\xc3\xb6rld now"), Z("Hello =?utf-8?B?V8O2cmxk?= now")},
        {Z("\xc3\xa4 b \xc3\xa4 c"), Z("=?utf-8?B?w6QgYiDDpA==?= c")},
        {Z("x \xc3\xa4 b,cdefghijklmnopqr-s\xc3\xa4 c"),
            Z("x =?utf-8?Q?=C3=A4_b=2Ccdefghijklmnopqr-s=C3=A4?= c")},
        {Z("\xe4\xb8\xad\xe6\x96\x87"), Z("=?utf-8?B?5Lit5paH?=")},
        {Z("a =?utf-8?q?x?= b"), Z("a =?utf-8?B?PT91dGYtOD9xP3g/PQ==?= b")},
        {Z("a\xff"), Z("=?utf-8?B?Ye+/vQ==?=")},
    };
    struct buf value = BUF_INIT(BUF_OWN), words = BUF_INIT(BUF_OWN), back = BUF_INIT(BUF_OWN);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&words);
        decode_words_encode(rows[i].in, &words);
        expect("encode", i, &words, rows[i].out);
    }
    for (size_t n = 0; n < 200; n++) {
        struct slice rest, word;

        buf_clear(&value);
        for (size_t i = 0; i < n; i++)
            buf_add_str(&value, i * n % 7 == 0   ? "\xe2\x82\xac"
                                : i * n % 5 == 1 ? " "
                                : i % 3          ? "x"
                                                 : "\xf0\x9f\x98\x80");
        buf_clear(&words);
        buf_clear(&back);
        decode_words_encode(buf_slice(&value), &words);
        decode_words(buf_slice(&words), &back);
        expect("and back", n, &back, buf_slice(&value));
        rest = buf_slice(&words);
        while (slice_cut(&rest, ' ', &word))
            assert_true(
                !slice_starts(word, SLICE("=?utf-8")) || (word.n <= 75 && slice_ends(word, SLICE("?="))));
        for (size_t i = 0; i < words.n; i++)
            assert_true((unsigned char)words.p[i] < 0x80);
    }
    buf_free(&value);
    buf_free(&words);
    buf_free(&back);
}

/* "=?" without end, and words by the thousand: in time that grows with the length only. */
static void test_words_long(void **state)
{
    static const char *const pieces[] = {
        "=?", "=?a?q?", "=?utf-8?b?w6Q=?= ", "=?a", "?", "=?x?q?=20?=\t", "=?utf-8?q?"};
    struct buf value = BUF_INIT(BUF_OWN), out = BUF_INIT(BUF_OWN);

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        buf_clear(&value);
        while (value.n < 1 << 20)
            buf_add_str(&value, pieces[i]);
        buf_clear(&out);
        decode_words(buf_slice(&value), &out);
        assert_true(out.n > 0 && out.n <= value.n);
    }
    buf_free(&value);
    buf_free(&out);
}

/* ------------------------------------------------------------------ folding */

static void test_fold(void **state)
{
    static const struct pair rows[] = {
        {Z(""), Z("")},
        {Z("Hello WORLD 42"), Z("hello world 42")},
        {Z("GR\xc3\x9cN"), Z("gr\xc3\xbcn")},
        {Z("U\xcc\x88"), Z("\xc3\xbc")}, /* U with combining diaeresis */
        {Z("xU\xcc\x88y"), Z("x\xc3\xbcy")},
        {Z("Stra\xc3\x9f"
           "e"),
            Z("strasse")},
        {Z("\xce\x91\xce\xa3"), Z("\xce\xb1\xcf\x83")}, /* sigma */
        {Z("\xcf\x82"), Z("\xcf\x83")},                 /* final sigma */
        {Z("\xef\xac\x81"), Z("fi")},                   /* ligature */
        {Z("\xef\xbc\xa1"), Z("a")},                    /* fullwidth A */
        {Z("\xe2\x84\xab"), Z("\xc3\xa5")},             /* Angstrom sign */
        {Z("\xd0\x9f\xd0\xa0"), Z("\xd0\xbf\xd1\x80")},
        {Z("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), Z("\xed\x95\x9c")}, /* Hangul jamo */
        {Z("\xef\xbd\xb6\xef\xbe\x9e"), Z("\xe3\x82\xac")}, /* halfwidth ka with voiced mark: ga */
        {Z("\xf0\x90\x90\x80"), Z("\xf0\x90\x90\xa8")},     /* Deseret */
        {Z("a\xff"
           "B"),
            Z("a" BAD "b")},
        {Z("\xc3"), Z(BAD)},
        {Z("A\0B"), Z("a\0b")},
        {Z("e\xcc\xa7\xcc\x81"), Z("\xc8\xa9\xcc\x81")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t cap = 0; cap < 32; cap++) {
            struct buf out = BUF_INIT(cap);

            decode_fold(rows[i].in, &out);
            if (cap >= rows[i].out.n)
                expect("fold", i, &out, rows[i].out);
            else
                assert_true(out.full && slice_starts(rows[i].out, buf_slice(&out)));
            buf_free(&out);
        }
    }
}

/* Marks without end: bounded, and in time. */
static void test_fold_marks(void **state)
{
    struct buf in = BUF_INIT(BUF_OWN), out = BUF_INIT(BUF_OWN);

    (void)state;
    for (int i = 0; i < 100000; i++)
        buf_add_str(&in, i % 2 ? "\xcc\x81" : "\xcc\xa7");
    decode_fold(buf_slice(&in), &out);
    assert_int_equal(out.n, in.n);
    assert_true(utf8_is_valid(buf_slice(&out)));
    buf_free(&in);
    buf_free(&out);
}

static void test_valid(void **state)
{
    static const struct slice good[] = {Z(""), Z("a"), Z("abcdefgh\xc3\xa4"), Z("\xe0\xa0\x80"),
        Z("\xed\x9f\xbf"), Z("\xee\x80\x80"), Z("\xf0\x90\x80\x80"), Z("\xf4\x8f\xbf\xbf"), Z("\0")};
    static const struct slice bad[] = {Z("\x80"), Z("abcdefgh\xc3"), Z("\xc1\xbf"), Z("\xe0\x9f\xbf"),
        Z("\xed\xa0\x80"), Z("\xf0\x8f\xbf\xbf"), Z("\xf4\x90\x80\x80"), Z("\xf5\x80\x80\x80"), Z("\xc3\xc3"),
        Z("\xe2\x82"), Z("\xff")};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_is_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_is_valid(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qp),
        cmocka_unit_test(test_base64_transfer),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_long_transfer),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_charsets),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_charset_noise),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_words_encode),
        cmocka_unit_test(test_words_long),
        cmocka_unit_test(test_fold),
        cmocka_unit_test(test_fold_marks),
        cmocka_unit_test(test_valid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
