/* The trees on the disk, and what foreign programs do to them: raw calls, nothing of the store but names. */
#include "tests/property/model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/name.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static void remove_all(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

bool tree_make(struct tree *t, const char *where)
{
    static const char *const folders[] = {"mail", "state", "spool"};
    char path[160];

    snprintf(t->top, sizeof t->top, "%s/postamt-model.XXXXXX", where);
    if (!mkdtemp(t->top))
        return false;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", t->top, folders[i]);
        if (mkdir(path, 0700) < 0)
            return false;
    }
    return true;
}

void tree_remove(struct tree *t)
{
    if (t->top[0])
        remove_all(t->top);
    t->top[0] = 0;
}

void tree_print_stderr(const struct tree *t)
{
    char path[160], text[3000];
    int fd;
    ssize_t n;

    snprintf(path, sizeof path, "%s/stderr", t->top);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (lseek(fd, -(off_t)sizeof text, SEEK_END) < 0)
        (void)lseek(fd, 0, SEEK_SET);
    n = read(fd, text, sizeof text);
    if (n > 0)
        printf("%.*s\n", (int)n, text);
    close(fd);
}

void tree_path(const struct tree *t, const char *box, const char *sub, char *out, size_t size)
{
    bool inbox = strcmp(box, "INBOX") == 0;

    snprintf(
        out, size, "%s/mail/" ACCOUNT "/Maildir%s%s/%s", t->top, inbox ? "" : "/.", inbox ? "" : box, sub);
}

static void state_path(const struct tree *t, const char *box, const char *sub, char *out, size_t size)
{
    bool inbox = strcmp(box, "INBOX") == 0;

    snprintf(out, size, "%s/state/" ACCOUNT "/%s%s%s%s", t->top, inbox ? "" : ".", box, *sub ? "/" : "", sub);
}

size_t tree_list(const struct tree *t, const char *box, uint32_t uidvalidity, struct file *out, size_t most)
{
    size_t n = 0;
    char path[300];

    for (int in_new = 0; in_new < 2; in_new++) {
        DIR *list;
        struct dirent *d;
        struct name name;

        tree_path(t, box, in_new ? "new" : "cur", path, sizeof path);
        list = opendir(path);
        while (list && n < most && (d = readdir(list))) {
            if (d->d_name[0] == '.' || !name_parse(slice_str(d->d_name), uidvalidity, &name))
                continue;
            out[n] = (struct file){.in_new = in_new, .uid = name.uid, .flags = name.flags};
            snprintf(out[n++].name, sizeof out->name, "%s", d->d_name);
        }
        if (list)
            closedir(list);
    }
    return n;
}

static void file_path(
    const struct tree *t, const char *box, const char *name, bool in_new, char *out, size_t size)
{
    char sub[270];

    snprintf(sub, sizeof sub, "%s/%s", in_new ? "new" : "cur", name);
    tree_path(t, box, sub, out, size);
}

bool tree_set_flags(const struct tree *t, const char *box, const struct file *f, uint32_t flags)
{
    char from[700], to[700];
    struct buf name = BUF_INIT(300);
    struct name parsed;
    bool ok = name_parse(slice_str(f->name), 0, &parsed) && name_write_flags(&name, parsed.base, flags);

    if (ok) {
        file_path(t, box, f->name, f->in_new, from, sizeof from);
        file_path(t, box, buf_str(&name), false, to, sizeof to);
        ok = rename(from, to) == 0;
    }
    buf_free(&name);
    return ok;
}

bool tree_delete(const struct tree *t, const char *box, struct file *f)
{
    struct stat st;
    char path[700];

    file_path(t, box, f->name, f->in_new, path, sizeof path);
    f->mtime = stat(path, &st) == 0 ? st.st_mtim.tv_sec : 0;
    return unlink(path) == 0;
}

bool tree_to_new(const struct tree *t, const char *box, const struct file *f)
{
    char from[700], to[700];

    file_path(t, box, f->name, false, from, sizeof from);
    file_path(t, box, f->name, true, to, sizeof to);
    return !f->in_new && rename(from, to) == 0;
}

bool tree_copy(const struct tree *t, const char *box, const struct file *f, const char *to_box, bool to_new)
{
    char from[700], to[700], text[4096];
    struct timespec times[2];
    struct stat st;
    int in, out;
    ssize_t n;
    bool ok;

    file_path(t, box, f->name, f->in_new, from, sizeof from);
    file_path(t, to_box, f->name, to_new, to, sizeof to);
    in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return false;
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    n = read(in, text, sizeof text);
    ok = out >= 0 && n >= 0 && write(out, text, (size_t)n) == n && fstat(in, &st) == 0;
    if (ok) {
        times[0] = times[1] = st.st_mtim;
        ok = futimens(out, times) == 0;
    }
    if (out >= 0)
        close(out);
    close(in);
    return ok;
}

bool tree_add(
    const struct tree *t, const char *box, const char *name, bool to_new, uint32_t token, int64_t mtime)
{
    struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};
    char path[700], text[120];
    int fd, n;
    bool ok;

    file_path(t, box, name, to_new, path, sizeof path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    n = snprintf(text, sizeof text, "Subject: token-%u\n\nforeign\n", token);
    ok = write(fd, text, (size_t)n) == n && (mtime == 0 || futimens(fd, times) == 0);
    close(fd);
    return ok;
}

static void touch(const struct tree *t, const char *box, const struct timespec *when)
{
    struct timespec times[2] = {*when, *when};
    char path[300];

    tree_path(t, box, "cur", path, sizeof path);
    utimensat(AT_FDCWD, path, times, 0);
    times[0].tv_nsec = times[1].tv_nsec += 1;
    tree_path(t, box, "new", path, sizeof path);
    utimensat(AT_FDCWD, path, times, 0);
}

void tree_touch(const struct tree *t, const char *box)
{
    static long count;
    struct timespec when;

    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_sec -= 100;
    when.tv_nsec = (count += 2) % 999999999;
    touch(t, box, &when);
}

void tree_touch_now(const struct tree *t, const char *box)
{
    struct timespec when;

    clock_gettime(CLOCK_REALTIME, &when);
    if (when.tv_nsec > 999999990)
        when.tv_nsec -= 5;
    touch(t, box, &when);
}

static void damage_file(const char *path, bool cut, uint32_t where)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    unsigned char c;
    off_t at;

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        at = (off_t)(where % (uint64_t)st.st_size);
        if (cut) {
            if (ftruncate(fd, at) < 0)
                fail("%s cannot be cut", path);
        } else if (pread(fd, &c, 1, at) == 1) {
            c ^= (unsigned char)(1u << (where >> 16 & 7));
            if (pwrite(fd, &c, 1, at) != 1)
                fail("%s cannot be written", path);
        }
    }
    close(fd);
}

void tree_damage(const struct tree *t, const char *box, unsigned kind, uint32_t where)
{
    char index[300], cache[300], all[300];

    state_path(t, box, "postamt.index", index, sizeof index);
    state_path(t, box, "postamt.cache", cache, sizeof cache);
    state_path(t, box, "", all, sizeof all);
    switch (kind) {
    case 0:
        unlink(index);
        break;
    case 1:
        unlink(cache);
        break;
    case 2:
        remove_all(all);
        break;
    default:
        damage_file(index, kind == 3, where);
        damage_file(cache, kind == 3, where >> 3);
        break;
    }
}

void tree_lose_state(const struct tree *t)
{
    char path[300];

    snprintf(path, sizeof path, "%s/state", t->top);
    remove_all(path);
    if (mkdir(path, 0700) < 0)
        fail("%s cannot be made", path);
}
