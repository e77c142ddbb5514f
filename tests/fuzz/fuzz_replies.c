/* Replies of servers and texts of messages: explained and told in a notification that stays a message. */
#include <stdlib.h>
#include <string.h>

#include "mail/dsn.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\0' || (text.p[i] == '\n' && (i == 0 || text.p[i - 1] != '\r')) ||
            (text.p[i] == '\r' && (i + 1 == text.n || text.p[i + 1] != '\n')))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t cut = size ? data[0] * 4u : 0;
    struct slice all = slice_of((const char *)data, size), reply, original;
    struct reply_meaning m;
    struct dsn_recipient r = {.address = SLICE("bob@example.com"), .host = SLICE("mx.google.com")};
    struct dsn d = {
        .id = SLICE("0abcdefghjkmn"),
        .host = SLICE("mx.example.org"),
        .to = SLICE("anna@example.org"),
        .original_id = SLICE("0abcdefghjkmp"),
        .is_whole = true,
        .recipients = &r,
        .nrecipients = 1,
    };
    struct buf out = BUF_INIT(DSN_MAX);
    struct dsn_needs needs;

    if (size < 2 || size > 20000)
        return 0;
    all = slice_from(all, 2);
    reply = slice_sub(all, 0, cut);
    original = slice_from(all, cut);
    m = replies_explain(original, reply);
    if (!m.cause[0] || !m.fix[0] || !*m.cause[1] || !*m.fix[1])
        abort();
    r.reply = r.orcpt = d.envid = reply;
    d.original = original;
    d.ret_full = data[1] & 1;
    d.smtputf8 = data[1] & 2;
    d.language = (enum reply_language)(data[1] >> 2 & 1);
    d.kind = (enum dsn_kind)((data[1] >> 3) % DSN_KINDS);
    if (dsn_compose(&d, &out, &needs) == DSN_OK)
        check(buf_slice(&out));
    buf_clear(&out);
    r.address = reply; /* as no parser lets it in */
    d.to = original;
    if (dsn_compose(&d, &out, &needs) == DSN_OK)
        check(buf_slice(&out));
    buf_free(&out);
    return 0;
}
