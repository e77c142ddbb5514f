#include "queue/router_rules.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/ascii.h"

size_t rules_find(const struct settings *s, struct slice from, struct slice to)
{
    for (size_t i = 0; i < s->nroutes; i++) {
        const struct route_rule *r = &s->routes[i];

        if ((!r->from || slice_eq(slice_str(r->from), from)) && (!r->to || slice_eq(slice_str(r->to), to)))
            return i;
    }
    return RULES_NONE;
}

uint16_t rules_port(const struct route_rule *rule)
{
    if (rule->port)
        return (uint16_t)rule->port;
    return rule->tls == ROUTE_TLS_IMPLICIT ? 465 : 25;
}

static bool is_same(const char *a, const char *b)
{
    return slice_eq(slice_str(a), slice_str(b)) && !a == !b;
}

static bool is_same_host(const struct route_rule *a, const struct route_rule *b)
{
    return a->host && slice_eq_nocase(slice_str(a->host), slice_str(b->host)) &&
           rules_port(a) == rules_port(b);
}

/* Must the name say the number of the rule? */
static bool needs_number(const struct settings *s, size_t rule)
{
    const struct route_rule *r = &s->routes[rule];

    if (!r->host)
        return r->from != NULL;
    for (size_t i = 0; i < rule; i++) {
        const struct route_rule *a = &s->routes[i];

        if (is_same_host(a, r) &&
            (a->tls != r->tls || !is_same(a->user, r->user) || !is_same(a->password_file, r->password_file)))
            return true;
    }
    return false;
}

void rules_destination(const struct settings *s, size_t rule, struct slice to, struct buf *out)
{
    const struct route_rule *r = rule == RULES_NONE ? NULL : &s->routes[rule];
    struct slice name = r && r->host ? slice_str(r->host) : to;
    bool is_ipv6 = r && r->host && slice_chr(name, ':') >= 0 && name.p[0] != '[';

    if (is_ipv6)
        buf_add_char(out, '[');
    for (size_t i = 0; i < name.n; i++)
        buf_add_char(out, ascii_lower(name.p[i]));
    if (is_ipv6)
        buf_add_char(out, ']');
    if (r && r->host)
        buf_printf(out, ":%u", (unsigned)rules_port(r));
    if (r && needs_number(s, rule))
        buf_printf(out, "#%zu", rule + 1);
}

/* The rule that gives a destination with a host its name. */
static size_t rule_of_host(const struct settings *s, struct slice destination)
{
    for (size_t i = 0; i < s->nroutes; i++) {
        struct buf name = BUF_INIT(512);
        bool found;

        if (!s->routes[i].host)
            continue;
        rules_destination(s, i, SLICE(""), &name);
        found = slice_eq(buf_slice(&name), destination);
        buf_free(&name);
        if (found)
            return i;
    }
    return RULES_NONE;
}

/* The rule without host and `from` that speaks of a domain. */
static size_t rule_of_domain(const struct settings *s, struct slice domain)
{
    for (size_t i = 0; i < s->nroutes; i++) {
        const struct route_rule *r = &s->routes[i];

        if (!r->host && !r->from && (!r->to || slice_eq(slice_str(r->to), domain)))
            return i;
    }
    return RULES_NONE;
}

bool rules_place(const struct settings *s, struct slice destination, struct rules_place *out)
{
    struct slice number = destination, name;
    uint64_t n;

    *out = (struct rules_place){.rule = rule_of_host(s, destination)};
    if (out->rule != RULES_NONE)
        return true;
    slice_cut(&number, '#', &name);
    out->domain = name;
    if (number.n) {
        if (!slice_u64(number, s->nroutes, &n) || n == 0 || s->routes[n - 1].host || !s->routes[n - 1].from)
            return false;
        out->rule = (size_t)n - 1;
        return true;
    }
    if (name.n && name.p[name.n - 1] != ']' && slice_chr(name, ':') >= 0)
        return false;
    if (slice_starts(name, SLICE("[")) && !slice_ends(name, SLICE("]")))
        return false;
    out->rule = rule_of_domain(s, name);
    return true;
}

/* ---- addresses ---- */

uint8_t rules_ip(struct slice text, unsigned char ip[16])
{
    char z[INET6_ADDRSTRLEN];

    if (slice_starts(text, SLICE("[")) && slice_ends(text, SLICE("]")))
        text = slice_sub(text, 1, text.n - 2);
    if (slice_starts_nocase(text, SLICE("IPv6:")))
        text = slice_from(text, 5);
    if (text.n == 0 || text.n >= sizeof z || slice_chr(text, '\0') >= 0)
        return 0;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (inet_pton(AF_INET, z, ip) == 1)
        return 4;
    return inet_pton(AF_INET6, z, ip) == 1 ? 16 : 0;
}

struct range {
    unsigned char ip[16];
    unsigned bits;
};

static bool is_in(const unsigned char *ip, const struct range *r)
{
    unsigned octets = r->bits / 8, rest = r->bits % 8;

    if (memcmp(ip, r->ip, octets) != 0)
        return false;
    return rest == 0 || ((ip[octets] ^ r->ip[octets]) >> (8 - rest)) == 0;
}

static bool is_private_v4(const unsigned char *ip)
{
    static const struct range ranges[] = {
        {{0}, 8},
        {{10}, 8},
        {{100, 64}, 10},
        {{127}, 8},
        {{169, 254}, 16},
        {{172, 16}, 12},
        {{192, 168}, 16},
        {{224}, 4},
        {{240}, 4},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (is_in(ip, &ranges[i]))
            return true;
    return false;
}

bool route_is_private(const unsigned char *ip, size_t ip_len)
{
    static const struct range private[] = {
        {{0xfc}, 7},
        {{0xfe, 0x80}, 10},
        {{0xfe, 0xc0}, 10}, /* site-local of old (RFC 3879) */
        {{0xff}, 8},
    };
    /* where an IPv4 address lies in an IPv6 address; ::1 and :: are 0.0.0.1 and 0.0.0.0 so */
    static const struct {
        struct range range;
        size_t at;
    } holds_v4[] = {
        {{{0}, 96}, 12},
        {{{[10] = 0xff, 0xff}, 96}, 12},
        {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},
        {{{0x20, 0x02}, 16}, 2},
    };

    if (ip_len == 4)
        return is_private_v4(ip);
    for (size_t i = 0; i < sizeof private / sizeof *private; i++)
        if (is_in(ip, &private[i]))
            return true;
    for (size_t i = 0; i < sizeof holds_v4 / sizeof *holds_v4; i++)
        if (is_in(ip, &holds_v4[i].range) && is_private_v4(ip + holds_v4[i].at))
            return true;
    return false;
}
