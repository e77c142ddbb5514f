#include "common/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "common/tls_internal.h"

#define BLOB_MAGIC "postamt-tls-1\n"
#define BLOB_MAX ((size_t)1024 * 1024)
#define TICKET_OCTETS 80
#define PAIRS_MAX 4096

/* Certificates for the same names with keys of different kinds share one; the client's algorithms decide. */
struct group {
    SSL_CTX *ssl;
    char *names; /* of its first certificate, sorted, comma-separated */
    bool has_rsa, has_ec;
};

struct name {
    char *text; /* lower case; a wildcard as "*.example.org" */
    size_t group;
};

struct tls_context {
    size_t refs;
    struct group *groups; /* the first is the default */
    size_t ngroups;
    struct name *names; /* sorted; of equal ones the first certificate's is kept */
    size_t nnames;
};

/* --- the blob --- */

static void put_size(struct buf *b, size_t n)
{
    const char octets[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

    buf_add(b, slice_of(octets, sizeof octets));
}

static bool get_size(struct slice *from, size_t *n)
{
    const unsigned char *p = (const unsigned char *)from->p;

    if (from->n < 4)
        return false;
    *n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    *from = slice_from(*from, 4);
    return true;
}

static bool get_text(struct slice *from, struct slice *text)
{
    size_t n;

    if (!get_size(from, &n) || n > from->n)
        return false;
    *text = slice_sub(*from, 0, n);
    *from = slice_from(*from, n);
    return true;
}

bool tls_pack(const struct tls_pair *pairs, size_t n, const unsigned char ticket_keys[80], struct buf *blob)
{
    struct buf b = BUF_INIT(BLOB_MAX);
    bool fits = n > 0 && n <= PAIRS_MAX;
    size_t i;

    buf_add(&b, SLICE(BLOB_MAGIC));
    buf_add(&b, slice_of((const char *)ticket_keys, TICKET_OCTETS));
    put_size(&b, n);
    for (i = 0; i < n && fits && !b.full; i++) {
        fits = pairs[i].chain.n <= BLOB_MAX && pairs[i].key.n <= BLOB_MAX;
        put_size(&b, pairs[i].chain.n);
        buf_add(&b, pairs[i].chain);
        put_size(&b, pairs[i].key.n);
        buf_add(&b, pairs[i].key);
    }
    fits = fits && !b.full;
    if (fits) {
        buf_add(blob, buf_slice(&b));
        fits = !blob->full;
    }
    if (b.p)
        mem_wipe(b.p, b.size);
    buf_free(&b);
    return fits;
}

/* --- one context --- */

/* RFC 7301 3.2, guards against ALPACA: a client that names protocols and not ours is refused. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
    unsigned int inlen, void *arg)
{
    const char *ours = SSL_get_app_data(ssl);
    size_t n = ours ? strlen(ours) : 0;
    unsigned int at;

    (void)arg;
    if (!n)
        return SSL_TLSEXT_ERR_NOACK;
    for (at = 0; at < inlen && in[at] <= inlen - at - 1; at += in[at] + 1U) {
        if (in[at] == n && memcmp(in + at + 1, ours, n) == 0) {
            *out = in + at + 1;
            *outlen = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static const struct name *find_name(const struct tls_context *t, const char *text)
{
    size_t low = 0, high = t->nnames;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int cmp = strcmp(text, t->names[mid].text);

        if (cmp == 0)
            return &t->names[mid];
        if (cmp < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

/* RFC 6066 3: what the client asks for. Nothing is allocated for a name; an unknown one gets the default. */
static int choose_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_context *t = arg;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    char text[256];
    const struct name *name;
    const char *dot;
    size_t n;

    (void)alert;
    if (!asked || (n = strlen(asked)) == 0 || n >= sizeof text)
        return SSL_TLSEXT_ERR_NOACK;
    text[n] = '\0';
    while (n-- > 0)
        text[n] = ascii_lower(asked[n]);
    name = text[0] == '*' ? NULL : find_name(t, text);
    if (!name && text[0] != '*' && (dot = strchr(text, '.')) && dot > text) {
        /* one label: "*" takes the place of the first, moved up against the dot */
        char *star = text + (dot - text) - 1;

        *star = '*';
        name = find_name(t, star);
    }
    if (!name)
        return SSL_TLSEXT_ERR_NOACK;
    if (name->group && !SSL_set_SSL_CTX(ssl, t->groups[name->group].ssl))
        return SSL_TLSEXT_ERR_NOACK;
    return SSL_TLSEXT_ERR_OK;
}

/* security.md 4.2 */
static SSL_CTX *ctx_new(struct tls_context *t, bool tickets, const unsigned char *ticket_keys)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    uint64_t options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF;

    if (!c)
        return NULL;
    if (!tickets)
        options |= SSL_OP_NO_TICKET;
    SSL_CTX_set_options(c, options);
    SSL_CTX_clear_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_ALLOW_NO_DHE_KEX);
    SSL_CTX_set_mode(
        c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(c, 1); /* a record costs one read, not two */
    SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_tlsext_servername_callback(c, choose_name);
    SSL_CTX_set_tlsext_servername_arg(c, t);
    SSL_CTX_set_alpn_select_cb(c, choose_alpn, NULL);
    if (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) != 1 || SSL_CTX_set_max_proto_version(c, 0) != 1 ||
        SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set_ciphersuites(
            c, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(c, "X25519:P-256") != 1 || SSL_CTX_set_max_early_data(c, 0) != 1 ||
        SSL_CTX_set_num_tickets(c, tickets ? 1 : 0) != 1 ||
        SSL_CTX_set_session_id_context(c, (const unsigned char *)"postamt", 7) != 1 ||
        (tickets && SSL_CTX_set_tlsext_ticket_keys(c, (void *)(uintptr_t)ticket_keys, TICKET_OCTETS) != 1)) {
        SSL_CTX_free(c);
        return NULL;
    }
    return c;
}

