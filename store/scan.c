/* Scanning: the names of cur/ and new/ against the array of messages. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

/* One name of cur/; it lies in the scan's text. */
struct entry {
    uint32_t uid; /* 0: has none */
    uint32_t flags;
    bool listed; /* the UID is of another server's list */
    size_t at;
};

struct scan {
    struct buf text; /* names, each with its NUL */
    struct entry *entries;
    size_t n, size;
};

struct uids {
    uint32_t *at;
    size_t n, size;
};

static void uids_add(struct uids *u, uint32_t uid)
{
    if (u->n == u->size) {
        u->size = u->size ? u->size * 2 : 64;
        u->at = mem_realloc(u->at, u->size, sizeof *u->at);
    }
    u->at[u->n++] = uid;
}

bool scan_is_message(struct mailbox *m, int dir, const struct dirent *d, struct name *name, size_t *odd)
{
    struct stat st;
    bool regular = d->d_type == DT_REG;

    if (d->d_name[0] == '.')
        return false;
    if (d->d_type == DT_UNKNOWN)
        regular = fs_stat(dir, d->d_name, &st) == 0 && S_ISREG(st.st_mode);
    if (regular && name_parse(slice_str(d->d_name), m->meta.uidvalidity, name))
        return true;
    /* a link, a pipe, a folder: never opened, said once (security.md F01) */
    if (++*odd > m->odd) {
        m->odd = *odd;
        LOG(STORE_ODD, NULL, F_STR("mailbox", m->name), F_STR("entry", d->d_name),
            F_STR("why", "not a message"));
    }
    return false;
}

static void scan_free(struct scan *s)
{
    buf_free(&s->text);
    free(s->entries);
    *s = (struct scan){.text = BUF_INIT(BUF_OWN)};
}

static int scan_read(struct mailbox *m, struct scan *s, struct err *e)
{
    DIR *list = fs_list(m->cur);
    struct dirent *d;
    struct name name;
    size_t odd = 0;
    bool looked = false;
    int rc = 0;

    if (!list)
        return err_errno(e, "cur");
    while (errno = 0, (d = readdir(list))) {
        struct entry *at;

        if (!scan_is_message(m, m->cur, d, &name, &odd))
            continue;
        if (s->n == s->size) {
            s->size = s->size ? s->size * 2 : 256;
            s->entries = mem_realloc(s->entries, s->size, sizeof *s->entries);
        }
        at = &s->entries[s->n++];
        *at = (struct entry){.uid = name.uid, .flags = keywords_flags(m, name.flags), .at = s->text.n};
        if (at->uid == 0 && m->nadopted)
            at->uid = adopt_find(m, name.unique);
        if (at->uid == 0 && !looked) {
            looked = true;
            if (takeover_look(m, e) < 0) {
                rc = -1;
                break;
            }
        }
        if (at->uid == 0) {
            at->uid = takeover_find(m, name.unique);
            at->listed = at->uid != 0;
        }
        buf_add(&s->text, slice_of(d->d_name, strlen(d->d_name) + 1));
    }
    if (rc == 0 && errno)
        rc = err_errno(e, "cur");
    closedir(list);
    return rc;
}

/* By UID, in three passes of 11 bits: the names come in the order of a hash. */
static void sort_by_uid(struct scan *s)
{
    struct entry *from = s->entries, *to = mem_alloc((s->n + 1) * sizeof *to);

    for (unsigned shift = 0; shift < 33; shift += 11) {
        size_t at[2049] = {0};
        struct entry *swap;

        for (size_t i = 0; i < s->n; i++)
            at[(from[i].uid >> shift & 2047) + 1]++;
        for (size_t i = 1; i < 2049; i++)
            at[i] += at[i - 1];
        for (size_t i = 0; i < s->n; i++)
            to[at[from[i].uid >> shift & 2047]++] = from[i];
        swap = from;
        from = to;
        to = swap;
    }
    s->entries = from;
    s->size = s->n + 1;
    free(to);
}

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* --- comparing --- */

