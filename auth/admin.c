#include "auth/admin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/admin_call.h"
#include "common/ascii.h"
#include "common/mem.h"

#define REQUEST_MAX 65536

/* clang-format off */
const struct admin_verb admin_verbs[] = {
    {"domain add", {{"domain", ADMIN_TEXT, true}, {"key", ADMIN_TEXT, false}}, admin_domain_add},
    {"domain dkim", {{"domain", ADMIN_TEXT, true}, {"key", ADMIN_TEXT, false}, {"rotate", ADMIN_FLAG, false},
        {"remove", ADMIN_TEXT, false}}, admin_domain_dkim},
    {"domain dns", {{"domain", ADMIN_TEXT, true}}, admin_domain_dns},
    {"domain list", {{0}}, admin_domain_list},
    {"domain remove", {{"domain", ADMIN_TEXT, true}}, admin_domain_remove},
    {"account add", {{"address", ADMIN_TEXT, true}, {"name", ADMIN_TEXT, false}, {"password", ADMIN_TEXT, false},
        {"hash", ADMIN_TEXT, false}, {"quota", ADMIN_SIZE, false}}, admin_account_add},
    {"account list", {{"domain", ADMIN_TEXT, false}}, admin_account_list},
    {"account show", {{"address", ADMIN_TEXT, true}}, admin_account_show},
    {"account remove", {{"address", ADMIN_TEXT, true}}, admin_account_remove},
    {"account suspend", {{"address", ADMIN_TEXT, true}}, admin_account_suspend},
    {"account resume", {{"address", ADMIN_TEXT, true}}, admin_account_resume},
    {"account usage", {{"address", ADMIN_TEXT, true}, {"octets_added", ADMIN_SIZE, false},
        {"octets_removed", ADMIN_SIZE, false}, {"messages_added", ADMIN_SIZE, false},
        {"messages_removed", ADMIN_SIZE, false}}, admin_account_usage},
    {"password set", {{"address", ADMIN_TEXT, true}, {"password", ADMIN_TEXT, false}, {"hash", ADMIN_TEXT, false}},
        admin_password_set},
    {"password check", {{"address", ADMIN_TEXT, true}, {"password", ADMIN_TEXT, true}}, admin_password_check},
    {"alias add", {{"address", ADMIN_TEXT, true}, {"target", ADMIN_TEXT, true}, {"may_send", ADMIN_FLAG, false},
        {"no_delivery", ADMIN_FLAG, false}}, admin_alias_add},
    {"alias list", {{"domain", ADMIN_TEXT, false}}, admin_alias_list},
    {"alias remove", {{"address", ADMIN_TEXT, true}, {"target", ADMIN_TEXT, true}}, admin_alias_remove},
    {"alias test", {{"address", ADMIN_TEXT, true}}, admin_alias_test},
    {NULL, {{0}}, NULL},
};
/* clang-format on */

/* --- fields --- */

struct slice admin_text(const struct admin_call *c, const char *field)
{
    const json_t *v = json_object_get(c->request, field);

    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE("");
}

bool admin_flag(const struct admin_call *c, const char *field)
{
    return json_is_true(json_object_get(c->request, field));
}

/* "2G", "500M", "10k", "123456", "none" */
static bool size_of_text(struct slice s, uint64_t *out)
{
    static const char units[] = "kmgt";
    uint64_t factor = 1;
    const char *unit;

    if (slice_eq_nocase(s, SLICE("none"))) {
        *out = 0;
        return true;
    }
    if (s.n > 1 && (s.p[s.n - 1] == 'B' || s.p[s.n - 1] == 'b'))
        s.n--;
    unit = s.n ? strchr(units, ascii_lower(s.p[s.n - 1])) : NULL;
    if (unit && *unit) {
        for (const char *u = units; u <= unit; u++)
            factor *= 1024;
        s.n--;
    }
    return slice_u64(s, (uint64_t)INT64_MAX / factor, out) && !__builtin_mul_overflow(*out, factor, out);
}

static bool size_of_json(const json_t *v, uint64_t *out)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *out = (uint64_t)json_integer_value(v);
        return true;
    }
    return json_is_string(v) && size_of_text(slice_of(json_string_value(v), json_string_length(v)), out);
}

uint64_t admin_size(const struct admin_call *c, const char *field)
{
    uint64_t size = 0;

    return size_of_json(json_object_get(c->request, field), &size) ? size : 0;
}

enum err_code admin_copy(const struct admin_call *c, const char *field, char *to, size_t size)
{
    struct slice s = admin_text(c, field);

    if (s.n >= size || slice_chr(s, '\0') >= 0)
        return admin_result(
            c, err_set(c->e, ERR_SYNTAX, "the %s is too long; at most %zu octets", field, size - 1));
    if (s.n)
        memcpy(to, s.p, s.n);
    to[s.n] = '\0';
    return ERR_OK;
}

