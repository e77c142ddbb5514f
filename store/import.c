#include "store/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/fs.h"
#include "common/hmap.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/mailbox_priv.h"
#include "store/text.h"

#define HASH_DIGITS 24 /* 96 bits, as in EMAILID */
#define WRITE_CHUNK 65536

struct staged {
    int fd;
    char staging[32];
    char *file;
    uint64_t size;
};

struct import {
    struct mailbox *m;
    struct hmap there; /* origins of unique parts; of ours the hash alone */
    struct import_counts counts;
    struct staged batch[IMPORT_BATCH];
    size_t n;
    bool limited;
    uint64_t limit, taken; /* octets: may come, came or are staged */
    /* the message that is being written */
    bool open, crlf;
    int fd;
    char staging[32];
    uint64_t size, bare;
    char last;
    EVP_MD_CTX *hash;
    struct buf out;
};

/* "<time>.I<24 hexadecimal digits>": the hash, or empty. */
static struct slice hash_of(struct slice unique)
{
    ssize_t dot = slice_rchr(unique, '.');
    struct slice word = slice_from(unique, dot < 0 ? unique.n : (size_t)dot + 1);

    return word.n == 1 + HASH_DIGITS && word.p[0] == 'I' ? word : SLICE("");
}

static void remember(struct import *im, struct slice unique)
{
    struct slice hash = hash_of(name_origin(unique));

    hmap_put(&im->there, hash.n ? hash : name_origin(unique), im);
}

static int remember_folder(struct import *im, int dir, struct err *e)
{
    DIR *list = fs_list(dir);
    struct dirent *d;
    struct name name;

    if (!list)
        return err_errno(e, "mailbox folder");
    while ((d = readdir(list)))
        if (name_parse(slice_str(d->d_name), 0, &name))
            remember(im, name.unique);
    closedir(list);
    return 0;
}

struct import *import_open(struct account *a, struct slice mailbox, struct err *e)
{
    struct mailbox *m = mailbox_get(a, mailbox, false, e);
    struct import *im;

    if (!m)
        return NULL;
    im = mem_zalloc(1, sizeof *im);
    im->m = m;
    im->fd = -1;
    im->out = BUF_INIT(4 * WRITE_CHUNK);
    im->hash = EVP_MD_CTX_new();
    INVARIANT(im->hash);
    if (remember_folder(im, m->cur, e) == 0 && remember_folder(im, m->fresh, e) == 0 &&
        keywords_load(m, e) == 0)
        return im;
    import_close(im, NULL);
    return NULL;
}

bool import_has(const struct import *im, struct slice unique)
{
    return hmap_get(&im->there, name_origin(unique)) != NULL;
}

void import_limit(struct import *im, uint64_t octets)
{
    im->limited = true;
    im->limit = octets;
}

const struct import_counts *import_counts(const struct import *im)
{
    return &im->counts;
}

/* --- one message --- */

int import_begin(struct import *im, bool crlf, struct err *e)
{
    INVARIANT(!im->open);
    staging_name(im->staging);
    im->fd = fs_open_write(im->m->state, im->staging, O_WRONLY | O_CREAT | O_EXCL, 0400);
    if (im->fd < 0)
        return err_errno(e, "staging file");
    im->open = true;
    im->crlf = crlf;
    im->size = im->bare = 0;
    im->last = 0;
    INVARIANT(EVP_DigestInit_ex(im->hash, EVP_sha256(), NULL) == 1);
    return 0;
}

static int write_out(struct import *im, struct err *e)
{
    struct slice text = buf_slice(&im->out);
    int rc = 0;

    if (text.n) {
        INVARIANT(EVP_DigestUpdate(im->hash, text.p, text.n) == 1);
        im->size += text.n;
        if (fs_write_all(im->fd, text) < 0)
            rc = err_errno(e, "staging file");
    }
    buf_clear(&im->out);
    return rc;
}

int import_write(struct import *im, struct slice piece, struct err *e)
{
    while (piece.n) {
        struct slice part = slice_sub(piece, 0, WRITE_CHUNK);

        piece = slice_from(piece, part.n);
        if (!im->crlf) {
            im->bare += text_bare_lf(part, &im->last);
            buf_add(&im->out, part);
        }
        for (size_t i = 0; im->crlf && i < part.n; i++) {
            if (part.p[i] == '\n' && im->last != '\r')
                buf_add_char(&im->out, '\r');
            im->last = part.p[i];
            buf_add_char(&im->out, part.p[i]);
        }
        if (im->out.n >= WRITE_CHUNK && write_out(im, e) < 0)
            return -1;
    }
    return 0;
}

void import_drop(struct import *im)
{
    if (!im->open)
        return;
    close(im->fd);
    im->fd = -1;
    im->open = false;
    fs_unlink(im->m->state, im->staging);
    buf_clear(&im->out);
}