struct compare {
    struct mailbox *m;
    struct scan *scan;
    struct fresh *fresh; /* names that need a UID */
    size_t nfresh, fresh_size;
    struct message *added;
    size_t nadded, added_size;
    bool pooled;         /* names of `added` lie in the scan's text, which goes to the mailbox */
    struct uids missing; /* UIDs of the array without a name */
    struct uids dead;    /* expunged UIDs, sorted; made when asked for */
    bool dead_made;
};

static void add_fresh(struct compare *c, const char *file, bool in_new)
{
    struct slice rest = slice_str(file);
    uint64_t order = 0;

    if (c->nfresh == c->fresh_size) {
        c->fresh_size = c->fresh_size ? c->fresh_size * 2 : 64;
        c->fresh = mem_realloc(c->fresh, c->fresh_size, sizeof *c->fresh);
    }
    for (size_t i = 0; i < rest.n && i < 12 && ascii_is_digit(rest.p[i]); i++)
        order = order * 10 + (uint64_t)(rest.p[i] - '0');
    c->fresh[c->nfresh++] = (struct fresh){.file = mem_strdup(file), .order = order, .in_new = in_new};
}

/* A UID that the array does not have: another process gave it, or it was expunged and its file came back. */
static bool is_acceptable(struct compare *c, uint32_t uid, bool listed)
{
    struct mailbox *m = c->m;

    /* a list that has not served yet is newer than what we know */
    if (uid < m->old_bound && !listed)
        return false;
    /* of a process that died before it noted it: sessions know higher ones by now, and UIDs come in order */
    if (!m->loading && !m->incomplete && !listed && m->n && uid < m->uids[m->n - 1])
        return false;
    if (!c->dead_made) {
        for (size_t i = 0; i < m->nexpunged; i++)
            uids_add(&c->dead, m->expunged[i].uid);
        if (c->dead.n)
            qsort(c->dead.at, c->dead.n, sizeof *c->dead.at, compare_uids);
        c->dead_made = true;
    }
    return !c->dead.n || !bsearch(&uid, c->dead.at, c->dead.n, sizeof uid, compare_uids);
}

static void add_known(struct compare *c, const char *file, uint32_t uid)
{
    struct message *msg;
    struct name name;

    if (!name_parse(slice_str(file), c->m->meta.uidvalidity, &name))
        return;
    if (c->nadded == c->added_size) {
        c->added_size = c->added_size ? c->added_size * 2 : 64;
        c->added = mem_realloc(c->added, c->added_size, sizeof *c->added);
    }
    msg = &c->added[c->nadded++];
    *msg = (struct message){.uid = uid,
        .flags = keywords_flags(c->m, name.flags),
        .size = name.size,
        .size_crlf = name.size_crlf,
        .saved = name.saved,
        .file = c->pooled ? (char *)(uintptr_t)file : mem_strdup(file),
        .unnamed = name.uid == 0};
}

/* The message's name as it is now. */
static void take_name(struct mailbox *m, struct message *msg, const char *file, uint32_t flags)
{
    struct name name;

    bool renamed = strcmp(msg->file, file) != 0;

    if (renamed) {
        message_set_name(m, msg, mem_strdup(file));
        if (msg->unnamed && name_parse(slice_str(file), m->meta.uidvalidity, &name) && name.uid) {
            msg->unnamed = false;
            m->unnamed--;
        }
    }
    if (msg->flags != flags) {
        msg->flags = flags;
        journal_changed(m, msg);
    } else if (renamed) {
        journal_renamed(m, msg);
    }
}

/*
 * Two files, or one that a neighbour renamed while the folder was read, so that both its names were seen? The
 * second of one file may come and go between the looks: three times there is there.
 */
