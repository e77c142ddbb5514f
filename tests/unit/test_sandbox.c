/* The sandbox table is in force: in a process of each row, what the row does not have is refused. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sandbox.h"

#ifdef WITH_SANITIZERS
#define HAS_FILTER false
#else
#define HAS_FILTER true
#endif

static char top[] = "/tmp/postamt-sandbox-XXXXXX";
static struct settings settings = {.sandbox = (char *)"required", .connections = 100};
static int mail_dir, state_dir;

static char *below_top(const char *name)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/%s", top, name) > 0);
    return path;
}

static void make_file(const char *name)
{
    char *path = below_top(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0 && write(fd, "mail", 4) == 4 && close(fd) == 0);
    free(path);
}

static int setup(void **state)
{
    static const char *const folders[] = {"mail", "state", "spool", "auth"};

    (void)state;
    if (!mkdtemp(top))
        return -1;
    settings.mail_dir = below_top("mail");
    settings.state_dir = below_top("state");
    settings.spool_dir = below_top("spool");
    settings.auth_dir = below_top("auth");
    for (size_t i = 0; i < 4; i++) {
        char *path = below_top(folders[i]);

        if (mkdir(path, 0700) < 0)
            return -1;
        free(path);
    }
    make_file("mail/one");
    make_file("auth/secret");
    make_file("elsewhere");
    mail_dir = open(settings.mail_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    state_dir = open(settings.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unsetenv("POSTAMT_SECCOMP");
    return mail_dir < 0 || state_dir < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    char *command = NULL;
    int rc;

    (void)state;
    if (asprintf(&command, "rm -rf %s", top) < 0)
        return -1;
    rc = system(command);
    free(command);
    return rc;
}

static int enter(unsigned id)
{
    struct err e = {0};
    struct buf lacks = BUF_INIT(4096);
    int rc;

    if (id >= ROLE_COUNT) {
        struct sandbox_filter *f = sandbox_filter_new(id, &e);

        rc = sandbox_basics(&e) < 0 ? -1 : sandbox_enter_worker(id, mail_dir, state_dir, f, &e);
    } else {
        rc = sandbox_enter(id, &settings, &lacks, &e);
    }
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", sandbox_name(id), e.detail);
    return rc;
}

/* Attempts; each returns true when the kernel refused. */
static bool cannot_open(const char *name, int flags)
{
    char *path = name[0] == '/' ? strdup(name) : below_top(name);
    int fd = open(path, flags | O_CLOEXEC, 0600);

    free(path);
    return fd < 0 && (errno == EACCES || errno == EPERM);
}

static bool refused(long rc)
{
    return rc < 0 && (errno == EPERM || errno == EACCES);
}

/* 0: all that must be refused was; else the number of the line that was not. */
#define MUST(refusal)                                                                                        \
    do {                                                                                                     \
        if (!(refusal))                                                                                      \
            return __LINE__ & 0xff;                                                                          \
    } while (0)

static int try_all(unsigned id)
{
    char *mail_one = below_top("mail/one"), *new_name = below_top("elsewhere.link");
    struct sockaddr sa = {.sa_family = AF_INET};
    char *const argv[] = {(char *)"/bin/true", NULL};

    MUST(cannot_open("/etc/passwd", O_RDONLY));
    MUST(cannot_open("elsewhere", O_RDONLY));
    MUST(cannot_open("elsewhere", O_WRONLY));
    MUST(id == ROLE_AUTHD || cannot_open("auth/secret", O_RDONLY));
    /* nobody writes into a mail, by any way */
    MUST(cannot_open("mail/one", O_WRONLY));
    MUST(cannot_open("mail/one", O_RDWR | O_TRUNC));
    MUST(refused(link(mail_one, new_name)) || errno == EXDEV);
    if (HAS_FILTER) {
        MUST(refused(truncate(mail_one, 0)));
        MUST(refused(chmod(mail_one, 0777)));
        MUST(refused(chown(mail_one, 1, 1)));
        MUST(refused(utimensat(AT_FDCWD, mail_one, NULL, 0)));
        MUST(refused(socket(AF_INET, SOCK_STREAM, 0)));
        MUST(refused(connect(mail_dir, &sa, sizeof sa)));
        MUST(refused(bind(mail_dir, &sa, sizeof sa)));
        MUST(refused(execve(argv[0], argv, argv)));
        MUST(refused(kill(getppid(), 0)));
        MUST(refused(chroot("/")));
        MUST(refused(setsid()));
    }
    free(mail_one);
    free(new_name);
    return 0;
}

static void row(void **state)
{
    unsigned id = (unsigned)(uintptr_t)*state;
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(enter(id) < 0 ? 255 : try_all(id));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s: status %d (exit: line number modulo 256 of what was allowed, 255: could not enter)",
            sandbox_name(id), WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

/* What a worker is there for works: new files by link or rename, never by writing. */
static int worker_works(void)
{
    if (enter(SANDBOX_IMAPD_WORKER) < 0)
        return 255;
    int fd = openat(state_dir, "staged", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

    MUST(fd >= 0 && write(fd, "new", 3) == 3 && fdatasync(fd) == 0);
    MUST(linkat(state_dir, "staged", mail_dir, "two", 0) == 0);
    MUST(fsync(mail_dir) == 0);
    MUST(renameat(mail_dir, "two", mail_dir, "three") == 0);
    MUST(openat(mail_dir, "three", O_RDONLY | O_CLOEXEC) >= 0);
    MUST(unlinkat(mail_dir, "three", 0) == 0);
    /* a mail does not come back to where it could be written */
    MUST(renameat(mail_dir, "one", state_dir, "one") < 0);
    return 0;
}

static void worker(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0)
        _exit(worker_works());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    struct CMUnitTest tests[SANDBOX_COUNT + 1] = {0};

    for (unsigned id = 0; id < SANDBOX_COUNT; id++)
        tests[id] = (struct CMUnitTest){
            .name = sandbox_name(id), .test_func = row, .initial_state = (void *)(uintptr_t)id};
    tests[SANDBOX_COUNT] = (struct CMUnitTest){.name = "a worker can do its work", .test_func = worker};
    if (sandbox_landlock_abi() < 2) {
        puts("skipped: this kernel has no Landlock");
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
