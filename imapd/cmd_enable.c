#include "imapd/commands.h"

#include "imapd/session.h"

#define ENABLE_UTF8 1u

static const struct {
    const char *name;
    uint64_t bit;
} extensions[] = {
    {"UTF8=ACCEPT", ENABLE_UTF8},
};

static bool check(struct imap_cmd *c)
{
    uint64_t *bits = arena_zalloc(c->arena, 1, sizeof *bits);
    struct slice word;

    c->data = bits;
    if (!bits || !imap_parse_atom(&c->args, &word))
        return imap_check_failed(c);
    for (;;) {
        /* what is not known is passed over (RFC 5161 3.1) */
        for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
            if (slice_eq_nocase(word, slice_str(extensions[i].name)))
                *bits |= extensions[i].bit;
        }
        if (!imap_parse_peek(&c->args, ' '))
            break;
        if (!imap_parse_space(&c->args) || !imap_parse_atom(&c->args, &word))
            return imap_check_failed(c);
    }
    return imap_check_none(c);
}

/* RFC 5161 3.1, 3.2: ENABLED names what this command switched on. */
static enum imap_step run(struct imap_cmd *c)
{
    struct imap_session *s = c->s;
    uint64_t wanted = *(uint64_t *)c->data & ~s->enabled;
    struct buf *out = imap_out(s);

    buf_add_str(out, "* ENABLED");
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        if (wanted & extensions[i].bit) {
            buf_add_char(out, ' ');
            buf_add_str(out, extensions[i].name);
        }
    }
    buf_add_str(out, "\r\n");
    s->enabled |= wanted;
    s->utf8 = (s->enabled & ENABLE_UTF8) != 0;
    return IMAP_DONE;
}

const struct imap_command imap_cmd_enable = {
    .name = "ENABLE",
    .states = IMAP_IN_ANY,
    .arguments = "capability ...",
    .capability = "ENABLE UTF8=ACCEPT",
    .rfc = "RFC 5161 3.1",
    .check = check,
    .run = run,
};
