/* The mailboxes of an account: listing, creating, deleting. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/account_priv.h"
#include "store/delivery.h"
#include "store/expunged.h"
#include "store/meta.h"
#include "store/name.h"

/* Folders that are being made or removed: no mailbox has such a name, and other servers pass them by. */
#define MADE_PREFIX "postamt-made."
#define GONE_PREFIX "postamt-gone."

static const char *const subfolders[] = {"cur", "new", "tmp"};

/* --- listing --- */

struct listing {
    struct arena *arena;
    struct account_mailbox *at;
    size_t n, size;
    bool full; /* the arena's quota is used up */
};

static struct account_mailbox *listing_add(struct listing *l, struct slice name)
{
    struct account_mailbox *m;

    if (l->n == l->size) {
        l->size = l->size ? l->size * 2 : 64;
        l->at = mem_realloc(l->at, l->size, sizeof *l->at);
    }
    m = &l->at[l->n++];
    *m = (struct account_mailbox){.name = arena_copy(l->arena, name)};
    if (!m->name.p)
        l->full = true;
    return m;
}

static bool is_inbox(struct slice name)
{
    return slice_eq(name, SLICE("INBOX")) || slice_starts(name, SLICE("INBOX/"));
}

/* INBOX and what is below it first; '/' before every other character, so that children follow their parent.
 */
static int compare(const void *pa, const void *pb)
{
    struct slice a = ((const struct account_mailbox *)pa)->name,
                 b = ((const struct account_mailbox *)pb)->name;
    size_t n = a.n < b.n ? a.n : b.n;

    if (is_inbox(a) != is_inbox(b))
        return is_inbox(a) ? -1 : 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char x = (unsigned char)a.p[i], y = (unsigned char)b.p[i];

        if (x == y)
            continue;
        if (x == '/' || y == '/')
            return x == '/' ? -1 : 1;
        return x < y ? -1 : 1;
    }
    return a.n < b.n ? -1 : a.n > b.n;
}

static bool is_folder(struct account *a, const struct dirent *d)
{
    struct stat st;

    if (d->d_type != DT_UNKNOWN)
        return d->d_type == DT_DIR;
    return fs_stat(a->maildir, d->d_name, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Adds each mailbox that has a folder, and the parents its name implies. */
static int add_folders(struct account *a, struct listing *l, bool *rests, struct err *e)
{
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
    DIR *dir = fs_list(a->maildir);
    struct dirent *d;
    int rc = 0;

    if (!dir)
        return err_errno(e, "Maildir");
    listing_add(l, SLICE("INBOX"))->exists = true;
    while (errno = 0, (d = readdir(dir))) {
        struct slice entry = slice_str(d->d_name);

        if (slice_starts(entry, SLICE(GONE_PREFIX)) || slice_starts(entry, SLICE(MADE_PREFIX)))
            *rests = true;
        buf_clear(&name);
        if (entry.p[0] != '.' || !is_folder(a, d) || !folder_from_disk(entry, &name))
            continue;
        listing_add(l, buf_slice(&name))->exists = true;
        for (size_t i = 0; i < name.n; i++)
            if (name.p[i] == '/')
                listing_add(l, slice_of(name.p, i))->has_children = true;
    }
    if (errno)
        rc = err_errno(e, "Maildir");
    closedir(dir);
    buf_free(&name);
    return rc;
}

static int add_subscriptions(struct account *a, struct listing *l, struct err *e)
{
    struct buf text = BUF_INIT(BUF_OWN), name = BUF_INIT(FOLDER_NAME_MAX + 1);
    struct slice rest;
    int rc = subscriptions_load(a, &text, e);

    rest = subscriptions_lines(buf_slice(&text));
    while (rc == 0 && subscriptions_next(&rest, &name))
        listing_add(l, buf_slice(&name))->subscribed = true;
    buf_free(&text);
    buf_free(&name);
    return rc;
}

static int add_uses(struct account *a, struct listing *l, struct err *e)
{
    struct buf text = BUF_INIT(BUF_OWN), name = BUF_INIT(FOLDER_NAME_MAX + 1);
    struct slice rest, disk;
    enum special_use use;
    int rc = specials_load(a, &text, e);

    rest = buf_slice(&text);
    while (rc == 0 && specials_next(&rest, &use, &disk)) {
        buf_clear(&name);
        if (disk.n == 0)
            buf_add(&name, SLICE("INBOX"));
        else if (!folder_from_disk(disk, &name))
            continue;
        listing_add(l, buf_slice(&name))->use = use;
    }
    buf_free(&text);
    buf_free(&name);
    return rc;
}

/* Several entries of one name become one; what neither exists nor is asked for goes. */
static void merge(struct listing *l, bool with_subscriptions)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->n;) {
        struct account_mailbox m = l->at[i];

        for (i++; i < l->n && slice_eq(l->at[i].name, m.name); i++) {
            m.exists |= l->at[i].exists;
            m.subscribed |= l->at[i].subscribed;
            m.has_children |= l->at[i].has_children;
            if (l->at[i].use != USE_NONE)
                m.use = l->at[i].use;
        }
        if (!m.exists)
            m.use = USE_NONE;
        if (m.exists || m.has_children || (m.subscribed && with_subscriptions))
            l->at[kept++] = m;
    }
    l->n = kept;
}

