/*
 * fs: the one layer for file operations; the place where faults are injected and symbolic links end.
 *
 * Paths are relative to a folder's fd and never leave it: openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
 * | RESOLVE_NO_MAGICLINKS (security.md F01, I07). All return -1 with errno on failure; EINTR is retried. A
 * sync that failed is never repeated on the same fd (the kernel forgets the error): drop the file.
 */
#ifndef COMMON_FS_H
#define COMMON_FS_H

#include <dirent.h>
#include <sys/stat.h>

#include "common/buf.h"

/* A folder given by an absolute path of ours (configuration); follows links. */
int fs_open_root(const char *path);
int fs_open_dir(int dir, const char *path);
/* O_CLOEXEC, O_NONBLOCK and O_NOFOLLOW are added; only a regular file with no more links than allowed is
 * opened. */
int fs_open_read(int dir, const char *path);
/* The same, for who wants to know what was opened: it is looked at anyway. */
int fs_open_read_stat(int dir, const char *path, struct stat *st);
/* A file for writing; flags as O_CREAT | O_EXCL, O_RDWR ..; mode as given. */
int fs_open_write(int dir, const char *path, int flags, mode_t mode);
/* Creates each missing folder of a relative path, mode 0700, and syncs the parent of each it made. */
int fs_make_dirs(int dir, const char *path);

int fs_write_all(int fd, struct slice s);
/* At most cap octets (an error EFBIG if the file is larger) from offset 0; the buf is appended to. */
int fs_read_all(int fd, struct buf *out, size_t cap);
/* Exactly n octets at the offset, or -1 (EIO when the file ends before). */
int fs_pread_all(int fd, void *to, size_t n, off_t at);
int fs_pwrite_all(int fd, const void *from, size_t n, off_t at);

int fs_sync_data(int fd);
/* The text is on its way to the disk; fs_sync_data follows, and is short when several files had this first.
 * Not for sandboxed roles. */
void fs_start_write(int fd);
int fs_sync_dir(int dir_fd);
int fs_link(int from_dir, const char *from, int to_dir, const char *to);
int fs_rename(int from_dir, const char *from, int to_dir, const char *to);
/* Fails with EEXIST instead of replacing. */
int fs_rename_new(int from_dir, const char *from, int to_dir, const char *to);
int fs_unlink(int dir, const char *name);
int fs_mkdir(int dir, const char *name);
int fs_rmdir(int dir, const char *name);
/* What is there itself: a symbolic link is not followed. */
int fs_stat(int dir, const char *name, struct stat *st);
/* For readdir, from the start whatever others read from the same fd; NULL on failure. closedir ends it. */
DIR *fs_list(int dir);
/* Removes regular files whose names begin with the prefix and that nobody has touched since `before` (seconds
 * since 1970): what a process that died left staged. The inode's change counts: a staged APPEND has the mtime
 * its client wants. Returns how many. */
size_t fs_remove_old(int dir, const char *prefix, int64_t before);
#define FS_STAGING_LIFE ((int64_t)36 * 3600) /* nothing is staged so long by anybody alive */
/* Modification time of an open file, seconds since 1970. */
int fs_set_mtime(int fd, int64_t seconds);

/*
 * A small file of ours, whole: written as `staging` in staging_dir, synced, renamed to name in dir, dir
 * synced. With sync == false neither sync is made (derived files).
 */
int fs_replace(int staging_dir, const char *staging, int dir, const char *name, struct slice content,
    mode_t mode, bool sync);
/* A small file, whole; ENOENT if it is not there, EFBIG beyond cap. */
int fs_load(int dir, const char *name, struct buf *out, size_t cap);

/* flock(2) on an open folder; the kernel lets it go when the holder dies. */
int fs_lock(int fd, bool exclusive);
/* Exclusive, without waiting: EWOULDBLOCK when somebody else has it. */
int fs_try_lock(int fd);
int fs_unlock(int fd);

/* Thousandths of the file system's room (or inodes, if those are scarcer) that we may still use; 1000 when it
 * cannot be told. */
unsigned fs_free_space(int fd);

/* True for NFS, SMB and other file systems on which locks and links are not what we need; *name tells which.
 */
bool fs_is_network(int fd, const char **name);

#endif
