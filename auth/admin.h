/*
 * admin: what the postamt command asks of the directory, one function behind two doors.
 *
 * Requests and answers are those of common/call.h. authd calls admin_handle for what arrives on its control
 * socket; with the daemons down the postamt command opens the directory itself and calls the same. Verbs are
 * rows of a table (admin.c): name, fields, handler.
 */
#ifndef AUTH_ADMIN_H
#define AUTH_ADMIN_H

#include "auth/directory.h"
#include "common/call.h"

struct admin_hooks {
    /* An account was suspended, removed or got a new password: its sessions end, caches forget it. May be
     * NULL. */
    void (*account_changed)(void *ctx, struct slice address);
    /* What an account has used was changed by the command. May be NULL. */
    void (*usage_changed)(void *ctx, struct slice address);
    /* A domain is there or gone, or its keys are others: who signs must know. The name may be as the admin
     * wrote it. May be NULL. */
    void (*domain_changed)(void *ctx, struct slice domain);
    void *ctx;
    const char *hash_scheme; /* for new passwords */
};

/*
 * Runs one request. item(ctx, json text) is called for each object of the answer. Returns ERR_OK or the code
 * with detail in e: the caller sends the end of the answer (call_end).
 */
enum err_code admin_handle(struct directory *d, struct slice request, const struct admin_hooks *hooks,
    void (*item)(void *ctx, struct slice json), void *ctx, struct err *e);

/* The table, for tests that compare it with the command and the manual pages. */
extern const struct call_verb admin_verbs[];

#endif
