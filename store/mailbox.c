#include "store/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/cache_priv.h"
#include "store/expunged.h"
#include "store/mailbox_priv.h"

#define SCAN_SHARE 50        /* of the time at most one part in so many goes into scans that only make sure */
#define SCAN_NS 700          /* what a name costs in a scan, until one has been measured */
#define IDLE_NAMES 32        /* renames of one step of idle work */
#define KEPT_BOXES 16        /* mailboxes of an account that stay in memory after the last close, */
#define KEPT_MESSAGES 150000 /* and their messages */

int64_t stamp_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

int64_t folder_stamp(int fd)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? 0 : stamp_of(&st);
}

int64_t file_stamp(int dir, const char *name)
{
    struct stat st;

    /* two replacements in one tick of the clock are two files */
    return fs_stat(dir, name, &st) < 0 ? 0 : (int64_t)((uint64_t)stamp_of(&st) ^ (uint64_t)st.st_ino << 40);
}

int64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- our own changes --- */

void own_begin(struct mailbox *m)
{
    m->own_before = m->loaded ? folder_stamp(m->cur) : 0;
}

/*
 * When the folder was as we know it before, it is as we know it now. A neighbour's change in between
 * (microseconds), or in the same tick of the clock, is not seen in the stamp: so the stamp is not trusted,
 * and mailbox_refresh makes sure with a scan when that is cheap enough.
 */
void own_end(struct mailbox *m)
{
    m->cur_stamp = m->own_before && m->own_before == m->cur_stamp ? folder_stamp(m->cur) : 0;
    m->cur_trusted = false;
    m->needs_sync = true;
}

/* --- opening --- */

static void set_string(char **at, struct slice s)
{
    free(*at);
    *at = slice_dup(s);
}

static void unlist(struct mailbox *m)
{
    if (!m->listed)
        return;
    for (struct mailbox **at = &m->account->open; *at; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            break;
        }
    m->listed = false;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void mailbox_free(struct mailbox *m)
{
    unlist(m);
    cache_end(m);
    text_range_end(m);
    close_fd(m->dir);
    close_fd(m->cur);
    close_fd(m->fresh);
    close_fd(m->state);
    close_fd(m->index);
    messages_free(m);
    buf_free(&m->notes);
    keywords_free(m);
    buf_free(&m->adopt_text);
    foreign_free(&m->foreign);
    uidl_free(m);
    buf_free(&m->raw);
    buf_free(&m->crlf);
    free(m->adopted);
    free(m->msgs);
    free(m->uids);
    free(m->expunged);
    free(m->changes);
    free(m->name);
    free(m->disk);
    free(m);
}

/* Open mailboxes follow their folder to its new name; a deleted one is nobody's any more. */
static void follow(struct account *a, struct slice from, struct slice to)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);

    for (struct mailbox **at = &a->open; *at;) {
        struct mailbox *m = *at;

        if (!slice_eq(slice_str(m->name), from)) {
            at = &m->next;
            continue;
        }
        if (to.n && folder_to_disk(to, &disk, NULL) == 0) {
            set_string(&m->name, to);
            set_string(&m->disk, buf_slice(&disk));
            break;
        }
        m->gone = true;
        m->listed = false;
        *at = m->next;
        if (m->refs == 0)
            mailbox_free(m);
        break;
    }
    buf_free(&disk);
}

static int open_sub(struct mailbox *m, const char *name, struct err *e)
{
    int fd;

    if (fs_mkdir(m->dir, name) == 0)
        fs_sync_dir(m->dir);
    fd = fs_open_dir(m->dir, name);
    if (fd < 0)
        err_errno(e, name);
    return fd;
}

/* --- keeping closed ones --- */

/* The object goes for good. */
static void release(struct mailbox *m)
{
    if (m->needs_sync && !m->gone)
        mailbox_sync(m, NULL);
    numbers_close(m);
    mailbox_free(m);
}

static void release_all(struct account *a)
{
    for (struct mailbox **at = &a->open; *at;) {
        struct mailbox *m = *at;

        if (m->refs > 0)
            at = &m->next;
        else
            release(m);
    }
}

