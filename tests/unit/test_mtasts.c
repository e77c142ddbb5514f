/* MTA-STS: the TXT record, the policy file, patterns of mail servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "mail/mtasts.h"

static void records(void **state)
{
    static const struct {
        const char *text;
        enum mtasts_record result;
        const char *id;
    } rows[] = {
        {"v=STSv1; id=20160831085700Z;", MTASTS_RECORD, "20160831085700Z"},
        {"v=STSv1; id=1", MTASTS_RECORD, "1"},
        {"v=STSv1;id=a;", MTASTS_RECORD, "a"},
        {"v=STSv1; \t id=a \t ; \t", MTASTS_RECORD, "a"},
        {"v=STSv1; note=x.y; id=a; other=b", MTASTS_RECORD, "a"},
        {"v=STSv1; id=a; id=b;", MTASTS_RECORD, "a"},
        {"v=STSv1; id=12345678901234567890123456789012;", MTASTS_RECORD, "12345678901234567890123456789012"},
        {"v=STSv1; id=123456789012345678901234567890123;", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1; id=a-b;", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1; id=;", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1;", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1; ID=a;", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1; id=a; junk", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1; id=a;; x=y", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1; id=a; x=y=z", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1; id=a; x=\xc3\xa4", MTASTS_BAD_RECORD, NULL},
        {"v=STSv1", MTASTS_NO_RECORD, NULL},
        {"v=STSv10; id=a", MTASTS_NO_RECORD, NULL},
        {"v=stsv1; id=a", MTASTS_NO_RECORD, NULL},
        {"v=spf1 -all", MTASTS_NO_RECORD, NULL},
        {"", MTASTS_NO_RECORD, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice id = SLICE("");

        if (mtasts_record_parse(slice_str(rows[i].text), &id) != rows[i].result)
            fail_msg("%s", rows[i].text);
        if (rows[i].id && !slice_eq(id, slice_str(rows[i].id)))
            fail_msg("%s: id %.*s", rows[i].text, SLICE_FMT(id));
    }
}

static void policies(void **state)
{
    static const struct {
        const char *body;
        int mode; /* -1: refused */
        uint32_t max_age;
    } rows[] = {
        {"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n", 2,
            604800},
        {"version: STSv1\r\nmode: testing\r\nmx: a.example\r\nmax_age: 86400\r\n", 1, 86400},
        {"version: STSv1\nmode: none\nmax_age: 0", 0, 0},
        {"mx:a.example\nmax_age:\t1\nmode:enforce\nversion:STSv1", 2, 1},
        {"version: STSv1 \nmode: enforce\t\nmx: a.example  \nmax_age: 5 \r\n", 2, 5},
        {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 9999999999\n", 2, MTASTS_MAX_AGE},
        {"version: STSv1\nmode: enforce\nmode: none\nmx: a.example\nmax_age: 1\nmax_age: 2\n", 2, 1},
        {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1\nnews: \xc3\xa4 b c\n", 2, 1},
        {"version: STSv1\nmode: enforce\nmax_age: 1\n", -1, 0},
        {"version: STSv1\nmx: a.example\nmax_age: 1\n", -1, 0},
        {"version: STSv1\nmode: enforce\nmx: a.example\n", -1, 0},
        {"mode: enforce\nmx: a.example\nmax_age: 1\n", -1, 0},
        {"version: STSv2\nmode: enforce\nmx: a.example\nmax_age: 1\n", -1, 0},
        {"version: STSv1\nmode: Enforce\nmx: a.example\nmax_age: 1\n", -1, 0},
        {"version: STSv1\nmode: enforce\nmx: *.*.example\nmax_age: 1\n", -1, 0},
        {"version: STSv1\nmode: enforce\nmx: a.example b.example\nmax_age: 1\n", -1, 0},
        {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 12345678901\n", -1, 0},
        {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1\n", -1, 0},
        {"version: STSv1\n\nmode: enforce\nmx: a.example\nmax_age: 1\n\n \n", 2, 1},
        {"<html>404: nothing here</html>", -1, 0},
        {"", -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mtasts_policy p;
        bool good = mtasts_policy_parse(slice_str(rows[i].body), &p);

        if (good != (rows[i].mode >= 0))
            fail_msg("row %zu: %s", i, rows[i].body);
        if (good && ((int)p.mode != rows[i].mode || p.max_age != rows[i].max_age))
            fail_msg("row %zu: mode %d, max_age %u", i, (int)p.mode, p.max_age);
    }
}

static void patterns(void **state)
{
    static const struct {
        const char *pattern, *host;
        bool fits;
    } rows[] = {
        {"mail.example.com", "mail.example.com", true},
        {"mail.example.com", "MAIL.example.com", true},
        {"mail.example.com", "mail2.example.com", false},
        {"*.example.com", "mail.example.com", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", "a.mail.example.com", false},
        {"*.example.com", ".example.com", false},
        {"*.example.com", "mailexample.com", false},
        {"*.Example.com", "mx.example.COM", true},
    };
    struct mtasts_policy p;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (mtasts_mx_matches(slice_str(rows[i].pattern), slice_str(rows[i].host)) != rows[i].fits)
            fail_msg("%s and %s", rows[i].pattern, rows[i].host);
    assert_true(mtasts_policy_parse(
        SLICE("version: STSv1\nmode: enforce\nmx: a.example\nmx: *.b.example\nmax_age: 9\n"), &p));
    assert_true(mtasts_allows(&p, SLICE("a.example")));
    assert_true(mtasts_allows(&p, SLICE("mx1.b.example")));
    assert_false(mtasts_allows(&p, SLICE("b.example")));
    assert_false(mtasts_allows(&p, SLICE("c.example")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),
        cmocka_unit_test(policies),
        cmocka_unit_test(patterns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
