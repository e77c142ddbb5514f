/* What the postamt command asks of the queue: each verb over a real spool and state, and what is no request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "queue/admin.h"

#define NOW 1795492000
#define MANY 2500

static char dir[64], folder[80];
static struct schedule_rules rules;
static struct queue_door door;
static struct buf answer = {.cap = BUF_OWN}, told = {.cap = BUF_OWN};
static size_t nitems;
static struct id ids[4]; /* plain: two recipients; deferred; held; for one of our own refusals */

static int remove_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(p);
}

static void on_changed(void *ctx, const struct id *id)
{
    (void)ctx, (void)id;
    buf_add_str(&told, "changed ");
}

static void on_kick(void *ctx, struct slice domain)
{
    (void)ctx;
    buf_add_str(&told, "kick:");
    buf_add(&told, domain);
    buf_add_char(&told, ' ');
}

static bool on_destination(void *ctx, struct slice domain, struct schedule_view *out)
{
    (void)ctx;
    *out = (struct schedule_view){.name = domain, .next = slice_eq(domain, SLICE("slow.test")) ? 600000 : 0};
    return true;
}

static struct id put(const char *from, const char *const *to, uint32_t n, bool hold)
{
    struct envelope_recipient recipients[3] = {0};
    struct envelope env = {.id = id_new(),
        .account = slice_str(from),
        .reverse_path = slice_str(from),
        .created = NOW - 3600,
        .hold = hold,
        .recipients = recipients,
        .nrecipients = n};
    struct spool_writer w;
    struct err e = {0};

    for (uint32_t i = 0; i < n; i++)
        recipients[i].address = slice_str(to[i]);
    assert_int_equal(spool_begin(door.spool, &env, &w, &e), 0);
    assert_int_equal(spool_write(&w, SLICE("text"), &e), 0);
    assert_int_equal(spool_commit(&w, &e), 0);
    env.size = 4;
    state_add(door.state, &env);
    return env.id;
}

static void defer(const struct id *id, const char *address, const char *host, const char *reply)
{
    struct state_recipient r = {.address = slice_str(address),
        .attempts = 3,
        .last_try = NOW - 60,
        .next_try = NOW + 300,
        .host = slice_str(host),
        .reply = slice_str(reply)};

    state_put_recipient(door.state, id, 0, &r);
}

