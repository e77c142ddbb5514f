/* postamt mailbox export: mailboxes as mbox files or as a Maildir. */
#include "admin/mailbox_common.h"
#include "admin/mailbox_files.h"
#include "admin/output.h"
#include "admin/progress.h"
#include "admin/rights.h"
#include "common/fs.h"
#include "common/hmap.h"
#include "common/mem.h"
#include "mail/mbox.h"
#include "store/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOXES_MAX ((size_t)64 << 20)
#define CHUNK ((size_t)256 << 10)

struct run {
    struct cli *cli;
    struct mailbox_place place;
    bool dry;
    struct progress progress;
    uint64_t octets, seen;          /* of the mail, so far */
    uint64_t messages, there, gone; /* written, were there, expunged meanwhile */
    struct err e;
};

enum err_code mailbox_format(struct cli *c, enum mailbox_format *out)
{
    const char *format = cli_flag(c, FLAG_FORMAT);

    *out = FORMAT_ANY;
    if (!format)
        return ERR_OK;
    if (strcmp(format, "mbox") == 0)
        *out = FORMAT_MBOX;
    else if (strcmp(format, "maildir") == 0)
        *out = FORMAT_MAILDIR;
    else
        return fault_set(&c->fault, ERR_SYNTAX, "it is mbox or maildir", "there is no format %s", format);
    return ERR_OK;
}

/* Names of its keywords, one a line. */
static void keyword_names(const struct mailbox *m, uint32_t flags, struct buf *out)
{
    buf_clear(out);
    for (unsigned i = 0; i < FLAG_KEYWORDS; i++) {
        struct slice name = flags & FLAG_KEYWORD(i) ? mailbox_keyword(m, i) : SLICE("");

        if (name.n == 0)
            continue;
        buf_add(out, name);
        buf_add_char(out, '\n');
    }
    if (flags & FLAG_FORWARDED)
        buf_add(out, SLICE("$Forwarded\n"));
}

/* 1; 0: it was expunged meanwhile. */
static int read_message(struct run *r, struct mailbox *m, uint32_t uid, struct slice *text, int64_t *received)
{
    struct err e = {0};

    if (mailbox_text(m, uid, text, &e) == 0 && mailbox_received(m, uid, received, &e) == 0)
        return 1;
    if (e.code == ERR_EXPUNGED) {
        r->gone++;
        return 0;
    }
    r->e = e;
    return -1;
}

static void passed(struct run *r, const struct message *msg)
{
    r->seen++;
    r->octets += msg->size;
    progress_at(&r->progress, r->octets, r->seen);
}

/* --- mbox --- */

static unsigned bits_of(uint32_t flags)
{
    return (flags & FLAG_SEEN ? MBOX_SEEN : 0) | (flags & FLAG_ANSWERED ? MBOX_ANSWERED : 0) |
           (flags & FLAG_FLAGGED ? MBOX_FLAGGED : 0) | (flags & FLAG_DELETED ? MBOX_DELETED : 0) |
           (flags & FLAG_DRAFT ? MBOX_DRAFT : 0);
}

/* The address in Return-Path, which the trace header of every delivered message has. */
static struct slice sender_of(struct slice text)
{
    struct slice line;
    ssize_t at, end;

    for (int i = 0; i < 50 && slice_cut(&text, '\n', &line) && slice_trim(line).n; i++) {
        if (!slice_starts_nocase(line, SLICE("Return-Path:")))
            continue;
        at = slice_chr(line, '<');
        end = slice_chr(line, '>');
        if (at > 0 && end > at)
            return slice_sub(line, (size_t)at + 1, (size_t)(end - at - 1));
    }
    return SLICE("");
}

static int write_mbox_message(struct run *r, struct mailbox *m, uint32_t uid, int fd, struct buf *out)
{
    struct buf keywords = BUF_INIT(1 << 16);
    const struct message *msg = mailbox_by_uid(m, uid);
    struct mbox_writer w;
    struct slice text;
    int64_t received;
    bool more = true;
    int rc = read_message(r, m, uid, &text, &received);

    if (rc > 0 && (msg = mailbox_by_uid(m, uid))) {
        keyword_names(m, msg->flags, &keywords);
        mbox_write_begin(&w, out, sender_of(text), received, bits_of(msg->flags), buf_slice(&keywords));
        while (rc > 0 && more) {
            more = mbox_write_some(&w, &text, out, CHUNK);
            if (!more)
                mbox_write_end(&w, out);
            if (fs_write_all(fd, buf_slice(out)) < 0)
                rc = err_errno(&r->e, "the mbox file");
            buf_clear(out);
        }
        r->messages += rc > 0;
    }
    buf_free(&keywords);
    return rc < 0 ? -1 : 0;
}

