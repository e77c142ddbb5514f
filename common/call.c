#include "common/call.h"

#include <string.h>
#include <time.h>

#include "common/ascii.h"
#include "common/mem.h"

/* --- fields --- */

bool call_has(const struct call *c, const char *field)
{
    return json_object_get(c->request, field) != NULL;
}

static struct slice text_of(const json_t *v)
{
    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE("");
}

struct slice call_text(const struct call *c, const char *field)
{
    return text_of(json_object_get(c->request, field));
}

bool call_flag(const struct call *c, const char *field)
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
    return json_is_string(v) && size_of_text(text_of(v), out);
}

uint64_t call_size(const struct call *c, const char *field)
{
    uint64_t size = 0;

    return size_of_json(json_object_get(c->request, field), &size) ? size : 0;
}

size_t call_count(const struct call *c, const char *field)
{
    return json_array_size(json_object_get(c->request, field));
}

struct slice call_nth(const struct call *c, const char *field, size_t i)
{
    return text_of(json_array_get(json_object_get(c->request, field), i));
}

enum err_code call_copy(const struct call *c, const char *field, char *to, size_t size)
{
    struct slice s = call_text(c, field);

    if (s.n >= size || slice_chr(s, '\0') >= 0)
        return call_result(
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

void call_item(const struct call *c, json_t *o)
{
    struct buf text = BUF_INIT(BUF_OWN);

    write_json(o, &text);
    c->item(c->ctx, buf_slice(&text));
    buf_free(&text);
}

json_t *call_time(int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[40] = "";

    if (gmtime_r(&t, &tm))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

json_t *call_string(struct slice s)
{
    json_t *v = json_stringn(s.p ? s.p : "", s.n);

    return v ? v : json_string("?"); /* not UTF-8: nothing of ours */
}

enum err_code call_result(const struct call *c, int rc)
{
    if (rc == 0)
        return ERR_OK;
    return c->e->code == ERR_OK ? ERR_INTERNAL : c->e->code;
}

void call_end(enum err_code code, struct slice text, struct buf *out)
{
    struct slice fix = SLICE("");
    ssize_t end;

    if (code == ERR_OK) {
        buf_add_str(out, "{}");
        return;
    }
    if (text.n == 0)
        text = slice_str(err_row(code)->text);
    end = slice_chr(text, '\n') < 0 ? slice_find(text, SLICE("; ")) : -1;
    if (end >= 0) {
        fix = slice_from(text, (size_t)end + 2);
        text = slice_sub(text, 0, (size_t)end);
    }
    write_json(json_pack("{s:{s:s,s:o,s:o}}", "error", "code", err_row(code)->name, "text", call_string(text),
                   "fix", call_string(fix)),
        out);
}

/* --- requests --- */

static const struct call_verb *verb_of(const struct call_verb *table, const json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "verb"));

    for (const struct call_verb *v = table; name && v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static bool is_list(const json_t *v)
{
    const json_t *one;
    size_t i;

    if (!json_is_array(v) || json_array_size(v) > CALL_LIST_MAX)
        return false;
    json_array_foreach(v, i, one) if (!json_is_string(one)) return false;
    return true;
}

static bool has_type(const json_t *v, const struct call_field *f)
{
    uint64_t size;

    switch (f->type) {
    case CALL_TEXT:
        return json_is_string(v);
    case CALL_FLAG:
        return json_is_boolean(v);
    case CALL_SIZE:
        return size_of_json(v, &size);
    case CALL_LIST:
        return is_list(v);
    }
    return false;
}

static const struct call_field *field_of(const struct call_verb *verb, const char *name)
{
    for (const struct call_field *f = verb->fields; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static int check_fields(const struct call_verb *verb, json_t *request, struct err *e)
{
    const char *name;
    json_t *v;

    json_object_foreach(request, name, v)
    {
        const struct call_field *f = field_of(verb, name);

        if (strcmp(name, "verb") == 0 || (strcmp(name, "dry_run") == 0 && json_is_boolean(v)))
            continue;
        if (!f)
            return err_set(e, ERR_USAGE, "\"%s\" has no \"%.40s\"", verb->name, name);
        if (!has_type(v, f))
            return err_set(e, f->type == CALL_SIZE ? ERR_SYNTAX : ERR_USAGE,
                f->type == CALL_SIZE ? "the %s is not a size; write it as 500M, 2G or none"
                                     : "the %s is of the wrong type",
                f->name);
    }
    for (const struct call_field *f = verb->fields; f->name; f++)
        if (f->needed && !json_object_get(request, f->name))
            return err_set(e, ERR_USAGE, "\"%s\" needs the %s", verb->name, f->name);
    return 0;
}

const struct call_verb *call_begin(struct call *c, const struct call_verb *table, struct slice request)
{
    json_t *json =
        request.n <= CALL_REQUEST_MAX ? json_loadb(request.p, request.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const struct call_verb *verb = verb_of(table, json);

    *c->e = (struct err){0};
    c->request = json;
    if (!verb)
        err_set(c->e, ERR_USAGE, "that is no request with a verb that is known here");
    else if (check_fields(verb, json, c->e) < 0)
        verb = NULL;
    c->dry_run = verb && call_flag(c, "dry_run");
    return verb;
}

void call_finish(struct call *c)
{
    json_decref((json_t *)(uintptr_t)c->request);
    c->request = NULL;
}
