#include "common/control.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"

#define WHY_MAX 32768 /* a configuration may have many mistakes */

struct control {
    struct event_base *base;
    struct event *accepting;
    int fd;
    gid_t admin_group;
    control_handler *handler;
    void *ctx;
};

static void send_json(struct ipc *ch, enum ipc_type type, struct slice json)
{
    struct ipc_out out;

    ipc_begin(&out, type);
    ipc_put(&out, json);
    ipc_send(ch, &out);
}

static void send_item(void *to, struct slice json)
{
    send_json(to, IPC_ADMIN_ITEM, json);
}

static bool on_request(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct control *c = ctx;
    struct buf why = BUF_INIT(WHY_MAX), end = BUF_INIT(BUF_OWN);
    struct slice request = ipc_get(in);
    enum err_code code;

    if (in->type != IPC_ADMIN_REQUEST || !ipc_end(in))
        return false;
    code = c->handler(c->ctx, request, send_item, ch, &why);
    call_end(code, buf_slice(&why), &end);
    send_json(ch, IPC_ADMIN_END, buf_slice(&end));
    buf_free(&why);
    buf_free(&end);
    return true;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = arg;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (client < 0)
        return;
    if (!ipc_peer_is_admin(client, c->admin_group)) {
        LOG(ATTACK, NULL, F_STR("what", "control socket used by a user who is not in group postamt"));
        close(client);
        return;
    }
    ipc_new(c->base, client, "postamt command", on_request, NULL, c);
}

struct control *control_new(
    struct event_base *base, int fd, gid_t admin_group, control_handler *handler, void *ctx)
{
    struct control *c = mem_zalloc(1, sizeof *c);

    *c = (struct control){.base = base, .fd = fd, .admin_group = admin_group, .handler = handler, .ctx = ctx};
    evutil_make_socket_nonblocking(fd);
    c->accepting = event_new(base, fd, EV_READ | EV_PERSIST, on_accept, c);
    INVARIANT(c->accepting && event_add(c->accepting, NULL) == 0);
    return c;
}

void control_free(struct control *c)
{
    if (!c)
        return;
    event_free(c->accepting);
    close(c->fd);
    free(c);
}
