#include "config.h"

#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/sandbox_calls.h"

/* Debian 12's header knows ABI 2; the kernel may know more. */
#define LL_TRUNCATE (1ULL << 14)  /* ABI 3 */
#define LL_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define LL_ABI2 ((1ULL << 14) - 1)
#define LL_NET_ALL 3ULL   /* ABI 4: bind and connect of TCP */
#define LL_SCOPE_ALL 3ULL /* ABI 6: abstract sockets and signals */

struct landlock_attr {
    uint64_t handled_fs, handled_net, scoped;
};

#define LL_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define LL_MAKE                                                                                              \
    (LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REFER |                  \
        LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR)
#define LL_ALL (LL_READ | LL_MAKE | LANDLOCK_ACCESS_FS_WRITE_FILE | LL_TRUNCATE)
/* What a worker may do below its mail: everything but writing into a file. */
#define LL_MAIL (LL_READ | LL_MAKE)
/* What deliver may do there: add, not read, not remove. */
#define LL_ADD                                                                                               \
    (LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |               \
        LANDLOCK_ACCESS_FS_REFER)

struct sandbox_row {
    const char *name;
    unsigned calls;                           /* groups of sandbox_calls.h */
    uint64_t mail, state, spool, auth, queue; /* Landlock rights below the folders */
    bool urandom;                             /* libsasl2 opens /dev/urandom for SCRAM's nonces */
    bool front;                               /* limits follow settings.connections */
    unsigned nofile;                          /* RLIMIT_NOFILE; 0: as inherited */
    uint64_t data;                            /* RLIMIT_DATA; 0: as inherited */
};

#define MIB ((uint64_t)1 << 20)

/* The table. */
static const struct sandbox_row rows[SANDBOX_COUNT] = {
    [ROLE_AUTHD] = {.name = "authd",
        .calls = CALLS_BASE | CALLS_ACCEPT | CALLS_READ | CALLS_WRITE | CALLS_KV | CALLS_THREADS,
        .auth = LL_ALL,
        .urandom = true,
        .nofile = 1024},
    [ROLE_SMTPD_PARENT] = {.name = "smtpd.parent", .calls = CALLS_BASE, .nofile = 4096},
    [ROLE_SMTPD_FRONT] = {.name = "smtpd.front",
        .calls = CALLS_BASE | CALLS_ACCEPT | CALLS_MEMFD,
        .front = true},
    [ROLE_SMTPD_DELIVER] = {.name = "smtpd.deliver",
        .calls = CALLS_BASE | CALLS_READ | CALLS_WRITE,
        .mail = LL_ADD,
        .spool = LL_ALL,
        .nofile = 1024},
    [ROLE_IMAPD_PARENT] = {.name = "imapd.parent",
        .calls = CALLS_BASE | CALLS_READ | CALLS_WATCH,
        .mail = LANDLOCK_ACCESS_FS_READ_DIR},
    [ROLE_IMAPD_FRONT] = {.name = "imapd.front", .calls = CALLS_BASE | CALLS_ACCEPT, .front = true},
    /* Landlock's layers intersect: the spawner holds what its workers may get, for all users; each worker
       narrows it. */
    [ROLE_IMAPD_SPAWNER] = {.name = "imapd.spawner",
        .calls = CALLS_BASE | CALLS_READ | CALLS_WRITE | CALLS_SPAWN,
        .mail = LL_MAIL,
        .state = LL_ALL,
        .nofile = 65536},
    [ROLE_POP3D_PARENT] = {.name = "pop3d.parent",
        .calls = CALLS_BASE | CALLS_READ | CALLS_WATCH,
        .mail = LANDLOCK_ACCESS_FS_READ_DIR},
    [ROLE_POP3D_FRONT] = {.name = "pop3d.front", .calls = CALLS_BASE | CALLS_ACCEPT, .front = true},
    [ROLE_POP3D_SPAWNER] = {.name = "pop3d.spawner",
        .calls = CALLS_BASE | CALLS_READ | CALLS_WRITE | CALLS_SPAWN,
        .mail = LL_MAIL,
        .state = LL_ALL,
        .nofile = 65536},
    [ROLE_QUEUED] = {.name = "queued",
        .calls =
            CALLS_BASE | CALLS_ACCEPT | CALLS_READ | CALLS_WRITE | CALLS_KV | CALLS_THREADS | CALLS_MEMFD,
        .queue = LL_ALL,
        .nofile = 4096},
    [ROLE_SENDER] = {.name = "sender", .calls = CALLS_BASE | CALLS_CONNECT, .nofile = 16384},
    [ROLE_RESOLVERD] = {.name = "resolverd",
        .calls = CALLS_BASE | CALLS_CONNECT | CALLS_NAMES | CALLS_THREADS,
        .nofile = 4096},
    [ROLE_FETCHD] = {.name = "fetchd", .calls = CALLS_BASE | CALLS_CONNECT | CALLS_NAMES, .nofile = 1024},
    [SANDBOX_IMAPD_WORKER] = {.name = "imapd.worker",
        .calls = CALLS_BASE | CALLS_READ | CALLS_WRITE,
        .mail = LL_MAIL,
        .state = LL_ALL,
        .nofile = 1024,
        .data = 256 * MIB},
    [SANDBOX_POP3D_WORKER] = {.name = "pop3d.worker",
        .calls = CALLS_BASE | CALLS_READ | CALLS_WRITE,
        .mail = LL_MAIL,
        .state = LL_ALL,
        .nofile = 1024,
        .data = 256 * MIB},
};

