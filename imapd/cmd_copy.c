#include "imapd/commands.h"

#include "common/log.h"
#include "imapd/session.h"

struct copy {
    struct imap_set set;
    struct slice to;
};

static bool check(struct imap_cmd *c)
{
    struct copy *copy = arena_zalloc(c->arena, 1, sizeof *copy);

    c->data = copy;
    if (!copy || !imap_parse_set(&c->args, &copy->set) || !imap_parse_space(&c->args) ||
        !imap_parse_mailbox(&c->args, c->s->utf8, &copy->to))
        return imap_check_failed(c);
    return imap_check_none(c);
}

static uint64_t octets_of(const struct mailbox *m, const uint32_t *uids, size_t n)
{
    uint64_t octets = 0;

    for (size_t i = 0; i < n; i++) {
        const struct message *msg = mailbox_by_uid(m, uids[i]);

        octets += msg ? msg->size : 0;
    }
    return octets;
}

/* Leaves out what was gone; returns how many are left. */
static size_t copied(uint32_t *uids, uint32_t *new_uids, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (!new_uids[i])
            continue;
        uids[kept] = uids[i];
        new_uids[kept++] = new_uids[i];
    }
    return kept;
}

/* "COPYUID validity source-set destination-set" (RFC 4315 3) */
static void write_copyuid(
    struct buf *out, uint32_t validity, const uint32_t *uids, const uint32_t *new_uids, size_t n)
{
    buf_printf(out, "COPYUID %u ", validity);
    imap_set_write(out, uids, n);
    buf_add_char(out, ' ');
    imap_set_write(out, new_uids, n);
}

static enum imap_step transfer(struct imap_cmd *c, bool move)
{
    struct imap_session *s = c->s;
    const struct copy *copy = c->data;
    struct imap_targets t;
    uint32_t *new_uids, validity = 0;
    struct err e = {0};
    uint64_t octets;
    size_t n;

    if (!imap_targets(c, &copy->set, c->uid, &t))
        return imap_reply(c, IMAP_BAD, NULL, "%s", c->error);
    new_uids = arena_zalloc(c->arena, t.n, sizeof *new_uids);
    if (!new_uids)
        return imap_reply_err(c, &(struct err){.code = ERR_LIMIT});
    if (t.n == 0) {
        if (!account_has(s->account, copy->to))
            return imap_reply_err(c, &(struct err){.code = ERR_TRY_CREATE});
        return IMAP_DONE;
    }
    octets = octets_of(s->mailbox, t.uids, t.n);
    if (!move && !worker_has_room(s->ws->worker, octets))
        return imap_reply_err(c, &(struct err){.code = ERR_OVER_QUOTA});
    if (mailbox_copy(s->mailbox, t.uids, t.n, copy->to, move, new_uids, &validity, &e) < 0)
        return imap_reply_err(c, &e);
    n = copied(t.uids, new_uids, t.n);
    if (!move && n)
        worker_usage(s->ws->worker, octets, 0, n, 0);
    if (n) {
        imap_refresh_all(s->ws->worker, copy->to, s);
        if (move) {
            /* RFC 6851 4.3: before the EXPUNGEs, so that the client can follow the messages */
            struct buf *out = imap_out(s);

            buf_add_str(out, "* OK [");
            write_copyuid(out, validity, t.uids, new_uids, n);
            buf_add_str(out, "] moved\r\n");
            imap_announce(s, s->mailbox);
        } else {
            write_copyuid(&c->code, validity, t.uids, new_uids, n);
        }
    }
    if (n < t.n && !c->uid) {
        buf_clear(&c->code);
        return imap_reply(c, IMAP_NO, "EXPUNGEISSUED",
            "some of the messages were deleted by another program; %s",
            move ? "the others are moved" : "nothing was lost, the others are copied");
    }
    return IMAP_DONE;
}

/* RFC 3501 6.4.7 */
static enum imap_step run_copy(struct imap_cmd *c)
{
    return transfer(c, false);
}

/* RFC 6851 3.1 */
static enum imap_step run_move(struct imap_cmd *c)
{
    return transfer(c, true);
}

const struct imap_command imap_cmd_copy = {
    .name = "COPY",
    .states = IMAP_IN_SELECTED,
    .flags = IMAP_HAS_UID,
    .arguments = "sequence-set mailbox",
    .rfc = "RFC 3501 6.4.7",
    .check = check,
    .run = run_copy,
};

const struct imap_command imap_cmd_move = {
    .name = "MOVE",
    .states = IMAP_IN_SELECTED,
    .flags = IMAP_HAS_UID | IMAP_CHANGES,
    .arguments = "sequence-set mailbox",
    .capability = "MOVE",
    .rfc = "RFC 6851 3.1",
    .check = check,
    .run = run_move,
};
