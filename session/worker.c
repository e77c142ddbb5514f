#include "session/worker.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/sandbox.h"
#include "store/expunged.h"

struct session {
    struct worker_session pub; /* first */
    struct session *next, **here;
    uint64_t id; /* the parent's number */
};

struct watch {
    struct watch *next;
    char *disk_name;
    unsigned count;
};

struct worker {
    const struct worker_ops *ops;
    const struct settings *settings;
    struct event_base *base;
    struct ipc *parent;
    struct account *account;
    char *user;
    struct session *sessions;
    struct watch *watches;
    void *state;
    uint64_t quota, used;
    struct event *idle_timer; /* set while there is work for idle time */
    struct event *purge_timer;
    struct expunged_purge *purge; /* under way */
    bool low_space;
};

struct account *worker_account(struct worker *w)
{
    return w->account;
}

struct slice worker_user(const struct worker *w)
{
    return slice_str(w->user);
}

struct event_base *worker_base(struct worker *w)
{
    return w->base;
}

void **worker_state(struct worker *w)
{
    return &w->state;
}

struct worker_session *worker_next_session(struct worker *w, struct worker_session *after)
{
    struct session *s = after ? ((struct session *)after)->next : w->sessions;

    return s ? &s->pub : NULL;
}

static void tell(
    struct worker *w, enum ipc_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d, size_t n)
{
    uint64_t values[] = {a, b, c, d};
    struct ipc_out out;

    ipc_begin(&out, type);
    for (size_t i = 0; i < n; i++)
        ipc_put_u64(&out, values[i]);
    ipc_send(w->parent, &out);
}

void worker_session_end(struct worker_session *ws)
{
    struct session *s = (struct session *)ws;

    LOG(DISCONNECT, ws->sid, F_SLICE("user", worker_user(ws->worker)),
        F_U64("in", ws->stream ? stream_octets_in(ws->stream) : 0),
        F_U64("out", ws->stream ? stream_octets_out(ws->stream) : 0));
    if (ws->stream)
        stream_close_after_flush(ws->stream);
    tell(ws->worker, IPC_WORKER_SESSION_END, s->id, 0, 0, 0, 1);
    *s->here = s->next;
    if (s->next)
        s->next->here = s->here;
    free(ws->sid);
    free(ws->ip);
    free(ws->tls);
    free(s);
}

void worker_watch(struct worker *w, struct slice disk_name, bool on)
{
    struct watch **at = &w->watches;
    struct ipc_out out;

    while (*at && !slice_eq(slice_str((*at)->disk_name), disk_name))
        at = &(*at)->next;
    if (!*at) {
        INVARIANT(on);
        *at = mem_zalloc(1, sizeof **at);
        (*at)->disk_name = slice_dup(disk_name);
        INVARIANT((*at)->disk_name);
    }
    (*at)->count += on ? 1u : -1u;
    if ((*at)->count != (on ? 1u : 0u))
        return;
    ipc_begin(&out, IPC_WORKER_WATCH);
    ipc_put(&out, disk_name);
    ipc_put_u64(&out, on);
    ipc_send(w->parent, &out);
    if (!on) {
        struct watch *gone = *at;

        *at = gone->next;
        free(gone->disk_name);
        free(gone);
    }
}

void worker_usage(
    struct worker *w, uint64_t added, uint64_t removed, uint64_t messages_added, uint64_t messages_removed)
{
    /* what authd says next is the truth; until then we count ourselves */
    w->used += added;
    w->used = w->used > removed ? w->used - removed : 0;
    tell(w, IPC_WORKER_USAGE, added, removed, messages_added, messages_removed, 4);
}

bool worker_has_room(const struct worker *w, uint64_t octets)
{
    uint64_t sum;

    return w->quota == 0 || (!__builtin_add_overflow(w->used, octets, &sum) && sum <= w->quota);
}

void worker_quota(const struct worker *w, uint64_t *limit, uint64_t *used)
{
    *limit = w->quota;
    *used = w->used;
}

/* --- messages of the parent --- */

static bool session_arrives(struct worker *w, struct ipc_in *in)
{
    struct session *s = mem_zalloc(1, sizeof *s);
    struct slice sid, tag, ip, tls, left;
    int fd;

    s->id = ipc_get_u64(in);
    sid = ipc_get(in), tag = ipc_get(in), ip = ipc_get(in), tls = ipc_get(in), left = ipc_get(in);
    fd = ipc_get_fd(in);
    s->pub.sid = slice_dup(sid);
    s->pub.ip = slice_dup(ip);
    s->pub.tls = slice_dup(tls);
    if (!ipc_end(in) || !s->pub.sid || !s->pub.ip || !s->pub.tls) {
        if (fd >= 0)
            close(fd);
        free(s->pub.sid);
        free(s->pub.ip);
        free(s->pub.tls);
        free(s);
        return false;
    }
    s->pub.worker = w;
    s->pub.settings = w->settings;
    s->next = w->sessions;
    s->here = &w->sessions;
    if (s->next)
        s->next->here = &s->next;
    w->sessions = s;
    s->pub.stream = stream_new(w->base, fd, NULL, NULL);
    stream_unread(s->pub.stream, left);
    w->ops->opened(&s->pub, tag);
    return true;
}

static struct session *find(struct worker *w, uint64_t id)
{
    struct session *s = w->sessions;

