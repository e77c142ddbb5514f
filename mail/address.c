#include "mail/address.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/utf8.h"

#define LABEL_MAX 63 /* RFC 1035 2.3.4 */

/* RFC 5322 3.2.3, with the octets of RFC 6531 3.3 */
static bool is_atext(char c)
{
    return ascii_is_alnum(c) || ascii_is_8bit(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool has_8bit(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (ascii_is_8bit(s.p[i]))
            return true;
    return false;
}

static bool take_char(struct slice *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = slice_from(*s, 1);
    return true;
}

/* Atom *("." Atom): no dot at either end, no two together */
static bool is_dot_string(struct slice s)
{
    bool after_atom = false;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? !after_atom : !is_atext(s.p[i]))
            return false;
        after_atom = s.p[i] != '.';
    }
    return after_atom;
}

/* The quoted string whose '"' is the first octet (RFC 5321 4.1.2 Quoted-string); *s moves behind it. */
static enum address_error take_quoted(struct slice *s, struct arena *arena, struct slice *out)
{
    size_t i = 1, n = 0, pairs = 0;
    char *copy;

    for (; i < s->n && s->p[i] != '"'; i++, n++) {
        if (s->p[i] == '\\') {
            pairs++;
            /* quoted-pairSMTP takes %d32-126 only */
            if (++i == s->n || ascii_is_8bit(s->p[i]))
                return ADDRESS_SYNTAX;
        }
        if (ascii_is_control(s->p[i]))
            return ADDRESS_SYNTAX;
    }
    if (i == s->n || n == 0)
        return ADDRESS_SYNTAX;
    if (n > ADDRESS_LOCAL_MAX)
        return ADDRESS_LOCAL_LONG;
    *out = slice_sub(*s, 1, i - 1);
    *s = slice_from(*s, i + 1);
    if (pairs == 0)
        return ADDRESS_OK;
    copy = arena_alloc(arena, n);
    if (!copy)
        return ADDRESS_LOCAL_LONG;
    for (size_t from = 0, to = 0; to < n; from++, to++) {
        if (out->p[from] == '\\')
            from++;
        copy[to] = out->p[from];
    }
    *out = slice_of(copy, n);
    return ADDRESS_OK;
}

static enum address_error take_local(struct slice *s, struct arena *arena, struct slice *out)
{
    enum address_error e = ADDRESS_OK;
    size_t n = 0;

    if (s->n && s->p[0] == '"') {
        e = take_quoted(s, arena, out);
        if (e != ADDRESS_OK)
            return e;
    } else {
        while (n < s->n && (s->p[n] == '.' || is_atext(s->p[n])))
            n++;
        *out = slice_sub(*s, 0, n);
        *s = slice_from(*s, n);
        if (!is_dot_string(*out))
            return ADDRESS_SYNTAX;
        if (n > ADDRESS_LOCAL_MAX)
            return ADDRESS_LOCAL_LONG;
    }
    return has_8bit(*out) && !utf8_is_valid(*out) ? ADDRESS_BAD_UTF8 : ADDRESS_OK;
}

/* RFC 5321 4.1.2 Domain, RFC 6531 3.3 U-label */
static enum address_error check_domain(struct slice s)
{
    struct slice rest = s, label;
    bool more;

    do {
        more = slice_chr(rest, '.') >= 0;
        slice_cut(&rest, '.', &label);
        if (label.n == 0 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return ADDRESS_SYNTAX;
        for (size_t i = 0; i < label.n; i++)
            if (!ascii_is_alnum(label.p[i]) && !ascii_is_8bit(label.p[i]) && label.p[i] != '-')
                return ADDRESS_SYNTAX;
        if (label.n > LABEL_MAX)
            return ADDRESS_DOMAIN_LONG;
    } while (more);
    if (s.n > ADDRESS_DOMAIN_MAX)
        return ADDRESS_DOMAIN_LONG;
    return has_8bit(s) && !utf8_is_valid(s) ? ADDRESS_BAD_UTF8 : ADDRESS_OK;
}

bool address_is_domain(struct slice s)
{
    return check_domain(s) == ADDRESS_OK;
}

/* Snum 3("." Snum) */
static bool is_ipv4(struct slice s)
{
    struct slice part;
    uint64_t v;
    int n = 0;

    if (s.n > 15 || (s.n && s.p[s.n - 1] == '.'))
        return false;
    for (; slice_cut(&s, '.', &part); n++)
        if (part.n > 3 || !slice_u64(part, 255, &v))
            return false;
    return n == 4;
}

static bool is_ipv6(struct slice s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;

    if (s.n == 0 || s.n >= sizeof text || slice_chr(s, '\0') >= 0)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, &addr) == 1;
}

