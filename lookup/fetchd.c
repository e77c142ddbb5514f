/* fetchd: fetches MTA-STS policies by HTTPS, for queued. man/postamt-fetchd.8 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/role.h"
#include "queue/fetch.h"

#define AT_ONCE 32L /* connections; more fetches wait for one */
#define WAITING_MAX 256
#define ADDRESSES_MAX 16
#define HEADER_MAX ((size_t)64 * 1024)
#define CA_MAX ((size_t)8 << 20)
#define HOST_MAX 255

struct fetch {
    struct fetch *next;
    CURL *easy;
    struct curl_slist *resolve;
    uint64_t question;
    size_t headers; /* octets */
    struct buf body;
    const char *refused; /* why we broke it off ourselves */
    char error[CURL_ERROR_SIZE];
};

static struct {
    struct role *role;
    CURLM *multi;
    struct event *timer;
    struct fetch *fetches;
    size_t n;
    struct buf authorities; /* PEM */
} state;

/* ---- answers ---- */

static void answer(uint64_t question, enum fetch_status status, struct slice body, struct slice why)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_FETCHED);
    ipc_put_u64(&out, question);
    ipc_put_u64(&out, status);
    ipc_put(&out, status == FETCH_OK ? body : SLICE(""));
    ipc_put(&out, slice_sub(why, 0, CURL_ERROR_SIZE));
    ipc_send(role_peer(state.role, ROLE_QUEUED, 0), &out);
}

static void fetch_free(struct fetch *f)
{
    for (struct fetch **at = &state.fetches; *at; at = &(*at)->next) {
        if (*at != f)
            continue;
        *at = f->next;
        state.n--;
        break;
    }
    if (f->easy) {
        curl_multi_remove_handle(state.multi, f->easy);
        curl_easy_cleanup(f->easy);
    }
    curl_slist_free_all(f->resolve);
    buf_free(&f->body);
    free(f);
}

/* "text/plain", with or without parameters (RFC 8461 3.2) */
static bool is_plain_text(const char *type)
{
    struct slice s = slice_str(type), media;

    slice_cut(&s, ';', &media);
    return slice_eq_nocase(slice_trim(media), SLICE("text/plain"));
}

static void finished(struct fetch *f, CURLcode code)
{
    struct buf why = BUF_INIT(CURL_ERROR_SIZE);
    enum fetch_status status = FETCH_MISSING;
    const char *type = NULL;
    long http = 0;

    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
    if (code != CURLE_OK) {
        status = FETCH_FAILED;
        buf_add_str(&why, f->refused ? f->refused : f->error[0] ? f->error : curl_easy_strerror(code));
    } else if (http != 200) {
        buf_printf(&why, "the web server says %ld", http);
    } else if (!is_plain_text(type)) {
        buf_add_str(&why, "the web server says that the policy is no text/plain");
    } else {
        status = FETCH_OK;
    }
    answer(f->question, status, buf_slice(&f->body), buf_slice(&why));
    buf_free(&why);
    fetch_free(f);
}

static void finish_those_done(void)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(state.multi, &left))) {
        struct fetch *f = NULL;
        CURLcode code = m->data.result; /* m is gone with the handle */

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        finished(f, code);
    }
}

/* ---- libcurl on libevent ---- */

static void on_socket_event(evutil_socket_t fd, short what, void *ctx)
{
    int running, flags = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

    (void)ctx;
    curl_multi_socket_action(state.multi, fd, flags, &running);
    finish_those_done();
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *watch)
{
    struct event *ev = watch;
    int flags = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

    (void)easy, (void)ctx;
    if (ev)
        event_free(ev);
    ev = NULL;
    if (what != CURL_POLL_REMOVE) {
        ev = event_new(state.role->base, fd, (short)(flags | EV_PERSIST), on_socket_event, NULL);
        INVARIANT(ev);
        event_add(ev, NULL);
    }
    curl_multi_assign(state.multi, fd, ev);
    return 0;
}

static void on_timer_event(evutil_socket_t fd, short what, void *ctx)
{
    int running;

    (void)fd, (void)what, (void)ctx;
    curl_multi_socket_action(state.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    finish_those_done();
}

static int on_timer(CURLM *multi, long ms, void *ctx)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    (void)multi, (void)ctx;
    if (ms < 0)
        event_del(state.timer);
    else
        event_add(state.timer, &tv);
    return 0;
}

/* ---- one fetch ---- */

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
    struct fetch *f = ctx;

    (void)p;
    f->headers += size * n;
    if (f->headers <= HEADER_MAX)
        return size * n;
    f->refused = "the web server's header does not end";
    return 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct fetch *f = ctx;

    buf_add(&f->body, slice_of(p, size * n));
    if (!f->body.full)
        return size * n;
    f->refused = "the policy is too large";
    return 0;
}

