/* postamt password: set and check passwords. */
#include "admin/secret.h"

#include <stdio.h>

#include "admin/ask.h"
#include "admin/link.h"
#include "admin/output.h"

/* Reads the secret and puts it into the request. */
static enum err_code add_secret(struct cli *c, json_t *request, struct buf *secret)
{
    bool hash = cli_flag(c, FLAG_HASH) != NULL;
    enum err_code code = hash ? ask_hash(c, secret) : ask_password(c, c->args.object[0], true, secret);

    if (code != ERR_OK)
        return code;
    if (json_object_set_new(request, hash ? "hash" : "password", json_stringn(secret->p, secret->n)) < 0)
        return fault_set(&c->fault, ERR_SYNTAX,
            "use a terminal that writes UTF-8, or plain letters and digits", "the %s is not UTF-8",
            hash ? "hash" : "password");
    return ERR_OK;
}

enum err_code secret_change(struct cli *c, json_t *request, const char *done)
{
    bool made = cli_flag(c, FLAG_GENERATE) && !cli_flag(c, FLAG_DRY_RUN);
    struct buf secret = {0};
    enum err_code code = add_secret(c, request, &secret);

    if (code != ERR_OK)
        json_decref(request);
    else
        code = link_change(c, request, c->args.object[0], done, made ? buf_str(&secret) : NULL);
    ask_wipe(&secret);
    return code;
}

static json_t *request_for(const struct cli *c)
{
    json_t *request = link_request(c);

    json_object_set_new(request, "address", json_string(c->args.object[0]));
    return request;
}

enum err_code password_set(struct cli *c)
{
    return secret_change(c, request_for(c), "given a new password");
}

static void judge(void *ctx, struct slice json)
{
    json_t *item = json_loadb(json.p ? json.p : "", json.n, 0, NULL);

    json_decref(*(json_t **)ctx);
    *(json_t **)ctx = item;
}

enum err_code password_check(struct cli *c)
{
    const char *address = c->args.object[0];
    json_t *request = request_for(c), *item = NULL;
    struct buf secret = {0};
    enum err_code code = ask_password(c, address, false, &secret);

    if (code == ERR_OK && json_object_set_new(request, "password", json_stringn(secret.p, secret.n)) < 0)
        code = fault_set(&c->fault, ERR_AUTH_FAILED, NULL, "the password is not UTF-8 and cannot be right");
    ask_wipe(&secret);
    if (code == ERR_OK)
        code = link_directory(c, json_incref(request), judge, &item);
    json_decref(request);
    if (code == ERR_OK && c->json && item)
        output_json(item);
    if (code == ERR_OK && json_is_true(json_object_get(item, "right")))
        output_say(c,
            json_is_true(json_object_get(item, "suspended")) ? "right, but the account %s is suspended"
                                                             : "right: it is the password of %s",
            address);
    else if (code == ERR_OK)
        code = fault_set(&c->fault, ERR_AUTH_FAILED, NULL, "wrong: it is not the password of %s", address);
    json_decref(item);
    return code;
}
