#include "store/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

#define EASE_AT ((size_t)64 << 10)         /* octets noted without the lock before they are written */
#define REWRITE_FROM ((uint64_t)256 << 10) /* a log may be so long, */
#define REWRITE_SHARE 2                    /* or this part of the base, before it becomes a new base */

/* --- noting --- */

static void note(struct mailbox *m, enum index_what what, const struct message *msg)
{
    if (m->index >= 0)
        index_put(&m->notes, what, msg);
}

void journal_added(struct mailbox *m, struct message *msg)
{
    msg->modseq = numbers_modseq(m);
    note(m, INDEX_ADD, msg);
    if (m->loaded) {
        message_put(m, msg);
        changes_add(m, msg->uid, msg->modseq);
    } else {
        message_free_name(m, msg);
    }
    msg->file = NULL;
}

void journal_changed(struct mailbox *m, struct message *msg)
{
    msg->modseq = numbers_modseq(m);
    note(m, INDEX_NAME, msg);
    changes_add(m, msg->uid, msg->modseq);
}

void journal_renamed(struct mailbox *m, const struct message *msg)
{
    INVARIANT(m->locked > 0);
    note(m, INDEX_NAME, msg);
}

void journal_gone(struct mailbox *m, uint32_t uid)
{
    struct message msg = {.uid = uid, .modseq = numbers_modseq(m)};

    note(m, INDEX_GONE, &msg);
    expunged_add(m, uid, msg.modseq);
}

void journal_facts(struct mailbox *m, const struct message *msg)
{
    note(m, INDEX_FACTS, msg);
}

void journal_claimed(struct mailbox *m, uint32_t uid)
{
    struct message msg = {.uid = uid};

    note(m, INDEX_CLAIMED, &msg);
}

/* --- reading --- */

static void apply_added(struct mailbox *m, const struct index_entry *entry)
{
    struct message msg = entry->msg;

    msg.file = mem_strdup(msg.file);
    m->unnamed += msg.unnamed;
    message_put(m, &msg);
    changes_add(m, msg.uid, msg.modseq);
}

static void apply_name(struct mailbox *m, struct message *msg, const struct index_entry *entry)
{
    message_set_name(m, msg, mem_strdup(entry->msg.file));
    m->unnamed -= msg->unnamed && !entry->msg.unnamed;
    msg->unnamed = msg->unnamed && entry->msg.unnamed;
    msg->flags = entry->msg.flags;
    if (entry->msg.modseq <= msg->modseq)
        return;
    msg->modseq = entry->msg.modseq;
    changes_add(m, msg->uid, msg->modseq);
}

static void apply_facts(struct message *msg, const struct index_entry *entry)
{
    msg->size = entry->msg.size;
    msg->size_crlf = entry->msg.size_crlf;
    msg->received = entry->msg.received;
    msg->saved = entry->msg.saved;
    msg->cache = entry->msg.cache;
}

static void apply_claimed(struct mailbox *m, uint32_t upto)
{
    for (size_t i = m->n; i > 0; i--)
        if (m->msgs[i - 1].uid <= upto)
            m->msgs[i - 1].recent = false;
}

/* False when the log is damaged from some point on; what stands before is applied. */
static bool apply(struct mailbox *m, struct slice log)
{
    struct index_entry entry;
    uint32_t claimed = 0;
    bool gone = false;

    while (index_next(&log, &entry)) {
        struct message *msg = message_find(m, entry.msg.uid);

        if (entry.msg.modseq > m->modseq)
            m->modseq = entry.msg.modseq;
        switch (entry.what) {
        case INDEX_ADD:
            apply_added(m, &entry);
            if (entry.msg.uid >= m->uidnext)
                m->uidnext = (uint64_t)entry.msg.uid + 1;
            break;
        case INDEX_NAME:
            if (msg)
                apply_name(m, msg, &entry);
            break;
        case INDEX_FACTS:
            if (msg)
                apply_facts(msg, &entry);
            break;
        case INDEX_GONE:
            expunged_add(m, entry.msg.uid, entry.msg.modseq);
            if (msg) {
                message_free_name(m, msg);
                gone = true;
            }
            break;
        case INDEX_CLAIMED:
            claimed = entry.msg.uid > claimed ? entry.msg.uid : claimed;
            break;
        }
    }
    if (gone)
        messages_close_gaps(m);
    if (claimed)
        apply_claimed(m, claimed);
    return log.n == 0;
}

