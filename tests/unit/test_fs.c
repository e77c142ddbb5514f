/*
 * fs: nothing leaves its folder, nothing but regular files is opened, old staging files go. All of it twice:
 * with openat2, and where the system call filter says that there is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fs.h"

#define TOP "/tmp/postamt-fs-XXXXXX"
static char top[] = TOP;
static int dir;

static int set_up(void **state)
{
    (void)state;
    strcpy(top, TOP);
    if (!mkdtemp(top))
        return -1;
    dir = fs_open_root(top);
    return dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    char *command = NULL;
    int rc = asprintf(&command, "rm -rf %s", top) < 0 ? -1 : system(command);

    (void)state;
    free(command);
    close(dir);
    return rc;
}

static void put(const char *name, int64_t age)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};
    int fd = fs_open_write(dir, name, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0 && futimens(fd, times) == 0 && close(fd) == 0);
}

static void refused(const char *path, int error)
{
    errno = 0;
    assert_int_equal(fs_open_read(dir, path), -1);
    assert_int_equal(errno, error);
}

static void opened(int fd)
{
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

static void opens_only_what_lies_inside(void **state)
{
    (void)state;
    put("file", 0);
    assert_int_equal(symlinkat("file", dir, "link"), 0);
    assert_int_equal(symlinkat("/etc", dir, "etc"), 0);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    assert_int_equal(fs_make_dirs(dir, "a/b"), 0);
    put("a/b/deep", 0);
    refused("link", ELOOP);
    refused("etc/passwd", ELOOP);
    refused("a/../../../etc/passwd", EXDEV);
    refused("../../etc/passwd", EXDEV);
    refused("/etc/passwd", EXDEV);
    refused("file/deep", ENOTDIR);
    refused("a/c/deep", ENOENT);
    refused("", ENOENT);
    refused("fifo", ELOOP); /* and does not wait for a writer */
    assert_int_equal(fs_open_dir(dir, "etc"), -1);
    assert_int_equal(fs_open_dir(dir, "file"), -1);
    opened(fs_open_read(dir, "file"));
    opened(fs_open_read(dir, "a/b/deep"));
    opened(fs_open_read(dir, "./a//b/deep"));
    opened(fs_open_dir(dir, "."));
    opened(fs_open_dir(dir, "a/b/"));
}

/* With openat2 a try leaves nothing open, nor does going step by step. */
static void leaves_nothing_open(void **state)
{
    int first = dup(dir);

    (void)state;
    assert_int_equal(close(first), 0);
    assert_int_equal(fs_open_read(dir, "a/b/none"), -1);
    assert_int_equal(fs_open_read(dir, "a/none/none"), -1);
    opened(fs_open_read(dir, "a/b/deep"));
    opened(dup(dir));
    assert_int_equal(dup(dir), first);
    close(first);
}

static void replaces_whole(void **state)
{
    struct buf b = BUF_INIT(100);

    (void)state;
    assert_int_equal(fs_replace(dir, "staged", dir, "small", SLICE("one"), 0600, true), 0);
    put("staged", 60); /* what one that died left there */
    assert_int_equal(fs_replace(dir, "staged", dir, "small", SLICE("two"), 0600, true), 0);
    assert_int_equal(fs_load(dir, "small", &b, 10), 0);
    assert_true(slice_eq(buf_slice(&b), SLICE("two")));
    assert_int_equal(faccessat(dir, "staged", F_OK, 0), -1);
    buf_clear(&b);
    assert_int_equal(fs_load(dir, "small", &b, 2), -1);
    assert_int_equal(errno, EFBIG);
    buf_free(&b);
}

static void removes_old_staging_files_only(void **state)
{
    (void)state;
    put("tmp.old", FS_STAGING_LIFE + 60);
    put("tmp.young", FS_STAGING_LIFE - 60);
    put("kept", FS_STAGING_LIFE + 60);
    assert_int_equal(mkdirat(dir, "tmp.folder", 0700), 0);
    /* an old mtime is what APPEND gives a message it has just staged */
    assert_int_equal(fs_remove_old(dir, "tmp.", (int64_t)time(NULL) - FS_STAGING_LIFE), 0);
    assert_int_equal(fs_remove_old(dir, "tmp.", (int64_t)time(NULL) + 60), 2);
    assert_int_equal(faccessat(dir, "tmp.old", F_OK, 0), -1);
    assert_int_equal(faccessat(dir, "tmp.young", F_OK, 0), -1);
    assert_int_equal(faccessat(dir, "tmp.folder", F_OK, 0), 0);
    assert_int_equal(faccessat(dir, "kept", F_OK, 0), 0);
}

/* From here on as where Landlock is of ABI 2. */
static int hide_openat2(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int rc = -1;

    if (ctx && seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0) == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(opens_only_what_lies_inside),
        cmocka_unit_test(leaves_nothing_open), cmocka_unit_test(replaces_whole),
        cmocka_unit_test(removes_old_staging_files_only)};
    int failed = cmocka_run_group_tests_name("openat2", tests, set_up, tear_down);

    if (hide_openat2() != 0)
        return 1;
    return failed + cmocka_run_group_tests_name("step by step", tests, set_up, tear_down);
}
