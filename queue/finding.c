#include "queue/finding.h"

#include <stdlib.h>
#include <string.h>

#include "common/dns.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/secrets.h"
#include "mail/address.h"
#include "queue/finding_internal.h"

#define PERMANENT_SECONDS 600 /* what is final is looked at again after so long */

/* ---- the end ---- */

__attribute__((format(printf, 2, 0))) static struct slice say(struct finding *f, const char *fmt, va_list ap)
{
    struct buf text = BUF_INIT(1024);
    struct slice copy;

    buf_vprintf(&text, fmt, ap);
    copy = arena_copy(f->arena, buf_slice(&text));
    buf_free(&text);
    return copy;
}

unsigned finding_seconds(uint32_t ttl, unsigned most)
{
    return ttl < FINDING_SECONDS_MIN ? FINDING_SECONDS_MIN : ttl > most ? most : ttl;
}

void finding_end(struct finding *f, enum route_status status, const char *code, const char *fmt, ...)
{
    struct router_result result = {.status = status, .reason = SCHEDULE_DNS, .status_code = code};
    va_list ap;

    va_start(ap, fmt);
    result.why = say(f, fmt, ap);
    va_end(ap);
    f->done(f->ctx, &result, status == ROUTE_LATER ? 0 : finding_seconds(f->ttl, PERMANENT_SECONDS));
}

void finding_end_later(struct finding *f, enum schedule_class reason, const char *code, const char *fmt, ...)
{
    struct router_result result = {.status = ROUTE_LATER, .reason = reason, .status_code = code};
    va_list ap;

    va_start(ap, fmt);
    result.why = say(f, fmt, ap);
    va_end(ap);
    f->done(f->ctx, &result, 0);
}

static bool is_failure(enum dns_status s)
{
    return s == DNS_FAILED || s == DNS_BOGUS || s == DNS_BUSY;
}

static void note_ttl(struct finding *f, uint32_t ttl)
{
    if (ttl < f->ttl)
        f->ttl = ttl;
}

/* One answer of the step is there; after the last the next step comes. */
static void answered(struct finding *f)
{
    if (--f->pending == 0)
        f->next(f);
}

static void ask(struct finding *f, struct slice name, enum dns_type type, dns_done *done, void *ctx)
{
    f->pending++;
    dns_ask(f->env.dns, name, type, done, ctx);
}

/* ---- 3. TLSA (RFC 7672 2.2) ---- */

static void ask_tlsa(struct finding *f, struct finding_host *h, struct slice base);

static bool is_usable(const struct dns_record *r)
{
    if (r->usage < 2 || r->usage > 3 || r->selector > 1 || r->data.n > FINDING_TLSA_OCTETS)
        return false;
    return r->matching == 0 ? r->data.n > 0
                            : (r->matching == 1 && r->data.n == 32) || (r->matching == 2 && r->data.n == 64);
}

static void take_tlsa(struct finding *f, struct finding_host *h, const struct dns_answer *a)
{
    for (size_t i = 0; i < a->n && h->ntlsa < ROUTE_TLSA_MAX; i++) {
        const struct dns_record *r = &a->records[i];

        if (is_usable(r))
            h->tlsa[h->ntlsa++] = (struct route_tlsa){.usage = r->usage,
                .selector = r->selector,
                .matching = r->matching,
                .data = arena_copy(&f->memory, r->data)};
    }
    h->dane = h->ntlsa ? FINDING_DANE : FINDING_UNUSABLE;
}

static void on_tlsa(void *ctx, const struct dns_answer *a)
{
    const struct finding_question *q = ctx;
    struct finding_host *h = q->host;
    struct finding *f = q->finding;

    note_ttl(f, a->ttl);
    if (is_failure(a->status))
        h->dane = FINDING_NO_ANSWER;
    else if (a->status == DNS_OK && a->secure)
        take_tlsa(f, h, a);
    else if (!slice_eq(h->base, h->name))
        ask_tlsa(f, h, h->name);
    answered(f);
}

