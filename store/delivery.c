#include "store/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/folder.h"
#include "store/name.h"

#define CHUNK 65536

/* Writes in large pieces: small parts wait here for the next. */
struct spooler {
    int fd;
    char *chunk;
    size_t used;
    uint64_t total;
};

static int spool_flush(struct spooler *s)
{
    int rc = fs_write_all(s->fd, slice_of(s->chunk, s->used));

    s->used = 0;
    return rc;
}

static int spool_add(struct spooler *s, struct slice text)
{
    while (text.n) {
        size_t n = CHUNK - s->used < text.n ? CHUNK - s->used : text.n;

        memcpy(s->chunk + s->used, text.p, n);
        s->used += n;
        s->total += n;
        text = slice_from(text, n);
        if (s->used == CHUNK && spool_flush(s) < 0)
            return -1;
    }
    return 0;
}

static int spool_range(struct spooler *s, int text_fd, uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t n = CHUNK - s->used;

        if (to - from < n)
            n = (size_t)(to - from);
        if (fs_pread_all(text_fd, s->chunk + s->used, n, (off_t)from) < 0)
            return -1;
        s->used += n;
        s->total += n;
        from += n;
        if (s->used == CHUNK && spool_flush(s) < 0)
            return -1;
    }
    return 0;
}

static int spool_text(struct spooler *s, int text_fd, uint64_t from, uint64_t len,
    const struct delivery_cut *cuts, size_t ncuts)
{
    uint64_t at = 0;

    for (size_t i = 0; i < ncuts; i++) {
        /* in order, within the text */
        if (cuts[i].offset < at || cuts[i].offset > len || cuts[i].len > len - cuts[i].offset) {
            errno = EINVAL;
            return -1;
        }
        if (spool_range(s, text_fd, from + at, from + cuts[i].offset) < 0)
            return -1;
        at = cuts[i].offset + cuts[i].len;
    }
    return spool_range(s, text_fd, from + at, from + len);
}

int delivery_spool(int spool_dir, const struct id *id, struct slice head, int text_fd, uint64_t from,
    uint64_t len, const struct delivery_cut *cuts, size_t ncuts, uint64_t *size, struct err *e)
{
    struct spooler s = {.fd = fs_open_write(spool_dir, id->text, O_WRONLY | O_CREAT | O_EXCL, 0400)};
    uint64_t end;
    bool failed;

    if (s.fd < 0 && errno == EEXIST) {
        /* of an earlier attempt; what was linked from it stays where it is linked */
        fs_unlink(spool_dir, id->text);
        s.fd = fs_open_write(spool_dir, id->text, O_WRONLY | O_CREAT | O_EXCL, 0400);
    }
    if (s.fd < 0)
        return err_errno(e, "spool file");
    if (__builtin_add_overflow(from, len, &end) || end > INT64_MAX) {
        close(s.fd);
        fs_unlink(spool_dir, id->text);
        return err_set(e, ERR_INTERNAL, "impossible length");
    }
    s.chunk = mem_alloc(CHUNK);
    failed = spool_add(&s, head) < 0 || spool_text(&s, text_fd, from, len, cuts, ncuts) < 0 ||
             spool_flush(&s) < 0 || fs_sync_data(s.fd) < 0;
    if (failed) {
        err_errno(e, "spool file");
        fs_unlink(spool_dir, id->text);
    }
    free(s.chunk);
    close(s.fd);
    *size = s.total;
    return failed ? -1 : 0;
}

int delivery_unspool(int spool_dir, const struct id *id, struct err *e)
{
    return fs_unlink(spool_dir, id->text) < 0 && errno != ENOENT ? err_errno(e, "spool file") : 0;
}

/* What cannot stand in the unique part of a Maildir name becomes '_' (a host name has none of it). */
static void add_host(struct buf *out, struct slice host)
{
    for (size_t i = 0; i < host.n && i < 100; i++) {
        char c = host.p[i];

        buf_add_char(out, ascii_is_alnum(c) || c == '.' || c == '-' ? c : '_');
    }
}

static void unique_name(
    struct buf *out, const struct id *id, int64_t when, uint32_t number, struct slice host)
{
    buf_printf(out, "%lld.%sr%lu.", (long long)when, id->text, (unsigned long)number);
    add_host(out, host);
}

/* Is a file with this unique part in the folder? Errors count as no: a second copy is better than none. */
static bool folder_has(int dir, struct slice unique)
{
    DIR *list = fs_list(dir);
    struct dirent *d;
    bool found = false;

    while (list && !found && (d = readdir(list))) {
        struct slice entry = slice_str(d->d_name);

        found = slice_starts(entry, unique) &&
                (entry.n == unique.n || entry.p[unique.n] == ',' || entry.p[unique.n] == ':');
    }
    if (list)
        closedir(list);
    return found;
}

static int open_sub(int mail_root, struct slice path, const char *sub, struct err *e)
{
    struct buf p = BUF_INIT(1024);
    int fd;

    buf_add(&p, path);
    buf_printf(&p, "/Maildir/%s", sub);
    fd = p.full || slice_chr(path, '\0') >= 0 ? (errno = ENOENT, -1) : fs_open_dir(mail_root, buf_str(&p));
    buf_free(&p);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EXDEV))
        err_set(e, ERR_NO_USER, "no Maildir/%s", sub);
    else if (fd < 0)
        err_errno(e, sub);
    return fd;
}

