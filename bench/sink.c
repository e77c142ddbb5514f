/*
 * sink: a mail server that takes everything and keeps nothing, for figures of what sends to it.
 *
 *     sink PORT COUNT ADDRESS..     ADDRESS: 127.0.0.2 ..; the same port on each
 *
 * Ends when COUNT messages came, and prints {"messages", "recipients", "octets", "connections", "seconds"},
 * the last from the first connection to the last reply. EHLO says PIPELINING, 8BITMIME and SIZE: what both
 * servers of a comparison use. One process, one thread; clients are believed to be well-behaved.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define LINE 2048
#define IN_OCTETS (64u << 10)

struct client {
    int fd;
    bool is_listener, in_text;
    unsigned end;    /* octets of "\r\n.\r\n" that the text ends with so far */
    size_t line_len; /* of a command that is not whole yet */
    char line[LINE];
    size_t out_len;
    char out[LINE * 4];
};

static struct {
    unsigned long wanted, messages, recipients, octets, connections;
    struct timespec began;
    int epoll;
} sink;

static void need(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void report(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("{\"messages\": %lu, \"recipients\": %lu, \"octets\": %lu, \"connections\": %lu, \"seconds\": "
           "%.6f}\n",
        sink.messages, sink.recipients, sink.octets, sink.connections,
        (double)(now.tv_sec - sink.began.tv_sec) + (double)(now.tv_nsec - sink.began.tv_nsec) / 1e9);
    exit(0);
}

/* Replies are short and clients read them: a blocking send does not block. */
static void flush(struct client *c)
{
    for (size_t at = 0; at < c->out_len;) {
        ssize_t n = send(c->fd, c->out + at, c->out_len - at, MSG_NOSIGNAL);

        if (n <= 0)
            break;
        at += (size_t)n;
    }
    c->out_len = 0;
}

static void say(struct client *c, const char *reply)
{
    size_t n = strlen(reply);

    if (n > sizeof c->out - c->out_len)
        flush(c);
    memcpy(c->out + c->out_len, reply, n);
    c->out_len += n;
}

/* False: the client is done. */
static bool command(struct client *c)
{
    static const struct {
        const char *verb, *reply;
    } rows[] = {{"EHLO", "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 104857600\r\n"},
        {"HELO", "250 sink\r\n"}, {"MAIL", "250 2.1.0 fine\r\n"}, {"RCPT", "250 2.1.5 fine\r\n"},
        {"DATA", "354 go\r\n"}, {"RSET", "250 2.0.0 fine\r\n"}, {"NOOP", "250 2.0.0 fine\r\n"},
        {"QUIT", "221 2.0.0 bye\r\n"}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (c->line_len < 4 || strncasecmp(c->line, rows[i].verb, 4) != 0)
            continue;
        say(c, rows[i].reply);
        sink.recipients += *rows[i].verb == 'R' && rows[i].verb[1] == 'C';
        c->in_text = *rows[i].verb == 'D';
        c->end = 2; /* a dot may be the first octet */
        return *rows[i].verb != 'Q';
    }
    say(c, "500 5.5.1 what?\r\n");
    return true;
}

/* How many octets of p belong to the text. */
static size_t text(struct client *c, const char *p, size_t n)
{
    static const char end[] = "\r\n.\r\n";
    size_t i = 0;

    while (i < n && c->in_text) {
        const char *cr;

        if (c->end == 0) { /* far from an end: on to the next line's */
            cr = memchr(p + i, '\r', n - i);
            if (!cr)
                return sink.octets += n, n;
            i = (size_t)(cr - p);
        }
        c->end = p[i] == end[c->end] ? c->end + 1 : p[i] == '\r';
        i++;
        if (c->end == 5) {
            c->in_text = false;
            sink.messages++;
            say(c, "250 2.0.0 taken\r\n");
        }
    }
    sink.octets += i;
    return i;
}

static bool lines(struct client *c, const char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (c->in_text) {
            i += text(c, p + i, n - i);
            continue;
        }
        char octet = p[i++];

        if (octet != '\n') {
            c->line[c->line_len] = octet;
            c->line_len += c->line_len < LINE - 1;
            continue;
        }
        bool more = command(c);

        c->line_len = 0;
        if (!more)
            return false;
    }
    return true;
}

static void watch(struct client *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

    need(epoll_ctl(sink.epoll, EPOLL_CTL_ADD, c->fd, &ev), "epoll_ctl");
}

static struct client *client(int fd, bool is_listener)
{
    struct client *c = calloc(1, sizeof *c);

    need(c ? 0 : -1, "calloc");
    c->fd = fd;
    c->is_listener = is_listener;
    return c;
}

static void greet(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
    struct client *c;

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (sink.connections++ == 0)
        clock_gettime(CLOCK_MONOTONIC, &sink.began);
    c = client(fd, false);
    say(c, "220 sink ESMTP\r\n");
    flush(c);
    watch(c);
}

static void serve(struct client *c)
{
    static char in[IN_OCTETS];
    ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
    bool more = n > 0 ? lines(c, in, (size_t)n) : n < 0 && errno == EAGAIN;

    flush(c);
    if (sink.messages >= sink.wanted)
        report();
    if (more)
        return;
    close(c->fd);
    free(c);
}

static void listen_at(const char *address, unsigned long port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    need(fd, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    errno = EINVAL;
    need(inet_pton(AF_INET, address, &at.sin_addr) - 1, address);
    need(bind(fd, (struct sockaddr *)&at, sizeof at), address);
    need(listen(fd, 1024), "listen");
    watch(client(fd, true));
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    unsigned long port;

    if (argc < 4) {
        fprintf(stderr, "usage: sink PORT COUNT ADDRESS..\n");
        return 64;
    }
    port = strtoul(argv[1], NULL, 10);
    sink.wanted = strtoul(argv[2], NULL, 10);
    sink.epoll = epoll_create1(EPOLL_CLOEXEC);
    need(sink.epoll, "epoll_create1");
    for (int i = 3; i < argc; i++)
        listen_at(argv[i], port);
    for (;;) {
        int n = epoll_wait(sink.epoll, events, EVENTS, -1);

        need(n < 0 && errno == EINTR ? 0 : n, "epoll_wait");
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;

            if (c->is_listener)
                greet(c->fd);
            else
                serve(c);
        }
    }
}
