#include "queue/reply.h"

#include <string.h>

#include "common/ascii.h"
#include "common/utf8.h"

/* Takes a line and its end from the front; false if the end is not there. */
static bool take_line(struct slice *rest, struct slice *line)
{
    ssize_t lf = slice_chr(*rest, '\n');

    if (lf < 0)
        return false;
    *line = slice_sub(*rest, 0, (size_t)lf);
    if (slice_ends(*line, SLICE("\r")))
        line->n--;
    *rest = slice_from(*rest, (size_t)lf + 1);
    return true;
}

/* Can these octets, perhaps cut, be the start of a line? code: of the lines before; 0: none. */
static bool is_start(struct slice line, int code)
{
    const char *p = line.p;

    if ((line.n > 0 && (p[0] < '2' || p[0] > '5')) || (line.n > 1 && !ascii_is_digit(p[1])) ||
        (line.n > 2 && !ascii_is_digit(p[2])) || (line.n > 3 && p[3] != ' ' && p[3] != '-' && p[3] != '\r'))
        return false;
    return code == 0 || line.n < 3 || code == (p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0');
}

ssize_t reply_parse(struct slice in, struct reply *out)
{
    struct slice all = slice_sub(in, 0, REPLY_OCTETS), rest = all, line;
    int code = 0;

    for (int lines = 0; lines < REPLY_LINES; lines++) {
        if (!is_start(rest, code) || (rest.n && rest.p[0] == '\n'))
            return -1;
        if (!take_line(&rest, &line))
            return in.n < REPLY_OCTETS ? 0 : -1;
        if (line.n < 3)
            return -1;
        code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
        if (line.n == 3 || line.p[3] != '-') {
            *out = (struct reply){.code = code, .raw = slice_sub(in, 0, all.n - rest.n)};
            return (ssize_t)out->raw.n;
        }
    }
    return -1;
}

/* One line; false when something did not fit any more. */
static bool add_line(struct slice line, size_t end, struct buf *out)
{
    while (line.n) {
        uint32_t code;
        size_t n = utf8_decode(line, &code);
        struct slice c = slice_sub(line, 0, n ? n : 1);

        if (n == 0)
            c = SLICE("?");
        else if (!utf8_printable(c))
            c = SLICE(" ");
        if (out->n + c.n > end)
            return false;
        buf_add(out, c);
        line = slice_from(line, n ? n : 1);
    }
    return true;
}

void reply_text(const struct reply *r, size_t max, struct buf *out)
{
    struct slice rest = r->raw, line;
    size_t end = out->n + max;

    for (bool first = true; take_line(&rest, &line); first = false) {
        if (!first && out->n < end)
            buf_add_char(out, '\n');
        if (!add_line(line, end, out))
            break;
    }
}

/* "PLAIN LOGIN CRAM-MD5" */
static void take_mechanisms(struct slice list, struct reply_offers *o)
{
    struct slice word;

    while (slice_cut(&list, ' ', &word)) {
        o->auth_plain |= slice_eq_nocase(word, SLICE("PLAIN"));
        o->auth_login |= slice_eq_nocase(word, SLICE("LOGIN"));
    }
}

struct reply_offers reply_offers(const struct reply *r)
{
    struct reply_offers o = {0};
    struct slice rest = r->raw, line, word;
    const struct {
        const char *name;
        bool *flag;
    } keywords[] = {
        {"PIPELINING", &o.pipelining},
        {"8BITMIME", &o.is_8bit},
        {"SMTPUTF8", &o.smtputf8},
        {"DSN", &o.dsn},
        {"STARTTLS", &o.starttls},
        {"CHUNKING", &o.chunking},
        {"REQUIRETLS", &o.requiretls},
    };

    take_line(&rest, &line); /* its name */
    while (take_line(&rest, &line)) {
        line = slice_trim(slice_from(line, 4));
        slice_cut(&line, ' ', &word);
        for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
            if (slice_eq_nocase(word, slice_str(keywords[i].name)))
                *keywords[i].flag = true;
        if (slice_eq_nocase(word, SLICE("SIZE"))) {
            o.has_size = true;
            if (!slice_u64(slice_trim(line), UINT64_MAX, &o.size))
                o.size = 0;
        }
        if (slice_eq_nocase(word, SLICE("AUTH")))
            take_mechanisms(line, &o);
    }
    return o;
}
