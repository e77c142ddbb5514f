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

struct settings {
    char *hostname;                                              /* our name in greetings, Received, HELO */
    char *mail_dir, *state_dir, *spool_dir, *auth_dir, *run_dir; /* absolute */
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
    uint64_t worker_linger_s;                       /* a worker without sessions stays so long */
    char *text;                                     /* the file as it was read, for handing on */
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