bool address_is_literal(struct slice s)
{
    if (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']')
        return false;
    s = slice_sub(s, 1, s.n - 2);
    if (slice_starts_nocase(s, SLICE("IPv6:")))
        return is_ipv6(slice_from(s, 5));
    return is_ipv4(s);
}

/* General-address-literal = Standardized-tag ":" 1*dcontent, brackets included */
static bool is_general_literal(struct slice s)
{
    struct slice inner = slice_sub(s, 1, s.n - 2), tag;

    if (slice_starts_nocase(inner, SLICE("IPv6:")) || slice_chr(inner, ':') < 1)
        return false;
    slice_cut(&inner, ':', &tag);
    for (size_t i = 0; i < tag.n; i++)
        if (!ascii_is_alnum(tag.p[i]) && tag.p[i] != '-')
            return false;
    for (size_t i = 0; i < inner.n; i++)
        if (inner.p[i] == ' ' || ascii_is_control(inner.p[i]) || ascii_is_8bit(inner.p[i]) ||
            strchr("[\\]", inner.p[i]))
            return false;
    return tag.p[tag.n - 1] != '-' && inner.n > 0;
}

static enum address_error take_domain(struct slice *s, struct slice *out, bool *is_literal)
{
    size_t n = 0;
    ssize_t end;

    *is_literal = s->n && s->p[0] == '[';
    if (*is_literal) {
        end = slice_chr(*s, ']');
        if (end < 0)
            return ADDRESS_SYNTAX;
        *out = slice_sub(*s, 0, (size_t)end + 1);
        *s = slice_from(*s, (size_t)end + 1);
        if (out->n > ADDRESS_DOMAIN_MAX)
            return ADDRESS_DOMAIN_LONG;
        return address_is_literal(*out) || is_general_literal(*out) ? ADDRESS_OK : ADDRESS_SYNTAX;
    }
    while (
        n < s->n && (ascii_is_alnum(s->p[n]) || ascii_is_8bit(s->p[n]) || s->p[n] == '-' || s->p[n] == '.'))
        n++;
    *out = slice_sub(*s, 0, n);
    *s = slice_from(*s, n);
    if (out->n && out->p[out->n - 1] == '.')
        out->n--;
    return check_domain(*out);
}

/* A-d-l ":" is read and forgotten (RFC 5321 appendix C) */
static enum address_error skip_route(struct slice *s)
{
    enum address_error e;
    struct slice domain;
    bool is_literal;

    if (s->n == 0 || s->p[0] != '@')
        return ADDRESS_OK;
    do {
        if (!take_char(s, '@'))
            return ADDRESS_SYNTAX;
        e = take_domain(s, &domain, &is_literal);
        if (e != ADDRESS_OK)
            return e;
    } while (take_char(s, ','));
    return take_char(s, ':') ? ADDRESS_OK : ADDRESS_SYNTAX;
}

/* `bare` is whether a postmaster without a domain will do */
static enum address_error take_mailbox(struct slice *s, bool bare, struct arena *arena, struct address *out)
{
    enum address_error e = take_local(s, arena, &out->local);

    if (e != ADDRESS_OK)
        return e;
    if (take_char(s, '@')) {
        e = take_domain(s, &out->domain, &out->is_literal);
        if (e != ADDRESS_OK)
            return e;
    } else if (!bare || !slice_eq_nocase(out->local, SLICE("postmaster"))) {
        return ADDRESS_SYNTAX;
    }
    out->is_utf8 = has_8bit(out->local) || has_8bit(out->domain);
    return ADDRESS_OK;
}

enum address_error address_parse_path(
    struct slice *in, bool allow_null, bool allow_postmaster, struct arena *arena, struct address *out)
{
    struct slice s = *in;
    enum address_error e;

