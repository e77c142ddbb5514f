/*
 * admin: what the postamt command asks of the directory, one function behind two doors.
 *
 * A request is a JSON object {"verb":"account add","address":..,..}; answers are JSON objects, one an item
 * (errors end the answer: admin_end). Every verb takes "dry_run":true: checked, nothing changed. authd
 * calls admin_handle for what arrives on its control socket; with the daemons down the postamt command opens
 * the directory itself and calls the same. Verbs are rows of a table (admin.c): name, fields, handler.
 */
#ifndef AUTH_ADMIN_H
#define AUTH_ADMIN_H

#include "auth/directory.h"

struct admin_call;

struct admin_hooks {
    /* An account was suspended, removed or got a new password: its sessions end, caches forget it. May be
     * NULL. */
    void (*account_changed)(void *ctx, struct slice address);
    /* What an account has used was changed by the command. May be NULL. */
    void (*usage_changed)(void *ctx, struct slice address);
    void *ctx;
    const char *hash_scheme; /* for new passwords */
};

/*
 * Runs one request. item(ctx, json text) is called for each object of the answer. Returns ERR_OK or the code
 * with detail in e: the caller sends the end of the answer. Never crashes on any text.
 */
enum err_code admin_handle(struct directory *d, struct slice request, const struct admin_hooks *hooks,
    void (*item)(void *ctx, struct slice json), void *ctx, struct err *e);

/*
 * The end of an answer, for ADMIN_END: {} or {"error":{"code":"NO_DOMAIN","text":"..","fix":".."}}. The
 * sentence is the detail of e (the row's text without one); what stands behind its first "; " is the fix.
 */
void admin_end(enum err_code code, const struct err *e, struct buf *out);

/* The table, for tests that compare it with the command and the manual pages; ends with a NULL name. */
struct admin_field {
    const char *name;
    enum {
        ADMIN_TEXT,
        ADMIN_FLAG,
        ADMIN_SIZE
    } type; /* size: octets, as a number or as text ("2G", "none") */
    bool needed;
};
struct admin_verb {
    const char *name;
    struct admin_field fields[8];
    enum err_code (*run)(struct admin_call *c);
};
extern const struct admin_verb admin_verbs[];

#endif
