/* account and password: the verbs about people. */
#include <string.h>

#include "auth/admin_call.h"
#include "auth/password.h"
#include "common/log.h"
#include "common/mem.h"

#define SCRAM_ITERATIONS 100000 /* security.md 4.3 */

static json_t *item_of(const struct call *c, const struct directory_account *a, bool all)
{
    uint64_t octets, messages;
    bool known = directory_usage_get(admin_directory(c), slice_str(a->address), &octets, &messages);
    json_t *o = json_pack("{s:o,s:o,s:o,s:I}", "address", call_string(slice_str(a->address)), "name",
        call_string(slice_str(a->name)), "used", known ? json_integer((json_int_t)octets) : json_null(),
        "quota", (json_int_t)a->quota);

    INVARIANT(o);
    json_object_set_new(o, "state",
        json_string(a->suspended ? "suspended"
                    : a->hash[0] ? "active"
                                 : "no password"));
    if (!all)
        return o;
    json_object_set_new(o, "messages", known ? json_integer((json_int_t)messages) : json_null());
    json_object_set_new(o, "language", json_string(reply_language_name(a->language)));
    json_object_set_new(o, "created", call_time(a->created));
    json_object_set_new(o, "scram", json_boolean(a->scram[0] != '\0'));
    return o;
}

/* A hash of another server's; its verifier for SCRAM is made when the password is first seen. */
static enum err_code take_hash(const struct call *c, struct directory_account *a)
{
    if (!password_take_hash(call_text(c, "hash"), a->hash, sizeof a->hash))
        return call_result(
            c, err_set(c->e, ERR_SYNTAX,
                   "that is no hash this server can check; give one of crypt(3), such as $6$.. or "
                   "$2y$.., or set a new password"));
    a->scram[0] = '\0';
    return ERR_OK;
}

/* Hash and SCRAM verifier of the request's password, into a; or the request's hash. */
static enum err_code make_secrets(const struct call *c, struct directory_account *a)
{
    struct slice password = call_text(c, "password");
    const char *complaint = password_complaint(password, slice_str(a->address));
    const char *scheme =
        admin_hooks_of(c) && admin_hooks_of(c)->hash_scheme ? admin_hooks_of(c)->hash_scheme : "yescrypt";

    if (call_has(c, "hash") == call_has(c, "password"))
        return call_result(
            c, err_set(c->e, ERR_USAGE, "one of password and hash is needed; give exactly one"));
    if (call_has(c, "hash"))
        return take_hash(c, a);
    if (complaint)
        return call_result(c, err_set(c->e, ERR_SYNTAX, "%s", complaint));
    if (c->dry_run)
        return ERR_OK;
    if (password_hash(password, scheme, a->hash, sizeof a->hash, c->e) < 0 ||
        password_scram(password, SCRAM_ITERATIONS, a->scram, sizeof a->scram, c->e) < 0)
        return call_result(c, -1);
    return ERR_OK;
}

static void say(const struct call *c, const char *what, const char *address)
{
    if (!c->dry_run)
        LOG(ACCOUNT, NULL, F_STR("change", what), F_STR("account", address));
}

static enum err_code take_language(const struct call *c, struct directory_account *a)
{
    if (call_has(c, "language") && !reply_language_parse(call_text(c, "language"), &a->language))
        return call_result(c, err_set(c->e, ERR_SYNTAX, "that language is not known here; write en or de"));
    return ERR_OK;
}

enum err_code admin_account_add(struct call *c)
{
    struct directory_account a = {.quota = call_size(c, "quota")};
    bool has_password = call_has(c, "password") || call_has(c, "hash");
    enum err_code code = call_copy(c, "address", a.address, sizeof a.address);

    if (code == ERR_OK)
        code = call_copy(c, "name", a.name, sizeof a.name);
    if (code == ERR_OK)
        code = take_language(c, &a);
    if (code == ERR_OK) {
        /* a refusal should not wait for a hash */
        directory_pretend(true);
        code = call_result(c, directory_account_add(admin_directory(c), &a, c->e));
        directory_pretend(c->dry_run);
    }
    if (code == ERR_OK && has_password)
        code = make_secrets(c, &a);
    if (code == ERR_OK)
        code = call_result(c, directory_account_add(admin_directory(c), &a, c->e));
    if (code == ERR_OK && !c->dry_run &&
        directory_account_get(admin_directory(c), slice_str(a.address), &a, c->e) == 0)
        call_item(c, item_of(c, &a, false));
    if (code == ERR_OK)
        say(c, "account added", a.address);
    mem_wipe(&a, sizeof a);
    return code;
}

static bool list_one(void *ctx, const struct directory_account *a)
{
    const struct call *c = ctx;

    call_item(c, item_of(c, a, false));
    return true;
}

enum err_code admin_account_list(struct call *c)
{
    struct slice domain = call_text(c, "domain");

