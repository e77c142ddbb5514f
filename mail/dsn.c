#include "mail/dsn.h"

#include <stdio.h>

#include "common/ascii.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "mail/dsn_text.h"
#include "mail/header.h"

#define VALUE_MAX 900 /* octets of one value: a line that cannot be folded stays below 998 */
#define QP_COLUMNS 75

static const char *const actions[DSN_KINDS] = {"failed", "delayed", "delivered", "relayed", "expanded"};

bool dsn_is_wanted(enum dsn_kind kind, unsigned notify, struct slice reverse_path)
{
    if (reverse_path.n == 0 || (notify & DSN_NEVER))
        return false;
    switch (kind) {
    case DSN_FAILED:
        return notify == 0 || (notify & DSN_FAILURE);
    case DSN_DELAYED:
        return notify == 0 || (notify & DSN_DELAY);
    default:
        return notify & DSN_SUCCESS;
    }
}

/* ---- fields: the one encoder ---- */

struct writer {
    struct buf *out;
    bool is_global, is_bad;
};

static bool is_8bit(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (ascii_is_8bit(s.p[i]))
            return true;
    return false;
}

static void field(struct writer *w, const char *name, struct slice value)
{
    bool good = value.n > 0 && value.n <= 2 * VALUE_MAX;

    for (size_t i = 0; i < value.n && good; i++)
        good = value.p[i] != '\r' && value.p[i] != '\n' && value.p[i] != '\0';
    if (good && w->is_global && is_8bit(value)) { /* RFC 6533 4.1: as it is */
        buf_add_str(w->out, name);
        buf_add(w->out, SLICE(": "));
        buf_add(w->out, value);
        buf_add(w->out, SLICE("\r\n"));
        return;
    }
    if (!good || !header_write(w->out, slice_str(name), value))
        w->is_bad = true;
}

/* What somebody else said: cleaned first, so that it cannot be refused. */
static void field_words(struct writer *w, const char *name, const char *before, struct slice words)
{
    struct buf value = BUF_INIT((size_t)2 * VALUE_MAX);

    buf_add_str(&value, before);
    dsn_clean(&value, words, VALUE_MAX);
    field(w, name, buf_slice(&value));
    buf_free(&value);
}

/* An exact value: it is refused, not changed, when it has a control. */
static void field_exact(
    struct writer *w, const char *name, const char *before, struct slice s, const char *after)
{
    struct buf value = BUF_INIT((size_t)2 * VALUE_MAX);

    for (size_t i = 0; i < s.n; i++)
        w->is_bad |= ascii_is_control(s.p[i]);
    w->is_bad |= s.n == 0 || s.n > VALUE_MAX;
    buf_add_str(&value, before);
    buf_add(&value, slice_sub(s, 0, VALUE_MAX));
    buf_add_str(&value, after);
    if (!w->is_bad)
        field(w, name, buf_slice(&value));
    buf_free(&value);
}

static void field_date(struct writer *w, const char *name, int64_t when)
{
    struct buf date = BUF_INIT((size_t)64);

    header_date_format(&date, when, 0);
    field(w, name, buf_slice(&date));
    buf_free(&date);
}

/* ---- the part for machines: RFC 3464 2.1 ---- */

static void status_of(const struct dsn *d, const struct dsn_recipient *r, char out[16])
{
    static const int classes[DSN_KINDS] = {5, 4, 2, 2, 2};
    struct reply_parts p = replies_parse(r->reply);
    int n[3] = {classes[d->kind], 0, 0};

    if (r->status) {
        snprintf(out, 16, "%s", r->status);
        return;
    }
    /* given up after days it is still the 4.x.x that the other side said (RFC 3464 2.3.4) */
    if (p.status[0] && (p.status[0] == n[0] || (d->kind == DSN_FAILED && p.status[0] == 4)))
        for (int i = 0; i < 3; i++)
            n[i] = p.status[i];
    snprintf(out, 16, "%d.%d.%d", n[0], n[1], n[2]);
}

