#include "mail/dkim.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "mail/address.h"
#include "mail/decode.h"
#include "mail/dkim_canon.h"
#include "mail/header.h"

#define LINE_MAX_COLUMNS 78
#define INSTANCES_MAX 16
#define HASH_OCTETS 32
#define SIGNATURE_MAX 512 /* RSA of 4096 bits */

/* What is signed (RFC 6376 5.4.1), in the order of h=; sealed: named once more than it is there. */
static const struct signed_field {
    struct slice name;
    bool sealed;
} fields[] = {
#define F(name, sealed)                                                                                      \
    {                                                                                                        \
        {name, sizeof(name) - 1}, sealed                                                                     \
    }
    F("From", true),
    F("To", true),
    F("Cc", false),
    F("Subject", true),
    F("Date", true),
    F("Message-ID", false),
    F("In-Reply-To", false),
    F("References", false),
    F("Reply-To", false),
    F("Sender", false),
    F("MIME-Version", false),
    F("Content-Type", false),
    F("Content-Transfer-Encoding", false),
    F("List-Id", false),
    F("List-Help", false),
    F("List-Unsubscribe", false),
    F("List-Unsubscribe-Post", false),
    F("List-Subscribe", false),
    F("List-Post", false),
    F("List-Owner", false),
    F("List-Archive", false),
#undef F
};
#define NFIELDS (sizeof fields / sizeof *fields)

struct dkim {
    struct dkim_canon canon;
    EVP_MD_CTX *hash;
    struct buf header; /* the signed fields, canonical, in the order of h= */
    size_t present[NFIELDS];
    unsigned char body_hash[HASH_OCTETS];
    bool failed, ended; /* OpenSSL failed; dkim_end was called */
};

struct dkim *dkim_new(void)
{
    struct dkim *d = mem_zalloc(1, sizeof *d);

    d->header = BUF_INIT(BUF_OWN);
    d->hash = EVP_MD_CTX_new();
    INVARIANT(d->hash);
    return d;
}

void dkim_free(struct dkim *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->hash);
    buf_free(&d->header);
    free(d);
}

/* --- what is signed --- */

static ssize_t field_index(struct slice name)
{
    for (size_t i = 0; i < NFIELDS; i++)
        if (slice_eq_nocase(name, fields[i].name))
            return (ssize_t)i;
    return -1;
}

static void hash_body(void *ctx, struct slice run)
{
    struct dkim *d = ctx;

    if (EVP_DigestUpdate(d->hash, run.p, run.n) != 1)
        d->failed = true;
}

int dkim_begin(struct dkim *d, struct slice header, struct err *e)
{
    struct header_field found[NFIELDS][INSTANCES_MAX], field;
    struct slice rest = header;

    buf_clear(&d->header);
    d->ended = false;
    d->failed = EVP_DigestInit_ex(d->hash, EVP_sha256(), NULL) != 1;
    dkim_canon_init(&d->canon, hash_body, d);
    for (size_t i = 0; i < NFIELDS; i++)
        d->present[i] = 0;
    if (header.n > HEADER_LOOK_MAX)
        return err_set(e, ERR_TOO_BIG, "the header is larger than %zu octets: not signed", HEADER_LOOK_MAX);
    while (header_next(&rest, &field)) {
        ssize_t i = field_index(field.name);

        if (i < 0)
            continue;
        if (d->present[i] == INSTANCES_MAX)
            return err_set(
                e, ERR_LIMIT, "%s is there more than %d times: not signed", fields[i].name.p, INSTANCES_MAX);
        found[i][d->present[i]++] = field;
    }
    for (size_t i = 0; i < NFIELDS; i++)
        for (size_t k = d->present[i]; k > 0; k--) {
            dkim_canon_field(&d->header, found[i][k - 1].name, found[i][k - 1].value);
            buf_add(&d->header, SLICE("\r\n"));
        }
    return 0;
}

void dkim_body(struct dkim *d, struct slice piece)
{
    dkim_canon_body(&d->canon, piece);
}

