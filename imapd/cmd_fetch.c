/* FETCH and UID FETCH (RFC 3501 6.4.5, 6.4.8). */
#include "imapd/commands.h"

#include <string.h>

#include "imapd/fetch.h"
#include "imapd/fetch_tree.h"
#include "imapd/known.h"
#include "imapd/set_walk.h"

#define DIRECT_MIN ((size_t)16 << 10) /* from here on octets go to the socket without a copy */
#define PIECE ((size_t)256 << 10)     /* of a large literal; between two the output may be backed up */
#define CHEAP_STRIDE 16 /* messages between two looks at the clock while only the index is read */

struct fetch {
    struct fetch_items items;
    struct set_walk walk;
    struct known known;
    struct buf built; /* HEADER.FIELDS of one section */
    /* the message being written */
    uint32_t seq, uid;
    size_t hint; /* index in the mailbox of the next message, most likely */
    bool in_message;
    bool was_looked_at;                  /* its size or date was read from the file, not known */
    bool has_item;                       /* something stands before the next item: a blank is due */
    struct cache_record record;          /* p == NULL in what was not asked for */
    struct slice text;                   /* all of it, the start of it, or nothing: what was needed */
    bool by_range;                       /* sections are read from the file, each for itself */
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
    known_init(&f->known);
    buf_init(&f->built, BUF_OWN);
    c->data = f;
    return true;
}

static void end(struct imap_cmd *c)
{
    struct fetch *f = c->data;

    if (!f)
        return;
    known_free(&f->known);
    buf_free(&f->built);
    if (c->s->mailbox)
        mailbox_cache_done(c->s->mailbox);
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

/* The start of the message, or all of it if its header is not whole then. */
static int read_head(struct mailbox *m, struct fetch *f, struct err *e)
{
    const struct message *msg;

    if (mailbox_text_head(m, f->uid, HEADER_LOOK_MAX, &f->text, e) < 0)
        return -1;
    msg = mailbox_by_uid(m, f->uid);
    return !msg || head_is_whole(f->text, msg) ? 0 : mailbox_text(m, f->uid, &f->text, e);
}

/*
 * Where parts or the header are asked for, and the cache knows where they lie: these octets alone are read.
 * The file has to be as the client sees it, with CRLF. It is opened here, so that it cannot get lost later.
 */
static bool can_range(struct mailbox *m, struct fetch *f, struct err *e)
{
    struct slice none;

    f->by_range = f->record.slots[CACHE_PARTS].p && f->record.size_crlf &&
                  f->record.size_crlf == f->record.size && mailbox_text_range(m, f->uid, 0, 0, &none, e) == 0;
    return f->by_range;
}

/* What sections need beyond the cache. */
static int read_for_sections(struct mailbox *m, struct fetch *f, struct err *e)
{
    const struct fetch_items *items = &f->items;
    bool keys_fail = (items->slots & CACHE_BIT(CACHE_KEYS)) && !f->record.slots[CACHE_KEYS].p;

    if (f->known.has_text)
        return mailbox_text(m, f->uid, &f->text, e);
    if (!items->needs_parts && !items->needs_head && !keys_fail)
        return 0;
    if (can_range(m, f, e))
        return 0;
    if (e->code != ERR_OK)
        return -1;
    return items->needs_parts ? mailbox_text(m, f->uid, &f->text, e) : read_head(m, f, e);
}

/* Asks the cache, and reads of the message as much as the items need beyond that. */
static int read_message(struct imap_cmd *c, struct fetch *f)
{
    const struct fetch_items *items = &f->items;
    struct mailbox *m = c->s->mailbox;
    struct err e = {0};
    int rc = 0;

    f->text = SLICE("");
    f->record = (struct cache_record){0};
    f->by_range = false;
    if (items->needs_text)
        rc = mailbox_text(m, f->uid, &f->text, &e);
    if (rc == 0 && items->slots)
        rc = known_get(&f->known, m, f->uid, items->slots, &f->record, &e);
    else if (rc == 0 && items->needs_head && !items->needs_text)
        mailbox_cache_get(m, f->uid, &f->record);
    if (rc == 0 && items->sections && !items->needs_text)
        rc = read_for_sections(m, f, &e);
    if (rc < 0)
        skip_message(f, &e);
    return rc;
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
static void write_simple(struct imap_cmd *c, struct fetch *f, const struct message *msg, uint64_t size,
    int64_t received, bool seen_changed)
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
        imap_write_date_time(out, received);
    }
}

static const struct mime_tree *tree_of(struct imap_cmd *c, const struct fetch *f)
{
    struct mailbox *m = c->s->mailbox;

    return fetch_tree(mailbox_id(m), mailbox_uidvalidity(m), f->uid,
        f->by_range ? f->record.size_crlf : f->text.n, f->by_range ? f->record.slots[CACHE_PARTS] : SLICE(""),
        f->text);
}

static void write_known(struct imap_cmd *c, struct fetch *f)
{
    static const struct {
        enum fetch_item item;
        enum cache_slot slot;
        struct slice name;
    } rows[] = {
        {FETCH_ENVELOPE, CACHE_ENVELOPE, {"ENVELOPE ", 9}},
        {FETCH_BODY, CACHE_BODY, {"BODY ", 5}},
        {FETCH_BODYSTRUCTURE, CACHE_BODYSTRUCTURE, {"BODYSTRUCTURE ", 14}},
    };
    struct buf *out = imap_out(c->s);

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!(f->items.simple & rows[i].item) || !f->record.slots[rows[i].slot].p)
            continue;
        item(f, out, rows[i].name);
        buf_add(out, f->record.slots[rows[i].slot]);
    }
}

