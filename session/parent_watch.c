/* The one inotify instance of a daemon: tells workers that a mailbox changed on disk. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "session/parent_internal.h"

#define EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR)
#define POLL_SECONDS 5
/* Changes of cur/ are mostly our own worker's renames, a burst of them one change: wait a moment. Mail in
 * new/ is told at once. */
#define CUR_DELAY_MS 20
#define NAMES_MAX 16384 /* octets of names that are told; beyond that the worker looks itself */

struct watch_entry {
    struct watch_entry *next;
    struct parent_worker *worker;
    char *disk_name;
    int wd_new, wd_cur; /* -1: no watch, it is polled */
    bool new_changed, cur_changed;
    struct buf names;                             /* of cur/, since the worker was told last */
    struct watch_entry *next_dirty, **dirty_here; /* of those with a change not told yet; NULL: none */
};

static void set_dirty(struct watch_entry *e)
{
    struct parent *p = e->worker->p;

    if (e->dirty_here)
        return;
    e->next_dirty = p->dirty;
    e->dirty_here = &p->dirty;
    if (e->next_dirty)
        e->next_dirty->dirty_here = &e->next_dirty;
    p->dirty = e;
}

static void set_clean(struct watch_entry *e)
{
    if (!e->dirty_here)
        return;
    *e->dirty_here = e->next_dirty;
    if (e->next_dirty)
        e->next_dirty->dirty_here = e->dirty_here;
    e->dirty_here = NULL;
}

static void send_changed(struct watch_entry *e, bool new_only)
{
    struct ipc_out out;

    ipc_begin(&out, IPC_WORKER_CHANGED);
    ipc_put_str(&out, e->disk_name);
    ipc_put_u64(&out, new_only);
    ipc_put(&out, new_only || e->names.full ? SLICE("") : buf_slice(&e->names));
    ipc_put_u64(&out, e->wd_cur >= 0 && (new_only || !e->names.full));
    ipc_send(e->worker->ch, &out);
    e->new_changed = false;
    if (new_only && e->cur_changed)
        return; /* told when its moment has passed */
    e->cur_changed = false;
    buf_free(&e->names);
    set_clean(e);
}

static void on_changes_due(evutil_socket_t fd, short what, void *arg)
{
    struct parent *p = arg;

    (void)fd, (void)what;
    while (p->dirty)
        send_changed(p->dirty, !p->dirty->cur_changed);
}

static bool worker_poll(void *ctx, struct slice key, void *value)
{
    struct parent_worker *w = value;
    bool *all = ctx;

    (void)key;
    for (struct watch_entry *e = w->watches; e; e = e->next)
        if (*all || e->wd_new < 0 || e->wd_cur < 0) {
            e->names.full = true; /* not all of them are known */
            send_changed(e, false);
        }
    return true;
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    struct parent *p = arg;
    bool all = false;

    (void)fd, (void)what;
    hmap_walk(&p->workers, worker_poll, &all);
}

/* Two limits of the kernel: the instances of all processes of our uid, and what each of them may watch. */
static void no_watch(struct parent *p, const char *why)
{
    struct timeval every = {.tv_sec = POLL_SECONDS};
    const char *fix = p->inotify_fd < 0 ? "sysctl fs.inotify.max_user_instances=1024"
                                        : "sysctl fs.inotify.max_user_watches=524288";

    if (!p->poll_said)
        LOG(WATCH, NULL, F_STR("why", why), F_STR("fix", fix));
    p->poll_said = true;
    if (!event_pending(p->poll_timer, EV_TIMEOUT, NULL))
        event_add(p->poll_timer, &every);
}

static void on_event(struct parent *p, const struct inotify_event *ev)
{
    struct watch_entry *e;
    bool all = true;

    if (ev->mask & IN_Q_OVERFLOW) {
        hmap_walk(&p->workers, worker_poll, &all);
        return;
    }
    e = hmap_get(&p->by_wd, slice_of(&ev->wd, sizeof ev->wd));
    if (!e || (ev->mask & IN_IGNORED))
        return;
    if (ev->wd == e->wd_new && (ev->mask & (IN_CREATE | IN_MOVED_TO)))
        e->new_changed = true;
    else
        e->cur_changed = true;
    if (ev->wd == e->wd_cur && ev->len) {
        buf_add_str(&e->names, ev->name);
        buf_add_char(&e->names, '/');
    }
    set_dirty(e);
}

