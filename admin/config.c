/* postamt config: the configuration file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/link.h"
#include "admin/output.h"
#include "common/ascii.h"
#include "common/mem.h"

/* --- check --- */

enum err_code config_check(struct cli *c)
{
    enum err_code code = cli_settings(c);
    json_t *o;

    if (code != ERR_OK)
        return code;
    if (!c->json) {
        printf(
            "%s: good (%zu ports, mail in %s)\n", c->config, c->settings->nlisteners, c->settings->mail_dir);
        return ERR_OK;
    }
    o = json_pack(
        "{s:s,s:b,s:I}", "file", c->config, "good", 1, "listeners", (json_int_t)c->settings->nlisteners);
    INVARIANT(o);
    output_json(o);
    json_decref(o);
    return ERR_OK;
}

/* --- describe --- */

static void describe(const struct cli *c, const struct setting_row *row)
{
    json_t *o;

    if (!c->json && !c->plain) {
        printf("%s\n    %s; default: %s\n    %s\n", row->name, row->type,
            *row->standard ? row->standard : "none", row->help);
        return;
    }
    if (c->plain) {
        printf("%s\t%s\t%s\t%s\n", row->name, row->type, row->standard, row->help);
        return;
    }
    o = json_pack("{s:s,s:s,s:s,s:s}", "name", row->name, "type", row->type, "default", row->standard, "help",
        row->help);
    INVARIANT(o);
    output_json(o);
    json_decref(o);
}

/* The setting itself, or one of its group ("limits" of "limits.message_size"). */
static bool is_wanted(const char *name, const char *wanted)
{
    struct slice n = slice_str(name), w = slice_str(wanted);

    return w.n == 0 || slice_eq(n, w) || (slice_starts(n, w) && n.p[w.n] == '.');
}

enum err_code config_describe(struct cli *c)
{
    const char *wanted = c->args.nobjects ? c->args.object[0] : "";
    const struct setting_row *rows;
    size_t n = settings_rows(&rows), shown = 0;
    const char **names = mem_zalloc(n, sizeof *names), *meant;
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < n; i++) {
        names[i] = rows[i].name;
        if (!is_wanted(rows[i].name, wanted))
            continue;
        describe(c, &rows[i]);
        shown++;
    }
    if (!shown) {
        char fix[160] = "see: postamt config describe";

        meant = args_nearest(wanted, names, n);
        if (meant)
            snprintf(fix, sizeof fix, "did you mean \"%s\"?", meant);
        code = fault_set(&c->fault, ERR_USAGE, fix, "there is no setting \"%.80s\"", wanted);
    }
    free(names);
    return code;
}

/* --- diff, reload --- */

enum err_code config_diff(struct cli *c)
{
    struct buf out = BUF_INIT(BUF_OWN);
    struct slice rest, line;
    enum err_code code = cli_settings(c);

    if (code != ERR_OK)
        return code;
    settings_diff(c->settings, &out);
    rest = buf_slice(&out);
    while (slice_cut(&rest, '\n', &line)) {
        ssize_t eq = slice_find(line, SLICE(" = "));
        struct slice name = eq < 0 ? line : slice_sub(line, 0, (size_t)eq);
        struct slice value = eq < 0 ? SLICE("") : slice_from(line, (size_t)eq + 3);
        json_t *o;

        if (line.n == 0)
            continue;
        if (c->json) {
            o = json_pack("{s:s%,s:s%}", "name", name.p, name.n, "value", value.p, value.n);
            if (o)
                output_json(o);
            json_decref(o);
        } else {
            struct buf clean = BUF_INIT(BUF_OWN);

            output_clean(&clean, name, false);
            buf_add_str(&clean, c->plain ? "\t" : " = ");
            output_clean(&clean, value, false);
            puts(buf_str(&clean));
            buf_free(&clean);
        }
    }
    buf_free(&out);
    return ERR_OK;
}

static void ignore(void *ctx, struct slice json)
{
    (void)ctx, (void)json;
}

enum err_code config_reload(struct cli *c)
{
    enum err_code code = cli_settings(c); /* a mistake is told here, with all its lines */

    if (code != ERR_OK)
        return code;
    if (cli_flag(c, FLAG_DRY_RUN)) {
        if (c->json)
            puts("{\"reloaded\":false,\"dry_run\":true}");
        output_say(c, "%s is good; the server was not told", c->config);
        return ERR_OK;
    }
    code = link_master(c, link_request(c), ignore, NULL);
    if (code == ERR_CONFIG && strstr(c->fault.text, "systemctl restart"))
        return fault_set(&c->fault, ERR_CONFIG, "systemctl restart postamt",
            "the file is good, but a change of paths, sandbox, listen, fronts or delivers needs a restart");
    if (code == ERR_OK && c->json)
        puts("{\"reloaded\":true}");
    if (code == ERR_OK)
        output_say(c, "the server uses %s as it is now", c->config);
    return code;
}
