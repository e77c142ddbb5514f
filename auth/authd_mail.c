#include "auth/authd.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "auth/directory_name.h"
#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/account.h"

#define RECIPIENTS_MAX 1000
#define ITEMS_OCTETS ((size_t)48 * 1024) /* of answers in one message; one of them has at most 3 KiB */

/* --- where mail for a recipient goes --- */

/* What is asked, and what is the answer beside the places that each() gets. */
struct question {
    struct authd *a;
    struct arena *arena;
    bool may_leave; /* the sender logged in */
    bool is_report; /* the reverse-path is null */
    void (*each)(void *ctx, const struct directory_target *target);
    void *ctx;
    struct buf elsewhere; /* the recipient himself is there; empty: he is not */
    bool is_rewritten;    /* .. and the address of ours is one of srs.h */
};

/*
 * RFC 5321 4.5.1: <postmaster> without a domain reaches somebody; the front takes it for this host's. A host
 * whose name is no mail domain has its postmaster in the first one there is.
 */
static enum err_code look_up(struct question *q, struct address *address)
{
    struct authd *a = q->a;
    enum err_code code = directory_resolve(a->directory, address, q->each, q->ctx);

    if (code != ERR_NO_RELAY || !slice_eq_nocase(address->local, SLICE("postmaster")) ||
        !slice_eq_nocase(address->domain, slice_str(a->role->settings->hostname)))
        return code;
    address->domain = SLICE("");
    return directory_resolve(a->directory, address, q->each, q->ctx);
}

static bool is_backup(const struct settings *s, struct slice domain)
{
    for (size_t i = 0; i < s->nbackups; i++)
        if (slice_eq_nocase(domain, slice_str(s->backups[i].domain)))
            return true;
    return false;
}

/* The local part is the other server's to understand, the domain has one form. */
static bool set_elsewhere(struct question *q, struct address address)
{
    struct name n = {.text = BUF_INIT(0)};
    bool good = address.is_literal || name_of_domain(address.domain, &n);

    if (good && !address.is_literal)
        address.domain = n.domain;
    if (good)
        address_format(&q->elsewhere, &address);
    name_free(&n);
    return good;
}

/* An address that srs.h made brings a report back to the sender of what an alias forwarded, and nothing else.
 */
static enum srs take_back(struct question *q, struct address *address)
{
    struct buf text = BUF_INIT(1024);
    enum srs kind = directory_has_domain(q->a->directory, address->domain)
                        ? srs_reverse(q->a->srs_secret, (int64_t)time(NULL), address, &text)
                        : SRS_NONE;

    if (kind == SRS_OK && (!q->is_report || address_parse(arena_copy(q->arena, buf_slice(&text)), q->arena,
                                                address) != ADDRESS_OK))
        kind = SRS_REFUSED;
    buf_free(&text);
    return kind;
}

static enum err_code find(struct question *q, struct slice text)
{
    struct address address;
    enum err_code code;
    enum srs srs;

    if (address_parse(text, q->arena, &address) != ADDRESS_OK)
        return ERR_NO_USER;
    srs = take_back(q, &address);
    if (srs == SRS_REFUSED)
        return ERR_NO_USER;
    code = look_up(q, &address);
    if (code != ERR_NO_RELAY)
        return code;
    q->is_rewritten = srs == SRS_OK;
    if (!q->may_leave && !q->is_rewritten && !is_backup(q->a->role->settings, address.domain))
        return ERR_NO_RELAY;
    return set_elsewhere(q, address) ? ERR_OK : ERR_NO_RELAY;
}

/* --- RCPT: may mail for this address come in? --- */

struct room {
    struct directory *d;
    bool some; /* an account with room, or a place elsewhere */
};

static bool has_room(struct directory *d, const struct directory_account *account)
{
    uint64_t octets, messages;

    return account->quota == 0 || !directory_usage_get(d, slice_str(account->address), &octets, &messages) ||
           octets < account->quota;
}

static void look_for_room(void *ctx, const struct directory_target *target)
{
    struct room *r = ctx;

    r->some |= !target->account || has_room(r->d, target->account);
}

static bool rcpt_ask(struct authd *a, struct ipc *ch, struct ipc_in *in)
{
    uint64_t session = ipc_get_u64(in);
    struct slice text = ipc_get(in);
    struct room room = {.d = a->directory};
    struct arena arena;
    struct question q = {.a = a,
        .arena = &arena,
        .may_leave = ipc_get_bool(in),
        .is_report = true, /* EXPAND knows */
        .each = look_for_room,
        .ctx = &room,
        .elsewhere = BUF_INIT(1024)};
    enum err_code code;
    struct ipc_out out;

    if (!ipc_end(in))
        return false;
    arena_init(&arena, 8192);
    code = find(&q, text);
    if (code == ERR_OK && !room.some && !q.elsewhere.n)
        code = ERR_OVER_QUOTA;
    buf_free(&q.elsewhere);
    arena_free(&arena);
    ipc_begin(&out, IPC_RCPT_ANSWER);
    ipc_put_u64(&out, session);
    ipc_put_u64(&out, code);
    ipc_send(ch, &out);
    return true;
}

