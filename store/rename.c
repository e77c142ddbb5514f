/* RENAME: a mailbox with all below it gets another name (RFC 9051 6.3.6). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/account_priv.h"
#include "store/mailbox.h"

#define LIST_QUOTA ((size_t)64 << 20)

/* INBOX stays and is empty afterwards; its children do not move (RFC 3501 6.3.5). */
static int rename_inbox(struct account *a, struct slice to, struct err *e)
{
    struct mailbox *m;
    uint32_t *uids = NULL, *fresh = NULL, uidvalidity;
    size_t n;
    int rc;

    if (account_mailbox_create(a, to, USE_NONE, e) < 0)
        return -1;
    m = mailbox_open(a, SLICE("INBOX"), e);
    if (!m)
        return -1;
    n = mailbox_count(m);
    uids = mem_zalloc(n + 1, sizeof *uids);
    fresh = mem_zalloc(n + 1, sizeof *fresh);
    for (size_t i = 0; i < n; i++)
        uids[i] = mailbox_at(m, i)->uid;
    rc = n ? mailbox_copy(m, uids, n, to, true, fresh, &uidvalidity, e) : 0;
    free(uids);
    free(fresh);
    mailbox_close(m);
    return rc;
}

/* A special use goes with its mailbox. */
static int move_use(struct account *a, struct slice from, struct slice to, struct err *e)
{
    struct buf text = BUF_INIT(BUF_OWN);
    enum special_use use, held = USE_NONE;
    struct slice rest, disk;
    int rc = specials_load(a, &text, e);

    rest = buf_slice(&text);
    while (rc == 0 && specials_next(&rest, &use, &disk))
        if (slice_eq(disk, from))
            held = use;
    if (rc == 0 && held != USE_NONE)
        rc = specials_set(a, from, USE_NONE, e) < 0 ? -1 : specials_set(a, to, held, e);
    buf_free(&text);
    return rc;
}

static int rename_one(struct account *a, struct slice from, struct slice to, struct err *e)
{
    struct buf old = BUF_INIT(NAME_LEN_MAX + 2), fresh = BUF_INIT(NAME_LEN_MAX + 2);
    int rc = -1;

    if (folder_to_disk(from, &old, e) < 0 || folder_to_disk(to, &fresh, e) < 0)
        goto out;
    if (a->settle)
        a->settle(a, from);
    if (fs_rename_new(a->maildir, buf_str(&old), a->maildir, buf_str(&fresh)) < 0) {
        if (errno == EEXIST)
            err_set(e, ERR_MAILBOX_EXISTS, "RENAME");
        else
            err_errno(e, "RENAME");
        goto out;
    }
    /* what is derived goes along if it can; a stale folder of the new name gives way by its UIDVALIDITY */
    fs_rename_new(a->state, buf_str(&old), a->state, buf_str(&fresh));
    rc = move_use(a, buf_slice(&old), buf_slice(&fresh), e);
    if (a->moved)
        a->moved(a, from, to);
out:
    buf_free(&old);
    buf_free(&fresh);
    return rc;
}

/*
 * Children first, the mailbox itself last: after a crash in between the same command goes on where it
 * stopped.
 */
static int rename_all(
    struct account *a, struct slice from, struct slice to, struct arena *arena, struct err *e)
{
    struct buf target = BUF_INIT(FOLDER_NAME_MAX + 1), prefix = BUF_INIT(FOLDER_NAME_MAX + 2),
               disk = BUF_INIT(512);
    struct account_mailbox *list;
    ssize_t n = account_list(a, false, arena, &list, e);
    size_t found = 0;
    int rc = n < 0 ? -1 : 0;

    buf_add(&prefix, from);
    buf_add_char(&prefix, '/');
    /* all names fit before the first is changed */
    for (int pass = 0; pass < 2 && rc == 0; pass++) {
        if (pass == 1 && account_lock(a, e) < 0) {
            rc = -1;
            break;
        }
        if (pass == 1)
            rc = boxes_create_parents(a, to, e);
        for (ssize_t i = n - 1; i >= 0 && rc == 0; i--) {
            struct slice name = list[i].name;

            if (!list[i].exists || (!slice_eq(name, from) && !slice_starts(name, buf_slice(&prefix))))
                continue;
            found++;
            buf_clear(&target);
            buf_clear(&disk);
            buf_add(&target, to);
            buf_add(&target, slice_from(name, from.n));
            if (target.full)
                rc = err_set(e, ERR_MAILBOX_NAME, "too long");
            else if (pass == 0)
                rc = folder_to_disk(buf_slice(&target), &disk, e);
            else
                rc = rename_one(a, name, buf_slice(&target), e);
        }
        if (rc == 0 && found == 0)
            rc = err_set(e, ERR_NO_MAILBOX, "RENAME");
        if (pass == 1) {
            if (fs_sync_dir(a->maildir) < 0 && rc == 0)
                rc = err_errno(e, "Maildir");
            account_unlock(a);
        }
    }
    buf_free(&target);
    buf_free(&prefix);
    buf_free(&disk);
    return rc;
}

int account_mailbox_rename(struct account *a, struct slice from, struct slice to, struct err *e)
{
    struct buf prefix = BUF_INIT(FOLDER_NAME_MAX + 2);
    struct arena arena;
    int rc;

    buf_add(&prefix, from);
    buf_add_char(&prefix, '/');
    arena_init(&arena, LIST_QUOTA);
    if (slice_eq(to, SLICE("INBOX")) || account_has(a, to))
        rc = err_set(e, ERR_MAILBOX_EXISTS, "RENAME");
    else if (slice_starts(to, buf_slice(&prefix)))
        rc = err_set(e, ERR_CANNOT, "a mailbox cannot be below itself");
    else if (slice_eq(from, SLICE("INBOX")))
        rc = rename_inbox(a, to, e);
    else
        rc = rename_all(a, from, to, &arena, e);
    if (rc == 0)
        LOG(MAILBOX, NULL, F_STR("what", "rename"), F_SLICE("name", from), F_SLICE("to", to));
    buf_free(&prefix);
    arena_free(&arena);
    return rc;
}
