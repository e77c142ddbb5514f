/* Keeping what is expunged: one rename for a message, one for a deleted mailbox. */
#include "store/expunged.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "store/mailbox_priv.h"

#define KEYWORDS_FILE "dovecot-keywords"
#define TRIES 8

unsigned (*expunged_free_space)(int dir) = fs_free_space;

static const char class_letters[EXPUNGED_CLASSES] = {[EXPUNGED_LONG] = 'l', [EXPUNGED_SHORT] = 's'};

void expunged_policy(struct account *a, uint64_t keep, uint64_t keep_junk, bool all_short)
{
    a->keep[EXPUNGED_LONG] = keep;
    a->keep[EXPUNGED_SHORT] = keep_junk;
    a->all_short = all_short;
}

void expunged_on_low_space(struct account *a, void (*low)(void *ctx), void *ctx)
{
    a->low_space = low;
    a->low_space_ctx = ctx;
}

bool expunged_name_parse(struct slice text, struct expunged_name *out)
{
    struct slice rest = slice_from(text, 1), head, when;
    uint64_t seconds;

    *out = (struct expunged_name){.class = EXPUNGED_LONG};
    if (text.n < 4 || (text.p[0] != class_letters[0] && text.p[0] != class_letters[1]))
        return false;
    if (text.p[0] == class_letters[EXPUNGED_SHORT])
        out->class = EXPUNGED_SHORT;
    slice_cut(&rest, '.', &head);
    out->rest = rest;
    slice_cut(&head, '~', &when);
    out->names = head;
    if (!id_base32_parse(when, &seconds) || seconds > INT64_MAX || rest.n == 0)
        return false;
    out->when = (int64_t)seconds;
    return true;
}

/* "No room" of any kind: then what is expunged just goes. */
static bool is_full(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EMLINK;
}

static enum expunged_class class_of(struct account *a, struct slice disk)
{
    return a->all_short || specials_is(a, disk, USE_JUNK) ? EXPUNGED_SHORT : EXPUNGED_LONG;
}

/* Looks at the disk once; whoever purges is told when it is nearly full. */
static bool is_low(struct account *a)
{
    if (expunged_free_space(a->mail) >= EXPUNGED_LOW)
        return false;
    if (a->low_space)
        a->low_space(a->low_space_ctx);
    return true;
}

/* A folder in `dir`, made and durable if missing; -1 with errno. */
static int open_or_make(int dir, const char *name)
{
    int fd = fs_open_dir(dir, name);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (fs_mkdir(dir, name) < 0 ? errno != EEXIST : fs_sync_dir(dir) < 0)
        return -1;
    return fs_open_dir(dir, name);
}

static void close_kept(int fd)
{
    int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = saved;
}

/* expunged/<id> with the shared lock: nobody removes it. -1 with errno. */
static int open_for(struct account *a, const char *id)
{
    int top = open_or_make(a->mail, EXPUNGED_FOLDER), dir = -1;

    for (int i = 0; i < TRIES && top >= 0 && dir < 0; i++) {
        struct stat st;

        dir = open_or_make(top, id);
        if (dir < 0 && errno == ENOENT)
            continue; /* made, and removed by a purge before it was opened */
        if (dir < 0)
            break;
        if (fs_lock(dir, false) < 0 || fstat(dir, &st) < 0) {
            close_kept(dir);
            dir = -1;
            break;
        }
        if (st.st_nlink == 0) { /* a purge removed it between open and lock */
            close(dir);
            dir = -1;
            errno = ENOENT;
        }
    }
    close_kept(top);
    return dir;
}

/* --- keywords --- */

static uint64_t hash_of(struct slice text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < text.n; i++)
        h = (h ^ (unsigned char)text.p[i]) * 1099511628211u;
    return h;
}

/* Is there a file of that name: 1 with this content, 0 none, -1 with another. */
static int compare_names(int dir, const char *file, struct slice text)
{
    struct buf have = BUF_INIT(BUF_OWN);
    int rc = -1;

    if (fs_load(dir, file, &have, text.n + 1) < 0)
        rc = errno == ENOENT ? 0 : -1;
    else if (slice_eq(buf_slice(&have), text))
        rc = 1;
    buf_free(&have);
    return rc;
}

