#include "store/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checksum.h"
#include "common/fs.h"
#include "common/mem.h"
#include "store/account_priv.h"

#define VERSION 2
#define COUNT_MAX ((uint64_t)1 << 28) /* messages or expunges of one mailbox that a file may speak of */
#define NAMES_MAX ((uint64_t)1 << 32)
#define LOG_MAX ((size_t)1 << 30)

/* All as it lies in the file, in the machine's own byte order: the file never leaves the machine. */
struct disk_header {
    char magic[8];
    uint32_t version;
    uint32_t uidvalidity;
    unsigned char boot[16];
    uint32_t clean, has_base, cur_trusted, new_trusted;
    uint64_t uidnext, modseq;
    int64_t cur_stamp, new_stamp;
    uint64_t expunged_from;
    uint32_t has_summary, messages, unseen, deleted, recent, unused;
    uint64_t octets;
    uint64_t lineage, nmessages, nexpunged, names_size, base_checksum, log_end;
    unsigned char reserved[80];
    uint64_t checksum; /* of all before it */
};
_Static_assert(sizeof(struct disk_header) == INDEX_HEADER_SIZE, "the header has no gaps");

#define BIT_UNNAMED 1u
#define BIT_RECENT 2u

struct disk_message {
    uint32_t uid, flags;
    uint64_t modseq, size, size_crlf;
    int64_t received, saved;
    uint64_t cache;
    uint32_t name_at;
    uint16_t name_n, bits;
};
_Static_assert(sizeof(struct disk_message) == 64, "a record has no gaps");

struct disk_expunged {
    uint64_t modseq;
    uint32_t uid, unused;
};
_Static_assert(sizeof(struct disk_expunged) == 16, "a record has no gaps");

struct disk_entry {
    uint64_t checksum; /* of the rest of the entry */
    uint16_t what, name_n, bits, unused;
    uint32_t uid, flags;
    uint64_t modseq;
};
struct disk_facts {
    uint64_t size, size_crlf;
    int64_t received, saved;
    uint64_t cache;
};
_Static_assert(sizeof(struct disk_entry) == 32 && sizeof(struct disk_facts) == 40, "an entry has no gaps");

static const char magic[8] = "postamt";

/* --- header --- */

int index_open(int state_dir)
{
    return fs_open_write(state_dir, INDEX_FILE, O_RDWR | O_CREAT, 0600);
}

static bool is_this_boot(const struct disk_header *h)
{
    static const unsigned char no_boot[16];
    const unsigned char *boot = store_boot_id();

    return memcmp(boot, no_boot, 16) != 0 && memcmp(h->boot, boot, 16) == 0;
}

bool index_read(int fd, struct index_header *out)
{
    struct disk_header h;

    *out = (struct index_header){0};
    if (fd < 0 || fs_pread_all(fd, &h, sizeof h, 0) < 0)
        return false;
    if (memcmp(h.magic, magic, sizeof magic) != 0 || h.version != VERSION ||
        h.checksum != checksum64(0, slice_of(&h, offsetof(struct disk_header, checksum))))
        return false;
    if (!is_this_boot(&h) && !h.clean)
        return false;
    *out = (struct index_header){
        .uidvalidity = h.uidvalidity,
        .clean = h.clean != 0,
        .has_base = h.has_base != 0,
        .cur_trusted = h.cur_trusted != 0,
        .new_trusted = h.new_trusted != 0,
        .uidnext = h.uidnext,
        .modseq = h.modseq,
        .cur_stamp = h.cur_stamp,
        .new_stamp = h.new_stamp,
        .expunged_from = h.expunged_from,
        .has_summary = h.has_summary != 0,
        .messages = h.messages,
        .unseen = h.unseen,
        .deleted = h.deleted,
        .recent = h.recent,
        .octets = h.octets,
        .lineage = h.lineage,
        .nmessages = h.nmessages,
        .nexpunged = h.nexpunged,
        .names_size = h.names_size,
        .base_checksum = h.base_checksum,
        .log_end = h.log_end,
    };
    return out->uidvalidity && out->uidnext && out->uidnext <= (uint64_t)UINT32_MAX + 1 &&
           out->nmessages <= COUNT_MAX && out->nexpunged <= COUNT_MAX && out->names_size <= NAMES_MAX &&
           out->log_end >= index_log_start(out);
}

