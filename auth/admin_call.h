/* admin_call: what the handlers of admin's verbs share. Internal to auth/admin*.c. */
#ifndef AUTH_ADMIN_CALL_H
#define AUTH_ADMIN_CALL_H

#include <jansson.h>

#include "auth/admin.h"

struct admin_call {
    struct directory *directory;
    const json_t *request; /* its fields are checked against the verb's row */
    const struct admin_hooks *hooks;
    void (*item)(void *ctx, struct slice json);
    void *ctx;
    bool dry_run;
    struct err *e;
};

/* Fields; an absent one is empty, false, 0. */
struct slice admin_text(const struct admin_call *c, const char *field);
bool admin_flag(const struct admin_call *c, const char *field);
uint64_t admin_size(const struct admin_call *c, const char *field);
/* Into a field of directory.h; ERR_SYNTAX when it is too long. */
enum err_code admin_copy(const struct admin_call *c, const char *field, char *to, size_t size);
/* Sends the object and lets it go. */
void admin_item(const struct admin_call *c, json_t *o);
/* "2026-11-23T12:00:00Z" */
json_t *admin_time(int64_t seconds);
json_t *admin_string(struct slice s);
/* ERR_OK for 0, else the code in c->e. */
enum err_code admin_result(const struct admin_call *c, int rc);
void admin_changed(const struct admin_call *c, const char *address);

/* Keeps the key of a new domain, unless it has some from before; the domain is as the admin wrote it. */
enum err_code admin_dkim_first(struct admin_call *c, struct slice domain, struct slice pem);
/* The keys of a removed domain go to dkim/_removed. */
enum err_code admin_dkim_aside(struct admin_call *c, struct slice domain);

enum err_code admin_domain_add(struct admin_call *c);
enum err_code admin_domain_dkim(struct admin_call *c);
enum err_code admin_domain_dns(struct admin_call *c);
enum err_code admin_domain_list(struct admin_call *c);
enum err_code admin_domain_remove(struct admin_call *c);
enum err_code admin_account_add(struct admin_call *c);
enum err_code admin_account_list(struct admin_call *c);
enum err_code admin_account_show(struct admin_call *c);
enum err_code admin_account_remove(struct admin_call *c);
enum err_code admin_account_usage(struct admin_call *c);
enum err_code admin_account_suspend(struct admin_call *c);
enum err_code admin_account_resume(struct admin_call *c);
enum err_code admin_password_set(struct admin_call *c);
enum err_code admin_password_check(struct admin_call *c);
enum err_code admin_alias_add(struct admin_call *c);
enum err_code admin_alias_list(struct admin_call *c);
enum err_code admin_alias_remove(struct admin_call *c);
enum err_code admin_alias_test(struct admin_call *c);

#endif
