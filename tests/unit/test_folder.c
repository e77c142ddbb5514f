#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/folder.h"

static void utf7(void **state)
{
    static const struct {
        const char *utf8, *utf7;
    } rows[] = {
        {"", ""},
        {"INBOX", "INBOX"},
        {"a&b", "a&-b"},
        {"Entw\xc3\xbcrfe", "Entw&APw-rfe"},
        {"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
            "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
        {"\xf0\x9f\x98\x80", "&2D3eAA-"},
        {"\xc3\xa4&\xc3\xa4", "&AOQ-&-&AOQ-"},
        {"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", "&IKwgrCCs-"},
        {"a b", "a b"},
    };
    struct buf out = BUF_INIT(1000);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        assert_true(folder_utf7_encode(slice_str(rows[i].utf8), &out));
        assert_true(slice_eq(buf_slice(&out), slice_str(rows[i].utf7)));
        buf_clear(&out);
        assert_true(folder_utf7_decode(slice_str(rows[i].utf7), &out));
        assert_true(slice_eq(buf_slice(&out), slice_str(rows[i].utf8)));
    }
    buf_free(&out);
    (void)state;
}

static void utf7_refuses(void **state)
{
    static const char *const rows[] = {
        "&",
        "a&",
        "&APw",
        "&AP-",
        "&APx-",
        "&APwA-",
        "&AGE-",
        "&AC8-",
        "&AAA-x&",
        "&APw-&APw-",
        "\xc3\xa4",
        "&2D0-",
        "&3gA-",
        "&2D3YPQ-",
        "&AP/-",
        "a\tb",
        "&AA=-",
        "&A-",
        "&Jjo!",
        "\x7f",
        "&2D3eAB-",
    };
    struct buf out = BUF_INIT(1000);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        if (folder_utf7_decode(slice_str(rows[i]), &out))
            fail_msg("took \"%s\"", rows[i]);
        assert_int_equal(out.n, 0);
    }
    buf_clear(&out);
    assert_false(folder_utf7_encode(SLICE("\xff"), &out));
    buf_free(&out);
    (void)state;
}

static void normalises(void **state)
{
    static const struct {
        const char *in, *want; /* NULL: refused */
    } rows[] = {
        {"inbox", "INBOX"},
        {"InBoX/Sub", "INBOX/Sub"},
        {"inboxes", "inboxes"},
        {"a/inbox", "a/inbox"},
        {"foo/", "foo"},
        {"foo//", "foo"},
        {"u\xcc\x88", "\xc3\xbc"},
        {"A.B", "A.B"},
        {"..", ".."},
        {"../../x", "../../x"},
        {"~x", "~x"},
        {"#news", "#news"},
        {"", NULL},
        {"/", NULL},
        {"/a", NULL},
        {"a//b", NULL},
        {"a\tb", NULL},
        {"a\nb", NULL},
        {"a\x7f", NULL},
        {"\xc2\x85", NULL},
        {"\xff", NULL},
        {"\xed\xa0\x80", NULL},
    };
    struct buf out = BUF_INIT(2000);
    char deep[200];
    struct err e;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc;

        buf_clear(&out);
        rc = folder_normalise(slice_str(rows[i].in), &out, &e);
        if ((rc == 0) != (rows[i].want != NULL))
            fail_msg("row %zu", i);
        if (rc == 0)
            assert_string_equal(buf_str(&out), rows[i].want);
        else
            assert_int_equal(e.code, ERR_MAILBOX_NAME);
    }
    for (size_t i = 0; i < sizeof deep; i++)
        deep[i] = i & 1 ? '/' : 'a';
    assert_int_equal(folder_normalise(slice_of(deep, 63), &out, &e), 0);  /* 32 parts */
    assert_int_equal(folder_normalise(slice_of(deep, 65), &out, &e), -1); /* 33 */
    assert_int_equal(folder_normalise(SLICE("a\0b"), &out, &e), -1);
    buf_free(&out);
    (void)state;
}

