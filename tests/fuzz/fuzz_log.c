/*
 * Values of log lines: whatever a client sent, the line stays one line of printable UTF-8 whose fields can be
 * told apart, and each value reads back as it was (its first 256 octets). No input forges a field or a line.
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/utf8.h"

#define VALUE_MAX 256 /* as in common/log.c */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int ends[2] = {-1, -1};

static unsigned hex(char c)
{
    INVARIANT((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Reads one value as man/postamt-log.7 says it is written; *line is left at what follows. */
static size_t read_value(struct slice *line, char *out, bool *cut)
{
    bool quoted = slice_starts(*line, SLICE("\""));
    size_t n = 0;

    *line = slice_from(*line, quoted);
    for (*cut = false; line->n && line->p[0] != (quoted ? '"' : ' '); *line = slice_from(*line, 1)) {
        INVARIANT(!*cut);
        if (n == VALUE_MAX) {
            INVARIANT(slice_starts(*line, SLICE("...")));
            *line = slice_from(*line, 2);
            *cut = true;
            continue;
        }
        INVARIANT(line->p[0] != '"' && (quoted || line->p[0] != '='));
        out[n] = line->p[0];
        if (line->p[0] == '\\') {
            INVARIANT(line->n >= 2);
            *line = slice_from(*line, 1);
            out[n] = line->p[0];
            if (line->p[0] == 'x') {
                INVARIANT(line->n >= 3);
                out[n] = (char)(hex(line->p[1]) << 4 | hex(line->p[2]));
                *line = slice_from(*line, 2);
            } else {
                INVARIANT(out[n] == '"' || out[n] == '\\');
            }
        }
        n++;
    }
    INVARIANT(!quoted || line->n);
    *line = slice_from(*line, quoted);
    return n;
}

static void check_field(struct slice *line, const char *key, struct slice was)
{
    char value[VALUE_MAX];
    bool cut;
    size_t n;

    INVARIANT(slice_starts(*line, slice_str(key)));
    *line = slice_from(*line, strlen(key));
    n = read_value(line, value, &cut);
    INVARIANT(slice_eq(slice_of(value, n), slice_sub(was, 0, VALUE_MAX)));
    INVARIANT(cut == (was.n > VALUE_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice a, b = slice_of(data, size), line;
    char text[8192];
    ssize_t n;

    if (ends[0] < 0)
        INVARIANT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    log_open(ends[1], LOG_LEVEL_DEBUG);
    slice_cut(&b, '|', &a);
    LOG(PROTOCOL, "d0123456789ab", F_SLICE("a", a), F_U64("n", size), F_SLICE("b", b));
    log_open(-1, LOG_LEVEL_DEBUG);
    n = recv(ends[0], text, sizeof text, MSG_DONTWAIT);
    INVARIANT(n > 0 && (size_t)n < sizeof text);
    line = slice_of(text, (size_t)n);
    for (struct slice s = line; s.n;) {
        size_t width = utf8_printable(s);

        INVARIANT(width > 0);
        s = slice_from(s, width);
    }
    INVARIANT(slice_starts(line, SLICE("info protocol ")));
    line = slice_from(line, strlen("info protocol "));
    check_field(&line, "id=", SLICE("d0123456789ab"));
    check_field(&line, " a=", a);
    INVARIANT(slice_starts(line, SLICE(" n=")));
    while (line.n && !slice_starts(line, SLICE(" b=")))
        line = slice_from(line, 1);
    check_field(&line, " b=", b);
    INVARIANT(line.n == 0);
    return 0;
}