static int open_as_caller(int dir, const char *file, int flags, mode_t mode)
{
    int fd, saved;

    rights_of_caller();
    fd = fs_open_write(dir, file, flags, mode);
    saved = errno;
    rights_of_mail();
    errno = saved;
    return fd;
}

/* Complete or not there: ".part" until it is. */
static int export_mbox(struct run *r, struct mailbox *m, int dir, const char *file)
{
    struct buf out = BUF_INIT(BUF_OWN);
    char *part = mem_printf("%s.part", file);
    struct stat st;
    int fd = -1, rc = 0;

    if (fs_stat(dir, file, &st) == 0)
        rc = err_set(&r->e, ERR_EXISTS, "%s is there already; name another file, or remove it", file);
    else if ((fd = open_as_caller(dir, part, O_WRONLY | O_CREAT | O_TRUNC, 0600)) < 0)
        rc = err_errno(&r->e, file);
    for (size_t i = 0; i < mailbox_count(m) && rc == 0; i++) {
        uint32_t uid = mailbox_at(m, i)->uid;

        passed(r, mailbox_at(m, i));
        rc = write_mbox_message(r, m, uid, fd, &out);
        if (!mailbox_by_uid(m, uid))
            i--; /* it is not in the array any more */
    }
    if (rc == 0 && fs_sync_data(fd) < 0)
        rc = err_errno(&r->e, file);
    if (fd >= 0)
        close(fd);
    rights_of_caller();
    if (rc == 0 && (fs_rename_new(dir, part, dir, file) < 0 || fs_sync_dir(dir) < 0))
        rc = err_errno(&r->e, file);
    if (rc < 0 && fd >= 0)
        fs_unlink(dir, part);
    rights_of_mail();
    buf_free(&out);
    free(part);
    return rc;
}

/* --- Maildir --- */

struct target {
    int dir, cur, tmp;
    struct hmap there; /* unique parts */
};

