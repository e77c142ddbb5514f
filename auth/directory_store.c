#include "auth/directory_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/kv.h"
#include "common/log.h"
#include "common/mem.h"

#define DUMP "directory.dump"
#define DUMP_STAGING "directory.dump.new"
#define DUMP_HEAD "{\"postamt-directory\":1}\n"
#define DUMP_SLACK 200 /* superfluous lines that are never worth a compaction */
#define TRIES 20       /* of a transaction that met a deadlock */

struct store {
    int dir; /* open folder; holds the lock over dump and environment together */
    char *db_dir;
    struct kv *kv;
    struct kv_table *records, *meta, *usage;
    uint64_t generation;
    size_t nrecords;
    int dump;          /* open for appending, -1: write it anew first */
    size_t dump_lines; /* without the head */
};

int store_folder(const struct store *s)
{
    return s->dir;
}

uint64_t store_generation(const struct store *s)
{
    return s->generation;
}

/* "a:bob@example.org", "l:info@example.org\0bob@example.org" */
static void key_of(const struct record *r, struct buf *out)
{
    buf_clear(out);
    buf_add_str(out, r->kind == RECORD_DOMAIN ? "d:" : r->kind == RECORD_ACCOUNT ? "a:" : "l:");
    buf_add(out, r->address);
    if (r->kind == RECORD_ALIAS) {
        buf_add_char(out, '\0');
        buf_add(out, r->target);
    }
}

/* --- the environment --- */

static int kv_failed(struct err *e)
{
    return err_set(e, ERR_IO, "the account database reported an error; see the log, check the disk");
}

static void env_close(struct store *s)
{
    kv_close(s->kv);
    s->kv = NULL;
}

/* -1 with *damaged or not */
static int env_open(struct store *s, bool *damaged, struct err *e)
{
    s->kv = kv_open(s->db_dir, true, damaged, e);
    if (!s->kv)
        return -1;
    s->records = kv_table(s->kv, "records", e);
    s->meta = s->records ? kv_table(s->kv, "meta", e) : NULL;
    s->usage = s->meta ? kv_table(s->kv, "usage", e) : NULL;
    if (s->usage)
        return 0;
    *damaged = e->code == ERR_CORRUPT;
    env_close(s);
    return -1;
}

static enum kv_result put_generation(struct store *s, struct kv_txn *t, uint64_t generation)
{
    struct buf text = BUF_INIT(32);
    enum kv_result r;

    buf_add_u64(&text, generation);
    r = kv_put(t, s->meta, SLICE("generation"), buf_slice(&text));
    buf_free(&text);
    return r;
}

struct env_check {
    size_t n;
    bool bad;
};

static bool check_one(void *ctx, struct slice key, struct slice value)
{
    struct env_check *c = ctx;
    struct record r;
    void *hold;

    (void)key;
    c->bad = c->bad || !record_read(value, &hold, &r);
    if (!c->bad)
        record_release(hold);
    c->n++;
    return !c->bad;
}

/* Reads all there is once: damage shows here and not in the middle of the night. */
static bool env_is_sound(struct store *s)
{
    struct buf text = BUF_INIT(64);
    struct env_check check = {0};
    enum kv_result r = kv_get(NULL, s->meta, SLICE("generation"), &text);

    s->generation = 0;
    check.bad = r == KV_ERROR || (r == KV_OK && !slice_u64(buf_slice(&text), INT64_MAX, &s->generation));
    buf_free(&text);
    if (!check.bad && kv_walk(NULL, s->records, SLICE(""), check_one, &check) != KV_OK)
        check.bad = true;
    s->nrecords = check.n;
    return !check.bad;
}

/* --- the dump --- */

static void dump_close(struct store *s)
{
    if (s->dump >= 0)
        close(s->dump);
    s->dump = -1;
}

static bool add_line(void *ctx, struct slice key, struct slice value)
{
    (void)key;
    buf_add(ctx, value);
    buf_add_char(ctx, '\n');
    return true;
}

