#include <jansson.h>
#include <string.h>

#include "auth/directory_store.h"
#include "common/mem.h"

static const char *const kinds[] = {
    [RECORD_DOMAIN] = "domain", [RECORD_ACCOUNT] = "account", [RECORD_ALIAS] = "alias"};

static void set_text(json_t *o, const char *key, struct slice s)
{
    json_t *v = json_stringn(s.p ? s.p : "", s.n);

    INVARIANT(v); /* directory.c lets only UTF-8 in */
    json_object_set_new(o, key, v);
}

static int append(const char *text, size_t n, void *ctx)
{
    buf_add(ctx, slice_of(text, n));
    return 0;
}

void record_write(const struct record *r, struct buf *out)
{
    json_t *o = json_object();

    INVARIANT(o);
    json_object_set_new(o, "generation", json_integer((json_int_t)r->generation));
    if (r->removed)
        json_object_set_new(o, "removed", json_true());
    set_text(o, kinds[r->kind], r->address);
    if (r->kind == RECORD_ALIAS)
        set_text(o, "target", r->target);
    if (r->kind == RECORD_ALIAS && !r->removed) {
        json_object_set_new(o, "deliver", json_boolean(r->deliver));
        json_object_set_new(o, "may_send", json_boolean(r->may_send));
    }
    if (r->kind == RECORD_ACCOUNT && !r->removed) {
        set_text(o, "name", r->name);
        set_text(o, "hash", r->hash);
        set_text(o, "scram", r->scram);
        json_object_set_new(o, "quota", json_integer((json_int_t)r->quota));
        json_object_set_new(o, "suspended", json_boolean(r->suspended));
        json_object_set_new(o, "language", json_string(reply_language_name(r->language)));
    }
    if (!r->removed) {
        json_object_set_new(o, "created", json_integer((json_int_t)r->created));
        json_object_set_new(o, "serial", json_integer((json_int_t)r->serial));
    }
    INVARIANT(json_dump_callback(o, append, out, JSON_COMPACT) == 0);
    json_decref(o);
}

static struct slice text_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE("");
}

static json_int_t number_of(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key)); /* 0 for what is none */
}

bool record_read(struct slice line, void **hold, struct record *out)
{
    json_t *o = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);

    *hold = o;
    *out = (struct record){0};
    if (!json_is_object(o))
        goto bad;
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (json_object_get(o, kinds[k])) {
            out->kind = (enum record_kind)k;
            out->address = text_of(o, kinds[k]);
        }
    out->removed = json_is_true(json_object_get(o, "removed"));
    out->generation = (uint64_t)number_of(o, "generation");
    out->target = text_of(o, "target");
    out->name = text_of(o, "name");
    out->hash = text_of(o, "hash");
    out->scram = text_of(o, "scram");
    out->quota = (uint64_t)number_of(o, "quota");
    out->serial = (uint64_t)number_of(o, "serial");
    out->created = number_of(o, "created");
    reply_language_parse(text_of(o, "language"), &out->language); /* the first one when there is none */
    out->suspended = json_is_true(json_object_get(o, "suspended"));
    out->deliver = json_is_true(json_object_get(o, "deliver"));
    out->may_send = json_is_true(json_object_get(o, "may_send"));
    if (out->address.n == 0 || (out->kind == RECORD_ALIAS) != (out->target.n > 0))
        goto bad;
    return true;
bad:
    record_release(o);
    *hold = NULL;
    return false;
}

void record_release(void *hold)
{
    json_decref(hold);
}
