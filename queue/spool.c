#include "queue/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"

#define STAGED ".new-"
#define DAMAGED "damaged"
#define CHUNK ((size_t)65536)
#define NAME_SIZE 64

struct spool {
    int dir;
    int damaged;
};

static void staged_name(char name[NAME_SIZE], const struct id *id)
{
    snprintf(name, NAME_SIZE, STAGED "%s", id->text);
}

struct spool *spool_open(const char *path, struct err *e)
{
    struct spool *s;
    int dir, damaged;

    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        err_errno(e, path);
        return NULL;
    }
    dir = fs_open_root(path);
    if (dir < 0) {
        err_errno(e, path);
        return NULL;
    }
    damaged = fs_make_dirs(dir, DAMAGED) < 0 ? -1 : fs_open_dir(dir, DAMAGED);
    if (damaged < 0) {
        err_errno(e, DAMAGED);
        close(dir);
        return NULL;
    }
    fs_remove_old(dir, STAGED, (int64_t)time(NULL) - FS_STAGING_LIFE);
    s = mem_zalloc(1, sizeof *s);
    *s = (struct spool){.dir = dir, .damaged = damaged};
    return s;
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    close(s->dir);
    close(s->damaged);
    free(s);
}

int spool_begin(struct spool *s, const struct envelope *env, struct spool_writer *w, struct err *e)
{
    struct buf head = BUF_INIT(ENVELOPE_MAX);
    char name[NAME_SIZE];

    *w = (struct spool_writer){.spool = s, .fd = -1, .env = env};
    INVARIANT(id_is_valid(slice_of(env->id.text, ID_LEN)));
    if (!envelope_encode(env, &head))
        return err_set(e, ERR_SYNTAX, "the envelope of %s is too large", env->id.text);
    w->envelope_len = head.n;
    buf_free(&head);
    staged_name(name, &env->id);
    w->fd = fs_open_write(s->dir, name, O_RDWR | O_CREAT | O_EXCL, 0400);
    if (w->fd < 0)
        return err_errno(e, name);
    return 0;
}

int spool_write(struct spool_writer *w, struct slice text, struct err *e)
{
    if (fs_pwrite_all(w->fd, text.p, text.n, (off_t)(w->envelope_len + w->size)) < 0)
        return err_errno(e, w->env->id.text);
    w->size += text.n;
    return 0;
}

int spool_copy(struct spool_writer *w, int fd, uint64_t offset, uint64_t len, struct err *e)
{
    char *chunk = mem_alloc(CHUNK);
    int rc = 0;

    while (rc == 0 && len) {
        size_t n = len < CHUNK ? (size_t)len : CHUNK;

        rc = fs_pread_all(fd, chunk, n, (off_t)offset) < 0 ? err_errno(e, w->env->id.text)
                                                           : spool_write(w, slice_of(chunk, n), e);
        offset += n;
        len -= n;
    }
    free(chunk);
    return rc;
}

void spool_drop(struct spool_writer *w)
{
    char name[NAME_SIZE];

    if (w->fd < 0)
        return;
    close(w->fd);
    w->fd = -1;
    staged_name(name, &w->env->id);
    (void)fs_unlink(w->spool->dir, name); /* else it goes when it is 36 h old */
}

int spool_place(struct spool_writer *w, struct err *e)
{
    struct buf head = BUF_INIT(ENVELOPE_MAX);
    struct envelope env = *w->env;
    char name[NAME_SIZE];
    int rc = 0;

    env.size = w->size;
    INVARIANT(envelope_encode(&env, &head) && head.n == w->envelope_len);
    staged_name(name, &env.id);
    if (fs_pwrite_all(w->fd, head.p, head.n, 0) < 0 || fs_sync_data(w->fd) < 0 ||
        fs_rename_new(w->spool->dir, name, w->spool->dir, env.id.text) < 0)
        rc = err_errno(e, name);
    buf_free(&head);
    if (rc < 0) {
        spool_drop(w);
        return -1;
    }
    close(w->fd); /* what it could still report fdatasync has */
    w->fd = -1;
    return 0;
}

int spool_sync(struct spool *s, struct err *e)
{
    return fs_sync_dir(s->dir) < 0 ? err_errno(e, "the queue's folder") : 0;
}

int spool_commit(struct spool_writer *w, struct err *e)
{
    if (spool_place(w, e) < 0)
        return -1;
    if (spool_sync(w->spool, e) == 0)
        return 0;
    (void)spool_remove(w->spool, slice_of(w->env->id.text, ID_LEN), NULL);
    return -1;
}

