/* Trace fields: RFC 5321 4.4, RFC 8601 5, security.md S19. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mail/trace.h"

static const struct trace plain = {
    .reverse_path = {"a@b.example", 11},
    .helo = {"client.example", 14},
    .client_ip = {"192.0.2.1", 9},
    .by = {"mx.example.org", 14},
    .id = {"4fXyz1", 6},
    .now = 1795475742,
};

static void expect(const struct trace *t, bool with_return_path, const char *want)
{
    struct buf out = BUF_INIT(BUF_OWN);

    trace_write(&out, t, with_return_path);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

static void writes_all_forms(void **state)
{
    struct trace t = plain;

    (void)state;
    expect(&t, true,
        "Return-Path: <a@b.example>\r\n"
        "Received: from client.example ([192.0.2.1])\r\n"
        "\tby mx.example.org with SMTP\r\n"
        "\tid 4fXyz1;\r\n"
        "\tMon, 23 Nov 2026 23:15:42 +0000\r\n");
    t.esmtp = true;
    t.client_ip = SLICE("2001:db8::1");
    t.client_name = SLICE("rev.example");
    t.tls = SLICE("TLSv1.3 cipher TLS_AES_256_GCM_SHA384");
    t.for_address = SLICE("\"u > v\"@example.org");
    expect(&t, false,
        "Received: from client.example (rev.example [IPv6:2001:db8::1])\r\n"
        "\tby mx.example.org with ESMTPS\r\n"
        "\t(TLSv1.3 cipher TLS_AES_256_GCM_SHA384)\r\n"
        "\tid 4fXyz1\r\n"
        "\tfor <\"u > v\"@example.org>;\r\n"
        "\tMon, 23 Nov 2026 23:15:42 +0000\r\n");
    t.reverse_path = SLICE("");
    t.authenticated = true;
    t.helo = SLICE("[192.0.2.7]");
    t.for_address = SLICE("");
    expect(&t, true,
        "Return-Path: <>\r\n"
        "Received: from unknown\r\n"
        "\tby mx.example.org with ESMTPSA\r\n"
        "\t(TLSv1.3 cipher TLS_AES_256_GCM_SHA384)\r\n"
        "\tid 4fXyz1;\r\n"
        "\tMon, 23 Nov 2026 23:15:42 +0000\r\n");
}

static void protocol_names(void **state)
{
    static const struct {
        bool esmtp, auth, utf8, tls;
        const char *want;
    } rows[] = {
        {false, false, false, false, " with SMTP\r\n"},
        {true, false, false, false, " with ESMTP\r\n"},
        {true, true, false, false, " with ESMTPA\r\n"},
        {true, false, false, true, " with ESMTPS\r\n"},
        {true, true, false, true, " with ESMTPSA\r\n"},
        {true, false, true, false, " with UTF8SMTP\r\n"},
        {true, true, true, false, " with UTF8SMTPA\r\n"},
        {true, false, true, true, " with UTF8SMTPS\r\n"},
        {true, true, true, true, " with UTF8SMTPSA\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct trace t = plain;
        struct buf out = BUF_INIT(BUF_OWN);

        t.esmtp = rows[i].esmtp;
        t.authenticated = rows[i].auth;
        t.utf8 = rows[i].utf8;
        t.tls = rows[i].tls ? SLICE("TLSv1.3") : SLICE("");
        trace_write(&out, &t, false);
        assert_true(slice_find(buf_slice(&out), slice_str(rows[i].want)) >= 0);
        buf_free(&out);
    }
}

/* Every octet in every value: no new line, no control gets in, and the text keeps its shape. */
static void nothing_is_injected(void **state)
{
    struct slice *values[7];
    struct trace t;

    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[] = {'x', '\r', '\n', (char)c, '\n', '\0', 'S', ':', ' ', 'y'};

        for (int v = 0; v < 7; v++) {
            struct buf out = BUF_INIT(BUF_OWN);
            size_t lines = 0;

            t = plain;
            values[0] = &t.reverse_path, values[1] = &t.helo, values[2] = &t.client_ip,
            values[3] = &t.client_name;
            values[4] = &t.id, values[5] = &t.for_address, values[6] = &t.tls;
            *values[v] = slice_of(text, sizeof text);
            trace_write(&out, &t, true);
            for (size_t i = 0; i < out.n; i++) {
                assert_int_not_equal(out.p[i], '\0');
                if (out.p[i] == '\n') {
                    lines++;
                    assert_int_equal(out.p[i - 1], '\r');
                } else if (out.p[i] == '\r') {
                    assert_int_equal(out.p[i + 1], '\n');
                } else if (out.p[i] != '\t') {
                    assert_true(out.p[i] >= ' ' && out.p[i] != 0x7f);
                }
            }
            assert_int_equal(lines, 5 + (v == 5) + (v == 6));
            buf_free(&out);
        }
    }
}

