/* Replies of servers, good and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "queue/reply.h"

static ssize_t parse(struct slice in, int *code)
{
    struct reply r = {0};
    ssize_t n = reply_parse(in, &r);

    *code = n > 0 ? r.code : 0;
    return n;
}

#define READS(text, octets, code_)                                                                           \
    do {                                                                                                     \
        int code;                                                                                            \
                                                                                                             \
        assert_int_equal(parse(SLICE(text), &code), octets);                                                 \
        assert_int_equal(code, code_);                                                                       \
    } while (0)

static void reads_replies(void **state)
{
    (void)state;
    READS("250 ok\r\n", 8, 250);
    READS("250\r\n", 5, 250);
    READS("250 \r\n", 6, 250);
    READS("250 ok\n250 more\r\n", 7, 250);
    READS("250-a\r\n250-b\r\n250 c\r\nrest", 21, 250);
    READS("250-a\r\n250\r\n", 12, 250);
    READS("599 x\r\n", 7, 599);
    READS("250 a\rb\0c\r\n", 11, 250);
}

/* Cut anywhere more is to come, and what comes behind does not matter. */
static void cut_anywhere(void **state)
{
    struct slice all = SLICE("250-mx.example.org\r\n250-SIZE 1000\r\n250 DSN\r\n");
    int code;

    (void)state;
    for (size_t n = 0; n < all.n; n++)
        assert_int_equal(parse(slice_sub(all, 0, n), &code), 0);
    assert_int_equal(parse(all, &code), all.n);
}

static void refuses_what_is_none(void **state)
{
    (void)state;
    READS("* PREAUTH", -1, 0);
    READS("HTTP/1.1 400 Bad Request\r\n", -1, 0);
    READS("100 x\r\n", -1, 0);
    READS("650 x\r\n", -1, 0);
    READS("25", 0, 0);
    READS("25x", -1, 0);
    READS("25\r\n", -1, 0);
    READS("250x", -1, 0);
    READS("250\tx\r\n", -1, 0);
    READS("\r\n250 ok\r\n", -1, 0);
    READS("\n", -1, 0);
    READS("250-a\r\n251 b\r\n", -1, 0);
    READS("250-a\r\n\r\n250 b\r\n", -1, 0);
    READS("250-a\r\n25", 0, 0);
    READS("250-a\r\n5", 0, 0); /* told with its third digit */
    READS("250-a\r\n550", -1, 0);
    READS("\xff\xfb\x01", -1, 0);
}

/* security.md S07 */
static void endless_replies(void **state)
{
    struct buf in = BUF_INIT(BUF_OWN);
    int code;

    (void)state;
    for (int i = 0; i < REPLY_LINES - 1; i++)
        buf_add_str(&in, "250-x\r\n");
    assert_int_equal(parse(buf_slice(&in), &code), 0);
    buf_add_str(&in, "250 x\r\n");
    assert_int_equal(parse(buf_slice(&in), &code), in.n);
    buf_cut(&in, in.n - 7);
    buf_add_str(&in, "250-x\r\n");
    assert_int_equal(parse(buf_slice(&in), &code), -1);
    buf_clear(&in);
    buf_add_str(&in, "250 ");
    while (in.n < REPLY_OCTETS - 1)
        buf_add_char(&in, 'x');
    assert_int_equal(parse(buf_slice(&in), &code), 0);
    buf_add_char(&in, 'x');
    assert_int_equal(parse(buf_slice(&in), &code), -1);
    buf_add_str(&in, "\r\n");
    assert_int_equal(parse(buf_slice(&in), &code), -1);
    buf_free(&in);
}

static void assert_text(struct slice in, size_t max, const char *want)
{
    struct reply r;
    struct buf out = BUF_INIT(BUF_OWN);

    assert_int_equal(reply_parse(in, &r), in.n);
    reply_text(&r, max, &out);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

static void text_is_clean(void **state)
{
    (void)state;
    assert_text(SLICE("550-5.1.1 no\r\n550 such user\r\n"), 100, "550-5.1.1 no\n550 such user");
    assert_text(SLICE("550 a\rb\0c\x1b[2Jd\x7f\r\n"), 100, "550 a b c [2Jd ");
    assert_text(SLICE("550 gr\xc3\xbc\xc3\x9f\xff\xc3 \xc2\x85\xe2\x80\xa8x\r\n"), 100,
        "550 gr\xc3\xbc\xc3\x9f?"
        "?   x");
    assert_text(SLICE("550 a\xc3\xbc\r\n"), 6, "550 a");
    assert_text(SLICE("550-abc\r\n550 d\r\n"), 8, "550-abc\n");
    assert_text(SLICE("550-abc\r\n550 d\r\n"), 7, "550-abc");
}

static void reads_offers(void **state)
{
    struct slice in =
        SLICE("250-DSN SMTPUTF8\r\n250-PIPELINING\r\n250-Size 1000000\r\n250-8bitmime\r\n"
              "250-STARTTLS\r\n250-AUTH CRAM-MD5 login  PLAIN\r\n250-X-ODD\r\n250-\r\n250 CHUNKING\r\n");
    struct reply r;
    struct reply_offers o;

    (void)state;
    assert_int_equal(reply_parse(in, &r), in.n);
    o = reply_offers(&r);
    assert_true(o.pipelining && o.is_8bit && o.starttls && o.chunking && o.auth_plain && o.auth_login);
    assert_false(o.dsn || o.smtputf8 || o.requiretls); /* the first line is a name */
    assert_int_equal(o.size, 1000000);
    in = SLICE(
        "250-x\r\n250-SIZE 99999999999999999999\r\n250-AUTHPLAIN\r\n250-REQUIRETLS\r\n250 SMTPUTF8\r\n");
    assert_int_equal(reply_parse(in, &r), in.n);
    o = reply_offers(&r);
    assert_int_equal(o.size, 0);
    assert_true(o.smtputf8 && o.requiretls && !o.auth_plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_replies),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(endless_replies),
        cmocka_unit_test(text_is_clean),
        cmocka_unit_test(reads_offers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
