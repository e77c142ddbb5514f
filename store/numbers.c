/* UIDs and MODSEQs: given out under the mailbox' lock, agreed on through the index, bounded by durable
 * ceilings. */
#include <errno.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

#define MODSEQ_BLOCK 256 /* reserved at a time in the index, so that a flag change takes no lock */

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
    /* both at once: the file is written anyway; but 1 says that no UID was ever given out (takeover_numbers)
     */
    if (uidnext > 1 && uidnext + META_BLOCK > m->meta.uidnext)
        m->meta.uidnext = uidnext + META_BLOCK < UID_END ? uidnext + META_BLOCK : UID_END;
    if (modseq + META_BLOCK > m->meta.modseq)
        m->meta.modseq = modseq + META_BLOCK;
    return meta_store(m->state, m->dir, &m->meta, e);
}

/* What the index says now; without a valid one the ceilings, which nobody went beyond. */
static int read_header(struct mailbox *m, struct index_header *h, bool *valid, struct err *e)
{
    *valid = index_read(m->index, h);
    if (*valid && h->uidvalidity == m->meta.uidvalidity)
        return 0;
    *valid = false;
    if (reload_meta(m, e) < 0)
        return -1;
    *h = (struct index_header){
        .uidvalidity = m->meta.uidvalidity, .uidnext = m->meta.uidnext, .modseq = m->meta.modseq};
    return 0;
}

/* Without an index every lock goes on at the ceilings: slower, never wrong. */
static void write_header(struct mailbox *m, struct index_header *h)
{
    bool was_clean = h->clean;

    h->clean = false;
    if (m->index < 0 || index_write(m->index, h, was_clean) == 0)
        return;
    LOG(STORE_ERROR, NULL, F_STR("file", INDEX_FILE), F_U64("errno", errno));
    index_spoil(m->state, m->index);
    close(m->index);
    m->index = -1;
}

int numbers_lock(struct mailbox *m, bool *others, struct err *e)
{
    struct index_header h;
    bool valid;

    *others = false;
    if (m->locked++)
        return 0;
    if (fs_lock(m->dir, true) < 0) {
        m->locked--;
        return err_errno(e, "lock of the mailbox");
    }
    if (read_header(m, &h, &valid, e) < 0) {
        numbers_unlock(m);
        return -1;
    }
    *others = h.uidnext > m->uidnext;
    if (*others)
        m->uidnext = h.uidnext;
    return 0;
}

void numbers_unlock(struct mailbox *m)
{
    INVARIANT(m->locked > 0);
    if (--m->locked == 0)
        fs_unlock(m->dir);
}

/* uidnext is told to the others before a name bears a number below it. */
static int publish(struct mailbox *m, uint64_t uidnext, uint64_t modseq, struct err *e)
{
    struct index_header h;
    bool valid;

    INVARIANT(m->locked > 0);
    if (raise_ceilings(m, uidnext, modseq, e) < 0 || read_header(m, &h, &valid, e) < 0)
        return -1;
    if (valid || uidnext > h.uidnext)
        h.uidnext = h.uidnext > uidnext ? h.uidnext : uidnext;
    else
        h.uidnext = uidnext; /* the header that was not valid stood for the ceiling that we just raised */
    if (h.modseq < modseq || !valid)
        h.modseq = modseq;
    h.cur_stamp = h.new_stamp = 0;
    write_header(m, &h);
    m->uidnext = uidnext > m->uidnext ? uidnext : m->uidnext;
    return 0;
}

int numbers_take(struct mailbox *m, uint32_t n, uint32_t *first, struct err *e)
{
    uint64_t modseq = m->modseq > m->modseq_reserved ? m->modseq : m->modseq_reserved;

    if (m->uidnext + n > UID_END)
        return err_set(e, ERR_LIMIT, "the UIDs are used up");
    *first = (uint32_t)m->uidnext;
    return publish(m, m->uidnext + n, modseq, e);
}

