/* A process with an account object of its own: sessions with what their clients know, requests one by one. */
#include "tests/property/model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "store/account.h"
#include "store/delivery.h"
#include "store/mailbox.h"
#include "store/view.h"

struct session {
    struct view *view;
    uint32_t *uids, *flags;
    size_t n, size;
};

struct slot {
    struct mailbox *m;
    struct session s[SESSIONS];
};

struct worker {
    int root, mail, spool;
    struct account *account;
    struct slot slots[BOXES];
    struct answer *a;
    struct item *items;
    struct session *telling;
};

static void wrong(struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct worker *w, const char *fmt, ...)
{
    va_list ap;

    if (w->a->rc == -2)
        return;
    w->a->rc = -2;
    va_start(ap, fmt);
    vsnprintf(w->a->why, sizeof w->a->why, fmt, ap);
    va_end(ap);
}

static bool refuse(struct worker *w, const struct err *e)
{
    w->a->rc = -1;
    w->a->code = (int)e->code;
    snprintf(w->a->why, sizeof w->a->why, "%s", e->detail);
    return false;
}

struct worker *worker_new(const char *top)
{
    struct worker *w = mem_zalloc(1, sizeof *w);
    struct err e = {0};
    int state;

    store_init(&e);
    w->root = fs_open_root(top);
    w->mail = fs_open_dir(w->root, "mail");
    w->spool = fs_open_dir(w->root, "spool");
    state = fs_open_dir(w->root, "state");
    if (w->mail >= 0 && state >= 0 && account_make_dirs(w->mail, state, SLICE(ACCOUNT), &e) == 0)
        w->account = account_open(fs_open_dir(w->mail, ACCOUNT), fs_open_dir(state, ACCOUNT), &e);
    close(state);
    if (!w->account) {
        fprintf(stderr, "no account: %s\n", e.detail);
        abort();
    }
    return w;
}

/* --- items --- */

static uint32_t keywords_of(const struct mailbox *m, uint32_t flags)
{
    uint32_t out = 0;

    for (unsigned i = 0; i < FLAG_KEYWORDS; i++) {
        struct slice name = mailbox_keyword(m, i);

        if ((flags & FLAG_KEYWORD(i)) && name.n == 2 && name.p[0] == 'K' && name.p[1] < '0' + KEYWORDS)
            out |= 1u << (name.p[1] - '0');
        else if (flags & FLAG_KEYWORD(i))
            out |= 1u << 31; /* a letter without a name */
    }
    return out;
}

static void unique_of(const char *file, char *out)
{
    size_t n = strcspn(file, ",:");

    snprintf(out, UNIQUE_LEN, "%.*s", (int)n, file);
}

static struct item *put_item(struct worker *w, const struct mailbox *m, const struct message *msg)
{
    struct item *it = &w->items[w->a->n];

    if (w->a->n + 1 < ITEMS_MAX)
        w->a->n++;
    *it = (struct item){.uid = msg->uid,
        .flags = msg->flags & SYSTEM_FLAGS,
        .keywords = keywords_of(m, msg->flags),
        .modseq = msg->modseq};
    unique_of(msg->file, it->unique);
    return it;
}

static void put_head(struct worker *w, const struct mailbox *m)
{
    w->a->uidvalidity = mailbox_uidvalidity(m);
    w->a->uidnext = mailbox_uidnext(m);
    w->a->modseq = mailbox_highestmodseq(m);
    snprintf(w->a->id, sizeof w->a->id, "%s", mailbox_id(m));
}

/* --- sessions: a client that knows only what it was told --- */

static void grow(struct session *s, size_t n)
{
    if (n <= s->size)
        return;
    s->size = n * 2 + 64;
    s->uids = mem_realloc(s->uids, s->size, sizeof *s->uids);
    s->flags = mem_realloc(s->flags, s->size, sizeof *s->flags);
}

