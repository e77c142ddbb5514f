/* Bringing back what was expunged: messages one by one, deleted mailboxes whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/expunged.h"
#include "store/journal.h"
#include "store/mailbox_priv.h"

#define LIST_QUOTA ((size_t)64 << 20)
#define TEXT_MAX ((size_t)64 << 10)
#define NAMES_MAX ((size_t)1 << 20)

/* A mailbox that is, or one that was deleted. */
struct home {
    char id[33];
    char *name;
    bool is_there;
};

/* An entry of expunged/, of expunged/<id>/ or of a deleted mailbox' folder. */
struct kept {
    char *file;
    size_t was;     /* where in it the name it had begins */
    char names[32]; /* file with the meaning of its keywords, in names_dir of its list; "" without */
    int64_t when;
    uint32_t flags; /* in the letters of the mailbox it goes to */
    char *now;      /* its name in that one's cur/; NULL until it is there */
};

struct restore {
    struct account *a;
    const struct expunged_wish *wish;
    int top; /* expunged/; -1: there is none */
    struct home *homes;
    size_t nhomes;
    bool known; /* the wanted mailbox is or was one */
};

struct kept_list {
    int dir, names_dir;
    struct kept *at;
    size_t n, size;
};

/* --- reading --- */

static struct kept *list_add(struct kept_list *l, const char *file, int64_t when)
{
    if (l->n == l->size) {
        l->size = l->size ? l->size * 2 : 64;
        l->at = mem_realloc(l->at, l->size, sizeof *l->at);
    }
    l->at[l->n] = (struct kept){.file = mem_strdup(file), .when = when};
    return &l->at[l->n++];
}

static void list_free(struct kept_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->at[i].file);
        free(l->at[i].now);
    }
    free(l->at);
    l->at = NULL;
    l->n = l->size = 0;
}

static int compare_when(const void *pa, const void *pb)
{
    const struct kept *a = pa, *b = pb;

    if (a->when != b->when)
        return a->when < b->when ? -1 : 1;
    return strcmp(a->file, b->file);
}

/* Entries of that form since then, the oldest first. */
static int list_read(int dir, int64_t since, struct kept_list *l, struct err *e)
{
    DIR *list = fs_list(dir);
    struct dirent *d;
    struct expunged_name name;
    int rc = 0;

    l->dir = l->names_dir = dir;
    if (!list)
        return err_errno(e, EXPUNGED_FOLDER);
    while (errno = 0, (d = readdir(list))) {
        struct slice text = slice_str(d->d_name);
        struct kept *k;

        if (!expunged_name_parse(text, &name) || name.when < since)
            continue;
        k = list_add(l, d->d_name, name.when);
        k->was = text.n - name.rest.n;
        if (name.names.n && name.names.n < 16)
            snprintf(k->names, sizeof k->names, "names.%.*s", SLICE_FMT(name.names));
    }
    if (errno)
        rc = err_errno(e, EXPUNGED_FOLDER);
    closedir(list);
    if (l->n)
        qsort(l->at, l->n, sizeof *l->at, compare_when);
    return rc;
}

static void add_home(struct restore *r, const char *id, struct slice name, bool is_there)
{
    struct home *h;

    r->homes = mem_realloc(r->homes, r->nhomes + 1, sizeof *r->homes);
    h = &r->homes[r->nhomes++];
    *h = (struct home){.name = slice_dup(name), .is_there = is_there};
    INVARIANT(h->name);
    snprintf(h->id, sizeof h->id, "%s", id);
    if (slice_eq(name, r->wish->mailbox))
        r->known = true;
}

/* A mailbox that is there goes before one that was deleted and came back under its id. */
static const struct home *find_home(const struct restore *r, const char *id)
{
    const struct home *found = NULL;

    for (size_t i = 0; i < r->nhomes; i++)
        if (strcmp(r->homes[i].id, id) == 0 && (!found || r->homes[i].is_there))
            found = &r->homes[i];
    return found;
}

static bool is_wanted(const struct restore *r, struct slice name)
{
    return r->wish->mailbox.n == 0 || slice_eq(r->wish->mailbox, name);
}

