#include "common/settings.h"

#include <fcntl.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "common/settings_table.h"

#define TEXT_MAX ((size_t)1 << 20)
#define LIST_MAX 64
#define ROUTES_MAX 1000
#define BACKUPS_MAX 1000

static bool is_list(int type)
{
    return type == CONFIG_TYPE_LIST || type == CONFIG_TYPE_ARRAY;
}

static void walk_listeners(struct settings_walk *w, const config_setting_t *list, size_t row);
static void walk_certificates(struct settings_walk *w, const config_setting_t *list, size_t row);
static void walk_routes(struct settings_walk *w, const config_setting_t *list, size_t row);
static void walk_backups(struct settings_walk *w, const config_setting_t *list, size_t row);

typedef void list_walker(struct settings_walk *w, const config_setting_t *list, size_t row);

static list_walker *walker_of(enum settings_kind kind)
{
    switch (kind) {
    case LISTENERS:
        return walk_listeners;
    case CERTIFICATES:
        return walk_certificates;
    case ROUTES:
        return walk_routes;
    case BACKUPS:
        return walk_backups;
    default:
        return NULL;
    }
}

static void set_value(struct settings_walk *w, size_t row, void *base, const config_setting_t *v)
{
    const struct settings_rule *r = &settings_rule[row];
    unsigned line = config_setting_source_line(v);
    int type = config_setting_type(v);
    const char *name = settings_row[row].name;

    if (walker_of(r->kind)) {
        if (!is_list(type))
            SETTINGS_COMPLAIN(w, line, "%s is a list; write %s = ( { .. }, { .. } );", name, name);
        else
            walker_of(r->kind)(w, v, row);
        return;
    }
    if (type == CONFIG_TYPE_STRING) {
        settings_set(w, row, base, slice_str(config_setting_get_string(v)), line);
    } else if (type == CONFIG_TYPE_BOOL && r->kind == YES_NO) {
        settings_set(w, row, base, config_setting_get_bool(v) ? SLICE("yes") : SLICE("no"), line);
    } else if ((type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64) && r->kind == NUMBER) {
        char text[24];
        snprintf(text, sizeof(text), "%lld", config_setting_get_int64(v));
        if (text[0] == '-')
            SETTINGS_COMPLAIN(w, line, "%s is %s; it must be between %s and %s", name, text,
                settings_show_number(r, r->least).z, settings_show_number(r, r->most).z);
        else
            settings_set(w, row, base, slice_str(text), line);
    } else if (r->kind == SIZE || r->kind == TIME) {
        SETTINGS_COMPLAIN(w, line, "%s is a %s with its unit; write it in quotes, such as \"%s\"", name,
            settings_row[row].type, settings_row[row].standard);
    } else if (r->kind == NUMBER) {
        SETTINGS_COMPLAIN(w, line, "%s is a number; write one between %s and %s", name,
            settings_show_number(r, r->least).z, settings_show_number(r, r->most).z);
    } else if (r->kind == YES_NO) {
        SETTINGS_COMPLAIN(w, line, "%s is true or false; write one of them", name);
    } else {
        SETTINGS_COMPLAIN(w, line, "%s is a text; write it in quotes", name);
    }
}

/* Settings of one group into base. Groups nest as deep as names have dots: two. */
static void walk_group(struct settings_walk *w, const config_setting_t *group, struct slice prefix,
    enum settings_scope scope, void *base)
{
    int n = config_setting_length(group);

    for (int i = 0; i < n; i++) {
        const config_setting_t *v = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(v);
        unsigned line = config_setting_source_line(v);
        size_t row = 0, below = SETTINGS_ROW_COUNT;
        struct slice key = slice_str(name);

        for (; row < SETTINGS_ROW_COUNT; row++) {
            struct slice full = slice_str(settings_row[row].name);
            if (!slice_eq(settings_name_below(settings_row[row].name, prefix), key))
                continue;
            if (full.n == prefix.n + (prefix.n > 0) + key.n)
                break;
            below = below == SETTINGS_ROW_COUNT ? row : below;
        }
        if (row < SETTINGS_ROW_COUNT) {
            if (settings_rule[row].scope == scope) {
                w->line[row] = line;
                set_value(w, row, base, v);
            }
        } else if (below == SETTINGS_ROW_COUNT) {
            settings_unknown(w, prefix, name, line);
        } else if (config_setting_type(v) != CONFIG_TYPE_GROUP) {
            struct slice inner = settings_name_below(settings_row[below].name, key);
            SETTINGS_COMPLAIN(
                w, line, "%s is a group; write %s = { %.*s = ..; };", name, name, SLICE_FMT(inner));
        } else {
            walk_group(
                w, v, key, scope, base); /* below the root only: no name there has a third part in scope */
        }
    }
}

