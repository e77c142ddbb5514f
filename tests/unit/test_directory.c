/* Domains, accounts, aliases; where mail goes; what survives kill -9, a full disk and damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/directory.h"

static char dir[64];
static struct buf repaired = {.cap = 4096};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_directory.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&repaired);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct directory *open_it(void)
{
    struct err e = {0};
    struct directory *d;

    buf_clear(&repaired);
    d = directory_open(dir, &repaired, &e);
    if (!d)
        fail_msg("%s", e.detail);
    return d;
}

static enum err_code add_account(struct directory *d, const char *address)
{
    struct directory_account a = {.name = "A Person", .hash = "$6$x$y", .quota = 1000};
    struct err e = {0};

    snprintf(a.address, sizeof a.address, "%s", address);
    return directory_account_add(d, &a, &e) == 0 ? ERR_OK : e.code;
}

static enum err_code add_alias(
    struct directory *d, const char *address, const char *target, bool deliver, bool send)
{
    struct directory_alias a = {.deliver = deliver, .may_send = send};
    struct err e = {0};

    snprintf(a.address, sizeof a.address, "%s", address);
    snprintf(a.target, sizeof a.target, "%s", target);
    return directory_alias_add(d, &a, &e) == 0 ? ERR_OK : e.code;
}

static bool count_account(void *ctx, const struct directory_account *a)
{
    (void)a;
    ++*(size_t *)ctx;
    return true;
}

static struct directory *with_people(void)
{
    static const char *const people[] = {"ann@example.org", "bob@example.org", "cid@example.net"};
    struct directory *d = open_it();

    assert_int_equal(directory_domain_add(d, SLICE("example.org"), NULL), 0);
    assert_int_equal(directory_domain_add(d, SLICE("example.net"), NULL), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(add_account(d, people[i]), ERR_OK);
    return d;
}

static void add_to(void *ctx, const struct directory_target *t)
{
    if (t->account)
        buf_printf(ctx, "%s ", t->account->address);
    else
        buf_printf(ctx, "%s>%s ", t->forward, t->elsewhere);
}

static void assert_goes(struct directory *d, const char *address, const char *want)
{
    struct buf got = BUF_INIT(BUF_OWN);
    struct slice in;
    struct address a;
    struct arena arena;
    char path[400];
    enum err_code code;

    arena_init(&arena, 4096);
    snprintf(path, sizeof path, "<%s>", address);
    in = slice_str(path);
    assert_int_equal(address_parse_path(&in, false, true, &arena, &a), ADDRESS_OK);
    code = directory_resolve(d, &a, add_to, &got);
    if (code == ERR_NO_USER)
        buf_add_str(&got, "no user");
    if (code == ERR_NO_RELAY)
        buf_add_str(&got, "no relay");
    if (strcmp(buf_str(&got), want) != 0)
        fail_msg("%s goes to \"%s\", not \"%s\"", address, buf_str(&got), want);
    arena_free(&arena);
    buf_free(&got);
}

/* --- domains and accounts --- */

static void list_domain(void *ctx, struct slice domain)
{
    buf_printf(ctx, "%.*s ", SLICE_FMT(domain));
}

static void domains(void **state)
{
    static const struct {
        struct slice domain;
        enum err_code code;
    } rows[] = {
        {SLICE("Example.ORG"), ERR_OK},
        {SLICE("example.org."), ERR_EXISTS},
        {SLICE("m\xc3\xbcller.example"), ERR_OK},
        {SLICE("xn--mller-kva.example"), ERR_EXISTS},
        {SLICE(""), ERR_SYNTAX},
        {SLICE("."), ERR_SYNTAX},
        {SLICE("a b"), ERR_SYNTAX},
        {SLICE("a@b"), ERR_SYNTAX},
        {SLICE("a\0b"), ERR_SYNTAX},
        {SLICE("../../etc"), ERR_SYNTAX},
        {SLICE("[127.0.0.1]"), ERR_SYNTAX},
    };
    struct directory *d = open_it();
    struct buf list = BUF_INIT(BUF_OWN);
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        e.code = ERR_OK;
        directory_domain_add(d, rows[i].domain, &e);
        if (e.code != rows[i].code)
            fail_msg("row %zu: %s", i, err_row(e.code)->name);
    }
    directory_domains(d, list_domain, &list);
    assert_string_equal(buf_str(&list), "example.org xn--mller-kva.example ");
    assert_true(directory_has_domain(d, SLICE("EXAMPLE.org.")));
    assert_true(directory_has_domain(d, SLICE("m\xc3\xbcller.example")));
    assert_false(directory_has_domain(d, SLICE("example.com")));
    assert_false(directory_has_domain(d, SLICE("")));

    assert_int_equal(add_account(d, "ann@example.org"), ERR_OK);
    assert_int_equal(directory_domain_remove(d, SLICE("example.org"), &e), -1);
    assert_int_equal(e.code, ERR_CANNOT);
    assert_int_equal(directory_account_remove(d, SLICE("ann@example.org"), NULL), 0);
    assert_int_equal(directory_domain_remove(d, SLICE("example.org"), &e), 0);
    assert_int_equal(directory_domain_remove(d, SLICE("example.org"), &e), -1);
    assert_int_equal(e.code, ERR_NO_DOMAIN);
    directory_close(d);
    d = open_it();
    assert_false(directory_has_domain(d, SLICE("example.org")));
    assert_true(directory_has_domain(d, SLICE("m\xc3\xbcller.example")));
    directory_close(d);
    buf_free(&list);
}