static void sweep(struct account *a);

ssize_t account_list(struct account *a, bool with_subscriptions, struct arena *arena,
    struct account_mailbox **out, struct err *e)
{
    struct listing l = {.arena = arena};
    bool rests = false;
    ssize_t rc = -1;

    if (add_folders(a, &l, &rests, e) < 0 || add_subscriptions(a, &l, e) < 0 || add_uses(a, &l, e) < 0)
        goto out;
    if (l.n)
        qsort(l.at, l.n, sizeof *l.at, compare);
    merge(&l, with_subscriptions);
    *out = l.full ? NULL : arena_zalloc(arena, l.n, sizeof **out);
    if (!*out) {
        err_set(e, ERR_LIMIT, "%zu mailboxes", l.n);
        goto out;
    }
    if (l.n)
        memcpy(*out, l.at, l.n * sizeof **out);
    rc = (ssize_t)l.n;
    if (rests)
        sweep(a);
out:
    free(l.at);
    return rc;
}

/* --- removing --- */

static void remove_files(int dir)
{
    DIR *list = fs_list(dir);
    struct dirent *d;

    if (!list)
        return;
    while ((d = readdir(list)))
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            fs_unlink(dir, d->d_name);
    closedir(list);
}

/* Files, cur, new and tmp with theirs; folders that another program put there keep the whole thing in place.
 */
static void remove_tree(int parent, const char *entry)
{
    int dir = fs_open_dir(parent, entry);

    if (dir < 0)
        return;
    for (size_t i = 0; i < sizeof subfolders / sizeof *subfolders; i++) {
        int sub = fs_open_dir(dir, subfolders[i]);

        if (sub < 0)
            continue;
        remove_files(sub);
        close(sub);
        fs_rmdir(dir, subfolders[i]);
    }
    remove_files(dir);
    close(dir);
    if (fs_rmdir(parent, entry) < 0)
        LOG(STORE_ODD, NULL, F_STR("folder", entry), F_STR("why", "a deleted mailbox is not empty"));
}

void boxes_remove_rest(struct account *a, const char *entry)
{
    remove_tree(a->maildir, entry);
}

/* What a crash left of a creation or a deletion. Under the lock, because a creation may be under way. */
static void sweep(struct account *a)
{
    struct dirent *d;
    DIR *list;

    if (account_lock(a, NULL) < 0)
        return;
    list = fs_list(a->maildir);
    while (list && (d = readdir(list))) {
        struct slice entry = slice_str(d->d_name);

        if (slice_starts(entry, SLICE(GONE_PREFIX)) || slice_starts(entry, SLICE(MADE_PREFIX)))
            remove_tree(a->maildir, d->d_name);
    }
    if (list)
        closedir(list);
    account_unlock(a);
}

/* --- creating --- */

/* The folder under a name that is no mailbox, with all that belongs in it. */
static int make_folder(struct account *a, const char *entry, struct err *e)
{
    struct meta meta;
    uint32_t uidvalidity;
    char staging[32];
    int dir = -1, rc = -1;

    if (account_next_uidvalidity(a, &uidvalidity, e) < 0)
        return -1;
    if (fs_mkdir(a->maildir, entry) < 0 || (dir = fs_open_dir(a->maildir, entry)) < 0) {
        err_errno(e, "new mailbox");
        goto out;
    }
    for (size_t i = 0; i < sizeof subfolders / sizeof *subfolders; i++)
        if (fs_mkdir(dir, subfolders[i]) < 0) {
            err_errno(e, "new mailbox");
            goto out;
        }
    /* the mark by which delivery agents know a Maildir++ folder */
    staging_name(staging);
    if (fs_replace(a->state, staging, dir, "maildirfolder", SLICE(""), 0600, false) < 0) {
        err_errno(e, "maildirfolder");
        goto out;
    }
    meta_init(&meta, uidvalidity);
    rc = meta_store(a->state, dir, &meta, e);
out:
    if (dir >= 0)
        close(dir);
    return rc;
}

/* One folder, complete or not there at all: its name comes by one rename. */
static int create_one(struct account *a, struct slice disk, struct err *e)
{
    struct buf path = BUF_INIT(NAME_LEN_MAX + 2);
    struct id id = id_new();
    char made[64];
    int rc = -1;

    snprintf(made, sizeof made, MADE_PREFIX "%s", id.text);
    buf_add(&path, disk);
    if (make_folder(a, made, e) < 0)
        goto drop;
    if (fs_rename_new(a->maildir, made, a->maildir, buf_str(&path)) < 0) {
        if (errno == EEXIST)
            err_set(e, ERR_MAILBOX_EXISTS, "made at the same time");
        else
            err_errno(e, "new mailbox");
        goto drop;
    }
    rc = fs_sync_dir(a->maildir) < 0 ? err_errno(e, "Maildir") : 0;
    goto out;
drop:
    remove_tree(a->maildir, made);
out:
    buf_free(&path);
    return rc;
}