/* FETCH of what is new to the client. */
static void fetch_from(struct worker *w, struct session *s, size_t n)
{
    struct mailbox *m = view_mailbox(s->view);

    grow(s, n);
    for (size_t i = s->n; i < n; i++) {
        const struct message *msg = mailbox_by_uid(m, view_uid(s->view, (uint32_t)i + 1));

        if (!view_uid(s->view, (uint32_t)i + 1))
            wrong(w, "sequence number %zu of %zu has no UID", i + 1, n);
        s->uids[i] = view_uid(s->view, (uint32_t)i + 1);
        s->flags[i] = msg ? msg->flags : 0;
        if (i && s->uids[i] <= s->uids[i - 1])
            wrong(w, "UID %u comes after UID %u", s->uids[i], s->uids[i - 1]);
    }
    s->n = n;
}

static void on_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
    struct worker *w = ctx;
    struct session *s = w->telling;

    if (seq < 1 || seq > s->n || s->uids[seq - 1] != uid) {
        wrong(w, "EXPUNGE %u (UID %u), but the client has %zu messages and UID %u there", seq, uid, s->n,
            seq >= 1 && seq <= s->n ? s->uids[seq - 1] : 0);
        return;
    }
    memmove(s->uids + seq - 1, s->uids + seq, (s->n - seq) * sizeof *s->uids);
    memmove(s->flags + seq - 1, s->flags + seq, (s->n - seq) * sizeof *s->flags);
    s->n--;
    w->items[w->a->n].uid = uid;
    if (w->a->n + 1 < ITEMS_MAX)
        w->a->n++;
}

static void on_exists(void *ctx, uint32_t count, uint32_t recent)
{
    struct worker *w = ctx;
    struct session *s = w->telling;

    if (count < s->n || recent > count) {
        wrong(w, "EXISTS %u (%u recent), but the client had %zu", count, recent, s->n);
        return;
    }
    fetch_from(w, s, count);
}

static void on_flags(void *ctx, uint32_t seq, const struct message *msg, bool recent)
{
    struct worker *w = ctx;
    struct session *s = w->telling;

    (void)recent;
    if (seq < 1 || seq > s->n || s->uids[seq - 1] != msg->uid)
        wrong(w, "FETCH %u is of UID %u, not what the client has there", seq, msg->uid);
    else
        s->flags[seq - 1] = msg->flags;
}

static void on_keywords(void *ctx)
{
    (void)ctx;
}

static void session_sync(struct worker *w, struct session *s, bool with_expunges)
{
    static const struct view_events events = {on_expunged, on_exists, on_flags, on_keywords};
    struct mailbox *m = view_mailbox(s->view);
    bool news = view_has_news(s->view);
    size_t before = s->n;

    w->telling = s;
    view_sync(s->view, with_expunges, &events, w);
    if (view_count(s->view) != s->n)
        wrong(w, "the view has %u messages, the client was told of %zu", view_count(s->view), s->n);
    if (with_expunges && s->n != mailbox_count(m) && (checks & CHECK_ORDER))
        wrong(w, "the client has %zu messages, the mailbox %zu", s->n, mailbox_count(m));
    if (!news && (before != s->n || w->a->n))
        wrong(w, "there was no news, but the client was told some");
    for (size_t i = 0; i < s->n && w->a->rc != -2; i++) {
        const struct message *msg = mailbox_by_uid(m, s->uids[i]);

        if (view_uid(s->view, (uint32_t)i + 1) != s->uids[i] || view_seq(s->view, s->uids[i]) != i + 1)
            wrong(w, "sequence number %zu is UID %u for the client, UID %u in the view", i + 1, s->uids[i],
                view_uid(s->view, (uint32_t)i + 1));
        else if (!msg && with_expunges)
            wrong(w, "UID %u is in the view, not in the mailbox", s->uids[i]);
        else if (msg && msg->flags != s->flags[i])
            wrong(w, "UID %u has flags 0x%x, the client was told 0x%x", s->uids[i], msg->flags, s->flags[i]);
    }
    put_head(w, m);
}

static void slot_close(struct slot *slot)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        view_free(slot->s[i].view);
        free(slot->s[i].uids);
        free(slot->s[i].flags);
    }
    mailbox_close(slot->m);
    *slot = (struct slot){0};
}