static void fill_header(struct disk_header *h, const struct index_header *in)
{
    *h = (struct disk_header){
        .version = VERSION,
        .uidvalidity = in->uidvalidity,
        .clean = in->clean,
        .has_base = in->has_base,
        .cur_trusted = in->cur_trusted,
        .new_trusted = in->new_trusted,
        .uidnext = in->uidnext,
        .modseq = in->modseq,
        .cur_stamp = in->cur_stamp,
        .new_stamp = in->new_stamp,
        .expunged_from = in->expunged_from,
        .has_summary = in->has_summary,
        .messages = in->messages,
        .unseen = in->unseen,
        .deleted = in->deleted,
        .recent = in->recent,
        .octets = in->octets,
        .lineage = in->lineage,
        .nmessages = in->nmessages,
        .nexpunged = in->nexpunged,
        .names_size = in->names_size,
        .base_checksum = in->base_checksum,
        .log_end = in->log_end,
    };
    memcpy(h->magic, magic, sizeof magic);
    memcpy(h->boot, store_boot_id(), 16);
    h->checksum = checksum64(0, slice_of(h, offsetof(struct disk_header, checksum)));
}

int index_write(int fd, const struct index_header *in, bool sync)
{
    struct disk_header h;

    fill_header(&h, in);
    if (fs_pwrite_all(fd, &h, sizeof h, 0) < 0)
        return -1;
    return sync ? fs_sync_data(fd) : 0;
}

void index_spoil(int state_dir, int fd)
{
    static const char zero[INDEX_HEADER_SIZE];

    /* whoever has it open sees the zeros, whoever comes later finds none */
    if (fs_pwrite_all(fd, zero, sizeof zero, 0) < 0 && fs_unlink(state_dir, INDEX_FILE) < 0)
        return;
    fs_unlink(state_dir, INDEX_FILE);
}

/* --- base --- */

uint64_t index_log_start(const struct index_header *h)
{
    return INDEX_HEADER_SIZE + h->nmessages * sizeof(struct disk_message) +
           h->nexpunged * sizeof(struct disk_expunged) + h->names_size;
}

static uint64_t base_checksum(struct slice records, struct slice names)
{
    return checksum64(checksum64(0, records), names);
}

/* What `msg` is on disk, its name aside. */
static unsigned message_bits(const struct message *msg)
{
    return (msg->unnamed ? BIT_UNNAMED : 0) | (msg->recent ? BIT_RECENT : 0);
}

/* A name as it can stand in a folder; whoever wrote the file, it leads nowhere else. */
static bool is_file_name(const char *name, size_t n)
{
    return n > 0 && n <= NAME_LEN_MAX && name[0] != '.' && name[n] == '\0' && !memchr(name, '\0', n) &&
           !memchr(name, '/', n);
}

static bool take_messages(const struct disk_message *from, size_t n, struct index_base *out)
{
    uint32_t last = 0;

    for (size_t i = 0; i < n; i++) {
        const struct disk_message *d = &from[i];
        struct message *msg = &out->messages[i];

        if (d->uid <= last || d->name_at >= out->names.n || out->names.n - d->name_at <= d->name_n ||
            !is_file_name(out->names.p + d->name_at, d->name_n))
            return false;
        last = d->uid;
        *msg = (struct message){.uid = d->uid,
            .flags = d->flags,
            .modseq = d->modseq,
            .size = d->size,
            .size_crlf = d->size_crlf,
            .received = d->received,
            .saved = d->saved,
            .cache = d->cache,
            .file = out->names.p + d->name_at,
            .unnamed = d->bits & BIT_UNNAMED,
            .recent = d->bits & BIT_RECENT};
    }
    return true;
}

static bool take_expunged(const struct disk_expunged *from, size_t n, struct index_base *out)
{
    uint64_t last = 0;

    for (size_t i = 0; i < n; i++) {
        if (from[i].modseq < last || from[i].uid == 0)
            return false;
        last = from[i].modseq;
        out->expunged[i] = (struct mailbox_expunged){from[i].uid, from[i].modseq};
    }
    return true;
}

