/*
 * damage: each derived file of a mailbox cut at each length and with each octet changed, and lost.
 *
 *     damage [STRIDE]      (0 or none: so that a few hundred are tried; 1: each octet)
 *
 * After each: a process of its own opens the mailbox and sees the same UIDVALIDITY, UIDs, flags, keywords and
 * dates; a client that had seen it before comes out right; nobody crashes, the open is quick.
 */
#include "tests/property/model.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"

#define MESSAGES 12
#define FILE_MOST ((size_t)1 << 20)
#define TRIED 120 /* of each file and kind, when no stride is given */
#define OPEN_SECONDS 1.0

static struct tree tree;
static struct client before; /* what the mailbox held */
static uint32_t uidnext;
static struct item *items, *vanished;

static void ask(struct worker *w, struct request r, struct answer *a, struct item *to)
{
    snprintf(r.name, sizeof r.name, "A");
    r.box = 1;
    worker_do(w, &r, a, to);
    if (a->rc < 0)
        fail("request %d: error %d (%s)", (int)r.what, a->code, a->why);
}

static void fill(void)
{
    struct worker *w = worker_new(tree.top);
    struct answer a;

    ask(w, (struct request){.what = DO_CREATE}, &a, items);
    for (uint32_t i = 0; i < MESSAGES; i++)
        ask(w,
            (struct request){
                .what = DO_APPEND, .n = {i, 0, i, i % 3 ? 0 : 1u << i % KEYWORDS}, .since = 1600000000 + i},
            &a, items);
    ask(w, (struct request){.what = DO_FLAG, .n = {3, 0, 4, 2}}, &a, items);
    ask(w, (struct request){.what = DO_EXPUNGE, .n = {MESSAGES - 2, 2}}, &a, items);
    ask(w, (struct request){.what = DO_REFRESH}, &a, items);
    ask(w, (struct request){.what = DO_DUMP, .n = {0, 1}}, &a, items);
    client_take(&before, &a, items, 0, 0);
    uidnext = a.uidnext;
    worker_free(w);
}

static void compare(const struct answer *a)
{
    if (a->uidvalidity != before.uidvalidity || a->n != before.n || a->modseq < before.modseq)
        fail("UIDVALIDITY %u with %u messages, HIGHESTMODSEQ %llu; it was %u with %u, %llu", a->uidvalidity,
            a->n, (unsigned long long)a->modseq, before.uidvalidity, before.n,
            (unsigned long long)before.modseq);
    for (uint32_t i = 0; i < a->n && !failed(); i++) {
        const struct item *is = &items[i], *was = &before.items[i];

        if (is->uid != was->uid || is->flags != was->flags || is->keywords != was->keywords ||
            is->received != was->received || strcmp(is->unique, was->unique) != 0)
            fail("UID %u flags 0x%x keywords 0x%x received %lld was UID %u 0x%x 0x%x %lld", is->uid,
                is->flags, is->keywords, (long long)is->received, was->uid, was->flags, was->keywords,
                (long long)was->received);
    }
}

/* In a process of its own, for it may crash. The second look is what a neighbour sees who comes after the
 * repair. */
static int look(void)
{
    struct answer a, gone;

    failure[0] = 0;
    for (int round = 0; round < 2 && !failed(); round++) {
        struct worker *w = worker_new(tree.top);

        ask(w, (struct request){.what = DO_REFRESH}, &a, items);
        ask(w, (struct request){.what = DO_DUMP, .n = {0, 1}}, &a, items);
        compare(&a);
        ask(w, (struct request){.what = DO_VANISHED, .since = before.modseq}, &gone, vanished);
        check_resync(&before, &a, items, &gone, vanished, "a client");
        /* no UID twice: the last ones were given and expunged */
        if (a.uidnext < uidnext)
            fail("UIDNEXT %u, it was %u", a.uidnext, uidnext);
        worker_free(w);
    }
    if (failed())
        printf("%s\n", failure);
    fflush(stdout);
    return failed() ? 1 : 0;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool look_apart(const char *what, const char *file, size_t at)
{
    double begin = now();
    int status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        worker_quiet(tree.top);
        _exit(look());
    }
    waitpid(pid, &status, 0);
    if (status == 0 && now() - begin < OPEN_SECONDS * 2)
        return true;
    printf("%s %s at %zu: status 0x%x after %.2f s\n", file, what, at, (unsigned)status, now() - begin);
    tree_print_stderr(&tree);
    return false;
}

static bool write_file(const char *path, const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, text, n) == (ssize_t)n;

    if (fd >= 0)
        close(fd);
    return ok;
}

static bool try_file(const char *path, size_t stride, size_t *tried)
{
    char *text = mem_alloc(FILE_MOST), *bad = mem_alloc(FILE_MOST);
    const char *file = strrchr(path, '/') + 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, FILE_MOST);
    bool ok = n >= 0;
    size_t size = n > 0 ? (size_t)n : 0, step = stride ? stride : size / TRIED + 1;

    close(fd);
    for (size_t at = 0; at < size && ok; at += step) {
        ok = write_file(path, text, at) && look_apart("cut", file, at);
        memcpy(bad, text, size);
        bad[at] ^= (char)(1 << at % 8);
        ok = ok && write_file(path, bad, size) && look_apart("changed", file, at);
        *tried += 2;
    }
    ok = ok && unlink(path) == 0 && look_apart("lost", file, 0);
    /* longer than it was, with what a crash leaves */
    memcpy(bad, text, size);
    memset(bad + size, 0, size < FILE_MOST - 4096 ? 4096 : 0);
    ok = ok && write_file(path, bad, size < FILE_MOST - 4096 ? size + 4096 : size) &&
         look_apart("longer", file, size);
    ok = ok && write_file(path, text, size) && look_apart("old", file, size);
    *tried += 3;
    printf("%s: %zu octets, every %zu tried\n", file, size, step);
    free(text);
    free(bad);
    return ok;
}

int main(int argc, char **argv)
{
    size_t stride = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, files = 0, tried = 0;
    char path[200], names[8][300];
    bool ok = tree_make(&tree, access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    struct dirent *d;
    DIR *list;

    umask(077);
    items = mem_zalloc(ITEMS_MAX, sizeof *items);
    vanished = mem_zalloc(ITEMS_MAX, sizeof *vanished);
    worker_quiet(tree.top);
    if (ok)
        fill();
    snprintf(path, sizeof path, "%s/state/" ACCOUNT "/.A", tree.top);
    list = opendir(path);
    while (list && files < 8 && (d = readdir(list)))
        if (d->d_name[0] != '.')
            snprintf(names[files++], sizeof names[0], "%.150s/%.140s", path, d->d_name);
    if (list)
        closedir(list);
    ok = ok && !failed() && files > 0;
    for (size_t i = 0; i < files && ok; i++)
        ok = try_file(names[i], stride, &tried);
    if (failed())
        printf("%s\n", failure);
    printf("%zu derived files, damaged %zu times: %s\n", files, tried, ok ? "rebuilt" : "FAILED");
    tree_remove(&tree);
    client_free(&before);
    free(items);
    free(vanished);
    return ok ? 0 : 1;
}
