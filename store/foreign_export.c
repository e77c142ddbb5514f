#include "store/foreign_export.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"

#define LIST_MAX ((size_t)512 << 20)
#define ADOPT_STEP 1000

/* The mailbox' GUID as Dovecot had it, else our id: both are 32 hexadecimal digits. */
static void find_guid(struct mailbox *m, char guid[33])
{
    struct buf text = BUF_INIT(LIST_MAX + 2);
    struct slice rest, line, word;

    snprintf(guid, 33, "%s", m->meta.id);
    if (fs_load(m->dir, FOREIGN_UIDLIST, &text, LIST_MAX) == 0) {
        rest = buf_slice(&text);
        slice_cut(&rest, '\n', &line);
        while (slice_cut(&line, ' ', &word)) {
            bool hex = word.n == 33 && word.p[0] == 'G';

            for (size_t i = 1; hex && i < word.n; i++)
                hex = ascii_hex(word.p[i]) >= 0;
            if (hex)
                memcpy(guid, word.p + 1, 32);
        }
    }
    buf_free(&text);
}

static int rename_message(struct mailbox *m, struct message *msg, struct buf *to, struct err *e)
{
    own_begin(m);
    if (fs_rename(m->cur, msg->file, m->cur, buf_str(to)) < 0)
        return err_errno(e, "rename");
    own_end(m);
    message_set_name(m, msg, slice_dup(buf_slice(to)));
    journal_renamed(m, msg);
    return 0;
}

/* Dovecot knows no P: "forwarded" is the keyword $Forwarded there (and is read as P here). */
static int write_forwarded(struct mailbox *m, uint64_t *renamed, struct err *e)
{
    struct buf to = BUF_INIT(NAME_LEN_MAX + 64);
    int letter = -1, rc = 0;

    for (size_t i = 0; i < m->n && rc == 0; i++) {
        struct message *msg = &m->msgs[i];
        struct name name;

        if (!(msg->flags & FLAG_FORWARDED) || !name_parse(slice_str(msg->file), 0, &name) ||
            !(name.flags & FLAG_FORWARDED))
            continue;
        if (letter < 0)
            letter = mailbox_keyword_letter(m, SLICE("$Forwarded"), true, e);
        if (letter < 0) {
            rc = -1;
            break;
        }
        buf_clear(&to);
        if (!name_write_flags(&to, name.base, (name.flags & ~FLAG_FORWARDED) | FLAG_KEYWORD(letter)))
            continue;
        msg = &m->msgs[i]; /* making a letter may have looked at the folder */
        rc = rename_message(m, msg, &to, e);
        (*renamed)++;
    }
    buf_free(&to);
    return rc;
}

static int write_list(struct mailbox *m, struct err *e)
{
    struct buf text = BUF_INIT(LIST_MAX);
    char guid[33], staging[32];
    int rc = 0;

    find_guid(m, guid);
    buf_printf(&text, "3 V%lu N%lu G%s\n", (unsigned long)m->meta.uidvalidity,
        (unsigned long)mailbox_uidnext(m), guid);
    for (size_t i = 0; i < m->n; i++) {
        struct slice id = mailbox_uidl(m, m->msgs[i].uid);
        struct name name;

        if (!name_parse(slice_str(m->msgs[i].file), 0, &name))
            continue;
        buf_add_u64(&text, m->msgs[i].uid);
        if (id.n) {
            buf_add(&text, SLICE(" P"));
            buf_add(&text, id);
        }
        buf_add(&text, SLICE(" :"));
        buf_add(&text, name.base);
        buf_add_char(&text, '\n');
    }
    staging_name(staging);
    if (text.full)
        rc = err_set(e, ERR_LIMIT, FOREIGN_UIDLIST " is too large");
    else if (fs_replace(m->state, staging, m->dir, FOREIGN_UIDLIST, buf_slice(&text), 0600, true) < 0)
        rc = err_errno(e, FOREIGN_UIDLIST);
    buf_free(&text);
    return rc;
}

int foreign_export(
    struct account *a, struct slice mailbox, bool dry, struct foreign_export *out, struct err *e)
{
    struct mailbox_status status;
    struct mailbox *m;
    int rc;

    *out = (struct foreign_export){0};
    if (dry) {
        rc = mailbox_status(a, mailbox, &status, e);
        *out = (struct foreign_export){
            .uidvalidity = status.uidvalidity, .uidnext = status.uidnext, .messages = status.messages};
        return rc;
    }
    m = mailbox_open(a, mailbox, e);
    if (!m)
        return -1;
    out->renamed = m->unnamed;
    while (mailbox_adopt_step(m, ADOPT_STEP))
        ;
    /* nobody gives out a UID between the list and the number in its first line */
    rc = numbers_lock(m, e);
    if (rc == 0) {
        rc = scan_cur(m, e);
        if (rc == 0)
            rc = write_forwarded(m, &out->renamed, e);
        if (rc == 0)
            rc = mailbox_sync(m, e);
        if (rc == 0)
            rc = write_list(m, e);
        numbers_unlock(m);
    }
    if (rc == 0)
        takeover_served(m);
    out->uidvalidity = mailbox_uidvalidity(m);
    out->uidnext = mailbox_uidnext(m);
    out->messages = m->n;
    mailbox_close(m);
    return rc;
}

int foreign_export_uidvalidity(struct account *a, uint32_t highest, struct err *e)
{
    char text[16], file[40], staging[32];
    DIR *list;
    struct dirent *d;
    int rc = 0;

    if (account_lock(a, e) < 0)
        return -1;
    snprintf(text, sizeof text, "%08lx", (unsigned long)highest);
    snprintf(file, sizeof file, FOREIGN_UIDVALIDITY ".%s", text);
    staging_name(staging);
    if (fs_replace(a->state, staging, a->maildir, FOREIGN_UIDVALIDITY, slice_str(text), 0600, true) < 0)
        rc = err_errno(e, FOREIGN_UIDVALIDITY);
    staging_name(staging);
    if (rc == 0 && fs_replace(a->state, staging, a->maildir, file, SLICE(""), 0600, true) < 0)
        rc = err_errno(e, file);
    list = rc == 0 ? fs_list(a->maildir) : NULL;
    while (list && (d = readdir(list)))
        if (slice_starts(slice_str(d->d_name), SLICE(FOREIGN_UIDVALIDITY ".")) &&
            strcmp(d->d_name, file) != 0)
            fs_unlink(a->maildir, d->d_name);
    if (list)
        closedir(list);
    account_unlock(a);
    return rc;
}