static bool slot_open(struct worker *w, const struct request *r)
{
    struct slot *slot = &w->slots[r->box];
    struct err e = {0};

    if (slot->m)
        return true;
    slot->m = mailbox_open(w->account, slice_str(r->name), &e);
    if (!slot->m)
        return refuse(w, &e);
    for (size_t i = 0; i < SESSIONS; i++) {
        slot->s[i].view = view_new(slot->m, i == 1);
        fetch_from(w, &slot->s[i], view_count(slot->s[i].view));
    }
    return true;
}

void worker_free(struct worker *w)
{
    for (size_t i = 0; i < BOXES; i++)
        slot_close(&w->slots[i]);
    account_close(w->account);
    close(w->root);
    close(w->mail);
    close(w->spool);
    free(w);
}

/* --- requests --- */

static void do_refresh(struct worker *w, struct mailbox *m, bool hint)
{
    struct err e = {0};

    if (mailbox_refresh(m, hint, &e) < 0)
        refuse(w, &e);
    else
        put_head(w, m);
}

static void do_dump(struct worker *w, struct mailbox *m, bool dates)
{
    struct err e = {0};
    uint32_t last = 0;

    put_head(w, m);
    for (size_t i = 0; i < mailbox_count(m); i++) {
        const struct message *msg = mailbox_at(m, i);
        uint32_t uid = msg->uid;
        struct item *it = put_item(w, m, msg);

        if (uid <= last)
            wrong(w, "UID %u comes after UID %u", uid, last);
        last = uid;
        /* asked for at rest only: for a file that somebody took away it would look again, and the array move
         */
        if (dates && mailbox_received(m, uid, &it->received, &e) < 0)
            it->received = 0;
        if (i >= mailbox_count(m) || mailbox_at(m, i)->uid != uid)
            break;
    }
    put_head(w, m);
}

static void do_vanished(struct worker *w, const struct mailbox *m, uint64_t since)
{
    const struct mailbox_expunged *list;
    size_t n = mailbox_expunged_since(m, since, &list, &w->a->complete);

    for (size_t i = 0; i < n && i < ITEMS_MAX; i++) {
        w->items[w->a->n++] = (struct item){.uid = list[i].uid, .modseq = list[i].modseq};
        if (list[i].modseq <= since || (i && list[i].modseq < list[i - 1].modseq))
            wrong(w, "UID %u vanished at %llu, in a list since %llu", list[i].uid,
                (unsigned long long)list[i].modseq, (unsigned long long)since);
    }
}

static uint32_t letters(struct worker *w, struct mailbox *m, uint32_t keywords)
{
    uint32_t out = 0;
    char name[3] = "K0";
    struct err e = {0};

    for (unsigned i = 0; i < KEYWORDS; i++) {
        int letter;

        if (!(keywords & 1u << i))
            continue;
        name[1] = (char)('0' + i);
        letter = mailbox_keyword_letter(m, slice_str(name), true, &e);
        if (letter < 0)
            refuse(w, &e);
        else
            out |= FLAG_KEYWORD(letter);
    }
    return out;
}

static void do_flag(struct worker *w, struct slot *slot, const struct request *r)
{
    struct mailbox *m = slot->m;
    struct session *s = &slot->s[r->session % SESSIONS];
    uint32_t flags = (r->n[2] & SYSTEM_FLAGS) | letters(w, m, r->n[3]), uid;
    const struct message *msg;
    bool changed = false;
    struct err e = {0};

    if (w->a->rc < 0 || mailbox_count(m) == 0)
        return;
    msg = mailbox_at(m, r->n[0] % mailbox_count(m));
    uid = msg->uid;
    put_item(w, m, msg); /* as it was: it may be gone */
    if (mailbox_flag(m, uid, (enum flag_change)r->n[1], flags, &changed, &e) < 0) {
        refuse(w, &e);
        put_head(w, m);
        return;
    }
    w->a->changed = changed;
    msg = mailbox_by_uid(m, uid);
    w->a->n = 0;
    put_item(w, m, msg);
    put_head(w, m);
    if (changed) {
        uint32_t seq = view_seq(s->view, uid);

        view_seen_change(s->view, uid, msg->modseq);
        if (seq && seq <= s->n)
            s->flags[seq - 1] = msg->flags; /* the STORE's own answer */
    }
}

