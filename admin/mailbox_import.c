/* postamt mailbox import: an mbox file or a Maildir into a mailbox. */
#include "admin/mailbox_common.h"
#include "admin/mailbox_files.h"
#include "admin/output.h"
#include "admin/progress.h"
#include "admin/rights.h"
#include "common/fs.h"
#include "common/mem.h"
#include "mail/mbox.h"
#include "store/delivery.h"
#include "store/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK ((size_t)256 << 10)
#define KEYWORDS_FILE_MAX ((size_t)1 << 20)

struct run {
    struct cli *cli;
    struct mailbox_place place;
    bool dry;
    struct progress progress;
    struct import *im;   /* NULL with --dry-run */
    uint64_t read, seen; /* octets of the source, messages of it */
    uint64_t skipped;    /* not to be brought in at all: expunged, empty */
    struct import_counts sum;
    struct err e;
};

/* --- where it goes --- */

static int open_target(struct run *r, struct slice mailbox)
{
    struct account *a = r->place.account;

    if (r->dry)
        return 0;
    if (!account_has(a, mailbox)) {
        if (account_mailbox_create(a, mailbox, USE_NONE, &r->e) < 0 ||
            account_subscribe(a, mailbox, true, &r->e) < 0)
            return -1;
        output_say(r->cli, "%.*s is new", SLICE_FMT(mailbox));
    }
    r->im = import_open(a, mailbox, &r->e);
    if (!r->im)
        return -1;
    if (r->place.quota) {
        uint64_t used = r->place.used + r->sum.octets;

        import_limit(r->im, used < r->place.quota ? r->place.quota - used : 0);
    }
    return 0;
}

static int close_target(struct run *r, int rc)
{
    struct err e = {0};
    struct import_counts counts;
    bool failed;

    if (!r->im)
        return rc;
    failed = import_flush(r->im, &e) < 0;
    counts = *import_counts(r->im);
    r->sum.messages += counts.messages;
    r->sum.octets += counts.octets;
    r->sum.there += counts.there;
    r->sum.keywords_lost += counts.keywords_lost;
    import_close(r->im, NULL);
    r->im = NULL;
    if (failed && rc == 0) {
        r->e = e;
        rc = -1;
    }
    return rc;
}

static int begin(struct run *r, bool crlf)
{
    return r->im ? import_begin(r->im, crlf, &r->e) : 0;
}

static int add(struct run *r, struct slice text)
{
    return r->im ? import_write(r->im, text, &r->e) : 0;
}

static int commit(struct run *r, const struct import_meta *meta)
{
    bool was_there;

    r->seen++;
    progress_at(&r->progress, r->read, r->seen);
    return r->im ? import_commit(r->im, meta, &was_there, &r->e) : 0;
}

static void drop(struct run *r)
{
    r->skipped++;
    if (r->im)
        import_drop(r->im);
}

/* --- mbox --- */

/* Does a message begin, or the file end, where Content-Length says? */
static bool fits(int fd, uint64_t end, uint64_t size)
{
    char there[8];
    ssize_t n;
    struct slice s;

    if (end >= size)
        return end == size;
    n = pread(fd, there, sizeof there, (off_t)end);
    s = slice_of(there, n > 0 ? (size_t)n : 0);
    if (slice_starts(s, SLICE("\r\n")))
        s = slice_from(s, 2);
    else if (slice_starts(s, SLICE("\n")))
        s = slice_from(s, 1);
    return slice_starts(s, SLICE("From ")) || (s.n == 0 && end + (uint64_t)n == size);
}

static uint32_t flags_of(unsigned bits)
{
    return (bits & MBOX_SEEN ? FLAG_SEEN : 0) | (bits & MBOX_ANSWERED ? FLAG_ANSWERED : 0) |
           (bits & MBOX_FLAGGED ? FLAG_FLAGGED : 0) | (bits & MBOX_DELETED ? FLAG_DELETED : 0) |
           (bits & MBOX_DRAFT ? FLAG_DRAFT : 0) | (bits & MBOX_FORWARDED ? FLAG_FORWARDED : 0);
}

static int mbox_event(struct run *r, struct mbox *m, enum mbox_event event, struct slice text, int fd,
    uint64_t size, uint64_t *octets)
{
    struct import_meta meta = {
        .received = m->received, .flags = flags_of(m->flags), .keywords = buf_slice(&m->keywords)};

    switch (event) {
    case MBOX_BEGIN:
        *octets = 0;
        return begin(r, true);
    case MBOX_TEXT:
        *octets += text.n;
        return add(r, text);
    case MBOX_BODY:
        if (m->has_length && size && fits(fd, m->offset + m->length, size))
            mbox_use_length(m);
        return 0;
    case MBOX_END:
        if (*octets && !(m->flags & MBOX_EXPUNGED))
            return commit(r, &meta);
        drop(r);
        return 0;
    case MBOX_NEED:
    case MBOX_EOF:
        break;
    }
    return 0;
}

