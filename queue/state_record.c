#include "queue/state_record.h"

#include <string.h>

#define VERSION 1

static void put(struct buf *out, uint64_t v, size_t octets)
{
    for (size_t i = 0; i < octets; i++)
        buf_add_char(out, (char)(v >> (8 * i)));
}

static void put_text(struct buf *out, struct slice s, size_t max)
{
    s = slice_sub(s, 0, max);
    put(out, s.n, 2);
    buf_add(out, s);
}

/* Takes a number off the front; *good turns false when the octets end before. */
static uint64_t get(struct slice *in, size_t octets, bool *good)
{
    uint64_t v = 0;

    if (in->n < octets) {
        *good = false;
        return 0;
    }
    for (size_t i = 0; i < octets; i++)
        v |= (uint64_t)(unsigned char)in->p[i] << (8 * i);
    *in = slice_from(*in, octets);
    return v;
}

static struct slice get_text(struct slice *in, bool *good)
{
    size_t n = (size_t)get(in, 2, good);
    struct slice s;

    if (n > in->n) {
        *good = false;
        return SLICE("");
    }
    s = slice_sub(*in, 0, n);
    *in = slice_from(*in, n);
    return s;
}

size_t state_key(char key[STATE_KEY_MAX], const struct id *id, const uint32_t *index)
{
    memcpy(key, id->text, ID_LEN);
    if (!index)
        return ID_LEN;
    key[ID_LEN] = (char)(*index >> 8);
    key[ID_LEN + 1] = (char)*index;
    return ID_LEN + 2;
}

int state_key_parse(struct slice key, struct id *id, uint32_t *index)
{
    if ((key.n != ID_LEN && key.n != ID_LEN + 2) || !id_is_valid(slice_sub(key, 0, ID_LEN)))
        return 0;
    *id = (struct id){0};
    memcpy(id->text, key.p, ID_LEN);
    if (key.n == ID_LEN)
        return 1;
    *index = (uint32_t)(unsigned char)key.p[ID_LEN] << 8 | (unsigned char)key.p[ID_LEN + 1];
    return 2;
}

void state_message_encode(struct buf *out, const struct state_message *m)
{
    put(out, VERSION, 1);
    put(out, (m->hold ? 1u : 0u) | (m->warned ? 2u : 0u), 1);
    put(out, (uint64_t)m->created, 8);
    put(out, m->size, 8);
    put(out, m->nrecipients, 2);
    put_text(out, m->account, UINT16_MAX);
    put_text(out, m->reverse_path, UINT16_MAX);
}

bool state_message_decode(struct slice in, struct state_message *m)
{
    bool good = true;
    uint64_t flags;

    good = get(&in, 1, &good) == VERSION;
    flags = get(&in, 1, &good);
    m->hold = flags & 1;
    m->warned = flags & 2;
    m->created = (int64_t)get(&in, 8, &good);
    m->size = get(&in, 8, &good);
    m->nrecipients = (uint32_t)get(&in, 2, &good);
    m->account = get_text(&in, &good);
    m->reverse_path = get_text(&in, &good);
    return good && in.n == 0 && flags < 4 && m->nrecipients > 0 && m->nrecipients <= ENVELOPE_RECIPIENTS_MAX;
}

void state_recipient_encode(struct buf *out, const struct state_recipient *r)
{
    put(out, VERSION, 1);
    put(out, (uint64_t)r->state, 1);
    put(out, (uint64_t)r->reason, 1);
    put(out, r->dsn_sent, 1);
    put(out, r->attempts < UINT32_MAX ? r->attempts : UINT32_MAX, 4);
    put(out, (uint64_t)r->last_try, 8);
    put(out, (uint64_t)r->next_try, 8);
    put_text(out, r->address, UINT16_MAX);
    put_text(out, r->host, STATE_HOST_MAX);
    put_text(out, r->reply, STATE_REPLY_MAX);
}

bool state_recipient_decode(struct slice in, struct state_recipient *r)
{
    bool good = true;
    uint64_t state, reason, sent;

    good = get(&in, 1, &good) == VERSION;
    state = get(&in, 1, &good);
    reason = get(&in, 1, &good);
    sent = get(&in, 1, &good);
    r->attempts = (unsigned)get(&in, 4, &good);
    r->last_try = (int64_t)get(&in, 8, &good);
    r->next_try = (int64_t)get(&in, 8, &good);
    r->address = get_text(&in, &good);
    r->host = get_text(&in, &good);
    r->reply = get_text(&in, &good);
    if (!good || in.n || state >= STATE_STATES || reason >= SCHEDULE_CLASSES || sent > 1)
        return false;
    r->state = (enum state_of_recipient)state;
    r->reason = (enum schedule_class)reason;
    r->dsn_sent = sent;
    return true;
}
