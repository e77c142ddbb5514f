#include "store/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"
#include "store/text.h"

#define LOST "lost+found"
#define BOXES_MAX ((size_t)64 << 20)
#define CHUNK 65536

/* One mailbox that is being looked at. */
struct look {
    struct verify *v;
    struct slice name;
    int dir, cur, fresh, state;
    struct meta meta;
    bool has_meta;
    uint32_t *uids;
    size_t n, size;
};

static void tell(struct verify *v, struct slice mailbox, const char *file, const char *what, const char *fix,
    bool repairable, bool repaired)
{
    struct verify_finding f = {.mailbox = mailbox,
        .file = file,
        .what = what,
        .fix = fix,
        .repairable = repairable,
        .repaired = repaired};

    v->findings++;
    v->repaired += repaired;
    v->each(v->ctx, &f);
    if (repaired)
        LOG(STORE_ODD, NULL, F_SLICE("mailbox", mailbox), F_STR("file", file), F_STR("what", what),
            F_STR("done", fix));
}

static bool may_repair(const struct verify *v)
{
    return v->repair && !v->dry;
}

/* --- files --- */

/* Into mail/<path>/lost+found, durably, under a name nobody has. */
static bool move_to_lost(struct look *l, int from, const char *file)
{
    struct account *a = l->v->account;
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);
    int lost = -1;
    bool done = false;

    if (fs_mkdir(a->mail, LOST) == 0)
        fs_sync_dir(a->mail);
    lost = fs_open_dir(a->mail, LOST);
    buf_add_str(&to, file);
    for (int i = 0; lost >= 0 && !done && i < 100; i++) {
        done = fs_rename_new(from, file, lost, buf_str(&to)) == 0;
        if (!done && errno != EEXIST)
            break;
        buf_clear(&to);
        buf_printf(&to, "%d.%s", i + 1, file);
    }
    done = done && fs_sync_dir(lost) == 0 && fs_sync_dir(from) == 0;
    if (lost >= 0)
        close(lost);
    buf_free(&to);
    return done;
}

static bool count_octets(int fd, uint64_t *size, uint64_t *bare)
{
    char *chunk = mem_alloc(CHUNK), last = 0;
    ssize_t n;

    *size = *bare = 0;
    while ((n = pread(fd, chunk, CHUNK, (off_t)*size)) > 0) {
        *bare += text_bare_lf(slice_of(chunk, (size_t)n), &last);
        *size += (uint64_t)n;
    }
    free(chunk);
    return n == 0;
}

/* The right sizes into the name of a message in cur/; all else in it stays. */
static bool write_sizes(struct look *l, int fd, const char *file, const struct name *name)
{
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);
    uint64_t size, bare;
    bool done = false;

    if (count_octets(fd, &size, &bare) && name_write(&to, name->base, size, size + bare, name->saved,
                                              name->uid, l->meta.uidvalidity, name->flags))
        done = fs_rename_new(l->cur, file, l->cur, buf_str(&to)) == 0 && fs_sync_dir(l->cur) == 0;
    buf_free(&to);
    return done;
}

static void check_size(
    struct look *l, int fd, const struct stat *st, const char *file, const struct name *name, bool is_new)
{
    bool empty = st->st_size == 0, wrong = name->has_size && name->size != (uint64_t)st->st_size;
    const char *what = empty ? "the file is empty" : "the file is not as long as its name says";

    if (!wrong && !(empty && is_new))
        return;
    if (is_new)
        tell(l->v, l->name, file, what, "it moves to " LOST " beside the Maildir; look there what it was",
            true, may_repair(l->v) && move_to_lost(l, l->fresh, file));
    else
        tell(l->v, l->name, file, what, "the right size goes into its name", true,
            may_repair(l->v) && write_sizes(l, fd, file, name));
}

static void add_uid(struct look *l, uint32_t uid)
{
    if (l->n == l->size) {
        l->size = l->size ? l->size * 2 : 1024;
        l->uids = mem_realloc(l->uids, l->size, sizeof *l->uids);
    }
    l->uids[l->n++] = uid;
}

