/* The messages of a loaded mailbox in memory, and what changed last. */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "store/mailbox_priv.h"

#define CHANGES_MAX 4096
#define HISTORY_MAX 65536

size_t mailbox_lower_bound(const struct mailbox *m, uint32_t uid)
{
    size_t low = 0, high = m->n;

    /* mostly one asks for what is new */
    if (m->n == 0 || m->uids[m->n - 1] < uid)
        return m->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->uids[mid] < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct message *message_find(struct mailbox *m, uint32_t uid)
{
    size_t i = mailbox_lower_bound(m, uid);

    return i < m->n && m->uids[i] == uid ? &m->msgs[i] : NULL;
}

const struct message *mailbox_by_uid(const struct mailbox *m, uint32_t uid)
{
    size_t i = mailbox_lower_bound(m, uid);

    return i < m->n && m->uids[i] == uid ? &m->msgs[i] : NULL;
}

/* Half of a full list goes at once, so that an entry costs little. */
void changes_add(struct mailbox *m, uint32_t uid, uint64_t modseq)
{
    if (m->nchanges == CHANGES_MAX) {
        size_t half = CHANGES_MAX / 2;

        m->changes_from = m->changes[half - 1].modseq;
        memmove(m->changes, m->changes + half, half * sizeof *m->changes);
        m->nchanges = half;
    }
    if (m->nchanges == m->changes_size) {
        m->changes_size = m->changes_size ? m->changes_size * 2 : 64;
        m->changes = mem_realloc(m->changes, m->changes_size, sizeof *m->changes);
    }
    m->changes[m->nchanges++] = (struct change){modseq, uid};
}

static bool is_pooled(const struct mailbox *m, const char *name)
{
    return m->names.p && name >= m->names.p && name < m->names.p + m->names.n;
}

void message_free_name(struct mailbox *m, struct message *msg)
{
    if (!is_pooled(m, msg->file))
        free(msg->file);
    msg->file = NULL;
}

void message_set_name(struct mailbox *m, struct message *msg, char *name)
{
    message_free_name(m, msg);
    msg->file = name;
}

struct message *message_put(struct mailbox *m, const struct message *msg)
{
    size_t at = mailbox_lower_bound(m, msg->uid);
    struct message *to;

    if (msg->recent && msg->uid < m->recent_from)
        m->recent_from = msg->uid;
    if (at < m->n && m->uids[at] == msg->uid) {
        to = &m->msgs[at];
        message_free_name(m, to);
        *to = *msg;
        return to;
    }
    if (m->n == m->size) {
        m->size = m->size ? m->size * 2 : 64;
        m->msgs = mem_realloc(m->msgs, m->size, sizeof *m->msgs);
        m->uids = mem_realloc(m->uids, m->size, sizeof *m->uids);
    }
    to = &m->msgs[at];
    /* nearly always nothing: UIDs grow */
    memmove(to + 1, to, (m->n - at) * sizeof *to);
    memmove(m->uids + at + 1, m->uids + at, (m->n - at) * sizeof *m->uids);
    *to = *msg;
    m->uids[at] = msg->uid;
    m->n++;
    return to;
}

void expunged_add(struct mailbox *m, uint32_t uid, uint64_t modseq)
{
    /* a log may repeat what its base has */
    if (m->nexpunged && m->expunged[m->nexpunged - 1].modseq >= modseq)
        return;
    if (m->nexpunged == HISTORY_MAX) {
        size_t half = HISTORY_MAX / 2;

        /* what is forgotten must never be taken for unknown */
        for (size_t i = 0; i < half; i++)
            if (m->expunged[i].uid >= m->old_bound)
                m->old_bound = (uint64_t)m->expunged[i].uid + 1;
        m->expunged_from = m->expunged[half - 1].modseq;
        memmove(m->expunged, m->expunged + half, half * sizeof *m->expunged);
        m->nexpunged = half;
    }
    if (m->nexpunged == m->expunged_size) {
        m->expunged_size = m->expunged_size ? m->expunged_size * 2 : 64;
        m->expunged = mem_realloc(m->expunged, m->expunged_size, sizeof *m->expunged);
    }
    m->expunged[m->nexpunged++] = (struct mailbox_expunged){uid, modseq};
}

void messages_close_gaps(struct mailbox *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (m->msgs[i].file) {
            if (kept != i)
                m->msgs[kept] = m->msgs[i];
            m->uids[kept++] = m->msgs[i].uid;
            continue;
        }
        m->unnamed -= m->msgs[i].unnamed;
        if (m->text_uid == m->msgs[i].uid)
            mailbox_text_drop(m);
    }
    m->n = kept;
}

void messages_compact(struct mailbox *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (!m->msgs[i].file)
            journal_gone(m, m->msgs[i].uid);
    messages_close_gaps(m);
}

void messages_free(struct mailbox *m)
{
    for (size_t i = 0; i < m->n; i++)
        message_free_name(m, &m->msgs[i]);
    m->n = m->unnamed = 0;
    m->recent_from = UID_END;
    buf_free(&m->names);
}

size_t mailbox_expunged_since(
    const struct mailbox *m, uint64_t since, const struct mailbox_expunged **out, bool *complete)
{
    size_t low = 0, high = m->nexpunged;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->expunged[mid].modseq <= since)
            low = mid + 1;
        else
            high = mid;
    }
    *complete = since >= m->expunged_from;
    *out = m->expunged + low;
    return m->nexpunged - low;
}

size_t mailbox_changed_since(const struct mailbox *m, uint64_t since, size_t i, uint32_t *uid, bool *complete)
{
    size_t low = 0, high = m->nchanges;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->changes[mid].modseq <= since)
            low = mid + 1;
        else
            high = mid;
    }
    *complete = since >= m->changes_from;
    if (i < m->nchanges - low)
        *uid = m->changes[low + i].uid;
    return m->nchanges - low;
}
