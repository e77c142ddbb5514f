/* Jobs and results from a captured neighbour: refused or read, and what was read is written the same. */
#include <stdlib.h>
#include <string.h>

#include "queue/send.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FD 1000 /* not open: nobody may close it by mistake */

static struct slice written(const struct ipc_out *out)
{
    return slice_from(buf_slice(&out->buf), 4);
}

static void try_job(struct slice octets)
{
    struct ipc_in in = {.rest = octets, .fds = {FD}, .nfds = 1}, again;
    struct ipc_out out, out_again;
    struct send_job j, back;
    struct route r, r_back;
    struct arena arena;
    int fd;

    arena_init(&arena, 2 * ROUTE_ARENA);
    if (send_job_get(&in, &arena, &j, &r, &fd)) {
        if (fd != FD || r.ntargets > ROUTE_TARGETS_MAX || j.n > SEND_RECIPIENTS_MAX)
            abort();
        send_job_put(&out, &j, &r, FD);
        again = (struct ipc_in){.rest = written(&out), .fds = {FD}, .nfds = 1};
        if (!send_job_get(&again, &arena, &back, &r_back, &fd))
            abort();
        send_job_put(&out_again, &back, &r_back, FD);
        if (!slice_eq(written(&out), written(&out_again)))
            abort();
        buf_free(&out.buf);
        buf_free(&out_again.buf);
    } else if (fd != -1) {
        abort();
    }
    arena_free(&arena);
}

static void try_result(struct slice octets)
{
    struct ipc_in in = {.rest = octets};
    struct send_result r;
    struct ipc_out out;

    if (!send_result_get(&in, &r))
        return;
    send_result_put(&out, &r);
    if (r.n <= 54 && !slice_eq(written(&out), octets))
        abort();
    buf_free(&out.buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy;

    if (size > 20000)
        return 0;
    copy = malloc(size + 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    try_job(slice_of(copy, size));
    try_result(slice_of(copy, size));
    free(copy);
    return 0;
}
