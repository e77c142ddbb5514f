/*
 * disk: what the disk alone takes for a mail, to read the rows of mail beside: N times what every durable
 * Maildir delivery does, and nothing else: create, write, fdatasync, link, fsync of the folder, unlink, one
 * after the other.
 *
 *     disk DIR COUNT SIZE     prints {"us": CPU of one, "per_s": how many a second}; leaves its files in DIR
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void need(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "disk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int folder(int in, const char *name)
{
    int fd;

    if (mkdirat(in, name, 0700) < 0 && errno != EEXIST)
        need(-1, name);
    fd = openat(in, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    need(fd, name);
    return fd;
}

static void one(int spool, int new, unsigned long number, const char *text, size_t size)
{
    char name[64];
    int fd;

    snprintf(name, sizeof name, "%ld.%lu", (long)getpid(), number);
    fd = openat(spool, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    need(fd, "create");
    if (write(fd, text, size) != (ssize_t)size)
        need(-1, "write");
    need(fdatasync(fd), "fdatasync");
    close(fd);
    need(linkat(spool, name, new, name, 0), "link");
    need(fsync(new), "fsync");
    need(unlinkat(spool, name, 0), "unlink");
}

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    unsigned long count = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    size_t size = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    double wall, cpu;
    char *text;
    int top, spool, new;

    if (count == 0 || count > 100000 || size == 0 || size > 1 << 24) {
        fprintf(stderr, "usage: disk DIR COUNT SIZE\n");
        return 2;
    }
    text = malloc(size);
    if (!text)
        return 1;
    memset(text, 'x', size);
    top = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    need(top, argv[1]);
    spool = folder(top, "spool");
    new = folder(top, "new");
    wall = seconds(CLOCK_MONOTONIC);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned long i = 0; i < count; i++)
        one(spool, new, i, text, size);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    printf("{\"us\": %.2f, \"per_s\": %.2f}\n", cpu * 1e6 / (double)count, (double)count / wall);
    return 0;
}
