/*
 * route: which servers take the mail for a destination, in which order, and what TLS they must show.
 *
 * router.c finds a route (rules of the settings, MX, A and AAAA, DANE, MTA-STS) and keeps it as long as its
 * records live; queued hands it to a sender with each message (route_put, route_get). A route is plain data
 * in one arena: nobody looks up anything while sending.
 */
#ifndef QUEUE_ROUTE_H
#define QUEUE_ROUTE_H

#include "common/arena.h"
#include "common/ipc.h"
#include "common/settings.h"
#include "queue/schedule.h"

#define ROUTE_TARGETS_MAX 12 /* addresses tried for one destination, of at most 5 hosts (security.md D01) */
#define ROUTE_HOSTS_MAX 5
#define ROUTE_TLSA_MAX 8
#define ROUTE_ARENA ((size_t)48 * 1024)

/* What the TLS of one target must be. */
enum route_security {
    ROUTE_MAY_TLS,  /* opportunistic: STARTTLS if offered, any certificate, in clear otherwise */
    ROUTE_MUST_TLS, /* STARTTLS, any certificate (DANE with unusable TLSA records, RFC 7672 2.2) */
    ROUTE_PKIX,     /* STARTTLS and a certificate for one of `names` from a known authority */
    ROUTE_DANE,     /* STARTTLS and what the TLSA records say (RFC 7672) */
    ROUTE_NO_TLS,   /* in clear */
    ROUTE_SECURITIES
};
/* "may", "must", "pkix", "dane", "none" */
const char *route_security_name(enum route_security s);

struct route_tlsa {
    uint8_t usage, selector, matching;
    struct slice data;
};

struct route_target {
    struct slice host; /* name for the log, SNI and certificates (with DANE the TLSA base domain, RFC
                          7672 8.1); of an address literal the address as text */
    unsigned char ip[16];
    uint8_t ip_len; /* 4, 16 */
    uint16_t port;
    enum route_security security;
    bool implicit_tls;     /* from the first octet; security is PKIX then */
    struct slice names[4]; /* a certificate must have one of these (PKIX: the host, or an MTA-STS mx pattern
                              that matched it, "*.example.org"; DANE: RFC 7672 3.2.2) */
    size_t nnames;
    const struct route_tlsa *tlsa;
    size_t ntlsa;
};

struct route {
    struct slice destination; /* the recipients' domain, or what the schedule calls it: for the log */
    const struct route_target *targets; /* in the order they are tried */
    size_t ntargets;
    struct slice user, password; /* log in with these; empty: not */
    bool is_policy;              /* an MTA-STS policy or a rule asked for TLS */
};

/* Why there is no route. */
enum route_status {
    ROUTE_OK,
    ROUTE_HERE,      /* the domain is ours: into a mailbox here */
    ROUTE_LATER,     /* try again: `reason` says what failed */
    ROUTE_NO_DOMAIN, /* there is no such domain: 5.1.2 */
    ROUTE_NULL_MX,   /* the domain takes no mail: 5.1.10 (RFC 7505) */
    ROUTE_NO_HOST,   /* it has no server: MX and address records are missing: 5.4.4 */
    ROUTE_LOOP,      /* its servers are ourselves: 5.4.6 */
    ROUTE_PRIVATE,   /* its servers have only addresses that are not for the world: 5.4.6 (security.md D03) */
    ROUTE_NO_TLS_PATH, /* REQUIRETLS, and nothing vouches for the names of its servers: 5.7.30 (RFC 8689) */
    ROUTE_STATUSES
};
const char *route_status_name(enum route_status s);

/* Writes a route (at most 40 KiB, which ROUTE_*_MAX keep) and reads it; slices point into the message, arrays
 * into the arena. */
void route_put(struct ipc_out *out, const struct route *r);
bool route_get(struct ipc_in *in, struct arena *arena, struct route *r);

/* --- router.c: finding one --- */

struct router;
struct dns;
struct dns_record;

struct router_result {
    enum route_status status;
    const struct route *route;  /* ROUTE_OK; the router's, until its next turn of the loop */
    enum schedule_class reason; /* ROUTE_LATER: DNS or TLS */
    const char *status_code;    /* "5.1.2", "4.4.3": for the notification */
    struct slice why;           /* sentence for the log and `postamt queue why` */
};
typedef void router_done(void *ctx, const struct router_result *result);

struct router_ops {
    /* Is that domain (A-labels, lower case) one of ours? */
    bool (*is_ours)(void *ctx, struct slice domain);
    /* Asks fetchd for the policy at https://mta-sts.<domain> at one of these addresses; the answer comes with
     * router_fetched. NULL: there is no fetchd (tests). */
    void (*fetch)(
        void *ctx, uint64_t question, struct slice host, const struct dns_record *addresses, size_t n);
    int64_t (*now)(void *ctx); /* seconds since 1970, the queue's clock */
    void *ctx;
};

/* settings: borrowed until router_set_settings gives others. secrets: blob of common/secrets.h, borrowed
 * likewise. ops are copied. folder: open folder of the queue, where policies are kept (mta-sts/<domain>); -1:
 * in memory only.
 */
struct router *router_new(struct event_base *base, struct dns *dns, const struct settings *settings,
    struct slice secrets, int folder, const struct router_ops *ops);
void router_set_settings(struct router *r, const struct settings *settings, struct slice secrets);
void router_free(struct router *r);

/*
 * What the schedule calls the destination of mail from `reverse_path` to `address`: ROUTER_DESTINATION_HERE
 * for a domain of ours, the recipient's domain, or the host of the first rule of the settings that fits
 * ("smtp.example.net:587"); an address literal as it is. Where two rules would give one name and ask for
 * different things the name ends in the number of the rule ("example.org#2", queue/router_rules.h): a
 * connection for one destination may be used for all its mail, but for a message with REQUIRETLS, which may
 * have another route. Appended to out, lower case, A-labels (mail/address.h normalises). After
 * router_set_settings names are to be asked for again: those of rules that are gone find no route.
 */
#define ROUTER_DESTINATION_HERE SLICE("(here)")
void router_destination(
    const struct router *r, struct slice reverse_path, struct slice address, struct buf *out);

/*
 * Finds the route to a destination (as router_destination calls it) and calls done, once, never from inside.
 * requiretls: only targets that a certificate vouches for (RFC 8689 4.2.1): DANE, a name of MX from a secure
 * zone, of a policy or of a rule. Routes are kept as long as their records live, 60 s .. 1 h, what is final
 * (no such domain ..) at most 10 min, ROUTE_LATER not at all: mostly this asks nobody.
 *
 * Ourselves, whom a route never leads to (RFC 5321 5.1), are: an MX of our hostname; where a listener of
 * service smtp has the port of outbound.port, its address, the addresses of our hostname in the DNS, and,
 * with outbound.private and a listener on "*", the loopback addresses. Rules with a host may lead anywhere.
 */
void router_find(struct router *r, struct slice destination, bool requiretls, router_done *done, void *ctx);
/* done is not called any more for this ctx. */
void router_forget(struct router *r, const void *ctx);
/* Forgets what is kept of a destination (`postamt queue retry`, a TLS failure). */
void router_drop(struct router *r, struct slice destination);
/* IPC_FETCHED; false: malformed. */
bool router_fetched(struct router *r, struct ipc_in *in);

#endif