    if (domain.n && !directory_has_domain(admin_directory(c), domain))
        return call_result(c, err_set(c->e, ERR_NO_DOMAIN,
                                  "that is not a domain of this server; see them with: postamt domain list"));
    directory_accounts(admin_directory(c), domain, list_one, c);
    return ERR_OK;
}

/* The account the request names, into a. */
static enum err_code get(const struct call *c, struct directory_account *a)
{
    return call_result(c, directory_account_get(admin_directory(c), call_text(c, "address"), a, c->e));
}

enum err_code admin_account_show(struct call *c)
{
    struct directory_account a;
    enum err_code code = get(c, &a);

    if (code == ERR_OK)
        call_item(c, item_of(c, &a, true));
    return code;
}

struct pointing {
    const char *address;
    json_t *list;
};

static bool points_there(void *ctx, const struct directory_alias *a)
{
    struct pointing *p = ctx;

    if (strcmp(a->target, p->address) == 0)
        json_array_append_new(p->list, json_string(a->address));
    return true;
}

enum err_code admin_account_remove(struct call *c)
{
    struct directory_account a;
    enum err_code code = get(c, &a);
    struct pointing p = {.address = a.address, .list = json_array()};

    if (code == ERR_OK)
        code = call_result(c, directory_account_remove(admin_directory(c), slice_str(a.address), c->e));
    if (code == ERR_OK) {
        directory_aliases(admin_directory(c), SLICE(""), points_there, &p);
        call_item(c, json_pack("{s:s,s:O}", "address", a.address, "aliases_left", p.list));
        admin_changed(c, a.address);
        say(c, "account removed", a.address);
    }
    json_decref(p.list);
    return code;
}

/* Looks, changes, and does so again if somebody else was faster (a login makes verifiers, too). */
static enum err_code swap(const struct call *c, struct directory_account *a,
    enum err_code (*edit)(const struct call *c, struct directory_account *a))
{
    for (int i = 0; i < 10; i++) {
        struct directory_account before;
        enum err_code code = get(c, &before);

        *a = before;
        if (code == ERR_OK)
            code = edit(c, a);
        if (code == ERR_OK)
            code = call_result(c, directory_account_swap(admin_directory(c), &before, a, c->e));
        if (code != ERR_UNAVAILABLE)
            return code;
    }
    return ERR_UNAVAILABLE;
}

static enum err_code changed(struct call *c,
    enum err_code (*edit)(const struct call *c, struct directory_account *a), const char *what,
    bool ends_sessions)
{
    struct directory_account a;
    enum err_code code = swap(c, &a, edit);

    if (code == ERR_OK) {
        call_item(c, item_of(c, &a, false));
        if (ends_sessions)
            admin_changed(c, a.address);
        say(c, what, a.address);
    }
    mem_wipe(&a, sizeof a);
    return code;
}

static enum err_code suspend(const struct call *c, struct directory_account *a)
{
    (void)c;
    a->suspended = true;
    return ERR_OK;
}

static enum err_code resume(const struct call *c, struct directory_account *a)
{
    (void)c;
    a->suspended = false;
    return ERR_OK;
}

enum err_code admin_account_suspend(struct call *c)
{
    return changed(c, suspend, "account suspended", true);
}

enum err_code admin_account_resume(struct call *c)
{
    return changed(c, resume, "account resumed", true);
}

enum err_code admin_account_language(struct call *c)
{
    return changed(c, take_language, "language set", false);
}

static int64_t difference(const struct call *c, const char *added, const char *removed)
{
    return (int64_t)call_size(c, added) - (int64_t)call_size(c, removed);
}

/* Not a verb of a person's: the command tells what it brought into the mail or took from it. */
enum err_code admin_account_usage(struct call *c)
{
    struct directory_account a;
    enum err_code code = get(c, &a);

    if (code != ERR_OK || c->dry_run)
        return code;
    if (directory_usage_add(admin_directory(c), slice_str(a.address),
            difference(c, "octets_added", "octets_removed"),
            difference(c, "messages_added", "messages_removed")) &&
        admin_hooks_of(c) && admin_hooks_of(c)->usage_changed)
        admin_hooks_of(c)->usage_changed(admin_hooks_of(c)->ctx, slice_str(a.address));
    return ERR_OK;
}

enum err_code admin_password_set(struct call *c)
{
    return changed(c, make_secrets, "password set", true);
}

enum err_code admin_password_check(struct call *c)
{
    struct directory_account a;
    enum err_code code = get(c, &a);
    bool good;

    if (code != ERR_OK)
        return code;
    good = password_verify(call_text(c, "password"), a.hash);
    call_item(c, json_pack("{s:s,s:b,s:b}", "address", a.address, "right", good, "suspended", a.suspended));
    mem_wipe(&a, sizeof a);
    return ERR_OK;
}
