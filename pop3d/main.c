/* pop3d: the roles of the POP3 daemon. */
#include "pop3d/pop3.h"
#include "session/front.h"
#include "session/parent.h"
#include "session/spawner.h"

static unsigned per_address(const struct settings *s)
{
    return s->connections_per_address;
}

static int run_parent(struct role *r, struct err *e)
{
    static const struct parent_ops ops = {
        .front = ROLE_POP3D_FRONT, .spawner = ROLE_POP3D_SPAWNER, .per_address = per_address};

    return parent_run(r, &ops, e);
}

static int run_front(struct role *r, struct err *e)
{
    return front_run(r, &pop3_front_ops, ROLE_POP3D_PARENT, e);
}

static int run_spawner(struct role *r, struct err *e)
{
    return spawner_run(r, &pop3_worker_ops, e);
}

static const struct role_ops parent = {.id = ROLE_POP3D_PARENT,
    .run = run_parent,
    .message = parent_message,
    .peer = parent_peer,
    .reloaded = parent_reloaded,
    .stop = parent_stop,
    .status = parent_status};

static const struct role_ops front = {.id = ROLE_POP3D_FRONT,
    .run = run_front,
    .message = front_message,
    .peer = front_peer,
    .listener = front_listener,
    .reloaded = front_reloaded,
    .stop = front_stop,
    .status = front_status};

static const struct role_ops spawner = {.id = ROLE_POP3D_SPAWNER,
    .prepare = spawner_prepare,
    .run = run_spawner,
    .interrupted = spawner_interrupted,
    .blocking = true};

int main(int argc, char **argv)
{
    static const struct role_ops *const roles[] = {&parent, &front, &spawner, NULL};

    return role_main(argc, argv, roles);
}
