/* postamt mailbox undelete and purge: what was expunged comes back, or goes for good. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/mailbox_common.h"
#include "admin/output.h"
#include "common/mem.h"
#include "mail/decode.h"
#include "mail/header.h"
#include "store/expunged.h"

/* --- times --- */

/* "14d", "6h", "30m", "90s" before now. */
static bool ago(struct slice text, int64_t now, int64_t *out)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    uint64_t n;

    for (size_t i = 0; i < sizeof units / sizeof *units && text.n; i++)
        if (text.p[text.n - 1] == units[i].letter) {
            if (!slice_u64(slice_sub(text, 0, text.n - 1), 1000000000, &n))
                return false;
            *out = now - (int64_t)(n * units[i].seconds);
            return true;
        }
    return false;
}

/* "2026-11-20", "2026-11-20T12:30", "..:00", local time; with Z UTC. */
static bool moment(const char *text, int64_t *out)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &tm);

        if (!end || (*end && strcmp(end, "Z") != 0))
            continue;
        *out = (int64_t)(*end ? timegm(&tm) : mktime(&tm));
        return true;
    }
    return false;
}

static enum err_code read_since(struct cli *c, int64_t *since)
{
    const char *text = cli_flag(c, FLAG_SINCE);

    *since = INT64_MIN;
    if (!text || ago(slice_str(text), (int64_t)time(NULL), since) || moment(text, since))
        return ERR_OK;
    return fault_set(&c->fault, ERR_SYNTAX, "write it as 2d, 6h, 2026-11-20 or 2026-11-20T12:30",
        "\"%s\" is no time", text);
}

/* --- undelete --- */

struct undelete {
    struct cli *cli;
    struct table table; /* --dry-run: each message */
    struct box {
        char *name;
        uint64_t messages, octets;
        bool is_deleted, is_home;
    } * boxes;
    size_t n;
};

static json_t *time_json(int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[40] = "";

    if (gmtime_r(&t, &tm))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

/* A header field as a person reads it. */
static json_t *field_json(struct slice message, const char *field)
{
    struct buf text = BUF_INIT(8192), clean = BUF_INIT(8192);
    struct header_field found;
    struct arena arena;
    json_t *v;

    arena_init(&arena, (size_t)1 << 20);
    if (header_find(message, slice_str(field), &found))
        decode_words(header_unfold(found.value, &arena), &text);
    output_clean(&clean, buf_slice(&text), false);
    v = json_stringn(clean.p ? clean.p : "", clean.n);
    buf_free(&text);
    buf_free(&clean);
    arena_free(&arena);
    return v ? v : json_string("?");
}

static json_t *flags_json(uint32_t flags)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = {{FLAG_SEEN, "\\Seen"}, {FLAG_ANSWERED, "\\Answered"}, {FLAG_FLAGGED, "\\Flagged"},
        {FLAG_DRAFT, "\\Draft"}, {FLAG_FORWARDED, "$Forwarded"}};
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (flags & names[i].flag)
            json_array_append_new(list, json_string(names[i].name));
    return list;
}

static void show_message(struct undelete *u, const struct expunged_item *item)
{
    json_t *o = json_pack("{s:s%,s:o,s:o,s:o,s:o,s:I,s:o}", "mailbox", item->mailbox.p, item->mailbox.n,
        "date", time_json(item->received), "from", field_json(item->text, "From"), "subject",
        field_json(item->text, "Subject"), "expunged", time_json(item->expunged), "size",
        (json_int_t)item->size, "flags", flags_json(item->flags));

    if (o)
        table_add(&u->table, o);
    json_decref(o);
}

static void take(void *ctx, const struct expunged_item *item)
{
    struct undelete *u = ctx;
    struct box *b = NULL;

    for (size_t i = 0; i < u->n && !b; i++)
        if (slice_eq(slice_str(u->boxes[i].name), item->mailbox) && u->boxes[i].is_home == item->is_home)
            b = &u->boxes[i];
    if (!b) {
        u->boxes = mem_realloc(u->boxes, u->n + 1, sizeof *u->boxes);
        b = &u->boxes[u->n++];
        *b = (struct box){.name = slice_dup(item->mailbox), .is_home = item->is_home};
        INVARIANT(b->name);
    }
    b->messages++;
    b->octets += item->size;
    b->is_deleted |= item->is_deleted;
    if (cli_flag(u->cli, FLAG_DRY_RUN))
        show_message(u, item);
}

static void say_box(struct undelete *u, const struct box *b)
{
    bool dry = cli_flag(u->cli, FLAG_DRY_RUN) != NULL;
    json_t *o;

    output_say(u->cli, "%llu message%s %s%s to %s%s", (unsigned long long)b->messages,
        b->messages == 1 ? "" : "s", dry ? "would come back" : "came back",
        b->is_home ? "" : ", whose mailbox is not known any more,", b->name,
        b->is_deleted ? ", which had been deleted" : "");
    if (!u->cli->json || dry)
        return;
    o = json_pack("{s:s,s:I,s:I,s:b,s:b}", "mailbox", b->name, "messages", (json_int_t)b->messages, "octets",
        (json_int_t)b->octets, "was_deleted", b->is_deleted, "is_home", b->is_home);
    if (o)
        output_json(o);
    json_decref(o);
}

