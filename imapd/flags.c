/* Flags: their names and bits (RFC 3501 2.3.2, 9051 2.3.2). */
#include "imapd/session.h"

#define KEYWORD_MAX 100 /* octets of a keyword's name */

static const struct {
    uint32_t bit;
    const char *name;
} system_flags[] = {
    {FLAG_ANSWERED, "\\Answered"},
    {FLAG_FLAGGED, "\\Flagged"},
    {FLAG_DELETED, "\\Deleted"},
    {FLAG_SEEN, "\\Seen"},
    {FLAG_DRAFT, "\\Draft"},
    {FLAG_FORWARDED, "$Forwarded"},
};

#define SYSTEM_FLAGS (sizeof system_flags / sizeof *system_flags)

uint32_t imap_system_flag(struct slice name)
{
    for (size_t i = 0; i < SYSTEM_FLAGS; i++) {
        if (slice_eq_nocase(name, slice_str(system_flags[i].name)))
            return system_flags[i].bit;
    }
    return 0;
}

const char *imap_flags_complaint(const struct slice *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq_nocase(names[i], SLICE("\\Recent")))
            return "\\Recent is the server's own flag and cannot be set";
        if (names[i].n && names[i].p[0] == '\\' && !imap_system_flag(names[i]))
            return "a flag with a backslash is one of \\Seen \\Answered \\Flagged \\Deleted \\Draft; "
                   "keywords have none";
        if (names[i].n > KEYWORD_MAX)
            return "a keyword has at most 100 characters";
    }
    return NULL;
}

int imap_flags_parse(
    struct mailbox *m, const struct slice *names, size_t n, bool create, uint32_t *bits, struct err *e)
{
    const char *complaint = imap_flags_complaint(names, n);

    *bits = 0;
    if (complaint)
        return err_set(e, ERR_CANNOT, "%s", complaint);
    for (size_t i = 0; i < n; i++) {
        uint32_t bit = imap_system_flag(names[i]);

        if (!bit) {
            struct err why = {0};
            int letter = mailbox_keyword_letter(m, names[i], create, &why);

            if (letter < 0 && create) {
                *e = why;
                return -1;
            }
            /* nobody has a keyword that does not exist: nothing to take away */
            if (letter >= 0)
                bit = FLAG_KEYWORD((unsigned)letter);
        }
        *bits |= bit;
    }
    /* a letter that is on no message yet may have gone to a later name of the same list */
    for (size_t i = 0; create && i < n; i++)
        if (!imap_system_flag(names[i]) && mailbox_keyword_letter(m, names[i], false, NULL) < 0)
            return err_set(e, ERR_KEYWORDS_FULL, "too many in one command");
    return 0;
}

void imap_flags_write(struct buf *out, const struct mailbox *m, uint32_t bits, bool recent)
{
    const char *blank = "";

    for (size_t i = 0; i < SYSTEM_FLAGS; i++) {
        if (!(bits & system_flags[i].bit))
            continue;
        buf_add_str(out, blank);
        buf_add_str(out, system_flags[i].name);
        blank = " ";
    }
    /* most messages have none: 100,000 of them are asked for at once */
    for (unsigned i = 0; i < FLAG_KEYWORDS && bits >= FLAG_KEYWORD(i); i++) {
        struct slice name;

        if (!(bits & FLAG_KEYWORD(i)))
            continue;
        name = mailbox_keyword(m, i);
        if (name.n == 0) /* a letter whose name was lost: not ours to invent one */
            continue;
        buf_add_str(out, blank);
        buf_add(out, name);
        blank = " ";
    }
    if (recent) {
        buf_add_str(out, blank);
        buf_add_str(out, "\\Recent");
    }
}