/* ---- lists ---- */

/* How many entries a list has; -1 when there are too many. */
static int list_length(struct settings_walk *w, const config_setting_t *list, size_t row, int most)
{
    int n = config_setting_length(list);

    if (n <= most)
        return n;
    SETTINGS_COMPLAIN(w, config_setting_source_line(list), "%s has %d entries; %d is the most",
        settings_row[row].name, n, most);
    return -1;
}

/* Entry i of a list into base; its line, or 0 when something was complained of. */
static unsigned walk_entry(struct settings_walk *w, const config_setting_t *list, int i, size_t row,
    enum settings_scope scope, void *base, const char *example)
{
    const config_setting_t *v = config_setting_get_elem(list, (unsigned)i);
    unsigned line = config_setting_source_line(v);
    size_t before = w->complaints;

    if (config_setting_type(v) != CONFIG_TYPE_GROUP)
        SETTINGS_COMPLAIN(w, line, "an entry of %s is written %s", settings_row[row].name, example);
    else
        walk_group(w, v, slice_str(settings_row[row].name), scope, base);
    return w->complaints == before ? line : 0;
}

static void walk_routes(struct settings_walk *w, const config_setting_t *list, size_t row)
{
    int n = list_length(w, list, row, ROUTES_MAX);

    if (n <= 0)
        return;
    w->s->routes = mem_zalloc((size_t)n, sizeof(*w->s->routes));
    for (int i = 0; i < n; i++) {
        struct route_rule *r = &w->s->routes[w->s->nroutes++];
        unsigned line = walk_entry(
            w, list, i, row, IN_ROUTE, r, "{ to = \"example.org\"; host = \"smtp.example.net\"; }");

        if (line == 0)
            continue;
        if (!r->host && r->tls != ROUTE_TLS_REQUIRED)
            SETTINGS_COMPLAIN(w, line,
                "this route has no host and changes nothing; write host = \"..\", or tls = \"required\" to "
                "ask TLS of the domain's own servers");
        if (!r->host && (r->port || r->user))
            SETTINGS_COMPLAIN(w, line, "port and user belong to a host; write host = \"..\" in this route");
        if (!r->user != !r->password_file)
            SETTINGS_COMPLAIN(w, line, "user and password_file belong together; write both");
        if (r->user && (r->tls == ROUTE_TLS_OPPORTUNISTIC || r->tls == ROUTE_TLS_NONE))
            SETTINGS_COMPLAIN(w, line,
                "the password would go to whoever answers; write tls = \"required\" or \"implicit\"");
    }
}

static void walk_backups(struct settings_walk *w, const config_setting_t *list, size_t row)
{
    int n = list_length(w, list, row, BACKUPS_MAX);

    if (n <= 0)
        return;
    w->s->backups = mem_zalloc((size_t)n, sizeof(*w->s->backups));
    for (int i = 0; i < n; i++) {
        struct backup_domain *b = &w->s->backups[w->s->nbackups++];
        unsigned line = walk_entry(w, list, i, row, IN_BACKUP, b, "{ domain = \"example.org\"; }");

        if (line && !b->domain)
            SETTINGS_COMPLAIN(w, line, "this entry names no domain; write domain = \"..\"");
    }
}

static void walk_certificates(struct settings_walk *w, const config_setting_t *list, size_t row)
{
    int n = list_length(w, list, row, LIST_MAX);

    if (n > 0)
        w->s->certificates = mem_zalloc((size_t)n, sizeof(*w->s->certificates));
    for (int i = 0; i < n; i++) {
        struct certificate *c = &w->s->certificates[w->s->ncertificates++];
        unsigned line = walk_entry(w, list, i, row, IN_CERTIFICATE, c, "{ chain = \"/..\"; key = \"/..\"; }");

        if (line == 0)
            continue;
        if (c->chain == NULL || c->key == NULL) {
            SETTINGS_COMPLAIN(w, line, "this certificate has no %s; write %s = \"/..\"",
                c->chain == NULL ? "chain" : "key", c->chain == NULL ? "chain" : "key");
            continue;
        }
        for (size_t j = 0; j + 1 < w->s->ncertificates; j++) {
            const char *other = w->s->certificates[j].chain;
            if (other != NULL && strcmp(other, c->chain) == 0) {
                SETTINGS_COMPLAIN(w, line, "the certificate %s stands here twice; take one out",
                    settings_quote(slice_str(c->chain)).z);
                break;
            }
        }
    }
}

