/* admin_call: what the handlers of admin's verbs share. Internal to auth/admin*.c. */
#ifndef AUTH_ADMIN_CALL_H
#define AUTH_ADMIN_CALL_H

#include "auth/admin.h"

struct admin_door {
    struct directory *directory;
    const struct admin_hooks *hooks;
};

static inline struct directory *admin_directory(const struct call *c)
{
    return ((const struct admin_door *)c->door)->directory;
}

/* NULL: nobody wants to know. */
static inline const struct admin_hooks *admin_hooks_of(const struct call *c)
{
    return ((const struct admin_door *)c->door)->hooks;
}

void admin_changed(const struct call *c, const char *address);
/* The domain is there or gone, or its keys are others. */
void admin_domain_changed(const struct call *c, struct slice domain);

/* Keeps the key of a new domain, unless it has some from before; the domain is as the admin wrote it. */
enum err_code admin_dkim_first(struct call *c, struct slice domain, struct slice pem);
/* The keys of a removed domain go to dkim/_removed. */
enum err_code admin_dkim_aside(struct call *c, struct slice domain);

enum err_code admin_domain_add(struct call *c);
enum err_code admin_domain_dkim(struct call *c);
enum err_code admin_domain_dns(struct call *c);
enum err_code admin_domain_list(struct call *c);
enum err_code admin_domain_remove(struct call *c);
enum err_code admin_account_add(struct call *c);
enum err_code admin_account_list(struct call *c);
enum err_code admin_account_show(struct call *c);
enum err_code admin_account_remove(struct call *c);
enum err_code admin_account_usage(struct call *c);
enum err_code admin_account_suspend(struct call *c);
enum err_code admin_account_resume(struct call *c);
enum err_code admin_account_language(struct call *c);
enum err_code admin_password_set(struct call *c);
enum err_code admin_password_check(struct call *c);
enum err_code admin_alias_add(struct call *c);
enum err_code admin_alias_list(struct call *c);
enum err_code admin_alias_remove(struct call *c);
enum err_code admin_alias_test(struct call *c);

#endif
