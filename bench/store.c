/*
 * store: what opening and changing a mailbox costs at different sizes, in this process, without a protocol.
 *
 * usage: bench/store DIR [SIZE ..]; DIR is made and must not exist. Prints a table: for each size the medians
 * of several rounds, wall and CPU, beside what a bare readdir of the same folder costs.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/delivery.h"
#include "store/mailbox.h"
#include "store/view.h"

#define USER_PATH "example.org/bench"
#define ROUNDS 5
#define INBOX SLICE("INBOX")

static int root, mail, state, spool;

static void fail(const char *what, const struct err *e)
{
    fprintf(stderr, "bench/store: %s: %s\n", what, e ? e->detail : "failed");
    exit(1);
}

struct cost {
    double wall, cpu; /* microseconds */
};

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct cost begin(void)
{
    return (struct cost){now(CLOCK_MONOTONIC), now(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct cost since(struct cost from)
{
    struct cost to = begin();

    return (struct cost){to.wall - from.wall, to.cpu - from.cpu};
}

static int compare(const void *a, const void *b)
{
    double x = ((const struct cost *)a)->wall, y = ((const struct cost *)b)->wall;

    return x < y ? -1 : x > y;
}

static void say(const char *what, size_t size, struct cost *costs, size_t n, double per)
{
    qsort(costs, n, sizeof *costs, compare);
    printf("%-44s %8zu %12.2f %12.2f\n", what, size, costs[n / 2].wall / per, costs[n / 2].cpu / per);
    fflush(stdout);
}

static struct account *account(void)
{
    struct err e = {0};
    struct account *a = account_open(fs_open_dir(mail, USER_PATH), fs_open_dir(state, USER_PATH), &e);

    if (!a)
        fail("account", &e);
    return a;
}

static struct mailbox *box(struct account *a)
{
    struct err e = {0};
    struct mailbox *m = mailbox_open(a, INBOX, &e);

    if (!m)
        fail("open", &e);
    return m;
}

/* Files as another server would have left them: hard links to one, the names are what is measured. */
static void fill(size_t n)
{
    static const char text[] = "From: a@example.org\r\nSubject: bench\r\n\r\nhello\r\n";
    int cur = fs_open_dir(mail, USER_PATH "/Maildir/cur"), fd = -1;
    char name[128], first[128];

    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%zu.M%zuP77.host,S=%zu,W=%zu:2,%s", 1700000000 + i, i, sizeof text - 1,
            sizeof text - 1, i % 3 ? "S" : "");
        if (i % 30000 == 0) {
            fd = fs_open_write(cur, name, O_WRONLY | O_CREAT | O_EXCL, 0400);
            if (fd < 0 || fs_write_all(fd, slice_of(text, sizeof text - 1)) < 0)
                fail("a message", NULL);
            close(fd);
            snprintf(first, sizeof first, "%s", name);
        } else if (fs_link(cur, first, cur, name) < 0) {
            fail("a link", NULL);
        }
    }
    close(cur);
}

static void drop(const char *path)
{
    if (fs_unlink(root, path) < 0)
        fail(path, NULL);
}

static void pause_a_moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

static void bare_list(size_t size)
{
    struct cost costs[ROUNDS];

    for (size_t r = 0; r < ROUNDS; r++) {
        int cur = fs_open_dir(mail, USER_PATH "/Maildir/cur");
        struct cost from = begin();
        DIR *list = fs_list(cur);
        size_t n = 0;

        while (readdir(list))
            n++;
        costs[r] = since(from);
        if (n < size)
            fail("readdir", NULL);
        closedir(list);
        close(cur);
    }
    say("readdir alone", size, costs, ROUNDS, 1);
}

static void opening(size_t size)
{
    struct cost costs[ROUNDS];
    struct account *a = account();
    struct mailbox *m;
    struct cost from = begin();

    m = box(a);
    costs[0] = since(from);
    say("first contact (no index, no UIDs)", size, costs, 1, 1);
    from = begin();
    while (mailbox_adopt_step(m, 64))
        ;
    costs[0] = since(from);
    say("UIDs into all names, in idle time", size, costs, 1, 1);
    mailbox_close(m);
    account_close(a);
    for (size_t r = 0; r < ROUNDS; r++) {
        drop("state/" USER_PATH "/INBOX/postamt.index");
        pause_a_moment();
        a = account();
        from = begin();
        m = box(a);
        costs[r] = since(from);
        mailbox_close(m);
        account_close(a);
    }
    say("open, index deleted", size, costs, ROUNDS, 1);
    pause_a_moment();
    for (size_t r = 0; r < ROUNDS; r++) {
        a = account();
        from = begin();
        m = box(a);
        costs[r] = since(from);
        mailbox_close(m);
        account_close(a);
    }
    say("open, new process", size, costs, ROUNDS, 1);
    a = account();
    mailbox_close(box(a));
    for (size_t r = 0; r < ROUNDS; r++) {
        from = begin();
        m = box(a);
        view_free(view_new(m, false));
        costs[r] = since(from);
        mailbox_close(m);
    }
    say("open with a view, same worker", size, costs, ROUNDS, 1);
    account_close(a);
}

static void foreign_changes(size_t size)
{
    struct cost costs[ROUNDS], from;
    struct account *a = account();
    struct mailbox *m = box(a);
    struct err e = {0};
    int cur = fs_open_dir(mail, USER_PATH "/Maildir/cur"),
        fresh = fs_open_dir(mail, USER_PATH "/Maildir/new");

    for (size_t r = 0; r < ROUNDS; r++) {
        const struct message *msg = mailbox_at(m, r * size / ROUNDS);
        struct buf to = BUF_INIT(512);
        struct name name;

        pause_a_moment();
        name_parse(slice_str(msg->file), mailbox_uidvalidity(m), &name);
        name_write_flags(&to, name.base, name.flags ^ FLAG_ANSWERED);
        if (fs_rename(cur, msg->file, cur, buf_str(&to)) < 0)
            fail("rename", NULL);
        pause_a_moment();
        from = begin();
        if (mailbox_refresh(m, true, &e) < 0)
            fail("refresh", &e);
        costs[r] = since(from);
        buf_free(&to);
    }
    say("a foreign program changed a flag", size, costs, ROUNDS, 1);
    for (size_t r = 0; r < ROUNDS; r++) {
        char name[64];
        int fd;

        snprintf(name, sizeof name, "18%08zu.x.host,S=2", r);
        fd = fs_open_write(fresh, name, O_WRONLY | O_CREAT | O_EXCL, 0400);
        if (fd < 0 || fs_write_all(fd, SLICE("\r\n")) < 0)
            fail("new mail", NULL);
        close(fd);
        pause_a_moment();
        from = begin();
        if (mailbox_refresh(m, true, &e) < 0)
            fail("refresh", &e);
        costs[r] = since(from);
    }
    say("a mail came into new/", size, costs, ROUNDS, 1);
    close(cur);
    close(fresh);
    mailbox_close(m);
    account_close(a);
}

static void flags(size_t size)
{
    struct account *a = account();
    struct mailbox *m = box(a);
    struct err e = {0};
    struct cost costs[200], from;
    bool changed;
    size_t many = size < 10000 ? size : 10000;

    for (size_t r = 0; r < 200; r++) {
        uint32_t uid = mailbox_at(m, r * 7919 % mailbox_count(m))->uid;

        from = begin();
        if (mailbox_flag(m, uid, FLAGS_ADD, r % 2 ? FLAG_DRAFT : FLAG_FLAGGED, &changed, &e) < 0)
            fail("flag", &e);
        costs[r] = since(from);
    }
    say("one flag change", size, costs, 200, 1);
    from = begin();
    for (size_t i = 0; i < many; i++) {
        if (i % 64 == 0 && mailbox_begin(m, &e) < 0)
            fail("begin", &e);
        if (mailbox_flag(m, mailbox_at(m, i)->uid, FLAGS_ADD, FLAG_FORWARDED, &changed, &e) < 0)
            fail("flag", &e);
        if (i % 64 == 63 || i + 1 == many)
            mailbox_end(m);
    }
    costs[0] = since(from);
    say("many flag changes, each", size, costs, 1, (double)many);
    mailbox_close(m);
    account_close(a);
}

static void append_one(struct account *a)
{
    static char text[4096];
    struct err e = {0};
    struct append *ap = append_begin(a, INBOX, &e);
    uint32_t uidvalidity, uid;

    memset(text, 'x', sizeof text);
    memcpy(text, "Subject: b\r\n\r\n", 14);
    if (!ap || append_write(ap, slice_of(text, sizeof text), &e) < 0 ||
        append_commit(ap, 0, NULL, 0, 0, &uidvalidity, &uid, &e) < 0)
        fail("append", &e);
    append_free(ap);
}

static void deliver_one(int number)
{
    static char text[4096];
    struct err e = {0};
    struct id id = id_new();
    struct delivery_recipient r = {.path = SLICE(USER_PATH)};
    uint64_t size = 0;
    int fd = fs_open_write(root, "text", O_RDWR | O_CREAT, 0600);

    (void)number;
    memset(text, 'x', sizeof text);
    if (fd < 0 || fs_pwrite_all(fd, text, sizeof text, 0) < 0 ||
        delivery_spool(spool, &id, SLICE("A: b\r\n"), fd, 0, sizeof text, NULL, 0, &size, &e) < 0)
        fail("spool", &e);
    delivery_link(mail, spool, &id, time(NULL), SLICE("host"), size, &r, 1, false);
    if (r.result < 0)
        fail("deliver", &r.err);
    delivery_unspool(spool, &id, &e);
    close(fd);
}

/* `writers` processes at once, each with its own objects. */
static void writers(const char *what, size_t size, int n, int each, bool deliver)
{
    struct cost cost = begin();

    for (int w = 0; w < n; w++)
        if (fork() == 0) {
            struct account *a = deliver ? NULL : account();

            for (int i = 0; i < each; i++) {
                if (deliver)
                    deliver_one(i);
                else
                    append_one(a);
            }
            account_close(a);
            _exit(0);
        }
    for (int w = 0; w < n; w++)
        wait(NULL);
    cost = since(cost);
    printf("%-44s %8zu %12.0f per second\n", what, size, n * each / (cost.wall / 1e6));
    fflush(stdout);
}

static int make_dir(int at, const char *name)
{
    int fd;

    if (fs_make_dirs(at, name) < 0)
        fail(name, NULL);
    fd = fs_open_dir(at, name);
    if (fd < 0)
        fail(name, NULL);
    return fd;
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"1000", "10000", "100000"};
    struct err e = {0};

    if (argc < 2 || mkdir(argv[1], 0700) < 0 || (root = fs_open_root(argv[1])) < 0)
        fail("give a folder that does not exist yet", NULL);
    store_init(&e);
    log_open(-1, LOG_LEVEL_ERROR);
    printf("%-44s %8s %12s %12s\n", "", "messages", "wall us", "CPU us");
    for (int i = 0; i < (argc > 2 ? argc - 2 : 3); i++) {
        const char *text = argc > 2 ? argv[i + 2] : usual[i];
        size_t size = strtoul(text, NULL, 10);
        int at = make_dir(root, text);

        close(root);
        root = at;
        mail = make_dir(root, "mail");
        state = make_dir(root, "state");
        spool = make_dir(root, "spool");
        if (account_make_dirs(mail, state, SLICE(USER_PATH), &e) < 0)
            fail("folders", &e);
        fill(size);
        pause_a_moment();
        bare_list(size);
        opening(size);
        foreign_changes(size);
        flags(size);
        writers("append, 1 writer", size, 1, 400, false);
        writers("append, 16 writers", size, 16, 50, false);
        writers("delivery, 1 writer", size, 1, 400, true);
        writers("delivery, 16 writers", size, 16, 50, true);
        close(mail);
        close(state);
        close(spool);
        root = fs_open_root(argv[1]);
    }
    return 0;
}