/* The kernel would refuse the second: the same port, and one address is the other or all of its family. */
static bool ports_clash(const struct listener *a, const struct listener *b)
{
    static const unsigned char any[16];
    unsigned char ip_a[16], ip_b[16];

    if (a->port != b->port || a->port == 0)
        return false;
    int n = settings_parse_ip(a->address, ip_a), m = settings_parse_ip(b->address, ip_b);
    if (n == 0 || m == 0)
        return true;
    return n == m && n > 0 &&
           (memcmp(ip_a, ip_b, (size_t)n) == 0 || memcmp(ip_a, any, (size_t)n) == 0 ||
               memcmp(ip_b, any, (size_t)n) == 0);
}

static bool standard_port(struct listener *l)
{
    for (size_t i = 0; i < SETTINGS_STANDARD_PORTS; i++) {
        const struct listener *s = &settings_standard_ports[i];
        if (s->service == l->service &&
            (s->tls == l->tls || (l->tls == LISTENER_NO_TLS && s->tls == LISTENER_STARTTLS))) {
            l->port = s->port;
            return true;
        }
    }
    return false;
}

static void check_listener(
    struct settings_walk *w, struct listener *l, const config_setting_t *v, unsigned line)
{
    const char *service = settings_services[l->service];
    const char *tls = settings_tls_names[l->tls];

    if (l->address == NULL)
        l->address = mem_strdup("*");
    bool has_port = config_setting_get_member(v, "port") != NULL;
    bool tls_port = has_port && (l->port == 465 || l->port == 993 || l->port == 995);
    if (config_setting_get_member(v, "tls") == NULL) {
        l->tls = tls_port ? LISTENER_TLS : LISTENER_STARTTLS;
    } else if (tls_port && l->tls != LISTENER_TLS) {
        SETTINGS_COMPLAIN(w, line,
            "mail programs expect TLS from the first octet on port %u; write tls = \"tls\" or another port",
            l->port);
        return;
    }
    if (!has_port && !standard_port(l)) {
        SETTINGS_COMPLAIN(
            w, line, "%s with tls = \"%s\" has no port of its own; write port = ..", service, tls);
        return;
    }
    if (l->tls == LISTENER_NO_TLS && !l->plain_login && l->service != SERVICE_SMTP)
        SETTINGS_COMPLAIN(w, line,
            "nobody could log in at this %s port; write tls = \"starttls\", or plain_login = true for a "
            "trusted network",
            service);
}

static void walk_listeners(struct settings_walk *w, const config_setting_t *list, size_t row)
{
    int n = list_length(w, list, row, LIST_MAX);
    unsigned lines[LIST_MAX] = {0};
    struct settings *s = w->s;

    if (n == 0)
        SETTINGS_COMPLAIN(w, config_setting_source_line(list),
            "listen is empty, so no port would be open; leave it out for the standard ports");
    if (n <= 0)
        return;
    s->listeners = mem_zalloc((size_t)n, sizeof(*s->listeners));
    for (int i = 0; i < n; i++) {
        const config_setting_t *v = config_setting_get_elem(list, (unsigned)i);
        struct listener *l = &s->listeners[s->nlisteners++];
        size_t before = w->complaints;
        unsigned line = lines[i] =
            walk_entry(w, list, i, row, IN_LISTENER, l, "{ service = \"imap\"; port = 143; }");
        if (line == 0)
            continue;
        if (config_setting_get_member(v, "service") == NULL) {
            SETTINGS_COMPLAIN(w, line,
                "this listener has no service; write service = \"imap\", \"pop3\", \"smtp\" or "
                "\"submission\"");
            continue;
        }
        check_listener(w, l, v, line);
        for (size_t j = 0; w->complaints == before && j + 1 < s->nlisteners; j++) {
            if (s->listeners[j].address != NULL && ports_clash(&s->listeners[j], l))
                SETTINGS_COMPLAIN(w, line,
                    "port %u is taken by the listener of line %u; give one of them another port or address",
                    l->port, lines[j]);
        }
    }
}

/* ---- what no single value shows ---- */

static bool is_inside(struct slice inner, struct slice outer)
{
    return slice_starts(inner, outer) && (inner.n == outer.n || outer.n == 1 || inner.p[outer.n] == '/');
}

/* The folders have different owners and rights: none may be another or lie in it. */
static void check_paths(struct settings_walk *w)
{
    for (size_t i = 0; i < SETTINGS_ROW_COUNT; i++) {
        if (settings_rule[i].kind != PATH || settings_rule[i].scope != IN_SETTINGS)
            continue;
        struct slice a = slice_str(*(char **)((char *)w->s + settings_rule[i].offset));
        for (size_t j = 0; j < i; j++) {
            if (settings_rule[j].kind != PATH || settings_rule[j].scope != IN_SETTINGS)
                continue;
            struct slice b = slice_str(*(char **)((char *)w->s + settings_rule[j].offset));
            unsigned line = w->line[i] > w->line[j] ? w->line[i] : w->line[j];
            if (slice_eq(a, b))
                SETTINGS_COMPLAIN(w, line, "%s and %s are the same folder; give each its own",
                    settings_row[j].name, settings_row[i].name);
            else if (is_inside(a, b) || is_inside(b, a))
                SETTINGS_COMPLAIN(w, line, "%s lies inside %s; put them side by side",
                    is_inside(a, b) ? settings_row[i].name : settings_row[j].name,
                    is_inside(a, b) ? settings_row[j].name : settings_row[i].name);
        }
    }
}

