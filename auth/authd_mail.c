#include "auth/authd.h"

#include <string.h>

#include "common/mem.h"
#include "store/account.h"

#define RECIPIENTS_MAX 1000

/* --- RCPT: may mail for this address come in? --- */

struct room {
    struct directory *d;
    bool some, any; /* an account with room; an account at all */
};

static bool has_room(struct directory *d, const struct directory_account *account)
{
    uint64_t octets, messages;

    return account->quota == 0 || !directory_usage_get(d, slice_str(account->address), &octets, &messages) ||
           octets < account->quota;
}

static void look_for_room(void *ctx, const struct directory_account *account)
{
    struct room *r = ctx;

    r->any = true;
    r->some |= has_room(r->d, account);
}

/*
 * RFC 5321 4.5.1: <postmaster> without a domain reaches somebody; the front takes it for this host's. A host
 * whose name is no mail domain has its postmaster in the first one there is.
 */
static enum err_code look_up(struct authd *a, struct address *address,
    void (*each)(void *ctx, const struct directory_account *account), void *ctx)
{
    enum err_code code = directory_resolve(a->directory, address, each, ctx);

    if (code != ERR_NO_RELAY || !slice_eq_nocase(address->local, SLICE("postmaster")) ||
        !slice_eq_nocase(address->domain, slice_str(a->role->settings->hostname)))
        return code;
    address->domain = SLICE("");
    return directory_resolve(a->directory, address, each, ctx);
}

static bool rcpt_ask(struct authd *a, struct ipc *ch, struct ipc_in *in)
{
    uint64_t session = ipc_get_u64(in);
    struct slice text = ipc_get(in);
    struct room room = {.d = a->directory};
    struct address address;
    struct arena arena;
    enum err_code code = ERR_NO_USER;
    struct ipc_out out;

    if (!ipc_end(in))
        return false;
    arena_init(&arena, 4096);
    if (address_parse(text, &arena, &address) == ADDRESS_OK)
        code = look_up(a, &address, look_for_room, &room);
    if (code == ERR_OK && !room.some)
        code = ERR_OVER_QUOTA;
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
    struct hmap seen;
    struct ipc_out items;
    uint64_t n;
};

static void expand_item(
    struct expansion *x, struct slice account, struct slice path, bool known, enum err_code code)
{
    ipc_put(&x->items, account);
    ipc_put(&x->items, path);
    ipc_put_u64(&x->items, known);
    ipc_put_u64(&x->items, code);
    x->n++;
}

static void expand_account(void *ctx, const struct directory_account *account)
{
    struct expansion *x = ctx;
    struct slice address = slice_str(account->address);
    struct buf path = BUF_INIT(1024);
    uint64_t octets, messages;
    bool known;

    /* one copy an account, however many of the addresses lead to it */
    if (hmap_put(&x->seen, address, x))
        return;
    if (account_path(address, &path, NULL) < 0) {
        buf_free(&path);
        return;
    }
    /* without a quota it is counted as well: `postamt account list` shows what is used */
    known = directory_usage_get(x->a->directory, address, &octets, &messages);
    expand_item(
        x, address, buf_slice(&path), known, has_room(x->a->directory, account) ? ERR_OK : ERR_OVER_QUOTA);
    buf_free(&path);
}

static bool may_send(struct authd *a, struct slice account, struct slice reverse_path, struct arena *arena)
{
    struct address address;

    if (account.n == 0 || reverse_path.n == 0) /* port 25; or a report about a message, from nobody */
        return true;
    return address_parse(reverse_path, arena, &address) == ADDRESS_OK &&
           directory_may_send(a->directory, account, &address);
}

static bool expand(struct authd *a, struct ipc *ch, struct ipc_in *in)
{
    struct slice transaction = ipc_get(in), account = ipc_get(in), reverse_path = ipc_get(in);
    uint64_t n = ipc_get_u64(in);
    struct expansion x = {.a = a};
    struct arena arena;
    enum err_code code = ERR_OK;
    struct ipc_out out;

    if (in->bad || n > RECIPIENTS_MAX)
        return false;
    arena_init(&arena, 1 << 20);
    ipc_begin(&x.items, IPC_EXPANDED);
    if (!may_send(a, account, reverse_path, &arena))
        code = ERR_SENDER_DENIED;
    for (uint64_t i = 0; i < n && !in->bad; i++) {
        struct slice text = ipc_get(in);
        struct address address;
        enum err_code one = ERR_NO_USER;

        if (code != ERR_OK)
            continue;
        if (address_parse(text, &arena, &address) == ADDRESS_OK)
            one = look_up(a, &address, expand_account, &x);
        if (one != ERR_OK)
            expand_item(&x, text, SLICE(""), true, one);
    }
    arena_free(&arena);
    hmap_free(&x.seen);
    if (!ipc_end(in)) {
        buf_free(&x.items.buf);
        return false;
    }
    ipc_begin(&out, IPC_EXPANDED);
    ipc_put(&out, transaction);
    ipc_put_u64(&out, code);
    ipc_put_u64(&out, x.n);
    /* what was put into items stands behind its four octets of header */
    buf_add(&out.buf, slice_from(buf_slice(&x.items.buf), 4));
    buf_free(&x.items.buf);
    ipc_send(ch, &out);
    return true;
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
