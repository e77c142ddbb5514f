#include "mail/mbox.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/ascii.h"

#define LINE_KEEP 8192 /* octets of a line that are looked at as a whole */
#define KEYWORDS_MAX 8192

void mbox_init(struct mbox *m)
{
    *m = (struct mbox){.line = BUF_INIT(LINE_KEEP), .keywords = BUF_INIT(KEYWORDS_MAX), .blank = true};
}

void mbox_free(struct mbox *m)
{
    buf_free(&m->line);
    buf_free(&m->keywords);
}

/* --- the From line --- */

static int month_of(struct slice s)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

    if (s.n != 3)
        return -1;
    for (int i = 0; i < 12; i++)
        if (slice_eq_nocase(s, slice_of(names + 3 * i, 3)))
            return i;
    return -1;
}

/* hh:mm[:ss] */
static bool time_of(struct slice s, struct tm *t)
{
    struct slice hour, minute, second = s;
    uint64_t v;

    slice_cut(&second, ':', &hour);
    slice_cut(&second, ':', &minute);
    if (hour.n > 2 || minute.n != 2 || !slice_u64(hour, 23, &v))
        return false;
    t->tm_hour = (int)v;
    if (!slice_u64(minute, 59, &v))
        return false;
    t->tm_min = (int)v;
    if (second.n && !slice_u64(second, 60, &v))
        return false;
    t->tm_sec = second.n ? (int)v : 0;
    return true;
}

static bool number_of(struct slice s, uint64_t least, uint64_t most, int *out)
{
    uint64_t v;

    if (!slice_u64(s, most, &v) || v < least)
        return false;
    *out = (int)v;
    return true;
}

/* "+0200" as seconds */
static bool zone_of(struct slice s, int *out)
{
    int v;

    if (s.n != 5 || (s.p[0] != '+' && s.p[0] != '-') || !number_of(slice_from(s, 1), 0, 1459, &v))
        return false;
    *out = (v / 100 * 3600 + v % 100 * 60) * (s.p[0] == '-' ? -1 : 1);
    return true;
}

/* The words from the month on: "Jun 30 21:49:08 [zone] 1993 [zone]" or, with the day in front, "Jun 1993
 * 21:49:08 [zone]". */
static bool date_of(const struct slice *words, size_t n, bool has_day, int64_t *out)
{
    struct tm t = {.tm_mon = month_of(words[0])};
    int year = 0, zone = 0;
    size_t i = 1;

    if (has_day) {
        if (!number_of(words[-1], 1, 31, &t.tm_mday) || n < 3 || !number_of(words[1], 1900, 9999, &year))
            return false;
        i = 2;
    } else if (n < 4 || !number_of(words[i++], 1, 31, &t.tm_mday)) {
        return false;
    }
    if (!time_of(words[i++], &t))
        return false;
    for (size_t j = i; j < n && j < i + 3; j++)
        if (!(year == 0 && number_of(words[j], 1900, 9999, &year)))
            zone_of(words[j], &zone);
    t.tm_year = year - 1900;
    *out = (int64_t)timegm(&t) - zone;
    return year != 0;
}

bool mbox_from_line(struct slice line, int64_t *received)
{
    struct slice words[24], word, rest = slice_trim(line);
    size_t n = 0;

    if (!slice_starts(rest, SLICE("From ")))
        return false;
    while (n < sizeof words / sizeof *words && slice_cut(&rest, ' ', &word))
        if (word.n)
            words[n++] = word;
    for (size_t i = 1; i < n; i++) {
        if (month_of(words[i]) < 0)
            continue;
        if (date_of(words + i, n - i, false, received) || date_of(words + i, n - i, true, received))
            return true;
    }
    return false;
}

/* --- what programs keep in the header --- */

static void letters(struct mbox *m, struct slice value, const char *from, const unsigned *to)
{
    for (size_t i = 0; i < value.n; i++) {
        const char *at = value.p[i] ? strchr(from, value.p[i]) : NULL;

        if (at)
            m->flags |= to[at - from];
    }
}

static void status(struct mbox *m, struct slice value)
{
    static const unsigned bits[] = {MBOX_SEEN};

    letters(m, value, "R", bits);
}

static void x_status(struct mbox *m, struct slice value)
{
    static const unsigned bits[] = {MBOX_ANSWERED, MBOX_FLAGGED, MBOX_DRAFT, MBOX_DELETED};

    letters(m, value, "AFTD", bits);
}

static void mozilla_status(struct mbox *m, struct slice value)
{
    unsigned v = 0;

    for (size_t i = 0; i < value.n && i < 8; i++) {
        int digit = ascii_hex(value.p[i]);

        if (digit < 0)
            return;
        v = v << 4 | (unsigned)digit;
    }
    m->flags |= (v & 0x0001 ? MBOX_SEEN : 0) | (v & 0x0002 ? MBOX_ANSWERED : 0) |
                (v & 0x0004 ? MBOX_FLAGGED : 0) | (v & 0x0008 ? MBOX_EXPUNGED : 0) |
                (v & 0x1000 ? MBOX_FORWARDED : 0);
}

