/* Routes: rules, MX, addresses, DANE, MTA-STS, over a DNS that is a text, and a clock that is a number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/dns.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/secrets.h"
#include "queue/fetch.h"
#include "queue/route.h"
#include "queue/router_rules.h"

/* ---- a DNS ---- */

/*
 * Lines "name TYPE flag data": flag s: secure, -: not. data: as in a zone file (TLSA: usage selector matching
 * and how many octets), or the status: FAILED, BOGUS, NODATA, NXDOMAIN; EMPTY: ok, no record left. A name
 * without a record of the type has NODATA, as secure as its first line; one without lines does not exist.
 */
static const char *zone;

struct question {
    char *name;
    enum dns_type type;
    dns_done *done;
    void *ctx;
};
static struct question questions[256];
static size_t nquestions, nasked;

void dns_ask(struct dns *d, struct slice name, enum dns_type type, dns_done *done, void *ctx)
{
    (void)d;
    assert_true(nquestions < 256);
    questions[nquestions++] = (struct question){slice_dup(name), type, done, ctx};
    nasked++;
}

void dns_forget(struct dns *d, const void *ctx)
{
    size_t kept = 0;

    (void)d;
    for (size_t i = 0; i < nquestions; i++) {
        if (questions[i].ctx == ctx)
            free(questions[i].name);
        else
            questions[kept++] = questions[i];
    }
    nquestions = kept;
}

static const struct {
    const char *name;
    enum dns_type type;
} types[] = {{"A", DNS_A}, {"AAAA", DNS_AAAA}, {"MX", DNS_MX}, {"TXT", DNS_TXT}, {"TLSA", DNS_TLSA},
    {"CNAME", DNS_CNAME}};
static const struct {
    const char *name;
    enum dns_status status;
} statuses[] = {
    {"FAILED", DNS_FAILED}, {"BOGUS", DNS_BOGUS}, {"NODATA", DNS_NODATA}, {"NXDOMAIN", DNS_NXDOMAIN}};

static char octets[8192];

static void set_record(struct dns_record *r, enum dns_type type, struct slice data)
{
    struct slice part[3];
    uint64_t n = 0;

    r->text = r->name = data;
    if (type == DNS_A || type == DNS_AAAA)
        r->ip_len = rules_ip(data, r->ip);
    if (type == DNS_MX) {
        slice_cut(&data, ' ', &part[0]);
        assert_true(slice_u64(part[0], UINT16_MAX, &n));
        r->preference = (uint16_t)n;
        r->name = slice_eq(data, SLICE(".")) ? SLICE("") : data;
    }
    if (type == DNS_TLSA) {
        for (int i = 0; i < 3; i++)
            slice_cut(&data, ' ', &part[i]);
        assert_true(slice_u64(data, sizeof octets, &n));
        r->usage = (uint8_t)(part[0].p[0] - '0');
        r->selector = (uint8_t)(part[1].p[0] - '0');
        r->matching = (uint8_t)(part[2].p[0] - '0');
        r->data = slice_of(octets, n);
    }
}

static void look_up(const char *name, enum dns_type type, struct dns_answer *a, struct dns_record *records)
{
    struct slice rest = slice_str(zone), line, word[3];

    while (slice_cut(&rest, '\n', &line)) {
        enum dns_type found = 0;

        for (int i = 0; i < 3; i++)
            slice_cut(&line, ' ', &word[i]);
        if (!slice_eq(word[0], a->canonical))
            continue;
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            if (slice_eq(word[1], slice_str(types[i].name)))
                found = types[i].type;
        if (a->status == DNS_NXDOMAIN) {
            a->status = DNS_NODATA;
            a->secure = a->secure && word[2].p[0] == 's';
        }
        if (found == DNS_CNAME && type != DNS_CNAME) {
            a->canonical = line;
            a->status = DNS_NXDOMAIN;
            look_up(name, type, a, records);
            return;
        }
        if (found != type)
            continue;
        a->secure = word[2].p[0] == 's' && (a->secure || a->status == DNS_NODATA);
        a->status = DNS_OK;
        for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
            if (slice_eq(line, slice_str(statuses[i].name)))
                a->status = statuses[i].status;
        if (a->status != DNS_OK || slice_eq(line, SLICE("EMPTY")))
            return;
        set_record(&records[a->n++], type, line);
    }
}

static void answer_one(void)
{
    struct dns_record records[DNS_RECORDS_MAX] = {0};
    struct question q = questions[0];
    struct dns_answer a = {.status = DNS_NXDOMAIN, .ttl = 300, .secure = true, .records = records};

    nquestions--;
    memmove(questions, questions + 1, nquestions * sizeof *questions);
    a.canonical = slice_str(q.name);
    look_up(q.name, q.type, &a, records);
    if (a.status == DNS_NXDOMAIN)
        a.secure = false;
    if (a.status == DNS_FAILED)
        a.why = SLICE("SERVFAIL");
    q.done(q.ctx, &a);
    free(q.name);
}

/* ---- a router ---- */

static char dir[64];
static int folder = -1;
static struct event_base *base;
static struct settings *settings;
static struct buf secrets;
static struct router *router;
static int64_t now = 1800000000;
static const char *ours;
static size_t nfetches;
static uint64_t fetch_question;
static struct buf fetch_asked;

