#include "queue/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/dns.h"
#include "common/fs.h"
#include "common/hmap.h"
#include "common/log.h"
#include "common/mem.h"
#include "mail/address.h"
#include "queue/fetch.h"
#include "queue/router_rules.h"

#define FOLDER "mta-sts"
#define REFRESH 86400 /* seconds: a kept policy is looked at again each day */
#define IN_MEMORY                                                                                            \
    4096                /* domains; then those that nobody asks for leave, what they said is in their files  \
                         */
#define ADDRESSES_MAX 8 /* of a web server */
#define FILE_MAX (FETCH_BODY_MAX + 64) /* first line and policy */
#define ANSWER_SECONDS 2               /* for fetchd's answer, after its own limit */

struct waiter {
    struct waiter *next;
    policy_done *done;
    void *ctx;
};

struct entry {
    struct policies *all;
    struct waiter *waiters;
    char *domain;
    char id[MTASTS_ID_MAX + 1]; /* of the kept policy */
    struct buf body;
    struct mtasts_policy policy; /* in body; body.n == 0: none is kept */
    int64_t fetched, not_before;
    /* while somebody asks */
    bool is_busy;
    char new_id[MTASTS_ID_MAX + 1]; /* as the record says; "": there is none */
    unsigned pending;               /* questions for addresses: ctx of the first is ipv4, of the other ipv6 */
    struct entry_question {
        struct entry *entry;
    } ipv4, ipv6;
    struct dns_record addresses[ADDRESSES_MAX];
    size_t naddresses;
    uint64_t fetch; /* number of the question to fetchd; 0: none */
    struct event *timer;
};

struct policies {
    struct event_base *base;
    struct dns *dns;
    const struct settings *settings;
    struct router_ops ops;
    int folder; /* mta-sts; -1 */
    struct hmap entries;
    uint64_t fetches;
};

static int64_t now_of(const struct policies *p)
{
    return p->ops.now(p->ops.ctx);
}

/* ---- what is kept ---- */

static bool is_valid(const struct entry *e)
{
    return e->body.n > 0 && now_of(e->all) < e->fetched + (int64_t)e->policy.max_age;
}

static bool take(struct entry *e, int64_t fetched, struct slice id, struct slice body)
{
    struct mtasts_policy p;

    if (id.n > MTASTS_ID_MAX || !mtasts_policy_parse(body, &p))
        return false;
    buf_clear(&e->body);
    buf_add(&e->body, body);
    e->policy = p;
    e->policy.body = buf_slice(&e->body);
    e->fetched = fetched;
    memcpy(e->id, id.p, id.n);
    e->id[id.n] = '\0';
    return true;
}

static void load(struct entry *e)
{
    struct buf text = BUF_INIT(FILE_MAX + 1);
    struct slice rest, head, seconds;
    const char *error = NULL;
    uint64_t fetched;

    if (e->all->folder < 0)
        return;
    if (fs_load(e->all->folder, e->domain, &text, FILE_MAX) < 0) {
        error = errno == ENOENT ? NULL : strerror(errno);
    } else {
        rest = buf_slice(&text);
        slice_cut(&rest, '\n', &head);
        slice_cut(&head, ' ', &seconds);
        if (!slice_u64(seconds, INT64_MAX / 2, &fetched) || !take(e, (int64_t)fetched, head, rest))
            error = "the kept file is damaged";
    }
    if (error)
        LOG(POLICY, NULL, F_STR("domain", e->domain), F_STR("error", error));
    buf_free(&text);
}

static void save(const struct entry *e)
{
    struct buf text = BUF_INIT(FILE_MAX);

    buf_printf(&text, "%lld %s\n", (long long)e->fetched, e->id);
    buf_add(&text, buf_slice(&e->body));
    if (e->all->folder >= 0 &&
        fs_replace(e->all->folder, ".new", e->all->folder, e->domain, buf_slice(&text), 0600, true) < 0)
        LOG(POLICY, NULL, F_STR("domain", e->domain), F_STR("error", strerror(errno)));
    buf_free(&text);
}

static void entry_free(struct entry *e)
{
    dns_forget(e->all->dns, e);
    dns_forget(e->all->dns, &e->ipv4);
    dns_forget(e->all->dns, &e->ipv6);
    while (e->waiters) {
        struct waiter *w = e->waiters;

        e->waiters = w->next;
        free(w);
    }
    if (e->timer)
        event_free(e->timer);
    buf_free(&e->body);
    free(e->domain);
    free(e);
}

