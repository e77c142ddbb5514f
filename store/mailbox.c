#include "store/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

#define CHANGES_MAX 4096
#define HISTORY_MAX 65536
#define SCAN_SHARE 50 /* of the time at most one part in so many goes into scans that only make sure */

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

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- the array --- */

size_t mailbox_lower_bound(const struct mailbox *m, uint32_t uid)
{
    size_t low = 0, high = m->n;

    /* mostly one asks for what is new */
    if (m->n == 0 || m->msgs[m->n - 1].uid < uid)
        return m->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->msgs[mid].uid < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct message *message_find(struct mailbox *m, uint32_t uid)
{
    size_t i = mailbox_lower_bound(m, uid);

    return i < m->n && m->msgs[i].uid == uid ? &m->msgs[i] : NULL;
}

const struct message *mailbox_by_uid(const struct mailbox *m, uint32_t uid)
{
    size_t i = mailbox_lower_bound(m, uid);

    return i < m->n && m->msgs[i].uid == uid ? &m->msgs[i] : NULL;
}

/* Half of a full log goes at once, so that an entry costs little. */
static void log_change(struct mailbox *m, uint32_t uid, uint64_t modseq)
{
    if (m->nchanges == CHANGES_MAX) {
        size_t half = CHANGES_MAX / 2;

        m->changes_from = m->changes[half - 1].modseq;
        memmove(m->changes, m->changes + half, half * sizeof *m->changes);
        m->nchanges = half;
    }
    if (m->nchanges == m->changes_size) {
        m->changes_size = m->changes_size ? m->changes_size * 2 : 64;
        m->changes = mem_realloc(m->changes, m->changes_size, sizeof *m->changes);
    }
    m->changes[m->nchanges++] = (struct change){modseq, uid};
}

void message_changed(struct mailbox *m, struct message *msg)
{
    msg->modseq = numbers_modseq(m);
    log_change(m, msg->uid, msg->modseq);
}

struct message *message_put(struct mailbox *m, const struct message *msg)
{
    struct message *old = message_find(m, msg->uid);

    if (old) {
        free(old->file);
        *old = *msg;
    } else {
        if (m->n == m->size) {
            m->size = m->size ? m->size * 2 : 64;
            m->msgs = mem_realloc(m->msgs, m->size, sizeof *m->msgs);
        }
        old = &m->msgs[m->n++];
        *old = *msg;
    }
    return old;
}

static int compare_uid(const void *a, const void *b)
{
    uint32_t x = ((const struct message *)a)->uid, y = ((const struct message *)b)->uid;

    return x < y ? -1 : x > y;
}

void messages_sort(struct mailbox *m)
{
    for (size_t i = 1; i < m->n; i++)
        if (m->msgs[i - 1].uid > m->msgs[i].uid) {
            qsort(m->msgs, m->n, sizeof *m->msgs, compare_uid);
            return;
        }
}

static void remember_expunged(struct mailbox *m, uint32_t uid)
{
    if (m->nexpunged == HISTORY_MAX) {
        size_t half = HISTORY_MAX / 2;

        /* what is forgotten must never be taken for unknown */
        for (size_t i = 0; i < half; i++)
            if (m->expunged[i].uid >= m->old_bound)
                m->old_bound = (uint64_t)m->expunged[i].uid + 1;
        m->expunged_from = m->expunged[half - 1].modseq;
        memmove(m->expunged, m->expunged + half, half * sizeof *m->expunged);
        m->nexpunged = half;
    }
    if (m->nexpunged == m->expunged_size) {
        m->expunged_size = m->expunged_size ? m->expunged_size * 2 : 64;
        m->expunged = mem_realloc(m->expunged, m->expunged_size, sizeof *m->expunged);
    }
    m->expunged[m->nexpunged++] = (struct mailbox_expunged){uid, numbers_modseq(m)};
}

void messages_compact(struct mailbox *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (m->msgs[i].file) {
            if (kept != i)
                m->msgs[kept] = m->msgs[i];
            kept++;
            continue;
        }
        m->unnamed -= m->msgs[i].unnamed;
        remember_expunged(m, m->msgs[i].uid);
        if (m->text_uid == m->msgs[i].uid)
            mailbox_text_drop(m);
    }
    m->n = kept;
}