void dkim_end(struct dkim *d)
{
    dkim_canon_end(&d->canon);
    if (EVP_DigestFinal_ex(d->hash, d->body_hash, NULL) != 1)
        d->failed = true;
    d->ended = true;
}

/* --- the field --- */

/* Writes tags so that no line is longer than it should be; where it folds is a place where blanks may stand.
 */
struct writer {
    struct buf *out;
    size_t column;
};

/* A word that stays whole, with a blank in front of it unless the line is new. */
static void put_tag(struct writer *w, struct slice word)
{
    if (w->column + 1 + word.n > LINE_MAX_COLUMNS) {
        buf_add(w->out, SLICE("\r\n\t"));
        w->column = 1;
    } else {
        buf_add_char(w->out, ' ');
        w->column++;
    }
    buf_add(w->out, word);
    w->column += word.n;
}

/* More of the tag: a name of h= with what ends it. */
static void put_more(struct writer *w, struct slice word)
{
    if (w->column + word.n > LINE_MAX_COLUMNS) {
        buf_add(w->out, SLICE("\r\n\t"));
        w->column = 1;
    }
    buf_add(w->out, word);
    w->column += word.n;
}

/* Base64 may be cut anywhere. */
static void put_base64(struct writer *w, struct slice text)
{
    while (text.n) {
        size_t room = w->column < LINE_MAX_COLUMNS ? LINE_MAX_COLUMNS - w->column : 0;
        struct slice part = slice_sub(text, 0, room);

        buf_add(w->out, part);
        w->column += part.n;
        text = slice_from(text, part.n);
        if (text.n) {
            buf_add(w->out, SLICE("\r\n\t"));
            w->column = 1;
        }
    }
}

static void put_names(struct writer *w, const struct dkim *d)
{
    struct buf word = BUF_INIT(128);
    size_t left = 0, total;

    for (size_t i = 0; i < NFIELDS; i++)
        left += d->present[i] + fields[i].sealed;
    total = left;
    for (size_t i = 0; i < NFIELDS; i++)
        for (size_t k = 0; k < d->present[i] + fields[i].sealed; k++) {
            buf_clear(&word);
            if (left == total)
                buf_add(&word, SLICE("h="));
            buf_add(&word, fields[i].name);
            buf_add_char(&word, left == 1 ? ';' : ':');
            if (left == total)
                put_tag(w, buf_slice(&word));
            else
                put_more(w, buf_slice(&word));
            left--;
        }
    buf_free(&word);
}

/* A domain in A-labels, lower case. */
static bool put_domain(struct buf *out, struct slice domain)
{
    struct address a = {.local = SLICE("x"), .domain = domain};
    struct buf whole = BUF_INIT(2 + ADDRESS_DOMAIN_MAX);
    bool good = address_is_domain(domain) && address_normalise(&a, &whole);

    if (good)
        buf_add(out, slice_from(buf_slice(&whole), 2));
    buf_free(&whole);
    return good;
}

/* RFC 6376 2.11: dkim-quoted-printable; what is no letter, digit or one of "-._+" is written as =XX. */
static void put_quoted(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (ascii_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '+')
            buf_add_char(out, c);
        else
            buf_printf(out, "=%02X", (unsigned)(unsigned char)c);
    }
}

/* i= must lie in d= or below it (RFC 6376 3.5). */
static bool put_identity(struct buf *out, struct slice identity, struct slice domain)
{
    ssize_t at = slice_rchr(identity, '@');
    struct buf below = BUF_INIT(2 * ADDRESS_DOMAIN_MAX);
    bool good;

    if (at < 0 || at > ADDRESS_LOCAL_MAX)
        return false;
    good = put_domain(&below, slice_from(identity, (size_t)at + 1)) &&
           slice_ends(buf_slice(&below), domain) &&
           (below.n == domain.n || below.p[below.n - domain.n - 1] == '.');
    if (good) {
        buf_add(out, SLICE("i="));
        put_quoted(out, slice_sub(identity, 0, (size_t)at));
        buf_add_char(out, '@');
        buf_add(out, buf_slice(&below));
        buf_add_char(out, ';');
    }
    buf_free(&below);
    return good;
}

