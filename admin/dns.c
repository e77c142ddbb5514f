/*
 * postamt domain dns: the records a domain needs, as a zone file, as CSV for the form of a DNS provider, as
 * JSON.
 *
 * Names stand in full; only a zone file has the dot at their end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/link.h"
#include "admin/output.h"
#include "common/mem.h"
#include "mail/dkim.h"

#define TTL 3600
#define NO_PRIORITY (-1)
#define FIELDS 5 /* of a line of CSV */

enum format { BIND, CSV, PLAIN, JSON };

struct record {
    struct slice name; /* below the domain: "_dmarc"; empty: the domain itself */
    const char *type;
    int priority;        /* MX, SRV */
    struct slice value;  /* what follows the priority; a TXT value whole and without quotes */
    const char *purpose; /* a sentence for people */
};

struct listing {
    const struct cli *cli;
    enum format format;
    struct buf domain;
    bool has_key;
};

static void full_name(const struct listing *l, const struct record *r, struct buf *out)
{
    buf_add(out, r->name);
    if (r->name.n)
        buf_add_char(out, '.');
    buf_add(out, buf_slice(&l->domain));
}

static bool is_text(const struct record *r)
{
    return strcmp(r->type, "TXT") == 0;
}

static void show_bind(const struct listing *l, const struct record *r)
{
    struct buf line = BUF_INIT(BUF_OWN);

    buf_printf(&line, "; %s\n", r->purpose);
    full_name(l, r, &line);
    buf_printf(&line, ". %d IN %s ", TTL, r->type);
    if (r->priority != NO_PRIORITY)
        buf_printf(&line, "%d ", r->priority);
    if (is_text(r)) {
        dkim_record_split(r->value, &line);
    } else {
        buf_add(&line, r->value);
        buf_add_char(&line, '.');
    }
    puts(buf_str(&line));
    buf_free(&line);
}

/* RFC 4180: quoted where it must be. With tabs nothing of ours needs it. */
static void add_field(struct buf *out, struct slice s, char between)
{
    bool quoted =
        between == ',' && (slice_chr(s, ',') >= 0 || slice_chr(s, '"') >= 0 || slice_chr(s, ' ') >= 0);

    if (quoted)
        buf_add_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (quoted && s.p[i] == '"')
            buf_add_char(out, '"');
        buf_add_char(out, s.p[i]);
    }
    if (quoted)
        buf_add_char(out, '"');
}

static void show_line(const struct listing *l, const struct record *r, char between)
{
    struct buf line = BUF_INIT(BUF_OWN), name = BUF_INIT(BUF_OWN), priority = BUF_INIT(16);
    struct slice fields[FIELDS] = {[1] = slice_str(r->type), [4] = r->value};
    char ttl[16];

    full_name(l, r, &name);
    fields[0] = buf_slice(&name);
    snprintf(ttl, sizeof ttl, "%d", TTL);
    fields[2] = slice_str(ttl);
    if (r->priority != NO_PRIORITY)
        buf_add_u64(&priority, (uint64_t)r->priority);
    fields[3] = buf_slice(&priority);
    for (size_t i = 0; i < FIELDS; i++) {
        if (i)
            buf_add_char(&line, between);
        add_field(&line, fields[i], between);
    }
    puts(buf_str(&line));
    buf_free(&line);
    buf_free(&name);
    buf_free(&priority);
}

static void show_json(const struct listing *l, const struct record *r)
{
    struct buf name = BUF_INIT(BUF_OWN), bind = BUF_INIT(BUF_OWN);
    json_t *o;

    full_name(l, r, &name);
    o = json_pack("{s:s%,s:s,s:i,s:s%,s:s}", "name", name.p, name.n, "type", r->type, "ttl", TTL, "value",
        r->value.p, r->value.n, "purpose", r->purpose);
    INVARIANT(o);
    if (r->priority != NO_PRIORITY)
        json_object_set_new(o, "priority", json_integer(r->priority));
    if (is_text(r)) { /* for forms that take no more than 255 octets at once */
        dkim_record_split(r->value, &bind);
        json_object_set_new(o, "quoted", json_stringn(bind.p, bind.n));
    }
    output_json(o);
    json_decref(o);
    buf_free(&name);
    buf_free(&bind);
}

static void show(const struct listing *l, const struct record *r)
{
    switch (l->format) {
    case BIND:
        show_bind(l, r);
        break;
    case CSV:
        show_line(l, r, ',');
        break;
    case PLAIN:
        show_line(l, r, '\t');
        break;
    case JSON:
        show_json(l, r);
        break;
    }
}

static struct slice text_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE("");
}

