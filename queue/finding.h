/*
 * finding: the questions that lead to one route, asked in four steps, all of a step side by side:
 *
 *     1. MX and the MTA-STS policy          -> which servers; none, null MX, ourselves, not in the policy
 *     2. A and AAAA of each                 -> which of them have addresses; ourselves, private ones
 *     3. TLSA of the first five             -> who has DANE (RFC 7672), who must be left out
 *     4. the route
 *
 * A rule with a host and an address literal begin at 2. For router.c only, which keeps what is found.
 */
#ifndef QUEUE_FINDING_H
#define QUEUE_FINDING_H

#include "queue/policy.h"

struct finding;

struct finding_env {
    struct dns *dns;
    const struct settings *settings;
    struct slice secrets;
    struct policies *policies;
};

/* The result's text and route lie in the finding's arena. seconds: how long it holds; 0: now only. The
 * finding is to be freed inside. */
typedef void finding_done(void *ctx, const struct router_result *result, unsigned seconds);

/* arena: reset and filled with the result; all are borrowed. */
struct finding *finding_new(const struct finding_env *env, struct slice destination, bool requiretls,
    struct arena *arena, finding_done *done, void *ctx);
/* done may be called from inside. */
void finding_start(struct finding *f);
void finding_free(struct finding *f);

#endif