static bool is_another(struct mailbox *m, const char *file, const char *other)
{
    struct stat a, b;

    for (int round = 0; round < 3; round++) {
        if (fs_stat(m->cur, file, &a) < 0 || fs_stat(m->cur, other, &b) < 0)
            return false;
        if (a.st_ino != b.st_ino)
            return true;
    }
    return true;
}

/* Which of the names with one UID is the message: the one we know, else the first; none that is gone already.
 */
static size_t choose(struct compare *c, size_t from, size_t to, const struct message *msg)
{
    const struct entry *entries = c->scan->entries;
    const char *text = c->scan->text.p;
    size_t best = to;
    struct stat st;

    for (size_t i = from; i < to; i++) {
        const char *file = text + entries[i].at;

        if (fs_stat(c->m->cur, file, &st) < 0)
            continue;
        if (msg && strcmp(file, msg->file) == 0)
            return i;
        /* a name, and our own list, count more than another server's list */
        if (best == to || (entries[best].listed && !entries[i].listed) ||
            (entries[best].listed == entries[i].listed && strcmp(file, text + entries[best].at) < 0))
            best = i;
    }
    return best == to ? from : best;
}

/* All names with one UID, entries[from] to entries[to - 1]: one is the message, the others get a UID of their
 * own. */
static void compare_run(struct compare *c, size_t from, size_t to, struct message *msg)
{
    const struct entry *entries = c->scan->entries;
    const char *text = c->scan->text.p;
    size_t best = to == from + 1 ? from : choose(c, from, to, msg);

    if (msg)
        take_name(c->m, msg, text + entries[best].at, entries[best].flags);
    else if (is_acceptable(c, entries[best].uid, entries[best].listed))
        add_known(c, text + entries[best].at, entries[best].uid);
    else
        add_fresh(c, text + entries[best].at, false);
    for (size_t i = from; i < to; i++)
        if (i != best && is_another(c->m, text + entries[best].at, text + entries[i].at))
            add_fresh(c, text + entries[i].at, false);
}

static void compare_all(struct compare *c)
{
    struct mailbox *m = c->m;
    const struct entry *entries = c->scan->entries;
    size_t n = c->scan->n, i = 0, at = 0;

    for (; i < n && entries[i].uid == 0; i++)
        add_fresh(c, c->scan->text.p + entries[i].at, false);
    while (i < n) {
        struct message *msg = NULL;
        size_t end = i + 1;

        while (end < n && entries[end].uid == entries[i].uid)
            end++;
        for (; at < m->n && m->msgs[at].uid < entries[i].uid; at++)
            uids_add(&c->missing, m->msgs[at].uid);
        if (at < m->n && m->msgs[at].uid == entries[i].uid)
            msg = &m->msgs[at++];
        compare_run(c, i, end, msg);
        i = end;
    }
    for (; at < m->n; at++)
        uids_add(&c->missing, m->msgs[at].uid);
}

/* What others brought into the array. */
static int take_added(struct compare *c, struct err *e)
{
    struct mailbox *m = c->m;

    if (c->nadded && numbers_saw(m, c->added[c->nadded - 1].uid, e) < 0)
        return -1;
    for (size_t i = 0; i < c->nadded; i++) {
        struct message *msg = &c->added[i];

        m->unnamed += msg->unnamed;
        if (m->loading) {
            msg->modseq = m->modseq;
            message_put(m, msg);
        } else {
            journal_added(m, msg);
        }
        msg->file = NULL;
    }
    if (c->pooled) {
        m->names = c->scan->text;
        c->scan->text = BUF_INIT(BUF_OWN);
    }
    return 0;
}

static void compare_clear(struct compare *c)
{
    for (size_t i = 0; i < c->nfresh; i++)
        free(c->fresh[i].file);
    for (size_t i = 0; i < c->nadded && !c->pooled; i++)
        free(c->added[i].file);
    c->nfresh = c->nadded = 0;
}

