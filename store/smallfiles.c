/* The account's small durable files: subscriptions (as Dovecot writes them, either version) and special uses
 * (RFC 6154). */
#include <errno.h>
#include <string.h>

#include "common/fs.h"
#include "common/mem.h"
#include "store/account_priv.h"
#include "store/foreign.h"
#include "store/name.h"

#define SUBSCRIPTIONS_FILE "subscriptions"
#define SPECIAL_FILE "postamt-special"
#define SMALL_MAX ((size_t)4 << 20)

static const char *const use_names[USE_COUNT] = {
    [USE_NONE] = "",
    [USE_ALL] = "\\All",
    [USE_ARCHIVE] = "\\Archive",
    [USE_DRAFTS] = "\\Drafts",
    [USE_FLAGGED] = "\\Flagged",
    [USE_JUNK] = "\\Junk",
    [USE_SENT] = "\\Sent",
    [USE_TRASH] = "\\Trash",
};

const char *special_use_name(enum special_use use)
{
    return (unsigned)use < USE_COUNT ? use_names[use] : "";
}

static int load(int dir, const char *name, struct buf *text, struct err *e)
{
    buf_clear(text);
    if (fs_load(dir, name, text, SMALL_MAX) == 0)
        return 0;
    buf_clear(text);
    return errno == ENOENT ? 0 : err_errno(e, name);
}

static int save(struct account *a, int dir, const char *name, struct buf *text, struct err *e)
{
    char staging[32];

    if (text->full || text->n > SMALL_MAX)
        return err_set(e, ERR_LIMIT, "%s is full", name);
    staging_name(staging);
    if (fs_replace(a->state, staging, dir, name, buf_slice(text), 0600, true) < 0)
        return err_errno(e, name);
    return 0;
}

int subscriptions_load(struct account *a, struct buf *text, struct err *e)
{
    return load(a->maildir, SUBSCRIPTIONS_FILE, text, e);
}

/* "A.B" of the file as the mailbox "A/B". */
static bool subscription_name(struct slice line, struct buf *name)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2), plain = BUF_INIT(NAME_LEN_MAX + 1);
    bool ok = foreign_subscription(line, false, &plain);

    buf_clear(name);
    if (ok && slice_eq(buf_slice(&plain), SLICE("INBOX"))) {
        buf_add(name, SLICE("INBOX"));
    } else if (ok) {
        buf_add_char(&disk, '.');
        buf_add(&disk, buf_slice(&plain));
        ok = !disk.full && folder_from_disk(buf_slice(&disk), name);
    }
    buf_free(&disk);
    buf_free(&plain);
    return ok;
}

/* One more line, in the version the file has. */
static void add_subscription(struct slice disk, struct buf *text)
{
    bool tabs = slice_starts(buf_slice(text), SLICE(FOREIGN_SUBSCRIPTIONS_2));
    struct slice name = disk.n ? slice_from(disk, 1) : SLICE("INBOX");

    for (size_t i = 0; i < name.n; i++)
        buf_add_char(text, tabs && name.p[i] == '.' ? '\t' : name.p[i]);
    buf_add_char(text, '\n');
}

struct slice subscriptions_lines(struct slice text)
{
    struct slice header = SLICE(FOREIGN_SUBSCRIPTIONS_2);

    return slice_starts(text, header) ? slice_from(text, header.n) : text;
}

bool subscriptions_next(struct slice *rest, struct buf *name)
{
    struct slice line;

    while (slice_cut(rest, '\n', &line))
        if (subscription_name(line, name))
            return true;
    return false;
}

/* All lines but those of this mailbox; what we cannot read stays, it is another server's. */
static bool without_line(struct slice text, struct slice name, struct buf *out)
{
    struct buf at = BUF_INIT(FOLDER_NAME_MAX + 1);
    struct slice rest = subscriptions_lines(text), line;
    bool had = false;

    buf_add(out, slice_sub(text, 0, text.n - rest.n));
    text = rest;
    while (slice_cut(&text, '\n', &line)) {
        if (subscription_name(line, &at) && slice_eq(buf_slice(&at), name)) {
            had = true;
            continue;
        }
        buf_add(out, line);
        buf_add_char(out, '\n');
    }
    buf_free(&at);
    return had;
}

