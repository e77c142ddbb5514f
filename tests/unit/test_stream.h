/* What the stream tests share: one end is a stream that writes down what happens to it, the other a plain fd.
 */
#ifndef TEST_STREAM_H
#define TEST_STREAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/stream.h"

struct watch {
    struct event_base *base;
    struct stream *s; /* NULL once freed */
    int peer;         /* the other end of the socket pair, non-blocking */
    void (*on_input)(struct watch *w, struct stream *s);
    void (*on_drained)(struct watch *w, struct stream *s);
    void (*on_secured)(struct watch *w, struct stream *s);
    void (*on_ended)(struct watch *w, struct stream *s);
    struct buf got; /* lines, or whatever the test puts there */
    unsigned inputs, drained, secured, ended;
    enum stream_end why;
    char detail[128];
    void *extra;
};

extern const struct stream_ops watch_ops;
void watch_open(struct watch *w);
void watch_close(struct watch *w);
/* Runs the loop until *flag is at least n; fails after five seconds. */
void run_until(struct watch *w, const unsigned *flag, unsigned n);
/* Runs the loop for so long, whatever happens. */
void run_for(struct watch *w, unsigned ms);
/* Runs the loop without waiting until nothing more is to do. */
void run_ready(struct watch *w);
void say(struct watch *w, const char *text);
/* The input callback of most tests: each line in brackets. */
void take_lines(struct watch *w, struct stream *s);
void assert_got(struct watch *w, const char *text);

/* test_stream_tls.c, test_stream_client.c; the number of failures */
int tls_tests_run(void);
int tls_client_tests_run(void);

#endif
