/*
 * mbox: a file of many messages, read in pieces of any size and written.
 *
 * A message begins with a line "From <sender> <date>" at the start of the file or behind an empty line; one
 * ">" is taken from lines ">From ", ">>From " .. (mboxrd; right for mboxo too). What programs keep about a
 * message in its header (Status, X-Status, X-Keywords, X-Mozilla-Status, ..) becomes flags and leaves the
 * text. Content-Length is believed only when the caller has looked whether a message begins where it says.
 *
 *     mbox_init(&r);
 *     for (;;) {
 *         chunk = ..; eof = ..;
 *         while ((event = mbox_next(&r, &chunk, eof, &text)) != MBOX_NEED)
 *             .. BEGIN: r.received; TEXT: text; BODY: the header is over; END: r.flags, r.keywords; EOF
 *     }
 *
 * Pure; memory is bounded whatever the input (lines beyond 8 KiB are passed on in parts). text lies in the
 * chunk or in the machine and is valid until the next call; the chunk stays until MBOX_NEED.
 */
#ifndef MAIL_MBOX_H
#define MAIL_MBOX_H

#include "common/buf.h"

#define MBOX_SEEN (1u << 0)
#define MBOX_ANSWERED (1u << 1)
#define MBOX_FLAGGED (1u << 2)
#define MBOX_DELETED (1u << 3)
#define MBOX_DRAFT (1u << 4)
#define MBOX_FORWARDED (1u << 5)
#define MBOX_EXPUNGED (1u << 6) /* Thunderbird deleted it, and has not compacted the file since */

enum mbox_event { MBOX_NEED, MBOX_BEGIN, MBOX_TEXT, MBOX_BODY, MBOX_END, MBOX_EOF };

struct mbox {
    /* of the present message */
    int64_t received;    /* of its From line, seconds since 1970 */
    unsigned flags;      /* at MBOX_BODY and MBOX_END */
    struct buf keywords; /* one a line; at MBOX_BODY and MBOX_END */
    bool has_length;     /* at MBOX_BODY: Content-Length */
    uint64_t length;
    /* of the file */
    uint64_t offset; /* octets read so far: at MBOX_BODY where the body begins */
    bool junk;       /* there is something before the first From line: perhaps no mbox at all */

    /* the machine's own */
    struct buf line;
    struct slice at;
    bool has_line, partial, middle, in_message, in_header, first_header, skip, held, blank, over;
    const char *held_end;
    uint64_t left;
};

void mbox_init(struct mbox *m);
void mbox_free(struct mbox *m);
/* The next event; *chunk is moved on. eof: nothing follows this chunk. After MBOX_EOF only MBOX_EOF comes. */
enum mbox_event mbox_next(struct mbox *m, struct slice *chunk, bool eof, struct slice *text);
/* At MBOX_BODY, after a look at the file: offset + length is its end, or "From " stands there, perhaps behind
 * one empty line. */
void mbox_use_length(struct mbox *m);

/* "From <sender> <date>[ ..]" in the forms that occur; with or without its line end. */
bool mbox_from_line(struct slice line, int64_t *received);

/* --- writing, always mboxrd with LF --- */

struct mbox_writer {
    bool in_header, skip;
    unsigned flags;
    struct slice keywords; /* one a line */
};
/* The From line; sender "" becomes MAILER-DAEMON. keywords stay the caller's until the end. */
void mbox_write_begin(struct mbox_writer *w, struct buf *out, struct slice sender, int64_t received,
    unsigned flags, struct slice keywords);
/* Moves text on by whole lines, until out has `most` octets or the text is over: false then. CR LF becomes
 * LF. */
bool mbox_write_some(struct mbox_writer *w, struct slice *text, struct buf *out, size_t most);
void mbox_write_end(struct mbox_writer *w, struct buf *out);

#endif
