/* The engine under the modes: connections, TLS, the end of replies, the count. Manual: load.h; rows:
 * bench.py. */
#include "bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STALLED_SECONDS 60
#define EVENTS 256
#define IDLE_AT_ONCE 20 /* connections on their way to rest: a server may refuse logins in a crowd */
#define IN_OCTETS (256u << 10)

struct engine {
    struct load l;
    const struct mode *mode;
    SSL_CTX *tls;
    int epoll;
    unsigned open;
    unsigned opened; /* connections that were begun */
    struct conn *conns;
    struct sockaddr_in to;
};

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

void load_say_octets(struct conn *c, const char *octets, size_t n)
{
    if (n > LOAD_OUT - c->out_len) {
        fprintf(stderr, "load: a message is larger than %u octets; use a smaller --size\n", LOAD_OUT);
        exit(1);
    }
    memcpy(c->out + c->out_len, octets, n);
    c->out_len += n;
}

void load_say(struct conn *c, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(line)) {
        fprintf(stderr, "load: a command is longer than %zu octets\n", sizeof(line));
        exit(1);
    }
    load_say_octets(c, line, (size_t)n);
}

bool load_take(struct load *l)
{
    if (l->started >= l->opt.ops)
        return false;
    l->started++;
    return true;
}

void load_finished(struct load *l)
{
    l->done++;
}

uint32_t load_random(struct conn *c, uint32_t below)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return (uint32_t)(c->random >> 33) % (below ? below : 1);
}