static const char no_landlock[] =
    "the kernel has no Landlock: boot a kernel with it, or set sandbox = \"optional\"";

const char *sandbox_name(unsigned id)
{
    return id < SANDBOX_COUNT ? rows[id].name : "?";
}

#ifdef WITH_SANITIZERS
/*
 * A fenced process can neither read its own program nor start the one that turns addresses into lines
 * (tests/lib/instance.py does that), nor be traced by the leak checker. The report goes to stderr, which is
 * postamtd's.
 */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "symbolize=0:detect_leaks=0:abort_on_error=1:disable_coredump=1";
}

const char *__ubsan_default_options(void)
{
    return "symbolize=0:print_stacktrace=1:abort_on_error=1";
}

static const bool is_sanitized = true; /* its run-time maps more than any limit of memory */
#else
static const bool is_sanitized = false;
#endif

int sandbox_basics(struct err *e)
{
    struct rlimit none = {0, 0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, "no_new_privs");
    if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        return err_errno(e, "no core files");
    return 0;
}

/* --- Landlock --- */

int sandbox_landlock_abi(void)
{
    static int abi = -1;
    const char *mask = getenv("POSTAMT_LANDLOCK_ABI");
    uint64_t limit;

    if (abi >= 0)
        return abi;
    abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0)
        abi = 0;
    if (mask && slice_u64(slice_str(mask), 100, &limit) && (int)limit < abi)
        abi = (int)limit;
    return abi;
}

