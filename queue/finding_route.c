#include <string.h>

#include "common/mem.h"
#include "common/secrets.h"
#include "queue/finding_internal.h"

#define OCTETS_MAX                                                                                           \
    ((size_t)36 * 1024) /* of the targets, in a message between processes: route_put says 40 KiB */

/* The security of one host's targets; ROUTE_SECURITIES: none will do. */
static enum route_security security_of(const struct finding *f, const struct finding_host *h)
{
    static const enum route_security of_rule[] = {
        [ROUTE_TLS_OPPORTUNISTIC] = ROUTE_MAY_TLS,
        [ROUTE_TLS_REQUIRED] = ROUTE_PKIX,
        [ROUTE_TLS_IMPLICIT] = ROUTE_PKIX,
        [ROUTE_TLS_NONE] = ROUTE_NO_TLS,
    };
    enum route_security s = f->rule ? of_rule[f->rule->tls] : ROUTE_MAY_TLS;

    if (h->dane == FINDING_NO_ANSWER)
        return ROUTE_SECURITIES;
    if (h->dane == FINDING_DANE)
        return ROUTE_DANE;
    if (f->has_policy && f->policy.mode == MTASTS_ENFORCE)
        return ROUTE_PKIX;
    if (h->dane == FINDING_UNUSABLE && s == ROUTE_MAY_TLS)
        s = ROUTE_MUST_TLS;
    if (f->requiretls && s != ROUTE_PKIX)
        return f->is_mx_secure ? ROUTE_PKIX : ROUTE_SECURITIES;
    return s;
}

/* Puts the families in the order of outbound.ipv6, at most `most` addresses, each family at least one. */
static size_t order_addresses(
    const struct finding *f, const struct finding_host *h, size_t most, const struct finding_address **out)
{
    const struct finding_address *family[2][FINDING_ADDRESSES_MAX];
    size_t n[2] = {0, 0}, first = strcmp(f->env.settings->outbound_ipv6, "prefer") == 0, count = 0;

    for (size_t i = 0; i < h->naddresses; i++) {
        size_t is_v6 = h->addresses[i].ip_len == 16;

        family[is_v6][n[is_v6]++] = &h->addresses[i];
    }
    if (n[first] > most - (n[!first] > 0))
        n[first] = most - (n[!first] > 0);
    for (size_t i = 0; i < n[first]; i++)
        out[count++] = family[first][i];
    for (size_t i = 0; i < n[!first] && count < most; i++)
        out[count++] = family[!first][i];
    return count;
}

static struct slice copy(struct finding *f, struct slice s)
{
    struct slice c = arena_copy(f->arena, s);

    INVARIANT(c.p);
    return c;
}

static void add_name(struct finding *f, struct route_target *t, struct slice name)
{
    for (size_t i = 0; i < t->nnames; i++)
        if (slice_eq_nocase(t->names[i], name))
            return;
    t->names[t->nnames++] = copy(f, name);
}

static void set_names(struct finding *f, const struct finding_host *h, struct route_target *t)
{
    if (t->security == ROUTE_PKIX)
        add_name(f, t, h->name);
    if (t->security != ROUTE_DANE)
        return;
    /* RFC 7672 3.2.2 */
    add_name(f, t, h->base);
    add_name(f, t, f->place.domain);
    if (f->next_hop.n)
        add_name(f, t, f->next_hop);
}

static void set_tlsa(struct finding *f, const struct finding_host *h, struct route_target *t)
{
    struct route_tlsa *tlsa = arena_zalloc(f->arena, h->ntlsa, sizeof *tlsa);

    INVARIANT(tlsa);
    for (size_t i = 0; i < h->ntlsa; i++) {
        tlsa[i] = h->tlsa[i];
        tlsa[i].data = copy(f, h->tlsa[i].data);
    }
    t->tlsa = tlsa;
    t->ntlsa = h->ntlsa;
}

