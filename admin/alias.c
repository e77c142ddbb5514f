/* postamt alias: addresses whose mail goes to other addresses. */
#include "admin/ask.h"
#include "admin/link.h"
#include "admin/output.h"
#include "common/mem.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *request_for(const struct cli *c)
{
    json_t *request = link_request(c);

    json_object_set_new(request, "address", json_string(c->args.object[0]));
    if (c->args.nobjects > 1)
        json_object_set_new(request, "target", json_string(c->args.object[1]));
    return request;
}

static enum err_code change(struct cli *c, json_t *request, const char *done)
{
    char *subject = mem_printf("alias %s -> %s", c->args.object[0], c->args.object[1]);
    enum err_code code = link_change(c, request, subject, done, NULL);

    free(subject);
    return code;
}

enum err_code alias_add(struct cli *c)
{
    json_t *request;

    if (cli_flag(c, FLAG_NO_DELIVERY) && !cli_flag(c, FLAG_MAY_SEND))
        return fault_set(&c->fault, ERR_USAGE, "add --may-send, or leave out --no-delivery",
            "an alias that neither delivers nor may send does nothing");
    request = request_for(c);
    if (cli_flag(c, FLAG_MAY_SEND))
        json_object_set_new(request, "may_send", json_true());
    if (cli_flag(c, FLAG_NO_DELIVERY))
        json_object_set_new(request, "no_delivery", json_true());
    return change(c, request, "added");
}

enum err_code alias_list(struct cli *c)
{
    static const struct column columns[] = {{"ADDRESS", "address", CELL_TEXT},
        {"TARGET", "target", CELL_TEXT}, {"DELIVERS", "deliver", CELL_YES_NO},
        {"MAY SEND", "may_send", CELL_YES_NO}};
    json_t *request = link_request(c);
    struct table t;
    enum err_code code;

    if (c->args.nobjects)
        json_object_set_new(request, "domain", json_string(c->args.object[0]));
    table_init(&t, c, columns, 4);
    code = link_directory(c, request, table_item, &t);
    if (code == ERR_OK && t.nrows == 0)
        output_say(c, "There are no aliases%s; add one with: postamt alias add ADDRESS TARGET",
            c->args.nobjects ? " in that domain" : " yet");
    table_end(&t);
    return code;
}

enum err_code alias_remove(struct cli *c)
{
    char *question = mem_printf("Take %s away from alias %s?", c->args.object[1], c->args.object[0]);
    enum err_code code = ask_consent(c, question);

    free(question);
    return code == ERR_OK ? change(c, request_for(c), "removed") : code;
}

enum err_code alias_test(struct cli *c)
{
    static const struct column columns[] = {
        {"ADDRESS", "address", CELL_TEXT}, {"WHAT HAPPENS", "step", CELL_TEXT}};
    struct table t;
    enum err_code code;

    table_init(&t, c, columns, 2);
    code = link_directory(c, request_for(c), table_item, &t);
    table_end(&t);
    return code;
}