static bool remove_idle(void *ctx, struct slice key, void *value)
{
    struct policies *p = ctx;
    struct entry *e = value;

    if (!e->is_busy) {
        hmap_remove(&p->entries, key);
        entry_free(e);
    }
    return true;
}

static struct entry *entry_of(struct policies *p, struct slice domain)
{
    struct entry *e = hmap_get(&p->entries, domain);

    if (e)
        return e;
    if (p->entries.count >= IN_MEMORY)
        hmap_walk(&p->entries, remove_idle, p);
    e = mem_zalloc(1, sizeof *e);
    e->all = p;
    e->ipv4.entry = e->ipv6.entry = e;
    e->body = BUF_INIT(FETCH_BODY_MAX);
    e->domain = slice_dup(domain);
    hmap_put(&p->entries, domain, e);
    load(e);
    return e;
}

/* ---- finding ---- */

static void answer(struct entry *e)
{
    const struct mtasts_policy *policy = is_valid(e) && e->policy.mode != MTASTS_NONE ? &e->policy : NULL;
    struct waiter *waiters = e->waiters;

    e->waiters = NULL;
    while (waiters) {
        struct waiter *w = waiters;

        waiters = w->next;
        w->done(w->ctx, policy);
        free(w);
    }
}

static void finish(struct entry *e)
{
    e->is_busy = false;
    e->fetch = 0;
    if (e->timer)
        event_del(e->timer);
    answer(e);
}

static void failed(struct entry *e, struct slice why)
{
    e->not_before = now_of(e->all) + POLICY_RETRY;
    LOG(POLICY, NULL, F_STR("domain", e->domain), F_SLICE("error", why),
        F_STR("in_force", is_valid(e) ? "the kept policy" : "none"));
    finish(e);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    failed(ctx, SLICE("fetchd did not answer"));
}

static void fetch(struct entry *e)
{
    struct policies *p = e->all;
    struct timeval tv = {.tv_sec = (time_t)fetch_seconds() + ANSWER_SECONDS};
    struct buf name = BUF_INIT(sizeof "mta-sts." + ADDRESS_DOMAIN_MAX);

    if (e->naddresses == 0 || !p->ops.fetch) {
        failed(e, SLICE("the web server of the policy has no address"));
        return;
    }
    if (!e->timer)
        e->timer = evtimer_new(p->base, on_timer, e);
    INVARIANT(e->timer);
    event_add(e->timer, &tv);
    e->fetch = ++p->fetches;
    buf_printf(&name, "mta-sts.%s", e->domain);
    p->ops.fetch(p->ops.ctx, e->fetch, buf_slice(&name), e->addresses, e->naddresses);
    buf_free(&name);
}

static void on_address(void *ctx, const struct dns_answer *a)
{
    struct entry *e = ((struct entry_question *)ctx)->entry;

    for (size_t i = 0; a->status == DNS_OK && i < a->n && e->naddresses < ADDRESSES_MAX; i++) {
        const struct dns_record *r = &a->records[i];

        if (e->all->settings->outbound_private || !route_is_private(r->ip, r->ip_len)) {
            e->addresses[e->naddresses] = (struct dns_record){.ip_len = r->ip_len};
            memcpy(e->addresses[e->naddresses++].ip, r->ip, sizeof r->ip);
        }
    }
    if (--e->pending == 0)
        fetch(e);
}

static void ask_addresses(struct entry *e)
{
    struct buf name = BUF_INIT(sizeof "mta-sts." + ADDRESS_DOMAIN_MAX);
    bool with_ipv6 = strcmp(e->all->settings->outbound_ipv6, "off") != 0;

    buf_printf(&name, "mta-sts.%s", e->domain);
    e->naddresses = 0;
    e->pending = with_ipv6 ? 2 : 1;
    dns_ask(e->all->dns, buf_slice(&name), DNS_A, on_address, &e->ipv4);
    if (with_ipv6)
        dns_ask(e->all->dns, buf_slice(&name), DNS_AAAA, on_address, &e->ipv6);
    buf_free(&name);
}

/* The id of the one record of MTA-STS among them; "": there is not exactly one (RFC 8461 3.1). */
static void id_of(const struct dns_answer *a, char id[MTASTS_ID_MAX + 1])
{
    struct slice found = SLICE(""), one;
    size_t n = 0;

    for (size_t i = 0; a->status == DNS_OK && i < a->n; i++) {
        enum mtasts_record r = mtasts_record_parse(a->records[i].text, &one);

        if (r == MTASTS_RECORD)
            found = one;
        if (r != MTASTS_NO_RECORD)
            n++;
    }
    if (n != 1)
        found = SLICE("");
    memcpy(id, found.p, found.n);
    id[found.n] = '\0';
}