static size_t octets_of(const struct route_target *t)
{
    size_t n = 128 + t->host.n;

    for (size_t i = 0; i < t->nnames; i++)
        n += t->names[i].n + 8;
    for (size_t i = 0; i < t->ntlsa; i++)
        n += t->tlsa[i].data.n + 32;
    return n;
}

/* The targets of one host; `octets` counts what a message will hold, and nothing beyond it is added: the
 * first host always fits. */
static size_t add_host(
    struct finding *f, const struct finding_host *h, struct route_target *targets, size_t *octets)
{
    const struct finding_address *addresses[FINDING_ADDRESSES_MAX];
    size_t n = order_addresses(f, h, ROUTE_TARGETS_MAX / f->nhosts, addresses), added = 0;
    struct route_target t = {.port = f->port, .security = security_of(f, h)};
    size_t tlsa = 0;

    if (t.security == ROUTE_SECURITIES)
        return 0;
    for (size_t i = 0; i < h->ntlsa; i++)
        tlsa += h->tlsa[i].data.n;
    if (*octets + tlsa + 2048 > OCTETS_MAX)
        return 0;
    t.host = copy(f, t.security == ROUTE_DANE ? h->base : h->name);
    t.implicit_tls = f->rule_host && f->rule_host->tls == ROUTE_TLS_IMPLICIT;
    set_names(f, h, &t);
    if (t.security == ROUTE_DANE)
        set_tlsa(f, h, &t);
    for (; added < n && *octets + octets_of(&t) <= OCTETS_MAX; added++) {
        memcpy(t.ip, addresses[added]->ip, sizeof t.ip);
        t.ip_len = addresses[added]->ip_len;
        targets[added] = t;
        *octets += octets_of(&t);
    }
    return added;
}

static void end_without_target(struct finding *f)
{
    for (size_t i = 0; i < f->nhosts; i++)
        if (f->hosts[i]->dane == FINDING_NO_ANSWER) {
            finding_end_later(f, SCHEDULE_DNS, "4.4.3",
                "the TLSA records of the mail servers of %.*s could not be looked up, and without them "
                "nobody "
                "knows who they are (DANE)",
                SLICE_FMT(f->place.domain));
            return;
        }
    finding_end(f, ROUTE_NO_TLS_PATH, "5.7.30",
        "the message requires TLS (REQUIRETLS), and neither DNSSEC, a policy nor a route vouches for the "
        "mail "
        "servers of %.*s",
        SLICE_FMT(f->rule_host ? f->destination : f->place.domain));
}

void finding_build(struct finding *f)
{
    struct route_target *targets = arena_zalloc(f->arena, ROUTE_TARGETS_MAX, sizeof *targets);
    struct route *route = arena_zalloc(f->arena, 1, sizeof *route);
    struct router_result result = {.status = ROUTE_OK, .route = route, .status_code = "2.0.0"};
    bool is_whole = !f->has_failed;
    size_t octets = 0;

    INVARIANT(targets && route);
    for (size_t i = 0; i < f->nhosts; i++) {
        route->ntargets += add_host(f, f->hosts[i], targets + route->ntargets, &octets);
        is_whole = is_whole && f->hosts[i]->dane != FINDING_NO_ANSWER;
    }
    if (route->ntargets == 0) {
        end_without_target(f);
        return;
    }
    route->destination = copy(f, f->destination);
    route->targets = targets;
    if (f->rule_host && f->rule_host->user) {
        route->user = copy(f, slice_str(f->rule_host->user));
        route->password = copy(f, secrets_get(f->env.secrets, f->place.rule));
    }
    route->is_policy =
        (f->rule && targets[0].security == ROUTE_PKIX) || (f->has_policy && f->policy.mode == MTASTS_ENFORCE);
    f->done(f->ctx, &result, finding_seconds(is_whole ? f->ttl : 0, FINDING_SECONDS_MAX));
}