static void machine_recipient(struct writer *w, const struct dsn *d, const struct dsn_recipient *r)
{
    char status[16];

    buf_add(w->out, SLICE("\r\n"));
    if (r->orcpt.n)
        field_words(w, "Original-Recipient", "", r->orcpt);
    field_exact(w, "Final-Recipient", is_8bit(r->address) ? "utf-8; " : "rfc822; ", r->address, "");
    field(w, "Action", slice_str(actions[d->kind]));
    status_of(d, r, status);
    field(w, "Status", slice_str(status));
    if (r->host.n)
        field_words(w, "Remote-MTA", "dns; ", r->host);
    if (r->reply.n)
        field_words(w, "Diagnostic-Code", "smtp; ", r->reply);
    if (r->last_attempt)
        field_date(w, "Last-Attempt-Date", r->last_attempt);
    if (d->kind == DSN_DELAYED && r->retry_until)
        field_date(w, "Will-Retry-Until", r->retry_until);
}

static void machine(struct writer *w, const struct dsn *d)
{
    if (d->envid.n)
        field_words(w, "Original-Envelope-Id", "", d->envid);
    field_exact(w, "Reporting-MTA", "dns; ", d->host, "");
    field_date(w, "Arrival-Date", d->arrival);
    for (size_t i = 0; i < d->nrecipients; i++)
        machine_recipient(w, d, &d->recipients[i]);
}

/* ---- the original ---- */

/* With CRLF line ends, NUL as '?'; at most max octets of it, cut at the end of a line. */
static void add_original(struct buf *out, struct slice text, size_t max)
{
    bool is_cut = text.n > max;

    if (is_cut) {
        text = slice_sub(text, 0, max);
        text.n = (size_t)(slice_rchr(text, '\n') + 1);
    }
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '\r' && i + 1 < text.n && text.p[i + 1] == '\n')
            continue;
        if (c == '\r' || c == '\n')
            buf_add(out, SLICE("\r\n"));
        else
            buf_add_char(out, c ? c : '?');
    }
}

static bool goes_whole(const struct dsn *d)
{
    return d->ret_full && d->is_whole && d->kind == DSN_FAILED && d->original.n <= DSN_FULL_MAX;
}

/* ---- putting it together ---- */

/* RFC 2045 6.7; the text's line ends stay. */
static void add_qp(struct buf *out, struct slice s)
{
    size_t column = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool plain = c == '\n' || c == '\r' || (c >= ' ' && c <= '~' && c != '=');

        if (c == ' ' && (i + 1 == s.n || s.p[i + 1] == '\r'))
            plain = false;
        if (c != '\r' && c != '\n' && column + (plain ? 1 : 3) > QP_COLUMNS) {
            buf_add(out, SLICE("=\r\n"));
            column = 0;
        }
        if (plain)
            buf_add_char(out, c);
        else
            buf_printf(out, "=%02X", (unsigned)(unsigned char)c);
        column = c == '\n' ? 0 : column + (plain ? 1 : 3);
    }
}

/* One that stands in none of the parts. */
static void choose_boundary(char out[64], const struct dsn *d, const struct buf *parts, size_t n)
{
    bool is_there = true;

    for (unsigned k = 0; is_there; k++) {
        snprintf(out, 64, "=_%.*s.%u", SLICE_FMT(slice_sub(d->id, 0, 32)), k);
        is_there = false;
        for (size_t i = 0; i < n && !is_there; i++)
            is_there = slice_find(buf_slice(&parts[i]), slice_str(out)) >= 0;
    }
}

static void add_message_id_of(struct writer *w, const struct dsn *d)
{
    struct header_field f;
    struct slice rest, id;

    if (!header_find(d->original, SLICE("Message-ID"), &f))
        return;
    rest = slice_sub(f.value, 0, 1000);
    if (!header_msgid_next(&rest, &id) || id.n > 250)
        return;
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] > '~')
            return;
    field(w, "In-Reply-To", id);
    field(w, "References", id);
}

