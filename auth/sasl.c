#include "auth/sasl.h"

#include <fcntl.h>
#include <pthread.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/verifier.h"
#include "common/ascii.h"
#include "common/mem.h"

#define MESSAGE_MAX 9216 /* decoded; an AUTH line has 12,288 octets (security.md 4.4) */
#define PLUGIN "postamt"

struct sasl_server {
    struct verifier *verifier;
};

/* What sasl_load found. */
static struct library {
    bool loaded;
    char hostname[256];
    char with_scram[64], without_scram[16];
} library;

enum mechanism { PLAIN, LOGIN, SCRAM_SHA_256, MECHANISMS };
/* In the order they are announced, the strongest first. */
static const char *const mechanism_names[MECHANISMS] = {"PLAIN", "LOGIN", "SCRAM-SHA-256"};

struct sasl_exchange {
    struct sasl_server *server;
    sasl_conn_t *conn;
    sasl_callback_t callbacks[3];
    char service[24];
    enum mechanism mechanism;
    bool started, over;
    unsigned messages; /* with content, from the client */
    char user[VERIFIER_NAME_MAX];
    size_t user_n;
    struct err why; /* of checkpass */
};

/* libsasl2's callbacks have no context in places: there is one server in a process. */
static struct sasl_server *the_server;

typedef int (*callback)(void); /* how sasl_callback_t wants functions of any kind */

/* ---- what libsasl2 asks once ---- */

static int give_option(
    void *context, const char *plugin, const char *option, const char **result, unsigned *n)
{
    static const struct {
        const char *option, *value;
    } options[] = {
        {"mech_list", "SCRAM-SHA-256 PLAIN LOGIN"},
        {"auxprop_plugin", PLUGIN},
        {"pwcheck_method", "auxprop"},
        {"canon_user_plugin", "INTERNAL"},
        {"log_level", "0"},
        {"auto_transition", "no"},
    };

    (void)context;
    (void)plugin;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (strcmp(option, options[i].option) == 0) {
            *result = options[i].value;
            if (n != NULL)
                *n = (unsigned)strlen(*result);
            return SASL_OK;
        }
    }
    return SASL_FAIL;
}

static int give_plugin_path(void *context, const char **path)
{
    (void)context;
    *path = POSTAMT_SASL_PLUGINS;
    return SASL_OK;
}

/* No configuration file is read: there is none in this place. libsasl2 frees the text. */
static int give_configuration_path(void *context, char **path)
{
    (void)context;
    *path = strdup("/nonexistent");
    return *path != NULL ? SASL_OK : SASL_NOMEM;
}

/* It would go to syslog; we log the outcome ourselves. */
static int take_log(void *context, int level, const char *message)
{
    (void)context;
    (void)level;
    (void)message;
    return SASL_OK;
}

static const sasl_callback_t global_callbacks[] = {
    {SASL_CB_GETOPT, (callback)(void *)give_option, NULL},
    {SASL_CB_GETPATH, (callback)(void *)give_plugin_path, NULL},
    {SASL_CB_GETCONFPATH, (callback)(void *)give_configuration_path, NULL},
    {SASL_CB_LOG, (callback)(void *)take_log, NULL},
    {SASL_CB_LIST_END, NULL, NULL},
};

static void *mutex_new(void)
{
    pthread_mutex_t *m = mem_zalloc(1, sizeof(*m));

    INVARIANT(pthread_mutex_init(m, NULL) == 0);
    return m;
}

