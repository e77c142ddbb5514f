/* UIDs for names that have none: into the name by a rename, or, for very many at once, into postamt-adopt
 * first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

#define ADOPT_FILE "postamt-adopt"
#define ADOPT_FROM 257 /* names from which on the list is cheaper than the renames */
#define ADOPT_MAX ((size_t)512 << 20)
#define FLAGS_ROOM 32 /* octets a name must have left for flags that come later */

/* --- postamt-adopt: "postamt-adopt 1 <uidvalidity>\n", then "<uid> <unique part>" NUL, .. --- */

static int compare_unique(const void *a, const void *b)
{
    return slice_cmp(((const struct adopted *)a)->unique, ((const struct adopted *)b)->unique);
}

static void adopt_parse(struct mailbox *m)
{
    struct slice rest = buf_slice(&m->adopt_text), line, word;
    uint64_t v;
    size_t size = 0;

    m->nadopted = 0;
    if (!slice_cut(&rest, '\n', &line) || !slice_starts(line, SLICE("postamt-adopt 1 ")) ||
        !slice_u64(slice_from(line, 16), UINT32_MAX, &v) || v != m->meta.uidvalidity)
        return;
    while (slice_cut(&rest, '\0', &line)) {
        slice_cut(&line, ' ', &word);
        if (!slice_u64(word, UINT32_MAX, &v) || v == 0 || line.n == 0)
            continue;
        if (m->nadopted == size) {
            size = size ? size * 2 : 1024;
            m->adopted = mem_realloc(m->adopted, size, sizeof *m->adopted);
        }
        m->adopted[m->nadopted++] = (struct adopted){.unique = line, .uid = (uint32_t)v};
    }
    if (m->nadopted)
        qsort(m->adopted, m->nadopted, sizeof *m->adopted, compare_unique);
}

int adopt_load(struct mailbox *m, struct err *e)
{
    int64_t stamp = file_stamp(m->dir, ADOPT_FILE);

    if (stamp == m->adopt_stamp)
        return 0;
    buf_clear(&m->adopt_text);
    m->nadopted = 0;
    if (stamp && fs_load(m->dir, ADOPT_FILE, &m->adopt_text, ADOPT_MAX) < 0 && errno != ENOENT)
        return err_errno(e, ADOPT_FILE);
    adopt_parse(m);
    m->adopt_stamp = stamp;
    return 0;
}

uint32_t adopt_find(const struct mailbox *m, struct slice unique)
{
    struct adopted key = {.unique = unique};
    const struct adopted *found =
        m->nadopted ? bsearch(&key, m->adopted, m->nadopted, sizeof key, compare_unique) : NULL;

    return found ? found->uid : 0;
}

/* The names that are still without a UID in the array, and these: durable before anybody is told. */
static int adopt_write(struct mailbox *m, const struct fresh *names, size_t n, uint32_t first, struct err *e)
{
    struct buf text = BUF_INIT(ADOPT_MAX);
    struct name name;
    char staging[32];
    int rc;

    buf_printf(&text, "postamt-adopt 1 %lu\n", (unsigned long)m->meta.uidvalidity);
    for (size_t i = 0; i < m->n; i++)
        if (m->msgs[i].unnamed && name_parse(slice_str(m->msgs[i].file), 0, &name)) {
            buf_printf(&text, "%lu ", (unsigned long)m->msgs[i].uid);
            buf_add(&text, name.unique);
            buf_add_char(&text, '\0');
        }
    for (size_t i = 0; i < n; i++)
        if (name_parse(slice_str(names[i].file), 0, &name)) {
            buf_add_u64(&text, first + i);
            buf_add_char(&text, ' ');
            buf_add(&text, name.unique);
            buf_add_char(&text, '\0');
        }
    staging_name(staging);
    if (text.full)
        rc = err_set(e, ERR_LIMIT, ADOPT_FILE " is too large");
    else if (fs_replace(m->state, staging, m->dir, ADOPT_FILE, buf_slice(&text), 0600, true) < 0)
        rc = err_errno(e, ADOPT_FILE);
    else
        rc = 0;
    m->adopt_stamp = -1; /* the next scan reads it */
    buf_free(&text);
    return rc;
}