/*
 * The letters' meaning as it is now, as names.<hash>: written once, whatever is expunged later under the
 * same.
 */
static int keep_names(struct keeping *k)
{
    struct buf text = BUF_INIT(BUF_OWN);
    struct mailbox *m = k->m;
    char file[32], staging[32];
    uint64_t hash;
    int rc = 0;

    for (unsigned i = 0; i < FLAG_KEYWORDS; i++)
        if (mailbox_keyword(m, i).n)
            buf_printf(&text, "%u %s\n", i, m->keywords[i]);
    if (text.n == 0)
        goto out;
    hash = hash_of(buf_slice(&text));
    for (int i = 0; i < 16; i++, hash++) {
        char digits[14];

        digits[id_base32(hash, digits)] = '\0';
        snprintf(file, sizeof file, "names.%s", digits);
        rc = compare_names(k->dir, file, buf_slice(&text));
        if (rc < 0)
            continue;
        snprintf(k->names, sizeof k->names, "%s", digits);
        if (rc == 0) {
            staging_name(staging);
            rc = fs_replace(m->state, staging, k->dir, file, buf_slice(&text), 0600, true);
        } else {
            rc = 0;
        }
        break;
    }
out:
    buf_free(&text);
    return rc;
}

/* --- messages --- */

static void stop_keeping(struct keeping *k)
{
    close_kept(k->dir);
    k->dir = -1;
}

static bool have_keywords(struct mailbox *m, const uint32_t *uids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct message *msg = mailbox_by_uid(m, uids[i]);

        if (msg && (msg->flags & FLAG_KEYWORDS_MASK))
            return true;
    }
    return false;
}

static void set_prefix(char *out, size_t size, enum expunged_class class, int64_t when)
{
    char digits[14];

    digits[id_base32((uint64_t)when, digits)] = '\0';
    snprintf(out, size, "%c%s", class_letters[class], digits);
}

static void found_full(struct keeping *k)
{
    struct account *a = k->m->account;

    if (!k->is_low && a->low_space)
        a->low_space(a->low_space_ctx);
    k->is_low = true;
}

int keeping_begin(struct keeping *k, struct mailbox *m, const uint32_t *uids, size_t n, struct err *e)
{
    struct account *a = m->account;
    enum expunged_class class;

    *k = (struct keeping){.m = m, .dir = -1};
    if (a->keep[EXPUNGED_LONG] == 0 && a->keep[EXPUNGED_SHORT] == 0)
        return 0;
    class = class_of(a, slice_str(m->disk));
    if (a->keep[class] == 0)
        return 0;
    k->is_low = is_low(a);
    if (k->is_low)
        return 0;
    set_prefix(k->prefix, sizeof k->prefix, class, (int64_t)time(NULL));
    if (keywords_load(m, e) < 0)
        return -1;
    k->dir = open_for(a, m->meta.id);
    if (k->dir < 0 || (have_keywords(m, uids, n) && keep_names(k) < 0)) {
        int error = errno;

        stop_keeping(k);
        if (!is_full(error)) {
            errno = error;
            return err_errno(e, EXPUNGED_FOLDER);
        }
        found_full(k);
    }
    return 0;
}

/* The name it gets there; fresh: with a unique part of our own. False when it does not fit. */
static bool kept_name(const struct keeping *k, const struct message *msg, bool fresh, struct buf *out)
{
    struct buf base = BUF_INIT(64);
    struct id id = id_new();
    bool ok = true;

    buf_clear(out);
    buf_add_str(out, k->prefix);
    if (k->names[0] && (msg->flags & FLAG_KEYWORDS_MASK))
        buf_printf(out, "~%s", k->names);
    buf_add_char(out, '.');
    if (!fresh) {
        buf_add_str(out, msg->file);
    } else {
        buf_printf(&base, "%lld.%s", (long long)time(NULL), id.text);
        ok = name_write(out, buf_slice(&base), msg->size, msg->size_crlf, msg->saved, msg->uid,
            k->m->meta.uidvalidity, msg->flags);
    }
    buf_free(&base);
    return ok && !out->full && out->n <= NAME_LEN_MAX;
}

