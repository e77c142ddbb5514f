/* UIDs and MODSEQs: given out under the mailbox' lock, agreed on through the index, bounded by durable
 * ceilings. */
#include <errno.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

/* Another process may have raised the ceilings, or numbered the mailbox anew. */
static int reload_meta(struct mailbox *m, struct err *e)
{
    struct meta meta;
    int rc = meta_load(m->dir, &meta, e);

    if (rc < 0)
        return -1;
    if (rc == 0 || meta.uidvalidity != m->meta.uidvalidity) {
        m->gone = true;
        return err_set(e, ERR_UNAVAILABLE, "the mailbox was deleted or numbered anew");
    }
    m->meta = meta;
    return 0;
}

/* The ceilings must lie above these numbers before anybody hears of them. */
static int raise_ceilings(struct mailbox *m, uint64_t uidnext, uint64_t modseq, struct err *e)
{
    if (uidnext <= m->meta.uidnext && modseq < m->meta.modseq)
        return 0;
    if (reload_meta(m, e) < 0)
        return -1;
    if (uidnext <= m->meta.uidnext && modseq < m->meta.modseq)
        return 0;
    if (uidnext > m->meta.uidnext)
        m->meta.uidnext = uidnext + META_BLOCK < UID_END ? uidnext + META_BLOCK : UID_END;
    if (modseq >= m->meta.modseq)
        m->meta.modseq = modseq + META_MODSEQ_BLOCK;
    return meta_store(m->state, m->dir, &m->meta, e);
}

/*
 * Without an index numbers go on at the ceilings, but only if there is none for anybody: who comes later with
 * the file that we could not open would go on below ours.
 */
static int open_index(struct mailbox *m, struct err *e)
{
    struct stat st;
    int saved;

    m->index = index_open(m->state);
    saved = errno;
    if (m->index >= 0 || (fs_stat(m->state, INDEX_FILE, &st) == 0 ? !S_ISREG(st.st_mode) : errno == ENOENT))
        return 0;
    errno = saved;
    return err_errno(e, INDEX_FILE);
}

/* Somebody wrote a new base, or removed the file: ours is a file without a name. */
static int follow_index(struct mailbox *m, struct err *e)
{
    struct stat st;

    if (m->index >= 0) {
        if (fstat(m->index, &st) == 0 && st.st_nlink > 0)
            return 0;
        m->replaced = m->index;
    }
    return open_index(m, e);
}

/* What the index says now; without a valid one the ceilings, which nobody went beyond. */
static int read_header(struct mailbox *m, struct err *e)
{
    struct index_header *h = &m->header;

    m->header_valid = index_read(m->index, h) && h->uidvalidity == m->meta.uidvalidity;
    if (m->header_valid)
        return 0;
    if (reload_meta(m, e) < 0)
        return -1;
    *h = (struct index_header){.uidvalidity = m->meta.uidvalidity,
        .uidnext = m->meta.uidnext,
        .modseq = m->meta.modseq,
        .log_end = INDEX_HEADER_SIZE};
    return 0;
}

static int take_lock(struct mailbox *m, bool wait, struct err *e)
{
    if ((wait ? fs_lock(m->dir, true) : fs_try_lock(m->dir)) < 0)
        return wait || errno != EWOULDBLOCK ? err_errno(e, "lock of the mailbox")
                                            : err_set(e, ERR_UNAVAILABLE, "another program is at work in it");
    m->locked = 1;
    m->account->locks++;
    return 0;
}

static void drop_lock(struct mailbox *m)
{
    m->locked = 0;
    m->account->locks--;
    if (m->replaced >= 0)
        close(m->replaced);
    m->replaced = -1;
    fs_unlock(m->dir);
}

static int lock(struct mailbox *m, bool wait, struct err *e)
{
    if (m->locked) {
        m->locked++;
        return 0;
    }
    if (m->gone)
        return err_set(e, ERR_NO_MAILBOX, "deleted meanwhile");
    if (take_lock(m, wait, e) < 0)
        return -1;
    if (follow_index(m, e) < 0 || read_header(m, e) < 0) {
        drop_lock(m);
        return -1;
    }
    if (m->header.uidnext > m->uidnext)
        m->uidnext = m->header.uidnext;
    if (m->header.modseq > m->modseq)
        m->modseq = m->header.modseq;
    if (!m->loaded) {
        m->cur_stamp = m->header.cur_stamp;
        m->fresh_stamp = m->header.new_stamp;
        m->cur_trusted = m->header.cur_trusted;
        m->fresh_trusted = m->header.new_trusted;
    } else if (!m->loading) {
        journal_catch_up(m);
    }
    return 0;
}

int numbers_lock(struct mailbox *m, struct err *e)
{
    /* a second mailbox might be locked the other way round by somebody else: no waiting then */
    return lock(m, m->account->locks == 0, e);
}

