#include "store/account.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/id.h"
#include "common/mem.h"
#include "store/account_priv.h"
#include "store/expunged.h"
#include "store/foreign.h"
#include "store/name.h"

#define COUNTER_FILE "postamt-uidvalidity"

static unsigned char boot_id[16];

int store_init(struct err *e)
{
    /* 36 characters with dashes; the file says of itself that it is empty, so it is read, not sized */
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    char text[64];
    ssize_t n;
    size_t digits = 0;

    if (fd < 0)
        return err_errno(e, "boot_id");
    n = read(fd, text, sizeof text);
    close(fd);
    memset(boot_id, 0, sizeof boot_id);
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        int v = ascii_hex(text[i]);

        if (v < 0)
            continue;
        boot_id[digits / 2] = (unsigned char)(boot_id[digits / 2] << 4 | v);
        digits++;
    }
    if (digits < 32) {
        memset(boot_id, 0, sizeof boot_id);
        return err_set(e, ERR_INTERNAL, "the kernel's boot id is %zd octets", n);
    }
    return 0;
}

const unsigned char *store_boot_id(void)
{
    return boot_id;
}

/* One part of the path; false when it is empty or too long for a file name. */
static bool add_component(struct slice text, struct buf *out)
{
    size_t start = out->n;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool plain = ascii_is_digit(c) || (c >= 'a' && c <= 'z') ||
                     (c && strchr("_+=.@-", c) && !(c == '.' && i == 0));

        if (plain)
            buf_add_char(out, c);
        else
            buf_printf(out, "%%%02X", (unsigned char)c);
    }
    return text.n > 0 && !out->full && out->n - start <= NAME_LEN_MAX;
}

int account_path(struct slice address, struct buf *out, struct err *e)
{
    ssize_t at = slice_rchr(address, '@');
    size_t start = out->n;

    if (at > 0 && add_component(slice_from(address, (size_t)at + 1), out)) {
        buf_add_char(out, '/');
        if (add_component(slice_sub(address, 0, (size_t)at), out))
            return 0;
    }
    buf_cut(out, start);
    return err_set(e, ERR_NO_USER, "no path for an address of %zu octets", address.n);
}

void staging_name(char out[32])
{
    struct id id = id_new();

    snprintf(out, 32, STAGING_PREFIX "%s", id.text);
}

/* Every new account starts with these (clients.md, "Setting up"). */
static const struct {
    const char *name;
    enum special_use use;
} first_boxes[] = {
    {"Drafts", USE_DRAFTS},
    {"Sent", USE_SENT},
    {"Trash", USE_TRASH},
    {"Junk", USE_JUNK},
    {"Archive", USE_ARCHIVE},
};

static int first_time(struct account *a, struct err *e)
{
    struct buf uses = BUF_INIT(4096);
    struct err made = {0};
    int rc;

    if (subscriptions_take(a, e) < 0)
        return -1;
    for (size_t i = 0; i < sizeof first_boxes / sizeof *first_boxes; i++) {
        struct slice name = slice_str(first_boxes[i].name);

        /* imapd's and pop3d's worker may come at the same moment: what the other made is made */
        if (!account_has(a, name) && account_mailbox_create(a, name, USE_NONE, &made) < 0 &&
            made.code != ERR_MAILBOX_EXISTS) {
            *e = made;
            return -1;
        }
        if (account_subscribe(a, name, true, e) < 0)
            return -1;
    }
    if (account_subscribe(a, SLICE("INBOX"), true, e) < 0)
        return -1;
    /* the uses come last: their file says that all the rest was done */
    for (size_t i = 0; i < sizeof first_boxes / sizeof *first_boxes; i++)
        buf_printf(&uses, "%s .%s\n", special_use_name(first_boxes[i].use), first_boxes[i].name);
    rc = specials_begin(a, &uses, e);
    buf_free(&uses);
    return rc;
}

int account_furnish(struct account *a, struct err *e)
{
    return specials_begun(a) ? 0 : first_time(a, e);
}

int account_make_dirs(int mail_root, int state_root, struct slice path, struct err *e)
{
    static const char *const folders[] = {"Maildir/cur", "Maildir/new", "Maildir/tmp"};
    struct buf p = BUF_INIT(4096);
    struct stat st;
    int rc = -1;

    buf_add(&p, path);
    if (p.full || path.n == 0 || slice_chr(path, '\0') >= 0) {
        err_set(e, ERR_NO_USER, "path of %zu octets", path.n);
        goto out;
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        buf_cut(&p, path.n);
        buf_printf(&p, "/%s", folders[i]);
        if (fs_stat(mail_root, buf_str(&p), &st) < 0 && fs_make_dirs(mail_root, buf_str(&p)) < 0) {
            err_errno(e, buf_str(&p));
            goto out;
        }
    }
    buf_cut(&p, path.n);
    if (state_root >= 0 && fs_stat(state_root, buf_str(&p), &st) < 0 &&
        fs_make_dirs(state_root, buf_str(&p)) < 0) {
        err_errno(e, buf_str(&p));
        goto out;
    }
    rc = 0;
out:
    buf_free(&p);
    return rc;
}

struct account *account_open(int mail_dir, int state_dir, struct err *e)
{
    struct account *a;
    int maildir = mail_dir < 0 ? -1 : fs_open_dir(mail_dir, "Maildir");

    if (maildir < 0 || state_dir < 0) {
        err_errno(e, "the account's folders");
        if (maildir >= 0)
            close(maildir);
        if (mail_dir >= 0)
            close(mail_dir);
        if (state_dir >= 0)
            close(state_dir);
        return NULL;
    }
    a = mem_zalloc(1, sizeof *a);
    a->mail = mail_dir;
    a->maildir = maildir;
    a->state = state_dir;
    expunged_policy(a, EXPUNGED_KEEP, EXPUNGED_KEEP_JUNK, false);
    fs_remove_old(state_dir, STAGING_PREFIX, (int64_t)time(NULL) - FS_STAGING_LIFE);
    return a;
}