static bool is_ours(void *ctx, struct slice domain)
{
    (void)ctx;
    return slice_eq(domain, slice_str(ours));
}

static int64_t clock_now(void *ctx)
{
    (void)ctx;
    return now;
}

static void fetch(
    void *ctx, uint64_t question, struct slice host, const struct dns_record *addresses, size_t n)
{
    (void)ctx;
    nfetches++;
    fetch_question = question;
    buf_clear(&fetch_asked);
    buf_add(&fetch_asked, host);
    for (size_t i = 0; i < n; i++) {
        char text[INET6_ADDRSTRLEN];

        inet_ntop(addresses[i].ip_len == 4 ? AF_INET : AF_INET6, addresses[i].ip, text, sizeof text);
        buf_printf(&fetch_asked, " %s", text);
    }
}

static const struct router_ops ops = {.is_ours = is_ours, .fetch = fetch, .now = clock_now};

static struct settings *parse(const char *more)
{
    struct buf text = BUF_INIT(BUF_OWN), complaints = BUF_INIT(BUF_OWN);
    struct settings *s;

    buf_printf(&text, "hostname = \"mail.example.net\";\n%s", more);
    s = settings_parse(buf_slice(&text), "test", &complaints);
    if (!s)
        fail_msg("%s", buf_str(&complaints));
    buf_free(&text);
    buf_free(&complaints);
    return s;
}

static void start(const char *more)
{
    struct router_ops copy = ops;

    settings = parse(more);
    router = router_new(base, NULL, settings, buf_slice(&secrets), folder, &copy);
    copy = (struct router_ops){0};
}

static void stop(void)
{
    router_free(router);
    settings_free(settings);
    assert_int_equal(nquestions, 0);
    router = NULL;
}

static int remove_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(p);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_router.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    folder = fs_open_root(dir);
    base = event_base_new();
    buf_init(&secrets, BUF_OWN);
    buf_init(&fetch_asked, BUF_OWN);
    zone = ours = "";
    nasked = nfetches = 0;
    return base && folder >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    event_base_free(base);
    buf_free(&secrets);
    buf_free(&fetch_asked);
    close(folder);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- what comes out, as text ---- */

struct found {
    bool is_done;
    enum route_status status;
    enum schedule_class reason;
    struct buf text, why;
};

static const char *const securities[] = {"may", "must", "pkix", "dane", "none"};
static const char *const status_names[] = {
    "ok", "here", "later", "no-domain", "null-mx", "no-host", "loop", "private", "no-tls-path"};

static void say_target(struct buf *out, const struct route_target *t)
{
    char ip[INET6_ADDRSTRLEN];

    inet_ntop(t->ip_len == 4 ? AF_INET : AF_INET6, t->ip, ip, sizeof ip);
    buf_printf(out, "%s%.*s %s:%u %s", out->n ? ", " : "", SLICE_FMT(t->host), ip, (unsigned)t->port,
        securities[t->security]);
    for (size_t i = 0; i < t->nnames; i++)
        buf_printf(out, "%c%.*s", i ? '|' : '=', SLICE_FMT(t->names[i]));
    if (t->ntlsa)
        buf_printf(out, " x%zu", t->ntlsa);
    if (t->implicit_tls)
        buf_add_str(out, " implicit");
}

static void on_done(void *ctx, const struct router_result *r)
{
    struct found *f = ctx;

    assert_false(f->is_done);
    f->is_done = true;
    f->status = r->status;
    f->reason = r->reason;
    buf_add(&f->why, r->why);
    if (r->status != ROUTE_OK) {
        buf_printf(&f->text, "%s %s", status_names[r->status], r->status_code);
        return;
    }
    for (size_t i = 0; i < r->route->ntargets; i++)
        say_target(&f->text, &r->route->targets[i]);
    if (r->route->user.n)
        buf_printf(&f->text, " as %.*s:%.*s", SLICE_FMT(r->route->user), SLICE_FMT(r->route->password));
    if (r->route->is_policy)
        buf_add_str(&f->text, " policy");
}

static struct found begin(void)
{
    return (struct found){.text = BUF_INIT(BUF_OWN), .why = BUF_INIT(BUF_OWN)};
}

/* Runs until nobody asks the DNS any more. */
static void run(void)
{
    do {
        event_base_loop(base, EVLOOP_NONBLOCK);
        while (nquestions)
            answer_one();
        event_base_loop(base, EVLOOP_NONBLOCK);
    } while (nquestions);
}

static void check_found(struct found *f, const char *wanted, int line)
{
    if (!f->is_done || strcmp(buf_str(&f->text), wanted) != 0)
        fail_msg("line %d: got \"%s\" (%s), wanted \"%s\"", line, f->is_done ? buf_str(&f->text) : "nothing",
            buf_str(&f->why), wanted);
    buf_free(&f->text);
    buf_free(&f->why);
}

static void check_route(const char *destination, bool requiretls, const char *wanted, int line)
{
    struct found f = begin();

    router_find(router, slice_str(destination), requiretls, on_done, &f);
    assert_false(f.is_done);
    run();
    check_found(&f, wanted, line);
}

