/*
 * dkim_canon: relaxed canonicalisation (RFC 6376 3.4), the body in pieces and in bounded memory. Pure.
 *
 * What comes out does not depend on where the pieces are cut. Bare LF ends a line as CRLF does, a bare CR is
 * an octet like any other; a last line without an end gets one. put() gets runs of octets in order, pieces of
 * the input itself where nothing had to change, valid inside the call only.
 *
 *     dkim_canon_init(&c, put, ctx); while (..) dkim_canon_body(&c, piece); dkim_canon_end(&c);
 */
#ifndef MAIL_DKIM_CANON_H
#define MAIL_DKIM_CANON_H

#include "common/buf.h"

struct dkim_canon {
    void (*put)(void *ctx, struct slice run);
    void *ctx;
    uint64_t line_ends; /* not put yet: they count only when text follows */
    bool blank;         /* so does a run of blanks */
    bool cr;            /* the last octet was a CR, of which the next says what it is */
    bool in_line;       /* the line has text */
    bool has_text;      /* some line had */
    size_t held;
    char hold[4096]; /* short runs go out together */
};

void dkim_canon_init(struct dkim_canon *c, void (*put)(void *ctx, struct slice run), void *ctx);
void dkim_canon_body(struct dkim_canon *c, struct slice piece);
/* What is left goes out; a body of empty lines and blanks only gave nothing at all (RFC 6376 3.4.4). */
void dkim_canon_end(struct dkim_canon *c);

/* "name:value", without the CRLF that ends it (RFC 6376 3.4.2). */
void dkim_canon_field(struct buf *out, struct slice name, struct slice value);

#endif