static void ask_tlsa(struct finding *f, struct finding_host *h, struct slice base)
{
    struct buf name = BUF_INIT(ADDRESS_DOMAIN_MAX + 16);

    h->base = base;
    buf_printf(&name, "_%u._tcp.%.*s", (unsigned)f->port, SLICE_FMT(base));
    ask(f, buf_slice(&name), DNS_TLSA, on_tlsa, &h->of_tlsa);
    buf_free(&name);
}

static void on_cname(void *ctx, const struct dns_answer *a)
{
    const struct finding_question *q = ctx;
    struct finding_host *h = q->host;
    struct finding *f = q->finding;

    note_ttl(f, a->ttl);
    if (is_failure(a->status))
        h->dane = FINDING_NO_ANSWER;
    else if (a->status == DNS_OK && a->secure)
        ask_tlsa(f, h, h->name);
    answered(f);
}

/* An alias in a signed zone that leads out of it still speaks for its own name (RFC 7672 2.1.3, 2.2.2). */
static void look_for_dane(struct finding *f, struct finding_host *h)
{
    bool is_alias = h->canonical.n && !slice_eq_nocase(h->canonical, h->name);

    if (h->is_secure)
        ask_tlsa(f, h, is_alias ? h->canonical : h->name);
    else if (is_alias)
        ask(f, h->name, DNS_CNAME, on_cname, &h->of_tlsa);
}

/* ---- 2. addresses ---- */

static bool has_address(const struct finding_host *h, const unsigned char *ip, uint8_t ip_len)
{
    for (size_t i = 0; i < h->naddresses; i++)
        if (h->addresses[i].ip_len == ip_len && memcmp(h->addresses[i].ip, ip, ip_len) == 0)
            return true;
    return false;
}

static bool is_loopback(const struct finding_address *a)
{
    static const unsigned char v6[16] = {[15] = 1};

    return a->ip_len == 4 ? a->ip[0] == 127 : memcmp(a->ip, v6, sizeof v6) == 0;
}

static bool is_own(const struct finding *f, const struct finding_address *a)
{
    const struct settings *s = f->env.settings;

    for (size_t i = 0; i < s->nlisteners; i++) {
        const struct listener *l = &s->listeners[i];
        unsigned char ip[16];
        bool is_any = strcmp(l->address, "*") == 0;

        if (l->service != SERVICE_SMTP || l->port != f->port)
            continue;
        if ((is_any && s->outbound_private && is_loopback(a)) || has_address(&f->own, a->ip, a->ip_len))
            return true;
        if (!is_any && rules_ip(slice_str(l->address), ip) == a->ip_len && memcmp(ip, a->ip, a->ip_len) == 0)
            return true;
    }
    return false;
}

/* Hosts that are no better than ourselves are not for us (RFC 5321 5.1). */
static void cut_own(struct finding *f)
{
    for (size_t i = 0; i < f->nhosts; i++)
        for (size_t j = 0; j < f->hosts[i]->naddresses; j++)
            if (is_own(f, &f->hosts[i]->addresses[j])) {
                while (i > 0 && f->hosts[i - 1]->preference == f->hosts[i]->preference)
                    i--;
                f->nhosts = i;
                f->is_cut = true;
                return;
            }
}

static void drop_private(struct finding *f, struct finding_host *h)
{
    size_t kept = 0;

    for (size_t i = 0; i < h->naddresses; i++) {
        if (route_is_private(h->addresses[i].ip, h->addresses[i].ip_len))
            f->has_private = true;
        else
            h->addresses[kept++] = h->addresses[i];
    }
    h->naddresses = kept;
}

static void drop_without_address(struct finding *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->nhosts; i++) {
        struct finding_host *h = f->hosts[i];

        if (!f->rule_host && !f->env.settings->outbound_private)
            drop_private(f, h);
        f->has_failed |= h->has_failed;
        if (h->naddresses)
            f->hosts[kept++] = h;
    }
    f->nhosts = kept;
}

static void end_loop(struct finding *f)
{
    const struct settings *s = f->env.settings;

    for (size_t i = 0; i < s->nbackups; i++)
        if (slice_eq(slice_str(s->backups[i].domain), f->place.domain)) {
            finding_end(f, ROUTE_LOOP, "5.4.6",
                "this server is a backup for %.*s, and the MX records name no server that comes before it",
                SLICE_FMT(f->place.domain));
            return;
        }
    finding_end(f, ROUTE_LOOP, "5.4.6",
        "the mail servers of %.*s lead back to this server, which has no such domain",
        SLICE_FMT(f->place.domain));
}

