/*
 * dns: questions to resolverd, the only process that asks name servers, and what it answers.
 *
 * Asynchronous, on the caller's loop; one struct dns per role. A question that resolverd does not answer
 * within DNS_SECONDS, or that is asked while it is away, ends with DNS_FAILED: every question gets exactly
 * one answer, and never from inside dns_ask. Answers of any size and content come from the world: records
 * that are malformed are left out by resolverd, names are lower case, in A-labels, without the final dot.
 *
 *     dns_ask(d, SLICE("example.org"), DNS_MX, on_mx, ctx);
 */
#ifndef COMMON_DNS_H
#define COMMON_DNS_H

#include "common/ipc.h"

#define DNS_SECONDS 60
#define DNS_AT_ONCE                                                                                          \
    48 /* questions under way; more wait here, so that nobody hears DNS_BUSY for a rush of ours */
#define DNS_RECORDS_MAX 64 /* of one answer; those beyond are left out */

enum dns_type {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52
};

enum dns_status {
    DNS_OK,       /* there are records */
    DNS_NODATA,   /* the name is there, without records of that type */
    DNS_NXDOMAIN, /* there is no such name */
    DNS_FAILED,   /* no answer, or an error of the name servers: try later */
    DNS_BOGUS,    /* DNSSEC says that the answer is forged or broken: try later */
    DNS_BUSY,     /* too many questions at once: try later */
    DNS_BAD_NAME, /* that is no domain name */
    DNS_STATUSES
};
/* "ok", "nodata", ..: for the log and --json */
const char *dns_status_name(enum dns_status s);

struct dns_record {
    unsigned char ip[16];              /* A, AAAA */
    uint8_t ip_len;                    /* 4, 16 */
    uint16_t preference;               /* MX */
    struct slice name;                 /* MX, CNAME, PTR; empty: the root (a null MX, RFC 7505) */
    struct slice text;                 /* TXT: its strings joined, any octets */
    uint8_t usage, selector, matching; /* TLSA (RFC 6698 2.1) */
    struct slice data;                 /* TLSA */
};

struct dns_answer {
    enum dns_status status;
    bool secure;            /* DNSSEC vouches for it, also for NODATA and NXDOMAIN */
    uint32_t ttl;           /* seconds, clamped to 0 .. 86400 */
    struct slice canonical; /* the name behind all CNAMEs; the name that was asked for when there are none */
    struct slice why;       /* for the log when it is FAILED or BOGUS */
    const struct dns_record *records; /* MX by preference */
    size_t n;
};

/* The answer and all in it live during the call only. */
typedef void dns_done(void *ctx, const struct dns_answer *answer);

struct dns;

struct dns *dns_new(struct event_base *base);
/* What was asked has no answer any more. */
void dns_free(struct dns *d);
/* resolverd's channel came (or went: NULL; what was asked ends with DNS_FAILED). */
void dns_connect(struct dns *d, struct ipc *resolverd);
void dns_ask(struct dns *d, struct slice name, enum dns_type type, dns_done *done, void *ctx);
/* No answer comes any more for this ctx. */
void dns_forget(struct dns *d, const void *ctx);
/* IPC_DNS_ANSWER; false: malformed. */
bool dns_message(struct dns *d, struct ipc_in *in);

/* --- the other end, and tests --- */
/* One record as it stands in DNS_ANSWER. */
void dns_record_encode(struct buf *out, const struct dns_record *r);
bool dns_record_decode(struct slice in, struct dns_record *r);

#endif
