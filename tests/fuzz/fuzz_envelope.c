/* Damaged envelopes and records of the queue's state: refused or read, and what was read is written the same.
 */
#include <stdlib.h>
#include <string.h>

#include "common/checksum.h"
#include "queue/envelope.h"
#include "queue/state_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_envelope(char *copy, size_t n)
{
    struct buf out = BUF_INIT(ENVELOPE_MAX), again = BUF_INIT(ENVELOPE_MAX);
    struct envelope env, back;
    struct arena arena;

    arena_init(&arena, 2 * ENVELOPE_ARENA);
    if (envelope_decode(slice_of(copy, n), &arena, &env)) {
        /* what may be skipped is not written again, so the octets may differ; the envelope may not */
        if (!envelope_encode(&env, &out) || !envelope_decode(buf_slice(&out), &arena, &back) ||
            !envelope_encode(&back, &again) || !slice_eq(buf_slice(&out), buf_slice(&again)) || out.n > n)
            abort();
    }
    arena_free(&arena);
    buf_free(&out);
    buf_free(&again);
}

static void try_records(struct slice in)
{
    struct state_recipient r = {0};
    struct state_message m = {0};
    struct buf out = BUF_INIT(BUF_OWN);

    if (state_message_decode(in, &m)) {
        state_message_encode(&out, &m);
        if (!slice_eq(buf_slice(&out), in))
            abort();
    }
    buf_clear(&out);
    if (state_recipient_decode(in, &r) && r.reply.n <= STATE_REPLY_MAX && r.host.n <= STATE_HOST_MAX) {
        state_recipient_encode(&out, &r);
        if (!slice_eq(buf_slice(&out), in))
            abort();
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy;
    uint64_t sum;

    if (size > 20000)
        return 0;
    copy = malloc(size + 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    try_envelope(copy, size);
    try_records(slice_of(copy, size));
    if (size >= ENVELOPE_HEAD + 14) { /* past the checksum */
        for (int i = 0; i < 4; i++)
            copy[8 + i] = (char)(size >> (8 * i));
        sum = checksum64(0, slice_of(copy, size - 8));
        for (int i = 0; i < 8; i++)
            copy[size - 8 + (size_t)i] = (char)(sum >> (8 * i));
        try_envelope(copy, size);
    }
    free(copy);
    return 0;
}
