#include "common/settings_table.h"

#include <stdio.h>

#include "common/ascii.h"
#include "common/mem.h"

#define KI ((uint64_t)1 << 10)
#define MI ((uint64_t)1 << 20)
#define GI ((uint64_t)1 << 30)
#define DAY ((uint64_t)86400)

#define S(member) IN_SETTINGS, offsetof(struct settings, member)
#define L(member) IN_LISTENER, offsetof(struct listener, member)
#define C(member) IN_CERTIFICATE, offsetof(struct certificate, member)
#define R(member) IN_ROUTE, offsetof(struct route_rule, member)
#define B(member) IN_BACKUP, offsetof(struct backup_domain, member)

/* clang-format off */
/*
 * name, type, standard, where, kind, least, most (of sizes, times, numbers; octets of paths), help
 * The one place that knows the settings: the walk, the man page and `postamt config describe` come from it.
 */
#define SETTINGS_TABLE(X)                                                                                    \
    X("hostname", "text", "the machine's own name", S(hostname), HOST, 0, 0,                                 \
        "the full name of this server, as its MX record and certificate have it; said in greetings")         \
    X("paths.mail", "path", "/var/lib/postamt/mail", S(mail_dir), PATH, 0, 1024, "the messages")             \
    X("paths.state", "path", "/var/lib/postamt/state", S(state_dir), PATH, 0, 1024,                          \
        "indexes and caches, all derived; on the same file system as paths.mail")                            \
    X("paths.spool", "path", "/var/lib/postamt/spool", S(spool_dir), PATH, 0, 1024,                          \
        "messages on their way in; on the same file system as paths.mail")                                   \
    X("paths.auth", "path", "/var/lib/postamt/auth", S(auth_dir), PATH, 0, 1024,                             \
        "accounts, aliases, password hashes and DKIM keys")                                                             \
    X("paths.queue", "path", "/var/lib/postamt/queue", S(queue_dir), PATH, 0, 1024,                          \
        "messages on their way out")                                                                         \
    X("paths.run", "path", "/run/postamt", S(run_dir), PATH, 0, 80, "sockets")                               \
    X("log.to", "text", "stderr", S(log), LOG_TO, 0, 1024,                                                   \
        "where log lines go: stderr (systemd hands it to the journal), journal, or a file")                  \
    X("log.level", "one of debug, info, warn, error", "info", S(log_level), CHOICE, 0, 0,                    \
        "lines below this are not written")                                                                  \
    X("sandbox", "one of required, optional", "required", S(sandbox), CHOICE, 0, 0,                          \
        "whether to start on a kernel that cannot confine the daemons")                                      \
    X("tls.dir", "path", "/var/lib/postamt/tls", S(tls_dir), PATH, 0, 1024,                                  \
        "where the self-made certificate lies that is used while tls.certificates is empty")                 \
    X("tls.certificates", "list", "()", S(certificates), CERTIFICATES, 0, 0,                                 \
        "certificates with their keys; the first is used when a client names no host or one that is not "    \
        "here")                                                                                              \
    X("tls.certificates.chain", "path", "", C(chain), PATH, 0, 1024,                                         \
        "PEM file: the server's certificate, then the intermediate ones")                                    \
    X("tls.certificates.key", "path", "", C(key), PATH, 0, 1024,                                             \
        "PEM file: the private key, readable by root only")                                                  \
    X("listen", "list", "the standard ports", S(listeners), LISTENERS, 0, 0,                                 \
        "the open ports; a list here replaces the standard one: smtp 25, submission 587 and 465, imap 143 "  \
        "and 993, pop3 110 and 995")                                                                         \
    X("listen.service", "one of smtp, submission, imap, pop3", "", L(service), CHOSEN, 0, 0,                 \
        "what is spoken there")                                                                              \
    X("listen.tls", "one of none, starttls, tls", "tls on 465, 993 and 995, else starttls", L(tls), CHOSEN,  \
        0, 0, "none: in clear; starttls: on the client's wish; tls: from the first octet")                   \
    X("listen.address", "text", "*", L(address), ADDRESS, 0, 0,                                              \
        "an IP address of this machine; * is all of them")                                                   \
    X("listen.port", "number", "the service's own", L(port), NUMBER, 0, 65535, "0: the kernel chooses")      \
    X("listen.plain_login", "yes/no", "no", L(plain_login), YES_NO, 0, 0,                                    \
        "passwords may come without TLS; for loopback and trusted networks")                                 \
    X("fronts", "number", "0", S(fronts), NUMBER, 0, 256,                                                    \
        "network processes of each daemon; 0: as many as the machine has cores")                             \
    X("delivers", "number", "8", S(delivers), NUMBER, 1, 256, "processes that write mail side by side")      \
    X("limits.message_size", "size", "50M", S(message_size), SIZE, 64 * KI, 2 * GI - 1,                      \
        "the largest message taken")                                                                         \
    X("limits.recipients", "number", "1000", S(max_recipients), NUMBER, 1, 100000,                           \
        "recipients of one message from a logged-in user")                                                   \
    X("limits.recipients_mx", "number", "100", S(max_recipients_mx), NUMBER, 100, 100000,                    \
        "recipients of one message from another server (RFC 5321 wants 100 at least)")                       \
    X("limits.smtp_connections_per_address", "number", "20", S(smtp_connections_per_address), NUMBER, 1,     \
        100000, "SMTP connections of one client address at a time")                                          \
    X("limits.connections_per_address", "number", "50", S(connections_per_address), NUMBER, 1, 100000,       \
        "connections of one client address before login, other services")                                    \
    X("limits.connections_per_user", "number", "50", S(connections_per_user), NUMBER, 1, 100000,             \
        "sessions of one user from one client address")                                                      \
    X("limits.new_per_minute", "number", "60", S(new_per_minute), NUMBER, 1, 1000000,                        \
        "connections without login that one client address may make in a minute")                            \
    X("limits.connections", "number", "8000", S(connections), NUMBER, 16, 500000,                           \
        "connections of each network process; the limit of open files must be twice that")                   \
    X("limits.loopback", "yes/no", "no", S(limit_loopback), YES_NO, 0, 0,                                    \
        "whether the limits hold for 127.0.0.1 and ::1 too")                                                 \
    X("limits.idle_imap", "time", "30m", S(idle_imap_s), TIME, 60, 7 * DAY,                                  \
        "an IMAP session without a sign of life ends (RFC 9051 wants 30m at least)")                         \
    X("limits.idle_pop3", "time", "10m", S(idle_pop3_s), TIME, 60, DAY,                                      \
        "a POP3 session without a command ends (RFC 1939 wants 10m at least)")                               \
    X("limits.login", "time", "60s", S(login_timeout_s), TIME, 1, 3600,                                      \
        "a client must be logged in by then")                                                                \
    X("limits.smtp_timeout", "time", "300s", S(smtp_timeout_s), TIME, 1, 3600,                               \
        "an SMTP client must send its next command by then")                                                 \
    X("limits.smtp_session", "time", "30m", S(smtp_session_s), TIME, 10, DAY, "the longest SMTP session")    \
    X("limits.outbound_per_hour", "number", "500", S(outbound_per_hour), NUMBER, 0, 1000000,                 \
        "recipients elsewhere that one account may write to in an hour; 0: any number")                      \
    X("limits.outbound_per_day", "number", "1000", S(outbound_per_day), NUMBER, 0, 10000000,                 \
        "the same in a day")                                                                                 \
    X("queue.life", "time", "5d", S(queue_life_s), TIME, 60, 30 * DAY,                                       \
        "a message that could not be sent so long goes back to its sender")                                  \
    X("queue.warn", "time", "4h", S(queue_warn_s), TIME, 0, 30 * DAY,                                        \
        "its sender is told of a delay after that; 0: never")                                                \
    X("queue.backup_life", "time", "30d", S(queue_backup_life_s), TIME, 60, 365 * DAY,                       \
        "the same as queue.life for the domains of backup_mx")                                               \
    X("queue.per_destination", "number", "20", S(queue_per_destination), NUMBER, 1, 1000,                    \
        "connections to one destination at a time, at most")                                                 \
    X("queue.connections", "number", "200", S(queue_connections), NUMBER, 1, 10000,                          \
        "connections to all destinations at a time, at most")                                                \
    X("queue.rate", "number", "0", S(queue_rate), NUMBER, 0, 1000000,                                        \
        "messages a minute to one destination; 0: any number")                                               \
    X("queue.total_rate", "number", "0", S(queue_total_rate), NUMBER, 0, 1000000,                            \
        "messages a minute to all destinations; 0: any number")                                              \
    X("outbound.ipv6", "one of prefer, after, off", "after", S(outbound_ipv6), CHOICE, 0, 0,                 \
        "whether a server that has both is called by IPv6 first, after IPv4, or never")                      \
    X("outbound.private", "yes/no", "no", S(outbound_private), YES_NO, 0, 0,                                 \
        "whether MX records may lead to private and loopback addresses; routes always may")                  \
    X("outbound.port", "number", "25", S(outbound_port), NUMBER, 1, 65535,                                   \
        "the port of the servers that MX records name; another one for tests")                               \
    X("outbound.policy_port", "number", "443", S(outbound_policy_port), NUMBER, 1, 65535,                    \
        "the port where MTA-STS policies are fetched; another one for tests")                                \
    X("outbound.ca_file", "path", "/etc/ssl/certs/ca-certificates.crt", S(outbound_ca_file), PATH, 0, 1024,  \
        "PEM file of the authorities that other servers' certificates are checked against")                  \
    X("dns.server", "address", "", S(dns_server), SERVER, 0, 0,                                              \
        "ask this resolver (an IP address, 192.0.2.1@5353 for another port) instead of the name servers of " \
        "the world themselves; its answers are checked by DNSSEC all the same")                              \
    X("dns.trust_anchor", "path", "/usr/share/dns/root.key", S(dns_trust_anchor), PATH, 0, 1024,             \
        "DS or DNSKEY records of the root that DNSSEC starts from")                                          \
    X("routes", "list", "()", S(routes), ROUTES, 0, 0,                                                       \
        "where mail goes that MX records shall not decide, and to whom TLS is required; the first that fits")\
    X("routes.from", "domain", "", R(from), DOMAIN, 0, 0, "for senders of this domain; left out: all")       \
    X("routes.to", "domain", "", R(to), DOMAIN, 0, 0, "for recipients of this domain; left out: all")        \
    X("routes.host", "text", "", R(host), TEXT, 0, 253,                                                      \
        "the server (a name or an IP address) that takes the mail; left out: as the MX records say")         \
    X("routes.port", "number", "", R(port), NUMBER, 1, 65535, "25, or 465 with tls = \"implicit\"")          \
    X("routes.tls", "one of opportunistic, required, implicit, none", "opportunistic", R(tls), CHOSEN, 0, 0, \
        "required: STARTTLS with a certificate that is right; implicit: the same from the first octet")      \
    X("routes.user", "text", "", R(user), TEXT, 0, 255, "the user name to log in with")                      \
    X("routes.password_file", "path", "", R(password_file), PATH, 0, 1024,                                   \
        "file with the password on its first line, readable by root only")                                   \
    X("backup_mx", "list", "()", S(backups), BACKUPS, 0, 0,                                                  \
        "domains of others for which this server is a backup: their mail is taken and kept until their own " \
        "server takes it")                                                                                   \
    X("backup_mx.domain", "domain", "", B(domain), DOMAIN, 0, 0, "one of them")                              \
    X("auth.scram", "one of auto, off", "auto", S(auth_scram), CHOICE, 0, 0,                                 \
        "auto: SCRAM-SHA-256 is offered as soon as every account can use it")                                \
    X("auth.hash", "one of yescrypt, sha512crypt", "yescrypt", S(auth_hash), CHOICE, 0, 0,                   \
        "how new passwords are hashed")                                                                      \
    X("auth.cache", "time", "5m", S(auth_cache_s), TIME, 0, DAY,                                             \
        "a verified password is not hashed again so long; 0s: always")                                       \
    X("store.keep_expunged", "time", "14d", S(keep_expunged_s), TIME, 0, 3650 * DAY,                         \
        "what is expunged can be brought back so long (postamt mailbox undelete); 0: it is gone at once")    \
    X("store.keep_expunged_junk", "time", "2d", S(keep_expunged_junk_s), TIME, 0, 3650 * DAY,                \
        "the same for the mailbox for junk and for what POP3 deletes")                                       \
    X("worker_linger", "time", "30s", S(worker_linger_s), TIME, 0, 3600,                                     \
        "a user's process stays so long after the last session")
