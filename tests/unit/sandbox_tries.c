#include "config.h"

#include "tests/unit/sandbox_tries.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/sandbox.h"

char tries_top[] = "/tmp/postamt-sandbox-XXXXXX";
pid_t tries_sibling;
struct try_fds tries_fds;
uint16_t tries_port;

#define OLD "mail/anna/old"
#define NEW "mail/anna/new"
#define OTHERS "mail/bert/new"
#define PATH_SIZE 256

/* Two paths at a time; the next call but one overwrites. */
static const char *below(const char *name)
{
    static char paths[2][PATH_SIZE];
    static unsigned which;
    char *path = paths[which++ % 2];

    if (name[0] == '/')
        return name;
    snprintf(path, PATH_SIZE, "%s/%s", tries_top, name);
    return path;
}

/* --- the tree --- */

static const struct {
    const char *name;
    mode_t mode;
} tree[] = {{"mail/", 0700}, {"mail/anna/", 0700}, {"mail/bert/", 0700}, {"state/", 0700},
    {"state/anna/", 0700}, {"state/bert/", 0700}, {"spool/", 0700}, {"queue/", 0700}, {"auth/", 0700},
    {"auth/environment/", 0700}, {"tls/", 0700}, {OLD, 0600}, {NEW, 0400}, {OTHERS, 0600},
    {"state/anna/index", 0600}, {"state/bert/index", 0600}, {"spool/letter", 0600}, {"queue/letter", 0600},
    {"auth/environment/__db.001", 0600}, {"auth/environment/accounts", 0600}, {"auth/dump", 0600},
    {"tls/key", 0600}, {"elsewhere", 0644}};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type;
    return ftw->level == 0 ? 0 : remove(path);
}

int tries_tree_remove(void)
{
    return nftw(tries_top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int tries_tree_make(void)
{
    if (tries_tree_remove() < 0)
        return -1;
    for (size_t i = 0; i < sizeof tree / sizeof *tree; i++) {
        const char *path = below(tree[i].name);
        int fd;

        if (path[strlen(path) - 1] == '/') {
            if (mkdir(path, tree[i].mode) < 0)
                return -1;
            continue;
        }
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, tree[i].mode);
        if (fd < 0 || fchmod(fd, tree[i].mode) < 0 || write(fd, "mail", 4) != 4 || close(fd) < 0)
            return -1;
    }
    return 0;
}

static FILE *tree_text;

static int show_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    fprintf(tree_text, "%s %d %o %u:%u %lu links %ld octets %ld.%ld\n", path, type, st->st_mode, st->st_uid,
        st->st_gid, (unsigned long)st->st_nlink, (long)st->st_size, (long)st->st_mtim.tv_sec,
        (long)st->st_mtim.tv_nsec);
    return 0;
}

char *tries_tree_text(void)
{
    char *text = NULL;
    size_t n;

    tree_text = open_memstream(&text, &n);
    if (!tree_text || nftw(tries_top, show_one, 16, FTW_PHYS) < 0 || fclose(tree_text) != 0)
        return NULL;
    return text;
}

/* --- files that are not its own --- */

static long try_open(const char *name, int flags)
{
    return open(below(name), flags | O_CLOEXEC, 0600);
}

