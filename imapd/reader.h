/*
 * reader: collects one complete IMAP command from octets: its line, and its literals in place.
 *
 * A machine without I/O: the front and the worker feed it what their stream holds, in pieces of any size; how
 * the octets are cut changes nothing. The text it collects is what imapd/parse.h reads: "{n}" CRLF and n
 * octets stay in place, the last line end is off. When a line announces a literal the owner decides
 * (imap_reader_take, _sink or _refuse) and writes
 * "+ OK" if r->literal_waits. Limits are security.md I01, I03 and 4.4; no memory is asked for by an announced
 * size. What is refused is swallowed up to the end of its command, so that the next one is read where it
 * begins.
 *
 *     while ((what = imap_reader_feed(&r, &in, &piece)) != IMAP_READ_MORE) ..
 */
#ifndef IMAPD_READER_H
#define IMAPD_READER_H

#include "common/buf.h"

struct imap_reader_limits {
    size_t line;      /* octets of the command without its literals; a CR counts, an LF does not */
    size_t literal;   /* octets of one literal that is collected */
    size_t literals;  /* octets of all literals of a command */
    unsigned count;   /* literals of a command */
    uint64_t swallow; /* octets of a refused literal that are read past; a larger one ends the session */
    bool strict;      /* what is over a limit ends the session (before the login) */
};

extern const struct imap_reader_limits imap_limits_front, imap_limits_worker;

enum imap_read {
    IMAP_READ_MORE,    /* all input is used */
    IMAP_READ_COMMAND, /* complete: imap_reader_text */
    IMAP_READ_LITERAL, /* a literal was announced: decide */
    IMAP_READ_PIECE,   /* octets for the sink */
    IMAP_READ_REFUSED, /* the refused command is over: answer it; r->why, the tag is in the text */
    IMAP_READ_BYE,     /* cannot go on: r->why */
};

enum imap_reader_state {
    IMAP_AT_LINE,
    IMAP_AT_DECISION,
    IMAP_AT_LITERAL,
    IMAP_AT_SINK,
    IMAP_AT_REFUSED,
    IMAP_AT_BYE
};

struct imap_reader {
    const struct imap_reader_limits *limits;
    enum imap_reader_state state;
    struct buf text;
    size_t line;   /* octets of text that are no literal's */
    size_t from;   /* where in the text its last line begins, behind a literal */
    size_t octets; /* of literals in it */
    unsigned count;
    uint64_t left;   /* of the literal */
    bool swallowing; /* refused: nothing more is kept */
    char tail[32]; /* the end of a line that is swallowed: it may announce a literal that is swallowed too */
    size_t tail_n;
    /* at IMAP_READ_LITERAL */
    uint64_t literal;    /* its size */
    bool literal_waits;  /* synchronising: the client waits for "+" */
    bool literal_binary; /* "~{n}" */
    /* at IMAP_READ_REFUSED and _BYE */
    const char *why;
    bool too_big; /* a limit of sizes, not of grammar: NO [TOOBIG] */
};

void imap_reader_init(struct imap_reader *r, const struct imap_reader_limits *limits);
void imap_reader_fini(struct imap_reader *r);

/* Uses octets of *in (the rest stays there). piece: set at IMAP_READ_PIECE, points into the input. */
enum imap_read imap_reader_feed(struct imap_reader *r, struct slice *in, struct slice *piece);

/* The announced literal is collected. False: it is over a limit; refused as by imap_reader_refuse, r->why
 * says it. */
bool imap_reader_take(struct imap_reader *r);
/* Its octets come as pieces; the text goes on behind "{n}" CRLF. */
void imap_reader_sink(struct imap_reader *r);
/* A synchronising literal does not come any more: IMAP_READ_REFUSED is next. Another is swallowed with what
 * follows. */
void imap_reader_refuse(struct imap_reader *r, const char *why, bool too_big);
/* The sink cannot take more: the rest of literal and command is swallowed. */
void imap_reader_drop(struct imap_reader *r, const char *why);

/* After IMAP_READ_COMMAND or _REFUSED: the text (moved to *out, which the caller frees); ready for the next
 * command. */
void imap_reader_text(struct imap_reader *r, struct buf *out);
/* Nothing of a command has come yet. */
bool imap_reader_is_empty(const struct imap_reader *r);

#endif