static int find_mailboxes(struct restore *r, struct err *e)
{
    struct account_mailbox *list;
    struct arena arena;
    ssize_t n;

    arena_init(&arena, LIST_QUOTA);
    n = account_list(r->a, false, &arena, &list, e);
    for (ssize_t i = 0; i < n; i++) {
        struct meta meta = {0};
        int dir, state;

        if (!list[i].exists || account_open_mailbox_dirs(r->a, list[i].name, &dir, &state, NULL) < 0)
            continue;
        if (meta_load(dir, &meta, NULL) <= 0)
            meta.id[0] = '\0'; /* never seen: nothing was expunged in it */
        add_home(r, meta.id, list[i].name, true);
        close(dir);
        close(state);
    }
    arena_free(&arena);
    return n < 0 ? -1 : 0;
}

/* The name of a deleted mailbox; false when it cannot be told. */
static bool deleted_name(int top, const char *entry, struct buf *name)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2), path = BUF_INIT(2 * NAME_LEN_MAX);
    bool ok;

    buf_printf(&path, "%s/%s", entry, EXPUNGED_DELETED);
    ok = !path.full && fs_load(top, buf_str(&path), &disk, NAME_LEN_MAX + 1) == 0 &&
         folder_from_disk(slice_trim(buf_slice(&disk)), name);
    buf_free(&disk);
    buf_free(&path);
    return ok;
}

static int find_deleted(struct restore *r, struct kept_list *l, struct err *e)
{
    if (list_read(r->top, 0, l, e) < 0)
        return -1;
    for (size_t i = 0; i < l->n; i++) {
        struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
        struct expunged_name parts;

        if (expunged_name_parse(slice_str(l->at[i].file), &parts) && parts.rest.n == 32 &&
            deleted_name(r->top, l->at[i].file, &name)) {
            char id[33];

            snprintf(id, sizeof id, "%.*s", SLICE_FMT(parts.rest));
            add_home(r, id, buf_slice(&name), false);
        }
        buf_free(&name);
    }
    return 0;
}

/* --- telling --- */

static void tell(const struct restore *r, struct expunged_item *item, int dir, const char *file)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    struct stat st = {0};
    int fd;

    if (fs_stat(dir, file, &st) == 0) {
        item->received = st.st_mtim.tv_sec;
        item->size = item->size ? item->size : (uint64_t)st.st_size;
    }
    if (r->wish->with_text && (fd = fs_open_read(dir, file)) >= 0) {
        size_t n = (uint64_t)st.st_size < TEXT_MAX ? (size_t)st.st_size : TEXT_MAX;
        char *room = n ? buf_room(&text, n) : NULL;

        if (room && fs_pread_all(fd, room, n, 0) == 0)
            buf_grew(&text, n);
        close(fd);
    }
    item->text = buf_slice(&text);
    if (r->wish->each)
        r->wish->each(r->wish->ctx, item);
    buf_free(&text);
}

/* --- messages --- */

static bool kept_parse(const struct kept *k, struct name *name)
{
    return name_parse(slice_str(k->file + k->was), 0, name);
}

/* The letters in that file in those of `to`; what has no room there is left out. */
static void translate(struct mailbox *to, int dir, const char *file, int letters[FLAG_KEYWORDS])
{
    struct buf text = BUF_INIT(NAMES_MAX);
    struct slice rest, line, word;
    uint64_t n;

    for (unsigned i = 0; i < FLAG_KEYWORDS; i++)
        letters[i] = -1;
    if (*file && fs_load(dir, file, &text, NAMES_MAX - 1) == 0 && keywords_load(to, NULL) == 0) {
        rest = buf_slice(&text);
        while (slice_cut(&rest, '\n', &line)) {
            slice_cut(&line, ' ', &word);
            if (slice_u64(word, FLAG_KEYWORDS - 1, &n) && line.n)
                letters[n] = mailbox_keyword_letter(to, line, true, NULL);
        }
    }
    buf_free(&text);
}