#define ROUTE(destination, wanted) check_route(destination, false, wanted, __LINE__)
#define ROUTE_REQUIRED(destination, wanted) check_route(destination, true, wanted, __LINE__)

static void check_name(const char *from, const char *to, const char *wanted, int line)
{
    struct buf out = BUF_INIT(BUF_OWN);

    router_destination(router, slice_str(from), slice_str(to), &out);
    if (strcmp(buf_str(&out), wanted) != 0)
        fail_msg("line %d: got \"%s\", wanted \"%s\"", line, buf_str(&out), wanted);
    buf_free(&out);
}

#define NAME(from, to, wanted) check_name(from, to, wanted, __LINE__)

/* fetchd's answer. */
static void fetched(enum fetch_status status, const char *body)
{
    struct ipc_out out;
    struct ipc_in in = {.type = IPC_FETCHED};

    ipc_begin(&out, IPC_FETCHED);
    ipc_put_u64(&out, fetch_question);
    ipc_put_u64(&out, status);
    ipc_put_str(&out, body);
    ipc_put_str(&out, "no such page");
    in.rest = slice_from(buf_slice(&out.buf), 4);
    assert_true(router_fetched(router, &in));
    buf_free(&out.buf);
    run();
}

/* ---- names and rules ---- */

#define RULES                                                                                                \
    "routes = (\n"                                                                                           \
    "{ from = \"boss.example\"; tls = \"required\"; },\n"                                                    \
    "{ to = \"partner.example\"; tls = \"required\"; },\n"                                                   \
    "{ to = \"smart.example\"; host = \"Smtp.Example.net\"; port = 587; tls = \"required\"; },\n"            \
    "{ to = \"login.example\"; host = \"smtp.example.net\"; port = 587; tls = \"required\"; user = \"u\";"   \
    "  password_file = \"/etc/pw\"; },\n"                                                                    \
    "{ to = \"v6.example\"; host = \"2001:db8::1\"; tls = \"none\"; },\n"                                    \
    "{ to = \"imp.example\"; host = \"10.1.2.3\"; tls = \"implicit\"; },\n"                                  \
    "{ from = \"all.example\"; host = \"out.example.net\"; } );\n"

static void destinations(void **state)
{
    (void)state;
    ours = "mine.example";
    start(RULES);
    NAME("a@b.example", "bob@Example.ORG", "example.org");
    NAME("a@b.example", "bob@example.org.", "example.org");
    NAME("a@b.example",
        "bob@b\xc3\xbc"
        "cher.example",
        "xn--bcher-kva.example");
    NAME("", "bob@example.org", "example.org");
    NAME("a@b.example", "\"x@y\"@example.org", "example.org");
    NAME("a@b.example", "bob@Mine.example", "(here)");
    NAME("a@all.example", "bob@mine.example", "(here)");
    NAME("a@b.example", "bob@[192.0.2.1]", "[192.0.2.1]");
    NAME("a@b.example", "bob@[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]");
    NAME("a@boss.example", "bob@example.org", "example.org#1");
    NAME("a@Boss.Example", "bob@partner.example", "partner.example#1");
    NAME("a@b.example", "bob@partner.example", "partner.example");
    NAME("a@b.example", "bob@smart.example", "smtp.example.net:587");
    NAME("a@b.example", "bob@login.example", "smtp.example.net:587#4");
    NAME("a@b.example", "bob@v6.example", "[2001:db8::1]:25");
    NAME("a@b.example", "bob@imp.example", "10.1.2.3:465");
    NAME("a@all.example", "bob@example.org", "out.example.net:25");
    stop();
}

static void rules(void **state)
{
    uint32_t n[7] = {[3] = 2};

    (void)state;
    for (int i = 0; i < 7; i++) {
        buf_add(&secrets, slice_of(&n[i], 4));
        buf_add_str(&secrets, n[i] ? "pw" : "");
    }
    zone = "smtp.example.net A - 10.0.0.1\n"
           "out.example.net AAAA - 2001:db8::7\n"
           "out.example.net A - 192.0.2.7\n"
           "example.org MX - 10 mx.example.org\n"
           "partner.example MX - 10 mx.example.org\n"
           "mx.example.org A - 192.0.2.1\n";
    start(RULES);
    ROUTE("smtp.example.net:587", "smtp.example.net 10.0.0.1:587 pkix=smtp.example.net policy");
    ROUTE("smtp.example.net:587#4", "smtp.example.net 10.0.0.1:587 pkix=smtp.example.net as u:pw policy");
    ROUTE("[2001:db8::1]:25", "2001:db8::1 2001:db8::1:25 none");
    ROUTE("10.1.2.3:465", "10.1.2.3 10.1.2.3:465 pkix=10.1.2.3 implicit policy");
    ROUTE("out.example.net:25", "out.example.net 192.0.2.7:25 may, out.example.net 2001:db8::7:25 may");
    ROUTE("example.org", "mx.example.org 192.0.2.1:25 may");
    ROUTE("example.org#1", "mx.example.org 192.0.2.1:25 pkix=mx.example.org policy");
    ROUTE("partner.example", "mx.example.org 192.0.2.1:25 pkix=mx.example.org policy");
    ROUTE_REQUIRED("partner.example", "mx.example.org 192.0.2.1:25 pkix=mx.example.org policy");
    ROUTE_REQUIRED("out.example.net:25", "no-tls-path 5.7.30");
    ROUTE("gone.example.net:25", "later 4.3.5");
    ROUTE("example.org#3", "later 4.3.5");
    ROUTE("example.org#9", "later 4.3.5");
    ROUTE("(here)", "here 2.0.0");
    zone = "";
    router_drop(router, SLICE("smtp.example.net:587"));
    ROUTE("smtp.example.net:587", "no-host 5.4.4");
    stop();
}

