/* APPEND: staged in state/, complete and synced, then renamed into cur/ with its final name. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"
#include "store/text.h"

struct append {
    struct mailbox *m;
    int fd;
    char staging[32];
    bool staged; /* the file is still there under that name */
    uint64_t size, bare;
    char last;
};

struct mailbox *incoming_mailbox(struct account *a, struct slice name, struct err *e)
{
    struct err why = {0};
    struct mailbox *m = mailbox_get(a, name, false, &why);

    if (!m)
        err_set(e, why.code == ERR_NO_MAILBOX ? ERR_TRY_CREATE : why.code, "%s", why.detail);
    return m;
}

int incoming_begin(struct mailbox *m, uint32_t n, uint32_t *first, struct err *e)
{
    if (m->gone)
        return err_set(e, ERR_TRY_CREATE, "deleted meanwhile");
    if (numbers_lock(m, e) < 0)
        return -1;
    /* UIDs of others come into the array before ours; UIDs in names are above the ceiling only after first
     * contact */
    if (m->incomplete && scan_cur(m, e) < 0)
        goto fail;
    if (!m->loaded && !m->known && mailbox_load(m, e) < 0)
        goto fail;
    if (m->uidnext + n > UID_END && mailbox_renumber(m, e) < 0)
        goto fail;
    if (numbers_take(m, n, first, e) == 0)
        return 0;
fail:
    numbers_unlock(m);
    return -1;
}

struct append *append_begin(struct account *a, struct slice mailbox, struct err *e)
{
    struct mailbox *m = incoming_mailbox(a, mailbox, e);
    struct append *ap;

    if (!m)
        return NULL;
    ap = mem_zalloc(1, sizeof *ap);
    ap->m = m;
    staging_name(ap->staging);
    ap->fd = fs_open_write(m->state, ap->staging, O_WRONLY | O_CREAT | O_EXCL, 0400);
    if (ap->fd < 0) {
        err_errno(e, "staging file");
        append_free(ap);
        return NULL;
    }
    ap->staged = true;
    return ap;
}

int append_write(struct append *ap, struct slice piece, struct err *e)
{
    if (fs_write_all(ap->fd, piece) < 0)
        return err_errno(e, "staging file");
    ap->bare += text_bare_lf(piece, &ap->last);
    ap->size += piece.n;
    return 0;
}

void append_free(struct append *ap)
{
    if (!ap)
        return;
    if (ap->fd >= 0)
        close(ap->fd);
    if (ap->staged)
        fs_unlink(ap->m->state, ap->staging);
    mailbox_close(ap->m);
    free(ap);
}

static int keyword_flags(
    struct mailbox *m, const struct slice *keywords, size_t n, uint32_t *flags, struct err *e)
{
    *flags &= ~FLAG_KEYWORDS_MASK;
    if (n && keywords_load(m, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int letter = mailbox_keyword_letter(m, keywords[i], true, e);

        if (letter < 0)
            return -1;
        *flags |= FLAG_KEYWORD(letter);
    }
    return 0;
}

/* With the lock held: under its name into cur/. */
static int bring_in(struct append *ap, struct message *msg, struct buf *name, struct err *e)
{
    struct buf unique = BUF_INIT(64);
    struct id id = id_new();
    struct mailbox *m = ap->m;
    bool fits;
    int rc = -1;

    buf_printf(&unique, "%lld.%s", (long long)msg->saved, id.text);
    fits = name_write(name, buf_slice(&unique), msg->size, msg->size_crlf, msg->saved, msg->uid,
        m->meta.uidvalidity, msg->flags);
    INVARIANT(fits);
    own_begin(m);
    if (fs_rename(m->state, ap->staging, m->cur, buf_str(name)) < 0) {
        if (errno == ENOENT)
            err_set(e, ERR_TRY_CREATE, "deleted meanwhile");
        else
            err_errno(e, "rename into cur/");
    } else {
        ap->staged = false;
        rc = 0;
    }
    own_end(m);
    buf_free(&unique);
    return rc;
}

int append_commit(struct append *ap, uint32_t flags, const struct slice *keywords, size_t nkeywords,
    int64_t received, uint32_t *uidvalidity, uint32_t *uid, struct err *e)
{
    struct mailbox *m = ap->m;
    struct message msg = {.size = ap->size, .size_crlf = ap->size + ap->bare, .saved = (int64_t)time(NULL)};
    struct buf name = BUF_INIT(NAME_LEN_MAX + 64);
    int rc = -1;

    msg.received = received ? received : msg.saved;
    if (keyword_flags(m, keywords, nkeywords, &flags, e) < 0)
        return -1;
    msg.flags = flags;
    if ((received && fs_set_mtime(ap->fd, received) < 0) || fs_sync_data(ap->fd) < 0)
        return err_errno(e, "staging file");
    if (incoming_begin(m, 1, &msg.uid, e) < 0)
        return -1;
    rc = bring_in(ap, &msg, &name, e);
    if (rc == 0 && (m->needs_sync = true, mailbox_sync(m, e)) < 0) {
        /* what is not durable is not there */
        fs_unlink(m->cur, buf_str(&name));
        m->cur_stamp = 0;
        rc = -1;
    }
    if (rc == 0) {
        msg.file = slice_dup(buf_slice(&name));
        journal_added(m, &msg);
    }
    numbers_unlock(m);
    if (rc == 0) {
        *uid = msg.uid;
        *uidvalidity = m->meta.uidvalidity;
        LOG(APPEND, NULL, F_STR("mailbox", m->name), F_U64("uid", msg.uid), F_U64("octets", msg.size));
    }
    buf_free(&name);
    return rc;
}