/* Their flags there. \Deleted stays behind: the next EXPUNGE would take them again. */
static void set_flags(struct mailbox *to, struct kept_list *l)
{
    int letters[FLAG_KEYWORDS];
    const char *last = NULL;
    struct name name;

    for (size_t i = 0; i < l->n; i++) {
        struct kept *k = &l->at[i];

        if (!kept_parse(k, &name))
            continue;
        k->flags = name.flags & ~FLAG_KEYWORDS_MASK & ~FLAG_DELETED;
        if (!(name.flags & FLAG_KEYWORDS_MASK))
            continue;
        if (!last || strcmp(last, k->names) != 0)
            translate(to, l->names_dir, last = k->names, letters);
        for (unsigned j = 0; j < FLAG_KEYWORDS; j++)
            if ((name.flags & FLAG_KEYWORD(j)) && letters[j] >= 0)
                k->flags |= FLAG_KEYWORD(letters[j]);
    }
}

static bool new_name(const struct mailbox *to, const struct name *was, struct message *msg, struct buf *out)
{
    struct buf base = BUF_INIT(64);
    struct id id;
    bool ok;

    buf_clear(out);
    if (name_write(out, was->base, msg->size, msg->size_crlf, msg->saved, msg->uid, to->meta.uidvalidity,
            msg->flags) &&
        out->n + FLAG_KEYWORDS <= NAME_LEN_MAX)
        return true;
    buf_clear(out);
    id = id_new();
    buf_printf(&base, "%lld.%s", (long long)msg->saved, id.text);
    ok = name_write(out, buf_slice(&base), msg->size, msg->size_crlf, msg->saved, msg->uid,
        to->meta.uidvalidity, msg->flags);
    buf_free(&base);
    return ok;
}

/* One rename into cur/, under its new name. 1, 0 when it is not there any more, -1. */
static int bring_one(
    struct mailbox *to, int dir, struct kept *k, uint32_t uid, struct message *msg, struct err *e)
{
    struct buf file = BUF_INIT(2 * NAME_LEN_MAX);
    struct name name;
    int rc = 0;

    if (!kept_parse(k, &name))
        goto out;
    *msg = (struct message){.uid = uid,
        .flags = k->flags,
        .size = name.size,
        .size_crlf = name.has_crlf ? name.size_crlf : 0,
        .saved = (int64_t)time(NULL)};
    if (!new_name(to, &name, msg, &file))
        rc = err_set(e, ERR_INTERNAL, "no name for UID %lu", (unsigned long)uid);
    else if (fs_rename_new(dir, k->file, to->cur, buf_str(&file)) == 0)
        rc = 1;
    else if (errno != ENOENT)
        rc = err_errno(e, "rename into cur/");
    if (rc == 1)
        k->now = slice_dup(buf_slice(&file));
out:
    buf_free(&file);
    return rc;
}

/* With fresh UIDs into cur/, durable; l->at[i].now says of each whether it came. */
static int bring_in(struct mailbox *to, struct kept_list *l, struct err *e)
{
    struct message *made = mem_zalloc(l->n, sizeof *made);
    uint32_t uid;
    int rc = -1;

    if (l->n >= UINT32_MAX) {
        err_set(e, ERR_LIMIT, "%zu messages", l->n);
        goto out;
    }
    if (incoming_begin(to, (uint32_t)l->n, &uid, e) < 0)
        goto out;
    rc = 0;
    own_begin(to);
    for (size_t i = 0; i < l->n && rc >= 0; i++) {
        rc = bring_one(to, l->dir, &l->at[i], uid, &made[i], e);
        uid += rc > 0;
    }
    own_end(to);
    /* there first: a power cut leaves it in one of the two, or in both */
    if (mailbox_sync(to, rc < 0 ? NULL : e) < 0)
        rc = -1;
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].now) {
            made[i].file = mem_strdup(l->at[i].now);
            journal_added(to, &made[i]);
        }
    numbers_unlock(to);
    if (fs_sync_dir(l->dir) < 0 && rc >= 0)
        rc = err_errno(e, EXPUNGED_FOLDER);
out:
    free(made);
    return rc < 0 ? -1 : 0;
}

/* to: the cur/ they came into; -1: they lie where they lay. */
static void tell_each(struct restore *r, const struct kept_list *l, int to, const struct expunged_item *like)
{
    for (size_t i = 0; i < l->n; i++) {
        struct expunged_item item = *like;
        struct name name;

        if ((to >= 0 && !l->at[i].now) || !kept_parse(&l->at[i], &name))
            continue;
        item.expunged = l->at[i].when;
        item.size = name.size;
        item.flags = name.flags & ~FLAG_KEYWORDS_MASK & ~FLAG_DELETED;
        tell(r, &item, to >= 0 ? to : l->dir, to >= 0 ? l->at[i].now : l->at[i].file);
    }
}