/* ---- MX and addresses ---- */

static void mx(void **state)
{
    (void)state;
    zone = "example.org MX - 20 b.example.org\n"
           "example.org MX - 10 a.example.org\n"
           "a.example.org AAAA - 2001:db8::a\n"
           "a.example.org A - 192.0.2.1\n"
           "b.example.org A - 192.0.2.2\n"
           "null.example MX - 0 .\n"
           "implicit.example A - 192.0.2.3\n"
           "junk.example MX - EMPTY\n"
           "empty.example TXT - nothing\n"
           "nohost.example MX - 10 none.example.org\n"
           "down.example MX - FAILED\n"
           "bogus.example MX - BOGUS\n"
           "half.example MX - 10 dead.example.org\n"
           "half.example MX - 20 b.example.org\n"
           "whole.example MX - 10 dead.example.org\n"
           "dead.example.org A - FAILED\n"
           "dead.example.org AAAA - FAILED\n";
    start("");
    ROUTE("example.org", "a.example.org 192.0.2.1:25 may, a.example.org 2001:db8::a:25 may, b.example.org "
                         "192.0.2.2:25 may");
    ROUTE("null.example", "null-mx 5.1.10");
    ROUTE("implicit.example", "implicit.example 192.0.2.3:25 may");
    ROUTE("empty.example", "no-host 5.4.4");
    ROUTE("junk.example", "no-host 5.4.4");
    ROUTE("nohost.example", "no-host 5.4.4");
    ROUTE("not.example", "no-domain 5.1.2");
    ROUTE("down.example", "later 4.4.3");
    ROUTE("bogus.example", "later 4.4.3");
    ROUTE("half.example", "b.example.org 192.0.2.2:25 may");
    ROUTE("whole.example", "later 4.4.3");
    ROUTE("-bad-.example", "no-domain 5.1.2");
    ROUTE("[192.0.2.9]", "192.0.2.9 192.0.2.9:25 may");
    ROUTE("[ipv6:2001:db8::9]", "2001:db8::9 2001:db8::9:25 may");
    ROUTE("[tag:x]", "no-host 5.1.2");
    ROUTE_REQUIRED("[192.0.2.9]", "no-tls-path 5.7.30");
    stop();
    start("outbound = { ipv6 = \"prefer\"; };");
    ROUTE("example.org", "a.example.org 2001:db8::a:25 may, a.example.org 192.0.2.1:25 may, b.example.org "
                         "192.0.2.2:25 may");
    stop();
    start("outbound = { ipv6 = \"off\"; port = 2525; };");
    ROUTE("example.org", "a.example.org 192.0.2.1:2525 may, b.example.org 192.0.2.2:2525 may");
    stop();
}

static void shuffled(void **state)
{
    size_t first[2] = {0};

    (void)state;
    zone = "example.org MX - 10 a.example.org\nexample.org MX - 10 b.example.org\n"
           "a.example.org A - 192.0.2.1\nb.example.org A - 192.0.2.2\n";
    start("");
    for (int i = 0; i < 64; i++) {
        struct found f = begin();

        router_find(router, SLICE("example.org"), false, on_done, &f);
        run();
        first[buf_str(&f.text)[0] == 'b']++;
        buf_free(&f.text);
        buf_free(&f.why);
        router_drop(router, SLICE("example.org"));
    }
    assert_true(first[0] > 0 && first[1] > 0);
    stop();
}

static void many(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct found f = begin();

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        buf_printf(&text, "example.org MX - %u h%u.example.org\n", i, i);
        for (unsigned j = 1; i >= 3 && j < 20; j++)
            buf_printf(&text, "h%u.example.org A - 192.0.2.%u\n", i, j);
    }
    zone = buf_str(&text);
    start("");
    router_find(router, SLICE("example.org"), false, on_done, &f);
    run();
    assert_int_equal(f.status, ROUTE_OK);
    /* twenty are looked at (and ourselves), the first five that are there are tried */
    assert_int_equal(nasked, 2 + 2 + 20 * 2);
    assert_true(slice_find(buf_slice(&f.text), SLICE("h3.example.org 192.0.2.1")) == 0);
    assert_true(slice_find(buf_slice(&f.text), SLICE("h7.example.org 192.0.2.2")) > 0);
    assert_true(slice_find(buf_slice(&f.text), SLICE("h8.")) < 0);
    buf_free(&f.text);
    buf_free(&f.why);
    stop();
    buf_free(&text);
}

