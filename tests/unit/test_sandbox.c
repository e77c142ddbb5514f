/*
 * The sandbox table is in force: a process of each row makes each try of sandbox_tries.c and is refused, with
 * all that the kernel's Landlock has and masked to ABI 2; a process without a fence makes the same tries and
 * succeeds, or the test would prove nothing.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/sandbox.h"
#include "tests/unit/sandbox_tries.h"

#ifdef WITH_SANITIZERS
#define HAS_FILTER false
#else
#define HAS_FILTER true
#endif

#define NOBODY 65534
#define TRIES_MAX 128
#define NOT_MADE 1000000 /* in place of an errno: the process did not come back from it */

static struct settings settings = {.sandbox = (char *)"required", .connections = 100};
static int kernel_abi;
static int *result; /* of each try: 0 or errno; shared with the process that makes it */

static char *below_top(const char *name)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/%s", tries_top, name) > 0);
    return path;
}

/* Roles are not root; a person's own uid stays. In a child only. */
static void drop_root(void)
{
    if (getuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
                             setresuid(NOBODY, NOBODY, NOBODY) < 0))
        _exit(255);
}

static int as_nobody(int (*what)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        drop_root();
        _exit(what() < 0 ? 1 : 0);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(tries_top) || (getuid() == 0 && chown(tries_top, NOBODY, NOBODY) < 0))
        return -1;
    settings.mail_dir = below_top("mail");
    settings.state_dir = below_top("state");
    settings.spool_dir = below_top("spool");
    settings.auth_dir = below_top("auth");
    settings.queue_dir = below_top("queue");
    result =
        mmap(NULL, TRIES_MAX * sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsetenv("POSTAMT_SECCOMP");
    log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_LEVEL_ERROR);
    return result == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    if (as_nobody(tries_tree_remove) < 0)
        return -1;
    return rmdir(tries_top);
}

/* --- who is tried at --- */

static void start_sibling(void)
{
    int ready[2];
    char octet;

    assert_int_equal(pipe(ready), 0);
    tries_sibling = fork();
    assert_true(tries_sibling >= 0);
    if (tries_sibling == 0) {
        drop_root();
        /* as open to others as a process can be: only the fence protects it */
        prctl(PR_SET_DUMPABLE, 1);
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &octet, 1), 1);
    close(ready[0]);
}

static bool end_sibling(void)
{
    int status;
    bool unharmed = waitpid(tries_sibling, &status, WNOHANG | WUNTRACED) == 0;

    kill(tries_sibling, SIGKILL);
    waitpid(tries_sibling, &status, 0);
    return unharmed;
}

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0 &&
                getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    tries_port = at.sin_port;
    return fd;
}

/* In the child, before the fence. */
static void open_all(void)
{
    char *mail = below_top("mail/anna/old");

    drop_root();
    tries_fds.mail = open(mail, O_RDONLY | O_CLOEXEC);
    tries_fds.program = open("/bin/true", O_PATH | O_CLOEXEC);
    tries_fds.sibling = (int)syscall(SYS_pidfd_open, tries_sibling, 0);
    tries_fds.fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tries_fds.other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    free(mail);
    if (tries_fds.mail < 0 || tries_fds.program < 0 || tries_fds.sibling < 0 || tries_fds.fresh < 0 ||
        tries_fds.other < 0)
        _exit(254);
}

/* --- entering, as the daemons do --- */

