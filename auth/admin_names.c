/* domain and alias: the verbs about names. */
#include <stdlib.h>
#include <string.h>

#include "auth/admin_call.h"
#include "common/log.h"
#include "common/mem.h"

static void say(const struct call *c, const char *what, struct slice name)
{
    if (!c->dry_run)
        LOG(ACCOUNT, NULL, F_STR("change", what), F_SLICE("name", name));
}

/* --- domains --- */

/* The key is kept before the domain is there: a domain of ours has always one. */
enum err_code admin_domain_add(struct call *c)
{
    struct slice domain = call_text(c, "domain"), key = call_text(c, "key");
    enum err_code code = ERR_OK;

    if (key.n) {
        directory_pretend(true);
        code = call_result(c, directory_domain_add(admin_directory(c), domain, c->e));
        directory_pretend(c->dry_run);
        if (code == ERR_OK)
            code = admin_dkim_first(c, domain, key);
    }
    if (code == ERR_OK)
        code = call_result(c, directory_domain_add(admin_directory(c), domain, c->e));
    if (code == ERR_OK) {
        if (!key.n)
            call_item(c, json_pack("{s:o}", "domain", call_string(domain)));
        admin_domain_changed(c, domain);
        say(c, "domain added", domain);
    }
    return code;
}

enum err_code admin_domain_remove(struct call *c)
{
    struct slice domain = call_text(c, "domain");
    enum err_code code = call_result(c, directory_domain_remove(admin_directory(c), domain, c->e));

    if (code == ERR_OK) {
        call_item(c, json_pack("{s:o}", "domain", call_string(domain)));
        say(c, "domain removed", domain);
        if (!c->dry_run)
            code = admin_dkim_aside(c, domain);
        admin_domain_changed(c, domain);
    }
    return code;
}

static bool count_account(void *ctx, const struct directory_account *a)
{
    (void)a;
    ++*(json_int_t *)ctx;
    return true;
}

static bool count_alias(void *ctx, const struct directory_alias *a)
{
    (void)a;
    ++*(json_int_t *)ctx;
    return true;
}

static void list_domain(void *ctx, struct slice domain)
{
    const struct call *c = ctx;
    json_int_t accounts = 0, aliases = 0;

    directory_accounts(admin_directory(c), domain, count_account, &accounts);
    directory_aliases(admin_directory(c), domain, count_alias, &aliases);
    call_item(c,
        json_pack("{s:o,s:I,s:I}", "domain", call_string(domain), "accounts", accounts, "aliases", aliases));
}

enum err_code admin_domain_list(struct call *c)
{
    directory_domains(admin_directory(c), list_domain, c);
    return ERR_OK;
}

/* --- aliases --- */

static void alias_item(const struct call *c, const struct directory_alias *a)
{
    call_item(c, json_pack("{s:o,s:o,s:b,s:b}", "address", call_string(slice_str(a->address)), "target",
                     call_string(slice_str(a->target)), "deliver", a->deliver, "may_send", a->may_send));
}

enum err_code admin_alias_add(struct call *c)
{
    struct directory_alias a = {
        .deliver = !call_flag(c, "no_delivery"), .may_send = call_flag(c, "may_send")};
    enum err_code code = call_copy(c, "address", a.address, sizeof a.address);

    if (code == ERR_OK)
        code = call_copy(c, "target", a.target, sizeof a.target);
    if (code == ERR_OK)
        code = call_result(c, directory_alias_add(admin_directory(c), &a, c->e));
    if (code == ERR_OK) {
        alias_item(c, &a);
        say(c, "alias added", slice_str(a.address));
    }
    return code;
}

enum err_code admin_alias_remove(struct call *c)
{
    struct slice address = call_text(c, "address"), target = call_text(c, "target");
    enum err_code code = call_result(c, directory_alias_remove(admin_directory(c), address, target, c->e));

    if (code == ERR_OK) {
        call_item(c, json_pack("{s:o,s:o}", "address", call_string(address), "target", call_string(target)));
        say(c, "alias removed", address);
    }
    return code;
}

static bool list_alias(void *ctx, const struct directory_alias *a)
{
    alias_item(ctx, a);
    return true;
}

enum err_code admin_alias_list(struct call *c)
{
    struct slice domain = call_text(c, "domain");

    if (domain.n && !directory_has_domain(admin_directory(c), domain))
        return call_result(c, err_set(c->e, ERR_NO_DOMAIN,
                                  "that is not a domain of this server; see them with: postamt domain list"));
    directory_aliases(admin_directory(c), domain, list_alias, c);
    return ERR_OK;
}

/* --- what happens to an address --- */

static void step(const struct call *c, const char *address, const char *what)
{
    call_item(c, json_pack("{s:o,s:s}", "address", call_string(slice_str(address)), "step", what));
}

static void goes_to(void *ctx, const struct directory_target *target)
{
    const struct directory_account *account = target->account;

    if (!account)
        step(ctx, target->elsewhere, "forwarded to this address of another server");
    else
        step(ctx, account->address,
            account->suspended ? "delivered to this account, which is suspended and cannot log in"
                               : "delivered to this account");
}

struct looking {
    const struct call *c;
    struct slice address;
    bool found;
};

static bool explain_alias(void *ctx, const struct directory_alias *a)
{
    struct looking *l = ctx;

    if (!slice_eq(slice_str(a->address), l->address))
        return true;
    l->found = true;
    step(l->c, a->target,
        a->deliver && a->may_send ? "a target of the alias, which may send as it, too"
        : a->deliver              ? "a target of the alias"
                                  : "may send as the alias, gets no mail for it");
    return true;
}

/* Which of the ways of directory_resolve the address takes, in its order. */
static void explain(const struct call *c, struct slice normal)
{
    struct looking l = {.c = c, .address = normal};
    ssize_t at = slice_rchr(normal, '@'), plus = slice_chr(normal, '+');
    struct slice domain = slice_from(normal, (size_t)at + 1);
    struct directory_account account;

    if (directory_account_get(admin_directory(c), normal, &account, NULL) == 0)
        step(c, account.address, "an account");
    directory_aliases(admin_directory(c), domain, explain_alias, &l);
    if (!l.found && plus > 0 && plus < at)
        call_item(c, json_pack("{s:o,s:s}", "address", call_string(normal), "step",
                         "a sub-address: what stands before the + decides"));
}

enum err_code admin_alias_test(struct call *c)
{
    struct slice text = call_text(c, "address");
    struct buf normal = BUF_INIT(400);
    struct arena arena;
    struct address a;
    enum err_code code = ERR_SYNTAX;

    arena_init(&arena, 4096);
    if (address_parse(text, &arena, &a) != ADDRESS_OK || !address_normalise(&a, &normal))
        err_set(c->e, ERR_SYNTAX, "that is not an address; write name@domain");
    else if (!directory_has_domain(admin_directory(c), a.domain))
        code =
            call_result(c, err_set(c->e, ERR_NO_DOMAIN,
                               "mail for it is refused: its domain is not one of this server; add it with: "
                               "postamt domain add"));
    else {
        explain(c, buf_slice(&normal));
        code = directory_resolve(admin_directory(c), &a, goes_to, c);
        if (code != ERR_OK)
            err_set(c->e, code,
                "mail for it is refused: it leads to no account; make one with: postamt account add, or an "
                "alias");
    }
    arena_free(&arena);
    buf_free(&normal);
    return code;
}
