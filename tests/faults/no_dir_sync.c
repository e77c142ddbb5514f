/*
 * no_dir_sync: a build that forgets to sync folders, for LD_PRELOAD. The control of tests/faults/power.py:
 * with it acknowledged messages must get lost when the power goes, or the rig shows nothing.
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return (int)syscall(SYS_fdatasync, fd);
}
