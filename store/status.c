/* STATUS: numbers of a mailbox, from the array, from what the last close left in the index, or from the
 * names. */
#include <dirent.h>

#include "common/fs.h"
#include "store/mailbox_priv.h"

void status_add(struct mailbox_status *out, uint32_t flags, bool recent, uint64_t size)
{
    out->messages++;
    out->recent += recent;
    out->unseen += !(flags & FLAG_SEEN);
    out->deleted += (flags & FLAG_DELETED) != 0;
    out->size += size;
}

/* Names only: \Recent stays for the session that selects, and nothing is renamed. */
static int status_folder(
    struct mailbox *m, int dir, bool is_new, uint32_t *without_uid, struct mailbox_status *out, struct err *e)
{
    DIR *list = fs_list(dir);
    struct dirent *d;
    struct name name;
    struct stat st;
    size_t odd = m->odd;

    if (!list)
        return err_errno(e, "mailbox folder");
    while ((d = readdir(list))) {
        if (!scan_is_message(m, dir, d, &name, &odd))
            continue;
        if (!name.has_size && fs_stat(dir, d->d_name, &st) == 0)
            name.size_crlf = (uint64_t)st.st_size;
        if (takeover_find(m, name.unique) == 0 &&
            (is_new || (name.uid == 0 && adopt_find(m, name.unique) == 0)))
            (*without_uid)++;
        status_add(out, name.flags, is_new, name.size_crlf);
    }
    closedir(list);
    return 0;
}

/* What the last close left in the index, if nothing has changed since; new/ is looked at, it is short. */
static bool status_of_header(struct mailbox *m, struct mailbox_status *out, struct err *e)
{
    struct index_header h;
    bool known;

    if (numbers_lock(m, e) < 0)
        return false;
    h = m->header;
    known = m->header_valid && h.has_base && h.has_summary && h.cur_trusted && h.cur_stamp &&
            h.cur_stamp == folder_stamp(m->cur);
    numbers_unlock(m);
    if (!known)
        return false;
    out->messages = h.messages;
    out->unseen = h.unseen;
    out->deleted = h.deleted;
    out->recent = h.recent;
    out->size = h.octets;
    return true;
}

static int status_unloaded(struct mailbox *m, struct mailbox_status *out, struct err *e)
{
    uint32_t without_uid = 0;
    uint64_t uidnext;

    if (takeover_look(m, e) < 0)
        return -1;
    if (!status_of_header(m, out, e) &&
        (adopt_load(m, e) < 0 || status_folder(m, m->cur, false, &without_uid, out, e) < 0))
        return -1;
    if ((m->fresh_stamp != folder_stamp(m->fresh) || !m->fresh_trusted) &&
        status_folder(m, m->fresh, true, &without_uid, out, e) < 0)
        return -1;
    uidnext = m->uidnext + without_uid;
    out->uidnext = uidnext > UINT32_MAX ? UINT32_MAX : (uint32_t)uidnext;
    /* what the next open makes of it */
    out->highestmodseq = m->modseq + without_uid + !(m->cur_stamp && m->cur_stamp == folder_stamp(m->cur));
    return 0;
}

int mailbox_status(struct account *a, struct slice name, struct mailbox_status *out, struct err *e)
{
    struct mailbox *m = mailbox_get(a, name, false, e);
    int rc = 0;

    *out = (struct mailbox_status){0};
    if (!m)
        return -1;
    out->uidvalidity = m->meta.uidvalidity;
    if (!m->loaded) {
        rc = status_unloaded(m, out, e);
        mailbox_close(m);
        return rc;
    }
    rc = mailbox_refresh(m, e);
    for (size_t i = 0; i < m->n && rc == 0; i++) {
        struct message *msg = &m->msgs[i];
        struct stat st;

        if (msg->size_crlf == 0 && fs_stat(m->cur, msg->file, &st) == 0)
            msg->size = (uint64_t)st.st_size;
        status_add(out, msg->flags, msg->recent, msg->size_crlf ? msg->size_crlf : msg->size);
    }
    out->uidvalidity = m->meta.uidvalidity;
    out->uidnext = mailbox_uidnext(m);
    out->highestmodseq = m->modseq;
    mailbox_close(m);
    return rc;
}
