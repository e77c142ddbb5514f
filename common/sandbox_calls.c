#include "common/sandbox_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "common/sandbox.h"

struct call_group {
    unsigned group;
    int calls[64]; /* 0 ends the list, but read(2) is number 0 on x86-64: it stands first where it is meant */
};

/* clang-format off */
/*
 * Allowed though the run of tests/lint/calls.py does not see them (it reads this list):
 * restart_syscall: the kernel's own, when a stopped process goes on
 * clock_gettime, gettimeofday: where the vdso cannot read the clock
 * fstat: glibc has it or newfstatat, by version
 * gettid: glibc's abort
 * uname: gethostname, at a reload where the settings name no host
 * sysinfo: glibc's qsort asks for the memory's size when there is much to sort
 * epoll_pwait, dup3: what arm64 has instead of epoll_wait, dup2
 * exit, madvise: glibc, when a thread ends and gives its stack and arena back
 * sched_yield, pselect6: libdb, waiting for a lock that another thread holds
 * unlink: libdb, for a log that no checkpoint needs any more
 * ftruncate: a line of the directory's dump that could not be written whole is cut off
 */
/* clang-format on */
static const struct call_group groups[] = {
    {CALLS_BASE,
        {SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(close), SCMP_SYS(fstat),
            SCMP_SYS(newfstatat), SCMP_SYS(lseek), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(brk),
            SCMP_SYS(futex), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
            SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(getpid), SCMP_SYS(gettid),
            SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrandom),
            SCMP_SYS(exit_group), SCMP_SYS(restart_syscall), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
            SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_create1), SCMP_SYS(ppoll), SCMP_SYS(eventfd2),
            SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(getsockopt),
            SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(pipe2), SCMP_SYS(rseq),
            SCMP_SYS(set_robust_list), SCMP_SYS(sysinfo), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
            SCMP_SYS(pread64), SCMP_SYS(uname)}},
    {CALLS_ACCEPT, {SCMP_SYS(accept4)}},
    {CALLS_READ, {SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(getdents64), SCMP_SYS(flock)}},
    {CALLS_WRITE,
        {SCMP_SYS(pwrite64), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(linkat), SCMP_SYS(renameat),
            SCMP_SYS(renameat2), SCMP_SYS(unlinkat), SCMP_SYS(mkdirat), SCMP_SYS(fstatfs)}},
    {CALLS_KV, {SCMP_SYS(rename), SCMP_SYS(unlink), SCMP_SYS(mkdir), SCMP_SYS(pselect6), SCMP_SYS(getcwd),
                   SCMP_SYS(sched_yield), SCMP_SYS(ftruncate)}},
    {CALLS_THREADS, {SCMP_SYS(sched_getaffinity), SCMP_SYS(madvise), SCMP_SYS(exit)}},
    {CALLS_SPAWN, {SCMP_SYS(wait4), SCMP_SYS(landlock_create_ruleset), SCMP_SYS(landlock_add_rule),
                      SCMP_SYS(landlock_restrict_self), SCMP_SYS(getppid), SCMP_SYS(close_range)}},
    {CALLS_MEMFD, {SCMP_SYS(memfd_create)}},
    {CALLS_CONNECT, {SCMP_SYS(connect)}},
    {CALLS_NAMES, {SCMP_SYS(bind), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(poll)}},
    {CALLS_WATCH, {SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch), SCMP_SYS(inotify_init1)}},
};

/* Allows a call when its argument `index`, masked, has the value. (libseccomp's SCMP_A0 .. leave a field of
 * the struct unsaid, which clang warns of.) */
static bool allow_masked(scmp_filter_ctx ctx, int call, unsigned index, uint64_t mask, uint64_t value)
{
    struct scmp_arg_cmp test = {.arg = index, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};

    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &test) == 0;
}

static bool allow_equal(scmp_filter_ctx ctx, int call, unsigned index, uint64_t value)
{
    struct scmp_arg_cmp test = {.arg = index, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0};

    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &test) == 0;
}

/*
 * Landlock of ABI 2 (Debian 12) knows nothing of truncation: with O_TRUNC whoever may not even read a file of
 * his uid empties it. There the filter looks at the flags, and as those of openat2 lie in memory where it
 * cannot look, that call seems not to exist (common/fs.c goes step by step then).
 */
static bool allow_open(scmp_filter_ctx ctx, int call)
{
    if (sandbox_landlock_abi() >= SANDBOX_ABI_TRUNCATE)
        return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0) == 0;
    if (call == SCMP_SYS(openat2))
        return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), call, 0) == 0;
    return allow_masked(ctx, call, 2, O_TRUNC, 0);
}

static bool allow(scmp_filter_ctx ctx, int call)
{
    if (call == SCMP_SYS(openat) || call == SCMP_SYS(openat2))
        return allow_open(ctx, call);
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0) == 0;
}

/* Calls whose arguments decide. */
static int add_by_argument(scmp_filter_ctx ctx, unsigned wanted)
{
    static const int fcntls[] = {
        F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS};
    static const int spawn_prctls[] = {PR_SET_PDEATHSIG, PR_SET_SECCOMP};

    /* no memory becomes executable after the start */
    if (!allow_masked(ctx, SCMP_SYS(mmap), 2, PROT_EXEC, 0) ||
        !allow_masked(ctx, SCMP_SYS(mprotect), 2, PROT_EXEC, 0) ||
        !allow_equal(ctx, SCMP_SYS(prlimit64), 0, 0) || !allow_equal(ctx, SCMP_SYS(socketpair), 0, AF_UNIX))
        return -1;
    for (size_t i = 0; i < sizeof fcntls / sizeof *fcntls; i++)
        if (!allow_equal(ctx, SCMP_SYS(fcntl), 1, (uint64_t)fcntls[i]))
            return -1;
    /* times of an open file only: a mail's date is not changed by its name */
    if ((wanted & CALLS_WRITE) && !allow_equal(ctx, SCMP_SYS(utimensat), 1, 0))
        return -1;
    if (wanted & (CALLS_THREADS | CALLS_SPAWN)) {
        /* clone3's flags lie in memory where a filter cannot look: glibc falls back to clone */
        if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) != 0)
            return -1;
    }
    if ((wanted & CALLS_THREADS) &&
        !allow_masked(ctx, SCMP_SYS(clone), 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM))
        return -1;
    if ((wanted & CALLS_CONNECT) &&
        (!allow_equal(ctx, SCMP_SYS(socket), 0, AF_INET) || !allow_equal(ctx, SCMP_SYS(socket), 0, AF_INET6)))
        return -1;
    if (wanted & CALLS_SPAWN) {
        if (!allow_masked(ctx, SCMP_SYS(clone), 0,
                CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_VM, 0))
            return -1;
        for (size_t i = 0; i < sizeof spawn_prctls / sizeof *spawn_prctls; i++)
            if (!allow_equal(ctx, SCMP_SYS(prctl), 0, (uint64_t)spawn_prctls[i]))
                return -1;
    }
    return 0;
}

int sandbox_calls_add(void *ctx, unsigned wanted)
{
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        if (!(wanted & groups[g].group))
            continue;
        for (size_t i = 0; i < sizeof groups[g].calls / sizeof *groups[g].calls; i++) {
            int call = groups[g].calls[i];

            if (call == 0 && i > 0)
                break;
            if (!allow(ctx, call))
                return -1;
        }
    }
    return add_by_argument(ctx, wanted);
}
