/* fetch: what fetchd says of a policy it was asked for (IPC_FETCHED). */
#ifndef QUEUE_FETCH_H
#define QUEUE_FETCH_H

#include <stdlib.h>

#include "common/slice.h"

#define FETCH_BODY_MAX ((size_t)60 * 1024) /* RFC 8461 3.3 asks for 64 KB; an ipc message holds less */
#define FETCH_SECONDS 60                   /* RFC 8461 3.3 */

enum fetch_status {
    FETCH_OK,      /* 200, text/plain, a certificate for the host */
    FETCH_MISSING, /* the server said that there is none (404, another status, a redirect) */
    FETCH_FAILED,  /* no connection, TLS, too slow, too large */
    FETCH_STATUSES
};

/* FETCH_SECONDS, or less where POSTAMT_FETCH_SECONDS says so (tests). */
static inline unsigned fetch_seconds(void)
{
    uint64_t n;

    return slice_u64(slice_str(getenv("POSTAMT_FETCH_SECONDS")), FETCH_SECONDS, &n) ? (unsigned)n
                                                                                    : FETCH_SECONDS;
}

#endif
