/* The deliver: blocking; trace header, what an account's message lacks, forged fields out, one file for all
 * recipients, durable, then the answer. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "mail/header.h"
#include "mail/submitted.h"
#include "mail/trace.h"
#include "queue/textfile.h"
#include "smtpd/roles.h"
#include "smtpd/text.h"
#include "store/account.h"
#include "store/delivery.h"

#define RECIPIENTS_MAX 8192 /* more do not fit into a message between processes */

struct deliver {
    int mail_root, spool_dir;
};

/* One DELIVER. */
struct job {
    struct id id;
    bool replay;
    int64_t when;
    uint64_t size;        /* of the text */
    struct slice account; /* that logged in; empty: none */
    struct trace trace;
    struct delivery_recipient *rcpts;
    size_t n;
    int text;
    uint64_t kept; /* of the file in the mailbox */
};

/* --- the header --- */

/* What must not stay in it, and what an account's message lacks (appended to add). */
static int fix_header(
    const struct job *j, struct buf *add, struct delivery_cut **cuts, size_t *ncuts, struct err *e)
{
    struct submitted who = {
        .from = j->account.n && j->trace.reverse_path.n ? j->trace.reverse_path : j->account,
        .host = j->trace.by,
        .id = j->trace.id,
        .now = j->when};
    struct trace_range *ranges = NULL;
    struct buf head = BUF_INIT(0);
    int rc = textfile_read_header(j->text, j->size, &head, e);

    *cuts = NULL;
    *ncuts = 0;
    if (rc == 0)
        ranges = submitted_cuts(buf_slice(&head), &who, ncuts, add);
    if (ranges)
        *cuts = mem_zalloc(*ncuts, sizeof **cuts);
    for (size_t i = 0; i < *ncuts; i++)
        (*cuts)[i] = (struct delivery_cut){ranges[i].offset, ranges[i].len};
    buf_free(&head);
    free(ranges);
    return rc;
}

/* --- one message --- */

static int spool(const struct deliver *d, struct role *r, struct job *j, struct err *e)
{
    struct buf head = BUF_INIT(IPC_MAX);
    struct delivery_cut *cuts;
    size_t ncuts;
    int rc;

    if (textfile_check(j->text, j->size, e) < 0)
        return -1;
    j->trace.by = slice_str(r->settings->hostname);
    j->trace.id = slice_str(j->id.text);
    j->trace.now = j->when;
    trace_write(&head, &j->trace, true);
    if (fix_header(j, &head, &cuts, &ncuts, e) < 0) {
        buf_free(&head);
        return -1;
    }
    INVARIANT(!head.full);
    rc =
        delivery_spool(d->spool_dir, &j->id, buf_slice(&head), j->text, 0, j->size, cuts, ncuts, &j->kept, e);
    free(cuts);
    buf_free(&head);
    return rc;
}

/* Whoever has never logged in may have no folders yet. */
static void link_new_accounts(const struct deliver *d, struct role *r, struct job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        struct delivery_recipient *rcpt = &j->rcpts[i];

        if (rcpt->result == 0 || rcpt->err.code != ERR_NO_USER)
            continue;
        if (account_make_dirs(d->mail_root, -1, rcpt->path, &rcpt->err) == 0)
            delivery_link(d->mail_root, d->spool_dir, &j->id, j->when, slice_str(r->settings->hostname),
                j->kept, rcpt, 1, j->replay);
    }
}

static void deliver(const struct deliver *d, struct role *r, struct job *j, struct err *e)
{
    struct err unspool = {0};

    if (spool(d, r, j, e) < 0) {
        LOG(STORE_ERROR, j->id.text, F_STR("what", "spool"), F_STR("why", e->detail));
        return;
    }
    delivery_link(d->mail_root, d->spool_dir, &j->id, j->when, slice_str(r->settings->hostname), j->kept,
        j->rcpts, j->n, j->replay);
    link_new_accounts(d, r, j);
    if (delivery_unspool(d->spool_dir, &j->id, &unspool) < 0)
        LOG(STORE_ERROR, j->id.text, F_STR("what", "unspool"), F_STR("why", unspool.detail));
    for (size_t i = 0; i < j->n; i++)
        if (j->rcpts[i].result < 0)
            LOG(DELIVERY_FAILED, j->id.text, F_SLICE("path", j->rcpts[i].path),
                F_STR("why", j->rcpts[i].err.detail));
}

static bool read_job(struct ipc_in *in, struct job *j)
{
    struct slice id = ipc_get(in), record;
    uint64_t n, when;

    j->replay = ipc_get_bool(in);
    when = ipc_get_u64(in);
    j->size = ipc_get_u64(in);
    j->account = ipc_get(in);
    record = ipc_get(in);
    n = ipc_get_u64(in);
    if (in->bad || !id_is_valid(id) || when > INT64_MAX || j->size > INT64_MAX || n == 0 ||
        n > RECIPIENTS_MAX || !trace_get(record, &j->trace))
        return false;
    memcpy(j->id.text, id.p, ID_LEN);
    j->when = (int64_t)when;
    j->rcpts = mem_zalloc(n, sizeof *j->rcpts);
    for (j->n = 0; j->n < n && !in->bad; j->n++) {
        uint64_t number;

        j->rcpts[j->n].path = ipc_get(in);
        number = ipc_get_u64(in);
        if (number > UINT32_MAX)
            return false;
        j->rcpts[j->n].number = (uint32_t)number;
        j->rcpts[j->n].result = -1;
    }
    j->text = ipc_get_fd(in);
    return ipc_end(in);
}

