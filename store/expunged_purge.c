/* Removing for good what was kept long enough, or, on a disk that is nearly full, the oldest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/account_priv.h"
#include "store/expunged.h"
#include "store/name.h"

#define STAMP_FILE "postamt-purged" /* in state/: when it was last done */
#define EVERY 3600                  /* seconds */
#define STEP_ENTRIES 64
#define STEP_FILES 16
#define STEP_NS 1000000
#define PORTIONS 16 /* by age: under pressure the oldest of so many goes, then the next */
#define GONE_PREFIX "gone."

static const char *const subfolders[] = {"cur", "new", "tmp"};

struct expunged_purge {
    struct account *a;
    int64_t now;
    int top; /* expunged/ */
    DIR *boxes;
    /* the folder of one mailbox that is being read */
    DIR *messages;
    int dir;
    char *box;
    bool any_left; /* it has messages that stay */
    /* a deleted mailbox that is being emptied */
    char *gone;
    /* pressure: this and what is older goes, whatever its class; 0: only by age */
    int64_t cutoff;
    int64_t oldest; /* of what stays */
    bool pressed;
    struct expunged_purged sum;
};

bool expunged_purge_is_due(struct account *a, int64_t now)
{
    struct stat st;

    if (fs_stat(a->mail, EXPUNGED_FOLDER, &st) < 0)
        return false;
    return fs_stat(a->state, STAMP_FILE, &st) < 0 || now - st.st_mtim.tv_sec >= EVERY ||
           st.st_mtim.tv_sec > now;
}

static void set_stamp(struct account *a, int64_t now)
{
    int fd = fs_open_write(a->state, STAMP_FILE, O_WRONLY | O_CREAT, 0600);

    /* without it the next worker does it again: no harm */
    if (fd < 0)
        return;
    (void)fs_set_mtime(fd, now);
    close(fd);
}

static bool begin_pass(struct expunged_purge *p)
{
    p->oldest = 0;
    p->top = p->top < 0 ? fs_open_dir(p->a->mail, EXPUNGED_FOLDER) : p->top;
    p->boxes = p->top < 0 ? NULL : fs_list(p->top);
    return p->boxes != NULL;
}

struct expunged_purge *expunged_purge_new(struct account *a, int64_t now)
{
    struct expunged_purge *p = mem_zalloc(1, sizeof *p);

    p->a = a;
    p->now = now;
    p->top = p->dir = -1;
    p->pressed = expunged_free_space(a->mail) < EXPUNGED_LOW;
    begin_pass(p);
    return p;
}

static void close_messages(struct expunged_purge *p)
{
    if (p->messages)
        closedir(p->messages);
    if (p->dir >= 0)
        close(p->dir);
    free(p->box);
    p->messages = NULL;
    p->dir = -1;
    p->box = NULL;
}

void expunged_purge_free(struct expunged_purge *p, struct expunged_purged *out)
{
    if (out)
        *out = p->sum;
    if (p->sum.messages || p->sum.mailboxes)
        LOG(PURGE, NULL, F_STR("why", p->pressed ? "the disk is nearly full" : "kept long enough"),
            F_U64("messages", p->sum.messages), F_U64("mailboxes", p->sum.mailboxes),
            F_U64("octets", p->sum.octets));
    close_messages(p);
    if (p->boxes)
        closedir(p->boxes);
    if (p->top >= 0)
        close(p->top);
    free(p->gone);
    free(p);
}

/* Has its time come? What stays is remembered by its age. */
static bool is_over(struct expunged_purge *p, const struct expunged_name *name)
{
    uint64_t keep = p->a->keep[name->class];

    if (name->when <= p->cutoff)
        return true;
    /* what a clock that ran ahead wrote stays until the clock comes there, or room is needed */
    if (name->when <= p->now && (uint64_t)(p->now - name->when) >= keep)
        return true;
    if (keep == 0)
        return true;
    if (p->oldest == 0 || name->when < p->oldest)
        p->oldest = name->when;
    return false;
}

static void count(struct expunged_purge *p, int dir, const char *file, struct slice was)
{
    struct name name;
    struct stat st;

    p->sum.messages++;
    if (name_parse(was, 0, &name) && name.has_size)
        p->sum.octets += name.size;
    else if (fs_stat(dir, file, &st) == 0)
        p->sum.octets += (uint64_t)st.st_size;
}

/* --- messages --- */

/* No message is left: the folder goes, unless somebody is about to put one in. */
static void remove_box(struct expunged_purge *p)
{
    struct dirent *d;
    struct expunged_name name;
    DIR *list;

    if (fs_try_lock(p->dir) < 0 || !(list = fs_list(p->dir)))
        return;
    while ((d = readdir(list)))
        if (expunged_name_parse(slice_str(d->d_name), &name)) {
            closedir(list);
            fs_unlock(p->dir);
            return;
        }
    rewinddir(list);
    while ((d = readdir(list)))
        if (slice_starts(slice_str(d->d_name), SLICE("names.")))
            fs_unlink(p->dir, d->d_name);
    closedir(list);
    fs_rmdir(p->top, p->box); /* under the lock: who waits for it sees a folder without links */
    fs_unlock(p->dir);
}