/* The rest of a log that we know up to m->log_at. */
static bool read_on(struct mailbox *m, int fd, const struct index_header *h)
{
    struct buf log = BUF_INIT(BUF_OWN);
    bool ok = index_read_log(fd, h, m->log_at, &log) && apply(m, buf_slice(&log));

    /* a letter has its name before a message bears it */
    if (log.n)
        ok = keywords_load(m, NULL) == 0 && ok;
    buf_free(&log);
    return ok;
}

static void warn(const struct mailbox *m, const char *what)
{
    LOG(STORE_ODD, NULL, F_STR("mailbox", m->name), F_STR("file", INDEX_FILE), F_STR("why", what));
}

/* The old file has been replaced by one that goes on where it ended? */
static bool read_rest(struct mailbox *m)
{
    struct index_header old;
    bool ok = m->header.lineage == m->lineage && index_read(m->replaced, &old) && old.has_base &&
              read_on(m, m->replaced, &old);

    m->log_at = index_log_start(&m->header);
    return ok;
}

bool journal_catch_up(struct mailbox *m)
{
    const struct index_header *h = &m->header;
    bool ok = h->has_base && h->lineage == m->lineage;

    if (m->replaced >= 0)
        ok = read_rest(m) && ok;
    ok = ok && (m->log_at == h->log_end || read_on(m, m->index, h));
    m->log_at = h->log_end;
    if (ok && h->cur_stamp) {
        m->cur_stamp = h->cur_stamp;
        m->cur_trusted = h->cur_trusted;
    }
    if (ok)
        return true;
    /* a base that somebody made anew from the names we go on with, a damaged file we replace: look in any
     * case */
    if (h->has_base && h->lineage != m->lineage)
        m->lineage = h->lineage;
    else
        m->rewrite = true;
    if (h->has_base && m->rewrite)
        warn(m, "damaged; it is made anew from the names");
    m->incomplete = true;
    m->cur_stamp = m->fresh_stamp = 0;
    return false;
}

bool journal_is_behind(const struct mailbox *m)
{
    struct index_header h;
    struct stat st;

    if (m->index < 0)
        return false;
    return fstat(m->index, &st) < 0 || st.st_nlink == 0 || !index_read(m->index, &h) ||
           h.log_end != m->log_at || h.modseq > m->modseq || h.uidnext > m->uidnext;
}

bool journal_load(struct mailbox *m)
{
    const struct index_header *h = &m->header;
    struct index_base base;

    INVARIANT(m->locked > 0 && m->n == 0);
    if (!m->header_valid || !h->has_base)
        return false;
    if (!index_read_base(m->index, h, &base)) {
        warn(m, "damaged; it is made anew from the names");
        return false;
    }
    free(m->msgs);
    free(m->expunged);
    buf_free(&m->names);
    m->msgs = base.messages;
    m->n = m->size = base.nmessages;
    m->expunged = base.expunged;
    m->nexpunged = m->expunged_size = base.nexpunged;
    m->names = base.names;
    m->unnamed = 0;
    for (size_t i = 0; i < m->n; i++)
        m->unnamed += m->msgs[i].unnamed;
    m->expunged_from = h->expunged_from;
    m->lineage = h->lineage;
    m->log_at = index_log_start(h);
    /* and what was noted under this very lock, before the array was needed */
    if (!read_on(m, m->index, h) || !apply(m, buf_slice(&m->notes))) {
        warn(m, "its log is damaged; the names are looked at");
        messages_free(m);
        m->nexpunged = 0;
        return false;
    }
    m->log_at = h->log_end;
    return true;
}

/* --- writing --- */

/* Without an index every lock goes on at the ceilings: slower, never wrong. */
static void give_up(struct mailbox *m)
{
    LOG(STORE_ERROR, NULL, F_STR("file", INDEX_FILE), F_U64("errno", errno));
    if (m->index >= 0) {
        index_spoil(m->state, m->index);
        close(m->index);
    }
    m->index = -1;
    buf_free(&m->notes);
}