static void values_have_an_end(void **state)
{
    static char text[100000];
    struct trace t = plain;
    struct buf out = BUF_INIT(BUF_OWN);

    (void)state;
    memset(text, 'h', sizeof text);
    t.helo = t.reverse_path = t.id = t.for_address = slice_of(text, sizeof text);
    trace_write(&out, &t, true);
    assert_true(out.n < 4000);
    buf_free(&out);
    t = plain;
    t.helo = SLICE("a) (b;c");
    expect(&t, false,
        "Received: from a???b?c ([192.0.2.1])\r\n"
        "\tby mx.example.org with SMTP\r\n"
        "\tid 4fXyz1;\r\n"
        "\tMon, 23 Nov 2026 23:15:42 +0000\r\n");
}

static void finds_forged_fields(void **state)
{
    static const struct {
        const char *field;
        bool forged;
    } rows[] = {
        {"Authentication-Results: mx.example.org; spf=pass\r\n", true},
        {"authentication-results : MX.Example.ORG 1; spf=pass\r\n", true},
        {"Authentication-Results:mx.example.org\r\n", true},
        {"Authentication-Results:\r\n\tmx.example.org;\r\n spf=pass\r\n", true},
        {"Authentication-Results: (a (b \\) c) ; d)\r\n (e) mx.example.org (f); spf=pass\r\n", true},
        {"Authentication-Results: (a)mx.example.org(f); spf=pass\r\n", true},
        {"Authentication-Results: \"mx.exam\\ple.org\"; spf=pass\r\n", true},
        {"Authentication-Results: mx . example . org; spf=pass\r\n", true},
        {"Authentication-Results: mx(x).example.org; spf=pass\r\n", true},
        {"Authentication-Results: mx.example.org.; spf=pass\r\n", true},
        {"Return-Path: <x@y>\r\n", true},
        {"RETURN-PATH  :\r\n\t<x@y>\n", true},
        {"Authentication-Results: other.example; spf=pass\r\n", false},
        {"Authentication-Results: mx.example.org.evil; spf=pass\r\n", false},
        {"Authentication-Results: x mx.example.org; spf=pass\r\n", false},
        {"Authentication-Results: (mx.example.org; spf=pass\r\n", false},
        {"Authentication-Results:\r\n", false},
        {"X-Authentication-Results: mx.example.org; spf=pass\r\n", false},
        {"Subject: x\r\n Return-Path: <x@y>\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text = BUF_INIT(10000);
        struct trace_range range;
        size_t n;

        buf_add_str(&text, "From: a@b\r\n");
        buf_add_str(&text, rows[i].field);
        buf_add_str(&text, "To: c@d\r\n\r\nReturn-Path: <body>\r\n");
        n = trace_forged(buf_slice(&text), SLICE("mx.example.org"), &range, 1);
        if (n != rows[i].forged)
            fail_msg("%s", rows[i].field);
        if (n) {
            assert_int_equal(range.offset, 11);
            assert_int_equal(range.len, strlen(rows[i].field));
        }
        buf_free(&text);
    }
}

static void counts_beyond_its_room(void **state)
{
    struct trace_range ranges[2] = {{0, 0}, {77, 77}};

    (void)state;
    assert_int_equal(
        trace_forged(SLICE("Return-Path: a\nReturn-Path: b\nX: y\nReturn-Path: c"), SLICE("x"), ranges, 1),
        3);
    assert_int_equal(ranges[0].len, 15);
    assert_int_equal(ranges[1].len, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_all_forms),
        cmocka_unit_test(protocol_names),
        cmocka_unit_test(nothing_is_injected),
        cmocka_unit_test(values_have_an_end),
        cmocka_unit_test(finds_forged_fields),
        cmocka_unit_test(counts_beyond_its_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
