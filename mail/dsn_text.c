#include "mail/dsn_text.h"

#include "common/ascii.h"
#include "common/utf8.h"
#include "mail/decode.h"
#include "mail/header.h"

#define COLUMNS 72
#define TOLD_MAX 50 /* recipients told about one by one; the machine's part has all */
#define REPLY_SHOWN 900
#define SUBJECT_SHOWN 200

struct words {
    const char *subject[DSN_KINDS];
    const char *one[DSN_KINDS], *many[DSN_KINDS];
    const char *about, *sent, *until, *happened, *said, *own, *fix, *more, *end;
};

static const struct words words[REPLY_LANGUAGES] = {
    [REPLY_ENGLISH] =
        {
            .subject = {"Not delivered: ", "Delayed: ", "Delivered: ", "Handed on: ", "Handed on: "},
            .one = {"Your message could not be delivered to this address.",
                "Your message has not reached this address yet. You need not send it again: it is tried on.",
                "Your message was delivered. You asked to be told.",
                "Your message was handed to the recipient's mail server, which sends no confirmations. You "
                "asked to "
                "be told.",
                "Your message was handed on to the members of this address. You asked to be told; each "
                "member's server "
                "sends no confirmation."},
            .many = {"Your message could not be delivered to these addresses.",
                "Your message has not reached these addresses yet. You need not send it again: it is tried "
                "on.",
                "Your message was delivered to these addresses. You asked to be told.",
                "Your message was handed to the mail servers of these recipients, which send no "
                "confirmations. You "
                "asked to be told.",
                "Your message was handed on to the members of these addresses. You asked to be told; each "
                "member's "
                "server sends no confirmation."},
            .about = "Subject: ",
            .sent = "Sent: ",
            .until = "It is tried until ",
            .happened = "What happened: ",
            .said = " said: ",
            .own = "This server",
            .fix = "What to do: ",
            .more = "Further addresses are listed in the report attached to this message: ",
            .end = "This was written by the mail server ",
        },
    [REPLY_GERMAN] =
        {
            .subject = {"Nicht zugestellt: ", "Verzögert: ", "Zugestellt: ", "Weitergegeben: ",
                "Weitergegeben: "},
            .one = {"Ihre Nachricht konnte an diese Adresse nicht zugestellt werden.",
                "Ihre Nachricht hat diese Adresse noch nicht erreicht. Sie brauchen sie nicht erneut zu "
                "senden: es wird "
                "weiter versucht.",
                "Ihre Nachricht wurde zugestellt. Sie wollten das wissen.",
                "Ihre Nachricht wurde dem Mailserver des Empfängers übergeben, der keine Bestätigungen "
                "sendet. Sie "
                "wollten das wissen.",
                "Ihre Nachricht wurde an die Mitglieder dieser Adresse weitergegeben. Sie wollten das "
                "wissen; die "
                "Server der Mitglieder senden keine Bestätigung."},
            .many = {"Ihre Nachricht konnte an diese Adressen nicht zugestellt werden.",
                "Ihre Nachricht hat diese Adressen noch nicht erreicht. Sie brauchen sie nicht erneut zu "
                "senden: es "
                "wird weiter versucht.",
                "Ihre Nachricht wurde an diese Adressen zugestellt. Sie wollten das wissen.",
                "Ihre Nachricht wurde den Mailservern dieser Empfänger übergeben, die keine Bestätigungen "
                "senden. Sie "
                "wollten das wissen.",
                "Ihre Nachricht wurde an die Mitglieder dieser Adressen weitergegeben. Sie wollten das "
                "wissen; die "
                "Server der Mitglieder senden keine Bestätigung."},
            .about = "Betreff: ",
            .sent = "Gesendet: ",
            .until = "Es wird versucht bis ",
            .happened = "Was geschah: ",
            .said = " sagte: ",
            .own = "Dieser Server",
            .fix = "Was zu tun ist: ",
            .more = "Weitere Adressen stehen im Bericht, der dieser Nachricht beiliegt: ",
            .end = "Dies schrieb der Mailserver ",
        },
};

void dsn_clean(struct buf *out, struct slice s, size_t max)
{
    size_t start = out->n;
    bool blank = false;

    while (s.n) {
        size_t n = utf8_printable(s);
        size_t put = n ? n : 1;

        if (!n && (ascii_is_blank(*s.p) || ascii_is_control(*s.p))) {
            blank = out->n > start;
            s = slice_from(s, 1);
            continue;
        }
        if (*s.p == ' ') {
            blank = out->n > start;
            s = slice_from(s, 1);
            continue;
        }
        if (out->n - start + put + blank > max)
            return;
        if (blank)
            buf_add_char(out, ' ');
        blank = false;
        buf_add(out, n ? slice_sub(s, 0, n) : SLICE("?"));
        s = slice_from(s, put);
    }
}