static bool is_log_long(const struct index_header *h, size_t more)
{
    uint64_t start = index_log_start(h), log = h->log_end - start + more;

    return log > REWRITE_FROM && log > start / REWRITE_SHARE;
}

/* What was just noted is in the base, and in the log as well: those who know the old one read only that. */
static int write_base(struct mailbox *m)
{
    struct index_header *h = &m->header;
    int fd;

    if (m->rewrite || !h->has_base)
        id_random(&m->lineage, sizeof m->lineage);
    h->lineage = m->lineage;
    h->clean = false;
    h->expunged_from = m->expunged_from;
    fd = index_replace(m->state, h, m->msgs, m->n, m->expunged, m->nexpunged);
    if (fd < 0)
        return -1;
    close(m->index);
    m->index = fd;
    m->rewrite = false;
    return m->notes.full ? 0 : index_append(m->index, h, buf_slice(&m->notes), false);
}

static int write_notes(struct mailbox *m)
{
    struct index_header *h = &m->header;
    bool was_clean = h->clean;

    h->clean = false;
    if (!h->has_base) {
        /* nobody has read the names yet: only the numbering is worth telling */
        *h = (struct index_header){.uidvalidity = h->uidvalidity,
            .uidnext = h->uidnext,
            .modseq = h->modseq,
            .log_end = INDEX_HEADER_SIZE};
        return index_write(m->index, h, was_clean);
    }
    return index_append(m->index, h, buf_slice(&m->notes), was_clean);
}

void journal_write(struct mailbox *m)
{
    struct index_header *h = &m->header;
    bool stamps, base;
    int rc;

    INVARIANT(m->locked > 0);
    if (m->gone || m->index < 0) {
        buf_free(&m->notes);
        return;
    }
    stamps = h->cur_stamp != m->cur_stamp || h->new_stamp != m->fresh_stamp ||
             h->cur_trusted != m->cur_trusted || h->new_trusted != m->fresh_trusted;
    if (m->incomplete && (m->rewrite || m->notes.full))
        h->has_base = false;
    base = m->loaded && !m->incomplete &&
           (!h->has_base || m->rewrite || m->notes.full || is_log_long(h, m->notes.n));
    if (!base && m->notes.n == 0 && !stamps && h->uidnext == m->uidnext && h->modseq == m->modseq)
        return;
    h->uidvalidity = m->meta.uidvalidity;
    h->uidnext = m->uidnext;
    h->modseq = m->modseq;
    h->cur_stamp = m->cur_stamp;
    h->new_stamp = m->fresh_stamp;
    h->cur_trusted = m->cur_trusted;
    h->new_trusted = m->fresh_trusted;
    h->has_summary = false;
    m->touched = true;
    rc = base ? write_base(m) : write_notes(m);
    if (rc < 0)
        give_up(m);
    m->header_valid = rc == 0;
    buf_clear(&m->notes);
    if (m->notes.size > EASE_AT)
        buf_free(&m->notes);
    m->log_at = h->log_end;
}

void journal_ease(struct mailbox *m)
{
    if (m->notes.n > EASE_AT && numbers_lock(m, NULL) == 0)
        numbers_unlock(m);
}

static void sum_up(struct mailbox *m)
{
    struct index_header *h = &m->header;
    struct mailbox_status sum = {0};

    for (size_t i = 0; i < m->n; i++) {
        const struct message *msg = &m->msgs[i];

        if (msg->size_crlf == 0)
            return;
        status_add(&sum, msg->flags, msg->recent, msg->size_crlf);
    }
    h->has_summary = true;
    h->messages = sum.messages;
    h->unseen = sum.unseen;
    h->deleted = sum.deleted;
    h->recent = sum.recent;
    h->octets = sum.size;
}

void journal_mark_clean(struct mailbox *m)
{
    struct index_header *h = &m->header;

    INVARIANT(m->locked > 0);
    if (!m->touched || m->index < 0 || !m->header_valid)
        return;
    if (m->loaded && m->cur_stamp && m->cur_trusted)
        sum_up(m);
    if (fs_sync_data(m->index) < 0)
        return;
    h->clean = true;
    if (index_write(m->index, h, true) < 0)
        give_up(m);
}