/* Of the message at hand: the set and the mailbox are walked side by side; where they differ it is looked
 * for. */
static const struct message *message_of(struct fetch *f, const struct mailbox *m)
{
    const struct message *msg = f->hint < mailbox_count(m) ? mailbox_at(m, f->hint) : NULL;

    if (!msg || msg->uid != f->uid) {
        f->hint = mailbox_lower_bound(m, f->uid);
        msg = f->hint < mailbox_count(m) ? mailbox_at(m, f->hint) : NULL;
    }
    if (!msg || msg->uid != f->uid)
        return NULL;
    f->hint++;
    return msg;
}

/* Everything of the message but its sections. False: it is skipped. */
static bool begin_message(struct imap_cmd *c, struct fetch *f)
{
    struct mailbox *m = c->s->mailbox;
    const struct message *msg = message_of(f, m);
    uint64_t size = msg ? msg->size_crlf : 0;
    int64_t received = msg ? msg->received : 0;
    struct err e = {.code = ERR_EXPUNGED};
    bool seen_changed = false;
    bool want_size = msg && (f->items.simple & FETCH_SIZE) && size == 0;
    bool want_date = msg && (f->items.simple & FETCH_INTERNALDATE) && received == 0;

    f->was_looked_at = want_size || want_date;
    if (!msg || (want_size && mailbox_size(m, f->uid, &size, &e) < 0) ||
        (want_date && mailbox_received(m, f->uid, &received, &e) < 0)) {
        skip_message(f, &e);
        return false;
    }
    if (f->was_looked_at && !(msg = mailbox_by_uid(m, f->uid))) {
        f->some_gone = true;
        return false;
    }
    if (f->items.sections || f->items.slots) {
        if (read_message(c, f) < 0)
            return false;
        seen_changed = set_seen(c, f);
        msg = mailbox_by_uid(m, f->uid);
        if (!msg) {
            f->some_gone = true;
            return false;
        }
    }
    write_simple(c, f, msg, size, received, seen_changed);
    write_known(c, f);
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

/* The section's octets out of the file. False: it cannot be read any more; *exists: there is such a part. */
static bool read_section(struct imap_cmd *c, struct fetch *f, struct slice *octets, bool *exists)
{
    const struct fetch_section *s = f->section;
    const struct mime_tree *t = tree_of(c, f);
    bool is_subset = s->what == FETCH_FIELDS || s->what == FETCH_FIELDS_NOT;
    uint64_t from, n;

    *exists = t && fetch_section_range(s, t, &from, &n);
    if (!*exists)
        return true;
    if (s->is_partial && !is_subset) {
        uint64_t skip = s->from < n ? s->from : n;

        from += skip;
        n = s->len < n - skip ? s->len : n - skip;
    }
    if (mailbox_text_range(c->s->mailbox, f->uid, from, n, octets, NULL) < 0)
        return false;
    if (is_subset) {
        fetch_section_subset(s, *octets, &f->built);
        *octets = buf_slice(&f->built);
        if (s->is_partial)
            *octets = slice_sub(*octets, s->from, s->len);
    }
    return true;
}

static bool find_section(struct imap_cmd *c, struct fetch *f, struct slice *octets, bool *exists)
{
    struct slice keys = f->record.slots[CACHE_KEYS];

    if (f->section->is_keys && keys.p)
        *exists = fetch_section_resolve(f->section, NULL, keys, &f->built, octets);
    else if (f->by_range)
        return read_section(c, f, octets, exists);
    else
        *exists = fetch_section_resolve(
            f->section, f->section->npath ? tree_of(c, f) : NULL, f->text, &f->built, octets);
    return true;
}

static enum progress write_section(struct imap_cmd *c, struct fetch *f)
{
    struct buf *out = imap_out(c->s);
    struct slice octets;
    bool exists;

    if (!find_section(c, f, &octets, &exists))
        return LOST;
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
    if (f->messages > 1 || f->by_range)
        mailbox_text_drop(c->s->mailbox);
    if (f->error.code != ERR_OK)
        return imap_reply_err(c, &f->error);
    if (!f->some_gone)
        return IMAP_DONE;
    /* RFC 2180 4.1.2; a UID that is not there is no error (RFC 3501 6.4.8) */
    return imap_reply(c, c->uid ? IMAP_OK : IMAP_NO, "EXPUNGEISSUED",
        "some of the messages were deleted by another program; the others were sent");
}

/* The clock costs as much as a line of flags: it is asked for each message only while files are read. */
static bool is_turn_over(struct imap_cmd *c, struct fetch *f)
{
    bool cheap = !f->items.sections && !f->items.slots && !f->was_looked_at;

    return (!cheap || f->messages % CHEAP_STRIDE == 0) && imap_yield(c);
}

static enum imap_step fetch_step(struct imap_cmd *c, struct fetch *f)
{
    if (f->in_message) {
        /* behind a pause the text may have been dropped, or be another message's */
        if (read_message(c, f) < 0)
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
        if (progress == BACKED_UP || is_turn_over(c, f))
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
