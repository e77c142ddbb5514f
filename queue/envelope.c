#include "queue/envelope.h"

#include <string.h>

#include "common/checksum.h"

#define MAGIC SLICE("PMQUEUE1")
#define RECORD 6 /* type and length */
#define SUM 8
#define SKIPPABLE 0x8000u
#define VALUE_MAX 65535 /* octets of one value */
#define FLAGS_KNOWN 0x0fu

enum {
    FLAG_SMTPUTF8 = 1,
    FLAG_8BIT = 2,
    FLAG_REQUIRETLS = 4,
    FLAG_HOLD = 8,
};

/* In the order in which they stand. RECIPIENT, NOTIFY and ORCPT come again for each recipient. */
enum {
    TYPE_ID = 1,
    TYPE_CREATED = 2,
    TYPE_SIZE = 3,
    TYPE_FLAGS = 4, /* flags, enum envelope_ret, enum reply_language */
    TYPE_ACCOUNT = 5,
    TYPE_REVERSE_PATH = 6,
    TYPE_ENVID = 7,
    TYPE_FORWARD = 8,
    TYPE_RECIPIENTS = 9, /* how many follow */
    TYPE_RECIPIENT = 16, /* notify, then the address */
    TYPE_ORCPT = 17,     /* of the recipient before it */
    TYPE_END = 0x7fff,
};

static void put_number(struct buf *out, uint64_t v, size_t octets)
{
    for (size_t i = 0; i < octets; i++)
        buf_add_char(out, (char)(v >> (8 * i)));
}

static uint64_t get_number(struct slice s)
{
    uint64_t v = 0;

    for (size_t i = 0; i < s.n && i < 8; i++)
        v |= (uint64_t)(unsigned char)s.p[i] << (8 * i);
    return v;
}

static void put_head(struct buf *out, unsigned type, size_t n)
{
    put_number(out, type, 2);
    put_number(out, n, 4);
}

static void put(struct buf *out, unsigned type, struct slice value)
{
    if (value.n > VALUE_MAX) {
        out->full = true;
        return;
    }
    put_head(out, type, value.n);
    buf_add(out, value);
}

static void put_u64(struct buf *out, unsigned type, uint64_t v)
{
    put_head(out, type, 8);
    put_number(out, v, 8);
}

static void put_message(struct buf *out, const struct envelope *env)
{
    unsigned flags = (env->smtputf8 ? FLAG_SMTPUTF8 : 0u) | (env->is_8bit ? FLAG_8BIT : 0u) |
                     (env->requiretls ? FLAG_REQUIRETLS : 0u) | (env->hold ? FLAG_HOLD : 0u);

    put(out, TYPE_ID, slice_of(env->id.text, ID_LEN));
    put_u64(out, TYPE_CREATED, (uint64_t)env->created);
    put_u64(out, TYPE_SIZE, env->size);
    put_head(out, TYPE_FLAGS, 3);
    put_number(out, flags, 1);
    put_number(out, (uint64_t)env->ret, 1);
    put_number(out, (uint64_t)env->language, 1);
    put(out, TYPE_ACCOUNT, env->account);
    put(out, TYPE_REVERSE_PATH, env->reverse_path);
    put(out, TYPE_ENVID, env->envid);
    put(out, TYPE_FORWARD, env->forward);
    put_u64(out, TYPE_RECIPIENTS, env->nrecipients);
}

static void put_recipient(struct buf *out, const struct envelope_recipient *r)
{
    if (r->address.n >= VALUE_MAX) {
        out->full = true;
        return;
    }
    put_head(out, TYPE_RECIPIENT, r->address.n + 1);
    put_number(out, r->notify, 1);
    buf_add(out, r->address);
    if (r->orcpt.n)
        put(out, TYPE_ORCPT, r->orcpt);
}

bool envelope_encode(const struct envelope *env, struct buf *out)
{
    struct buf b = BUF_INIT(ENVELOPE_MAX);
    bool good = env->nrecipients > 0 && env->nrecipients <= ENVELOPE_RECIPIENTS_MAX;

    buf_add(&b, MAGIC);
    put_number(&b, 0, 4);
    put_message(&b, env);
    for (uint32_t i = 0; good && i < env->nrecipients; i++)
        put_recipient(&b, &env->recipients[i]);
    put_head(&b, TYPE_END, SUM);
    if (good && !b.full && b.n + SUM <= ENVELOPE_MAX) {
        for (size_t i = 0; i < 4; i++)
            b.p[MAGIC.n + i] = (char)((b.n + SUM) >> (8 * i));
        put_number(&b, checksum64(0, buf_slice(&b)), SUM);
        good = out->cap - out->n >= b.n && !out->full;
    } else {
        good = false;
    }
    if (good)
        buf_add(out, buf_slice(&b));
    buf_free(&b);
    return good;
}

