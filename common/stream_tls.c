/* TLS on a stream. Once it has begun the fd is read and written through the SSL object only, to
 * its end. */
#include "common/stream_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "common/tls_internal.h"

/* A full record: more has probably come behind it. */
#define FULL_RECORD 16384

static const char *reason(const char *fallback)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    return text ? text : fallback;
}

/* The SSL object, if nothing speaks against it. */
static bool begin(struct stream *s, struct tls_context *tls)
{
    bool waits = s->in_n > 0 || s->skip_line;

    if (s->dead || s->ended || s->ending || s->closing)
        return false;
    s->in_n = s->scanned = 0;
    s->skip_line = false;
    if (waits || s->tls_state != TLS_NONE) {
        /* What came in clear may be an attacker's: RFC 3207 4.2, CVE-2011-0411. Nothing is answered. */
        buf_free(&s->out);
        s->out_at = 0;
        s->paused = true;
        stream_fail(s, STREAM_ERROR, "input before TLS");
        return false;
    }
    ERR_clear_error();
    s->ssl = SSL_new(tls_context_ssl(tls));
    if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1) {
        stream_fail(s, STREAM_ERROR, reason("TLS cannot start"));
        return false;
    }
    s->tls = tls_context_ref(tls);
    return true;
}

void stream_start_tls(struct stream *s, struct tls_context *tls, const char *alpn, bool starttls)
{
    if (!begin(s, tls))
        return;
    SSL_set_app_data(s->ssl, (char *)(uintptr_t)alpn);
    SSL_set_accept_state(s->ssl);
    if (starttls)
        stream_flush(s);
    s->clear_left = starttls ? stream_pending(s) : 0;
    s->tls_state = s->clear_left ? TLS_CLEAR_FIRST : TLS_HANDSHAKE;
    stream_due(s, DUE_HANDSHAKE, stream_tuning.handshake_ms);
    if (s->depth == 0) {
        stream_kick(s); /* arms what the handshake waits for */
    }
}

void stream_start_tls_client(struct stream *s, struct tls_context *tls, const struct tls_peer *peer)
{
    const char *wrong;

    if (!begin(s, tls))
        return;
    stream_flush(s);
    wrong = stream_pending(s) ? "output before TLS" : tls_client_prepare(s->ssl, peer);
    if (wrong) {
        s->tls_broken = true;
        stream_fail(s, STREAM_ERROR, wrong);
        return;
    }
    SSL_set_connect_state(s->ssl);
    s->tls_state = TLS_HANDSHAKE;
    stream_want_write(s); /* it is the client who speaks first */
}

static void tls_failed(struct stream *s, int err, const char *fallback)
{
    const char *text = fallback;

    s->tls_broken = true;
    if (err == SSL_ERROR_SYSCALL && errno)
        text = strerrordesc_np(errno);
    else
        text = reason(fallback);
    stream_fail(s, STREAM_ERROR, text);
}

static void secured(struct stream *s)
{
    s->tls_state = TLS_ON;
    stream_due(s, DUE_HANDSHAKE, 0);
    if (s->writing) {
        event_del(&s->write_ev);
        s->writing = false;
    }
    s->in_more = SSL_has_pending(s->ssl) == 1;
    if (s->ops->secured)
        s->ops->secured(s->ctx, s);
}

void stream_tls_step(struct stream *s)
{
    int r, err;

    ERR_clear_error();
    errno = 0;
    r = SSL_do_handshake(s->ssl);
    if (r == 1) {
        secured(s);
        return;
    }
    err = SSL_get_error(s->ssl, r);
    if (err == SSL_ERROR_WANT_WRITE) {
        stream_want_write(s);
        return;
    }
    if (s->writing) {
        event_del(&s->write_ev);
        s->writing = false;
    }
    if (err != SSL_ERROR_WANT_READ)
        tls_failed(s, err, "closed during the TLS handshake");
}

enum stream_io stream_tls_read(struct stream *s, char *to, size_t room, size_t *got)
{
    size_t n = 0;
    int err;

    *got = 0;
    do {
        ERR_clear_error();
        errno = 0;
        if (SSL_read_ex(s->ssl, to + *got, room - *got, &n) != 1) {
            err = SSL_get_error(s->ssl, 0);
            if (err == SSL_ERROR_WANT_READ)
                return IO_AGAIN;
            if (err == SSL_ERROR_WANT_WRITE) {
                s->tls_wants_write = true;
                stream_want_write(s);
                return IO_AGAIN;
            }
            if (err == SSL_ERROR_ZERO_RETURN)
                return IO_EOF;
            s->tls_broken = true;
            s->in_detail = err == SSL_ERROR_SYSCALL && errno ? strerrordesc_np(errno) : reason("TLS error");
            return IO_FAIL;
        }
        *got += n;
    } while (*got < room && (n == FULL_RECORD || SSL_has_pending(s->ssl)));
    /* the SSL object may hold part of a record: one more read tells, and the rest makes the socket readable
     */
    s->in_more = SSL_has_pending(s->ssl) == 1;
    return IO_OK;
}

enum stream_io stream_tls_write(struct stream *s, const char *p, size_t n, size_t *put)
{
    int err;

    ERR_clear_error();
    errno = 0;
    if (SSL_write_ex(s->ssl, p, n, put) == 1)
        return IO_OK;
    *put = 0;
    err = SSL_get_error(s->ssl, 0);
    if (err == SSL_ERROR_WANT_WRITE)
        return IO_AGAIN;
    /* WANT_READ comes with renegotiation only, which is off */
    tls_failed(s, err, "TLS error");
    return IO_FAIL;
}

/* close_notify, as far as the socket takes it; the peer's is not waited for. */
void stream_tls_goodbye(struct stream *s)
{
    if (s->tls_state != TLS_ON || s->tls_broken || s->write_failed ||
        (SSL_get_shutdown(s->ssl) & SSL_SENT_SHUTDOWN))
        return;
    ERR_clear_error();
    if (SSL_shutdown(s->ssl) < 0)
        ERR_clear_error();
}

void stream_tls_free(struct stream *s)
{
    stream_tls_goodbye(s);
    SSL_free(s->ssl);
    s->ssl = NULL;
    tls_context_free(s->tls);
    s->tls = NULL;
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls_state == TLS_ON;
}

void stream_tls_text(const struct stream *s, struct buf *out)
{
    if (s->tls_state == TLS_ON && s->ssl)
        buf_printf(out, "%s %s", SSL_get_version(s->ssl), SSL_get_cipher_name(s->ssl));
}

const char *stream_tls_verified(const struct stream *s, const char **why)
{
    *why = "no TLS";
    return s->tls_state == TLS_ON && s->ssl ? tls_client_verified(s->ssl, why) : "no";
}

/* RFC 9266 4.1: the label, and a context of no octets */
bool stream_tls_exporter(const struct stream *s, unsigned char out[32])
{
    static const char label[] = "EXPORTER-Channel-Binding";

    if (s->tls_state != TLS_ON || !s->ssl || SSL_version(s->ssl) != TLS1_3_VERSION)
        return false;
    ERR_clear_error();
    return SSL_export_keying_material(s->ssl, out, 32, label, sizeof label - 1, NULL, 0, 0) == 1;
}