    while (s && s->id != id)
        s = s->next;
    return s;
}

static bool on_parent(void *ctx, struct ipc *ch, struct ipc_in *in)
{
    struct worker *w = ctx;
    struct session *s;
    struct worker_news news;
    struct slice name;
    enum err_code code;
    uint64_t id, used;

    (void)ch;
    switch (in->type) {
    case IPC_WORKER_SESSION:
        return session_arrives(w, in);
    case IPC_WORKER_KILL:
        id = ipc_get_u64(in);
        code = ipc_get_err(in);
        s = find(w, id);
        if (s && ipc_end(in))
            w->ops->kill(&s->pub, code);
        return ipc_end(in);
    case IPC_WORKER_QUOTA:
        id = ipc_get_u64(in);
        used = ipc_get_u64(in);
        if (!ipc_end(in))
            return false;
        w->quota = id;
        w->used = used;
        return true;
    case IPC_WORKER_CHANGED:
        name = ipc_get(in);
        news.new_only = ipc_get_bool(in);
        news.names = ipc_get(in);
        news.complete = ipc_get_bool(in);
        if (!ipc_end(in))
            return false;
        w->ops->changed(w, name, &news);
        return true;
    default:
        return false;
    }
}

/* The parent let us go (nobody has been here for a while), or it died: what is written is written. */
static void on_parent_closed(void *ctx, struct ipc *ch)
{
    struct worker *w = ctx;

    (void)ch;
    w->parent = NULL;
    for (struct session *s = w->sessions, *next; s; s = next) {
        next = s->next;
        w->ops->kill(&s->pub, ERR_UNAVAILABLE);
    }
    event_base_loopexit(w->base, NULL);
}

/* --- work for idle time --- */

/* A millisecond's work, then for twenty the sessions'. */
static void on_idle_work(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval soon = {0, 20000};
    struct worker *w = arg;

    (void)fd, (void)what;
    if (account_idle_step(w->account))
        event_add(w->idle_timer, &soon);
}

static void on_idle_work_due(void *ctx)
{
    static const struct timeval after_answer = {0, 200000};
    struct worker *w = ctx;

    if (!event_pending(w->idle_timer, EV_TIMEOUT, NULL))
        event_add(w->idle_timer, &after_answer);
}

/* --- what was expunged and kept long enough --- */

/* A millisecond's work, then the sessions' turn. */
static void on_purge(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval hourly = {3600, 0}, soon = {0, 5000};
    struct worker *w = arg;
    int64_t now = (int64_t)time(NULL);

    (void)fd, (void)what;
    if (!w->purge && (w->low_space || expunged_purge_is_due(w->account, now)))
        w->purge = expunged_purge_new(w->account, now);
    w->low_space = false;
    if (w->purge && expunged_purge_step(w->purge)) {
        event_add(w->purge_timer, &soon);
        return;
    }
    if (w->purge)
        expunged_purge_free(w->purge, NULL);
    w->purge = NULL;
    event_add(w->purge_timer, &hourly);
}

/* An expunge found the disk nearly full. */
static void on_low_space(void *ctx)
{
    static const struct timeval soon = {0, 5000};
    struct worker *w = ctx;

    if (w->purge || w->low_space)
        return;
    w->low_space = true;
    event_add(w->purge_timer, &soon);
}

static void keep_expunged(struct worker *w)
{
    static const struct timeval after_login = {0, 100000};

    expunged_policy(
        w->account, w->settings->keep_expunged_s, w->settings->keep_expunged_junk_s, w->ops->keeps_short);
    expunged_on_low_space(w->account, on_low_space, w);
    w->purge_timer = evtimer_new(w->base, on_purge, w);
    INVARIANT(w->purge_timer && event_add(w->purge_timer, &after_login) == 0);
}

int worker_main(const struct worker_ops *ops, const struct settings *settings, unsigned sandbox,
    const struct sandbox_filter *filter, int channel, int mail_dir, int state_dir, struct slice user)
{
    struct worker *w = mem_zalloc(1, sizeof *w);
    struct event_config *cfg = event_config_new();
    struct err e = {0};

    INVARIANT(cfg);
    w->ops = ops;
    w->settings = settings;
    w->user = slice_dup(user);
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
    w->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    INVARIANT(w->base && w->user);
    if (sandbox_enter_worker(sandbox, mail_dir, state_dir, filter, &e) < 0) {
        LOG(ROLE_FAILED, NULL, F_STR("role", sandbox_name(sandbox)), F_SLICE("user", user),
            F_STR("why", e.detail));
        return 1;
    }
    w->account = account_open(mail_dir, state_dir, &e);
    if (!w->account || account_furnish(w->account, &e) < 0) {
        LOG(STORE_ERROR, NULL, F_SLICE("user", user), F_STR("why", e.detail));
        return 1;
    }
    w->parent = ipc_new(w->base, channel, "parent", on_parent, on_parent_closed, w);
    w->idle_timer = evtimer_new(w->base, on_idle_work, w);
    INVARIANT(w->idle_timer);
    account_on_idle_work(w->account, on_idle_work_due, w);
    keep_expunged(w);
    event_base_dispatch(w->base);
    if (w->purge)
        expunged_purge_free(w->purge, NULL);
    if (w->ops->ended)
        w->ops->ended(w);
    account_close(w->account);
    return 0;
}
