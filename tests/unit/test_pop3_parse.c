/* Lines of POP3 commands: security.md P02. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "pop3d/pop3.h"

struct row {
    const char *line;
    enum pop3_parse result;
    const char *name; /* NULL: none */
    bool has_message;
    uint32_t message, lines;
};

static const struct row rows[] = {
    {"STAT", POP3_PARSED, "STAT", false, 0, 0},
    {"stat", POP3_PARSED, "STAT", false, 0, 0},
    {"STAT ", POP3_PARSED, "STAT", false, 0, 0},
    {" NOOP", POP3_PARSED, "NOOP", false, 0, 0},
    {"STAT 1", POP3_BAD_ARGUMENTS, "STAT", false, 0, 0},
    {"QUIT now", POP3_BAD_ARGUMENTS, "QUIT", false, 0, 0},
    {"LIST", POP3_PARSED, "LIST", false, 0, 0},
    {"LIST 3", POP3_PARSED, "LIST", true, 3, 0},
    {"UIDL  003  ", POP3_PARSED, "UIDL", true, 3, 0},
    {"LIST 1 2", POP3_BAD_ARGUMENTS, "LIST", true, 1, 0},
    {"RETR", POP3_BAD_ARGUMENTS, "RETR", false, 0, 0},
    {"RETR 1", POP3_PARSED, "RETR", true, 1, 0},
    {"RETR 0", POP3_PARSED, "RETR", true, 0, 0},
    {"RETR -1", POP3_BAD_ARGUMENTS, "RETR", false, 0, 0},
    {"RETR +1", POP3_BAD_ARGUMENTS, "RETR", false, 0, 0},
    {"RETR 0x1", POP3_BAD_ARGUMENTS, "RETR", false, 0, 0},
    {"RETR 4294967295", POP3_PARSED, "RETR", true, 4294967295u, 0},
    {"RETR 4294967297", POP3_PARSED, "RETR", true, 0, 0},
    {"RETR 99999999999999999999999999", POP3_PARSED, "RETR", true, 0, 0},
    {"DELE 2", POP3_PARSED, "DELE", true, 2, 0},
    {"DELE\t2", POP3_UNKNOWN, NULL, false, 0, 0},
    {"TOP 1 0", POP3_PARSED, "TOP", true, 1, 0},
    {"TOP 1 10", POP3_PARSED, "TOP", true, 1, 10},
    {"TOP 1", POP3_BAD_ARGUMENTS, "TOP", true, 1, 0},
    {"TOP 1 99999999999", POP3_BAD_ARGUMENTS, "TOP", true, 1, 0},
    {"TOP 1 -1", POP3_BAD_ARGUMENTS, "TOP", true, 1, 0},
    {"TOP 1 1 1", POP3_BAD_ARGUMENTS, "TOP", true, 1, 1},
    {"RSET", POP3_PARSED, "RSET", false, 0, 0},
    {"CAPA", POP3_PARSED, "CAPA", false, 0, 0},
    {"USER x", POP3_LOGIN_ONLY, NULL, false, 0, 0},
    {"pass x", POP3_LOGIN_ONLY, NULL, false, 0, 0},
    {"APOP x y", POP3_LOGIN_ONLY, NULL, false, 0, 0},
    {"", POP3_UNKNOWN, NULL, false, 0, 0},
    {" ", POP3_UNKNOWN, NULL, false, 0, 0},
    {"RETRO 1", POP3_UNKNOWN, NULL, false, 0, 0},
    {"GET / HTTP/1.1", POP3_UNKNOWN, NULL, false, 0, 0},
};

static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        const struct pop3_command *row;
        struct pop3_arguments args;
        enum pop3_parse got = pop3_parse(slice_str(r->line), &row, &args);

        if (got != r->result || !row != !r->name || (row && strcmp(row->name, r->name) != 0) ||
            args.has_message != r->has_message || args.message != r->message || args.lines != r->lines)
            fail_msg("\"%s\": result %d, %s, message %u, lines %u", r->line, got, row ? row->name : "none",
                args.message, args.lines);
    }
}

/* A NUL ends no word. */
static void test_nul(void **state)
{
    const struct pop3_command *row;
    struct pop3_arguments args;

    (void)state;
    assert_int_equal(pop3_parse(SLICE("STAT\0"), &row, &args), POP3_UNKNOWN);
    assert_int_equal(pop3_parse(SLICE("RETR 1\0"), &row, &args), POP3_BAD_ARGUMENTS);
}

static void test_rows(void **state)
{
    (void)state;
    for (const struct pop3_command *const *c = pop3_commands; *c; c++) {
        assert_non_null((*c)->run);
        assert_int_equal(strncmp((*c)->rfc, "RFC ", 4), 0);
        assert_int_equal((*c)->shape == POP3_NOTHING, *(*c)->arguments == '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines), cmocka_unit_test(test_nul), cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
