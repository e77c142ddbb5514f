/*
 * mtasts: what a domain says of the TLS of its mail servers (MTA-STS, RFC 8461). Pure functions over slices.
 *
 * The record (TXT of _mta-sts.<domain>) tells that there is a policy and, by its id, when it changes; the
 * policy itself is a file that is fetched by HTTPS. Slices of the results point into the input.
 */
#ifndef MAIL_MTASTS_H
#define MAIL_MTASTS_H

#include "common/slice.h"

#define MTASTS_ID_MAX 32
#define MTASTS_MAX_AGE 31557600 /* seconds; a longer max_age counts as that (RFC 8461 3.2) */

enum mtasts_record {
    MTASTS_RECORD,    /* *id is set */
    MTASTS_NO_RECORD, /* does not begin with "v=STSv1;": another record of that name, to be passed over */
    MTASTS_BAD_RECORD /* begins so, and breaks the grammar: the domain has no MTA-STS */
};
/* One TXT record, its strings joined (RFC 8461 3.1). */
enum mtasts_record mtasts_record_parse(struct slice text, struct slice *id);

enum mtasts_mode { MTASTS_NONE, MTASTS_TESTING, MTASTS_ENFORCE };

struct mtasts_policy {
    enum mtasts_mode mode;
    uint32_t max_age;  /* seconds, at most MTASTS_MAX_AGE */
    struct slice body; /* all of it: mtasts_allows reads its mx lines */
};

/* The policy file (RFC 8461 3.2), lines ended by LF or CRLF. False: the grammar is broken or a field that
 * must be there is missing; the fetch counts as failed then. */
bool mtasts_policy_parse(struct slice body, struct mtasts_policy *out);

/* Does a pattern ("mx.example.org", "*.example.org": exactly one label in front) fit the host (A-labels,
 * without a final dot; RFC 8461 4.1)? */
bool mtasts_mx_matches(struct slice pattern, struct slice host);
/* Does one of the policy's mx patterns? */
bool mtasts_allows(const struct mtasts_policy *p, struct slice host);

#endif
