/* The copy of the fields that lists ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mail/header_keys.h"

static void names(void **state)
{
    static const char *const yes[] = {"To", "Cc", "Bcc", "Date", "From", "Sender", "Subject", "List-Id",
        "Reply-To", "Priority", "X-Priority", "Message-ID", "Message-Id", "References", "Newsgroups",
        "Importance", "In-Reply-To", "Content-Type", "Resent-Message-ID", "SUBJECT", "subject"};
    static const char *const no[] = {"", "T", "Tx", "Received", "Subjects", "Subjec", "X-Subject",
        "Content-Transfer-Encoding", "Resent-Message-IDs", "Resent-Message-I", "Datf"};

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(header_is_key(slice_str(yes[i])));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(header_is_key(slice_str(no[i])));
}

static void copies(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", ""},
        {"\r\n", "\r\n"},
        {"\r\nTo: in the body\r\n", "\r\n"},
        {"X: 1\r\nSubject: a\r\n b\r\nReceived: x\r\n y\r\nto : c\r\n\r\nbody",
            "Subject: a\r\n b\r\nto : c\r\n\r\n"},
        {"Subject: a\r\nSubject: b\r\n", "Subject: a\r\nSubject: b\r\n"},
        {"Subject: a", "Subject: a"},
        {"Subject: a\nX: 1\n\nbody", "Subject: a\n\n"},
        {"no field\r\nDate: x\r\n\r\n", "Date: x\r\n\r\n"},
    };
    struct buf out = BUF_INIT(1 << 16);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        buf_add_str(&out, "before");
        assert_true(header_keys_write(slice_str(rows[i].text), &out));
        assert_string_equal(buf_str(&out) + 6, rows[i].expected);
    }
    buf_free(&out);
}

/* Beyond a limit there is none, rather than half of one. */
static void limits(void **state)
{
    struct buf text = BUF_INIT(4 << 20), out = BUF_INIT(1 << 20);

    (void)state;
    buf_add_str(&text, "To: ");
    while (text.n < HEADER_KEYS_MAX - 2)
        buf_add_char(&text, 'a');
    buf_add_str(&text, "\r\nX: 1\r\n\r\n");
    assert_true(header_keys_write(buf_slice(&text), &out));
    assert_int_equal(out.n, HEADER_KEYS_MAX + 2);
    buf_clear(&text);
    buf_clear(&out);
    buf_add_str(&out, "before");
    buf_add_str(&text, "Subject: a\r\nTo: ");
    while (text.n <= HEADER_KEYS_MAX)
        buf_add_char(&text, 'a');
    assert_false(header_keys_write(buf_slice(&text), &out));
    assert_string_equal(buf_str(&out), "before");
    buf_clear(&text);
    for (int i = 0; i <= HEADER_FIELDS_MAX; i++)
        buf_add_str(&text, "X: 1\r\n");
    assert_false(header_keys_write(buf_slice(&text), &out));
    buf_clear(&text);
    buf_add_str(&text, "X: ");
    while (text.n < HEADER_LOOK_MAX)
        buf_add_char(&text, 'a');
    buf_add_str(&text, "\r\nTo: x\r\n\r\n");
    assert_false(header_keys_write(buf_slice(&text), &out));
    assert_string_equal(buf_str(&out), "before");
    buf_free(&text);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names), cmocka_unit_test(copies), cmocka_unit_test(limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