static bool original_field(const struct dsn *d, struct slice name, struct buf *out, size_t max)
{
    struct header_field field;
    struct buf value = BUF_INIT((size_t)4096);
    struct arena arena;
    struct slice line;

    if (!header_find(d->original, name, &field))
        return false;
    arena_init(&arena, (size_t)1 << 16);
    line = header_unfold(slice_sub(field.value, 0, 4096), &arena);
    if (line.p)
        decode_words(line, &value);
    dsn_clean(out, buf_slice(&value), max);
    buf_free(&value);
    arena_free(&arena);
    return true;
}

void dsn_subject(struct buf *out, const struct dsn *d)
{
    buf_add_str(out, words[d->language].subject[d->kind]);
    original_field(d, SLICE("Subject"), out, SUBJECT_SHOWN);
}

/* Words one after the other, broken between them; every line begins with `indent` blanks. */
static void wrap(struct buf *out, size_t indent, struct slice text)
{
    size_t column = 0;
    struct slice word;

    while (slice_cut(&text, ' ', &word)) {
        if (word.n == 0)
            continue;
        if (column && column + 1 + word.n > COLUMNS) {
            buf_add(out, SLICE("\r\n"));
            column = 0;
        }
        for (; column < indent; column++)
            buf_add_char(out, ' ');
        if (column > indent) {
            buf_add_char(out, ' ');
            column++;
        }
        buf_add(out, word);
        column += word.n;
    }
    buf_add(out, SLICE("\r\n"));
}

static void wrap_labelled(struct buf *out, size_t indent, const char *label, struct slice text)
{
    struct buf line = BUF_INIT((size_t)8192);

    buf_add_str(&line, label);
    buf_add(&line, text);
    wrap(out, indent, buf_slice(&line));
    buf_free(&line);
}

static void wrap_date(struct buf *out, size_t indent, const char *label, int64_t when)
{
    struct buf date = BUF_INIT((size_t)64);

    header_date_format(&date, when, 0);
    wrap_labelled(out, indent, label, buf_slice(&date));
    buf_free(&date);
}

static void tell_reply(struct buf *out, const struct words *w, const struct dsn_recipient *r)
{
    struct buf line = BUF_INIT((size_t)4096);

    if (r->host.n)
        dsn_clean(&line, r->host, 255);
    else
        buf_add_str(&line, w->own);
    buf_add_str(&line, w->said);
    dsn_clean(&line, r->reply, REPLY_SHOWN);
    wrap(out, 4, buf_slice(&line));
    buf_free(&line);
}

static void tell(struct buf *out, const struct dsn *d, const struct dsn_recipient *r)
{
    const struct words *w = &words[d->language];
    bool is_bad = d->kind == DSN_FAILED || d->kind == DSN_DELAYED;
    const char *cause = r->cause, *fix = r->fix;
    struct buf line = BUF_INIT((size_t)2048);

    if (is_bad && !cause && r->reply.n) {
        struct reply_meaning m = replies_explain(r->host, r->reply);

        cause = m.cause[d->language];
        /* Given up is given up: that it is tried again by itself would be wrong. */
        fix = fix                                                                ? fix
              : d->kind == DSN_FAILED && replies_parse(r->reply).code / 100 == 4 ? NULL
                                                                                 : m.fix[d->language];
    }
    dsn_clean(&line, r->address, 512);
    wrap(out, 2, buf_slice(&line));
    buf_free(&line);
    if (is_bad && cause)
        wrap_labelled(out, 4, w->happened, slice_str(cause));
    if (r->reply.n)
        tell_reply(out, w, r);
    if (is_bad && fix)
        wrap_labelled(out, 4, w->fix, slice_str(fix));
    if (d->kind == DSN_DELAYED && r->retry_until)
        wrap_date(out, 4, w->until, r->retry_until);
    buf_add(out, SLICE("\r\n"));
}

void dsn_words(struct buf *out, const struct dsn *d)
{
    const struct words *w = &words[d->language];
    struct buf line = BUF_INIT((size_t)1024);

    wrap(out, 0, slice_str(d->nrecipients > 1 ? w->many[d->kind] : w->one[d->kind]));
    buf_add(out, SLICE("\r\n"));
    for (size_t i = 0; i < d->nrecipients && i < TOLD_MAX; i++)
        tell(out, d, &d->recipients[i]);
    if (d->nrecipients > TOLD_MAX) {
        buf_add_u64(&line, d->nrecipients - TOLD_MAX);
        wrap_labelled(out, 0, w->more, buf_slice(&line));
        buf_add(out, SLICE("\r\n"));
        buf_clear(&line);
    }
    buf_add_str(&line, w->about);
    if (original_field(d, SLICE("Subject"), &line, SUBJECT_SHOWN))
        wrap(out, 0, buf_slice(&line));
    wrap_date(out, 0, w->sent, d->arrival);
    buf_add(out, SLICE("\r\n"));
    buf_clear(&line);
    dsn_clean(&line, d->host, 255);
    buf_add(&line, SLICE(" ("));
    dsn_clean(&line, d->original_id, 64);
    buf_add(&line, SLICE(")."));
    wrap_labelled(out, 0, w->end, buf_slice(&line));
    buf_free(&line);
}