/* size 0: not known (a pipe). */
static int import_mbox(struct run *r, int fd, uint64_t size)
{
    char *chunk = mem_alloc(CHUNK);
    struct slice rest = SLICE(""), text;
    enum mbox_event event = MBOX_NEED;
    uint64_t octets = 0;
    bool eof = false;
    struct mbox m;
    int rc = 0;

    mbox_init(&m);
    while (rc == 0 && event != MBOX_EOF) {
        event = mbox_next(&m, &rest, eof, &text);
        if (event == MBOX_NEED) {
            ssize_t n = read(fd, chunk, CHUNK);

            if (n < 0 && errno == EINTR)
                n = 0;
            else if (n == 0)
                eof = true;
            else if (n < 0)
                rc = err_errno(&r->e, "the mbox file");
            rest = slice_of(chunk, n > 0 ? (size_t)n : 0);
            r->read += rest.n;
        } else {
            rc = mbox_event(r, &m, event, text, fd, size, &octets);
        }
        if (rc == 0 && m.junk && r->seen == 0 && r->skipped == 0 && !m.in_message)
            rc =
                err_set(&r->e, ERR_SYNTAX, "this is no mbox file: it does not begin with a line \"From ..\"");
    }
    mbox_free(&m);
    free(chunk);
    return rc;
}

/* --- Maildir --- */

struct letters {
    char *name[FLAG_KEYWORDS];
};

static void load_letters(int dir, struct letters *l)
{
    struct buf text = BUF_INIT(KEYWORDS_FILE_MAX + 2);
    struct slice rest, line, word;
    uint64_t n;

    *l = (struct letters){0};
    if (fs_load(dir, "dovecot-keywords", &text, KEYWORDS_FILE_MAX) == 0) {
        rest = buf_slice(&text);
        while (slice_cut(&rest, '\n', &line)) {
            slice_cut(&line, ' ', &word);
            if (slice_u64(word, FLAG_KEYWORDS - 1, &n) && line.n && !l->name[n])
                l->name[n] = slice_dup(line);
        }
    }
    buf_free(&text);
}

static int copy_message(struct run *r, int fd, const struct stat *st, const struct name *name,
    const struct letters *letters, char *chunk)
{
    struct buf keywords = BUF_INIT(1 << 16);
    struct import_meta meta = {.unique = name->unique,
        .received = (int64_t)st->st_mtim.tv_sec,
        .flags = name->flags & ~FLAG_KEYWORDS_MASK};
    int rc = begin(r, false);
    ssize_t n = 1;

    while (rc == 0 && (n = read(fd, chunk, CHUNK)) > 0) {
        r->read += (uint64_t)n;
        rc = add(r, slice_of(chunk, (size_t)n));
    }
    if (rc == 0 && n < 0)
        rc = err_errno(&r->e, "a message of the source");
    for (unsigned i = 0; i < FLAG_KEYWORDS; i++)
        if (name->flags & FLAG_KEYWORD(i) && letters->name[i]) {
            buf_add_str(&keywords, letters->name[i]);
            buf_add_char(&keywords, '\n');
        }
    meta.keywords = buf_slice(&keywords);
    if (rc == 0)
        rc = commit(r, &meta);
    else
        drop(r);
    buf_free(&keywords);
    return rc;
}

/* One file of cur/ or new/; what cannot be read is said and passed by. */
static int import_file(struct run *r, int dir, const char *file, const struct letters *letters, char *chunk)
{
    struct name name;
    struct stat st;
    int fd, rc;

    if (!name_parse(slice_str(file), 0, &name))
        return 0;
    rights_of_caller();
    fd = fs_open_read_stat(dir, file, &st);
    rights_of_mail();
    if (fd < 0) {
        if (errno != EISDIR)
            output_say(r->cli, "%s was left out: %s", file, strerror(errno));
        r->skipped++;
        return 0;
    }
    if (r->im && import_has(r->im, name.unique)) {
        close(fd);
        r->read += (uint64_t)st.st_size;
        r->seen++;
        r->sum.there++;
        progress_at(&r->progress, r->read, r->seen);
        return 0;
    }
    rc = copy_message(r, fd, &st, &name, letters, chunk);
    close(fd);
    return rc;
}

