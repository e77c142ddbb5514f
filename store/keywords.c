/* dovecot-keywords: "<n> <name>" lines; the n-th letter of the alphabet stands for the name in file names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

#define KEYWORDS_FILE "dovecot-keywords"
#define KEYWORDS_MAX ((size_t)1 << 20)
#define KEYWORD_LEN_MAX 200

void keywords_free(struct mailbox *m)
{
    for (size_t i = 0; i < FLAG_KEYWORDS; i++) {
        free(m->keywords[i]);
        m->keywords[i] = NULL;
    }
    buf_free(&m->keyword_rest);
}

/* A flag-keyword is an atom (RFC 9051 9). */
static bool is_keyword(struct slice name)
{
    if (name.n == 0 || name.n > KEYWORD_LEN_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (ascii_is_control(name.p[i]) || ascii_is_8bit(name.p[i]) || strchr(" (){%*\"\\]", name.p[i]))
            return false;
    return true;
}

static void parse(struct mailbox *m, struct slice text)
{
    struct slice line, word, rest;
    uint64_t n;

    keywords_free(m);
    m->forwarded = 0;
    while (slice_cut(&text, '\n', &line)) {
        rest = line;
        slice_cut(&rest, ' ', &word);
        if (slice_u64(word, FLAG_KEYWORDS - 1, &n) && rest.n && !m->keywords[n] &&
            (m->keywords[n] = slice_dup(rest))) {
            if (m->forwarded == 0 && slice_eq_nocase(rest, SLICE("$Forwarded")))
                m->forwarded = FLAG_KEYWORD(n);
            continue;
        }
        /* beyond z, or not understood: another server's, kept */
        buf_add(&m->keyword_rest, line);
        buf_add_char(&m->keyword_rest, '\n');
    }
}

int keywords_load(struct mailbox *m, struct err *e)
{
    struct buf text = BUF_INIT(KEYWORDS_MAX + 2);
    int64_t stamp = file_stamp(m->dir, KEYWORDS_FILE);
    int rc = 0;

    if (stamp == m->keyword_stamp)
        return 0;
    if (stamp && fs_load(m->dir, KEYWORDS_FILE, &text, KEYWORDS_MAX) < 0 && errno != ENOENT) {
        rc = err_errno(e, KEYWORDS_FILE);
    } else {
        parse(m, buf_slice(&text));
        m->keyword_stamp = stamp;
        m->keyword_generation++;
    }
    buf_free(&text);
    return rc;
}

uint32_t keywords_flags(const struct mailbox *m, uint32_t flags)
{
    return flags & m->forwarded ? (flags & ~m->forwarded) | FLAG_FORWARDED : flags;
}

struct slice mailbox_keyword(const struct mailbox *m, unsigned letter)
{
    struct slice name = letter < FLAG_KEYWORDS && FLAG_KEYWORD(letter) != m->forwarded
                            ? slice_str(m->keywords[letter])
                            : SLICE("");

    return is_keyword(name) ? name : SLICE("");
}

static int find_letter(const struct mailbox *m, struct slice name)
{
    for (unsigned i = 0; i < FLAG_KEYWORDS; i++)
        if (m->keywords[i] && slice_eq_nocase(slice_str(m->keywords[i]), name))
            return (int)i;
    return -1;
}

/* One that stands for nothing and is on no message; else one whose name no message bears any more. */
static int free_letter(const struct mailbox *m)
{
    uint32_t used = m->forwarded; /* names bear it, whatever the array says */

    for (size_t i = 0; i < m->n; i++)
        used |= m->msgs[i].flags;
    for (int pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < FLAG_KEYWORDS; i++)
            if (!(used & FLAG_KEYWORD(i)) && (pass == 1 || !m->keywords[i]))
                return (int)i;
    return -1;
}

static int save(struct mailbox *m, struct err *e)
{
    struct buf text = BUF_INIT(KEYWORDS_MAX);
    char staging[32];
    int rc = 0;

    for (unsigned i = 0; i < FLAG_KEYWORDS; i++)
        if (m->keywords[i])
            buf_printf(&text, "%u %s\n", i, m->keywords[i]);
    buf_add(&text, buf_slice(&m->keyword_rest));
    staging_name(staging);
    if (text.full)
        rc = err_set(e, ERR_LIMIT, KEYWORDS_FILE " is too large");
    else if (fs_replace(m->state, staging, m->dir, KEYWORDS_FILE, buf_slice(&text), 0600, true) < 0)
        rc = err_errno(e, KEYWORDS_FILE);
    buf_free(&text);
    return rc;
}

/* With the lock held and the file read. */
static int take_letter(struct mailbox *m, struct slice name, struct err *e)
{
    int letter = find_letter(m, name);
    char *before;

    if (letter >= 0)
        return letter;
    /* which letters are on messages only a loaded mailbox knows; its neighbours' changes count too */
    if ((m->loaded ? scan_cur(m, e) : mailbox_load(m, e)) < 0)
        return -1;
    letter = free_letter(m);
    if (letter < 0)
        return err_set(e, ERR_KEYWORDS_FULL, "%zu octets", name.n);
    before = m->keywords[letter];
    m->keywords[letter] = slice_dup(name);
    if (slice_eq_nocase(name, SLICE("$Forwarded")))
        m->forwarded = FLAG_KEYWORD(letter);
    if (save(m, e) < 0) {
        free(m->keywords[letter]);
        m->keywords[letter] = before;
        return -1;
    }
    free(before);
    m->keyword_stamp = file_stamp(m->dir, KEYWORDS_FILE);
    m->keyword_generation++;
    return letter;
}

int mailbox_keyword_letter(struct mailbox *m, struct slice name, bool create, struct err *e)
{
    int letter = find_letter(m, name);

    if (letter >= 0)
        return letter;
    if (!create) {
        err_set(e, ERR_KEYWORDS_FULL, "no such keyword");
        return -1;
    }
    if (!is_keyword(name))
        return err_set(e, ERR_SYNTAX, "not a keyword");
    if (numbers_lock(m, e) < 0)
        return -1;
    letter = keywords_load(m, e) < 0 ? -1 : take_letter(m, name, e);
    numbers_unlock(m);
    return letter;
}

uint32_t keywords_translate(struct mailbox *from, struct mailbox *to, uint32_t flags)
{
    uint32_t out = flags & ~FLAG_KEYWORDS_MASK;

    if (from == to)
        return flags;
    for (unsigned i = 0; i < FLAG_KEYWORDS; i++) {
        struct slice name = mailbox_keyword(from, i);
        int letter;

        if (!(flags & FLAG_KEYWORD(i)) || !name.n)
            continue;
        letter = mailbox_keyword_letter(to, name, true, NULL);
        if (letter >= 0)
            out |= FLAG_KEYWORD(letter);
    }
    return out;
}