/* In cur/: its folder is synced too, nobody knows whether that has happened. */
static bool was_taken(int mail_root, struct slice path, struct slice unique)
{
    int cur = open_sub(mail_root, path, "cur", NULL);
    bool found = cur >= 0 && folder_has(cur, unique) && fs_sync_dir(cur) == 0;

    if (cur >= 0)
        close(cur);
    return found;
}

static void link_one(int mail_root, int new_dir, int spool_dir, const struct id *id, struct slice unique,
    uint64_t size, struct delivery_recipient *r, bool replay)
{
    struct buf name = BUF_INIT(NAME_LEN_MAX + 2);

    r->result = 0;
    if (replay && (folder_has(new_dir, unique) || was_taken(mail_root, r->path, unique))) {
        r->was_there = true;
        return;
    }
    buf_add(&name, unique);
    buf_printf(&name, ",S=%llu", (unsigned long long)size);
    if (fs_link(spool_dir, id->text, new_dir, buf_str(&name)) < 0) {
        if (errno == EEXIST && replay)
            r->was_there = true;
        else if (errno == EEXIST) /* of a first attempt whose sync failed: a second sync would not tell */
            r->result = err_set(&r->err, ERR_IO, "linked before, but not synced");
        else
            r->result = err_errno(&r->err, "link into new/");
    }
    buf_free(&name);
}

/* All recipients from `first` on that have its folder: link each, sync once. */
static void link_folder(int mail_root, int spool_dir, const struct id *id, int64_t when, struct slice host,
    uint64_t size, struct delivery_recipient *rcpts, size_t first, size_t n, bool *done, bool replay)
{
    struct slice path = rcpts[first].path;
    struct buf unique = BUF_INIT(NAME_LEN_MAX);
    struct err err = {0};
    int new_dir = open_sub(mail_root, path, "new", &err);
    bool linked = false;

    for (size_t i = first; i < n; i++) {
        struct delivery_recipient *r = &rcpts[i];

        if (done[i] || !slice_eq(r->path, path))
            continue;
        done[i] = true;
        if (new_dir < 0) {
            r->result = -1;
            r->err = err;
            continue;
        }
        buf_clear(&unique);
        unique_name(&unique, id, when, r->number, host);
        link_one(mail_root, new_dir, spool_dir, id, buf_slice(&unique), size, r, replay);
        linked |= r->result == 0;
    }
    if (linked && fs_sync_dir(new_dir) < 0) {
        err_errno(&err, "sync of new/");
        for (size_t i = first; i < n; i++)
            if (slice_eq(rcpts[i].path, path)) {
                rcpts[i].result = -1;
                rcpts[i].err = err;
            }
    }
    if (new_dir >= 0)
        close(new_dir);
    buf_free(&unique);
}

void delivery_link(int mail_root, int spool_dir, const struct id *id, int64_t when, struct slice host,
    uint64_t size, struct delivery_recipient *rcpts, size_t n, bool replay)
{
    bool *done = mem_zalloc(n + 1, sizeof *done);

    for (size_t i = 0; i < n; i++) {
        rcpts[i].result = -1;
        rcpts[i].was_there = false;
        rcpts[i].err = (struct err){0};
    }
    for (size_t i = 0; i < n; i++)
        if (!done[i])
            link_folder(mail_root, spool_dir, id, when, host, size, rcpts, i, n, done, replay);
    free(done);
}

/* --- usage --- */

static void count_folder(int dir, uint64_t *octets, uint64_t *messages)
{
    DIR *list = fs_list(dir);
    struct dirent *d;
    struct name name;
    struct stat st;

    while (list && (d = readdir(list))) {
        if (!name_parse(slice_str(d->d_name), 0, &name))
            continue;
        if (d->d_type != DT_REG || !name.has_size) {
            if (fs_stat(dir, d->d_name, &st) < 0 || !S_ISREG(st.st_mode))
                continue;
            if (!name.has_size)
                name.size = (uint64_t)st.st_size;
        }
        *octets += name.size;
        (*messages)++;
    }
    if (list)
        closedir(list);
}

void delivery_count(int dir, uint64_t *octets, uint64_t *messages)
{
    static const char *const subs[] = {"cur", "new"};

    for (size_t i = 0; i < 2; i++) {
        int sub = fs_open_dir(dir, subs[i]);

        if (sub < 0)
            continue;
        count_folder(sub, octets, messages);
        close(sub);
    }
}

int delivery_usage(int mail_root, struct slice path, uint64_t *octets, uint64_t *messages, struct err *e)
{
    int maildir = open_sub(mail_root, path, ".", e), box;
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
    struct dirent *d;
    DIR *list;

    *octets = *messages = 0;
    if (maildir < 0)
        return -1;
    list = fs_list(maildir);
    if (!list) {
        err_errno(e, "Maildir");
        close(maildir);
        return -1;
    }
    delivery_count(maildir, octets, messages);
    while ((d = readdir(list))) {
        buf_clear(&name);
        if (!folder_from_disk(slice_str(d->d_name), &name) || (box = fs_open_dir(maildir, d->d_name)) < 0)
            continue;
        delivery_count(box, octets, messages);
        close(box);
    }
    closedir(list);
    close(maildir);
    buf_free(&name);
    return 0;
}