int numbers_saw(struct mailbox *m, uint32_t uid, struct err *e)
{
    uint64_t modseq = m->modseq > m->modseq_reserved ? m->modseq : m->modseq_reserved;

    return uid < m->uidnext ? 0 : publish(m, (uint64_t)uid + 1, modseq, e);
}

uint64_t numbers_modseq(struct mailbox *m)
{
    struct index_header h;
    struct err e = {0};
    bool valid, others;

    if (m->modseq < m->modseq_reserved)
        return ++m->modseq;
    /* a block of our own, above everybody's */
    if (numbers_lock(m, &others, &e) == 0) {
        if (others)
            m->cur_stamp = 0; /* what they brought is not in the array yet */
        if (read_header(m, &h, &valid, &e) == 0) {
            if (h.modseq > m->modseq)
                m->modseq = h.modseq;
            if (raise_ceilings(m, m->uidnext, m->modseq + MODSEQ_BLOCK, &e) == 0) {
                h.modseq = m->modseq + MODSEQ_BLOCK;
                h.cur_stamp = h.new_stamp = 0;
                write_header(m, &h);
                m->modseq_reserved = h.modseq;
            }
        }
        numbers_unlock(m);
    }
    if (e.code != ERR_OK)
        LOG(STORE_ERROR, NULL, F_STR("what", "modseq"), F_STR("why", e.detail));
    return ++m->modseq;
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

int numbers_open(struct mailbox *m, struct err *e)
{
    struct index_header h = {0};
    int rc = meta_load(m->dir, &m->meta, e);

    if (rc < 0)
        return -1;
    if (fs_lock(m->dir, true) < 0)
        return err_errno(e, "lock of the mailbox");
    m->locked = 1;
    rc = meta_load(m->dir, &m->meta, e); /* two processes may meet a foreign folder at once */
    /* a folder of another server's, or one that was made before that server's mail came into it */
    if (rc == 0 || (rc > 0 && m->meta.uidnext == 1))
        rc = takeover_numbers(m, rc > 0, e);
    if (rc >= 0)
        rc = open_index(m, e);
    if (rc >= 0)
        rc = read_header(m, &h, &m->known, e);
    if (rc >= 0) {
        m->uidnext = h.uidnext;
        m->modseq = m->modseq_reserved = h.modseq;
        m->cur_stamp = h.cur_stamp;
        m->fresh_stamp = h.new_stamp;
        rc = takeover_look(m, e);
    }
    numbers_unlock(m);
    return rc < 0 ? -1 : 0;
}

void numbers_close(struct mailbox *m)
{
    struct index_header h;
    bool valid, others;
    bool exact = m->loaded && m->cur_trusted && m->fresh_trusted && m->unnamed == 0;

    if (m->gone || m->index < 0 || !m->loaded || numbers_lock(m, &others, NULL) < 0)
        return;
    if (read_header(m, &h, &valid, NULL) == 0 && valid) {
        int64_t cur = exact && !others ? m->cur_stamp : 0, fresh = exact && !others ? m->fresh_stamp : 0;
        uint64_t modseq = h.modseq == m->modseq_reserved ? m->modseq : h.modseq;

        if (h.cur_stamp != cur || h.new_stamp != fresh || h.modseq != modseq) {
            h.cur_stamp = cur;
            h.new_stamp = fresh;
            h.modseq = modseq;
            write_header(m, &h);
        }
    }
    numbers_unlock(m);
}

int numbers_restart(struct mailbox *m, struct err *e)
{
    struct index_header h = {0};
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
    h.uidvalidity = uidvalidity;
    h.uidnext = 1;
    h.modseq = m->modseq > m->modseq_reserved ? m->modseq : m->modseq_reserved;
    write_header(m, &h);
    LOG(STORE_ODD, NULL, F_STR("mailbox", m->name),
        F_STR("why", "UIDs were used up; a new UIDVALIDITY begins"));
    return 0;
}
