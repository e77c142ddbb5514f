#include "admin/link.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "admin/output.h"
#include "auth/admin.h"
#include "common/ipc.h"
#include "common/mem.h"
#include "queue/admin.h"

#define DIRECTORY_USER "postamt-auth"
#define QUEUE_USER "postamt-queue"
#define ANSWER_SECONDS 60
#define LOCK_TRIES 200 /* of 50 ms */

json_t *link_request(const struct cli *c)
{
    const struct verb *v = c->args.verb;
    char *name = v->name ? mem_printf("%s %s", v->noun, v->name) : mem_strdup(v->noun);
    json_t *request = json_pack("{s:s}", "verb", name);

    INVARIANT(request);
    if (cli_flag(c, FLAG_DRY_RUN))
        INVARIANT(json_object_set_new(request, "dry_run", json_true()) == 0);
    free(name);
    return request;
}

/* --- sockets --- */

/* A connected socket; -1 with errno: ENOENT or ECONNREFUSED when nobody listens. */
static int dial(const char *run_dir, const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    char *path = mem_printf("%s/%s", run_dir, name);
    size_t n = strlen(path);
    int fd = -1;

    if (n >= sizeof a.sun_path)
        errno = ENAMETOOLONG;
    else
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        memcpy(a.sun_path, path, n + 1);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0) {
            int saved = errno;

            close(fd);
            errno = saved;
            fd = -1;
        }
    }
    free(path);
    return fd;
}

static bool nobody_listens(int error)
{
    return error == ENOENT || error == ECONNREFUSED;
}

static enum err_code dial_failed(struct cli *c, const char *name)
{
    if (errno == EACCES || errno == EPERM)
        return fault_set(
            &c->fault, ERR_NOT_PERMITTED, NULL, "you may not talk to %s/%s", c->settings->run_dir, name);
    if (nobody_listens(errno))
        return fault_set(&c->fault, ERR_NOT_RUNNING, NULL, "postamt is not running");
    return fault_set(
        &c->fault, ERR_UNAVAILABLE, NULL, "%s/%s: %s", c->settings->run_dir, name, strerror(errno));
}

/* The server hung up or kept silent; `answered`: it had begun to answer. */
static enum err_code broken(struct cli *c, int rc, int error, bool answered)
{
    if (rc < 0 && (error == EAGAIN || error == EWOULDBLOCK))
        return fault_set(&c->fault, ERR_UNAVAILABLE, "see whether it is well with: postamt status",
            "the server did not answer within %d s", ANSWER_SECONDS);
    /* whom the server does not know as an administrator it does not answer at all */
    if (!answered && geteuid() != 0)
        return fault_set(
            &c->fault, ERR_NOT_PERMITTED, NULL, "the server does not take you for an administrator");
    return fault_set(&c->fault, ERR_UNAVAILABLE, "look whether it was done, then try again",
        "the server ended the connection before it had answered");
}

/* Closes fd. */
static enum err_code converse(struct cli *c, int fd, struct slice request, link_each *each, void *ctx)
{
    struct buf store = BUF_INIT(IPC_MAX + 64);
    enum err_code code = ERR_OK;
    bool answered = false, done = false;
    struct ipc_out out;

    ipc_begin(&out, IPC_ADMIN_REQUEST);
    ipc_put(&out, request);
    if (ipc_send_now(fd, &out) < 0) {
        code = errno == EMSGSIZE ? fault_set(&c->fault, ERR_TOO_BIG, NULL, "that is too long")
                                 : broken(c, 0, 0, false);
        done = true;
    }
    while (!done) {
        struct ipc_in in;
        int rc = ipc_recv(fd, &store, &in);
        struct slice json;

        if (rc <= 0) {
            code = broken(c, rc, errno, answered);
            break;
        }
        answered = true;
        json = ipc_get(&in);
        done = in.type == IPC_ADMIN_END || in.type != IPC_ADMIN_ITEM || !ipc_end(&in);
        if (!done)
            each(ctx, json);
        else if (in.type == IPC_ADMIN_END && ipc_end(&in))
            code = fault_read(&c->fault, json);
        else
            code =
                fault_set(&c->fault, ERR_INTERNAL, "install one version of all of postamt, then restart it",
                    "the server's answer could not be understood");
        ipc_in_free(&in);
    }
    buf_free(&store);
    close(fd);
    return code;
}

