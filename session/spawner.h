/*
 * spawner: forks the workers of imapd and pop3d. Blocking, single-threaded, without the state of any user.
 */
#ifndef SESSION_SPAWNER_H
#define SESSION_SPAWNER_H

#include "common/role.h"
#include "common/sandbox.h"
#include "session/worker.h"

/* For role_ops.prepare: opens what the sandbox will refuse (charsets, the store's constants, the trees). */
int spawner_prepare(struct role *r, struct err *e);
/* For role_ops.run. */
int spawner_run(struct role *r, const struct worker_ops *ops, struct err *e);
/* For role_ops.interrupted: children that ended. */
void spawner_interrupted(struct role *r);

#endif
