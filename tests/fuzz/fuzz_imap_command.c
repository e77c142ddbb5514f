/*
 * IMAP commands: the reader, the head of a command and every row's check(). The first octet says in what
 * pieces the rest comes; whatever the pieces, the same commands must be read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "imapd/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A view of 10 messages with UIDs 10, 20 .. 100 in place of the store's: check() may look at it, nothing
 * more. */
#define COUNT 10

uint32_t view_count(const struct view *v)
{
    (void)v;
    return COUNT;
}

uint32_t view_uid(const struct view *v, uint32_t seq)
{
    (void)v;
    return seq >= 1 && seq <= COUNT ? seq * 10 : 0;
}

uint32_t view_seq(const struct view *v, uint32_t uid)
{
    (void)v;
    return uid % 10 == 0 && uid / 10 <= COUNT ? uid / 10 : 0;
}

uint32_t view_lower_bound(const struct view *v, uint32_t uid)
{
    (void)v;
    return uid > COUNT * 10 ? COUNT + 1 : uid == 0 ? 1 : (uid + 9) / 10;
}

uint32_t view_recent(const struct view *v)
{
    (void)v;
    return 0;
}

bool view_is_recent(const struct view *v, uint32_t uid)
{
    (void)v, (void)uid;
    return false;
}

bool view_has_news(const struct view *v)
{
    (void)v;
    return false;
}

void view_seen_change(struct view *v, uint32_t uid, uint64_t modseq)
{
    (void)v, (void)uid, (void)modseq;
}

void view_sync(struct view *v, bool with_expunges, const struct view_events *events, void *ctx)
{
    (void)v, (void)with_expunges, (void)events, (void)ctx;
}

struct view *view_new(struct mailbox *m, bool read_only)
{
    (void)m, (void)read_only;
    return NULL;
}

void view_free(struct view *v)
{
    (void)v;
}

struct mailbox *view_mailbox(struct view *v)
{
    (void)v;
    return NULL;
}

static void check(struct slice text, bool utf8)
{
    struct imap_private private = {0};
    struct imap_session s = {.private = &private, .utf8 = utf8};
    struct imap_cmd c = {.s = &s, .arena = &private.arena};

    arena_init(&private.arena, IMAP_ARENA_MAX);
    if (!imap_read_head(&c, text)) {
        bool ok = c.row->check(&c);

        INVARIANT(ok || c.error || c.args.error || c.args.rest.n <= text.n);
        if (c.row->end)
            c.row->end(&c);
    }
    buf_free(&c.code);
    buf_free(&c.text);
    arena_free(&private.arena);
}

/* Everything that was read, one after the other, as one text. */
static void play(const uint8_t *data, size_t size, size_t cut, bool run, struct buf *all)
{
    struct slice input = slice_of(data, size);
    struct imap_reader r;

    imap_reader_init(&r, &imap_limits_worker);
    while (input.n) {
        struct slice in = slice_sub(input, 0, cut), piece;
        enum imap_read what;

        input = slice_from(input, in.n);
        while ((what = imap_reader_feed(&r, &in, &piece)) != IMAP_READ_MORE) {
            struct buf text;

            if (what == IMAP_READ_BYE) {
                imap_reader_fini(&r);
                return;
            }
            if (what == IMAP_READ_LITERAL && r.literal > 4096 && r.literal < 100000)
                imap_reader_sink(&r);
            else if (what == IMAP_READ_LITERAL)
                imap_reader_take(&r);
            if (what != IMAP_READ_COMMAND && what != IMAP_READ_REFUSED)
                continue;
            imap_reader_text(&r, &text);
            if (what == IMAP_READ_COMMAND) {
                buf_add(all, buf_slice(&text));
                buf_add_char(all, '\n');
                if (run) {
                    check(buf_slice(&text), false);
                    check(buf_slice(&text), true);
                }
            }
            buf_free(&text);
        }
    }
    imap_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = BUF_INIT(1 << 20), pieces = BUF_INIT(1 << 20);

    if (size < 2 || size > 1 << 17)
        return 0;
    play(data + 1, size - 1, size, true, &whole);
    play(data + 1, size - 1, data[0] % 7 + 1u, false, &pieces);
    INVARIANT(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
