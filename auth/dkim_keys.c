#include "auth/dkim_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"

#define FOLDER "dkim"
#define REMOVED "dkim/_removed" /* no domain has such a name */
#define ENDING ".pem"
#define STAGING "new"

static char *path_of(const char *folder, struct slice domain)
{
    return mem_printf("%s/%.*s", folder, SLICE_FMT(domain));
}

static char *file_of(struct slice selector)
{
    return mem_printf("%.*s" ENDING, SLICE_FMT(selector));
}

/* The folder of a domain; -1 with errno. */
static int open_keys(int dir, const char *folder, struct slice domain, bool make)
{
    char *path = path_of(folder, domain);
    int fd = make && fs_make_dirs(dir, path) < 0 ? -1 : fs_open_dir(dir, path);

    free(path);
    return fd;
}

/* --- reading --- */

/* False: the name is not one of a key. */
static bool selector_of(const char *name, struct slice *selector)
{
    struct slice s = slice_str(name);

    if (!slice_ends(s, SLICE(ENDING)))
        return false;
    *selector = slice_sub(s, 0, s.n - (sizeof ENDING - 1));
    return dkim_is_selector(*selector);
}

static int load_one(
    int fd, struct slice domain, struct slice selector, struct dkim_stored *out, struct err *e)
{
    struct buf pem = BUF_INIT(DKIM_PEM_MAX);
    char *name = file_of(selector);
    struct stat st;
    int rc = -1;

    /* no second copy of a secret */
    INVARIANT(buf_room(&pem, DKIM_PEM_MAX));
    if (fs_stat(fd, name, &st) < 0 || fs_load(fd, name, &pem, DKIM_PEM_MAX - 1) < 0) {
        err_set(e, ERR_IO, "key %.*s of %.*s cannot be read: %s", SLICE_FMT(selector), SLICE_FMT(domain),
            strerror(errno));
    } else if (!(out->key = dkim_key_load(buf_slice(&pem), NULL))) {
        err_set(e, ERR_CORRUPT, "key %.*s of %.*s is damaged; restore " FOLDER "/%.*s/%s below paths.auth",
            SLICE_FMT(selector), SLICE_FMT(domain), SLICE_FMT(domain), name);
    } else {
        memcpy(out->selector, selector.p, selector.n);
        out->selector[selector.n] = '\0';
        out->created = st.st_mtime;
        rc = 0;
    }
    mem_wipe(pem.p, pem.size);
    buf_free(&pem);
    free(name);
    return rc;
}

static int by_kind(const void *a, const void *b)
{
    const struct dkim_stored *x = a, *y = b;
    enum dkim_algorithm p = dkim_key_algorithm(x->key), q = dkim_key_algorithm(y->key);

    return p != q ? (p < q ? -1 : 1) : strcmp(x->selector, y->selector);
}

static int load_all(int fd, DIR *d, struct slice domain, struct dkim_stored_list *out, struct err *e)
{
    struct slice selector;
    struct dirent *entry;
    int rc = 0;

    while ((entry = readdir(d))) {
        if (!selector_of(entry->d_name, &selector))
            continue;
        if (out->n == DKIM_KEYS_MAX)
            return err_set(e, ERR_LIMIT, "%.*s has more than %d keys; remove one with: postamt domain dkim",
                SLICE_FMT(domain), DKIM_KEYS_MAX);
        if (load_one(fd, domain, selector, &out->item[out->n], e) == 0)
            out->n++;
        else
            rc = -1;
    }
    return rc;
}

int dkim_keys_load(int dir, struct slice domain, struct dkim_stored_list *out, struct err *e)
{
    int fd = open_keys(dir, FOLDER, domain, false), rc = -1;
    DIR *d;

    out->n = 0;
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, FOLDER);
    d = fs_list(fd);
    if (d)
        rc = load_all(fd, d, domain, out, e);
    else
        err_errno(e, FOLDER);
    if (d)
        closedir(d);
    close(fd);
    qsort(out->item, out->n, sizeof out->item[0], by_kind);
    return rc;
}

void dkim_keys_free(struct dkim_stored_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        dkim_key_free(list->item[i].key);
    list->n = 0;
}

/* --- writing --- */

/* ENOENT is good news. */
static bool is_free(int dir, const char *folder, struct slice domain, const char *selector)
{
    char *path = mem_printf("%s/%.*s/%s" ENDING, folder, SLICE_FMT(domain), selector);
    struct stat st;
    bool none = fs_stat(dir, path, &st) < 0 && errno == ENOENT;

    free(path);
    return none;
}