/* --- in this process --- */

/* The folders above it as postamtd would make them; it itself belongs to the user of its daemon. */
static enum err_code make_folder(struct cli *c, const char *path, const char *user)
{
    char *dir = mem_strdup(path);
    struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;
    enum err_code code = ERR_OK;

    for (char *at = strchr(dir + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        /* what stays missing fails the last one; our umask is for files, others must get through here */
        if (mkdir(dir, 0755) == 0 && chmod(dir, 0755) < 0)
            output_say(c, "%s: %s", dir, strerror(errno));
        *at = '/';
    }
    if ((mkdir(dir, 0700) < 0 && errno != EEXIST) || (pw && chown(dir, pw->pw_uid, pw->pw_gid) < 0))
        code = fault_set(&c->fault, errno == EACCES ? ERR_NOT_PERMITTED : ERR_IO, NULL,
            "folder %s cannot be made: %s", dir, strerror(errno));
    free(dir);
    return code;
}

/* The files of a folder must stay their owner's: as root we become him, for good. */
static enum err_code become_owner(struct cli *c, const char *dir, const char *user)
{
    enum err_code code;
    struct stat st;

    if (stat(dir, &st) < 0 && errno == ENOENT) {
        code = make_folder(c, dir, user);
        if (code != ERR_OK)
            return code;
    }
    if (geteuid() == 0 && stat(dir, &st) == 0 && st.st_uid != 0 &&
        (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
            setresuid(st.st_uid, st.st_uid, st.st_uid) < 0))
        return fault_set(
            &c->fault, ERR_INTERNAL, NULL, "cannot become the owner of %s: %s", dir, strerror(errno));
    if (access(dir, R_OK | W_OK | X_OK) < 0 && errno == EACCES)
        return fault_set(&c->fault, ERR_NOT_PERMITTED, "run it as root, or start the server",
            "the server is down and %s is not yours", dir);
    return ERR_OK;
}

/* Another postamt command may have it open at this moment: its lock is waited for. */
static struct directory *open_directory(const struct cli *c, struct buf *repaired, struct err *e)
{
    static const struct timespec pause = {.tv_nsec = 50000000};
    struct directory *d = directory_open(c->settings->auth_dir, repaired, e);

    for (int i = 0; !d && e->code == ERR_UNAVAILABLE && i < LOCK_TRIES; i++) {
        nanosleep(&pause, NULL);
        *e = (struct err){0};
        d = directory_open(c->settings->auth_dir, repaired, e);
    }
    return d;
}

static enum err_code in_process(struct cli *c, struct slice request, link_each *each, void *ctx)
{
    struct admin_hooks hooks = {.hash_scheme = c->settings->auth_hash};
    struct buf repaired = BUF_INIT(4096);
    struct err e = {0};
    enum err_code code = become_owner(c, c->settings->auth_dir, DIRECTORY_USER);
    struct directory *d;

    if (code != ERR_OK)
        return code;
    d = open_directory(c, &repaired, &e);
    if (repaired.n)
        output_say(c, "%s", buf_str(&repaired));
    buf_free(&repaired);
    if (!d)
        return fault_take(
            &c->fault, e.code == ERR_OK ? ERR_INTERNAL : e.code, slice_str(e.detail), SLICE(""));
    code = admin_handle(d, request, &hooks, each, ctx, &e);
    directory_close(d);
    return code == ERR_OK ? ERR_OK : fault_take(&c->fault, code, slice_str(e.detail), SLICE(""));
}

/* As open_directory. */
static enum err_code open_queue(struct cli *c, const struct schedule_rules *rules, struct queue_door *door)
{
    static const struct timespec pause = {.tv_nsec = 50000000};
    enum err_code code = become_owner(c, c->settings->queue_dir, QUEUE_USER);
    struct err e = {0};
    int rc;

    if (code != ERR_OK)
        return code;
    *door = (struct queue_door){.now = time(NULL), .rules = rules};
    rc = queue_door_open(door, c->settings->queue_dir, &e);
    for (int i = 0; rc < 0 && e.code == ERR_UNAVAILABLE && i < LOCK_TRIES; i++) {
        nanosleep(&pause, NULL);
        rc = queue_door_open(door, c->settings->queue_dir, &e);
    }
    return rc == 0 ? ERR_OK : fault_take(&c->fault, e.code, slice_str(e.detail), SLICE(""));
}

/* --- both --- */

static enum err_code ask(
    struct cli *c, const char *name, json_t *request, link_each *each, void *ctx, bool directory)
{
    enum err_code code = cli_settings(c);
    char *text = json_dumps(request, JSON_COMPACT);
    int fd;