static void hashed_unique(struct import *im, int64_t received, struct buf *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    INVARIANT(EVP_DigestFinal_ex(im->hash, digest, &n) == 1 && n >= HASH_DIGITS / 2);
    buf_printf(out, "%lld.I", (long long)received);
    for (size_t i = 0; i < HASH_DIGITS / 2; i++)
        buf_printf(out, "%02x", digest[i]);
}

static uint32_t keyword_flags(struct import *im, struct slice keywords)
{
    struct slice word;
    uint32_t flags = 0;

    while (slice_cut(&keywords, '\n', &word)) {
        int letter = mailbox_keyword_letter(im->m, word, false, NULL);

        if (slice_eq_nocase(word, SLICE("$Forwarded"))) {
            flags |= FLAG_FORWARDED;
            continue;
        }
        /* a new letter may be one that no message in cur/ has: ours must be there to be counted */
        if (letter < 0 && import_flush(im, NULL) == 0)
            letter = mailbox_keyword_letter(im->m, word, true, NULL);
        if (letter >= 0)
            flags |= FLAG_KEYWORD(letter);
        else
            im->counts.keywords_lost++;
    }
    return flags;
}

int import_commit(struct import *im, const struct import_meta *meta, bool *was_there, struct err *e)
{
    int64_t now = (int64_t)time(NULL), received = meta->received > 0 ? meta->received : now;
    struct buf unique = BUF_INIT(NAME_LEN_MAX), name = BUF_INIT(NAME_LEN_MAX + 64);
    struct staged *s;
    struct slice key;
    uint32_t flags;
    int rc = -1;

    INVARIANT(im->open);
    if (write_out(im, e) < 0)
        goto drop;
    if (meta->unique.n)
        buf_add(&unique, meta->unique);
    else
        hashed_unique(im, received, &unique);
    key = hash_of(buf_slice(&unique));
    *was_there = hmap_get(&im->there, key.n ? key : name_origin(buf_slice(&unique))) != NULL;
    if (*was_there) {
        im->counts.there++;
        rc = 0;
        goto drop;
    }
    if (im->limited && (im->size > im->limit || im->taken > im->limit - im->size)) {
        err_set(e, ERR_OVER_QUOTA, "%llu octets more", (unsigned long long)im->size);
        goto drop;
    }
    flags = (meta->flags & ~FLAG_KEYWORDS_MASK) | keyword_flags(im, meta->keywords);
    if (!name_write(&name, buf_slice(&unique), im->size, im->size + im->bare, now, 0, 0, flags)) {
        err_set(e, ERR_LIMIT, "a file name is too long");
        goto drop;
    }
    if (fs_set_mtime(im->fd, received) < 0) {
        err_errno(e, "staging file");
        goto drop;
    }
    fs_start_write(im->fd);
    s = &im->batch[im->n++];
    *s = (struct staged){.fd = im->fd, .file = mem_strdup(buf_str(&name)), .size = im->size};
    memcpy(s->staging, im->staging, sizeof s->staging);
    im->fd = -1;
    im->open = false;
    im->taken += im->size;
    remember(im, buf_slice(&unique));
    rc = im->n == IMPORT_BATCH ? import_flush(im, e) : 0;
drop:
    import_drop(im);
    buf_free(&unique);
    buf_free(&name);
    return rc;
}

/* --- a batch --- */

int import_flush(struct import *im, struct err *e)
{
    struct mailbox *m = im->m;
    uint64_t messages = 0, octets = 0;
    int rc = 0;

    for (size_t i = 0; i < im->n; i++) {
        struct staged *s = &im->batch[i];

        /* the first commits the journal for all of them, for they were all on their way */
        if (rc == 0 && fs_sync_data(s->fd) < 0)
            rc = err_errno(e, "staging file");
        close(s->fd);
    }
    for (size_t i = 0; i < im->n; i++) {
        struct staged *s = &im->batch[i];

        if (rc == 0 && fs_rename_new(m->state, s->staging, m->cur, s->file) < 0 && errno != EEXIST)
            rc = err_errno(e, "rename into cur/");
        else if (rc == 0)
            messages++, octets += s->size;
        if (rc < 0)
            fs_unlink(m->state, s->staging);
        free(s->file);
    }
    im->n = 0;
    /* what came in before an error is there, and is met at the next attempt */
    if (messages && fs_sync_dir(m->cur) < 0 && rc == 0)
        rc = err_errno(e, "sync of cur/");
    im->counts.messages += messages;
    im->counts.octets += octets;
    return rc;
}

int import_close(struct import *im, struct err *e)
{
    int rc;

    if (!im)
        return 0;
    import_drop(im);
    rc = import_flush(im, e);
    mailbox_close(im->m);
    hmap_free(&im->there);
    EVP_MD_CTX_free(im->hash);
    buf_free(&im->out);
    free(im);
    return rc;
}
