/*
 * Coming from another server: the first look at a folder that has no postamt-mailbox takes UIDVALIDITY and
 * UIDs of its list; names without U= are looked up in the list as in postamt-adopt, for it is as durable.
 * When all names have their U= the list has served: its stamp goes into postamt-mailbox, and it is not read
 * again until it changes (the other server was here once more).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

#define KEYWORDS_MAX ((size_t)256 << 20)

static void said(const struct mailbox *m, const char *what, const struct err *e)
{
    LOG(STORE_ERROR, NULL, F_STR("mailbox", m->name), F_STR("what", what), F_STR("why", e->detail));
}

static bool has_served(const struct mailbox *m, uint64_t stamp)
{
    return stamp == 0 || stamp == m->meta.list;
}

static int load(struct mailbox *m, struct err *e)
{
    uint64_t stamp = foreign_stamp(m->dir);

    if (stamp == m->foreign_stamp)
        return 0;
    foreign_free(&m->foreign);
    m->foreign_stamp = 0;
    if (!has_served(m, stamp) && foreign_load(m->dir, &m->foreign, e) < 0)
        return -1;
    m->foreign_stamp = stamp;
    return 0;
}

int takeover_numbers(struct mailbox *m, bool known, struct err *e)
{
    struct meta meta = m->meta;
    uint32_t uidvalidity = 0;

    INVARIANT(m->locked > 0);
    if (load(m, e) < 0)
        return -1;
    uidvalidity = m->foreign.uidvalidity;
    if (known && (uidvalidity == 0 || uidvalidity == meta.uidvalidity))
        return 0;
    if (uidvalidity ? account_saw_uidvalidity(m->account, uidvalidity, e) < 0
                    : account_new_uidvalidity(m->account, &uidvalidity, e) < 0)
        return -1;
    if (!known)
        meta_init(&meta, uidvalidity);
    meta.uidvalidity = uidvalidity;
    if (m->foreign.uidvalidity) {
        meta.uidnext = m->foreign.uidnext;
        LOG(TAKEOVER, NULL, F_STR("mailbox", m->name), F_U64("uidvalidity", uidvalidity),
            F_U64("uidnext", meta.uidnext), F_U64("messages", m->foreign.n),
            F_STR("from", m->foreign.courier ? "Courier" : "Dovecot"));
    }
    if (meta_store(m->state, m->dir, &meta, e) < 0)
        return -1;
    m->meta = meta;
    return 0;
}

int takeover_look(struct mailbox *m, struct err *e)
{
    int rc = 0;

    if (load(m, e) < 0)
        return -1;
    if (m->foreign.uidvalidity != m->meta.uidvalidity || m->foreign.uidnext <= m->uidnext)
        return 0;
    if (numbers_lock(m, e) < 0)
        return -1;
    if (m->foreign.uidnext > m->uidnext)
        rc = numbers_saw(m, (uint32_t)(m->foreign.uidnext - 1), e);
    numbers_unlock(m);
    return rc;
}

uint32_t takeover_find(const struct mailbox *m, struct slice unique)
{
    const struct foreign_entry *found = NULL;

    if (m->foreign.n && m->foreign.uidvalidity == m->meta.uidvalidity)
        found = foreign_find(&m->foreign, unique);
    return found ? found->uid : 0;
}

int takeover_fetch_new(struct mailbox *m, struct err *e)
{
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);
    struct name name;
    struct dirent *d;
    size_t odd = m->odd;
    DIR *list;

    if (takeover_look(m, e) < 0)
        return -1;
    list = m->foreign.n ? fs_list(m->fresh) : NULL;
    while (list && (d = readdir(list))) {
        if (!scan_is_message(m, m->fresh, d, &name, &odd) || name.uid || takeover_find(m, name.unique) == 0)
            continue;
        buf_clear(&to);
        if (name_write_flags(&to, name.base, name.flags))
            (void)fs_rename_new(m->fresh, d->d_name, m->cur, buf_str(&to)); /* failed: it is a new one */
    }
    if (list)
        closedir(list);
    buf_free(&to);
    return 0;
}