void account_close(struct account *a)
{
    if (!a)
        return;
    if (a->release)
        a->release(a);
    INVARIANT(!a->open);
    close(a->mail);
    close(a->maildir);
    close(a->state);
    free(a);
}

int account_lock(struct account *a, struct err *e)
{
    return fs_lock(a->mail, true) < 0 ? err_errno(e, "lock of the account") : 0;
}

void account_unlock(struct account *a)
{
    fs_unlock(a->mail);
}

/* *last: the highest given out here, or by the Dovecot that had the Maildir before; 0 for none. */
static int counter_load(struct account *a, uint64_t *last, struct err *e)
{
    struct buf text = BUF_INIT(64);
    uint32_t foreign;
    int rc = 0;

    *last = 0;
    if (fs_load(a->mail, COUNTER_FILE, &text, 32) < 0) {
        if (errno != ENOENT)
            rc = err_errno(e, COUNTER_FILE);
        else if (buf_clear(&text), fs_load(a->maildir, FOREIGN_UIDVALIDITY, &text, 32) == 0 &&
                                       foreign_parse_uidvalidity(buf_slice(&text), &foreign))
            *last = foreign;
    } else if (!slice_u64(slice_trim(buf_slice(&text)), UINT32_MAX, last)) {
        /* damaged: the clock goes on; said, not hidden */
        rc = err_set(e, ERR_CORRUPT, COUNTER_FILE " cannot be understood");
    }
    buf_free(&text);
    return rc;
}

static int counter_store(struct account *a, uint64_t last, struct err *e)
{
    struct buf text = BUF_INIT(64);
    char staging[32];
    int rc = 0;

    buf_printf(&text, "%llu\n", (unsigned long long)last);
    staging_name(staging);
    if (fs_replace(a->state, staging, a->mail, COUNTER_FILE, buf_slice(&text), 0600, true) < 0)
        rc = err_errno(e, COUNTER_FILE);
    buf_free(&text);
    return rc;
}

int account_next_uidvalidity(struct account *a, uint32_t *out, struct err *e)
{
    uint64_t last, next = (uint64_t)time(NULL);

    if (counter_load(a, &last, e) < 0)
        return -1;
    if (next <= last)
        next = last + 1;
    if (next == 0 || next > UINT32_MAX)
        return err_set(e, ERR_INTERNAL, "no UIDVALIDITY is left");
    *out = (uint32_t)next;
    return counter_store(a, next, e);
}

int account_saw_uidvalidity(struct account *a, uint32_t uidvalidity, struct err *e)
{
    uint64_t last;
    int rc;

    if (account_lock(a, e) < 0)
        return -1;
    rc = counter_load(a, &last, e);
    /* the clock is above it nearly always */
    if (rc == 0 && uidvalidity > last && uidvalidity >= (uint64_t)time(NULL))
        rc = counter_store(a, uidvalidity, e);
    account_unlock(a);
    return rc;
}

int account_new_uidvalidity(struct account *a, uint32_t *out, struct err *e)
{
    int rc;

    if (account_lock(a, e) < 0)
        return -1;
    rc = account_next_uidvalidity(a, out, e);
    account_unlock(a);
    return rc;
}

int account_open_folder(struct account *a, struct slice disk, int *fd, struct err *e)
{
    struct buf path = BUF_INIT(NAME_LEN_MAX + 2);

    buf_add(&path, disk.n ? disk : SLICE("."));
    *fd = path.full ? -1 : fs_open_dir(a->maildir, buf_str(&path));
    buf_free(&path);
    if (*fd >= 0)
        return 0;
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
        return err_set(e, ERR_NO_MAILBOX, "no such folder");
    return err_errno(e, "mailbox folder");
}

bool account_folder_exists(struct account *a, struct slice disk)
{
    struct buf path = BUF_INIT(NAME_LEN_MAX + 2);
    struct stat st;
    bool there = true;

    if (disk.n) {
        buf_add(&path, disk);
        there = !path.full && fs_stat(a->maildir, buf_str(&path), &st) == 0 && S_ISDIR(st.st_mode);
    }
    buf_free(&path);
    return there;
}

bool account_has(struct account *a, struct slice name)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    bool has = folder_to_disk(name, &disk, NULL) == 0 && account_folder_exists(a, buf_slice(&disk));

    buf_free(&disk);
    return has;
}

int account_open_mailbox_dirs(
    struct account *a, struct slice name, int *mail_dir, int *state_dir, struct err *e)
{
    struct buf disk = BUF_INIT(NAME_LEN_MAX + 2);
    const char *folder;
    int rc = -1;

    *mail_dir = *state_dir = -1;
    if (folder_to_disk(name, &disk, e) < 0 || account_open_folder(a, buf_slice(&disk), mail_dir, e) < 0)
        goto out;
    folder = disk.n ? buf_str(&disk) : DISK_INBOX;
    if (fs_mkdir(a->state, folder) < 0 && errno != EEXIST) {
        err_errno(e, "folder in state/");
        goto out;
    }
    *state_dir = fs_open_dir(a->state, folder);
    if (*state_dir < 0) {
        err_errno(e, "folder in state/");
        goto out;
    }
    rc = 0;
out:
    if (rc < 0 && *mail_dir >= 0) {
        close(*mail_dir);
        *mail_dir = -1;
    }
    buf_free(&disk);
    return rc;
}