static void target_close(struct target *t)
{
    int fds[] = {t->dir, t->cur, t->tmp};

    for (size_t i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    hmap_free(&t->there);
}

static void remember(struct target *t, const char *sub)
{
    int dir = fs_open_dir(t->dir, sub);
    DIR *list = dir < 0 ? NULL : fs_list(dir);
    struct dirent *d;
    struct name name;

    while (list && (d = readdir(list)))
        if (name_parse(slice_str(d->d_name), 0, &name))
            hmap_put(&t->there, name.unique, t);
    if (list)
        closedir(list);
    if (dir >= 0)
        close(dir);
}

/* As the caller. */
static int target_open(struct run *r, struct target *t, int root, const char *folder)
{
    static const char *const subs[] = {"cur", "new", "tmp"};
    int fd;

    *t = (struct target){.dir = -1, .cur = -1, .tmp = -1};
    if (*folder)
        fs_mkdir(root, folder);
    t->dir = fs_open_dir(root, *folder ? folder : ".");
    for (size_t i = 0; i < 3 && t->dir >= 0; i++)
        fs_mkdir(t->dir, subs[i]);
    t->cur = t->dir < 0 ? -1 : fs_open_dir(t->dir, "cur");
    t->tmp = t->dir < 0 ? -1 : fs_open_dir(t->dir, "tmp");
    if (t->cur < 0 || t->tmp < 0)
        return err_errno(&r->e, *folder ? folder : "the Maildir");
    if (*folder && (fd = fs_open_write(t->dir, "maildirfolder", O_WRONLY | O_CREAT, 0600)) >= 0)
        close(fd);
    remember(t, "cur");
    remember(t, "new");
    return 0;
}

/* LF line ends, as other programs of a Maildir expect. As the caller. */
static int write_file(struct run *r, struct target *t, struct slice text, int64_t received, uint64_t *size)
{
    struct buf out = BUF_INIT(CHUNK + 1);
    int fd = fs_open_write(t->tmp, "postamt-export", O_WRONLY | O_CREAT | O_TRUNC, 0600), rc = 0;

    if (fd < 0)
        return err_errno(&r->e, "tmp");
    *size = 0;
    for (size_t i = 0; i < text.n || out.n;) {
        for (; i < text.n && out.n < CHUNK; i++)
            if (text.p[i] != '\r' || i + 1 == text.n || text.p[i + 1] != '\n')
                buf_add_char(&out, text.p[i]);
        *size += out.n;
        if (rc == 0 && fs_write_all(fd, buf_slice(&out)) < 0)
            rc = err_errno(&r->e, "tmp");
        buf_clear(&out);
    }
    if (rc == 0 && fs_set_mtime(fd, received) < 0)
        rc = err_errno(&r->e, "tmp");
    fs_start_write(fd);
    close(fd);
    buf_free(&out);
    return rc;
}

static int export_message(struct run *r, struct mailbox *m, uint32_t uid, struct target *t, uint32_t *used)
{
    const struct message *msg = mailbox_by_uid(m, uid);
    struct buf file = BUF_INIT(NAME_LEN_MAX + 64), base = BUF_INIT(NAME_LEN_MAX + 1);
    struct slice text;
    struct name name;
    int64_t received;
    uint64_t size = 0;
    int rc;

    if (!name_parse(slice_str(msg->file), 0, &name))
        return 0;
    if (hmap_get(&t->there, name.unique)) {
        r->there++;
        return 0;
    }
    buf_add(&base, name.unique);
    rc = read_message(r, m, uid, &text, &received);
    msg = mailbox_by_uid(m, uid);
    if (rc > 0 && msg) {
        *used |= msg->flags;
        rights_of_caller();
        rc = write_file(r, t, text, received, &size);
        if (rc == 0 && name_write(&file, buf_slice(&base), size, text.n, 0, 0, 0, msg->flags) &&
            fs_rename(t->tmp, "postamt-export", t->cur, buf_str(&file)) < 0)
            rc = err_errno(&r->e, "cur");
        rights_of_mail();
        r->messages += rc == 0;
    }
    buf_free(&file);
    buf_free(&base);
    return rc < 0 ? -1 : 0;
}

/* As the caller. */
static int write_keywords(struct run *r, struct mailbox *m, struct target *t)
{
    struct buf text = BUF_INIT(1 << 20);
    int rc = 0;

    for (unsigned i = 0; i < FLAG_KEYWORDS; i++) {
        struct slice name = mailbox_keyword(m, i);

        if (name.n)
            buf_printf(&text, "%u %.*s\n", i, SLICE_FMT(name));
    }
    if (text.n &&
        fs_replace(t->tmp, "postamt-export", t->dir, "dovecot-keywords", buf_slice(&text), 0600, false) < 0)
        rc = err_errno(&r->e, "dovecot-keywords");
    buf_free(&text);
    return rc;
}

static int export_maildir(struct run *r, struct mailbox *m, int root, const char *folder)
{
    struct target t;
    uint32_t used = 0;
    int rc;

    rights_of_caller();
    rc = target_open(r, &t, root, folder);
    rights_of_mail();
    for (size_t i = 0; i < mailbox_count(m) && rc == 0; i++) {
        uint32_t uid = mailbox_at(m, i)->uid;

        passed(r, mailbox_at(m, i));
        rc = export_message(r, m, uid, &t, &used);
        if (!mailbox_by_uid(m, uid))
            i--;
    }
    rights_of_caller();
    if (rc == 0 && used & FLAG_KEYWORDS_MASK)
        rc = write_keywords(r, m, &t);
    if (rc == 0 && syncfs(t.dir) < 0)
        rc = err_errno(&r->e, "the Maildir");
    rights_of_mail();
    target_close(&t);
    return rc;
}

/* --- the verb --- */

static int export_mailbox(
    struct run *r, struct slice name, enum mailbox_format kind, int root, const char *file)
{
    struct mailbox *m = mailbox_open(r->place.account, name, &r->e);
    int rc;

    if (!m)
        return -1;
    rc = kind == FORMAT_MBOX ? export_mbox(r, m, root, file) : export_maildir(r, m, root, file);
    mailbox_close(m);
    return rc;
}

static int export_all(
    struct run *r, const struct account_mailbox *boxes, size_t n, enum mailbox_format kind, int root)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 16);
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!boxes[i].exists)
            continue;
        buf_clear(&disk);
        rc = folder_to_disk(boxes[i].name, &disk, &r->e);
        if (kind == FORMAT_MBOX) {
            if (disk.n)
                buf_drop(&disk, 1);
            else
                buf_add_str(&disk, "INBOX");
            buf_add_str(&disk, ".mbox");
        }
        if (rc == 0)
            rc = export_mailbox(r, boxes[i].name, kind, root, buf_str(&disk));
    }
    buf_free(&disk);
    return rc;
}

