/* postamt domain: the domains this server takes mail for, and the keys that sign mail from them. */
#include <stdlib.h>

#include "admin/ask.h"
#include "admin/link.h"
#include "admin/output.h"
#include "common/mem.h"
#include "mail/dkim.h"

static json_t *request_for(const struct cli *c)
{
    json_t *request = link_request(c);

    json_object_set_new(request, "domain", json_string(c->args.object[0]));
    return request;
}

/* A new private key into the request: made here, so that authd answers others meanwhile. */
static enum err_code add_key(struct cli *c, json_t *request, enum dkim_algorithm algorithm)
{
    struct buf pem = BUF_INIT(DKIM_PEM_MAX);
    struct err e = {0};
    struct dkim_key *key = dkim_key_new(algorithm, &e);
    enum err_code code = ERR_OK;

    if (key && dkim_key_pem(key, &pem))
        json_object_set_new(request, "key", json_stringn(pem.p, pem.n));
    else
        code = fault_set(&c->fault, ERR_INTERNAL, NULL, "a key could not be made");
    ask_wipe(&pem);
    dkim_key_free(key);
    return code;
}

enum err_code domain_add(struct cli *c)
{
    json_t *request = request_for(c);
    enum err_code code = cli_flag(c, FLAG_DRY_RUN) ? ERR_OK : add_key(c, request, DKIM_RSA);

    if (code != ERR_OK) {
        json_decref(request);
        return code;
    }
    code = link_change(c, request, c->args.object[0], "added", NULL);
    if (code == ERR_OK && !cli_flag(c, FLAG_DRY_RUN))
        output_say(c, "See the DNS records it needs with: postamt domain dns %s", c->args.object[0]);
    return code;
}

enum err_code domain_list(struct cli *c)
{
    static const struct column columns[] = {{"DOMAIN", "domain", CELL_TEXT},
        {"ACCOUNTS", "accounts", CELL_NUMBER}, {"ALIASES", "aliases", CELL_NUMBER}};
    struct table t;
    enum err_code code;

    table_init(&t, c, columns, 3);
    code = link_directory(c, link_request(c), table_item, &t);
    if (code == ERR_OK && t.nrows == 0)
        output_say(c, "There are no domains yet; add one with: postamt domain add example.org");
    table_end(&t);
    return code;
}

enum err_code domain_remove(struct cli *c)
{
    char *question = mem_printf("Remove domain %s?", c->args.object[0]);
    enum err_code code = ask_consent(c, question);

    free(question);
    return code == ERR_OK ? link_change(c, request_for(c), c->args.object[0], "removed", NULL) : code;
}

/* --- keys --- */

static void keep_item(void *ctx, struct slice json)
{
    json_t *o = json_loadb(json.p ? json.p : "", json.n, 0, NULL);

    if (o)
        json_array_append_new(ctx, o);
}

static enum err_code keys_get(struct cli *c, json_t *keys)
{
    json_t *request = request_for(c);

    json_object_del(request, "dry_run"); /* looking changes nothing */
    return link_directory(c, request, keep_item, keys);
}

static bool keys_have(const json_t *keys, const char *algorithm)
{
    const json_t *item;
    size_t i;

    json_array_foreach(keys, i, item)
    {
        const char *a = json_string_value(json_object_get(item, "algorithm"));

        if (a && slice_eq(slice_str(a), slice_str(algorithm)))
            return true;
    }
    return false;
}

static void keys_show(const struct cli *c, const json_t *keys)
{
    static const struct column columns[] = {{"SELECTOR", "selector", CELL_TEXT},
        {"ALGORITHM", "algorithm", CELL_TEXT}, {"CREATED", "created", CELL_TEXT}};
    const json_t *item;
    struct table t;
    size_t i;

    table_init(&t, c, columns, 3);
    json_array_foreach(keys, i, item) table_add(&t, item);
    table_end(&t);
}

static enum err_code key_remove(struct cli *c, const char *selector)
{
    json_t *request;
    char *question = mem_printf("Stop signing mail of %s with key %s?", c->args.object[0], selector);
    enum err_code code = ask_consent(c, question);

    free(question);
    if (code != ERR_OK)
        return code;
    request = request_for(c);
    json_object_set_new(request, "remove", json_string(selector));
    return link_change(c, request, selector, "put aside", NULL);
}

static enum err_code key_add(struct cli *c, enum dkim_algorithm algorithm)
{
    json_t *request = request_for(c);
    char *subject = mem_printf("%s key of %s", algorithm == DKIM_RSA ? "RSA" : "Ed25519", c->args.object[0]);
    enum err_code code = add_key(c, request, algorithm);

    if (code == ERR_OK) {
        if (cli_flag(c, FLAG_ROTATE))
            json_object_set_new(request, "rotate", json_true());
        code = link_change(c, request, subject, "made", NULL);
    } else {
        json_decref(request);
    }
    if (code == ERR_OK && !cli_flag(c, FLAG_DRY_RUN))
        output_say(c, "It signs from now on; publish its record: postamt domain dns %s", c->args.object[0]);
    free(subject);
    return code;
}

enum err_code domain_dkim(struct cli *c)
{
    enum dkim_algorithm algorithm = cli_flag(c, FLAG_ED25519) ? DKIM_ED25519 : DKIM_RSA;
    const char *selector = cli_flag(c, FLAG_REMOVE);
    enum err_code code;
    json_t *keys;

    if (selector && (cli_flag(c, FLAG_ROTATE) || cli_flag(c, FLAG_ED25519)))
        return fault_set(&c->fault, ERR_USAGE, "do one after the other",
            "--remove does not go together with --rotate and --ed25519");
    if (selector)
        return key_remove(c, selector);
    keys = json_array();
    code = keys_get(c, keys);
    if (code == ERR_OK && (cli_flag(c, FLAG_ROTATE) || !keys_have(keys, dkim_algorithm_name(algorithm))))
        code = key_add(c, algorithm);
    else if (code == ERR_OK)
        keys_show(c, keys);
    json_decref(keys);
    return code;
}