static void compare_free(struct compare *c)
{
    compare_clear(c);
    free(c->fresh);
    free(c->added);
    free(c->missing.at);
    free(c->dead.at);
}

/* Gone is what two scans missed. Returns how many of the second scan's are left in doubt. */
static size_t believe(struct mailbox *m, const struct uids *first, const struct uids *second)
{
    size_t doubt = 0, i = 0;
    bool any = false;

    for (size_t j = 0; j < second->n; j++) {
        struct message *msg;

        while (i < first->n && first->at[i] < second->at[j])
            i++;
        if (i == first->n || first->at[i] != second->at[j]) {
            doubt++;
            continue;
        }
        msg = message_find(m, second->at[j]);
        if (!msg)
            continue;
        message_free_name(m, msg);
        any = true;
    }
    if (any)
        messages_compact(m);
    return doubt;
}

/*
 * A mail program that makes a message unread again may move its file from cur/ back to new/ (mutt does). It
 * is the same message: back it goes, with the flags of its name, before anybody takes it for gone and for a
 * new one.
 */
static void fetch_back(struct mailbox *m, const struct uids *missing)
{
    DIR *list = fs_list(m->fresh);
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);
    struct dirent *d;
    struct name name;
    size_t odd = 0;

    while (list && (d = readdir(list))) {
        uint32_t uid;

        if (!scan_is_message(m, m->fresh, d, &name, &odd))
            continue;
        uid = name.uid ? name.uid : adopt_find(m, name.unique);
        if (uid == 0 || !bsearch(&uid, missing->at, missing->n, sizeof uid, compare_uids))
            continue;
        buf_clear(&to);
        if (name_write_flags(&to, name.base, name.flags))
            (void)fs_rename_new(m->fresh, d->d_name, m->cur, buf_str(&to)); /* failed: it is a new one */
    }
    if (list)
        closedir(list);
    buf_free(&to);
}

/* One look at cur/: the array knows what is there, *fresh what has no UID yet. Twice when something is
 * missing. */
static int look(struct mailbox *m, struct compare *c, struct err *e)
{
    struct uids before = {0};
    bool doubt = true;
    int rc = 0;

    for (int round = 0; round < 2 && doubt && rc == 0; round++) {
        int64_t begin = clock_ns(CLOCK_MONOTONIC), wall = clock_ns(CLOCK_REALTIME),
                stamp = folder_stamp(m->cur);
        struct scan scan = {.text = BUF_INIT(BUF_OWN)};

        compare_clear(c);
        free(before.at);
        before = c->missing;
        c->missing = (struct uids){0};
        c->scan = &scan;
        c->pooled = m->loading && m->n == 0;
        /* a letter has its name before a message bears it: so the names of letters are read after those of
         * messages */
        if (adopt_load(m, e) < 0 || scan_read(m, &scan, e) < 0 || keywords_load(m, e) < 0) {
            rc = -1;
        } else {
            sort_by_uid(&scan);
            compare_all(c);
            rc = take_added(c, e);
            m->cur_stamp = stamp;
            m->cur_trusted = wall - stamp > TRUST_AGE;
            m->incomplete = m->incomplete && rc < 0;
            if (c->missing.n == 0)
                doubt = false;
            else if (round > 0 && folder_stamp(m->cur) == stamp)
                doubt = believe(m, &before, &c->missing) > 0;
        }
        if (rc == 0 && round == 0 && c->missing.n)
            fetch_back(m, &c->missing);
        c->scan = NULL;
        scan_free(&scan);
        m->sure = m->watched && rc == 0;
        m->scanned_at = clock_ns(CLOCK_MONOTONIC);
        m->scan_cost = m->scanned_at - begin;
    }
    if (doubt || rc < 0)
        m->cur_stamp = 0; /* look again next time */
    free(before.at);
    return rc;
}