/* The longest closed ones go while there are too many. */
static void release_some(struct account *a)
{
    for (;;) {
        struct mailbox *oldest = NULL;
        size_t boxes = 0, messages = 0;

        for (struct mailbox *m = a->open; m; m = m->next) {
            if (m->refs > 0)
                continue;
            boxes++;
            messages += m->n;
            if (!oldest || m->closed_at < oldest->closed_at)
                oldest = m;
        }
        if (boxes <= KEPT_BOXES && messages <= KEPT_MESSAGES)
            return;
        release(oldest);
    }
}

static bool is_folder(const struct mailbox *m, const struct stat *there)
{
    struct stat here;

    return !m->gone && fstat(m->dir, &here) == 0 && here.st_nlink > 0 && here.st_ino == there->st_ino &&
           here.st_dev == there->st_dev;
}

/* Is the folder of an open mailbox still the one that has this name? Another process may have renamed it. */
static bool is_current(const struct mailbox *m)
{
    struct stat there;

    return fs_stat(m->account->maildir, *m->disk ? m->disk : ".", &there) == 0 && is_folder(m, &there);
}

void mailbox_close(struct mailbox *m)
{
    if (!m || --m->refs > 0)
        return;
    cache_end(m); /* may still tell the index where records are */
    if (m->gone || !m->listed || m->locked) {
        release(m);
        return;
    }
    if (m->needs_sync)
        mailbox_sync(m, NULL);
    if (m->notes.n && numbers_lock(m, NULL) == 0)
        numbers_unlock(m);
    mailbox_text_drop(m);
    buf_free(&m->raw);
    buf_free(&m->crlf);
    m->watched = m->sure = false;
    m->closed_at = clock_ns(CLOCK_MONOTONIC);
    release_some(m->account);
}

/* --- opening --- */

static void settle(struct account *a, struct slice name)
{
    for (struct mailbox *m = a->open; m; m = m->next)
        if (slice_eq(slice_str(m->name), name) && !is_current(m))
            set_string(&m->name, SLICE(""));
}

static struct mailbox *mailbox_make(struct account *a, struct slice name, struct err *e)
{
    struct mailbox *m = mem_zalloc(1, sizeof *m);
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);

    m->account = a;
    m->refs = 1;
    m->recent_from = UID_END;
    m->dir = m->cur = m->fresh = m->state = m->index = m->replaced = -1;
    m->keyword_rest = BUF_INIT((size_t)1 << 20);
    m->adopt_text = m->raw = m->crlf = m->names = m->notes = BUF_INIT(BUF_OWN);
    m->foreign = FOREIGN_INIT;
    if (folder_to_disk(name, &disk, e) < 0 || account_open_mailbox_dirs(a, name, &m->dir, &m->state, e) < 0)
        goto fail;
    set_string(&m->name, name);
    set_string(&m->disk, buf_slice(&disk));
    m->cur = open_sub(m, "cur", e);
    if (m->cur < 0)
        goto fail;
    m->fresh = open_sub(m, "new", e);
    if (m->fresh < 0 || numbers_open(m, e) < 0)
        goto fail;
    buf_free(&disk);
    m->listed = true;
    m->next = a->open;
    a->open = m;
    a->settle = settle;
    a->moved = follow;
    a->release = release_all;
    return m;
fail:
    buf_free(&disk);
    mailbox_free(m);
    return NULL;
}

/*
 * What is open under this name. Another process may have renamed folders: what counts is the folder that has
 * the name now. One that is open here under its old name gets the new one (two objects on one folder would
 * wait for each other's lock), and who holds the name without its folder goes on without a name.
 */
static struct mailbox *mailbox_find(struct account *a, struct slice name)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    struct mailbox *m, *found = NULL, *named = NULL;
    struct stat st;

    if (folder_to_disk(name, &disk, NULL) < 0)
        goto out;
    for (m = a->open; m; m = m->next)
        if (slice_eq(slice_str(m->name), name))
            named = m;
    if (named && is_current(named)) {
        found = named;
        goto out;
    }
    if (named && named->refs == 0) {
        named->gone = true;
        release(named);
    } else if (named) {
        set_string(&named->name, SLICE(""));
    }
    if (fs_stat(a->maildir, disk.n ? buf_str(&disk) : ".", &st) < 0)
        goto out;
    for (m = a->open; m && !found; m = m->next)
        if (is_folder(m, &st))
            found = m;
    if (found) {
        set_string(&found->name, name);
        set_string(&found->disk, buf_slice(&disk));
    }