    *out = (struct address){.local = SLICE(""), .domain = SLICE("")};
    /* "MAIL FROM: <a>" (clients.md quirk 2) */
    while (take_char(&s, ' ') || take_char(&s, '\t'))
        ;
    if (!take_char(&s, '<'))
        return ADDRESS_SYNTAX;
    if (allow_null && take_char(&s, '>')) {
        out->is_null = true;
        *in = s;
        return ADDRESS_OK;
    }
    e = skip_route(&s);
    if (e == ADDRESS_OK)
        e = take_mailbox(&s, allow_postmaster, arena, out);
    if (e == ADDRESS_OK && !take_char(&s, '>'))
        e = ADDRESS_SYNTAX;
    if (e == ADDRESS_OK)
        *in = s;
    return e;
}

enum address_error address_parse(struct slice s, struct arena *arena, struct address *out)
{
    enum address_error e;

    *out = (struct address){.local = SLICE(""), .domain = SLICE("")};
    e = take_mailbox(&s, false, arena, out);
    return e == ADDRESS_OK && s.n ? ADDRESS_SYNTAX : e;
}

static void add_lower(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_add_char(out, ascii_lower(s.p[i]));
}

/* RFC 5321 4.1.2: the form that uses the minimum quoting possible */
static void add_local(struct buf *out, struct slice local, bool lower)
{
    bool quote = !is_dot_string(local);

    if (quote)
        buf_add_char(out, '"');
    for (size_t i = 0; i < local.n; i++) {
        if (quote && (local.p[i] == '"' || local.p[i] == '\\'))
            buf_add_char(out, '\\');
        buf_add_char(out, lower ? ascii_lower(local.p[i]) : local.p[i]);
    }
    if (quote)
        buf_add_char(out, '"');
}

void address_format(struct buf *out, const struct address *a)
{
    if (a->is_null)
        return;
    add_local(out, a->local, false);
    if (a->domain.n == 0)
        return;
    buf_add_char(out, '@');
    buf_add(out, a->domain);
}

/* Some label is an A-label or a U-label, so that two ways to write this domain exist (RFC 5890 2.3.2.1). */
static bool is_idn(struct slice domain)
{
    struct slice label;

    if (has_8bit(domain))
        return true;
    while (slice_cut(&domain, '.', &label))
        if (slice_starts_nocase(label, SLICE("xn--")))
            return true;
    return false;
}

static bool add_idn(struct buf *out, struct slice domain)
{
    char text[ADDRESS_DOMAIN_MAX + 1];
    char *ascii = NULL;
    bool good = false;

    if (domain.n >= sizeof text || slice_chr(domain, '\0') >= 0)
        return false;
    memcpy(text, domain.p, domain.n);
    text[domain.n] = '\0';
    /* what comes out is looked at again: some mappings make dots and other ASCII of what was not */
    if (idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK) {
        good = !has_8bit(slice_str(ascii)) && address_is_domain(slice_str(ascii));
        if (good)
            add_lower(out, slice_str(ascii));
    }
    idn2_free(ascii);
    return good;
}

bool address_normalise(const struct address *a, struct buf *out)
{
    struct slice domain = a->domain;
    size_t start = out->n;

    if (a->is_null)
        return !out->full;
    if (!a->is_literal && domain.n && domain.p[domain.n - 1] == '.')
        domain.n--;
    add_local(out, a->local, true);
    if (domain.n) {
        buf_add_char(out, '@');
        if (a->is_literal || !is_idn(domain)) {
            add_lower(out, domain);
        } else if (!add_idn(out, domain)) {
            buf_cut(out, start);
            return false;
        }
    }
    return !out->full;
}

const char *address_error_text(enum address_error e)
{
    switch (e) {
    case ADDRESS_OK:
        return "The address is fine";
    case ADDRESS_SYNTAX:
        return "This is not an address: write <name@domain>";
    case ADDRESS_LOCAL_LONG:
        return "The part before the @ is longer than 64 octets";
    case ADDRESS_DOMAIN_LONG:
        return "The domain is longer than 255 octets or has a label longer than 63";
    case ADDRESS_BAD_UTF8:
        return "The address holds octets that are not UTF-8";
    }
    return "This is not an address";
}
