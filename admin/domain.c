/* postamt domain: the domains this server takes mail for. */
#include "admin/ask.h"
#include "admin/link.h"
#include "admin/output.h"
#include "common/mem.h"

#include <stdlib.h>

static json_t *request_for(const struct cli *c)
{
    json_t *request = link_request(c);

    json_object_set_new(request, "domain", json_string(c->args.object[0]));
    return request;
}

enum err_code domain_add(struct cli *c)
{
    return link_change(c, request_for(c), c->args.object[0], "added", NULL);
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
