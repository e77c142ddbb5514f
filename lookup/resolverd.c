/* resolverd: the only process that asks name servers. man/postamt-resolverd.8 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <unbound.h>

#include "common/dns.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/role.h"
#include "lookup/rdata.h"

#define PENDING_MAX 64 /* look-ups; identical questions are one */
#define ASKERS_MAX 1024
#define LOOKUP_SECONDS (DNS_SECONDS - 5) /* the answer is there before the asker gives up */
#define MX_MAX 20
#define TTL_MAX 86400
#define WHY_MAX 300
#define ANCHOR_MAX ((size_t)64 * 1024)
#define ANSWER_ARENA ((size_t)512 * 1024) /* an answer of 64 KiB, its records rounded up */
#define RCODE_NAMES 6

struct resolver;

struct asker {
    struct asker *next;
    uint64_t question;
};

struct lookup {
    struct resolver *resolver;
    struct asker *askers; /* NULL: free */
    char name[256];
    enum dns_type type;
    int id; /* libunbound's */
    struct event *timer;
};

struct resolver {
    struct role *role;
    struct ub_ctx *unbound;
    struct event *readable;
    struct buf anchor; /* text of the trust anchor's file; empty: none */
    bool is_validating;
    const struct settings *settings; /* those it was made with */
    struct lookup lookups[PENDING_MAX];
    size_t pending, askers;
    uint64_t asked;
};

static struct resolver resolver;

/* --- answers --- */

/* Leaves out what does not fit into a message beside the rest; the new n. */
static size_t fit(struct dns_record *records, size_t n)
{
    struct buf one = BUF_INIT(IPC_MAX);
    size_t room = IPC_MAX - 1024 - WHY_MAX, kept = 0;

    for (size_t i = 0; i < n; i++) {
        buf_clear(&one);
        dns_record_encode(&one, &records[i]);
        if (one.full || one.n + sizeof(uint32_t) > room)
            continue;
        room -= one.n + sizeof(uint32_t);
        records[kept++] = records[i];
    }
    buf_free(&one);
    return kept;
}

static void answer_one(struct resolver *res, uint64_t question, const struct dns_answer *a)
{
    struct buf one = BUF_INIT(IPC_MAX);
    struct ipc_out out;

    ipc_begin(&out, IPC_DNS_ANSWER);
    ipc_put_u64(&out, question);
    ipc_put_u64(&out, a->status);
    ipc_put_u64(&out, a->secure);
    ipc_put_u64(&out, a->ttl);
    ipc_put(&out, a->canonical);
    ipc_put(&out, slice_sub(a->why, 0, WHY_MAX));
    ipc_put_u64(&out, a->n);
    for (size_t i = 0; i < a->n; i++) {
        buf_clear(&one);
        dns_record_encode(&one, &a->records[i]);
        ipc_put(&out, buf_slice(&one));
    }
    buf_free(&one);
    ipc_send(role_peer(res->role, ROLE_QUEUED, 0), &out);
}

/* All who asked that; the place is free then. */
static void answer_all(struct lookup *l, const struct dns_answer *a)
{
    struct resolver *res = l->resolver;

    event_del(l->timer);
    while (l->askers) {
        struct asker *asker = l->askers;

        l->askers = asker->next;
        answer_one(res, asker->question, a);
        free(asker);
        res->askers--;
    }
    res->pending--;
}

static void refuse(struct resolver *res, uint64_t question, enum dns_status status, const char *why)
{
    struct dns_answer a = {.status = status, .why = slice_str(why)};

    answer_one(res, question, &a);
}

static void fail(struct lookup *l, const char *why)
{
    struct dns_answer a = {.status = DNS_FAILED, .why = slice_str(why)};

    answer_all(l, &a);
}

/* --- what libunbound found --- */

static enum dns_status status_of(const struct ub_result *r)
{
    if (r->bogus)
        return DNS_BOGUS;
    if (r->nxdomain)
        return DNS_NXDOMAIN;
    if (r->rcode != 0)
        return DNS_FAILED;
    return r->havedata ? DNS_OK : DNS_NODATA;
}

static const char *rcode_text(int rcode)
{
    static const char *const names[RCODE_NAMES] = {
        NULL, "FORMERR", "no name server gave an answer (SERVFAIL)", NULL, "NOTIMP", "REFUSED"};

    return rcode >= 0 && rcode < RCODE_NAMES && names[rcode] ? names[rcode] : "an error of the name servers";
}

static size_t take_records(
    const struct lookup *l, const struct ub_result *result, struct arena *arena, struct dns_record *records)
{
    size_t max = l->type == DNS_MX ? MX_MAX : DNS_RECORDS_MAX, n = 0;

    for (size_t i = 0; result->data[i]; i++) {
        struct slice wire = slice_of(result->data[i], (size_t)result->len[i]);
        struct dns_record r;

        if (rdata_parse(l->type, wire, arena, &r))
            n = rdata_add(records, n, max, &r);
    }
    return fit(records, n);
}

