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
