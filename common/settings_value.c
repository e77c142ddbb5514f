#include "common/settings_table.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/mem.h"

/* Index of the word in "one of a, b, c", or -1. */
static int choice(const char *type, struct slice v)
{
    struct slice rest = slice_from(slice_str(type), sizeof("one of ") - 1), word;

    for (int i = 0; slice_cut(&rest, ',', &word); i++) {
        if (slice_eq(slice_trim(word), v))
            return i;
    }
    return -1;
}

bool settings_is_host(struct slice v)
{
    struct slice rest = v, label;
    bool letters = false;

    if (v.n == 0 || v.n > 253 || slice_chr(v, '.') < 0 || slice_ends(v, SLICE(".")))
        return false;
    while (slice_cut(&rest, '.', &label)) {
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        letters = false;
        for (size_t i = 0; i < label.n; i++) {
            if (!ascii_is_alnum(label.p[i]) && label.p[i] != '-')
                return false;
            letters = letters || ascii_is_alpha(label.p[i]);
        }
    }
    return letters; /* a last label of digits only: an IP address */
}

static const char *path_fault(struct slice v, size_t most)
{
    struct slice rest = v, part;

    if (v.n == 0 || v.p[0] != '/')
        return "is not absolute; write it from / on";
    if (v.n > most)
        return "is too long; use a shorter path";
    for (size_t i = 0; i < v.n; i++) {
        if (ascii_is_control(v.p[i]))
            return "has control characters; take them out";
    }
    while (slice_cut(&rest, '/', &part)) {
        if (slice_eq(part, SLICE("..")) || slice_eq(part, SLICE(".")))
            return "has a . or .. in it; write where it really leads";
    }
    return NULL;
}

int settings_parse_ip(const char *z, unsigned char out[16])
{
    if (strcmp(z, "*") == 0)
        return 0;
    if (inet_pton(AF_INET, z, out) == 1)
        return 4;
    return inet_pton(AF_INET6, z, out) == 1 ? 16 : -1;
}

/* 192.0.2.1, 2001:db8::1@5353 */
static bool is_server(struct slice v)
{
    unsigned char ip[16];
    uint64_t port = 53;
    struct slice address;
    bool ok;
    char *z;

    if (slice_chr(v, '@') >= 0 && !slice_u64(slice_from(v, (size_t)slice_chr(v, '@') + 1), UINT16_MAX, &port))
        return false;
    slice_cut(&v, '@', &address);
    z = slice_dup(address);
    ok = z && port && settings_parse_ip(z, ip) > 0;
    free(z);
    return ok;
}

static void set_string(void *at, struct slice v)
{
    char *old, *fresh = slice_dup(v);

    memcpy(&old, at, sizeof(old));
    free(old);
    memcpy(at, &fresh, sizeof(fresh));
}

/* Comparisons and joins are simple when no path ends in a slash. */
static struct slice without_slash(struct slice v)
{
    while (v.n > 1 && v.p[v.n - 1] == '/')
        v.n--;
    return v;
}

static bool set_number(
    struct settings_walk *w, size_t row, void *at, uint64_t v, const char *written, unsigned line)
{
    const struct settings_rule *r = &settings_rule[row];

    if (v < r->least || v > r->most) {
        SETTINGS_COMPLAIN(w, line, "%s is %s; it must be between %s and %s", settings_row[row].name, written,
            settings_show_number(r, r->least).z, settings_show_number(r, r->most).z);
        return false;
    }
    if (r->kind == NUMBER) {
        unsigned u = (unsigned)v;
        memcpy(at, &u, sizeof(u));
    } else {
        memcpy(at, &v, sizeof(v));
    }
    return true;
}