static enum err_code report(struct undelete *u, struct mailbox_place *p)
{
    uint64_t octets = 0, messages = 0;

    for (size_t i = 0; i < u->n; i++) {
        say_box(u, &u->boxes[i]);
        octets += u->boxes[i].octets;
        messages += u->boxes[i].messages;
    }
    if (messages == 0)
        output_say(u->cli, "nothing of %s that was expunged is kept%s", p->address,
            cli_flag(u->cli, FLAG_SINCE) || u->cli->args.nobjects > 1 ? " there" : "");
    if (messages == 0 || cli_flag(u->cli, FLAG_DRY_RUN))
        return ERR_OK;
    return mailbox_add_usage(u->cli, p, (int64_t)octets, (int64_t)messages);
}

enum err_code cmd_mailbox_undelete(struct cli *c)
{
    static const struct column columns[] = {{"DATE", "date", CELL_TEXT}, {"FROM", "from", CELL_TEXT},
        {"SUBJECT", "subject", CELL_TEXT}, {"SIZE", "size", CELL_NUMBER}, {"MAILBOX", "mailbox", CELL_TEXT},
        {"EXPUNGED", "expunged", CELL_TEXT}};
    struct undelete u = {.cli = c};
    struct expunged_wish wish = {.dry = cli_flag(c, FLAG_DRY_RUN) != NULL, .each = take, .ctx = &u};
    struct buf name = BUF_INIT(FOLDER_NAME_MAX + 1);
    struct mailbox_place p = {.mail_root = -1, .state_root = -1};
    enum err_code code = read_since(c, &wish.since), usage;
    struct err e = {0};

    wish.with_text = wish.dry;
    if (code == ERR_OK && c->args.nobjects > 1 &&
        folder_normalise(slice_str(c->args.object[1]), &name, &e) < 0)
        code = fault_set(&c->fault, ERR_MAILBOX_NAME,
            "write it as mail programs show it, levels divided by /", "that is no name a mailbox can have");
    wish.mailbox = buf_slice(&name);
    if (code == ERR_OK)
        code = mailbox_open_account(c, c->args.object[0], &p);
    if (code == ERR_OK) {
        table_init(&u.table, c, columns, 6);
        if (expunged_restore(p.account, &wish, &e) < 0)
            code = mailbox_fault(c, &e);
        table_end(&u.table);
        /* what came back before an error is back, and counts; the first trouble is the one that is told */
        if (code == ERR_OK) {
            code = report(&u, &p);
        } else if (u.n) {
            struct fault first = c->fault;

            usage = report(&u, &p);
            c->fault = first;
            code = usage == ERR_OK ? code : first.code;
        }
    }
    for (size_t i = 0; i < u.n; i++)
        free(u.boxes[i].name);
    free(u.boxes);
    mailbox_close_account(&p);
    buf_free(&name);
    return code;
}

/* --- purge --- */

static void purge(struct cli *c, const struct mailbox_place *p, int64_t now)
{
    struct expunged_purge *purge;
    struct expunged_purged sum;
    json_t *o;

    expunged_policy(p->account, c->settings->keep_expunged_s, c->settings->keep_expunged_junk_s, false);
    purge = expunged_purge_new(p->account, now);
    while (expunged_purge_step(purge))
        ;
    expunged_purge_free(purge, &sum);
    o = json_pack("{s:s,s:I,s:I,s:I}", "address", p->address, "messages", (json_int_t)sum.messages,
        "mailboxes", (json_int_t)sum.mailboxes, "octets", (json_int_t)sum.octets);
    if (c->json && o)
        output_json(o);
    json_decref(o);
    if (sum.messages || sum.mailboxes)
        output_say(c, "%s: %llu messages and %llu mailboxes are gone for good", p->address,
            (unsigned long long)sum.messages, (unsigned long long)sum.mailboxes);
}

enum err_code cmd_mailbox_purge(struct cli *c)
{
    int64_t now = (int64_t)time(NULL);
    bool all = cli_flag(c, FLAG_ALL) != NULL;
    struct mailbox_place p = {.mail_root = -1, .state_root = -1};
    char **addresses = NULL;
    enum err_code code;
    size_t n = 0;

    if (all == (c->args.nobjects > 0))
        return fault_set(&c->fault, ERR_USAGE, "give an address, or --all",
            all ? "an address and --all exclude each other" : "whose mail is to be purged?");
    if (all) {
        code = mailbox_addresses(c, &addresses, &n);
    } else {
        code = mailbox_open_account(c, c->args.object[0], &p);
        if (code == ERR_OK)
            purge(c, &p, now);
        mailbox_close_account(&p);
    }
    for (size_t i = 0; i < n; i++) {
        if (code == ERR_OK)
            code = mailbox_open_known(c, addresses[i], &p);
        if (code == ERR_OK)
            purge(c, &p, now);
        if (p.address)
            mailbox_close_account(&p);
        free(addresses[i]);
    }
    free(addresses);
    return code;
}