static void keywords(struct mbox *m, struct slice value)
{
    struct slice word;

    while (slice_cut(&value, ' ', &word)) {
        word = slice_trim(word);
        if (word.n == 0 || m->keywords.n + word.n + 1 > KEYWORDS_MAX)
            continue;
        buf_add(&m->keywords, word);
        buf_add_char(&m->keywords, '\n');
    }
}

static void content_length(struct mbox *m, struct slice value)
{
    m->has_length = slice_u64(value, (uint64_t)1 << 40, &m->length);
}

static void nothing(struct mbox *m, struct slice value)
{
    (void)m, (void)value;
}

/* Fields that belong to the file, not to the message. */
static const struct {
    const char *name;
    void (*take)(struct mbox *m, struct slice value);
} fields[] = {
    {"Status:", status},
    {"X-Status:", x_status},
    {"X-Keywords:", keywords},
    {"X-Mozilla-Status:", mozilla_status},
    {"X-Mozilla-Status2:", nothing},
    {"X-Mozilla-Keys:", keywords},
    {"X-UID:", nothing},
    {"X-IMAP:", nothing},
    {"X-IMAPbase:", nothing},
    {"Content-Length:", content_length},
};

/* The field is the file's own: its value is taken. m NULL: only asked. */
static bool is_own_field(struct mbox *m, struct slice line)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct slice name = slice_str(fields[i].name);

        if (!slice_starts_nocase(line, name))
            continue;
        if (m)
            fields[i].take(m, slice_trim(slice_from(line, name.n)));
        return true;
    }
    return false;
}

/* --- reading --- */

/* The next line with its end, or a part of one too long, into m->at; false: more is needed. */
static bool take_line(struct mbox *m, struct slice *chunk, bool eof)
{
    ssize_t lf = slice_chr(*chunk, '\n');
    size_t n = lf < 0 ? chunk->n : (size_t)lf + 1;
    bool complete = lf >= 0;

    if (m->partial) { /* what lay in the buffer was used */
        buf_clear(&m->line);
        m->partial = false;
    }
    if (m->line.n == 0 && (complete || n >= LINE_KEEP)) {
        n = complete ? n : LINE_KEEP;
        m->at = slice_sub(*chunk, 0, n);
        *chunk = slice_from(*chunk, n);
    } else {
        if (n > LINE_KEEP - m->line.n) {
            n = LINE_KEEP - m->line.n;
            complete = false;
        }
        buf_add(&m->line, slice_sub(*chunk, 0, n));
        *chunk = slice_from(*chunk, n);
        if (!complete && m->line.n < LINE_KEEP && !(eof && m->line.n))
            return false;
        m->at = buf_slice(&m->line);
        m->partial = true;
    }
    m->offset += m->at.n;
    return true;
}

static bool is_blank(struct slice line)
{
    return slice_eq(line, SLICE("\n")) || slice_eq(line, SLICE("\r\n"));
}

static bool is_quoted(struct slice line)
{
    size_t i = 0;

    while (i < line.n && line.p[i] == '>')
        i++;
    return i > 0 && slice_starts(slice_from(line, i), SLICE("From "));
}

static void begin(struct mbox *m, int64_t received)
{
    m->received = received;
    m->flags = 0;
    buf_clear(&m->keywords);
    m->has_length = m->skip = m->held = m->blank = false;
    m->length = m->left = 0;
    m->in_message = m->in_header = m->first_header = true;
}

/* A line of a header; true: *text goes on. */
static bool header_line(struct mbox *m, struct slice line, struct slice *text)
{
    bool first = m->first_header;

    m->first_header = false;
    if (line.n && (line.p[0] == ' ' || line.p[0] == '\t') && !first) {
        *text = line;
        return !m->skip;
    }
    /* an envelope line of a hop before, as some delivery agents stack them */
    m->skip = (first && is_quoted(line)) || is_own_field(m, line);
    *text = line;
    return !m->skip;
}

/* Octets that Content-Length covers go through as they are. */
static enum mbox_event counted(struct mbox *m, struct slice *text)
{
    size_t n = m->left < m->at.n ? (size_t)m->left : m->at.n;

    *text = slice_sub(m->at, 0, n);
    if (is_quoted(*text) && !m->middle)
        *text = slice_from(*text, 1);
    m->left -= n;
    m->middle = n && m->at.p[n - 1] != '\n';
    m->at = slice_from(m->at, n);
    m->has_line = m->at.n > 0;
    if (m->left == 0)
        m->blank = true; /* a From line may follow at once */
    return MBOX_TEXT;
}

/* What the line at hand means; MBOX_NEED: nothing to tell, go on with the next. */
static enum mbox_event step(struct mbox *m, struct slice *text)
{
    struct slice line = m->at;
    bool start = !m->middle, ends = line.n && line.p[line.n - 1] == '\n';
    int64_t received;