/* n[1] messages from the n[0]-th on, or the one whose UID is in `since`; their items as they are now. */
static size_t pick(struct worker *w, struct mailbox *m, const struct request *r, uint32_t *uids)
{
    size_t count = mailbox_count(m), n = 0, at = count ? r->n[0] % count : 0;

    if (r->since)
        at = mailbox_by_uid(m, (uint32_t)r->since) ? mailbox_lower_bound(m, (uint32_t)r->since) : count;
    for (; at < count && n < r->n[1] && n < 64; at++) {
        uids[n++] = mailbox_at(m, at)->uid;
        put_item(w, m, mailbox_at(m, at));
    }
    return n;
}

static void do_expunge(struct worker *w, struct mailbox *m, const struct request *r)
{
    uint32_t uids[64];
    size_t n = pick(w, m, r, uids), gone = 0;
    struct err e = {0};

    if (n && mailbox_expunge(m, uids, n, &gone, &e) < 0)
        refuse(w, &e);
    w->a->changed = (uint32_t)gone;
    put_head(w, m);
}

static void do_copy(struct worker *w, struct mailbox *m, const struct request *r)
{
    uint32_t uids[64], fresh[64] = {0}, uidvalidity = 0;
    size_t n = pick(w, m, r, uids);
    struct err e = {0};

    if (n && mailbox_copy(m, uids, n, slice_str(r->to), r->n[2], fresh, &uidvalidity, &e) < 0)
        refuse(w, &e);
    put_head(w, m);
    w->a->uidvalidity = uidvalidity; /* of the destination */
    for (size_t i = 0; i < n; i++)
        w->items[i].other = fresh[i];
}

static void do_append(struct worker *w, const struct request *r)
{
    char text[200], name[KEYWORDS][3];
    struct slice keywords[KEYWORDS];
    struct append *ap;
    struct err e = {0};
    size_t n = 0;

    snprintf(text, sizeof text, "From: a@b.test\r\nSubject: token-%u\r\n\r\ntext\r\n", r->n[0]);
    for (unsigned i = 0; i < KEYWORDS; i++)
        if (r->n[3] & 1u << i) {
            snprintf(name[n], sizeof name[n], "K%u", i);
            keywords[n] = slice_str(name[n]);
            n++;
        }
    ap = append_begin(w->account, slice_str(r->name), &e);
    if (!ap || append_write(ap, slice_str(text), &e) < 0 ||
        append_commit(ap, r->n[2] & SYSTEM_FLAGS, keywords, n, (int64_t)r->since, &w->a->uidvalidity,
            &w->a->uid, &e) < 0)
        refuse(w, &e);
    append_free(ap);
}

static void do_deliver(struct worker *w, const struct request *r)
{
    struct delivery_recipient to = {.path = SLICE(ACCOUNT)};
    struct id id = id_new();
    struct err e = {0};
    int64_t now = (int64_t)time(NULL);
    char text[120];
    uint64_t size;

    snprintf(text, sizeof text, "From: a@b.test\r\nSubject: token-%u\r\n\r\ntext\r\n", r->n[0]);
    if (delivery_spool(w->spool, &id, slice_str(text), -1, 0, 0, NULL, 0, &size, &e) < 0) {
        refuse(w, &e);
        return;
    }
    delivery_link(w->mail, w->spool, &id, now, SLICE("mx.test"), size, &to, 1, false);
    if (to.result < 0)
        refuse(w, &to.err);
    delivery_unspool(w->spool, &id, &e);
    w->a->n = 1;
    w->items[0] = (struct item){0};
    snprintf(w->items[0].unique, UNIQUE_LEN, "%lld.%sr0.mx.test", (long long)now, id.text);
}

