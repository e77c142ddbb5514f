#include "mail/srs.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/ascii.h"
#include "common/mem.h"

#define HASH_LEN 8
#define DAYS_AROUND 1024 /* two digits */
#define DAY 86400

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* what the hash stands for: the kind, and all that follows it in the local part */
static void hash(const unsigned char secret[SRS_SECRET_LEN], char kind, struct slice rest, char out[HASH_LEN])
{
    struct buf text = BUF_INIT(ADDRESS_LOCAL_MAX + ADDRESS_DOMAIN_MAX + 64);
    unsigned char digest[EVP_MAX_MD_SIZE];
    uint64_t bits = 0;
    unsigned n;

    buf_add_char(&text, kind);
    for (size_t i = 0; i < rest.n; i++)
        buf_add_char(&text, ascii_lower(rest.p[i]));
    INVARIANT(HMAC(EVP_sha256(), secret, SRS_SECRET_LEN, (unsigned char *)text.p, text.n, digest, &n));
    for (int i = 0; i < 5; i++)
        bits = bits << 8 | digest[i];
    for (int i = HASH_LEN; i > 0; bits >>= 5)
        out[--i] = digits[bits & 31];
    buf_free(&text);
}

static bool is_hash(const unsigned char secret[SRS_SECRET_LEN], char kind, struct slice rest, struct slice h)
{
    char want[HASH_LEN], got[HASH_LEN];

    if (h.n != HASH_LEN)
        return false;
    hash(secret, kind, rest, want);
    for (size_t i = 0; i < HASH_LEN; i++)
        got[i] = ascii_lower(h.p[i]);
    return CRYPTO_memcmp(want, got, HASH_LEN) == 0;
}

/* "SRS0" or "SRS1" with the separator behind it; *rest starts with the separator. */
static char kind_of(struct slice local, struct slice *rest)
{
    bool is_srs = slice_starts_nocase(local, SLICE("SRS0")) || slice_starts_nocase(local, SLICE("SRS1"));

    if (!is_srs || local.n < 6 || slice_chr(SLICE("=+-"), local.p[4]) < 0)
        return '\0';
    *rest = slice_from(local, 4);
    return local.p[3];
}

/* Of "SRS1=hash=first=rest": false if it is malformed. */
static bool take_apart(struct slice rest, struct slice *h, struct slice *first, struct slice *inner)
{
    rest = slice_from(rest, 1);
    *inner = rest;
    return slice_cut(inner, '=', h) && slice_cut(inner, '=', first) && first->n && inner->n > 1;
}

static void add_form(const unsigned char secret[SRS_SECRET_LEN], char kind, struct slice rest,
    struct slice domain, struct buf *out)
{
    struct buf local = BUF_INIT(ADDRESS_LOCAL_MAX + 1), whole = BUF_INIT(1024);
    struct address a = {.domain = domain};
    char h[HASH_LEN];

    hash(secret, kind, rest, h);
    buf_printf(&local, "SRS%c=%.*s=", kind, HASH_LEN, h);
    buf_add(&local, rest);
    a.local = buf_slice(&local);
    if (!local.full)
        address_format(&whole, &a);
    if (local.full || whole.full || whole.n - domain.n - 1 > ADDRESS_LOCAL_MAX)
        buf_printf(out, "postmaster@%.*s", SLICE_FMT(domain));
    else
        buf_add(out, buf_slice(&whole));
    buf_free(&local);
    buf_free(&whole);
}

void srs_forward(const unsigned char secret[SRS_SECRET_LEN], int64_t now, const struct address *from,
    struct slice domain, struct buf *out)
{
    struct buf rest = BUF_INIT(ADDRESS_LOCAL_MAX + ADDRESS_DOMAIN_MAX + 64);
    struct slice h, first = from->domain, inner;
    unsigned day = (unsigned)(now / DAY % DAYS_AROUND);
    char kind = kind_of(from->local, &inner);

    if (kind == '1' && !take_apart(inner, &h, &first, &inner))
        kind = '\0';
    if (kind) {
        buf_add(&rest, first);
        buf_add_char(&rest, '=');
        buf_add(&rest, inner);
    } else {
        buf_printf(&rest, "%c%c=", digits[day >> 5], digits[day & 31]);
        buf_add(&rest, from->domain);
        buf_add_char(&rest, '=');
        buf_add(&rest, from->local);
    }
    if (slice_chr(first, '=') >= 0) /* an odd address literal: nobody could take it apart again */
        buf_printf(out, "postmaster@%.*s", SLICE_FMT(domain));
    else
        add_form(secret, kind ? '1' : '0', buf_slice(&rest), domain, out);
    buf_free(&rest);
}

static int digit(char c)
{
    ssize_t i = slice_chr(slice_of(digits, 32), ascii_lower(c));

    return (int)i;
}

static bool is_young(struct slice day, int64_t now)
{
    int high = day.n == 2 ? digit(day.p[0]) : -1, low = high < 0 ? -1 : digit(day.p[1]);
    int64_t today = now / DAY % DAYS_AROUND;

    return low >= 0 && (today - (high << 5 | low) + DAYS_AROUND) % DAYS_AROUND <= SRS_DAYS;
}

static enum srs reverse_first(
    const unsigned char secret[SRS_SECRET_LEN], int64_t now, struct slice rest, struct buf *out)
{
    struct slice h, day;
    struct address a = {.local = slice_from(rest, 1)};

    if (!slice_cut(&a.local, '=', &h) || !is_hash(secret, '0', a.local, h) ||
        !slice_cut(&a.local, '=', &day) || !is_young(day, now) || !slice_cut(&a.local, '=', &a.domain) ||
        a.local.n == 0 || a.domain.n == 0)
        return SRS_REFUSED;
    address_format(out, &a);
    return SRS_OK;
}

static enum srs reverse_further(
    const unsigned char secret[SRS_SECRET_LEN], struct slice rest, struct buf *out)
{
    struct slice h, signed_part = slice_from(rest, 1);
    struct buf local = BUF_INIT(ADDRESS_LOCAL_MAX + 1);
    struct address a = {.is_null = false};
    struct slice inner;
    enum srs result = SRS_REFUSED;

    if (slice_cut(&signed_part, '=', &h) && is_hash(secret, '1', signed_part, h) &&
        take_apart(rest, &h, &a.domain, &inner)) {
        buf_add_str(&local, "SRS0");
        buf_add(&local, inner);
        a.local = buf_slice(&local);
        address_format(out, &a);
        result = SRS_OK;
    }
    buf_free(&local);
    return result;
}

enum srs srs_reverse(
    const unsigned char secret[SRS_SECRET_LEN], int64_t now, const struct address *to, struct buf *out)
{
    struct slice rest;
    char kind = kind_of(to->local, &rest);

    if (!kind)
        return SRS_NONE;
    return kind == '0' ? reverse_first(secret, now, rest, out) : reverse_further(secret, rest, out);
}
