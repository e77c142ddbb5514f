#include "mail/replies.h"

#include <string.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "mail/replies_table.h"

#define LOOK_MAX 2048

static const char *const class_names[REPLY_CLASSES] = {
    [REPLY_OTHER] = "other",
    [REPLY_GREYLIST] = "greylist",
    [REPLY_RATE] = "rate",
    [REPLY_REPUTATION] = "reputation",
    [REPLY_AUTH] = "auth",
    [REPLY_CONTENT] = "content",
    [REPLY_UNKNOWN] = "unknown",
    [REPLY_DISABLED] = "disabled",
    [REPLY_FULL] = "full",
    [REPLY_TOO_BIG] = "too-big",
    [REPLY_TLS] = "tls",
    [REPLY_POLICY] = "policy",
    [REPLY_REVERSE] = "reverse",
    [REPLY_DNS] = "dns",
    [REPLY_NETWORK] = "network",
    [REPLY_SYSTEM] = "system",
    [REPLY_PROTOCOL] = "protocol",
};

const char *replies_class_name(enum reply_class c)
{
    return (unsigned)c < REPLY_CLASSES ? class_names[c] : "other";
}

/* "d.ddd.ddd" at the start, a blank or the end behind it (RFC 3463 2, RFC 2034 4) */
static bool take_status(struct slice *s, int status[3])
{
    size_t i = 0;
    int out[3];

    for (int part = 0; part < 3; part++) {
        size_t start = i;

        out[part] = 0;
        while (i < s->n && i - start < 3 && ascii_is_digit(s->p[i]))
            out[part] = out[part] * 10 + (s->p[i++] - '0');
        if (i == start || (part < 2 && (i == s->n || s->p[i++] != '.')))
            return false;
    }
    if ((out[0] != 2 && out[0] != 4 && out[0] != 5) ||
        (i < s->n && !ascii_is_blank(s->p[i]) && s->p[i] != ':'))
        return false;
    memcpy(status, out, sizeof out);
    *s = slice_from(*s, i < s->n ? i + 1 : i);
    return true;
}

struct reply_parts replies_parse(struct slice reply)
{
    struct reply_parts p = {.text = slice_trim(slice_sub(reply, 0, LOOK_MAX))};

    if (p.text.n >= 3 && p.text.p[0] >= '2' && p.text.p[0] <= '5' && ascii_is_digit(p.text.p[1]) &&
        ascii_is_digit(p.text.p[2]) && (p.text.n == 3 || ascii_is_blank(p.text.p[3]) || p.text.p[3] == '-')) {
        p.code = (p.text.p[0] - '0') * 100 + (p.text.p[1] - '0') * 10 + (p.text.p[2] - '0');
        p.text = slice_from(p.text, 4);
    }
    take_status(&p.text, p.status);
    return p;
}

static bool is_host_of(const struct reply_host *h, struct slice host)
{
    if (slice_ends(host, SLICE(".")))
        host.n--;
    for (size_t i = 0; i < 6 && h->ends[i]; i++) {
        struct slice end = slice_str(h->ends[i]);

        /* "google.com" and "x.google.com", not "notgoogle.com" */
        if (host.n >= end.n && slice_eq_nocase(slice_from(host, host.n - end.n), end) &&
            (host.n == end.n || host.p[host.n - end.n - 1] == '.'))
            return true;
    }
    return false;
}

static enum reply_provider provider_of(struct slice host)
{
    for (int i = FROM_ANY + 1; i < FROM_PROVIDERS; i++)
        if (is_host_of(&replies_hosts[i], host))
            return (enum reply_provider)i;
    return FROM_ANY;
}

static bool fits(const struct reply_rule *r, const struct reply_parts *p, enum reply_provider from)
{
    int status_class = p->code ? p->code / 100 : p->status[0];

    if (r->from != FROM_ANY && r->from != from)
        return false;
    if (r->code && r->code != (r->code < 10 ? status_class : p->code))
        return false;
    if (r->subject != ANY &&
        (!p->status[0] || r->subject != p->status[1] || p->status[2] < r->first || p->status[2] > r->last))
        return false;
    return !r->words || slice_find_nocase(p->text, slice_str(r->words)) >= 0;
}

static const struct reply_row *row_named(const char *name)
{
    for (size_t i = 0; i < replies_nrows; i++)
        if (strcmp(replies_rows[i].name, name) == 0)
            return &replies_rows[i];
    mem_panic(name, __FILE__, __LINE__);
}

struct reply_meaning replies_explain(struct slice host, struct slice reply)
{
    struct reply_parts p = replies_parse(reply);
    enum reply_provider from = provider_of(host);
    const struct reply_rule *rule = NULL;
    const struct reply_row *row;

    for (size_t i = 0; i < replies_nrules && !rule; i++)
        if (fits(&replies_rules[i], &p, from))
            rule = &replies_rules[i];
    INVARIANT(rule); /* the last one fits all */
    row = row_named(rule->name);
    return (struct reply_meaning){
        .reply_class = row->reply_class,
        .name = row->name,
        .provider = rule->from == FROM_ANY ? "" : replies_hosts[rule->from].name,
        .is_admin = row->is_admin,
        .cause = {row->cause[REPLY_ENGLISH], row->cause[REPLY_GERMAN]},
        .fix = {row->fix[REPLY_ENGLISH], row->fix[REPLY_GERMAN]},
    };
}

static const char *const languages[REPLY_LANGUAGES] = {[REPLY_ENGLISH] = "en", [REPLY_GERMAN] = "de"};

const char *reply_language_name(enum reply_language language)
{
    return languages[language];
}

bool reply_language_parse(struct slice name, enum reply_language *out)
{
    for (unsigned i = 0; i < REPLY_LANGUAGES; i++) {
        if (!slice_eq_nocase(name, slice_str(languages[i])))
            continue;
        *out = (enum reply_language)i;
        return true;
    }
    return false;
}