/* clang-format off */
#define TRY_OPEN(function, name, flags) static long function(void) { return try_open(name, flags); }
TRY_OPEN(read_passwd, "/etc/passwd", O_RDONLY)
TRY_OPEN(read_elsewhere, "elsewhere", O_RDONLY)
TRY_OPEN(read_root, "/", O_RDONLY | O_DIRECTORY)
TRY_OPEN(read_key, "tls/key", O_RDONLY)
TRY_OPEN(read_environment, "auth/environment/__db.001", O_RDONLY)
TRY_OPEN(read_accounts, "auth/environment/accounts", O_RDONLY)
TRY_OPEN(read_dump, "auth/dump", O_RDONLY)
TRY_OPEN(list_environment, "auth/environment", O_RDONLY | O_DIRECTORY)
TRY_OPEN(write_environment, "auth/environment/__db.001", O_WRONLY)
TRY_OPEN(create_in_auth, "auth/environment/log.1", O_WRONLY | O_CREAT | O_EXCL)
TRY_OPEN(read_others, OTHERS, O_RDONLY)
TRY_OPEN(list_others, "mail/bert", O_RDONLY | O_DIRECTORY)
TRY_OPEN(read_others_state, "state/bert/index", O_RDONLY)
TRY_OPEN(write_others_state, "state/bert/index", O_WRONLY)
TRY_OPEN(read_own, NEW, O_RDONLY)
TRY_OPEN(read_spool, "spool/letter", O_RDONLY)
TRY_OPEN(read_queue, "queue/letter", O_RDONLY)
TRY_OPEN(list_queue, "queue", O_RDONLY | O_DIRECTORY)
TRY_OPEN(write_queue, "queue/letter", O_WRONLY)
TRY_OPEN(create_in_queue, "queue/new", O_WRONLY | O_CREAT | O_EXCL)
TRY_OPEN(create_elsewhere, "new", O_WRONLY | O_CREAT | O_EXCL)
TRY_OPEN(write_elsewhere, "elsewhere", O_WRONLY)
/* a mail */
TRY_OPEN(write_mail, OLD, O_WRONLY)
TRY_OPEN(write_mail_both, OLD, O_RDWR)
TRY_OPEN(append_mail, OLD, O_WRONLY | O_APPEND)
TRY_OPEN(write_others, OTHERS, O_WRONLY)
TRY_OPEN(cut_mail_writing, OLD, O_WRONLY | O_TRUNC)
TRY_OPEN(cut_mail_reading, OLD, O_RDONLY | O_TRUNC)
/* access mode 3: neither to read nor to write, but the file is cut */
TRY_OPEN(cut_mail_neither, OLD, O_ACCMODE | O_TRUNC)
TRY_OPEN(cut_others_neither, OTHERS, O_ACCMODE | O_TRUNC)
TRY_OPEN(cut_elsewhere_neither, "elsewhere", O_ACCMODE | O_TRUNC)
/* clang-format on */

static long cut_openat2(void)
{
    struct open_how how = {.flags = O_ACCMODE | O_TRUNC | O_CLOEXEC};

    return syscall(SYS_openat2, AT_FDCWD, below(OLD), &how, sizeof how);
}

static long read_openat2(void)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC};

    return syscall(SYS_openat2, AT_FDCWD, below("elsewhere"), &how, sizeof how);
}

static long cut_mail(void)
{
    return truncate(below(OLD), 0);
}

static long chmod_mail(void)
{
    return chmod(below(OLD), 0666);
}

static long fchmodat_mail(void)
{
    return fchmodat(AT_FDCWD, below(NEW), 0666, 0);
}

static long fchmod_mail(void)
{
    return fchmod(tries_fds.mail, 0666);
}

static long chown_mail(void)
{
    return chown(below(OLD), getuid(), getgid());
}

static long fchown_mail(void)
{
    return fchown(tries_fds.mail, getuid(), getgid());
}

static long setxattr_mail(void)
{
    return syscall(SYS_setxattr, below(OLD), "user.a", "b", 1, 0);
}

static const struct timespec yesterday[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};

static long date_mail(void)
{
    return utimensat(AT_FDCWD, below(OLD), yesterday, 0);
}

static long date_mail_now(void)
{
    return utimensat(AT_FDCWD, below(OTHERS), NULL, AT_SYMLINK_NOFOLLOW);
}

static long date_mail_open(void)
{
    return futimens(tries_fds.mail, yesterday);
}

#ifdef SYS_utimes
static long date_mail_old_way(void)
{
    return syscall(SYS_utimes, below(OLD), NULL);
}
#endif

/* clang-format off */
static long try_link(const char *from, const char *to) { return linkat(AT_FDCWD, below(from), AT_FDCWD, below(to), 0); }
static long try_rename(const char *from, const char *to) { return renameat(AT_FDCWD, below(from), AT_FDCWD, below(to)); }