static void conn_open(struct engine *g, struct conn *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    int on = 1;
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        die("TCP_NODELAY");
    if (connect(c->fd, (struct sockaddr *)&g->to, sizeof(g->to)) < 0 && errno != EINPROGRESS)
        die("connect");
    if (g->tls) {
        c->ssl = SSL_new(g->tls);
        if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
            die("SSL_new");
        SSL_set_connect_state(c->ssl);
    }
    c->handshaken = !g->tls;
    c->out_len = c->out_sent = c->tail_len = 0;
    bool is_smtp = strcmp(g->mode->name, "smtp") == 0 || strcmp(g->mode->name, "submit") == 0;
    c->wait = is_smtp ? WAIT_SMTP : WAIT_LINE;
    c->replies = 1;
    c->state = 0;
    c->writable_wanted = g->tls != NULL;
    struct epoll_event ev = {.events = EPOLLIN | (g->tls ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(g->epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        die("epoll_ctl");
    g->open++;
}

static void conn_close(struct engine *g, struct conn *c)
{
    if (c->ssl) {
        SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    close(c->fd);
    c->fd = -1;
    g->open--;
}

static void want_writable(struct engine *g, struct conn *c, bool on)
{
    if (c->writable_wanted == on)
        return;
    c->writable_wanted = on;
    struct epoll_event ev = {.events = EPOLLIN | (on ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(g->epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0)
        die("epoll_ctl");
}

/* Octets moved; 0: not now; -1: the connection is over. */
static ssize_t conn_read(struct conn *c, char *to, size_t n)
{
    if (c->ssl) {
        ERR_clear_error();
        int r = SSL_read(c->ssl, to, (int)n);
        if (r > 0)
            return r;
        int why = SSL_get_error(c->ssl, r);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    ssize_t r = read(c->fd, to, n);
    if (r > 0)
        return r;
    return r < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static ssize_t conn_write(struct conn *c, const char *from, size_t n)
{
    if (c->ssl) {
        ERR_clear_error();
        int r = SSL_write(c->ssl, from, (int)n);
        if (r > 0)
            return r;
        int why = SSL_get_error(c->ssl, r);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    ssize_t r = send(c->fd, from, n, MSG_NOSIGNAL);
    if (r >= 0)
        return r;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static bool conn_flush(struct engine *g, struct conn *c)
{
    while (c->out_sent < c->out_len) {
        ssize_t n = conn_write(c, c->out + c->out_sent, c->out_len - c->out_sent);
        if (n < 0)
            return false;
        if (n == 0)
            break;
        c->out_sent += (size_t)n;
    }
    if (c->out_sent == c->out_len)
        c->out_sent = c->out_len = 0;
    want_writable(g, c, c->out_len > 0);
    return true;
}

static void complain(struct engine *g, struct conn *c, const char *line, size_t n)
{
    if (g->l.errors++ < 5)
        fprintf(stderr, "load: connection %u, state %u: %.*s\n", c->number, c->state, (int)n, line);
}

static bool begins(const char *line, size_t n, const char *with)
{
    size_t w = strlen(with);
    return n >= w && memcmp(line, with, w) == 0;
}

/* SMTP replies are counted line by line, all in the tail. */
static bool smtp_ends(struct engine *g, struct conn *c)
{
    char *nl;
    while (c->replies > 0 && (nl = memchr(c->tail, '\n', c->tail_len)) != NULL) {
        size_t n = (size_t)(nl - c->tail) + 1;
        if (n > 4 && c->tail[3] != '-') {
            c->replies--;
            if (c->tail[0] != '2' && c->tail[0] != '3')
                complain(g, c, c->tail, n);
        }
        c->tail_len -= n;
        memmove(c->tail, c->tail + n, c->tail_len);
    }
    return c->replies == 0;
}

/* Whether the reply is complete: its last line says so. */
static bool reply_ends(struct engine *g, struct conn *c)
{
    if (c->wait == WAIT_SMTP)
        return smtp_ends(g, c);
    if (c->tail_len == 0 || c->tail[c->tail_len - 1] != '\n' || c->wait == WAIT_CLOSE ||
        c->wait == WAIT_NEVER)
        return false;
    const char *before = memrchr(c->tail, '\n', c->tail_len - 1);
    const char *line = before ? before + 1 : c->tail;
    size_t n = (size_t)(c->tail + c->tail_len - line);
    switch (c->wait) {
    case WAIT_TAG:
        if (!begins(line, n, LOAD_TAG))
            return false;
        if (!begins(line, n, LOAD_TAG "OK"))
            complain(g, c, line, n);
        return true;
    case WAIT_PLUS:
        if (begins(line, n, LOAD_TAG))
            complain(g, c, line, n);
        return begins(line, n, "+") || begins(line, n, LOAD_TAG);
    case WAIT_DOT:
        if (begins(line, n, "-ERR"))
            complain(g, c, line, n);
        return begins(line, n, ".\r\n") || begins(line, n, "-ERR");
    default:
        if (!begins(line, n, "+") && !begins(line, n, "*"))
            complain(g, c, line, n);
        return true;
    }
}

static void keep_tail(struct conn *c, const char *in, size_t n)
{
    if (n >= LOAD_TAIL) {
        memcpy(c->tail, in + n - LOAD_TAIL, LOAD_TAIL);
        c->tail_len = LOAD_TAIL;
        return;
    }
    if (c->tail_len + n > LOAD_TAIL) {
        size_t drop = c->tail_len + n - LOAD_TAIL;
        c->tail_len -= drop;
        memmove(c->tail, c->tail + drop, c->tail_len);
    }
    memcpy(c->tail + c->tail_len, in, n);
    c->tail_len += n;
}

/* False: the connection is over. */
static bool conn_input(struct engine *g, struct conn *c)
{
    static char in[IN_OCTETS];
    for (;;) {
        ssize_t n = conn_read(c, in, sizeof(in));
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        g->l.octets += (uint64_t)n;
        keep_tail(c, in, (size_t)n);
        if (reply_ends(g, c)) {
            c->tail_len = 0;
            g->mode->next(&g->l, c);
            if (!conn_flush(g, c))
                return false;
        }
        if (!c->ssl && (size_t)n < sizeof(in))
            return true; /* epoll tells of more */
    }
}

static bool conn_handshake(struct engine *g, struct conn *c)
{
    ERR_clear_error();
    int r = SSL_do_handshake(c->ssl);
    if (r == 1) {
        c->handshaken = true;
        want_writable(g, c, false);
        return true;
    }
    int why = SSL_get_error(c->ssl, r);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        return false;
    want_writable(g, c, why == SSL_ERROR_WANT_WRITE);
    return true;
}

static void conn_event(struct engine *g, struct conn *c, uint32_t events)
{
    bool fine = true;
    if (!c->handshaken)
        fine = conn_handshake(g, c);
    if (fine && c->handshaken && (events & EPOLLOUT))
        fine = conn_flush(g, c);
    if (fine && c->handshaken)
        fine = conn_input(g, c);
    if (fine)
        return;
    if (c->wait != WAIT_CLOSE)
        complain(g, c, "closed by the server", 20);
    conn_close(g, c);
    if (g->l.started < g->l.opt.ops && g->l.errors < 100)
        conn_open(g, c);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(struct engine *g, bool idle)
{
    struct epoll_event events[EVENTS];
    while (g->open > 0 && !(idle && g->l.idle == g->l.opt.conns)) {
        int n = epoll_wait(g->epoll, events, EVENTS, STALLED_SECONDS * 1000);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        if (n == 0) {
            fprintf(stderr, "load: nothing came for %d s; %u of %u done\n", STALLED_SECONDS, g->l.done,
                g->l.opt.ops);
            g->l.errors++;
            return;
        }
        for (int i = 0; i < n; i++)
            conn_event(g, events[i].data.ptr, events[i].events);
        while (idle && g->opened < g->l.opt.conns && g->opened - g->l.idle < IDLE_AT_ONCE)
            conn_open(g, &g->conns[g->opened++]);
    }
}

static unsigned number_of(const char *text, const char *option)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || end == text || n > UINT32_MAX) {
        fprintf(stderr, "load: --%s takes a number\n", option);
        exit(2);
    }
    return (unsigned)n;
}

static struct options options_read(int argc, char **argv)
{
    struct options o = {.mode = argc > 1 ? argv[1] : "",
        .host = "127.0.0.1",
        .domain = "example.test",
        .password = "",
        .conns = 1,
        .ops = 1000,
        .users = 1,
        .per_user = 1,
        .messages = 1,
        .size = 4096,
        .rcpts = 1,
        .places = 1};
    struct {
        const char *name;
        unsigned *number;
        const char **text;
    } rows[] = {{"port", &o.port, NULL}, {"conns", &o.conns, NULL}, {"ops", &o.ops, NULL},
        {"users", &o.users, NULL}, {"first-user", &o.first_user, NULL}, {"per-session", &o.per_session, NULL},
        {"per-user", &o.per_user, NULL}, {"messages", &o.messages, NULL}, {"size", &o.size, NULL},
        {"rcpts", &o.rcpts, NULL}, {"places", &o.places, NULL}, {"host", NULL, &o.host},
        {"domain", NULL, &o.domain}, {"password", NULL, &o.password}};
    enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
    struct option names[ROWS + 2] = {{0}};
    for (int i = 0; i < ROWS; i++)
        names[i] = (struct option){rows[i].name, required_argument, NULL, 0};
    names[ROWS] = (struct option){"tls", no_argument, NULL, 0};
    int i = 0;
    optind = 2;
    while ((i = -1, getopt_long(argc, argv, "", names, &i)) == 0) {
        if (i == ROWS)
            o.tls = true;
        else if (rows[i].number)
            *rows[i].number = number_of(optarg, rows[i].name);
        else
            *rows[i].text = optarg;
    }
    if (optind != argc || i != -1 || !o.port || !o.conns || !o.users || !o.per_user || !o.messages ||
        !o.rcpts || !o.places) {
        fprintf(stderr,
            "usage: load MODE --port P [--tls] [--conns N] [--ops N] [--users N] [--password P] ...\n");
        exit(2);
    }
    return o;
}

static void engine_init(struct engine *g)
{
    struct options *o = &g->l.opt;
    for (g->mode = load_modes; g->mode->name && strcmp(g->mode->name, o->mode) != 0;)
        g->mode++;
    if (!g->mode->name) {
        fprintf(stderr, "load: there is no mode %s\n", o->mode);
        exit(2);
    }
    g->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    if (inet_pton(AF_INET, o->host, &g->to.sin_addr) != 1)
        die("--host takes an IPv4 address");
    if (o->tls) {
        g->tls = SSL_CTX_new(TLS_client_method());
        if (!g->tls)
            die("SSL_CTX_new");
        SSL_CTX_set_verify(g->tls, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_session_cache_mode(g->tls, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_mode(g->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    g->epoll = epoll_create1(EPOLL_CLOEXEC);
    g->conns = calloc(o->conns, sizeof(*g->conns));
    if (g->epoll < 0 || !g->conns)
        die("start");
    for (unsigned i = 0; i < o->conns; i++) {
        g->conns[i].number = i;
        g->conns[i].random = 0x9e3779b97f4a7c15u * (i + 1);
        g->conns[i].out = malloc(LOAD_OUT);
        if (!g->conns[i].out)
            die("malloc");
    }
}

int main(int argc, char **argv)
{
    struct engine g = {.l.opt = options_read(argc, argv)};
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    engine_init(&g);
    double began = now();
    bool idle = strcmp(g.mode->name, "idle") == 0;
    while (g.opened < g.l.opt.conns && !(idle && g.opened >= IDLE_AT_ONCE))
        conn_open(&g, &g.conns[g.opened++]);
    run(&g, idle);
    double seconds = now() - began;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf(
        "{\"ops\": %u, \"seconds\": %.6f, \"octets\": %llu, \"errors\": %llu, \"idle\": %u, \"cpu\": %.6f}\n",
        g.l.done, seconds, (unsigned long long)g.l.octets, (unsigned long long)g.l.errors, g.l.idle,
        (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
            (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
    fflush(stdout);
    char end;
    if (g.l.idle > 0 && read(STDIN_FILENO, &end, 1) < 0) /* the idle connections live until we are told */
        die("read");
    return g.l.errors ? 1 : 0;
}
