/* Requests of the postamt command: each verb, and everything that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/admin.h"
#include "common/log.h"

static char dir[64];
static struct directory *directory;
static struct buf answer = {.cap = BUF_OWN}, told = {.cap = BUF_OWN};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    struct buf repaired = BUF_INIT(1000);

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(dir, sizeof dir, "/tmp/test_admin.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    directory = directory_open(dir, &repaired, NULL);
    return directory ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    directory_close(directory);
    buf_free(&answer);
    buf_free(&told);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void on_item(void *ctx, struct slice json)
{
    (void)ctx;
    buf_add(&answer, json);
    buf_add_char(&answer, '\n');
}

static void on_change(void *ctx, struct slice address)
{
    (void)ctx;
    buf_add(&told, address);
    buf_add_char(&told, ' ');
}

/* Answers and, if it failed, the end. */
static enum err_code ask(struct slice request)
{
    const struct admin_hooks hooks = {.account_changed = on_change, .hash_scheme = "sha512crypt"};
    struct err e = {0};
    enum err_code code;

    buf_clear(&answer);
    buf_clear(&told);
    code = admin_handle(directory, request, &hooks, on_item, NULL, &e);
    if (code != ERR_OK)
        call_end(code, slice_str(e.detail), &answer);
    assert_int_equal(code, code == ERR_OK ? ERR_OK : e.code);
    return code;
}

struct row {
    const char *request;
    enum err_code code;
    const char *answer; /* all of it, or after "~" a part */
    const char *told;   /* to the hook */
};

static void run(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum err_code code = ask(slice_str(rows[i].request));
        const char *got = buf_str(&answer), *want = rows[i].answer ? rows[i].answer : "";

        if (code != rows[i].code)
            fail_msg("row %zu: %s: %s", i, err_row(code)->name, got);
        if (*want == '~' ? !strstr(got, want + 1) : strcmp(got, want) != 0)
            fail_msg("row %zu: %s", i, got);
        if (strcmp(buf_str(&told), rows[i].told ? rows[i].told : "") != 0)
            fail_msg("row %zu: told of %s", i, buf_str(&told));
    }
}

#define RUN(rows) run(rows, sizeof(rows) / sizeof *(rows))

/* RFC 8463, appendix A.1 */
#define KEY                                                                                                  \
    "-----BEGIN PRIVATE "                                                                                    \
    "KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n-----END "                \
    "PRIVATE KEY-----\\n"

