/*
 * text: a message's text on its way from the client into a memory file.
 *
 * smtptext finds its end and what is wrong with it; what is kept is collected and written in large pieces. At
 * the end the file is sealed: nobody who holds it later can change what was checked. A message that is
 * refused early never makes a file. The process holds at most SMTP_TEXT_HELD_MAX octets of texts that are not
 * handed on.
 */
#ifndef SMTPD_TEXT_H
#define SMTPD_TEXT_H

#include "mail/smtptext.h"

#define SMTP_TEXT_HELD_MAX ((uint64_t)512 << 20)
#define SMTP_AUTHORS_MAX 100 /* addresses in From of a message from an account */
#define SMTP_RECEIVED_MAX 50 /* RFC 5321 6.3, security.md S20 */

struct smtp_text {
    struct smtptext machine;
    struct buf waiting; /* not yet written */
    int fd;             /* -1: none yet */
    uint64_t written;
};

/* A zeroed struct is not usable. max: octets a message may have. */
void smtp_text_begin(struct smtp_text *t, uint64_t max);
/* Octets of DATA; returns how many were used (smtptext_data). */
size_t smtp_text_data(struct smtp_text *t, struct slice in);
void smtp_text_chunk(struct smtp_text *t, struct slice in, bool last);
/* Writes what waits and seals; the file is the caller's. -1: it could not be written. */
int smtp_text_take(struct smtp_text *t);
/* Gives everything back; safe to repeat. */
void smtp_text_drop(struct smtp_text *t);

/* What is wrong with a text that was read to its end. */
struct smtp_verdict {
    int code; /* 0: nothing */
    const char *enhanced;
    const char *text;
    bool close; /* nothing that follows can be believed */
};
struct smtp_verdict smtp_text_judge(const struct smtp_text *t, bool allow_nul);

#endif
