#include "store/index.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "store/account_priv.h"

#define VERSION 1

/* As it lies in the file, in the machine's own byte order: the file never leaves the machine. */
struct disk_header {
    char magic[8];
    uint32_t version;
    uint32_t uidvalidity;
    unsigned char boot[16];
    uint64_t clean;
    uint64_t uidnext;
    uint64_t modseq;
    int64_t cur_stamp;
    int64_t new_stamp;
    unsigned char reserved[48];
    uint64_t checksum; /* of all before it */
};

_Static_assert(sizeof(struct disk_header) == INDEX_HEADER_SIZE, "the header has no gaps");

static const char magic[8] = "postamt";

/* FNV-1a: against torn writes and accidents, not against the owner of the file. */
static uint64_t checksum(const struct disk_header *h)
{
    const unsigned char *p = (const unsigned char *)h;
    uint64_t sum = 0xcbf29ce484222325u;

    for (size_t i = 0; i < offsetof(struct disk_header, checksum); i++)
        sum = (sum ^ p[i]) * 0x100000001b3u;
    return sum;
}

int index_open(int state_dir)
{
    return fs_open_write(state_dir, INDEX_FILE, O_RDWR | O_CREAT, 0600);
}

bool index_read(int fd, struct index_header *out)
{
    static const unsigned char no_boot[16];
    const unsigned char *boot = store_boot_id();
    struct disk_header h;
    bool same_boot;

    *out = (struct index_header){0};
    if (fd < 0 || fs_pread_all(fd, &h, sizeof h, 0) < 0)
        return false;
    if (memcmp(h.magic, magic, sizeof magic) != 0 || h.version != VERSION || h.checksum != checksum(&h))
        return false;
    same_boot = memcmp(boot, no_boot, 16) != 0 && memcmp(h.boot, boot, 16) == 0;
    if (!same_boot && !h.clean)
        return false;
    *out = (struct index_header){.uidvalidity = h.uidvalidity,
        .clean = h.clean != 0,
        .uidnext = h.uidnext,
        .modseq = h.modseq,
        .cur_stamp = h.cur_stamp,
        .new_stamp = h.new_stamp};
    return out->uidvalidity && out->uidnext && out->uidnext <= (uint64_t)UINT32_MAX + 1;
}

int index_write(int fd, const struct index_header *in, bool sync)
{
    struct disk_header h = {
        .version = VERSION,
        .uidvalidity = in->uidvalidity,
        .clean = in->clean,
        .uidnext = in->uidnext,
        .modseq = in->modseq,
        .cur_stamp = in->cur_stamp,
        .new_stamp = in->new_stamp,
    };

    memcpy(h.magic, magic, sizeof magic);
    memcpy(h.boot, store_boot_id(), 16);
    h.checksum = checksum(&h);
    if (fs_pwrite_all(fd, &h, sizeof h, 0) < 0)
        return -1;
    return sync ? fs_sync_data(fd) : 0;
}

int index_forget(int fd)
{
    static const char zero[INDEX_HEADER_SIZE];

    return fs_pwrite_all(fd, zero, sizeof zero, 0);
}

void index_spoil(int state_dir, int fd)
{
    static const char zero[INDEX_HEADER_SIZE];

    /* whoever has it open sees the zeros, whoever comes later finds none */
    if (fs_pwrite_all(fd, zero, sizeof zero, 0) < 0 && fs_unlink(state_dir, INDEX_FILE) < 0)
        return;
    fs_unlink(state_dir, INDEX_FILE);
}
