/*
 * load: a client for measuring servers that costs little itself.
 *
 * One process, one epoll loop, n connections, plain or TLS. What a connection says is its mode: next() is
 * called when the reply it waited for is complete; it appends the next octets to c->out and says what ends
 * the reply. The end is looked for in the last line only (a FETCH of megabytes costs no scan), so the texts
 * of the test messages never have a line that begins like a tag.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

enum wait_for {
    WAIT_LINE,  /* one line: a greeting, a POP3 status */
    WAIT_SMTP,  /* c->replies whole SMTP replies */
    WAIT_TAG,   /* an IMAP line that begins with LOAD_TAG */
    WAIT_PLUS,  /* an IMAP continuation */
    WAIT_DOT,   /* the end of a POP3 multi-line reply */
    WAIT_CLOSE, /* the server closes */
    WAIT_NEVER, /* an idle connection */
};

#define LOAD_TAG "~q "
#define LOAD_TAIL 2048
#define LOAD_OUT (128u << 10)

struct conn {
    int fd;
    SSL *ssl;
    bool connected;
    bool handshaken;
    bool writable_wanted;
    enum wait_for wait;
    unsigned replies;
    unsigned number; /* of the connection */
    unsigned user;   /* whose session this is */
    unsigned state;  /* the mode's own */
    unsigned left;   /* the mode's own: commands before the logout, the next message */
    uint64_t random;
    char tail[LOAD_TAIL]; /* the end of what came: whole lines as far as they fit */
    size_t tail_len;
    char *out; /* LOAD_OUT octets */
    size_t out_len;
    size_t out_sent;
};

struct options {
    const char *mode;
    const char *host;
    const char *domain;
    const char *password;
    unsigned port;
    unsigned conns;
    unsigned ops;
    unsigned users;
    unsigned first_user;
    unsigned per_session; /* messages or commands before the connection ends; 0: all in one */
    unsigned per_user;    /* idle: connections of one user */
    unsigned messages;    /* in the mailbox, for FETCH */
    unsigned size;        /* octets of a message */
    unsigned rcpts;       /* SMTP: recipients of a message */
    unsigned places;      /* submit: domains d0.test, d1.test .. that recipients are spread over */
    bool tls;
};

struct load {
    struct options opt;
    unsigned started; /* ops begun */
    unsigned done;
    unsigned idle; /* connections that have come to rest */
    uint64_t octets;
    uint64_t errors;
};

struct mode {
    const char *name;
    void (*next)(struct load *l, struct conn *c);
};

extern const struct mode load_modes[]; /* ends with a NULL name */

/* Appends to what the connection sends. */
void load_say(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void load_say_octets(struct conn *c, const char *octets, size_t n);
/* Takes one of the operations that are left; false when none is. */
bool load_take(struct load *l);
/* One of the operations taken is finished. */
void load_finished(struct load *l);
uint32_t load_random(struct conn *c, uint32_t below);

#endif
