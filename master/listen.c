#include "master/master.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/mem.h"

#define BACKLOG 1024

union address {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool to_address(const struct listener *l, union address *a, socklen_t *len)
{
    *a = (union address){0};
    if (strcmp(l->address, "*") == 0 || inet_pton(AF_INET6, l->address, &a->v6.sin6_addr) == 1) {
        if (strcmp(l->address, "*") == 0)
            a->v6.sin6_addr = in6addr_any;
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons((uint16_t)l->port);
        *len = sizeof a->v6;
        return true;
    }
    if (inet_pton(AF_INET, l->address, &a->v4.sin_addr) != 1)
        return false;
    a->v4.sin_family = AF_INET;
    a->v4.sin_port = htons((uint16_t)l->port);
    *len = sizeof a->v4;
    return true;
}

static int bind_one(const struct listener *l, struct err *e)
{
    union address a;
    socklen_t len;
    int on = 1, off = 0, fd;

    if (!to_address(l, &a, &len))
        return err_set(e, ERR_CONFIG, "%s is no IP address", l->address);
    fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && strcmp(l->address, "*") == 0) {
        /* a machine without IPv6 */
        a.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
        len = sizeof a.v4;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd < 0)
        return err_errno(e, "socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (a.sa.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0) ||
        bind(fd, &a.sa, len) < 0 || listen(fd, BACKLOG) < 0) {
        if (errno == EACCES)
            err_set(e, ERR_CONFIG,
                "port %u needs root (or CAP_NET_BIND_SERVICE); start postamtd with systemctl start postamt",
                l->port);
        else
            err_set(e, ERR_CONFIG, "%s port %u (%s): %s%s", l->address, l->port, service_name(l->service),
                strerror(errno),
                errno == EADDRINUSE
                    ? "; another program has it: find it with ss -ltnp, stop it, or change `listen`"
                    : "");
        close(fd);
        return -1;
    }
    return fd;
}

static unsigned bound_port(int fd)
{
    union address a = {0};
    socklen_t len = sizeof a;

    if (getsockname(fd, &a.sa, &len) < 0)
        return 0;
    return ntohs(a.sa.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

static int find_old(const struct listener *l, const struct settings *old, const int *old_fds)
{
    for (size_t i = 0; old && i < old->nlisteners; i++)
        if (l->port && old->listeners[i].port == l->port &&
            strcmp(old->listeners[i].address, l->address) == 0)
            return dup(old_fds[i]);
    return -1;
}

int listen_all(const struct settings *s, const struct settings *old, const int *old_fds, int **fds,
    unsigned **ports, struct err *e)
{
    *fds = mem_zalloc(s->nlisteners, sizeof **fds);
    *ports = mem_zalloc(s->nlisteners, sizeof **ports);
    for (size_t i = 0; i < s->nlisteners; i++) {
        const struct listener *l = &s->listeners[i];
        int fd = find_old(l, old, old_fds);

        if (fd < 0)
            fd = bind_one(l, e);
        if (fd < 0) {
            while (i-- > 0)
                close((*fds)[i]);
            return -1;
        }
        (*fds)[i] = fd;
        (*ports)[i] = bound_port(fd);
    }
    return 0;
}

int listen_control(const struct settings *s, const char *name, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t dir = strlen(s->run_dir), n = strlen(name);
    struct group *gr = geteuid() == 0 ? getgrnam("postamt") : NULL;
    int fd;

    if (dir + 1 + n >= sizeof a.sun_path)
        return err_set(e, ERR_CONFIG, "paths.run is too long for a socket: %s", s->run_dir);
    memcpy(a.sun_path, s->run_dir, dir);
    a.sun_path[dir] = '/';
    memcpy(a.sun_path + dir + 1, name, n + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, "socket");
    unlink(a.sun_path);
    /* the umask is 077: nobody gets in between bind and chmod; who may is checked by SO_PEERCRED too */
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || chmod(a.sun_path, 0660) < 0 ||
        (gr && chown(a.sun_path, (uid_t)-1, gr->gr_gid) < 0) || listen(fd, 16) < 0) {
        err_set(e, ERR_CONFIG, "control socket %s: %s", a.sun_path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}
