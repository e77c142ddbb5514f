#include "admin/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/output.h"

#define FIRST_MS 1000
#define BAR_MS 200
#define LINE_MS 10000
#define WIDTH 24

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void progress_begin(struct progress *p, const struct cli *c, const char *what, uint64_t total)
{
    *p = (struct progress){
        .cli = c, .what = what, .total = total, .begun = now_ms(), .bar = !c->json && isatty(STDERR_FILENO)};
    p->shown = p->begun + (p->bar ? FIRST_MS - BAR_MS : 0);
}

static void add_bar(struct buf *out, uint64_t octets, uint64_t total)
{
    unsigned filled = (unsigned)((double)octets / (double)total * WIDTH);

    buf_add_char(out, '[');
    for (unsigned i = 0; i < WIDTH; i++)
        buf_add_char(out, i < filled ? '=' : ' ');
    buf_add_str(out, "] ");
}

void progress_at(struct progress *p, uint64_t octets, uint64_t messages)
{
    int64_t now = now_ms(), spent = now - p->begun;
    struct buf text = BUF_INIT(500);
    double rate;

    if (p->cli->json || now - p->shown < (p->bar ? BAR_MS : LINE_MS))
        return;
    p->shown = now;
    p->any = true;
    if (octets > p->total && p->total)
        octets = p->total;
    rate = spent > 0 ? (double)octets * 1000 / (double)spent : 0;
    buf_printf(&text, "%s: ", p->what);
    if (p->total && p->bar)
        add_bar(&text, octets, p->total);
    buf_printf(&text, "%llu messages, ", (unsigned long long)messages);
    output_size(&text, octets);
    if (p->total) {
        buf_add_str(&text, " of ");
        output_size(&text, p->total);
    }
    buf_add_str(&text, ", ");
    output_size(&text, (uint64_t)rate);
    buf_add_str(&text, "/s");
    if (p->total && rate > 0) {
        buf_add_str(&text, ", ");
        output_duration(&text, (int64_t)((double)(p->total - octets) / rate));
        buf_add_str(&text, " left");
    }
    fflush(stdout);
    fprintf(stderr, p->bar ? "\r%s\033[K" : "%s\n", buf_str(&text));
    buf_free(&text);
}

void progress_end(struct progress *p)
{
    if (p->any && p->bar)
        fputs("\r\033[K", stderr);
}
