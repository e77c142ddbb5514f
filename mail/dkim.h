/*
 * dkim: signs messages (RFC 6376, 8301, 8463): relaxed/relaxed, rsa-sha256 with 2048 to 4096 bits,
 * ed25519-sha256. No I/O.
 *
 * The text is read once, in pieces, whatever the number of signatures: the header section as one slice, the
 * body as it comes. Signed are From To Cc Subject Date Message-ID In-Reply-To References Reply-To Sender
 * MIME-Version Content-Type Content-Transfer-Encoding and the fields of mailing lists, each as often as it is
 * there; From, To, Subject and Date are named once more than they are there, so that none can be added on the
 * way. `t=` is given, `l=` never. The last of the header's fields is signed first (RFC 6376 5.4.2).
 *
 *     struct dkim *d = dkim_new();
 *     if (dkim_begin(d, header, &e) == 0) { while (..) dkim_body(d, piece); }
 *     dkim_end(d);
 *     dkim_sign(d, &rsa, now, &field, &e); dkim_sign(d, &ed25519, now, &field, &e);    // two fields, put in
 * front dkim_free(d);
 *
 * Keys are opaque and are read from PEM; whoever keeps them knows where (auth/dkim_keys.h). Several threads
 * may sign with one key at a time.
 */
#ifndef MAIL_DKIM_H
#define MAIL_DKIM_H

#include "common/buf.h"
#include "common/err.h"

struct dkim_key;

enum dkim_algorithm { DKIM_RSA, DKIM_ED25519 };

#define DKIM_SELECTOR_MAX 63
#define DKIM_PEM_MAX 16384

/* Makes a key: RSA of 2048 bits (0.1 s and more of CPU) or Ed25519. NULL: e. */
struct dkim_key *dkim_key_new(enum dkim_algorithm algorithm, struct err *e);
/* A private key in PEM (PKCS#8 or PKCS#1), without a password. NULL: e says what is wrong with it. */
struct dkim_key *dkim_key_load(struct slice pem, struct err *e);
void dkim_key_free(struct dkim_key *key);
/* The private key as PKCS#8 PEM: a secret, which the caller wipes. False: out is full or OpenSSL failed. */
bool dkim_key_pem(const struct dkim_key *key, struct buf *out);
enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *key);
/* "rsa", "ed25519": the k= of the record. */
const char *dkim_algorithm_name(enum dkim_algorithm algorithm);

/* The TXT value for <selector>._domainkey.<domain>: "v=DKIM1; k=rsa; p=.." (RFC 6376 3.6.1). */
bool dkim_public_record(const struct dkim_key *key, struct buf *out);
/* A TXT value as a zone file has it: quoted strings of at most 255 octets, one blank between them (RFC 6376
 * 3.6.2.2). */
void dkim_record_split(struct slice record, struct buf *out);

/* The signature over a canonical text, binary: what b= holds. Used by dkim_sign and by tests. */
bool dkim_key_sign(const struct dkim_key *key, struct slice text, struct buf *out);

/* Letters, digits, hyphens; what names a key below _domainkey and its file. */
bool dkim_is_selector(struct slice s);

struct dkim_signer {
    struct slice domain;   /* d=: U-labels become A-labels (RFC 8616) */
    struct slice selector; /* s= */
    struct slice identity; /* i=: "@sub.domain" or "local@domain"; empty: none is written */
    const struct dkim_key *key;
};

struct dkim;

struct dkim *dkim_new(void);
void dkim_free(struct dkim *d);
/*
 * The header section, with or without its empty line. Nothing of it is kept. -1: it is larger than
 * HEADER_LOOK_MAX (TOO_BIG), or has a field that is signed more than 16 times (LIMIT): such a message is not
 * signed. Starts anew: a struct dkim may be used for one message after the other.
 */
int dkim_begin(struct dkim *d, struct slice header, struct err *e);
void dkim_body(struct dkim *d, struct slice piece);
/* The body's end; before any dkim_sign. */
void dkim_end(struct dkim *d);
/*
 * Appends one DKIM-Signature field, CRLF at its end, lines of at most 78 octets (a longer domain stands alone
 * on its line). now: seconds since 1970. -1 with nothing appended: the signer cannot be written (SYNTAX), or
 * OpenSSL failed (INTERNAL).
 */
int dkim_sign(struct dkim *d, const struct dkim_signer *signer, int64_t now, struct buf *out, struct err *e);

#endif
