/* worker: what imapd gives to session/worker.h. */
#ifndef IMAPD_WORKER_H
#define IMAPD_WORKER_H

#include "session/worker.h"

extern const struct worker_ops imapd_worker_ops;

#endif
