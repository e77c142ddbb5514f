#include "queue/send.h"

#include <string.h>
#include <unistd.h>

#include "common/mem.h"

enum { SMTPUTF8 = 1, EIGHT_BIT = 2, REQUIRETLS = 4 };

#define NOTIFY_ALL 15u                   /* all bits of enum dsn_notify */
#define REPLIES_OCTETS 60000u            /* of a result, with what goes along with each */
#define REPLY_OVERHEAD 40u               /* octets of a recipient besides its reply */
#define MAX_OFFSET ((uint64_t)INT64_MAX) /* of a file */

/* What we say ourselves; over the channel goes the place in this list, so that it stays static text. */
static const char *const statuses[] = {SEND_STATUSES(SEND_STATUS_TEXT)};

static uint64_t status_number(const char *status)
{
    if (!status)
        return 0;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (strcmp(statuses[i], status) == 0)
            return i + 1;
    mem_panic("the status of a verdict is not in SEND_STATUSES", __FILE__, __LINE__);
}

/* The start of s, n octets at most, without part of a character at the end. */
static struct slice cut(struct slice s, size_t n)
{
    if (s.n <= n)
        return s;
    while (n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return slice_sub(s, 0, n);
}

void send_job_put(struct ipc_out *out, const struct send_job *j, const struct route *route, int fd)
{
    ipc_begin(out, IPC_SEND);
    ipc_put(out, j->id);
    ipc_put_u64(out, j->connection);
    ipc_put(out, j->helo);
    ipc_put(out, j->reverse_path);
    ipc_put(out, j->envid);
    ipc_put_u64(out, j->ret);
    ipc_put_u64(out,
        (j->smtputf8 ? SMTPUTF8 : 0u) | (j->is_8bit ? EIGHT_BIT : 0u) | (j->requiretls ? REQUIRETLS : 0u));
    ipc_put_u64(out, j->text);
    ipc_put_u64(out, j->size);
    ipc_put_u64(out, j->n);
    for (uint32_t i = 0; i < j->n; i++) {
        ipc_put_u64(out, j->rcpt[i].index);
        ipc_put(out, j->rcpt[i].address);
        ipc_put(out, j->rcpt[i].orcpt);
        ipc_put_u64(out, j->rcpt[i].notify);
    }
    route_put(out, route);
    ipc_put_fd(out, fd);
}

static bool get_recipients(struct ipc_in *in, struct send_job *j)
{
    uint64_t n = ipc_get_u64(in), index, notify;

    if (in->bad || n == 0 || n > SEND_RECIPIENTS_MAX)
        return false;
    j->n = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        index = ipc_get_u64(in);
        j->rcpt[i].address = ipc_get(in);
        j->rcpt[i].orcpt = ipc_get(in);
        notify = ipc_get_u64(in);
        if (in->bad || index >= ENVELOPE_RECIPIENTS_MAX || notify > NOTIFY_ALL || j->rcpt[i].address.n == 0)
            return false;
        j->rcpt[i].index = (uint32_t)index;
        j->rcpt[i].notify = (uint8_t)notify;
    }
    return true;
}

bool send_job_get(struct ipc_in *in, struct arena *arena, struct send_job *j, struct route *route, int *fd)
{
    uint64_t ret, flags;

    *fd = -1;
    j->id = ipc_get(in);
    j->connection = ipc_get_u64(in);
    j->helo = ipc_get(in);
    j->reverse_path = ipc_get(in);
    j->envid = ipc_get(in);
    ret = ipc_get_u64(in);
    flags = ipc_get_u64(in);
    j->text = ipc_get_u64(in);
    j->size = ipc_get_u64(in);
    if (in->bad || !id_is_valid(j->id) || j->helo.n == 0 || ret > ENVELOPE_RET_HDRS || flags > 7 ||
        j->text > MAX_OFFSET || j->size > MAX_OFFSET - j->text)
        return false;
    j->ret = (enum envelope_ret)ret;
    j->smtputf8 = flags & SMTPUTF8;
    j->is_8bit = flags & EIGHT_BIT;
    j->requiretls = flags & REQUIRETLS;
    if (!get_recipients(in, j) || !route_get(in, arena, route) || !ipc_end(in))
        return false;
    *fd = ipc_get_fd(in);
    return !in->bad;
}

void send_result_put(struct ipc_out *out, const struct send_result *r)
{
    size_t most = r->n ? REPLIES_OCTETS / r->n - REPLY_OVERHEAD : 0;

    if (most > SEND_REPLY_MAX)
        most = SEND_REPLY_MAX;
    ipc_begin(out, IPC_SENT);
    ipc_put(out, r->id);
    ipc_put_u64(out, r->connection);
    ipc_put_u64(out, r->outcome);
    ipc_put_u64(out, r->reason);
    ipc_put(out, r->host);
    ipc_put(out, r->tls);
    ipc_put_u64(out, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        ipc_put_u64(out, r->rcpt[i].index);
        ipc_put_u64(out, r->rcpt[i].verdict);
        ipc_put_u64(out, status_number(r->rcpt[i].status));
        ipc_put(out, cut(r->rcpt[i].reply, most));
        ipc_put_u64(out, r->rcpt[i].is_remote);
    }
}

static bool get_verdicts(struct ipc_in *in, struct send_result *r)
{
    uint64_t n = ipc_get_u64(in), index, verdict, status;

    if (in->bad || n == 0 || n > SEND_RECIPIENTS_MAX)
        return false;
    r->n = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        index = ipc_get_u64(in);
        verdict = ipc_get_u64(in);
        status = ipc_get_u64(in);
        r->rcpt[i].reply = ipc_get(in);
        r->rcpt[i].is_remote = ipc_get_bool(in);
        if (in->bad || index >= ENVELOPE_RECIPIENTS_MAX || verdict >= SEND_VERDICTS ||
            status > sizeof statuses / sizeof *statuses || r->rcpt[i].reply.n > SEND_REPLY_MAX)
            return false;
        r->rcpt[i].index = (uint32_t)index;
        r->rcpt[i].verdict = (enum send_verdict)verdict;
        r->rcpt[i].status = status ? statuses[status - 1] : NULL;
    }
    return true;
}

bool send_result_get(struct ipc_in *in, struct send_result *r)
{
    uint64_t outcome, reason;

    r->id = ipc_get(in);
    r->connection = ipc_get_u64(in);
    outcome = ipc_get_u64(in);
    reason = ipc_get_u64(in);
    r->host = ipc_get(in);
    r->tls = ipc_get(in);
    if (in->bad || !id_is_valid(r->id) || outcome >= SEND_OUTCOMES || reason >= SCHEDULE_CLASSES)
        return false;
    r->outcome = (enum send_outcome)outcome;
    r->reason = (enum schedule_class)reason;
    return get_verdicts(in, r) && ipc_end(in);
}