/* --- EXPAND: the accounts a message goes to --- */

struct expansion {
    struct authd *a;
    struct ipc *ch;
    struct arena arena;
    struct slice transaction, account, reverse_path;
    enum err_code code;
    enum reply_language language;
    struct hmap seen; /* accounts, and addresses elsewhere: one copy each, whatever leads to it */
    struct ipc_out items;
    uint64_t n, index; /* index: of the recipient that is expanded */
};

/* What was collected. */
static void send_items(struct expansion *x, bool more)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_EXPANDED);
    ipc_put(&out, x->transaction);
    ipc_put_u64(&out, x->code);
    ipc_put_u64(&out, x->language);
    ipc_put_u64(&out, more);
    ipc_put_u64(&out, x->n);
    /* what was put into items stands behind its four octets of header */
    buf_add(&out.buf, slice_from(buf_slice(&x->items.buf), 4));
    buf_free(&x->items.buf);
    ipc_send(x->ch, &out);
    ipc_begin(&x->items, IPC_EXPANDED);
    x->n = 0;
}

struct item {
    enum err_code code;
    struct slice account, path;
    bool known;
    struct slice elsewhere, forward, reverse_path;
};

static void put_item(struct expansion *x, struct item item)
{
    if (x->items.buf.n > ITEMS_OCTETS)
        send_items(x, true);
    ipc_put_u64(&x->items, x->index);
    ipc_put_u64(&x->items, item.code);
    ipc_put(&x->items, item.account);
    ipc_put(&x->items, item.path);
    ipc_put_u64(&x->items, item.known);
    ipc_put(&x->items, item.elsewhere);
    ipc_put(&x->items, item.forward);
    ipc_put(&x->items, item.reverse_path);
    x->n++;
}

static void put_account(struct expansion *x, const struct directory_account *account)
{
    struct slice address = slice_str(account->address);
    struct buf path = BUF_INIT(1024);
    uint64_t octets, messages;

    if (hmap_put(&x->seen, address, x))
        return;
    if (account_path(address, &path, NULL) == 0)
        put_item(x, (struct item){.code = has_room(x->a->directory, account) ? ERR_OK : ERR_OVER_QUOTA,
                        .account = address,
                        .path = buf_slice(&path),
                        /* without a quota it is counted as well: `postamt account list` shows what is used */
                        .known = directory_usage_get(x->a->directory, address, &octets, &messages)});
    buf_free(&path);
}

/* Of mail that an alias of ours sends on: an address of ours, where reports come back (srs.h). */
static void reverse_path_for(struct expansion *x, struct slice forward, struct buf *out)
{
    struct slice domain = slice_from(forward, (size_t)(slice_rchr(forward, '@') + 1));
    struct address from;

    if (address_parse(x->reverse_path, &x->arena, &from) != ADDRESS_OK)
        return; /* the null one */
    /* from outside an address of ours says nothing: it would leave with our good name */
    if (x->account.n && directory_has_domain(x->a->directory, from.domain))
        buf_add(out, x->reverse_path);
    else
        srs_forward(x->a->srs_secret, (int64_t)time(NULL), &from, domain, out);
}

static void put_elsewhere(struct expansion *x, struct slice elsewhere, struct slice forward)
{
    struct buf key = BUF_INIT(1024), path = BUF_INIT(1024);

    /* an account has no blank in front */
    buf_printf(&key, " %.*s", SLICE_FMT(elsewhere));
    if (forward.n)
        reverse_path_for(x, forward, &path);
    else
        buf_add(&path, x->reverse_path);
    if (!hmap_put(&x->seen, buf_slice(&key), x))
        put_item(
            x, (struct item){.elsewhere = elsewhere, .forward = forward, .reverse_path = buf_slice(&path)});
    buf_free(&key);
    buf_free(&path);
}

static void expand_target(void *ctx, const struct directory_target *target)
{
    if (target->account)
        put_account(ctx, target->account);
    else
        put_elsewhere(ctx, slice_str(target->elsewhere), slice_str(target->forward));
}

static void expand_one(struct expansion *x, struct slice text)
{
    struct question q = {.a = x->a,
        .arena = &x->arena,
        .may_leave = x->account.n > 0,
        .is_report = x->reverse_path.n == 0,
        .each = expand_target,
        .ctx = x,
        .elsewhere = BUF_INIT(1024)};
    enum err_code code = find(&q, text);

    if (code != ERR_OK)
        put_item(x, (struct item){.code = code});
    else if (q.elsewhere.n)
        put_elsewhere(x, buf_slice(&q.elsewhere), q.is_rewritten ? text : SLICE(""));
    buf_free(&q.elsewhere);
    arena_reset(&x->arena);
}

static bool may_send(struct expansion *x, struct slice as)
{
    struct address address;
    bool may = address_parse(as, &x->arena, &address) == ADDRESS_OK &&
               directory_may_send(x->a->directory, x->account, &address);

    arena_reset(&x->arena);
    return may;
}