/* clang-format on */

const struct setting_row settings_row[] = {
#define X(name, type, standard, where, kind, least, most, help) {name, type, standard, help},
    SETTINGS_TABLE(X)
#undef X
};

const struct settings_rule settings_rule[] = {
#define X(name, type, standard, where, kind, least, most, help) {where, kind, least, most},
    SETTINGS_TABLE(X)
#undef X
};
_Static_assert(sizeof(settings_rule) / sizeof(settings_rule[0]) == SETTINGS_ROW_COUNT,
    "SETTINGS_ROW_COUNT is the table's");

size_t settings_rows(const struct setting_row **out)
{
    *out = settings_row;
    return SETTINGS_ROW_COUNT;
}

const char *const settings_services[] = {"smtp", "submission", "imap", "pop3"};
const char *const settings_tls_names[] = {"none", "starttls", "tls"};
const char *const settings_route_tls_names[] = {"opportunistic", "required", "implicit", "none"};

const char *service_name(enum service s)
{
    INVARIANT((unsigned)s < SERVICE_COUNT);
    return settings_services[s];
}

const struct listener settings_standard_ports[] = {
    {SERVICE_SMTP, LISTENER_STARTTLS, NULL, 25, false},
    {SERVICE_SUBMISSION, LISTENER_STARTTLS, NULL, 587, false},
    {SERVICE_SUBMISSION, LISTENER_TLS, NULL, 465, false},
    {SERVICE_IMAP, LISTENER_STARTTLS, NULL, 143, false},
    {SERVICE_IMAP, LISTENER_TLS, NULL, 993, false},
    {SERVICE_POP3, LISTENER_STARTTLS, NULL, 110, false},
    {SERVICE_POP3, LISTENER_TLS, NULL, 995, false},
};