static void loops(void **state)
{
    static const char listeners[] =
        "listen = ( { service = \"smtp\"; address = \"192.0.2.50\"; port = 25; } );"
        "backup_mx = ( { domain = \"backup.example\"; } );";

    (void)state;
    zone = "example.org MX - 10 a.example.org\n"
           "example.org MX - 20 mail.example.net\n"
           "example.org MX - 20 b.example.org\n"
           "example.org MX - 30 c.example.org\n"
           "only.example MX - 10 Mail.Example.NET\n"
           "backup.example MX - 10 mail.example.net\n"
           "primary.example MX - 10 dead.example.org\n"
           "primary.example MX - 20 mail.example.net\n"
           "dead.example.org A - FAILED\n"
           "alias.example MX - 10 a.example.org\n"
           "alias.example MX - 20 alias.example.org\n"
           "alias.example MX - 20 c.example.org\n"
           "listen.example MX - 10 d.example.org\n"
           "mail.example.net A - 192.0.2.50\n"
           "mail.example.net A - 203.0.113.5\n"
           "alias.example.org A - 203.0.113.5\n"
           "a.example.org A - 192.0.2.1\n"
           "b.example.org A - 192.0.2.2\n"
           "c.example.org A - 192.0.2.3\n"
           "d.example.org A - 192.0.2.50\n";
    start(listeners);
    ROUTE("example.org", "a.example.org 192.0.2.1:25 may");
    ROUTE("only.example", "loop 5.4.6");
    ROUTE("backup.example", "loop 5.4.6");
    ROUTE("primary.example", "later 4.4.3");
    ROUTE("alias.example", "a.example.org 192.0.2.1:25 may");
    ROUTE("listen.example", "loop 5.4.6");
    ROUTE("mail.example.net", "loop 5.4.6");
    ROUTE("[192.0.2.50]", "loop 5.4.6");
    stop();
    /* who listens on another port is somebody else */
    start("listen = ( { service = \"smtp\"; address = \"192.0.2.50\"; port = 2525; } );");
    ROUTE("listen.example", "d.example.org 192.0.2.50:25 may");
    stop();
    zone = "lo.example MX - 10 lo.example\nlo.example A - 127.0.0.1\n";
    start("listen = ( { service = \"smtp\"; address = \"*\"; port = 25; } ); outbound = { private = true; "
          "};");
    ROUTE("lo.example", "loop 5.4.6");
    stop();
}

