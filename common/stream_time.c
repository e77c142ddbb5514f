/* Deadlines, minimum rate: one timer for all, which exists only while something is set. */
#include "common/stream_internal.h"

#include <stdlib.h>
#include <time.h>

#include "common/mem.h"

int64_t stream_now(void)
{
    struct timespec t;

    INVARIANT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void stream_clock_free(struct stream *s)
{
    if (!s->clock)
        return;
    event_del(&s->clock->timer);
    free(s->clock);
    s->clock = NULL;
}

/* A timer that fires too early looks again: a deadline that is put off with each command costs nothing. */
static void arm(struct stream *s)
{
    struct stream_clock *c = s->clock;
    int64_t first = 0, wait;
    struct timeval tv;
    int i;

    for (i = 0; i < DUE_COUNT; i++) {
        if (c->due[i] && (!first || c->due[i] < first))
            first = c->due[i];
    }
    if (!first) {
        stream_clock_free(s);
        return;
    }
    if (c->armed && c->armed <= first)
        return;
    wait = first - stream_now();
    if (wait < 0)
        wait = 0;
    tv = (struct timeval){wait / 1000, (suseconds_t)(wait % 1000) * 1000};
    INVARIANT(event_add(&c->timer, &tv) == 0);
    c->armed = first;
}

/* The window's time in which we read, against what came in it. */
static void judge_rate(struct stream *s, int64_t now)
{
    struct stream_clock *c = s->clock;
    int64_t window = stream_tuning.rate_window_ms;
    int64_t active = now - c->rate_from - c->paused_ms - (c->paused_at ? now - c->paused_at : 0);

    if (active < window) {
        c->due[DUE_RATE] = now + (window - active);
        return;
    }
    if (s->octets_in - c->rate_mark < (uint64_t)c->rate * (uint64_t)active / 1000) {
        c->due[DUE_RATE] = 0;
        stream_fail(s, STREAM_TIMEOUT, "input slower than the minimum rate");
        return;
    }
    c->rate_mark = s->octets_in;
    c->rate_from = now;
    c->paused_ms = 0;
    c->due[DUE_RATE] = now + window;
}

static bool is_due(struct stream *s, enum stream_due which, int64_t now)
{
    if (!s->clock || !s->clock->due[which] || s->clock->due[which] > now)
        return false;
    if (which != DUE_RATE)
        s->clock->due[which] = 0;
    return true;
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;
    int64_t now = stream_now();

    (void)fd;
    (void)what;
    s->clock->armed = 0;
    stream_enter(s);
    if (is_due(s, DUE_CLOSE, now)) {
        stream_close_now(s);
        stream_leave(s);
        return;
    }
    if (is_due(s, DUE_HANDSHAKE, now))
        stream_fail(s, STREAM_TIMEOUT, "TLS handshake took too long");
    if (is_due(s, DUE_DEADLINE, now))
        stream_fail(s, STREAM_TIMEOUT, "no end before the deadline");
    if (is_due(s, DUE_RATE, now))
        judge_rate(s, now);
    if (s->clock)
        arm(s);
    stream_leave(s);
}

static struct stream_clock *clock_get(struct stream *s)
{
    struct event_base *base = event_get_base(&s->read_ev);

    if (!s->clock) {
        s->clock = mem_zalloc(1, sizeof *s->clock);
        INVARIANT(event_assign(&s->clock->timer, base, -1, 0, on_time, s) == 0);
    }
    return s->clock;
}

void stream_due(struct stream *s, enum stream_due which, unsigned ms)
{
    if (s->dead || (ms == 0 && !s->clock))
        return;
    clock_get(s)->due[which] = ms ? stream_now() + ms : 0;
    arm(s);
}

void stream_deadline(struct stream *s, unsigned milliseconds)
{
    if (!s->ended && !s->closing)
        stream_due(s, DUE_DEADLINE, milliseconds);
}

void stream_min_rate(struct stream *s, unsigned octets_per_second)
{
    struct stream_clock *c;

    if (s->dead || s->ended || s->closing)
        return;
    if (octets_per_second) {
        c = clock_get(s);
        c->rate = octets_per_second;
        c->rate_mark = s->octets_in;
        c->rate_from = stream_now();
        c->paused_at = s->paused ? c->rate_from : 0;
        c->paused_ms = 0;
    }
    stream_due(s, DUE_RATE, octets_per_second ? stream_tuning.rate_window_ms : 0);
}

void stream_clock_paused(struct stream *s, bool paused)
{
    struct stream_clock *c = s->clock;

    if (!c || !c->due[DUE_RATE])
        return;
    if (paused) {
        c->paused_at = stream_now();
    } else if (c->paused_at) {
        c->paused_ms += stream_now() - c->paused_at;
        c->paused_at = 0;
    }
}