int numbers_lock_two(struct mailbox *a, struct mailbox *b, struct err *e)
{
    struct stat first, second;

    INVARIANT(a->account->locks == 0);
    /* whoever takes two takes them in this order, so nobody waits for one who waits for him */
    if (fstat(a->dir, &first) < 0 || fstat(b->dir, &second) < 0)
        return err_errno(e, "mailbox folder");
    if (first.st_ino > second.st_ino) {
        struct mailbox *swap = a;

        a = b;
        b = swap;
    }
    if (lock(a, true, e) < 0)
        return -1;
    if (lock(b, true, e) == 0)
        return 0;
    numbers_unlock(a);
    return -1;
}

void numbers_unlock(struct mailbox *m)
{
    struct err e = {0};

    INVARIANT(m->locked > 0);
    if (m->locked > 1) {
        m->locked--;
        return;
    }
    if (!m->gone && m->modseq != m->header.modseq && raise_ceilings(m, m->uidnext, m->modseq, &e) < 0)
        LOG(STORE_ERROR, NULL, F_STR("mailbox", m->name), F_STR("what", "ceilings"), F_STR("why", e.detail));
    journal_write(m);
    drop_lock(m);
}

/* uidnext is told to the others before a name bears a number below it. */
static int publish(struct mailbox *m, uint64_t uidnext, struct err *e)
{
    struct index_header *h = &m->header;
    bool was_clean = h->clean;

    INVARIANT(m->locked > 0);
    if (raise_ceilings(m, uidnext, m->modseq, e) < 0)
        return -1;
    m->uidnext = uidnext;
    /* without a valid header the ceiling, just raised, is what a dead process leaves behind */
    if (m->index < 0 || !m->header_valid)
        return 0;
    h->uidnext = uidnext;
    h->clean = false;
    if (index_write(m->index, h, was_clean) < 0) {
        index_spoil(m->state, m->index);
        m->header_valid = false;
    }
    return 0;
}

int numbers_take(struct mailbox *m, uint32_t n, uint32_t *first, struct err *e)
{
    if (m->uidnext + n > UID_END)
        return err_set(e, ERR_LIMIT, "the UIDs are used up");
    *first = (uint32_t)m->uidnext;
    return publish(m, m->uidnext + n, e);
}

int numbers_saw(struct mailbox *m, uint32_t uid, struct err *e)
{
    return uid < m->uidnext ? 0 : publish(m, (uint64_t)uid + 1, e);
}

uint64_t numbers_modseq(struct mailbox *m)
{
    INVARIANT(m->locked > 0);
    return ++m->modseq;
}

int numbers_open(struct mailbox *m, struct err *e)
{
    int rc;

    if (take_lock(m, m->account->locks == 0, e) < 0)
        return -1;
    rc = meta_load(m->dir, &m->meta, e);
    /* a folder of another server's, or one that was made before that server's mail came into it */
    if (rc == 0 || (rc > 0 && m->meta.uidnext == 1))
        rc = takeover_numbers(m, rc > 0, e);
    if (rc >= 0)
        rc = open_index(m, e);
    if (rc >= 0)
        rc = read_header(m, e);
    m->known = m->header_valid;
    m->uidnext = m->header.uidnext;
    m->modseq = m->header.modseq;
    if (rc >= 0)
        rc = takeover_look(m, e);
    drop_lock(m);
    return rc < 0 ? -1 : 0;
}

void numbers_close(struct mailbox *m)
{
    if (m->gone || m->index < 0 || (!m->touched && m->notes.n == 0) || numbers_lock(m, NULL) < 0)
        return;
    /* what only hangs on a stamp as young as our own last change is made sure of now, in peace */
    if (m->loaded && m->cur_stamp && !m->cur_trusted && clock_ns(CLOCK_REALTIME) - m->cur_stamp > TRUST_AGE)
        (void)scan_cur(m, NULL);
    journal_write(m);
    journal_mark_clean(m);
    numbers_unlock(m);
}

int numbers_restart(struct mailbox *m, struct err *e)
{
    struct meta meta = m->meta;
    uint32_t uidvalidity;

    INVARIANT(m->locked > 0);
    do
        if (account_new_uidvalidity(m->account, &uidvalidity, e) < 0)
            return -1;
    while ((uidvalidity & 0xfffff) == (m->meta.uidvalidity & 0xfffff)); /* the names must tell them apart */
    meta.uidvalidity = uidvalidity;
    meta.uidnext = 1 + META_BLOCK;
    if (meta_store(m->state, m->dir, &meta, e) < 0)
        return -1;
    m->meta = meta;
    m->uidnext = 1;
    /* the index is of the old numbering: who meets it before ours is written goes on at the new ceiling */
    m->header = (struct index_header){
        .uidvalidity = uidvalidity, .uidnext = 1, .modseq = m->modseq, .log_end = INDEX_HEADER_SIZE};
    m->header_valid = false;
    m->rewrite = true;
    buf_clear(&m->notes);
    LOG(STORE_ODD, NULL, F_STR("mailbox", m->name),
        F_STR("why", "UIDs were used up; a new UIDVALIDITY begins"));
    return 0;
}
