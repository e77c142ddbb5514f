#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"

static const char *const user_names[] = {
    [ROLE_USER_AUTH] = "postamt-auth", [ROLE_USER_MAIL] = "postamt", [ROLE_USER_NET] = "postamt-net"};

int role_user_ids(enum role_user user, uid_t *uid, gid_t *gid, struct err *e)
{
    struct passwd *pw;

    *uid = geteuid();
    *gid = getegid();
    if (*uid != 0)
        return 0;
    pw = getpwnam(user_names[user]);
    if (!pw)
        return err_set(e, ERR_CONFIG,
            "user %s does not exist; make it with: adduser --system --group --no-create-home %s", user_names[user],
            user_names[user]);
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    return 0;
}

/* mkdir -p for the admin's absolute path */
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
        if (mkdir(part, i == n ? mode : 0755) < 0 && errno != EEXIST)
            return -1;
    }
    return 0;
}

static int prepare(const char *path, enum role_user user, mode_t mode, struct stat *st, struct err *e)
{
    uid_t uid;
    gid_t gid;
    int fd;

    if (role_user_ids(user, &uid, &gid, e) < 0)
        return -1;
    if (make_path(path, mode) < 0 || (fd = fs_open_root(path)) < 0)
        return err_set(e, ERR_CONFIG, "folder %s cannot be made: %s", path, strerror(errno));
    if (fstat(fd, st) < 0 || (st->st_uid != uid && fchown(fd, uid, gid) < 0)) {
        err_set(e, ERR_CONFIG, "folder %s must belong to uid %u: %s", path, (unsigned)uid, strerror(errno));
        close(fd);
        return -1;
    }
    if ((st->st_mode & 07777) != mode && fchmod(fd, mode) < 0) {
        err_set(e, ERR_CONFIG, "folder %s must have mode %o: %s", path, (unsigned)mode, strerror(errno));
        close(fd);
        return -1;
    }
    close(fd);
    return 0;
}

int folders_prepare(const struct settings *s, struct err *e)
{
    struct stat mail, state, spool, other;
    const char *network = NULL;
    int fd;

    if (prepare(s->mail_dir, ROLE_USER_MAIL, 0700, &mail, e) < 0 ||
        prepare(s->state_dir, ROLE_USER_MAIL, 0700, &state, e) < 0 ||
        prepare(s->spool_dir, ROLE_USER_MAIL, 0700, &spool, e) < 0 ||
        prepare(s->auth_dir, ROLE_USER_AUTH, 0700, &other, e) < 0)
        return -1;
    if (make_path(s->run_dir, 0755) < 0)
        return err_set(e, ERR_CONFIG, "folder %s cannot be made: %s", s->run_dir, strerror(errno));
    if (mail.st_dev != state.st_dev || mail.st_dev != spool.st_dev)
        return err_set(e, ERR_CONFIG,
            "paths.mail, paths.state and paths.spool must lie on one file system: messages are linked between them");
    fd = fs_open_root(s->mail_dir);
    if (fd < 0)
        return err_errno(e, s->mail_dir);
    if (fs_is_network(fd, &network))
        err_set(e, ERR_CONFIG, "%s lies on %s: locks and links are not safe there; use a local disk", s->mail_dir,
            network);
    close(fd);
    return network ? -1 : 0;
}
