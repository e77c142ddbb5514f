/* What a mail program's message lacks, must lose, and whose it says it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mail/submitted.h"

static const struct submitted who = {.from = {"anna@example.org", 16},
    .host = {"mx.example.org", 14},
    .id = {"0abcdefghjkmn", 13},
    .now = 1764547200};

/* The message as it leaves. */
static void fix(const char *text, const char *want)
{
    struct trace_range cuts[8];
    struct buf out = BUF_INIT(10000);
    size_t n = submitted_fix(slice_str(text), &who, cuts, 8, &out), at = 0;

    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++) {
        buf_add(&out, slice_sub(slice_str(text), at, cuts[i].offset - at));
        at = cuts[i].offset + cuts[i].len;
    }
    buf_add(&out, slice_from(slice_str(text), at));
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

static void fills_in_and_cuts(void **state)
{
    (void)state;
    fix("Subject: x\r\n\r\nFrom: body\r\n",
        "Date: Mon, 1 Dec 2025 00:00:00 +0000\r\nFrom: <anna@example.org>\r\nMessage-ID: "
        "<0abcdefghjkmn@mx.example.org>\r\nSubject: x\r\n\r\nFrom: body\r\n");
    fix("from : a@b\r\nDATE: y\r\nMessage-Id: z\r\n\r\n", "from : a@b\r\nDATE: y\r\nMessage-Id: z\r\n\r\n");
    fix("From: a@b\r\nBcc: secret@example.com,\r\n other@example.com\r\nDate: y\r\nBCC:\r\nMessage-ID: "
        "z\r\nReturn-Path: <x@y>\r\nresent-bcc: q@r\r\nAuthentication-Results: mx.example.org; "
        "dkim=pass\r\nX-Bcc: stays\r\n\r\nBcc: body\r\n",
        "From: a@b\r\nDate: y\r\nMessage-ID: z\r\nX-Bcc: stays\r\n\r\nBcc: body\r\n");
    fix("", "Date: Mon, 1 Dec 2025 00:00:00 +0000\r\nFrom: <anna@example.org>\r\nMessage-ID: "
            "<0abcdefghjkmn@mx.example.org>\r\n");
}

static void counts_beyond_its_room(void **state)
{
    struct trace_range cuts[2] = {{0, 0}, {77, 77}};
    struct buf add = BUF_INIT(1000);

    (void)state;
    assert_int_equal(submitted_fix(SLICE("Bcc: a\nBcc: b\nX: y\nBcc: c"), &who, cuts, 1, &add), 3);
    assert_int_equal(cuts[0].len, 7);
    assert_int_equal(cuts[1].len, 77);
    buf_free(&add);
}

static void who_wrote_it(void **state)
{
    static const struct {
        const char *text;
        const char *want; /* NULL: refused */
    } rows[] = {
        {"Subject: x\r\n\r\n", ""}, {"From: anna@example.org\r\n", "anna@example.org "},
        {"From: Anna Amsel <anna@example.org>\r\n", "anna@example.org "},
        {"FROM : \"Amsel, Anna\" (her) <anna@example.org> (work)\r\n", "anna@example.org "},
        {"From: anna@example.org (Anna, of <x@y>)\r\n", "anna@example.org "},
        {"From: =?utf-8?q?J=C3=B6rg?= =?utf-8?q?_B?= <j@b>\r\n", "j@b "},
        {"From: a@b,\r\n c@d, Max <e@f>\r\n", "a@b c@d e@f "}, {"From: A. B. C. <a@b>,\r\n", "a@b "},
        {"From: \"a b\"@c\r\n", "\"a b\"@c "},
        {"From: \"boss@example.org\" <a@b>\r\n", "a@b "}, /* a display name may lie */
        {"From: J\xc3\xb6rg <j\xc3\xb6rg@b>\r\n", "j\xc3\xb6rg@b "}, {"From: J\xf6rg <j@b>\r\n", "j@b "},
        /* two readers, two authors */
        {"From: a@b\r\nFrom: c@d\r\n", NULL}, {"From: boss@example.org <a@b>\r\n", NULL},
        {"From: <boss@example.org> <a@b>\r\n", NULL}, {"From: <a@b> boss@example.org\r\n", NULL},
        {"From: boss@example.org a@b\r\n", NULL}, {"From: a@b boss@example.org\r\n", NULL},
        {"From: <boss@example.org, a@b>\r\n", NULL}, {"From: a@b, boss@example.org@c\r\n", NULL},
        {"From: a@b, boss\r\n", NULL}, {"From: <@boss.example:a@b>\r\n", NULL},
        {"From: a@b, friends: c@d;\r\n", NULL}, {"From: nobody:;\r\n", NULL}, {"From: <>\r\n", NULL},
        {"From:\r\n", NULL}, {"From: ,\r\n", NULL}, {"From: Anna\r\n", NULL},
        {"From: \"Anna <a@b>\r\n", NULL}, {"From: (Anna <a@b>\r\n", NULL}, {"From: a@b)\r\n", NULL},
        {"From: Anna <a@b\r\n", NULL}, {"From: a @b\r\n", NULL},
        {"From: a@1, a@2, a@3, a@4, a@5\r\n", NULL}, /* more than max */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf got = BUF_INIT(1000);
        struct slice from[4];
        struct arena arena;
        size_t n;
        bool ok;

        arena_init(&arena, 1 << 16);
        ok = submitted_from(slice_str(rows[i].text), &arena, from, 4, &n);
        for (size_t k = 0; ok && k < n; k++)
            buf_printf(&got, "%.*s ", SLICE_FMT(from[k]));
        if (ok != (rows[i].want != NULL) || (ok && !slice_eq(buf_slice(&got), slice_str(rows[i].want))))
            fail_msg("%s gives %s%s", rows[i].text, ok ? "" : "nothing", buf_str(&got));
        buf_free(&got);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in_and_cuts),
        cmocka_unit_test(counts_beyond_its_room),
        cmocka_unit_test(who_wrote_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
