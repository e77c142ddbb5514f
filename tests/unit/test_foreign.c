#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/foreign.h"

/* The list as text: "<uidvalidity>/<uidnext>", then " <unique>=<uid>[/<POP3 id>]" by unique part. */
static void render(const struct foreign *f, struct buf *out)
{
    buf_printf(out, "%lu/%llu", (unsigned long)f->uidvalidity, (unsigned long long)f->uidnext);
    for (size_t i = 0; i < f->n; i++) {
        buf_add_char(out, ' ');
        buf_add(out, f->entries[i].unique);
        buf_printf(out, "=%lu", (unsigned long)f->entries[i].uid);
        if (f->entries[i].uidl.n) {
            buf_add_char(out, '/');
            buf_add(out, f->entries[i].uidl);
        }
    }
}

static void lists(void **state)
{
    static const struct {
        const char *text, *expect; /* NULL: no list */
    } rows[] = {
        {"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n"
         "25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n"
         "25017 W2481 :1276533073.M242911P3632.kurkku:2,F\n",
            "1275660208/25022 1276528487.M364837P9451.kurkku=25006 1276533073.M242911P3632.kurkku=25017"},
        /* appended lines are above the header's next UID */
        {"3 V7 N3 Gx\n1 :a\n2 :b\n3 :c\n9 :d,S=4\n", "7/10 a=1 b=2 c=3 d=9"},
        {"3 N3 V7\n1 :a\n", "7/3 a=1"},
        {"3 V7\n4 :a\n", "7/5 a=4"},
        {"1 1130000000 300\n1 1130000001.1.host\n299 1130000002.2.host,S=5:2,RS\n",
            "1130000000/300 1130000001.1.host=1 1130000002.2.host=299"},
        /* version 1 knows its end: what is beyond is damage */
        {"1 7 3\n1 a\n3 b\n", "7/3 a=1"},
        {"1 7 300\n", "7/300"},
        /* POP3 ids; one with a character that no POP3 id has, one too long */
        {"3 V7 N9\n1 PUID1-77 W5 :a\n2 W9 P0001.abc :b\n3 Px\x7fy :c\n4 P"
         "1234567890123456789012345678901234567890123456789012345678901234567890x :d\n",
            "7/9 a=1/UID1-77 b=2/0001.abc c=3 d=4"},
        /* a UID twice, a name twice, UIDs out of order, a UID from nowhere */
        {"3 V7 N9\n1 :a\n1 :b\n", "7/9 a=1"},
        {"3 V7 N9\n1 :a,S=3\n5 :a,S=4\n", "7/9 a=5"},
        {"3 V7 N9\n5 :a\n2 :b\n", "7/9 a=5 b=2"},
        {"3 V7 N9\n1 :a\n4294967295 :b\n10 :c\n", "7/11 a=1 c=10"},
        /* damage: torn lines, no numbers, no names, names that are none */
        {"3 V7 N9\n1 :a\n2\n3 \n4 W\n5 :\n6 :.x\n7 :x/y\nx :b\n0 :c\n-1 :d\n\n8 :e", "7/9 a=1 e=8"},
        {"3 V7 N9\r\n1 :a\n", NULL},
        {"3 V0 N9\n1 :a\n", NULL},
        {"3 V7 Nx\n1 :a\n", NULL},
        {"3 N9\n1 :a\n", NULL},
        {"1 7\n1 a\n", NULL},
        {"2 7 3\n1 a\n", NULL},
        {"1 99999999999 3\n", NULL},
        {"\n3 V7 N9\n", NULL},
        {"", NULL},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct foreign f = FOREIGN_INIT;
        struct buf out = BUF_INIT(4096);
        bool ok = foreign_parse(slice_str(rows[i].text), &f);

        assert_int_equal(ok, rows[i].expect != NULL);
        render(&f, &out);
        if (ok)
            assert_string_equal(buf_str(&out), rows[i].expect);
        else
            assert_int_equal(f.uidvalidity, 0);
        buf_free(&out);
        foreign_free(&f);
    }
    (void)state;
}

static void finds(void **state)
{
    struct foreign f = FOREIGN_INIT;

    assert_true(foreign_parse(SLICE("3 V7 N9\n3 :c\n1 :a\n2 :b\n"), &f));
    assert_int_equal(foreign_find(&f, SLICE("b"))->uid, 2);
    assert_null(foreign_find(&f, SLICE("bb")));
    assert_null(foreign_find(&f, SLICE("")));
    foreign_free(&f);
    (void)state;
}

