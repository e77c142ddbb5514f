/*
 * progress: how far a long verb is: a bar on a terminal, else a line every 10 seconds, on stderr; with rate
 * and time left. Nothing with --json, nothing for what takes less than a second.
 */
#ifndef ADMIN_PROGRESS_H
#define ADMIN_PROGRESS_H

#include "admin/cli.h"

struct progress {
    const struct cli *cli;
    const char *what;
    uint64_t total;       /* octets; 0: not known */
    int64_t begun, shown; /* ms */
    bool bar, any;
};

void progress_begin(struct progress *p, const struct cli *c, const char *what, uint64_t total);
/* Cheap: call it for every message. */
void progress_at(struct progress *p, uint64_t octets, uint64_t messages);
void progress_end(struct progress *p);

#endif