static void verbs(void **state)
{
    static const struct row rows[] = {
        {"{\"verb\":\"domain list\"}", ERR_OK, "", NULL},
        {"{\"verb\":\"account add\",\"address\":\"ann@example.org\"}", ERR_NO_DOMAIN,
            "{\"error\":{\"code\":\"NO_DOMAIN\",\"text\":\"example.org is not a domain of this "
            "server\",\"fix\":\"add it "
            "with: postamt domain add example.org\"}}",
            NULL},
        {"{\"verb\":\"domain add\",\"domain\":\"example.org\",\"dry_run\":true}", ERR_OK,
            "{\"domain\":\"example.org\"}\n", NULL},
        {"{\"verb\":\"domain list\"}", ERR_OK, "", NULL},
        {"{\"verb\":\"domain add\",\"domain\":\"example.org\"}", ERR_OK, "{\"domain\":\"example.org\"}\n",
            NULL},
        {"{\"verb\":\"domain add\",\"domain\":\"example.org\",\"dry_run\":true}", ERR_EXISTS, "~EXISTS",
            NULL},
        {"{\"verb\":\"account "
         "add\",\"address\":\"ann@example.org\",\"name\":\"Ann\",\"quota\":\"2G\",\"password\":"
         "\"secret123\",\"dry_run\":true}",
            ERR_OK, "", NULL},
        {"{\"verb\":\"account list\"}", ERR_OK, "", NULL},
        {"{\"verb\":\"account "
         "add\",\"address\":\"Ann@example.org\",\"name\":\"Ann\",\"quota\":\"2G\",\"password\":"
         "\"secret123\"}",
            ERR_OK,
            "{\"address\":\"ann@example.org\",\"name\":\"Ann\",\"used\":null,\"quota\":2147483648,\"state\":"
            "\"active\"}\n",
            NULL},
        {"{\"verb\":\"account add\",\"address\":\"ann@example.org\",\"password\":\"secret123\"}", ERR_EXISTS,
            "~EXISTS", NULL},
        {"{\"verb\":\"account add\",\"address\":\"bob@example.org\",\"quota\":5000}", ERR_OK,
            "~\"no password\"", NULL},
        {"{\"verb\":\"account add\",\"address\":\"cid@example.org\",\"password\":\"short\"}", ERR_SYNTAX,
            "~too short", NULL},
        {"{\"verb\":\"account show\",\"address\":\"ann@example.org\"}", ERR_OK, "~\"scram\":true", NULL},
        {"{\"verb\":\"account show\",\"address\":\"cid@example.org\"}", ERR_NO_USER, "~postamt account list",
            NULL},
        {"{\"verb\":\"account usage\",\"address\":\"ann@example.org\",\"octets_added\":5}", ERR_OK, "", NULL},
        {"{\"verb\":\"account usage\",\"address\":\"cid@example.org\",\"octets_added\":5}", ERR_NO_USER,
            "~NO_USER", NULL},
        {"{\"verb\":\"account list\",\"domain\":\"example.com\"}", ERR_NO_DOMAIN, "~NO_DOMAIN", NULL},
        {"{\"verb\":\"password check\",\"address\":\"ann@example.org\",\"password\":\"secret123\"}", ERR_OK,
            "~\"right\":true", NULL},
        {"{\"verb\":\"password "
         "set\",\"address\":\"ann@example.org\",\"password\":\"secret124\",\"dry_run\":true}",
            ERR_OK, "~ann@example.org", NULL},
        {"{\"verb\":\"password check\",\"address\":\"ann@example.org\",\"password\":\"secret123\"}", ERR_OK,
            "~\"right\":true", NULL},
        {"{\"verb\":\"password set\",\"address\":\"ann@example.org\",\"password\":\"secret124\"}", ERR_OK,
            "~ann@example.org", "ann@example.org "},
        {"{\"verb\":\"password check\",\"address\":\"ann@example.org\",\"password\":\"secret123\"}", ERR_OK,
            "~\"right\":false", NULL},
        {"{\"verb\":\"password set\",\"address\":\"ann@example.org\",\"password\":\"ann@example.org\"}",
            ERR_SYNTAX, "~address itself", NULL},
        {"{\"verb\":\"password set\",\"address\":\"bob@example.org\"}", ERR_USAGE, "~exactly one", NULL},
        {"{\"verb\":\"password "
         "set\",\"address\":\"bob@example.org\",\"password\":\"secret123\",\"hash\":\"$6$x$y\"}",
            ERR_USAGE, "~exactly one", NULL},
        {"{\"verb\":\"password set\",\"address\":\"bob@example.org\",\"hash\":\"secret123\"}", ERR_SYNTAX,
            "~no hash", NULL},
        {"{\"verb\":\"password set\",\"address\":\"bob@example.org\",\"hash\":"
         "\"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\"}",
            ERR_OK, "~\"state\":\"active\"", "bob@example.org "},
        {"{\"verb\":\"password check\",\"address\":\"bob@example.org\",\"password\":\"Hello world!\"}",
            ERR_OK, "~\"right\":true", NULL},
        {"{\"verb\":\"account show\",\"address\":\"bob@example.org\"}", ERR_OK, "~\"scram\":false", NULL},
        {"{\"verb\":\"password set\",\"address\":\"bob@example.org\",\"password\":\"secret123\"}", ERR_OK,
            "~\"state\":\"active\"", "bob@example.org "},
        {"{\"verb\":\"account suspend\",\"address\":\"bob@example.org\"}", ERR_OK, "~\"state\":\"suspended\"",
            "bob@example.org "},
        {"{\"verb\":\"account resume\",\"address\":\"bob@example.org\"}", ERR_OK, "~\"state\":\"active\"",
            "bob@example.org "},
        {"{\"verb\":\"account suspend\",\"address\":\"cid@example.org\"}", ERR_NO_USER, "~NO_USER", NULL},
        {"{\"verb\":\"alias "
         "add\",\"address\":\"info@example.org\",\"target\":\"ann@example.org\",\"may_send\":true}",
            ERR_OK,
            "{\"address\":\"info@example.org\",\"target\":\"ann@example.org\",\"deliver\":true,\"may_send\":"
            "true}\n",
            NULL},
        {"{\"verb\":\"alias "
         "add\",\"address\":\"info@example.org\",\"target\":\"bob@example.org\",\"dry_run\":true}",
            ERR_OK, "~bob@example.org", NULL},
        {"{\"verb\":\"alias list\"}", ERR_OK,
            "{\"address\":\"info@example.org\",\"target\":\"ann@example.org\",\"deliver\":true,\"may_send\":"
            "true}\n",
            NULL},
        {"{\"verb\":\"alias test\",\"address\":\"info+x@example.org\"}", ERR_OK,
            "{\"address\":\"info+x@example.org\",\"step\":\"a sub-address: what stands before the + "
            "decides\"}\n"
            "{\"address\":\"ann@example.org\",\"step\":\"delivered to this account\"}\n",
            NULL},
        {"{\"verb\":\"alias test\",\"address\":\"zoe@example.org\"}", ERR_NO_USER, "~leads to no account",
            NULL},
        {"{\"verb\":\"alias test\",\"address\":\"zoe@example.com\"}", ERR_NO_DOMAIN, "~refused", NULL},
        {"{\"verb\":\"alias test\",\"address\":\"zoe\"}", ERR_SYNTAX, "~name@domain", NULL},
        {"{\"verb\":\"account remove\",\"address\":\"ann@example.org\"}", ERR_OK,
            "{\"address\":\"ann@example.org\",\"aliases_left\":[\"info@example.org\"]}\n",
            "ann@example.org "},
        {"{\"verb\":\"alias remove\",\"address\":\"info@example.org\",\"target\":\"ann@example.org\"}",
            ERR_OK, "~info@example.org", NULL},
        {"{\"verb\":\"alias remove\",\"address\":\"info@example.org\",\"target\":\"ann@example.org\"}",
            ERR_NO_USER, "~NO_USER", NULL},
        {"{\"verb\":\"domain dns\",\"domain\":\"Example.org.\"}", ERR_OK, "{\"domain\":\"example.org\"}\n",
            NULL},
        {"{\"verb\":\"domain dns\",\"domain\":\"example.com\"}", ERR_NO_DOMAIN, "~postamt domain list", NULL},
        {"{\"verb\":\"domain dkim\",\"domain\":\"example.org\"}", ERR_OK, "", NULL},
        {"{\"verb\":\"domain dkim\",\"domain\":\"example.org\",\"key\":\"none\"}", ERR_SYNTAX,
            "~private key in PEM", NULL},
        {"{\"verb\":\"domain dkim\",\"domain\":\"example.org\",\"dry_run\":true,\"key\":\"" KEY "\"}", ERR_OK,
            "{\"domain\":\"example.org\",\"algorithm\":\"ed25519\"}\n", NULL},
        {"{\"verb\":\"domain dkim\",\"domain\":\"example.org\",\"key\":\"" KEY "\"}", ERR_OK,
            "~\"record\":\"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"", NULL},
        {"{\"verb\":\"domain dkim\",\"domain\":\"example.org\",\"key\":\"" KEY "\"}", ERR_EXISTS, "~--rotate",
            NULL},
        {"{\"verb\":\"domain dkim\",\"domain\":\"example.org\",\"remove\":\"../x\"}", ERR_NO_USER,
            "~has no key", NULL},
        {"{\"verb\":\"domain dns\",\"domain\":\"example.org\"}", ERR_OK, "~\"algorithm\":\"ed25519\"", NULL},
        {"{\"verb\":\"domain add\",\"domain\":\"example.net\",\"key\":\"none\"}", ERR_SYNTAX,
            "~private key in PEM", NULL},
        {"{\"verb\":\"domain add\",\"domain\":\"no domain\",\"key\":\"" KEY "\"}", ERR_SYNTAX,
            "~is not a domain name", NULL},
        {"{\"verb\":\"domain dns\",\"domain\":\"example.net\"}", ERR_NO_DOMAIN, "~NO_DOMAIN", NULL},
        {"{\"verb\":\"domain remove\",\"domain\":\"example.org\"}", ERR_CANNOT, "~still has 1 accounts",
            NULL},
        {"{\"verb\":\"domain list\"}", ERR_OK, "{\"domain\":\"example.org\",\"accounts\":1,\"aliases\":0}\n",
            NULL},
    };

    (void)state;
    RUN(rows);
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        const char *quota; /* NULL: refused */
    } rows[] = {
        {"\"0\"", "0"},
        {"\"none\"", "0"},
        {"\"1000\"", "1000"},
        {"\"1k\"", "1024"},
        {"\"500M\"", "524288000"},
        {"\"2GB\"", "2147483648"},
        {"\"1t\"", "1099511627776"},
        {"7", "7"},
        {"-1", NULL},
        {"1.5", NULL},
        {"\"\"", NULL},
        {"\"G\"", NULL},
        {"\"-1\"", NULL},
        {"\"2X\"", NULL},
        {"\"2 G\"", NULL},
        {"\"99999999999T\"", NULL},
        {"\"9223372036854775808\"", NULL},
        {"null", NULL},
        {"[]", NULL},
    };

    (void)state;
    assert_int_equal(ask(SLICE("{\"verb\":\"domain add\",\"domain\":\"example.org\"}")), ERR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char request[200], want[60];
        enum err_code code;

        snprintf(request, sizeof request,
            "{\"verb\":\"account add\",\"address\":\"s%zu@example.org\",\"quota\":%s}", i, rows[i].text);
        code = ask(slice_str(request));
        if (code != (rows[i].quota ? ERR_OK : ERR_SYNTAX))
            fail_msg("row %zu: %s", i, buf_str(&answer));
        snprintf(want, sizeof want, "\"quota\":%s,", rows[i].quota ? rows[i].quota : "");
        if (rows[i].quota && !strstr(buf_str(&answer), want))
            fail_msg("row %zu: %s", i, buf_str(&answer));
    }
}