/* --- a context from the blob --- */

struct loading {
    struct tls_context *t;
    bool tickets;
    const unsigned char *ticket_keys;
    size_t room; /* of t->names */
};

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* Adds a certificate's names; those known already stay with the certificate that came first. */
static void add_names(struct loading *l, const char *names, size_t group)
{
    struct tls_context *t = l->t;
    struct slice rest = slice_str(names), one;
    size_t i;

    while (slice_cut(&rest, ',', &one)) {
        for (i = 0; i < t->nnames && !slice_eq(one, slice_str(t->names[i].text)); i++)
            ;
        if (i < t->nnames)
            continue;
        if (t->nnames == l->room) {
            l->room = l->room ? l->room * 2 : 16;
            t->names = mem_realloc(t->names, l->room, sizeof *t->names);
        }
        t->names[t->nnames++] = (struct name){slice_dup(one), group};
    }
}

static struct group *group_for(struct loading *l, const char *names, bool ec)
{
    struct tls_context *t = l->t;
    struct group *g;
    size_t i;

    for (i = 0; i < t->ngroups; i++) {
        g = &t->groups[i];
        if (strcmp(g->names, names) == 0 && !(ec ? g->has_ec : g->has_rsa))
            return g;
    }
    g = &t->groups[t->ngroups];
    *g = (struct group){.ssl = ctx_new(t, l->tickets, l->ticket_keys)};
    if (!g->ssl)
        return NULL;
    g->names = mem_strdup(names);
    t->ngroups++;
    return g;
}

static int add_pair(struct loading *l, const struct tls_pair *pair, size_t number, struct err *e)
{
    struct tls_cert c;
    struct err why = {0};
    struct group *g;
    bool ec, ok;
    int i;

    if (tls_cert_read(&c, pair->chain, pair->key, &why) < 0)
        return err_set(e, ERR_CONFIG, "certificate %zu: %s", number, why.detail);
    ec = EVP_PKEY_get_base_id(c.key) != EVP_PKEY_RSA;
    g = group_for(l, c.names, ec);
    ok = g && SSL_CTX_use_certificate(g->ssl, c.leaf) == 1 && SSL_CTX_use_PrivateKey(g->ssl, c.key) == 1;
    for (i = 0; ok && i < sk_X509_num(c.more); i++)
        ok = SSL_CTX_add1_chain_cert(g->ssl, sk_X509_value(c.more, i)) == 1;
    if (ok) {
        *(ec ? &g->has_ec : &g->has_rsa) = true;
        add_names(l, c.names, (size_t)(g - l->t->groups));
    } else {
        const char *text = ERR_reason_error_string(ERR_peek_last_error());

        err_set(e, ERR_CONFIG, "certificate %zu (%.80s): %s", number, c.names,
            text ? text : "OpenSSL refuses it");
    }
    tls_cert_free(&c);
    return ok ? 0 : -1;
}

static int load(struct loading *l, struct slice rest, struct err *e)
{
    struct tls_pair pair;
    size_t n, i;

    if (!get_size(&rest, &n) || n == 0 || n > PAIRS_MAX)
        return err_set(e, ERR_CONFIG, "no certificate");
    l->t->groups = mem_zalloc(n, sizeof *l->t->groups);
    for (i = 0; i < n; i++) {
        if (!get_text(&rest, &pair.chain) || !get_text(&rest, &pair.key))
            return err_set(e, ERR_CONFIG, "certificate %zu: cut off", i + 1);
        if (add_pair(l, &pair, i + 1, e) < 0)
            return -1;
    }
    if (rest.n)
        return err_set(e, ERR_CONFIG, "certificates: unexpected octets at the end");
    if (l->t->nnames)
        qsort(l->t->names, l->t->nnames, sizeof *l->t->names, by_text);
    return 0;
}

struct tls_context *tls_context_new(struct slice blob, bool tickets, struct err *e)
{
    size_t head = sizeof BLOB_MAGIC - 1;
    struct loading l = {.tickets = tickets};

    if (blob.n < head + TICKET_OCTETS || !slice_starts(blob, SLICE(BLOB_MAGIC))) {
        err_set(e, ERR_CONFIG, "certificates: not packed by this version");
        return NULL;
    }
    ERR_clear_error();
    l.t = mem_zalloc(1, sizeof *l.t);
    l.t->refs = 1;
    l.ticket_keys = (const unsigned char *)blob.p + head;
    if (load(&l, slice_from(blob, head + TICKET_OCTETS), e) < 0) {
        tls_context_free(l.t);
        ERR_clear_error();
        return NULL;
    }
    return l.t;
}

struct tls_context *tls_context_of(SSL_CTX *ssl)
{
    struct tls_context *t = mem_zalloc(1, sizeof *t);

    t->refs = 1;
    t->groups = mem_zalloc(1, sizeof *t->groups);
    t->groups[0].ssl = ssl;
    t->ngroups = 1;
    return t;
}

struct tls_context *tls_context_ref(struct tls_context *t)
{
    t->refs++;
    return t;
}

void tls_context_free(struct tls_context *t)
{
    size_t i;

    if (!t || --t->refs)
        return;
    for (i = 0; i < t->ngroups; i++) {
        SSL_CTX_free(t->groups[i].ssl);
        free(t->groups[i].names);
    }
    for (i = 0; i < t->nnames; i++)
        free(t->names[i].text);
    free(t->groups);
    free(t->names);
    free(t);
}

struct ssl_ctx_st *tls_context_ssl(struct tls_context *t)
{
    return t->groups[0].ssl;
}
