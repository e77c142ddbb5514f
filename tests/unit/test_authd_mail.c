/* What authd answers about recipients and senders, and which keys it hands to queued. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/authd.h"
#include "auth/dkim_keys.h"
#include "common/id.h"
#include "mail/dkim.h"

static char dir[64];
static struct backup_domain backups[] = {{(char *)(uintptr_t) "backup.example"}};
static struct settings settings = {
    .hostname = (char *)(uintptr_t) "mx.example.org", .backups = backups, .nbackups = 1};
static struct role role = {.settings = &settings};
static struct authd authd = {.role = &role};
static struct ipc *near_end;
static int far_end;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static bool nobody_writes(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    (void)ctx, (void)ch, (void)in;
    return false;
}

static void account(const char *address, enum reply_language language)
{
    struct directory_account a = {.hash = "$6$x$y", .language = language};

    snprintf(a.address, sizeof a.address, "%s", address);
    assert_int_equal(directory_account_add(authd.directory, &a, NULL), 0);
}

static void alias(const char *address, const char *target, bool may_send)
{
    struct directory_alias a = {.deliver = true, .may_send = may_send};

    snprintf(a.address, sizeof a.address, "%s", address);
    snprintf(a.target, sizeof a.target, "%s", target);
    assert_int_equal(directory_alias_add(authd.directory, &a, NULL), 0);
}

static int setup(void **state)
{
    struct buf repaired = BUF_INIT(1000);
    struct err e = {0};
    int fds[2];

    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_authd_mail.XXXXXX");
    assert_non_null(mkdtemp(dir));
    authd.directory = directory_open(dir, &repaired, &e);
    assert_non_null(authd.directory);
    assert_int_equal(mail_open(&authd, &e), 0);
    assert_int_equal(directory_domain_add(authd.directory, SLICE("example.org"), NULL), 0);
    account("anna@example.org", REPLY_GERMAN);
    account("bert@example.org", REPLY_ENGLISH);
    alias("sales@example.org", "peter@far.example", false);
    alias("sales@example.org", "bert@example.org", false);
    alias("info@example.org", "anna@example.org", true);
    assert_int_equal(ipc_pair(fds), 0);
    role.base = event_base_new();
    near_end = ipc_new(role.base, fds[0], "peer", nobody_writes, NULL, NULL);
    far_end = fds[1];
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ipc_free(near_end);
    close(far_end);
    event_base_free(role.base);
    directory_close(authd.directory);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A message to authd_mail.c, as it comes from a peer. */
static bool tell(struct ipc_out *out, enum ipc_type type)
{
    struct ipc_in in = {.type = type, .rest = slice_from(buf_slice(&out->buf), 4)};
    bool good = mail_message(&authd, near_end, &in);

    buf_free(&out->buf);
    return good;
}

static bool hear(enum ipc_type type, struct buf *store, struct ipc_in *in)
{
    struct pollfd p = {.fd = far_end, .events = POLLIN};

    event_base_loop(role.base, EVLOOP_NONBLOCK);
    if (poll(&p, 1, 0) != 1)
        return false;
    assert_int_equal(ipc_recv(far_end, store, in), 1);
    assert_string_equal(ipc_type_name(in->type), ipc_type_name(type));
    return true;
}

static void put_text(struct buf *out, const char *what, struct slice s)
{
    if (s.n)
        buf_printf(out, "%s%.*s", what, SLICE_FMT(s));
}

