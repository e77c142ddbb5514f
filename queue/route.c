/* The names of a route and its way between processes; router.c finds one. */
#include "queue/route.h"

#include <string.h>

#define TLSA_OCTETS                                                                                          \
    ((size_t)20 * 1024) /* of all records of a route: who publishes more loses the last ones */

static const char *const securities[ROUTE_SECURITIES] = {
    [ROUTE_MAY_TLS] = "may",
    [ROUTE_MUST_TLS] = "must",
    [ROUTE_PKIX] = "pkix",
    [ROUTE_DANE] = "dane",
    [ROUTE_NO_TLS] = "none",
};

static const char *const statuses[ROUTE_STATUSES] = {
    [ROUTE_OK] = "ok",
    [ROUTE_HERE] = "here",
    [ROUTE_LATER] = "later",
    [ROUTE_NO_DOMAIN] = "no-domain",
    [ROUTE_NULL_MX] = "null-mx",
    [ROUTE_NO_HOST] = "no-host",
    [ROUTE_LOOP] = "loop",
    [ROUTE_PRIVATE] = "private",
    [ROUTE_NO_TLS_PATH] = "no-tls-path",
};

const char *route_security_name(enum route_security s)
{
    return s < ROUTE_SECURITIES ? securities[s] : "?";
}

const char *route_status_name(enum route_status s)
{
    return s < ROUTE_STATUSES ? statuses[s] : "?";
}

/* Addresses of one host share its records: they go over once. Else how many fit in what is left. */
static void put_tlsa(struct ipc_out *out, const struct route *r, size_t which, size_t *room)
{
    const struct route_target *t = &r->targets[which];
    size_t n = 0;

    for (size_t i = 0; i < which; i++) {
        if (t->ntlsa && r->targets[i].tlsa == t->tlsa && r->targets[i].ntlsa == t->ntlsa) {
            ipc_put_u64(out, i + 1);
            return;
        }
    }
    while (n < t->ntlsa && t->tlsa[n].data.n <= *room)
        *room -= t->tlsa[n++].data.n;
    ipc_put_u64(out, 0);
    ipc_put_u64(out, n);
    for (size_t i = 0; i < n; i++) {
        const struct route_tlsa *a = &t->tlsa[i];

        ipc_put_u64(out, (uint64_t)a->usage << 16 | (uint64_t)a->selector << 8 | a->matching);
        ipc_put(out, a->data);
    }
}

void route_put(struct ipc_out *out, const struct route *r)
{
    size_t room = TLSA_OCTETS;

    ipc_put(out, r->destination);
    ipc_put(out, r->user);
    ipc_put(out, r->password);
    ipc_put_u64(out, r->is_policy);
    ipc_put_u64(out, r->ntargets);
    for (size_t i = 0; i < r->ntargets; i++) {
        const struct route_target *t = &r->targets[i];

        ipc_put(out, t->host);
        ipc_put(out, slice_of(t->ip, t->ip_len));
        ipc_put_u64(out, t->port);
        ipc_put_u64(out, t->security);
        ipc_put_u64(out, t->implicit_tls);
        ipc_put_u64(out, t->nnames);
        for (size_t k = 0; k < t->nnames; k++)
            ipc_put(out, t->names[k]);
        put_tlsa(out, r, i, &room);
    }
}

static bool get_tlsa(struct ipc_in *in, struct arena *arena, struct route_target *targets, size_t which)
{
    struct route_target *t = &targets[which];
    uint64_t same = ipc_get_u64(in), n, kind;
    struct route_tlsa *list;

    if (in->bad || same > which)
        return false;
    if (same) {
        t->tlsa = targets[same - 1].tlsa;
        t->ntlsa = targets[same - 1].ntlsa;
        return true;
    }
    n = ipc_get_u64(in);
    if (in->bad || n > ROUTE_TLSA_MAX || !(list = arena_zalloc(arena, n, sizeof *list)))
        return false;
    for (size_t i = 0; i < n; i++) {
        kind = ipc_get_u64(in);
        list[i].data = ipc_get(in);
        if (in->bad || kind > 0xffffff)
            return false;
        list[i].usage = (uint8_t)(kind >> 16);
        list[i].selector = (uint8_t)(kind >> 8);
        list[i].matching = (uint8_t)kind;
    }
    t->tlsa = list;
    t->ntlsa = n;
    return true;
}

static bool get_target(struct ipc_in *in, struct arena *arena, struct route_target *targets, size_t which)
{
    struct route_target *t = &targets[which];
    uint64_t port, security, names;
    struct slice ip;

    t->host = ipc_get(in);
    ip = ipc_get(in);
    port = ipc_get_u64(in);
    security = ipc_get_u64(in);
    t->implicit_tls = ipc_get_bool(in);
    names = ipc_get_u64(in);
    if (in->bad || t->host.n == 0 || (ip.n != 4 && ip.n != 16) || port == 0 || port > UINT16_MAX ||
        security >= ROUTE_SECURITIES || names > sizeof t->names / sizeof *t->names)
        return false;
    memcpy(t->ip, ip.p, ip.n);
    t->ip_len = (uint8_t)ip.n;
    t->port = (uint16_t)port;
    t->security = (enum route_security)security;
    t->nnames = names;
    for (size_t i = 0; i < names; i++)
        t->names[i] = ipc_get(in);
    return get_tlsa(in, arena, targets, which);
}

bool route_get(struct ipc_in *in, struct arena *arena, struct route *r)
{
    struct route_target *targets;
    uint64_t n;

    r->destination = ipc_get(in);
    r->user = ipc_get(in);
    r->password = ipc_get(in);
    r->is_policy = ipc_get_bool(in);
    n = ipc_get_u64(in);
    if (in->bad || n == 0 || n > ROUTE_TARGETS_MAX || !(targets = arena_zalloc(arena, n, sizeof *targets)))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!get_target(in, arena, targets, i))
            return false;
    r->targets = targets;
    r->ntargets = n;
    return true;
}