static int mutex_lock(void *m)
{
    return pthread_mutex_lock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static int mutex_unlock(void *m)
{
    return pthread_mutex_unlock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static void mutex_free(void *m)
{
    if (m == NULL)
        return;
    pthread_mutex_destroy(m);
    free(m);
}

/* ---- the auxprop plugin: where SCRAM gets its verifier (RFC 5803 form) ---- */

static int lookup(void *context, sasl_server_params_t *params, unsigned flags, const char *user, unsigned n)
{
    struct sasl_server *s = the_server;
    char value[256];

    (void)context;
    if (s == NULL)
        return SASL_FAIL;
    if ((flags & SASL_AUXPROP_AUTHZID) != 0)
        return SASL_OK;
    const struct propval *wanted = params->utils->prop_get(params->propctx);
    for (; wanted != NULL && wanted->name != NULL; wanted++) {
        bool has_value = wanted->values != NULL && (flags & SASL_AUXPROP_OVERRIDE) == 0;
        if (strcmp(wanted->name, "*authPassword") != 0 || has_value)
            continue;
        verifier_scram(s->verifier, slice_of(user, n), value);
        int result = params->utils->prop_set(params->propctx, wanted->name, value, -1);
        mem_wipe(value, sizeof(value));
        return result;
    }
    return SASL_OK;
}

static int init_auxprop(const sasl_utils_t *utils, int max_version, int *out_version,
    sasl_auxprop_plug_t **plug, const char *name)
{
    static char plugin_name[] = PLUGIN;
    static sasl_auxprop_plug_t plugin;

    (void)utils;
    (void)name;
    if (max_version < SASL_AUXPROP_PLUG_VERSION)
        return SASL_BADVERS;
    *out_version = SASL_AUXPROP_PLUG_VERSION;
    plugin = (sasl_auxprop_plug_t){.auxprop_lookup = lookup, .name = plugin_name};
    *plug = &plugin;
    return SASL_OK;
}

/* ---- open and close ---- */

static bool has_mechanism(const char *name)
{
    const char **list = sasl_global_listmech();

    for (; list != NULL && *list != NULL; list++) {
        if (strcmp(*list, name) == 0)
            return true;
    }
    return false;
}

int sasl_load(const char *hostname, struct err *e)
{
    snprintf(library.hostname, sizeof(library.hostname), "%s", hostname);
    if (library.loaded)
        return 0;
    sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
    int result = sasl_server_init(global_callbacks, NULL);
    if (result != SASL_OK)
        return err_set(e, ERR_INTERNAL, "libsasl2 does not start: %s", sasl_errstring(result, NULL, NULL));
    result = sasl_auxprop_add_plugin(PLUGIN, init_auxprop);
    if (result != SASL_OK || !has_mechanism("PLAIN")) {
        sasl_server_done();
        return err_set(
            e, ERR_INTERNAL, "libsasl2 has no PLAIN in %s; install libsasl2-modules", POSTAMT_SASL_PLUGINS);
    }
    const char *plain = has_mechanism("LOGIN") ? "PLAIN LOGIN" : "PLAIN";
    snprintf(library.without_scram, sizeof(library.without_scram), "%s", plain);
    snprintf(library.with_scram, sizeof(library.with_scram), "%s%s",
        has_mechanism("SCRAM-SHA-256") ? "SCRAM-SHA-256 " : "", plain);
    library.loaded = true;
    return 0;
}

struct sasl_server *sasl_open(struct directory *d, uint64_t cache_seconds)
{
    struct sasl_server *s = mem_zalloc(1, sizeof(*s));

    INVARIANT(library.loaded && the_server == NULL);
    s->verifier = verifier_new(d, cache_seconds);
    the_server = s;
    return s;
}

void sasl_close(struct sasl_server *s)
{
    if (s == NULL)
        return;
    sasl_server_done();
    library.loaded = false;
    the_server = NULL;
    verifier_free(s->verifier);
    free(s);
}

void sasl_set_hash(struct sasl_server *s, const char *scheme)
{
    verifier_set_hash(s->verifier, scheme);
}

/*
 * libsasl2 opens /dev/urandom for the nonce of every SCRAM exchange; where it cannot (a sandbox without that
 * file) it makes one of time and process id and says nothing. Better no SCRAM than one with nonces that can
 * be guessed.
 */
static bool has_randomness(void)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

const char *sasl_server_mechanisms(struct sasl_server *s, bool scram)
{
    (void)s;
    return scram && has_randomness() ? library.with_scram : library.without_scram;
}

/* ---- one exchange ---- */

static void note_user(struct sasl_exchange *x, const char *user, size_t n)
{
    if (x->user_n > 0 || n == 0)
        return;
    x->user_n = n < sizeof(x->user) ? n : sizeof(x->user);
    memcpy(x->user, user, x->user_n);
}

/*
 * The name as it goes on: normalised. One that no account can have becomes a name without '@', made from a
 * hash, so that it is refused at the same point and in the same words as an unknown one.
 */
static int canon_user(sasl_conn_t *conn, void *context, const char *in, unsigned in_n, unsigned flags,
    const char *realm, char *out, unsigned out_max, unsigned *out_n)
{
    struct sasl_exchange *x = context;
    struct buf name = BUF_INIT(out_max - 1);
    struct slice raw = in_n > 0 ? slice_of(in, in_n) : slice_str(in);

    (void)conn;
    (void)realm;
    if ((flags & SASL_CU_AUTHID) != 0)
        note_user(x, raw.p, raw.n);
    if (!verifier_name(raw, &name)) {
        unsigned char mark[32];
        verifier_mark(x->server->verifier, raw, mark);
        buf_add_char(&name, '?');
        for (size_t i = 0; i < 16; i++)
            buf_printf(&name, "%02x", mark[i]);
    }
    if (name.full || name.n >= out_max) {
        buf_free(&name);
        return SASL_BUFOVER;
    }
    memcpy(out, name.p, name.n);
    out[name.n] = '\0';
    *out_n = (unsigned)name.n;
    buf_free(&name);
    return SASL_OK;
}

/* PLAIN and LOGIN */
static int check_password(sasl_conn_t *conn, void *context, const char *user, const char *password,
    unsigned n, struct propctx *properties)
{
    struct sasl_exchange *x = context;
    struct slice secret = slice_of(password, n);
    struct buf account = BUF_INIT((size_t)4 * VERIFIER_NAME_MAX);

    (void)conn;
    (void)properties;
    bool good = verifier_check(x->server->verifier, x->service, mechanism_names[x->mechanism],
        slice_str(user), secret, &account, &x->why);
    buf_free(&account);
    return good ? SASL_OK : SASL_BADAUTH;
}

struct sasl_exchange *sasl_exchange_new(
    struct sasl_server *s, const char *service, bool tls, const char *client_ip)
{
    struct sasl_exchange *x = mem_zalloc(1, sizeof(*x));
    /* max_ssf 0: no security layers below ours. Passwords are let through by the external layer alone. */
    sasl_security_properties_t properties = {
        .maxbufsize = 0, .security_flags = SASL_SEC_NOPLAINTEXT | SASL_SEC_NOANONYMOUS};
    sasl_ssf_t external = tls ? 256 : 2;

    (void)client_ip; /* the library wants "address;port" and no mechanism of ours uses it */
    x->server = s;
    snprintf(x->service, sizeof(x->service), "%s", service);
    x->callbacks[0] = (sasl_callback_t){SASL_CB_CANON_USER, (callback)(void *)canon_user, x};
    x->callbacks[1] = (sasl_callback_t){SASL_CB_SERVER_USERDB_CHECKPASS, (callback)(void *)check_password, x};
    x->callbacks[2] = (sasl_callback_t){SASL_CB_LIST_END, NULL, NULL};
    if (sasl_server_new(x->service, library.hostname, NULL, NULL, NULL, x->callbacks, 0, &x->conn) ==
            SASL_OK &&
        sasl_setprop(x->conn, SASL_SEC_PROPS, &properties) == SASL_OK &&
        sasl_setprop(x->conn, SASL_SSF_EXTERNAL, &external) == SASL_OK)
        return x;
    sasl_exchange_free(x);
    return NULL;
}

void sasl_exchange_free(struct sasl_exchange *x)
{
    if (x == NULL)
        return;
    sasl_dispose(&x->conn);
    mem_wipe(x, sizeof(*x));
    free(x);
}

struct slice sasl_exchange_user(const struct sasl_exchange *x)
{
    return slice_of(x->user, x->user_n);
}

static enum sasl_outcome refuse(struct sasl_exchange *x, struct err *e, enum err_code code, const char *why)
{
    x->over = true;
    err_set(e, code, "%s", why);
    return SASL_REFUSED;
}

/* The library is content: who is it, and may he still come in? */
static enum sasl_outcome finish(struct sasl_exchange *x, struct buf *account, struct err *e)
{
    const void *authenticated = NULL, *acts_as = NULL;

    x->over = true;
    if (sasl_getprop(x->conn, SASL_AUTHUSER, &authenticated) != SASL_OK || authenticated == NULL ||
        sasl_getprop(x->conn, SASL_USERNAME, &acts_as) != SASL_OK || acts_as == NULL)
        return refuse(x, e, ERR_INTERNAL, "libsasl2 does not say who it was");
    struct slice name = slice_str(authenticated);
    if (!slice_eq(name, slice_str(acts_as)))
        return refuse(x, e, ERR_AUTH_FAILED, "wants to act as somebody else");
    if (!verifier_is_usable(x->server->verifier, name, e))
        return SASL_REFUSED;
    buf_add(account, name);
    return SASL_DONE;
}

static enum sasl_outcome judge(struct sasl_exchange *x, int result, const char *out, unsigned out_n,
    struct buf *to_client, struct buf *account, struct err *e)
{
    switch (result) {
    case SASL_CONTINUE:
        if (out != NULL)
            buf_add(to_client, slice_of(out, out_n));
        return SASL_CONTINUE_EXCHANGE;
    case SASL_OK:
        return finish(x, account, e);
    case SASL_NOMECH:
        return refuse(x, e, ERR_AUTH_MECHANISM, mechanism_names[x->mechanism]);
    case SASL_NOMEM:
        return refuse(x, e, ERR_INTERNAL, "libsasl2 has no memory");
    default:
        /* Everything else is one answer to the client: unknown user, wrong password, nonsense. */
        if (x->why.code != ERR_OK)
            return refuse(x, e, x->why.code, x->why.detail);
        return refuse(x, e, ERR_AUTH_FAILED, sasl_errstring(result, NULL, NULL));
    }
}

/* What libsasl2 must not see; NULL: fine. */
static const char *message_fault(struct sasl_exchange *x, struct slice message)
{
    if (message.n > MESSAGE_MAX)
        return "the message is too long";
    if (message.n == 0)
        return NULL;
    x->messages++;
    /* RFC 5802 7: "p=.." asks for channel binding; 2.1.28 then reads bindings that were never set. */
    if (x->mechanism == SCRAM_SHA_256 && x->messages == 1 && message.p[0] == 'p')
        return "channel binding is not offered";
    return NULL;
}

/* A copy with a NUL behind it, which the mechanisms rely on in places. */
static char *copy_message(struct slice message)
{
    char *z = mem_alloc(message.n + 1);

    if (message.n > 0)
        memcpy(z, message.p, message.n);
    z[message.n] = '\0';
    return z;
}

enum sasl_outcome sasl_exchange_start(struct sasl_exchange *x, struct slice mechanism, bool has_initial,
    struct slice initial, struct buf *to_client, struct buf *account, struct err *e)
{
    const char *out = NULL;
    unsigned out_n = 0;
    int m = 0;

    if (x->started)
        return refuse(x, e, ERR_INTERNAL, "the exchange was started twice");
    x->started = true;
    while (m < MECHANISMS && !slice_eq_nocase(mechanism, slice_str(mechanism_names[m])))
        m++;
    if (m == MECHANISMS)
        return refuse(x, e, ERR_AUTH_MECHANISM, "a mechanism that is not offered");
    x->mechanism = (enum mechanism)m;
    if (x->mechanism == SCRAM_SHA_256 && !has_randomness())
        return refuse(x, e, ERR_AUTH_MECHANISM, "/dev/urandom cannot be read");
    const char *fault = message_fault(x, initial);
    if (fault != NULL)
        return refuse(x, e, ERR_AUTH_FAILED, fault);
    char *z = has_initial ? copy_message(initial) : NULL;
    int result = sasl_server_start(
        x->conn, mechanism_names[m], z, has_initial ? (unsigned)initial.n : 0, &out, &out_n);
    enum sasl_outcome outcome = judge(x, result, out, out_n, to_client, account, e);
    if (z != NULL)
        mem_wipe(z, initial.n);
    free(z);
    return outcome;
}

enum sasl_outcome sasl_exchange_step(struct sasl_exchange *x, struct slice from_client, struct buf *to_client,
    struct buf *account, struct err *e)
{
    const char *out = NULL;
    unsigned out_n = 0;

    if (!x->started || x->over)
        return refuse(x, e, ERR_AUTH_FAILED, "a step outside an exchange");
    const char *fault = message_fault(x, from_client);
    if (fault != NULL)
        return refuse(x, e, ERR_AUTH_FAILED, fault);
    char *z = copy_message(from_client);
    int result = sasl_server_step(x->conn, z, (unsigned)from_client.n, &out, &out_n);
    enum sasl_outcome outcome = judge(x, result, out, out_n, to_client, account, e);
    mem_wipe(z, from_client.n);
    free(z);
    return outcome;
}

/* ---- POP3 USER/PASS, IMAP LOGIN ---- */

bool sasl_check_password(struct sasl_server *s, const char *service, struct slice user, struct slice password,
    struct buf *account, struct err *e)
{
    return verifier_check(s->verifier, service, "", user, password, account, e);
}

bool sasl_check_is_cached(
    struct sasl_server *s, const char *service, struct slice user, struct slice password)
{
    return verifier_is_cached(s->verifier, service, "", user, password);
}

void sasl_forget(struct sasl_server *s, struct slice account)
{
    verifier_forget(s->verifier, account);
}