/* "CODE" of all, or each recipient: "account", "CODE", "elsewhere<reverse-path" with " via forward". */
static struct buf expand(
    const char *who, const char *from, const char *author, const char *const *to, size_t n, unsigned *parts)
{
    struct buf store = BUF_INIT(IPC_MAX + 64), got = BUF_INIT(1 << 20);
    struct ipc_out out;
    struct ipc_in in;
    bool more = true;

    ipc_begin(&out, IPC_EXPAND);
    ipc_put_str(&out, "0abcdefghjkmn");
    ipc_put_str(&out, who);
    ipc_put_str(&out, from);
    ipc_put_u64(&out, author ? 1 : 0);
    if (author)
        ipc_put_str(&out, author);
    ipc_put_u64(&out, n);
    for (size_t i = 0; i < n; i++)
        ipc_put_str(&out, to[i]);
    assert_true(tell(&out, IPC_EXPAND));
    for (*parts = 0; more; ++*parts) {
        enum err_code code;

        assert_true(hear(IPC_EXPANDED, &store, &in));
        assert_true(slice_eq(ipc_get(&in), SLICE("0abcdefghjkmn")));
        code = ipc_get_err(&in);
        if (code != ERR_OK)
            buf_printf(&got, "%s ", err_row(code)->name);
        if (ipc_get_u64(&in) == REPLY_GERMAN)
            buf_add_str(&got, "(de) ");
        more = ipc_get_bool(&in);
        for (uint64_t k = ipc_get_u64(&in); k > 0; k--) {
            buf_printf(&got, "%d:", (int)ipc_get_u64(&in));
            code = ipc_get_err(&in);
            if (code != ERR_OK)
                buf_add_str(&got, err_row(code)->name);
            put_text(&got, "", ipc_get(&in));
            ipc_get(&in);
            ipc_get_bool(&in);
            put_text(&got, ">", ipc_get(&in));
            put_text(&got, " via ", ipc_get(&in));
            put_text(&got, " from ", ipc_get(&in));
            buf_add_char(&got, ' ');
        }
        assert_true(ipc_end(&in));
    }
    buf_free(&store);
    return got;
}

static void assert_expands(
    const char *who, const char *from, const char *author, const char *to, const char *want)
{
    unsigned parts;
    struct buf got = expand(who, from, author, &to, 1, &parts);

    if (strcmp(buf_str(&got), want) != 0)
        fail_msg("%s as %s to %s: %s", from, who, to, buf_str(&got));
    assert_int_equal(parts, 1);
    buf_free(&got);
}

static enum err_code ask(const char *to, bool logged_in)
{
    struct buf store = BUF_INIT(IPC_MAX + 64);
    struct ipc_out out;
    struct ipc_in in;
    enum err_code code;

    ipc_begin(&out, IPC_RCPT_ASK);
    ipc_put_u64(&out, 7);
    ipc_put_str(&out, to);
    ipc_put_u64(&out, logged_in);
    assert_true(tell(&out, IPC_RCPT_ASK));
    assert_true(hear(IPC_RCPT_ANSWER, &store, &in));
    assert_int_equal(ipc_get_u64(&in), 7);
    code = ipc_get_err(&in);
    buf_free(&store);
    return code;
}

/* --- the tests --- */

static void who_may_leave(void **state)
{
    static const char anna[] = "anna@example.org";

    (void)state;
    assert_expands("", "a@b.test", NULL, "bert@example.org", "0:bert@example.org ");
    assert_expands("", "a@b.test", NULL, "p@far.example", "0:NO_RELAY ");
    assert_expands("", "a@b.test", NULL, "q@Backup.Example", "0:>q@backup.example from a@b.test ");
    assert_expands("", "a@b.test", NULL, "q@sub.backup.example", "0:NO_RELAY ");
    assert_expands(anna, anna, NULL, "P.Q@Far.Example", "(de) 0:>P.Q@far.example from anna@example.org ");
    assert_expands(anna, anna, NULL, "p@m\xc3\xbcller.example",
        "(de) 0:>p@xn--mller-kva.example from anna@example.org ");
    assert_expands(anna, anna, NULL, "p@[192.0.2.1]", "(de) 0:>p@[192.0.2.1] from anna@example.org ");
    assert_expands(anna, anna, NULL, "nobody@example.org", "(de) 0:NO_USER ");
    assert_expands(anna, "", NULL, "p@far.example", "(de) 0:>p@far.example ");
    assert_expands("", "a@b.test", NULL, "Postmaster@mx.example.org", "0:anna@example.org ");
    assert_int_equal(ask("p@far.example", false), ERR_NO_RELAY);
    assert_int_equal(ask("p@far.example", true), ERR_OK);
    assert_int_equal(ask("q@backup.example", false), ERR_OK);
    assert_int_equal(ask("sales@example.org", false), ERR_OK);
    assert_int_equal(ask("nobody@example.org", true), ERR_NO_USER);
}