/* The folder that is written into, with the caller's rights; file: what is left of the path. */
static enum err_code open_target(struct cli *c, bool is_file, int *root, const char **file)
{
    const char *target = c->args.object[1];
    const char *slash = strrchr(target, '/');
    char *dir;
    enum err_code code = ERR_OK;

    *file = "";
    if (is_file) {
        *file = slash ? slash + 1 : target;
        dir =
            slash ? mem_printf("%.*s", (int)(slash == target ? 1 : slash - target), target) : mem_strdup(".");
    } else {
        dir = mem_strdup(target);
    }
    rights_of_caller();
    if (!is_file && mkdir(dir, 0700) < 0 && errno != EEXIST)
        code = fault_set(
            &c->fault, ERR_NOT_PERMITTED, "name a folder that can be made", "%s: %s", dir, strerror(errno));
    *root = code == ERR_OK ? fs_open_root(dir) : -1;
    if (code == ERR_OK && (*root < 0 || (is_file && !**file)))
        code = fault_set(&c->fault, ERR_SYNTAX, "name a place that is there", "%s: %s", target,
            *root < 0 ? strerror(errno) : "no name for a file");
    rights_of_mail();
    free(dir);
    return code;
}

static void report(struct run *r)
{
    json_t *o;

    output_say(r->cli, "%s: %llu messages %s written, %llu were there", r->place.address,
        (unsigned long long)(r->dry ? r->seen : r->messages), r->dry ? "would be" : "were",
        (unsigned long long)r->there);
    if (!r->cli->json)
        return;
    o = json_pack("{s:s,s:I,s:I,s:b}", "address", r->place.address, "messages",
        (json_int_t)(r->dry ? r->seen : r->messages), "were_there", (json_int_t)r->there, "dry_run", r->dry);
    if (o)
        output_json(o);
    json_decref(o);
}

/* Sizes for the bar, and what --dry-run tells. */
static int add_up(struct run *r, const struct account_mailbox *boxes, size_t n, uint64_t *octets)
{
    struct mailbox_status s;

    for (size_t i = 0; i < n; i++) {
        if (!boxes[i].exists)
            continue;
        if (mailbox_status(r->place.account, boxes[i].name, &s, &r->e) < 0)
            return -1;
        *octets += s.size;
        if (r->dry)
            r->seen += s.messages;
    }
    return 0;
}

enum err_code cmd_mailbox_export(struct cli *c)
{
    struct run r = {.cli = c, .dry = cli_flag(c, FLAG_DRY_RUN) != NULL};
    struct buf one = BUF_INIT(FOLDER_NAME_MAX + 1);
    struct account_mailbox *boxes, single = {.exists = true};
    struct arena arena;
    enum mailbox_format kind;
    enum err_code code = mailbox_format(c, &kind);
    const char *file = "";
    bool is_one = c->args.nobjects > 2;
    uint64_t octets = 0;
    int root = -1, rc = 0;
    ssize_t n = 1;

    arena_init(&arena, BOXES_MAX);
    r.place = (struct mailbox_place){.mail_root = -1, .state_root = -1};
    if (kind == FORMAT_ANY)
        kind = slice_ends(slice_str(c->args.object[1]), SLICE(".mbox")) ? FORMAT_MBOX : FORMAT_MAILDIR;
    if (code == ERR_OK && is_one)
        code = mailbox_name_of(c, c->args.object[2], &one);
    if (code == ERR_OK)
        code = mailbox_open_account(c, c->args.object[0], &r.place);
    if (code != ERR_OK)
        goto out;
    single.name = buf_slice(&one);
    boxes = &single;
    if (!is_one)
        n = account_list(r.place.account, false, &arena, &boxes, &r.e);
    rc = n < 0 ? -1 : add_up(&r, boxes, (size_t)n, &octets);
    if (rc == 0 && !r.dry) {
        code = open_target(c, is_one && kind == FORMAT_MBOX, &root, &file);
        if (code != ERR_OK)
            goto out;
        progress_begin(&r.progress, c, "export", octets);
        rc = is_one ? export_mailbox(&r, single.name, kind, root, file)
                    : export_all(&r, boxes, (size_t)n, kind, root);
        progress_end(&r.progress);
    }
    code = rc < 0 ? mailbox_fault(c, &r.e) : ERR_OK;
    if (code == ERR_OK)
        report(&r);
out:
    if (root >= 0)
        close(root);
    mailbox_close_account(&r.place);
    arena_free(&arena);
    buf_free(&one);
    return code;
}
