/* What a message says, and how long it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"
#include "store/text.h"

#define KEEP_MAX ((size_t)1 << 20) /* memory kept from one text to the next */

void mailbox_text_drop(struct mailbox *m)
{
    m->text_uid = 0;
    m->text = SLICE("");
    buf_clear(&m->raw);
    buf_clear(&m->crlf);
    if (m->raw.size > KEEP_MAX)
        buf_free(&m->raw);
    if (m->crlf.size > KEEP_MAX)
        buf_free(&m->crlf);
}

/* The file, wherever a neighbour has renamed it to. */
static int open_message(struct mailbox *m, uint32_t uid, struct stat *st, struct err *e)
{
    struct message *msg = message_find(m, uid);
    int fd = -1;

    if (!msg) {
        err_set(e, ERR_EXPUNGED, "UID %lu", (unsigned long)uid);
        return -1;
    }
    fd = fs_open_read_stat(m->cur, msg->file, st);
    if (fd < 0 && errno == ENOENT) {
        msg = scan_locate(m, uid, e);
        if (!msg)
            return -1;
        fd = fs_open_read_stat(m->cur, msg->file, st);
    }
    if (fd < 0)
        return errno == ENOENT ? err_set(e, ERR_EXPUNGED, "UID %lu", (unsigned long)uid)
                               : err_errno(e, "message");
    if (msg->received == 0) {
        msg->received = (int64_t)st->st_mtim.tv_sec;
        journal_facts(m, msg);
    }
    return fd;
}

/* The first `most` octets into raw, with CR LF into text. */
static int read_text(struct mailbox *m, uint32_t uid, uint64_t most, bool *whole, struct err *e)
{
    struct stat st = {0};
    char last = 0;
    int fd, rc = 0;
    uint64_t size;
    char *to;

    mailbox_text_drop(m);
    fd = open_message(m, uid, &st, e);
    if (fd < 0)
        return -1;
    size = (uint64_t)st.st_size;
    *whole = size <= most;
    if (!*whole)
        size = most;
    to = size < BUF_OWN ? buf_room(&m->raw, (size_t)size + 1) : NULL;
    if (!to)
        rc = err_set(e, ERR_TOO_BIG, "%llu octets", (unsigned long long)size);
    else if (fs_pread_all(fd, to, (size_t)size, 0) < 0)
        rc = err_errno(e, "message");
    close(fd);
    if (rc < 0)
        return -1;
    buf_grew(&m->raw, (size_t)size);
    if (text_bare_lf(buf_slice(&m->raw), &last) == 0) {
        m->text = buf_slice(&m->raw);
        return 0;
    }
    text_to_crlf(buf_slice(&m->raw), &m->crlf);
    if (m->crlf.full)
        return err_set(e, ERR_TOO_BIG, "%llu octets", (unsigned long long)size);
    m->text = buf_slice(&m->crlf);
    return 0;
}

int mailbox_text(struct mailbox *m, uint32_t uid, struct slice *text, struct err *e)
{
    struct message *msg;
    bool whole;

    if (m->text_uid != uid || uid == 0) {
        if (read_text(m, uid, UINT64_MAX, &whole, e) < 0)
            return -1;
        m->text_uid = uid;
        msg = message_find(m, uid);
        if (msg && (msg->size != m->raw.n || msg->size_crlf != m->text.n)) {
            /* what was read is right, whatever the name says */
            msg->size = m->raw.n;
            msg->size_crlf = m->text.n;
            journal_facts(m, msg);
        }
    }
    *text = m->text;
    return 0;
}

int mailbox_text_head(struct mailbox *m, uint32_t uid, size_t most, struct slice *text, struct err *e)
{
    bool whole;

    if (m->text_uid == uid && uid) {
        *text = m->text;
        return 0;
    }
    if (read_text(m, uid, most, &whole, e) < 0)
        return -1;
    if (whole)
        m->text_uid = uid;
    *text = m->text;
    return 0;
}

/* The sizes go into the name, so that nobody counts again. */
static void name_sizes(struct mailbox *m, struct message *msg)
{
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);

    if (message_name(m, msg, msg->flags, &to) && strcmp(buf_str(&to), msg->file) != 0) {
        own_begin(m);
        if (fs_rename(m->cur, msg->file, m->cur, buf_str(&to)) == 0) {
            message_set_name(m, msg, slice_dup(buf_slice(&to)));
            m->unnamed -= msg->unnamed;
            msg->unnamed = false;
            journal_renamed(m, msg);
        }
        own_end(m);
    }
    buf_free(&to);
}

/* Nobody counts again. */
static void keep_sizes(struct mailbox *m, uint32_t uid, uint64_t size, uint64_t size_crlf)
{
    struct message *msg;

    if (numbers_lock(m, NULL) < 0)
        return;
    msg = message_find(m, uid);
    if (msg) {
        msg->size = size;
        msg->size_crlf = size_crlf;
        journal_facts(m, msg);
        name_sizes(m, msg);
    }
    numbers_unlock(m);
}

int mailbox_size(struct mailbox *m, uint32_t uid, uint64_t *octets, struct err *e)
{
    struct message *msg = message_find(m, uid);
    uint64_t size = 0, bare = 0;
    struct stat st;
    char last = 0;
    char *chunk;
    int fd;

    if (msg && msg->size_crlf) {
        *octets = msg->size_crlf;
        return 0;
    }
    fd = open_message(m, uid, &st, e);
    if (fd < 0)
        return -1;
    chunk = mem_alloc(65536);
    for (;;) {
        ssize_t n = pread(fd, chunk, 65536, (off_t)size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err_errno(e, "message");
            close(fd);
            free(chunk);
            return -1;
        }
        if (n == 0)
            break;
        bare += text_bare_lf(slice_of(chunk, (size_t)n), &last);
        size += (uint64_t)n;
    }
    close(fd);
    free(chunk);
    *octets = size + bare;
    keep_sizes(m, uid, size, size + bare);
    return 0;
}

int mailbox_received(struct mailbox *m, uint32_t uid, int64_t *seconds, struct err *e)
{
    struct message *msg = message_find(m, uid);
    struct stat st;

    if (msg && msg->received == 0 && fs_stat(m->cur, msg->file, &st) < 0) {
        if (errno != ENOENT)
            return err_errno(e, "message");
        msg = scan_locate(m, uid, e);
        if (!msg)
            return -1;
        if (fs_stat(m->cur, msg->file, &st) < 0)
            return err_set(e, ERR_EXPUNGED, "UID %lu", (unsigned long)uid);
    } else if (!msg) {
        return err_set(e, ERR_EXPUNGED, "UID %lu", (unsigned long)uid);
    } else if (msg->received) {
        *seconds = msg->received;
        return 0;
    }
    *seconds = msg->received = (int64_t)st.st_mtim.tv_sec;
    journal_facts(m, msg);
    journal_ease(m);
    return 0;
}
