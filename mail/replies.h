/*
 * replies: what a remote server's refusal means, in plain words, and what to do about it.
 *
 * A table of patterns (the server's name, reply code, enhanced code, words of the text) for the big providers
 * and block lists, then the enhanced codes of RFC 3463, 5248, 7372 and 7505, then plain reply codes. The
 * first row that fits counts, so what a provider means by a code goes before what the code means in general.
 * Pure, linear in the reply (of which 2,048 octets are looked at), no memory; any octets may come.
 *
 *     struct reply_meaning m = replies_explain(SLICE("gmail-smtp-in.l.google.com"), reply);
 *     puts(m.cause[REPLY_ENGLISH]); puts(m.fix[REPLY_ENGLISH]);
 *
 * The causes are written for the sender of the message ("the mailbox is full"), the fixes for who can do
 * something: is_admin says whether that is the administrator of this server. `postamt queue why` shows both.
 */
#ifndef MAIL_REPLIES_H
#define MAIL_REPLIES_H

#include "common/slice.h"

enum reply_class {
    REPLY_OTHER,
    REPLY_GREYLIST,   /* come again in a few minutes */
    REPLY_RATE,       /* too much at once */
    REPLY_REPUTATION, /* our address or domain is on a list, or has a bad name */
    REPLY_AUTH,       /* SPF, DKIM, DMARC */
    REPLY_CONTENT,    /* the message looks like spam or malware */
    REPLY_UNKNOWN,    /* no such mailbox or domain */
    REPLY_DISABLED,   /* the mailbox is closed or takes nothing */
    REPLY_FULL,       /* the mailbox is full */
    REPLY_TOO_BIG,    /* the message is */
    REPLY_TLS,        /* encryption is wanted, or went wrong */
    REPLY_POLICY,     /* the receiver's rules */
    REPLY_REVERSE,    /* reverse DNS or HELO name */
    REPLY_DNS,        /* names could not be looked up */
    REPLY_NETWORK,    /* no connection, a loop, no answer */
    REPLY_SYSTEM,     /* the receiver has trouble of its own */
    REPLY_PROTOCOL,   /* the servers did not understand each other */
    REPLY_CLASSES
};

enum reply_language { REPLY_ENGLISH, REPLY_GERMAN, REPLY_LANGUAGES };
/* "en", "de" */
const char *reply_language_name(enum reply_language language);
/* False, and *out as it was, when the name is none (any case). */
bool reply_language_parse(struct slice name, enum reply_language *out);

struct reply_meaning {
    enum reply_class reply_class;
    const char *name;     /* of what was found, stable, for --json: "gmail-unauthenticated"; never NULL */
    const char *provider; /* "Gmail"; "" when the rule is a general one */
    bool is_admin;        /* it is this server's administrator who can mend it */
    const char *cause[REPLY_LANGUAGES], *fix[REPLY_LANGUAGES]; /* sentences, UTF-8 */
};

/* A reply as it came: "550 5.1.1 text", lines of a multi-line reply with or without their codes in front. */
struct reply_parts {
    int code;          /* 200 .. 599, 0: none at the start */
    int status[3];     /* enhanced code; {0, 0, 0}: none */
    struct slice text; /* what follows the codes of the first line, to the end of the reply */
};
struct reply_parts replies_parse(struct slice reply);

/* host: the name of the server that said it, empty if not known. */
struct reply_meaning replies_explain(struct slice host, struct slice reply);

/* "greylist", "rate", ..: for the log and --json */
const char *replies_class_name(enum reply_class c);

#endif