static void message_step(struct expunged_purge *p)
{
    struct dirent *d = readdir(p->messages);
    struct expunged_name name;

    if (!d) {
        if (!p->any_left)
            remove_box(p);
        close_messages(p);
        return;
    }
    if (!expunged_name_parse(slice_str(d->d_name), &name))
        return;
    if (!is_over(p, &name)) {
        p->any_left = true;
        return;
    }
    count(p, p->dir, d->d_name, name.rest);
    if (fs_unlink(p->dir, d->d_name) < 0) {
        p->sum.messages--; /* another process was faster, or it cannot be done: next time */
        p->any_left |= errno != ENOENT;
    }
}

/* --- deleted mailboxes --- */

/* Removes up to `most` files; true when the folder is empty (or cannot be emptied by us). */
static bool empty(struct expunged_purge *p, int dir, bool counted, unsigned *most)
{
    DIR *list = fs_list(dir);
    struct dirent *d;
    bool done = true;

    while (list && (d = readdir(list))) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        if (*most == 0) {
            done = false;
            break;
        }
        (*most)--;
        if (counted)
            count(p, dir, d->d_name, slice_str(d->d_name));
        if (fs_unlink(dir, d->d_name) < 0 && counted)
            p->sum.messages--;
    }
    if (list)
        closedir(list);
    return done;
}

static void gone_step(struct expunged_purge *p)
{
    int dir = fs_open_dir(p->top, p->gone);
    unsigned most = STEP_FILES;
    bool done = true;

    for (size_t i = 0; i < sizeof subfolders / sizeof *subfolders && dir >= 0 && done; i++) {
        int sub = fs_open_dir(dir, subfolders[i]);

        if (sub < 0)
            continue;
        done = empty(p, sub, true, &most);
        close(sub);
        if (done)
            fs_rmdir(dir, subfolders[i]);
    }
    if (dir >= 0) {
        done = done && empty(p, dir, false, &most);
        close(dir);
    }
    if (!done)
        return;
    if (dir >= 0 && fs_rmdir(p->top, p->gone) == 0)
        p->sum.mailboxes++;
    else if (dir >= 0)
        LOG(STORE_ODD, NULL, F_STR("folder", p->gone), F_STR("why", "a deleted mailbox is not empty"));
    free(p->gone);
    p->gone = NULL;
}

/* --- all of it --- */

/* An entry of expunged/. */
static void take_entry(struct expunged_purge *p, const char *entry)
{
    struct expunged_name name;

    if (slice_starts(slice_str(entry), SLICE(GONE_PREFIX))) {
        p->gone = mem_strdup(entry);
    } else if (expunged_name_parse(slice_str(entry), &name)) {
        char *gone;

        if (!is_over(p, &name))
            return;
        /* from here on nobody brings half a mailbox back */
        gone = mem_printf(GONE_PREFIX "%s", entry);
        if (fs_rename_new(p->top, entry, p->top, gone) == 0)
            p->gone = gone;
        else
            free(gone);
    } else if (entry[0] != '.' && (p->dir = fs_open_dir(p->top, entry)) >= 0) {
        p->messages = fs_list(p->dir);
        p->box = mem_strdup(entry);
        p->any_left = false;
        if (!p->messages)
            close_messages(p);
    }
}

/* One pass is over. Under pressure the next takes the oldest part of what stayed; false: enough. */
static bool next_pass(struct expunged_purge *p)
{
    closedir(p->boxes);
    p->boxes = NULL;
    if (!p->pressed || p->oldest == 0 || expunged_free_space(p->a->mail) >= EXPUNGED_ENOUGH) {
        set_stamp(p->a, p->now);
        return false;
    }
    p->cutoff = p->oldest + (p->now > p->oldest ? (p->now - p->oldest) / PORTIONS : 0);
    return begin_pass(p);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool expunged_purge_step(struct expunged_purge *p)
{
    int64_t end = now_ns() + STEP_NS;

    if (!p->boxes)
        return false;
    if (p->cutoff && expunged_free_space(p->a->mail) >= EXPUNGED_ENOUGH)
        p->cutoff = 0;
    for (unsigned i = 0; i < STEP_ENTRIES && now_ns() < end; i++) {
        struct dirent *d;

        if (p->gone) {
            gone_step(p);
        } else if (p->messages) {
            message_step(p);
        } else if ((d = readdir(p->boxes))) {
            take_entry(p, d->d_name);
        } else {
            return next_pass(p);
        }
    }
    return true;
}