static long link_out(void) { return try_link(OLD, "out"); }
static long link_others_out(void) { return try_link(OTHERS, "out"); }
static long link_to_state(void) { return try_link(OLD, "state/anna/out"); }
static long link_to_spool(void) { return try_link(OLD, "spool/out"); }
static long link_to_queue(void) { return try_link(OLD, "queue/out"); }
static long remove_queue(void) { return unlinkat(AT_FDCWD, below("queue/letter"), 0); }
static long link_others_to_own(void) { return try_link(OTHERS, "mail/anna/stolen"); }
static long link_key_in(void) { return try_link("tls/key", "mail/anna/stolen"); }
static long rename_out(void) { return try_rename(OLD, "out"); }
static long rename_to_state(void) { return try_rename(OLD, "state/anna/out"); }
static long rename_to_spool(void) { return try_rename(OLD, "spool/out"); }
static long rename_others(void) { return try_rename(OTHERS, "mail/bert/gone"); }
static long rename_environment(void) { return try_rename("auth/environment/accounts", "auth/gone"); }
static long remove_others(void) { return unlinkat(AT_FDCWD, below(OTHERS), 0); }
static long remove_own(void) { return unlinkat(AT_FDCWD, below(NEW), 0); }
static long remove_elsewhere(void) { return unlinkat(AT_FDCWD, below("elsewhere"), 0); }
static long remove_environment(void) { return unlinkat(AT_FDCWD, below("auth/environment/__db.001"), 0); }
static long symlink_in(void) { return symlinkat("/etc/passwd", AT_FDCWD, below("mail/anna/passwd")); }
static long fifo_in(void) { return mkfifoat(AT_FDCWD, below("mail/anna/fifo"), 0600); }
static long make_folder(void) { return mkdirat(AT_FDCWD, below("folder"), 0700); }

/* clang-format on */

static long exchange_with_state(void)
{
    return renameat2(AT_FDCWD, below(OLD), AT_FDCWD, below("state/anna/index"), RENAME_EXCHANGE);
}

/* Without a name: from the descriptor. */
static long link_open_out(void)
{
    int fd = open(below(OLD), O_RDONLY | O_CLOEXEC);
    long rc = linkat(fd < 0 ? tries_fds.mail : fd, "", AT_FDCWD, below("state/anna/out"), AT_EMPTY_PATH);

    /* the kernel's answer when the descriptor is from before the fence: other credentials opened it */
    if (rc < 0 && errno == ENOENT)
        errno = EPERM;
    return rc;
}

/* --- sockets --- */

/* clang-format off */

static long try_socket(int domain, int type) { return socket(domain, type | SOCK_CLOEXEC, 0); }

static long socket_tcp(void) { return try_socket(AF_INET, SOCK_STREAM); }
static long socket_udp(void) { return try_socket(AF_INET, SOCK_DGRAM); }
static long socket_tcp6(void) { return try_socket(AF_INET6, SOCK_STREAM); }
static long socket_unix(void) { return try_socket(AF_UNIX, SOCK_STREAM); }
static long socket_netlink(void) { return try_socket(AF_NETLINK, SOCK_RAW); }
/* clang-format on */

static long connect_given(void)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = tries_port, .sin_addr = {htonl(INADDR_LOOPBACK)}};

    return connect(tries_fds.fresh, (struct sockaddr *)&to, sizeof to);
}

static long bind_given(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

    return bind(tries_fds.other, (struct sockaddr *)&at, sizeof at);
}

static long listen_given(void)
{
    return listen(tries_fds.other, 1);
}

/* --- other processes --- */

static long kill_sibling(void)
{
    return kill(tries_sibling, SIGKILL);
}

static long probe_sibling(void)
{
    return kill(tries_sibling, 0);
}

static long probe_parent(void)
{
    return kill(getppid(), 0);
}

static long tgkill_sibling(void)
{
    return syscall(SYS_tgkill, tries_sibling, tries_sibling, SIGKILL);
}

static long tkill_sibling(void)
{
    return syscall(SYS_tkill, tries_sibling, SIGKILL);
}

static long queue_to_sibling(void)
{
    return sigqueue(tries_sibling, SIGKILL, (union sigval){.sival_int = 1});
}

static long pidfd_of_sibling(void)
{
    return syscall(SYS_pidfd_open, tries_sibling, 0);
}

static long signal_by_pidfd(void)
{
    return syscall(SYS_pidfd_send_signal, tries_fds.sibling, SIGKILL, NULL, 0);
}

static long fd_of_sibling(void)
{
    return syscall(SYS_pidfd_getfd, tries_fds.sibling, 2, 0);
}

static long owner_sibling(void)
{
    return fcntl(tries_fds.fresh, F_SETOWN, tries_sibling);
}

static long ptrace_attach(void)
{
    return ptrace(PTRACE_ATTACH, tries_sibling, NULL, NULL);
}

static long ptrace_seize(void)
{
    return ptrace(PTRACE_SEIZE, tries_sibling, NULL, NULL);
}