static void as_whom(void **state)
{
    static const struct {
        const char *from, *author;
        bool may;
    } rows[] = {{"anna@example.org", "anna@example.org", true}, {"anna@example.org", NULL, true},
        {"anna+x@example.org", "Info@Example.org", true}, {"", "info@example.org", true},
        {"bert@example.org", "anna@example.org", false}, {"anna@example.org", "bert@example.org", false},
        {"anna@example.org", "sales@example.org", false}, {"anna@example.org", "a@b.test", false},
        {"", "bert@example.org", false}, {"a@b.test", NULL, false}, {"anna@example.org", "nonsense", false}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_expands("anna@example.org", rows[i].from, rows[i].author, "bert@example.org",
            rows[i].may ? "(de) 0:bert@example.org " : "SENDER_DENIED (de) ");
    /* what others write is not ours to judge */
    assert_expands("", "a@b.test", "bert@example.org", "bert@example.org", "0:bert@example.org ");
}

/* The reverse-path of a forward, out of what authd says. */
static void forwarded_as(const char *who, const char *from, char path[400])
{
    const char *to = "sales@example.org";
    unsigned parts;
    struct buf got = expand(who, from, NULL, &to, 1, &parts);
    char *start, *end;

    assert_non_null(strstr(buf_str(&got), "0:bert@example.org "));
    assert_non_null(strstr(buf_str(&got), "0:>peter@far.example via sales@example.org "));
    start = strstr(buf_str(&got), " from ");
    if (!start) {
        path[0] = '\0';
    } else {
        end = strchr(start + 6, ' ');
        snprintf(path, 400, "%.*s", (int)(end - start - 6), start + 6);
    }
    buf_free(&got);
}

static void forwards(void **state)
{
    char path[400], want[600];

    (void)state;
    forwarded_as("", "", path);
    assert_string_equal(path, "");
    forwarded_as("anna@example.org", "anna@example.org", path);
    assert_string_equal(path, "anna@example.org");
    forwarded_as("", "Some.Body@b.test", path);
    assert_true(strncmp(path, "SRS0=", 5) == 0);
    /* a report comes back to him, and to nobody else */
    snprintf(want, sizeof want, "0:>Some.Body@b.test via %s ", path);
    assert_expands("", "", NULL, path, want);
    assert_expands("", "a@b.test", NULL, path, "0:NO_USER ");
    assert_expands("anna@example.org", "anna@example.org", NULL, path, "(de) 0:NO_USER ");
    assert_int_equal(ask(path, false), ERR_OK);
    /* the sender has moved to us meanwhile */
    assert_int_equal(directory_domain_add(authd.directory, SLICE("b.test"), NULL), 0);
    assert_expands("", "", NULL, path, "0:NO_USER ");
    alias("some.body@b.test", "bert@example.org", false);
    assert_expands("", "", NULL, path, "0:bert@example.org ");
}

/* security.md S14: no guess, and no catch-all, makes a way through. */
static void guesses(void **state)
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    char address[200], hash[9] = "";

    (void)state;
    alias("@example.org", "anna@example.org", false);
    for (int i = 0; i < 2000; i++) {
        unsigned char r[10];

        id_random(r, sizeof r);
        for (int k = 0; k < 8; k++)
            hash[k] = digits[r[k] & 31];
        snprintf(address, sizeof address, "SRS%d=%s=%c%c=%s@example.org", i & 1, hash, digits[r[8] & 31],
            digits[r[9] & 31], i & 1 ? "far.example==x=y=other.example=q" : "far.example=q");
        assert_int_equal(ask(address, false), ERR_NO_USER);
        if (i < 100)
            assert_expands("", "", NULL, address, "0:NO_USER ");
    }
}

