/* FETCH and UID FETCH (RFC 3501 6.4.5, 6.4.8). */
#include "imapd/commands.h"

#include <string.h>

#include "imapd/fetch.h"
#include "imapd/fetch_tree.h"
#include "imapd/set_walk.h"

#define SCRATCH_QUOTA ((size_t)8 << 20) /* one message's header fields, opened and unfolded */
#define DIRECT_MIN ((size_t)16 << 10)   /* from here on octets go to the socket without a copy */
#define PIECE ((size_t)256 << 10)       /* of a large literal; between two the output may be backed up */

struct fetch {
    struct fetch_items items;
    struct set_walk walk;
    struct arena scratch; /* for one message */
    struct buf built;     /* HEADER.FIELDS of one section */
    /* the message being written */
    uint32_t seq, uid;
    bool in_message;
    bool has_item; /* something stands before the next item: a blank is due */
    struct slice text;
    const struct fetch_section *section; /* whose turn it is */
    uint64_t literal;                    /* octets of the literal that is being written */
    uint64_t written;                    /* octets of it that are out */
    bool in_literal;
    /* of the whole command */
    size_t messages;
    bool some_gone, some_changed;
    struct err error; /* the first that is not "gone" */
};

static bool check(struct imap_cmd *c)
{
    struct imap_parse *p = &c->args;
    struct fetch *f = arena_zalloc(c->arena, 1, sizeof *f);
    struct imap_set set;

    if (!f || !imap_parse_set(p, &set) || !imap_parse_space(p) || !fetch_items_parse(p, &f->items) ||
        !imap_parse_end(p)) {
        c->error = p->error ? p->error : "the command needs more memory than one command may have";
        return false;
    }
    if (set.is_saved) {
        c->error = "$ names the result of a saved search, and none was saved";
        return false;
    }
    if (!set_walk_init(&f->walk, c->s->view, &set, c->uid)) {
        c->error = "a sequence number is above the number of messages in the mailbox";
        return false;
    }
    if (c->uid)
        f->items.simple |= FETCH_UID; /* RFC 3501 6.4.8 */
    arena_init(&f->scratch, SCRATCH_QUOTA);
    buf_init(&f->built, BUF_OWN);
    c->data = f;
    return true;
}

static void end(struct imap_cmd *c)
{
    struct fetch *f = c->data;

    if (!f)
        return;
    arena_free(&f->scratch);
    buf_free(&f->built);
    c->data = NULL;
}

/* The message cannot be answered: remembers why, for the tagged reply. */
static void skip_message(struct fetch *f, const struct err *e)
{
    if (e->code == ERR_EXPUNGED)
        f->some_gone = true;
    else if (f->error.code == ERR_OK)
        f->error = *e;
}

static bool head_is_whole(struct slice head, const struct message *msg)
{
    size_t n = header_size(head);

    return n < head.n || head.n >= msg->size || slice_ends(head, SLICE("\r\n\r\n"));
}

/* Reads of the message as much as the items need. */
static int read_text(struct imap_cmd *c, struct fetch *f)
{
    struct mailbox *m = c->s->mailbox;
    const struct message *msg;
    struct err e = {0};

    f->text = SLICE("");
    if (!f->items.needs_text && f->items.needs_head) {
        if (mailbox_text_head(m, f->uid, HEADER_LOOK_MAX, &f->text, &e) < 0) {
            skip_message(f, &e);
            return -1;
        }
        msg = mailbox_by_uid(m, f->uid);
        if (!f->items.sections || !msg || head_is_whole(f->text, msg))
            return 0;
    }
    if ((f->items.needs_text || f->items.needs_head) && mailbox_text(m, f->uid, &f->text, &e) < 0) {
        skip_message(f, &e);
        return -1;
    }
    return 0;
}

/* Sets \Seen if the items do and it is not set; true if that changed the message. */
static bool set_seen(struct imap_cmd *c, struct fetch *f)
{
    struct mailbox *m = c->s->mailbox;
    const struct message *msg = mailbox_by_uid(m, f->uid);
    bool changed = false;
    struct err e = {0};

    if (!f->items.sets_seen || c->s->read_only || !msg || (msg->flags & FLAG_SEEN))
        return false;
    if (mailbox_flag(m, f->uid, FLAGS_ADD, FLAG_SEEN, &changed, &e) < 0)
        skip_message(f, &e); /* its text is here all the same */
    msg = mailbox_by_uid(m, f->uid);
    if (changed && msg) {
        view_seen_change(c->s->view, f->uid, msg->modseq);
        f->some_changed = true;
    }
    return changed;
}