static void private_addresses(void **state)
{
    static const struct {
        const char *ip;
        bool is_private;
    } rows[] = {
        {"0.0.0.0", true},
        {"0.1.2.3", true},
        {"10.0.0.1", true},
        {"11.0.0.1", false},
        {"9.255.255.255", false},
        {"100.63.255.255", false},
        {"100.64.0.0", true},
        {"100.127.255.255", true},
        {"100.128.0.0", false},
        {"127.0.0.1", true},
        {"169.254.169.254", true},
        {"169.253.0.1", false},
        {"172.15.0.1", false},
        {"172.16.0.1", true},
        {"172.31.255.255", true},
        {"172.32.0.1", false},
        {"192.168.0.1", true},
        {"192.167.0.1", false},
        {"192.169.0.1", false},
        {"224.0.0.1", true},
        {"239.1.1.1", true},
        {"240.0.0.1", true},
        {"255.255.255.255", true},
        {"223.255.255.255", false},
        {"8.8.8.8", false},
        {"::", true},
        {"::1", true},
        {"::127.0.0.1", true},
        {"::ffff:10.0.0.1", true},
        {"::ffff:8.8.8.8", false},
        {"fe80::1", true},
        {"febf::1", true},
        {"fec0::1", true},
        {"fe00::1", false},
        {"fc00::1", true},
        {"fdff::1", true},
        {"fb00::1", false},
        {"ff02::1", true},
        {"2001:db8::1", false},
        {"2606:4700::1", false},
        {"64:ff9b::127.0.0.1", true},
        {"64:ff9b::8.8.8.8", false},
        {"2002:7f00:1::1", true},
        {"2002:808:808::1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned char ip[16] = {0};
        uint8_t n = rules_ip(slice_str(rows[i].ip), ip);

        if (n == 0 || route_is_private(ip, n) != rows[i].is_private)
            fail_msg("%s", rows[i].ip);
    }
    zone = "example.org MX - 10 a.example.org\n"
           "example.org MX - 20 b.example.org\n"
           "a.example.org A - 127.0.0.1\n"
           "a.example.org AAAA - ::ffff:10.0.0.1\n"
           "b.example.org A - 192.0.2.2\n"
           "b.example.org A - 169.254.169.254\n"
           "all.example MX - 10 a.example.org\n";
    start("");
    ROUTE("example.org", "b.example.org 192.0.2.2:25 may");
    ROUTE("all.example", "private 5.4.6");
    ROUTE("[10.0.0.1]", "private 5.4.6");
    ROUTE("[ipv6:::1]", "private 5.4.6");
    stop();
    start("listen = ( { service = \"smtp\"; address = \"*\"; port = 2525; } ); outbound = { private = true; "
          "};");
    ROUTE("all.example", "a.example.org 127.0.0.1:25 may, a.example.org ::ffff:10.0.0.1:25 may");
    ROUTE("[10.0.0.1]", "10.0.0.1 10.0.0.1:25 may");
    stop();
}

/* ---- DANE ---- */

#define SECURE_MX "example.org MX s 10 mx.example.org\nmx.example.org A s 192.0.2.1\n"
#define INSECURE_MX "example.org MX - 10 mx.example.org\nmx.example.org A s 192.0.2.1\n"
#define DANE_OK "mx.example.org 192.0.2.1:25 dane=mx.example.org|example.org x1"
#define MAY "mx.example.org 192.0.2.1:25 may"

static void dane(void **state)
{
    static const struct {
        const char *zone, *route;
    } rows[] = {
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 3 1 1 32\n", DANE_OK},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 2 0 2 64\n", DANE_OK},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 3 1 0 300\n", DANE_OK},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 3 1 1 32\n_25._tcp.mx.example.org TLSA s 1 1 1 32\n",
            DANE_OK},
        /* unusable ones: of a public authority, of wrong length, of an unknown kind */
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 1 1 1 32\n", "mx.example.org 192.0.2.1:25 must"},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 3 1 1 31\n", "mx.example.org 192.0.2.1:25 must"},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 3 2 1 32\n", "mx.example.org 192.0.2.1:25 must"},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 3 1 3 32\n", "mx.example.org 192.0.2.1:25 must"},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 3 0 0 5000\n", "mx.example.org 192.0.2.1:25 must"},
        {SECURE_MX, MAY},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s NODATA\n", MAY},
        {SECURE_MX "_25._tcp.mx.example.org TLSA - 3 1 1 32\n", MAY},
        {INSECURE_MX "_25._tcp.mx.example.org TLSA s 3 1 1 32\n", MAY},
        {SECURE_MX "_25._tcp.mx.example.org TLSA - FAILED\n", "later 4.4.3"},
        {SECURE_MX "_25._tcp.mx.example.org TLSA - BOGUS\n", "later 4.4.3"},
        {SECURE_MX "example.org MX s 20 b.example.org\nb.example.org A - 192.0.2.2\n"
                   "_25._tcp.mx.example.org TLSA - BOGUS\n",
            "b.example.org 192.0.2.2:25 may"},
        /* no MX: the domain itself */
        {"example.org A s 192.0.2.1\n_25._tcp.example.org TLSA s 3 1 1 32\n",
            "example.org 192.0.2.1:25 dane=example.org x1"},
        /* aliases (RFC 7672 2.2.2) */
        {"example.org MX s 10 mx.example.org\nmx.example.org CNAME s real.example.net\n"
         "real.example.net A s 192.0.2.1\n_25._tcp.real.example.net TLSA s 3 1 1 32\n"
         "_25._tcp.mx.example.org TLSA s 1 1 1 32\n",
            "real.example.net 192.0.2.1:25 dane=real.example.net|example.org x1"},
        {"example.org MX s 10 mx.example.org\nmx.example.org CNAME s real.example.net\n"
         "real.example.net A s 192.0.2.1\n_25._tcp.mx.example.org TLSA s 3 1 1 32\n",
            DANE_OK},
        {"example.org MX s 10 mx.example.org\nmx.example.org CNAME s real.example.net\n"
         "real.example.net A - 192.0.2.1\n_25._tcp.mx.example.org TLSA s 3 1 1 32\n"
         "_25._tcp.real.example.net TLSA s 1 1 1 32\n",
            DANE_OK},
        {"example.org MX s 10 mx.example.org\nmx.example.org CNAME - real.example.net\n"
         "real.example.net A s 192.0.2.1\n_25._tcp.mx.example.org TLSA s 3 1 1 32\n",
            MAY},
        {"example.org CNAME s hop.example\nhop.example MX s 10 mx.example.org\nmx.example.org A s 192.0.2.1\n"
         "_25._tcp.mx.example.org TLSA s 3 1 1 32\n",
            "mx.example.org 192.0.2.1:25 dane=mx.example.org|example.org|hop.example x1"},
        {SECURE_MX "mx.example.org AAAA - 2001:db8::1\n_25._tcp.mx.example.org TLSA s 3 1 1 32\n",
            "mx.example.org 192.0.2.1:25 may, mx.example.org 2001:db8::1:25 may"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        zone = rows[i].zone;
        start("");
        check_route("example.org", false, rows[i].route, (int)i);
        stop();
    }
}

static void requiretls(void **state)
{
    static const struct {
        const char *zone, *route;
    } rows[] = {
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 3 1 1 32\n", DANE_OK},
        {SECURE_MX, "mx.example.org 192.0.2.1:25 pkix=mx.example.org"},
        {SECURE_MX "_25._tcp.mx.example.org TLSA s 1 1 1 32\n",
            "mx.example.org 192.0.2.1:25 pkix=mx.example.org"},
        {INSECURE_MX, "no-tls-path 5.7.30"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        zone = rows[i].zone;
        start("");
        check_route("example.org", true, rows[i].route, (int)i);
        stop();
    }
}

/* Eight records of 4 KiB for each of five hosts: the route stays within a message between processes. */
static void large_tlsa(void **state)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct found f = begin();

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        buf_printf(
            &text, "example.org MX s %u h%u.example.org\nh%u.example.org A s 192.0.2.%u\n", i, i, i, i + 1);
        for (unsigned j = 0; j < 12; j++)
            buf_printf(&text, "_25._tcp.h%u.example.org TLSA s 3 0 0 4096\n", i);
    }
    zone = buf_str(&text);
    start("");
    router_find(router, SLICE("example.org"), false, on_done, &f);
    run();
    check_found(&f, "h0.example.org 192.0.2.1:25 dane=h0.example.org|example.org x8", __LINE__);
    stop();
    buf_free(&text);
}