static void messages_free(struct mailbox *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->msgs[i].file);
    m->n = 0;
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
        break;
    }
    buf_free(&disk);
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
    close_fd(m->dir);
    close_fd(m->cur);
    close_fd(m->fresh);
    close_fd(m->state);
    close_fd(m->index);
    messages_free(m);
    keywords_free(m);
    buf_free(&m->adopt_text);
    foreign_free(&m->foreign);
    uidl_free(m);
    buf_free(&m->raw);
    buf_free(&m->crlf);
    free(m->adopted);
    free(m->msgs);
    free(m->expunged);
    free(m->changes);
    free(m->name);
    free(m->disk);
    free(m);
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

static struct mailbox *mailbox_make(struct account *a, struct slice name, struct err *e)
{
    struct mailbox *m = mem_zalloc(1, sizeof *m);
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);

    m->account = a;
    m->refs = 1;
    m->dir = m->cur = m->fresh = m->state = m->index = -1;
    m->keyword_rest = BUF_INIT((size_t)1 << 20);
    m->adopt_text = m->raw = m->crlf = BUF_INIT(BUF_OWN);
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
    a->moved = follow;
    return m;
fail:
    buf_free(&disk);
    mailbox_free(m);
    return NULL;
}

struct mailbox *mailbox_get(struct account *a, struct slice name, bool load, struct err *e)
{
    struct mailbox *m;

    for (m = a->open; m; m = m->next)
        if (slice_eq(slice_str(m->name), name))
            break;
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
 * The first look. While nothing but this object knows the array, everything with a UID is taken as it is; a
 * look beside a renaming neighbour is repeated, for what it missed would later count as expunged.
 */
int mailbox_load(struct mailbox *m, struct err *e)
{
    int64_t cur = folder_stamp(m->cur), fresh = folder_stamp(m->fresh);
    bool unchanged = m->cur_stamp && m->cur_stamp == cur && m->fresh_stamp == fresh;
    uint64_t modseq;

    fs_remove_old(m->state, STAGING_PREFIX, (int64_t)time(NULL) - FS_STAGING_LIFE);
    m->loaded = m->loading = true;
    m->old_bound = 0;
    m->cur_stamp = m->fresh_stamp = 0;
    modseq = unchanged ? m->modseq : numbers_modseq(m);
    m->changes_from = m->expunged_from = modseq;
    m->modseq = modseq;
    if (keywords_load(m, e) < 0 || uidl_load(m, e) < 0 || takeover_fetch_new(m, e) < 0)
        goto fail;
    for (int look = 0; look < 3; look++) {
        if (scan_cur(m, e) < 0)
            goto fail;
        if (m->cur_stamp && m->cur_stamp == folder_stamp(m->cur))
            break;
    }
    m->old_bound = m->uidnext;
    if (scan_fresh(m, e) < 0)
        goto fail;
    m->known = true;
    takeover_finish(m);
    m->loading = false;
    return 0;
fail:
    messages_free(m);
    m->loaded = m->loading = false;
    return -1;
}

struct mailbox *mailbox_open(struct account *a, struct slice name, struct err *e)
{
    struct mailbox *m = mailbox_get(a, name, true, e);

    if (m && mailbox_refresh(m, false, e) < 0) {
        mailbox_close(m);
        return NULL;
    }
    return m;
}

void mailbox_close(struct mailbox *m)
{
    if (!m || --m->refs > 0)
        return;
    if (m->needs_sync && !m->gone)
        mailbox_sync(m, NULL);
    numbers_close(m);
    mailbox_free(m);
}

/* --- looking --- */

/* Not sure about cur/, and time to make sure? */
static bool is_due(const struct mailbox *m, int64_t cur)
{
    int64_t now = clock_ns(CLOCK_REALTIME), since = clock_ns(CLOCK_MONOTONIC) - m->scanned_at;

    return now - cur > TRUST_AGE && since > TRUST_AGE && since / SCAN_SHARE > m->scan_cost;
}

int mailbox_refresh(struct mailbox *m, bool hint_changed, struct err *e)
{
    struct stat cur, fresh;

    (void)hint_changed; /* our own changes are watched too: the stamps tell them apart */
    if (m->gone || fstat(m->cur, &cur) < 0 || fstat(m->fresh, &fresh) < 0 || cur.st_nlink == 0) {
        m->gone = true;
        unlist(m);
        return err_set(e, ERR_NO_MAILBOX, "deleted meanwhile");
    }
    if (stamp_of(&cur) != m->cur_stamp || (!m->cur_trusted && is_due(m, stamp_of(&cur)))) {
        if (keywords_load(m, e) < 0 || scan_cur(m, e) < 0)
            return -1;
    }
    if (stamp_of(&fresh) != m->fresh_stamp || !m->fresh_trusted)
        return scan_fresh(m, e);
    return 0;
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

size_t mailbox_expunged_since(
    const struct mailbox *m, uint64_t since, const struct mailbox_expunged **out, bool *complete)
{
    size_t low = 0, high = m->nexpunged;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->expunged[mid].modseq <= since)
            low = mid + 1;
        else
            high = mid;
    }
    *complete = since >= m->expunged_from;
    *out = m->expunged + low;
    return m->nexpunged - low;
}