static char *put(char *to, struct slice s)
{
    memcpy(to, s.p, s.n);
    return to + s.n;
}

static char *put_u64(char *to, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    return put(to, slice_of(digits + at, sizeof digits - at));
}

static void item(struct fetch *f, struct buf *out, struct slice name)
{
    if (f->has_item)
        buf_add_char(out, ' ');
    f->has_item = true;
    buf_add(out, name);
}

/* "* 12 FETCH (" and the items that are in the index: by hand, as 100,000 of them are asked for at once */
static void write_simple(
    struct imap_cmd *c, struct fetch *f, const struct message *msg, uint64_t size, bool seen_changed)
{
    struct buf *out = imap_out(c->s);
    unsigned simple = f->items.simple;
    char *start = buf_room(out, 128), *to = start;

    if (!start)
        return;
    to = put_u64(put(to, SLICE("* ")), f->seq);
    to = put(to, SLICE(" FETCH ("));
    f->has_item = (simple & (FETCH_UID | FETCH_SIZE)) != 0;
    if (simple & FETCH_UID)
        to = put_u64(put(to, SLICE("UID ")), msg->uid);
    if (simple & FETCH_SIZE) {
        to = put(to, simple & FETCH_UID ? SLICE(" RFC822.SIZE ") : SLICE("RFC822.SIZE "));
        to = put_u64(to, size);
    }
    buf_grew(out, (size_t)(to - start));
    if ((simple & FETCH_FLAGS) || seen_changed) {
        item(f, out, SLICE("FLAGS ("));
        imap_flags_write(out, c->s->mailbox, msg->flags, view_is_recent(c->s->view, msg->uid));
        buf_add_char(out, ')');
    }
    if (simple & FETCH_INTERNALDATE) {
        item(f, out, SLICE("INTERNALDATE "));
        imap_write_date_time(out, msg->received);
    }
}

static const struct mime_tree *tree_of(struct imap_cmd *c, const struct fetch *f)
{
    struct mailbox *m = c->s->mailbox;

    return fetch_tree(mailbox_id(m), mailbox_uidvalidity(m), f->uid, f->text);
}

static void write_structure(struct imap_cmd *c, struct fetch *f)
{
    struct buf *out = imap_out(c->s);
    const struct mime_tree *t;

    if (f->items.simple & FETCH_ENVELOPE) {
        item(f, out, SLICE("ENVELOPE "));
        fetch_envelope_write(out, f->text, &f->scratch);
    }
    for (unsigned bit = FETCH_BODY; bit <= FETCH_BODYSTRUCTURE; bit <<= 1) {
        if (!(f->items.simple & bit))
            continue;
        t = tree_of(c, f);
        if (!t)
            continue;
        item(f, out, bit == FETCH_BODY ? SLICE("BODY ") : SLICE("BODYSTRUCTURE "));
        fetch_bodystructure_write(out, t, f->text, bit == FETCH_BODYSTRUCTURE, &f->scratch);
    }
}

/* Everything of the message but its sections. False: it is skipped. */
static bool begin_message(struct imap_cmd *c, struct fetch *f)
{
    struct mailbox *m = c->s->mailbox;
    const struct message *msg = mailbox_by_uid(m, f->uid);
    uint64_t size = msg ? msg->size_crlf : 0;
    struct err e = {.code = ERR_EXPUNGED};
    bool seen_changed = false;
    int64_t received;

    if (!msg || ((f->items.simple & FETCH_SIZE) && size == 0 && mailbox_size(m, f->uid, &size, &e) < 0)) {
        skip_message(f, &e);
        return false;
    }
    if ((f->items.simple & FETCH_INTERNALDATE) && msg->received == 0 &&
        mailbox_received(m, f->uid, &received, &e) < 0) {
        skip_message(f, &e);
        return false;
    }
    msg = mailbox_by_uid(m, f->uid);
    if (!msg) {
        f->some_gone = true;
        return false;
    }
    if (f->items.needs_head || f->items.needs_text) {
        if (read_text(c, f) < 0)
            return false;
        seen_changed = set_seen(c, f);
        msg = mailbox_by_uid(m, f->uid);
        if (!msg) {
            f->some_gone = true;
            return false;
        }
    }
    write_simple(c, f, msg, size, seen_changed);
    write_structure(c, f);
    arena_reset(&f->scratch);
    f->section = f->items.sections;
    f->in_message = true;
    return true;
}

