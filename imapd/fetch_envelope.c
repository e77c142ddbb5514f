/* ENVELOPE (RFC 3501 7.4.2). */
#include "imapd/fetch.h"

enum field { DATE, SUBJECT, FROM, SENDER, REPLY_TO, TO, CC, BCC, IN_REPLY_TO, MESSAGE_ID, FIELDS };

static const struct {
    struct slice name;
    bool is_addresses;
} rows[FIELDS] = {
    [DATE] = {{"Date", 4}, false},
    [SUBJECT] = {{"Subject", 7}, false},
    [FROM] = {{"From", 4}, true},
    [SENDER] = {{"Sender", 6}, true},
    [REPLY_TO] = {{"Reply-To", 8}, true},
    [TO] = {{"To", 2}, true},
    [CC] = {{"Cc", 2}, true},
    [BCC] = {{"Bcc", 3}, true},
    [IN_REPLY_TO] = {{"In-Reply-To", 11}, false},
    [MESSAGE_ID] = {{"Message-ID", 10}, false},
};

struct envelope {
    struct slice values[FIELDS]; /* p == NULL: not there */
    struct header_address *lists[FIELDS], *ends[FIELDS];
    size_t addresses;
};

#define ADDRESSES_MAX 10000 /* of one envelope: fields that are repeated add up */

/* Fields of addresses that are repeated against RFC 5322 3.6 count as one. */
static void add_addresses(struct envelope *e, enum field f, struct slice value, struct arena *scratch)
{
    struct header_address *a = e->addresses < ADDRESSES_MAX ? header_addresses(value, scratch) : NULL;

    if (!a)
        return;
    if (e->ends[f])
        e->ends[f]->next = a;
    else
        e->lists[f] = a;
    for (; a; a = a->next) {
        e->ends[f] = a;
        e->addresses++;
    }
}

static void read_header(struct envelope *e, struct slice header, struct arena *scratch)
{
    struct slice rest = slice_sub(header, 0, HEADER_LOOK_MAX);
    struct header_field field;

    for (size_t n = 0; n < HEADER_FIELDS_MAX && header_next(&rest, &field); n++) {
        for (enum field f = 0; f < FIELDS; f++) {
            if (field.name.n != rows[f].name.n || !slice_eq_nocase(field.name, rows[f].name))
                continue;
            if (rows[f].is_addresses)
                add_addresses(e, f, field.value, scratch);
            else if (!e->values[f].p)
                e->values[f] = header_unfold(field.value, scratch);
        }
    }
}

static void write_addresses(struct buf *out, const struct header_address *a)
{
    if (!a) {
        buf_add(out, SLICE("NIL"));
        return;
    }
    buf_add_char(out, '(');
    for (; a; a = a->next) {
        buf_add_char(out, '(');
        imap_write_nstring(out, a->name, false);
        buf_add_char(out, ' ');
        imap_write_nstring(out, a->route, false);
        buf_add_char(out, ' ');
        imap_write_nstring(out, a->local, false);
        buf_add_char(out, ' ');
        imap_write_nstring(out, a->domain, false);
        buf_add_char(out, ')');
    }
    buf_add_char(out, ')');
}

void fetch_envelope_write(struct buf *out, struct slice header, struct arena *scratch)
{
    struct envelope e = {0};

    read_header(&e, header, scratch);
    /* "the server MUST default the corresponding member of the envelope from the From field" */
    if (!e.lists[SENDER])
        e.lists[SENDER] = e.lists[FROM];
    if (!e.lists[REPLY_TO])
        e.lists[REPLY_TO] = e.lists[FROM];
    for (enum field f = 0; f < FIELDS; f++) {
        buf_add_char(out, f ? ' ' : '(');
        if (rows[f].is_addresses)
            write_addresses(out, e.lists[f]);
        else
            imap_write_nstring(out, e.values[f], false);
    }
    buf_add_char(out, ')');
}