/* With the lock held. */
static void adopt_end(struct mailbox *m)
{
    /* the renames are durable before the list goes; who knows the array from the index has not read it yet */
    if (m->unnamed == 0 && adopt_load(m, NULL) == 0 && fs_sync_dir(m->cur) == 0) {
        fs_unlink(m->dir, ADOPT_FILE);
        m->nadopted = 0;
        m->adopt_stamp = 0;
        buf_free(&m->adopt_text);
        free(m->adopted);
        m->adopted = NULL;
    }
    takeover_done(m);
}

bool mailbox_adopt_step(struct mailbox *m, size_t most)
{
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);
    size_t before = m->unnamed;

    if (m->unnamed == 0 || m->gone || numbers_lock(m, NULL) < 0)
        return false;
    own_begin(m);
    if (m->adopt_at >= m->n)
        m->adopt_at = 0;
    for (; m->adopt_at < m->n && most && m->unnamed; m->adopt_at++) {
        struct message *msg = &m->msgs[m->adopt_at];

        if (!msg->unnamed)
            continue;
        most--;
        buf_clear(&to);
        if (!message_name(m, msg, msg->flags, &to))
            continue;
        if (fs_rename(m->cur, msg->file, m->cur, buf_str(&to)) < 0) {
            m->cur_stamp = 0; /* somebody renamed or removed it: look */
            if (errno == ENOENT)
                continue;
            break;
        }
        message_set_name(m, msg, slice_dup(buf_slice(&to)));
        msg->unnamed = false;
        m->unnamed--;
        journal_renamed(m, msg);
    }
    own_end(m);
    if (m->unnamed == 0)
        adopt_end(m);
    numbers_unlock(m);
    buf_free(&to);
    /* names that cannot be given are no reason to go round and round */
    return m->unnamed > 0 && m->cur_stamp != 0 && (m->unnamed < before || m->adopt_at < m->n);
}

/* --- names --- */

bool message_name(const struct mailbox *m, const struct message *msg, uint32_t flags, struct buf *out)
{
    struct buf plain = BUF_INIT(64);
    struct id id;
    struct name name;
    bool ok;

    if (!name_parse(slice_str(msg->file), m->meta.uidvalidity, &name))
        return false;
    ok = name_write(
        out, name.base, msg->size, msg->size_crlf, msg->saved, msg->uid, m->meta.uidvalidity, flags);
    if (ok && (name.uid || out->n + FLAGS_ROOM <= NAME_LEN_MAX))
        return true;
    /* no room for what we must say in it: a unique part of ours instead */
    buf_clear(out);
    id = id_new();
    buf_printf(&plain, "%lld.%s", (long long)time(NULL), id.text);
    ok = name_write(
        out, buf_slice(&plain), msg->size, msg->size_crlf, msg->saved, msg->uid, m->meta.uidvalidity, flags);
    buf_free(&plain);
    return ok;
}

/* Oldest first, as the number says that Maildir names begin with. */
static int compare_fresh(const void *pa, const void *pb)
{
    const struct fresh *a = pa, *b = pb;

    if (a->in_new != b->in_new)
        return a->in_new ? 1 : -1;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    return strcmp(a->file, b->file);
}

static int64_t save_date(const struct fresh *f, const struct name *name)
{
    int64_t now = (int64_t)time(NULL);

    if (f->in_new && f->order > 0 && (int64_t)f->order <= now)
        return (int64_t)f->order; /* when it was delivered */
    return f->in_new || name->has_foreign_uid ? now : name->saved;
}