/* Whole, from the environment: staged, synced, renamed. */
static int dump_rewrite(struct store *s, struct err *e)
{
    struct buf text = BUF_INIT(BUF_OWN);
    int rc = 0;

    dump_close(s);
    /* the generation of the last change may have been a removal, of which no line is left */
    buf_add_str(&text, DUMP_HEAD);
    buf_printf(&text, "{\"generation\":%llu}\n", (unsigned long long)s->generation);
    if (kv_walk(NULL, s->records, SLICE(""), add_line, &text) != KV_OK)
        rc = kv_failed(e);
    else if (text.full)
        rc = err_set(e, ERR_LIMIT, "the directory is too large for its dump");
    else if (fs_replace(s->dir, DUMP_STAGING, s->dir, DUMP, buf_slice(&text), 0600, true) < 0)
        rc = err_errno(e, DUMP);
    if (rc == 0) {
        s->dump = fs_open_write(s->dir, DUMP, O_WRONLY | O_APPEND, 0600);
        s->dump_lines = s->nrecords + 1;
        if (s->dump < 0)
            rc = err_errno(e, DUMP);
    }
    buf_free(&text);
    return rc;
}

/* Where all changes are durable already a full disk is no reason to stop: the next change tries again. */
static void rewrite_or_later(struct store *s)
{
    struct err why;

    if (dump_rewrite(s, &why) < 0)
        LOG(INTERNAL, NULL, F_STR("what", DUMP), F_STR("error", why.detail));
}

/* On failure the file is as it was, or will be written anew: a sync that failed is not tried again (fs.h). */
static int dump_append(struct store *s, const struct record *r, off_t *before, struct err *e)
{
    struct buf line = BUF_INIT(BUF_OWN);
    int rc = 0;

    if (s->dump < 0 && dump_rewrite(s, e) < 0)
        return -1;
    record_write(r, &line);
    buf_add_char(&line, '\n');
    *before = lseek(s->dump, 0, SEEK_END);
    if (*before < 0 || fs_write_all(s->dump, buf_slice(&line)) < 0 || fs_sync_data(s->dump) < 0) {
        rc = err_errno(e, DUMP);
        if (*before < 0 || ftruncate(s->dump, *before) < 0)
            LOG(INTERNAL, NULL, F_STR("what", "directory.dump keeps a change that failed"));
        dump_close(s);
    }
    mem_wipe(line.p, line.size);
    buf_free(&line);
    s->dump_lines += rc == 0;
    return rc;
}

static void dump_take_back(struct store *s, off_t before)
{
    if (s->dump >= 0 && ftruncate(s->dump, before) == 0 && fs_sync_data(s->dump) == 0)
        s->dump_lines--;
    else
        dump_close(s);
}

struct dump {
    struct buf text;
    struct slice lines; /* behind the head */
    bool there;
    uint64_t generation;
    size_t nlines, nbad;
};

/* A last line without LF was being written when the machine stopped: it was not acknowledged. */
static bool next_line(struct slice *rest, struct slice *line)
{
    if (slice_chr(*rest, '\n') < 0)
        return false;
    return slice_cut(rest, '\n', line);
}

static bool line_generation(struct slice line, uint64_t *out)
{
    struct slice head = SLICE("{\"generation\":");
    struct slice digits = slice_from(line, head.n);
    size_t n = 0;

    while (n < digits.n && digits.p[n] >= '0' && digits.p[n] <= '9')
        n++;
    return slice_starts(line, head) && slice_u64(slice_sub(digits, 0, n), INT64_MAX, out);
}

/* The line that only tells the generation is no record, and right. */
static bool is_line(struct slice line)
{
    struct record r;
    uint64_t g;
    void *hold;

    if (record_read(line, &hold, &r)) {
        record_release(hold);
        return line_generation(line, &g);
    }
    return line_generation(line, &g) && slice_ends(line, SLICE("}")) && line.n < 40;
}