static void do_status(struct worker *w, const struct request *r)
{
    struct mailbox_status st;
    struct err e = {0};

    if (mailbox_status(w->account, slice_str(r->name), &st, &e) < 0) {
        refuse(w, &e);
        return;
    }
    w->a->uidvalidity = st.uidvalidity;
    w->a->uidnext = st.uidnext;
    w->a->changed = st.messages;
    w->a->unseen = st.unseen;
    w->a->deleted = st.deleted;
    w->a->modseq = st.highestmodseq;
}

static void do_boxes(struct worker *w, const struct request *r)
{
    struct slice name = slice_str(r->name);
    struct err e = {0};
    int rc;

    if (r->what == DO_CREATE)
        rc = account_mailbox_create(w->account, name, USE_NONE, &e);
    else if (r->what == DO_RENAME)
        rc = account_mailbox_rename(w->account, name, slice_str(r->to), &e);
    else
        rc = account_mailbox_delete(w->account, name, &e);
    if (rc < 0)
        refuse(w, &e);
}

static void do_open_one(struct worker *w, const struct request *r)
{
    struct slot *slot = &w->slots[r->box];
    struct err e = {0};

    if (!slot_open(w, r))
        return;
    put_head(w, slot->m);
    switch (r->what) {
    case DO_REFRESH:
        do_refresh(w, slot->m, r->n[0]);
        break;
    case DO_DUMP:
        do_dump(w, slot->m, r->n[1]);
        break;
    case DO_VANISHED:
        do_vanished(w, slot->m, r->since);
        break;
    case DO_SYNC:
        if (r->n[0])
            do_refresh(w, slot->m, false);
        if (w->a->rc == 0)
            session_sync(w, &slot->s[r->session % SESSIONS], r->n[1]);
        break;
    case DO_FLAG:
        do_flag(w, slot, r);
        break;
    case DO_EXPUNGE:
        do_expunge(w, slot->m, r);
        break;
    case DO_COPY:
        do_copy(w, slot->m, r);
        break;
    case DO_FSYNC:
        if (mailbox_sync(slot->m, &e) < 0)
            refuse(w, &e);
        break;
    case DO_ADOPT:
        mailbox_adopt_step(slot->m, r->n[0]);
        break;
    default:
        put_head(w, slot->m);
        break;
    }
}

void worker_do(struct worker *w, const struct request *r, struct answer *a, struct item *items)
{
    *a = (struct answer){0};
    w->a = a;
    w->items = items;
    switch (r->what) {
    case DO_CLOSE:
        slot_close(&w->slots[r->box]);
        break;
    case DO_APPEND:
        do_append(w, r);
        break;
    case DO_DELIVER:
        do_deliver(w, r);
        break;
    case DO_STATUS:
        do_status(w, r);
        break;
    case DO_CREATE:
    case DO_RENAME:
    case DO_DELETE:
        do_boxes(w, r);
        break;
    case DO_QUIT:
        for (size_t i = 0; i < BOXES; i++)
            slot_close(&w->slots[i]);
        break;
    default:
        do_open_one(w, r);
        break;
    }
}

/* --- the socket --- */

bool octets_read(int fd, void *to, size_t n)
{
    char *at = to;

    while (n) {
        ssize_t got = read(fd, at, n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

bool octets_write(int fd, const void *from, size_t n)
{
    return fs_write_all(fd, slice_of(from, n)) == 0;
}

void worker_quiet(const char *top)
{
    char path[160];
    int fd;

    snprintf(path, sizeof path, "%s/stderr", top);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        dup2(fd, STDERR_FILENO);
        close(fd);
    }
}

void worker_serve(const char *top, int fd)
{
    struct worker *w;
    struct item *items = mem_zalloc(ITEMS_MAX, sizeof *items);
    struct request r;
    struct answer a;

    worker_quiet(top);
    w = worker_new(top);
    while (octets_read(fd, &r, sizeof r)) {
        worker_do(w, &r, &a, items);
        if (!octets_write(fd, &a, sizeof a) || !octets_write(fd, items, a.n * sizeof *items))
            break;
        if (r.what == DO_QUIT)
            break;
    }
    worker_free(w);
    free(items);
    exit(0);
}