bool index_read_base(int fd, const struct index_header *h, struct index_base *out)
{
    size_t n = (size_t)h->nmessages, gone = (size_t)h->nexpunged;
    size_t records = n * sizeof(struct disk_message), expunges = gone * sizeof(struct disk_expunged);
    char *block = NULL;
    struct stat st;
    bool ok = false;

    *out = (struct index_base){.nmessages = n, .nexpunged = gone, .names = BUF_INIT(NAMES_MAX)};
    /* nothing is allocated for what is not there */
    if (!h->has_base || fstat(fd, &st) < 0 || (uint64_t)st.st_size < h->log_end)
        return false;
    block = mem_alloc(records + expunges + 1);
    out->messages = mem_alloc((n + 1) * sizeof *out->messages);
    out->expunged = mem_alloc((gone + 1) * sizeof *out->expunged);
    if (!buf_room(&out->names, (size_t)h->names_size + 1))
        goto out;
    if (fs_pread_all(fd, block, records + expunges, INDEX_HEADER_SIZE) < 0 ||
        fs_pread_all(
            fd, out->names.p, (size_t)h->names_size, (off_t)(INDEX_HEADER_SIZE + records + expunges)) < 0)
        goto out;
    buf_grew(&out->names, (size_t)h->names_size);
    if (h->base_checksum != base_checksum(slice_of(block, records + expunges), buf_slice(&out->names)))
        goto out;
    ok = take_messages((const void *)block, n, out) &&
         take_expunged((const void *)(block + records), gone, out);
out:
    free(block);
    if (ok)
        return true;
    free(out->messages);
    free(out->expunged);
    buf_free(&out->names);
    *out = (struct index_base){0};
    return false;
}

/* Everything of the file behind the header, records first. */
static char *make_base(struct index_header *h, const struct message *messages, size_t n,
    const struct mailbox_expunged *expunged, size_t gone, size_t *size)
{
    size_t records = n * sizeof(struct disk_message), expunges = gone * sizeof(struct disk_expunged),
           names = 0;
    struct disk_message *to;
    struct disk_expunged *to_gone;
    char *block, *at;

    for (size_t i = 0; i < n; i++)
        names += strlen(messages[i].file) + 1;
    names = (names + 7) & ~(size_t)7; /* the log begins at a multiple of 8 */
    *size = records + expunges + names;
    block = mem_alloc(*size + 1);
    to = (void *)block;
    to_gone = (void *)(block + records);
    at = block + records + expunges;
    memset(at + names - (names ? 8 : 0), 0, names ? 8 : 0);
    for (size_t i = 0; i < n; i++) {
        const struct message *msg = &messages[i];
        size_t name_n = strlen(msg->file);

        to[i] = (struct disk_message){.uid = msg->uid,
            .flags = msg->flags,
            .modseq = msg->modseq,
            .size = msg->size,
            .size_crlf = msg->size_crlf,
            .received = msg->received,
            .saved = msg->saved,
            .cache = msg->cache,
            .name_at = (uint32_t)(at - (block + records + expunges)),
            .name_n = (uint16_t)name_n,
            .bits = (uint16_t)message_bits(msg)};
        memcpy(at, msg->file, name_n + 1);
        at += name_n + 1;
    }
    for (size_t i = 0; i < gone; i++)
        to_gone[i] = (struct disk_expunged){.modseq = expunged[i].modseq, .uid = expunged[i].uid};
    h->has_base = true;
    h->nmessages = n;
    h->nexpunged = gone;
    h->names_size = names;
    h->base_checksum =
        base_checksum(slice_of(block, records + expunges), slice_of(block + records + expunges, names));
    h->log_end = index_log_start(h);
    return block;
}