static bool choose_selector(int dir, struct slice domain, enum dkim_algorithm algorithm, int64_t now,
    char selector[DKIM_SELECTOR_MAX + 1])
{
    struct buf name = BUF_INIT(DKIM_SELECTOR_MAX + 1);
    time_t t = (time_t)now;
    struct tm tm;
    bool found = false;

    INVARIANT(gmtime_r(&t, &tm));
    for (char next = 'a'; !found && next <= 'z'; next++) {
        buf_clear(&name);
        buf_printf(&name, "%c%04d%02d", algorithm == DKIM_RSA ? 'p' : 'e', tm.tm_year + 1900, tm.tm_mon + 1);
        if (next > 'a')
            buf_add_char(&name, next);
        memcpy(selector, buf_str(&name), name.n + 1);
        found = is_free(dir, FOLDER, domain, selector) && is_free(dir, REMOVED, domain, selector);
    }
    buf_free(&name);
    return found;
}

static int keep(int dir, struct slice domain, struct slice pem, const char *selector, struct err *e)
{
    int fd = open_keys(dir, FOLDER, domain, true), rc;
    char *name = file_of(slice_str(selector));

    rc = fd < 0 ? -1 : fs_replace(fd, STAGING, fd, name, pem, 0600, true);
    if (rc < 0)
        err_errno(e, name);
    free(name);
    if (fd >= 0)
        close(fd);
    return rc;
}

int dkim_keys_add(int dir, struct slice domain, struct slice pem, int64_t now,
    char selector[DKIM_SELECTOR_MAX + 1], struct err *e)
{
    struct dkim_key *key = dkim_key_load(pem, e);
    struct dkim_stored_list list;
    int rc = key ? dkim_keys_load(dir, domain, &list, e) : -1;

    if (rc == 0 && list.n == DKIM_KEYS_MAX)
        rc = err_set(e, ERR_LIMIT,
            "%.*s has %d keys already; remove one first with: postamt domain dkim %.*s "
            "--remove SELECTOR",
            SLICE_FMT(domain), DKIM_KEYS_MAX, SLICE_FMT(domain));
    if (rc == 0 && !choose_selector(dir, domain, dkim_key_algorithm(key), now, selector))
        rc = err_set(e, ERR_LIMIT, "%.*s has no free name for a key this month; try again in the next",
            SLICE_FMT(domain));
    if (rc == 0)
        rc = keep(dir, domain, pem, selector, e);
    if (key)
        dkim_keys_free(&list);
    dkim_key_free(key);
    return rc;
}

static int move_aside(int from, int to, struct slice selector)
{
    char *name = file_of(selector);
    int rc = fs_rename_new(from, name, to, name);

    free(name);
    return rc;
}

static int move_all(int from, int to)
{
    DIR *d = fs_list(from);
    struct slice selector;
    struct dirent *entry;
    int rc = d ? 0 : -1;

    while (rc == 0 && (entry = readdir(d)))
        if (selector_of(entry->d_name, &selector))
            rc = move_aside(from, to, selector);
    if (d)
        closedir(d);
    return rc;
}

int dkim_keys_remove(int dir, struct slice domain, struct slice selector, struct err *e)
{
    int from = open_keys(dir, FOLDER, domain, false), to, rc = -1;
    char *path;

    if (from < 0)
        return errno == ENOENT ? 0 : err_errno(e, FOLDER);
    to = open_keys(dir, REMOVED, domain, true);
    if (to >= 0)
        rc = selector.n ? move_aside(from, to, selector) : move_all(from, to);
    if (rc < 0 && selector.n && errno == ENOENT)
        rc = 0;
    /* the new place first: a power cut leaves the key in both rather than in none */
    if (rc == 0 && (fs_sync_dir(to) < 0 || fs_sync_dir(from) < 0))
        rc = -1;
    if (rc < 0)
        err_errno(e, FOLDER);
    if (rc == 0 && !selector.n) {
        path = path_of(FOLDER, domain);
        /* one that is not empty keeps what somebody else put there */
        fs_unlink(from, STAGING);
        fs_rmdir(dir, path);
        free(path);
    }
    if (to >= 0)
        close(to);
    close(from);
    return rc;
}