/* "+mta-sts.example.org:443:192.0.2.1,[2001:db8::1]": + lets libcurl forget it. */
static bool get_addresses(struct ipc_in *in, struct slice host, unsigned port, struct buf *resolve)
{
    uint64_t n = ipc_get_u64(in);

    buf_printf(resolve, "+%.*s:%u:", SLICE_FMT(host), port);
    if (n == 0 || n > ADDRESSES_MAX)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        struct slice ip = ipc_get(in);
        char text[INET6_ADDRSTRLEN];

        if (ip.n != 4 && ip.n != 16)
            return false;
        inet_ntop(ip.n == 4 ? AF_INET : AF_INET6, ip.p, text, sizeof text);
        buf_printf(resolve, ip.n == 4 ? "%s%s" : "%s[%s]", i ? "," : "", text);
    }
    return ipc_end(in);
}

static bool is_host(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '-')
            return false;
    return s.n > 0 && s.n <= HOST_MAX;
}

static void set_options(struct fetch *f, const char *url)
{
    struct curl_blob ca = {state.authorities.p, state.authorities.n, CURL_BLOB_NOCOPY};
    unsigned seconds = fetch_seconds();
    CURL *c = f->easy;

    curl_easy_setopt(c, CURLOPT_PRIVATE, f);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_RESOLVE, f->resolve);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &ca);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L); /* RFC 8461 3.3 */
    curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)(seconds ? seconds : 1));
    curl_easy_setopt(c, CURLOPT_USERAGENT, "postamt");
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->error);
}

static void start(uint64_t question, struct slice host, unsigned port, struct buf *resolve)
{
    struct fetch *f = mem_zalloc(1, sizeof *f);
    struct buf url = BUF_INIT(HOST_MAX + 64);

    f->question = question;
    f->body = BUF_INIT(FETCH_BODY_MAX);
    f->next = state.fetches;
    state.fetches = f;
    state.n++;
    f->resolve = curl_slist_append(NULL, buf_str(resolve));
    f->easy = curl_easy_init();
    INVARIANT(f->resolve && f->easy);
    buf_printf(&url, "https://%.*s:%u/.well-known/mta-sts.txt", SLICE_FMT(host), port);
    set_options(f, buf_str(&url));
    curl_multi_add_handle(state.multi, f->easy);
    buf_free(&url);
}

/* ---- role ---- */

static bool message(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch, struct ipc_in *in)
{
    struct buf resolve = BUF_INIT(HOST_MAX + ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3) + 16);
    unsigned port = r->settings->outbound_policy_port;
    uint64_t question = ipc_get_u64(in);
    struct slice host = ipc_get(in);
    bool good = in->type == IPC_FETCH && is_host(host) && get_addresses(in, host, port, &resolve);

    (void)peer, (void)instance, (void)ch;
    if (good && state.n >= WAITING_MAX)
        answer(question, FETCH_FAILED, SLICE(""), SLICE("too many policies are being fetched"));
    else if (good)
        start(question, host, port, &resolve);
    buf_free(&resolve);
    return good;
}

/* Another queued numbers its questions anew: what an earlier one asked is nobody's. */
static void on_peer(struct role *r, enum role_id peer, unsigned instance, struct ipc *ch)
{
    (void)r, (void)peer, (void)instance;
    while (!ch && state.fetches)
        fetch_free(state.fetches);
}

/* What the fence will refuse: the file of the authorities, and what libcurl and OpenSSL read when they start.
 */
static int prepare(struct role *r, struct err *e)
{
    const char *file = r->settings->outbound_ca_file;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    buf_init(&state.authorities, CA_MAX + 1);
    if (fd < 0 || fs_read_all(fd, &state.authorities, CA_MAX) < 0)
        LOG(POLICY, NULL, F_STR("file", file), F_STR("error", strerror(errno)));
    if (fd >= 0)
        close(fd);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(e, ERR_INTERNAL, "libcurl does not start");
    return 0;
}

static int run(struct role *r, struct err *e)
{
    state.role = r;
    state.timer = evtimer_new(r->base, on_timer_event, NULL);
    state.multi = curl_multi_init();
    if (!state.timer || !state.multi)
        return err_set(e, ERR_INTERNAL, "libcurl does not start");
    curl_multi_setopt(state.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, AT_ONCE);
    curl_multi_setopt(state.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(state.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    return 0;
}

static const struct role_ops ops = {
    .id = ROLE_FETCHD,
    .prepare = prepare,
    .run = run,
    .message = message,
    .peer = on_peer,
};

int main(int argc, char **argv)
{
    static const struct role_ops *const list[] = {&ops, NULL};

    return role_main(argc, argv, list);
}