static void own_name(struct settings_walk *w)
{
    char name[256] = "";

    if (gethostname(name, sizeof(name) - 1) != 0)
        name[0] = '\0';
    if (settings_is_host(slice_str(name)))
        w->s->hostname = mem_strdup(name);
    else
        SETTINGS_COMPLAIN(w, 1,
            "hostname is not set and the machine's own name (%s) is no full one; write hostname = "
            "\"mail.example.org\";",
            settings_quote(slice_str(name)).z);
}

static void add_standard_listeners(struct settings *s)
{
    s->nlisteners = SETTINGS_STANDARD_PORTS;
    s->listeners = mem_zalloc(SETTINGS_STANDARD_PORTS, sizeof(*s->listeners));
    for (size_t i = 0; i < SETTINGS_STANDARD_PORTS; i++) {
        s->listeners[i] = settings_standard_ports[i];
        s->listeners[i].address = mem_strdup("*");
    }
}

static bool walk_text(struct settings_walk *w, const config_t *c)
{
    settings_add_standards(w);
    walk_group(w, config_root_setting(c), SLICE(""), IN_SETTINGS, w->s);
    if (w->s->hostname == NULL && w->complaints == 0)
        own_name(w);
    if (w->s->nlisteners == 0 && w->complaints == 0)
        add_standard_listeners(w->s);
    if (w->complaints == 0)
        check_paths(w);
    return w->complaints == 0;
}

struct settings *settings_parse(struct slice text, const char *file, struct buf *complaints)
{
    struct settings_walk w = {.file = file, .out = complaints};
    config_t c;

    if (text.n > TEXT_MAX) {
        settings_complain(
            complaints, file, 1, "the file has more than %zu octets; it is not a configuration", TEXT_MAX);
        return NULL;
    }
    if (!settings_scan(text, file, complaints))
        return NULL;
    char *z = slice_dup(text); /* without NUL: the scan refuses it */
    INVARIANT(z != NULL);
    w.s = mem_zalloc(1, sizeof(*w.s));
    w.s->text = z;
    config_init(&c);
    bool good;
    if (config_read_string(&c, z) == CONFIG_TRUE) {
        good = walk_text(&w, &c);
    } else {
        settings_complain(complaints, file, (unsigned)config_error_line(&c),
            "%s; settings are written name = value; with texts in quotes, groups in { }, lists in ( ), and "
            "no name twice",
            config_error_text(&c));
        good = false;
    }
    config_destroy(&c);
    if (good)
        return w.s;
    settings_free(w.s);
    return NULL;
}

struct settings *settings_load(const char *file, struct buf *complaints)
{
    struct buf text = BUF_INIT(TEXT_MAX + 1);
    struct settings *s = NULL;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        settings_complain(
            complaints, file, 1, "the file cannot be opened: %m; make it, or name another by --config");
    else if (fs_read_all(fd, &text, TEXT_MAX + 1) != 0)
        settings_complain(complaints, file, 1, "the file cannot be read: %m");
    else
        s = settings_parse(buf_slice(&text), file, complaints);
    if (fd >= 0)
        close(fd);
    buf_free(&text);
    return s;
}

void settings_free(struct settings *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < SETTINGS_ROW_COUNT; i++) {
        enum settings_kind k = settings_rule[i].kind;
        if (settings_rule[i].scope == IN_SETTINGS &&
            (k == HOST || k == PATH || k == LOG_TO || k == CHOICE || k == TEXT || k == SERVER))
            free(*(char **)((char *)s + settings_rule[i].offset));
    }
    for (size_t i = 0; i < s->ncertificates; i++) {
        free(s->certificates[i].chain);
        free(s->certificates[i].key);
    }
    for (size_t i = 0; i < s->nlisteners; i++)
        free(s->listeners[i].address);
    for (size_t i = 0; i < s->nroutes; i++) {
        free(s->routes[i].from);
        free(s->routes[i].to);
        free(s->routes[i].host);
        free(s->routes[i].user);
        free(s->routes[i].password_file);
    }
    for (size_t i = 0; i < s->nbackups; i++)
        free(s->backups[i].domain);
    free(s->routes);
    free(s->backups);
    free(s->certificates);
    free(s->listeners);
    free(s->text);
    free(s);
}