static void on_inotify(evutil_socket_t fd, short what, void *arg)
{
    struct parent *p = arg;
    struct timeval delay = {.tv_usec = CUR_DELAY_MS * 1000};
    _Alignas(struct inotify_event) char events[16384];
    ssize_t n = read(fd, events, sizeof events);

    (void)what;
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *ev = (const struct inotify_event *)(events + at);

        on_event(p, ev);
        at += (ssize_t)(sizeof *ev + ev->len);
    }
    /* new mail is told at once, all else a moment later */
    for (struct watch_entry *e = p->dirty, *next; e; e = next) {
        next = e->next_dirty;
        if (e->new_changed)
            send_changed(e, true);
    }
    if (p->dirty && !event_pending(p->changes_due, EV_TIMEOUT, NULL))
        evtimer_add(p->changes_due, &delay);
}

int watch_start(struct parent *p, struct err *e)
{
    p->poll_timer = event_new(p->role->base, -1, EV_PERSIST, on_poll, p);
    p->changes_due = evtimer_new(p->role->base, on_changes_due, p);
    INVARIANT(p->poll_timer && p->changes_due);
    p->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (p->inotify_fd < 0) {
        no_watch(p, strerror(errno));
        return 0;
    }
    p->inotify = event_new(p->role->base, p->inotify_fd, EV_READ | EV_PERSIST, on_inotify, p);
    if (!p->inotify || event_add(p->inotify, NULL) < 0)
        return err_set(e, ERR_INTERNAL, "no event for inotify");
    return 0;
}

static int add(struct parent *p, struct watch_entry *e, const char *folder)
{
    char *path = mem_printf("%s/%s/Maildir%s%s/%s", p->role->settings->mail_dir, e->worker->path,
        *e->disk_name ? "/" : "", e->disk_name, folder);
    int wd = p->inotify_fd < 0 ? -1 : inotify_add_watch(p->inotify_fd, path, EVENTS);

    if (wd < 0)
        no_watch(p, strerror(errno));
    else
        hmap_put(&p->by_wd, slice_of(&wd, sizeof wd), e);
    free(path);
    return wd;
}

static void drop_wd(struct parent *p, int wd)
{
    if (wd < 0)
        return;
    hmap_remove(&p->by_wd, slice_of(&wd, sizeof wd));
    inotify_rm_watch(p->inotify_fd, wd);
}

static void entry_free(struct watch_entry *e)
{
    set_clean(e);
    drop_wd(e->worker->p, e->wd_new);
    drop_wd(e->worker->p, e->wd_cur);
    free(e->disk_name);
    buf_free(&e->names);
    free(e);
}

void watch_set(struct parent_worker *w, struct slice disk_name, bool on)
{
    struct watch_entry **at = &w->watches, *e;

    while (*at && !slice_eq(slice_str((*at)->disk_name), disk_name))
        at = &(*at)->next;
    e = *at;
    if (!on && e) {
        *at = e->next;
        entry_free(e);
    }
    /* the name comes from a worker: it must not lead out of the user's Maildir */
    if (!on || e || slice_chr(disk_name, '/') >= 0 || disk_name.n > NAME_MAX ||
        slice_eq(disk_name, SLICE("..")))
        return;
    e = mem_zalloc(1, sizeof *e);
    e->worker = w;
    e->disk_name = slice_dup(disk_name);
    if (!e->disk_name) {
        free(e);
        return;
    }
    e->names = BUF_INIT(NAMES_MAX);
    e->wd_new = add(w->p, e, "new");
    e->wd_cur = add(w->p, e, "cur");
    send_changed(e, false); /* from now on nothing happens unseen */
    e->next = w->watches;
    w->watches = e;
}

void watch_drop_all(struct parent_worker *w)
{
    while (w->watches) {
        struct watch_entry *e = w->watches;

        w->watches = e->next;
        entry_free(e);
    }
}