static int open_as_caller(int dir, const char *path)
{
    int fd, saved;

    rights_of_caller();
    fd = fs_open_dir(dir, path);
    saved = errno;
    rights_of_mail();
    errno = saved;
    return fd;
}

static int import_folder(struct run *r, int dir, struct slice mailbox)
{
    static const char *const subs[] = {"cur", "new"};
    char *chunk = mem_alloc(CHUNK);
    struct letters letters;
    int rc = open_target(r, mailbox);

    rights_of_caller();
    load_letters(dir, &letters);
    rights_of_mail();
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        int sub = open_as_caller(dir, subs[i]);
        DIR *list = sub < 0 ? NULL : fs_list(sub);
        struct dirent *d;

        while (rc == 0 && list && (d = readdir(list)))
            if (d->d_name[0] != '.')
                rc = import_file(r, sub, d->d_name, &letters, chunk);
        if (list)
            closedir(list);
        if (sub >= 0)
            close(sub);
    }
    for (size_t i = 0; i < FLAG_KEYWORDS; i++)
        free(letters.name[i]);
    free(chunk);
    return close_target(r, rc);
}

static uint64_t octets_of(int dir)
{
    static const char *const subs[] = {"cur", "new"};
    uint64_t octets = 0;
    struct stat st;

    for (size_t i = 0; i < 2; i++) {
        int sub = open_as_caller(dir, subs[i]);
        DIR *list = sub < 0 ? NULL : fs_list(sub);
        struct dirent *d;

        while (list && (d = readdir(list)))
            if (d->d_name[0] != '.' && fs_stat(sub, d->d_name, &st) == 0 && S_ISREG(st.st_mode))
                octets += (uint64_t)st.st_size;
        if (list)
            closedir(list);
        if (sub >= 0)
            close(sub);
    }
    return octets;
}

/* "A" and the folder ".B.C": "A/B/C"; INBOX' folders stand beside it. */
static bool target_name(struct slice mailbox, const char *entry, struct buf *out)
{
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
    bool ok = folder_from_disk(slice_str(entry), &name);

    buf_clear(out);
    if (ok && !slice_eq(mailbox, SLICE("INBOX"))) {
        buf_add(out, mailbox);
        buf_add_char(out, '/');
    }
    buf_add(out, buf_slice(&name));
    ok = ok && !out->full;
    buf_free(&name);
    return ok;
}

/* each of the folders: count == NULL imports it, else adds up. */
static int each_folder(struct run *r, int dir, struct slice mailbox, uint64_t *count)
{
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
    DIR *list = fs_list(dir);
    struct dirent *d;
    int rc = 0;

    if (!list)
        return err_errno(&r->e, "the Maildir");
    if (count)
        *count += octets_of(dir);
    else
        rc = import_folder(r, dir, mailbox);
    while (rc == 0 && (d = readdir(list))) {
        int sub;

        if (d->d_name[0] != '.' || strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
            (sub = open_as_caller(dir, d->d_name)) < 0)
            continue;
        if (count)
            *count += octets_of(sub);
        else if (target_name(mailbox, d->d_name, &name))
            rc = import_folder(r, sub, buf_slice(&name));
        else
            output_say(r->cli, "folder %s was left out: its name is no mailbox name", d->d_name);
        close(sub);
    }
    closedir(list);
    buf_free(&name);
    return rc;
}

/* --- the verb --- */

static enum err_code refuse_format(struct cli *c, const char *source, const char *is, const char *other)
{
    return fault_set(&c->fault, ERR_SYNTAX, "leave --format out, or name the right source",
        "%s is %s, not %s", source, is, other);
}

/* fd of the source; *kind as FORMAT_. */
static enum err_code open_source(struct cli *c, enum mailbox_format *kind, int *fd, uint64_t *size)
{
    const char *source = c->args.object[2];
    struct stat st;
    enum err_code code = mailbox_format(c, kind);

