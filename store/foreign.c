#include "store/foreign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/ascii.h"
#include "common/fs.h"
#include "common/mem.h"
#include "store/name.h"

#define LIST_MAX ((size_t)512 << 20)
#define UID_LIMIT ((uint64_t)UINT32_MAX + 1)
#define APPENDED_MAX ((uint64_t)1 << 20) /* a UID further above the others is a damaged line */

/* --- entries --- */

static void add(struct foreign *f, struct foreign_entry entry)
{
    if (f->n == f->size) {
        f->size = f->size ? f->size * 2 : 256;
        f->entries = mem_realloc(f->entries, f->size, sizeof *f->entries);
    }
    entry.line = (uint32_t)f->n;
    f->entries[f->n++] = entry;
}

static int compare_uid(const void *pa, const void *pb)
{
    const struct foreign_entry *a = pa, *b = pb;

    if (a->uid != b->uid)
        return a->uid < b->uid ? -1 : 1;
    return a->line < b->line ? -1 : a->line > b->line;
}

static int compare_unique(const void *pa, const void *pb)
{
    const struct foreign_entry *a = pa, *b = pb;
    int order = slice_cmp(a->unique, b->unique);

    /* a file that went and came back stands in the list twice: its last UID counts */
    if (order == 0)
        order = a->uid > b->uid ? -1 : a->uid < b->uid;
    return order;
}

/* A UID twice is nobody's but the first one's. */
static void drop_double_uids(struct foreign *f)
{
    size_t kept = 0;

    qsort(f->entries, f->n, sizeof *f->entries, compare_uid);
    for (size_t i = 0; i < f->n; i++)
        if (kept == 0 || f->entries[kept - 1].uid != f->entries[i].uid)
            f->entries[kept++] = f->entries[i];
    f->n = kept;
}

/* What appended lines add to the header's next UID; one far above the others is not believed. */
static void raise_uidnext(struct foreign *f)
{
    for (size_t i = 0; i < f->n; i++) {
        uint32_t uid = f->entries[i].uid;

        if (uid < f->uidnext)
            continue;
        if (uid - f->uidnext > APPENDED_MAX) {
            f->n = i;
            return;
        }
        f->uidnext = (uint64_t)uid + 1;
    }
}

static void drop_double_names(struct foreign *f)
{
    size_t kept = 0;

    qsort(f->entries, f->n, sizeof *f->entries, compare_unique);
    for (size_t i = 0; i < f->n; i++)
        if (kept == 0 || !slice_eq(f->entries[kept - 1].unique, f->entries[i].unique))
            f->entries[kept++] = f->entries[i];
    f->n = kept;
}