static void end_without_address(struct finding *f)
{
    struct slice name = f->rule_host ? slice_str(f->rule_host->host) : f->place.domain;

    if (f->has_failed)
        finding_end_later(f, SCHEDULE_DNS, "4.4.3",
            "the addresses of the mail servers of %.*s could not be looked up%s%.*s", SLICE_FMT(name),
            f->why.n ? ": " : "", SLICE_FMT(f->why));
    else if (f->is_cut)
        end_loop(f);
    else if (f->has_private)
        finding_end(f, ROUTE_PRIVATE, "5.4.6",
            "the mail servers of %.*s have only addresses that are not for the world (outbound.private "
            "allows them)",
            SLICE_FMT(name));
    else
        finding_end(f, ROUTE_NO_HOST, "5.4.4", "the mail servers of %.*s have no address", SLICE_FMT(name));
}

static void addresses_known(struct finding *f)
{
    if (!f->rule_host)
        cut_own(f);
    drop_without_address(f);
    if (f->nhosts == 0) {
        end_without_address(f);
        return;
    }
    if (f->nhosts > ROUTE_HOSTS_MAX)
        f->nhosts = ROUTE_HOSTS_MAX;
    f->next = finding_build;
    f->pending = 1;
    if (f->is_mx_secure)
        for (size_t i = 0; i < f->nhosts; i++)
            look_for_dane(f, f->hosts[i]);
    answered(f);
}

static void on_address(void *ctx, const struct dns_answer *a)
{
    const struct finding_question *q = ctx;
    struct finding_host *h = q->host;
    struct finding *f = q->finding;
    size_t most = FINDING_ADDRESSES_MAX / 2;

    if (is_failure(a->status)) {
        h->has_failed = true;
        if (f->why.n == 0 && h != &f->own)
            f->why = arena_copy(&f->memory, slice_sub(a->why, 0, 256));
    } else {
        if (h != &f->own)
            note_ttl(f, a->ttl);
        h->is_insecure |= !a->secure;
        h->is_secure = !h->is_insecure;
    }
    if (a->status == DNS_OK && h->canonical.n == 0)
        h->canonical = arena_copy(&f->memory, a->canonical);
    for (size_t i = 0; a->status == DNS_OK && i < a->n && most > 0; i++, most--) {
        h->addresses[h->naddresses].ip_len = a->records[i].ip_len;
        memcpy(h->addresses[h->naddresses++].ip, a->records[i].ip, sizeof a->records[i].ip);
    }
    answered(f);
}

static void ask_addresses(struct finding *f, struct finding_host *h)
{
    ask(f, h->name, DNS_A, on_address, &h->ipv4);
    if (strcmp(f->env.settings->outbound_ipv6, "off") != 0)
        ask(f, h->name, DNS_AAAA, on_address, &h->ipv6);
}

static void ask_all_addresses(struct finding *f)
{
    f->next = addresses_known;
    f->pending = 1;
    for (size_t i = 0; i < f->nhosts; i++)
        ask_addresses(f, f->hosts[i]);
    answered(f);
}

static void host_init(struct finding *f, struct finding_host *h, struct slice name)
{
    h->name = arena_copy(&f->memory, name);
    h->ipv4 = h->ipv6 = h->of_tlsa = (struct finding_question){f, h};
    id_random(&h->shuffle, sizeof h->shuffle);
}

static struct finding_host *add_host(struct finding *f, struct slice name, uint16_t preference)
{
    struct finding_host *h = &f->pool[f->npool++];

    host_init(f, h, name);
    h->preference = preference;
    f->hosts[f->nhosts++] = h;
    return h;
}

/* ---- 1. MX and policy ---- */

static int by_preference(const void *a, const void *b)
{
    const struct finding_host *x = *(struct finding_host *const *)a, *y = *(struct finding_host *const *)b;

    if (x->preference != y->preference)
        return x->preference < y->preference ? -1 : 1;
    return (x->shuffle > y->shuffle) - (x->shuffle < y->shuffle);
}