int account_subscribe(struct account *a, struct slice name, bool on, struct err *e)
{
    struct buf text = BUF_INIT(BUF_OWN), fresh = BUF_INIT(BUF_OWN), disk = BUF_INIT(NAME_LEN_MAX + 2);
    bool had;
    int rc = -1;

    if (folder_to_disk(name, &disk, e) < 0)
        goto out;
    if (account_lock(a, e) < 0)
        goto out;
    if (subscriptions_load(a, &text, e) < 0)
        goto unlock;
    had = without_line(buf_slice(&text), name, &fresh);
    if (had == on) {
        rc = 0;
        goto unlock;
    }
    if (on)
        add_subscription(buf_slice(&disk), &fresh);
    rc = save(a, a->maildir, SUBSCRIPTIONS_FILE, &fresh, e);
unlock:
    account_unlock(a);
out:
    buf_free(&text);
    buf_free(&fresh);
    buf_free(&disk);
    return rc;
}

int subscriptions_take(struct account *a, struct err *e)
{
    struct buf text = BUF_INIT(BUF_OWN), fresh = BUF_INIT(BUF_OWN), name = BUF_INIT(NAME_LEN_MAX + 1);
    struct slice rest, line;
    struct stat st;
    int rc = -1;

    if (account_lock(a, e) < 0)
        return -1;
    if (fs_stat(a->maildir, SUBSCRIPTIONS_FILE, &st) == 0) {
        rc = 0;
    } else if (load(a->maildir, FOREIGN_COURIER_SUBSCRIBED, &text, e) == 0) {
        rest = buf_slice(&text);
        while (slice_cut(&rest, '\n', &line))
            if (foreign_subscription(line, true, &name)) {
                buf_add(&fresh, buf_slice(&name));
                buf_add_char(&fresh, '\n');
            }
        rc = fresh.n ? save(a, a->maildir, SUBSCRIPTIONS_FILE, &fresh, e) : 0;
    }
    account_unlock(a);
    buf_free(&text);
    buf_free(&fresh);
    buf_free(&name);
    return rc;
}

int specials_load(struct account *a, struct buf *text, struct err *e)
{
    return load(a->mail, SPECIAL_FILE, text, e);
}

bool specials_begun(struct account *a)
{
    struct stat st;

    return fs_stat(a->mail, SPECIAL_FILE, &st) == 0;
}

int specials_begin(struct account *a, struct buf *text, struct err *e)
{
    int rc;

    if (account_lock(a, e) < 0)
        return -1;
    rc = specials_begun(a) ? 0 : save(a, a->mail, SPECIAL_FILE, text, e);
    account_unlock(a);
    return rc;
}

bool specials_next(struct slice *rest, enum special_use *use, struct slice *disk)
{
    struct slice line, word;

    while (slice_cut(rest, '\n', &line)) {
        slice_cut(&line, ' ', &word);
        for (*use = USE_ALL; *use < USE_COUNT; (*use)++)
            if (slice_eq(word, slice_str(use_names[*use])))
                break;
        if (*use == USE_COUNT || (line.n && line.p[0] != '.'))
            continue;
        *disk = line;
        return true;
    }
    return false;
}

bool specials_is(struct account *a, struct slice disk, enum special_use use)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct slice rest, at;
    enum special_use held;
    bool is = false;

    if (specials_load(a, &text, NULL) == 0) {
        rest = buf_slice(&text);
        while (!is && specials_next(&rest, &held, &at))
            is = held == use && slice_eq(at, disk);
    }
    buf_free(&text);
    return is;
}

int specials_set(struct account *a, struct slice disk, enum special_use use, struct err *e)
{
    struct buf text = BUF_INIT(BUF_OWN), fresh = BUF_INIT(BUF_OWN);
    struct slice rest, at;
    enum special_use held;
    int rc = -1;

    if (specials_load(a, &text, e) < 0)
        goto out;
    rest = buf_slice(&text);
    while (specials_next(&rest, &held, &at)) {
        if (slice_eq(at, disk))
            continue;
        if (held == use && use != USE_NONE) {
            if (account_folder_exists(a, at)) {
                err_set(e, ERR_CANNOT, "%s belongs to another mailbox", special_use_name(use));
                goto out;
            }
            continue; /* its holder was removed by another program */
        }
        buf_printf(&fresh, "%s ", special_use_name(held));
        buf_add(&fresh, at);
        buf_add_char(&fresh, '\n');
    }
    if (use != USE_NONE) {
        buf_printf(&fresh, "%s ", special_use_name(use));
        buf_add(&fresh, disk);
        buf_add_char(&fresh, '\n');
    }
    rc = slice_eq(buf_slice(&fresh), buf_slice(&text)) ? 0 : save(a, a->mail, SPECIAL_FILE, &fresh, e);
out:
    buf_free(&text);
    buf_free(&fresh);
    return rc;
}