/* The tags that say who signs, each a word; false: one of them cannot be written. */
static bool put_signer(struct writer *w, const struct dkim_signer *s)
{
    struct buf word = BUF_INIT(1024), domain = BUF_INIT(ADDRESS_DOMAIN_MAX);
    bool good = put_domain(&domain, s->domain) && dkim_is_selector(s->selector);

    if (good) {
        buf_printf(&word, "d=%.*s;", SLICE_FMT(buf_slice(&domain)));
        put_tag(w, buf_slice(&word));
        buf_clear(&word);
        buf_printf(&word, "s=%.*s;", SLICE_FMT(s->selector));
        put_tag(w, buf_slice(&word));
    }
    if (good && s->identity.n) {
        buf_clear(&word);
        good = put_identity(&word, s->identity, buf_slice(&domain));
        put_tag(w, buf_slice(&word));
    }
    buf_free(&word);
    buf_free(&domain);
    return good;
}

/* The field up to "b=", as it is signed and as it goes out. */
static bool put_unsigned(struct writer *w, const struct dkim *d, const struct dkim_signer *s, int64_t now)
{
    struct buf word = BUF_INIT(128);

    buf_add(w->out, SLICE("DKIM-Signature:"));
    w->column = sizeof "DKIM-Signature:" - 1;
    put_tag(w, SLICE("v=1;"));
    put_tag(w, dkim_key_algorithm(s->key) == DKIM_RSA ? SLICE("a=rsa-sha256;") : SLICE("a=ed25519-sha256;"));
    put_tag(w, SLICE("c=relaxed/relaxed;"));
    if (!put_signer(w, s))
        return false;
    buf_printf(&word, "t=%lld;", (long long)now);
    put_tag(w, buf_slice(&word));
    buf_clear(&word);
    put_names(w, d);
    buf_add(&word, SLICE("bh="));
    base64_encode(slice_of(d->body_hash, sizeof d->body_hash), &word);
    buf_add_char(&word, ';');
    put_tag(w, buf_slice(&word));
    buf_free(&word);
    put_tag(w, SLICE("b="));
    return !w->out->full;
}

/* RFC 6376 3.7: the fields, then this one with an empty b= and without its CRLF. */
static bool put_signature(struct writer *w, struct dkim *d, const struct dkim_signer *s, size_t start)
{
    struct slice field = slice_from(buf_slice(w->out), start);
    struct buf binary = BUF_INIT(SIGNATURE_MAX), text = BUF_INIT(2 * SIGNATURE_MAX);
    size_t n = d->header.n;
    bool good;

    dkim_canon_field(&d->header, SLICE("DKIM-Signature"), slice_from(field, sizeof "DKIM-Signature:" - 1));
    good = !d->header.full && dkim_key_sign(s->key, buf_slice(&d->header), &binary);
    buf_cut(&d->header, n);
    if (good) {
        base64_encode(buf_slice(&binary), &text);
        put_base64(w, buf_slice(&text));
        buf_add(w->out, SLICE("\r\n"));
    }
    buf_free(&binary);
    buf_free(&text);
    return good && !w->out->full;
}

int dkim_sign(struct dkim *d, const struct dkim_signer *signer, int64_t now, struct buf *out, struct err *e)
{
    struct writer w = {.out = out};
    size_t start = out->n;
    bool good;

    INVARIANT(d->ended);
    if (d->failed)
        return err_set(e, ERR_INTERNAL, "the body could not be hashed");
    good = put_unsigned(&w, d, signer, now < 0 ? 0 : now);
    if (good && put_signature(&w, d, signer, start))
        return 0;
    buf_cut(out, start);
    return good ? err_set(e, ERR_INTERNAL, "the message could not be signed")
                : err_set(e, ERR_SYNTAX, "the domain, selector or identity of a signature is not one");
}
