/*
 * settings: postamt.conf, read and checked.
 *
 * libconfig parses the text; the tree is then walked against one table (settings.c): an unknown key ("did you
 * mean
 * ..?"), a wrong type, a value out of range is an error with file:line and what to write instead. Sizes
 * ("50M") and times ("30s", "5m", "1h", "14d") are strings. The table also makes man/postamt.conf.5 and
 * `postamt config describe`. Values are C strings and numbers of the returned object, which never changes: a
 * reload makes a new one.
 */
#ifndef COMMON_SETTINGS_H
#define COMMON_SETTINGS_H

#include "common/buf.h"
#include "common/err.h"

enum service {
    SERVICE_SMTP,       /* 25 */
    SERVICE_SUBMISSION, /* 587, 465 */
    SERVICE_IMAP,       /* 143, 993 */
    SERVICE_POP3,       /* 110, 995 */
    SERVICE_COUNT
};
const char *service_name(enum service s);

enum listener_tls { LISTENER_NO_TLS, LISTENER_STARTTLS, LISTENER_TLS };

struct listener {
    enum service service;
    enum listener_tls tls;
    char *address;    /* "*" (all, v4 and v6), or an IP address */
    unsigned port;    /* 0: the kernel chooses (tests) */
    bool plain_login; /* a login without TLS is allowed: loopback, trusted LAN, tests */
};

struct certificate {
    char *chain, *key; /* file names */
};

enum route_tls {
    ROUTE_TLS_OPPORTUNISTIC, /* STARTTLS if it is offered, whatever the certificate says */
    ROUTE_TLS_REQUIRED,      /* STARTTLS, and the certificate must be the host's */
    ROUTE_TLS_IMPLICIT,      /* the same from the first octet (465) */
    ROUTE_TLS_NONE           /* in clear; for a trusted network */
};

/* One of `routes`: where mail goes that its recipients' MX records do not decide. The first that fits counts.
 */
struct route_rule {
    char *from;    /* domain of the reverse-path; NULL: any */
    char *to;      /* domain of the recipient; NULL: any */
    char *host;    /* NULL: as the domain's MX records say (the rule is about TLS then) */
    unsigned port; /* 0: 25, with TLS_IMPLICIT 465 */
    enum route_tls tls;
    char *user;          /* log in as that; NULL: do not log in */
    char *password_file; /* read by postamtd, handed to queued only */
};

struct backup_domain {
    char *domain; /* mail for it is taken from anybody and kept until its own server takes it */
};

struct settings {
    char *hostname; /* our name in greetings, Received, HELO */
    char *mail_dir, *state_dir, *spool_dir, *auth_dir, *queue_dir, *run_dir; /* absolute */
    char *log; /* "stderr", "journal" or an absolute file name */
    char *log_level;
    char *sandbox; /* "required" or "optional" */
    char *tls_dir; /* where the self-made certificate lies */
    struct certificate *certificates;
    size_t ncertificates;
    struct listener *listeners;
    size_t nlisteners;
    unsigned fronts;   /* per daemon; 0: number of cores */
    unsigned delivers; /* pool of smtpd's blocking writers */
    uint64_t message_size;
    unsigned max_recipients, max_recipients_mx;
    unsigned smtp_connections_per_address, connections_per_address, connections_per_user;
    unsigned new_per_minute; /* unauthenticated connections an address may make */
    unsigned connections;    /* per front */
    bool limit_loopback;     /* limits.loopback: count loopback addresses too */
    uint64_t idle_imap_s, idle_pop3_s, login_timeout_s, smtp_timeout_s, smtp_session_s;
    char *auth_scram;      /* "auto" or "off" */
    char *auth_hash;       /* crypt(3) prefix for new passwords: "yescrypt" or "sha512crypt" */
    uint64_t auth_cache_s; /* verified passwords are remembered so long */
    uint64_t keep_expunged_s, keep_expunged_junk_s; /* 0: what is expunged is unlinked at once */
    uint64_t queue_life_s, queue_warn_s, queue_backup_life_s;
    unsigned queue_per_destination, queue_connections;
    unsigned queue_rate, queue_total_rate;        /* messages a minute; 0: no limit */
    unsigned outbound_per_hour, outbound_per_day; /* recipients of one account */
    char *outbound_ipv6;                          /* "prefer", "after" or "off" */
    bool outbound_private;
    unsigned outbound_port, outbound_policy_port;
    char *outbound_ca_file;
    char *dns_server, *dns_trust_anchor;
    struct route_rule *routes;
    size_t nroutes;
    struct backup_domain *backups;
    size_t nbackups;
    uint64_t worker_linger_s; /* a worker without sessions stays so long */
    char *text;               /* the file as it was read, for handing on */
};

/* One complaint a line, "file:line: what is wrong; what to write", appended to *complaints. NULL when there
 * is any. */
struct settings *settings_parse(struct slice text, const char *file, struct buf *complaints);
struct settings *settings_load(const char *file, struct buf *complaints);
void settings_free(struct settings *s);

/* Rows for man page, describe and completion. */
struct setting_row {
    const char *name;     /* "limits.message_size" */
    const char *type;     /* "size", "time", "number", "text", "yes/no", "one of a, b" */
    const char *standard; /* default as one would write it */
    const char *help;
};
size_t settings_rows(const struct setting_row **rows);
/* Settings that differ from the defaults, as text lines "name = value". */
void settings_diff(const struct settings *s, struct buf *out);

#endif