/* ---- MTA-STS ---- */

#define STS_ZONE                                                                                             \
    "example.org MX - 10 a.example.org\nexample.org MX - 20 b.example.org\na.example.org A - 192.0.2.1\n"    \
    "b.example.org A - 192.0.2.2\nmta-sts.example.org A - 203.0.113.1\nmta-sts.example.org A - 10.0.0.1\n"   \
    "mta-sts.example.org AAAA - 2001:db8::53\n"
#define STS_1 STS_ZONE "_mta-sts.example.org TXT - v=STSv1; id=1;\n"
#define STS_2 STS_ZONE "_mta-sts.example.org TXT - v=STSv1; id=2;\n"
#define POLICY(mode, age) "version: STSv1\nmode: " mode "\nmx: a.example.org\nmax_age: " age "\n"
#define BOTH "a.example.org 192.0.2.1:25 may, b.example.org 192.0.2.2:25 may"
#define ENFORCED "a.example.org 192.0.2.1:25 pkix=a.example.org policy"

/* Finds a route while fetchd answers so. */
static void check_fetched(enum fetch_status status, const char *body, const char *wanted, int line)
{
    struct found f = begin();

    router_drop(router, SLICE("example.org"));
    router_find(router, SLICE("example.org"), false, on_done, &f);
    run();
    if (f.is_done)
        fail_msg("line %d: nothing was fetched: %s", line, buf_str(&f.text));
    fetched(status, body);
    check_found(&f, wanted, line);
}

static void check_kept(const char *wanted, int line)
{
    size_t before = nfetches;

    router_drop(router, SLICE("example.org"));
    check_route("example.org", false, wanted, line);
    if (nfetches != before)
        fail_msg("line %d: a policy was fetched", line);
}

#define FETCHED(status, body, wanted) check_fetched(status, body, wanted, __LINE__)
#define KEPT(wanted) check_kept(wanted, __LINE__)

static void policies(void **state)
{
    (void)state;
    zone = STS_1;
    start("");
    FETCHED(FETCH_OK, POLICY("enforce", "1000000"), ENFORCED);
    assert_string_equal(buf_str(&fetch_asked), "mta-sts.example.org 203.0.113.1 2001:db8::53");
    KEPT(ENFORCED);
    zone = STS_ZONE; /* the record is taken away: the policy stays */
    KEPT(ENFORCED);
    zone = STS_ZONE "_mta-sts.example.org TXT - FAILED\n";
    KEPT(ENFORCED);
    stop();
    start(""); /* on disk */
    KEPT(ENFORCED);
    zone =
        STS_2; /* a new one that cannot be fetched: the old one stays, and is not asked for at once again */
    FETCHED(FETCH_FAILED, "", ENFORCED);
    KEPT(ENFORCED);
    now += 301;
    FETCHED(FETCH_OK, "<html>", ENFORCED);
    now += 301;
    FETCHED(FETCH_OK, POLICY("testing", "1000000"), BOTH);
    KEPT(BOTH);
    zone = STS_1;
    FETCHED(FETCH_OK, POLICY("none", "1000000"), BOTH);
    KEPT(BOTH);
    zone = STS_2;
    FETCHED(FETCH_OK, "version: STSv1\nmode: enforce\nmx: *.elsewhere.example\nmax_age: 1000000\n",
        "later 4.7.5");
    stop();
}

static void policy_age(void **state)
{
    (void)state;
    zone = STS_1;
    start("");
    FETCHED(FETCH_OK, POLICY("enforce", "1000000"), ENFORCED);
    now += 86401; /* looked at again each day; nobody waits for that */
    router_drop(router, SLICE("example.org"));
    ROUTE("example.org", ENFORCED);
    assert_int_equal(nfetches, 2);
    fetched(FETCH_FAILED, "");
    KEPT(ENFORCED);
    now += 301;
    zone = STS_ZONE;
    router_drop(router, SLICE("example.org"));
    ROUTE("example.org", ENFORCED);
    assert_int_equal(nfetches, 3);
    fetched(FETCH_OK, POLICY("enforce", "2000000"));
    now += 1500000;
    router_drop(router, SLICE("example.org"));
    ROUTE("example.org", ENFORCED);
    fetched(FETCH_MISSING, "");
    now += 500000; /* past its end, and there is no record */
    KEPT(BOTH);
    stop();
    /* longer than RFC 8461 knows counts as that */
    zone = STS_1;
    start("");
    FETCHED(FETCH_OK, POLICY("enforce", "9999999999"), ENFORCED);
    now += 31557599;
    router_drop(router, SLICE("example.org"));
    ROUTE("example.org", ENFORCED);
    fetched(FETCH_FAILED, "");
    now += 2;
    zone = STS_ZONE;
    KEPT(BOTH);
    stop();
}