/* --- answers --- */

static int append(const char *text, size_t n, void *ctx)
{
    buf_add(ctx, slice_of(text, n));
    return 0;
}

static void write_json(json_t *o, struct buf *out)
{
    INVARIANT(o && json_dump_callback(o, append, out, JSON_COMPACT) == 0);
    json_decref(o);
}

void admin_item(const struct admin_call *c, json_t *o)
{
    struct buf text = BUF_INIT(BUF_OWN);

    write_json(o, &text);
    c->item(c->ctx, buf_slice(&text));
    buf_free(&text);
}

json_t *admin_time(int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[40] = "";

    if (gmtime_r(&t, &tm))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

json_t *admin_string(struct slice s)
{
    json_t *v = json_stringn(s.p ? s.p : "", s.n);

    return v ? v : json_string("?"); /* not UTF-8: nothing of ours */
}

enum err_code admin_result(const struct admin_call *c, int rc)
{
    if (rc == 0)
        return ERR_OK;
    return c->e->code == ERR_OK ? ERR_INTERNAL : c->e->code;
}

void admin_changed(const struct admin_call *c, const char *address)
{
    if (!c->dry_run && c->hooks && c->hooks->account_changed)
        c->hooks->account_changed(c->hooks->ctx, slice_str(address));
}

void admin_end(enum err_code code, const struct err *e, struct buf *out)
{
    struct slice text = slice_str(e && e->detail[0] ? e->detail : err_row(code)->text);
    ssize_t end = slice_find(text, SLICE("; "));
    struct slice fix = end < 0 ? SLICE("") : slice_from(text, (size_t)end + 2);

    if (code == ERR_OK) {
        buf_add_str(out, "{}");
        return;
    }
    if (end >= 0)
        text = slice_sub(text, 0, (size_t)end);
    write_json(json_pack("{s:{s:s,s:o,s:o}}", "error", "code", err_row(code)->name, "text",
                   admin_string(text), "fix", admin_string(fix)),
        out);
}

/* --- requests --- */

static const struct admin_verb *verb_of(const json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "verb"));

    for (const struct admin_verb *v = admin_verbs; name && v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static bool has_type(const json_t *v, const struct admin_field *f)
{
    uint64_t size;

    switch (f->type) {
    case ADMIN_TEXT:
        return json_is_string(v);
    case ADMIN_FLAG:
        return json_is_boolean(v);
    case ADMIN_SIZE:
        return size_of_json(v, &size);
    }
    return false;
}

static const struct admin_field *field_of(const struct admin_verb *verb, const char *name)
{
    for (const struct admin_field *f = verb->fields; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static int check_fields(const struct admin_verb *verb, json_t *request, struct err *e)
{
    const char *name;
    json_t *v;

    json_object_foreach(request, name, v)
    {
        const struct admin_field *f = field_of(verb, name);

        if (strcmp(name, "verb") == 0 || (strcmp(name, "dry_run") == 0 && json_is_boolean(v)))
            continue;
        if (!f)
            return err_set(e, ERR_USAGE, "\"%s\" has no \"%.40s\"", verb->name, name);
        if (!has_type(v, f))
            return err_set(e, f->type == ADMIN_SIZE ? ERR_SYNTAX : ERR_USAGE,
                f->type == ADMIN_SIZE ? "the %s is not a size; write it as 500M, 2G or none"
                                      : "the %s is of the wrong type",
                f->name);
    }
    for (const struct admin_field *f = verb->fields; f->name; f++)
        if (f->needed && !json_object_get(request, f->name))
            return err_set(e, ERR_USAGE, "\"%s\" needs the %s", verb->name, f->name);
    return 0;
}

enum err_code admin_handle(struct directory *d, struct slice request, const struct admin_hooks *hooks,
    void (*item)(void *ctx, struct slice json), void *ctx, struct err *e)
{
    struct err unused = {0};
    struct admin_call c = {.directory = d, .hooks = hooks, .item = item, .ctx = ctx, .e = e ? e : &unused};
    json_t *json =
        request.n <= REQUEST_MAX ? json_loadb(request.p, request.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const struct admin_verb *verb = verb_of(json);
    enum err_code code;

    *c.e = (struct err){0};
    if (!verb) {
        code = admin_result(&c, err_set(c.e, ERR_USAGE, "that is no request with a verb of the directory"));
    } else if (check_fields(verb, json, c.e) < 0) {
        code = c.e->code;
    } else {
        c.request = json;
        c.dry_run = admin_flag(&c, "dry_run");
        directory_pretend(c.dry_run);
        code = verb->run(&c);
        directory_pretend(false);
    }
    json_decref(json);
    return code;
}