/* One name that came to cur/ or left it. */
static bool scan_name(struct mailbox *m, const char *file)
{
    struct message *msg;
    struct stat st;
    struct name name;
    uint32_t uid;
    bool is_there;

    if (file[0] == '.' || !name_parse(slice_str(file), m->meta.uidvalidity, &name))
        return true;
    uid = name.uid ? name.uid : adopt_find(m, name.unique);
    msg = uid ? message_find(m, uid) : NULL;
    is_there = fs_stat(m->cur, file, &st) == 0;
    if (!msg || strcmp(msg->file, file) == 0)
        return is_there == (msg != NULL); /* as we know it; or new, or gone: that is for a scan */
    if (!is_there)
        return true; /* a name the message had before */
    if (!S_ISREG(st.st_mode) || fs_stat(m->cur, msg->file, &st) == 0)
        return false;
    take_name(m, msg, file, keywords_flags(m, name.flags));
    return true;
}

/*
 * What a message was called before is told as well as its new name, in either order: so the new names first,
 * and only then is an old one that is no more a riddle.
 */
bool scan_names(struct mailbox *m, struct slice names)
{
    char file[NAME_LEN_MAX + 1];
    bool explained = true;

    for (int pass = 0; pass < 2; pass++) {
        struct slice rest = names, part;

        explained = true;
        while (slice_cut(&rest, '/', &part)) {
            if (part.n == 0 || part.n > NAME_LEN_MAX)
                continue;
            memcpy(file, part.p, part.n);
            file[part.n] = '\0';
            explained = scan_name(m, file) && explained;
        }
    }
    return explained;
}

int scan_cur(struct mailbox *m, struct err *e)
{
    struct compare c = {.m = m};
    int rc;

    /* no process of ours changes anything meanwhile: what differs from the array, others did */
    if (numbers_lock(m, e) < 0)
        return -1;
    rc = look(m, &c, e);
    if (rc == 0 && c.nfresh) {
        rc = assign_uids(m, c.fresh, c.nfresh, e);
        c.nfresh = 0;
    }
    compare_free(&c);
    numbers_unlock(m);
    if (m->unnamed && m->account->idle_work)
        m->account->idle_work(m->account->idle_ctx);
    return rc;
}

static int take_fresh(struct mailbox *m, struct compare *c, struct err *e)
{
    int rc;

    if (c->nfresh == 0)
        return 0;
    if (numbers_lock(m, e) < 0)
        return -1;
    rc = m->incomplete ? scan_cur(m, e) : 0;
    if (rc == 0) {
        rc = assign_uids(m, c->fresh, c->nfresh, e);
        c->nfresh = 0;
    }
    numbers_unlock(m);
    return rc;
}

int scan_fresh(struct mailbox *m, struct err *e)
{
    int64_t wall = clock_ns(CLOCK_REALTIME), stamp = folder_stamp(m->fresh);
    struct compare c = {.m = m};
    DIR *list = fs_list(m->fresh);
    struct dirent *d;
    struct name name;
    size_t odd = 0;
    int rc = 0;

    if (!list)
        return err_errno(e, "new");
    while (errno = 0, (d = readdir(list)))
        if (scan_is_message(m, m->fresh, d, &name, &odd))
            add_fresh(&c, d->d_name, true);
    if (errno)
        rc = err_errno(e, "new");
    closedir(list);
    m->fresh_stamp = rc == 0 ? stamp : 0;
    m->fresh_trusted = wall - stamp > TRUST_AGE;
    if (rc == 0)
        rc = take_fresh(m, &c, e);
    compare_free(&c);
    return rc;
}

struct message *scan_locate(struct mailbox *m, uint32_t uid, struct err *e)
{
    struct message *msg;
    struct stat st;

    if (scan_cur(m, e) < 0)
        return NULL;
    msg = message_find(m, uid);
    if (!msg || fs_stat(m->cur, msg->file, &st) < 0) {
        err_set(e, ERR_EXPUNGED, "UID %lu", (unsigned long)uid);
        return NULL;
    }
    return msg;
}
