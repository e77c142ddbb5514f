/* imapd: the roles of the IMAP daemon (common/wiring.h); the workers are forked by the spawner. */
#include "common/role.h"
#include "imapd/front.h"
#include "imapd/worker.h"
#include "session/parent.h"
#include "session/spawner.h"

static int run_front(struct role *r, struct err *e)
{
    return front_run(r, &imapd_front_ops, ROLE_IMAPD_PARENT, e);
}

static const struct role_ops front = {
    .id = ROLE_IMAPD_FRONT,
    .run = run_front,
    .message = front_message,
    .peer = front_peer,
    .reloaded = front_reloaded,
    .listener = front_listener,
    .stop = front_stop,
    .status = front_status,
};

static unsigned per_address(const struct settings *s)
{
    return s->connections_per_address;
}

static const struct parent_ops parent_ops = {
    .front = ROLE_IMAPD_FRONT,
    .spawner = ROLE_IMAPD_SPAWNER,
    .per_address = per_address,
};

static int run_parent(struct role *r, struct err *e)
{
    return parent_run(r, &parent_ops, e);
}

static const struct role_ops parent = {
    .id = ROLE_IMAPD_PARENT,
    .run = run_parent,
    .message = parent_message,
    .peer = parent_peer,
    .reloaded = parent_reloaded,
    .stop = parent_stop,
    .status = parent_status,
};

static int run_spawner(struct role *r, struct err *e)
{
    return spawner_run(r, &imapd_worker_ops, e);
}

static const struct role_ops spawner = {
    .id = ROLE_IMAPD_SPAWNER,
    .prepare = spawner_prepare,
    .run = run_spawner,
    .interrupted = spawner_interrupted,
    .blocking = true,
};

static const struct role_ops *const roles[] = {&front, &parent, &spawner, NULL};

int main(int argc, char **argv)
{
    return role_main(argc, argv, roles);
}
