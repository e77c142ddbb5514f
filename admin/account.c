/* postamt account: people's mailboxes. */
#include "admin/ask.h"
#include "admin/link.h"
#include "admin/output.h"
#include "admin/secret.h"
#include "common/mem.h"

#include <stdlib.h>

static json_t *request_for(const struct cli *c)
{
    json_t *request = link_request(c);

    json_object_set_new(request, "address", json_string(c->args.object[0]));
    return request;
}

/* A text of the command line; the locale's other charsets are not ours to guess. */
static enum err_code add_flag(struct cli *c, json_t *request, enum flag f, const char *field)
{
    const char *value = cli_flag(c, f);

    if (value && json_object_set_new(request, field, json_string(value)) < 0)
        return fault_set(&c->fault, ERR_SYNTAX, "write it in UTF-8", "--%s is not UTF-8", flag_rows[f].name);
    return ERR_OK;
}

enum err_code cmd_account_add(struct cli *c)
{
    json_t *request = request_for(c);
    enum err_code code = add_flag(c, request, FLAG_NAME, "name");

    if (code == ERR_OK)
        code = add_flag(c, request, FLAG_QUOTA, "quota");
    if (code == ERR_OK)
        code = add_flag(c, request, FLAG_LANGUAGE, "language");
    if (code == ERR_OK)
        return secret_change(c, request, "added");
    json_decref(request);
    return code;
}

enum err_code cmd_account_list(struct cli *c)
{
    static const struct column columns[] = {{"ADDRESS", "address", CELL_TEXT}, {"NAME", "name", CELL_TEXT},
        {"USED/QUOTA", "used", CELL_USED}, {"STATE", "state", CELL_STATE}};
    json_t *request = link_request(c);
    struct table t;
    enum err_code code;

    if (c->args.nobjects)
        json_object_set_new(request, "domain", json_string(c->args.object[0]));
    table_init(&t, c, columns, 4);
    code = link_directory(c, request, table_item, &t);
    if (code == ERR_OK && t.nrows == 0)
        output_say(c, "There are no accounts%s; add one with: postamt account add ADDRESS",
            c->args.nobjects ? " in that domain" : " yet");
    table_end(&t);
    return code;
}

static void show(void *ctx, struct slice json)
{
    json_t *item = json_loadb(json.p ? json.p : "", json.n, 0, NULL);

    if (json_is_object(item))
        output_object(ctx, item);
    json_decref(item);
}

enum err_code cmd_account_show(struct cli *c)
{
    return link_directory(c, request_for(c), show, c);
}

enum err_code cmd_account_remove(struct cli *c)
{
    char *question = mem_printf("Remove account %s? Its mail stays on disk.", c->args.object[0]);
    enum err_code code = ask_consent(c, question);

    free(question);
    return code == ERR_OK ? link_change(c, request_for(c), c->args.object[0], "removed", NULL) : code;
}

enum err_code cmd_account_suspend(struct cli *c)
{
    return link_change(c, request_for(c), c->args.object[0], "suspended", NULL);
}

enum err_code cmd_account_language(struct cli *c)
{
    json_t *request = request_for(c);

    if (json_object_set_new(request, "language", json_string(c->args.object[1])) < 0) {
        json_decref(request);
        return fault_set(&c->fault, ERR_SYNTAX, "write en or de", "the language is not UTF-8");
    }
    return link_change(c, request, c->args.object[0], "written to in that language", NULL);
}

enum err_code cmd_account_resume(struct cli *c)
{
    return link_change(c, request_for(c), c->args.object[0], "active again", NULL);
}