static int dump_read(struct store *s, struct dump *d, struct err *e)
{
    struct slice rest, line;

    *d = (struct dump){.text = BUF_INIT(BUF_OWN)};
    if (fs_load(s->dir, DUMP, &d->text, BUF_OWN - 1) < 0)
        return errno == ENOENT ? 0 : err_errno(e, DUMP);
    rest = buf_slice(&d->text);
    if (!slice_starts(rest, SLICE(DUMP_HEAD)))
        return 0;
    d->there = true;
    d->lines = rest = slice_from(rest, sizeof DUMP_HEAD - 1);
    while (next_line(&rest, &line)) {
        uint64_t g;

        d->nlines++;
        d->nbad += !is_line(line);
        if (line_generation(line, &g) && g > d->generation)
            d->generation = g;
    }
    return 0;
}

/* --- filling the environment from the dump --- */

static bool add_key(void *ctx, struct slice key, struct slice value)
{
    struct buf *keys = ctx;
    uint32_t n = (uint32_t)key.n;

    (void)value;
    buf_add(keys, slice_of(&n, sizeof n));
    buf_add(keys, key);
    return true;
}

static enum kv_result delete_all(struct kv_txn *t, struct kv_table *table)
{
    struct buf keys = BUF_INIT(BUF_OWN);
    enum kv_result r = kv_walk(t, table, SLICE(""), add_key, &keys);
    struct slice rest = buf_slice(&keys);

    while (r == KV_OK && rest.n) {
        uint32_t n;

        memcpy(&n, rest.p, sizeof n);
        r = kv_delete(t, table, slice_sub(rest, sizeof n, n));
        rest = slice_from(rest, sizeof n + n);
    }
    buf_free(&keys);
    return r;
}

static enum kv_result put_line(struct store *s, struct kv_txn *t, struct slice line, struct buf *key)
{
    struct record r;
    enum kv_result result;
    void *hold;

    if (!record_read(line, &hold, &r))
        return KV_OK; /* counted by dump_read */
    key_of(&r, key);
    result =
        r.removed ? kv_delete(t, s->records, buf_slice(key)) : kv_put(t, s->records, buf_slice(key), line);
    record_release(hold);
    return result == KV_NONE ? KV_OK : result;
}

static enum kv_result fill_once(struct store *s, struct dump *d)
{
    struct kv_txn *t = kv_begin(s->kv);
    struct buf key = BUF_INIT(BUF_OWN);
    struct slice rest = d->lines, line;
    enum kv_result r = delete_all(t, s->records);

    while (r == KV_OK && next_line(&rest, &line))
        r = put_line(s, t, line, &key);
    if (r == KV_OK)
        r = put_generation(s, t, d->generation);
    buf_free(&key);
    if (r == KV_OK)
        return kv_commit(t);
    kv_abort(t);
    return r;
}

static int fill(struct store *s, struct dump *d, struct err *e)
{
    enum kv_result r = KV_RETRY;

    for (int i = 0; i < TRIES && r == KV_RETRY; i++)
        r = fill_once(s, d);
    if (r != KV_OK || !env_is_sound(s))
        return kv_failed(e);
    return 0;
}

/* --- opening --- */

static int rebuild(struct store *s, struct dump *d, struct buf *repaired, struct err *e)
{
    bool damaged;

    if (s->kv)
        env_close(s);
    if (!d->there)
        return err_set(e, ERR_CORRUPT,
            "the account database is damaged and there is no directory.dump; restore one of them from a "
            "backup");
    if (kv_set_aside(s->db_dir, e) < 0 || env_open(s, &damaged, e) < 0 || fill(s, d, e) < 0)
        return -1;
    buf_printf(repaired,
        "the account database was damaged: moved to %s/damaged-*, rebuilt from directory.dump with %zu "
        "records",
        s->db_dir, s->nrecords);
    if (d->nbad)
        buf_printf(repaired, "; %zu lines of the dump could not be read", d->nbad);
    return 0;
}

