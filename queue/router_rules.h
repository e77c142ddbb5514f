/*
 * router_rules: which rule of the settings a message falls under, what its destination is called, and which
 * addresses are not for the world. Pure functions.
 *
 * Names of destinations:
 *
 *     example.org                the domain's MX records (and a rule without host and `from`, if one fits)
 *     example.org#2              the same under routes[1], which has a `from` and no host
 *     smtp.example.net:587       the host of a rule
 *     smtp.example.net:587#3     of routes[2]; an earlier rule has the same host and port and differs in tls,
 *                                user or password: connections of the two must not be mixed up
 *     [2001:db8::1]:25           the host of a rule, an IPv6 address
 *     [192.0.2.1]                an address literal
 *     (here)                     ours
 *
 * So a name alone says which rule is meant, as long as the settings are the same.
 */
#ifndef QUEUE_ROUTER_RULES_H
#define QUEUE_ROUTER_RULES_H

#include "common/buf.h"
#include "common/settings.h"

#define RULES_NONE SIZE_MAX

/* The first rule for mail from a domain (empty: the null reverse-path) to a domain, both in lower case and
 * A-labels; RULES_NONE. */
size_t rules_find(const struct settings *s, struct slice from, struct slice to);
/* Appends what mail to the domain (or literal) under the rule (or RULES_NONE) is called. */
void rules_destination(const struct settings *s, size_t rule, struct slice to, struct buf *out);

struct rules_place {
    struct slice domain; /* whose MX records count, or an address literal; empty: the rule has a host */
    size_t rule;         /* RULES_NONE */
};
/* What a destination's name says; false: it names no rule (the settings have changed). */
bool rules_place(const struct settings *s, struct slice destination, struct rules_place *out);

/* The port of a rule's host. */
uint16_t rules_port(const struct route_rule *rule);
/* An IP address as text, IPv6 in brackets or with "IPv6:" too (literals); its length 4 or 16, 0: it is none.
 */
uint8_t rules_ip(struct slice text, unsigned char ip[16]);

/*
 * Is that address of a kind that no server of the world has: this host or net (0/8, ::), loopback, private
 * (RFC 1918, fc00::/7), shared (100.64/10), link-local, multicast, reserved (240/4), or one of IPv4 in the
 * clothes of IPv6 (mapped, compatible, NAT64 64:ff9b::/96, 6to4 2002::/16) that is.
 */
bool route_is_private(const unsigned char *ip, size_t ip_len);

#endif
