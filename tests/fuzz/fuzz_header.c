/* A whole header: each field's value goes through every reader there is; nothing they give holds CR, LF or
 * NUL. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/mem.h"
#include "mail/header.h"
#include "mail/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_line(struct slice s)
{
    INVARIANT(slice_chr(s, '\r') < 0 && slice_chr(s, '\n') < 0 && slice_chr(s, '\0') < 0);
}

static void check_addresses(struct slice value, struct arena *arena)
{
    bool in_group = false;

    for (struct header_address *a = header_addresses(value, arena); a; a = a->next) {
        one_line(a->name);
        one_line(a->route);
        one_line(a->local);
        one_line(a->domain);
        if (!a->local.p) {
            INVARIANT(in_group && !a->domain.p);
            in_group = false;
        } else if (!a->domain.p) {
            INVARIANT(!in_group && a->local.n > 0);
            in_group = true;
        }
    }
    INVARIANT(!in_group);
}

static void check_content(struct slice value, struct arena *arena)
{
    struct header_content c;
    size_t n = 0;

    if (!header_content(value, arena, &c))
        return;
    INVARIANT(c.type.n > 0);
    one_line(c.type);
    one_line(c.subtype);
    for (struct header_param *p = c.params; p; p = p->next, n++) {
        INVARIANT(p->name.n > 0);
        one_line(p->name);
        one_line(p->value);
        INVARIANT(header_param_get(&c, p->name).p == p->value.p);
    }
    INVARIANT(n <= HEADER_PARAMS_MAX);
}

static void check_date(struct slice value)
{
    struct buf text = BUF_INIT(100);
    int64_t utc, again;
    int zone, zone_again;

    if (!header_date(value, &utc, &zone))
        return;
    header_date_format(&text, utc, zone);
    INVARIANT(header_date(buf_slice(&text), &again, &zone_again));
    INVARIANT(zone == zone_again);
    /* years 0 and 10000 by zone are not written as such */
    if (utc > INT64_C(-62135500000) && utc < INT64_C(253402200000))
        INVARIANT(utc == again);
    buf_free(&text);
}

static void check_write(const struct header_field *f)
{
    struct buf out = BUF_INIT(BUF_OWN);
    struct header_field back;
    struct slice rest;

    if (header_write(&out, f->name, f->value)) {
        rest = buf_slice(&out);
        INVARIANT(header_next(&rest, &back) && rest.n == 0);
        INVARIANT(slice_eq(back.name, f->name));
    } else {
        INVARIANT(out.n == 0);
    }
    buf_free(&out);
}

static void check_value(struct slice value, struct arena *arena)
{
    struct slice rest = value, id, text;
    bool is_reply;

    one_line(header_unfold(value, arena));
    one_line(header_tokens(value, arena));
    while (header_msgid_next(&rest, &id)) {
        one_line(id);
        INVARIANT(id.n > 2 && id.p[0] == '<' && id.p[id.n - 1] == '>');
    }
    INVARIANT(rest.n == 0);
    text = header_base_subject(value, arena, &is_reply);
    INVARIANT(text.n <= value.n && slice_chr(text, '\n') < 0);
    check_addresses(value, arena);
    check_content(value, arena);
    check_date(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size), rest = text;
    struct trace_range ranges[4];
    struct header_field f;
    struct arena arena;
    size_t seen = 0, forged;

    arena_init(&arena, (size_t)8 << 20);
    check_value(text, &arena);
    while (header_next(&rest, &f)) {
        INVARIANT(f.raw.n > 0 && f.raw.p == text.p + seen);
        seen += f.raw.n;
        arena_reset(&arena);
        check_value(f.value, &arena);
        check_write(&f);
    }
    INVARIANT(seen + rest.n == size && header_size(text) - seen <= 2);
    forged = trace_forged(text, SLICE("mx.example.org"), ranges, 4);
    for (size_t i = 0; i < forged && i < 4; i++)
        INVARIANT(ranges[i].len > 0 && ranges[i].offset + ranges[i].len <= seen);
    arena_free(&arena);
    return 0;
}