/* may_connect: TCP is not fenced (there is no list of the world's servers). */
static int ruleset_new(uint64_t *handled, bool may_connect)
{
    struct landlock_attr attr = {.handled_fs = LL_ABI2};
    int abi = sandbox_landlock_abi();
    size_t size = sizeof attr.handled_fs;

    if (abi >= SANDBOX_ABI_TRUNCATE)
        attr.handled_fs |= LL_TRUNCATE;
    if (abi >= 4) {
        attr.handled_net = may_connect ? 0 : LL_NET_ALL;
        size = offsetof(struct landlock_attr, scoped);
    }
    if (abi >= 5)
        attr.handled_fs |= LL_IOCTL_DEV;
    if (abi >= 6) {
        attr.scoped = LL_SCOPE_ALL;
        size = sizeof attr;
    }
    *handled = attr.handled_fs;
    return (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
}

static int allow_below(int ruleset, uint64_t handled, int dir, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights & handled, .parent_fd = dir};

    if (!rule.allowed_access)
        return 0;
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static int allow_file(int ruleset, const char *path, uint64_t rights, struct err *e)
{
    int fd = open(path, O_PATH | O_CLOEXEC), rc;

    if (fd < 0)
        return err_set(e, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    rc = allow_below(ruleset, rights, fd, rights);
    close(fd);
    return rc < 0 ? err_errno(e, "landlock rule") : 0;
}

static int allow_folder(int ruleset, uint64_t handled, const char *path, uint64_t rights, struct err *e)
{
    int dir, rc;

    if (!rights)
        return 0;
    dir = fs_open_root(path);
    if (dir < 0)
        return err_set(e, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    rc = allow_below(ruleset, handled, dir, rights);
    close(dir);
    return rc < 0 ? err_errno(e, "landlock rule") : 0;
}

static int restrict_self(int ruleset, struct err *e)
{
    int rc = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);

    if (rc < 0)
        err_errno(e, "landlock");
    close(ruleset);
    return rc;
}

static int landlock_role(const struct sandbox_row *row, const struct settings *s, struct err *e)
{
    uint64_t handled;
    int ruleset = ruleset_new(&handled, row->calls & CALLS_CONNECT);

    if (ruleset < 0)
        return err_errno(e, "landlock");
    if (allow_folder(ruleset, handled, s->mail_dir, row->mail, e) < 0 ||
        allow_folder(ruleset, handled, s->state_dir, row->state, e) < 0 ||
        allow_folder(ruleset, handled, s->spool_dir, row->spool, e) < 0 ||
        allow_folder(ruleset, handled, s->auth_dir, row->auth, e) < 0 ||
        allow_folder(ruleset, handled, s->queue_dir, row->queue, e) < 0 ||
        (row->urandom && allow_file(ruleset, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE, e) < 0)) {
        close(ruleset);
        return -1;
    }
    return restrict_self(ruleset, e);
}

/* --- system calls --- */

/* A refused call in the field: it fails, and the log says which it was. */
static void on_refused(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    (void)sig;
    LOG(SANDBOX, NULL, F_U64("refused_call", info->si_syscall));
#if defined(__x86_64__)
    uc->uc_mcontext.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
    uc->uc_mcontext.regs[0] = (unsigned long long)-EPERM;
#else
#error "say where the result of a system call lies on this machine"
#endif
}

struct sandbox_filter {
    struct sock_fprog {
        unsigned short len;
        void *filter;
    } prog;
};

struct sandbox_filter *sandbox_filter_new(unsigned id, struct err *e)
{
#ifdef WITH_SANITIZERS
    (void)id, (void)e;
    return NULL;
#else
    const char *mode = getenv("POSTAMT_SECCOMP");
    uint32_t otherwise = mode && strcmp(mode, "kill") == 0 ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_TRAP;
    scmp_filter_ctx ctx = seccomp_init(otherwise);
    struct sandbox_filter *f = NULL;
    struct buf code = BUF_INIT(BUF_OWN);
    int fd = -1;

    if (!ctx || sandbox_calls_add(ctx, rows[id].calls) < 0)
        goto fail;
    fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0 || seccomp_export_bpf(ctx, fd) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
        fs_read_all(fd, &code, 1 << 20) < 0)
        goto fail;
    f = mem_alloc(sizeof *f);
    f->prog.len = (unsigned short)(code.n / 8);
    f->prog.filter = code.p;
    close(fd);
    seccomp_release(ctx);
    return f;
fail:
    err_set(e, ERR_INTERNAL, "system call filter of %s: %s", rows[id].name, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (ctx)
        seccomp_release(ctx);
    buf_free(&code);
    return NULL;
#endif
}

void sandbox_filter_free(struct sandbox_filter *f)
{
    if (!f)
        return;
    free(f->prog.filter);
    free(f);
}

static int filter_apply(const struct sandbox_filter *f, struct err *e)
{
    struct sigaction act = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};

    if (sigaction(SIGSYS, &act, NULL) < 0 || prctl(PR_SET_SECCOMP, 2 /* SECCOMP_MODE_FILTER */, &f->prog) < 0)
        return err_errno(e, "system call filter");
    return 0;
}

/* A connection and the socket of its relay each; security.md 4.4. */
static uint64_t front_files(const struct settings *s)
{
    return 2 * (uint64_t)s->connections + 64;
}

int sandbox_check(const struct settings *s, struct err *e)
{
    struct rlimit limit;

    if (sandbox_landlock_abi() < 2 && strcmp(s->sandbox, "optional") != 0)
        return err_set(e, ERR_CONFIG, "%s", no_landlock);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < front_files(s))
        return err_set(e, ERR_CONFIG,
            "limits.connections = %u needs %llu open files and only %llu are allowed: lower it, or raise "
            "LimitNOFILE",
            s->connections, (unsigned long long)front_files(s), (unsigned long long)limit.rlim_max);
    return 0;
}

