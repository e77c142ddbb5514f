/* finding_internal: what finding.c (the questions) and finding_route.c (the route made of their answers)
 * share. */
#ifndef QUEUE_FINDING_INTERNAL_H
#define QUEUE_FINDING_INTERNAL_H

#include "common/dns.h"
#include "queue/finding.h"
#include "queue/router_rules.h"

#define FINDING_HOSTS_MAX 20 /* MX records looked at (security.md D01); ROUTE_HOSTS_MAX of them are tried */
#define FINDING_ADDRESSES_MAX 16
#define FINDING_TLSA_OCTETS 4096 /* of one TLSA record; a longer one is as good as an unusable one */
#define FINDING_ARENA ((size_t)512 * 1024)
#define FINDING_SECONDS_MIN 60
#define FINDING_SECONDS_MAX 3600

enum finding_dane {
    FINDING_NO_DANE,
    FINDING_DANE,
    FINDING_UNUSABLE,  /* secure TLSA records, none that says anything to us: TLS, unauthenticated */
    FINDING_NO_ANSWER, /* whether there are any could not be found out: not this host now (D02) */
};

struct finding_address {
    unsigned char ip[16];
    uint8_t ip_len;
};

/* The context of a question: its own address tells it from the others. */
struct finding_question {
    struct finding *finding;
    struct finding_host *host;
};

struct finding_host {
    struct slice name;
    uint16_t preference;
    uint32_t shuffle; /* the order of equal preference, new for each route */
    struct finding_address addresses[FINDING_ADDRESSES_MAX];
    size_t naddresses;
    struct slice canonical;
    bool has_failed, is_insecure, is_secure; /* some answer failed, was not secure; all that came were */
    enum finding_dane dane;
    struct slice base; /* TLSA base domain */
    struct route_tlsa tlsa[ROUTE_TLSA_MAX];
    size_t ntlsa;
    struct finding_question ipv4, ipv6, of_tlsa;
};

struct finding {
    struct finding_env env;
    struct slice destination;
    struct rules_place place;
    const struct route_rule *rule, *rule_host; /* the rule; the same if it has a host. NULL: none */
    bool requiretls;
    uint16_t port;
    struct arena memory, *arena; /* of the questions; of the result */
    finding_done *done;
    void *ctx;
    void (*next)(struct finding *f); /* step, when `pending` answers are there */
    unsigned pending;
    uint32_t ttl;
    struct slice why; /* the first failure */
    struct finding_question mx;
    enum dns_status mx_status;
    bool is_mx_secure, is_null_mx;
    struct slice next_hop; /* the domain behind the MX records' CNAME; empty: the domain itself */
    bool has_policy;
    struct mtasts_policy policy;
    bool is_cut, has_failed,
        has_private;         /* hosts that are ourselves, were not found, are private are left out */
    struct finding_host own; /* our hostname */
    struct finding_host pool[FINDING_HOSTS_MAX], *hosts[FINDING_HOSTS_MAX];
    size_t npool, nhosts;
};

/* Step 4. */
void finding_build(struct finding *f);
/* Ends it without a route; f is gone then. The sentence is for `postamt queue why`. */
void finding_end(struct finding *f, enum route_status status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void finding_end_later(struct finding *f, enum schedule_class reason, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Seconds that something may be kept whose records live `ttl`. */
unsigned finding_seconds(uint32_t ttl, unsigned most);

#endif