static void answer_result(struct lookup *l, const struct ub_result *result)
{
    struct dns_record records[DNS_RECORDS_MAX];
    struct dns_answer a = {.status = status_of(result), .records = records};
    struct arena arena;

    arena_init(&arena, ANSWER_ARENA);
    if (a.status == DNS_BOGUS)
        a.why = slice_str(result->why_bogus);
    if (a.status == DNS_FAILED)
        a.why = slice_str(rcode_text(result->rcode));
    if (!result->canonname || !rdata_name(slice_str(result->canonname), &arena, &a.canonical))
        a.canonical = slice_str(l->name);
    if (a.status == DNS_OK)
        a.n = take_records(l, result, &arena, records);
    if (a.status == DNS_OK && a.n == 0) {
        a.status = DNS_FAILED;
        a.why = SLICE("all records of the answer are malformed or too long");
    }
    a.secure = result->secure && a.status != DNS_FAILED;
    a.ttl = (uint32_t)(result->ttl < 0 ? 0 : result->ttl > TTL_MAX ? TTL_MAX : result->ttl);
    answer_all(l, &a);
    arena_free(&arena);
}

static void on_result(void *ctx, int error, struct ub_result *result)
{
    struct lookup *l = ctx;

    if (error)
        fail(l, ub_strerror(error));
    else
        answer_result(l, result);
    ub_resolve_free(result);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    struct resolver *res = ctx;
    int error = ub_process(res->unbound);

    (void)fd, (void)what;
    if (!error)
        return;
    /* its thread is gone: postamtd starts us anew */
    LOG(INTERNAL, NULL, F_STR("libunbound", ub_strerror(error)));
    event_base_loopbreak(res->role->base);
}

static void on_time(evutil_socket_t fd, short what, void *ctx)
{
    struct lookup *l = ctx;

    (void)fd, (void)what;
    ub_cancel(l->resolver->unbound, l->id);
    fail(l, "the name servers gave no answer in time");
}

/* --- the context --- */

/*
 * One record a line, as unbound-anchor, dig and dns-root-data write them; comments begin with ';'. libunbound
 * would read the file itself, but later, behind the fence.
 */
static int add_anchors(struct ub_ctx *unbound, struct slice text)
{
    struct slice line;
    int error = 0;

    while (!error && slice_cut(&text, '\n', &line)) {
        struct slice record;
        char *z;

        slice_cut(&line, ';', &record);
        record = slice_trim(record);
        z = record.n ? slice_dup(record) : NULL;
        if (z)
            error = ub_ctx_add_ta(unbound, z);
        free(z);
    }
    return error;
}

static bool is_loopback(const char *server)
{
    return strncmp(server, "127.", 4) == 0 || strncmp(server, "::1", 3) == 0;
}

/* Its thread starts with the first question, so it is behind the fence, whenever the context is made. */
static int configure(struct ub_ctx *unbound, const char *server, struct slice anchor)
{
    static const char *const options[][2] = {
        /* for a program that looks up now and then: two connections, 16 ports */
        {"outgoing-num-tcp:", "16"},
        {"outgoing-range:", "64"},
        {"msg-cache-size:", "4m"},
        {"rrset-cache-size:", "8m"},
        /* a server that was down is asked again soon, not after a quarter of an hour */
        {"infra-host-ttl:", "60"},
    };
    int error = ub_ctx_async(unbound, 1);

    ub_ctx_debugout(unbound, NULL);
    for (size_t i = 0; !error && i < sizeof options / sizeof *options; i++)
        error = ub_ctx_set_option(unbound, options[i][0], options[i][1]);
    if (!error && *server)
        error = ub_ctx_set_fwd(unbound, server);
    if (!error && is_loopback(server))
        error = ub_ctx_set_option(unbound, "do-not-query-localhost:", "no");
    if (!error)
        error = add_anchors(unbound, anchor);
    /* libunbound answers for .test itself otherwise. What is configured counts from here on, so the anchors
     * are read now */
    return error ? error : ub_ctx_zone_remove(unbound, "test.");
}

static struct ub_ctx *context_new(const char *server, struct slice anchor)
{
    struct ub_ctx *unbound = ub_ctx_create();
    int error = unbound ? configure(unbound, server, anchor) : UB_NOMEM;

    if (!error)
        return unbound;
    LOG(DNS, NULL, F_STR("server", server), F_STR("error", ub_strerror(error)));
    if (unbound)
        ub_ctx_delete(unbound);
    return NULL;
}

static int context_open(struct resolver *res)
{
    const struct settings *s = res->settings;

    if (res->anchor.n)
        res->unbound = context_new(s->dns_server, buf_slice(&res->anchor));
    res->is_validating = res->unbound != NULL;
    buf_free(&res->anchor);
    if (!res->unbound) { /* mail goes on without DNSSEC */
        LOG(DNS, NULL, F_STR("trust_anchor", s->dns_trust_anchor),
            F_STR("error", "answers are not validated"));
        res->unbound = context_new(s->dns_server, SLICE(""));
    }
    if (!res->unbound)
        return -1;
    res->readable = event_new(res->role->base, ub_fd(res->unbound), EV_READ | EV_PERSIST, on_readable, res);
    INVARIANT(res->readable);
    return event_add(res->readable, NULL);
}

/* --- questions --- */