static struct mailbox *open_home(struct account *a, struct slice name, struct err *e)
{
    if (!account_has(a, name) && account_mailbox_create(a, name, USE_NONE, e) < 0 &&
        e->code != ERR_MAILBOX_EXISTS)
        return NULL;
    return mailbox_get(a, name, true, e);
}

/* What lies in one folder, into its mailbox. */
static int restore_messages(
    struct restore *r, struct kept_list *l, const struct expunged_item *like, struct err *e)
{
    struct mailbox *to;
    int rc;

    if (l->n == 0)
        return 0;
    if (r->wish->dry) {
        tell_each(r, l, -1, like);
        return 0;
    }
    to = open_home(r->a, like->mailbox, e);
    if (!to)
        return -1;
    set_flags(to, l);
    rc = bring_in(to, l, e);
    tell_each(r, l, to->cur, like); /* also before an error */
    mailbox_close(to);
    return rc;
}

static int restore_box(struct restore *r, const char *id, struct err *e)
{
    const struct home *home = find_home(r, id);
    struct expunged_item like = {.mailbox = home ? slice_str(home->name) : SLICE("INBOX"), .is_home = home};
    struct kept_list l = {0};
    int dir, rc = 0;

    if ((!home && r->wish->mailbox.n) || !is_wanted(r, like.mailbox))
        return 0;
    dir = fs_open_dir(r->top, id);
    if (dir < 0)
        return errno == ENOENT ? 0 : err_errno(e, EXPUNGED_FOLDER);
    if (fs_lock(dir, false) < 0)
        rc = err_errno(e, EXPUNGED_FOLDER);
    if (rc == 0)
        rc = list_read(dir, r->wish->since, &l, e);
    if (rc == 0)
        rc = restore_messages(r, &l, &like, e);
    close(dir);
    list_free(&l);
    return rc;
}

static bool is_box(const char *entry)
{
    return strlen(entry) == 32 && strspn(entry, "0123456789abcdefABCDEF") == 32;
}

static int restore_boxes(struct restore *r, struct err *e)
{
    struct kept_list boxes = {0};
    DIR *list = fs_list(r->top);
    struct dirent *d;
    int rc = 0;

    if (!list)
        return err_errno(e, EXPUNGED_FOLDER);
    while ((d = readdir(list)))
        if (is_box(d->d_name))
            list_add(&boxes, d->d_name, 0);
    closedir(list);
    for (size_t i = 0; i < boxes.n && rc == 0; i++)
        rc = restore_box(r, boxes.at[i].file, e);
    list_free(&boxes);
    return rc;
}

/* --- deleted mailboxes --- */

/* The messages of cur/ or new/, as a list. */
static int list_folder(int box, const char *sub, int64_t when, struct kept_list *l, struct err *e)
{
    struct dirent *d;
    struct name name;
    DIR *list;

    *l = (struct kept_list){.dir = fs_open_dir(box, sub), .names_dir = box};
    list = l->dir < 0 ? NULL : fs_list(l->dir);
    if (!list)
        return errno == ENOENT ? 0 : err_errno(e, sub);
    while ((d = readdir(list)))
        if (name_parse(slice_str(d->d_name), 0, &name))
            snprintf(list_add(l, d->d_name, when)->names, 32, "dovecot-keywords");
    closedir(list);
    return 0;
}

/* Each of a deleted mailbox: told as it is, or (join) brought into the mailbox that has its name now. */
static int each_of_folder(
    struct restore *r, int box, bool join, const struct expunged_item *like, struct err *e)
{
    static const char *const subs[] = {"cur", "new"};
    int rc = 0;

    for (size_t i = 0; i < 2 && rc == 0; i++) {
        struct kept_list l;

        rc = list_folder(box, subs[i], like->expunged, &l, e);
        if (rc == 0 && join)
            rc = restore_messages(r, &l, like, e);
        else if (rc == 0)
            tell_each(r, &l, -1, like);
        list_free(&l);
        if (l.dir >= 0)
            close(l.dir);
    }
    return rc;
}

