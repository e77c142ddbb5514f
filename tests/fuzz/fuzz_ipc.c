/*
 * What a captured neighbour may write into a channel: header, octets and descriptors of any kind. A message
 * is refused or has a type and no more descriptors than its type may have; reading its fields stays inside
 * it; a wrong one stays wrong; no descriptor is lost. The first octet says how many descriptors go along; the
 * rest is the message.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ipc.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    size_t fds;
    const char *fields;
} types[] = {
#define X(name, fds_, fields_) {fds_, fields_},
    IPC_TABLE(X)
#undef X
};

static void send_raw(int to, struct slice octets, size_t nfds)
{
    union {
        char octets[CMSG_SPACE(sizeof(int) * 8)];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)octets.p, .iov_len = octets.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (nfds) {
        struct cmsghdr *c;

        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        for (size_t i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &to, sizeof to);
    }
    INVARIANT(sendmsg(to, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0);
}

static void check_inside(struct slice s, const struct buf *store)
{
    INVARIANT(s.n == 0 || (s.p >= store->p && s.p + s.n <= store->p + store->n));
}

/* Reads a field as the letter of the table says. */
static void get_field(struct ipc_in *in, char letter, const struct buf *store)
{
    bool was_bad = in->bad;
    size_t rest = in->rest.n;
    struct slice s;

    switch (letter) {
    case 'u':
        INVARIANT(ipc_get_u64(in) == 0 || !was_bad);
        break;
    case 'b':
        INVARIANT(!ipc_get_bool(in) || !was_bad);
        break;
    case 'e':
        INVARIANT(ipc_get_err(in) < ERR_COUNT);
        break;
    default:
        s = ipc_get(in);
        check_inside(s, store);
        INVARIANT(s.n == 0 || !was_bad);
        break;
    }
    INVARIANT(in->rest.n <= rest && (!was_bad || in->bad));
    check_inside(in->rest, store);
}

/* "u session, s tag; fd": the first letter behind each comma. "n times" are read as long as they come. */
static void get_all(struct ipc_in *in, const struct buf *store)
{
    struct slice fields = slice_str(types[in->type].fields), field;
    const char *repeated = strstr(types[in->type].fields, "n times");
    bool bad;

    while (slice_cut(&fields, ',', &field)) {
        field = slice_trim(field);
        if (field.n > 1 && field.p[1] == ' ')
            get_field(in, field.p[0], store);
    }
    for (int i = 0; repeated && !in->bad && in->rest.n && i < 10000; i++)
        get_field(in, 's', store);
    bad = in->bad;
    INVARIANT(ipc_end(in) == (!bad && in->rest.n == 0));
    for (size_t i = in->nfds; i < IPC_FDS_MAX + 1; i++)
        if (in->taken == in->nfds)
            INVARIANT(ipc_get_fd(in) == -1 && in->bad);
}

/* Writes what was read: the same again. */
static void check_round(struct slice text, uint64_t number)
{
    struct buf store = BUF_INIT(0);
    struct ipc_out out;
    struct ipc_in in;
    int fds[2];

    INVARIANT(ipc_pair(fds) == 0);
    ipc_begin(&out, IPC_QUOTA_NOW);
    ipc_put(&out, text);
    ipc_put_u64(&out, number);
    ipc_put_u64(&out, ~number);
    if (ipc_send_now(fds[0], &out) == 0) {
        INVARIANT(ipc_recv(fds[1], &store, &in) == 1 && in.type == IPC_QUOTA_NOW);
        INVARIANT(slice_eq(ipc_get(&in), text) && ipc_get_u64(&in) == number && ipc_get_u64(&in) == ~number);
        INVARIANT(ipc_end(&in));
    } else {
        INVARIANT(text.n + 24 > IPC_MAX);
    }
    buf_free(&store);
    close(fds[0]);
    close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf store = BUF_INIT(0);
    struct ipc_in in;
    int fds[2], next, rc;
    size_t nfds;

    if (size < 1)
        return 0;
    nfds = data[0] % 7;
    INVARIANT(ipc_pair(fds) == 0);
    send_raw(fds[0], slice_of(data + 1, size - 1), nfds);
    rc = ipc_recv(fds[1], &store, &in);
    if (rc == 1) {
        INVARIANT((unsigned)in.type < IPC_TYPE_COUNT && in.nfds <= types[in.type].fds && in.nfds == nfds);
        get_all(&in, &store);
        ipc_in_free(&in);
    } else {
        INVARIANT(rc == (size == 1 && nfds == 0 ? 0 : -1) && (rc == 0 || errno == EBADMSG));
    }
    /* the lowest free descriptor is the next behind the pair: nothing is left open */
    next = dup(fds[0]);
    INVARIANT(next >= 0 && next <= (fds[0] > fds[1] ? fds[0] : fds[1]) + 1);
    close(next);
    close(fds[0]);
    close(fds[1]);
    buf_free(&store);
    check_round(slice_of(data, size), size * 0x9e3779b97f4a7c15ULL);
    return 0;
}