out:
    buf_free(&disk);
    return found;
}

struct mailbox *mailbox_get(struct account *a, struct slice name, bool load, struct err *e)
{
    struct mailbox *m = mailbox_find(a, name);

    if (m)
        m->refs++;
    else
        m = mailbox_make(a, name, e);
    if (m && load && !m->loaded && mailbox_load(m, e) < 0) {
        mailbox_close(m);
        return NULL;
    }
    return m;
}

/*
 * Without an index: while nothing but this object knows the array, everything with a UID is taken as it is,
 * and all has one MODSEQ, above every other. A look beside a renaming neighbour is repeated, for what it
 * missed would later count as expunged.
 */
static int load_names(struct mailbox *m, struct err *e)
{
    m->loading = true;
    m->rewrite = true;
    m->old_bound = 0;
    m->cur_stamp = m->fresh_stamp = 0;
    numbers_modseq(m);
    m->expunged_from = m->modseq;
    m->nexpunged = 0;
    for (int look = 0; look < 3; look++) {
        if (scan_cur(m, e) < 0)
            return -1;
        if (m->cur_stamp && m->cur_stamp == folder_stamp(m->cur))
            break;
    }
    return 0;
}

/* Out of the index, and what came since. */
static int load_index(struct mailbox *m, struct err *e)
{
    m->old_bound = m->uidnext;
    m->cur_stamp = m->header.cur_stamp;
    m->cur_trusted = m->header.cur_trusted;
    m->fresh_stamp = m->header.new_stamp;
    m->fresh_trusted = m->header.new_trusted;
    m->scanned_at = clock_ns(CLOCK_MONOTONIC);
    m->scan_cost = (int64_t)m->n * SCAN_NS;
    /* a stamp as young as the last change may hide what a process did that died before its note */
    if (m->cur_stamp && m->cur_trusted && m->cur_stamp == folder_stamp(m->cur))
        return 0;
    return scan_cur(m, e);
}

int mailbox_load(struct mailbox *m, struct err *e)
{
    int rc;

    if (numbers_lock(m, e) < 0)
        return -1;
    fs_remove_old(m->state, STAGING_PREFIX, (int64_t)time(NULL) - FS_STAGING_LIFE);
    m->loaded = true;
    rc = keywords_load(m, e);
    if (rc == 0)
        rc = uidl_load(m, e);
    if (rc == 0)
        rc = takeover_fetch_new(m, e);
    if (rc == 0)
        rc = journal_load(m) ? load_index(m, e) : load_names(m, e);
    if (rc == 0) {
        m->nchanges = 0;
        m->changes_from = m->modseq;
        m->old_bound = m->uidnext;
        if (m->fresh_stamp != folder_stamp(m->fresh) || !m->fresh_trusted)
            rc = scan_fresh(m, e);
    }
    m->loading = false;
    if (rc == 0) {
        m->known = true;
        if (m->unnamed && m->account->idle_work)
            m->account->idle_work(m->account->idle_ctx);
        takeover_finish(m);
    } else {
        messages_free(m);
        m->loaded = false;
        buf_clear(&m->notes);
        m->cur_stamp = m->fresh_stamp = 0;
    }
    numbers_unlock(m);
    return rc;
}

void account_on_idle_work(struct account *a, void (*due)(void *ctx), void *ctx)
{
    a->idle_work = due;
    a->idle_ctx = ctx;
}

/* Kept mailboxes too: nobody may open them again for long. */
bool account_idle_step(struct account *a)
{
    for (struct mailbox *m = a->open; m; m = m->next)
        if (m->loaded && m->unnamed && mailbox_adopt_step(m, IDLE_NAMES))
            return true;
    return false;
}

struct mailbox *mailbox_open(struct account *a, struct slice name, struct err *e)
{
    struct err why = {0};

    /* a second time when what was kept in memory turns out to be gone, or numbered anew */
    for (int attempt = 0; attempt < 2; attempt++) {
        struct mailbox *m = mailbox_get(a, name, true, &why);

        if (m && mailbox_refresh(m, &why) == 0)
            return m;
        if (m && !m->gone)
            attempt = 2;
        mailbox_close(m);
        if (!m)
            break;
    }
    err_set(e, why.code, "%s", why.detail);
    return NULL;
}

