/* The command line against the table of verbs: what is understood, what is refused and with which advice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/args.h"
#include "admin/output.h"
#include "common/mem.h"

#define WORDS 24

/* Parses "account add a@b": words divided by blanks. *copy holds them. */
static enum err_code parse(const char *line, struct args *a, struct fault *f, char **copy)
{
    char *argv[WORDS] = {(char *)(uintptr_t) "postamt"}, *at = *copy = mem_strdup(line);
    int argc = 1;

    while (at && *at && argc < WORDS) {
        argv[argc++] = at;
        at = strchr(at, ' ');
        if (at)
            *at++ = '\0';
    }
    memset(f, 0, sizeof *f);
    return args_parse(a, argc, argv, f);
}

static void lines_are_understood(void **state)
{
    static const struct {
        const char *line, *noun, *verb, *first, *second;
    } rows[] = {
        {"account", "account", "list", NULL, NULL},
        {"account list", "account", "list", NULL, NULL},
        {"account list example.org", "account", "list", "example.org", NULL},
        {"domain", "domain", "list", NULL, NULL},
        {"alias", "alias", "list", NULL, NULL},
        {"config", "config", "diff", NULL, NULL},
        {"status", "status", NULL, NULL, NULL},
        {"status --json", "status", NULL, NULL, NULL},
        {"account add a@b.org", "account", "add", "a@b.org", NULL},
        {"--config /f account --quota 2G add --name Anna a@b.org", "account", "add", "a@b.org", NULL},
        {"account add a@b.org --quota=2G --generate", "account", "add", "a@b.org", NULL},
        {"alias add a@b.org c@b.org --may-send", "alias", "add", "a@b.org", "c@b.org"},
        {"account show -- --json", "account", "show", "--json", NULL},
        {"account show -", "account", "show", "-", NULL},
        {"queue", "queue", "list", NULL, NULL},
        {"queue drop 0dj3k8m2q4r7t 0dj3k8m2q4r7v --from <> --yes", "queue", "drop", "0dj3k8m2q4r7t",
            "0dj3k8m2q4r7v"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct args a;
        struct fault f;
        char *copy;

        assert_int_equal(parse(rows[i].line, &a, &f, &copy), ERR_OK);
        assert_non_null(a.verb);
        assert_string_equal(a.noun, rows[i].noun);
        if (rows[i].verb)
            assert_string_equal(a.verb->name, rows[i].verb);
        else
            assert_null(a.verb->name);
        assert_int_equal(a.nobjects, (rows[i].first != NULL) + (rows[i].second != NULL));
        if (rows[i].first)
            assert_string_equal(a.object[0], rows[i].first);
        if (rows[i].second)
            assert_string_equal(a.object[1], rows[i].second);
        free(copy);
    }
}

static void flags_have_their_values(void **state)
{
    struct args a;
    struct fault f;
    char *copy;

    (void)state;
    assert_int_equal(
        parse("--config /f account --quota=2G add --name --x a@b.org --hash", &a, &f, &copy), ERR_OK);
    assert_string_equal(a.flag[FLAG_CONFIG], "/f");
    assert_string_equal(a.flag[FLAG_QUOTA], "2G");
    assert_string_equal(a.flag[FLAG_NAME], "--x");
    assert_string_equal(a.flag[FLAG_HASH], "");
    assert_null(a.flag[FLAG_JSON]);
    assert_null(a.flag[FLAG_GENERATE]);
    free(copy);
    assert_int_equal(parse("account add a@b.org --name= ", &a, &f, &copy), ERR_OK);
    assert_string_equal(a.flag[FLAG_NAME], "");
    free(copy);
}

static void lines_are_refused_with_advice(void **state)
{
    static const struct {
        const char *line, *text, *fix;
    } rows[] = {
        {"", "no noun was given", "see: postamt --help"},
        {"acount", "\"acount\" is no noun", "did you mean \"account\"?"},
        {"dom", "\"dom\" is no noun", "did you mean \"domain\"?"},
        {"zebra", "\"zebra\" is no noun", "see: postamt --help"},
        {"account lsit", "\"lsit\" is no verb of account", "did you mean \"list\"?"},
        {"account suspnd a@b.org", "\"suspnd\" is no verb of account", "did you mean \"suspend\"?"},
        {"account xyzzy", "\"xyzzy\" is no verb of account", "see: postamt account --help"},
        {"password", "password needs a verb", "see: postamt password --help"},
        {"account list --jsno", "\"--jsno\" is no flag", "did you mean \"--json\"?"},
        {"account list -json", "\"-json\" is no flag", "did you mean \"--json\"?"},
        {"account list --", NULL, NULL},
        {"account add", "something is missing", "write: postamt account add ADDRESS"},
        {"alias add a@b.org", "something is missing", "write: postamt alias add ADDRESS TARGET"},
        {"status x", "\"x\" is too much", "write: postamt status"},
        {"account show a b", "\"b\" is too much", "write: postamt account show ADDRESS"},
        {"account show a --quota 2G", "account show does not take --quota",
            "see: postamt account show --help"},
        {"account list --dry-run", "account list does not take --dry-run",
            "see: postamt account list --help"},
        {"account add a --quota", "--quota needs a value", "write --quota SIZE"},
        {"account add a --quota 1 --quota 2", "--quota was given twice", "write it once"},
        {"account add a --generate=x", "--generate takes no value", "leave out what follows the ="},
        {"account add a --generate --hash", "--generate and --hash exclude each other", "choose one"},
        {"account --json --plain", "--json and --plain exclude each other", "choose one"},
        {"queue lst", "\"lst\" is no verb of queue", "did you mean \"list\"?"},
        {"queue show", "something is missing", "write: postamt queue show ID"},
        {"queue retry --yes", "queue retry does not take --yes", "see: postamt queue retry --help"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct args a;
        struct fault f;
        char *copy;
        enum err_code code = parse(rows[i].line, &a, &f, &copy);

        if (!rows[i].text) {
            assert_int_equal(code, ERR_OK);
        } else {
            assert_int_equal(code, ERR_USAGE);
            assert_string_equal(f.text, rows[i].text);
            assert_string_equal(f.fix, rows[i].fix);
        }
        free(copy);
    }
}

static void many_ids_are_taken_too_many_are_not(void **state)
{
    static char postamt[] = "postamt", queue[] = "queue", list[] = "list", id[] = "0dj3k8m2q4r7t";
    char *argv[ARGS_MAX + 8] = {postamt, queue, list};
    struct args a;
    struct fault f = {0};

    (void)state;
    for (int i = 3; i < ARGS_MAX + 8; i++)
        argv[i] = id;
    assert_int_equal(args_parse(&a, ARGS_MAX + 3, argv, &f), ERR_OK);
    assert_int_equal(a.nobjects, ARGS_MAX);
    assert_int_equal(args_parse(&a, ARGS_MAX + 4, argv, &f), ERR_USAGE);
    assert_int_equal(args_parse(&a, ARGS_MAX + 8, argv, &f), ERR_USAGE);
    assert_string_equal(f.text, "there are too many words");
}

static void json_is_known_before_a_mistake_is_told(void **state)
{
    struct args a;
    struct fault f;
    char *copy;

    (void)state;
    assert_int_equal(parse("acount --jsno --json", &a, &f, &copy), ERR_USAGE);
    assert_non_null(a.flag[FLAG_JSON]);
    free(copy);
}

static void help_is_given_at_every_level(void **state)
{
    static const struct {
        const char *line, *noun, *verb;
    } rows[] = {{"--help", NULL, NULL}, {"help", NULL, NULL}, {"account -h", "account", NULL},
        {"help account", "account", NULL}, {"account add --help", "account", "add"},
        {"help alias test", "alias", "test"}, {"status --help", "status", NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct args a;
        struct fault f;
        char *copy;

        assert_int_equal(parse(rows[i].line, &a, &f, &copy), ERR_OK);
        assert_non_null(a.flag[FLAG_HELP]);
        if (rows[i].noun)
            assert_string_equal(a.noun, rows[i].noun);
        else
            assert_null(a.noun);
        if (rows[i].verb)
            assert_string_equal(a.verb->name, rows[i].verb);
        free(copy);
    }
}

static void rows_are_whole(void **state)
{
    (void)state;
    for (const struct verb *v = verbs; v->noun; v++) {
        char start[80];

        assert_non_null(noun_find(v->noun));
        assert_non_null(v->run);
        assert_true(v->least <= v->most && v->most <= ARGS_MAX);
        assert_int_equal(v->flags & FLAGS_ALL, 0);
        /* what destroys can be tried */
        assert_true(!(v->flags & FLAG_BIT(FLAG_YES)) || (v->flags & FLAG_BIT(FLAG_DRY_RUN)));
        snprintf(start, sizeof start, "postamt %s%s%s", v->noun, v->name ? " " : "", v->name ? v->name : "");
        for (int i = 0; i < 2; i++) {
            assert_non_null(v->example[i]);
            assert_memory_equal(v->example[i], start, strlen(start));
        }
        assert_string_not_equal(v->example[0], v->example[1]);
    }
}

static void every_failure_has_an_exit_status_and_advice(void **state)
{
    static const int known[] = {1, 64, 65, 67, 69, 73, 75, 77, 78};

    (void)state;
    assert_int_equal(fault_exit(ERR_OK), 0);
    for (unsigned i = 1; i < ERR_COUNT; i++) {
        struct fault f = {0};
        bool found = false;

        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found |= fault_exit((enum err_code)i) == known[k];
        assert_true(found);
        fault_set(&f, (enum err_code)i, NULL, "it failed");
        assert_string_not_equal(f.fix, "");
    }
    assert_int_equal(fault_exit(ERR_NO_DOMAIN), 67);
    assert_int_equal(fault_exit(ERR_NOT_RUNNING), 69);
    assert_int_equal(fault_exit(ERR_EXISTS), 73);
    assert_int_equal(fault_exit(ERR_NOT_PERMITTED), 77);
    assert_int_equal(fault_exit(ERR_CONFIG), 78);
}

static void answers_end_well_or_with_a_fault(void **state)
{
    static const struct {
        const char *json;
        enum err_code code;
        const char *text, *fix;
    } rows[] = {
        {"{}", ERR_OK, "", ""},
        {"{\"error\":{\"code\":\"NO_DOMAIN\",\"text\":\"x.org is not ours; add it\",\"fix\":\"\"}}",
            ERR_NO_DOMAIN, "x.org is not ours", "add it"},
        {"{\"error\":{\"code\":\"EXISTS\",\"text\":\"it is there\",\"fix\":\"take another\"}}", ERR_EXISTS,
            "it is there", "take another"},
        /* the sentence of a network reply is no advice */
        {"{\"error\":{\"code\":\"EXISTS\",\"text\":\"it is there\",\"fix\":\"that exists already\"}}",
            ERR_EXISTS, "it is there", "nothing needs to be done, or choose another name"},
        {"{\"error\":{\"code\":\"CONFIG\",\"text\":\"f:1: a; b\\nf:2: c; d\\n\"}}", ERR_CONFIG,
            "f:1: a; b\nf:2: c; d", "correct the file, then try it with: postamt config check"},
        {"{\"error\":{\"code\":\"OK\",\"text\":\"what\"}}", ERR_INTERNAL, "what", NULL},
        {"{\"error\":{\"code\":\"NEWER\",\"text\":\"what\"}}", ERR_INTERNAL, "what", NULL},
        {"{\"error\":7}", ERR_INTERNAL, NULL, NULL},
        {"[]", ERR_INTERNAL, NULL, NULL},
        {"{", ERR_INTERNAL, NULL, NULL},
        {"", ERR_INTERNAL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fault f = {0};

        assert_int_equal(fault_read(&f, slice_str(rows[i].json)), rows[i].code);
        if (rows[i].text)
            assert_string_equal(f.text, rows[i].text);
        if (rows[i].fix)
            assert_string_equal(f.fix, rows[i].fix);
    }
}

static void sizes_times_and_foreign_text_are_shown(void **state)
{
    static const struct {
        uint64_t octets;
        const char *text;
    } sizes[] = {{0, "0"}, {1023, "1023"}, {1024, "1K"}, {1536, "1.5K"}, {(uint64_t)2 << 30, "2G"},
        {10240 + 900, "10K"}, {UINT64_MAX, "15E"}};
    static const struct {
        int64_t seconds;
        const char *text;
    } times[] = {{-1, "0 s"}, {59, "59 s"}, {60, "1 min"}, {3700, "1 h 1 min"}, {86400 * 3, "3 days"}};
    struct buf out = BUF_INIT(100);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        buf_clear(&out);
        output_size(&out, sizes[i].octets);
        assert_string_equal(buf_str(&out), sizes[i].text);
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        buf_clear(&out);
        output_duration(&out, times[i].seconds);
        assert_string_equal(buf_str(&out), times[i].text);
    }
    buf_clear(&out);
    output_clean(&out, SLICE("a\033[2Jb\tc\nd\xff\xc3\xbc"), false);
    assert_string_equal(buf_str(&out), "a?[2Jb?c?d?\xc3\xbc");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_understood),
        cmocka_unit_test(flags_have_their_values),
        cmocka_unit_test(lines_are_refused_with_advice),
        cmocka_unit_test(many_ids_are_taken_too_many_are_not),
        cmocka_unit_test(json_is_known_before_a_mistake_is_told),
        cmocka_unit_test(help_is_given_at_every_level),
        cmocka_unit_test(rows_are_whole),
        cmocka_unit_test(every_failure_has_an_exit_status_and_advice),
        cmocka_unit_test(answers_end_well_or_with_a_fault),
        cmocka_unit_test(sizes_times_and_foreign_text_are_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
