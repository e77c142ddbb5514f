/*
 * settings_table: the inside of settings: the table, how values are read and shown. Only settings*.c include
 * it.
 */
#ifndef COMMON_SETTINGS_TABLE_H
#define COMMON_SETTINGS_TABLE_H

#include "common/settings.h"
#include "common/settings_scan.h"

enum settings_kind {
    HOST,    /* char *, a domain name with a dot */
    PATH,    /* char *, absolute */
    DOMAIN,  /* char *, a domain name with a dot; empty: none */
    TEXT,    /* char *, printable, empty: none */
    LOG_TO,  /* char *, "stderr", "journal" or absolute */
    ADDRESS, /* char *, "*" or an IP address */
    SERVER,  /* char *, an IP address, with @port or without; empty: none */
    CHOICE,  /* char *, one of the words of `type` */
    CHOSEN,  /* enum: the index of the word in `type` */
    SIZE,    /* uint64_t octets */
    TIME,    /* uint64_t seconds */
    NUMBER,  /* unsigned */
    YES_NO,  /* bool */
    LISTENERS,
    CERTIFICATES,
    ROUTES,
    BACKUPS
};

/* What the offset of a row is in. */
enum settings_scope { IN_SETTINGS, IN_LISTENER, IN_CERTIFICATE, IN_ROUTE, IN_BACKUP };

struct settings_rule {
    enum settings_scope scope;
    size_t offset;
    enum settings_kind kind;
    uint64_t least, most;
};

#define SETTINGS_ROW_COUNT 68
extern const struct setting_row settings_row[SETTINGS_ROW_COUNT];
extern const struct settings_rule settings_rule[SETTINGS_ROW_COUNT];

extern const char *const settings_services[SERVICE_COUNT];
extern const char *const settings_tls_names[3];
extern const char *const settings_route_tls_names[4];

/* The ports when `listen` is absent (address NULL); the first of service and tls is the port when `port` is
 * absent. */
#define SETTINGS_STANDARD_PORTS 7
extern const struct listener settings_standard_ports[SETTINGS_STANDARD_PORTS];

struct settings_walk {
    struct settings *s;
    const char *file;
    struct buf *out;
    size_t complaints;
    unsigned line[SETTINGS_ROW_COUNT]; /* where a setting stood; 0: absent */
};

#define SETTINGS_COMPLAIN(w, line_, ...)                                                                     \
    ((w)->complaints++, settings_complain((w)->out, (w)->file, (line_), __VA_ARGS__))

/* A value as it is written goes to where its rule says, from base on; false: it was complained of. */
bool settings_set(struct settings_walk *w, size_t row, void *base, struct slice v, unsigned line);
/* The standard of every row of struct settings but hostname and lists. */
void settings_add_standards(struct settings_walk *w);
/* A size, time or number in the shortest way it can be written. */
struct settings_quoted settings_show_number(const struct settings_rule *r, uint64_t v);
/* The value of a size or time row with its unit. */
bool settings_parse_number(const struct settings_rule *r, struct slice v, uint64_t *out);
bool settings_is_host(struct slice v);
/* out in network order; 4 or 16 octets, 0 for "*", -1 when it is no address. */
int settings_parse_ip(const char *z, unsigned char out[16]);
/* Complains of a name that no row has, with the nearest one. */
void settings_unknown(struct settings_walk *w, struct slice prefix, const char *name, unsigned line);
/* What follows "prefix." in a name up to the next dot; empty when the name is not below the prefix. */
struct slice settings_name_below(const char *name, struct slice prefix);

#endif