static void set_aside(struct spool *s, const char *id, const char *why)
{
    char to[NAME_SIZE];
    int rc;

    snprintf(to, sizeof to, "%s", id);
    rc = fs_rename_new(s->dir, id, s->damaged, to);
    for (unsigned i = 1; rc < 0 && errno == EEXIST && i < 1000; i++) {
        snprintf(to, sizeof to, "%s.%u", id, i);
        rc = fs_rename_new(s->dir, id, s->damaged, to);
    }
    if (rc == 0 && (fs_sync_dir(s->damaged) < 0 || fs_sync_dir(s->dir) < 0))
        rc = -1;
    LOG(QUEUE_DAMAGED, id, F_STR("why", why), F_STR("moved_to", rc == 0 ? "damaged/" : "nowhere"),
        F_STR("file", to));
}

/* NULL: it is whole. */
static const char *load(struct spool_message *m, const char *id, off_t size, bool *io)
{
    char head[ENVELOPE_HEAD];
    size_t n;
    char *to;

    *io = false;
    if (size < ENVELOPE_HEAD)
        return "shorter than any envelope";
    if (fs_pread_all(m->fd, head, sizeof head, 0) < 0) {
        *io = true;
        return "cannot be read";
    }
    n = envelope_length(slice_of(head, sizeof head));
    if (n == 0 || (uint64_t)n > (uint64_t)size)
        return "no envelope at its start";
    to = buf_room(&m->octets, n);
    INVARIANT(to);
    if (fs_pread_all(m->fd, to, n, 0) < 0) {
        *io = true;
        return "cannot be read";
    }
    buf_grew(&m->octets, n);
    if (!envelope_decode(buf_slice(&m->octets), &m->arena, &m->env))
        return "the envelope is damaged";
    if (strcmp(m->env.id.text, id) != 0)
        return "the envelope is another message's";
    if (m->env.size != (uint64_t)size - n)
        return "the text is not as long as it was";
    m->text = n;
    return NULL;
}

enum spool_result spool_read(struct spool *s, struct slice id, struct spool_message *m, struct err *e)
{
    char name[ID_LEN + 1] = "";
    const char *why;
    struct stat st;
    bool io;

    *m = (struct spool_message){.fd = -1, .octets = BUF_INIT(ENVELOPE_MAX)};
    if (!id_is_valid(id))
        return SPOOL_NONE;
    memcpy(name, id.p, ID_LEN);
    m->fd = fs_open_read_stat(s->dir, name, &st);
    if (m->fd < 0 && errno == ENOENT)
        return SPOOL_NONE;
    if (m->fd < 0 && errno == ELOOP) { /* a link or a folder: nothing of ours */
        set_aside(s, name, "not a file");
        return SPOOL_DAMAGED;
    }
    if (m->fd < 0) {
        err_errno(e, name);
        return SPOOL_ERROR;
    }
    arena_init(&m->arena, ENVELOPE_ARENA);
    why = load(m, name, st.st_size, &io);
    if (!why)
        return SPOOL_OK;
    if (io)
        err_errno(e, name);
    spool_message_close(m);
    if (io)
        return SPOOL_ERROR;
    set_aside(s, name, why);
    return SPOOL_DAMAGED;
}

void spool_message_close(struct spool_message *m)
{
    if (m->fd < 0)
        return;
    close(m->fd);
    m->fd = -1;
    buf_free(&m->octets);
    arena_free(&m->arena);
}

int spool_remove(struct spool *s, struct slice id, struct err *e)
{
    char name[ID_LEN + 1] = "";

    if (!id_is_valid(id))
        return 0;
    memcpy(name, id.p, ID_LEN);
    if (fs_unlink(s->dir, name) < 0 && errno != ENOENT)
        return err_errno(e, name);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return memcmp(a, b, ID_LEN);
}

int spool_list(struct spool *s, struct id **ids, size_t *n, struct err *e)
{
    DIR *list = fs_list(s->dir);
    size_t size = 0, odd = 0;
    struct dirent *d;
    int no;

    *ids = NULL;
    *n = 0;
    if (!list)
        return err_errno(e, "the queue's folder");
    while (errno = 0, (d = readdir(list))) {
        struct slice name = slice_str(d->d_name);

        if (!id_is_valid(name)) {
            odd += name.p[0] != '.' && d->d_type != DT_DIR && !slice_eq(name, SLICE(SPOOL_SUPPRESSED));
            continue;
        }
        if (*n == size) {
            size = size ? size * 2 : 64;
            *ids = mem_realloc(*ids, size, sizeof **ids);
        }
        memset(&(*ids)[*n], 0, sizeof **ids);
        memcpy((*ids)[(*n)++].text, name.p, ID_LEN);
    }
    no = errno;
    closedir(list);
    if (no) {
        errno = no;
        free(*ids);
        *ids = NULL;
        *n = 0;
        return err_errno(e, "the queue's folder");
    }
    if (odd)
        LOG(STORE_ODD, NULL, F_STR("what", "names in the queue's folder that are no message"),
            F_U64("n", odd));
    if (*n)
        qsort(*ids, *n, sizeof **ids, by_text);
    return 0;
}