static bool has_host(const struct finding *f, struct slice name)
{
    for (size_t i = 0; i < f->nhosts; i++)
        if (slice_eq_nocase(f->hosts[i]->name, name))
            return true;
    return false;
}

static bool is_own_name(const struct finding *f, struct slice name)
{
    return slice_eq_nocase(name, slice_str(f->env.settings->hostname));
}

static void take_mx(struct finding *f, const struct dns_answer *a)
{
    unsigned own = UINT16_MAX + 1;

    f->is_null_mx = a->n > 0;
    for (size_t i = 0; i < a->n; i++) {
        if (a->records[i].name.n)
            f->is_null_mx = false;
        if (is_own_name(f, a->records[i].name) && a->records[i].preference < own)
            own = a->records[i].preference;
    }
    f->is_cut = own <= UINT16_MAX;
    for (size_t i = 0; i < a->n && f->nhosts < FINDING_HOSTS_MAX; i++) {
        const struct dns_record *r = &a->records[i];

        if (r->name.n && r->preference < own && !has_host(f, r->name))
            add_host(f, r->name, r->preference);
    }
    qsort(f->hosts, f->nhosts, sizeof *f->hosts, by_preference);
}

static void on_mx(void *ctx, const struct dns_answer *a)
{
    struct finding *f = ((struct finding_question *)ctx)->finding;

    note_ttl(f, a->ttl);
    f->mx_status = a->status;
    f->is_mx_secure = a->secure && !is_failure(a->status);
    if (is_failure(a->status))
        f->why = arena_copy(&f->memory, slice_sub(a->why, 0, 256));
    if (a->status == DNS_OK)
        take_mx(f, a);
    if (a->status == DNS_NODATA) {
        f->is_cut = is_own_name(f, f->place.domain);
        if (!f->is_cut)
            add_host(f, f->place.domain, 0);
    }
    if (a->canonical.n && !slice_eq_nocase(a->canonical, f->place.domain))
        f->next_hop = arena_copy(&f->memory, a->canonical);
    answered(f);
}

static void on_policy(void *ctx, const struct mtasts_policy *policy)
{
    struct finding *f = ctx;

    if (policy) {
        f->has_policy = true;
        f->policy = *policy;
        f->policy.body = arena_copy(&f->memory, policy->body);
    }
    answered(f);
}

/* Servers that the policy does not name: left out, or only said (RFC 8461 5). False: none is left. */
static bool obey_policy(struct finding *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->nhosts; i++) {
        bool is_named = mtasts_allows(&f->policy, f->hosts[i]->name);

        if (!is_named)
            LOG(POLICY, NULL, F_SLICE("domain", f->place.domain), F_SLICE("mx", f->hosts[i]->name),
                F_STR("error", "no mx pattern of the policy fits"),
                F_STR("mode", f->policy.mode == MTASTS_ENFORCE ? "enforce" : "testing"));
        if (!is_named && f->policy.mode == MTASTS_ENFORCE)
            continue;
        f->hosts[kept++] = f->hosts[i];
    }
    f->nhosts = kept;
    return kept > 0;
}

static void servers_known(struct finding *f)
{
    struct slice d = f->place.domain;

    if (is_failure(f->mx_status))
        finding_end_later(f, SCHEDULE_DNS, "4.4.3", "the MX records of %.*s could not be looked up%s%.*s",
            SLICE_FMT(d), f->why.n ? ": " : "", SLICE_FMT(f->why));
    else if (f->mx_status == DNS_NXDOMAIN || f->mx_status == DNS_BAD_NAME)
        finding_end(f, ROUTE_NO_DOMAIN, "5.1.2", "there is no domain %.*s in the DNS", SLICE_FMT(d));
    else if (f->is_null_mx)
        finding_end(f, ROUTE_NULL_MX, "5.1.10",
            "the domain %.*s takes no mail: its MX record says so (RFC 7505)", SLICE_FMT(d));
    else if (f->nhosts == 0 && f->is_cut)
        end_loop(f);
    else if (f->nhosts == 0)
        finding_end(f, ROUTE_NO_HOST, "5.4.4", "the MX records of %.*s name no server", SLICE_FMT(d));
    else if (f->has_policy && !obey_policy(f))
        finding_end_later(f, SCHEDULE_TLS, "4.7.5",
            "the MTA-STS policy of %.*s names none of its mail servers", SLICE_FMT(d));
    else
        ask_all_addresses(f);
}