static void account_names(void **state)
{
    static const struct {
        const char *address;
        enum err_code code;
    } rows[] = {
        {"Dora@Example.Org", ERR_OK},
        {"dora@example.org", ERR_EXISTS},
        {"o'neil@example.org", ERR_OK},
        {"d.e-f_g@example.org", ERR_OK},
        {"j\xc3\xb6rg@example.org", ERR_OK},
        {"dora@example.com", ERR_NO_DOMAIN},
        /* security.md S12, S13 */
        {"a' OR 1--@example.org", ERR_SYNTAX},
        {"*)(uid=*@example.org", ERR_SYNTAX},
        {"a\tb@example.org", ERR_SYNTAX},
        {"a\nb@example.org", ERR_SYNTAX},
        {"\"a b\"@example.org", ERR_SYNTAX},
        {"\"\"@example.org", ERR_SYNTAX},
        {"\"\\\"@example.org", ERR_SYNTAX},
        {"\"a@b\"@example.org", ERR_SYNTAX},
        {"a/../b@example.org", ERR_SYNTAX},
        {"../b@example.org", ERR_SYNTAX},
        {".b@example.org", ERR_SYNTAX},
        {"-b@example.org", ERR_SYNTAX},
        {"b+c@example.org", ERR_SYNTAX},
        {"a@", ERR_SYNTAX},
        {"@example.org", ERR_SYNTAX},
        {"a", ERR_SYNTAX},
        {"", ERR_SYNTAX},
        {"g:;", ERR_SYNTAX},
        {"\xff@example.org", ERR_SYNTAX},
        {"a\xc2\x85@example.org", ERR_SYNTAX},
        {"a@[127.0.0.1]", ERR_NO_DOMAIN},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.org", ERR_SYNTAX},
    };
    struct directory *d = open_it();

    (void)state;
    assert_int_equal(directory_domain_add(d, SLICE("example.org"), NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum err_code code = add_account(d, rows[i].address);

        if (code != rows[i].code)
            fail_msg("row %zu (%s): %s", i, rows[i].address, err_row(code)->name);
    }
    directory_close(d);
}

static void accounts_change(void **state)
{
    struct directory *d = with_people();
    struct directory_account a, b;
    uint64_t generation = directory_generation(d);
    struct err e;

    (void)state;
    assert_int_equal(directory_account_get(d, SLICE("BOB@example.ORG"), &a, &e), 0);
    assert_string_equal(a.address, "bob@example.org");
    assert_string_equal(a.name, "A Person");
    assert_true(a.created > 1700000000);
    assert_int_equal(a.quota, 1000);

    snprintf(a.name, sizeof a.name,
        "B\xc3\xb6"
        "b \"the\" \\ Builder");
    snprintf(a.scram, sizeof a.scram, "SCRAM-SHA-256$1:x$y:z");
    a.suspended = true;
    a.quota = 0;
    assert_int_equal(directory_account_set(d, &a, &e), 0);
    assert_true(directory_generation(d) > generation);
    directory_close(d);
    d = open_it();
    assert_int_equal(repaired.n, 0);
    assert_int_equal(directory_account_get(d, SLICE("bob@example.org"), &b, &e), 0);
    assert_string_equal(b.name, a.name);
    assert_string_equal(b.scram, a.scram);
    assert_true(b.suspended && b.quota == 0 && b.created == a.created);

    snprintf(a.name, sizeof a.name, "a\nb");
    assert_int_equal(directory_account_set(d, &a, &e), -1);
    assert_int_equal(e.code, ERR_SYNTAX);
    snprintf(a.name, sizeof a.name, "\xff");
    assert_int_equal(directory_account_set(d, &a, &e), -1);
    snprintf(a.address, sizeof a.address, "nobody@example.org");
    a.name[0] = '\0';
    assert_int_equal(directory_account_set(d, &a, &e), -1);
    assert_int_equal(e.code, ERR_NO_USER);
    assert_int_equal(directory_account_remove(d, SLICE("bob@example.org"), &e), 0);
    assert_int_equal(directory_account_remove(d, SLICE("bob@example.org"), &e), -1);
    assert_int_equal(e.code, ERR_NO_USER);
    assert_int_equal(directory_account_get(d, SLICE("bob@example.org"), &b, &e), -1);
    assert_int_equal(directory_account_get(d, SLICE("a' OR 1--"), &b, &e), -1);
    assert_int_equal(e.code, ERR_NO_USER);
    directory_close(d);
}

/* A change that began with a look is made only if nobody was faster: a login that makes a verifier does not
 * undo a suspension. */
static void accounts_are_swapped(void **state)
{
    struct directory *d = with_people();
    struct directory_account before, mine, theirs, now;
    struct err e = {0};

    (void)state;
    assert_int_equal(directory_account_get(d, SLICE("ann@example.org"), &before, NULL), 0);
    mine = theirs = before;
    snprintf(mine.scram, sizeof mine.scram, "SCRAM-SHA-256$1:x$y:z");
    theirs.suspended = true;
    assert_int_equal(directory_account_swap(d, &before, &theirs, &e), 0);
    assert_int_equal(directory_account_swap(d, &before, &mine, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_int_equal(directory_account_get(d, SLICE("ann@example.org"), &now, NULL), 0);
    assert_true(now.suspended && now.scram[0] == '\0');
    snprintf(mine.address, sizeof mine.address, "nobody@example.org");
    assert_int_equal(directory_account_swap(d, &before, &mine, &e), -1);
    assert_int_equal(e.code, ERR_NO_USER);
    directory_close(d);
}

/* What a dry run checks is refused or not as it would be, and nothing is changed. */
static void pretending_changes_nothing(void **state)
{
    struct directory *d = with_people();
    uint64_t generation = directory_generation(d);
    size_t n = 0;

    (void)state;
    directory_pretend(true);
    assert_int_equal(add_account(d, "dan@example.org"), ERR_OK);
    assert_int_equal(add_account(d, "ann@example.org"), ERR_EXISTS);
    assert_int_equal(add_alias(d, "info@example.org", "ann@example.org", true, true), ERR_OK);
    assert_int_equal(directory_account_remove(d, SLICE("ann@example.org"), NULL), 0);
    assert_int_equal(directory_domain_add(d, SLICE("example.com"), NULL), 0);
    directory_pretend(false);
    assert_int_equal(directory_generation(d), generation);
    assert_false(directory_has_domain(d, SLICE("example.com")));
    assert_goes(d, "ann@example.org", "ann@example.org ");
    assert_goes(d, "info@example.org", "no user");
    directory_close(d);
    d = open_it();
    directory_accounts(d, SLICE(""), count_account, &n);
    assert_int_equal(n, 3);
    directory_close(d);
}

static bool list_account(void *ctx, const struct directory_account *a)
{
    buf_printf(ctx, "%s ", a->address);
    return strcmp(a->address, "stop@example.org") != 0;
}

static void accounts_are_listed(void **state)
{
    struct directory *d = with_people();
    struct buf list = BUF_INIT(BUF_OWN);
    size_t n = 0;

    (void)state;
    assert_int_equal(add_account(d, "zoe@example.net"), ERR_OK);
    directory_accounts(d, SLICE(""), list_account, &list);
    assert_string_equal(buf_str(&list), "cid@example.net zoe@example.net ann@example.org bob@example.org ");
    buf_clear(&list);
    directory_accounts(d, SLICE("Example.org"), list_account, &list);
    assert_string_equal(buf_str(&list), "ann@example.org bob@example.org ");
    buf_clear(&list);
    directory_accounts(d, SLICE("example.com"), list_account, &list);
    directory_accounts(d, SLICE("no domain"), list_account, &list);
    assert_int_equal(list.n, 0);
    assert_int_equal(add_account(d, "stop@example.org"), ERR_OK);
    for (int i = 0; i < 200; i++) { /* more than a page */
        char address[40];

        snprintf(address, sizeof address, "u%03d@example.org", i);
        assert_int_equal(add_account(d, address), ERR_OK);
    }
    directory_accounts(d, SLICE("example.org"), list_account, &list);
    assert_string_equal(buf_str(&list), "ann@example.org bob@example.org stop@example.org ");
    directory_accounts(d, SLICE(""), count_account, &n);
    assert_int_equal(n, 205);
    directory_close(d);
    buf_free(&list);
}

static void scram_for_all(void **state)
{
    struct directory *d = open_it();
    struct directory_account a = {.address = "ann@example.org", .hash = "$6$x$y"};

    (void)state;
    assert_false(directory_all_have_scram(d));
    assert_int_equal(directory_domain_add(d, SLICE("example.org"), NULL), 0);
    assert_int_equal(directory_account_add(d, &a, NULL), 0);
    assert_false(directory_all_have_scram(d));
    snprintf(a.scram, sizeof a.scram, "SCRAM-SHA-256$1:x$y:z");
    assert_int_equal(directory_account_set(d, &a, NULL), 0);
    assert_true(directory_all_have_scram(d));
    a = (struct directory_account){.address = "bob@example.org"};
    assert_int_equal(directory_account_add(d, &a, NULL), 0); /* cannot log in: does not count */
    assert_true(directory_all_have_scram(d));
    snprintf(a.hash, sizeof a.hash, "$6$x$y");
    assert_int_equal(directory_account_set(d, &a, NULL), 0);
    assert_false(directory_all_have_scram(d));
    directory_close(d);
    d = open_it();
    assert_false(directory_all_have_scram(d));
    a.suspended = true;
    assert_int_equal(directory_account_set(d, &a, NULL), 0);
    assert_true(directory_all_have_scram(d));
    a.suspended = false;
    assert_int_equal(directory_account_set(d, &a, NULL), 0);
    assert_int_equal(directory_account_remove(d, SLICE("bob@example.org"), NULL), 0);
    assert_true(directory_all_have_scram(d));
    directory_close(d);
}

/* --- aliases --- */

static bool list_alias(void *ctx, const struct directory_alias *a)
{
    buf_printf(ctx, "%s>%s%s%s ", a->address, a->target, a->deliver ? "" : " (no mail)",
        a->may_send ? " (sends)" : "");
    return true;
}

static void aliases(void **state)
{
    static const struct {
        const char *address, *target;
        bool deliver, send;
        enum err_code code;
    } rows[] = {
        {"info@example.org", "ann@example.org", true, true, ERR_OK},
        {"Info@example.org", "Ann@example.org", true, false, ERR_EXISTS},
        {"info@example.org", "cid@example.net", true, false, ERR_OK},
        {"info@example.org", "bob@example.org", false, true, ERR_OK},
        {"@example.net", "cid@example.net", true, false, ERR_OK},
        {"ann@example.org", "bob@example.org", true, false, ERR_EXISTS}, /* an account */
        {"ann@example.org", "bob@example.org", false, true, ERR_OK},     /* who may send as her */
        {"lists+x@example.org", "bob@example.org", true, false, ERR_OK},
        {"x@example.com", "bob@example.org", true, false, ERR_NO_DOMAIN},
        {"x@example.org", "x@example.com", true, true, ERR_NO_USER}, /* nobody can log in there */
        {"x@example.org", "Peter@Example.com", true, false, ERR_OK},
        {"x@example.org", "nobody@example.org", true, false, ERR_NO_USER},
        {"x@example.org", "x@example.org", true, false, ERR_LOOP},
        {"x@example.org", "bob@example.org", false, false, ERR_USAGE},
        {"a b@example.org", "bob@example.org", true, false, ERR_SYNTAX},
        {"\"a b\"@example.org", "bob@example.org", true, false, ERR_SYNTAX},
        {"x@example.org", "@example.org", true, false, ERR_SYNTAX},
        {"@", "bob@example.org", true, false, ERR_SYNTAX},
        {"", "", true, false, ERR_SYNTAX},
    };
    struct directory *d = with_people();
    struct buf list = BUF_INIT(BUF_OWN);
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum err_code code = add_alias(d, rows[i].address, rows[i].target, rows[i].deliver, rows[i].send);

        if (code != rows[i].code)
            fail_msg("row %zu: %s", i, err_row(code)->name);
    }
    assert_int_equal(add_account(d, "info@example.org"), ERR_EXISTS);
    directory_close(d);
    d = open_it();
    directory_aliases(d, SLICE(""), list_alias, &list);
    assert_string_equal(buf_str(&list),
        "@example.net>cid@example.net ann@example.org>bob@example.org (no mail) (sends) "
        "info@example.org>ann@example.org (sends) info@example.org>bob@example.org (no mail) (sends) "
        "info@example.org>cid@example.net lists+x@example.org>bob@example.org "
        "x@example.org>peter@example.com ");
    assert_goes(d, "info@example.org", "ann@example.org cid@example.net ");
    assert_goes(d, "info+tag@example.org", "ann@example.org cid@example.net ");
    assert_int_equal(directory_alias_remove(d, SLICE("info@example.org"), SLICE("ann@example.org"), &e), 0);
    assert_int_equal(directory_alias_remove(d, SLICE("info@example.org"), SLICE("ann@example.org"), &e), -1);
    assert_int_equal(e.code, ERR_NO_USER);
    assert_int_equal(directory_alias_remove(d, SLICE("@example.net"), SLICE("cid@example.net"), &e), 0);
    assert_goes(d, "info@example.org", "cid@example.net ");
    directory_close(d);
    buf_free(&list);
}

static void where_mail_goes(void **state)
{
    static const struct {
        const char *address, *want;
    } rows[] = {
        {"ann@example.org", "ann@example.org "}, {"ANN@EXAMPLE.ORG", "ann@example.org "},
        {"ann+shop@example.org", "ann@example.org "}, {"ann+a+b@example.org", "ann@example.org "},
        {"nobody@example.org", "no user"}, {"nobody+x@example.org", "no user"}, {"+x@example.org", "no user"},
        {"\"ann+x y\"@example.org", "no user"}, {"ann@example.com", "no relay"},
        {"ann@[127.0.0.1]", "no relay"}, {"postmaster@example.org", "ann@example.org "},
        {"Abuse@example.org", "ann@example.org "}, {"abuse+x@example.org", "no user"},
        {"postmaster", "ann@example.org "}, /* the oldest domain's */
        {"hostmaster@example.org", "no user"},
        {"whatever@example.net", "cid@example.net "}, /* @example.net */
        {"postmaster@example.net", "cid@example.net "}, {"a0@example.org", "bob@example.org "},
        {"a9@example.org", "bob@example.org "},
        {"a10@example.org", "no user"}, /* an eleventh in a row is not followed */
        {"ping@example.org", "no user"}, {"pong@example.org", "no user"},
        {"wide@example.org", "ann@example.org bob@example.org "}, {"gone@example.org", "no user"},
        {"sales@example.org", "sales@example.org>peter@example.com ann@example.org "},
        {"sales+x@example.org", "sales+x@example.org>peter@example.com ann@example.org "},
        {"firm@example.org", "ann@example.org sales@example.org>peter@example.com "}, /* once */
    };
    struct directory *d = with_people();
    char address[40], target[40];

    (void)state;
    assert_int_equal(add_alias(d, "@example.net", "cid@example.net", true, false), ERR_OK);
    for (int i = 0; i <= 10; i++) {
        snprintf(address, sizeof address, "a%d@example.org", i);
        snprintf(target, sizeof target, i ? "a%d@example.org" : "bob@example.org", i - 1);
        assert_int_equal(add_alias(d, address, target, true, false), ERR_OK);
    }
    assert_int_equal(add_alias(d, "ping@example.org", "bob@example.org", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "pong@example.org", "ping@example.org", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "ping@example.org", "pong@example.org", true, false), ERR_OK);
    assert_int_equal(directory_alias_remove(d, SLICE("ping@example.org"), SLICE("bob@example.org"), NULL), 0);
    assert_int_equal(add_alias(d, "wide@example.org", "bob@example.org", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "wide@example.org", "ann@example.org", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "wide@example.org", "a1@example.org", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "sales@example.org", "ann@example.org", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "sales@example.org", "peter@example.com", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "firm@example.org", "sales@example.org", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "firm@example.org", "ann@example.org", true, false), ERR_OK);
    assert_int_equal(add_account(d, "tmp@example.org"), ERR_OK);
    assert_int_equal(add_alias(d, "gone@example.org", "tmp@example.org", true, false), ERR_OK);
    assert_int_equal(directory_account_remove(d, SLICE("tmp@example.org"), NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_goes(d, rows[i].address, rows[i].want);
    directory_close(d);
}

static void who_may_send(void **state)
{
    static const struct {
        const char *account, *address;
        bool may;
    } rows[] = {
        {"ann@example.org", "ann@example.org", true},
        {"ann@example.org", "Ann+x@Example.org", true},
        {"ann@example.org", "bob@example.org", false},
        {"ann@example.org", "info@example.org", true},
        {"ann@example.org", "info+x@example.org", true},
        {"bob@example.org", "info@example.org", false}, /* gets its mail, may not send */
        {"cid@example.net", "info@example.org", true},  /* the other way round */
        {"cid@example.net", "anything@example.net", true},
        {"cid@example.net", "dan@example.net", false}, /* somebody's own */
        {"cid@example.net", "dan+x@example.net", false},
        {"ann@example.org", "anything@example.net", false},
        {"ann@example.org", "ann@example.com", false},
        {"bob@example.org", "ann@example.org", true},
        {"nobody@example.org", "nobody@example.org", false},
        {"sus@example.org", "sus@example.org", false},
    };
    struct directory *d = with_people();
    struct directory_account sus = {.address = "sus@example.org", .suspended = true};

    (void)state;
    assert_int_equal(directory_account_add(d, &sus, NULL), 0);
    assert_int_equal(add_account(d, "dan@example.net"), ERR_OK);
    assert_int_equal(add_alias(d, "info@example.org", "ann@example.org", true, true), ERR_OK);
    assert_int_equal(add_alias(d, "info@example.org", "bob@example.org", true, false), ERR_OK);
    assert_int_equal(add_alias(d, "info@example.org", "cid@example.net", false, true), ERR_OK);
    assert_int_equal(add_alias(d, "@example.net", "cid@example.net", true, true), ERR_OK);
    assert_int_equal(add_alias(d, "ann@example.org", "bob@example.org", false, true), ERR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena;
        struct address a;

        arena_init(&arena, 4096);
        assert_int_equal(address_parse(slice_str(rows[i].address), &arena, &a), ADDRESS_OK);
        if (directory_may_send(d, slice_str(rows[i].account), &a) != rows[i].may)
            fail_msg("row %zu: %s as %s", i, rows[i].account, rows[i].address);
        arena_free(&arena);
    }
    directory_close(d);
}

/* --- usage --- */

static void usage_lives_through_an_orderly_close_only(void **state)
{
    struct directory *d = with_people();
    uint64_t octets, messages;
    struct directory_account a;
    int status;
    pid_t child;

    (void)state;
    assert_false(directory_usage_get(d, SLICE("ann@example.org"), &octets, &messages));
    assert_false(directory_usage_add(d, SLICE("ann@example.org"), 5, 1));
    directory_usage_set(d, SLICE("ann@example.org"), 1000, 3);
    directory_usage_set(d, SLICE("nobody@example.org"), 1000, 3);
    assert_true(directory_usage_add(d, SLICE("Ann@example.org"), 500, 1));
    assert_int_equal(directory_account_get(d, SLICE("ann@example.org"), &a, NULL), 0);
    assert_int_equal(directory_account_set(d, &a, NULL), 0);
    directory_close(d);

    d = open_it();
    assert_true(directory_usage_get(d, SLICE("ann@example.org"), &octets, &messages));
    assert_int_equal(octets, 1500);
    assert_int_equal(messages, 4);
    assert_true(directory_usage_add(d, SLICE("ann@example.org"), -5000, -100));
    assert_true(directory_usage_get(d, SLICE("ann@example.org"), &octets, &messages));
    assert_int_equal(octets, 0);
    assert_int_equal(messages, 0);
    assert_true(directory_usage_add(d, SLICE("ann@example.org"), INT64_MAX, 1));
    assert_true(directory_usage_add(d, SLICE("ann@example.org"), INT64_MAX, INT64_MIN));
    assert_true(directory_usage_get(d, SLICE("ann@example.org"), &octets, &messages));
    assert_int_equal(octets, INT64_MAX);
    assert_int_equal(messages, 0);
    assert_false(directory_usage_get(d, SLICE("bob@example.org"), &octets, &messages));
    directory_close(d);

    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        d = directory_open(dir, &repaired, NULL);
        _exit(d && directory_usage_get(d, SLICE("ann@example.org"), &octets, &messages) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    d = open_it();
    assert_false(directory_usage_get(d, SLICE("ann@example.org"), &octets, &messages));
    directory_close(d);
}

/* --- durability --- */

static void one_owner(void **state)
{
    struct directory *d = open_it();
    struct err e = {0};
    struct stat st;
    char path[100];

    (void)state;
    assert_null(directory_open(dir, &repaired, &e));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    directory_close(d);
    snprintf(path, sizeof path, "%s/directory.dump", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void killed_while_adding(void **state)
{
    (void)state;
    directory_close(with_people());
    for (int round = 0; round < 4; round++) {
        int pipes[2], said, last = -1, status;
        struct directory *d;
        pid_t child;

        assert_int_equal(pipe(pipes), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            d = directory_open(dir, &repaired, NULL);
            for (int i = 0; d; i++) {
                char address[60];

                snprintf(address, sizeof address, "k%d-%d@example.org", round, i);
                if (add_account(d, address) != ERR_OK || write(pipes[1], &i, sizeof i) != sizeof i)
                    break;
            }
            _exit(1);
        }
        close(pipes[1]);
        while (read(pipes[0], &said, sizeof said) == sizeof said) {
            last = said;
            if (said == 40 + 13 * round)
                kill(child, SIGKILL);
        }
        close(pipes[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        d = open_it();
        assert_int_equal(repaired.n, 0);
        for (int r = 0; r <= round; r++)
            for (int i = 0; i <= (r == round ? last : 40 + 13 * r); i++) {
                struct directory_account a;
                char address[60];

                snprintf(address, sizeof address, "k%d-%d@example.org", r, i);
                if (directory_account_get(d, slice_str(address), &a, NULL) < 0)
                    fail_msg("%s was acknowledged and is gone", address);
            }
        directory_close(d);
    }
}

static void path_in(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", dir, name);
}

static void scribble(const char *name, off_t at)
{
    char path[200], junk[4096];
    int fd;

    path_in(name, path, sizeof path);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    memset(junk, 0x5a, sizeof junk);
    assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
    close(fd);
}

static void cut(const char *name, off_t less)
{
    char path[200];
    struct stat st;

    path_in(name, path, sizeof path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - less), 0);
}

static void drop(const char *name)
{
    char path[200];

    path_in(name, path, sizeof path);
    assert_int_equal(unlink(path), 0);
}

static void damage_env_start(void)
{
    scribble("db/tables.db", 0);
}

static void damage_env_page(void)
{
    scribble("db/tables.db", 4096);
    scribble("db/tables.db", 8192);
    scribble("db/tables.db", 16384);
}

static void lose_env(void)
{
    drop("db/tables.db");
    drop("db/log.0000000001");
}

static void lose_tables(void)
{
    drop("db/tables.db");
}

static void lose_log(void)
{
    drop("db/log.0000000001");
}

static void scribble_log(void)
{
    scribble("db/log.0000000001", 0);
    scribble("db/log.0000000001", 4096);
}

static void cut_tables(void)
{
    cut("db/tables.db", 4096 + 100);
}

static void tear_dump(void)
{
    cut("directory.dump", 20);
}

static void lose_dump(void)
{
    drop("directory.dump");
}

static void scribble_dump(void)
{
    scribble("directory.dump", 100);
}

static void damage_both(void)
{
    damage_env_start();
    cut("directory.dump", 1); /* the last line lost its end: the one before is what there is */
}

/* Whatever is hit, all is there again after the next start, also when that one is followed by another kind of
 * damage. */
static void damage_is_repaired(void **state)
{
    static const struct {
        void (*damage)(void);
        bool said; /* the repair is worth a sentence */
        bool last_is_lost;
    } rows[] = {
        {damage_env_start, true, false},
        {damage_env_page, true, false},
        {lose_env, true, false},
        {lose_tables, true, false},
        {cut_tables, true, false},
        {tear_dump, false, false},
        {lose_dump, false, false},
        {scribble_dump, false, false},
        {damage_both, true, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct directory *d;
        struct directory_account a;
        enum err_code code;
        size_t n = 0;

        setup(state);
        d = with_people();
        for (int k = 0; k < 40; k++) {
            char address[40];

            snprintf(address, sizeof address, "m%d@example.org", k);
            assert_int_equal(add_account(d, address), ERR_OK);
        }
        assert_int_equal(directory_account_remove(d, SLICE("m7@example.org"), NULL), 0);
        assert_int_equal(add_alias(d, "info@example.org", "ann@example.org", true, true), ERR_OK);
        assert_int_equal(add_account(d, "last@example.org"), ERR_OK);
        directory_close(d);
        for (int again = 0; again < 2; again++) {
            rows[i].damage();
            d = open_it();
            if ((repaired.n > 0) != rows[i].said)
                fail_msg("row %zu: \"%s\"", i, buf_str(&repaired));
            n = 0;
            directory_accounts(d, SLICE(""), count_account, &n);
            if (!rows[i].last_is_lost)
                assert_int_equal(n, 43);
            else
                assert_true(n >= 41);
            assert_goes(d, "info@example.org", "ann@example.org ");
            assert_int_equal(directory_account_get(d, SLICE("m39@example.org"), &a, NULL), 0);
            assert_int_equal(directory_account_get(d, SLICE("m7@example.org"), &a, NULL), -1);
            assert_string_equal(a.address, "m39@example.org");
            code = add_account(d, "more@example.org");
            assert_true(code == ERR_OK || (rows[i].last_is_lost && code == ERR_EXISTS));
            assert_int_equal(directory_account_remove(d, SLICE("more@example.org"), NULL), 0);
            directory_close(d);
        }
        d = open_it();
        if (repaired.n)
            fail_msg("row %zu, at last: \"%s\"", i, buf_str(&repaired));
        directory_close(d);
        teardown(state);
    }
}

/* The log is read only where it is needed; a lost or damaged one may be no damage at all, or a rebuild. */
static void damaged_logs_lose_nothing(void **state)
{
    static void (*const rows[])(void) = {lose_log, scribble_log};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct directory *d;
        size_t n = 0;

        setup(state);
        directory_close(with_people());
        rows[i]();
        d = open_it();
        directory_accounts(d, SLICE(""), count_account, &n);
        assert_int_equal(n, 3);
        assert_int_equal(add_account(d, "more@example.org"), ERR_OK);
        directory_close(d);
        d = open_it();
        n = 0;
        directory_accounts(d, SLICE(""), count_account, &n);
        assert_int_equal(n, 4);
        directory_close(d);
        teardown(state);
    }
}

static void nothing_left_is_refused(void **state)
{
    struct err e = {0};

    (void)state;
    directory_close(with_people());
    damage_env_start();
    drop("directory.dump");
    assert_null(directory_open(dir, &repaired, &e));
    assert_int_equal(e.code, ERR_CORRUPT);
    /* and is so the second time: the first left everything where it was */
    assert_null(directory_open(dir, &repaired, &e));
    assert_int_equal(e.code, ERR_CORRUPT);
}

/* A dump that is one change ahead of the environment is what a crash between the two leaves. */
static void dump_ahead(void **state)
{
    struct directory *d = with_people();
    struct directory_account a;
    uint64_t generation = directory_generation(d);
    char path[200], line[300];
    int fd, n;

    (void)state;
    directory_close(d);
    path_in("directory.dump", path, sizeof path);
    n = snprintf(line, sizeof line,
        "{\"generation\":%llu,\"account\":\"new@example.org\",\"name\":\"\",\"hash\":\"\",\"scram\":\"\","
        "\"quota\":0,"
        "\"suspended\":false,\"created\":1700000000}\n{\"gener",
        (unsigned long long)generation + 1);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, line, (size_t)n), n);
    close(fd);
    d = open_it();
    assert_int_equal(repaired.n, 0);
    assert_int_equal(directory_generation(d), generation + 1);
    assert_int_equal(directory_account_get(d, SLICE("new@example.org"), &a, NULL), 0);
    directory_close(d);
}

/* A change that the disk has no room for is refused, and is not there afterwards; changes go on when there is
 * room. */
static void full_disk(void **state)
{
    struct rlimit small, old;
    int status;
    pid_t child;
    struct directory *d;
    size_t n = 0;

    (void)state;
    directory_close(with_people());
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct stat st;
        char path[200];
        enum err_code code = ERR_OK;
        struct directory_account a;
        int i = 0;
        char address[40];

        signal(SIGXFSZ, SIG_IGN);
        d = directory_open(dir, &repaired, NULL);
        path_in("directory.dump", path, sizeof path);
        if (!d || stat(path, &st) != 0 || getrlimit(RLIMIT_FSIZE, &old) != 0)
            _exit(1);
        small = (struct rlimit){(rlim_t)st.st_size + 1000, old.rlim_max};
        if (setrlimit(RLIMIT_FSIZE, &small) != 0)
            _exit(2);
        for (; i < 100 && code == ERR_OK; i++) {
            snprintf(address, sizeof address, "f%d@example.org", i);
            code = add_account(d, address);
        }
        if (code == ERR_OK || directory_account_get(d, slice_str(address), &a, NULL) == 0)
            _exit(3);
        if (setrlimit(RLIMIT_FSIZE, &old) != 0 || add_account(d, "late@example.org") != ERR_OK)
            _exit(4);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    d = open_it();
    assert_int_equal(repaired.n, 0);
    directory_accounts(d, SLICE(""), count_account, &n);
    assert_true(n >= 4 && n < 103);
    assert_goes(d, "late@example.org", "late@example.org ");
    directory_close(d);
}

static void dump_is_compacted(void **state)
{
    struct directory *d = with_people();
    struct directory_account a;
    struct stat st;
    char path[200];

    (void)state;
    assert_int_equal(directory_account_get(d, SLICE("ann@example.org"), &a, NULL), 0);
    for (int i = 0; i < 500; i++) {
        a.quota = (uint64_t)i;
        assert_int_equal(directory_account_set(d, &a, NULL), 0);
    }
    path_in("directory.dump", path, sizeof path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 300 * 200);
    directory_close(d);
    d = open_it();
    assert_int_equal(repaired.n, 0);
    assert_int_equal(directory_account_get(d, SLICE("ann@example.org"), &a, NULL), 0);
    assert_int_equal(a.quota, 499);
    directory_close(d);
}

static void nothing_to_recover_a_password_from(void **state)
{
    struct directory *d = with_people();
    struct buf text = BUF_INIT(BUF_OWN);
    char path[200], part[4096];
    ssize_t n;
    int fd;

    (void)state;
    directory_close(d);
    path_in("directory.dump", path, sizeof path);
    fd = open(path, O_RDONLY);
    while ((n = read(fd, part, sizeof part)) > 0)
        buf_add(&text, slice_of(part, (size_t)n));
    close(fd);
    /* security.md P03: hash and verifier are all there is about a password */
    assert_true(slice_find(buf_slice(&text), SLICE("\"hash\":\"$6$x$y\"")) >= 0);
    assert_true(slice_find_nocase(buf_slice(&text), SLICE("password")) < 0);
    buf_free(&text);
}

/* --- threads --- */

static void *add_many(void *arg)
{
    struct directory *d = arg;

    for (int i = 0; i < 100; i++) {
        char address[60];

        snprintf(address, sizeof address, "t%lx-%d@example.org", (unsigned long)pthread_self() & 0xffffff, i);
        if (add_account(d, address) != ERR_OK)
            return arg;
    }
    return NULL;
}

static void *look_up_many(void *arg)
{
    struct directory *d = arg;
    struct directory_account a;
    size_t n = 0;

    for (int i = 0; i < 20000; i++)
        if (directory_account_get(d, SLICE("ann@example.org"), &a, NULL) < 0 ||
            !directory_usage_add(d, SLICE("ann@example.org"), 1, 1))
            return arg;
    directory_accounts(d, SLICE(""), count_account, &n);
    return n >= 3 ? NULL : arg;
}

static void threads(void **state)
{
    struct directory *d = with_people();
    pthread_t t[4];
    void *bad;
    uint64_t octets, messages;
    size_t n = 0;

    (void)state;
    directory_usage_set(d, SLICE("ann@example.org"), 0, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, i < 2 ? add_many : look_up_many, d), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
    directory_accounts(d, SLICE(""), count_account, &n);
    assert_int_equal(n, 203);
    assert_true(directory_usage_get(d, SLICE("ann@example.org"), &octets, &messages));
    assert_int_equal(messages, 40000);
    directory_close(d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(domains),
        T(account_names),
        T(accounts_change),
        T(accounts_are_swapped),
        T(pretending_changes_nothing),
        T(accounts_are_listed),
        T(scram_for_all),
        T(aliases),
        T(where_mail_goes),
        T(who_may_send),
        T(usage_lives_through_an_orderly_close_only),
        T(one_owner),
        T(killed_while_adding),
        cmocka_unit_test(damage_is_repaired),
        cmocka_unit_test(damaged_logs_lose_nothing),
        T(nothing_left_is_refused),
        T(dump_ahead),
        T(full_disk),
        T(dump_is_compacted),
        T(nothing_to_recover_a_password_from),
        T(threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