/* security.md F02: garbage on a local socket kills nothing and changes nothing. */
static void garbage(void **state)
{
    static const struct {
        struct slice request;
        enum err_code code;
    } rows[] = {
        {SLICE(""), ERR_USAGE},
        {SLICE("\0\0\0"), ERR_USAGE},
        {SLICE("\xff\xfe"), ERR_USAGE},
        {SLICE("[]"), ERR_USAGE},
        {SLICE("\"domain list\""), ERR_USAGE},
        {SLICE("{}"), ERR_USAGE},
        {SLICE("{\"verb\":1}"), ERR_USAGE},
        {SLICE("{\"verb\":null}"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain\"}"), ERR_USAGE},
        {SLICE("{\"verb\":\"Domain list\"}"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain list\",\"verb\":\"domain list\"}"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain list\"} x"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain list\",\"x\":1}"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain list\",\"dry_run\":1}"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain add\"}"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain add\",\"domain\":1}"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain add\",\"domain\":\"\"}"), ERR_SYNTAX},
        {SLICE("{\"verb\":\"domain add\",\"domain\":\"a\\u0000b\"}"), ERR_USAGE},
        {SLICE("{\"verb\":\"domain add\",\"domain\":\"a\\nb\"}"), ERR_SYNTAX},
        {SLICE("{\"verb\":\"account show\",\"address\":\"a' OR 1--\"}"), ERR_NO_USER},
        {SLICE("{\"verb\":\"account remove\",\"address\":\"*)(uid=*\"}"), ERR_NO_USER},
        {SLICE("{\"verb\":\"alias "
               "add\",\"address\":\"a@example.org\",\"target\":\"b@example.org\",\"may_send\":\"yes\"}"),
            ERR_USAGE},
    };
    struct buf deep = BUF_INIT(BUF_OWN), large = BUF_INIT(BUF_OWN);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum err_code code = ask(rows[i].request);

        if (code != rows[i].code)
            fail_msg("row %zu: %s", i, buf_str(&answer));
    }
    for (int i = 0; i < 60000; i++)
        buf_add_char(&deep, '[');
    assert_int_equal(ask(buf_slice(&deep)), ERR_USAGE);
    buf_add_str(&large, "{\"verb\":\"domain add\",\"domain\":\"");
    for (int i = 0; i < 65000; i++)
        buf_add_char(&large, 'a');
    buf_add_str(&large, "\"}");
    assert_int_equal(ask(buf_slice(&large)), ERR_SYNTAX);
    for (int i = 0; i < 1000; i++)
        buf_add_char(&large, ' ');
    assert_int_equal(ask(buf_slice(&large)), ERR_USAGE);
    buf_clear(&large);
    buf_add_str(&large, "{\"verb\":\"account add\",\"address\":\"");
    for (int i = 0; i < 400; i++)
        buf_add_char(&large, 'a');
    buf_add_str(&large, "@example.org\"}");
    assert_int_equal(ask(buf_slice(&large)), ERR_SYNTAX);
    assert_int_equal(ask(SLICE("{\"verb\":\"domain list\"}")), ERR_OK);
    assert_int_equal(answer.n, 0);
    buf_free(&deep);
    buf_free(&large);
}

static void ends(void **state)
{
    static const struct {
        enum err_code code;
        const char *detail, *want;
    } rows[] = {
        {ERR_OK, "", "{}"},
        {ERR_IO, "no", "{\"error\":{\"code\":\"IO\",\"text\":\"no\",\"fix\":\"\"}}"},
        {ERR_CANNOT, "no \"x\"; do y; or z",
            "{\"error\":{\"code\":\"CANNOT\",\"text\":\"no \\\"x\\\"\",\"fix\":\"do y; or z\"}}"},
        {ERR_EXISTS, "", "{\"error\":{\"code\":\"EXISTS\",\"text\":\"that exists already\",\"fix\":\"\"}}"},
        {ERR_IO, "\xff", "{\"error\":{\"code\":\"IO\",\"text\":\"?\",\"fix\":\"\"}}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF_INIT(BUF_OWN);
        struct err e = {.code = rows[i].code};

        snprintf(e.detail, sizeof e.detail, "%s", rows[i].detail);
        call_end(rows[i].code, slice_str(e.detail), &out);
        assert_string_equal(buf_str(&out), rows[i].want);
        buf_free(&out);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(verbs), T(sizes), T(garbage), cmocka_unit_test(ends)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
