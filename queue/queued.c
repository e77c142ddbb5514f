/* queued: the outbound queue: spool, state, schedule, routes, bounces, signatures. man/postamt-queued.8 */
#include <unistd.h>

#include "common/role.h"

static int run(struct role *r, struct err *e)
{
    (void)r, (void)e;
    return 0;
}

static bool message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    (void)r, (void)peer, (void)instance, (void)ch, (void)in;
    return false;
}

static void listener(struct role *r, unsigned index, int fd)
{
    (void)r, (void)index;
    close(fd);
}

static const struct role_ops ops = {
    .id = ROLE_QUEUED,
    .run = run,
    .message = message,
    .listener = listener,
};

int main(int argc, char **argv)
{
    static const struct role_ops *const list[] = {&ops, NULL};

    return role_main(argc, argv, list);
}
