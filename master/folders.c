#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"

int role_user_ids(enum role_user user, uid_t *uid, gid_t *gid, struct err *e)
{
    struct passwd *pw;

    *uid = geteuid();
    *gid = getegid();
    if (*uid != 0)
        return 0;
    pw = getpwnam(role_user_name(user));
    if (!pw)
        return err_set(e, ERR_CONFIG,
            "user %s does not exist; make it with: adduser --system --group --no-create-home %s",
            role_user_name(user), role_user_name(user));
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    return 0;
}

/* mkdir -p for the admin's absolute path. Our umask is for files; a folder gets the mode it is to have: roles
 * with other uids pass through the parents, and the members of group postamt reach the sockets in run_dir. */
static int make_path(const char *path, mode_t mode)
{
    char part[4096];
    size_t n = strlen(path);

    if (n >= sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) == 0) {
            if (chmod(part, i == n ? mode : 0755) < 0)
                return -1;
        } else if (errno != EEXIST) {
            return -1;
        }
    }
    return 0;
}

/* Held, not opened: root as etc/postamt.service has it may not look into folders of others. */
static int hold(const char *path)
{
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int set_mode(int held, mode_t mode)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", held); /* fchmod does not take what is only held */
    return chmod(path, mode);
}

static int own(const char *path, int fd, uid_t uid, gid_t gid, mode_t mode, struct stat *st, struct err *e)
{
    /* the mode first: once the folder is another's it is not ours to change */
    if (fstat(fd, st) < 0 || ((st->st_mode & 07777) != mode && set_mode(fd, mode) < 0))
        return err_set(e, ERR_CONFIG, "folder %s must have mode %o (chmod %o %s): %s", path, (unsigned)mode,
            (unsigned)mode, path, strerror(errno));
    if ((st->st_uid != uid || st->st_gid != gid) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
        return err_set(e, ERR_CONFIG, "folder %s must belong to %u:%u (chown %u:%u %s): %s", path,
            (unsigned)uid, (unsigned)gid, (unsigned)uid, (unsigned)gid, path, strerror(errno));
    return 0;
}

static int prepare(const char *path, enum role_user user, mode_t mode, struct stat *st, struct err *e)
{
    uid_t uid;
    gid_t gid;
    int fd, rc;

    if (role_user_ids(user, &uid, &gid, e) < 0)
        return -1;
    if (make_path(path, mode) < 0 || (fd = hold(path)) < 0)
        return err_set(e, ERR_CONFIG, "folder %s cannot be made: %s", path, strerror(errno));
    rc = own(path, fd, uid, gid, mode, st, e);
    close(fd);
    return rc;
}

int folders_prepare(const struct settings *s, struct err *e)
{
    struct stat mail = {0}, state = {0}, spool = {0}, other;
    const char *network = NULL;
    int fd;

    if (prepare(s->mail_dir, ROLE_USER_MAIL, 0700, &mail, e) < 0 ||
        prepare(s->state_dir, ROLE_USER_MAIL, 0700, &state, e) < 0 ||
        prepare(s->spool_dir, ROLE_USER_MAIL, 0700, &spool, e) < 0 ||
        prepare(s->auth_dir, ROLE_USER_AUTH, 0700, &other, e) < 0 ||
        prepare(s->queue_dir, ROLE_USER_QUEUE, 0700, &other, e) < 0)
        return -1;
    if (make_path(s->run_dir, 0755) < 0)
        return err_set(e, ERR_CONFIG, "folder %s cannot be made: %s", s->run_dir, strerror(errno));
    if (mail.st_dev != state.st_dev || mail.st_dev != spool.st_dev)
        return err_set(e, ERR_CONFIG,
            "paths.mail, paths.state and paths.spool must lie on one file system: messages are linked "
            "between them");
    fd = hold(s->mail_dir);
    if (fd < 0)
        return err_errno(e, s->mail_dir);
    if (fs_is_network(fd, &network))
        err_set(e, ERR_CONFIG, "%s lies on %s: locks and links are not safe there; use a local disk",
            s->mail_dir, network);
    close(fd);
    return network ? -1 : 0;
}