static void on_record(void *ctx, const struct dns_answer *a)
{
    struct entry *e = ctx;
    bool valid = is_valid(e), may_fetch = now_of(e->all) >= e->not_before;
    int64_t half = e->policy.max_age / 2;

    id_of(a, e->new_id);
    if (may_fetch && e->new_id[0] && (!valid || strcmp(e->new_id, e->id) != 0)) {
        ask_addresses(e);
    } else if (may_fetch && valid && now_of(e->all) >= e->fetched + (half < REFRESH ? half : REFRESH)) {
        answer(e);
        ask_addresses(e);
    } else {
        finish(e);
    }
}

void policies_find(struct policies *p, struct slice domain, policy_done *done, void *ctx)
{
    struct entry *e = entry_of(p, domain);
    struct waiter *w = mem_alloc(sizeof *w);
    struct buf name = BUF_INIT(sizeof "_mta-sts." + ADDRESS_DOMAIN_MAX);

    *w = (struct waiter){.next = e->waiters, .done = done, .ctx = ctx};
    e->waiters = w;
    if (!e->is_busy) {
        e->is_busy = true;
        buf_printf(&name, "_mta-sts.%s", e->domain);
        dns_ask(p->dns, buf_slice(&name), DNS_TXT, on_record, e);
    }
    buf_free(&name);
}

struct of_ctx {
    const void *ctx;
    uint64_t fetch;
    struct entry *found;
};

static bool forget_in(void *ctx, struct slice key, void *value)
{
    const struct of_ctx *of = ctx;
    struct entry *e = value;

    (void)key;
    for (struct waiter **at = &e->waiters; *at;) {
        struct waiter *w = *at;

        if (w->ctx != of->ctx) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free(w);
    }
    return true;
}

void policies_forget(struct policies *p, const void *ctx)
{
    struct of_ctx of = {.ctx = ctx};

    hmap_walk(&p->entries, forget_in, &of);
}

static bool is_fetched(void *ctx, struct slice key, void *value)
{
    struct of_ctx *of = ctx;
    struct entry *e = value;

    (void)key;
    if (e->fetch != of->fetch)
        return true;
    of->found = e;
    return false;
}

bool policies_fetched(struct policies *p, struct ipc_in *in)
{
    struct of_ctx of = {.fetch = ipc_get_u64(in)};
    uint64_t status = ipc_get_u64(in);
    struct slice body = ipc_get(in), why = ipc_get(in);
    struct entry *e;

    if (!ipc_end(in) || of.fetch == 0 || status >= FETCH_STATUSES || body.n > FETCH_BODY_MAX)
        return false;
    hmap_walk(&p->entries, is_fetched, &of);
    e = of.found;
    if (!e)
        return true; /* it came too late */
    if (status != FETCH_OK) {
        failed(e, why);
    } else if (!take(e, now_of(p), slice_str(e->new_id[0] ? e->new_id : e->id), body)) {
        failed(e, SLICE("the policy does not follow RFC 8461"));
    } else {
        save(e);
        LOG(POLICY, NULL, F_STR("domain", e->domain), F_STR("id", e->id),
            F_U64("max_age", e->policy.max_age));
        finish(e);
    }
    return true;
}

/* ---- life ---- */

struct policies *policies_new(struct event_base *base, struct dns *dns, const struct settings *settings,
    int folder, const struct router_ops *ops)
{
    struct policies *p = mem_zalloc(1, sizeof *p);

    *p = (struct policies){.base = base, .dns = dns, .settings = settings, .ops = *ops, .folder = -1};
    if (folder < 0)
        return p;
    p->folder = fs_make_dirs(folder, FOLDER) < 0 ? -1 : fs_open_dir(folder, FOLDER);
    if (p->folder < 0)
        LOG(POLICY, NULL, F_STR("folder", FOLDER), F_STR("error", strerror(errno)));
    else
        fs_remove_old(p->folder, "", now_of(p) - MTASTS_MAX_AGE);
    return p;
}

void policies_set_settings(struct policies *p, const struct settings *settings)
{
    p->settings = settings;
}

static bool free_one(void *ctx, struct slice key, void *value)
{
    (void)ctx, (void)key;
    entry_free(value);
    return true;
}

void policies_free(struct policies *p)
{
    hmap_walk(&p->entries, free_one, NULL);
    hmap_free(&p->entries);
    if (p->folder >= 0)
        close(p->folder);
    free(p);
}
