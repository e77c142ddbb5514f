/*
 * deliver: what smtpd's parent tells a deliver about where a message came from: the trace fields in DELIVER.
 *
 * The record is the ipc fields of struct trace, without what the deliver knows itself (our name, the id, the
 * time).
 */
#ifndef SMTPD_DELIVER_H
#define SMTPD_DELIVER_H

#include "common/ipc.h"
#include "mail/trace.h"

/* Appends one field (the record as octets) to a DELIVER message that is being written. */
void deliver_trace_put(struct ipc_out *out, const struct trace *t);
/* The slices point into the record. False: malformed. */
bool deliver_trace_get(struct slice record, struct trace *t);

#endif