static struct lookup *same_lookup(struct resolver *res, struct slice name, enum dns_type type)
{
    for (size_t i = 0; i < PENDING_MAX; i++) {
        struct lookup *l = &res->lookups[i];

        if (l->askers && l->type == type && slice_eq(slice_str(l->name), name))
            return l;
    }
    return NULL;
}

static void add_asker(struct lookup *l, uint64_t question)
{
    struct asker *a = mem_alloc(sizeof *a);

    *a = (struct asker){.next = l->askers, .question = question};
    l->askers = a;
    l->resolver->askers++;
}

static void lookup_start(struct resolver *res, struct slice name, enum dns_type type, uint64_t question)
{
    struct timeval limit = {.tv_sec = LOOKUP_SECONDS};
    struct lookup *l = res->lookups;
    int error;

    while (l->askers)
        l++;
    memcpy(l->name, name.p, name.n);
    l->name[name.n] = '\0';
    l->type = type;
    res->pending++;
    res->asked++;
    add_asker(l, question);
    event_add(l->timer, &limit);
    error = ub_resolve_async(res->unbound, l->name, (int)l->type, 1 /* IN */, l, on_result, &l->id);
    if (error)
        fail(l, ub_strerror(error));
}

static void ask(struct resolver *res, uint64_t question, struct slice name, enum dns_type type)
{
    struct lookup *l = same_lookup(res, name, type);

    if (res->askers == ASKERS_MAX || (!l && res->pending == PENDING_MAX))
        refuse(res, question, DNS_BUSY, "too many questions at once");
    else if (l)
        add_asker(l, question);
    else
        lookup_start(res, name, type, question);
}

static bool is_type(uint64_t type)
{
    return type == DNS_A || type == DNS_CNAME || type == DNS_PTR || type == DNS_MX || type == DNS_TXT ||
           type == DNS_AAAA || type == DNS_TLSA;
}

static bool message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct resolver *res = r->state;
    uint64_t question = ipc_get_u64(in);
    struct slice text = ipc_get(in), name;
    uint64_t type = ipc_get_u64(in);
    struct arena arena;

    (void)peer, (void)instance, (void)ch;
    if (in->type != IPC_DNS_ASK || !ipc_end(in) || !is_type(type))
        return false;
    arena_init(&arena, 1024);
    if (rdata_name(text, &arena, &name))
        ask(res, question, name, (enum dns_type)type);
    else
        refuse(res, question, DNS_BAD_NAME, "that is no domain name");
    arena_free(&arena);
    return true;
}

/* Nobody waits for the answers any more. */
static void peer(struct role *r, enum role_id id, unsigned instance, struct ipc *ch)
{
    struct resolver *res = r->state;

    (void)id, (void)instance;
    for (size_t i = 0; !ch && i < PENDING_MAX; i++) {
        struct lookup *l = &res->lookups[i];

        if (!l->askers)
            continue;
        ub_cancel(res->unbound, l->id);
        fail(l, "");
    }
}

/* --- the role --- */

static int prepare(struct role *r, struct err *e)
{
    const char *file = r->settings->dns_trust_anchor;
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    (void)e;
    resolver.anchor = BUF_INIT(ANCHOR_MAX + 1);
    if (fd < 0 || fs_read_all(fd, &resolver.anchor, ANCHOR_MAX) < 0) {
        LOG(DNS, NULL, F_STR("trust_anchor", file), F_STR("error", strerror(errno)));
        buf_free(&resolver.anchor);
    }
    if (fd >= 0)
        close(fd);
    return 0;
}

static int run(struct role *r, struct err *e)
{
    resolver.role = r;
    resolver.settings = r->settings;
    r->state = &resolver;
    for (size_t i = 0; i < PENDING_MAX; i++) {
        struct lookup *l = &resolver.lookups[i];

        l->resolver = &resolver;
        l->timer = evtimer_new(r->base, on_time, l);
        INVARIANT(l->timer);
    }
    return context_open(&resolver) < 0 ? err_set(e, ERR_CONFIG, "libunbound cannot be started") : 0;
}

/* Behind the fence neither the anchor can be read nor a context be ended: postamtd starts another resolverd.
 */
static void reloaded(struct role *r)
{
    const struct settings *was = resolver.settings, *is = r->settings;

    if (strcmp(was->dns_server, is->dns_server) != 0 ||
        strcmp(was->dns_trust_anchor, is->dns_trust_anchor) != 0)
        event_base_loopexit(r->base, NULL);
}

static void status(struct role *r, struct buf *json)
{
    const struct resolver *res = r->state;

    buf_printf(json, "{\"asked\":%llu,\"pending\":%zu,\"dnssec\":%s}", (unsigned long long)res->asked,
        res->pending, res->is_validating ? "true" : "false");
}

static const struct role_ops ops = {
    .id = ROLE_RESOLVERD,
    .prepare = prepare,
    .run = run,
    .message = message,
    .peer = peer,
    .reloaded = reloaded,
    .status = status,
};

int main(int argc, char **argv)
{
    static const struct role_ops *const list[] = {&ops, NULL};

    return role_main(argc, argv, list);
}