static int catch_up(struct store *s, struct dump *d, struct buf *repaired, struct err *e)
{
    uint64_t had = s->generation;

    if (fill(s, d, e) < 0)
        return -1;
    /* one change ahead is what any crash may leave */
    if (d->generation > had + 1)
        buf_printf(repaired,
            "the account database was %s the dump: filled from directory.dump with %zu records",
            had ? "older than" : "empty beside", s->nrecords);
    if (d->nbad)
        buf_printf(repaired, "; %zu lines of the dump could not be read", d->nbad);
    return 0;
}

static int open_all(struct store *s, struct buf *repaired, struct err *e)
{
    struct dump d;
    bool damaged = false, sound;
    int rc = dump_read(s, &d, e);

    sound = rc == 0 && env_open(s, &damaged, e) == 0 && env_is_sound(s);
    if (rc == 0 && !sound)
        rc = s->kv || damaged ? rebuild(s, &d, repaired, e) : -1;
    else if (rc == 0 && d.there && d.generation > s->generation)
        rc = catch_up(s, &d, repaired, e);
    s->dump_lines = d.nlines;
    /* a torn or damaged line goes away by writing the dump anew */
    if (rc == 0 && d.there && d.generation == s->generation && d.nbad == 0 &&
        d.text.p[d.text.n - 1] == '\n' && d.nlines <= 2 * s->nrecords + DUMP_SLACK)
        s->dump = fs_open_write(s->dir, DUMP, O_WRONLY | O_APPEND, 0600);
    if (rc == 0 && s->dump < 0)
        rewrite_or_later(s);
    if (d.text.p)
        mem_wipe(d.text.p, d.text.size);
    buf_free(&d.text);
    return rc;
}

static int lock_folder(const char *dir, struct err *e)
{
    int fd;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_errno(e, dir);
    fd = fs_open_root(dir);
    if (fd < 0)
        return errno == EACCES ? err_set(e, ERR_NOT_PERMITTED, "%s cannot be read; run it as root", dir)
                               : err_errno(e, dir);
    if (fs_try_lock(fd) == 0)
        return fd;
    close(fd);
    return err_set(e, ERR_UNAVAILABLE, "%s is in use by another process; try again in a moment", dir);
}

struct store *store_open(const char *dir, struct buf *repaired, struct err *e)
{
    struct err unused = {0};
    struct store *s;
    int fd = lock_folder(dir, e = e ? e : &unused);

    if (fd < 0)
        return NULL;
    s = mem_zalloc(1, sizeof *s);
    s->dir = fd;
    s->dump = -1;
    s->db_dir = mem_printf("%s/db", dir);
    if (open_all(s, repaired, e) == 0)
        return s;
    store_close(s);
    return NULL;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    dump_close(s);
    if (s->kv)
        env_close(s);
    close(s->dir);
    free(s->db_dir);
    free(s);
}

struct load {
    void (*each)(void *ctx, const struct record *r);
    void *ctx;
    bool bad;
};

static bool load_one(void *ctx, struct slice key, struct slice value)
{
    struct load *l = ctx;
    struct record r;
    void *hold;

    (void)key;
    l->bad = !record_read(value, &hold, &r);
    if (l->bad)
        return false;
    l->each(l->ctx, &r);
    record_release(hold);
    return true;
}

int store_load(struct store *s, void (*each)(void *ctx, const struct record *r), void *ctx, struct err *e)
{
    struct load l = {.each = each, .ctx = ctx};

    if (kv_walk(NULL, s->records, SLICE(""), load_one, &l) != KV_OK || l.bad)
        return kv_failed(e);
    return 0;
}

/* --- changing --- */

static enum kv_result change_once(
    struct store *s, const struct record *r, struct slice key, struct slice line)
{
    struct kv_txn *t = kv_begin(s->kv);
    enum kv_result result = r->removed ? kv_delete(t, s->records, key) : kv_put(t, s->records, key, line);

