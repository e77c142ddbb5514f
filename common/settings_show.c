#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/settings_table.h"

static void show_quoted(struct buf *out, const char *z)
{
    buf_add_char(out, '"');
    for (; *z != '\0'; z++) {
        if (*z == '"' || *z == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *z);
    }
    buf_add_char(out, '"');
}

static void show_lists(const struct settings *s, struct buf *certificates, struct buf *listeners)
{
    for (size_t i = 0; i < s->ncertificates; i++) {
        buf_add_str(certificates, i > 0 ? ", { chain = " : "{ chain = ");
        show_quoted(certificates, s->certificates[i].chain);
        buf_add_str(certificates, "; key = ");
        show_quoted(certificates, s->certificates[i].key);
        buf_add_str(certificates, "; }");
    }
    for (size_t i = 0; i < s->nlisteners; i++) {
        const struct listener *l = &s->listeners[i];
        buf_printf(listeners,
            "%s{ service = \"%s\"; tls = \"%s\"; address = \"%s\"; port = %u; plain_login = %s; }",
            i > 0 ? ", " : "", settings_services[l->service], settings_tls_names[l->tls], l->address, l->port,
            l->plain_login ? "true" : "false");
    }
}

static void show_text(struct buf *out, const char *name, const char *z)
{
    if (!z)
        return;
    buf_printf(out, " %s = ", name);
    show_quoted(out, z);
    buf_add_char(out, ';');
}

static void show_routes(const struct settings *s, struct buf *out)
{
    for (size_t i = 0; i < s->nroutes; i++) {
        const struct route_rule *r = &s->routes[i];

        buf_add_str(out, i > 0 ? ", {" : "{");
        show_text(out, "from", r->from);
        show_text(out, "to", r->to);
        show_text(out, "host", r->host);
        if (r->port)
            buf_printf(out, " port = %u;", r->port);
        show_text(out, "tls", settings_route_tls_names[r->tls]);
        show_text(out, "user", r->user);
        show_text(out, "password_file", r->password_file);
        buf_add_str(out, " }");
    }
}

static void show_backups(const struct settings *s, struct buf *out)
{
    for (size_t i = 0; i < s->nbackups; i++) {
        buf_add_str(out, i > 0 ? ", {" : "{");
        show_text(out, "domain", s->backups[i].domain);
        buf_add_str(out, " }");
    }
}

static bool listeners_are_standard(const struct settings *s)
{
    if (s->nlisteners != SETTINGS_STANDARD_PORTS)
        return false;
    for (size_t i = 0; i < SETTINGS_STANDARD_PORTS; i++) {
        const struct listener *a = &s->listeners[i], *b = &settings_standard_ports[i];
        if (a->service != b->service || a->tls != b->tls || a->port != b->port || a->plain_login ||
            strcmp(a->address, "*") != 0)
            return false;
    }
    return true;
}

/* As it is written in the file, without quotes. */
static void show_value(const struct settings *s, size_t row, struct buf *out)
{
    const void *at = (const char *)s + settings_rule[row].offset;
    uint64_t wide;
    unsigned number;

    switch (settings_rule[row].kind) {
    case SIZE:
    case TIME:
        memcpy(&wide, at, sizeof(wide));
        buf_add_str(out, settings_show_number(&settings_rule[row], wide).z);
        break;
    case NUMBER:
        memcpy(&number, at, sizeof(number));
        buf_add_u64(out, number);
        break;
    case YES_NO:
        buf_add_str(out, *(const bool *)at ? "yes" : "no");
        break;
    default:
        buf_add_str(out, *(char *const *)at);
    }
}

void settings_diff(const struct settings *s, struct buf *out)
{
    struct settings_walk standard = {.s = mem_zalloc(1, sizeof(*standard.s))};
    struct buf a = BUF_INIT(BUF_OWN), b = BUF_INIT(BUF_OWN);
    char name[256] = "";

    settings_add_standards(&standard);
    if (gethostname(name, sizeof(name) - 1) != 0)
        name[0] = '\0';
    standard.s->hostname = mem_strdup(name);
    for (size_t i = 0; i < SETTINGS_ROW_COUNT; i++) {
        enum settings_kind k = settings_rule[i].kind;
        if (settings_rule[i].scope != IN_SETTINGS || k == LISTENERS || k == CERTIFICATES || k == ROUTES ||
            k == BACKUPS)
            continue;
        buf_clear(&a);
        buf_clear(&b);
        show_value(s, i, &a);
        show_value(standard.s, i, &b);
        if (slice_eq(buf_slice(&a), buf_slice(&b)))
            continue;
        buf_printf(out, "%s = ", settings_row[i].name);
        if (k == NUMBER)
            buf_add(out, buf_slice(&a));
        else if (k == YES_NO)
            buf_add_str(out, slice_eq(buf_slice(&a), SLICE("yes")) ? "true" : "false");
        else
            show_quoted(out, buf_str(&a));
        buf_add_char(out, '\n');
    }
    buf_clear(&a);
    buf_clear(&b);
    show_lists(s, &a, &b);
    if (s->ncertificates > 0)
        buf_printf(out, "tls.certificates = (%s)\n", buf_str(&a));
    if (!listeners_are_standard(s))
        buf_printf(out, "listen = (%s)\n", buf_str(&b));
    buf_clear(&a);
    show_routes(s, &a);
    if (s->nroutes > 0)
        buf_printf(out, "routes = (%s)\n", buf_str(&a));
    buf_clear(&a);
    show_backups(s, &a);
    if (s->nbackups > 0)
        buf_printf(out, "backup_mx = (%s)\n", buf_str(&a));
    buf_free(&a);
    buf_free(&b);
    settings_free(standard.s);
}
