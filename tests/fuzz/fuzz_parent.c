/*
 * The parents of the daemons hear their neighbours say anything in any order: a front (which may be
 * captured), authd, the spawner and its workers, the delivers. No order of messages brings a parent down, and
 * a session is an account's only after authd said so.
 *
 * Input: the first octet chooses the daemon; then records of a peer, a type and an octet for each field of
 * the type as common/ipc.h lists them, which picks a number or one of the words below. A peer of 0xe0 or more
 * dies and comes back.
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "session/parent.h"
#include "smtpd/roles.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PEERS 6
#define WORKERS 4
#define REPEAT_MAX 5

static const char *const fields_of[] = {
#define X(name, fds_, fields_) fields_,
    IPC_TABLE(X)
#undef X
};
static const bool has_fd[] = {
#define X(name, fds_, fields_) fds_ > 0,
    IPC_TABLE(X)
#undef X
};

static const char *const words[] = {"", "d0000000000a1", "d0000000000b2", "anna@example.test",
    "bert@example.test", "example.test/anna", "example.test/bert", "0123456789abcdef", "fedcba9876543210",
    "192.0.2.1", "2001:db8::1", "127.0.0.1", ".Sent", "../..", "a1", "a\nb", "TLSv1.3"};

struct daemon {
    struct role_ops ops;
    struct {
        enum role_id id;
        unsigned instance;
    } peers[PEERS];
};

static unsigned per_address(const struct settings *s)
{
    return s->connections_per_address;
}

static const struct parent_ops imap_ops = {
    .front = ROLE_IMAPD_FRONT, .spawner = ROLE_IMAPD_SPAWNER, .per_address = per_address};

static int run_imap(struct role *r, struct err *e)
{
    return parent_run(r, &imap_ops, e);
}

static struct daemon daemons[] = {
    {.peers = {{ROLE_SMTPD_FRONT, 0}, {ROLE_SMTPD_FRONT, 1}, {ROLE_AUTHD, 0}, {ROLE_SMTPD_DELIVER, 0},
         {ROLE_SMTPD_DELIVER, 1}, {ROLE_QUEUED, 0}}},
    {.ops = {.id = ROLE_IMAPD_PARENT,
         .run = run_imap,
         .message = parent_message,
         .peer = parent_peer,
         .reloaded = parent_reloaded,
         .status = parent_status},
        .peers = {{ROLE_IMAPD_FRONT, 0}, {ROLE_IMAPD_FRONT, 1}, {ROLE_AUTHD, 0}, {ROLE_IMAPD_SPAWNER, 0},
            {ROLE_IMAPD_FRONT, 2}, {ROLE_IMAPD_FRONT, 3}}},
};

static struct settings settings = {.hostname = (char *)"mx.example.test",
    .connections_per_address = 4,
    .smtp_connections_per_address = 4,
    .connections_per_user = 3,
    .new_per_minute = 1000,
    .mail_dir = (char *)"/nonexistent",
    .state_dir = (char *)"/nonexistent"};
static struct role roles[2]; /* what a parent holds ends with its process: made once */
static struct role *role;
static struct daemon *daemon_now;
static int far[PEERS], workers[WORKERS];

static bool to_parent(void *ctx, struct ipc *ch, struct ipc_in *message)
{
    size_t i = (size_t)(uintptr_t)ctx;

    return daemon_now->ops.message(role, daemon_now->peers[i].id, daemon_now->peers[i].instance, ch, message);
}

static void gone(void *ctx, struct ipc *ch)
{
    size_t i = (size_t)(uintptr_t)ctx;

    (void)ch;
    role->peers[i].ch = NULL;
    daemon_now->ops.peer(role, daemon_now->peers[i].id, daemon_now->peers[i].instance, NULL);
}

static void connect_peer(size_t i)
{
    int fds[2];

    INVARIANT(ipc_pair(fds) == 0);
    far[i] = fds[1];
    INVARIANT(fcntl(far[i], F_SETFL, O_NONBLOCK) == 0);
    role->peers[i].id = daemon_now->peers[i].id;
    role->peers[i].instance = daemon_now->peers[i].instance;
    role->peers[i].ch = ipc_new(role->base, fds[0], "peer", to_parent, gone, (void *)(uintptr_t)i);
    daemon_now->ops.peer(role, role->peers[i].id, role->peers[i].instance, role->peers[i].ch);
}

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        event_base_loop(role->base, EVLOOP_NONBLOCK);
}

/* The parent sees the end of the channel, if it has not closed it itself. */
static void die(size_t i)
{
    if (far[i] >= 0)
        close(far[i]);
    far[i] = -1;
    turn();
    INVARIANT(!role->peers[i].ch);
}

static struct role *start(size_t which)
{
    struct err e = {0};

    role = &roles[which];
    daemon_now = &daemons[which];
    if (role->base)
        return role;
    if (which == 0)
        daemon_now->ops = smtpd_parent_role;
    role->ops = &daemon_now->ops;
    role->base = event_base_new();
    INVARIANT(role->base);
    role->settings = &settings;
    role->npeers = PEERS;
    INVARIANT(role->ops->run(role, &e) == 0);
    return role;
}