    if (result == KV_OK || result == KV_NONE)
        result = put_generation(s, t, r->generation);
    if (result == KV_OK)
        return kv_commit(t);
    kv_abort(t);
    return result;
}

int store_change(struct store *s, struct record *r, struct err *e)
{
    struct buf key = BUF_INIT(BUF_OWN), line = BUF_INIT(BUF_OWN), seen = BUF_INIT(BUF_OWN);
    enum kv_result result = KV_RETRY;
    bool was_there;
    off_t before;
    int rc;

    r->generation = s->generation + 1;
    if (r->serial == 0)
        r->serial = r->generation;
    key_of(r, &key);
    record_write(r, &line);
    was_there = kv_get(NULL, s->records, buf_slice(&key), &seen) == KV_OK;
    rc = dump_append(s, r, &before, e);
    for (int i = 0; rc == 0 && i < TRIES && result == KV_RETRY; i++)
        result = change_once(s, r, buf_slice(&key), buf_slice(&line));
    if (rc == 0 && result != KV_OK) {
        dump_take_back(s, before);
        rc = kv_failed(e);
    }
    if (rc == 0) {
        s->generation = r->generation;
        if (r->removed && was_there)
            s->nrecords--;
        else if (!r->removed && !was_there)
            s->nrecords++;
        if (s->dump_lines > 2 * s->nrecords + DUMP_SLACK) {
            rewrite_or_later(s);
            kv_checkpoint(s->kv);
        }
    }
    buf_free(&key);
    buf_free(&line);
    buf_free(&seen);
    return rc;
}

/* --- usage --- */

struct usage_load {
    void (*each)(void *ctx, struct slice account, uint64_t octets, uint64_t messages);
    void *ctx;
};

static bool usage_one(void *ctx, struct slice key, struct slice value)
{
    struct usage_load *l = ctx;
    uint64_t octets, messages;
    struct slice first;

    slice_cut(&value, ' ', &first);
    if (slice_u64(first, INT64_MAX, &octets) && slice_u64(value, INT64_MAX, &messages))
        l->each(l->ctx, key, octets, messages);
    return true;
}

bool store_usage_load(struct store *s,
    void (*each)(void *ctx, struct slice account, uint64_t octets, uint64_t messages), void *ctx)
{
    struct usage_load l = {.each = each, .ctx = ctx};
    struct buf mark = BUF_INIT(64);
    bool valid = kv_get(NULL, s->meta, SLICE("usage"), &mark) == KV_OK;
    struct kv_txn *t;

    buf_free(&mark);
    if (!valid)
        return false;
    /* from now on the numbers on disk grow old: unmarked before they are used */
    t = kv_begin(s->kv);
    kv_delete(t, s->meta, SLICE("usage"));
    if (kv_commit(t) != KV_OK)
        return false;
    return kv_walk(NULL, s->usage, SLICE(""), usage_one, &l) == KV_OK;
}

void store_usage_save(struct store *s, const struct store_usage *list, size_t n)
{
    struct kv_txn *t = kv_begin(s->kv);
    struct buf text = BUF_INIT(64);
    enum kv_result r = delete_all(t, s->usage);

    for (size_t i = 0; i < n && r == KV_OK; i++) {
        buf_clear(&text);
        buf_add_u64(&text, list[i].octets);
        buf_add_char(&text, ' ');
        buf_add_u64(&text, list[i].messages);
        r = kv_put(t, s->usage, list[i].account, buf_slice(&text));
    }
    if (r == KV_OK)
        r = kv_put(t, s->meta, SLICE("usage"), SLICE("1"));
    buf_free(&text);
    if (r == KV_OK)
        r = kv_commit(t);
    else
        kv_abort(t);
    if (r != KV_OK) /* no mark: everything is counted anew at the next start */
        LOG(INTERNAL, NULL, F_STR("what", "usage could not be saved"));
}
