#include "queue/prepare.h"

#include <stdlib.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "mail/header.h"
#include "mail/submitted.h"
#include "queue/textfile.h"

#define PIECE ((size_t)64 * 1024)

void prepared_free(struct prepared *p)
{
    buf_free(&p->front);
    free(p->cuts);
    *p = (struct prepared){0};
}

/* Loops: was it here before, on the way to the same address? */
static bool was_delivered_to(struct slice header, struct slice address)
{
    struct header_field field;
    bool found = false;

    while (!found && header_next(&header, &field))
        found = slice_eq_nocase(field.name, SLICE("Delivered-To")) &&
                slice_eq_nocase(slice_trim(field.value), address);
    return found;
}

/* Appends [from, to) of the header without what is cut. */
static void add_uncut(struct buf *out, struct slice header, const struct prepared *p)
{
    size_t at = 0;

    for (size_t i = 0; i < p->ncuts && p->cuts[i].offset + p->cuts[i].len <= header.n; i++) {
        buf_add(out, slice_sub(header, at, p->cuts[i].offset - at));
        at = p->cuts[i].offset + p->cuts[i].len;
    }
    buf_add(out, slice_from(header, at));
}

static void from_domain(struct slice header, struct buf *out)
{
    struct header_address *a = NULL;
    struct header_field field;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    if (header_find(header, SLICE("From"), &field))
        a = header_addresses(field.value, &arena);
    while (a && (!a->domain.p || a->domain.n == 0))
        a = a->next;
    if (a)
        buf_add(out, a->domain);
    arena_free(&arena);
}

static struct slice domain_of(struct slice address)
{
    ssize_t at = slice_rchr(address, '@');

    return at < 0 ? SLICE("") : slice_from(address, (size_t)at + 1);
}

/* Whose keys: NULL when nobody here vouches for it. */
static struct key_set *find_keys(struct keys *keys, const struct enqueue *q, struct slice header)
{
    struct buf domain = BUF_INIT(1024);
    struct key_set *set = NULL;

    from_domain(header, &domain);
    if (domain.n && !domain.full)
        set = keys_find(keys, buf_slice(&domain));
    buf_free(&domain);
    if (q->env.account.n)
        return set ? set : keys_find(keys, domain_of(q->env.reverse_path));
    if (!set && q->env.forward.n)
        return keys_find(keys, domain_of(q->env.forward));
    /* from outside, and it says that it is of ours: our signature would make that true */
    keys_release(set);
    return NULL;
}

static int hash_body(struct dkim *d, int text, uint64_t from, uint64_t to, struct err *e)
{
    char *piece = mem_alloc(PIECE);
    int rc = 0;

    while (rc == 0 && from < to) {
        size_t n = to - from < PIECE ? (size_t)(to - from) : PIECE;

        rc = fs_pread_all(text, piece, n, (off_t)from) < 0 ? err_errno(e, "text") : 0;
        if (rc == 0)
            dkim_body(d, slice_of(piece, n));
        from += n;
    }
    free(piece);
    return rc;
}

/* signed_header: as it will be. Mail that cannot be signed (a header like a book) goes out as it is. */
static int sign(struct key_set *set, const struct envelope *env, struct slice signed_header, int text,
    size_t header_n, int64_t now, struct buf *signatures, struct err *e)
{
    struct dkim *d = dkim_new();
    struct err own = {0};
    int rc = 0;

    if (dkim_begin(d, signed_header, &own) == 0) {
        rc = hash_body(d, text, header_n, env->size, e);
        dkim_end(d);
        if (rc == 0)
            (void)keys_sign(set, d, now, signatures, &own);
    }
    if (own.code != ERR_OK)
        LOG(UNSIGNED, env->id.text, F_STR("why", own.detail));
    dkim_free(d);
    return rc;
}

static int compose(struct keys *keys, const struct enqueue *q, struct slice host, int64_t now, int text,
    struct slice header, struct prepared *out, struct err *e)
{
    struct buf add = BUF_INIT(64 * 1024), whole = BUF_INIT(TEXTFILE_HEADER_MAX + 128 * 1024);
    struct buf signatures = BUF_INIT(64 * 1024);
    struct trace trace = q->trace;
    struct submitted who = {
        .from = q->env.account.n && q->env.reverse_path.n ? q->env.reverse_path : q->env.account,
        .host = host,
        .id = slice_str(q->message.text),
        .now = now};
    struct key_set *set;
    int rc = 0;

    trace.by = host;
    trace.id = slice_str(q->env.id.text);
    trace.now = now;
    out->cuts = submitted_cuts(header, &who, &out->ncuts, &add);
    set = find_keys(keys, q, header);
    if (set) {
        buf_add(&whole, buf_slice(&add));
        add_uncut(&whole, header, out);
        rc = sign(set, &q->env, buf_slice(&whole), text, header.n, now, &signatures, e);
        keys_release(set);
    }
    trace_write(&out->front, &trace, false);
    if (q->env.forward.n)
        header_write(&out->front, SLICE("Delivered-To"), q->env.forward);
    buf_add(&out->front, buf_slice(&signatures));
    buf_add(&out->front, buf_slice(&add));
    buf_free(&add);
    buf_free(&whole);
    buf_free(&signatures);
    if (rc == 0 && out->front.full)
        rc = err_set(e, ERR_TOO_BIG, "fields in front of the message are too long");
    return rc;
}

int prepare_text(struct keys *keys, const struct enqueue *q, struct slice host, int64_t now, int text,
    struct prepared *out, struct err *e)
{
    struct buf head = BUF_INIT(0);
    struct slice header;
    int rc;

    *out = (struct prepared){.front = BUF_INIT(256 * 1024)};
    rc = textfile_check(text, q->env.size, e);
    if (rc == 0)
        rc = textfile_read_header(text, q->env.size, &head, e);
    header = buf_slice(&head);
    header = slice_sub(header, 0, header_size(header));
    if (rc == 0 && q->env.forward.n && was_delivered_to(header, q->env.forward))
        rc = err_set(
            e, ERR_LOOP, "it was forwarded by %.*s before", (int)(q->env.forward.n % 256), q->env.forward.p);
    if (rc == 0)
        rc = compose(keys, q, host, now, text, header, out, e);
    buf_free(&head);
    return rc;
}

void prepare_sign_own(
    struct keys *keys, struct slice domain, struct slice message, int64_t now, struct buf *out)
{
    struct key_set *set = keys_find(keys, domain);
    size_t n = header_size(message);
    struct dkim *d;
    struct err e = {0};

    if (!set)
        return;
    d = dkim_new();
    if (dkim_begin(d, slice_sub(message, 0, n), &e) == 0) {
        dkim_body(d, slice_from(message, n));
        dkim_end(d);
        if (keys_sign(set, d, now, out, &e) < 0)
            LOG(UNSIGNED, NULL, F_STR("why", e.detail));
    }
    dkim_free(d);
    keys_release(set);
}