size_t envelope_length(struct slice head)
{
    uint64_t n;

    if (head.n < ENVELOPE_HEAD || !slice_starts(head, MAGIC))
        return 0;
    n = get_number(slice_sub(head, MAGIC.n, 4));
    return n >= ENVELOPE_HEAD + RECORD + SUM && n <= ENVELOPE_MAX ? (size_t)n : 0;
}

struct reader {
    struct slice rest;
    unsigned last; /* type of the record before */
};

/* The next record that counts; false at the end of the octets or when they are no record. */
static bool next(struct reader *r, unsigned *type, struct slice *value)
{
    do {
        size_t n;

        if (r->rest.n < RECORD)
            return false;
        *type = (unsigned)get_number(slice_sub(r->rest, 0, 2));
        n = (size_t)get_number(slice_sub(r->rest, 2, 4));
        if (n > r->rest.n - RECORD || n > VALUE_MAX)
            return false;
        *value = slice_sub(r->rest, RECORD, n);
        r->rest = slice_from(r->rest, RECORD + n);
    } while (*type & SKIPPABLE);
    return true;
}

static bool take_flags(struct envelope *env, struct slice value)
{
    bool is_whole = value.n == 3;
    unsigned flags = is_whole ? (unsigned char)value.p[0] : ~0u;
    unsigned ret = is_whole ? (unsigned char)value.p[1] : ~0u;
    unsigned language = is_whole ? (unsigned char)value.p[2] : ~0u;

    if ((flags & ~FLAGS_KNOWN) || ret > ENVELOPE_RET_HDRS || language >= REPLY_LANGUAGES)
        return false;
    env->smtputf8 = flags & FLAG_SMTPUTF8;
    env->is_8bit = flags & FLAG_8BIT;
    env->requiretls = flags & FLAG_REQUIRETLS;
    env->hold = flags & FLAG_HOLD;
    env->ret = (enum envelope_ret)ret;
    env->language = (enum reply_language)language;
    return true;
}

static bool take_message(struct envelope *env, unsigned type, struct slice value, uint64_t *announced)
{
    switch (type) {
    case TYPE_ID:
        if (!id_is_valid(value))
            return false;
        memcpy(env->id.text, value.p, ID_LEN);
        return true;
    case TYPE_CREATED:
        env->created = (int64_t)get_number(value);
        return value.n == 8;
    case TYPE_SIZE:
        env->size = get_number(value);
        return value.n == 8 && env->size <= INT64_MAX;
    case TYPE_FLAGS:
        return take_flags(env, value);
    case TYPE_ACCOUNT:
        env->account = value;
        return true;
    case TYPE_REVERSE_PATH:
        env->reverse_path = value;
        return true;
    case TYPE_ENVID:
        env->envid = value;
        return true;
    case TYPE_FORWARD:
        env->forward = value;
        return true;
    case TYPE_RECIPIENTS:
        *announced = get_number(value);
        return value.n == 8 && *announced > 0 && *announced <= ENVELOPE_RECIPIENTS_MAX;
    default:
        return false;
    }
}

static bool take_recipient(
    struct envelope *env, unsigned type, unsigned last, struct slice value, uint64_t announced)
{
    if (type == TYPE_RECIPIENT) {
        if (value.n < 1 || env->nrecipients == announced)
            return false;
        env->recipients[env->nrecipients++] = (struct envelope_recipient){
            .notify = (uint8_t)value.p[0],
            .address = slice_from(value, 1),
        };
        return true;
    }
    if (type != TYPE_ORCPT || last != TYPE_RECIPIENT || value.n == 0)
        return false;
    env->recipients[env->nrecipients - 1].orcpt = value;
    return true;
}

bool envelope_decode(struct slice in, struct arena *arena, struct envelope *out)
{
    struct reader r = {.rest = slice_from(in, ENVELOPE_HEAD)};
    uint64_t announced = 0;
    struct slice value;
    unsigned type;

    *out = (struct envelope){0};
    if (envelope_length(in) != in.n)
        return false;
    if (checksum64(0, slice_sub(in, 0, in.n - SUM)) != get_number(slice_from(in, in.n - SUM)))
        return false;
    /* Each type of the message stands there once, in order, and all of them before the first recipient. */
    while (next(&r, &type, &value)) {
        if (type == TYPE_END)
            return r.rest.n == 0 && value.n == SUM && announced > 0 && out->nrecipients == announced;
        if (type <= TYPE_RECIPIENTS) {
            if (type != r.last + 1 || !take_message(out, type, value, &announced))
                return false;
            if (type == TYPE_RECIPIENTS) {
                out->recipients = arena_zalloc(arena, (size_t)announced, sizeof *out->recipients);
                if (!out->recipients)
                    return false;
            }
        } else if (r.last < TYPE_RECIPIENTS || !take_recipient(out, type, r.last, value, announced)) {
            return false;
        }
        r.last = type;
    }
    return false;
}
