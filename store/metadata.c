#include "store/metadata.h"

#include <errno.h>
#include <unistd.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "store/account_priv.h"
#include "store/name.h"

#define METADATA_FILE "postamt-metadata"
#define FIRST_LINE "postamt-metadata 1\n"
#define FILE_MAX (METADATA_SIZE_MAX + METADATA_ENTRIES_MAX * (METADATA_NAME_MAX + 16) + 64)

/* RFC 5464 4.1: parts of printable ASCII between slashes, without '*' and '%' */
static bool is_entry_name(struct slice s)
{
    if (s.n < 2 || s.n > METADATA_NAME_MAX || s.p[0] != '/' || s.p[s.n - 1] == '/')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '*' || s.p[i] == '%' ||
            (s.p[i] == '/' && i + 1 < s.n && s.p[i + 1] == '/'))
            return false;
    return true;
}

/* The next entry of the file; false at its end (*rest is empty then) or where it is damaged. */
static bool next_entry(struct slice *rest, struct slice *entry, struct slice *value)
{
    struct slice line, at = *rest;
    uint64_t n;

    if (!slice_cut(&at, '\n', &line) || !slice_cut(&line, ' ', entry) || !is_entry_name(*entry) ||
        !slice_u64(line, METADATA_VALUE_MAX, &n) || at.n < n + 1 || at.p[n] != '\n')
        return false;
    *value = slice_sub(at, 0, (size_t)n);
    *rest = slice_from(at, (size_t)n + 1);
    return true;
}

/* The folder that the file is in; the caller closes it. */
static int open_folder(struct account *a, struct slice mailbox, struct err *e)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    int fd = -1;

    if (mailbox.n == 0) {
        fd = fs_open_dir(a->mail, ".");
        if (fd < 0)
            err_errno(e, "the account's folder");
    } else if (folder_to_disk(mailbox, &disk, e) == 0 &&
               account_open_folder(a, buf_slice(&disk), &fd, e) < 0) {
        fd = -1;
    }
    buf_free(&disk);
    return fd;
}

/* The entries behind the first line. */
static int load(int dir, struct buf *text, struct slice *entries, struct err *e)
{
    struct slice entry, value, rest;

    *entries = SLICE("");
    if (fs_load(dir, METADATA_FILE, text, FILE_MAX) < 0)
        return errno == ENOENT ? 0 : err_errno(e, METADATA_FILE);
    if (!slice_starts(buf_slice(text), SLICE(FIRST_LINE)))
        return err_set(e, ERR_CORRUPT, METADATA_FILE " cannot be understood");
    *entries = rest = slice_from(buf_slice(text), sizeof FIRST_LINE - 1);
    while (next_entry(&rest, &entry, &value))
        continue;
    return rest.n ? err_set(e, ERR_CORRUPT, METADATA_FILE " cannot be understood") : 0;
}

int metadata_each(struct account *a, struct slice mailbox,
    bool (*each)(void *ctx, struct slice entry, struct slice value), void *ctx, struct err *e)
{
    struct buf text = BUF_INIT(FILE_MAX);
    struct slice rest, entry, value;
    int dir = open_folder(a, mailbox, e), rc;

    if (dir < 0)
        return -1;
    rc = load(dir, &text, &rest, e);
    while (rc == 0 && next_entry(&rest, &entry, &value) && each(ctx, entry, value))
        continue;
    buf_free(&text);
    close(dir);
    return rc;
}

struct wanted {
    struct slice entry;
    struct buf *value;
    bool found;
};

static bool is_wanted(void *ctx, struct slice entry, struct slice value)
{
    struct wanted *w = ctx;

    if (!slice_eq_nocase(entry, w->entry))
        return true;
    buf_add(w->value, value);
    w->found = true;
    return false;
}

int metadata_get(
    struct account *a, struct slice mailbox, struct slice entry, struct buf *value, struct err *e)
{
    struct wanted w = {.entry = entry, .value = value};

    return metadata_each(a, mailbox, is_wanted, &w, e) < 0 ? -1 : w.found;
}

/* --- changing --- */

static void put(struct buf *out, struct slice entry, struct slice value)
{
    for (size_t i = 0; i < entry.n; i++)
        buf_add_char(out, ascii_lower(entry.p[i]));
    buf_printf(out, " %zu\n", value.n);
    buf_add(out, value);
    buf_add_char(out, '\n');
}

/* Everything of `entries` with this one in its place, or without it. */
static int change(
    struct slice entries, struct slice entry, struct slice value, struct buf *out, struct err *e)
{
    struct slice at, old;
    size_t n = 0, octets = 0;
    bool done = value.p == NULL;

    buf_add_str(out, FIRST_LINE);
    while (next_entry(&entries, &at, &old)) {
        if (!done && slice_cmp(at, entry) > 0) {
            put(out, entry, value);
            done = true;
            n++;
        }
        if (slice_eq(at, entry))
            continue;
        put(out, at, old);
        n++;
        octets += old.n;
    }
    if (!done) {
        put(out, entry, value);
        n++;
    }
    if (n > METADATA_ENTRIES_MAX || octets + value.n > METADATA_SIZE_MAX || out->full)
        return err_set(e, ERR_LIMIT, "%zu entries, %zu octets", n, octets + value.n);
    return 0;
}

static int set_locked(struct account *a, int dir, struct slice entry, struct slice value, struct err *e)
{
    struct buf text = BUF_INIT(FILE_MAX), fresh = BUF_INIT(FILE_MAX);
    struct slice entries;
    char staging[32];
    int rc = load(dir, &text, &entries, e);

    if (rc == 0)
        rc = change(entries, entry, value, &fresh, e);
    if (rc == 0 && !slice_eq(buf_slice(&fresh), buf_slice(&text)) && (text.n || value.p)) {
        staging_name(staging);
        if (fs_replace(a->state, staging, dir, METADATA_FILE, buf_slice(&fresh), 0600, true) < 0)
            rc = err_errno(e, METADATA_FILE);
    }
    buf_free(&text);
    buf_free(&fresh);
    return rc;
}

int metadata_set(
    struct account *a, struct slice mailbox, struct slice entry, struct slice value, struct err *e)
{
    struct buf name = BUF_INIT(METADATA_NAME_MAX + 1);
    int dir = -1, rc = -1;

    for (size_t i = 0; i < entry.n; i++)
        buf_add_char(&name, ascii_lower(entry.p[i]));
    if (name.full || !is_entry_name(buf_slice(&name))) {
        err_set(e, ERR_SYNTAX, "no name of an entry: %zu octets", entry.n);
        goto out;
    }
    if (value.n > METADATA_VALUE_MAX) {
        err_set(e, ERR_LIMIT, "a value of %zu octets", value.n);
        goto out;
    }
    if (account_lock(a, e) < 0)
        goto out;
    dir = open_folder(a, mailbox, e);
    if (dir >= 0)
        rc = set_locked(a, dir, buf_slice(&name), value, e);
    account_unlock(a);
out:
    if (dir >= 0)
        close(dir);
    buf_free(&name);
    return rc;
}
