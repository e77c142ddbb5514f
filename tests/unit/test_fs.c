/* fs: nothing leaves its folder, nothing but regular files is opened, old staging files go. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fs.h"

static char top[] = "/tmp/postamt-fs-XXXXXX";
static int dir;

static int set_up(void **state)
{
    (void)state;
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

static void opens_only_what_lies_inside(void **state)
{
    (void)state;
    put("file", 0);
    assert_int_equal(symlinkat("file", dir, "link"), 0);
    assert_int_equal(symlinkat("/etc", dir, "etc"), 0);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    assert_int_equal(fs_open_read(dir, "link"), -1);
    assert_int_equal(fs_open_read(dir, "etc/passwd"), -1);
    assert_int_equal(fs_open_read(dir, "../../etc/passwd"), -1);
    assert_int_equal(fs_open_read(dir, "/etc/passwd"), -1);
    assert_int_equal(fs_open_read(dir, "fifo"), -1); /* and does not wait for a writer */
    assert_int_equal(fs_open_dir(dir, "etc"), -1);
    assert_true(fs_open_read(dir, "file") >= 0);
}

static void replaces_whole(void **state)
{
    struct buf b = BUF_INIT(100);

    (void)state;
    assert_int_equal(fs_replace(dir, "staged", dir, "small", SLICE("one"), 0600, true), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(opens_only_what_lies_inside),
        cmocka_unit_test(replaces_whole), cmocka_unit_test(removes_old_staging_files_only)};

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
