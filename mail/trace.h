/*
 * trace: what a server puts in front of a message it takes (RFC 5321 4.4), and what it takes out.
 */
#ifndef MAIL_TRACE_H
#define MAIL_TRACE_H

#include "common/ipc.h"
#include "mail/address.h"
#include "mail/header.h"

struct trace {
    struct slice reverse_path; /* as received, without brackets; empty for the null path */
    struct slice helo;         /* what the client called itself */
    struct slice client_ip;    /* "192.0.2.1" or "2001:db8::1" */
    struct slice client_name;  /* verified reverse name, empty: none */
    struct slice by;           /* our host name */
    struct slice id;           /* the message's id in our log */
    struct slice for_address;  /* the recipient if there is only one, else empty */
    struct slice tls;          /* "TLSv1.3 cipher TLS_AES_256_GCM_SHA384", empty: none */
    bool esmtp, authenticated, utf8;
    int64_t now; /* seconds since 1970 */
};

/*
 * Return-Path and Received, folded; protocol name by RFC 3848 and 6531 (ESMTPSA, UTF8SMTPSA ..). Every value
 * goes through one encoder: controls and CR LF NUL never get in. client_ip is left out for authenticated
 * senders.
 */
void trace_write(struct buf *out, const struct trace *t, bool with_return_path);

/*
 * Ranges of the header that must not stay: Return-Path fields, and Authentication-Results fields whose
 * authserv-id is ours (RFC 8601 5), whatever comments and folds stand in front of it. Up to max (offset,
 * length) pairs in order; returns how many there are. With more than max the caller refuses the message.
 */
struct trace_range {
    size_t offset, len;
};
bool trace_is_forged(const struct header_field *f, struct slice our_name);
size_t trace_forged(struct slice text, struct slice our_name, struct trace_range *ranges, size_t max);

/*
 * The trace on its way between our processes, as one field: without what the receiver knows itself (by, id,
 * now). The slices that trace_get gives point into the record; false: malformed.
 */
void trace_put(struct ipc_out *out, const struct trace *t);
bool trace_get(struct slice record, struct trace *t);

#endif