static void courier_pop3(void **state)
{
    static const struct {
        const char *list, *pop3, *expect;
    } rows[] = {
        {"1 500 10\n1 a\n2 b\n3 c\n", "/2 10 500\na,S=3:2,S 3 1:500\nb 4 0:0\nc 5 2:499\n",
            "500/10 a=1/UID1-500 b=2/b c=3/UID2-499"},
        /* nobody ever came by IMAP */
        {"", "/3 4 9\nq,S=7:2, 9 3:9:u\nx+y'z:2,S 7 0:0\nz 9 3:0\n", "0/0 x+y'z=0/x+2By+27z z=0/UID3"},
        {"1 500 10\n1 a\n", "/1 10 500\na 3 1:500\n", "500/10 a=1"},
        {"1 500 10\n1 a\n", "a 3\n", "500/10 a=1"},
        {"1 500 10\n1 a\n", "/2 10 500\na\na 3\na 3 x:1\n a 1:1\n 3 1:1\n", "500/10 a=1"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct foreign f = FOREIGN_INIT;
        struct buf out = BUF_INIT(4096);

        foreign_parse(slice_str(rows[i].list), &f);
        foreign_parse_pop3(slice_str(rows[i].pop3), &f);
        render(&f, &out);
        assert_string_equal(buf_str(&out), rows[i].expect);
        buf_free(&out);
        foreign_free(&f);
    }
    (void)state;
}

static void courier_keywords(void **state)
{
    static const struct {
        const char *text, *expect;
    } rows[] = {
        {"$Label1\nNonJunk\n\n123.M1.host:0 1\n124.M2.host,S=5:1\n",
            "123.M1.host $Label1 NonJunk;124.M2.host NonJunk;"},
        {"$Label1\n\n", ""},
        {"$Label1\n", ""},
        {"\n123:0\n", "123;"},
        {"A\nB\n\nx:7 0\ny:\n:0\nz\nw:-1 x 1\n", "x A;y;w B;"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct foreign_keywords k;
        struct buf out = BUF_INIT(4096);
        struct slice name;

        foreign_keywords_begin(&k, slice_str(rows[i].text));
        while (foreign_keywords_next(&k)) {
            buf_add(&out, k.unique);
            while (foreign_keyword(&k, &name)) {
                buf_add_char(&out, ' ');
                buf_add(&out, name);
            }
            buf_add_char(&out, ';');
        }
        assert_string_equal(buf_str(&out), rows[i].expect);
        buf_free(&out);
    }
    (void)state;
}

static void subscriptions(void **state)
{
    static const struct {
        const char *line;
        bool courier;
        const char *expect;
    } rows[] = {
        {"A.B", false, "A.B"},
        {"A\tB", false, "A.B"},
        {"inbox", false, "INBOX"},
        {"INBOX.A.B", true, "A.B"},
        {"INBOX", true, "INBOX"},
        {"#shared.x", true, NULL},
        {"a\1tb", false, NULL},
        {"", false, NULL},
        {"INBOX.", true, NULL},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF_INIT(300);
        bool ok = foreign_subscription(slice_str(rows[i].line), rows[i].courier, &out);

        assert_int_equal(ok, rows[i].expect != NULL);
        if (ok)
            assert_string_equal(buf_str(&out), rows[i].expect);
        buf_free(&out);
    }
    (void)state;
}

static void uidvalidity(void **state)
{
    uint32_t v = 0;

    assert_true(foreign_parse_uidvalidity(SLICE("5f3a0b01"), &v));
    assert_int_equal(v, 0x5f3a0b01);
    assert_true(foreign_parse_uidvalidity(SLICE("0000000a\n"), &v));
    assert_int_equal(v, 10);
    assert_false(foreign_parse_uidvalidity(SLICE(""), &v));
    assert_false(foreign_parse_uidvalidity(SLICE("00000000"), &v));
    assert_false(foreign_parse_uidvalidity(SLICE("5f3a0b01f"), &v));
    assert_false(foreign_parse_uidvalidity(SLICE("5f3a0b0g"), &v));
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(finds),
        cmocka_unit_test(courier_pop3),
        cmocka_unit_test(courier_keywords),
        cmocka_unit_test(subscriptions),
        cmocka_unit_test(uidvalidity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
