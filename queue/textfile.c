#include "queue/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "mail/header.h"

#define HEAD_FIRST ((size_t)16 * 1024) /* most headers are smaller */
#define PIECE ((size_t)64 * 1024)
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

int textfile_check(int fd, uint64_t size, struct err *e)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat st;

    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || (uint64_t)st.st_size != size)
        return err_set(
            e, ERR_INTERNAL, "the text is not a sealed file of %llu octets", (unsigned long long)size);
    return 0;
}

int textfile_read_header(int fd, uint64_t size, struct buf *out, struct err *e)
{
    size_t want = HEAD_FIRST;

    out->cap = TEXTFILE_HEADER_MAX + HEAD_FIRST;
    for (;;) {
        size_t n = size < want ? (size_t)size : want;
        char *to = buf_room(out, n - out->n);

        if (!to) /* the front refuses such before */
            return err_set(
                e, ERR_TOO_BIG, "header above %llu octets", (unsigned long long)TEXTFILE_HEADER_MAX);
        if (fs_pread_all(fd, to, n - out->n, (off_t)out->n) < 0)
            return err_errno(e, "text");
        buf_grew(out, n - out->n);
        if (n == size || header_size(buf_slice(out)) < out->n)
            return 0;
        want = want * 4 < out->cap || out->n == out->cap ? want * 4 : out->cap;
    }
}

static int copy(int to, int from, uint64_t offset, uint64_t size)
{
    char *piece = mem_alloc(PIECE);
    int rc = 0;

    while (rc == 0 && size > 0) {
        size_t n = size < PIECE ? (size_t)size : PIECE;

        rc = fs_pread_all(from, piece, n, (off_t)offset);
        if (rc == 0)
            rc = fs_write_all(to, slice_of(piece, n));
        offset += n;
        size -= n;
    }
    free(piece);
    return rc;
}

int textfile_new(struct slice front, int file, uint64_t offset, uint64_t size)
{
    int fd = memfd_create("text", MFD_CLOEXEC | MFD_ALLOW_SEALING), no;

    if (fd < 0)
        return -1;
    if (fs_write_all(fd, front) == 0 && copy(fd, file, offset, size) == 0 &&
        fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) == 0)
        return fd;
    no = errno;
    close(fd);
    errno = no;
    return -1;
}