/* The literal's octets from f->written on; false when the output is backed up. */
static bool write_octets(struct imap_cmd *c, struct fetch *f, struct slice octets)
{
    struct stream *stream = c->s->stream;

    while (f->written < octets.n) {
        struct slice piece = slice_sub(octets, f->written, PIECE);

        if (piece.n >= DIRECT_MIN && !memchr(piece.p, '\0', piece.n))
            stream_write(stream, piece);
        else
            fetch_add_octets(stream_out(stream), piece);
        f->written += piece.n;
        if (f->written < octets.n && stream_is_backed_up(stream))
            return false;
    }
    return true;
}

enum progress { WRITTEN, BACKED_UP, LOST };

static enum progress write_section(struct imap_cmd *c, struct fetch *f)
{
    struct buf *out = imap_out(c->s);
    struct slice octets;
    bool exists;

    exists = fetch_section_resolve(
        f->section, f->items.needs_tree ? tree_of(c, f) : NULL, f->text, &f->built, &octets);
    if (!f->in_literal) {
        item(f, out, f->section->label);
        if (!exists) {
            buf_add(out, SLICE(" NIL"));
            return WRITTEN;
        }
        buf_add(out, SLICE(" {"));
        buf_add_u64(out, octets.n);
        buf_add(out, SLICE("}\r\n"));
        f->in_literal = true;
        f->literal = octets.n;
        f->written = 0;
    } else if (!exists || octets.n != f->literal) {
        return LOST;
    }
    if (!write_octets(c, f, octets))
        return BACKED_UP;
    f->in_literal = false;
    return WRITTEN;
}

/* Sections that are left, and the end of the line. */
static enum progress finish_message(struct imap_cmd *c, struct fetch *f)
{
    while (f->section) {
        enum progress progress = write_section(c, f);

        if (progress != WRITTEN)
            return progress;
        f->section = f->section->next;
    }
    buf_add(imap_out(c->s), SLICE(")\r\n"));
    f->in_message = false;
    return WRITTEN;
}

/*
 * The rest of a literal cannot be read any more: another program deleted the message while it was on its way.
 * What a client got so far can only be taken back by ending the connection.
 */
static enum imap_step cut_off(struct imap_cmd *c)
{
    stream_deadline(c->s->stream, 1);
    return IMAP_WAIT;
}

static enum imap_step finish(struct imap_cmd *c, struct fetch *f)
{
    /* a single message is often asked for again, in its next piece */
    if (f->messages > 1 && f->items.needs_text)
        mailbox_text_drop(c->s->mailbox);
    if (f->error.code != ERR_OK)
        return imap_reply_err(c, &f->error);
    if (!f->some_gone)
        return IMAP_DONE;
    /* RFC 2180 4.1.2; a UID that is not there is no error (RFC 3501 6.4.8) */
    return imap_reply(c, c->uid ? IMAP_OK : IMAP_NO, "EXPUNGEISSUED",
        "some of the messages were deleted by another program; the others were sent");
}

static enum imap_step fetch_step(struct imap_cmd *c, struct fetch *f)
{
    if (f->in_message) {
        /* behind a pause the text may have been dropped, or be another message's */
        if (read_text(c, f) < 0)
            return cut_off(c);
    } else if (!set_walk_next(&f->walk, c->s->view, &f->seq, &f->uid)) {
        return finish(c, f);
    }
    do {
        enum progress progress;

        if (!f->in_message) {
            f->messages++;
            if (!begin_message(c, f))
                continue;
        }
        progress = finish_message(c, f);
        if (progress == LOST)
            return cut_off(c);
        if (progress == BACKED_UP || imap_yield(c))
            return IMAP_MORE;
    } while (set_walk_next(&f->walk, c->s->view, &f->seq, &f->uid));
    return finish(c, f);
}

static enum imap_step run(struct imap_cmd *c)
{
    struct fetch *f = c->data;
    enum imap_step step = fetch_step(c, f);

    if (f->some_changed) {
        imap_announce(c->s, c->s->mailbox);
        f->some_changed = false;
    }
    return step;
}

const struct imap_command imap_cmd_fetch = {
    .name = "FETCH",
    .states = IMAP_IN_SELECTED,
    .flags = IMAP_HAS_UID | IMAP_HOLDS_EXPUNGE,
    .arguments = "sequence-set items",
    .rfc = "RFC 3501 6.4.5",
    .check = check,
    .run = run,
    .end = end,
};
