/*
 * postamt.index: a file that is wrong in any way is refused or gives messages that are in order; nothing is
 * read beyond its end. The checksums are made right here, so that what stands behind them is tried too.
 *
 * Input: number of messages, number of expunges, then base and log as they lie in the file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/checksum.h"
#include "common/fs.h"
#include "store/index.h"

#define RECORD 64
#define EXPUNGED 16
#define ENTRY 32
#define FACTS 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base(const struct index_base *base)
{
    for (size_t i = 0; i < base->nmessages; i++) {
        size_t n = strlen(base->messages[i].file);

        if (n == 0 || n > NAME_LEN_MAX || (i && base->messages[i].uid <= base->messages[i - 1].uid))
            abort();
    }
    for (size_t i = 1; i < base->nexpunged; i++)
        if (base->expunged[i].modseq < base->expunged[i - 1].modseq)
            abort();
}

/* The checksum of the entry that stands first, as the writer would have made it. */
static void seal(char *p, size_t left)
{
    uint16_t what, name_n;
    uint64_t sum;
    size_t n = ENTRY;

    if (left < ENTRY)
        return;
    memcpy(&what, p + 8, sizeof what);
    memcpy(&name_n, p + 10, sizeof name_n);
    n += what == INDEX_ADD || what == INDEX_FACTS ? FACTS : 0;
    n += what == INDEX_ADD || what == INDEX_NAME ? ((size_t)name_n + 8) & ~(size_t)7 : 0;
    if (n > left)
        return;
    sum = checksum64(0, slice_of(p + 8, n - 8));
    memcpy(p, &sum, sizeof sum);
}

static void walk_log(struct slice log)
{
    char *copy = malloc(log.n + 1);
    struct slice rest = slice_of(copy, log.n);
    struct index_entry entry;
    size_t left = log.n + 1;

    if (!copy)
        abort();
    if (log.n)
        memcpy(copy, log.p, log.n);
    while (rest.n < left) {
        left = rest.n;
        seal(copy + (log.n - rest.n), rest.n);
        if (!index_next(&rest, &entry))
            break;
        if (entry.msg.uid == 0 ||
            (entry.msg.file && (!*entry.msg.file || strlen(entry.msg.file) > NAME_LEN_MAX)))
            abort();
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct index_header h = {.uidvalidity = 1, .uidnext = 1, .modseq = 1, .clean = true, .has_base = true},
                        back;
    struct slice body = size > 2 ? slice_of(data + 2, size - 2) : SLICE("");
    struct buf log = BUF_INIT(1 << 20);
    struct index_base base;
    size_t records;
    int fd;

    if (size < 3 || size > 100000)
        return 0;
    h.nmessages = data[0];
    h.nexpunged = data[1];
    records = h.nmessages * RECORD + h.nexpunged * EXPUNGED;
    if (records > body.n)
        return 0;
    h.names_size = (body.n - records) / 2;
    h.log_end = index_log_start(&h) + (body.n - records - h.names_size);
    h.base_checksum = checksum64(
        checksum64(0, slice_sub(body, 0, records)), slice_sub(body, records, (size_t)h.names_size));
    fd = memfd_create("index", MFD_CLOEXEC);
    if (fd < 0 || index_write(fd, &h, false) < 0 ||
        fs_pwrite_all(fd, body.p, body.n, INDEX_HEADER_SIZE) < 0 || !index_read(fd, &back))
        abort();
    if (index_read_base(fd, &back, &base)) {
        check_base(&base);
        free(base.messages);
        free(base.expunged);
        buf_free(&base.names);
    }
    if (!index_read_log(fd, &back, index_log_start(&back), &log))
        abort();
    walk_log(buf_slice(&log));
    /* the header itself, as whatever was given */
    if (fs_pwrite_all(fd, body.p, body.n < INDEX_HEADER_SIZE ? body.n : INDEX_HEADER_SIZE, 0) < 0)
        abort();
    index_read(fd, &back);
    buf_free(&log);
    close(fd);
    return 0;
}