static void disk(void **state)
{
    static const struct {
        const char *name, *disk;
    } rows[] = {
        {"INBOX", ""},
        {"INBOX/a", ".INBOX.a"},
        {"A/B", ".A.B"},
        {"cur", ".cur"},
        {"new", ".new"},
        {"tmp", ".tmp"},
        {"dovecot-uidlist", ".dovecot-uidlist"},
        {".", ".&AC4-"},
        {"..", ".&AC4ALg-"},
        {"../../x", ".&AC4ALg-.&AC4ALg-.x"},
        {"a.b", ".a&AC4-b"},
        {"Entw\xc3\xbcrfe/R&D", ".Entw&APw-rfe.R&-D"},
        {"*%\"\\", ".*%\"\\"},
    };
    struct buf out = BUF_INIT(2000), back = BUF_INIT(2000);
    char part[300];
    struct err e;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        buf_clear(&back);
        assert_int_equal(folder_to_disk(slice_str(rows[i].name), &out, &e), 0);
        assert_true(slice_eq(buf_slice(&out), slice_str(rows[i].disk)));
        if (!out.n)
            continue;
        assert_true(folder_from_disk(buf_slice(&out), &back));
        assert_true(slice_eq(buf_slice(&back), slice_str(rows[i].name)));
    }
    memset(part, 'a', sizeof part);
    assert_int_equal(folder_to_disk(slice_of(part, 254), &out, &e), 0);
    assert_int_equal(folder_to_disk(slice_of(part, 255), &out, &e), -1);
    assert_int_equal(e.code, ERR_MAILBOX_NAME);
    buf_free(&out);
    buf_free(&back);
    (void)state;
}

static void no_mailbox(void **state)
{
    static const char *const rows[] = {
        "",
        ".",
        "..",
        "...",
        "cur",
        "new",
        "tmp",
        "x",
        ".a.",
        ".a..b",
        "..a",
        ".INBOX",
        ".inbox",
        ".inbox.a",
        ".&AGE-",
        ".&AC8-",
        ".&",
        ".a&AC4-.",
        ".\xc3\xa4",
        ".a\nb",
        "./x",
        ".a/b",
        "&AC4-",
        ".dU&AwhA-",
    };
    struct buf out = BUF_INIT(2000);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&out);
        if (folder_from_disk(slice_str(rows[i]), &out))
            fail_msg("took \"%s\"", rows[i]);
    }
    assert_false(folder_from_disk(SLICE(".a\0b"), &out));
    buf_free(&out);
    (void)state;
}

static void matches(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool match;
    } rows[] = {
        {"*", "a/b/c", true},
        {"%", "a", true},
        {"%", "a/b", false},
        {"%/%", "a/b", true},
        {"a*c", "a/b/c", true},
        {"a%c", "a/b/c", false},
        {"a%c", "abc", true},
        {"a%", "a", true},
        {"*%", "a/b", true},
        {"%*", "a/b", true},
        {"inbox", "INBOX", true},
        {"inb%", "INBOX", true},
        {"inbox/X", "INBOX/X", true},
        {"inbox/x", "INBOX/X", false},
        {"sent", "Sent", false},
        {"", "a", false},
        {"", "", true},
        {"a", "ab", false},
        {"ab", "a", false},
        {"*b*b*b", "abababa", false},
        {"*b*b*b*", "abababa", true},
        {"%/", "a/", true},
    };
    struct buf hostile = BUF_INIT(BUF_OWN);
    char name[1000];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (folder_match(slice_str(rows[i].pattern), slice_str(rows[i].name)) != rows[i].match)
            fail_msg("%s against %s", rows[i].pattern, rows[i].name);
    memset(name, 'a', sizeof name);
    for (int i = 0; i < 500; i++)
        buf_add(&hostile, SLICE("*a"));
    assert_true(folder_match(buf_slice(&hostile), slice_of(name, sizeof name)));
    buf_add(&hostile, SLICE("*b"));
    assert_false(folder_match(buf_slice(&hostile), slice_of(name, sizeof name)));
    for (int i = 0; i < 100000; i++)
        buf_add(&hostile, SLICE("%*"));
    assert_false(folder_match(buf_slice(&hostile), slice_of(name, sizeof name)));
    buf_free(&hostile);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(utf7), cmocka_unit_test(utf7_refuses),
        cmocka_unit_test(normalises), cmocka_unit_test(disk), cmocka_unit_test(no_mailbox),
        cmocka_unit_test(matches)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
