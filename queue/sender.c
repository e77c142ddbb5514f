/* sender: carries messages to other servers by SMTP; no files. man/postamt-sender.8 */
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

static const struct role_ops ops = {
    .id = ROLE_SENDER,
    .run = run,
    .message = message,
};

int main(int argc, char **argv)
{
    static const struct role_ops *const list[] = {&ops, NULL};

    return role_main(argc, argv, list);
}
