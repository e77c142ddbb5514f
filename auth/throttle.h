/*
 * throttle: failures slow down (security.md 4.3). Counters by client network and by user, in memory, bounded.
 *
 * Per address (/32, /64) 10 a minute and 50 a day, three times that per /24 (/48); per user 20 an hour over
 * all addresses; different wrong passwords count, the same one again does not (clients.md 17); an address
 * with a fresh good login (a day) of that user is never held back. Loopback is exempt unless told otherwise.
 * No I/O; time is handed in. Without password (SCRAM never shows it) each failure counts. One thread at a
 * time.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include "common/slice.h"

struct throttle;

struct throttle *throttle_new(bool count_loopback);
void throttle_free(struct throttle *t);
/* May this try be made at all? now: monotonic seconds. */
bool throttle_allows(struct throttle *t, struct slice client_ip, struct slice user, int64_t now);
void throttle_failed(
    struct throttle *t, struct slice client_ip, struct slice user, struct slice password, int64_t now);
void throttle_succeeded(struct throttle *t, struct slice client_ip, struct slice user, int64_t now);

#endif