static long read_memory(void)
{
    char octet;
    struct iovec here = {&octet, 1}, there = {tries_top, 1};

    return process_vm_readv(tries_sibling, &here, 1, &there, 1, 0);
}

static long write_memory(void)
{
    char octet = '/';
    struct iovec here = {&octet, 1}, there = {tries_top, 1};

    return process_vm_writev(tries_sibling, &here, 1, &there, 1, 0);
}

static long open_proc(const char *file)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", (int)tries_sibling, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static long open_memory(void)
{
    return open_proc("mem");
}

static long open_environ(void)
{
    return open_proc("environ");
}

static long limit_sibling(void)
{
    struct rlimit none = {0, 0};

    return prlimit(tries_sibling, RLIMIT_CORE, &none, NULL);
}

static long nice_sibling(void)
{
    return setpriority(PRIO_PROCESS, (id_t)tries_sibling, 10);
}

/* --- programs and more of itself --- */

static long fork_one(void)
{
    long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid == 0)
        _exit(0);
    return pid;
}

static long map_executable(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static long make_executable(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? 0 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long memory_file(void)
{
    return memfd_create("a", MFD_CLOEXEC);
}

static long watch_files(void)
{
    return inotify_init1(IN_CLOEXEC);
}

static long become_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1);
}

static long new_session(void)
{
    return setsid();
}

static long new_user(void)
{
    return syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */);
}

static long change_folder(void)
{
    return chdir("/");
}

static long add_key_to_ring(void)
{
    return syscall(SYS_add_key, "user", "postamt-test", "a", 1, -3 /* the session's ring */);
}

static long uring(void)
{
    char params[120] = {0};

    return syscall(SYS_io_uring_setup, 1, params);
}

static long fault_handler(void)
{
    return syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* of its own memory only */);
}

static long other_ioctl(void)
{
    return ioctl(tries_fds.mail, FIOCLEX);
}

static char *const no_words[] = {(char *)"true", NULL};

static long exec_program(void)
{
    return execve("/bin/true", no_words, no_words + 1);
}

static long exec_open_program(void)
{
    return syscall(SYS_execveat, tries_fds.program, "", no_words, no_words + 1, AT_EMPTY_PATH);
}

/* --- the table --- */

#define AUTHD TRY_ROW(ROLE_AUTHD)
#define DELIVER TRY_ROW(ROLE_SMTPD_DELIVER)
#define SPAWNERS (TRY_ROW(ROLE_IMAPD_SPAWNER) | TRY_ROW(ROLE_POP3D_SPAWNER))
#define WORKERS (TRY_ROW(SANDBOX_IMAPD_WORKER) | TRY_ROW(SANDBOX_POP3D_WORKER))
#define LISTERS (TRY_ROW(ROLE_IMAPD_PARENT) | TRY_ROW(ROLE_POP3D_PARENT))
#define QUEUED TRY_ROW(ROLE_QUEUED)
#define CALLERS (TRY_ROW(ROLE_SENDER) | TRY_ROW(ROLE_RESOLVERD) | TRY_ROW(ROLE_FETCHD))
#define WRITERS (AUTHD | DELIVER | SPAWNERS | WORKERS | QUEUED)
#define FRONT_SMTP TRY_ROW(ROLE_SMTPD_FRONT)

#define FILES(f, may)                                                                                        \
    {                                                                                                        \
#f, f, TRY_BY_FILES, false, may                                                                      \
    }
#define FILES3(f)                                                                                            \
    {                                                                                                        \
#f, f, TRY_BY_FILES3, false, 0                                                                       \
    }
#define CALLS(f, may)                                                                                        \
    {                                                                                                        \
#f, f, TRY_BY_CALLS, false, may                                                                      \
    }
#define MAYBE(f, may)                                                                                        \
    {                                                                                                        \
#f, f, TRY_BY_CALLS, true, may                                                                       \
    }