int keeping_take(struct keeping *k, const struct message *msg)
{
    struct buf to = BUF_INIT(2 * NAME_LEN_MAX + 64);
    int rc = -1;

    errno = ENAMETOOLONG;
    for (int i = 0; i < 2 && k->dir >= 0; i++) {
        if (!kept_name(k, msg, i == 1, &to))
            continue;
        rc = fs_rename_new(k->m->cur, msg->file, k->dir, buf_str(&to));
        if (rc == 0 || (errno != EEXIST && errno != ENAMETOOLONG && !is_full(errno)))
            break;
        if (is_full(errno)) {
            found_full(k);
            break;
        }
    }
    k->kept += rc == 0;
    if (k->dir < 0 || (rc < 0 && k->is_low)) {
        /* no room to keep it, but room is what its owner makes */
        rc = fs_unlink(k->m->cur, msg->file);
        k->unkept += rc == 0;
    }
    buf_free(&to);
    return rc;
}

int keeping_end(struct keeping *k, struct err *e)
{
    int rc = 0;

    if (k->kept && fs_sync_dir(k->dir) < 0)
        rc = err_errno(e, EXPUNGED_FOLDER);
    stop_keeping(k);
    if (k->is_low && k->unkept)
        LOG(PURGE, NULL, F_STR("why", "no room to keep it"), F_STR("mailbox", k->m->name),
            F_U64("messages", k->unkept));
    return rc;
}

/* --- mailboxes --- */

/* What cannot be read may be full. */
static bool may_have_entries(int dir, const char *sub)
{
    int fd = fs_open_dir(dir, sub);
    bool any = fd < 0 && errno != ENOENT;
    DIR *list = fd < 0 ? NULL : fs_list(fd);
    struct dirent *d;

    any |= fd >= 0 && !list;
    while (list && !any && (errno = 0, (d = readdir(list))))
        any = d->d_name[0] != '.';
    any |= list && !any && errno;
    if (list)
        closedir(list);
    if (fd >= 0)
        close(fd);
    return any;
}

/* It has messages, or had some that are still kept. */
static bool is_worth_it(struct account *a, int dir, const char *id)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof path, EXPUNGED_FOLDER "/%s", id);
    return may_have_entries(dir, "cur") || may_have_entries(dir, "new") || fs_stat(a->mail, path, &st) == 0;
}

/* *moved: it is there, also when -1 says that this may not be durable. */
static int move_mailbox(
    struct account *a, const char *disk, int dir, const char *id, enum expunged_class class, bool *moved)
{
    struct buf name = BUF_INIT(NAME_LEN_MAX + 2);
    char staging[32], prefix[32], to[80];
    int top = open_or_make(a->mail, EXPUNGED_FOLDER), rc = -1;

    if (top < 0)
        return -1;
    buf_printf(&name, "%s\n", disk);
    set_prefix(prefix, sizeof prefix, class, (int64_t)time(NULL));
    snprintf(to, sizeof to, "%s.%s", prefix, id);
    staging_name(staging);
    if (fs_replace(a->state, staging, dir, EXPUNGED_DELETED, buf_slice(&name), 0600, true) == 0 &&
        fs_rename_new(a->maildir, disk, top, to) == 0) {
        *moved = true;
        rc = fs_sync_dir(top);
    }
    buf_free(&name);
    close_kept(top);
    return rc;
}

int expunged_keep_mailbox(struct account *a, const char *disk, struct err *e)
{
    enum expunged_class class = class_of(a, slice_str(disk));
    struct meta meta;
    int dir, rc = 0;

    if (a->keep[class] == 0)
        return 0;
    dir = fs_open_dir(a->maildir, disk);
    if (dir < 0)
        return errno == ENOENT ? 0 : err_errno(e, "the mailbox that is to be kept");
    if (meta_load(dir, &meta, NULL) <= 0)
        meta_init(&meta, 1); /* another program's: it needs a name there all the same */
    if (is_worth_it(a, dir, meta.id) && !is_low(a)) {
        bool moved = false;

        rc = move_mailbox(a, disk, dir, meta.id, class, &moved) == 0 ? 1 : -1;
        if (rc < 0 && !moved && (is_full(errno) || errno == EEXIST))
            rc = 0;
        else if (rc < 0)
            err_errno(e, EXPUNGED_FOLDER);
    }
    close(dir);
    return rc;
}