    *text = SLICE("");
    if (m->left)
        return counted(m, text);
    if (start && m->blank && mbox_from_line(line, &received)) {
        if (m->in_message) {
            m->in_message = m->held = false;
            return MBOX_END;
        }
        begin(m, received);
        m->has_line = false;
        m->skip = !ends; /* the rest of an endless From line is no text */
        m->middle = !ends;
        return MBOX_BEGIN;
    }
    if (m->held && m->in_message) {
        m->held = false;
        *text = slice_str(m->held_end);
        return MBOX_TEXT;
    }
    m->has_line = false;
    m->middle = !ends;
    if (!m->in_message) {
        m->junk |= !is_blank(line);
        return MBOX_NEED;
    }
    *text = line;
    if (m->in_header) {
        if (!start)
            return m->skip ? MBOX_NEED : MBOX_TEXT;
        if (!is_blank(line))
            return header_line(m, line, text) ? MBOX_TEXT : MBOX_NEED;
        m->in_header = false;
        m->blank = true;
        m->over = true; /* MBOX_BODY comes next */
        return MBOX_TEXT;
    }
    m->blank = start && is_blank(line);
    if (m->blank) {
        m->held = true; /* it may be the one in front of a From line */
        m->held_end = line.n == 1 ? "\n" : "\r\n";
        return MBOX_NEED;
    }
    if (start && is_quoted(line))
        *text = slice_from(line, 1);
    return MBOX_TEXT;
}

enum mbox_event mbox_next(struct mbox *m, struct slice *chunk, bool eof, struct slice *text)
{
    enum mbox_event event;

    *text = SLICE("");
    if (m->over) {
        m->over = false;
        return MBOX_BODY;
    }
    for (;;) {
        if (!m->has_line) {
            if (!take_line(m, chunk, eof))
                break;
            m->has_line = true;
        }
        event = step(m, text);
        if (event != MBOX_NEED)
            return event;
    }
    if (!eof)
        return MBOX_NEED;
    if (m->in_message) {
        m->in_message = m->held = false;
        return MBOX_END;
    }
    return MBOX_EOF;
}

void mbox_use_length(struct mbox *m)
{
    m->left = m->length;
    m->blank = m->left == 0;
}

/* --- writing --- */

void mbox_write_begin(struct mbox_writer *w, struct buf *out, struct slice sender, int64_t received,
    unsigned flags, struct slice words)
{
    time_t t = (time_t)received;
    struct tm tm = {0};
    char date[64];

    *w = (struct mbox_writer){.in_header = true, .flags = flags, .keywords = words};
    buf_add(out, SLICE("From "));
    for (size_t i = 0; i < sender.n; i++)
        buf_add_char(out, sender.p[i] > ' ' && sender.p[i] < 0x7f ? sender.p[i] : '_');
    if (sender.n == 0)
        buf_add(out, SLICE("MAILER-DAEMON"));
    gmtime_r(&t, &tm);
    asctime_r(&tm, date);
    buf_add_char(out, ' ');
    buf_add_str(out, date); /* ends with LF */
}

static void write_status(struct mbox_writer *w, struct buf *out)
{
    struct slice word;
    const char *blank = "X-Keywords: ";

    w->in_header = false;
    buf_printf(out, "Status: %sO\n", w->flags & MBOX_SEEN ? "R" : "");
    if (w->flags & (MBOX_ANSWERED | MBOX_FLAGGED | MBOX_DRAFT | MBOX_DELETED))
        buf_printf(out, "X-Status: %s%s%s%s\n", w->flags & MBOX_ANSWERED ? "A" : "",
            w->flags & MBOX_FLAGGED ? "F" : "", w->flags & MBOX_DRAFT ? "T" : "",
            w->flags & MBOX_DELETED ? "D" : "");
    while (slice_cut(&w->keywords, '\n', &word)) {
        buf_add_str(out, blank);
        buf_add(out, word);
        blank = " ";
    }
    if (*blank == ' ')
        buf_add_char(out, '\n');
}

bool mbox_write_some(struct mbox_writer *w, struct slice *text, struct buf *out, size_t most)
{
    struct slice line;

    while (out->n < most && slice_cut(text, '\n', &line)) {
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (w->in_header && line.n == 0) {
            write_status(w, out);
        } else if (w->in_header) {
            /* what the file says of a message is ours to say */
            bool folded = line.p[0] == ' ' || line.p[0] == '\t';

            w->skip = folded ? w->skip : is_own_field(NULL, line);
            if (w->skip)
                continue;
        }
        if (is_quoted(line) || slice_starts(line, SLICE("From ")))
            buf_add_char(out, '>');
        buf_add(out, line);
        buf_add_char(out, '\n');
    }
    return text->n > 0;
}

void mbox_write_end(struct mbox_writer *w, struct buf *out)
{
    if (w->in_header) {
        write_status(w, out);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
}
