/*
 * postamt-uidl: POP3 ids (RFC 1939 7) of messages that came from another server under another id than the one
 * pop3d makes of UID and UIDVALIDITY: "postamt-uidl 1", then "<uid> <id>" by UID. Written once, at the
 * take-over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

#define UIDL_FILE "postamt-uidl"
#define UIDL_MAX ((size_t)256 << 20)
#define UIDL_HEADER "postamt-uidl 1"

static void parse(struct mailbox *m)
{
    struct slice rest = buf_slice(&m->uidl_text), line, word;
    size_t size = 0;
    uint64_t uid;

    if (!slice_cut(&rest, '\n', &line) || !slice_eq(line, SLICE(UIDL_HEADER)))
        return;
    while (slice_cut(&rest, '\n', &line)) {
        slice_cut(&line, ' ', &word);
        if (!slice_u64(word, UINT32_MAX, &uid) || line.n == 0 || line.n > FOREIGN_UIDL_MAX ||
            (m->nuidls && uid <= m->uidls[m->nuidls - 1].uid))
            continue;
        if (m->nuidls == size) {
            size = size ? size * 2 : 256;
            m->uidls = mem_realloc(m->uidls, size, sizeof *m->uidls);
        }
        m->uidls[m->nuidls++] = (struct uidl){.uid = (uint32_t)uid, .id = line};
    }
}

void uidl_free(struct mailbox *m)
{
    free(m->uidls);
    m->uidls = NULL;
    m->nuidls = 0;
    buf_free(&m->uidl_text);
}

int uidl_load(struct mailbox *m, struct err *e)
{
    uidl_free(m);
    m->uidl_text = BUF_INIT(UIDL_MAX + 2);
    if (fs_load(m->dir, UIDL_FILE, &m->uidl_text, UIDL_MAX) < 0) {
        buf_clear(&m->uidl_text);
        return errno == ENOENT ? 0 : err_errno(e, UIDL_FILE);
    }
    parse(m);
    return 0;
}

struct slice mailbox_uidl(const struct mailbox *m, uint32_t uid)
{
    size_t low = 0, high = m->nuidls;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->uidls[mid].uid < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return low < m->nuidls && m->uidls[low].uid == uid ? m->uidls[low].id : SLICE("");
}

/* What pop3d would make of it anyway. */
static bool is_default(const struct mailbox *m, uint32_t uid, struct slice id)
{
    struct buf own = BUF_INIT(32);
    bool same;

    buf_printf(&own, "%08lx%08lx", (unsigned long)uid, (unsigned long)m->meta.uidvalidity);
    same = slice_eq(buf_slice(&own), id);
    buf_free(&own);
    return same;
}

int uidl_take(struct mailbox *m, struct err *e)
{
    struct buf text = BUF_INIT(UIDL_MAX);
    char staging[32];
    size_t fresh = 0;
    int rc = 0;

    buf_add(&text, SLICE(UIDL_HEADER "\n"));
    for (size_t i = 0; i < m->n; i++) {
        struct message *msg = &m->msgs[i];
        const struct foreign_entry *entry = NULL;
        struct slice id = mailbox_uidl(m, msg->uid);
        struct name name;

        if (name_parse(slice_str(msg->file), m->meta.uidvalidity, &name))
            entry = foreign_find(&m->foreign, name.unique);
        /* of a list under another UIDVALIDITY only ids that stand in it as they are */
        if (entry && entry->uidl.n && !slice_eq(entry->uidl, id) && !is_default(m, msg->uid, entry->uidl)) {
            id = entry->uidl;
            fresh++;
        }
        if (id.n == 0)
            continue;
        buf_add_u64(&text, msg->uid);
        buf_add_char(&text, ' ');
        buf_add(&text, id);
        buf_add_char(&text, '\n');
    }
    staging_name(staging);
    if (fresh && text.full)
        rc = err_set(e, ERR_LIMIT, UIDL_FILE " is too large");
    else if (fresh && fs_replace(m->state, staging, m->dir, UIDL_FILE, buf_slice(&text), 0600, true) < 0)
        rc = err_errno(e, UIDL_FILE);
    buf_free(&text);
    return rc < 0 || !fresh ? rc : uidl_load(m, e);
}
