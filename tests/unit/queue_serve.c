/*
 * queue_serve FOLDER SOCKET: answers the postamt command about the queue in FOLDER on the control socket
 * SOCKET, as queued does, until stdin ends; says "ready" when it does. For tests of both doors with the same
 * questions.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/control.h"
#include "common/log.h"
#include "queue/admin.h"

static enum err_code answer(
    void *ctx, struct slice request, void (*item)(void *to, struct slice json), void *to, struct buf *why)
{
    struct queue_door *door = ctx;
    struct err e = {0};
    enum err_code code;

    door->now = (int64_t)time(NULL);
    code = queue_admin_handle(door, request, item, to, &e);
    buf_add_str(why, e.detail);
    return code;
}

static void on_end(evutil_socket_t fd, short what, void *base)
{
    (void)fd, (void)what;
    event_base_loopbreak(base);
}

static int listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof a.sun_path)
        return -1;
    memcpy(a.sun_path, path, strlen(path) + 1);
    return bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 16) == 0 ? fd : -1;
}

int main(int argc, char **argv)
{
    struct schedule_rules rules = schedule_default_rules();
    struct queue_door door = {.rules = &rules};
    struct event_base *base = event_base_new();
    struct control *control;
    struct event *end;
    struct err e = {0};
    int fd = argc == 3 ? listen_at(argv[2]) : -1;

    log_set_level(LOG_LEVEL_ERROR);
    if (fd < 0 || queue_door_open(&door, argv[1], &e) < 0) {
        fprintf(stderr, "usage: queue_serve FOLDER SOCKET %s\n", e.detail);
        return 64;
    }
    control = control_new(base, fd, (gid_t)-1, answer, &door);
    end = event_new(base, STDIN_FILENO, EV_READ, on_end, base);
    event_add(end, NULL);
    puts("ready");
    fflush(stdout);
    event_base_dispatch(base);
    event_free(end);
    control_free(control);
    queue_door_close(&door);
    event_base_free(base);
    return 0;
}