/* A value written as text goes to where its rule says. Also takes the standards in. */
bool settings_set(struct settings_walk *w, size_t row, void *base, struct slice v, unsigned line)
{
    const struct settings_rule *r = &settings_rule[row];
    const char *name = settings_row[row].name, *fault;
    void *at = (char *)base + r->offset;
    struct settings_quoted q = settings_quote(v);
    unsigned char ip[16];
    uint64_t number;
    bool flag;
    int index;

    switch (r->kind) {
    case HOST:
        if (!settings_is_host(v)) {
            SETTINGS_COMPLAIN(w, line,
                "%s is \"%s\", which is no full name of a server; write one such as \"mail.example.org\"",
                name, q.z);
            return false;
        }
        set_string(at, v);
        return true;
    case DOMAIN:
        if (!settings_is_host(v)) {
            SETTINGS_COMPLAIN(w, line,
                "%s is \"%s\", which is no domain; write one such as \"example.org\" (xn--.. for letters "
                "beyond ASCII)",
                name, q.z);
            return false;
        }
        set_string(at, v);
        for (char *z = *(char **)at; *z; z++)
            *z = ascii_lower(*z);
        return true;
    case TEXT:
        for (size_t i = 0; i < v.n; i++)
            if (ascii_is_control(v.p[i])) {
                SETTINGS_COMPLAIN(w, line, "%s has control characters; take them out", name);
                return false;
            }
        if (v.n > r->most) {
            SETTINGS_COMPLAIN(w, line, "%s is longer than %llu octets", name, (unsigned long long)r->most);
            return false;
        }
        set_string(at, v);
        return true;
    case LOG_TO:
        if (slice_eq(v, SLICE("stderr")) || slice_eq(v, SLICE("journal"))) {
            set_string(at, v);
            return true;
        }
        if (v.n == 0 || v.p[0] != '/') {
            SETTINGS_COMPLAIN(
                w, line, "%s is \"%s\"; write \"stderr\", \"journal\" or a file name from / on", name, q.z);
            return false;
        }
        /* fallthrough */
    case PATH:
        fault = path_fault(v, (size_t)r->most);
        if (fault != NULL) {
            SETTINGS_COMPLAIN(w, line, "%s is \"%s\", which %s", name, q.z, fault);
            return false;
        }
        set_string(at, without_slash(v));
        return true;
    case ADDRESS:
        set_string(at, v);
        if (settings_parse_ip(*(char **)at, ip) >= 0)
            return true;
        SETTINGS_COMPLAIN(
            w, line, "%s is \"%s\"; write an IP address of this machine, or \"*\" for all", name, q.z);
        return false;
    case SERVER:
        if (v.n && !is_server(v)) {
            SETTINGS_COMPLAIN(w, line,
                "%s is \"%s\"; write an IP address, or one with a port such as \"192.0.2.1@5353\"", name,
                q.z);
            return false;
        }
        set_string(at, v);
        return true;
    case CHOICE:
    case CHOSEN:
        index = choice(settings_row[row].type, v);
        if (index < 0) {
            SETTINGS_COMPLAIN(w, line, "%s is \"%s\"; write %s", name, q.z, settings_row[row].type);
            return false;
        }
        if (r->kind == CHOICE)
            set_string(at, v);
        else
            memcpy(at, &index, sizeof(index));
        return true;
    case SIZE:
        if (!settings_parse_number(r, v, &number)) {
            SETTINGS_COMPLAIN(w, line, "%s is \"%s\", which is no size; write one such as \"%s\" (K, M, G)",
                name, q.z, settings_row[row].standard);
            return false;
        }
        return set_number(w, row, at, number, q.z, line);
    case TIME:
        if (!settings_parse_number(r, v, &number)) {
            SETTINGS_COMPLAIN(w, line,
                "%s is \"%s\", which is no time; write one such as \"%s\" (s, m, h, d)", name, q.z,
                settings_row[row].standard);
            return false;
        }
        return set_number(w, row, at, number, q.z, line);
    case NUMBER:
        if (!slice_u64(v, UINT64_MAX, &number)) {
            SETTINGS_COMPLAIN(w, line, "%s is \"%s\"; write a number without quotes", name, q.z);
            return false;
        }
        return set_number(w, row, at, number, q.z, line);
    case YES_NO:
        flag = slice_eq(v, SLICE("yes"));
        if (!flag && !slice_eq(v, SLICE("no"))) {
            SETTINGS_COMPLAIN(w, line, "%s is \"%s\"; write true or false", name, q.z);
            return false;
        }
        memcpy(at, &flag, sizeof(flag));
        return true;
    case LISTENERS:
    case CERTIFICATES:
    case ROUTES:
    case BACKUPS:
        break;
    }
    return true;
}