/* The reverse-path (the null one is anybody's: a report about a message) and the authors in From. */
static bool check_sender(struct expansion *x, struct ipc_in *in)
{
    uint64_t m = ipc_get_u64(in);
    bool may = x->account.n == 0 || x->reverse_path.n == 0 || may_send(x, x->reverse_path);

    if (m > RECIPIENTS_MAX)
        return false;
    for (uint64_t i = 0; i < m && !in->bad; i++) {
        struct slice author = ipc_get(in);

        may = may && (x->account.n == 0 || may_send(x, author));
    }
    if (!may)
        x->code = ERR_SENDER_DENIED;
    return !in->bad;
}

static void learn_language(struct expansion *x)
{
    struct directory_account entry;

    if (x->account.n && directory_account_get(x->a->directory, x->account, &entry, NULL) == 0) {
        x->language = entry.language;
        mem_wipe(&entry, sizeof entry);
    }
}

static bool expand_all(struct expansion *x, struct ipc_in *in)
{
    uint64_t n;

    x->transaction = ipc_get(in);
    x->account = ipc_get(in);
    x->reverse_path = ipc_get(in);
    if (!check_sender(x, in))
        return false;
    n = ipc_get_u64(in);
    if (in->bad || n > RECIPIENTS_MAX)
        return false;
    learn_language(x);
    for (x->index = 0; x->index < n && !in->bad; x->index++) {
        struct slice text = ipc_get(in);

        if (x->code == ERR_OK)
            expand_one(x, text);
    }
    return ipc_end(in);
}

static bool expand(struct authd *a, struct ipc *ch, struct ipc_in *in)
{
    struct expansion x = {.a = a, .ch = ch};
    bool ok;

    arena_init(&x.arena, 1 << 16);
    ipc_begin(&x.items, IPC_EXPANDED);
    ok = expand_all(&x, in);
    if (ok)
        send_items(&x, false);
    buf_free(&x.items.buf);
    arena_free(&x.arena);
    hmap_free(&x.seen);
    return ok;
}

/* --- the secret of srs.h --- */

int mail_open(struct authd *a, struct err *e)
{
    static const char name[] = "srs.secret";
    int dir = directory_folder(a->directory);
    struct buf secret = BUF_INIT(SRS_SECRET_LEN + 1);
    int rc = fs_load(dir, name, &secret, SRS_SECRET_LEN);

    if (rc == 0 && secret.n == SRS_SECRET_LEN) {
        memcpy(a->srs_secret, secret.p, SRS_SECRET_LEN);
    } else if (rc < 0 && errno != ENOENT && errno != EFBIG) {
        rc = err_errno(e, name);
    } else {
        if (rc == 0 || errno == EFBIG)
            LOG(DIRECTORY, NULL,
                F_STR("repaired", "srs.secret was no secret; reports to older forwards are lost"));
        id_random(a->srs_secret, SRS_SECRET_LEN);
        rc = fs_replace(dir, "srs.new", dir, name, slice_of(a->srs_secret, SRS_SECRET_LEN), 0600, true);
        if (rc < 0)
            rc = err_errno(e, name);
    }
    if (secret.p)
        mem_wipe(secret.p, secret.size);
    buf_free(&secret);
    return rc;
}

/* --- usage --- */

void mail_send_quota(struct authd *a, struct slice account)
{
    static const enum role_id parents[] = {ROLE_IMAPD_PARENT, ROLE_POP3D_PARENT};
    struct directory_account entry;
    uint64_t octets = 0, messages = 0;

    if (directory_account_get(a->directory, account, &entry, NULL) < 0 || entry.quota == 0)
        return;
    directory_usage_get(a->directory, account, &octets, &messages);
    for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
        struct ipc_out out;

        ipc_begin(&out, IPC_QUOTA_NOW);
        ipc_put(&out, account);
        ipc_put_u64(&out, entry.quota);
        ipc_put_u64(&out, octets);
        ipc_send(role_peer(a->role, parents[i], 0), &out);
    }
}

static bool usage(struct authd *a, struct ipc_in *in)
{
    struct slice account = ipc_get(in);
    int64_t n[4];

    for (int i = 0; i < 4; i++) {
        uint64_t v = ipc_get_u64(in);

        if (v > INT64_MAX / 4)
            return false;
        n[i] = (int64_t)v;
    }
    if (!ipc_end(in))
        return false;
    if (directory_usage_add(a->directory, account, n[0] - n[1], n[2] - n[3]))
        mail_send_quota(a, account);
    return true;
}

static bool usage_set(struct authd *a, struct ipc_in *in)
{
    struct slice account = ipc_get(in);
    uint64_t octets = ipc_get_u64(in), messages = ipc_get_u64(in);

    if (!ipc_end(in))
        return false;
    directory_usage_set(a->directory, account, octets, messages);
    mail_send_quota(a, account);
    return true;
}

bool mail_message(struct authd *a, struct ipc *ch, struct ipc_in *in)
{
    switch (in->type) {
    case IPC_RCPT_ASK:
        return rcpt_ask(a, ch, in);
    case IPC_EXPAND:
        return expand(a, ch, in);
    case IPC_USAGE:
        return usage(a, in);
    case IPC_USAGE_SET:
        return usage_set(a, in);
    default:
        return false;
    }
}