static int limits_apply(const struct sandbox_row *row, const struct settings *settings, struct err *e)
{
    uint64_t nofile = row->nofile, data = row->data;
    struct rlimit limit;

    if (row->front) {
        INVARIANT(settings);
        nofile = front_files(settings);
        data = 32 * MIB + 32 * 1024 * (uint64_t)settings->connections;
    }
    if (nofile && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < nofile ? limit.rlim_max : nofile;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            return err_errno(e, "limit of open files");
    }
    if (data && !is_sanitized) {
        limit = (struct rlimit){data, data};
        if (setrlimit(RLIMIT_DATA, &limit) < 0)
            return err_errno(e, "limit of memory");
    }
    return 0;
}

/* --- entering --- */

static bool has_landlock(const struct settings *s, struct buf *lacks, struct err *e)
{
    if (sandbox_landlock_abi() >= 2)
        return true;
    if (strcmp(s->sandbox, "optional") == 0)
        buf_add_str(
            lacks, "the kernel has no Landlock (5.19 or later with lsm=landlock): folders are not fenced");
    else
        err_set(e, ERR_CONFIG, "%s", no_landlock);
    return false;
}

int sandbox_enter(unsigned id, const struct settings *settings, struct buf *lacks, struct err *e)
{
    const struct sandbox_row *row = &rows[id];
    struct err filter_err = {0};
    struct sandbox_filter *f = sandbox_filter_new(id, &filter_err);
    bool landlock = has_landlock(settings, lacks, e);
    int rc = -1;

    if (!f && filter_err.code != ERR_OK) {
        *e = filter_err;
        return -1;
    }
    if (!landlock && !lacks->n)
        goto out;
    if (sandbox_basics(e) < 0 || limits_apply(row, settings, e) < 0 ||
        (landlock && landlock_role(row, settings, e) < 0))
        goto out;
    rc = f ? filter_apply(f, e) : 0;
out:
    sandbox_filter_free(f);
    return rc;
}

int sandbox_enter_worker(
    unsigned id, int mail_dir, int state_dir, const struct sandbox_filter *f, struct err *e)
{
    const struct sandbox_row *row = &rows[id];
    uint64_t handled;
    int ruleset;

    if (limits_apply(row, NULL, e) < 0)
        return -1;
    if (sandbox_landlock_abi() >= 2) {
        ruleset = ruleset_new(&handled, false);
        if (ruleset < 0)
            return err_errno(e, "landlock");
        if (allow_below(ruleset, handled, mail_dir, row->mail) < 0 ||
            allow_below(ruleset, handled, state_dir, row->state) < 0) {
            err_errno(e, "landlock rule");
            close(ruleset);
            return -1;
        }
        if (restrict_self(ruleset, e) < 0)
            return -1;
    }
    return f ? filter_apply(f, e) : 0;
}
