#include "auth/admin.h"

#include "auth/admin_call.h"

/* clang-format off */
const struct call_verb admin_verbs[] = {
    {"domain add", {{"domain", CALL_TEXT, true}, {"key", CALL_TEXT, false}}, admin_domain_add},
    {"domain dkim", {{"domain", CALL_TEXT, true}, {"key", CALL_TEXT, false}, {"rotate", CALL_FLAG, false},
        {"remove", CALL_TEXT, false}}, admin_domain_dkim},
    {"domain dns", {{"domain", CALL_TEXT, true}}, admin_domain_dns},
    {"domain list", {{0}}, admin_domain_list},
    {"domain remove", {{"domain", CALL_TEXT, true}}, admin_domain_remove},
    {"account add", {{"address", CALL_TEXT, true}, {"name", CALL_TEXT, false}, {"password", CALL_TEXT, false},
        {"hash", CALL_TEXT, false}, {"quota", CALL_SIZE, false}, {"language", CALL_TEXT, false}},
        admin_account_add},
    {"account language", {{"address", CALL_TEXT, true}, {"language", CALL_TEXT, true}}, admin_account_language},
    {"account list", {{"domain", CALL_TEXT, false}}, admin_account_list},
    {"account show", {{"address", CALL_TEXT, true}}, admin_account_show},
    {"account remove", {{"address", CALL_TEXT, true}}, admin_account_remove},
    {"account suspend", {{"address", CALL_TEXT, true}}, admin_account_suspend},
    {"account resume", {{"address", CALL_TEXT, true}}, admin_account_resume},
    {"account usage", {{"address", CALL_TEXT, true}, {"octets_added", CALL_SIZE, false},
        {"octets_removed", CALL_SIZE, false}, {"messages_added", CALL_SIZE, false},
        {"messages_removed", CALL_SIZE, false}}, admin_account_usage},
    {"password set", {{"address", CALL_TEXT, true}, {"password", CALL_TEXT, false}, {"hash", CALL_TEXT, false}},
        admin_password_set},
    {"password check", {{"address", CALL_TEXT, true}, {"password", CALL_TEXT, true}}, admin_password_check},
    {"alias add", {{"address", CALL_TEXT, true}, {"target", CALL_TEXT, true}, {"may_send", CALL_FLAG, false},
        {"no_delivery", CALL_FLAG, false}}, admin_alias_add},
    {"alias list", {{"domain", CALL_TEXT, false}}, admin_alias_list},
    {"alias remove", {{"address", CALL_TEXT, true}, {"target", CALL_TEXT, true}}, admin_alias_remove},
    {"alias test", {{"address", CALL_TEXT, true}}, admin_alias_test},
    {NULL, {{0}}, NULL},
};
/* clang-format on */

void admin_changed(const struct call *c, const char *address)
{
    const struct admin_hooks *hooks = admin_hooks_of(c);

    if (!c->dry_run && hooks && hooks->account_changed)
        hooks->account_changed(hooks->ctx, slice_str(address));
}

void admin_domain_changed(const struct call *c, struct slice domain)
{
    const struct admin_hooks *hooks = admin_hooks_of(c);

    if (!c->dry_run && hooks && hooks->domain_changed)
        hooks->domain_changed(hooks->ctx, domain);
}

enum err_code admin_handle(struct directory *d, struct slice request, const struct admin_hooks *hooks,
    void (*item)(void *ctx, struct slice json), void *ctx, struct err *e)
{
    struct admin_door door = {.directory = d, .hooks = hooks};
    struct err unused = {0};
    struct call c = {.door = &door, .item = item, .ctx = ctx, .e = e ? e : &unused};
    const struct call_verb *verb = call_begin(&c, admin_verbs, request);
    enum err_code code = c.e->code;

    if (verb) {
        directory_pretend(c.dry_run);
        code = verb->run(&c);
        directory_pretend(false);
    }
    call_finish(&c);
    return code;
}