int index_replace(int state_dir, struct index_header *h, const struct message *messages, size_t n,
    const struct mailbox_expunged *expunged, size_t nexpunged)
{
    struct disk_header header;
    char staging[32];
    size_t size;
    char *block = make_base(h, messages, n, expunged, nexpunged, &size);
    int fd, saved;

    staging_name(staging);
    fd = fs_open_write(state_dir, staging, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        goto out;
    fill_header(&header, h);
    if (fs_write_all(fd, slice_of(&header, sizeof header)) < 0 ||
        fs_write_all(fd, slice_of(block, size)) < 0 ||
        fs_rename(state_dir, staging, state_dir, INDEX_FILE) < 0) {
        saved = errno;
        close(fd);
        fs_unlink(state_dir, staging);
        fd = -1;
        errno = saved;
    }
out:
    free(block);
    return fd;
}

/* --- log --- */

static size_t name_room(size_t name_n)
{
    return (name_n + 8) & ~(size_t)7; /* at least one NUL */
}

static size_t facts_size(enum index_what what)
{
    return what == INDEX_ADD || what == INDEX_FACTS ? sizeof(struct disk_facts) : 0;
}

void index_put(struct buf *log, enum index_what what, const struct message *msg)
{
    bool has_name = what == INDEX_ADD || what == INDEX_NAME;
    size_t name_n = has_name ? strlen(msg->file) : 0;
    size_t size = sizeof(struct disk_entry) + facts_size(what) + (has_name ? name_room(name_n) : 0);
    char *to = buf_room(log, size);
    struct disk_entry entry = {.what = (uint16_t)what,
        .name_n = (uint16_t)name_n,
        .bits = (uint16_t)message_bits(msg),
        .uid = msg->uid,
        .flags = msg->flags,
        .modseq = msg->modseq};
    struct disk_facts facts = {.size = msg->size,
        .size_crlf = msg->size_crlf,
        .received = msg->received,
        .saved = msg->saved,
        .cache = msg->cache};

    if (!to) {
        log->full = true;
        return;
    }
    memset(to, 0, size);
    memcpy(to, &entry, sizeof entry);
    if (facts_size(what))
        memcpy(to + sizeof entry, &facts, sizeof facts);
    if (has_name)
        memcpy(to + sizeof entry + facts_size(what), msg->file, name_n);
    entry.checksum = checksum64(0, slice_of(to + sizeof entry.checksum, size - sizeof entry.checksum));
    memcpy(to, &entry.checksum, sizeof entry.checksum);
    buf_grew(log, size);
}

bool index_next(struct slice *rest, struct index_entry *out)
{
    struct disk_entry d;
    struct disk_facts facts = {0};
    size_t size = sizeof d;
    bool has_name;

    if (rest->n < sizeof d)
        return false;
    memcpy(&d, rest->p, sizeof d);
    if (d.what < INDEX_ADD || d.what > INDEX_CLAIMED || d.uid == 0)
        return false;
    has_name = d.what == INDEX_ADD || d.what == INDEX_NAME;
    size += facts_size(d.what) + (has_name ? name_room(d.name_n) : 0);
    if (rest->n < size ||
        d.checksum != checksum64(0, slice_of(rest->p + sizeof d.checksum, size - sizeof d.checksum)))
        return false;
    if (facts_size(d.what))
        memcpy(&facts, rest->p + sizeof d, sizeof facts);
    *out = (struct index_entry){.what = d.what,
        .msg = {.uid = d.uid,
            .flags = d.flags,
            .modseq = d.modseq,
            .size = facts.size,
            .size_crlf = facts.size_crlf,
            .received = facts.received,
            .saved = facts.saved,
            .cache = facts.cache,
            .unnamed = d.bits & BIT_UNNAMED,
            .recent = d.bits & BIT_RECENT}};
    if (has_name) {
        const char *name = rest->p + sizeof d + facts_size(d.what);

        if (!is_file_name(name, d.name_n))
            return false;
        out->msg.file = (char *)(uintptr_t)name;
    }
    *rest = slice_from(*rest, size);
    return true;
}

int index_append(int fd, struct index_header *h, struct slice log, bool sync)
{
    if (log.n && fs_pwrite_all(fd, log.p, log.n, (off_t)h->log_end) < 0)
        return -1;
    h->log_end += log.n;
    return index_write(fd, h, sync);
}

bool index_read_log(int fd, const struct index_header *h, uint64_t from, struct buf *out)
{
    uint64_t n = h->log_end - from;
    struct stat st;

    buf_clear(out);
    if (from < index_log_start(h) || from > h->log_end || n > LOG_MAX)
        return false;
    if (n == 0)
        return true;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size < h->log_end || !buf_room(out, (size_t)n + 1) ||
        fs_pread_all(fd, out->p, (size_t)n, (off_t)from) < 0)
        return false;
    buf_grew(out, (size_t)n);
    return true;
}
