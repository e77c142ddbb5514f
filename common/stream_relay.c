/* Two streams as one pipe: the front's way between a client (a) and its worker (b). */
#include <stdlib.h>

#include "common/mem.h"
#include "common/stream_internal.h"

/* One read more must fit below STREAM_OUT_HIGH; reading goes on when half of it has left. */
#define STOP_ABOVE (STREAM_OUT_HIGH - STREAM_SCRATCH)
#define GO_BELOW (STREAM_OUT_HIGH / 2)

struct relay {
    struct stream *a, *b; /* NULL: gone */
    void (*ended)(void *ctx);
    void *ctx;
};

static void on_a_input(void *ctx, struct stream *s);
static void on_b_input(void *ctx, struct stream *s);
static void on_a_drained(void *ctx, struct stream *s);
static void on_b_drained(void *ctx, struct stream *s);
static void on_a_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail);
static void on_b_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail);
static void on_a_closed(void *ctx, struct stream *s, enum stream_end why, const char *detail);

static const struct stream_ops a_ops = {.input = on_a_input, .drained = on_a_drained, .ended = on_a_ended};
static const struct stream_ops b_ops = {.input = on_b_input, .drained = on_b_drained, .ended = on_b_ended};
static const struct stream_ops a_last_ops = {.ended = on_a_closed};

static void relay_end(struct relay *r)
{
    void (*ended)(void *ctx) = r->ended;
    void *ctx = r->ctx;

    if (r->a)
        stream_free(r->a);
    if (r->b)
        stream_free(r->b);
    free(r);
    if (ended)
        ended(ctx);
}

static void move(struct stream *from, struct stream *to)
{
    struct slice in = stream_input(from);

    stream_write(to, in);
    stream_consume(from, in.n);
    if (stream_pending(to) > STOP_ABOVE) {
        stream_pause(from);
        stream_when_drained(to);
    }
}

static void on_a_input(void *ctx, struct stream *s)
{
    struct relay *r = ctx;

    move(s, r->b);
}

static void on_b_input(void *ctx, struct stream *s)
{
    struct relay *r = ctx;

    move(s, r->a);
}

static void on_a_drained(void *ctx, struct stream *s)
{
    struct relay *r = ctx;

    if (r->b)
        stream_resume(r->b);
    else if (stream_pending(s) == 0)
        stream_close_begin(s, &a_last_ops, r);
    else
        stream_when_drained(s);
}

static void on_b_drained(void *ctx, struct stream *s)
{
    struct relay *r = ctx;

    (void)s;
    stream_resume(r->a);
}

/* The client has said all; what the worker still says goes to it. Any other end is the end of both. */
static void on_a_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail)
{
    struct relay *r = ctx;

    (void)s;
    (void)detail;
    if (why == STREAM_EOF && r->b)
        stream_shut_write(r->b);
    else if (why != STREAM_EOF)
        relay_end(r);
}

/* The worker is done (or died): what it said is written, however slowly the client takes it, then
 * close_notify. */
static void on_b_ended(void *ctx, struct stream *s, enum stream_end why, const char *detail)
{
    struct relay *r = ctx;

    (void)why;
    (void)detail;
    stream_free(s);
    r->b = NULL;
    stream_pause(r->a); /* nobody is left to hear */
    r->a->low_water = 0;
    stream_when_drained(r->a);
}

static void on_a_closed(void *ctx, struct stream *s, enum stream_end why, const char *detail)
{
    struct relay *r = ctx;

    (void)s;
    (void)why;
    (void)detail;
    r->a = NULL;
    relay_end(r);
}

static void join(struct stream *s, const struct stream_ops *ops, struct relay *r)
{
    stream_due(s, DUE_DEADLINE, 0);
    stream_min_rate(s, 0);
    stream_set_ops(s, ops, r);
    s->input_max = STREAM_INPUT_MAX;
    s->low_water = GO_BELOW;
    s->skip_line = false;
    s->tell_drained = false;
    s->half_close = true;
    stream_resume(s);
}

void stream_relay(struct stream *a, struct stream *b, void (*ended)(void *ctx), void *ctx)
{
    struct relay *r = mem_zalloc(1, sizeof *r);

    r->a = a;
    r->b = b;
    r->ended = ended;
    r->ctx = ctx;
    join(a, &a_ops, r);
    join(b, &b_ops, r);
    b->half_close = false;
}
