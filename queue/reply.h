/*
 * reply: what an SMTP server says (RFC 5321 4.2), and what it offers after EHLO (4.1.1.1). Pure; fuzzed.
 *
 * A reply is one or more lines "250-text", the last "250 text", all with one code, ending in CRLF or LF. It
 * has at most REPLY_LINES lines and REPLY_OCTETS octets; what is longer, or does not look so, is none: the
 * server breaks the protocol, and nobody guesses (security.md S07). NUL, CR and other controls may stand in
 * it; they are blanks in the text that is kept.
 *
 *     n = reply_parse(stream_input(s), &r);
 *     if (n > 0) { handle(&r); stream_consume(s, n); }    // 0: more is to come, -1: no reply
 */
#ifndef QUEUE_REPLY_H
#define QUEUE_REPLY_H

#include "common/buf.h"

#define REPLY_LINES 512
#define REPLY_OCTETS ((size_t)64 * 1024)

struct reply {
    int code;         /* 200 .. 599 */
    struct slice raw; /* all its lines with their ends; in the input */
};

/* The reply that `in` starts with: its octets; 0 when its end is not there yet; -1 when it is no reply. */
ssize_t reply_parse(struct slice in, struct reply *out);

/*
 * Appends its text as it is kept: lines, codes included, joined by LF; controls are blanks, what is no UTF-8
 * is '?'; at most `max` octets, whole characters.
 */
void reply_text(const struct reply *r, size_t max, struct buf *out);

/* What a server offers. */
struct reply_offers {
    bool pipelining, is_8bit, smtputf8, dsn, starttls, chunking, requiretls;
    bool auth_plain, auth_login;
    bool has_size; /* takes SIZE= (RFC 1870) */
    uint64_t size; /* of a message at most; 0: not said */
};
/* From the reply to EHLO; unknown keywords and malformed lines are skipped. */
struct reply_offers reply_offers(const struct reply *r);

#endif
