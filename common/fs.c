#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Opens one name in a folder; a symbolic link is ELOOP, as openat2 says it. */
static int open_step(int at, const char *name, int flags, mode_t mode)
{
    struct stat st;
    int fd = openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);

    if (fd < 0 && errno == ENOTDIR)
        errno = fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) ? ELOOP : ENOTDIR;
    return fd;
}

/* A step's name with its NUL; -1 with errno: too long, or out of the folder. */
static int step_name(struct slice name, char z[NAME_MAX + 1])
{
    if (name.n > NAME_MAX || slice_eq(name, SLICE(".."))) {
        errno = name.n > NAME_MAX ? ENAMETOOLONG : EXDEV;
        return -1;
    }
    memcpy(z, name.p, name.n);
    z[name.n] = '\0';
    return 0;
}

/* What openat2 does with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, folder by folder; ".." is EXDEV anywhere. */
static int open_in_steps(int dir, const char *path, int flags, mode_t mode)
{
    struct slice rest = slice_str(path), name;
    int at = dir, fd = -1;

    errno = slice_starts(rest, SLICE("/")) ? EXDEV : ENOENT;
    if (errno == EXDEV)
        return -1;
    while (slice_cut(&rest, '/', &name)) {
        char z[NAME_MAX + 1];
        int saved;

        while (slice_starts(rest, SLICE("/"))) /* an empty name is no step */
            rest = slice_from(rest, 1);
        fd = step_name(name, z) < 0 ? -1
             : rest.n               ? open_step(at, z, O_PATH | O_DIRECTORY, 0)
                                    : open_step(at, z, flags, mode);
        saved = errno;
        if (at != dir)
            close(at);
        errno = saved;
        if (fd < 0 || !rest.n)
            return fd;
        at = fd;
    }
    return -1;
}

static int open_beneath(int dir, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    static atomic_bool in_steps; /* the sandbox has no openat2 where Landlock is of ABI 2 */
    int fd;

    while (!atomic_load_explicit(&in_steps, memory_order_relaxed)) {
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN && errno != ENOSYS))
            return fd;
        if (errno == ENOSYS)
            atomic_store_explicit(&in_steps, true, memory_order_relaxed);
    }
    do
        fd = open_in_steps(dir, path, flags, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int fs_open_root(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int fs_open_dir(int dir, const char *path)
{
    return open_beneath(dir, path, O_RDONLY | O_DIRECTORY, 0);
}

static int regular_or_close(int fd, struct stat *st)
{
    if (fd < 0)
        return -1;
    if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
        return fd;
    close(fd);
    errno = ELOOP;
    return -1;
}

int fs_open_read_stat(int dir, const char *path, struct stat *st)
{
    return regular_or_close(open_beneath(dir, path, O_RDONLY | O_NONBLOCK, 0), st);
}

int fs_open_read(int dir, const char *path)
{
    struct stat st;

    return fs_open_read_stat(dir, path, &st);
}

int fs_open_write(int dir, const char *path, int flags, mode_t mode)
{
    struct stat st;

    return regular_or_close(open_beneath(dir, path, flags | O_NONBLOCK, mode), &st);
}

int fs_make_dirs(int dir, const char *path)
{
    size_t n = strlen(path);
    char part[4096];

    if (n >= sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (size_t i = 0; i <= n; i++) {
        int parent;
        char *slash;

        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdirat(dir, part, 0700) < 0) {
            if (errno == EEXIST)
                continue;
            return -1;
        }
        slash = strrchr(part, '/');
        if (slash)
            *slash = '\0';
        parent = fs_open_dir(dir, slash ? part : ".");
        if (parent < 0)
            return -1;
        if (fs_sync_dir(parent) < 0) {
            int saved = errno;
            close(parent);
            errno = saved;
            return -1;
        }
        close(parent);
    }
    return 0;
}

int fs_write_all(int fd, struct slice s)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        s = slice_from(s, (size_t)n);
    }
    return 0;
}