int boxes_create_parents(struct account *a, struct slice name, struct err *e)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    int rc = 0;

    for (size_t i = 0; i < name.n && rc == 0; i++) {
        if (name.p[i] != '/')
            continue;
        buf_clear(&disk);
        rc = folder_to_disk(slice_of(name.p, i), &disk, e);
        if (rc == 0 && !account_folder_exists(a, buf_slice(&disk)))
            rc = create_one(a, buf_slice(&disk), e);
    }
    buf_free(&disk);
    return rc;
}

int boxes_create(struct account *a, struct slice name, struct err *e)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    int rc = folder_to_disk(name, &disk, e);

    if (rc == 0 && account_folder_exists(a, buf_slice(&disk)))
        rc = err_set(e, ERR_MAILBOX_EXISTS, "CREATE");
    if (rc == 0)
        rc = boxes_create_parents(a, name, e);
    if (rc == 0)
        rc = create_one(a, buf_slice(&disk), e);
    buf_free(&disk);
    return rc;
}

int account_mailbox_create(struct account *a, struct slice name, enum special_use use, struct err *e)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    int rc = -1;

    if (folder_to_disk(name, &disk, e) < 0 || account_lock(a, e) < 0)
        goto out;
    if (account_folder_exists(a, buf_slice(&disk)))
        err_set(e, ERR_MAILBOX_EXISTS, "CREATE");
    else if (use == USE_NONE || specials_set(a, buf_slice(&disk), use, e) == 0)
        rc = boxes_create(a, name, e); /* the use came first: a use without its mailbox is nobody's */
    account_unlock(a);
    if (rc == 0)
        LOG(MAILBOX, NULL, F_STR("what", "create"), F_SLICE("name", name));
out:
    buf_free(&disk);
    return rc;
}

/* Out of sight, for good with Maildir's fsync. 1: kept in expunged/, 0: under the name `gone`, -1. */
static int take_from_sight(struct account *a, const char *disk, const char *gone, struct err *e)
{
    int kept = expunged_keep_mailbox(a, disk, e);

    if (kept < 0)
        return -1;
    if (kept == 0 && fs_rename_new(a->maildir, disk, a->maildir, gone) < 0)
        return errno == ENOENT ? err_set(e, ERR_NO_MAILBOX, "DELETE") : err_errno(e, "DELETE");
    return fs_sync_dir(a->maildir) < 0 ? err_errno(e, "Maildir") : kept;
}

static void count_before(struct account *a, const char *disk, uint64_t *octets, uint64_t *messages)
{
    int dir = fs_open_dir(a->maildir, disk);

    if (dir < 0)
        return;
    delivery_count(dir, octets, messages);
    close(dir);
}

int account_mailbox_delete(struct account *a, struct slice name, struct err *e)
{
    uint64_t octets, messages;

    return account_mailbox_delete_counted(a, name, &octets, &messages, e);
}

int account_mailbox_delete_counted(
    struct account *a, struct slice name, uint64_t *octets, uint64_t *messages, struct err *e)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    struct id id = id_new();
    char gone[64];
    int rc = -1, kept = 0;

    *octets = *messages = 0;
    if (folder_to_disk(name, &disk, e) < 0)
        goto out;
    if (disk.n == 0) {
        err_set(e, ERR_CANNOT, "INBOX stays"); /* RFC 9051 6.3.5 */
        goto out;
    }
    if (account_lock(a, e) < 0)
        goto out;
    snprintf(gone, sizeof gone, GONE_PREFIX "%s", id.text);
    if (a->settle)
        a->settle(a, name);
    count_before(a, buf_str(&disk), octets, messages);
    kept = take_from_sight(a, buf_str(&disk), gone, e);
    if (kept >= 0) {
        struct err why = {0};

        rc = 0;
        /* a special use of nothing does no harm; on a full disk this is how room is made */
        if (specials_set(a, buf_slice(&disk), USE_NONE, &why) < 0)
            LOG(STORE_ERROR, NULL, F_STR("what", "special use of a deleted mailbox"),
                F_STR("why", why.detail));
    }
    account_unlock(a);
    if (rc < 0)
        goto out;
    if (a->moved)
        a->moved(a, name, SLICE(""));
    if (!kept)
        boxes_remove_rest(a, gone);
    remove_tree(a->state, buf_str(&disk));
    LOG(MAILBOX, NULL, F_STR("what", "delete"), F_SLICE("name", name), F_U64("kept", kept > 0));
out:
    buf_free(&disk);
    return rc;
}
