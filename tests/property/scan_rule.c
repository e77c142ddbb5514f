/*
 * scan_rule: a disappearance is believed only when two scans agree (design, "changes from outside").
 *
 *     scan_rule [SCANS [MESSAGES]]       (default 500 scans of 600 messages)
 *
 * A neighbour renames flags in cur/ all the time; the mailbox is looked at again and again. No message may be
 * taken for gone. Then once more with the folder's mtime rounded to 4 ms after each rename, as older kernels
 * stamp. Control: beside each look a plain readdir counts what it sees; on file systems where that is never
 * more than 0 the test proves nothing, and says so.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "store/account.h"
#include "store/mailbox.h"
#include "store/view.h"

#define PATH "example.org/anna"

static char top[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static void make_messages(int maildir, unsigned n)
{
    char name[120];

    for (unsigned i = 0; i < n; i++) {
        int fd;

        snprintf(name, sizeof name, "cur/%u.M%uP4711Q%u.a-neighbour-with-a-long-name.example.org:2,",
            1600000000 + i, i, i);
        fd = openat(maildir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, "Subject: x\r\n\r\n", 14) != 14)
            abort();
        close(fd);
    }
}

/* Flags come and go, each name in its turn; the list is read anew after each round. */
static void neighbour(int cur, bool rounded)
{
    for (;;) {
        DIR *list = fs_list(cur);
        struct dirent *d;
        char(*names)[256] = NULL;
        size_t n = 0;

        while (list && (d = readdir(list))) {
            names = mem_realloc(names, n + 1, sizeof *names);
            if (d->d_name[0] != '.')
                snprintf(names[n++], sizeof *names, "%s", d->d_name);
        }
        if (list)
            closedir(list);
        for (size_t i = 0; i < n; i++) {
            size_t len = strlen(names[i]);
            struct timespec times[2];
            char to[300];

            if (len < 4)
                continue;
            if (strcmp(names[i] + len - 3, ",FS") == 0)
                snprintf(to, sizeof to, "%.*s", (int)(len - 2), names[i]);
            else if (names[i][len - 1] == ',')
                snprintf(to, sizeof to, "%sFS", names[i]);
            else
                continue;
            renameat(cur, names[i], cur, to);
            if (!rounded)
                continue;
            clock_gettime(CLOCK_REALTIME, &times[0]);
            times[0].tv_nsec -= times[0].tv_nsec % 4000000;
            times[1] = times[0];
            futimens(cur, times);
        }
        free(names);
    }
}

static size_t plain_count(int cur)
{
    DIR *list = fs_list(cur);
    struct dirent *d;
    size_t n = 0;

    while (list && (d = readdir(list)))
        n += d->d_name[0] != '.';
    if (list)
        closedir(list);
    return n;
}

struct told {
    size_t expunged;
};

static void on_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
    struct told *t = ctx;

    (void)seq;
    (void)uid;
    t->expunged++;
}

/* How many a session was told to be gone; *missed: how often a plain readdir saw too few or too many. */
static size_t look(struct mailbox *m, int cur, unsigned scans, unsigned messages, size_t *missed)
{
    static const struct view_events events = {.expunged = on_expunged};
    struct view *v = view_new(m, false);
    struct told told = {0};
    size_t away = 0;
    struct err e = {0};

    *missed = 0;
    for (unsigned i = 0; i < scans; i++) {
        *missed += plain_count(cur) != messages;
        if (mailbox_refresh(m, i % 2, &e) < 0) {
            printf("refresh: %s\n", e.detail);
            exit(1);
        }
        view_sync(v, true, &events, &told);
        away += mailbox_count(m) != messages;
    }
    view_free(v);
    return told.expunged + away;
}

static bool run(struct account *a, int cur, unsigned scans, unsigned messages, bool rounded, size_t *missed)
{
    struct err e = {0};
    struct mailbox *m = mailbox_open(a, SLICE("INBOX"), &e);
    struct timespec begin, end;
    size_t gone;
    pid_t pid;

    if (!m) {
        printf("%s\n", e.detail);
        return false;
    }
    while (mailbox_adopt_step(m, 1000))
        ;
    if (mailbox_count(m) != messages) {
        printf("%zu messages of %u\n", mailbox_count(m), messages);
        return false;
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        neighbour(cur, rounded);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    gone = look(m, cur, scans, messages, missed);
    clock_gettime(CLOCK_MONOTONIC, &end);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    printf("mtimes %s: %u looks at %u messages in %.1f s beside a renaming neighbour: %zu false "
           "disappearances; a plain "
           "readdir was wrong in %zu of %u\n",
        rounded ? "rounded to 4 ms" : "as they are", scans, messages,
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9, gone, *missed,
        scans);
    mailbox_close(m);
    return gone == 0;
}

int main(int argc, char **argv)
{
    unsigned scans = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 500;
    unsigned messages = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 600;
    const char *where = getenv("TMPDIR");
    size_t missed, missed_rounded = 0;
    int root, mail, state, maildir, cur;
    struct account *a;
    struct err e = {0};
    bool ok;

    store_init(&e);
    snprintf(top, sizeof top, "%.40s/postamt-scan.XXXXXX", where ? where : "/tmp");
    if (!mkdtemp(top))
        return 1;
    root = fs_open_root(top);
    fs_mkdir(root, "mail");
    fs_mkdir(root, "state");
    mail = fs_open_dir(root, "mail");
    state = fs_open_dir(root, "state");
    if (account_make_dirs(mail, state, SLICE(PATH), &e) < 0)
        return 1;
    maildir = fs_open_dir(mail, PATH "/Maildir");
    make_messages(maildir, messages);
    cur = fs_open_dir(maildir, "cur");
    a = account_open(fs_open_dir(mail, PATH), fs_open_dir(state, PATH), &e);
    ok = a && run(a, cur, scans, messages, false, &missed) &&
         run(a, cur, scans, messages, true, &missed_rounded);
    account_close(a);
    if (ok && missed + missed_rounded == 0)
        printf("a plain readdir was never wrong on this file system: the rule was not tried\n");
    nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    /* many looks: the control is to have seen it */
    return ok && (scans < 5000 || missed + missed_rounded > 0) ? 0 : 1;
}