/* --- Courier's keywords --- */

struct named {
    struct slice unique;
    uint32_t uid;
};

static int compare_named(const void *a, const void *b)
{
    return slice_cmp(((const struct named *)a)->unique, ((const struct named *)b)->unique);
}

static int flag_one(struct mailbox *m, uint32_t uid, struct foreign_keywords *k, struct err *e)
{
    struct slice keyword;
    uint32_t flags = 0;
    bool changed;

    while (foreign_keyword(k, &keyword)) {
        struct err why = {0};
        int letter = mailbox_keyword_letter(m, keyword, true, &why);

        if (letter >= 0)
            flags |= FLAG_KEYWORD(letter);
        else
            said(m, "keyword", &why);
    }
    return flags ? mailbox_flag(m, uid, FLAGS_ADD, flags, &changed, e) : 0;
}

/*
 * Into the names, as keywords are kept here. Only for messages that are not ours yet (no U=): whoever takes a
 * keyword from one of ours has taken it.
 */
static int take_keywords(struct mailbox *m, struct err *e)
{
    struct buf text = BUF_INIT(KEYWORDS_MAX + 2), names = BUF_INIT(BUF_OWN);
    struct foreign_keywords k;
    struct named *at = NULL;
    size_t n = 0, offset = 0;
    int rc = 0;

    if (fs_load(m->dir, FOREIGN_COURIER_KEYWORDS, &text, KEYWORDS_MAX) < 0) {
        rc = errno == EIO ? err_errno(e, FOREIGN_COURIER_KEYWORDS) : 0;
        goto out;
    }
    /* names change under our hands, so they are copied */
    at = mem_zalloc(m->n + 1, sizeof *at);
    for (size_t i = 0; i < m->n; i++) {
        struct name name;

        if (!m->msgs[i].unnamed || !name_parse(slice_str(m->msgs[i].file), 0, &name))
            continue;
        buf_add(&names, name.unique);
        at[n++] = (struct named){.unique = slice_of(NULL, name.unique.n), .uid = m->msgs[i].uid};
    }
    for (size_t i = 0; i < n; i++) {
        at[i].unique.p = names.p + offset;
        offset += at[i].unique.n;
    }
    if (n)
        qsort(at, n, sizeof *at, compare_named);
    foreign_keywords_begin(&k, buf_slice(&text));
    while (rc == 0 && n && foreign_keywords_next(&k)) {
        struct named key = {.unique = k.unique};
        const struct named *found = bsearch(&key, at, n, sizeof *at, compare_named);

        if (found)
            rc = flag_one(m, found->uid, &k, e);
    }
out:
    buf_free(&text);
    buf_free(&names);
    free(at);
    return rc;
}

/* --- the end --- */

void takeover_done(struct mailbox *m)
{
    struct err e = {0};
    struct meta meta;

    if (has_served(m, m->foreign_stamp) || m->unnamed || m->gone)
        return;
    /* the names are durable before the list counts for nothing */
    if (fs_sync_dir(m->cur) < 0 || numbers_lock(m, &e) < 0)
        return;
    if (meta_load(m->dir, &meta, &e) > 0 && meta.uidvalidity == m->meta.uidvalidity) {
        meta.list = m->foreign_stamp;
        if (meta_store(m->state, m->dir, &meta, &e) == 0) {
            m->meta = meta;
            foreign_free(&m->foreign);
        }
    }
    numbers_unlock(m);
    if (e.code != ERR_OK)
        said(m, "end of a take-over", &e);
}

/* The list is our own now (export): its names are those of the folder. */
void takeover_served(struct mailbox *m)
{
    foreign_free(&m->foreign);
    m->foreign_stamp = foreign_stamp(m->dir);
    takeover_done(m);
}

void takeover_finish(struct mailbox *m)
{
    struct err e = {0};

    if (has_served(m, m->foreign_stamp))
        return;
    if (m->foreign.courier && take_keywords(m, &e) < 0)
        said(m, "keywords of another server", &e);
    else if (uidl_take(m, &e) < 0)
        said(m, "POP3 ids of another server", &e);
    else
        takeover_done(m);
}