/* clang-format off */
const struct try tries[] = {
    FILES(read_passwd, 0), FILES(read_elsewhere, 0), FILES(read_root, 0), FILES(read_key, 0), FILES(read_openat2, 0),
    FILES(read_environment, AUTHD), FILES(read_accounts, AUTHD), FILES(read_dump, AUTHD), FILES(list_environment, AUTHD),
    FILES(write_environment, AUTHD), FILES(create_in_auth, AUTHD), FILES(rename_environment, AUTHD),
    FILES(remove_environment, AUTHD),
    /* a spawner has what its workers can be given; deliver and the parents list, and deliver puts in */
    FILES(read_others, SPAWNERS), FILES(list_others, SPAWNERS | DELIVER | LISTERS),
    FILES(remove_others, SPAWNERS), FILES(rename_others, SPAWNERS), FILES(link_others_to_own, SPAWNERS | DELIVER),
    FILES(read_others_state, SPAWNERS), FILES(write_others_state, SPAWNERS),
    FILES(read_own, SPAWNERS | WORKERS), FILES(remove_own, SPAWNERS | WORKERS), FILES(read_spool, DELIVER),
    FILES(read_queue, QUEUED), FILES(list_queue, QUEUED), FILES(write_queue, QUEUED), FILES(create_in_queue, QUEUED),
    FILES(remove_queue, QUEUED),
    FILES(create_elsewhere, 0), FILES(write_elsewhere, 0), FILES(remove_elsewhere, 0), FILES(make_folder, 0),
    /* nobody writes into a mail, cuts or changes it, by any way */
    FILES(write_mail, 0), FILES(write_mail_both, 0), FILES(append_mail, 0), FILES(write_others, 0),
    FILES(cut_mail_writing, 0), FILES3(cut_mail_reading), FILES3(cut_mail_neither), FILES3(cut_others_neither),
    FILES3(cut_elsewhere_neither), FILES3(cut_openat2), FILES3(cut_mail),
    CALLS(chmod_mail, 0), CALLS(fchmodat_mail, 0), CALLS(fchmod_mail, 0), CALLS(chown_mail, 0), CALLS(fchown_mail, 0),
    MAYBE(setxattr_mail, 0), CALLS(date_mail, 0), CALLS(date_mail_now, 0),
    CALLS(date_mail_open, WRITERS), /* what lies open: its own user's, or a letter it has made */
#ifdef SYS_utimes
    CALLS(date_mail_old_way, 0),
#endif
    /* nor takes it out, to where it could be written or to where others see it */
    FILES(link_out, 0), FILES(link_others_out, 0), FILES(link_to_state, 0), FILES(link_to_spool, 0), FILES(link_to_queue, 0),
    FILES(link_key_in, 0), FILES(rename_out, 0), FILES(rename_to_state, 0), FILES(rename_to_spool, 0),
    FILES(exchange_with_state, 0), {"link_open_out", link_open_out, TRY_BY_FILES, true, 0},
    FILES(symlink_in, 0), FILES(fifo_in, 0),
    /* some call others, by IP; nobody opens a port */
    CALLS(socket_tcp, CALLERS), CALLS(socket_udp, CALLERS), MAYBE(socket_tcp6, CALLERS), CALLS(socket_unix, 0),
    MAYBE(socket_netlink, 0), CALLS(connect_given, CALLERS), CALLS(bind_given, CALLERS), CALLS(listen_given, 0),
    CALLS(probe_sibling, 0), MAYBE(probe_parent, 0), CALLS(kill_sibling, 0), CALLS(tgkill_sibling, 0),
    CALLS(tkill_sibling, 0), CALLS(queue_to_sibling, 0), CALLS(pidfd_of_sibling, 0), CALLS(signal_by_pidfd, 0),
    CALLS(owner_sibling, 0), CALLS(limit_sibling, 0), CALLS(nice_sibling, 0),
    MAYBE(fd_of_sibling, 0), MAYBE(ptrace_attach, 0), MAYBE(ptrace_seize, 0), MAYBE(read_memory, 0),
    MAYBE(write_memory, 0), FILES(open_memory, 0), FILES(open_environ, 0),
    CALLS(fork_one, SPAWNERS), CALLS(map_executable, 0), CALLS(make_executable, 0), CALLS(memory_file, FRONT_SMTP | QUEUED),
    CALLS(watch_files, LISTERS), CALLS(become_dumpable, 0), CALLS(new_session, 0), CALLS(change_folder, 0),
    CALLS(other_ioctl, 0), MAYBE(new_user, 0), MAYBE(add_key_to_ring, 0), MAYBE(uring, 0), MAYBE(fault_handler, 0),
    /* last: what succeeds here does not come back */
    CALLS(exec_open_program, 0), CALLS(exec_program, 0),
};
/* clang-format on */
const size_t tries_count = sizeof tries / sizeof *tries;
