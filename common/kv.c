#include "common/kv.h"

#include <db.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"

/* All tables live in one file: losing it loses all of them, never one beside the others. */
#define KV_FILE "tables.db"
#define KV_TABLES_MAX 16
#define KV_CACHE_OCTETS ((uint32_t)4 << 20)
#define KV_LOG_FILE_OCTETS ((uint32_t)8 << 20)
/* A rebuild puts everything in one transaction: a lock for each page of some 100,000 accounts. */
#define KV_LOCKS_MAX 200000
#define KV_FIRST_READ 512

struct kv_table {
    struct kv *kv;
    char *name;
    DB *db;
};

struct kv {
    DB_ENV *env;
    int dir; /* open folder; holds the lock */
    bool sync;
    struct kv_table tables[KV_TABLES_MAX];
    size_t ntables;
};

struct kv_txn {
    struct kv *kv;
    DB_TXN *txn;
    enum kv_result worst; /* what the first operation that failed said: such a transaction cannot commit */
};

/* What Berkeley DB had to say beside its error code; it would write it to stderr. */
static _Thread_local char last_words[128];

static void on_message(const DB_ENV *env, const char *prefix, const char *text)
{
    (void)env, (void)prefix;
    snprintf(last_words, sizeof last_words, "%s", text);
}

static const char *reason(int rc)
{
    return last_words[0] ? last_words : db_strerror(rc);
}

static enum kv_result result_of(int rc, const char *what)
{
    switch (rc) {
    case 0:
        return KV_OK;
    case DB_NOTFOUND:
    case DB_KEYEMPTY:
        return KV_NONE;
    case DB_LOCK_DEADLOCK:
    case DB_LOCK_NOTGRANTED:
        return KV_RETRY;
    default:
        LOG(INTERNAL, NULL, F_STR("what", what), F_STR("error", reason(rc)));
        last_words[0] = '\0';
        return KV_ERROR;
    }
}

static enum kv_result noted(struct kv_txn *t, enum kv_result r)
{
    if (t && t->worst == KV_OK && (r == KV_RETRY || r == KV_ERROR))
        t->worst = r;
    return r;
}

static int open_locked(const char *dir, struct err *e)
{
    int fd;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_errno(e, dir);
    fd = fs_open_root(dir);
    if (fd < 0)
        return err_errno(e, dir);
    if (fs_try_lock(fd) < 0) {
        int no = errno;

        close(fd);
        errno = no;
        if (no == EWOULDBLOCK)
            return err_set(e, ERR_UNAVAILABLE, "%s is in use by another process", dir);
        return err_errno(e, dir);
    }
    return fd;
}

static int env_settings(DB_ENV *env, bool sync)
{
    int rc = 0;

    env->set_errcall(env, on_message);
    env->set_msgcall(env, NULL);
    rc = rc ? rc : env->set_cachesize(env, 0, KV_CACHE_OCTETS, 1);
    rc = rc ? rc : env->set_lg_max(env, KV_LOG_FILE_OCTETS);
    rc = rc ? rc : env->set_lk_max_locks(env, KV_LOCKS_MAX);
    rc = rc ? rc : env->set_lk_max_objects(env, KV_LOCKS_MAX);
    rc = rc ? rc : env->set_lk_detect(env, DB_LOCK_MINWRITE);
    rc = rc ? rc : env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1);
    if (!sync)
        rc = rc ? rc : env->set_flags(env, DB_TXN_WRITE_NOSYNC, 1); /* to the kernel: kill -9 loses nothing */
    return rc;
}

/* What says that the files are at fault, not the machine: worth a rebuild. */
static bool is_damage(int rc)
{
    return rc != 0 && rc != ENOSPC && rc != EDQUOT && rc != EACCES && rc != EPERM && rc != EROFS &&
           rc != ENOMEM && rc != EMFILE && rc != ENFILE;
}

struct kv *kv_open(const char *dir, bool sync, bool *damaged, struct err *e)
{
    struct kv *kv;
    int fd = open_locked(dir, e);
    int rc;