static void policy_first_failure(void **state)
{
    (void)state;
    zone = STS_1;
    start("");
    FETCHED(FETCH_MISSING, "", BOTH);
    KEPT(BOTH);
    now += 301;
    FETCHED(FETCH_FAILED, "", BOTH);
    zone = STS_1 "_mta-sts.example.org TXT - v=STSv1; id=3;\n"; /* two records are none */
    now += 301;
    KEPT(BOTH);
    stop();
}

/* DANE decides who a server is; the policy, which may be used. */
static void policy_and_dane(void **state)
{
    (void)state;
    zone =
        "example.org MX s 10 a.example.org\nexample.org MX s 20 b.example.org\na.example.org A s 192.0.2.1\n"
        "b.example.org A s 192.0.2.2\n_25._tcp.a.example.org TLSA s 3 1 1 32\n"
        "mta-sts.example.org A - 203.0.113.1\n_mta-sts.example.org TXT - v=STSv1; id=1;\n";
    start("");
    FETCHED(FETCH_OK, POLICY("enforce", "1000000"),
        "a.example.org 192.0.2.1:25 dane=a.example.org|example.org x1 policy");
    stop();
}

/* fetchd is dead: the route waits for its time, and not longer. */
static void policy_no_answer(void **state)
{
    struct found f = begin();

    (void)state;
    setenv("POSTAMT_FETCH_SECONDS", "0", 1);
    zone = STS_1;
    start("");
    router_find(router, SLICE("example.org"), false, on_done, &f);
    run();
    assert_false(f.is_done);
    event_base_loop(base, EVLOOP_ONCE);
    run();
    check_found(&f, BOTH, __LINE__);
    fetched(FETCH_OK, POLICY("enforce", "1000000")); /* too late */
    KEPT(BOTH);
    unsetenv("POSTAMT_FETCH_SECONDS");
    stop();
}

/* ---- keeping ---- */

static void kept(void **state)
{
    struct found f[3] = {begin(), begin(), begin()};
    size_t before;

    (void)state;
    zone = "example.org MX - 10 mx.example.org\nmx.example.org A - 192.0.2.1\ndown.example MX - FAILED\n";
    start("");
    for (int i = 0; i < 3; i++)
        router_find(router, SLICE("example.org"), false, on_done, &f[i]);
    router_forget(router, &f[1]);
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(nquestions, 4); /* MX, TXT, our own A and AAAA: asked once for all */
    router_forget(router, &f[2]);
    run();
    assert_false(f[1].is_done || f[2].is_done);
    check_found(&f[0], MAY, __LINE__);
    zone = "other.example TXT - x\n";
    before = nasked;
    ROUTE("example.org", MAY);
    now += 299; /* the TTL is 300 */
    ROUTE("example.org", MAY);
    assert_int_equal(nasked, before);
    now += 2;
    ROUTE("example.org", "no-domain 5.1.2");
    now += 200;
    before = nasked;
    ROUTE("example.org", "no-domain 5.1.2");
    assert_int_equal(nasked, before);
    zone = "example.org MX - 10 mx.example.org\nmx.example.org A - 192.0.2.1\ndown.example MX - FAILED\n";
    router_drop(router, SLICE("example.org"));
    ROUTE("example.org", MAY);
    ROUTE("down.example", "later 4.4.3");
    before = nasked;
    ROUTE("down.example", "later 4.4.3"); /* not kept */
    assert_true(nasked > before);
    ours = "example.org";
    ROUTE("example.org", "here 2.0.0");
    stop();
}

/* New settings while questions are open: those who wait get a route by the new ones. */
static void reloaded(void **state)
{
    struct found f = begin();
    struct settings *old;

    (void)state;
    zone = SECURE_MX;
    start("");
    router_find(router, SLICE("example.org"), false, on_done, &f);
    event_base_loop(base, EVLOOP_NONBLOCK);
    answer_one();
    old = settings;
    settings = parse("routes = ( { to = \"example.org\"; tls = \"required\"; } );");
    router_set_settings(router, settings, SLICE(""));
    settings_free(old);
    assert_int_equal(nquestions, 0 + 1); /* the policy's TXT goes on */
    assert_false(f.is_done);
    run();
    check_found(&f, "mx.example.org 192.0.2.1:25 pkix=mx.example.org policy", __LINE__);
    router_find(router, SLICE("elsewhere.example"), false, on_done, &f);
    event_base_loop(base, EVLOOP_NONBLOCK);
    stop(); /* with open questions */
}

int main(void)
{
#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(destinations),
        ROW(rules),
        ROW(mx),
        ROW(shuffled),
        ROW(many),
        ROW(loops),
        ROW(private_addresses),
        ROW(dane),
        ROW(requiretls),
        ROW(large_tlsa),
        ROW(policies),
        ROW(policy_age),
        ROW(policy_first_failure),
        ROW(policy_and_dane),
        ROW(policy_no_answer),
        ROW(kept),
        ROW(reloaded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