static const struct unit {
    char letter;
    uint64_t factor;
} size_units[] = {{'T', GI << 10}, {'G', GI}, {'M', MI}, {'K', KI}},
  time_units[] = {{'d', DAY}, {'h', 3600}, {'m', 60}, {'s', 1}};

static bool parse_unit(struct slice v, const struct unit *units, size_t n, bool unit_needed, uint64_t *out)
{
    uint64_t factor = 1;

    if (v.n > 0 && !ascii_is_digit(v.p[v.n - 1])) {
        size_t i = 0;
        while (i < n && ascii_upper(units[i].letter) != ascii_upper(v.p[v.n - 1]))
            i++;
        if (i == n)
            return false;
        factor = units[i].factor;
        v.n--;
    } else if (unit_needed) {
        return false;
    }
    return slice_u64(v, UINT64_MAX, out) && !__builtin_mul_overflow(*out, factor, out);
}

/* The shortest way to write it: the largest unit that leaves no rest. */
static struct settings_quoted show_with_unit(uint64_t v, const struct unit *units, size_t n)
{
    struct settings_quoted q;
    size_t i = 0;

    while (i < n && (v == 0 || v % units[i].factor != 0))
        i++;
    if (i < n)
        snprintf(q.z, sizeof(q.z), "%llu%c", (unsigned long long)(v / units[i].factor), units[i].letter);
    else
        snprintf(q.z, sizeof(q.z), "%llu%s", (unsigned long long)v, units == time_units ? "s" : "");
    return q;
}

struct settings_quoted settings_show_number(const struct settings_rule *r, uint64_t v)
{
    return r->kind == SIZE   ? show_with_unit(v, size_units, 4)
           : r->kind == TIME ? show_with_unit(v, time_units, 4)
                             : show_with_unit(v, NULL, 0);
}

bool settings_parse_number(const struct settings_rule *r, struct slice v, uint64_t *out)
{
    return parse_unit(
        v, r->kind == TIME ? time_units : size_units, 4, r->kind == TIME && !slice_eq(v, SLICE("0")), out);
}