/* Back under its name by one rename, durable there before it is gone here. */
static int rename_back(
    struct restore *r, const char *entry, struct slice name, const char *disk, struct err *e)
{
    struct buf mark = BUF_INIT(2 * NAME_LEN_MAX);
    int rc = -1;

    if (account_lock(r->a, e) < 0)
        return -1;
    buf_printf(&mark, "%s/%s", disk, EXPUNGED_DELETED);
    if (boxes_create_parents(r->a, name, e) == 0) {
        if (fs_rename_new(r->top, entry, r->a->maildir, disk) < 0)
            err_errno(e, "rename of a mailbox");
        else if (fs_sync_dir(r->a->maildir) < 0 || fs_sync_dir(r->top) < 0)
            err_errno(e, "sync");
        else
            rc = 0;
    }
    if (rc == 0)
        fs_unlink(r->a->maildir, buf_str(&mark)); /* of no use there, and no harm when it stays */
    account_unlock(r->a);
    buf_free(&mark);
    if (rc == 0)
        LOG(MAILBOX, NULL, F_STR("what", "undelete"), F_SLICE("name", name));
    return rc;
}

/* What is left of it when its messages have joined the mailbox of its name. */
static void remove_folder(struct restore *r, const char *entry)
{
    char *gone = mem_printf("gone.%s", entry);

    /* the next purge removes it */
    if (fs_rename_new(r->top, entry, r->top, gone) < 0)
        LOG(STORE_ODD, NULL, F_STR("folder", entry), F_STR("why", "a deleted mailbox stays"));
    free(gone);
}

static int restore_mailbox(struct restore *r, const struct kept *k, struct slice name, struct err *e)
{
    struct expunged_item like = {.mailbox = name, .is_home = true, .is_deleted = true, .expunged = k->when};
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    int box = fs_open_dir(r->top, k->file), rc;
    bool join = account_has(r->a, name);

    if (box < 0)
        return errno == ENOENT ? 0 : err_errno(e, EXPUNGED_FOLDER);
    rc = folder_to_disk(name, &disk, e);
    if (rc == 0 && !join && !r->wish->dry)
        rc = rename_back(r, k->file, name, buf_str(&disk), e);
    if (rc == 0)
        rc = each_of_folder(r, box, join, &like, e);
    if (rc == 0 && join && !r->wish->dry)
        remove_folder(r, k->file);
    close(box);
    buf_free(&disk);
    return rc;
}

/* The newest of several of one name comes back whole, the others' messages join it. */
static int restore_mailboxes(struct restore *r, const struct kept_list *l, struct err *e)
{
    int rc = 0;

    for (size_t i = l->n; i > 0 && rc == 0; i--) {
        const struct kept *k = &l->at[i - 1];
        struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);

        if (k->when >= r->wish->since && deleted_name(r->top, k->file, &name) &&
            is_wanted(r, buf_slice(&name)))
            rc = restore_mailbox(r, k, buf_slice(&name), e);
        buf_free(&name);
    }
    return rc;
}

int expunged_restore(struct account *a, const struct expunged_wish *wish, struct err *e)
{
    struct restore r = {.a = a, .wish = wish, .top = fs_open_dir(a->mail, EXPUNGED_FOLDER)};
    struct kept_list deleted = {0};
    int rc = -1;

    if (find_mailboxes(&r, e) < 0 || (r.top >= 0 && find_deleted(&r, &deleted, e) < 0))
        goto out;
    if (wish->mailbox.n && !r.known) {
        err_set(e, ERR_NO_MAILBOX, "there is no mailbox of that name, and none that was deleted is kept");
        goto out;
    }
    rc = r.top < 0 ? 0 : restore_mailboxes(&r, &deleted, e);
    if (rc == 0 && r.top >= 0)
        rc = restore_boxes(&r, e);
out:
    if (r.top >= 0)
        close(r.top);
    for (size_t i = 0; i < r.nhomes; i++)
        free(r.homes[i].name);
    free(r.homes);
    list_free(&deleted);
    return rc;
}