void settings_add_standards(struct settings_walk *w)
{
    struct settings *s = w->s;

    for (size_t i = 0; i < SETTINGS_ROW_COUNT; i++) {
        bool is_plain = settings_rule[i].kind != HOST && settings_rule[i].kind != LISTENERS &&
                        settings_rule[i].kind != CERTIFICATES && settings_rule[i].kind != ROUTES &&
                        settings_rule[i].kind != BACKUPS;
        if (settings_rule[i].scope == IN_SETTINGS && is_plain)
            INVARIANT(settings_set(w, i, s, slice_str(settings_row[i].standard), 0));
    }
}

/* ---- names ---- */

/* Distance of Levenshtein; words longer than the row count as far. */
static unsigned distance(struct slice a, struct slice b)
{
    unsigned row[48];

    if (a.n >= 48 || b.n >= 48)
        return UINT_MAX;
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned best = diagonal + (ascii_lower(a.p[i - 1]) != ascii_lower(b.p[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.n];
}

struct slice settings_name_below(const char *name, struct slice prefix)
{
    struct slice n = slice_str(name), head;

    if (prefix.n > 0) {
        if (!slice_starts(n, prefix) || n.n <= prefix.n || n.p[prefix.n] != '.')
            return slice_of("", 0);
        n = slice_from(n, prefix.n + 1);
    }
    slice_cut(&n, '.', &head);
    return head;
}

/* "log_level" for "log.level" */
static bool is_flat(struct slice key, struct slice full)
{
    for (size_t i = 0; key.n == full.n && i < key.n; i++) {
        if (key.p[i] != full.p[i] && !(key.p[i] == '_' && full.p[i] == '.'))
            return false;
    }
    return key.n == full.n;
}

void settings_unknown(struct settings_walk *w, struct slice prefix, const char *name, unsigned line)
{
    struct slice key = slice_str(name), near = slice_of("", 0);
    struct settings_quoted q = settings_quote(key);
    const char *dot = prefix.n > 0 ? "." : "";
    unsigned best = key.n < 4 ? 2 : 4;

    for (size_t i = 0; i < SETTINGS_ROW_COUNT; i++) {
        struct slice known = settings_name_below(settings_row[i].name, prefix);
        unsigned d = known.n > 0 ? distance(key, known) : UINT_MAX;
        if (d < best && d < known.n) {
            best = d;
            near = known;
        }
    }
    if (near.n > 0) {
        SETTINGS_COMPLAIN(w, line, "%.*s%s%s is no setting; did you mean %.*s?", SLICE_FMT(prefix), dot, q.z,
            SLICE_FMT(near));
        return;
    }
    for (size_t i = 0; i < SETTINGS_ROW_COUNT; i++) {
        struct slice full = slice_str(settings_row[i].name);
        ssize_t at = slice_rchr(full, '.');
        if (at > 0 && (slice_eq(slice_from(full, (size_t)at + 1), key) || is_flat(key, full))) {
            SETTINGS_COMPLAIN(w, line,
                "%.*s%s%s is no setting; did you mean %s? It is written %.*s = { %s = ..; };",
                SLICE_FMT(prefix), dot, q.z, settings_row[i].name, (int)at, full.p, full.p + at + 1);
            return;
        }
    }
    SETTINGS_COMPLAIN(w, line,
        "%.*s%s%s is no setting; take it out (postamt config describe shows what there is)",
        SLICE_FMT(prefix), dot, q.z);
}