static void show_mail(const struct listing *l)
{
    show(l, &(struct record){.type = "MX",
                .priority = 10,
                .value = slice_str(l->cli->settings->hostname),
                .purpose = "mail for the domain comes to this server"});
    show(l, &(struct record){.type = "TXT",
                .priority = NO_PRIORITY,
                .value = SLICE("v=spf1 mx -all"),
                .purpose = "SPF: only the servers of its MX record send mail of the domain"});
}

static void show_policy(const struct listing *l)
{
    struct buf value = BUF_INIT(BUF_OWN);

    buf_printf(&value, "v=DMARC1; p=none; rua=mailto:postmaster@%.*s", SLICE_FMT(buf_slice(&l->domain)));
    show(l, &(struct record){.name = SLICE("_dmarc"),
                .type = "TXT",
                .priority = NO_PRIORITY,
                .value = buf_slice(&value),
                .purpose =
                    "DMARC: reports go to postmaster; when they have shown nothing foreign for some weeks, "
                    "write p=quarantine, later p=reject"});
    buf_free(&value);
}

/* RFC 6186, 8314: a mail program that knows only the address finds the ports; fewer is preferred. */
static void show_service(const struct listing *l, const char *name, enum service service, int priority,
    unsigned standard, const char *purpose)
{
    const struct settings *s = l->cli->settings;
    struct buf value = BUF_INIT(BUF_OWN);
    unsigned port;
    size_t i = 0;

    while (i < s->nlisteners && (s->listeners[i].service != service || s->listeners[i].tls != LISTENER_TLS))
        i++;
    if (i == s->nlisteners)
        return;
    port = s->listeners[i].port ? s->listeners[i].port : standard;
    buf_printf(&value, "1 %u %s", port, s->hostname);
    show(l, &(struct record){.name = slice_str(name),
                .type = "SRV",
                .priority = priority,
                .value = buf_slice(&value),
                .purpose = purpose});
    buf_free(&value);
}

/* The first item names the domain, the others are its keys. */
static void on_item(void *ctx, struct slice json)
{
    struct listing *l = ctx;
    json_t *o = json_loadb(json.p ? json.p : "", json.n, 0, NULL);
    struct slice selector = text_of(o, "selector");
    char *name;

    if (l->domain.n == 0) {
        buf_add(&l->domain, text_of(o, "domain"));
        if (l->format == CSV)
            puts("name,type,ttl,priority,value");
        show_mail(l);
    }
    if (selector.n) {
        name = mem_printf("%.*s._domainkey", SLICE_FMT(selector));
        show(l, &(struct record){.name = slice_str(name),
                    .type = "TXT",
                    .priority = NO_PRIORITY,
                    .value = text_of(o, "record"),
                    .purpose = "DKIM: the public key that mail of the domain is signed with"});
        free(name);
        l->has_key = true;
    }
    json_decref(o);
}

static bool format_of(struct cli *c, enum format *out)
{
    static const char *const names[] = {[BIND] = "bind", [CSV] = "csv", [JSON] = "json"};
    const char *word = cli_flag(c, FLAG_FORMAT);

    *out = c->json ? JSON : c->plain ? PLAIN : BIND;
    for (size_t i = 0; word && i < sizeof names / sizeof *names; i++)
        if (names[i] && strcmp(word, names[i]) == 0) {
            *out = c->json ? JSON : (enum format)i;
            return true;
        }
    return !word;
}

enum err_code domain_dns(struct cli *c)
{
    struct listing l = {.cli = c, .domain = BUF_INIT(BUF_OWN)};
    enum err_code code;
    json_t *request;

    if (!format_of(c, &l.format))
        return fault_set(&c->fault, ERR_USAGE, "write bind, csv or json", "there is no format \"%s\"",
            cli_flag(c, FLAG_FORMAT));
    c->json = l.format == JSON; /* errors and talk, too */
    request = link_request(c);
    json_object_set_new(request, "domain", json_string(c->args.object[0]));
    code = link_directory(c, request, on_item, &l);
    if (code == ERR_OK && l.domain.n) {
        show_policy(&l);
        show_service(&l, "_submissions._tcp", SERVICE_SUBMISSION, 0, 465, "mail programs send here");
        show_service(&l, "_imaps._tcp", SERVICE_IMAP, 0, 993, "mail programs read here");
        show_service(&l, "_pop3s._tcp", SERVICE_POP3, 10, 995, "mail programs that fetch, by POP3");
        if (!l.has_key)
            output_say(c, "There is no DKIM key; make one with: postamt domain dkim %s", c->args.object[0]);
    }
    buf_free(&l.domain);
    return code;
}
