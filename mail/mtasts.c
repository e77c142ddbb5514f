#include "mail/mtasts.h"

#include "common/ascii.h"
#include "mail/address.h"

static bool is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice skip_wsp(struct slice s)
{
    while (s.n && is_wsp(s.p[0]))
        s = slice_from(s, 1);
    return s;
}

static struct slice trim_wsp(struct slice s)
{
    s = skip_wsp(s);
    while (s.n && is_wsp(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* sts-ext-name, sts-policy-ext-name: one grammar */
static bool is_name(struct slice s)
{
    if (s.n == 0 || s.n > 32 || !ascii_is_alnum(s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '_' && s.p[i] != '-' && s.p[i] != '.')
            return false;
    return true;
}

static bool is_id(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]))
            return false;
    return s.n > 0 && s.n <= MTASTS_ID_MAX;
}

/* sts-ext-value: printable but for "=", ";" and blanks */
static bool is_record_value(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] > 0x7e || s.p[i] == '=' || s.p[i] == ';')
            return false;
    return s.n > 0;
}

enum mtasts_record mtasts_record_parse(struct slice text, struct slice *id)
{
    struct slice rest = text, field, name;
    bool has_id = false;

    if (!slice_starts(text, SLICE("v=STSv1;")))
        return MTASTS_NO_RECORD;
    slice_cut(&rest, ';', &field);
    while (slice_cut(&rest, ';', &field)) {
        field = trim_wsp(field);
        if (field.n == 0 && trim_wsp(rest).n == 0)
            break; /* what stands behind the last semicolon */
        if (slice_chr(field, '=') < 0)
            return MTASTS_BAD_RECORD;
        slice_cut(&field, '=', &name);
        if (!is_name(name) || !is_record_value(field))
            return MTASTS_BAD_RECORD;
        if (!slice_eq(name, SLICE("id")) || has_id)
            continue;
        if (!is_id(field))
            return MTASTS_BAD_RECORD;
        *id = field;
        has_id = true;
    }
    return has_id ? MTASTS_RECORD : MTASTS_BAD_RECORD;
}

/* ---- the policy ---- */

/* The next line of a policy as name and value; false at its end. *good: its grammar is right. Empty lines are
 * passed over, which is more than the grammar has. */
static bool next_field(struct slice *rest, struct slice *name, struct slice *value, bool *good)
{
    struct slice line;

    do {
        if (!slice_cut(rest, '\n', &line))
            return false;
        line = slice_trim(line);
    } while (line.n == 0);
    *good = slice_chr(line, ':') >= 0;
    slice_cut(&line, ':', name);
    *value = skip_wsp(line);
    *good = *good && is_name(*name) && value->n > 0;
    for (size_t i = 0; i < value->n; i++)
        if (ascii_is_control(value->p[i]))
            *good = false;
    return true;
}

static bool is_pattern(struct slice s)
{
    if (slice_starts(s, SLICE("*.")))
        s = slice_from(s, 2);
    return address_is_domain(s);
}

static bool mode_parse(struct slice s, enum mtasts_mode *out)
{
    static const char *const names[] = {"none", "testing", "enforce"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_eq(s, slice_str(names[i]))) {
            *out = (enum mtasts_mode)i;
            return true;
        }
    }
    return false;
}

bool mtasts_policy_parse(struct slice body, struct mtasts_policy *out)
{
    enum { VERSION = 1, MODE = 2, AGE = 4, MX = 8 };
    unsigned seen = 0;
    struct slice rest = body, name, value;
    bool good;
    uint64_t age;

    *out = (struct mtasts_policy){.body = body};
    while (next_field(&rest, &name, &value, &good)) {
        if (!good)
            return false;
        if (slice_eq(name, SLICE("mx"))) {
            if (!is_pattern(value))
                return false;
            seen |= MX;
        } else if (slice_eq(name, SLICE("version")) && !(seen & VERSION)) {
            if (!slice_eq(value, SLICE("STSv1")))
                return false;
            seen |= VERSION;
        } else if (slice_eq(name, SLICE("mode")) && !(seen & MODE)) {
            if (!mode_parse(value, &out->mode))
                return false;
            seen |= MODE;
        } else if (slice_eq(name, SLICE("max_age")) && !(seen & AGE)) {
            if (!slice_u64(value, 9999999999, &age))
                return false;
            out->max_age = (uint32_t)(age < MTASTS_MAX_AGE ? age : MTASTS_MAX_AGE);
            seen |= AGE;
        }
    }
    return (seen | MX) == (VERSION | MODE | AGE | MX) && (out->mode == MTASTS_NONE || (seen & MX));
}

bool mtasts_mx_matches(struct slice pattern, struct slice host)
{
    ssize_t dot;

    if (!slice_starts(pattern, SLICE("*.")))
        return slice_eq_nocase(pattern, host);
    dot = slice_chr(host, '.');
    return dot > 0 && slice_eq_nocase(slice_from(pattern, 2), slice_from(host, (size_t)dot + 1));
}

bool mtasts_allows(const struct mtasts_policy *p, struct slice host)
{
    struct slice rest = p->body, name, value;
    bool good;

    while (next_field(&rest, &name, &value, &good))
        if (slice_eq(name, SLICE("mx")) && mtasts_mx_matches(value, host))
            return true;
    return false;
}
