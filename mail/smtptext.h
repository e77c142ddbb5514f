/*
 * smtptext: the one machine for line ends, dots and chunks.
 *
 * Reads the text of DATA (RFC 5321 4.1.1.4, 4.5.2) and of BDAT (RFC 3030) in pieces cut anywhere, in constant
 * memory, without a line length limit. End of data is exactly CRLF "." CRLF; a bare CR or a bare LF never
 * ends anything: it is remembered and the message is refused once it is read (smuggling: security.md S01).
 * NUL is remembered too. What is kept goes to a sink, dot-unstuffed, as long runs of the input (no copy).
 *
 *     struct smtptext t;
 *     smtptext_init(&t, max);
 *     used = smtptext_data(&t, input, sink, ctx);   // until t.done
 *
 * Also the other way: writing a message as POP3 and SMTP want it, dot-stuffed, with every line end CRLF.
 */
#ifndef MAIL_SMTPTEXT_H
#define MAIL_SMTPTEXT_H

#include "common/buf.h"

/* Takes a run of kept octets. False: the sink failed; the machine goes on reading, keeping nothing. */
typedef bool smtptext_sink(void *ctx, struct slice run);

struct smtptext {
    uint64_t max;     /* octets that may be kept */
    uint64_t size;    /* octets of the message seen (kept, or dropped beyond max) */
    unsigned state;   /* of the dot machine */
    unsigned headers; /* Received fields seen in the header (loops: RFC 5321 6.3) */
    uint64_t header_size;
    unsigned received_match; /* of the Received scanner */
    bool in_header;
    bool done; /* the end of data was read */
    bool bare_cr, bare_lf, nul, eightbit;
    bool too_big, sink_failed;
};

void smtptext_init(struct smtptext *t, uint64_t max);
/* Reads from `in`; returns the octets used: all of it, or up to and including the end of data (then t->done).
 */
size_t smtptext_data(struct smtptext *t, struct slice in, smtptext_sink *sink, void *ctx);
/* A piece of a BDAT chunk: no dots, no end mark; `last` when this piece ends the last chunk. The same flags.
 */
void smtptext_bdat(struct smtptext *t, struct slice in, bool last, smtptext_sink *sink, void *ctx);

/*
 * Dot-stuffs `in` into out and turns LF and CRLF line ends into CRLF; *at_line_start carries over from piece
 * to piece (true at first); *last_cr: the piece before ended in CR (false at first).
 */
void smtptext_stuff(struct buf *out, struct slice in, bool *at_line_start, bool *last_cr);

#endif
