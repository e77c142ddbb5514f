/*
 * policy: finds the MTA-STS policies of domains (RFC 8461) and keeps them, so that what a domain once asked
 * for is done until its max_age, whoever takes its TXT record or its web server away meanwhile (security.md
 * D02).
 *
 * One file a domain: <folder>/mta-sts/<domain>, "<seconds since 1970, when it was fetched> <id>" on the first
 * line, the policy as it came behind it; replaced whole. A fetch is made when the record's id is another than
 * the kept one's (who asks waits for it), or when the kept policy is a day old or past half its life (nobody
 * waits); after a failure not again for POLICY_RETRY seconds. No fetch takes longer than fetch_seconds() and
 * a moment: then what is kept counts, or nothing. A web server at a private address is none, unless
 * outbound_private.
 */
#ifndef QUEUE_POLICY_H
#define QUEUE_POLICY_H

#include "mail/mtasts.h"
#include "queue/route.h"

#define POLICY_RETRY 300

struct policies;

/* policy: NULL: none is in force (mode none, too). It lives during the call. */
typedef void policy_done(void *ctx, const struct mtasts_policy *policy);

/* folder: the queue's, borrowed; -1: nothing outlives the process. ops: `fetch`, `now` and `ctx` are used. */
struct policies *policies_new(struct event_base *base, struct dns *dns, const struct settings *settings,
    int folder, const struct router_ops *ops);
void policies_set_settings(struct policies *p, const struct settings *settings);
void policies_free(struct policies *p);

/* domain: lower case, A-labels. done is called once, never from inside. */
void policies_find(struct policies *p, struct slice domain, policy_done *done, void *ctx);
/* done is not called any more for this ctx. */
void policies_forget(struct policies *p, const void *ctx);
/* IPC_FETCHED; false: malformed. */
bool policies_fetched(struct policies *p, struct ipc_in *in);

#endif
