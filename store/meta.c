#include "store/meta.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/id.h"
#include "store/account_priv.h"

#define META_SIZE_MAX 4096
#define MODSEQ_LIMIT (((uint64_t)1 << 63) - 1) /* RFC 7162 3.1: 63 bits */

void meta_init(struct meta *m, uint32_t uidvalidity)
{
    unsigned char random[16];

    *m = (struct meta){.uidvalidity = uidvalidity, .uidnext = 1, .modseq = 1};
    id_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(m->id + 2 * i, 3, "%02x", random[i]);
}

static bool is_mailbox_id(struct slice s)
{
    if (s.n != 32)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (ascii_hex(s.p[i]) < 0)
            return false;
    return true;
}

bool meta_parse(struct slice text, struct meta *out)
{
    struct slice line, key;
    uint64_t v;

    *out = (struct meta){0};
    if (!slice_cut(&text, '\n', &line) || !slice_eq(line, SLICE("postamt-mailbox 1")))
        return false;
    while (slice_cut(&text, '\n', &line)) {
        slice_cut(&line, ' ', &key);
        if (slice_eq(key, SLICE("id"))) {
            if (!is_mailbox_id(line))
                return false;
            memcpy(out->id, line.p, 32);
        } else if (slice_eq(key, SLICE("uidvalidity"))) {
            if (!slice_u64(line, UINT32_MAX, &v) || v == 0)
                return false;
            out->uidvalidity = (uint32_t)v;
        } else if (slice_eq(key, SLICE("uidnext"))) {
            if (!slice_u64(line, (uint64_t)UINT32_MAX + 1, &out->uidnext))
                return false;
        } else if (slice_eq(key, SLICE("modseq"))) {
            if (!slice_u64(line, MODSEQ_LIMIT, &out->modseq))
                return false;
        } else if (slice_eq(key, SLICE("list"))) {
            if (!slice_u64(line, UINT64_MAX, &out->list))
                return false;
        }
    }
    return out->uidvalidity && out->id[0] && out->uidnext && out->modseq;
}

void meta_format(const struct meta *m, struct buf *out)
{
    buf_printf(out, "postamt-mailbox 1\nuidvalidity %lu\nid %s\nuidnext %llu\nmodseq %llu\n",
        (unsigned long)m->uidvalidity, m->id, (unsigned long long)m->uidnext, (unsigned long long)m->modseq);
    if (m->list)
        buf_printf(out, "list %llu\n", (unsigned long long)m->list);
}

int meta_load(int dir, struct meta *out, struct err *e)
{
    struct buf text = BUF_INIT(META_SIZE_MAX + 2);
    int rc = 1;

    if (fs_load(dir, META_FILE, &text, META_SIZE_MAX) < 0)
        rc = errno == ENOENT ? 0 : err_errno(e, META_FILE);
    else if (!meta_parse(buf_slice(&text), out))
        rc = err_set(e, ERR_CORRUPT, META_FILE " cannot be understood");
    buf_free(&text);
    return rc;
}

int meta_store(int state_dir, int dir, const struct meta *m, struct err *e)
{
    struct buf text = BUF_INIT(META_SIZE_MAX);
    char staging[32];
    int rc = 0;

    meta_format(m, &text);
    staging_name(staging);
    if (fs_replace(state_dir, staging, dir, META_FILE, buf_slice(&text), 0600, true) < 0)
        rc = err_errno(e, META_FILE);
    buf_free(&text);
    return rc;
}