static int setup(void **state)
{
    static const char *const two[] = {"bob@Example.com", "eve@slow.test"}, *const one[] = {"bob@example.com"},
                             *const utf8[] = {"jo@b\xc3\xbc"
                                              "cher.test"};
    struct err e = {0};

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    rules = schedule_default_rules();
    snprintf(dir, sizeof dir, "/tmp/test_queue_admin.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(folder, sizeof folder, "%s/queue", dir);
    door = (struct queue_door){
        .now = NOW, .rules = &rules, .changed = on_changed, .kick = on_kick, .destination = on_destination};
    if (queue_door_open(&door, folder, &e) < 0)
        return -1;
    ids[0] = put("anna@example.net", two, 2, false);
    ids[1] = put("berta@example.net", one, 1, false);
    ids[2] = put("", one, 1, true);
    ids[3] = put("anna@example.net", utf8, 1, false);
    defer(&ids[1], one[0], "mx.example.com", "452-4.2.2 over\r\n452 4.2.2 quota \x01\xff");
    return state_commit(door.state, &e);
}

static int teardown(void **state)
{
    (void)state;
    queue_door_close(&door);
    buf_free(&answer);
    buf_free(&told);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void on_item(void *ctx, struct slice json)
{
    (void)ctx;
    buf_add(&answer, json);
    buf_add_char(&answer, '\n');
    nitems++;
}

/* A '@0' .. '@3' in the request becomes the id of that message, ' becomes ". */
static enum err_code ask(const char *request)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct err e = {0};
    enum err_code code;

    for (const char *z = request; *z; z++) {
        if (*z == '@' && z[1] >= '0' && z[1] <= '3')
            buf_add_str(&text, ids[*++z - '0'].text);
        else
            buf_add_char(&text, *z == '\'' ? '"' : *z);
    }
    buf_clear(&answer);
    buf_clear(&told);
    nitems = 0;
    code = queue_admin_handle(&door, buf_slice(&text), on_item, NULL, &e);
    if (code != ERR_OK) {
        assert_int_equal(code, e.code);
        call_end(code, slice_str(e.detail), &answer);
    }
    buf_free(&text);
    return code;
}

static void good(const char *request, size_t items)
{
    enum err_code code = ask(request);

    if (code != ERR_OK || nitems != items)
        fail_msg("%s: %zu items: %s", request, nitems, buf_str(&answer));
}

static void bad(const char *request, enum err_code want)
{
    enum err_code code = ask(request);

    if (code != want)
        fail_msg("%s: %s: %s", request, err_row(code)->name, buf_str(&answer));
}

static void says(const char *text)
{
    if (!strstr(buf_str(&answer), text))
        fail_msg("no %s in %s", text, buf_str(&answer));
}

static void lists(void **state)
{
    (void)state;
    good("{'verb':'queue list'}", 4);
    says("\"age\":3600,\"size\":4,\"state\":\"active\",\"next_try\":\"2026-11-24T03:46:40Z\",\"left\":2,"
         "\"recipients\":2,");
    says("\"state\":\"deferred\"");
    says("\"host\":\"mx.example.com\",\"reason\":\"452-4.2.2 over 452 4.2.2 quota ??\"");
    says("\"state\":\"held\",\"next_try\":null");
    good("{'verb':'queue list','domain':'EXAMPLE.com'}", 3);
    good("{'verb':'queue list','domain':'xn--bcher-kva.test'}", 1);
    good("{'verb':'queue list','domain':'b\xc3\xbc"
         "cher.test'}",
        1);
    good("{'verb':'queue list','to':'BOB@example.com','from':'anna@example.net'}", 1);
    good("{'verb':'queue list','from':'<>'}", 1);
    good("{'verb':'queue list','from':'nobody@example.net'}", 0);
    good("{'verb':'queue list','ids':['@1','@0'],'from':'anna@example.net'}", 1);
    /* a destination's back-off is later than the recipient's own time */
    good("{'verb':'queue list','ids':['@0']}", 1);
    good("{'verb':'queue show','id':'@0'}", 3);
    says("\"next_try\":\"2026-11-24T03:56:40Z\"");
    says("\"expires\":\"2026-11-29T02:46:40Z\"");
    /* pages */
    good("{'verb':'queue list','limit':3}", 4);
    says("{\"next\":\"");
    says(ids[2].text);
    good("{'verb':'queue list','limit':3,'after':'@2'}", 1);
    says(ids[3].text);
    good("{'verb':'queue list','ids':['@3','@1','@2'],'after':'@1'}", 1);
    says(ids[2].text);
}

static void missing(void **state)
{
    (void)state;
    bad("{'verb':'queue show','id':'0000000000000'}", ERR_NO_MESSAGE);
    bad("{'verb':'queue show','id':'../../etc/passwd'}", ERR_NO_MESSAGE);
    bad("{'verb':'queue show'}", ERR_USAGE);
    good("{'verb':'queue list','ids':['@1','zzzzzzzzzzzzz']}", 2);
    says("{\"id\":\"zzzzzzzzzzzzz\",\"error\":{\"code\":\"NO_MESSAGE\"");
    bad("{'verb':'queue drop','ids':['0000000000000','x']}", ERR_NO_MESSAGE);
    bad("{'verb':'queue list','to':'nobody'}", ERR_SYNTAX);
    bad("{'verb':'queue list','domain':'a b'}", ERR_SYNTAX);
    bad("{'verb':'queue list','after':'x'}", ERR_SYNTAX);
    bad("{'verb':'queue list','ids':'@1'}", ERR_USAGE);
    bad("{'verb':'queue list','ids':[1]}", ERR_USAGE);
    bad("{'verb':'queue why','language':'fr'}", ERR_USAGE);
    bad("{'verb':'queue purge'}", ERR_USAGE);
    bad("{'verb':'account list'}", ERR_USAGE);
    bad("", ERR_USAGE);
    bad("[]", ERR_USAGE);
    static const char *const changes[] = {"retry", "hold", "release", "drop", "bounce"};
    for (size_t i = 0; i < 5; i++) {
        char request[60];

        snprintf(request, sizeof request, "{'verb':'queue %s'}", changes[i]);
        bad(request, ERR_USAGE);
        snprintf(request, sizeof request, "{'verb':'queue %s','all':false}", changes[i]);
        bad(request, ERR_USAGE);
    }
}

static void reasons(void **state)
{
    (void)state;
    good("{'verb':'queue why','ids':['@1']}", 1);
    says("\"meaning\":\"mailbox-full\"");
    says("\"first\":[\"bob@example.com\"]");
    good("{'verb':'queue why','language':'de'}", 4);
    says("Die Nachricht wird angehalten");
    says("Es gab noch keinen Versuch");
}

static struct state_recipient get(size_t which, uint32_t index)
{
    static struct buf hold = {.cap = BUF_OWN};
    struct state_recipient r;
    struct err e = {0};

    buf_free(&hold);
    assert_int_equal(state_get(door.state, &ids[which], index, &hold, &r, &e), 1);
    r.address = r.host = SLICE("");
    r.reply = r.reply.n && slice_starts(r.reply, SLICE("550 5.0.0")) ? SLICE("ours") : SLICE("");
    buf_free(&hold);
    return r;
}

static void retries(void **state)
{
    (void)state;
    good("{'verb':'queue retry','all':true,'dry_run':true}", 3); /* one is held */
    assert_int_equal(told.n, 0);
    assert_int_equal(get(1, 0).next_try, NOW + 300);
    good("{'verb':'queue retry','domain':'example.com','from':'berta@example.net'}", 1);
    assert_string_equal(buf_str(&told), "changed kick:example.com ");
    assert_int_equal(get(1, 0).next_try, NOW);
    assert_int_equal(get(1, 0).attempts, 3);
    good("{'verb':'queue retry','ids':['@3']}", 1);
    assert_string_equal(buf_str(&told), "changed kick:xn--bcher-kva.test ");
}

static void holds(void **state)
{
    (void)state;
    good("{'verb':'queue hold','all':true}", 3); /* one is held already */
    assert_string_equal(buf_str(&told), "changed changed changed ");
    good("{'verb':'queue list'}", 4);
    assert_null(strstr(buf_str(&answer), "\"active\""));
    good("{'verb':'queue release','from':'<>'}", 1);
    good("{'verb':'queue release','ids':['@2']}", 0);
    good("{'verb':'queue list','ids':['@2']}", 1);
    says("\"state\":\"active\"");
}

static void drops(void **state)
{
    char name[120];
    struct err e = {0};

    (void)state;
    good("{'verb':'queue drop','all':true,'dry_run':true}", 4);
    good("{'verb':'queue list'}", 4);
    /* one of two recipients: the message stays for the other */
    good("{'verb':'queue drop','to':'eve@slow.test'}", 1);
    assert_int_equal(get(0, 1).state, STATE_FAILED);
    assert_int_equal(get(0, 0).state, STATE_PENDING);
    good("{'verb':'queue drop','domain':'example.com'}", 3);
    assert_string_equal(buf_str(&told), "changed changed changed ");
    good("{'verb':'queue list'}", 1);
    snprintf(name, sizeof name, "%s/%s", folder, ids[0].text);
    assert_int_not_equal(access(name, F_OK), 0);
    snprintf(name, sizeof name, "%s/%s", folder, ids[3].text);
    assert_int_equal(access(name, F_OK), 0);
    queue_door_close(&door); /* nothing comes back */
    assert_int_equal(queue_door_open(&door, folder, &e), 0);
    good("{'verb':'queue list'}", 1);
}

static void bounces(void **state)
{
    (void)state;
    good("{'verb':'queue bounce','ids':['@0','@1'],'domain':'example.com'}", 2);
    assert_int_equal(get(0, 0).state, STATE_BOUNCING);
    assert_true(slice_eq(get(0, 0).reply, SLICE("ours")));
    assert_int_equal(get(0, 1).state, STATE_PENDING);
    assert_int_equal(get(1, 0).state, STATE_BOUNCING);
    assert_true(slice_eq(get(1, 0).reply, SLICE(""))); /* the server's stays */
    good("{'verb':'queue list','ids':['@1']}", 1);
    says("\"state\":\"bouncing\"");
    good("{'verb':'queue retry','ids':['@1']}", 0);
}

/* What queued noted and did not commit yet is not written over. */
static void waiting_changes_come_first(void **state)
{
    struct state_recipient r = {.address = SLICE("bob@example.com"), .state = STATE_DONE};

    (void)state;
    state_put_recipient(door.state, &ids[1], 0, &r);
    good("{'verb':'queue retry','all':true}", 2);
    assert_int_equal(get(1, 0).state, STATE_DONE);
}

static void suppressed(void **state)
{
    struct suppress_entry machine = {.address = SLICE("dead@example.com"),
        .since = NOW,
        .until = NOW + SUPPRESS_LIFE,
        .host = SLICE("mx.example.com"),
        .reply = SLICE("550 5.1.1 no such user")};
    struct err e = {0};

    (void)state;
    assert_true(suppress_add(door.suppress, &machine));
    good("{'verb':'queue suppress add','address':'Eve@Example.net','dry_run':true}", 1);
    good("{'verb':'queue suppress list'}", 1);
    good("{'verb':'queue suppress add','address':'Eve@Example.net'}", 1);
    says("\"address\":\"eve@example.net\",\"since\":\"2026-11-24T03:46:40Z\",\"until\":null");
    queue_door_close(&door);
    assert_int_equal(queue_door_open(&door, folder, &e), 0);
    good("{'verb':'queue suppress list'}", 2);
    good("{'verb':'queue suppress list','after':'dead@example.com'}", 1);
    bad("{'verb':'queue suppress list','after':'gone@example.com'}", ERR_UNAVAILABLE);
    bad("{'verb':'queue suppress add','address':'x'}", ERR_SYNTAX);
    bad("{'verb':'queue suppress add'}", ERR_USAGE);
    bad("{'verb':'queue suppress remove','address':'bob@example.net'}", ERR_NO_USER);
    good("{'verb':'queue suppress remove','address':'EVE@example.net','dry_run':true}", 1);
    good("{'verb':'queue suppress remove','address':'EVE@example.net'}", 1);
    good("{'verb':'queue suppress list'}", 1);
}

/* Pages of all messages: every one is seen once, no request sends more than a page. */
static void many(void **state)
{
    static const char *const to[] = {"x@example.org"};
    char request[100] = "{'verb':'queue hold','all':true}";
    struct err e = {0};
    size_t seen = 0, requests = 0;
    bool more = true;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        struct envelope_recipient r = {.address = slice_str(to[0])};
        struct envelope env = {.id = id_new(), .created = NOW, .recipients = &r, .nrecipients = 1};

        state_add(door.state, &env);
    }
    assert_int_equal(state_commit(door.state, &e), 0);
    for (; more && requests < 10; requests++) {
        const char *next;

        assert_int_equal(ask(request), ERR_OK);
        next = strstr(buf_str(&answer), "{\"next\":\"");
        more = next != NULL;
        seen += nitems - more;
        assert_true(nitems <= QUEUE_ADMIN_LOOK + 1);
        if (more)
            snprintf(request, sizeof request, "{'verb':'queue hold','all':true,'after':'%.13s'}", next + 9);
    }
    assert_int_equal(seen, MANY + 3);
    assert_int_equal(requests, 3);
}

static void garbage(void **state)
{
    static const char *const rows[] = {"{'verb':'queue list','limit':'x'}", "{'verb':'queue list','x':1}",
        "{'verb':'queue list','all':1}", "{'verb':1}", "\xff", "{'verb':'queue list','verb':'queue list'}"};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_not_equal(ask(rows[i]), ERR_OK);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(lists), T(missing), T(reasons), T(retries), T(holds), T(drops),
        T(bounces), T(waiting_changes_come_first), T(suppressed), T(many), T(garbage)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