static int enter_worker(unsigned id, struct buf *lacks, struct err *e)
{
    unsigned spawner = id == SANDBOX_IMAPD_WORKER ? ROLE_IMAPD_SPAWNER : ROLE_POP3D_SPAWNER;
    struct sandbox_filter *f = sandbox_filter_new(id, e);
    char *mail = below_top("mail/anna"), *state = below_top("state/anna");
    int mail_dir, state_dir;

    if (e->code != ERR_OK || sandbox_enter(spawner, &settings, lacks, e) < 0)
        return -1;
    mail_dir = open(mail, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    state_dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(mail);
    free(state);
    return sandbox_enter_worker(id, mail_dir, state_dir, f, e);
}

static void enter(unsigned id, int abi)
{
    struct err e = {0};
    struct buf lacks = BUF_INIT(4096);
    char mask[16];
    int rc;

    snprintf(mask, sizeof mask, "%d", abi);
    setenv("POSTAMT_LANDLOCK_ABI", mask, 1);
    if (sandbox_landlock_abi() != abi)
        _exit(253);
    rc = id >= ROLE_COUNT ? enter_worker(id, &lacks, &e) : sandbox_enter(id, &settings, &lacks, &e);
    if (rc < 0 || lacks.n) {
        fprintf(stderr, "%s: %s\n", sandbox_name(id), e.detail);
        _exit(252);
    }
}

/* --- the tries --- */

static bool is_wanted(const struct try *t, unsigned id, int abi)
{
    if (t->may & TRY_ROW(id))
        return false;
    return HAS_FILTER || t->by == TRY_BY_FILES || (t->by == TRY_BY_FILES3 && abi >= 3);
}

/* The child's part; what is refused has an errno of refusal. */
static void make_try(size_t i)
{
    errno = 0;
    result[i] = tries[i].make() < 0 ? errno : 0;
}

static bool is_refusal(int error)
{
    /* EXDEV: Landlock, of a link; ENOSYS: the filter, of a call for which there is another way */
    return error == EPERM || error == EACCES || error == EXDEV || error == ENOSYS;
}

static void row(void **state)
{
    unsigned at = (unsigned)(uintptr_t)*state, id = at % SANDBOX_COUNT;
    int abi = at < SANDBOX_COUNT ? kernel_abi : 2, status, listening = listen_somewhere();
    char *before, *after;
    bool unharmed, same;
    size_t allowed = 0;
    pid_t pid;

    assert_int_equal(as_nobody(tries_tree_make), 0);
    before = tries_tree_text();
    for (size_t i = 0; i < tries_count; i++)
        result[i] = NOT_MADE;
    start_sibling();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        open_all();
        enter(id, abi);
        for (size_t i = 0; i < tries_count; i++)
            if (is_wanted(&tries[i], id, abi))
                make_try(i);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    unharmed = end_sibling();
    after = tries_tree_text();
    same = before && after && strcmp(before, after) == 0;
    free(before);
    free(after);
    close(listening);
    if (WIFEXITED(status) && WEXITSTATUS(status) > 250)
        fail_msg("%s could not be entered: status %d", sandbox_name(id), WEXITSTATUS(status));
    for (size_t i = 0; i < tries_count; i++) {
        if (!is_wanted(&tries[i], id, abi) || is_refusal(result[i]))
            continue;
        fprintf(stderr, "%s, Landlock ABI %d: %s: %s\n", sandbox_name(id), abi, tries[i].name,
            result[i] == NOT_MADE ? "did not come back"
            : result[i]           ? strerror(result[i])
                                  : "was allowed");
        allowed++;
    }
    assert_int_equal(allowed, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(unharmed);
    assert_true(same);
}

/* Without a fence: each try in a process of its own, for some end it and some spoil the tree. */
static void control(void **state)
{
    size_t failed = 0;
    int listening = listen_somewhere();

    (void)state;
    assert_true(tries_count <= TRIES_MAX);
    for (size_t i = 0; i < tries_count; i++) {
        int status;
        pid_t pid;

        assert_int_equal(as_nobody(tries_tree_make), 0);
        start_sibling();
        result[i] = NOT_MADE;
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            open_all();
            make_try(i);
            _exit(result[i] ? 1 : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        end_sibling();
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        fprintf(stderr, "without a fence: %s: %s%s\n", tries[i].name, strerror(result[i]),
            tries[i].maybe ? " (nobody may here: proves nothing)" : "");
        failed += !tries[i].maybe;
    }
    close(listening);
    assert_int_equal(failed, 0);
}

/* --- what a worker is there for works: new files by link or rename, never by writing --- */

#define MUST(what)                                                                                           \
    do {                                                                                                     \
        if (!(what))                                                                                         \
            return __LINE__ & 0x7f;                                                                          \
    } while (0)

static int worker_works(unsigned id)
{
    char *mail = below_top("mail/anna"), *state = below_top("state/anna");
    int mail_dir = open(mail, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        state_dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

    free(mail);
    free(state);
    enter(id, kernel_abi);
    fd = openat(state_dir, "staged", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    MUST(fd >= 0 && write(fd, "new", 3) == 3 && fdatasync(fd) == 0);
    MUST(linkat(state_dir, "staged", mail_dir, "two", 0) == 0);
    MUST(fsync(mail_dir) == 0);
    MUST(renameat(mail_dir, "two", mail_dir, "three") == 0);
    MUST(openat(mail_dir, "three", O_RDONLY | O_CLOEXEC) >= 0);
    MUST(unlinkat(mail_dir, "three", 0) == 0);
    return 0;
}

static void worker(void **state)
{
    for (unsigned id = SANDBOX_IMAPD_WORKER; id <= SANDBOX_POP3D_WORKER; id++) {
        pid_t pid;
        int status;

        (void)state;
        assert_int_equal(as_nobody(tries_tree_make), 0);
        pid = fork();
        if (pid == 0) {
            drop_root();
            _exit(worker_works(id));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    struct CMUnitTest tests[2 * SANDBOX_COUNT + 2] = {0};

    kernel_abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (kernel_abi < 2) {
        puts("skipped: this kernel has no Landlock");
        return 77;
    }
    tests[0] = (struct CMUnitTest){.name = "without a fence all of it works", .test_func = control};
    for (unsigned i = 0; i < 2 * SANDBOX_COUNT; i++)
        tests[i + 1] = (struct CMUnitTest){
            .name = sandbox_name(i % SANDBOX_COUNT), .test_func = row, .initial_state = (void *)(uintptr_t)i};
    tests[2 * SANDBOX_COUNT + 1] =
        (struct CMUnitTest){.name = "a worker can do its work", .test_func = worker};
    return cmocka_run_group_tests(tests, setup, teardown);
}
