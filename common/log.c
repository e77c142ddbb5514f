#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ascii.h"
#include "common/buf.h"
#include "common/utf8.h"

#define VALUE_MAX 256
#define LINE_MAX_OCTETS 4096

static int channel = -1;
static enum log_level level_min = LOG_LEVEL_INFO;
static uint64_t dropped;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static const struct log_event_row rows[] = {
#define X(name_, level_, meaning_) [LOG_EV_##name_] = {#name_, LOG_LEVEL_##level_, meaning_},
    LOG_TABLE(X)
#undef X
};

void log_open(int fd, enum log_level min)
{
    channel = fd;
    level_min = min;
}

void log_set_level(enum log_level min)
{
    level_min = min;
}

bool log_level_parse(struct slice name, enum log_level *out)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (slice_eq(name, slice_str(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    return false;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

const struct log_event_row *log_event_row(enum log_event event)
{
    return &rows[event];
}

/* The one writer of values: printable text stays, all else becomes \xNN; blanks or quotes put the value in
 * quotes. */
static void add_value(struct buf *line, struct slice v)
{
    bool cut = v.n > VALUE_MAX, quote = v.n == 0;

    v = slice_sub(v, 0, VALUE_MAX);
    for (size_t i = 0; i < v.n && !quote; i++)
        quote = v.p[i] == ' ' || v.p[i] == '"' || v.p[i] == '=' || v.p[i] == '\\';
    if (quote)
        buf_add_char(line, '"');
    for (size_t i = 0; i < v.n;) {
        size_t width = utf8_printable(slice_from(v, i));
        char c = v.p[i];

        if (width == 0) {
            buf_printf(line, "\\x%02x", (unsigned char)c);
            i++;
            continue;
        }
        if (c == '"' || c == '\\')
            buf_add_char(line, '\\');
        buf_add(line, slice_sub(v, i, width));
        i += width;
    }
    if (cut)
        buf_add_str(line, "...");
    if (quote)
        buf_add_char(line, '"');
}

static void add_name(struct buf *line, const char *name)
{
    for (; *name; name++)
        buf_add_char(line, *name == '_' ? '-' : ascii_lower(*name));
}

static bool emit(struct slice line)
{
    if (channel < 0) {
        ssize_t n = write(STDERR_FILENO, line.p, line.n);
        return n >= 0 && write(STDERR_FILENO, "\n", 1) == 1;
    }
    return send(channel, line.p, line.n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

void log_write(enum log_event event, const char *sid, const struct log_field *fields)
{
    const struct log_event_row *row = &rows[event];
    struct buf line = BUF_INIT(LINE_MAX_OCTETS);
    int saved = errno;

    if (row->level < level_min)
        return;
    buf_add_str(&line, level_names[row->level]);
    buf_add_char(&line, ' ');
    add_name(&line, row->name);
    if (sid && *sid) {
        buf_add_str(&line, " id=");
        add_value(&line, slice_str(sid));
    }
    for (; fields->key; fields++) {
        buf_add_char(&line, ' ');
        buf_add_str(&line, fields->key);
        buf_add_char(&line, '=');
        if (fields->is_number)
            buf_add_u64(&line, fields->number);
        else
            add_value(&line, fields->text);
    }
    if (dropped) {
        buf_add_str(&line, " dropped=");
        buf_add_u64(&line, dropped);
    }
    if (emit(buf_slice(&line)))
        dropped = 0;
    else
        dropped++;
    buf_free(&line);
    errno = saved;
}
