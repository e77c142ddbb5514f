#include "mail/header_keys.h"

#include "common/ascii.h"

#define LENGTH_MAX 17

/* By length, so that a name is compared with few. */
static const struct slice keys[] = {
    {"To", 2},
    {"Cc", 2},
    {"Bcc", 3},
    {"Date", 4},
    {"From", 4},
    {"Sender", 6},
    {"Subject", 7},
    {"List-Id", 7},
    {"Reply-To", 8},
    {"Priority", 8},
    {"X-Priority", 10},
    {"Message-ID", 10},
    {"References", 10},
    {"Newsgroups", 10},
    {"Importance", 10},
    {"In-Reply-To", 11},
    {"Content-Type", 12},
    {"Resent-Message-ID", 17},
};

/* First of that length; the last is the end of the one before. */
static const unsigned char first[LENGTH_MAX + 2] = {
    0, 0, 0, 2, 3, 5, 5, 6, 8, 10, 10, 15, 16, 17, 17, 17, 17, 17, 18};

bool header_is_key(struct slice name)
{
    if (name.n > LENGTH_MAX)
        return false;
    for (size_t i = first[name.n]; i < first[name.n + 1]; i++)
        if (ascii_lower(name.p[0]) == ascii_lower(keys[i].p[0]) && slice_eq_nocase(name, keys[i]))
            return true;
    return false;
}

bool header_keys_write(struct slice header, struct buf *out)
{
    size_t before = out->n, n = 0;
    struct slice rest = header;
    struct header_field field;

    for (; header_next(&rest, &field); n++) {
        if (n >= HEADER_FIELDS_MAX || header.n - rest.n > HEADER_LOOK_MAX)
            goto no;
        if (!header_is_key(field.name))
            continue;
        if (out->n - before + field.raw.n > HEADER_KEYS_MAX)
            goto no;
        buf_add(out, field.raw);
    }
    if (slice_starts(rest, SLICE("\r\n")))
        buf_add(out, SLICE("\r\n"));
    else if (rest.n)
        buf_add(out, SLICE("\n"));
    if (!out->full)
        return true;
no:
    buf_cut(out, before);
    return false;
}