    json_decref(request);
    INVARIANT(text);
    if (code == ERR_OK) {
        fd = dial(c->settings->run_dir, name);
        if (fd >= 0)
            code = converse(c, fd, slice_str(text), each, ctx);
        else if (directory && nobody_listens(errno))
            code = in_process(c, slice_str(text), each, ctx);
        else
            code = dial_failed(c, name);
    }
    mem_wipe(text, strlen(text));
    free(text);
    return code;
}

enum err_code link_directory(struct cli *c, json_t *request, link_each *each, void *ctx)
{
    return ask(c, "authd.sock", request, each, ctx, true);
}

enum err_code link_master(struct cli *c, json_t *request, link_each *each, void *ctx)
{
    return ask(c, "postamtd.sock", request, each, ctx, false);
}

/* Hands items on, but for the last one of a page that is not the last. */
struct page {
    link_each *each;
    void *ctx;
    json_t *next;
};

static void page_item(void *ctx, struct slice json)
{
    struct page *p = ctx;
    json_t *o = slice_starts(json, SLICE("{\"next\":")) ? json_loadb(json.p, json.n, 0, NULL) : NULL;

    if (!o)
        p->each(p->ctx, json);
    else
        p->next = json_incref(json_object_get(o, "next"));
    json_decref(o);
}

/* One page; opens the door when nobody listens. */
static enum err_code ask_queue(struct cli *c, struct slice request, const struct schedule_rules *rules,
    struct queue_door *door, struct page *p)
{
    int fd = door->state ? -1 : dial(c->settings->run_dir, "queued.sock");
    enum err_code code = ERR_OK;
    struct err e = {0};

    if (fd >= 0)
        return converse(c, fd, request, page_item, p);
    if (!door->state && !nobody_listens(errno))
        return dial_failed(c, "queued.sock");
    if (!door->state)
        code = open_queue(c, rules, door);
    if (code != ERR_OK)
        return code;
    code = queue_admin_handle(door, request, page_item, p, &e);
    return code == ERR_OK ? ERR_OK : fault_take(&c->fault, code, slice_str(e.detail), SLICE(""));
}

enum err_code link_queue(struct cli *c, json_t *request, link_each *each, void *ctx)
{
    struct schedule_rules rules = schedule_default_rules();
    enum err_code code = cli_settings(c);
    struct page p = {.each = each, .ctx = ctx};
    struct queue_door door = {0};

    if (code == ERR_OK) {
        rules.life = (int64_t)c->settings->queue_life_s;
        rules.warn = (int64_t)c->settings->queue_warn_s;
    }
    while (code == ERR_OK) {
        char *text = json_dumps(request, JSON_COMPACT);

        INVARIANT(text);
        code = ask_queue(c, slice_str(text), &rules, &door, &p);
        free(text);
        if (!p.next)
            break;
        json_object_set_new(request, "after", p.next);
        p.next = NULL;
    }
    queue_door_close(&door);
    json_decref(request);
    return code;
}

static void keep_last(void *ctx, struct slice json)
{
    json_t **last = ctx;

    json_decref(*last);
    *last = json_loadb(json.p ? json.p : "", json.n, 0, NULL);
}

enum err_code link_change(
    struct cli *c, json_t *request, const char *subject, const char *done, const char *made)
{
    bool dry = cli_flag(c, FLAG_DRY_RUN) != NULL;
    json_t *item = NULL;
    enum err_code code = link_directory(c, request, keep_last, &item);

    if (code == ERR_OK && c->json) {
        if (!item)
            item = json_object();
        INVARIANT(item);
        if (dry)
            json_object_set_new(item, "dry_run", json_true());
        if (made)
            json_object_set_new(item, "password", json_string(made));
        output_json(item);
    } else if (code == ERR_OK && made) {
        puts(made);
    }
    if (code == ERR_OK)
        output_say(c, dry ? "%s would be %s; nothing was changed" : "%s is %s", subject, done);
    json_decref(item);
    return code;
}