static void head(struct writer *w, const struct dsn *d, const char *boundary)
{
    struct buf subject = BUF_INIT((size_t)512);
    struct buf id = BUF_INIT((size_t)512);

    dsn_subject(&subject, d);
    field_exact(w, "From", "Mail delivery <postmaster@", d->host, ">");
    field_exact(w, "To", "<", d->to, ">");
    if (!header_write(w->out, SLICE("Subject"), buf_slice(&subject)))
        w->is_bad = true;
    field_date(w, "Date", d->now);
    buf_add(&id, d->id);
    buf_add_char(&id, '@');
    buf_add(&id, d->host);
    field_exact(w, "Message-ID", "<", buf_slice(&id), ">");
    add_message_id_of(w, d);
    field(w, "Auto-Submitted", SLICE("auto-replied"));
    field(w, "MIME-Version", SLICE("1.0"));
    buf_printf(w->out, "Content-Type: multipart/report; report-type=%s;\r\n boundary=\"%s\"\r\n\r\n",
        w->is_global ? "global-delivery-status" : "delivery-status", boundary);
    buf_free(&subject);
    buf_free(&id);
}

static void add_part(
    struct buf *out, const char *boundary, const char *type, const struct buf *content, const char *encoding)
{
    buf_printf(
        out, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", boundary, type, encoding);
    buf_add(out, buf_slice(content));
    buf_add(out, SLICE("\r\n"));
}

static bool is_global(const struct dsn *d)
{
    bool yes = d->smtputf8 || is_8bit(d->to) || is_8bit(d->host);

    for (size_t i = 0; i < d->nrecipients && !yes; i++)
        yes = is_8bit(d->recipients[i].address);
    return yes;
}

enum { WORDS, MACHINE, ORIGINAL, PARTS };

static const char *plain_encoding(const struct buf *b)
{
    return is_8bit(buf_slice(b)) ? "8bit" : "7bit";
}

static void add_parts(struct writer *w, const struct dsn *d, const char *boundary, const struct buf *parts)
{
    struct buf encoded = BUF_INIT(DSN_MAX);
    bool whole = goes_whole(d);

    if (is_8bit(buf_slice(&parts[WORDS]))) {
        add_qp(&encoded, buf_slice(&parts[WORDS]));
        add_part(w->out, boundary, "text/plain; charset=utf-8", &encoded, "quoted-printable");
    } else {
        add_part(w->out, boundary, "text/plain; charset=us-ascii", &parts[WORDS], "7bit");
    }
    w->out->full |= encoded.full;
    buf_free(&encoded);
    add_part(w->out, boundary, w->is_global ? "message/global-delivery-status" : "message/delivery-status",
        &parts[MACHINE], plain_encoding(&parts[MACHINE]));
    add_part(w->out, boundary,
        w->is_global ? (whole ? "message/global" : "message/global-headers")
                     : (whole ? "message/rfc822" : "text/rfc822-headers"),
        &parts[ORIGINAL], plain_encoding(&parts[ORIGINAL]));
    buf_printf(w->out, "--%s--\r\n", boundary);
}

enum dsn_result dsn_compose(const struct dsn *d, struct buf *out, struct dsn_needs *needs)
{
    struct buf parts[PARTS] = {BUF_INIT(DSN_MAX), BUF_INIT(DSN_MAX), BUF_INIT(DSN_MAX)};
    struct writer w = {.out = &parts[MACHINE], .is_global = is_global(d)};
    size_t start = out->n;
    char boundary[64];

    INVARIANT(d->nrecipients > 0 && d->kind < DSN_KINDS && d->language < REPLY_LANGUAGES);
    if (d->to.n == 0)
        return DSN_NULL_SENDER;
    dsn_words(&parts[WORDS], d);
    machine(&w, d);
    add_original(&parts[ORIGINAL],
        goes_whole(d) ? d->original : slice_sub(d->original, 0, header_size(d->original)),
        goes_whole(d) ? DSN_FULL_MAX : DSN_HEADERS_MAX);
    choose_boundary(boundary, d, parts, PARTS);
    w.out = out;
    head(&w, d, boundary);
    add_parts(&w, d, boundary, parts);
    for (size_t i = 0; i < PARTS; i++) {
        out->full |= parts[i].full;
        buf_free(&parts[i]);
    }
    if (out->full || w.is_bad) {
        bool full = out->full;

        buf_cut(out, start);
        out->full = false;
        return w.is_bad ? DSN_BAD_FIELD : full ? DSN_TOO_LARGE : DSN_OK;
    }
    *needs = (struct dsn_needs){
        .smtputf8 = w.is_global,
        .is_8bit = is_8bit(slice_from(buf_slice(out), start)),
    };
    return DSN_OK;
}
