/* postamtd: starts the daemons, keeps them, reloads, stops. man/postamtd.8 */
#include "config.h"

#include "master/master.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "common/id.h"
#include "common/mem.h"
#include "common/sandbox.h"
#include "common/secrets.h"

#define DEFAULT_CONFIG POSTAMT_SYSCONFDIR "/postamt/postamt.conf"

static const char usage[] =
    "Usage: postamtd [-c FILE] [-t] [-L FOLDER]\n"
    "Starts postamt's daemons and stays in the foreground; a signal ends (TERM) or reloads (HUP) them.\n"
    "  -c FILE    configuration (default " DEFAULT_CONFIG ")\n"
    "  -t         check the configuration and end: 0 good, 78 wrong\n"
    "  -L FOLDER  where the daemons' programs lie (default " POSTAMT_LIBEXECDIR ")\n"
    "Examples:\n"
    "  postamtd -t\n"
    "  postamtd -c /etc/postamt/postamt.conf\n";

static void tell_systemd(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

void master_ready(struct master *m)
{
    LOG(START, NULL, F_STR("what", "all roles are ready"), F_U64("roles", m->nchildren));
    tell_systemd("READY=1\nSTATUS=serving");
}

static void forget_secret(struct buf *b)
{
    if (b->p)
        mem_wipe(b->p, b->size);
    buf_free(b);
}

/* Settings and certificates as the files have them now; nothing of m is touched before all is right. */
static int read_all(const char *file, const unsigned char keys[80], struct settings **settings,
    struct buf *blob, struct buf *secrets, struct buf *complaint)
{
    struct err e = {0};

    *settings = settings_load(file, complaint);
    if (!*settings)
        return -1;
    if (certs_load(*settings, keys, blob, &e) < 0 || secrets_load(*settings, secrets, &e) < 0) {
        buf_printf(complaint, "%s\n", e.detail);
        settings_free(*settings);
        *settings = NULL;
        return -1;
    }
    return 0;
}

/* What needs other rights, ports or processes is not done by a reload; the admin is told. */
static bool needs_restart(const struct settings *a, const struct settings *b)
{
    return strcmp(a->mail_dir, b->mail_dir) != 0 || strcmp(a->state_dir, b->state_dir) != 0 ||
           strcmp(a->spool_dir, b->spool_dir) != 0 || strcmp(a->auth_dir, b->auth_dir) != 0 ||
           strcmp(a->run_dir, b->run_dir) != 0 || strcmp(a->queue_dir, b->queue_dir) != 0 ||
           a->fronts != b->fronts || a->delivers != b->delivers || strcmp(a->sandbox, b->sandbox) != 0;
}

static bool same_listeners(const struct settings *a, const struct settings *b)
{
    if (a->nlisteners != b->nlisteners)
        return false;
    for (size_t i = 0; i < a->nlisteners; i++)
        if (a->listeners[i].service != b->listeners[i].service ||
            a->listeners[i].port != b->listeners[i].port || a->listeners[i].tls != b->listeners[i].tls ||
            strcmp(a->listeners[i].address, b->listeners[i].address) != 0)
            return false;
    return true;
}

int master_reload(struct master *m, struct buf *complaint)
{
    struct settings *fresh = NULL;
    struct buf blob = {0}, secrets = {0};
    int rc = read_all(m->config_file, m->ticket_keys, &fresh, &blob, &secrets, complaint);

    if (rc == 0 && (needs_restart(m->settings, fresh) || !same_listeners(m->settings, fresh))) {
        buf_add_str(complaint,
            "a change of paths, sandbox, listen, fronts or delivers needs: systemctl restart postamt\n");
        rc = -1;
    }
    if (rc < 0) {
        LOG(RELOAD_REFUSED, NULL, F_STR("file", m->config_file),
            F_SLICE("why", slice_trim(buf_slice(complaint))));
        settings_free(fresh);
        forget_secret(&blob);
        forget_secret(&secrets);
        return -1;
    }
    settings_free(m->settings);
    m->settings = fresh;
    forget_secret(&m->tls_blob);
    m->tls_blob = blob;
    forget_secret(&m->secrets);
    m->secrets = secrets;
    logger_reopen(m->settings->log);
    roles_reload(m);
    LOG(RELOAD, NULL, F_STR("file", m->config_file));
    return 0;
}

static void on_hup(evutil_socket_t sig, short what, void *arg)
{
    struct buf complaint = BUF_INIT(32768);

    (void)sig, (void)what;
    tell_systemd("RELOADING=1");
    master_reload(arg, &complaint);
    tell_systemd("READY=1");
    buf_free(&complaint);
}

static void on_term(evutil_socket_t sig, short what, void *arg)
{
    (void)sig, (void)what;
    tell_systemd("STOPPING=1");
    roles_stop(arg);
}

static void add_signal(struct master *m, int sig, event_callback_fn fn)
{
    struct event *ev = evsignal_new(m->base, sig, fn, m);

    INVARIANT(ev && event_add(ev, NULL) == 0);
}

static int complain(const char *what, const struct buf *text)
{
    fprintf(stderr, "postamtd: %s\n%.*s", what, SLICE_FMT(buf_slice(text)));
    return 78;
}

static int check(const char *file)
{
    struct buf complaint = BUF_INIT(BUF_OWN);
    struct settings *s = settings_load(file, &complaint);
    unsigned char no_keys[80] = {0};
    struct buf blob = {0}, secrets = {0};
    struct err e = {0};
    int rc = 0;

    /* certificates of the admin's own; the self-made one is made at the start */
    if (s && ((s->ncertificates && certs_load(s, no_keys, &blob, &e) < 0) ||
                 secrets_load(s, &secrets, &e) < 0 || sandbox_check(s, &e) < 0))
        buf_printf(&complaint, "%s\n", e.detail);
    forget_secret(&blob);
    forget_secret(&secrets);
    if (!s || complaint.n)
        rc = complain("the configuration is wrong:", &complaint);
    else
        printf("%s: good (%zu listeners, mail in %s)\n", file, s->nlisteners, s->mail_dir);
    settings_free(s);
    buf_free(&complaint);
    return rc;
}

static int serve(struct master *m)
{
    struct buf complaint = BUF_INIT(BUF_OWN);
    struct err e = {0};
    int *no_fds = NULL;

    id_random(m->ticket_keys, sizeof m->ticket_keys);
    m->started = time(NULL);
    m->settings = settings_load(m->config_file, &complaint);
    if (!m->settings)
        return complain("the configuration is wrong:", &complaint);
    if (logger_start(m->settings->log, &e) < 0)
        goto fail;
    if (sandbox_check(m->settings, &e) < 0 || folders_prepare(m->settings, &e) < 0 ||
        certs_load(m->settings, m->ticket_keys, &m->tls_blob, &e) < 0 ||
        secrets_load(m->settings, &m->secrets, &e) < 0 ||
        listen_all(m->settings, NULL, no_fds, &m->listeners, &m->ports, &e) < 0)
        goto fail_logged;
    m->auth_socket = listen_control(m->settings, "authd.sock", &e);
    m->base = event_base_new();
    m->queue_socket = m->auth_socket < 0 ? -1 : listen_control(m->settings, "queued.sock", &e);
    if (m->queue_socket < 0 || !m->base || control_start(m, &e) < 0)
        goto fail_logged;
    /* NOLINTNEXTLINE(clang-analyzer-core.*): settings are there since they were loaded */
    for (size_t i = 0; i < m->settings->nlisteners; i++)
        LOG(LISTEN, NULL, F_STR("service", service_name(m->settings->listeners[i].service)),
            F_STR("address", m->settings->listeners[i].address), F_U64("port", m->ports[i]));
    add_signal(m, SIGHUP, on_hup);
    add_signal(m, SIGTERM, on_term);
    add_signal(m, SIGINT, on_term);
    if (roles_start(m, &e) < 0)
        goto fail_logged;
    event_base_dispatch(m->base);
    control_stop();
    LOG(STOP, NULL, F_STR("what", "postamtd"));
    logger_stop();
    return m->exit_status;
fail_logged:
    logger_stop();
fail:
    fprintf(stderr, "postamtd: %s\n", e.detail);
    buf_free(&complaint);
    return e.code == ERR_CONFIG ? 78 : 71;
}

int main(int argc, char **argv)
{
    static struct master m = {.config_file = DEFAULT_CONFIG,
        .libexec_dir = POSTAMT_LIBEXECDIR,
        .auth_socket = -1,
        .queue_socket = -1};
    bool only_check = false;
    int opt;

    while ((opt = getopt(argc, argv, "c:tL:hV")) != -1) {
        switch (opt) {
        case 'c':
            m.config_file = optarg;
            break;
        case 't':
            only_check = true;
            break;
        case 'L':
            m.libexec_dir = optarg;
            break;
        case 'V':
            puts(PACKAGE_STRING);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 64;
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 64;
    }
    if (only_check)
        return check(m.config_file);
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    tzset();
    return serve(&m);
}