    *fd = -1;
    *size = 0;
    if (code != ERR_OK)
        return code;
    *fd = strcmp(source, "-") == 0 ? dup(STDIN_FILENO) : open(source, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (*fd < 0 || fstat(*fd, &st) < 0)
        return fault_set(&c->fault, errno == EACCES ? ERR_NOT_PERMITTED : ERR_SYNTAX,
            errno == EACCES ? NULL : "name an mbox file or a Maildir", "%s: %s", source, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        if (*kind == FORMAT_MBOX)
            return refuse_format(c, source, "a folder", "an mbox file");
        *kind = FORMAT_MAILDIR;
        if (fs_stat(*fd, "cur", &st) < 0 && fs_stat(*fd, "new", &st) < 0)
            return fault_set(&c->fault, ERR_SYNTAX, "name the folder that has cur/ and new/ in it",
                "%s is no Maildir", source);
    } else {
        if (*kind == FORMAT_MAILDIR)
            return refuse_format(c, source, "a file", "a Maildir");
        *kind = FORMAT_MBOX;
        *size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    }
    return ERR_OK;
}

static void report(struct run *r, const char *mailbox)
{
    struct buf size = BUF_INIT(64);
    json_t *o;

    output_size(&size, r->sum.octets);
    if (r->dry)
        output_say(r->cli, "%s: %llu messages would be looked at; what is there is skipped", mailbox,
            (unsigned long long)r->seen);
    else
        output_say(r->cli, "%s: %llu messages (%s) came in, %llu were there", mailbox,
            (unsigned long long)r->sum.messages, buf_str(&size), (unsigned long long)r->sum.there);
    if (r->skipped)
        output_say(
            r->cli, "%llu empty, deleted or unreadable ones were left out", (unsigned long long)r->skipped);
    if (r->sum.keywords_lost)
        output_say(r->cli, "%llu keywords were lost: a mailbox has 26 at most",
            (unsigned long long)r->sum.keywords_lost);
    if (r->cli->json) {
        o = json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:b}", "mailbox", mailbox, "messages",
            (json_int_t)r->sum.messages, "octets", (json_int_t)r->sum.octets, "were_there",
            (json_int_t)r->sum.there, "left_out", (json_int_t)r->skipped, "keywords_lost",
            (json_int_t)r->sum.keywords_lost, "dry_run", r->dry);
        if (o)
            output_json(o);
        json_decref(o);
    }
    buf_free(&size);
}

static enum err_code failed(struct run *r)
{
    struct cli *c = r->cli;

    if (r->e.code == ERR_OVER_QUOTA)
        return fault_set(&c->fault, ERR_OVER_QUOTA,
            "give the account more room or none to watch, then run this again: what is there is skipped",
            "the room of %s is used up; %llu messages came in before", r->place.address,
            (unsigned long long)r->sum.messages);
    mailbox_fault(c, &r->e);
    if (r->sum.messages)
        output_say(c, "%llu messages came in before; run it again, what is there is skipped",
            (unsigned long long)r->sum.messages);
    return c->fault.code;
}

enum err_code cmd_mailbox_import(struct cli *c)
{
    struct run r = {.cli = c, .dry = cli_flag(c, FLAG_DRY_RUN) != NULL};
    struct buf mailbox = BUF_INIT(FOLDER_NAME_MAX + 1);
    enum mailbox_format kind = FORMAT_ANY;
    uint64_t size = 0, total;
    enum err_code code = mailbox_name_of(c, c->args.object[1], &mailbox);
    int fd = -1, rc = 0;

    r.place = (struct mailbox_place){.mail_root = -1, .state_root = -1};
    if (code == ERR_OK)
        code = open_source(c, &kind, &fd, &size);
    if (code == ERR_OK)
        code = mailbox_open_account(c, c->args.object[0], &r.place);
    if (code != ERR_OK)
        goto out;
    if (r.place.quota && !r.place.used_known) {
        uint64_t messages;

        rc = delivery_usage(r.place.mail_root, slice_str(r.place.path), &r.place.used, &messages, &r.e);
    }
    total = size;
    if (rc == 0 && kind == FORMAT_MAILDIR)
        rc = each_folder(&r, fd, buf_slice(&mailbox), &total);
    progress_begin(&r.progress, c, "import", total);
    if (rc == 0 && kind == FORMAT_MAILDIR) {
        rc = each_folder(&r, fd, buf_slice(&mailbox), NULL);
    } else if (rc == 0) {
        rc = open_target(&r, buf_slice(&mailbox));
        if (rc == 0)
            rc = import_mbox(&r, fd, size);
        rc = close_target(&r, rc);
    }
    progress_end(&r.progress);
    code = rc < 0 ? failed(&r) : ERR_OK;
    if (code == ERR_OK)
        report(&r, buf_str(&mailbox));
    if (r.sum.messages) {
        struct fault kept = c->fault;
        enum err_code counted =
            mailbox_add_usage(c, &r.place, (int64_t)r.sum.octets, (int64_t)r.sum.messages);

        if (code != ERR_OK)
            c->fault = kept;
        else
            code = counted;
    }
out:
    mailbox_close_account(&r.place);
    if (fd >= 0)
        close(fd);
    buf_free(&mailbox);
    return code;
}