/* ---- life ---- */

static void start_address(struct finding *f, struct slice name, const unsigned char *ip, uint8_t ip_len)
{
    struct finding_host *h = add_host(f, name, 0);

    memcpy(h->addresses[0].ip, ip, ip_len);
    h->addresses[0].ip_len = ip_len;
    h->naddresses = 1;
    addresses_known(f);
}

static void start_rule_host(struct finding *f)
{
    struct slice host = slice_sub(f->destination, 0, (size_t)slice_rchr(f->destination, ':'));
    unsigned char ip[16] = {0};
    uint8_t ip_len = rules_ip(host, ip);

    f->port = rules_port(f->rule_host);
    if (slice_starts(host, SLICE("[")))
        host = slice_sub(host, 1, host.n - 2);
    if (ip_len) {
        start_address(f, host, ip, ip_len);
    } else {
        add_host(f, host, 0);
        ask_all_addresses(f);
    }
}

static void start_literal(struct finding *f)
{
    struct slice literal = slice_sub(f->place.domain, 1, f->place.domain.n - 2);
    unsigned char ip[16] = {0};
    uint8_t ip_len = rules_ip(literal, ip);

    if (slice_starts_nocase(literal, SLICE("IPv6:")))
        literal = slice_from(literal, 5);
    if (ip_len)
        start_address(f, literal, ip, ip_len);
    else
        finding_end(f, ROUTE_NO_HOST, "5.1.2", "%.*s is no IP address that mail can be sent to",
            SLICE_FMT(f->place.domain));
}

static void start_domain(struct finding *f)
{
    f->next = servers_known;
    f->pending = 1;
    ask_addresses(f, &f->own);
    ask(f, f->place.domain, DNS_MX, on_mx, &f->mx);
    f->pending++;
    policies_find(f->env.policies, f->place.domain, on_policy, f);
    answered(f);
}

void finding_start(struct finding *f)
{
    const struct settings *s = f->env.settings;

    if (!rules_place(s, f->destination, &f->place)) {
        finding_end_later(
            f, SCHEDULE_OTHER, "4.3.5", "postamt.conf has no route %.*s any more", SLICE_FMT(f->destination));
        return;
    }
    f->port = (uint16_t)s->outbound_port;
    f->rule = f->place.rule == RULES_NONE ? NULL : &s->routes[f->place.rule];
    f->rule_host = f->rule && f->rule->host ? f->rule : NULL;
    host_init(f, &f->own, slice_str(s->hostname));
    if (f->rule_host)
        start_rule_host(f);
    else if (slice_starts(f->place.domain, SLICE("[")))
        start_literal(f);
    else if (address_is_domain(f->place.domain))
        start_domain(f);
    else
        finding_end(f, ROUTE_NO_DOMAIN, "5.1.2", "%.*s is no domain name", SLICE_FMT(f->place.domain));
}

struct finding *finding_new(const struct finding_env *env, struct slice destination, bool requiretls,
    struct arena *arena, finding_done *done, void *ctx)
{
    struct finding *f = mem_zalloc(1, sizeof *f);

    f->env = *env;
    f->requiretls = requiretls;
    f->arena = arena;
    f->done = done;
    f->ctx = ctx;
    f->ttl = UINT32_MAX;
    f->mx.finding = f;
    arena_reset(arena);
    arena_init(&f->memory, FINDING_ARENA);
    f->destination = arena_copy(&f->memory, destination);
    return f;
}

static void forget_host(struct finding *f, struct finding_host *h)
{
    dns_forget(f->env.dns, &h->ipv4);
    dns_forget(f->env.dns, &h->ipv6);
    dns_forget(f->env.dns, &h->of_tlsa);
}

void finding_free(struct finding *f)
{
    dns_forget(f->env.dns, &f->mx);
    policies_forget(f->env.policies, f);
    for (size_t i = 0; i < FINDING_HOSTS_MAX; i++)
        forget_host(f, &f->pool[i]);
    forget_host(f, &f->own);
    arena_free(&f->memory);
    free(f);
}