static void in_parts(void **state)
{
    const char *to[] = {"list@example.org", "bert@example.org", "p@far.example", "P@FAR.example"};
    char address[400];
    struct buf got;
    unsigned parts;

    (void)state;
    for (int i = 0; i < 600; i++) {
        snprintf(address, sizeof address, "u%d@%.60s.%.60s.example", i,
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
        alias("list@example.org", address, false);
    }
    got = expand("anna@example.org", "anna@example.org", NULL, to, 4, &parts);
    assert_true(parts > 2);
    assert_non_null(strstr(buf_str(&got), "0:>u599@"));
    assert_non_null(strstr(buf_str(&got), "1:bert@example.org "));
    assert_non_null(strstr(buf_str(&got), "2:>p@far.example from anna@example.org "));
    buf_free(&got);
}

static void the_secret_stays(void **state)
{
    unsigned char before[SRS_SECRET_LEN];
    char name[100];
    struct stat st;

    (void)state;
    memcpy(before, authd.srs_secret, sizeof before);
    assert_int_equal(mail_open(&authd, NULL), 0);
    assert_memory_equal(before, authd.srs_secret, sizeof before);
    snprintf(name, sizeof name, "%s/srs.secret", dir);
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(truncate(name, 5), 0);
    assert_int_equal(mail_open(&authd, NULL), 0);
    assert_memory_not_equal(before, authd.srs_secret, sizeof before);
}

static void keys(void **state)
{
    struct buf store = BUF_INIT(IPC_MAX + 64), pem = BUF_INIT(DKIM_PEM_MAX);
    struct dkim_key *key = dkim_key_new(DKIM_ED25519, NULL), *got;
    char selector[DKIM_SELECTOR_MAX + 1];
    struct ipc_in in;

    (void)state;
    assert_true(key && dkim_key_pem(key, &pem));
    assert_int_equal(dkim_keys_add(directory_folder(authd.directory), SLICE("example.org"), buf_slice(&pem),
                         1796000000, selector, NULL),
        0);
    assert_int_equal(directory_domain_add(authd.directory, SLICE("bare.example"), NULL), 0);
    keys_send_all(&authd, near_end);
    assert_true(hear(IPC_DOMAIN_KEYS, &store, &in));
    assert_true(slice_eq(ipc_get(&in), SLICE("bare.example")));
    assert_true(ipc_get_bool(&in));
    assert_int_equal(ipc_get_u64(&in), 0);
    assert_true(ipc_end(&in));
    assert_true(hear(IPC_DOMAIN_KEYS, &store, &in));
    assert_true(slice_eq(ipc_get(&in), SLICE("example.org")));
    assert_true(ipc_get_bool(&in));
    assert_int_equal(ipc_get_u64(&in), 1);
    assert_true(slice_eq(ipc_get(&in), slice_str(selector)));
    got = dkim_key_load(ipc_get(&in), NULL);
    assert_non_null(got);
    assert_true(ipc_end(&in));
    assert_true(hear(IPC_DOMAIN_KEYS_END, &store, &in));
    /* one again; gone */
    role.peers[0].id = ROLE_QUEUED;
    role.peers[0].ch = near_end;
    role.npeers = 1;
    keys_send_changed(&authd, SLICE("Bare.Example."));
    assert_true(hear(IPC_DOMAIN_KEYS, &store, &in));
    assert_int_equal(directory_domain_remove(authd.directory, SLICE("bare.example"), NULL), 0);
    keys_send_changed(&authd, SLICE("bare.example"));
    assert_true(hear(IPC_DOMAIN_KEYS, &store, &in));
    assert_true(slice_eq(ipc_get(&in), SLICE("bare.example")));
    assert_false(ipc_get_bool(&in));
    role.npeers = 0;
    dkim_key_free(key);
    dkim_key_free(got);
    buf_free(&pem);
    buf_free(&store);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(who_may_leave), T(as_whom), T(forwards), T(guesses), T(in_parts), T(the_secret_stays), T(keys)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