const struct foreign_entry *foreign_find(const struct foreign *f, struct slice unique)
{
    size_t low = 0, high = f->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = slice_cmp(f->entries[mid].unique, unique);

        if (order == 0)
            return &f->entries[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* --- lists of UIDs --- */

static bool unique_of(struct slice file, struct slice *unique)
{
    struct name name;

    if (!name_parse(file, 0, &name))
        return false;
    *unique = name.unique;
    return true;
}

/* RFC 1939 7: 1 to 70 characters of 0x21 to 0x7e */
static bool is_uidl(struct slice s)
{
    if (s.n == 0 || s.n > FOREIGN_UIDL_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return false;
    return true;
}

static bool parse_header(struct slice line, unsigned *version, struct foreign *out)
{
    struct slice word;
    uint64_t v, uidvalidity = 0, uidnext = 0;

    if (!slice_cut(&line, ' ', &word) || !slice_u64(word, 3, &v) || v == 2 || v == 0)
        return false;
    *version = (unsigned)v;
    if (v == 1) {
        slice_cut(&line, ' ', &word);
        if (!slice_u64(word, UINT32_MAX, &uidvalidity) || !slice_u64(line, UID_LIMIT, &uidnext))
            return false;
    }
    while (*version == 3 && slice_cut(&line, ' ', &word)) {
        if (word.n && word.p[0] == 'V' && !slice_u64(slice_from(word, 1), UINT32_MAX, &uidvalidity))
            return false;
        if (word.n && word.p[0] == 'N' && !slice_u64(slice_from(word, 1), UID_LIMIT, &uidnext))
            return false;
    }
    out->uidvalidity = (uint32_t)uidvalidity;
    out->uidnext = uidnext ? uidnext : 1;
    return uidvalidity != 0;
}

static void parse_line(struct slice line, unsigned version, struct foreign *out)
{
    struct foreign_entry entry = {0};
    struct slice word;
    uint64_t uid;

    slice_cut(&line, ' ', &word);
    if (!slice_u64(word, UINT32_MAX, &uid) || uid == 0)
        return;
    entry.uid = (uint32_t)uid;
    while (version == 3 && line.n && line.p[0] != ':') {
        slice_cut(&line, ' ', &word);
        if (word.n && word.p[0] == 'P' && is_uidl(slice_from(word, 1)))
            entry.uidl = slice_from(word, 1);
    }
    if (version == 3)
        line = line.n ? slice_from(line, 1) : line;
    else if (uid >= out->uidnext)
        return; /* version 1 is always written as a whole: its header is never behind */
    if (unique_of(line, &entry.unique))
        add(out, entry);
}

bool foreign_parse(struct slice text, struct foreign *out)
{
    struct slice line;
    unsigned version;

    out->uidvalidity = 0;
    out->uidnext = 0;
    out->n = 0;
    if (!slice_cut(&text, '\n', &line) || !parse_header(line, &version, out)) {
        out->uidvalidity = 0;
        return false;
    }
    while (slice_cut(&text, '\n', &line))
        parse_line(line, version, out);
    if (out->n == 0)
        return true;
    drop_double_uids(out);
    raise_uidnext(out);
    drop_double_names(out);
    return true;
}

/* --- Courier's POP3 ids: "UID<uid>-<uidvalidity>", or the file name of a message older than that --- */

static void write_courier_name(struct slice file, struct buf *out)
{
    struct slice base;

    slice_cut(&file, ':', &base);
    for (size_t i = 0; i < base.n; i++) {
        char c = base.p[i];

        if (c < 0x21 || c > 0x7e || c == '\'' || c == '"' || c == '+')
            buf_printf(out, "+%02X", (unsigned char)c);
        else
            buf_add_char(out, c);
    }
}

/* "<file name> <octets> <uid>:<uidvalidity>"; a file name may have blanks in it. */
static bool parse_pop3_line(struct slice line, struct buf *out, struct foreign_entry *entry)
{
    ssize_t last = slice_rchr(line, ' ');
    struct slice file = slice_sub(line, 0, last < 0 ? 0 : (size_t)last);
    struct slice numbers = slice_from(line, last < 0 ? line.n : (size_t)last + 1), word;
    uint64_t uid, uidvalidity;
    size_t start = out->n;

    last = slice_rchr(file, ' ');
    file = slice_sub(file, 0, last < 0 ? 0 : (size_t)last);
    slice_cut(&numbers, ':', &word);
    if (!slice_u64(word, UINT32_MAX, &uid) || !slice_u64(numbers, UINT32_MAX, &uidvalidity) ||
        !unique_of(file, &entry->unique))
        return false;
    if (uid == 0)
        write_courier_name(file, out);
    else if (uidvalidity)
        buf_printf(out, "UID%lu-%lu", (unsigned long)uid, (unsigned long)uidvalidity);
    else
        buf_printf(out, "UID%lu", (unsigned long)uid);
    entry->uidl = slice_from(buf_slice(out), start);
    if (!out->full && is_uidl(entry->uidl))
        return true;
    buf_cut(out, start);
    return false;
}

bool foreign_parse_pop3(struct slice text, struct foreign *out)
{
    struct slice line;
    size_t known = out->n, room;

    if (!slice_cut(&text, '\n', &line) || line.n < 2 || line.p[0] != '/' || line.p[1] < '2' ||
        line.p[1] > '9')
        return false;
    buf_clear(&out->ids);
    /* no id is longer than three times its line and the letters in it: the ids never move */
    if (__builtin_mul_overflow(text.n, 5, &room) || !buf_room(&out->ids, room + 64))
        return false;
    while (slice_cut(&text, '\n', &line)) {
        struct foreign list = {.entries = out->entries, .n = known};
        struct foreign_entry entry = {0};
        const struct foreign_entry *found;

        if (!parse_pop3_line(line, &out->ids, &entry))
            continue;
        found = foreign_find(&list, entry.unique);
        if (found)
            out->entries[found - out->entries].uidl = entry.uidl;
        else
            add(out, entry);
    }
    if (out->n)
        drop_double_names(out);
    return true;
}

/* --- files --- */

/* 1, 0: there is none that can be read (a folder or a link in its place is no list); -1. */
static int load(int dir, const char *file, struct buf *text, struct err *e)
{
    buf_clear(text);
    if (fs_load(dir, file, text, LIST_MAX) == 0)
        return 1;
    buf_clear(text);
    return errno == EIO || errno == EACCES ? err_errno(e, file) : 0;
}

int foreign_load(int dir, struct foreign *out, struct err *e)
{
    int rc = load(dir, FOREIGN_UIDLIST, &out->text, e);

    if (rc < 0 || (rc > 0 && foreign_parse(buf_slice(&out->text), out)))
        return rc < 0 ? -1 : 0;
    rc = load(dir, FOREIGN_COURIER_UIDLIST, &out->text, e);
    if (rc < 0)
        return -1;
    out->courier = rc > 0 && foreign_parse(buf_slice(&out->text), out);
    rc = load(dir, FOREIGN_COURIER_POP3, &out->pop3, e);
    if (rc > 0 && foreign_parse_pop3(buf_slice(&out->pop3), out))
        out->courier = true;
    return rc < 0 ? -1 : 0;
}

void foreign_free(struct foreign *f)
{
    buf_free(&f->text);
    buf_free(&f->pop3);
    buf_free(&f->ids);
    free(f->entries);
    *f = FOREIGN_INIT;
}

uint64_t foreign_stamp(int dir)
{
    static const char *const files[] = {
        FOREIGN_UIDLIST, FOREIGN_COURIER_UIDLIST, FOREIGN_COURIER_POP3, FOREIGN_COURIER_KEYWORDS};
    uint64_t stamp = 0;
    struct stat st;

    /* FNV-1a over inode, size and mtime of each: a list is replaced or appended to, and either shows */
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        uint64_t parts[4];

        if (fs_stat(dir, files[i], &st) < 0 || !S_ISREG(st.st_mode))
            continue;
        parts[0] = (uint64_t)st.st_ino;
        parts[1] = (uint64_t)st.st_size;
        parts[2] = (uint64_t)st.st_mtim.tv_sec;
        parts[3] = (uint64_t)st.st_mtim.tv_nsec;
        if (stamp == 0)
            stamp = 0xcbf29ce484222325;
        for (size_t j = 0; j < sizeof parts; j++)
            stamp = (stamp ^ ((const unsigned char *)parts)[j]) * 0x100000001b3;
    }
    return stamp;
}

bool foreign_parse_uidvalidity(struct slice text, uint32_t *out)
{
    struct slice s = slice_trim(text);
    uint32_t v = 0;

    if (s.n == 0 || s.n > 8)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int digit = ascii_hex(s.p[i]);

        if (digit < 0)
            return false;
        v = v << 4 | (uint32_t)digit;
    }
    *out = v;
    return v != 0;
}

/* --- Courier's keywords --- */

void foreign_keywords_begin(struct foreign_keywords *k, struct slice text)
{
    struct slice line, rest = text;

    *k = (struct foreign_keywords){.names = SLICE(""), .rest = SLICE("")};
    while (slice_cut(&rest, '\n', &line))
        if (line.n == 0) {
            k->names = slice_sub(text, 0, (size_t)(line.p - text.p));
            k->rest = rest;
            return;
        }
}

bool foreign_keywords_next(struct foreign_keywords *k)
{
    struct slice line;

    while (slice_cut(&k->rest, '\n', &line)) {
        ssize_t colon = slice_rchr(line, ':');

        if (colon <= 0 || !unique_of(slice_sub(line, 0, (size_t)colon), &k->unique))
            continue;
        k->numbers = slice_from(line, (size_t)colon + 1);
        return true;
    }
    return false;
}

bool foreign_keyword(struct foreign_keywords *k, struct slice *name)
{
    struct slice word, names;
    uint64_t number;

    while (slice_cut(&k->numbers, ' ', &word)) {
        if (!slice_u64(word, 1000, &number))
            continue;
        names = k->names;
        for (uint64_t i = 0; slice_cut(&names, '\n', name); i++)
            if (i == number)
                return true;
    }
    return false;
}

/* --- subscriptions --- */

bool foreign_subscription(struct slice line, bool courier, struct buf *out)
{
    buf_clear(out);
    if (slice_eq_nocase(line, SLICE("INBOX"))) {
        buf_add(out, SLICE("INBOX"));
        return true;
    }
    if (courier) {
        if (!slice_starts_nocase(line, SLICE("INBOX.")))
            return false;
        line = slice_from(line, 6);
    }
    for (size_t i = 0; i < line.n; i++) {
        char c = line.p[i];

        /* an octet of \001 quotes what cannot stand in a mailbox name anyway */
        if (c == '\1' || c == '\0')
            return false;
        buf_add_char(out, c == '\t' ? '.' : c);
    }
    return out->n > 0 && !out->full;
}