/* Nothing comes of it when the file is not there any more: somebody was faster. */
static void assign_one(struct mailbox *m, struct fresh *f, uint32_t uid, bool named)
{
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);
    struct message msg = {.uid = uid, .file = f->file, .recent = f->in_new};
    struct name name;

    if (!name_parse(slice_str(f->file), m->meta.uidvalidity, &name))
        goto out;
    msg.flags = keywords_flags(m, name.flags);
    msg.size = name.size;
    msg.size_crlf = name.size_crlf;
    msg.saved = save_date(f, &name);
    msg.unnamed = !named;
    if (named) {
        if (!message_name(m, &msg, msg.flags, &to))
            goto out;
        if (fs_rename(f->in_new ? m->fresh : m->cur, f->file, m->cur, buf_str(&to)) < 0) {
            if (errno != ENOENT)
                LOG(STORE_ERROR, NULL, F_STR("mailbox", m->name), F_STR("what", "rename"),
                    F_U64("errno", errno));
            m->cur_stamp = 0;
            goto out;
        }
        msg.file = slice_dup(buf_slice(&to));
    } else {
        msg.file = f->file;
        f->file = NULL;
        m->unnamed++;
    }
    msg.modseq = m->modseq;
    if (m->loading)
        message_put(m, &msg); /* nobody has seen another state of this mailbox */
    else
        journal_added(m, &msg);
out:
    buf_free(&to);
}

/* All begin anew: the names in cur/ bear another UIDVALIDITY now and are met as new ones. */
int mailbox_renumber(struct mailbox *m, struct err *e)
{
    if (!m->loaded && mailbox_load(m, e) < 0)
        return -1;
    if (numbers_restart(m, e) < 0)
        return -1;
    mailbox_text_drop(m);
    messages_free(m);
    m->nadopted = m->nexpunged = m->nchanges = 0;
    m->adopt_stamp = -1;
    m->old_bound = 0;
    m->expunged_from = m->changes_from = numbers_modseq(m);
    m->cur_stamp = 0;
    return scan_cur(m, e);
}

static int assign_all(struct mailbox *m, struct fresh *names, size_t n, struct err *e)
{
    size_t in_cur = 0;
    uint32_t first;
    bool adopt, renamed = false;
    const char *before = "";

    while (in_cur < n && !names[in_cur].in_new)
        in_cur++;
    adopt = in_cur >= ADOPT_FROM;
    if (numbers_take(m, (uint32_t)n, &first, e) < 0)
        return -1;
    if (adopt && adopt_write(m, names, in_cur, first, e) < 0)
        return -1;
    own_begin(m);
    for (size_t i = 0; i < n; i++) {
        struct name a, b;
        bool named = !adopt || i >= in_cur;

        /* two files with one unique part: the list could not tell them apart */
        if (!named && i > 0 && names[i].order == names[i - 1].order &&
            name_parse(slice_str(names[i].file), 0, &a) && name_parse(slice_str(before), 0, &b) &&
            slice_eq(a.unique, b.unique))
            named = true;
        renamed |= named;
        before = names[i].file; /* lives on, here or in the array */
        assign_one(m, &names[i], (uint32_t)(first + i), named);
    }
    if (renamed)
        own_end(m);
    return 0;
}

int assign_uids(struct mailbox *m, struct fresh *names, size_t n, struct err *e)
{
    size_t from = 0;
    int rc = 0;

    INVARIANT(m->locked > 0);
    qsort(names, n, sizeof *names, compare_fresh);
    if (n >= UID_END)
        rc = err_set(e, ERR_LIMIT, "%zu names", n);
    else if (m->uidnext + n > UID_END) {
        rc = mailbox_renumber(m, e);
        while (from < n && !names[from].in_new)
            from++; /* they have theirs now */
    }
    if (rc == 0 && from < n)
        rc = assign_all(m, names + from, n - from, e);
    for (size_t i = 0; i < n; i++)
        free(names[i].file);
    return rc;
}