size_t mailbox_changed_since(const struct mailbox *m, uint64_t since, size_t i, uint32_t *uid, bool *complete)
{
    size_t low = 0, high = m->nchanges;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->changes[mid].modseq <= since)
            low = mid + 1;
        else
            high = mid;
    }
    *complete = since >= m->changes_from;
    if (i < m->nchanges - low)
        *uid = m->changes[low + i].uid;
    return m->nchanges - low;
}

/* --- STATUS --- */

static void status_add(struct mailbox_status *out, uint32_t flags, bool recent, uint64_t size)
{
    out->messages++;
    out->recent += recent;
    out->unseen += !(flags & FLAG_SEEN);
    out->deleted += (flags & FLAG_DELETED) != 0;
    out->size += size;
}

/* Names only: \Recent stays for the session that selects, and nothing is renamed. */
static int status_folder(
    struct mailbox *m, int dir, bool is_new, uint32_t *without_uid, struct mailbox_status *out, struct err *e)
{
    DIR *list = fs_list(dir);
    struct dirent *d;
    struct name name;
    struct stat st;
    size_t odd = m->odd;

    if (!list)
        return err_errno(e, "mailbox folder");
    while ((d = readdir(list))) {
        if (!scan_is_message(m, dir, d, &name, &odd))
            continue;
        if (!name.has_size && fs_stat(dir, d->d_name, &st) == 0)
            name.size_crlf = (uint64_t)st.st_size;
        if (takeover_find(m, name.unique) == 0 &&
            (is_new || (name.uid == 0 && adopt_find(m, name.unique) == 0)))
            (*without_uid)++;
        status_add(out, name.flags, is_new, name.size_crlf);
    }
    closedir(list);
    return 0;
}

static int status_of_names(struct mailbox *m, struct mailbox_status *out, struct err *e)
{
    uint64_t uidnext = m->uidnext;
    uint32_t without_uid = 0;
    bool unchanged =
        m->cur_stamp && m->cur_stamp == folder_stamp(m->cur) && m->fresh_stamp == folder_stamp(m->fresh);

    if (adopt_load(m, e) < 0 || takeover_look(m, e) < 0 ||
        status_folder(m, m->cur, false, &without_uid, out, e) < 0 ||
        status_folder(m, m->fresh, true, &without_uid, out, e) < 0)
        return -1;
    uidnext += without_uid;
    out->uidnext = uidnext > UINT32_MAX ? UINT32_MAX : (uint32_t)uidnext;
    out->highestmodseq = m->modseq + !unchanged; /* what the next open makes of it */
    return 0;
}

int mailbox_status(struct account *a, struct slice name, struct mailbox_status *out, struct err *e)
{
    struct mailbox *m = mailbox_get(a, name, false, e);
    int rc = 0;

    *out = (struct mailbox_status){0};
    if (!m)
        return -1;
    out->uidvalidity = m->meta.uidvalidity;
    if (!m->loaded) {
        rc = status_of_names(m, out, e);
        mailbox_close(m);
        return rc;
    }
    rc = mailbox_refresh(m, false, e);
    for (size_t i = 0; i < m->n && rc == 0; i++) {
        struct message *msg = &m->msgs[i];
        struct stat st;

        if (msg->size_crlf == 0 && fs_stat(m->cur, msg->file, &st) == 0)
            msg->size = (uint64_t)st.st_size;
        status_add(out, msg->flags, msg->recent, msg->size_crlf ? msg->size_crlf : msg->size);
    }
    out->uidvalidity = m->meta.uidvalidity;
    out->uidnext = mailbox_uidnext(m);
    out->highestmodseq = m->modseq;
    mailbox_close(m);
    return rc;
}
