/* Flags and expunges. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

static uint32_t flags_after(uint32_t now, enum flag_change how, uint32_t flags)
{
    switch (how) {
    case FLAGS_ADD:
        return now | flags;
    case FLAGS_REMOVE:
        return now & ~flags;
    case FLAGS_SET:
        break;
    }
    return flags;
}

static int rename_flags(struct mailbox *m, struct message *msg, uint32_t flags)
{
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);
    int rc = -1;

    if (!message_name(m, msg, flags, &to)) {
        errno = ENAMETOOLONG;
        goto out;
    }
    if (fs_rename(m->cur, msg->file, m->cur, buf_str(&to)) < 0)
        goto out;
    message_set_name(m, msg, slice_dup(buf_slice(&to)));
    m->unnamed -= msg->unnamed;
    msg->unnamed = false;
    rc = 0;
out:
    buf_free(&to);
    return rc;
}

int mailbox_begin(struct mailbox *m, struct err *e)
{
    return numbers_lock(m, e);
}

void mailbox_end(struct mailbox *m)
{
    numbers_unlock(m);
}

static int flag_locked(
    struct mailbox *m, uint32_t uid, enum flag_change how, uint32_t flags, bool *changed, struct err *e)
{
    struct message *msg = message_find(m, uid);

    *changed = false;
    if (!msg)
        return err_set(e, ERR_EXPUNGED, "UID %lu", (unsigned long)uid);
    /* a second time when a neighbour had renamed it meanwhile: his flags are the ground for ours then */
    for (int attempt = 0; attempt < 2; attempt++) {
        uint32_t after = flags_after(msg->flags, how, flags);

        if (after == msg->flags)
            return 0;
        own_begin(m);
        if (rename_flags(m, msg, after) == 0) {
            own_end(m);
            msg->flags = after;
            journal_changed(m, msg);
            *changed = true;
            return 0;
        }
        if (errno != ENOENT)
            return err_errno(e, "rename for a flag");
        msg = scan_locate(m, uid, e);
        if (!msg)
            return -1;
    }
    return err_set(e, ERR_UNAVAILABLE, "UID %lu is renamed all the time", (unsigned long)uid);
}

int mailbox_flag(
    struct mailbox *m, uint32_t uid, enum flag_change how, uint32_t flags, bool *changed, struct err *e)
{
    int rc = mailbox_begin(m, e);

    *changed = false;
    if (rc < 0)
        return -1;
    rc = flag_locked(m, uid, how, flags, changed, e);
    mailbox_end(m);
    return rc;
}

bool mailbox_needs_sync(const struct mailbox *m)
{
    return m->needs_sync && !m->gone;
}

int mailbox_sync(struct mailbox *m, struct err *e)
{
    if (!m->needs_sync)
        return 0;
    m->needs_sync = false; /* also when it fails: that fd is never synced for the same change again */
    if (fs_sync_dir(m->cur) < 0) {
        LOG(STORE_ERROR, NULL, F_STR("mailbox", m->name), F_STR("what", "sync"), F_U64("errno", errno));
        return err_errno(e, "sync of cur/");
    }
    return 0;
}

/* 1 removed, 0 it was gone, -1 with the error; msg->file is NULL in the first two cases. */
static int remove_one(struct mailbox *m, uint32_t uid, struct err *e)
{
    struct message *msg = message_find(m, uid);
    int done = 1;

    if (!msg || !msg->file)
        return 0;
    if (fs_unlink(m->cur, msg->file) < 0) {
        if (errno != ENOENT)
            return err_errno(e, "unlink");
        /* marked ones are not in the array for the scan: it is compacted first */
        messages_compact(m);
        msg = scan_locate(m, uid, NULL);
        if (msg && fs_unlink(m->cur, msg->file) < 0 && errno != ENOENT)
            return err_errno(e, "unlink");
        done = msg != NULL;
        msg = message_find(m, uid);
        if (!msg)
            return done;
    }
    message_free_name(m, msg);
    return done;
}

int mailbox_expunge(struct mailbox *m, const uint32_t *uids, size_t n, size_t *gone, struct err *e)
{
    int rc = 0;

    *gone = 0;
    if (mailbox_begin(m, e) < 0)
        return -1;
    own_begin(m);
    for (size_t i = 0; i < n && rc >= 0; i++) {
        rc = remove_one(m, uids[i], e);
        *gone += rc > 0;
    }
    own_end(m);
    messages_compact(m);
    mailbox_end(m);
    /* one sync for all; what was removed before an error is gone all the same */
    if (*gone && mailbox_sync(m, rc < 0 ? NULL : e) < 0)
        return -1;
    if (*gone)
        LOG(EXPUNGE, NULL, F_STR("mailbox", m->name), F_U64("messages", *gone));
    return rc < 0 ? -1 : 0;
}
