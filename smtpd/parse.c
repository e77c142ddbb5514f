#include "smtpd/parse.h"

#include "common/ascii.h"

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

/* esmtp-value: %d33-60 / %d62-126; UTF-8 where RFC 6531 3.4 has it, which is not here */
static bool is_value_char(char c)
{
    return c > ' ' && c < 0x7f && c != '=';
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
