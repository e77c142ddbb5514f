#include "smtpd/parse.h"

#include "common/ascii.h"
#include "common/utf8.h"
#include "mail/dsn.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice skip_blanks(struct slice s)
{
    size_t i = 0;

    while (i < s.n && is_blank(s.p[i]))
        i++;
    return slice_from(s, i);
}

bool smtp_parse_line(struct slice line, struct smtp_line *out)
{
    size_t n = 0;

    for (size_t i = 0; i < line.n; i++)
        if (ascii_is_control(line.p[i]) && line.p[i] != '\t')
            return false;
    while (line.n && is_blank(line.p[line.n - 1]))
        line.n--;
    while (n < line.n && !is_blank(line.p[n]))
        n++;
    out->verb = slice_sub(line, 0, n);
    out->args = skip_blanks(slice_from(line, n));
    return n > 0;
}

bool smtp_parse_keyword(struct slice *args, struct slice keyword)
{
    if (!slice_starts_nocase(*args, keyword))
        return false;
    *args = slice_from(*args, keyword.n);
    return true;
}

/* esmtp-value: %d33-60 / %d62-126, and UTF-8 (RFC 6531 3.4), for which each parameter looks itself */
static bool is_value_char(char c)
{
    return ascii_is_8bit(c) || (c > ' ' && c < 0x7f && c != '=');
}

enum smtp_params smtp_parse_param(struct slice *rest, struct smtp_param *out)
{
    struct slice s = skip_blanks(*rest);
    size_t n = 0;

    *out = (struct smtp_param){.name = SLICE(""), .value = SLICE("")};
    if (s.n == 0) {
        *rest = s;
        return SMTP_PARAMS_END;
    }
    if (s.n == rest->n) /* nothing stands between it and what is before */
        return SMTP_PARAMS_BAD;
    while (n < s.n && (ascii_is_alnum(s.p[n]) || (n > 0 && s.p[n] == '-')))
        n++;
    if (n == 0)
        return SMTP_PARAMS_BAD;
    out->name = slice_sub(s, 0, n);
    s = slice_from(s, n);
    if (s.n && s.p[0] == '=') {
        s = slice_from(s, 1);
        for (n = 0; n < s.n && is_value_char(s.p[n]); n++)
            ;
        if (n == 0)
            return SMTP_PARAMS_BAD;
        out->has_value = true;
        out->value = slice_sub(s, 0, n);
        s = slice_from(s, n);
    }
    if (s.n && !is_blank(s.p[0]))
        return SMTP_PARAMS_BAD;
    *rest = s;
    return SMTP_PARAM;
}

/* RFC 3461 4: hexchar is "+" and two upper case digits; lower case is forgiven */
bool smtp_parse_xtext(struct slice in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];

        if (c <= ' ' || c >= 0x7f || c == '=')
            return false;
        if (c == '+') {
            int high = i + 2 < in.n ? ascii_hex(in.p[i + 1]) : -1;
            int low = high >= 0 ? ascii_hex(in.p[i + 2]) : -1;

            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            if (ascii_is_control(c))
                return false;
            i += 2;
        }
        if (out)
            buf_add_char(out, c);
    }
    return true;
}

bool smtp_parse_notify(struct slice in, unsigned *bits)
{
    static const struct {
        struct slice name;
        unsigned bit;
    } words[] = {{SLICE("NEVER"), DSN_NEVER}, {SLICE("SUCCESS"), DSN_SUCCESS},
        {SLICE("FAILURE"), DSN_FAILURE}, {SLICE("DELAY"), DSN_DELAY}};
    struct slice word;

    *bits = 0;
    if (in.n == 0 || in.p[in.n - 1] == ',')
        return false;
    while (slice_cut(&in, ',', &word)) {
        size_t i = 0;

        while (i < 4 && !slice_eq_nocase(word, words[i].name))
            i++;
        if (i == 4)
            return false;
        *bits |= words[i].bit;
    }
    return !(*bits & DSN_NEVER) || *bits == DSN_NEVER;
}

/* EmbeddedUnicodeChar: "\x{" HEX "}"; octets of it, 0 if it is none or stands for a control. */
static size_t take_code(struct slice in, struct buf *out)
{
    uint32_t code = 0;
    char text[4];
    size_t i = 3, n;

    if (!slice_starts(in, SLICE("\\x{")))
        return 0;
    for (; i < in.n && i < 9 && ascii_hex(in.p[i]) >= 0; i++)
        code = code << 4 | (uint32_t)ascii_hex(in.p[i]);
    if (i == 3 || i == in.n || in.p[i] != '}' || code > 0x10ffff)
        return 0;
    n = utf8_encode(code, text);
    if (utf8_printable(slice_of(text, n)) != n)
        return 0;
    buf_add(out, slice_of(text, n));
    return i + 1;
}

/* utf-8-addr-xtext, with raw also utf-8-addr-unitext */
static bool take_unitext(struct slice in, bool raw, struct buf *out)
{
    while (in.n) {
        size_t n = utf8_printable(in);

        if (*in.p == '\\')
            n = take_code(in, out);
        else if (n == 0 || *in.p == '+' || *in.p == '=' || (n > 1 && !raw))
            return false;
        else
            buf_add(out, slice_sub(in, 0, n));
        if (n == 0)
            return false;
        in = slice_from(in, n);
    }
    return true;
}

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (ascii_is_8bit(s.p[i]))
            return false;
    return true;
}

bool smtp_parse_orcpt(struct slice in, bool smtputf8, struct buf *out)
{
    struct slice address = in, type;
    size_t start;

    slice_cut(&address, ';', &type);
    for (size_t i = 0; i < type.n; i++)
        if (!ascii_is_alnum(type.p[i]) && type.p[i] != '-')
            return false;
    if (type.n == 0 || address.n == 0)
        return false;
    buf_add(out, type);
    buf_add_char(out, ';');
    start = out->n;
    if (slice_eq_nocase(type, SLICE("utf-8")))
        return take_unitext(address, smtputf8, out);
    return smtp_parse_xtext(address, out) && is_ascii(slice_from(buf_slice(out), start));
}

enum smtp_chunk smtp_parse_chunk(struct slice args, uint64_t *size, bool *last)
{
    struct slice number;
    size_t n = 0;

    *size = 0;
    *last = false;
    while (n < args.n && ascii_is_digit(args.p[n]))
        n++;
    number = slice_sub(args, 0, n);
    args = slice_from(args, n);
    if (n == 0 || (args.n && !is_blank(args.p[0])))
        return SMTP_CHUNK_BAD;
    args = skip_blanks(args);
    *last = slice_eq_nocase(args, SLICE("LAST"));
    if (args.n && !*last)
        return SMTP_CHUNK_BAD;
    return slice_u64(number, UINT64_MAX, size) ? SMTP_CHUNK : SMTP_CHUNK_HUGE;
}
