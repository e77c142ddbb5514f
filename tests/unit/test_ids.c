/* EMAILID and THREADID: what has the same, and what has not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "mail/header_keys.h"
#include "store/ids.h"

static void emailids(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        /* flags, fields, a move, copies, copies of copies: the same message */
        {"17.x.host,S=4:2,S", "17.x.host,S=4,W=5,U=7.3:2,", true},
        {"17.x.host", "17.x.host:2,FS", true},
        {"17.x.host,S=4:2,S", "17.x.host.c123,S=4:2,", true},
        {"17.x.host.c5", "17.x.host.c123", true},
        {"17.x.host", "17.y.host", false},
        {"17.x.host", "17.x.hos", false},
        {"17.x.host.d5", "17.x.host", false},
        {"17.x.host.c5x", "17.x.host", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message_id a = emailid_of(rows[i].a), b = emailid_of(rows[i].b);

        assert_int_equal(strlen(a.text), ID_OCTETS);
        assert_int_equal(a.text[0], 'M');
        assert_int_equal(strspn(a.text + 1, "0123456789abcdef"), ID_OCTETS - 1);
        assert_int_equal(strcmp(a.text, b.text) == 0, rows[i].same);
    }
    /* for ever: printf 1700000000.x.host | sha256sum */
    assert_string_equal(emailid_of("1700000000.x.host,S=1:2,").text, "M7df32cade66debe35ce9122c");
}

static void threadids(void **state)
{
    static const char first[] = "Message-ID: <1@x>\r\n\r\n";
    static const struct {
        const char *header;
        bool same; /* as the first */
    } rows[] = {
        {"Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n\r\n", true},
        {"Message-ID: <3@x>\r\nIn-Reply-To: <2@x>\r\nReferences: <1@x>\r\n <2@x>\r\n\r\n", true},
        {"References:\r\n\t<1@x> <2@x>\r\nmessage-id: <4@x>\r\n\r\n", true},
        {"References: nonsense\r\nIn-Reply-To: your mail of <1@x>\r\n\r\n", true},
        {"Message-ID: (comment) <1@x>\r\n\r\n", true},
        {"Message-ID: <2@x>\r\n\r\n", false},
        {"References: <2@x> <1@x>\r\n\r\n", false},
        {"Subject: <1@x>\r\n\r\nMessage-ID: <1@x>\r\n", false},
        {"", false},
    };
    struct message_id a = threadid_of(slice_str(first), "f"), alone, other;
    struct buf keys = BUF_INIT(BUF_OWN);

    (void)state;
    assert_int_equal(strlen(a.text), ID_OCTETS);
    assert_int_equal(a.text[0], 'T');
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice header = slice_str(rows[i].header);
        struct message_id b = threadid_of(header, "g");

        assert_int_equal(strcmp(a.text, b.text) == 0, rows[i].same);
        /* the cache knows enough */
        buf_clear(&keys);
        assert_true(header_keys_write(header, &keys));
        assert_string_equal(threadid_of(buf_slice(&keys), "g").text, b.text);
    }
    /* without any id a message is a thread of its own, and its copies are in it */
    alone = threadid_of(SLICE("Subject: x\r\n\r\n"), "17.x.host:2,S");
    other = threadid_of(SLICE("Subject: x\r\n\r\n"), "17.x.host.c7,S=3:2,");
    assert_string_equal(alone.text, other.text);
    other = threadid_of(SLICE("Subject: x\r\n\r\n"), "17.y.host:2,S");
    assert_string_not_equal(alone.text, other.text);
    buf_free(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(emailids), cmocka_unit_test(threadids)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