/* Reads away what the parent said; keeps the ends of the workers it asks for. */
static void hear(size_t i)
{
    static struct buf store; /* 64 KiB: not anew each time */
    struct ipc_in in;

    while (far[i] >= 0 && ipc_recv(far[i], &store, &in) == 1) {
        if (in.type == IPC_SPAWN) {
            int slot = (int)(ipc_get_u64(&in) % WORKERS), fd;

            ipc_get(&in);
            ipc_get(&in);
            fd = ipc_get_fd(&in);
            INVARIANT(ipc_end(&in) && fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
            if (workers[slot] >= 0)
                close(workers[slot]);
            workers[slot] = fd;
        }
        ipc_in_free(&in);
    }
}

static uint8_t next(struct slice *in)
{
    uint8_t c = in->n ? (uint8_t)in->p[0] : 0;

    *in = slice_from(*in, 1);
    return c;
}

static uint64_t put_field(struct ipc_out *out, char letter, uint8_t c)
{
    switch (letter) {
    case 'b':
        ipc_put_u64(out, c < 0xf0 ? c & 1 : c);
        break;
    case 'e':
        ipc_put_u64(out, c < 0x80 ? 0 : c);
        break;
    case 'u':
        ipc_put_u64(out, c < 0xf0 ? c % 8 : UINT64_MAX - (c & 1));
        return c < 0xf0 ? c % 8 : 1000;
    default:
        ipc_put_str(out, words[c % (sizeof words / sizeof *words)]);
        break;
    }
    return 0;
}

static uint64_t put_fields(struct ipc_out *out, struct slice fields, struct slice *in)
{
    struct slice field;
    uint64_t last = 0;

    while (slice_cut(&fields, ',', &field)) {
        field = slice_trim(field);
        if (field.n == 1 || (field.n > 1 && (field.p[1] == ' ' || field.p[1] == ';')))
            last = put_field(out, field.p[0], next(in));
    }
    return last;
}

/* One message as the table has it; then and when shorter or longer than it should be. */
static void put_message(struct ipc_out *out, enum ipc_type type, struct slice *in)
{
    struct slice fields = slice_str(fields_of[type]), head = fields, again = slice_of("", 0);
    ssize_t at = slice_find(fields, SLICE("n times:")), skip = 8;
    uint64_t n;
    uint8_t wrong;

    if (at < 0) {
        at = slice_find(fields, SLICE("n: "));
        skip = 2;
    }
    if (at >= 0) {
        head = slice_sub(fields, 0, (size_t)at);
        again = slice_from(fields, (size_t)(at + skip));
    }
    ipc_begin(out, type);
    n = put_fields(out, head, in);
    for (uint64_t i = 0; again.n && i < n && i < REPEAT_MAX; i++)
        put_fields(out, again, in);
    wrong = next(in);
    if (wrong == 0xff)
        buf_cut(&out->buf, 4 + (out->buf.n - 4) / 2);
    else if (wrong == 0xfe)
        ipc_put_u64(out, 1);
    if (has_fd[type] && wrong != 0xfd)
        ipc_put_fd(out, memfd_create("text", MFD_CLOEXEC));
}

static void record(struct slice *in)
{
    uint8_t who = next(in), type = next(in);
    size_t i = who % PEERS;
    struct ipc_out out;

    if (who >= 0xe0) {
        die(i);
        connect_peer(i);
        turn();
        return;
    }
    put_message(&out, (enum ipc_type)(type % IPC_TYPE_COUNT), in);
    if (who >= 0x80 && workers[who % WORKERS] >= 0)
        ipc_send_now(workers[who % WORKERS], &out);
    else if (far[i] >= 0)
        ipc_send_now(far[i], &out);
    else
        ipc_send(NULL, &out);
    turn();
    for (i = 0; i < PEERS; i++) {
        hear(i);
        if (far[i] >= 0 && !role->peers[i].ch) { /* it did not like what we said */
            close(far[i]);
            far[i] = -1;
            connect_peer(i);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct buf status = BUF_INIT(BUF_OWN);

    if (size == 0)
        return 0;
    log_open(-1, (enum log_level)(LOG_LEVEL_ERROR + 1));
    role = start(next(&in) & 1);
    for (size_t i = 0; i < WORKERS; i++)
        workers[i] = -1;
    for (size_t i = 0; i < PEERS; i++)
        connect_peer(i);
    for (int i = 0; in.n && i < 200; i++)
        record(&in);
    if (daemon_now->ops.status)
        daemon_now->ops.status(role, &status);
    /* all go: nothing of this input is left for the next */
    for (size_t i = 0; i < PEERS; i++)
        die(i);
    for (size_t i = 0; i < WORKERS; i++)
        if (workers[i] >= 0)
            close(workers[i]);
    turn();
    buf_free(&status);
    return 0;
}
