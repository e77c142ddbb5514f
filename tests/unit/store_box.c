#include "tests/unit/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "store/delivery.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

void box_make(struct box *b)
{
    struct err e = {0};

    snprintf(b->dir, sizeof b->dir, "/tmp/postamt-test.XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->root = fs_open_root(b->dir);
    assert_int_equal(fs_mkdir(b->root, "mail"), 0);
    assert_int_equal(fs_mkdir(b->root, "state"), 0);
    assert_int_equal(fs_mkdir(b->root, "spool"), 0);
    b->mail = fs_open_dir(b->root, "mail");
    b->state = fs_open_dir(b->root, "state");
    b->spool = fs_open_dir(b->root, "spool");
    assert_true(b->mail >= 0 && b->state >= 0 && b->spool >= 0);
    assert_int_equal(account_make_dirs(b->mail, b->state, SLICE(BOX_PATH), &e), 0);
}

void box_remove(struct box *b)
{
    close(b->mail);
    close(b->state);
    close(b->spool);
    close(b->root);
    nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct account *box_open(struct box *b)
{
    struct err e = {0};
    struct account *a = account_open(fs_open_dir(b->mail, BOX_PATH), fs_open_dir(b->state, BOX_PATH), &e);

    assert_non_null(a);
    return a;
}

void box_write(struct box *b, const char *path, const char *text)
{
    int fd = openat(b->root, path, O_WRONLY | O_CREAT | O_EXCL, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

bool box_has(struct box *b, const char *path)
{
    return faccessat(b->root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void box_rename(struct box *b, const char *from, const char *to)
{
    assert_int_equal(renameat(b->root, from, b->root, to), 0);
}

void box_unlink(struct box *b, const char *path)
{
    assert_int_equal(unlinkat(b->root, path, 0), 0);
}

size_t box_count(struct box *b, const char *path, char *first)
{
    int fd = openat(b->root, path, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *d;
    size_t n = 0;

    assert_non_null(dir);
    while ((d = readdir(dir)))
        if (d->d_name[0] != '.' && n++ == 0 && first)
            snprintf(first, 256, "%s", d->d_name);
    closedir(dir);
    return n;
}

void box_lose_state(struct box *b)
{
    char path[128];
    struct err e = {0};

    snprintf(path, sizeof path, "%s/state", b->dir);
    close(b->state);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(fs_mkdir(b->root, "state"), 0);
    b->state = fs_open_dir(b->root, "state");
    assert_int_equal(account_make_dirs(b->mail, b->state, SLICE(BOX_PATH), &e), 0);
}

void box_deliver(struct box *b, const char *text)
{
    struct delivery_recipient r = {.path = SLICE(BOX_PATH)};
    struct id id = id_new();
    struct err e = {0};
    uint64_t size;

    assert_int_equal(delivery_spool(b->spool, &id, slice_str(text), -1, 0, 0, NULL, 0, &size, &e), 0);
    delivery_link(b->mail, b->spool, &id, 1760000000, SLICE("mx.example.org"), size, &r, 1, false);
    assert_int_equal(r.result, 0);
    assert_int_equal(delivery_unspool(b->spool, &id, &e), 0);
}