static void check_file(struct look *l, int dir, const struct dirent *d, bool is_new)
{
    struct name name;
    struct stat st;
    int fd;

    if (fs_stat(dir, d->d_name, &st) < 0)
        return; /* renamed or expunged meanwhile */
    if (!S_ISREG(st.st_mode) || !name_parse(slice_str(d->d_name), l->meta.uidvalidity, &name)) {
        tell(l->v, l->name, d->d_name, "this is no message",
            "move it out of the mailbox, clients never see it", false, false);
        return;
    }
    l->v->messages++;
    l->v->octets += (uint64_t)st.st_size;
    if (name.uid)
        add_uid(l, name.uid);
    if (name.uid && l->has_meta && name.uid >= l->meta.uidnext)
        tell(l->v, l->name, d->d_name, "its UID is above the highest that was given out",
            "nothing; the next opening goes on above it", false, false);
    fd = fs_open_read_stat(dir, d->d_name, &st);
    if (fd < 0) {
        if (errno != ENOENT)
            tell(l->v, l->name, d->d_name, strerror(errno),
                "make it readable for the owner of the mail, with one name in few folders only", false,
                false);
        return;
    }
    check_size(l, fd, &st, d->d_name, &name, is_new);
    close(fd);
}

static int check_folder(struct look *l, int dir, bool is_new, struct err *e)
{
    DIR *list = fs_list(dir);
    struct dirent *d;

    if (!list)
        return err_errno(e, is_new ? "new" : "cur");
    while ((d = readdir(list)))
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            check_file(l, dir, d, is_new);
    closedir(list);
    return 0;
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void check_uids(struct look *l)
{
    char what[64];

    if (l->n)
        qsort(l->uids, l->n, sizeof *l->uids, compare_uids);
    for (size_t i = 1; i < l->n; i++) {
        if (l->uids[i] != l->uids[i - 1] || (i > 1 && l->uids[i] == l->uids[i - 2]))
            continue;
        snprintf(what, sizeof what, "UID %lu stands in several names", (unsigned long)l->uids[i]);
        tell(l->v, l->name, "", what, "nothing; the next opening gives the others UIDs of their own", false,
            false);
    }
}

/* --- derived files, staging --- */

static size_t old_files(int dir, const char *prefix, bool remove)
{
    int64_t before = (int64_t)time(NULL) - FS_STAGING_LIFE;
    struct dirent *d;
    struct stat st;
    size_t n = 0;
    DIR *list;

    if (remove)
        return fs_remove_old(dir, prefix, before);
    list = fs_list(dir);
    while (list && (d = readdir(list)))
        n += slice_starts(slice_str(d->d_name), slice_str(prefix)) && fs_stat(dir, d->d_name, &st) == 0 &&
             S_ISREG(st.st_mode) && st.st_ctim.tv_sec < before && st.st_mtim.tv_sec < before;
    if (list)
        closedir(list);
    return n;
}

static void check_staging(struct look *l)
{
    int tmp = fs_open_dir(l->dir, "tmp");
    size_t n = old_files(l->state, STAGING_PREFIX, may_repair(l->v));

    if (n)
        tell(l->v, l->name, "", "files of operations that were broken off lie in state/", "they are removed",
            true, may_repair(l->v));
    n = tmp >= 0 ? old_files(tmp, "", may_repair(l->v)) : 0;
    if (n)
        tell(l->v, l->name, "tmp", "files that another program began to write and left", "they are removed",
            true, may_repair(l->v));
    if (tmp >= 0)
        close(tmp);
}

/* With the lock held: index and cache are made anew by whoever comes next; who has them open sees it. */
static void drop_derived(struct look *l)
{
    int fd = index_open(l->state);

    if (fd >= 0) {
        index_spoil(l->state, fd);
        close(fd);
    }
    fs_unlink(l->state, "postamt.cache");
}

/* One of another boot says so itself and is made anew: only one that claims to be good and is not is found.
 */
static bool index_is_damaged(struct look *l)
{
    int fd = fs_open_read(l->state, INDEX_FILE);
    struct index_base base = {.names = BUF_INIT(BUF_OWN)};
    struct index_header h;
    bool damaged = false;

    if (fd < 0)
        return false;
    if (index_read(fd, &h) && h.has_base) {
        damaged = !index_read_base(fd, &h, &base);
        free(base.messages);
        free(base.expunged);
        buf_free(&base.names);
    }
    close(fd);
    return damaged;
}

static void check_derived(struct look *l)
{
    bool damaged;

    if (fs_lock(l->dir, true) < 0)
        return;
    damaged = index_is_damaged(l);
    if (may_repair(l->v))
        drop_derived(l);
    fs_unlock(l->dir);
    if (damaged)
        tell(l->v, l->name, "", "the index is damaged", "it is made anew", true, may_repair(l->v));
}

/* The way every session takes; it moves what is in new/, so a mere look does not. */
static void check_opening(struct look *l)
{
    struct err e = {0};
    struct mailbox *m = mailbox_open(l->v->account, l->name, &e);

    if (!m) {
        tell(l->v, l->name, "", e.detail, "see the log; clients cannot open it like that", false, false);
        return;
    }
    mailbox_close(m);
}

static int verify_mailbox(struct verify *v, struct slice name, struct err *e)
{
    struct look l = {.v = v, .name = name, .dir = -1, .cur = -1, .fresh = -1, .state = -1};
    struct err why = {0};
    int rc = account_open_mailbox_dirs(v->account, name, &l.dir, &l.state, e);

    if (rc == 0) {
        l.has_meta = meta_load(l.dir, &l.meta, &why) > 0;
        if (why.code != ERR_OK)
            tell(v, name, META_FILE, why.detail,
                "bring it back from a backup; or remove it: UIDs start anew and clients fetch all again",
                false, false);
        l.cur = fs_open_dir(l.dir, "cur");
        l.fresh = fs_open_dir(l.dir, "new");
        if (l.cur < 0 || l.fresh < 0)
            tell(v, name, l.cur < 0 ? "cur" : "new", "the folder cannot be opened",
                "make it a folder of the mail's owner, mode 0700", false, false);
        if (l.cur >= 0)
            rc = check_folder(&l, l.cur, false, e);
        if (rc == 0 && l.fresh >= 0)
            rc = check_folder(&l, l.fresh, true, e);
        check_uids(&l);
        check_staging(&l);
        check_derived(&l);
        if (rc == 0 && may_repair(v))
            check_opening(&l);
    }
    for (size_t i = 0; i < 4; i++) {
        int fd = (int[]){l.dir, l.cur, l.fresh, l.state}[i];

        if (fd >= 0)
            close(fd);
    }
    free(l.uids);
    return rc;
}

/* Folders that look like mailboxes and are none. */
static void check_names(struct verify *v)
{
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
    DIR *list = fs_list(v->account->maildir);
    struct dirent *d;
    struct stat st;

    while (list && (d = readdir(list))) {
        if (d->d_name[0] != '.' || strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
            fs_stat(v->account->maildir, d->d_name, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        buf_clear(&name);
        if (!folder_from_disk(slice_str(d->d_name), &name))
            tell(v, SLICE(""), d->d_name, "the folder's name is no mailbox name (modified UTF-7 with dots)",
                "rename it; clients do not see it like that", false, false);
    }
    if (list)
        closedir(list);
    buf_free(&name);
}

int verify_account(struct verify *v, struct err *e)
{
    struct account_mailbox *boxes;
    struct arena arena;
    ssize_t n;
    int rc = 0;

    arena_init(&arena, BOXES_MAX);
    check_names(v);
    n = account_list(v->account, false, &arena, &boxes, e);
    for (ssize_t i = 0; i < n && rc == 0; i++)
        if (boxes[i].exists)
            rc = verify_mailbox(v, boxes[i].name, e);
    arena_free(&arena);
    return n < 0 ? -1 : rc;
}