int fs_read_all(int fd, struct buf *out, size_t cap)
{
    size_t start = out->n;

    for (;;) {
        size_t left = cap - (out->n - start);
        char *to = buf_room(out, left < 65536 ? left + 1 : 65536);
        ssize_t n;

        if (!to) {
            errno = EFBIG;
            return -1;
        }
        n = read(fd, to, left < 65536 ? left + 1 : 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            return 0;
        if ((size_t)n > left) {
            errno = EFBIG;
            return -1;
        }
        buf_grew(out, (size_t)n);
    }
}

int fs_pread_all(int fd, void *to, size_t n, off_t at)
{
    char *p = to;

    while (n) {
        ssize_t got = pread(fd, p, n, at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            if (got == 0)
                errno = EIO;
            return -1;
        }
        p += got;
        at += got;
        n -= (size_t)got;
    }
    return 0;
}

int fs_pwrite_all(int fd, const void *from, size_t n, off_t at)
{
    const char *p = from;

    while (n) {
        ssize_t put = pwrite(fd, p, n, at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        p += put;
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

int fs_sync_data(int fd)
{
    return fdatasync(fd);
}

void fs_start_write(int fd)
{
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int fs_sync_dir(int dir_fd)
{
    return fsync(dir_fd);
}

int fs_link(int from_dir, const char *from, int to_dir, const char *to)
{
    return linkat(from_dir, from, to_dir, to, 0);
}

int fs_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat(from_dir, from, to_dir, to);
}

int fs_rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);
}

int fs_unlink(int dir, const char *name)
{
    return unlinkat(dir, name, 0);
}

int fs_mkdir(int dir, const char *name)
{
    return mkdirat(dir, name, 0700);
}

int fs_rmdir(int dir, const char *name)
{
    return unlinkat(dir, name, AT_REMOVEDIR);
}

int fs_stat(int dir, const char *name, struct stat *st)
{
    return fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW);
}

DIR *fs_list(int dir)
{
    int fd = fs_open_dir(dir, ".");
    DIR *list = fd < 0 ? NULL : fdopendir(fd);

    if (fd >= 0 && !list)
        close(fd);
    return list;
}

size_t fs_remove_old(int dir, const char *prefix, int64_t before)
{
    DIR *list = fs_list(dir);
    struct dirent *d;
    struct stat st;
    size_t n = 0;

    while (list && (d = readdir(list)))
        if (slice_starts(slice_str(d->d_name), slice_str(prefix)) && fs_stat(dir, d->d_name, &st) == 0 &&
            S_ISREG(st.st_mode) && st.st_ctime < before && fs_unlink(dir, d->d_name) == 0)
            n++;
    if (list)
        closedir(list);
    return n;
}

int fs_set_mtime(int fd, int64_t seconds)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)seconds}};

    return futimens(fd, times);
}

int fs_replace(int staging_dir, const char *staging, int dir, const char *name, struct slice content,
    mode_t mode, bool sync)
{
    int fd = fs_open_write(staging_dir, staging, O_WRONLY | O_CREAT | O_EXCL, mode), saved;

    /* what a process that died left there; not O_TRUNC, which no sandboxed role has (common/sandbox_calls.c)
     */
    if (fd < 0 && errno == EEXIST && fs_unlink(staging_dir, staging) == 0)
        fd = fs_open_write(staging_dir, staging, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return -1;
    if (fs_write_all(fd, content) < 0 || (sync && fs_sync_data(fd) < 0))
        goto drop;
    if (close(fd) < 0) {
        fd = -1;
        goto drop;
    }
    fd = -1;
    if (fs_rename(staging_dir, staging, dir, name) < 0)
        goto drop;
    return sync ? fs_sync_dir(dir) : 0;
drop:
    saved = errno;
    if (fd >= 0)
        close(fd);
    fs_unlink(staging_dir, staging);
    errno = saved;
    return -1;
}

int fs_load(int dir, const char *name, struct buf *out, size_t cap)
{
    int fd = fs_open_read(dir, name);
    int rc, saved;

    if (fd < 0)
        return -1;
    rc = fs_read_all(fd, out, cap);
    saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

int fs_lock(int fd, bool exclusive)
{
    int rc;

    do
        rc = flock(fd, exclusive ? LOCK_EX : LOCK_SH);
    while (rc < 0 && errno == EINTR);
    return rc;
}

int fs_try_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB);
}

int fs_unlock(int fd)
{
    return flock(fd, LOCK_UN);
}

bool fs_is_network(int fd, const char **name)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } kinds[] = {{0x6969, "NFS"}, {0xff534d42, "CIFS"}, {0xfe534d42, "SMB"}, {0x517b, "SMB"},
        {0x73757245, "Coda"}, {0x00c36400, "Ceph"}, {0x01021997, "9P"}, {0x5346414f, "AFS"}};
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if ((unsigned long)fs.f_type == kinds[i].magic) {
            *name = kinds[i].name;
            return true;
        }
    return false;
}

static unsigned thousandths(uint64_t part, uint64_t whole)
{
    if (whole == 0 || part >= whole)
        return 1000;
    return (unsigned)(whole > UINT64_MAX / 1000 ? part / (whole / 1000) : part * 1000 / whole);
}

unsigned fs_free_space(int fd)
{
    struct statfs fs;
    unsigned room, inodes;

    if (fstatfs(fd, &fs) < 0)
        return 1000;
    room = thousandths(fs.f_bavail, fs.f_blocks);
    inodes = thousandths(fs.f_ffree, fs.f_files); /* 0 of 0 where they are not counted */
    return room < inodes ? room : inodes;
}
