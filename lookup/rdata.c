#include "lookup/rdata.h"

#include <string.h>

#include "common/ascii.h"

#define LABEL_MAX 63
#define NAME_TEXT_MAX 253

struct name_text {
    char octets[NAME_TEXT_MAX];
    size_t n;
};

static bool add_label(struct name_text *t, struct slice label)
{
    size_t dot = t->n > 0;

    if (label.n == 0 || label.n > LABEL_MAX || t->n + dot + label.n > NAME_TEXT_MAX)
        return false;
    if (dot)
        t->octets[t->n++] = '.';
    for (size_t i = 0; i < label.n; i++) {
        char c = ascii_lower(label.p[i]);

        if (!ascii_is_alnum(c) && c != '-' && c != '_' && c != '/')
            return false;
        t->octets[t->n++] = c;
    }
    return true;
}

static bool keep(const struct name_text *t, struct arena *arena, struct slice *name)
{
    *name = arena_copy(arena, slice_of(t->octets, t->n));
    return name->p != NULL;
}

bool rdata_name(struct slice text, struct arena *arena, struct slice *name)
{
    struct name_text t = {.n = 0};
    struct slice label;

    if (slice_ends(text, SLICE(".")))
        text.n--;
    if (text.n == 0 || slice_ends(text, SLICE(".")))
        return false;
    while (slice_cut(&text, '.', &label))
        if (!add_label(&t, label))
            return false;
    return keep(&t, arena, name);
}

static bool take(struct slice *in, size_t n, struct slice *out)
{
    bool ok = in->n >= n;

    *out = slice_sub(*in, 0, n);
    *in = slice_from(*in, n);
    return ok;
}

/* A run of octets with its length before it, in one octet: a label, a string. */
static bool take_run(struct slice *in, struct slice *out)
{
    struct slice length;

    return take(in, 1, &length) && take(in, (unsigned char)length.p[0], out);
}

/* The last of the record. A label longer than 63 is a pointer, or nothing. */
static bool parse_name(struct slice wire, struct arena *arena, struct slice *name)
{
    struct name_text t = {.n = 0};
    struct slice label;

    while (take_run(&wire, &label)) {
        if (label.n == 0)
            return wire.n == 0 && keep(&t, arena, name);
        if (!add_label(&t, label))
            return false;
    }
    return false;
}

/* The strings joined, as all that we read of TXT records wants them (RFC 7208 3.3, RFC 8461 3.1). */
static bool parse_text(struct slice wire, struct arena *arena, struct slice *text)
{
    char *joined = arena_alloc(arena, wire.n);
    struct slice run;
    size_t n = 0;

    if (!joined || wire.n == 0)
        return false;
    while (wire.n) {
        if (!take_run(&wire, &run))
            return false;
        if (run.n)
            memcpy(joined + n, run.p, run.n);
        n += run.n;
    }
    *text = slice_of(joined, n);
    return true;
}

static bool parse_ip(struct slice wire, size_t n, struct dns_record *r)
{
    if (wire.n != n)
        return false;
    memcpy(r->ip, wire.p, n);
    r->ip_len = (uint8_t)n;
    return true;
}

static bool parse_tlsa(struct slice wire, struct arena *arena, struct dns_record *r)
{
    if (wire.n < 4)
        return false;
    r->usage = (uint8_t)wire.p[0];
    r->selector = (uint8_t)wire.p[1];
    r->matching = (uint8_t)wire.p[2];
    r->data = arena_copy(arena, slice_from(wire, 3));
    return r->data.p != NULL;
}

bool rdata_parse(enum dns_type type, struct slice wire, struct arena *arena, struct dns_record *r)
{
    struct slice preference;

    *r = (struct dns_record){0};
    switch (type) {
    case DNS_A:
        return parse_ip(wire, 4, r);
    case DNS_AAAA:
        return parse_ip(wire, 16, r);
    case DNS_CNAME:
    case DNS_PTR:
        return parse_name(wire, arena, &r->name);
    case DNS_MX:
        if (!take(&wire, 2, &preference))
            return false;
        r->preference = (uint16_t)((unsigned char)preference.p[0] << 8 | (unsigned char)preference.p[1]);
        return parse_name(wire, arena, &r->name);
    case DNS_TXT:
        return parse_text(wire, arena, &r->text);
    case DNS_TLSA:
        return parse_tlsa(wire, arena, r);
    }
    return false;
}

size_t rdata_add(struct dns_record *records, size_t n, size_t max, const struct dns_record *r)
{
    size_t at = n;

    while (at > 0 && records[at - 1].preference > r->preference)
        at--;
    if (at == max)
        return n;
    n = n < max ? n + 1 : max;
    memmove(records + at + 1, records + at, (n - 1 - at) * sizeof *records);
    records[at] = *r;
    return n;
}
