/*
 * queue_fill FOLDER COUNT: a queue of COUNT messages in FOLDER (paths.queue), as queued would leave it, for
 * tests of the postamt command. Prints their ids, one a line, in the order they were made. Message i:
 *
 *   from          user<i % 7>@sender.test; every tenth from <>
 *   recipients    1 + i % 3, the first r<i>@d<i % 10>.test, the next at the next domain
 *   i % 4         1: deferred by a full mailbox; 2: deferred, no connection; 3: held; else it was not tried
 * yet
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "queue/admin.h"

#define TEXT "Subject: hello\r\n\r\nhello\r\n"
#define BATCH 500

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "queue_fill: %s: %s\n", what, e->detail);
    exit(1);
}

static void note_state(struct state *st, const struct envelope *env, unsigned long i, int64_t now)
{
    state_add(st, env);
    for (uint32_t k = 0; (i % 4 == 1 || i % 4 == 2) && k < env->nrecipients; k++) {
        struct state_recipient r = {
            .address = env->recipients[k].address,
            .reason = i % 4 == 1 ? SCHEDULE_OTHER : SCHEDULE_CONNECT,
            .attempts = 2,
            .last_try = now - 60,
            .next_try = now + 3000,
            .host = SLICE("mx.d1.test"),
            .reply =
                i % 4 == 1 ? SLICE("452 4.2.2 The mailbox is over its quota") : SLICE("connection timed out"),
        };

        state_put_recipient(st, &env->id, k, &r);
    }
}

static void fill_one(struct queue_door *door, unsigned long i, int64_t now, struct err *e)
{
    char from[40], address[3][60];
    struct envelope_recipient to[3] = {0};
    struct envelope env = {
        .id = id_new(), .created = now, .recipients = to, .nrecipients = 1 + (uint32_t)(i % 3)};
    struct spool_writer w;

    snprintf(from, sizeof from, "user%lu@sender.test", i % 7);
    if (i % 10)
        env.account = env.reverse_path = slice_str(from);
    env.hold = i % 4 == 3;
    for (unsigned k = 0; k < env.nrecipients; k++) {
        snprintf(address[k], sizeof address[k], "r%lu@d%lu.test", i, (i + k) % 10);
        to[k].address = slice_str(address[k]);
    }
    if (spool_begin(door->spool, &env, &w, e) < 0 || spool_write(&w, SLICE(TEXT), e) < 0 ||
        spool_place(&w, e) < 0)
        die("spool", e);
    env.size = sizeof TEXT - 1;
    note_state(door->state, &env, i, now);
    puts(env.id.text);
}

int main(int argc, char **argv)
{
    struct queue_door door = {0};
    struct err e = {0};
    uint64_t count;
    int64_t now = (int64_t)time(NULL);

    log_set_level(LOG_LEVEL_ERROR);
    if (argc != 3 || !slice_u64(slice_str(argv[2]), 10000000, &count)) {
        fputs("usage: queue_fill FOLDER COUNT\n", stderr);
        return 64;
    }
    if (queue_door_open(&door, argv[1], &e) < 0)
        die("open", &e);
    for (unsigned long i = 0; i < count; i++) {
        fill_one(&door, i, now, &e);
        if ((i % BATCH == BATCH - 1 || i + 1 == count) && state_commit(door.state, &e) < 0)
            die("commit", &e);
    }
    if (spool_sync(door.spool, &e) < 0)
        die("sync", &e);
    queue_door_close(&door);
    return 0;
}