/* --- looking --- */

/* Not sure about cur/, and time to make sure? */
static bool is_due(const struct mailbox *m, int64_t cur)
{
    int64_t now = clock_ns(CLOCK_REALTIME), since = clock_ns(CLOCK_MONOTONIC) - m->scanned_at;

    return !(m->watched && m->sure) && now - cur > TRUST_AGE && since > TRUST_AGE &&
           since / SCAN_SHARE > m->scan_cost;
}

static bool is_cur_known(const struct mailbox *m, int64_t stamp)
{
    return stamp == m->cur_stamp && (m->cur_trusted || (!is_due(m, stamp) && !journal_is_behind(m)));
}

static bool is_fresh_known(const struct mailbox *m, int64_t stamp)
{
    return stamp == m->fresh_stamp && m->fresh_trusted;
}

/*
 * Deleted by whichever process: removed, or moved away to be kept, with a mark in it. The mark comes first,
 * so a folder that has it and is still in its place was not deleted after all.
 */
static bool is_deleted(struct mailbox *m)
{
    struct stat dir, mark;
    int64_t stamp;

    if (m->gone || fstat(m->dir, &dir) < 0 || dir.st_nlink == 0)
        return true;
    stamp = stamp_of(&dir);
    if (stamp == m->dir_stamp)
        return false;
    if (fs_stat(m->dir, EXPUNGED_DELETED, &mark) == 0 && !is_current(m))
        return true;
    m->dir_stamp = clock_ns(CLOCK_REALTIME) - stamp > TRUST_AGE ? stamp : 0;
    return false;
}

int mailbox_refresh(struct mailbox *m, struct err *e)
{
    struct stat cur, fresh;
    int rc = 0;

    if (is_deleted(m) || fstat(m->cur, &cur) < 0 || fstat(m->fresh, &fresh) < 0 || cur.st_nlink == 0) {
        m->gone = true;
        unlist(m);
        return err_set(e, ERR_NO_MAILBOX, "deleted meanwhile");
    }
    if (is_cur_known(m, stamp_of(&cur)) && is_fresh_known(m, stamp_of(&fresh)))
        return 0;
    if (numbers_lock(m, e) < 0)
        return -1;
    /* perhaps it was one of ours, and its notes in the index tell all */
    if (!is_cur_known(m, folder_stamp(m->cur)) && (rc = keywords_load(m, e)) == 0)
        rc = scan_cur(m, e);
    if (rc == 0 && !is_fresh_known(m, folder_stamp(m->fresh)))
        rc = scan_fresh(m, e);
    numbers_unlock(m);
    return rc;
}

int mailbox_told(struct mailbox *m, struct slice names, bool complete, struct err *e)
{
    if (!complete) {
        m->watched = m->sure = false;
    } else if (!m->watched) {
        m->watched = true;
        m->sure = m->cur_trusted;
    }
    if (complete && names.n && !m->gone) {
        int64_t stamp = folder_stamp(m->cur);

        if (numbers_lock(m, e) < 0)
            return -1;
        /* what happens after this moment we are told later */
        if (m->watched && m->sure && keywords_load(m, e) == 0 && scan_names(m, names)) {
            m->cur_stamp = stamp;
            m->cur_trusted = false;
        }
        numbers_unlock(m);
    }
    return mailbox_refresh(m, e);
}

/* --- telling --- */

struct slice mailbox_name(const struct mailbox *m)
{
    return slice_str(m->name);
}

struct slice mailbox_disk_name(const struct mailbox *m)
{
    return slice_str(m->disk);
}

uint32_t mailbox_uidvalidity(const struct mailbox *m)
{
    return m->meta.uidvalidity;
}

uint32_t mailbox_uidnext(const struct mailbox *m)
{
    return m->uidnext > UINT32_MAX ? UINT32_MAX : (uint32_t)m->uidnext;
}

uint64_t mailbox_highestmodseq(const struct mailbox *m)
{
    return m->modseq;
}

const char *mailbox_id(const struct mailbox *m)
{
    return m->meta.id;
}

size_t mailbox_count(const struct mailbox *m)
{
    return m->n;
}

const struct message *mailbox_at(const struct mailbox *m, size_t i)
{
    INVARIANT(i < m->n);
    return &m->msgs[i];
}