    *damaged = false;
    if (fd < 0)
        return NULL;
    kv = mem_zalloc(1, sizeof *kv);
    kv->dir = fd;
    kv->sync = sync;
    last_words[0] = '\0';
    rc = db_env_create(&kv->env, 0);
    INVARIANT(rc == 0);
    rc = env_settings(kv->env, sync);
    if (rc == 0)
        rc = kv->env->open(kv->env, dir,
            DB_CREATE | DB_INIT_LOCK | DB_INIT_LOG | DB_INIT_MPOOL | DB_INIT_TXN | DB_RECOVER | DB_PRIVATE |
                DB_THREAD,
            0600);
    if (rc == 0)
        return kv;
    *damaged = is_damage(rc);
    err_set(
        e, rc == ENOSPC || rc == EDQUOT ? ERR_NO_SPACE : ERR_IO, "%s cannot be opened: %s", dir, reason(rc));
    kv_close(kv);
    return NULL;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    if (kv->ntables)
        kv_checkpoint(kv);
    for (size_t i = 0; i < kv->ntables; i++) {
        (void)kv->tables[i].db->close(kv->tables[i].db, 0); /* what it did not write stands in the log */
        free(kv->tables[i].name);
    }
    (void)kv->env->close(kv->env, 0);
    close(kv->dir); /* and lets the lock go */
    free(kv);
}

void kv_checkpoint(struct kv *kv)
{
    int rc = kv->env->txn_checkpoint(kv->env, 0, 0, 0);

    if (rc == 0)
        rc = kv->env->log_archive(kv->env, NULL, DB_ARCH_REMOVE);
    if (rc != 0)
        LOG(INTERNAL, NULL, F_STR("what", "kv_checkpoint"), F_STR("error", db_strerror(rc)));
}

static bool is_ours(const char *name)
{
    struct slice s = slice_str(name);

    return slice_starts(s, SLICE("log.")) || slice_starts(s, SLICE("__db")) || slice_eq(s, SLICE(KV_FILE));
}

/* A fresh folder below dir; *name is the caller's to free. */
static int make_aside(int dir, char **name, struct err *e)
{
    for (unsigned i = 0; i < 1000; i++) {
        *name = mem_printf("damaged-%lld-%u", (long long)time(NULL), i);
        if (mkdirat(dir, *name, 0700) == 0)
            return 0;
        free(*name);
        if (errno != EEXIST)
            break;
    }
    *name = NULL;
    return err_errno(e, "a folder for damaged files");
}

static int move_ours(const char *path, int dir, int aside, struct err *e)
{
    DIR *list = opendir(path);
    struct dirent *entry;
    int rc = 0;

    if (!list)
        return err_errno(e, path);
    while (rc == 0 && (entry = readdir(list)))
        if (is_ours(entry->d_name) && fs_rename(dir, entry->d_name, aside, entry->d_name) < 0)
            rc = err_errno(e, entry->d_name);
    closedir(list);
    if (rc == 0 && (fs_sync_dir(aside) < 0 || fs_sync_dir(dir) < 0))
        rc = err_errno(e, path);
    return rc;
}

int kv_set_aside(const char *dir, struct err *e)
{
    char *name = NULL;
    int fd = open_locked(dir, e);
    int aside = -1;
    int rc;

    if (fd < 0)
        return -1;
    rc = make_aside(fd, &name, e);
    if (rc == 0) {
        aside = fs_open_dir(fd, name);
        rc = aside < 0 ? err_errno(e, name) : move_ours(dir, fd, aside, e);
    }
    if (aside >= 0)
        close(aside);
    free(name);
    close(fd);
    return rc;
}

struct kv_table *kv_table(struct kv *kv, const char *name, struct err *e)
{
    struct kv_table *table;
    DB *db;
    int rc;

    for (size_t i = 0; i < kv->ntables; i++)
        if (strcmp(kv->tables[i].name, name) == 0)
            return &kv->tables[i];
    INVARIANT(kv->ntables < KV_TABLES_MAX);
    rc = db_create(&db, kv->env, 0);
    INVARIANT(rc == 0);
    last_words[0] = '\0';
    rc = db->set_flags(db, DB_CHKSUM); /* a damaged page is an error, not a wrong answer */
    if (rc == 0)
        rc = db->open(db, NULL, KV_FILE, name, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, 0600);
    if (rc != 0) {
        (void)db->close(db, 0);
        err_set(e, rc == ENOSPC || rc == EDQUOT ? ERR_NO_SPACE : ERR_CORRUPT, "table %s cannot be opened: %s",
            name, reason(rc));
        return NULL;
    }
    table = &kv->tables[kv->ntables++];
    *table = (struct kv_table){.kv = kv, .name = mem_strdup(name), .db = db};
    return table;
}