static bool on_deliver(struct role *r, int parent, struct ipc_in *in)
{
    struct job j = {.text = -1};
    struct err e = {0};
    struct ipc_out out;
    bool ok = read_job(in, &j);

    if (ok) {
        deliver(r->state, r, &j, &e);
        ipc_begin(&out, IPC_DELIVERED);
        ipc_put_str(&out, j.id.text);
        ipc_put_u64(&out, e.code);
        ipc_put_u64(&out, j.kept);
        ipc_put_u64(&out, j.n);
        for (size_t i = 0; i < j.n; i++) {
            ipc_put_u64(&out, j.rcpts[i].result == 0          ? ERR_OK
                              : j.rcpts[i].err.code == ERR_OK ? ERR_IO
                                                              : j.rcpts[i].err.code);
            ipc_put_u64(&out, j.rcpts[i].was_there);
        }
        ok = ipc_send_now(parent, &out) == 0;
    }
    free(j.rcpts);
    if (j.text >= 0)
        close(j.text);
    return ok;
}

/* --- whose message is it? --- */

static void inspect(const struct job *j, struct arena *arena, struct slice *from, size_t *n, struct err *e)
{
    struct buf head = BUF_INIT(0);

    *n = 0;
    if (textfile_check(j->text, j->size, e) == 0 && textfile_read_header(j->text, j->size, &head, e) == 0 &&
        !submitted_from(buf_slice(&head), arena, from, SMTP_AUTHORS_MAX, n)) {
        err_set(e, ERR_BAD_FROM, "From");
        *n = 0;
    }
    buf_free(&head);
}

static bool on_inspect(int parent, struct ipc_in *in)
{
    struct slice id = ipc_get(in), from[SMTP_AUTHORS_MAX];
    struct job j = {.size = ipc_get_u64(in)};
    struct arena arena;
    struct err e = {0};
    struct ipc_out out;
    size_t n;
    bool ok;

    j.text = ipc_get_fd(in);
    ok = ipc_end(in) && j.size <= INT64_MAX;
    if (ok) {
        arena_init(&arena, (size_t)1 << 20);
        inspect(&j, &arena, from, &n, &e);
        ipc_begin(&out, IPC_INSPECTED);
        ipc_put(&out, id);
        ipc_put_u64(&out, e.code);
        ipc_put_u64(&out, n);
        for (size_t i = 0; i < n; i++)
            ipc_put(&out, from[i]);
        arena_free(&arena);
        ok = ipc_send_now(parent, &out) == 0;
    }
    if (j.text >= 0)
        close(j.text);
    return ok;
}

static bool on_count(struct role *r, int parent, struct ipc_in *in)
{
    const struct deliver *d = r->state;
    struct slice account = ipc_get(in), path = ipc_get(in);
    uint64_t octets = 0, messages = 0;
    struct err e = {0};
    struct ipc_out out;

    if (!ipc_end(in))
        return false;
    if (delivery_usage(d->mail_root, path, &octets, &messages, &e) < 0) {
        if (e.code == ERR_NO_USER) /* no folders yet: no messages */
            e.code = ERR_OK;
        else
            LOG(STORE_ERROR, NULL, F_STR("what", "count"), F_SLICE("account", account),
                F_STR("why", e.detail));
    }
    ipc_begin(&out, IPC_COUNTED);
    ipc_put(&out, account);
    ipc_put_u64(&out, e.code);
    ipc_put_u64(&out, octets);
    ipc_put_u64(&out, messages);
    return ipc_send_now(parent, &out) == 0;
}

/* --- the role --- */

static int run(struct role *r, struct err *e)
{
    struct deliver *d = mem_zalloc(1, sizeof *d);
    struct buf store = BUF_INIT(IPC_MAX + 64);
    enum role_id peer;
    unsigned instance;
    struct ipc_in in;

    d->mail_root = fs_open_root(r->settings->mail_dir);
    if (d->mail_root < 0)
        return err_errno(e, r->settings->mail_dir);
    d->spool_dir = fs_open_root(r->settings->spool_dir);
    if (d->spool_dir < 0)
        return err_errno(e, r->settings->spool_dir);
    /* of delivers that died: their messages were linked, or their clients never heard 250 */
    fs_remove_old(d->spool_dir, "", (int64_t)time(NULL) - FS_STAGING_LIFE);
    r->state = d;
    while (role_next(r, &store, &in, &peer, &instance) == 1) {
        int fd = role_peer_fd(r, peer, instance);
        bool ok = in.type == IPC_DELIVER   ? on_deliver(r, fd, &in)
                  : in.type == IPC_INSPECT ? on_inspect(fd, &in)
                                           : in.type == IPC_COUNT && on_count(r, fd, &in);

        if (!ok)
            role_peer_bad(r, peer, instance, &in);
        ipc_in_free(&in);
    }
    buf_free(&store);
    return 0;
}

const struct role_ops smtpd_deliver_role = {
    .id = ROLE_SMTPD_DELIVER,
    .run = run,
    .blocking = true,
};
