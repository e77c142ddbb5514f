#include "admin/cli.h"

#include <stdio.h>

#include "admin/output.h"

const char *cli_flag(const struct cli *c, enum flag f)
{
    return c->args.flag[f];
}

/* "file:line: what; fix" as {"file","line","text","fix"} */
static json_t *complaint_item(struct slice line)
{
    ssize_t colon = slice_find(line, SLICE(": ")), number, end;
    struct slice file = colon < 0 ? SLICE("") : slice_sub(line, 0, (size_t)colon);
    struct slice text = colon < 0 ? line : slice_from(line, (size_t)colon + 2), fix = SLICE("");
    uint64_t at = 0;
    json_t *o;

    number = slice_rchr(file, ':');
    if (number > 0 && slice_u64(slice_from(file, (size_t)number + 1), INT32_MAX, &at))
        file = slice_sub(file, 0, (size_t)number);
    end = slice_find(text, SLICE("; "));
    if (end >= 0) {
        fix = slice_from(text, (size_t)end + 2);
        text = slice_sub(text, 0, (size_t)end);
    }
    o = json_pack("{s:s%,s:I,s:s%,s:s%}", "file", file.p ? file.p : "", file.n, "line", (json_int_t)at,
        "text", text.p ? text.p : "", text.n, "fix", fix.p, fix.n);
    return o ? o : json_pack("{s:s}", "text", "the file is not UTF-8");
}

static void show_complaints(const struct cli *c, struct slice complaints)
{
    struct slice line;

    while (slice_cut(&complaints, '\n', &line)) {
        if (line.n == 0)
            continue;
        if (c->json) {
            json_t *o = complaint_item(line);

            output_json(o);
            json_decref(o);
        } else {
            struct buf clean = BUF_INIT(BUF_OWN);

            output_clean(&clean, line, false);
            fprintf(stderr, "%s\n", buf_str(&clean));
            buf_free(&clean);
        }
    }
}

enum err_code cli_settings(struct cli *c)
{
    struct buf complaints = BUF_INIT(BUF_OWN);

    if (c->settings)
        return ERR_OK;
    c->settings = settings_load(c->config, &complaints);
    if (!c->settings) {
        show_complaints(c, buf_slice(&complaints));
        fault_set(&c->fault, ERR_CONFIG, NULL, "the configuration %s is wrong", c->config);
    }
    buf_free(&complaints);
    return c->settings ? ERR_OK : c->fault.code;
}