struct kv_txn *kv_begin(struct kv *kv)
{
    struct kv_txn *t = mem_zalloc(1, sizeof *t);

    t->kv = kv;
    t->worst = result_of(kv->env->txn_begin(kv->env, NULL, &t->txn, 0), "kv_begin");
    if (t->worst != KV_OK)
        t->txn = NULL;
    return t;
}

enum kv_result kv_commit(struct kv_txn *t)
{
    enum kv_result r = t->worst;

    if (r != KV_OK) {
        kv_abort(t);
        return r;
    }
    r = result_of(t->txn->commit(t->txn, t->kv->sync ? DB_TXN_SYNC : 0), "kv_commit");
    free(t);
    return r;
}

void kv_abort(struct kv_txn *t)
{
    if (t->txn)
        (void)t->txn->abort(t->txn); /* it fails only when the environment has: recovery then does the same */
    free(t);
}

static DBT input(struct slice s)
{
    DBT d;

    INVARIANT(s.n <= UINT32_MAX);
    memset(&d, 0, sizeof d);
    d.data = (void *)(uintptr_t)s.p;
    d.size = (uint32_t)s.n;
    return d;
}

enum kv_result kv_get(struct kv_txn *t, struct kv_table *table, struct slice key, struct buf *out)
{
    DBT k = input(key), v;
    size_t left = out->cap - out->n;
    size_t room = left < KV_FIRST_READ ? left : KV_FIRST_READ;
    int rc;

    if (t && t->worst != KV_OK)
        return t->worst;
    do {
        memset(&v, 0, sizeof v);
        v.flags = DB_DBT_USERMEM;
        v.data = buf_room(out, room);
        v.ulen = (uint32_t)room;
        if (!v.data)
            return noted(t, KV_ERROR);
        rc = table->db->get(table->db, t ? t->txn : NULL, &k, &v, 0);
        room = v.size;
    } while (rc == DB_BUFFER_SMALL);
    if (rc == 0)
        buf_grew(out, v.size);
    return noted(t, result_of(rc, "kv_get"));
}

enum kv_result kv_put(struct kv_txn *t, struct kv_table *table, struct slice key, struct slice value)
{
    DBT k = input(key), v = input(value);

    if (t->worst != KV_OK)
        return t->worst;
    return noted(t, result_of(table->db->put(table->db, t->txn, &k, &v, 0), "kv_put"));
}

enum kv_result kv_delete(struct kv_txn *t, struct kv_table *table, struct slice key)
{
    DBT k = input(key);

    if (t->worst != KV_OK)
        return t->worst;
    return noted(t, result_of(table->db->del(table->db, t->txn, &k, 0), "kv_delete"));
}

enum kv_result kv_walk(struct kv_txn *t, struct kv_table *table, struct slice from,
    bool (*each)(void *ctx, struct slice key, struct slice value), void *ctx)
{
    DBT k, v;
    DBC *cursor = NULL;
    int rc, closed;

    if (t && t->worst != KV_OK)
        return t->worst;
    memset(&k, 0, sizeof k);
    memset(&v, 0, sizeof v);
    k.flags = v.flags = DB_DBT_REALLOC; /* Berkeley DB makes them larger when needed */
    rc = table->db->cursor(table->db, t ? t->txn : NULL, &cursor, 0);
    if (rc != 0)
        return noted(t, result_of(rc, "kv_walk"));
    if (from.n) {
        k.data = mem_alloc(from.n);
        memcpy(k.data, from.p, from.n);
        k.size = (uint32_t)from.n;
    }
    rc = cursor->get(cursor, &k, &v, from.n ? DB_SET_RANGE : DB_FIRST);
    while (rc == 0 && each(ctx, slice_of(k.data, k.size), slice_of(v.data, v.size)))
        rc = cursor->get(cursor, &k, &v, DB_NEXT);
    closed = cursor->close(cursor);
    free(k.data);
    free(v.data);
    if (rc == DB_NOTFOUND)
        rc = 0;
    return noted(t, result_of(rc ? rc : closed, "kv_walk"));
}
