#include "mail/trace.h"

#include "common/ascii.h"
#include "mail/header_lex.h"

#define VALUE_MAX 512 /* octets of one value: a line stays below the 998 of RFC 5322 2.1.1 */

enum charset_kind {
    IN_ATOM,    /* a domain, an id: nothing that ends or nests a clause of the field */
    IN_COMMENT, /* text between ( and ) */
    IN_ANGLE,   /* an address between < and > */
};

/* The one way for a value into the field: what could change the meaning of what follows it becomes '?'. */
static void add_value(struct buf *out, struct slice s, enum charset_kind kind, bool utf8)
{
    static const char *const refused[] = {" ()<>;,\"\\", "()\\", "<> \t"};
    struct slice bad = slice_str(refused[kind]);
    bool quoted = false;

    s = slice_sub(s, 0, VALUE_MAX);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        /* a quoted local part may hold what is refused elsewhere in an address */
        if (kind == IN_ANGLE && c == '"' && (i == 0 || s.p[i - 1] != '\\'))
            quoted = !quoted;
        if (ascii_is_control(c) || (ascii_is_8bit(c) && !utf8) || (!quoted && slice_chr(bad, c) >= 0))
            c = '?';
        buf_add_char(out, c);
    }
}

/* helo (name [ip]); nothing that tells where an authenticated sender is */
static void add_from(struct buf *out, const struct trace *t)
{
    bool hide = t->authenticated && slice_starts(t->helo, SLICE("["));
    struct slice helo = t->helo.n && !hide ? t->helo : SLICE("unknown");

    buf_add(out, SLICE("Received: from "));
    add_value(out, helo, IN_ATOM, t->utf8);
    if (t->authenticated || t->client_ip.n == 0)
        return;
    buf_add(out, SLICE(" ("));
    if (t->client_name.n) {
        add_value(out, t->client_name, IN_ATOM, t->utf8);
        buf_add_char(out, ' ');
    }
    buf_add_char(out, '[');
    if (slice_chr(t->client_ip, ':') >= 0)
        buf_add(out, SLICE("IPv6:"));
    add_value(out, t->client_ip, IN_ATOM, false);
    buf_add(out, SLICE("])"));
}

/* RFC 3848, RFC 6531 4.3 */
static void add_protocol(struct buf *out, const struct trace *t)
{
    bool extended = t->esmtp || t->authenticated || t->tls.n;

    buf_add_str(out, t->utf8 ? "UTF8SMTP" : extended ? "ESMTP" : "SMTP");
    if (t->tls.n)
        buf_add_char(out, 'S');
    if (t->authenticated)
        buf_add_char(out, 'A');
}

void trace_write(struct buf *out, const struct trace *t, bool with_return_path)
{
    if (with_return_path) {
        buf_add(out, SLICE("Return-Path: <"));
        add_value(out, t->reverse_path, IN_ANGLE, t->utf8);
        buf_add(out, SLICE(">\r\n"));
    }
    add_from(out, t);
    buf_add(out, SLICE("\r\n\tby "));
    add_value(out, t->by, IN_ATOM, t->utf8);
    buf_add(out, SLICE(" with "));
    add_protocol(out, t);
    if (t->tls.n) {
        buf_add(out, SLICE("\r\n\t("));
        add_value(out, t->tls, IN_COMMENT, false);
        buf_add_char(out, ')');
    }
    buf_add(out, SLICE("\r\n\tid "));
    add_value(out, t->id, IN_ATOM, false);
    if (t->for_address.n) {
        buf_add(out, SLICE("\r\n\tfor <"));
        add_value(out, t->for_address, IN_ANGLE, t->utf8);
        buf_add_char(out, '>');
    }
    buf_add(out, SLICE(";\r\n\t"));
    header_date_format(out, t->now, 0);
    buf_add(out, SLICE("\r\n"));
}

/*
 * Does this Authentication-Results value speak for `name`? The authserv-id is its first token or quoted
 * string (RFC 8601 2.2); pieces of it that only comments, folds and dots hold together count as one.
 */
static bool speaks_for(struct slice value, struct slice name)
{
    struct lex l = lex_of(value);
    struct buf id = BUF_INIT(2 * VALUE_MAX);
    bool gap, same;

    lex_cfws(&l, NULL);
    do {
        if (lex_is(&l, '"'))
            lex_quoted(&l, &id);
        else
            lex_put(&id, lex_run(&l, ";(\""));
        gap = lex_cfws(&l, NULL);
    } while (
        l.p < l.end && *l.p != ';' && !id.full && (!gap || *l.p == '.' || (id.n && id.p[id.n - 1] == '.')));
    if (id.n && id.p[id.n - 1] == '.')
        id.n--;
    same = slice_eq_nocase(buf_slice(&id), name);
    buf_free(&id);
    return same;
}

bool trace_is_forged(const struct header_field *f, struct slice our_name)
{
    return slice_eq_nocase(f->name, SLICE("Return-Path")) ||
           (slice_eq_nocase(f->name, SLICE("Authentication-Results")) && speaks_for(f->value, our_name));
}

size_t trace_forged(struct slice text, struct slice our_name, struct trace_range *ranges, size_t max)
{
    struct slice rest = text;
    struct header_field field;
    size_t n = 0;

    while (header_next(&rest, &field)) {
        if (!trace_is_forged(&field, our_name))
            continue;
        if (n < max)
            ranges[n] = (struct trace_range){.offset = (size_t)(field.raw.p - text.p), .len = field.raw.n};
        n++;
    }
    return n;
}

/* --- between processes --- */

void trace_put(struct ipc_out *out, const struct trace *t)
{
    struct ipc_out record = {.buf = BUF_INIT(IPC_MAX / 4)};

    ipc_put(&record, t->reverse_path);
    ipc_put(&record, t->helo);
    ipc_put(&record, t->client_ip);
    ipc_put(&record, t->client_name);
    ipc_put(&record, t->for_address);
    ipc_put(&record, t->tls);
    ipc_put_u64(&record, t->esmtp);
    ipc_put_u64(&record, t->authenticated);
    ipc_put_u64(&record, t->utf8);
    ipc_put(out, buf_slice(&record.buf));
    buf_free(&record.buf);
}

bool trace_get(struct slice record, struct trace *t)
{
    struct ipc_in in = {.rest = record};

    *t = (struct trace){.by = SLICE(""), .id = SLICE("")};
    t->reverse_path = ipc_get(&in);
    t->helo = ipc_get(&in);
    t->client_ip = ipc_get(&in);
    t->client_name = ipc_get(&in);
    t->for_address = ipc_get(&in);
    t->tls = ipc_get(&in);
    t->esmtp = ipc_get_bool(&in);
    t->authenticated = ipc_get_bool(&in);
    t->utf8 = ipc_get_bool(&in);
    return ipc_end(&in);
}
