/* COPY and MOVE: hard links under new names, all or none; a source goes only after the copies are durable. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

struct copy {
    struct mailbox *from, *to;
    bool move;
    int64_t now;
    struct message *made; /* as they are in `to`; owns their names until they are in its array */
    size_t n;
};

/* A copy's unique part is the original's with ".c<digits>": its EMAILID stays (RFC 8474 5.1). */
static void copy_base(const struct copy *c, const struct name *name, struct buf *base)
{
    uint32_t number;

    if (c->move) {
        buf_add(base, name->base);
        return;
    }
    id_random(&number, sizeof number);
    buf_add(base, name_origin(name->unique));
    buf_printf(base, ".c%lu", (unsigned long)number);
    buf_add(base, slice_from(name->base, name->unique.n));
}

static bool copy_name(const struct copy *c, const struct message *msg, struct message *made, struct buf *out)
{
    struct buf base = BUF_INIT(2 * NAME_LEN_MAX);
    struct name name;
    struct id id;
    bool ok = false;

    if (!name_parse(slice_str(msg->file), c->from->meta.uidvalidity, &name))
        goto out;
    *made = (struct message){.uid = made->uid,
        .flags = keywords_translate(c->from, c->to, msg->flags),
        .size = msg->size,
        .size_crlf = msg->size_crlf,
        .received = msg->received,
        .saved = c->now};
    copy_base(c, &name, &base);
    ok = name_write(out, buf_slice(&base), made->size, made->size_crlf, made->saved, made->uid,
        c->to->meta.uidvalidity, made->flags);
    if (ok && out->n + FLAG_KEYWORDS <= NAME_LEN_MAX)
        goto out;
    buf_clear(out);
    buf_clear(&base);
    id = id_new();
    buf_printf(&base, "%lld.%s", (long long)c->now, id.text);
    ok = name_write(out, buf_slice(&base), made->size, made->size_crlf, made->saved, made->uid,
        c->to->meta.uidvalidity, made->flags);
out:
    buf_free(&base);
    return ok;
}

/* 1: linked, 0: the source is gone, -1: the error. */
static int link_one(struct copy *c, uint32_t uid, uint32_t new_uid, struct err *e)
{
    struct message *msg = message_find(c->from, uid), made = {.uid = new_uid};
    struct err why = {0};
    struct buf name = BUF_INIT(NAME_LEN_MAX + 64);
    int rc = 0;

    for (int attempt = 0; attempt < 2 && msg; attempt++) {
        buf_clear(&name);
        if (!copy_name(c, msg, &made, &name)) {
            rc = err_set(e, ERR_INTERNAL, "no name for UID %lu", (unsigned long)uid);
            break;
        }
        if (fs_link(c->from->cur, msg->file, c->to->cur, buf_str(&name)) == 0) {
            made.file = slice_dup(buf_slice(&name));
            c->made[c->n++] = made;
            /* known at once: a scan of `to`, for the keywords of the next one, must not take it for a stray
             */
            made.file = slice_dup(buf_slice(&name));
            journal_added(c->to, &made);
            rc = 1;
            break;
        }
        if (errno != ENOENT) {
            rc = err_errno(e, "link of a message");
            break;
        }
        /* renamed by a neighbour, or gone */
        msg = attempt == 0 ? scan_locate(c->from, uid, &why) : NULL;
        if (!msg && why.code != ERR_OK && why.code != ERR_EXPUNGED)
            rc = err_set(e, why.code, "%s", why.detail);
    }
    buf_free(&name);
    return rc;
}

static void undo(struct copy *c)
{
    for (size_t i = 0; i < c->n; i++) {
        struct message *msg = message_find(c->to, c->made[i].uid);

        if (fs_unlink(c->to->cur, c->made[i].file) < 0)
            LOG(STORE_ERROR, NULL, F_STR("mailbox", c->to->name), F_STR("what", "unlink"),
                F_U64("errno", errno));
        if (msg)
            message_free_name(c->to, msg);
        else
            journal_gone(c->to, c->made[i].uid);
    }
    messages_compact(c->to);
    c->to->cur_stamp = 0;
}

static int link_all(struct copy *c, const uint32_t *uids, size_t n, uint32_t *new_uids, struct err *e)
{
    uint32_t first, uidvalidity = c->from->meta.uidvalidity;
    int rc = 0;

    if (incoming_begin(c->to, (uint32_t)n, &first, e) < 0)
        return -1;
    if (c->from->meta.uidvalidity != uidvalidity) {
        numbers_unlock(c->to);
        return err_set(e, ERR_UNAVAILABLE, "the mailbox was numbered anew");
    }
    own_begin(c->to);
    for (size_t i = 0; i < n && rc >= 0; i++) {
        rc = link_one(c, uids[i], first + (uint32_t)c->n, e);
        new_uids[i] = rc > 0 ? c->made[c->n - 1].uid : 0;
    }
    own_end(c->to);
    if (rc < 0 || (c->n && mailbox_sync(c->to, e) < 0)) {
        undo(c);
        rc = -1;
    }
    numbers_unlock(c->to);
    return rc < 0 ? -1 : 0;
}

/* The keywords exist over there before anything is linked; full is full: that keyword stays behind. */
static int prepare_keywords(struct copy *c, const uint32_t *uids, size_t n, struct err *e)
{
    uint32_t all = 0;

    for (size_t i = 0; i < n; i++) {
        const struct message *msg = message_find(c->from, uids[i]);

        all |= msg ? msg->flags : 0;
    }
    if (keywords_load(c->from, e) < 0 || keywords_load(c->to, e) < 0)
        return -1;
    keywords_translate(c->from, c->to, all);
    return 0;
}

static int link_locked(struct copy *c, const uint32_t *uids, size_t n, uint32_t *new_uids, struct err *e)
{
    int rc;

    if (numbers_lock_two(c->from, c->to, e) < 0)
        return -1;
    rc = prepare_keywords(c, uids, n, e);
    if (rc == 0)
        rc = link_all(c, uids, n, new_uids, e);
    numbers_unlock(c->from);
    numbers_unlock(c->to);
    return rc;
}

int mailbox_copy(struct mailbox *m, const uint32_t *uids, size_t n, struct slice to, bool move,
    uint32_t *new_uids, uint32_t *to_uidvalidity, struct err *e)
{
    struct copy c = {.from = m, .move = move, .now = (int64_t)time(NULL)};
    uint32_t *sources;
    size_t nsources = 0, gone;
    int rc = -1;

    for (size_t i = 0; i < n; i++)
        new_uids[i] = 0;
    c.to = incoming_mailbox(m->account, to, e);
    if (!c.to)
        return -1;
    c.made = mem_zalloc(n + 1, sizeof *c.made);
    sources = mem_zalloc(n + 1, sizeof *sources);
    if (n >= UINT32_MAX) {
        err_set(e, ERR_LIMIT, "%zu messages", n);
        goto out;
    }
    if (n && link_locked(&c, uids, n, new_uids, e) < 0) {
        for (size_t i = 0; i < n; i++)
            new_uids[i] = 0;
        goto out;
    }
    *to_uidvalidity = c.to->meta.uidvalidity;
    for (size_t i = 0; i < n; i++)
        if (new_uids[i])
            sources[nsources++] = uids[i];
    rc = move ? mailbox_expunge(m, sources, nsources, &gone, e) : 0;
out:
    for (size_t i = 0; i < c.n; i++)
        free(c.made[i].file);
    free(c.made);
    free(sources);
    mailbox_close(c.to);
    return rc;
}
